//! From settings to hardware: the camera, the lines and the files that a configuration names, opened.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use super::MATCH_TOLERANCE;
use super::guardian::Successor;
#[cfg(feature = "v4l2")]
use crate::camera;
use crate::camera::folder::Replay;
use crate::camera::{Camera, FolderCamera, Source};
use crate::clock::{Clock, Timestamp};
use crate::config::{self, Config};
use crate::decide::{OnMissedReject, OnUninspected};
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::filter::{HeldOff, Interval};
use crate::gpio::{self, Cdev, InitialLevel, InputOptions, Inputs, Level, Lines, Recorder, Unconnected};
use crate::inspect::Inspect;
use crate::inspect::frozen::FrozenWatch;
use crate::inspect::recipe::Recipe;
#[cfg(feature = "v4l2")]
use crate::pipeline::Capacity;
use crate::pipeline::Reopen;
use crate::pipeline::actuation::{AuxiliaryOutputs, Heartbeat, Indicators, Results, Sensors, StrobeLight, Trigger};
use crate::pipeline::recording::Rotation;
use crate::sim::PartSource;
use crate::sim::belt::{PhotoEye, Spacing, arrivals};
use crate::sim::camera::{EXPOSURE_DELAY, SimCamera};
use crate::storage::record;

pub(super) const EYE_WITHOUT_BELT: &str =
    "[trigger] source = \"simulated\" needs [camera] source = \"simulated\": set \"every_frame\"";

pub(super) fn refuse_contradictions(config: &Config) -> Result<()> {
    if config.trigger == config::Trigger::Simulated && !matches!(config.camera.source, Source::Simulated { .. }) {
        return Err(Error::new(ErrorKind::Config, EYE_WITHOUT_BELT));
    }
    let stops = config.safety.on_uninspected == OnUninspected::StopLine
        || config.safety.on_no_part == Some(OnUninspected::StopLine)
        || config.safety.on_missed_reject == OnMissedReject::StopLine;
    if stops && config.outputs.stop_line.is_none() {
        let message = "[safety] asks to stop the line and [outputs] stop_line names no output: name one, or choose \
                       another policy";
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(())
}

/// What is wrong with `safety.on_no_part`, which a recipe that knows the empty belt needs to be written; a sentence whose
/// subject is that key.
///
/// The file alone cannot tell: `check`, `doctor` and `run` ask this once they have the recipe.
pub fn unwritten_policy(config: &Config, recipe: &Recipe) -> Option<&'static str> {
    let is_needed = recipe.sight.as_ref().is_some_and(|sight| sight.empty.is_some());
    (is_needed && config.safety.on_no_part.is_none()).then_some(
        "is required: the recipe of model.recipe was taught with `--empty`. Choose what happens where a part is due and \
         the whole empty belt is seen: \"reject\" fires the actuator all the same, \"pass\" lets it go, \"stop_line\" asks \
         the line to stop. Only the plant can choose",
    )
}

/// The inspection as a camera of this kind needs it: one of the kernel may freeze, a replay repeats what it is given.
pub fn watch_camera(camera: &Source, inspect: Box<dyn Inspect>) -> Box<dyn Inspect> {
    match camera {
        Source::V4l2(device) if device.detect_frozen => Box::new(FrozenWatch::new(inspect)),
        Source::V4l2(_) | Source::Folder { .. } | Source::Simulated { .. } => inspect,
    }
}

pub(super) type Arrivals = Arc<[Timestamp]>;

pub(super) fn open_camera(
    config: &Config,
    clock: &Arc<dyn Clock>,
    parts: Option<Arc<dyn PartSource>>,
) -> Result<(Box<dyn Camera>, Option<Arrivals>)> {
    let settings = &config.camera;
    match &settings.source {
        Source::Folder { path, shuffle_seed, repeat } => {
            let replay = Replay::new(settings, path, *shuffle_seed, *repeat);
            Ok((Box::new(FolderCamera::open(Arc::clone(clock), replay)?), None))
        }
        Source::Simulated { seed, parts: count, .. } => {
            let parts = parts.ok_or_else(|| {
                Error::new(
                    ErrorKind::Internal,
                    "the simulated camera was wired without anything that renders its parts",
                )
            })?;
            let arrivals = arrivals(clock.now(), *count, Spacing::at_rate(settings.rate_hz), *seed);
            let camera = SimCamera::new(Arc::clone(clock), parts, Arc::clone(&arrivals));
            Ok((Box::new(camera), Some(arrivals)))
        }
        #[cfg(feature = "v4l2")]
        Source::V4l2(device) => {
            let size = (settings.width, settings.height);
            let setup = camera::v4l2::Setup {
                device: device.device.clone(),
                size,
                stall: device.stall,
                frames: frames_on_their_way(config),
            };
            let device = camera::v4l2::Device::new(device.clone(), size, settings.rate_hz);
            Ok((Box::new(camera::v4l2::V4l2Camera::open(Arc::clone(clock), device, setup)?), None))
        }
        #[cfg(not(feature = "v4l2"))]
        Source::V4l2(device) => {
            let message = format!(
                "{} needs a build with the cargo feature v4l2: build it so, or choose another [camera] source",
                device.device.display()
            );
            Err(Error::new(ErrorKind::Config, message))
        }
    }
}

