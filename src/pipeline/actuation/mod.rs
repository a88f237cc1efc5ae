//! The actuation loop (`act`): triggers, ledger, policy, pulses. Waits for time, an edge or a link, never for work.
//!
//! It owns the default: a part without a verdict at its deadline is uninspected and meets the plant's policy, whatever
//! the camera and the inspection do. `intake` and `sensors` are what comes in, `outlet` is what goes out; here is the
//! order of things. `panel` has the outputs beside the reject line, `strobe` their timing.

pub mod calibration;
mod intake;
mod outlet;
mod panel;
mod sensors;
mod sight;
mod strobe;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::{Capacity, Shared};
use crate::clock::{Offset, Timestamp};
use crate::decide::part::EARLY_FRAMES;
use crate::decide::{self, Alarms, Ledger, Reason, Safety, Settled};
use crate::error::{Error, ErrorKind};
use crate::frame::Frame;
use crate::gpio::{SafeLine, TriggerInput};
use crate::inspect::Inspection;
use crate::pipeline::Thread;
use crate::reject::{self, Actuator, Belt, Confirmations, Schedule};
use crate::telemetry::{Counters, Fault, Latency};
use crate::units::FrameId;
use sensors::{Hit, Watched};
use sight::Sight;

pub use panel::{Heartbeat, Light, Panel, Results};
pub use sensors::Sensors;

/// What starts a part.
pub enum Trigger {
    /// Every frame is a part, triggered at its exposure.
    EveryFrame,
    /// An edge of an input; the frame exposed nearest to `edge + exposure_offset` shows the part.
    Edge {
        /// The input.
        input: Box<dyn TriggerInput>,
        /// From the edge to the exposure; may point back.
        exposure_offset: Offset,
        /// How far from that an exposure may be.
        tolerance: Duration,
    },
    /// `cap` says in which frame a part comes into view; the frame exposed nearest to `trip + exposure_delay` shows it.
    Tripwire {
        /// From the trip to the exposure; zero is the very frame.
        exposure_offset: Offset,
        /// How far from that an exposure may be.
        tolerance: Duration,
    },
}

/// The production line as the loop sees it: what the loop needs beside the links.
pub struct Line {
    /// What starts a part.
    pub trigger: Trigger,
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
    /// Scores at or above it reject; standard deviations of held-out good parts.
    pub threshold: f32,
    /// Bounds of the links and of the ledger.
    pub capacity: Capacity,
    /// The reject line, at rest.
    pub reject_line: SafeLine,
    /// The other outputs, low.
    pub panel: Panel,
}

/// The state of the loop.
pub struct Actuation {
    shared: Arc<Shared>,
    trigger: Trigger,
    settings: reject::Settings,
    belt: Box<dyn Belt>,
    sensors: Sensors,
    watched: Watched,
    confirmations: Option<Confirmations<Hit>>,
    alarms: Alarms,
    sight: Sight,
    safety: Safety,
    threshold: f32,
    ledger: Ledger,
    schedule: Schedule,
    /// Settled parts whose pulse is in the schedule.
    awaiting_pulse: Vec<Settled<Inspection>>,
    actuator: Actuator,
    panel: Panel,
    latency: Arc<Latency>,
    stopping: bool,
    stopping_since: Option<Timestamp>,
    /// Since when the camera's thread is asked to end.
    capture_over_since: Option<Timestamp>,
    /// The number that the next frame should have, and the last exposure seen.
    next_frame: FrameId,
    last_exposure: Option<Timestamp>,
    /// Frames that came before the edge of their part, if they are any part's; and the last edges.
    early: VecDeque<Frame>,
    edges: VecDeque<Timestamp>,
    /// Parts are seen, as far as the trigger goes; the ready output says so unless the camera is blind or the run is dry.
    is_ready: bool,
    /// The fault output was asked for.
    needs_person: bool,
    release_failures: u32,
    reported_losses: [bool; 2],
}

