//! What goes out: pulses, the other outputs, notes.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Actuation, Panel};
use crate::clock::Timestamp;
use crate::decide::{Alarm, Measures, Part, Settled, Verdict};
use crate::gpio::{Level, SafeLine};
use crate::inspect::Inspection;
use crate::pipeline::recording::{Note, PartRecord};
use crate::reject::{self, Due, PulseOutcome};
use crate::telemetry::{Counters, Fault, Stage};
use crate::units::PartId;

/// Pause before a line that did not go to rest is told again, and how often. Chosen: an I/O expander that has missed a
/// write takes the next one; a line that resists for 50 ms needs a person.
const RELEASE_RETRY: Duration = Duration::from_millis(10);
const RELEASE_TRIES: u32 = 5;

impl Actuation {
    /// A part has its verdict: plan its pulse, or close it.
    pub(super) fn conclude(&mut self, settled: Settled<Inspection>) {
        self.shared.counters.count_verdict(settled.verdict);
        let measures = match settled.verdict {
            Verdict::Pass => Measures::default(),
            Verdict::Reject => Measures { reject: true, ..Measures::default() },
            Verdict::Uninspected(reason) => self.safety.uninspected(reason),
        };
        self.take_measures(measures);
        // A dry run tells a controller nothing: it would act on it.
        if self.settings.enabled && self.panel.give_result(self.safety.releases(settled.verdict)).is_err() {
            let message = "results wait for their strobes: shorten [outputs] result_valid_ms";
            self.fault(Fault::StrobeLost, Some(settled.part.id), message);
        }
        self.watch_verdicts(settled.verdict);
        if !(measures.reject && self.settings.enabled) {
            self.close(settled, None);
            return;
        }
        Counters::add(&self.shared.counters.pulses_planned);
        match self.schedule.insert(settled.part.id, settled.part.position) {
            Ok(()) => self.awaiting_pulse.push(settled),
            Err(_) => {
                self.fault(Fault::ScheduleFull, Some(settled.part.id), "the pulse schedule is full");
                self.close(settled, Some((PulseOutcome::Failed, self.shared.clock.now())));
            }
        }
    }

    /// Does to the other outputs what is due.
    pub(super) fn drive_panel(&mut self) {
        let now = self.shared.clock.now();
        while let Some(outcome) = self.panel.step(now, self.is_ready && !self.sight.is_blind() && !self.needs_person) {
            if let Err(fault) = outcome {
                self.fault(Fault::Line, None, fault.to_string());
            }
        }
    }

    fn watch_verdicts(&mut self, verdict: Verdict) {
        for alarm in self.alarms.count(verdict) {
            match alarm {
                Alarm::ConsecutiveRejects(n) => {
                    let message = format!("{n} rejects in a row: look at the parts and at the camera's picture");
                    self.fault(Fault::ConsecutiveRejects, None, message);
                }
                Alarm::UninspectedRate { uninspected, parts } => {
                    let message =
                        format!("{uninspected} of the last {parts} parts were not inspected: the faults say why");
                    self.fault(Fault::UninspectedRate, None, message);
                }
            }
        }
    }

    /// Does to the reject line what is due.
    pub(super) fn actuate(&mut self) {
        let now = self.shared.clock.now();
        while let Some(due) = self.schedule.due(now, &*self.belt) {
            match due {
                Due::Start(part) => match self.actuator.fire() {
                    Ok(()) => self.pulse_done(part, PulseOutcome::Fired, now),
                    Err(fault) => {
                        self.schedule.line_failed();
                        self.fault(Fault::Line, Some(part), fault.to_string());
                        self.pulse_done(part, PulseOutcome::Failed, now);
                    }
                },
                Due::Merge(part) => self.pulse_done(part, PulseOutcome::Merged, now),
                Due::Refuse(part) => self.pulse_done(part, PulseOutcome::Refused, now),
                Due::Late(part) => self.pulse_done(part, PulseOutcome::Late, now),
                Due::Release => self.release(now),
            }
        }
    }

    fn release(&mut self, now: Timestamp) {
        match self.actuator.release() {
            Ok(()) => self.release_failures = 0,
            Err(fault) => {
                self.release_failures += 1;
                self.fault(Fault::Line, None, fault.to_string());
                if self.release_failures < RELEASE_TRIES {
                    self.schedule.release_failed(now, now + RELEASE_RETRY);
                }
            }
        }
    }

    /// When it really came: since the verdict a measured belt may have stopped, or changed its speed.
    pub(super) fn plan_again(&self, part: &mut Part) {
        if self.belt.is_measured() {
            let plan = reject::plan_at(&self.settings, &*self.belt, part.position);
            (part.fire_at, part.deadline) = (plan.fire_at, plan.deadline);
        }
    }

