//! `zoomgate demo`: the main job with nothing attached.
//!
//! ```text
//! simulated belt ─► a few good and known bad parts ─► teach ─► recipe.onnx ─┐
//!               └─► the parts that follow ─► the daemon, as `run` wires it ◄┘ ─► verdicts, pulses
//! closing table: verdicts against what was drawn, the plain difference beside them, overlays of what went wrong
//! ```
//!
//! The parts taught and the parts inspected never are the same. What was drawn on a part is asked for only once the
//! belt has stopped.

mod files;
mod summary;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rayon::prelude::*;

use super::output::print_json;
use super::progress::Bar;
use super::{logging, run};
use crate::clock::{Clock, MonotonicClock, SimClock};
use crate::config;
use crate::daemon::{self, RunReport, Wiring};
use crate::decide::Verdict;
use crate::error::Result;
use crate::frame::Frame;
use crate::inspect::model::Model;
use crate::nn::backbone::Backbone;
use crate::pipeline::Stop;
use crate::pipeline::inspection::InspectionCost;
use crate::pipeline::recording::PartRecord;
use crate::reject::PulseOutcome;
use crate::sim::baseline::MeanDifference;
use crate::sim::render::{Scene, Want};
use crate::sim::{DefectKind, Rendered};
use crate::storage;
use crate::train::{Options, Picture, Progress as _, TrainedModel, train};
use files::Folder;
use summary::{Outcome, Summary, Training};

/// Arguments of `zoomgate demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Parts on the belt, without those taught.
    #[arg(long, default_value_t = 150, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub parts: u64,
    /// Seed of the belt, its parts and the lesson.
    #[arg(long, default_value_t = 1, value_name = "S", value_parser = clap::value_parser!(u64).range(0..=u64::from(u32::MAX)))]
    pub seed: u64,
    /// Run on a simulated clock: nothing waits, an inspection costs a modelled time, and everything but the measured
    /// times repeats exactly.
    #[arg(long)]
    pub fast: bool,
    /// Where recipe, records and overlays go; `demo-S` if not given.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object on stdout and nothing else there.
    #[arg(long)]
    pub json: bool,
    /// Good parts to teach from.
    #[arg(long, hide = true, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u64).range(8..=10_000))]
    pub lesson: u64,
    /// Side of the model input in pixels.
    #[arg(long, hide = true, default_value_t = 448, value_name = "PX", value_parser = clap::value_parser!(u16).range(64..=1024))]
    pub size: u16,
    /// Optimiser steps of each head.
    #[arg(long, hide = true, default_value_t = 30, value_name = "N")]
    pub steps: usize,
}

/// Frames, in pixels.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 512;
/// Chosen so that the default number of parts passes in half a minute and people can read along.
const PARTS_PER_S: f64 = 5.0;
/// Share of defective parts on the belt. Chosen far above a real line's, so that 150 parts show what escapes.
const DEFECT_RATE: f64 = 0.2;
/// Known bad parts to teach, of each kind of defect.
const KNOWN_OF_EACH: u64 = 2;
/// Parts from this one on are taught; the belt's are counted from 0.
const LESSON_FROM: u64 = 1 << 40;
/// What an inspection costs on the simulated clock. Chosen: about what a Pi 5 takes.
const MODELLED_COST: std::ops::RangeInclusive<Duration> = Duration::from_millis(45)..=Duration::from_millis(90);

/// Teaches, inspects, rejects, tells.
///
/// # Errors
/// When the folder cannot be written, or teaching or the run fails.
pub fn run(args: &Args) -> Result<()> {
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("demo-{}", args.seed)));
    let folder = Folder::prepare(folder, args)?;
    // Each part's line says what the log would.
    logging::set_level(log::LevelFilter::Warn);

    let scene = Scene::new(args.seed, WIDTH, HEIGHT, DEFECT_RATE);
    let bar = Bar::new(args.json);
    let lesson = capture_lesson(&scene, args.lesson, &bar);
    let taught = teach_recipe(args, &lesson, &bar)?;
    drop(bar);
    storage::write_atomic(&folder.recipe(), "write the recipe", &taught.bytes)?;
    let baseline = MeanDifference::fit(&lesson.good);
    let (good, bad) = (lesson.good.len(), lesson.bad.len());
    drop(lesson);
    if !args.json {
        println!(
            "taught from {good} good and {bad} known bad parts in {:.0} s: rejects from a score of {:.2} on",
            taught.took.as_secs_f64(),
            taught.recipe.threshold
        );
        println!("{} parts on the belt, {PARTS_PER_S} a second\n", args.parts);
    }

    let model = Model::load(&folder.recipe())?;
    let (report, records) = run_belt(args, &folder, &model)?;
    let outcomes = join_truth(&scene, &baseline, records);
    let overlays = folder.draw_overlays(&scene, &model, &outcomes)?;
    let training = Training { seed: args.seed, good, bad, teach_s: taught.took.as_secs_f64() };
    let summary = Summary::new(training, &report, &outcomes, folder.path());
    if args.json {
        return print_json(&summary.json());
    }
    print!("\n{summary}");
    println!("{}", folder.farewell(overlays));
    Ok(())
}

