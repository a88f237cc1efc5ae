//! What goes out: from a part's verdict to its pulse, its place at the bin and its record.

use std::sync::Arc;
use std::time::Duration;

use super::auxiliary::AuxiliaryOutputs;
use super::supervision::Supervision;
use crate::clock::Timestamp;
use crate::decide::{Measures, Part, Settled, Verdict};
use crate::gpio::SafeLine;
use crate::inspect::Inspection;
use crate::pipeline::Shared;
use crate::pipeline::recording::{Note, PartRecord};
use crate::reject::{self, Actuator, Belt, Confirmations, Due, PulseOutcome, Schedule};
use crate::telemetry::{Counters, Fault, Stage};
use crate::units::PartId;

/// Pause before a line that did not go to rest is told again, and how often. Chosen: an I/O expander that has missed a
/// write takes the next one; a line that resists for 50 ms needs a person.
const RELEASE_RETRY: Duration = Duration::from_millis(10);
const RELEASE_TRIES: u32 = 5;

/// Parts with a verdict, until each is done; the belt that carries them, and the outputs that act on them.
pub(super) struct Outbound {
    shared: Arc<Shared>,
    settings: reject::Settings,
    belt: Box<dyn Belt>,
    schedule: Schedule,
    /// Settled parts whose pulse is in the schedule.
    awaiting_pulse: Vec<Settled<Inspection>>,
    confirmations: Option<Confirmations<Hit>>,
    actuator: Actuator,
    release_failures: u32,
    auxiliary: AuxiliaryOutputs,
}

/// A part that was hit and is expected at the bin.
#[derive(Clone, Copy, Debug)]
struct Hit {
    part: Part,
    verdict: Verdict,
    pulse: PulseOutcome,
}