/// The memory that frames on their way may take: a quarter of the smallest boards'.
#[cfg(feature = "v4l2")]
const FRAMES_BYTES_MAX: usize = 256 << 20;

/// How many frames a run holds at the same time: those that wait for `act`, for their edge and for their inspection, the
/// one that is inspected, the one before it, and one to write into; as many of them as [`FRAMES_BYTES_MAX`] has room for.
#[cfg(feature = "v4l2")]
fn frames_on_their_way(config: &Config) -> usize {
    let camera = &config.camera;
    let jobs = Capacity::between(config.reject.travel_time(), camera.rate_hz).jobs;
    let bytes = camera.width as usize * camera.height as usize * 3;
    (crate::pipeline::FRAMES + jobs + crate::decide::part::EARLY_FRAMES + 3)
        .min((FRAMES_BYTES_MAX / bytes.max(1)).max(5))
}

/// Keeps a second daemon away from a configuration, for as long as the file that is given is open.
///
/// The lock is on the configuration itself: it may be one that can only be read, every account and name space sees the
/// same one, and nothing is left behind when its holder is killed. A file that an editor has put in its place is another
/// one; the record files have locks of their own.
///
/// # Errors
/// `Busy` while another process has it, which is named; when the file cannot be opened.
pub fn hold(config: &Path) -> Result<File> {
    let file = File::open(config).map_err(|error| Error::io("open the configuration", config, error))?;
    record::claim(&file, |holder| {
        format!(
            "{holder} runs with {} already: end it first (`systemctl stop zoomgate`, or `kill` and that number), or give \
             this line a configuration of its own",
            config.display()
        )
    })?;
    Ok(file)
}

/// Opens the backend of the lines and requests none of them. Lines that a guardian holds are taken over.
///
/// # Errors
/// When the backend is not in this build or does not fit this machine, or its files cannot be opened.
pub fn open_lines(settings: &gpio::Settings, clock: &Arc<dyn Clock>) -> Result<Box<dyn Lines>> {
    Ok(open_lines_and_record(settings, clock)?.0)
}

/// As [`open_lines`], and what records the lines, where something does.
pub(super) fn open_lines_and_record(
    settings: &gpio::Settings,
    clock: &Arc<dyn Clock>,
) -> Result<(Box<dyn Lines>, Option<Recorder>)> {
    let lines: Box<dyn Lines> = match &settings.backend {
        gpio::Backend::Gpiocdev => Box::new(Successor(Cdev::new(settings.chip.clone()))),
        #[cfg(feature = "rppal")]
        gpio::Backend::Rppal => Box::new(gpio::rppal::Rppal::open()?),
        #[cfg(not(feature = "rppal"))]
        gpio::Backend::Rppal => {
            let message = "[gpio] backend = \"rppal\" needs a build with the cargo feature rppal: build it so, or choose \
                           \"gpiocdev\"";
            return Err(Error::new(ErrorKind::Config, message));
        }
        gpio::Backend::Recorded { path, inputs } => {
            let recorder = Recorder::to_file(Arc::clone(clock), path)?;
            let recorder = match inputs {
                Some(inputs) => recorder.playing_file(inputs)?,
                None => recorder,
            };
            return Ok((Box::new(recorder.clone()), Some(recorder)));
        }
        gpio::Backend::None => Box::new(Unconnected),
    };
    Ok((lines, None))
}