/// Parts that were in front of the camera before the run.
struct Captured {
    good: Vec<Frame>,
    bad: Vec<(Frame, DefectKind)>,
}

/// Captures the parts to teach: a technician sorts them, so their labels are known and nothing else about them is.
fn capture_lesson(scene: &Scene, good: u64, bar: &Bar) -> Captured {
    let kinds: Vec<DefectKind> = DefectKind::ALL.iter().flat_map(|&k| (0..KNOWN_OF_EACH).map(move |_| k)).collect();
    bar.stage("capturing parts to teach", good + kinds.len() as u64);
    let capture = |n: u64, want: Want| {
        let frame = frame_of(scene.render_part(LESSON_FROM + n, want));
        crate::train::Progress::tick(bar);
        frame
    };
    let goods = (0..good).into_par_iter().map(|n| capture(n, Want::Good)).collect();
    let bads = kinds.par_iter().enumerate();
    let bads = bads.map(|(n, &kind)| (capture(good + n as u64, Want::Defective(kind)), kind)).collect();
    Captured { good: goods, bad: bads }
}

/// A rendered part's pixels, without what is known about it.
fn frame_of(part: Rendered) -> Frame {
    Frame::still(part.width, part.height, part.rgb)
}

/// The very lesson that `zoomgate teach` gives, from pictures in memory.
fn teach_recipe(args: &Args, lesson: &Captured, bar: &Bar) -> Result<TrainedModel> {
    let named = |frame: &Frame, name: String| Picture::memory(frame.clone(), name);
    let good: Vec<Picture> =
        lesson.good.iter().enumerate().map(|(i, frame)| named(frame, format!("good/{i:03}"))).collect();
    let bads = lesson.bad.iter().enumerate();
    let bad: Vec<Picture> = bads.map(|(i, (frame, kind))| named(frame, format!("{}/{i:03}", kind.name()))).collect();
    let options = Options { size: args.size.into(), steps: args.steps, seed: args.seed, ..Options::default() };
    train(&good, &bad, &Backbone::bundled()?, &options, bar)
}

/// Runs the configuration in the folder as `zoomgate run` would, on the clock that was asked for.
fn run_belt(args: &Args, folder: &Folder, model: &Model) -> Result<(RunReport, Vec<PartRecord>)> {
    let config = config::load(&folder.config())?;
    let clock: Arc<dyn Clock> = if args.fast { Arc::new(SimClock::new()) } else { Arc::new(MonotonicClock) };
    let inspector = Box::new(model.inspector()?);
    let parts = run::scene(&config.camera);
    let stop = Stop::new();
    let _signals = daemon::stop_on_signals(&stop)?;
    let mut wiring = Wiring::from_config(&config, clock, inspector, model.recipe().threshold, parts)?;
    wiring.stop = stop;
    if args.fast {
        wiring.cost = InspectionCost::seeded(args.seed, MODELLED_COST);
    }
    let records = Arc::new(Mutex::new(Vec::new()));
    let (seen, is_quiet, threshold) = (Arc::clone(&records), args.json, wiring.line.threshold);
    wiring.observer = Some(Box::new(move |record| {
        if !is_quiet {
            tell(record, threshold);
        }
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(*record);
    }));
    let report = daemon::run(wiring)?;
    let mut records = std::mem::take(&mut *records.lock().unwrap_or_else(PoisonError::into_inner));
    records.sort_by_key(|r| r.part.id);
    Ok((report, records))
}

/// One line about a part. Runs on `rec`: a closed stdout must not end the belt.
fn tell(record: &PartRecord, threshold: f32) {
    let word = match record.verdict {
        Verdict::Pass => "pass",
        Verdict::Reject => "REJECT",
        Verdict::Uninspected(_) => "UNINSPECTED",
    };
    let score = record.inspection.map_or_else(|| "     -".to_owned(), |i| format!("{:6.2}", i.score.0));
    let place = match (record.verdict, record.inspection) {
        (Verdict::Reject, Some(found)) => found
            .crops
            .as_slice()
            .first()
            .map(|c| format!("  near {}, {}", c.x + c.width / 2, c.y + c.height / 2))
            .unwrap_or_default(),
        (Verdict::Uninspected(reason), _) => format!("  {reason}"),
        _ => String::new(),
    };
    let pulse = record.pulse.map(PulseOutcome::as_str).map(|p| format!("  pulse {p}")).unwrap_or_default();
    let line = format!("part {:>4}  {word:<11}  score {score} of {threshold:.2}{place}{pulse}", record.part.id.0);
    _ = writeln!(std::io::stdout(), "{line}");
}

/// Renders every part of the run once more, now with what was drawn on it, and asks the baseline.
fn join_truth(scene: &Scene, baseline: &MeanDifference, records: Vec<PartRecord>) -> Vec<Outcome> {
    let outcome = |record: PartRecord| {
        let mut part = scene.render_part(index_of(&record), Want::AsDrawn);
        let truth = part.truth.pop();
        Outcome { record, truth, baseline_rejects: baseline.rejects(&frame_of(part)) }
    };
    records.into_par_iter().map(outcome).collect()
}

/// The belt's parts are counted from 0, the ledger's from 1.
fn index_of(record: &PartRecord) -> u64 {
    record.part.id.0 - 1
}
