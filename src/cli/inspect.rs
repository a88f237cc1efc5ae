//! `zoomgate inspect`: pictures in, one JSON line each out; overlays and model inputs on request.
//!
//! A picture that shows nothing to judge is uninspected, as its part would be in a run, and no failure.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::output::{print_json, write_json_line};
use super::overlay;
use crate::camera::folder::pictures_below;
use crate::decide::{Reason, Verdict, decide};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, picture};
use crate::inspect::model::{Inspector, Model};
use crate::inspect::{Evidence, Inspect as _, Inspection, StageTimes};
use crate::pipeline;
use crate::storage;
use crate::telemetry::events::Crop;

/// Arguments of `zoomgate inspect`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The recipe to inspect with.
    #[arg(long, value_name = "FILE.onnx")]
    pub recipe: PathBuf,
    /// Pictures, or folders whose pictures are all inspected.
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,
    /// Draws each verdict as a PNG into this folder.
    #[arg(long, value_name = "DIR")]
    pub overlay: Option<PathBuf>,
    /// Writes every model input as a NumPy file into this folder, with dump.jsonl saying what came out.
    #[arg(long, value_name = "DIR")]
    pub dump_inputs: Option<PathBuf>,
    /// Another threshold than the recipe's.
    #[arg(long, allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// Taken for the sake of scripts: a JSON line for each picture is the only form there is.
    #[arg(long)]
    pub json: bool,
}

/// Inspects every picture and prints a JSON line for each as soon as it is done; a bad one does not stop the rest.
///
/// # Errors
/// When the recipe cannot be loaded or an output folder cannot be written; after the last picture when any of them
/// could not be inspected.
pub fn run(args: &Args) -> Result<()> {
    if args.threshold.is_some_and(|t| !t.is_finite()) {
        return Err(Error::new(ErrorKind::Config, "--threshold must be a finite number"));
    }
    let model = Model::load(&args.recipe)?;
    let mut desk = Desk {
        threshold: args.threshold.unwrap_or(model.recipe().threshold),
        inspector: model.inspector()?,
        overlays: args.overlay.as_deref().map(Overlays::open).transpose()?,
        dump: args.dump_inputs.as_deref().map(Dump::open).transpose()?,
    };
    let (mut seen, mut failures) = (0usize, Vec::new());
    for image in &args.images {
        let files = if image.is_dir() { pictures_in(image) } else { Ok(vec![image.clone()]) };
        let files =
            files.map_or_else(|e| vec![(image.clone(), Err(e))], |f| f.into_iter().map(|f| (f, Ok(()))).collect());
        for (path, listed) in files {
            let file = path.display().to_string();
            seen += 1;
            let looked = listed.and_then(|()| Looked::at(&path, &mut desk));
            match looked {
                Ok(looked) => desk.report(&file, &path, &looked)?,
                Err(error) => {
                    let causes = std::iter::successors(std::error::Error::source(&error), |e| e.source());
                    log::debug!("{error}{}", causes.map(|c| format!("; {c}")).collect::<String>());
                    print_json(&Failure { schema: 1, file: &file, error: Cause::of(&error) })?;
                    failures.push(error.kind());
                }
            }
        }
    }
    match failures.first() {
        None => Ok(()),
        Some(&kind) => Err(Error::new(
            kind,
            format!("{} of {seen} pictures could not be inspected: see `error` in their lines", failures.len()),
        )),
    }
}

fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = pictures_below(folder)?;
    if files.is_empty() {
        let message = format!("there is no picture below {}: check the path", folder.display());
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    Ok(files)
}

/// What is kept from picture to picture.
struct Desk {
    threshold: f32,
    inspector: Inspector,
    overlays: Option<Overlays>,
    dump: Option<Dump>,
}

/// One picture and what was found in it.
struct Looked {
    frame: Frame,
    /// Or why it was not judged.
    found: std::result::Result<Inspection, Reason>,
    decode_ms: f64,
    /// Kept only where they are dumped.
    inputs: Vec<ModelInput>,
}

/// A model input: its name, its pixels and where it begins.
type ModelInput = (String, Vec<u8>, [usize; 2]);

impl Looked {
    fn at(path: &Path, desk: &mut Desk) -> Result<Self> {
        let start = Instant::now();
        let frame = picture::load(path)?;
        let decode_ms = start.elapsed().as_secs_f64() * 1e3;
        let mut inputs = Vec::new();
        if let Some(unseen) = desk.inspector.look(&frame) {
            return Ok(Self { frame, found: Err(pipeline::reason(unseen)), decode_ms, inputs });
        }
        let is_dumped = desk.dump.is_some();
        let found = desk.inspector.inspect_with(&frame, |name, input, at| {
            if is_dumped {
                inputs.push((name.to_owned(), input.to_vec(), at));
            }
        })?;
        Ok(Self { frame, found: Ok(found), decode_ms, inputs })
    }
}

