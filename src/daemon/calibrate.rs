//! A calibration wired: the configured camera, trigger, eye and reject line around [`Bench`], and what it comes to.
//!
//! The lines, the threads and their clock are those of [`run`](super::run); a test replaces what is behind them.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::{
    MATCH_TOLERANCE, enter_realtime, open_auxiliary, open_camera, open_lines, open_sensors, open_trigger,
    refuse_contradictions, spawn,
};
use crate::camera::{Camera, Source, Tripwire};
use crate::clock::{Clock, SchedulerSlot};
use crate::config::{self, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::{self, SafeLine};
use crate::pipeline::actuation::calibration::{Bench, Measured, Word};
use crate::pipeline::actuation::{AuxiliaryOutputs, Indicators, Sensors, Trigger};
use crate::pipeline::capture::capture;
use crate::pipeline::{Capacity, Shared, Stop, Thread};
use crate::reject::calibration::{
    CalibrationError, CalibrationPlan, CalibrationWarning, Estimate, Interval, Search, Spread, estimate,
};
use crate::reject::{Actuator, Belt, ConstantSpeed, EncoderBelt, confirm};
use crate::sim::PartSource;
use crate::sim::camera::{EXPOSURE_DELAY, SimCamera};
use crate::sim::station::{Station, Truth, one_at_a_time};
use crate::telemetry::board::Board;
use crate::units::Millimetres;

/// The edges of what hits are found to this share of the pulse, and to [`RESOLUTION_MS`] at least.
const RESOLUTION: f64 = 1.0 / 16.0;
/// Chosen: what a valve repeats to.
const RESOLUTION_MS: f64 = 2.0;
/// A pulse can begin this long after its trigger is known at the earliest.
const REACTION_MS: f64 = 5.0;

/// All that a calibration is made of.
pub struct Calibration {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Frames.
    pub camera: Box<dyn Camera>,
    /// Width and height of a frame.
    pub frame_size: (u32, u32),
    /// Looks at each frame where that starts parts.
    pub tripwire: Option<Tripwire>,
    /// The lines and the search.
    pub bench: Bench,
    /// From the actuator to the eye.
    pub eye: Millimetres,
    /// Scheduling of the loop.
    pub realtime: config::Realtime,
    /// Ends it.
    pub stop: Stop,
}

/// What a calibration comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibrated {
    /// The pulses that reject the part.
    pub hits: Interval,
    /// Travel and latency.
    pub estimate: Estimate,
    /// How long the line was active, in milliseconds.
    pub width_ms: f64,
    /// How long the part covers the trigger's eye, where that tells.
    pub body_ms: Option<Spread>,
    /// From the trigger to the part in the middle of the picture, where the camera shows it.
    pub middle_ms: Option<Spread>,
}

impl Calibration {
    /// Wires what a configuration describes, with `repeats` passes at the aim; `tell` hears of every pass.
    ///
    /// The lines of a simulated camera are simulated too, with a truth of their own to be found out.
    ///
    /// # Errors
    /// `Config` where a sensor is missing that is needed, with the key that names it; `Busy` while a daemon runs; when
    /// the camera or a line cannot be opened.
    pub fn from_config(
        config: &Config,
        clock: Arc<dyn Clock>,
        parts: Option<Arc<dyn PartSource>>,
        repeats: usize,
        tell: Box<dyn FnMut(Word) + Send>,
    ) -> Result<Self> {
        refuse_contradictions(config)?;
        let confirm = refuse_missing(config)?;
        if let Some(socket) = super::setup::running_daemon(config) {
            let message = format!(
                "a running daemon answers at {} and holds the reject line: stop it with `systemctl stop zoomgate` and \
                 start it again afterwards",
                socket.display()
            );
            return Err(Error::new(ErrorKind::Busy, message));
        }
        let opened = open(config, &clock, parts).map_err(|error| super::setup::name_the_holder(error, config))?;
        let Opened { camera, trigger, sensors, actuator, indicators, auxiliary, belt } = opened;
        let width_ms = config.reject.pulse_width.as_secs_f64() * 1e3;
        let delay_ms = match &trigger {
            Trigger::Edge { input, .. } => input.delay().as_secs_f64() * 1e3,
            Trigger::EveryFrame | Trigger::Tripwire { .. } => 0.0,
        };
        let earliest_ms = delay_ms + REACTION_MS;
        let guess = config.reject.travel_time().saturating_sub(config.reject.actuator_latency);
        let plan = CalibrationPlan {
            guess_ms: (guess.as_secs_f64() * 1e3).max(earliest_ms),
            earliest_ms,
            width_ms,
            resolution_ms: (width_ms * RESOLUTION).max(RESOLUTION_MS),
            repeats,
        };
        let flight = Duration::try_from_secs_f64(confirm.travel.0 / config.reject.belt_speed.0).unwrap_or_default();
        Ok(Self {
            frame_size: (config.camera.width, config.camera.height),
            tripwire: match &config.trigger {
                config::Trigger::Tripwire { wire, .. } => Some(Tripwire::new(*wire)),
                _ => None,
            },
            bench: Bench {
                trigger,
                sensors,
                belt,
                actuator,
                indicators,
                auxiliary,
                pulse_width: config.reject.pulse_width,
                flight: flight + confirm.window,
                search: Search::new(plan),
                tell,
            },
            eye: confirm.travel,
            realtime: config.realtime,
            stop: Stop::new(),
            camera,
            clock,
        })
    }
}

