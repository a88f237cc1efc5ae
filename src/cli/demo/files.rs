//! What the demo leaves behind: one folder that holds everything and says so.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::summary::{Finding, Outcome};
use super::{Args, DEFECT_RATE, HEIGHT, PARTS_PER_S, WIDTH, frame_of, index_of};
use crate::cli::overlay;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::picture;
use crate::inspect::Inspect as _;
use crate::inspect::model::Model;
use crate::sim::render::{Scene, Want};
use crate::storage;

/// The most overlays that are drawn: enough to look through, a few seconds' work.
const OVERLAYS_MAX: usize = 24;
/// Of these, the most right rejects; the rest is kept for what went wrong.
const OVERLAYS_RIGHT_MAX: usize = 12;
/// How the note begins that marks a folder as a demo's, which the next demo may write over.
const MARK: &str = "Left by `zoomgate demo`";

/// The demo's folder.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder, or empties it of what an earlier demo left, and writes the note and the configuration.
    ///
    /// # Errors
    /// `Refused` where the folder holds something else: its recipe may be somebody's work.
    pub(super) fn prepare(path: PathBuf, args: &Args) -> Result<Self> {
        let make = |path: &Path| fs::create_dir_all(path).map_err(|e| Error::io("make the demo's folder", path, e));
        make(&path)?;
        let folder = Self { path };
        let note = folder.path.join("README.txt");
        let is_ours = fs::read_to_string(&note).is_ok_and(|text| text.starts_with(MARK));
        if !is_ours && !list(&folder.path)?.is_empty() {
            let message = format!(
                "{} is not empty and no demo has made it: give another folder with --out",
                folder.path.display()
            );
            return Err(Error::new(ErrorKind::Refused, message));
        }
        make(&folder.overlays())?;
        storage::write_atomic(&note, "write the note", note_text(args).as_bytes())?;
        storage::write_atomic(&folder.config(), "write the configuration", config_text(args).as_bytes())?;
        for old in folder.overlays_and_events()? {
            fs::remove_file(&old).map_err(|e| Error::io("remove what an earlier demo left", &old, e))?;
        }
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn recipe(&self) -> PathBuf {
        self.path.join("recipe.onnx")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    fn overlays(&self) -> PathBuf {
        self.path.join("overlays")
    }

    fn overlays_and_events(&self) -> Result<Vec<PathBuf>> {
        let mut old = list(&self.overlays())?;
        old.retain(|p| p.extension().is_some_and(|e| e == "png"));
        old.extend(Some(self.path.join("events.jsonl")).filter(|p| p.exists()));
        Ok(old)
    }

    /// Inspects again what was missed, rejected wrongly or rejected, in this order, and draws it; returns how many.
    pub(super) fn draw_overlays(&self, scene: &Scene, model: &Model, outcomes: &[Outcome]) -> Result<usize> {
        let of =
            |finding: Finding| outcomes.iter().filter(move |o| o.finding() == Some(finding)).map(move |o| (o, finding));
        let wrong = of(Finding::Escape).chain(of(Finding::Overkill)).take(OVERLAYS_MAX - OVERLAYS_RIGHT_MAX);
        let shown: Vec<_> = wrong.chain(of(Finding::Caught)).take(OVERLAYS_MAX).collect();
        let drawn = shown.par_iter().map(|(outcome, finding)| {
            let part = scene.render_part(index_of(&outcome.record), Want::AsDrawn);
            let frame = frame_of(part);
            let mut inspector = model.inspector()?;
            let found = inspector.inspect(&frame)?;
            let name = format!("part-{:04}-{}", outcome.record.part.id.0, finding.file_word());
            let note = match &outcome.truth {
                Some(d) => format!("{} {:.1} % wide", d.kind.replace('_', " "), 100.0 * d.width_fraction),
                None => "a good part".to_owned(),
            };
            let name = outcome.truth.map_or(name.clone(), |d| format!("{name}-{}", d.kind));
            let picture = overlay::draw(&inspector, &frame, &found, model.recipe().threshold, &name, &note);
            picture::save_png(&self.overlays().join(format!("{name}.png")), &picture)
        });
        drawn.collect::<Result<Vec<()>>>().map(|d| d.len())
    }

    /// Where everything is and what to do next.
    pub(super) fn farewell(&self, overlays: usize) -> String {
        let folder = self.path.display();
        format!(
            "
{folder} holds {overlays} overlays, recipe.onnx, config.toml, events.jsonl (every verdict) and edges.jsonl (every pulse).
Next:
  look at {folder}/overlays
  run the same belt as the daemon:    zoomgate run --config {folder}/config.toml
  teach from your own pictures:       zoomgate teach --good GOOD_DIR --bad BAD_DIR --out recipe.onnx
  and inspect others with it:         zoomgate inspect --recipe recipe.onnx --overlay OUT_DIR IMAGE_DIR"
        )
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = |e| Error::io("read the folder", folder, e);
    fs::read_dir(folder).map_err(read)?.map(|entry| entry.map(|e| e.path()).map_err(read)).collect()
}

fn note_text(args: &Args) -> String {
    format!(
        "{MARK} --seed {} --parts {}; the next demo with this folder writes over it.

recipe.onnx    what was taught; opens in any ONNX viewer
config.toml    the belt, for `zoomgate run` and `zoomgate check`
events.jsonl   every verdict
edges.jsonl    every edge of the output lines
overlays/      parts that were missed (escape), rejected wrongly (overkill) or rightly (caught)
",
        args.seed, args.parts
    )
}

/// The configuration of the demo's belt. Nine parts fit between camera and actuator: time enough for a slow board.
fn config_text(args: &Args) -> String {
    format!(
        r#"# The belt of `zoomgate demo`. All keys with their meaning: the config.toml that comes with zoomgate.

[camera]
source = "simulated"
width_px = {WIDTH}
height_px = {HEIGHT}
rate_hz = {PARTS_PER_S:?}
seed = {}
parts = {}
defect_rate = {DEFECT_RATE:?}

[trigger]
source = "simulated"

[model]
recipe = "recipe.onnx"

[reject]
enabled = true
travel_mm = 720.0
belt_speed_mm_s = 400.0

[outputs]
ready = "ready"
fault = "fault"

[gpio]
backend = "recorded"
edges = "edges.jsonl"

[safety]
on_uninspected = "reject"
on_missed_reject = "alarm"

[record]
events = "events.jsonl"
"#,
        args.seed, args.parts
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Args {
        Args { parts: 3, seed: 9, fast: true, out: None, json: true, lesson: 8, size: 64, steps: 1 }
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("mine");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("recipe.onnx"), "precious").unwrap();
        let error = Folder::prepare(path.clone(), &args()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.message().contains("--out"), "{error}");
        assert_eq!(fs::read_to_string(path.join("recipe.onnx")).unwrap(), "precious");
        assert_eq!(list(&path).unwrap().len(), 1, "nothing is added");
    }

    #[test]
    fn an_earlier_demos_folder_is_used_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("demo-9");
        let folder = Folder::prepare(path.clone(), &args()).unwrap();
        fs::write(path.join("events.jsonl"), "old").unwrap();
        fs::write(path.join("overlays/part-0001-caught.png"), "old").unwrap();
        assert!(crate::config::load(&folder.config()).is_ok());
        Folder::prepare(path.clone(), &args()).unwrap();
        assert!(!path.join("events.jsonl").exists());
        assert!(list(&path.join("overlays")).unwrap().is_empty());
    }
}