impl Actuation {
    /// A loop at rest: every output at its safe level.
    pub fn new(shared: Arc<Shared>, line: Line) -> Self {
        let Line { mut trigger, reject: settings, belt, safety, threshold, capacity, reject_line, panel, .. } = line;
        let Line { mut sensors, confirm, alarms, .. } = line;
        if let Trigger::Edge { input, .. } = &mut trigger {
            input.attach(&shared.clock, &shared.act_bell);
        }
        sensors.all().for_each(|input| input.attach(&shared.clock, &shared.act_bell));
        Self {
            confirmations: confirm.map(|confirm| Confirmations::new(&confirm, settings.belt_speed)),
            alarms: Alarms::new(alarms),
            sight: Sight::default(),
            sensors,
            watched: Watched::default(),
            schedule: Schedule::new(&settings),
            awaiting_pulse: Vec::with_capacity(reject::schedule::CAPACITY),
            ledger: Ledger::new(capacity.ledger),
            actuator: Actuator::new(reject_line),
            latency: Arc::clone(&shared.board.latency),
            stopping: false,
            stopping_since: None,
            capture_over_since: None,
            next_frame: FrameId(0),
            last_exposure: None,
            early: VecDeque::with_capacity(EARLY_FRAMES),
            edges: VecDeque::with_capacity(EARLY_FRAMES),
            is_ready: false,
            needs_person: false,
            release_failures: 0,
            reported_losses: [false; 2],
            shared,
            trigger,
            settings,
            belt,
            safety,
            threshold,
            panel,
        }
    }

