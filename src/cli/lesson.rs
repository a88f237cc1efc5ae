//! `zoomgate teach`, `trial` and `eval`: recipes made and measured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::output::print_json;
use super::progress::Bar;
use super::report;
use crate::config::teaching;
use crate::error::{Error, ErrorKind, Result};
use crate::eval::dataset::Dataset;
use crate::eval::evaluation::{evaluate, lesson_picture, trial_run};
use crate::eval::interval::wilson;
use crate::eval::item::Item;
use crate::eval::open_set::{self, OpenSetReport};
use crate::eval::report::{EvalReport, TrialReport};
use crate::eval::robustness;
use crate::frame::augmentation::Augmentation;
use crate::inspect::CROPS_MAX;
use crate::inspect::model::Model;
use crate::inspect::recipe::Promise;
use crate::nn::backbone::{Backbone, InputRange};
use crate::nn::onnx;
use crate::storage;
use crate::train::ablation::Ablation;
use crate::train::budget::{Affordable, affordable};
use crate::train::promise::ONE_IN;
use crate::train::{DIVIDED_MIN, Options, Register, SuspectedLabel, TrainedModel, adapt, train};

/// How much time a lesson may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Effort {
    /// Heads with a quarter of the steps, for a first look.
    Quick,
    /// What the README's figures are of.
    Normal,
    /// Three lessons that hold out other good pictures each, so that the threshold's promise rests on nine in ten of
    /// them instead of three; three times as long.
    Thorough,
}

impl Effort {
    fn steps_and_folds(self) -> (usize, usize) {
        let steps = Options::default().steps;
        match self {
            Self::Quick => (steps / 4, 1),
            Self::Normal => (steps, 1),
            Self::Thorough => (steps, 3),
        }
    }
}

/// When parts are brought into line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// Where the good pictures say that it makes parts much more alike.
    Auto,
    /// Whatever they say.
    Always,
    /// Parts are inspected as they lie.
    Never,
}

impl From<When> for Register {
    fn from(when: When) -> Self {
        match when {
            When::Auto => Self::Auto,
            When::Always => Self::Always,
            When::Never => Self::Never,
        }
    }
}

/// The feature extractor and how to teach with it.
#[derive(Clone, Debug, clap::Args)]
pub struct HowArgs {
    /// Another feature extractor than the bundled one: ONNX, one input [1, 3, H, W] f32 RGB.
    #[arg(long, value_name = "FILE.onnx", requires = "features")]
    pub backbone: Option<PathBuf>,
    /// Its feature tensors, finest first: [1, C, H/s, W/s] each.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub features: Vec<String>,
    /// What its input expects: 0..255, 0..1, -1..1 or imagenet.
    #[arg(long, default_value = "0..255", value_name = "RANGE", allow_hyphen_values = true)]
    pub input_range: String,
    /// Side of the model input in pixels (a square of this size has its area; the pictures' aspect is kept).
    #[arg(long, default_value_t = 256, value_name = "PX", value_parser = clap::value_parser!(u16).range(64..=1024))]
    pub size: u16,
    /// Prototypes in each bank of good cells.
    #[arg(long, default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8192))]
    pub prototypes: u16,
    /// Suspicious places that an inspection zooms into; each costs a pass through the model.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=CROPS_MAX as i64))]
    pub crops: u8,
    /// Bring every part into line before it is looked at, taught or running: for parts that come shifted by up to a tenth
    /// of the picture or turned by up to 9 degrees. Costs some milliseconds an inspection.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto, num_args = 0..=1,
        default_missing_value = "always", require_equals = true)]
    pub register: When,
    /// A configuration whose `[teach]` says how parts may vary; without this config.toml here, if there is one.
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// How much time the lesson may take.
    #[arg(long, value_enum, default_value_t = Effort::Normal)]
    pub effort: Effort,
    /// Optimiser steps of each head, whatever the effort: fewer are quicker and worse.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub steps: Option<u32>,
    /// Set the threshold so that at most 1 good part in N is rejected, at 95 % confidence, as far as pictures prove it.
    #[arg(long, default_value_t = ONE_IN, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub promise: u32,
    /// Leave parts of the method out, to see what each is worth.
    #[arg(long, value_delimiter = ',', value_name = "PART,PART", value_parser = clap::builder::PossibleValuesParser::new(Ablation::NAMES))]
    pub without: Vec<String>,
}

