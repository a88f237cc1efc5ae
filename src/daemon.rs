//! Composition root: the one place that names concrete cameras, lines and clocks, and starts the threads.
//!
//! Hardware, `run`, the demo and the tests all go through [`run`]; they differ by the [`Wiring`] they pass.
//! The end of a run is staged: no new parts, verdicts and pulses for those on the belt up to the last window, outputs
//! safe, threads joined. A second signal ends the process at once.

pub mod calibrate;
pub mod realtime;
pub mod setup;
pub mod status;
pub mod watch;

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

#[cfg(feature = "v4l2")]
use crate::camera;
use crate::camera::folder::Replay;
use crate::camera::{Camera, FolderCamera, Source, Tripwire};
use crate::clock::{Clock, Seat, Timestamp};
use crate::config::{self, Config};
use crate::decide::{self, OnMissedReject, OnUninspected, Safety};
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::filter::{HeldOff, Interval};
use crate::gpio::{self, Cdev, InputOptions, Inputs, Level, Lines, Recorder, SafeLine, Unconnected};
use crate::inspect::Inspect;
use crate::pipeline::actuation::{Actuation, Heartbeat, Light, Line, Panel, Results, Sensors, Trigger};
use crate::pipeline::capture::capture;
use crate::pipeline::inspection::{InspectionCost, inspection};
use crate::pipeline::recording::{Note, Observer, Recording};
use crate::pipeline::{Capacity, Shared, Stop, Thread};
use crate::reject::{self, Actuator, Belt, ConstantSpeed, EncoderBelt};
use crate::sim::PartSource;
use crate::sim::belt::{PhotoEye, Spacing, arrivals};
use crate::sim::camera::{EXPOSURE_DELAY, SimCamera};
use crate::telemetry::board::{About, Board};
use crate::telemetry::watchdog::Limits;
use crate::telemetry::{Counters, Counts, Latency};

/// How far an exposure may be from where its trigger says. Chosen: half of the closest spacing that parts on a belt at
/// 25 parts/s have; the nearest part wins anyhow.
pub const MATCH_TOLERANCE: Duration = Duration::from_millis(20);

/// Everything a run is made of. All fields are public: a demo or a test replaces what it wants to watch.
pub struct Wiring {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Frames.
    pub camera: Box<dyn Camera>,
    /// Width and height that every frame must have.
    pub frame_size: (u32, u32),
    /// What starts a part.
    pub trigger: Trigger,
    /// Looks at each frame where that starts parts.
    pub tripwire: Option<Tripwire>,
    /// The model, or a stand-in with a known answer.
    pub inspect: Box<dyn Inspect>,
    /// What an inspection costs on the clock.
    pub cost: InspectionCost,
    /// Scores at or above it reject; standard deviations of held-out good parts.
    pub threshold: f32,
    /// Geometry and pulse.
    pub reject: reject::Settings,
    /// The belt.
    pub belt: Box<dyn Belt>,
    /// The inputs beside the trigger.
    pub sensors: Sensors,
    /// Whether and where rejected parts are seen again.
    pub confirm: Option<reject::confirm::Settings>,
    /// What many verdicts together say.
    pub alarms: decide::alarm::Settings,
    /// The plant's choices.
    pub safety: Safety,
    /// Bounds of the links.
    pub capacity: Capacity,
    /// The reject line, at rest.
    pub reject_line: SafeLine,
    /// The other outputs, low.
    pub panel: Panel,
    /// JSON-lines events go here.
    pub events: Option<Box<dyn Write + Send>>,
    /// Sees every part once it is done.
    pub observer: Option<Observer>,
    /// Ends the run when requested.
    pub stop: Stop,
    /// Counts while the run goes on.
    pub counters: Arc<Counters>,
    /// What makes a service of it; by default nothing.
    pub service: Service,
}