impl Calibration {
    /// About how many passes it takes.
    pub fn passes(&self) -> usize {
        self.bench.search.passes_left()
    }
}

/// What is behind the lines.
struct Opened {
    camera: Box<dyn Camera>,
    trigger: Trigger,
    sensors: Sensors,
    actuator: SafeLine,
    indicators: Indicators,
    auxiliary: AuxiliaryOutputs,
    belt: Box<dyn Belt>,
}

fn open(config: &Config, clock: &Arc<dyn Clock>, parts: Option<Arc<dyn PartSource>>) -> Result<Opened> {
    if config.trigger == config::Trigger::Simulated {
        return open_simulated(config, clock, parts);
    }
    // Outputs first: they are safe while the rest is being opened.
    let mut lines = open_lines(&config.gpio, clock)?;
    let actuator = lines.request(&config.reject.line, Actuator::rest_level(config.reject.active_low))?;
    let (indicators, auxiliary) = open_auxiliary(&config.outputs, &mut *lines)?;
    let (camera, arrivals) = open_camera(config, clock, parts)?;
    let trigger = open_trigger(&config.trigger, &mut *lines, &**clock, arrivals)?;
    let mut sensors = open_sensors(config, &mut *lines)?;
    // Nobody presses or switches anything here.
    (sensors.bin_full, sensors.reset, sensors.recipe) = Default::default();
    let belt: Box<dyn Belt> = match &config.encoder {
        Some(encoder) => Box::new(EncoderBelt::new(encoder)),
        None => Box::new(ConstantSpeed::new(config.reject.belt_speed, clock.now())),
    };
    Ok(Opened { camera, trigger, sensors, actuator, indicators, auxiliary, belt })
}

/// One part after the other on the simulated belt, and a station whose truth is not the configuration's.
fn open_simulated(config: &Config, clock: &Arc<dyn Clock>, parts: Option<Arc<dyn PartSource>>) -> Result<Opened> {
    let parts = parts.ok_or_else(|| {
        Error::new(ErrorKind::Internal, "the simulated camera was wired without anything that renders its parts")
    })?;
    let Source::Simulated { seed, parts: count, .. } = config.camera.source else {
        return Err(Error::new(ErrorKind::Config, super::open::EYE_WITHOUT_BELT));
    };
    let flight = config.confirm.as_ref().map_or(0.0, |confirm| confirm.travel.0 / config.reject.belt_speed.0);
    let truth = Truth {
        travel: config.reject.travel_time().mul_f64(1.04),
        body: Duration::from_millis(60),
        latency: config.reject.actuator_latency + Duration::from_millis(13),
        flight: Duration::from_secs_f64(flight),
        jitter: Duration::from_millis(2),
        eye_sees_all: false,
    };
    let every = truth.travel + truth.flight + Duration::from_secs(2);
    let arrivals = one_at_a_time(clock.now(), count, every);
    let station = Station::new(Arc::clone(clock), Arc::clone(&arrivals), truth, seed);
    let rest = Actuator::rest_level(config.reject.active_low);
    Ok(Opened {
        camera: Box::new(SimCamera::new(Arc::clone(clock), parts, arrivals)),
        trigger: Trigger::Edge {
            input: Box::new(station.trigger()),
            exposure_offset: EXPOSURE_DELAY.into(),
            tolerance: MATCH_TOLERANCE,
        },
        sensors: Sensors { confirm: Some(station.eye()), ..Sensors::default() },
        actuator: SafeLine::new(station.line(&config.reject.line, rest.inverted()), rest),
        indicators: Indicators::default(),
        auxiliary: AuxiliaryOutputs::default(),
        belt: Box::new(ConstantSpeed::new(config.reject.belt_speed, clock.now())),
    })
}