impl HowArgs {
    fn backbone(&self) -> Result<Backbone> {
        let Some(path) = &self.backbone else { return Backbone::bundled() };
        let range = InputRange::parse(&self.input_range).ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                format!("--input-range {} is not one of 0..255, 0..1, -1..1, imagenet", self.input_range),
            )
        })?;
        Backbone::open(path, self.features.clone(), range)
    }

    fn augmentation(&self) -> Result<Augmentation> {
        let here = Path::new("config.toml");
        let Some(path) = self.config.as_deref().or(here.exists().then_some(here)) else {
            return Ok(Augmentation::default());
        };
        let augmentation = teaching::load(path)?;
        if augmentation != Augmentation::default() {
            log::info!("parts vary as {} says in [teach]", path.display());
        }
        Ok(augmentation)
    }

    /// Of the lesson with seed 0.
    fn options(&self) -> Result<Options> {
        let (steps, folds) = self.effort.steps_and_folds();
        Ok(Options {
            size: self.size.into(),
            prototypes: self.prototypes.into(),
            crops: self.crops.into(),
            steps: self.steps.map_or(steps, |steps| steps as usize),
            folds,
            one_in: self.promise,
            register: self.register.into(),
            augmentation: self.augmentation()?,
            ablation: self.without.iter().fold(Ablation::default(), |all, name| {
                all.without(name).expect("only names that it knows are let through")
            }),
            ..Options::default()
        })
    }
}

/// Arguments of `zoomgate teach`.
#[derive(Clone, Debug, clap::Args)]
pub struct TeachArgs {
    /// A folder in MVTec AD's layout (train/good, test/KIND) or with a split.csv; its training pictures are taught.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["good", "bad"], required_unless_present_any = ["good", "from"])]
    pub data: Option<PathBuf>,
    /// A folder of good pictures.
    #[arg(long, value_name = "DIR")]
    pub good: Option<PathBuf>,
    /// A folder of known bad pictures; without it the recipe knows only what is normal.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["data", "good"])]
    pub bad: Option<PathBuf>,
    /// A folder of pictures of the empty belt, at least five: where a part is due and only the belt is seen, the part is
    /// uninspected with the reason no_part, and `[safety] on_no_part` says what happens.
    #[arg(long, value_name = "DIR", conflicts_with = "from")]
    pub empty: Option<PathBuf>,
    /// A recipe to teach the defects of --bad as well: one to five pictures of a new kind, and none of the old ones.
    #[arg(long, value_name = "RECIPE.onnx", requires = "bad",
        conflicts_with_all = ["data", "backbone", "features", "input_range", "size", "prototypes", "promise", "register"])]
    pub from: Option<PathBuf>,
    /// The longest that an inspection of one such picture may take on this machine, in milliseconds: crops, prototypes and
    /// the model's input become smaller than asked for until it fits.
    #[arg(long, value_name = "MS", conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub budget_ms: Option<u32>,
    /// Where the recipe is written; an old one stays until the new one is complete.
    #[arg(long, value_name = "FILE.onnx")]
    pub out: PathBuf,
    /// Seed of every random choice.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print one JSON object on stdout and no progress bar.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened into the arguments above")]
    pub how: HowArgs,
}

#[derive(Serialize)]
struct TeachReport<'a> {
    schema: u32,
    recipe: String,
    good: usize,
    bad: usize,
    threshold: f32,
    promise: Promise,
    /// The tightest N of "at most 1 good part in N" that is proved.
    proved: u32,
    expected_escape: Option<f64>,
    /// SHA-256 of the recipe that this one was adapted from.
    adapted_from: Option<&'a str>,
    seconds: f64,
    warnings: &'a [String],
    /// Pictures that do not look like what they were given as.
    suspects: &'a [SuspectedLabel],
    /// Whether the recipe knows the empty belt.
    knows_empty: bool,
}