/// What a daemon needs beside the line: supervision, status, real time. The default is none of it, which costs nothing.
#[derive(Default)]
pub struct Service {
    /// The recipe's file, for `status`.
    pub recipe: String,
    /// When what is stale.
    pub limits: Limits,
    /// Who is told that the run is ready, alive and stopping.
    pub notifier: Option<watch::Notifier>,
    /// Where the running daemon tells how it is.
    pub status_socket: Option<PathBuf>,
    /// Scheduling of `act` and locked memory.
    pub realtime: config::Realtime,
}

impl Service {
    /// What the configuration and the environment of this process ask for.
    pub fn from_config(config: &Config) -> Self {
        let may_idle = config.trigger != config::Trigger::EveryFrame;
        Self {
            recipe: config.model.recipe.display().to_string(),
            limits: Limits::at_rate(config.camera.rate_hz, may_idle),
            notifier: watch::Notifier::from_environment(),
            status_socket: status::path(config.status.socket.as_deref()),
            realtime: config.realtime,
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Parts, verdicts, pulses, faults.
    pub counts: Counts,
    /// Latency by stage.
    pub latency: Latency,
    /// When it began.
    pub started_at: Timestamp,
    /// When the last thread had ended.
    pub ended_at: Timestamp,
}

impl Wiring {
    /// Wires what a configuration describes: measured inspection, no observer, a stop request nobody has made.
    ///
    /// `threshold` is the recipe's; `[decision] threshold` goes before it. `parts` renders the parts of a simulated
    /// camera and is not used by others. Requests the lines and opens the files. A simulated belt starts to move now,
    /// so [`run`] should follow at once.
    ///
    /// # Errors
    /// When the camera, a line or a file cannot be opened, or the settings contradict each other.
    pub fn from_config(
        config: &Config,
        clock: Arc<dyn Clock>,
        inspect: Box<dyn Inspect>,
        threshold: f32,
        parts: Option<Arc<dyn PartSource>>,
    ) -> Result<Self> {
        refuse_contradictions(config)?;
        // Outputs first: they are safe while the rest is being opened.
        let mut lines = open_lines(&config.gpio, &clock)?;
        let reject_line = lines.request(&config.reject.line, Actuator::rest_level(config.reject.active_low))?;
        let panel = open_panel(&config.outputs, &mut *lines)?;
        let (camera, arrivals) = open_camera(config, &clock, parts)?;
        let trigger = open_trigger(&config.trigger, &mut *lines, &*clock, arrivals)?;
        let sensors = open_sensors(config, &mut *lines)?;
        let events = config.record.events.as_deref().map(open_events).transpose()?;
        Ok(Self {
            camera,
            frame_size: (config.camera.width, config.camera.height),
            tripwire: match &config.trigger {
                config::Trigger::Tripwire { wire, .. } => Some(Tripwire::new(*wire)),
                _ => None,
            },
            trigger,
            inspect,
            cost: InspectionCost::Measured,
            threshold: config.decision.threshold.unwrap_or(threshold),
            belt: match &config.encoder {
                Some(encoder) => Box::new(EncoderBelt::new(encoder)),
                None => Box::new(ConstantSpeed::new(config.reject.belt_speed, clock.now())),
            },
            sensors,
            confirm: config.confirm.clone(),
            alarms: config.alarm.clone(),
            safety: config.safety,
            capacity: Capacity::between(config.reject.travel_time(), config.camera.rate_hz),
            reject: config.reject.clone(),
            reject_line,
            panel,
            events: events.map(|file| Box::new(BufWriter::new(file)) as Box<dyn Write + Send>),
            observer: None,
            stop: Stop::new(),
            counters: Arc::default(),
            service: Service::default(),
            clock,
        })
    }
}

/// Runs the line until its source of parts ends, a stop is requested or something fails.
///
/// Returns after every part has its verdict, the outputs are safe, the events are written and all threads have ended.
///
/// # Errors
/// When a thread panicked, could not be started, or the trigger was lost; outputs and events are as after a good run.
pub fn run(wiring: Wiring) -> Result<RunReport> {
    let Wiring { clock, mut camera, frame_size, mut inspect, mut cost, threshold, capacity, stop, counters, .. } =
        wiring;
    let started_at = clock.now();
    let tripwire = wiring.tripwire;
    let dry_run = !wiring.reject.enabled;
    let Service { recipe, limits, notifier, status_socket, realtime } = wiring.service;
    let about = About { recipe, threshold, dry_run, limits, started_at };
    let board = Arc::new(Board::new(about, Arc::clone(&counters)));
    let shared = Arc::new(Shared::new(Arc::clone(&clock), board, stop, capacity));
    let recording = Recording { events: wiring.events, observer: wiring.observer, threshold, dry_run };
    let line = Line {
        trigger: wiring.trigger,
        reject: wiring.reject,
        belt: wiring.belt,
        sensors: wiring.sensors,
        confirm: wiring.confirm,
        alarms: wiring.alarms,
        safety: wiring.safety,
        threshold,
        ledger: capacity.ledger,
        actuator: wiring.reject_line,
        panel: wiring.panel,
    };
    let actuation = Actuation::new(Arc::clone(&shared), line);

    // All seats before the first thread: a simulated clock schedules by their order.
    let [cap_seat, insp_seat, act_seat, rec_seat] = Thread::ALL.map(|t| Seat::reserve(&clock, t.name()));
    let watch_seat = notifier.is_some().then(|| Seat::reserve(&clock, watch::NAME));
    let _socket = status_socket.and_then(|path| serve_status(&path, &shared));
    let rec = spawn(Thread::Rec, rec_seat, &shared, |shared| recording.run(shared));
    let act = spawn(Thread::Act, act_seat, &shared, move |shared| {
        enter_realtime(shared, realtime);
        actuation.run()
    });
    let insp = spawn(Thread::Insp, insp_seat, &shared, move |shared| inspection(shared, &mut *inspect, &mut cost));
    let cap = spawn(Thread::Cap, cap_seat, &shared, move |shared| {
        capture(shared, &mut *camera, frame_size, tripwire);
    });
    let watch = notifier.zip(watch_seat).map(|(notifier, seat)| spawn_watch(&shared, seat, limits, notifier));
    let joined = [cap, insp, rec].map(|thread| thread.map(JoinHandle::join));
    let latency = act.map(JoinHandle::join);
    if watch.transpose()?.is_some_and(|thread| thread.join().is_err()) {
        log::error!("the thread {} panicked", watch::NAME);
    }

    if let Some(failure) = shared.take_failure() {
        return Err(failure);
    }
    for thread in joined {
        thread?.map_err(|_| Error::new(ErrorKind::Internal, "a thread of the run ended in a panic"))?;
    }
    let latency = latency?.ok().flatten().expect("act returned, or its panic is the failure above");
    Ok(RunReport { counts: counters.snapshot(), latency, started_at, ended_at: clock.now() })
}

/// Starts a thread of the run. Its panic becomes the run's failure; however it ends, the others are told.
fn spawn<T: Send + 'static>(
    thread: Thread,
    seat: Seat,
    shared: &Arc<Shared>,
    body: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<JoinHandle<Option<T>>> {
    let theirs = Arc::clone(shared);
    let started = thread::Builder::new().name(thread.name().to_owned()).spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            seat.take();
            body(&theirs)
        }));
        let outcome = outcome.map_err(|panic| theirs.fail(thread.panicked(story(&*panic))));
        theirs.thread_ended(thread);
        // The seat last: the others must not run before they can see that this thread has ended.
        drop(seat);
        outcome.ok()
    });
    started.map_err(|e| {
        let message = format!("cannot start thread {}: check the limits on threads and memory", thread.name());
        shared.fail(Error::new(ErrorKind::Internal, message.clone()));
        shared.thread_ended(thread);
        Error::new(ErrorKind::Internal, message).caused_by(e)
    })
}

