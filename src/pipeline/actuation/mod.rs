//! The actuation loop (`act`): triggers, ledger, policy, pulses. Waits for time, an edge or a link, never for work.
//!
//! It owns the default: a part without a verdict at its deadline is uninspected and meets the plant's policy, whatever
//! the camera and the inspection do. `intake` is what comes in, `outlet` is what goes out; here is the order of things.

mod intake;
mod outlet;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::clock::Timestamp;
use crate::decide::{Ledger, Reason, Safety, Settled};
use crate::error::{Error, ErrorKind};
use crate::gpio::{SafeLine, TriggerInput};
use crate::inspect::Inspection;
use crate::reject::{self, Actuator, Belt, Schedule};
use crate::telemetry::{Fault, Latency};
use crate::units::FrameId;

pub use outlet::Panel;

/// What starts a part.
pub enum Trigger {
    /// Every frame is a part, triggered at its exposure.
    EveryFrame,
    /// An edge of an input; the frame exposed nearest to `edge + exposure_delay` shows the part.
    Edge {
        /// The input.
        input: Box<dyn TriggerInput>,
        /// From the edge to the exposure.
        exposure_delay: Duration,
        /// How far from that an exposure may be.
        tolerance: Duration,
    },
}

/// What the loop needs beside the links.
pub struct Line {
    /// What starts a part.
    pub trigger: Trigger,
    /// Geometry and pulse.
    pub reject: reject::Settings,
    /// The belt.
    pub belt: Box<dyn Belt>,
    /// The plant's choices.
    pub safety: Safety,
    /// Scores at or above it reject.
    pub threshold: f32,
    /// Open parts at most.
    pub ledger: usize,
    /// The reject line.
    pub actuator: SafeLine,
    /// The other outputs.
    pub panel: Panel,
}

/// The state of the loop.
pub struct Actuation {
    shared: Arc<Shared>,
    trigger: Trigger,
    settings: reject::Settings,
    belt: Box<dyn Belt>,
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
    /// The number that the next frame should have, and the last exposure seen.
    next_frame: FrameId,
    last_exposure: Option<Timestamp>,
    release_failures: u32,
    reported_losses: [bool; 2],
}

impl Actuation {
    /// A loop at rest: every output at its safe level.
    pub fn new(shared: Arc<Shared>, line: Line) -> Self {
        let Line { mut trigger, reject: settings, belt, safety, threshold, ledger, actuator, panel } = line;
        if let Trigger::Edge { input, .. } = &mut trigger {
            input.attach(&shared.clock, &shared.act_bell);
        }
        Self {
            schedule: Schedule::new(&settings),
            awaiting_pulse: Vec::with_capacity(reject::schedule::CAPACITY),
            ledger: Ledger::new(ledger),
            actuator: Actuator::new(actuator),
            latency: Arc::clone(&shared.board.latency),
            stopping: false,
            next_frame: FrameId(0),
            last_exposure: None,
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
        self.await_inspection();
        Latency::clone(&self.latency)
    }

    fn run_line(&mut self) {
        if self.settings.enabled {
            self.raise(Panel::ready, true);
        }
        while !self.turn() {
            let next = [self.ledger.next_deadline(), self.schedule.next_at(&*self.belt), self.next_edge_at()];
            let next = next.into_iter().flatten().min();
            self.shared.clock.wait(&self.shared.act_bell, next);
        }
    }

    /// One round of everything that is due; whether the line is done.
    fn turn(&mut self) -> bool {
        self.shared.board.beats.turned.set(self.shared.clock.now());
        // Read before the links are emptied: what a finished thread has sent is in them by then.
        let (cap_finished, insp_finished) = (self.shared.cap_finished(), self.shared.insp_finished());
        self.actuate();
        self.take_edges();
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
        self.report_losses();
        self.consider_stopping(cap_finished);
        self.stopping && cap_finished && self.ledger.is_empty() && self.schedule.is_idle()
    }

    fn consider_stopping(&mut self, cap_finished: bool) {
        if !self.stopping {
            let source_ended = match &self.trigger {
                Trigger::EveryFrame => cap_finished,
                Trigger::Edge { input, .. } => input.is_exhausted(),
            };
            if cap_finished && !source_ended {
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
            }
        }
        let needs_frames = matches!(self.trigger, Trigger::Edge { .. }) && self.ledger.awaits_frame();
        if self.stopping && !needs_frames {
            self.shared.end_capture();
        }
    }

    fn expire(&mut self) {
        let now = self.shared.clock.now();
        while let Some(settled) = self.ledger.expire(now) {
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

    /// Outputs are safe and every part has its verdict; a score still being computed is recorded as late.
    fn await_inspection(&mut self) {
        self.shared.jobs.close();
        loop {
            self.shared.board.beats.turned.set(self.shared.clock.now());
            let finished = self.shared.insp_finished();
            self.take_scores();
            if finished {
                return;
            }
            self.shared.clock.wait(&self.shared.act_bell, None);
        }
    }
}