    /// Runs the line until it has to end and every part has met its verdict, then makes the outputs safe.
    ///
    /// # Panics
    /// A panic on the way goes on after the outputs are safe and the open parts are recorded as uninspected.
    pub fn run(mut self) -> Latency {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run_line()));
        self.actuator.make_safe();
        self.panel.make_safe();
        if let Err(panic) = outcome {
            self.give_up();
            resume_unwind(panic);
        }
        self.forget_early_frames();
        self.await_inspection();
        Latency::clone(&self.latency)
    }

    fn run_line(&mut self) {
        self.start_watching();
        while !self.turn() {
            let next = [
                self.ledger.next_deadline(),
                self.schedule.next_at(&*self.belt),
                self.next_edge_at(),
                self.panel.next_at(),
                self.next_watched_at(),
                self.gives_up_camera_at(),
            ];
            let next = next.into_iter().flatten().filter(|at| *at != Timestamp::NEVER).min();
            self.shared.clock.wait(&self.shared.act_bell, next);
        }
    }

    /// One round of everything that is due; whether the line is done.
    fn turn(&mut self) -> bool {
        self.shared.board.beats.turned.set(self.shared.clock.now());
        // Read before the links are emptied: what a finished thread has sent is in them by then.
        let (cap_finished, insp_finished) = (self.shared.cap_finished(), self.shared.insp_finished());
        self.become_ready();
        self.read_belt();
        self.actuate();
        self.take_edges();
        self.drive_panel();
        self.take_frames(cap_finished);
        // Scores before deadlines: a score in the link at its deadline is for the ledger's late rule to refuse.
        self.take_scores();
        self.expire();
        if insp_finished {
            // Nothing will be inspected any more; the policy need not wait for the deadlines.
            self.shared.jobs.clear();
            self.abandon(Reason::InspectionFailed);
        }
        self.actuate();
        self.take_sensors();
        self.report_losses();
        self.consider_stopping(cap_finished);
        self.drive_panel();
        let is_confirmed = self.confirmations.as_ref().is_none_or(Confirmations::is_empty);
        let is_served = self.schedule.is_idle() && self.panel.is_idle() && is_confirmed;
        self.stopping && self.ledger.is_empty() && is_served && (cap_finished || self.give_up_camera())
    }

    /// Parts are seen from here on: at once, or when the tripwire knows its empty belt.
    fn become_ready(&mut self) {
        if self.is_ready || self.stopping || self.shared.board.beats.read().learning.is_some() {
            return;
        }
        self.is_ready = true;
        self.show_ready();
    }

    fn consider_stopping(&mut self, cap_finished: bool) {
        if !self.stopping {
            let source_ended = match &self.trigger {
                Trigger::EveryFrame | Trigger::Tripwire { .. } => cap_finished,
                Trigger::Edge { input, .. } => input.is_exhausted() || (cap_finished && input.ends_with_camera()),
            };
            if cap_finished && !source_ended && self.has_outlived_its_camera() {
                // Every further part would be uninspected: a policy is for accidents, not for a day without a camera.
                let message = "the camera has ended while parts still come: check [camera] against [trigger]";
                self.shared.fail(Error::new(ErrorKind::Disconnected, message));
            }
            let failure = self.shared.failure();
            if let Some(story) = &failure {
                self.fault(Fault::RunFailed, None, story.clone());
            }
            self.stopping = failure.is_some() || source_ended || self.shared.stop.is_requested();
            if self.stopping {
                self.shared.announce_stopping();
                self.raise(Panel::ready, false);
                self.stopping_since = Some(self.shared.clock.now());
            }
        }
        if self.gives_up_belt_at().is_some_and(|at| at <= self.shared.clock.now()) {
            self.give_up_belt();
        }
        let needs_frames = !matches!(self.trigger, Trigger::EveryFrame) && self.ledger.awaits_frame();
        if self.stopping && !needs_frames {
            self.capture_over_since.get_or_insert(self.shared.clock.now());
            self.shared.end_capture();
        }
    }

    /// When a camera that does not come back is no longer waited for.
    fn gives_up_camera_at(&self) -> Option<Timestamp> {
        let at = self.capture_over_since? + self.shared.board.about.limits.ending();
        (!self.shared.cap_finished()).then_some(at)
    }

    /// Whether the time of the camera's thread is over; the run has failed then.
    fn give_up_camera(&mut self) -> bool {
        let is_over = self.gives_up_camera_at().is_some_and(|at| at <= self.shared.clock.now());
        if is_over {
            self.give_up_thread(Thread::Cap, "the camera does not answer");
        }
        is_over
    }

    /// A thread hangs and the run ends without it.
    fn give_up_thread(&mut self, thread: Thread, what: &str) {
        let limit = self.shared.board.about.limits.ending().as_secs_f64();
        let name = thread.name();
        let message = format!("{what}: thread {name} did not end within {limit} s; start the program again");
        // Not with `fault`, which raises an output; and said here, as whoever sees a stall does.
        log::error!("{} {message}", Fault::Stalled.code());
        self.report(Fault::Stalled, None, message.clone().into());
        self.shared.fail(Error::new(ErrorKind::Timeout, message));
    }

    /// The camera has ended and a part came after its last frame, or may come at any time.
    ///
    /// An input that is played knows its edges: those that trail the last frame are still that frame's.
    fn has_outlived_its_camera(&self) -> bool {
        let Trigger::Edge { input, exposure_offset, tolerance, .. } = &self.trigger else { return false };
        let last_frame = self.last_exposure.map_or(Timestamp::ZERO, |at| at + *tolerance);
        input.next_at().is_none() || self.edges.back().is_some_and(|edge| *edge + *exposure_offset > last_frame)
    }

    fn expire(&mut self) {
        let now = self.shared.clock.now();
        while let Some(settled) = self.ledger.expire(now) {
            if self.shared.jobs.withdraw(|job| job.part == settled.part.id).is_some() {
                Counters::add(&self.shared.counters.skipped);
            }
            self.conclude(settled);
        }
    }

    fn abandon(&mut self, reason: Reason) {
        let now = self.shared.clock.now();
        while let Some(settled) = self.ledger.abandon(reason, now) {
            self.conclude(settled);
        }
    }

    /// After a panic: nothing can be fired any more, every part still gets its record.
    fn give_up(&mut self) {
        let now = self.shared.clock.now();
        self.schedule.abandon();
        for settled in std::mem::take(&mut self.awaiting_pulse) {
            self.close(settled, Some((reject::PulseOutcome::Failed, now)));
        }
        self.abandon(Reason::Shutdown);
        self.panel.make_safe();
    }

    /// Outputs are safe and every part has its verdict; a score still being computed is recorded as late, unless it takes
    /// so long that nobody knows whether it will ever come.
    fn await_inspection(&mut self) {
        self.shared.jobs.close();
        let until = self.shared.clock.now() + self.shared.board.about.limits.ending();
        loop {
            let now = self.shared.clock.now();
            self.shared.board.beats.turned.set(now);
            let finished = self.shared.insp_finished();
            self.take_scores();
            if finished {
                return;
            }
            if now >= until {
                return self.give_up_thread(Thread::Insp, "an inspection does not come back");
            }
            self.shared.clock.wait(&self.shared.act_bell, Some(until));
        }
    }
}
