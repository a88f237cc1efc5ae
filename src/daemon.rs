//! Composition root: what a run is made of, and the start of its threads. `open` names the concrete cameras and lines.
//!
//! Hardware, `run`, the demo and the tests all go through [`run`]; they differ by the [`Wiring`] they pass.
//! The end of a run is staged: no new parts, verdicts and pulses for those on the belt up to the last window, outputs
//! safe, threads joined. A second SIGINT or SIGTERM ends the process at once; see `signals` and [`guardian`].

pub mod calibrate;
pub mod guardian;
mod open;
pub mod realtime;
pub mod setup;
mod signals;
pub mod status;
pub mod watch;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::camera::{Camera, Tripwire};
use crate::clock::{Clock, SchedulerSlot, Timestamp};
use crate::config::{self, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::SafeLine;
use crate::inspect::Inspect;
use crate::pipeline::actuation::{Actuation, AuxiliaryOutputs, Indicators, Line, Sensors, Trigger};
use crate::pipeline::capture::capture;
use crate::pipeline::inspection::{InspectionCost, inspection};
use crate::pipeline::recording::{Events, Note, Observer, Recording, Rotation};
use crate::pipeline::{Capacity, Shared, Stop, Thread};
use crate::reject::{Actuator, ConstantSpeed, EncoderBelt};
use crate::sim::PartSource;
use crate::telemetry::board::{About, Board};
use crate::telemetry::watchdog::Limits;
use crate::telemetry::{Counters, Counts, Latency};

use open::{
    open_auxiliary, open_camera, open_events, open_lines_and_record, open_sensors, open_trigger, refuse_contradictions,
    rotation,
};

pub use guardian::guard;
pub use open::{hold, open_lines, unwritten_policy, watch_camera};
pub use signals::{Hangup, SignalGuard, stop_on_signals, stop_or_reopen_on_signals};

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
    /// Looks at each frame where that starts parts.
    pub tripwire: Option<Tripwire>,
    /// The model, or a stand-in with a known answer.
    pub inspect: Box<dyn Inspect>,
    /// What an inspection costs on the clock.
    pub cost: InspectionCost,
    /// Trigger, belt, outputs, and what is done with parts.
    pub line: Line,
    /// JSON-lines events go here.
    pub events: Events,
    /// How the record files are opened anew.
    pub rotation: Option<Rotation>,
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
    /// Whether it knows what good pictures show.
    pub knows_sight: bool,
    /// What runs it in floats, where it is slow.
    pub slow: Option<String>,
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
        Self {
            recipe: config.model.recipe.display().to_string(),
            knows_sight: false,
            slow: None,
            limits: Limits::at_rate(config.camera.rate_hz, config.trigger.starts_at_an_edge()),
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
    /// Wires what a configuration describes: measured inspection, no observer, a stop request nobody has made, and no
    /// service, which is `run`'s alone.
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
        let (mut lines, edges) = open_lines_and_record(&config.gpio, &clock)?;
        let reject_line = lines.request(&config.reject.line, Actuator::rest_level(config.reject.active_low))?;
        let (indicators, auxiliary) = open_auxiliary(&config.outputs, &mut *lines)?;
        let (camera, arrivals) = open_camera(config, &clock, parts)?;
        let trigger = open_trigger(&config.trigger, &mut *lines, &*clock, arrivals)?;
        let sensors = open_sensors(config, &mut *lines)?;
        let events = config.record.events.as_deref();
        let opened = Opened { camera, trigger, sensors, reject_line, indicators, auxiliary };
        let inspect = watch_camera(&config.camera.source, inspect);
        let threshold = config.decision.threshold.unwrap_or(threshold);
        Ok(Self {
            events: events.map(open_events).transpose()?,
            rotation: Some(rotation(events, edges)),
            ..Self::around(opened, config, clock, inspect, threshold)
        })
    }

    /// What is open already, wired as a configuration says; without events.
    fn around(
        opened: Opened,
        config: &Config,
        clock: Arc<dyn Clock>,
        inspect: Box<dyn Inspect>,
        threshold: f32,
    ) -> Self {
        let Opened { camera, trigger, sensors, reject_line, indicators, auxiliary } = opened;
        let line = Line {
            trigger,
            reject: config.reject.clone(),
            belt: match &config.encoder {
                Some(encoder) => Box::new(EncoderBelt::new(encoder)),
                None => Box::new(ConstantSpeed::new(config.reject.belt_speed, clock.now())),
            },
            sensors,
            confirm: config.confirm.clone(),
            alarms: config.alarm.clone(),
            safety: config.safety,
            threshold,
            capacity: Capacity::between(config.reject.travel_time(), config.camera.rate_hz),
            reject_line,
            indicators,
            auxiliary,
        };
        Self {
            camera,
            frame_size: (config.camera.width, config.camera.height),
            tripwire: match &config.trigger {
                config::Trigger::Tripwire { wire, .. } => Some(Tripwire::new(*wire)),
                _ => None,
            },
            inspect,
            cost: InspectionCost::Measured,
            line,
            events: None,
            rotation: None,
            observer: None,
            stop: Stop::new(),
            counters: Arc::default(),
            service: Service::default(),
            clock,
        }
    }
}

