//! `--report`: the figures of `eval` and `trial` as one HTML file for people, complete in itself.

mod charts;
mod html;
mod page;
mod words;

use std::path::Path;

use super::overlay;
use crate::error::{Error, ErrorKind, Result};
use crate::eval::evaluation::Tested;
use crate::eval::item::{Item, Label};
use crate::eval::robustness;
use crate::eval::run_metrics::{Perturbed, RunMetrics};
use crate::frame::picture;
use crate::inspect::Inspect as _;
use crate::inspect::model::Model;
use crate::inspect::recipe::Recipe;
use crate::storage;
use crate::train::Progress;

/// Pictures in each gallery: enough to see a pattern, few enough to be sent by mail.
const SHOWN: usize = 6;
/// JPEG quality of the gallery's pictures: no block is to be seen, and each takes some 100 KB.
const QUALITY: u8 = 80;

/// All that the page says.
pub struct Facts<'a> {
    /// The heading.
    title: String,
    /// Every run; at least one.
    runs: &'a [RunMetrics],
    /// Mean of the tests with perturbed pictures.
    perturbed: Option<Vec<Perturbed>>,
    /// The recipe of the first run.
    recipe: &'a Recipe,
    /// Whether the test's threshold was not the recipe's.
    has_own_threshold: bool,
    /// Scores of the first run's good pictures.
    good: Vec<f32>,
    /// Scores of its defective ones.
    bad: Vec<f32>,
    /// How many defective pictures of the first run pass.
    missed: usize,
    /// The lowest-scored of them.
    misses: Vec<Shown>,
    /// How many good ones are rejected.
    alarmed: usize,
    /// The highest-scored of them.
    alarms: Vec<Shown>,
}

/// One picture of a gallery.
struct Shown {
    file: String,
    kind: String,
    score: f32,
    threshold: f32,
    jpeg: Vec<u8>,
    size: (u32, u32),
}

/// The test that the curves and galleries show.
#[derive(Clone, Copy)]
pub struct Test<'a> {
    /// The recipe.
    pub model: &'a Model,
    /// The pictures.
    pub items: &'a [Item],
    /// What was found in them.
    pub tested: &'a Tested,
}

/// Refuses a place where no file can be written, before minutes are spent on what would stand in it.
///
/// # Errors
/// `NotFound` without the folder, `Refused` where the file is a folder.
pub fn check_place(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let message = format!("cannot write the report {}: make the folder first", path.display());
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    if path.is_dir() {
        let message = format!("cannot write the report {}: it is a folder; add a file name", path.display());
        return Err(Error::new(ErrorKind::Refused, message));
    }
    Ok(())
}

/// Writes the report of `runs` to `path`, whole or not at all; curves and galleries are those of `test`.
///
/// `title` names what was measured.
///
/// # Errors
/// When a picture of a gallery cannot be read again or the file cannot be written; an old report stays.
pub fn write(path: &Path, title: String, runs: &[RunMetrics], test: Test<'_>, progress: &dyn Progress) -> Result<()> {
    let page = page::page(&gather(title, runs, test, progress)?);
    storage::write_atomic(path, "write the report", page.as_bytes())
}

fn gather<'a>(title: String, runs: &'a [RunMetrics], test: Test<'a>, progress: &dyn Progress) -> Result<Facts<'a>> {
    let recipe = test.model.recipe();
    let threshold = test.tested.run.threshold;
    let scored: Vec<(&Item, f32)> =
        test.items.iter().zip(&test.tested.inspections).map(|(item, i)| (item, i.score.0)).collect();
    let of = |label| scored.iter().filter(move |(i, _)| i.label == label).copied();
    let is_rejected = |score: f32| f64::from(score) >= threshold;
    let mut misses: Vec<_> = of(Label::Bad).filter(|&(_, s)| !is_rejected(s)).collect();
    misses.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut alarms: Vec<_> = of(Label::Good).filter(|&(_, s)| is_rejected(s)).collect();
    alarms.sort_by(|a, b| b.1.total_cmp(&a.1));
    let perturbed: Vec<Vec<Perturbed>> = runs.iter().filter_map(|r| r.perturbed.clone()).collect();
    progress.stage("drawing the report", (misses.len().min(SHOWN) + alarms.len().min(SHOWN)) as u64);
    Ok(Facts {
        title,
        runs,
        perturbed: (!perturbed.is_empty()).then(|| robustness::mean(&perturbed)),
        recipe,
        has_own_threshold: threshold != f64::from(recipe.threshold),
        good: of(Label::Good).map(|g| g.1).collect(),
        bad: of(Label::Bad).map(|b| b.1).collect(),
        missed: misses.len(),
        misses: draw(&misses, test.model, threshold as f32, progress)?,
        alarmed: alarms.len(),
        alarms: draw(&alarms, test.model, threshold as f32, progress)?,
    })
}

/// Inspects the first few again, for their heatmaps.
fn draw(items: &[(&Item, f32)], model: &Model, threshold: f32, progress: &dyn Progress) -> Result<Vec<Shown>> {
    let mut inspector = model.inspector()?;
    let mut shown = Vec::new();
    for (item, score) in items.iter().take(SHOWN) {
        let frame = item.load()?;
        let found = inspector.inspect(&frame)?;
        let drawn = overlay::draw(&inspector, &frame, &found, threshold, &item.rel, &item.kind);
        shown.push(Shown {
            file: item.rel.clone(),
            kind: item.kind.clone(),
            score: *score,
            threshold,
            jpeg: picture::jpeg(&drawn, QUALITY)?,
            size: (drawn.width, drawn.height),
        });
        progress.tick();
    }
    Ok(shown)
}

#[cfg(test)]
mod tests;