/// Teaches and writes one recipe file.
///
/// # Errors
/// Everything that can be wrong with pictures, backbone or disk; the old recipe stays.
pub fn run_teach(args: &TeachArgs) -> Result<()> {
    let taught = taught(args)?;
    storage::write_atomic(&args.out, "write the recipe", &taught.bytes)?;
    let r = &taught.recipe;
    let report = TeachReport {
        schema: 1,
        recipe: args.out.display().to_string(),
        good: r.teaching.good,
        bad: r.teaching.bad,
        threshold: r.threshold,
        promise: r.promise,
        proved: r.promise.proved(),
        expected_escape: r.expected_escape,
        adapted_from: r.teaching.adapted_from.as_deref(),
        seconds: taught.took.as_secs_f64(),
        warnings: &taught.warnings,
        suspects: &taught.suspects,
        knows_empty: r.sight.as_ref().is_some_and(|sight| sight.empty.is_some()),
    };
    if args.json {
        return print_json(&report);
    }
    for warning in &taught.warnings {
        log::warn!("{warning}");
    }
    println!(
        "{} taught from {} good and {} bad pictures in {:.0} s",
        report.recipe, report.good, report.bad, report.seconds
    );
    println!(
        "reject at a score of {:.2} and above: at most 1 good part in {} rejected ({:.0} % confidence, {} held-out pictures)",
        r.threshold,
        r.promise.proved(),
        r.promise.confidence * 100.0,
        r.promise.held_out
    );
    if report.knows_empty {
        println!("knows the empty belt: write [safety] on_no_part, which says what happens where no part lies");
    }
    match r.expected_escape {
        None if args.from.is_some() => println!(
            "how many bad parts would pass is not known: measure it with `zoomgate eval` on pictures that were not taught"
        ),
        Some(share) => {
            let bad = report.bad as f64;
            let (low, high) = wilson(share, bad);
            println!(
                "{:.0} of {bad} known bad parts would pass (each scored by heads that had not seen it): of all parts like \
                 them, between {:.0} and {:.0} % (95 % confidence)",
                share * bad,
                100.0 * low,
                100.0 * high
            );
        }
        None => println!(
            "how many bad parts would pass is not known: teach {DIVIDED_MIN} known bad ones or more, or measure it with \
             `zoomgate eval` on pictures that were not taught"
        ),
    }
    Ok(())
}

/// The lesson that the arguments ask for.
fn taught(args: &TeachArgs) -> Result<TrainedModel> {
    let lesson = |items: &[Item]| items.iter().map(lesson_picture).collect::<Vec<_>>();
    let empty = args.empty.as_deref().map(Dataset::empty_folder).transpose()?.unwrap_or_default();
    let options = Options { seed: args.seed, empty: lesson(&empty), ..args.how.options()? };
    let dataset = match (&args.data, &args.good, &args.from, &args.bad) {
        (Some(dir), ..) => Dataset::open(dir)?,
        (_, Some(_), Some(_), _) => {
            return Err(Error::new(
                ErrorKind::Config,
                "--from teaches a recipe new defects and leaves what is normal as it is: leave --good out, or leave --from \
                 out and teach anew from all good and bad pictures",
            ));
        }
        (_, Some(good), None, bad) => Dataset::from_folders(good, bad.as_deref())?,
        (_, None, Some(from), Some(bad)) => {
            let bytes = storage::read_bounded(from, "read the recipe", onnx::BYTES_MAX)?;
            let bad = lesson(&Dataset::bad_folder(bad)?);
            return adapt(&bytes, &from.display().to_string(), &bad, &options, &Bar::new(args.json));
        }
        _ => return Err(Error::new(ErrorKind::Config, "give --data DIR, or --good DIR and --bad DIR")),
    };
    let backbone = args.how.backbone()?;
    dataset.require_good()?;
    let (good, bad) = (lesson(&dataset.good), lesson(&dataset.bad));
    let bar = Bar::new(args.json);
    let Some(ms) = args.budget_ms else { return train(&good, &bad, &backbone, &options, &bar) };
    let budget = Duration::from_millis(ms.into());
    let Affordable { options, takes } = affordable(budget, [&good, &bad], &backbone, &options, &bar)?;
    let mut taught = train(&good, &bad, &backbone, &options, &bar)?;
    taught.warnings.push(format!(
        "an inspection takes about {:.1} ms here: --size {} --prototypes {} --crops {} of what was asked for fit {ms} ms",
        takes.as_secs_f64() * 1e3,
        options.size,
        options.prototypes,
        options.crops
    ));
    Ok(taught)
}

/// Arguments of `zoomgate trial`.
#[derive(Clone, Debug, clap::Args)]
pub struct TrialArgs {
    /// A folder in MVTec AD's layout or with a split.csv.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Known bad pictures, drawn by seed from the defective test pictures and taken out of the test.
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub known: usize,
    /// Number of runs, with seeds FIRST to FIRST + S - 1.
    #[arg(long, default_value_t = 3, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// The first run's seed.
    #[arg(long, default_value_t = 0, value_name = "FIRST")]
    pub first_seed: u64,
    /// Leave each kind of defect out of the lesson in turn and test on it, beside a recipe that knows no defect.
    #[arg(long, conflicts_with_all = ["perturb", "report"])]
    pub leave_kind_out: bool,
    /// Test again under other light, focus, place, noise and compression, and see whether the crops stay.
    #[arg(long)]
    pub perturb: bool,
    /// Write a report for people: one HTML file with the verdict in words, curves, and the worst pictures.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Print one JSON object on stdout and no progress bar.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened into the arguments above")]
    pub how: HowArgs,
}