impl Desk {
    /// Writes what was asked for, then the line that names it.
    fn report(&mut self, file: &str, path: &Path, looked: &Looked) -> Result<()> {
        let Looked { frame, found, .. } = looked;
        let verdict = match found {
            Ok(found) => decide(found.score, self.threshold),
            Err(reason) => Verdict::Uninspected(*reason),
        };
        let found = found.as_ref();
        let stem = path.file_stem().map_or_else(|| "picture".into(), |s| s.to_string_lossy().into_owned());
        if let (Some(dump), Ok(found)) = (&mut self.dump, found) {
            dump.write(file, &stem, (found, &looked.inputs), &self.inspector, (verdict.as_str(), self.threshold))?;
        }
        let overlay = match &mut self.overlays {
            None => None,
            Some(overlays) => {
                let drawn = match found {
                    Ok(found) => overlay::draw(&self.inspector, frame, found, self.threshold, file, ""),
                    Err(reason) => overlay::draw_unseen(frame, *reason, self.threshold, file),
                };
                let path = overlays.free_name(&stem);
                picture::save_png(&path, &drawn)?;
                Some(path.display().to_string())
            }
        };
        print_json(&ResultRow::of(file, looked, verdict, self.threshold, overlay))
    }
}

impl<'a> ResultRow<'a> {
    fn of(file: &'a str, looked: &Looked, verdict: Verdict, threshold: f32, overlay: Option<String>) -> Self {
        let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
        let found = looked.found.as_ref().ok();
        let times = found.map_or_else(StageTimes::default, |found| found.times);
        let crop = |r: &crate::frame::geometry::Roi| Crop { x: r.x, y: r.y, width: r.width, height: r.height };
        Self {
            schema: 1,
            file,
            score: found.map(|f| f.score.0),
            threshold,
            verdict: verdict.as_str(),
            unseen: looked.found.as_ref().err().map(|reason| reason.as_str()),
            crops: found.iter().flat_map(|f| f.crops.as_slice()).map(crop).collect(),
            score_full: found.map(|f| f.score_full.0),
            score_zoom: found.and_then(|f| f.score_zoom).map(|s| s.0),
            evidence: found.map(|f| Evidences::of(&f.full)),
            evidence_zoom: found.and_then(|f| f.zoom.as_ref()).map(Evidences::of),
            overlay,
            ms: Times {
                decode: looked.decode_ms,
                convert: ms(times.convert),
                full: ms(times.full),
                zoom: ms(times.zoom),
                passes: ms(times.passes),
                total: looked.decode_ms + ms(times.total),
            },
        }
    }
}

#[derive(Serialize)]
struct ResultRow<'a> {
    schema: u32,
    file: &'a str,
    /// Null where the picture was not judged, as are all that follow from it.
    score: Option<f32>,
    threshold: f32,
    verdict: &'a str,
    /// Why it was not judged, in the words of events: `blind_dark`, `no_part` and so on.
    unseen: Option<&'a str>,
    crops: Vec<Crop>,
    score_full: Option<f32>,
    score_zoom: Option<f32>,
    evidence: Option<Evidences>,
    evidence_zoom: Option<Evidences>,
    overlay: Option<String>,
    ms: Times,
}

#[derive(Serialize)]
struct Evidences {
    normality: f32,
    known: Option<f32>,
    overall: Option<f32>,
}

impl Evidences {
    fn of(e: &Evidence) -> Self {
        Self { normality: e.normality, known: e.known, overall: e.overall }
    }
}

/// Milliseconds; `total` is the sum of decode, convert, full and zoom, and `passes` what the model took of the last two.
#[derive(Serialize)]
struct Times {
    decode: f64,
    convert: f64,
    full: f64,
    zoom: f64,
    passes: f64,
    total: f64,
}

#[derive(Serialize)]
struct Failure<'a> {
    schema: u32,
    file: &'a str,
    error: Cause<'a>,
}

#[derive(Serialize)]
struct Cause<'a> {
    code: &'a str,
    message: &'a str,
}

impl<'a> Cause<'a> {
    fn of(error: &'a Error) -> Self {
        Self { code: error.code(), message: error.message() }
    }
}

/// A folder of overlays in which no two pictures take the same name.
struct Overlays {
    folder: PathBuf,
    taken: HashSet<String>,
}

impl Overlays {
    fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder of overlays", folder, e))?;
        Ok(Self { folder: folder.to_owned(), taken: HashSet::new() })
    }

    /// `<stem>.png`, or `<stem>-2.png` and so on where this run has used that.
    fn free_name(&mut self, stem: &str) -> PathBuf {
        let numbered = (2..).map(|n| format!("{stem}-{n}"));
        let name = std::iter::once(stem.to_owned()).chain(numbered).find(|name| !self.taken.contains(name));
        let name = name.expect("numbers do not run out");
        let path = self.folder.join(format!("{name}.png"));
        self.taken.insert(name);
        path
    }
}

/// Model inputs as NumPy files and, in `dump.jsonl`, everything needed to rebuild every score from them.
struct Dump {
    folder: PathBuf,
    lines: File,
    lines_path: PathBuf,
    count: usize,
}

