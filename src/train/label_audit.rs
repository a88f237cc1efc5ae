//! The label audit: which of its own pictures the finished recipe doubts, and what will escape.
//!
//! The first look ([`super::outliers`]) knows good parts alone and finds what is gross. This one asks the recipe itself,
//! and leaves nothing out: a person decides, and teaches again.
//!
//! What it names on real sets is in `docs/EXPERIMENTS.md`, "Pictures that the finished recipe doubts".

use rayon::prelude::*;

use super::bounds::{Bounds, normality_mean};
use super::features::QuantizedFeatures;
use super::fit::FittedModel;
use super::fold::ScreenedFold;
use super::head::top_cells;
use super::inventory::listed;
use super::label_noise::{SuspectedLabel, Why};
use super::measure::measure;
use super::out_of_fold::unseen;
use super::promise;
use super::trainer::Trainer;
use super::view::{distance_cells, top_mean};
use crate::error::Result;
use crate::inspect::Evidence;
use crate::inspect::recipe::Recipe;
use crate::nn::plan::ExecutionPlan;

/// A known bad part that scores below this looks like a good one: five of six good parts do.
const LIKE_GOOD: f32 = 1.0;
/// A good part that was taught as such and still scores so high, and is rejected, looks like a bad one.
const LIKE_BAD: f32 = 4.0;
/// Good parts fitted on whose crops are looked at, too: those with the highest scores of the full image.
const ZOOMED: f64 = 0.05;
const ZOOMED_MIN: usize = 8;

/// What the second look gave.
#[derive(Debug, Default, PartialEq)]
pub(super) struct LabelAudit {
    /// Share of known bad parts that pass, each by heads that have not seen it; `None` where they are too few.
    pub(super) expected_escape: Option<f64>,
    /// Pictures that a person should look at again.
    pub(super) suspects: Vec<SuspectedLabel>,
    /// What the technician should know.
    pub(super) warnings: Vec<String>,
}

/// Asks the finished recipe about the pictures it was made of; `held` are the scores of held-out good parts, `zoom` is its
/// crop's pass and `bounds` are its full image's.
///
/// Cost: that of [`unseen`], a bank's distances for each good part fitted on, a pass for one in twenty.
pub(super) fn audit(
    trainer: &Trainer<'_>,
    fold: &ScreenedFold,
    fitted: &FittedModel,
    recipe: &Recipe,
    held: &[f32],
    (zoom, bounds): (&ExecutionPlan, &Bounds),
) -> Result<LabelAudit> {
    let unseen = unseen(trainer, fold, fitted)?;
    log::debug!("known bad parts by heads that have not seen them: {unseen:.2?}");
    let bads: Vec<(&str, f32)> = unseen.iter().enumerate().map(|(b, &s)| (trainer.bad.name(b), s)).collect();
    let mut found = among_bads(&bads, recipe.threshold);
    let one_in = recipe.promise.one_in;
    let is_new = |name: &&str| fold.suspects.iter().all(|s| s.file != **name);
    let (alone, times) = promise::raised_by(held, one_in, promise::least(held.len(), one_in)).unwrap_or_default();
    let names: Vec<&str> = alone.iter().map(|&n| trainer.good.name(fold.held[n])).filter(is_new).collect();
    if !names.is_empty() {
        found.warnings.push(format!(
            "look at {} again: good, and yet the one reason for a threshold {times:.1} times as high; move what is bad to \
             the bad ones, and teach again",
            listed(names.iter().copied())
        ));
        found.add(&names, Why::RaisesThreshold);
    }
    let rejected = rejected(trainer, fold, fitted, recipe, (zoom, bounds))?;
    let names: Vec<&str> = rejected.iter().map(|&n| trainer.good.name(fold.fit[n])).filter(is_new).collect();
    if !names.is_empty() {
        found.warnings.push(format!(
            "look at {} again: taught as good, and yet the recipe would reject it; move what is bad to the bad ones, and \
             teach again",
            listed(names.iter().copied())
        ));
        found.add(&names, Why::LooksBad);
    }
    Ok(found)
}

