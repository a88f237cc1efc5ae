//! The actuation loop (`act`): triggers, ledger, policy, pulses. Waits for time, an edge or a link, never for work.
//!
//! It owns the default: a part without a verdict at its deadline is uninspected and meets the plant's policy, whatever
//! the camera and the inspection do.
//!
//! Three members, each with its own state; a call goes down this table only:
//!
//! | member | holds | from … to |
//! |---|---|---|
//! | `Inbound` | trigger, sensors, early frames, the ledger of open parts | an edge or a frame … a verdict |
//! | `Outbound` | belt, pulse schedule, reject line, what is expected at the bin, outputs that follow parts | a verdict … a record |
//! | `Supervision` | the run's phase, sight, alarms, faults, outputs that show how the line is | anything … a person |
//!
//! Here is the order of things. `sensors` reads the inputs beside the trigger, `auxiliary` has the outputs beside the
//! reject line, `strobe` their timing.

mod auxiliary;
pub mod calibration;
mod inbound;
mod outbound;
mod phase;
mod sensors;
mod sight;
mod strobe;
mod supervision;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::{Capacity, Shared};
use crate::clock::{Offset, Timestamp};
use crate::decide::{self, Ledger, Reason, Safety};
use crate::error::{Error, ErrorKind};
use crate::gpio::{SafeLine, TriggerInput};
use crate::pipeline::Thread;
use crate::reject::{self, Belt};
use crate::telemetry::{Fault, Latency};
use inbound::Inbound;
use outbound::Outbound;
use phase::Event;
use supervision::Supervision;

pub use auxiliary::{AuxiliaryOutputs, Heartbeat, Indicators, Results, StrobeLight};
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
    /// The outputs that show how the line is, low.
    pub indicators: Indicators,
    /// The outputs that follow each part, low.
    pub auxiliary: AuxiliaryOutputs,
}

/// The loop.
pub struct Actuation {
    shared: Arc<Shared>,
    inbound: Inbound,
    outbound: Outbound,
    supervision: Supervision,
}

impl Actuation {
    /// A loop at rest: every output at its safe level.
    pub fn new(shared: Arc<Shared>, line: Line) -> Self {
        let Line { trigger, reject, belt, sensors, confirm, alarms, safety, threshold, capacity, .. } = line;
        let Line { reject_line, indicators, auxiliary, .. } = line;
        let ours = || Arc::clone(&shared);
        let is_armed = reject.enabled;
        Self {
            supervision: Supervision::new(ours(), indicators, alarms, safety, is_armed, &trigger),
            inbound: Inbound::new(ours(), trigger, sensors, threshold, Ledger::new(capacity.ledger)),
            outbound: Outbound::new(ours(), reject, belt, confirm, reject_line, auxiliary),
            shared,
        }
    }

    /// Runs the line until it has to end and every part has met its verdict, then makes the outputs safe.
    ///
    /// # Panics
    /// A panic on the way goes on after the outputs are safe and the open parts are recorded as uninspected.
    pub fn run(mut self) -> Latency {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run_line()));
        self.make_safe();
        if let Err(panic) = outcome {
            self.give_up();
            resume_unwind(panic);
        }
        self.inbound.forget_early_frames();
        self.await_inspection();
        Latency::clone(&self.shared.board.latency)
    }

    fn run_line(&mut self) {
        self.supervision.start(self.outbound.belt());
        self.inbound.start();
        while !self.turn() {
            let next = [
                self.inbound.next_at(self.supervision.phase().takes_parts()),
                self.outbound.next_at(),
                self.supervision.next_at(),
            ];
            let next = next.into_iter().flatten().min().filter(|at| *at != Timestamp::NEVER);
            self.shared.clock.wait(&self.shared.act_token, next);
        }
        self.supervision.end(Event::AllServed);
    }

    /// One round of everything that is due; whether the line is done.
    fn turn(&mut self) -> bool {
        let Self { shared, inbound, outbound, supervision } = self;
        supervision.beat();
        // Read before the links are emptied: what a finished thread has sent is in them by then.
        let (cap_finished, insp_finished) = (shared.cap_finished(), shared.insp_finished());
        supervision.become_ready();
        inbound.read_belt(outbound, supervision);
        outbound.actuate(supervision);
        inbound.take_edges(outbound, supervision);
        outbound.drive(supervision);
        supervision.drive();
        inbound.take_frames(cap_finished, outbound, supervision);
        // Scores before deadlines: a score in the link at its deadline is for the ledger's late rule to refuse.
        inbound.take_scores(outbound, supervision);
        inbound.expire(outbound, supervision);
        if insp_finished {
            // Nothing will be inspected any more; the policy need not wait for the deadlines.
            shared.jobs.clear();
            inbound.abandon(Reason::InspectionFailed, outbound, supervision);
        }
        outbound.actuate(supervision);
        inbound.take_sensors(outbound, supervision);
        supervision.report_losses();
        self.consider_stopping(cap_finished);
        self.outbound.drive(&mut self.supervision);
        self.supervision.drive();
        let is_served = self.inbound.is_empty() && self.outbound.is_idle();
        let is_over = self.supervision.phase().stopping_since().is_some() && is_served;
        is_over && (cap_finished || self.supervision.gives_up_camera())
    }

    fn consider_stopping(&mut self, cap_finished: bool) {
        let Self { shared, inbound, outbound, supervision } = self;
        if supervision.phase().takes_parts() {
            let source_ended = inbound.has_ended(cap_finished);
            if cap_finished && !source_ended && inbound.has_outlived_its_camera() {
                // Every further part would be uninspected: a policy is for accidents, not for a day without a camera.
                let message = "the camera has ended while parts still come: check [camera] against [trigger]";
                shared.fail(Error::new(ErrorKind::Disconnected, message));
            }
            let failure = shared.failure();
            if let Some(story) = &failure {
                supervision.fault(Fault::RunFailed, None, story.clone());
            }
            if failure.is_some() || source_ended || shared.stop.is_requested() {
                supervision.stop();
            }
        }
        if supervision.gives_up_belt() {
            inbound.abandon(Reason::Shutdown, outbound, supervision);
            outbound.give_up_belt(supervision);
        }
        if !supervision.phase().takes_parts() && !inbound.awaits_frame() {
            supervision.dismiss_camera();
        }
    }

    fn make_safe(&mut self) {
        self.outbound.make_safe();
        self.supervision.make_safe();
    }

    /// After a panic: nothing can be fired any more, every part still gets its record.
    fn give_up(&mut self) {
        let Self { inbound, outbound, supervision, .. } = self;
        supervision.end(Event::Panicked);
        outbound.give_up(supervision);
        inbound.abandon(Reason::Shutdown, outbound, supervision);
        self.make_safe();
    }

    /// Outputs are safe and every part has its verdict; a score still being computed is recorded as late, unless it takes
    /// so long that nobody knows whether it will ever come.
    fn await_inspection(&mut self) {
        let Self { shared, inbound, outbound, supervision } = self;
        shared.jobs.close();
        let until = shared.clock.now() + shared.board.about.limits.ending();
        loop {
            let now = shared.clock.now();
            supervision.beat();
            let finished = shared.insp_finished();
            inbound.take_scores(outbound, supervision);
            if finished {
                return;
            }
            if now >= until {
                return supervision.give_up_thread(Thread::Insp, "an inspection does not come back");
            }
            shared.clock.wait(&shared.act_token, Some(until));
        }
    }
}
