//! `zoomgate run`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::output::print_json;
use crate::camera::{self, Source};
use crate::clock::MonotonicClock;
use crate::config;
use crate::daemon::{self, RunReport, Service, Wiring};
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::model::Model;
use crate::pipeline::recording::Rotation;
use crate::pipeline::{Reopen, Stop};
use crate::sim::PartSource;
use crate::sim::render::Scene;
use crate::telemetry::{LatencyMs, Pulses};

/// Arguments of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    pub config: PathBuf,
    /// Prints a summary of the run as one JSON object when it ends.
    #[arg(long)]
    pub json: bool,
}

/// Runs the daemon that the configuration describes, on the real clock, until its camera ends or a signal asks it to.
///
/// # Errors
/// Kind `Config` with every mistake of the configuration, or where the recipe needs a policy that is not written; those of
/// the recipe, the wiring and the run.
pub fn run(args: &RunArgs) -> Result<()> {
    let config = config::load(&args.config)?;
    super::logging::set_level(config.log_level);
    let _held = daemon::hold(&args.config)?;
    let (model, slow) = open_recipe(&config.model)?;
    if let Some(what) = daemon::unwritten_policy(&config, model.recipe()) {
        return Err(Error::new(ErrorKind::Config, format!("{}: safety.on_no_part {what}", args.config.display())));
    }
    let knows_sight = model.recipe().sight.is_some();
    if !knows_sight {
        let recipe = config.model.recipe.display();
        log::warn!(
            "{recipe} does not know what good pictures show, so that a blind camera's are judged: teach it again"
        );
    }
    let threshold = config.decision.threshold.unwrap_or(model.recipe().threshold);
    let model = if config.zoom_always { model } else { model.with_lazy_zoom(threshold) };
    let model = model.with_threads(config.model.threads)?;
    let inspect = Box::new(model.inspector()?);
    let clock = Arc::new(MonotonicClock);
    // Before the lines: from their request on nothing may end the process but in order.
    let (stop, reopen) = (Stop::new(), Reopen::default());
    let _signals = daemon::stop_or_reopen_on_signals(&stop, &reopen)?;
    let _guard = daemon::guard(&config);
    let mut wiring = Wiring::from_config(&config, clock, inspect, model.recipe().threshold, scene(&config.camera))?;
    wiring.rotation = wiring.rotation.map(|rotation| Rotation { request: reopen, ..rotation });
    (wiring.service, wiring.stop) = (Service { knows_sight, slow, ..Service::from_config(&config) }, stop);
    let report = daemon::run(wiring)?;
    let summary = Summary::of(&report);
    log::info!(
        "{} parts: {} passed, {} rejected, {} not inspected; pulses {} of {} on time",
        summary.parts,
        summary.passes,
        summary.rejects,
        summary.uninspected,
        report.counts.pulses.fired + report.counts.pulses.merged,
        report.counts.pulses.planned
    );
    if args.json { print_json(&summary) } else { Ok(()) }
}

/// The recipe, and what runs in floats where that makes it slow.
///
/// A slow recipe is refused unless the configuration allows it: the line would learn of it by parts that come too late.
fn open_recipe(settings: &config::Model) -> Result<(Model, Option<String>)> {
    let path = settings.recipe.as_path();
    let model = Model::load(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            let message = format!(
                "there is no recipe {} ([model] recipe): make one from your own pictures with `zoomgate teach --good DIR \
                 --bad DIR --out {0}`, or see `zoomgate demo` first",
                path.display()
            );
            Error::new(ErrorKind::NotFound, message).caused_by(error)
        }
        _ => error,
    })?;
    let remainder = model.remainder();
    if !remainder.is_slow() {
        return Ok((model, None));
    }
    if !settings.may_be_slow {
        let message = format!(
            "{} is slow: {remainder}. Teach it again with this zoomgate and without `--without int8`; where the belt leaves \
             ten times as long for an inspection, set [model] slow = true",
            path.display()
        );
        return Err(Error::new(ErrorKind::Refused, message));
    }
    log::warn!("{} is slow, which [model] slow allows: {remainder}", path.display());
    Ok((model, Some(remainder.to_string())))
}

/// The parts that a simulated camera shows; `None` for any other.
pub(super) fn scene(camera: &camera::Settings) -> Option<Arc<dyn PartSource>> {
    match camera.source {
        Source::Simulated { seed, defect_rate, .. } => {
            Some(Arc::new(Scene::new(seed, camera.width, camera.height, defect_rate)))
        }
        Source::Folder { .. } | Source::V4l2(_) => None,
    }
}

/// The run as `--json` prints it.
#[derive(Debug, Serialize)]
struct Summary {
    schema: u32,
    parts: u64,
    passes: u64,
    rejects: u64,
    uninspected: u64,
    uninspected_by_reason: Map<String, Value>,
    late_scores: u64,
    missed_rejects: u64,
    pulses: Pulses,
    faults: Map<String, Value>,
    events_lost: u64,
    latency_ms: LatencyMs,
    seconds: f64,
}

impl Summary {
    fn of(report: &RunReport) -> Self {
        let counts = &report.counts;
        let by_reason = counts.uninspected_by_reason.iter().filter(|(_, n)| *n > 0);
        let faults = counts.faults.iter().filter(|(_, n)| *n > 0);
        Self {
            schema: 1,
            parts: counts.parts,
            passes: counts.passes,
            rejects: counts.rejects,
            uninspected: counts.uninspected(),
            uninspected_by_reason: by_reason.map(|(r, n)| (r.as_str().to_owned(), (*n).into())).collect(),
            late_scores: counts.late_scores,
            missed_rejects: counts.missed_rejects,
            pulses: counts.pulses,
            faults: faults.map(|(f, n)| (f.code().to_owned(), (*n).into())).collect(),
            events_lost: counts.events_lost,
            latency_ms: report.latency.summary(),
            seconds: report.ended_at.since(report.started_at).as_secs_f64(),
        }
    }
}