impl Outbound {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: reject::Settings,
        belt: Box<dyn Belt>,
        confirm: Option<reject::confirm::Settings>,
        reject_line: SafeLine,
        auxiliary: AuxiliaryOutputs,
    ) -> Self {
        Self {
            shared,
            schedule: Schedule::new(&settings),
            awaiting_pulse: Vec::with_capacity(reject::schedule::CAPACITY),
            confirmations: confirm.map(|confirm| Confirmations::new(&confirm, settings.belt_speed)),
            actuator: Actuator::new(reject_line),
            release_failures: 0,
            auxiliary,
            settings,
            belt,
        }
    }

    pub(super) fn belt(&self) -> &dyn Belt {
        &*self.belt
    }

    pub(super) fn belt_mut(&mut self) -> &mut dyn Belt {
        &mut *self.belt
    }

    /// Where and when a part that is triggered now would be rejected.
    pub(super) fn plan(&self, trigger_at: Timestamp) -> reject::RejectPlan {
        reject::plan(&self.settings, &*self.belt, trigger_at)
    }

    /// When it really comes there: a measured belt may have stopped since, or changed its speed.
    pub(super) fn plan_again(&self, part: &mut Part) {
        if self.belt.is_measured() {
            let plan = reject::plan_at(&self.settings, &*self.belt, part.position);
            (part.fire_at, part.deadline) = (plan.fire_at, plan.deadline);
        }
    }

    /// When an output, the belt or an expectation has something due without a wake-up.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let missing = self.confirmations.as_ref().and_then(|c| c.next_at(&*self.belt));
        let pulse = self.schedule.next_at(&*self.belt);
        [pulse, self.auxiliary.next_at(), self.belt.next_change(), missing].into_iter().flatten().min()
    }

    /// Whether every pulse and strobe is over, and nobody is expected at the bin.
    pub(super) fn is_idle(&self) -> bool {
        let is_confirmed = self.confirmations.as_ref().is_none_or(Confirmations::is_empty);
        self.schedule.is_idle() && self.auxiliary.is_idle() && is_confirmed
    }

    pub(super) fn make_safe(&mut self) {
        self.actuator.make_safe();
        self.auxiliary.make_safe();
    }

    /// A trigger edge, for the light.
    pub(super) fn strobe(&mut self, edge_at: Timestamp, supervision: &mut Supervision) {
        if self.auxiliary.trigger(edge_at).is_err() {
            let message = "light strobes wait for their time: shorten [outputs] light_delay_ms";
            supervision.fault(Fault::StrobeLost, None, message);
        }
    }

    /// Does to the outputs beside the reject line what is due.
    pub(super) fn drive(&mut self, supervision: &mut Supervision) {
        let now = self.shared.clock.now();
        while let Some(outcome) = self.auxiliary.step(now) {
            if let Err(fault) = outcome {
                supervision.fault(Fault::Line, None, fault.to_string());
            }
        }
    }

    /// A part has its verdict: plan its pulse, or close it.
    pub(super) fn conclude(&mut self, settled: Settled<Inspection>, supervision: &mut Supervision) {
        self.shared.counters.count_verdict(settled.verdict);
        let measures = match settled.verdict {
            Verdict::Pass => Measures::default(),
            Verdict::Reject => Measures { reject: true, ..Measures::default() },
            Verdict::Uninspected(reason) => supervision.safety().uninspected(reason),
        };
        supervision.take_measures(measures);
        let is_released = supervision.safety().releases(settled.verdict);
        // A dry run tells a controller nothing: it would act on it.
        if self.settings.enabled && self.auxiliary.give_result(is_released).is_err() {
            let message = "results wait for their strobes: shorten [outputs] result_valid_ms";
            supervision.fault(Fault::StrobeLost, Some(settled.part.id), message);
        }
        supervision.watch_verdict(settled.verdict);
        if !(measures.reject && self.settings.enabled) {
            self.close(settled, None, supervision);
            return;
        }
        Counters::add(&self.shared.counters.pulses_planned);
        match self.schedule.insert(settled.part.id, settled.part.position) {
            Ok(()) => self.awaiting_pulse.push(settled),
            Err(_) => {
                supervision.fault(Fault::ScheduleFull, Some(settled.part.id), "the pulse schedule is full");
                self.close(settled, Some((PulseOutcome::Failed, self.shared.clock.now())), supervision);
            }
        }
    }

    /// Does to the reject line what is due.
    pub(super) fn actuate(&mut self, supervision: &mut Supervision) {
        let now = self.shared.clock.now();
        while let Some(due) = self.schedule.due(now, &*self.belt) {
            let (part, outcome) = match due {
                Due::Start(part) => match self.actuator.fire() {
                    Ok(()) => (part, PulseOutcome::Fired),
                    Err(fault) => {
                        self.schedule.line_failed();
                        supervision.fault(Fault::Line, Some(part), fault.to_string());
                        (part, PulseOutcome::Failed)
                    }
                },
                Due::Merge(part) => (part, PulseOutcome::Merged),
                Due::Refuse(part) => (part, PulseOutcome::Refused),
                Due::Late(part) => (part, PulseOutcome::Late),
                Due::Release => {
                    self.release(now, supervision);
                    continue;
                }
            };
            self.pulse_done(part, outcome, now, supervision);
        }
    }

    fn release(&mut self, now: Timestamp, supervision: &mut Supervision) {
        match self.actuator.release() {
            Ok(()) => self.release_failures = 0,
            Err(fault) => {
                self.release_failures += 1;
                supervision.fault(Fault::Line, None, fault.to_string());
                if self.release_failures < RELEASE_TRIES {
                    self.schedule.release_failed(now, now + RELEASE_RETRY);
                }
            }
        }
    }

    /// The outcome of a pulse is known: its part is done.
    fn pulse_done(&mut self, part: PartId, outcome: PulseOutcome, at: Timestamp, supervision: &mut Supervision) {
        let i = self.awaiting_pulse.iter().position(|s| s.part.id == part);
        let mut settled = self.awaiting_pulse.remove(i.expect("every scheduled part awaits its pulse"));
        self.plan_again(&mut settled.part);
        if outcome == PulseOutcome::Fired {
            self.shared.board.latency.record(Stage::Pulse, at.since(settled.part.deadline));
        }
        self.close(settled, Some((outcome, at)), supervision);
    }

    /// A part is done but for the bin: writes its record.
    fn close(
        &mut self,
        settled: Settled<Inspection>,
        pulse: Option<(PulseOutcome, Timestamp)>,
        supervision: &mut Supervision,
    ) {
        let Settled { part, verdict, evidence, settled_at } = settled;
        if let Some((pulse, at)) = pulse {
            let counters = &self.shared.counters;
            Counters::add(match pulse {
                PulseOutcome::Fired => &counters.pulses_fired,
                PulseOutcome::Merged => &counters.pulses_merged,
                PulseOutcome::Late => &counters.pulses_late,
                PulseOutcome::Refused => &counters.pulses_refused,
                PulseOutcome::Failed => &counters.pulses_failed,
            });
            let hit = Hit { part, verdict, pulse };
            if pulse.has_hit() {
                self.expect_at_bin(hit, at, supervision);
            } else {
                self.missed(hit, at, supervision);
            }
        }
        let (pulse, pulse_at) = pulse.unzip();
        supervision.note(Note::Part(PartRecord { part, verdict, settled_at, inspection: evidence, pulse, pulse_at }));
    }

    /// A part that was hit is expected at the bin, where there is an eye.
    fn expect_at_bin(&mut self, hit: Hit, at: Timestamp, supervision: &mut Supervision) {
        let Some(confirmations) = &mut self.confirmations else { return };
        if confirmations.expect(hit.part.position, hit).is_err() {
            self.missed(hit, at, supervision);
        }
    }

    /// The eye at the bin has seen something.
    pub(super) fn confirm(&mut self, at: Timestamp) {
        let seen = self.confirmations.as_mut().and_then(|c| c.seen(at, &*self.belt));
        Counters::add(match seen {
            Some(_) => &self.shared.counters.rejects_confirmed,
            None => &self.shared.counters.confirmations_unexpected,
        });
    }

    /// Parts that the belt has carried past the eye at the bin without being seen.
    pub(super) fn take_missing(&mut self, supervision: &mut Supervision) {
        let now = self.shared.clock.now();
        while let Some(hit) = self.confirmations.as_mut().and_then(|c| c.missing(now, &*self.belt)) {
            self.missed(hit, now, supervision);
        }
    }

    /// A part that was to be rejected is still on the belt, as far as anybody knows.
    fn missed(&mut self, Hit { part, verdict, pulse }: Hit, at: Timestamp, supervision: &mut Supervision) {
        if verdict == Verdict::Reject {
            Counters::add(&self.shared.counters.missed_rejects);
            self.shared.counters.count_fault(Fault::MissedReject);
            supervision.note(Note::MissedReject { part: part.id, at, fire_at: part.fire_at, pulse });
            supervision.take_measures(supervision.safety().missed_reject());
        } else {
            let message = format!("not inspected, and {}", pulse.missed());
            supervision.fault(Fault::MissedUninspected, Some(part.id), message);
        }
    }

    /// The run ends and the belt does not go on: what waits on it gets its record, and nothing is fired any more.
    pub(super) fn give_up_belt(&mut self, supervision: &mut Supervision) {
        let now = self.shared.clock.now();
        self.schedule.drop_planned();
        for mut settled in std::mem::take(&mut self.awaiting_pulse) {
            self.plan_again(&mut settled.part);
            self.close(settled, Some((PulseOutcome::Failed, now)), supervision);
        }
        while let Some(hit) = self.confirmations.as_mut().and_then(|c| c.abandon()) {
            self.missed(hit, now, supervision);
        }
    }

    /// After a panic: nothing is fired any more, and every part that waits for its pulse gets its record.
    pub(super) fn give_up(&mut self, supervision: &mut Supervision) {
        let now = self.shared.clock.now();
        self.schedule.abandon();
        for settled in std::mem::take(&mut self.awaiting_pulse) {
            self.close(settled, Some((PulseOutcome::Failed, now)), supervision);
        }
    }
}