/// Starts the thread that tells the service manager; without it a supervised run would be killed, so it must start.
fn spawn_watch(shared: &Arc<Shared>, seat: Seat, limits: Limits, notifier: watch::Notifier) -> Result<JoinHandle<()>> {
    let theirs = Arc::clone(shared);
    let started = thread::Builder::new().name(watch::NAME.to_owned()).spawn(move || {
        seat.take();
        watch::watch(&theirs, limits, notifier);
    });
    started.map_err(|e| {
        let message = format!("cannot start thread {}: check the limits on threads and memory", watch::NAME);
        shared.fail(Error::new(ErrorKind::Internal, message.clone()));
        Error::new(ErrorKind::Internal, message).caused_by(e)
    })
}

/// Called in `act`, before it touches an output.
fn enter_realtime(shared: &Shared, wanted: config::Realtime) {
    if wanted == config::Realtime::default() {
        return;
    }
    let realtime = realtime::enter(wanted);
    for refusal in &realtime.refused {
        log::warn!("not permitted: {refusal}");
    }
    shared.board.note_realtime(realtime.clone());
    let at = shared.clock.now();
    if shared.notes.try_push(Note::Realtime { at, realtime }).is_err() {
        Counters::add(&shared.counters.events_lost);
    }
}

/// Nobody can ask a daemon without its socket; parts are inspected all the same.
fn serve_status(path: &Path, shared: &Shared) -> Option<status::StatusSocket> {
    let opened = status::StatusSocket::open(path, Arc::clone(&shared.board), Arc::clone(&shared.clock));
    opened.inspect_err(|error| log::warn!("`zoomgate status` will not work: {error}")).ok()
}