/// What a calibration cannot do without; the eye's settings.
fn refuse_missing(config: &Config) -> Result<&confirm::Settings> {
    let refuse = |message: &str| Err(Error::new(ErrorKind::Config, message));
    if !config.reject.enabled {
        return refuse("a calibration fires the actuator: set [reject] enabled = true");
    }
    if let config::Trigger::Interval { .. } = config.trigger {
        return refuse(
            "a calibration must know when the part comes, and [trigger] source = \"interval\" only counts \
                       time: set \"photo_eye\" or \"tripwire\"",
        );
    }
    if config.gpio.backend == gpio::Backend::None {
        return refuse(
            "a calibration fires the actuator, and [gpio] backend = \"none\" drives nothing: choose another",
        );
    }
    config.confirm.as_ref().ok_or_else(|| {
        let message = "a calibration needs an eye that sees rejected parts: set [confirm] by = \"eye\", its line, and \
                       travel_mm from the actuator to it";
        Error::new(ErrorKind::Config, message)
    })
}

/// Runs a calibration to its end.
///
/// The outputs are at their safe level when this returns, whatever happened.
///
/// # Errors
/// When it was stopped, a line or a thread failed, or what was measured does not add up; the message says what to do.
pub fn calibrate(calibration: Calibration) -> Result<Calibrated> {
    let Calibration { clock, mut camera, frame_size, tripwire, bench, eye, realtime, stop } = calibration;
    let width_ms = bench.pulse_width.as_secs_f64() * 1e3;
    let board = Arc::new(Board::default());
    // No frame becomes a job here.
    let capacity = Capacity { jobs: 1, ledger: 1 };
    let shared = Arc::new(Shared::new(Arc::clone(&clock), board, stop, capacity));
    // In the order of the run's threads: a simulated clock schedules by it.
    let [cap_seat, act_seat] = [Thread::Cap, Thread::Act].map(|thread| SchedulerSlot::reserve(&clock, thread.name()));
    let act = spawn(Thread::Act, act_seat, &shared, move |shared| {
        enter_realtime(shared, realtime);
        bench.run(shared)
    });
    let cap = spawn(Thread::Cap, cap_seat, &shared, move |shared| {
        capture(shared, &mut *camera, frame_size, tripwire);
    });
    let (measured, cap) = (act.map(JoinHandle::join), cap.map(JoinHandle::join));
    if let Some(failure) = shared.take_failure() {
        return Err(failure);
    }
    cap?.map_err(|_| Error::new(ErrorKind::Internal, "the camera's thread ended in a panic"))?;
    let measured = measured?.ok().flatten().flatten();
    let stopped = || Error::new(ErrorKind::Refused, "stopped before it was done: nothing was changed");
    conclude(measured.ok_or_else(stopped)?, width_ms, eye)
}

fn conclude(measured: Measured, width_ms: f64, eye: Millimetres) -> Result<Calibrated> {
    let Measured { hits, passes, body_ms, middle_ms } = measured;
    let hits = hits.map_err(explain_trouble)?;
    let estimate = estimate(hits, &passes, eye).map_err(explain_doubt)?;
    Ok(Calibrated { hits, estimate, width_ms, body_ms, middle_ms })
}

fn explain_trouble(trouble: CalibrationError) -> Error {
    let message = match trouble {
        CalibrationError::EyeSeesAll => {
            "the eye at the bin saw a part that was not fired at: put it where only rejected parts \
                                pass, or check [confirm] active_low"
                .to_owned()
        }
        CalibrationError::NothingHits { from_ms, to_ms } => format!(
            "no pulse that began {from_ms:.0} to {to_ms:.0} ms after the trigger was seen to reject the part: check the \
             actuator's supply, [confirm] line and active_low, and whether [reject] travel_mm and belt_speed_mm_s are \
             about right"
        ),
        CalibrationError::NoEarliest => {
            "even pulses right after the trigger were seen to reject the part: the eye sees something \
                                else, or [reject] pulse_width_ms is longer than the way to the actuator"
                .to_owned()
        }
        CalibrationError::NoLatest => {
            "pulses were seen to reject the part however late they came: the eye sees something else \
                              than the part"
                .to_owned()
        }
        CalibrationError::Unsteady { seen, of } => format!(
            "in the middle of the pulses that hit only {seen} of {of} were seen to reject the part: check the actuator's \
             supply and aim, and [confirm] debounce_ms"
        ),
    };
    Error::new(ErrorKind::Refused, message)
}

fn explain_doubt(doubt: CalibrationWarning) -> Error {
    let message = match doubt {
        CalibrationWarning::NoPass => "no pass at the aim was seen".to_owned(),
        CalibrationWarning::TooWide { range_ms, margin_ms } => format!(
            "the times to the eye at the bin differ by {range_ms:.1} ms, and a part may be at most {margin_ms:.1} ms off: \
             the part slips, or the belt's speed changes (an encoder helps); a longer [reject] pulse_width_ms allows more"
        ),
        CalibrationWarning::Impossible { latency_ms } => format!(
            "the actuator would have a latency of {latency_ms:.0} ms: measure [confirm] travel_mm again, from the actuator \
             to the eye, and [reject] belt_speed_mm_s"
        ),
    };
    Error::new(ErrorKind::Refused, message)
}