pub(super) fn open_trigger(
    settings: &config::Trigger,
    lines: &mut dyn Lines,
    clock: &dyn Clock,
    arrivals: Option<Arrivals>,
) -> Result<Trigger> {
    Ok(match settings {
        config::Trigger::EveryFrame => Trigger::EveryFrame,
        config::Trigger::Simulated => {
            let arrivals = arrivals.ok_or_else(|| Error::new(ErrorKind::Config, EYE_WITHOUT_BELT))?;
            Trigger::Edge {
                input: Box::new(PhotoEye::new(arrivals)),
                exposure_offset: EXPOSURE_DELAY.into(),
                tolerance: MATCH_TOLERANCE,
            }
        }
        config::Trigger::PhotoEye { line, options, holdoff, exposure } => Trigger::Edge {
            input: Box::new(HeldOff::new(lines.request_input(line, *options, InitialLevel::Ignored)?, *holdoff)),
            exposure_offset: exposure.offset,
            tolerance: exposure.tolerance,
        },
        config::Trigger::Interval { period, exposure } => Trigger::Edge {
            input: Box::new(Interval::new(clock.now(), *period)),
            exposure_offset: exposure.offset,
            tolerance: exposure.tolerance,
        },
        config::Trigger::Tripwire { exposure, .. } => {
            Trigger::Tripwire { exposure_offset: exposure.offset, tolerance: exposure.tolerance }
        }
    })
}

/// Requests the outputs beside the reject line.
pub(super) fn open_auxiliary(names: &config::Outputs, lines: &mut dyn Lines) -> Result<(Indicators, AuxiliaryOutputs)> {
    let mut open = |name: &str| lines.request(name, Level::Low);
    let mut maybe = |name: &Option<String>| name.as_deref().map(&mut open).transpose();
    let (ready, fault, stop_line) = (maybe(&names.ready)?, maybe(&names.fault)?, maybe(&names.stop_line)?);
    let results = names.result.as_ref().map(|result| -> Result<_> {
        let valid = result.valid.as_deref().map(&mut open).transpose()?;
        Ok(Results::new(open(&result.line)?, valid, result.width))
    });
    let (results, heartbeat) = (results.transpose()?, names.heartbeat.as_ref());
    let heartbeat = heartbeat.map(|h| Ok::<_, Error>(Heartbeat::new(open(&h.line)?, h.period))).transpose()?;
    let light =
        names.light.as_ref().map(|l| Ok::<_, Error>(StrobeLight::new(open(&l.line)?, l.delay, l.width))).transpose()?;
    Ok((Indicators { ready, fault, stop_line, heartbeat }, AuxiliaryOutputs { results, light }))
}

/// Requests the inputs beside the trigger.
pub(super) fn open_sensors(config: &Config, inputs: &mut dyn Inputs) -> Result<Sensors> {
    use InitialLevel::{Ignored, Reported};
    let mut open = |line: Option<(&str, InputOptions)>, initial| {
        line.map(|(name, options)| inputs.request_input(name, options, initial)).transpose()
    };
    let encoder = config.encoder.as_ref();
    let confirm = open(config.confirm.as_ref().map(|c| (&*c.line, c.options)), Ignored)?;
    Ok(Sensors {
        encoder_a: open(encoder.map(|e| (&*e.line_a, e.options)), Ignored)?,
        encoder_b: open(encoder.and_then(|e| Some((&**e.line_b.as_ref()?, e.options))), Ignored)?,
        confirm: confirm.zip(config.confirm.as_ref()).map(|(eye, c)| Box::new(HeldOff::new(eye, c.holdoff)) as _),
        bin_full: open(further(&config.inputs.bin_full), Reported)?,
        reset: open(further(&config.inputs.reset), Ignored)?,
        recipe: {
            let [one, two, four, eight] = config.inputs.recipe.each_ref().map(|digit| open(further(digit), Reported));
            [one?, two?, four?, eight?]
        },
    })
}

/// A line of `[inputs]` and how it is read.
fn further(input: &Option<config::InputLine>) -> Option<(&str, InputOptions)> {
    input.as_ref().map(|input| (&*input.line, input.options))
}

/// Appends: the record of a shift must survive the restart after a power cut. A `start` event divides the runs.
pub(super) fn open_events(path: &Path) -> Result<Box<dyn Write + Send>> {
    Ok(Box::new(BufWriter::new(record::append(path, "write the events")?)))
}

/// How the record files are opened anew; `edges` is what records the lines.
pub(super) fn rotation(events: Option<&Path>, edges: Option<Recorder>) -> Rotation {
    let events = events.map(Path::to_owned);
    let open = move || {
        edges.as_ref().map_or(Ok(()), Recorder::reopen)?;
        events.as_deref().map(open_events).transpose()
    };
    Rotation { request: Reopen::default(), open: Box::new(open) }
}