fn story(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Requests `stop` on the first SIGTERM or SIGINT and ends the process on the second; until the guard is dropped.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn stop_on_signals(stop: &Stop) -> Result<SignalGuard> {
    let refused = |e| Error::new(ErrorKind::Internal, "cannot handle SIGTERM and SIGINT").caused_by(e);
    let asked = Arc::new(AtomicBool::new(false));
    let mut ids = Vec::new();
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag down and only raises it.
        let shutdown = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked));
        ids.push(shutdown.map_err(refused)?);
        ids.push(signal_hook::flag::register(signal, Arc::clone(&asked)).map_err(refused)?);
    }
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map_err(refused)?;
    let handle = signals.handle();
    let stop = stop.clone();
    let listener = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            log::info!("signal {signal}: ending in order; a second one ends at once");
            stop.request();
        }
    });
    Ok(SignalGuard { handle, ids, listener: Some(listener.map_err(refused)?) })
}

/// Gives the signals back when dropped.
pub struct SignalGuard {
    handle: signal_hook::iterator::Handle,
    ids: Vec<signal_hook::SigId>,
    listener: Option<JoinHandle<()>>,
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        self.handle.close();
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
        if let Some(listener) = self.listener.take()
            && listener.join().is_err()
        {
            log::error!("the signal thread panicked");
        }
    }
}

const EYE_WITHOUT_BELT: &str =
    "[trigger] source = \"simulated\" needs [camera] source = \"simulated\": set \"every_frame\"";