/// Good parts fitted on that the recipe rejects by far, by their place in the fit.
fn rejected(
    trainer: &Trainer<'_>,
    fold: &ScreenedFold,
    fitted: &FittedModel,
    recipe: &Recipe,
    (zoom, bounds): (&ExecutionPlan, &Bounds),
) -> Result<Vec<usize>> {
    let space = &trainer.space;
    let (far, top) = (distance_cells(space.cells()), top_cells(space.cells()));
    let view = &fitted.full;
    let maps = |codes: &QuantizedFeatures| {
        let known = view.known.as_ref().map(|k| k.map(space, codes));
        (view.normality.map(space, codes), known)
    };
    let evidence = |codes: &QuantizedFeatures| {
        let (normality, known) = maps(codes);
        let raw = Evidence {
            normality: top_mean(&normality, far),
            known: known.map(|k| top_mean(&k, top)),
            overall: view.known.as_ref().map(|k| k.overall.score(space, codes)),
        };
        bounds.apply(&raw, normality_mean(&normality, 1))
    };
    let full: Vec<Evidence> = fold.good.par_iter().map(evidence).collect();
    let mut highest: Vec<usize> = (0..full.len()).collect();
    highest.sort_by(|&a, &b| recipe.full.score(&full[b]).total_cmp(&recipe.full.score(&full[a])));
    highest.truncate(((full.len() as f64 * ZOOMED) as usize).max(ZOOMED_MIN));
    let crop = |n: usize| {
        let place = highest[n];
        let frame = trainer.good.part(fold.fit[place])?;
        let (normality, known) = maps(&fold.good[place]);
        let mut suspicion = Vec::new();
        recipe.full.suspicion(&[normality, known.unwrap_or_default()].concat(), &mut suspicion);
        Ok(trainer.render(&frame, &trainer.locate(&suspicion, &frame, &fitted.policy)))
    };
    trainer.progress.stage("looking at good parts again", highest.len() as u64);
    let zooms = measure(zoom, highest.len(), crop, trainer.progress)?.evidences;
    let is_rejected =
        |(place, zoom): &(usize, &Evidence)| recipe.score(&full[*place], Some(zoom)) >= recipe.threshold.max(LIKE_BAD);
    let mut rejected: Vec<usize> =
        highest.iter().copied().zip(&zooms).filter(is_rejected).map(|(place, _)| place).collect();
    rejected.sort_unstable();
    Ok(rejected)
}

impl LabelAudit {
    fn add(&mut self, names: &[&str], why: Why) {
        self.suspects.extend(names.iter().map(|&n| SuspectedLabel { file: n.to_owned(), why, left_out: false }));
    }
}

/// What escapes among known bad parts, by their names and scores, and which of them look like good ones.
fn among_bads(bads: &[(&str, f32)], threshold: f32) -> LabelAudit {
    let mut found = LabelAudit::default();
    if bads.is_empty() {
        return found;
    }
    let passed = bads.iter().filter(|(_, score)| *score < threshold).count();
    found.expected_escape = Some(passed as f64 / bads.len() as f64);
    let like_good: Vec<&str> = bads.iter().filter(|(_, score)| *score < LIKE_GOOD).map(|(name, _)| *name).collect();
    if like_good.is_empty() {
        return found;
    }
    let names = listed(like_good.iter().copied());
    found.warnings.push(if like_good.len() == 1 {
        format!("look at {names} again: it looks like a good part; move it or leave it out, and teach again")
    } else if 2 * like_good.len() <= bads.len() {
        format!("look at {names} again: they look like good parts; move them or leave them out, and teach again")
    } else {
        format!(
            "{} of {} known bad parts look like good ones: look at {names} again; move those that are good, and show the \
             other defects larger (a larger --size, a camera that is closer)",
            like_good.len(),
            bads.len()
        )
    });
    found.add(&like_good, Why::LooksGood);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_counted_and_what_looks_good_is_named() {
        let names: Vec<String> = (0..10).map(|i| format!("bad{i}")).collect();
        let with = |scores: [f32; 10]| {
            let bads: Vec<(&str, f32)> = names.iter().map(String::as_str).zip(scores).collect();
            among_bads(&bads, 3.0)
        };
        let found = with([9.0, 2.9, 5.0, 4.0, 3.0, 3.1, 8.0, 1.5, 7.0, 6.0]);
        assert_eq!(found, LabelAudit { expected_escape: Some(0.2), ..LabelAudit::default() });
        let found = with([9.0, 2.9, 5.0, 4.0, 0.4, 3.1, 8.0, 1.5, 7.0, 6.0]);
        assert_eq!(found.expected_escape, Some(0.3));
        let suspect = SuspectedLabel { file: "bad4".into(), why: Why::LooksGood, left_out: false };
        assert_eq!(found.suspects, [suspect]);
        assert!(found.warnings[0].starts_with("look at bad4 again: it looks like a good part"), "{found:?}");
        // Most of them: it is the defects that cannot be seen.
        let found = with([0.0, 0.1, -0.2, 0.4, 0.4, 0.9, 8.0, 1.5, 7.0, 6.0]);
        assert!(found.suspects.len() == 6 && found.warnings[0].contains("6 of 10"), "{found:?}");
        assert_eq!(among_bads(&[], 3.0), LabelAudit::default());
    }
}