    /// The outcome of a pulse is known: its part is done.
    pub(super) fn pulse_done(&mut self, part: PartId, outcome: PulseOutcome, at: Timestamp) {
        let i = self.awaiting_pulse.iter().position(|s| s.part.id == part);
        let mut settled = self.awaiting_pulse.remove(i.expect("every scheduled part awaits its pulse"));
        self.plan_again(&mut settled.part);
        if outcome == PulseOutcome::Fired {
            self.latency.record(Stage::Pulse, at.since(settled.part.deadline));
        }
        self.close(settled, Some((outcome, at)));
    }

    pub(super) fn close(&mut self, settled: Settled<Inspection>, pulse: Option<(PulseOutcome, Timestamp)>) {
        let Settled { part, verdict, evidence, settled_at } = settled;
        if let Some((outcome, at)) = pulse {
            let counters = &self.shared.counters;
            Counters::add(match outcome {
                PulseOutcome::Fired => &counters.pulses_fired,
                PulseOutcome::Merged => &counters.pulses_merged,
                PulseOutcome::Late => &counters.pulses_late,
                PulseOutcome::Refused => &counters.pulses_refused,
                PulseOutcome::Failed => &counters.pulses_failed,
            });
            if outcome.has_hit() {
                self.expect_at_bin(part, verdict, outcome, at);
            } else {
                self.missed(part, verdict, outcome, at);
            }
        }
        let (pulse, pulse_at) = pulse.unzip();
        self.note(Note::Part(PartRecord { part, verdict, settled_at, inspection: evidence, pulse, pulse_at }));
    }

    /// A part that was to be rejected is still on the belt, as far as anybody knows.
    pub(super) fn missed(&mut self, part: Part, verdict: Verdict, pulse: PulseOutcome, at: Timestamp) {
        if verdict == Verdict::Reject {
            Counters::add(&self.shared.counters.missed_rejects);
            self.shared.counters.count_fault(Fault::MissedReject);
            self.note(Note::MissedReject { part: part.id, at, fire_at: part.fire_at, pulse });
            self.take_measures(self.safety.missed_reject());
        } else {
            self.fault(Fault::MissedUninspected, Some(part.id), format!("not inspected, and {}", pulse.missed()));
        }
    }

    pub(super) fn take_measures(&mut self, measures: Measures) {
        // A dry run asks nobody to stop; what it would have done stands in the events.
        if measures.stop_line && self.settings.enabled {
            self.raise(Panel::stop_line, true);
        }
        if measures.fault {
            self.call_person();
        }
    }

    fn call_person(&mut self) {
        self.needs_person = true;
        self.raise(Panel::fault, true);
    }

    /// Sets an output of the panel, if it is wired.
    pub(super) fn raise(&mut self, which: fn(&mut Panel) -> &mut Option<SafeLine>, high: bool) {
        let level = if high { Level::High } else { Level::Low };
        let outcome = which(&mut self.panel).as_mut().map_or(Ok(()), |line| line.set_level(level));
        if let Err(fault) = outcome {
            self.report(Fault::Line, None, fault.to_string().into());
        }
    }

    /// Counts and records a fault, which `rec` logs, and calls a person if it needs one.
    pub(super) fn fault(&mut self, fault: Fault, part: Option<PartId>, message: impl Into<Cow<'static, str>>) {
        self.report(fault, part, message.into());
        if fault.needs_person() {
            self.call_person();
        }
    }

    pub(super) fn report(&mut self, fault: Fault, part: Option<PartId>, message: Cow<'static, str>) {
        self.shared.counters.count_fault(fault);
        self.note(Note::Fault { fault, at: self.shared.clock.now(), part, message });
    }

    pub(super) fn note(&mut self, note: Note) {
        if self.shared.notes.try_push(note).is_err() {
            Counters::add(&self.shared.counters.events_lost);
        }
    }

    /// Losses that other threads have counted become faults, once each.
    pub(super) fn report_losses(&mut self) {
        let events = self.shared.counters.events_lost.load(Ordering::Relaxed);
        let scores = self.shared.scores_lost.load(Ordering::Relaxed);
        let losses = [
            (events, Fault::EventsLost, "events could not be written"),
            (scores, Fault::ScoreLost, "a score found the link full; its part expires as late"),
        ];
        for (i, (lost, fault, message)) in losses.into_iter().enumerate() {
            if lost > 0 && !std::mem::replace(&mut self.reported_losses[i], true) {
                self.fault(fault, None, message);
            }
        }
    }
}
