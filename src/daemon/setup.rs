//! What setting a line up needs of its wiring: the camera alone, or camera and trigger with every output left alone.
//!
//! The same camera, trigger and threads as [`run`](super::run), so that what is collected and aimed here is what will be
//! inspected there.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Opened, Wiring, open_auxiliary, open_camera, open_lines, open_trigger, refuse_contradictions, status};
use crate::camera::Camera;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::decide::{OnMissedReject, OnUninspected, Safety};
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::{self, Level, Lines, Outputs as _, Recorder, Unconnected};
use crate::inspect::Inspect;
use crate::pipeline::actuation::Sensors;
use crate::sim::PartSource;

/// How long a part waits for its frame, and a frame for its place on the disk. Nothing is rejected in [`watching`], so
/// that no actuator sets the time. Chosen: longer than an SD card stalls, short enough to tell a person who stands there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Frames that wait to be looked at. Chosen: the bunches of a belt; more would only hide that it is too fast.
const JOBS: usize = 8;

/// Opens the configured camera and nothing else.
///
/// # Errors
/// When it cannot be opened; what a running daemon holds is named.
pub fn camera(config: &Config, clock: &Arc<dyn Clock>, parts: Option<Arc<dyn PartSource>>) -> Result<Box<dyn Camera>> {
    let opened = open_camera(config, clock, parts).map(|(camera, _)| camera);
    opened.map_err(|error| name_the_holder(error, config))
}

/// Wires camera and trigger as the configuration has them, for `inspect` to look at each part's frame. No output is
/// requested, but the light's where `with_light` asks for it.
///
/// # Errors
/// When the camera or an input cannot be opened; what a running daemon holds is named.
pub fn watching(
    config: &Config,
    clock: Arc<dyn Clock>,
    inspect: Box<dyn Inspect>,
    parts: Option<Arc<dyn PartSource>>,
    with_light: bool,
) -> Result<Wiring> {
    wire(config, clock, inspect, parts, with_light).map_err(|error| name_the_holder(error, config))
}

/// The same line where nothing is rejected, counted or asked of anybody.
fn at_rest(config: &Config) -> Config {
    Config {
        reject: patient(config),
        encoder: None,
        confirm: None,
        alarm: Default::default(),
        safety: Safety {
            on_uninspected: OnUninspected::Pass,
            on_missed_reject: OnMissedReject::Alarm,
            on_no_part: None,
        },
        ..config.clone()
    }
}

/// A dry reject whose deadline nobody misses.
fn patient(config: &Config) -> crate::reject::Settings {
    let mut reject = config.reject.clone();
    reject.enabled = false;
    reject.travel.0 = reject.belt_speed.0 * PATIENCE.as_secs_f64();
    reject.actuator_latency = Duration::ZERO;
    reject
}

fn wire(
    config: &Config,
    clock: Arc<dyn Clock>,
    inspect: Box<dyn Inspect>,
    parts: Option<Arc<dyn PartSource>>,
    with_light: bool,
) -> Result<Wiring> {
    refuse_contradictions(config)?;
    let config = &at_rest(config);
    let mut lines = quiet_lines(config, &clock, with_light)?;
    let light = config.outputs.light.clone().filter(|_| with_light);
    let outputs = config::Outputs { light, ..Default::default() };
    let (indicators, auxiliary) = open_auxiliary(&outputs, &mut *lines)?;
    let (camera, arrivals) = open_camera(config, &clock, parts)?;
    let trigger = open_trigger(&config.trigger, &mut *lines, &*clock, arrivals)?;
    let reject_line = Unconnected.request(&config.reject.line, Level::Low)?;
    let sensors = Sensors::default();
    let opened = Opened { camera, trigger, sensors, reject_line, indicators, auxiliary };
    let mut wiring = Wiring::around(opened, config, clock, inspect, f32::INFINITY);
    wiring.line.capacity.jobs = wiring.line.capacity.jobs.min(JOBS);
    Ok(wiring)
}

/// The lines' backend where something is asked of it; the record of the last run is not touched.
fn quiet_lines(config: &Config, clock: &Arc<dyn Clock>, with_light: bool) -> Result<Box<dyn Lines>> {
    let reads = matches!(config.trigger, config::Trigger::PhotoEye { .. });
    match &config.gpio.backend {
        gpio::Backend::Recorded { inputs, .. } => {
            let recorder = Recorder::in_memory(Arc::clone(clock));
            Ok(Box::new(match inputs {
                Some(inputs) if reads => recorder.playing_file(inputs)?,
                _ => recorder,
            }))
        }
        _ if !reads && !with_light => Ok(Box::new(Unconnected)),
        _ => open_lines(&config.gpio, clock),
    }
}

/// Says of something that is held whether the daemon holds it, and how to free it.
pub fn name_the_holder(error: Error, config: &Config) -> Error {
    if error.kind() != ErrorKind::Busy {
        return error;
    }
    let step = match running_daemon(config) {
        Some(socket) => format!(
            "a running daemon answers at {}: stop it with `systemctl stop zoomgate` and start it again afterwards",
            socket.display()
        ),
        None => "if it is the daemon, `systemctl stop zoomgate` stops it".to_owned(),
    };
    Error::new(ErrorKind::Busy, format!("{}; {step}", error.message())).caused_by(error)
}

/// The status socket of a daemon that runs with this configuration.
pub fn running_daemon(config: &Config) -> Option<std::path::PathBuf> {
    let socket = status::path(config.status.socket.as_deref())?;
    answers(&socket).then_some(socket)
}

fn answers(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}