fn refuse_contradictions(config: &Config) -> Result<()> {
    if config.trigger == config::Trigger::Simulated && !matches!(config.camera.source, Source::Simulated { .. }) {
        return Err(Error::new(ErrorKind::Config, EYE_WITHOUT_BELT));
    }
    let stops = config.safety.on_uninspected == OnUninspected::StopLine
        || config.safety.on_missed_reject == OnMissedReject::StopLine;
    if stops && config.outputs.stop_line.is_none() {
        let message = "[safety] asks to stop the line and [outputs] stop_line names no output: name one, or choose \
                       another policy";
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(())
}

type Arrivals = Arc<[Timestamp]>;

fn open_camera(
    config: &Config,
    clock: &Arc<dyn Clock>,
    parts: Option<Arc<dyn PartSource>>,
) -> Result<(Box<dyn Camera>, Option<Arrivals>)> {
    let settings = &config.camera;
    match &settings.source {
        Source::Folder { path, shuffle_seed, repeat } => {
            let replay = Replay {
                folder: path.clone(),
                shuffle_seed: *shuffle_seed,
                repeat: *repeat,
                period: Duration::try_from_secs_f64(1.0 / settings.rate_hz).unwrap_or(Duration::MAX),
                size: (settings.width, settings.height),
            };
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
/// one that is inspected, and one to write into; as many of them as [`FRAMES_BYTES_MAX`] has room for.
#[cfg(feature = "v4l2")]
fn frames_on_their_way(config: &Config) -> usize {
    let camera = &config.camera;
    let jobs = Capacity::between(config.reject.travel_time(), camera.rate_hz).jobs;
    let bytes = camera.width as usize * camera.height as usize * 3;
    (crate::pipeline::FRAMES + jobs + crate::decide::part::EARLY_FRAMES + 2)
        .min((FRAMES_BYTES_MAX / bytes.max(1)).max(4))
}

/// Opens the backend of the lines and requests none of them.
///
/// # Errors
/// When the backend is not in this build or does not fit this machine, or its files cannot be opened.
pub fn open_lines(settings: &gpio::Settings, clock: &Arc<dyn Clock>) -> Result<Box<dyn Lines>> {
    Ok(match &settings.backend {
        gpio::Backend::Gpiocdev => Box::new(Cdev::new(settings.chip.clone())),
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
            Box::new(match inputs {
                Some(inputs) => recorder.playing_file(inputs)?,
                None => recorder,
            })
        }
        gpio::Backend::None => Box::new(Unconnected),
    })
}

fn open_trigger(
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
            input: Box::new(HeldOff::new(lines.request_input(line, *options)?, *holdoff)),
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

fn open_panel(names: &config::Outputs, lines: &mut dyn Lines) -> Result<Panel> {
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
        names.light.as_ref().map(|l| Ok::<_, Error>(Light::new(open(&l.line)?, l.delay, l.width))).transpose()?;
    Ok(Panel { ready, fault, stop_line, results, heartbeat, light })
}

/// Requests the inputs beside the trigger.
fn open_sensors(config: &Config, inputs: &mut dyn Inputs) -> Result<Sensors> {
    let mut open = |line: Option<(&str, InputOptions)>| line.map(|(n, o)| inputs.request_input(n, o)).transpose();
    let encoder = config.encoder.as_ref();
    let confirm = open(config.confirm.as_ref().map(|c| (&*c.line, c.options)))?;
    Ok(Sensors {
        encoder_a: open(encoder.map(|e| (&*e.line_a, e.options)))?,
        encoder_b: open(encoder.and_then(|e| Some((&**e.line_b.as_ref()?, e.options))))?,
        confirm: confirm.zip(config.confirm.as_ref()).map(|(eye, c)| Box::new(HeldOff::new(eye, c.holdoff)) as _),
        bin_full: open(further(&config.inputs.bin_full))?,
        reset: open(further(&config.inputs.reset))?,
        recipe: {
            let [one, two, four, eight] = config.inputs.recipe.each_ref().map(|digit| open(further(digit)));
            [one?, two?, four?, eight?]
        },
    })
}

/// A line of `[inputs]` and how it is read.
fn further(input: &Option<config::InputLine>) -> Option<(&str, InputOptions)> {
    input.as_ref().map(|input| (&*input.line, input.options))
}

/// Appends: the record of a shift must survive the restart after a power cut. A `start` event divides the runs.
fn open_events(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder of [record] events", folder, e))?;
    }
    OpenOptions::new().create(true).append(true).open(path).map_err(|e| Error::io("write the events", path, e))
}