/// The camera and the lines of a configuration.
struct Opened {
    camera: Box<dyn Camera>,
    trigger: Trigger,
    sensors: Sensors,
    reject_line: SafeLine,
    indicators: Indicators,
    auxiliary: AuxiliaryOutputs,
}

/// Runs the line until its source of parts ends, a stop is requested or something fails.
///
/// Returns after every part has its verdict, the outputs are safe, the events are written and all threads have ended.
///
/// # Errors
/// When a thread panicked, could not be started, or the trigger was lost; outputs and events are as after a good run.
pub fn run(wiring: Wiring) -> Result<RunReport> {
    let Wiring { clock, mut camera, frame_size, tripwire, mut inspect, mut cost, line, stop, counters, .. } = wiring;
    let started_at = clock.now();
    let (threshold, dry_run) = (line.threshold, !line.reject.enabled);
    let Service { recipe, knows_sight, slow, limits, notifier, status_socket, realtime } = wiring.service;
    let about = About { recipe, knows_sight, slow, threshold, dry_run, limits, started_at };
    let board = Arc::new(Board::new(about, Arc::clone(&counters)));
    if tripwire.is_some() {
        // Before any thread: `act` must not find the line ready in the meantime.
        board.beats.learning.begin(started_at);
    }
    let shared = Arc::new(Shared::new(Arc::clone(&clock), board, stop, line.capacity));
    let (events, rotation, observer) = (wiring.events, wiring.rotation, wiring.observer);
    let recording = Recording { events, rotation, observer, threshold, dry_run };
    let actuation = Actuation::new(Arc::clone(&shared), line);

    // All slots before the first thread: a simulated clock schedules by their order.
    let [cap_seat, insp_seat, act_seat, rec_seat] = Thread::ALL.map(|t| SchedulerSlot::reserve(&clock, t.name()));
    let watch_seat = notifier.is_some().then(|| SchedulerSlot::reserve(&clock, watch::NAME));
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
    let watch = notifier.zip(watch_seat).map(|(notifier, slot)| spawn_watch(&shared, slot, limits, notifier));
    // First the one that ends by itself, whatever the others do.
    let latency = act.map(JoinHandle::join);
    let others = [(Thread::Cap, cap), (Thread::Insp, insp), (Thread::Rec, rec)];
    let joined = others.map(|(thread, handle)| handle.map(|handle| join(&shared, thread, handle, limits.ending())));
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
    slot: SchedulerSlot,
    shared: &Arc<Shared>,
    body: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<JoinHandle<Option<T>>> {
    let theirs = Arc::clone(shared);
    let started = thread::Builder::new().name(thread.name().to_owned()).spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            slot.take();
            body(&theirs)
        }));
        let outcome = outcome.map_err(|panic| theirs.fail(thread.panicked(story(&*panic))));
        theirs.thread_ended(thread);
        // The slot last: the others must not run before they can see that this thread has ended.
        drop(slot);
        outcome.ok()
    });
    started.map_err(|e| {
        let message = format!("cannot start thread {}: check the limits on threads and memory", thread.name());
        shared.fail(Error::new(ErrorKind::Internal, message.clone()));
        shared.thread_ended(thread);
        Error::new(ErrorKind::Internal, message).caused_by(e)
    })
}

/// Waits for a thread of the run, but not for one that hangs: that one ends with the process.
fn join(shared: &Shared, thread: Thread, handle: JoinHandle<Option<()>>, limit: Duration) -> thread::Result<()> {
    if !shared.await_end(thread, limit) {
        let (name, limit) = (thread.name(), limit.as_secs_f64());
        let message = format!("thread {name} did not end within {limit} s after the outputs were safe");
        log::error!("{message}");
        shared.fail(Error::new(ErrorKind::Timeout, message));
        // Who waits for its end need not wait any more.
        shared.thread_ended(thread);
        return Ok(());
    }
    handle.join().map(|_| ())
}

/// Starts the thread that tells the service manager; without it a supervised run would be killed, so it must start.
fn spawn_watch(
    shared: &Arc<Shared>,
    slot: SchedulerSlot,
    limits: Limits,
    notifier: watch::Notifier,
) -> Result<JoinHandle<()>> {
    let theirs = Arc::clone(shared);
    let started = thread::Builder::new().name(watch::NAME.to_owned()).spawn(move || {
        slot.take();
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