#[derive(Serialize)]
struct Dumped<'a> {
    file: &'a str,
    inputs: Inputs<'a>,
    score: f32,
    score_full: f32,
    score_zoom: Option<f32>,
    verdict: &'a str,
    threshold: f32,
    /// As the graph's `full_score` output has them.
    evidence_full: Vec<f32>,
    /// The strongest crop's, as `zoom_score` has them; the only one's where the recipe makes one crop.
    evidence_zoom: Vec<Vec<f32>>,
}

/// File names inside the folder.
#[derive(Serialize)]
struct Inputs<'a> {
    full: &'a str,
    zoom: &'a [String],
    /// The graph's further input for each of them, where it has one.
    zoom_at: Vec<[usize; 2]>,
}

impl Dump {
    fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder of model inputs", folder, e))?;
        let lines_path = folder.join("dump.jsonl");
        let lines = File::create(&lines_path).map_err(|e| Error::io("write the list of inputs", &lines_path, e))?;
        Ok(Self { folder: folder.to_owned(), lines, lines_path, count: 0 })
    }

    fn write(
        &mut self,
        file: &str,
        stem: &str,
        (found, inputs): (&Inspection, &[ModelInput]),
        inspector: &Inspector,
        (verdict, threshold): (&str, f32),
    ) -> Result<()> {
        let size = inspector.recipe().input;
        let mut names = Vec::new();
        for (view, input, _) in inputs {
            let name = format!("{stem}.{}.{view}.npy", self.count);
            storage::write_atomic(
                &self.folder.join(&name),
                "write the model input",
                &npy(size.height, size.width, input),
            )?;
            names.push(name);
        }
        self.count += 1;
        let (full, zoom) = names.split_first().expect("an inspection begins with the full image");
        let raw = |e: &Evidence| std::iter::once(e.normality).chain(e.known).chain(e.overall).collect::<Vec<_>>();
        let dumped = Dumped {
            file,
            inputs: Inputs { full, zoom, zoom_at: inputs.iter().skip(1).map(|(_, _, at)| *at).collect() },
            score: found.score.0,
            score_full: found.score_full.0,
            score_zoom: found.score_zoom.map(|s| s.0),
            verdict,
            threshold,
            evidence_full: raw(&found.full),
            evidence_zoom: found.zoom.iter().map(raw).collect(),
        };
        write_json_line(&mut self.lines, &self.lines_path, &dumped)
    }
}

/// A NumPy file, format 1.0: `[1, 3, height, width]` u8.
fn npy(height: usize, width: usize, pixels: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3, {height}, {width}), }}");
    // Magic, version and length take 10 bytes; the data shall start at a multiple of 64, after a line feed.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).expect("the header is one short line");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(length.to_le_bytes());
    file.extend(header.bytes());
    file.extend(pixels);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numpy_file_starts_its_data_at_a_multiple_of_64() {
        let file = npy(16, 1024, &[7, 8, 9]);
        assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([file[8], file[9]]));
        assert_eq!((10 + length) % 64, 0);
        assert_eq!(&file[10 + length..], [7, 8, 9]);
        let header = std::str::from_utf8(&file[10..10 + length]).unwrap();
        assert!(header.starts_with("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3, 16, 1024), }"));
        assert!(header.ends_with('\n'));
    }

    #[test]
    fn a_picture_that_was_not_judged_has_every_field_and_a_picture_of_itself() {
        let frame = Frame::still(8, 6, vec![3; 144]);
        let looked = Looked { frame, found: Err(Reason::BlindDark), decode_ms: 1.5, inputs: Vec::new() };
        let row = ResultRow::of("a.png", &looked, Verdict::Uninspected(Reason::BlindDark), 3.0, None);
        let row = serde_json::to_value(&row).unwrap();
        assert_eq!((&row["verdict"], &row["unseen"]), (&"uninspected".into(), &"blind_dark".into()));
        for key in ["score", "score_full", "score_zoom", "evidence", "evidence_zoom"] {
            assert_eq!(row.get(key), Some(&serde_json::Value::Null), "{key}");
        }
        assert_eq!((&row["crops"], &row["ms"]["total"]), (&serde_json::json!([]), &1.5.into()));
        let drawn = overlay::draw_unseen(&looked.frame, Reason::BlindDark, 3.0, "a.png");
        assert!(drawn.width > 8 && drawn.rgb.len() == (drawn.width * drawn.height * 3) as usize);
    }

    #[test]
    fn two_pictures_of_one_name_keep_apart() {
        let folder = tempfile::tempdir().unwrap();
        let mut overlays = Overlays::open(folder.path()).unwrap();
        let names = ["a", "a", "a-2", "a", "b"].map(|stem| {
            let path = overlays.free_name(stem);
            path.file_name().unwrap().to_str().unwrap().to_owned()
        });
        assert_eq!(names, ["a.png", "a-2.png", "a-2-2.png", "a-3.png", "b.png"]);
    }
}