/// Teaches and tests several times by METHOD's protocol and prints the figures.
///
/// # Errors
/// As [`run_teach`]; also when the folder has too few defective test pictures.
pub fn run_trial(args: &TrialArgs) -> Result<()> {
    let backbone = args.how.backbone()?;
    let dataset = Dataset::open(&args.data)?;
    dataset.require_good()?;
    dataset.require_test()?;
    if args.leave_kind_out {
        return run_open_set(args, &dataset, &backbone);
    }
    args.report.as_deref().map_or(Ok(()), report::check_place)?;
    let bar = Bar::new(args.json);
    let mut runs = Vec::new();
    // Curves and galleries are the first run's: its recipe and pictures are kept, the others only as figures.
    let mut first = None;
    let options = args.how.options()?;
    for seed in args.first_seed..args.first_seed + args.seeds {
        let draw = dataset.draw_known(args.known, seed)?;
        let options = Options { seed, ..options.clone() };
        let mut trial = trial_run(&dataset.good, &draw.known, &draw.test, &backbone, &options, &bar)?;
        if args.perturb {
            let rows = robustness::perturbed(&trial.model, &draw.test, &trial.tested, seed, &bar)?;
            trial.tested.run.perturbed = Some(rows);
        }
        runs.push(trial.tested.run.clone());
        first.get_or_insert((trial, draw.test));
    }
    if let (Some(path), Some((trial, test))) = (&args.report, &first) {
        let title = format!("Trial on {} with {} known defects", folder_name(&dataset), args.known);
        let test = report::Test { model: &trial.model, items: test, tested: &trial.tested };
        report::write(path, title, &runs, test, &bar)?;
    }
    drop(bar);
    let report = TrialReport::new(runs);
    if args.json {
        return print_json(&report);
    }
    print!("{report}");
    Ok(())
}

/// `trial --leave-kind-out`.
fn run_open_set(args: &TrialArgs, dataset: &Dataset, backbone: &Backbone) -> Result<()> {
    let options = args.how.options()?;
    let bar = Bar::new(args.json);
    let mut runs = Vec::new();
    for seed in args.first_seed..args.first_seed + args.seeds {
        let options = Options { seed, ..options.clone() };
        runs.extend(open_set::leave_each_out(dataset, args.known, backbone, &options, &bar)?);
    }
    drop(bar);
    let report = OpenSetReport::new(runs);
    if args.json {
        return print_json(&report);
    }
    print!("{report}");
    Ok(())
}

/// The data folder without its path: a report is passed on.
fn folder_name(dataset: &Dataset) -> String {
    dataset.root.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Arguments of `zoomgate eval`.
#[derive(Clone, Debug, clap::Args)]
pub struct EvalArgs {
    /// The recipe to measure.
    #[arg(long, value_name = "FILE.onnx")]
    pub recipe: PathBuf,
    /// A folder in MVTec AD's layout or with a split.csv; its test pictures are inspected.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Another threshold than the recipe's.
    #[arg(long, allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// Leave the zoom out where the full image is far below the threshold, as `[zoom] always = false` does.
    #[arg(long)]
    pub lazy_zoom: bool,
    /// Write a report for people: one HTML file with the verdict in words, curves, and the worst pictures.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Print one JSON object on stdout and no progress bar.
    #[arg(long)]
    pub json: bool,
}

/// Measures a recipe on a folder's test pictures.
///
/// # Errors
/// When the recipe or a picture cannot be read, or there is nothing to test.
pub fn run_eval(args: &EvalArgs) -> Result<()> {
    args.report.as_deref().map_or(Ok(()), report::check_place)?;
    let mut model = Model::load(&args.recipe)?;
    if args.lazy_zoom {
        let threshold = args.threshold.unwrap_or(model.recipe().threshold);
        model = model.with_lazy_zoom(threshold);
    }
    let dataset = Dataset::open(&args.data)?;
    dataset.require_test()?;
    let bar = Bar::new(args.json);
    let tested = evaluate(&model, &dataset.test, args.threshold, &bar)?;
    if let Some(path) = &args.report {
        let name = args.recipe.file_name().unwrap_or_default().to_string_lossy();
        let title = format!("{name} on {}", folder_name(&dataset));
        let test = report::Test { model: &model, items: &dataset.test, tested: &tested };
        report::write(path, title, std::slice::from_ref(&tested.run), test, &bar)?;
    }
    drop(bar);
    let report = EvalReport::new(tested.run);
    if args.json {
        return print_json(&report);
    }
    print!("{report}");
    Ok(())
}
