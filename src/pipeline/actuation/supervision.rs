//! How the line is: the run's phase, what the camera and the belt are said to do, faults, and whom that calls.
//!
//! Every fault and every note of the loop goes through here. A fault that needs a person raises the fault output until
//! that person has reset it; what is still there then (a full bin, a camera that is down) keeps it high.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Trigger;
use super::auxiliary::Indicators;
use super::phase::{Event, Phase};
use super::sight::{EMPTY_IN_A_ROW, News, Sight};
use crate::camera::CameraFault;
use crate::clock::Timestamp;
use crate::decide::{Alarm, Alarms, Measures, Reason, Safety, Verdict, alarm};
use crate::error::{Error, ErrorKind};
use crate::gpio::{Level, SafeLine};
use crate::pipeline::recording::Note;
use crate::pipeline::{Shared, Thread};
use crate::reject::Belt;
use crate::telemetry::{Counters, Fault};
use crate::units::PartId;

/// So many parts in a row while the belt is said to stand are a broken encoder. Chosen: one may be a hand in the light
/// barrier, two the part that is taken out and put back.
const PARTS_ON_A_STANDING_BELT: u32 = 3;

/// How long a run that ends waits for a belt that stands to go on. Chosen: long enough for the inspections that are
/// under way, far below the 90 s after which systemd ends a process the hard way.
const END_GRACE: Duration = Duration::from_secs(2);

/// What the loop knows of its line, and the outputs that show it.
pub(super) struct Supervision {
    shared: Arc<Shared>,
    phase: Phase,
    safety: Safety,
    /// Not a dry run: controllers and the line may act on the outputs.
    is_armed: bool,
    /// An eye says when a part comes: an empty belt in front of the camera is then a contradiction.
    has_eye: bool,
    indicators: Indicators,
    alarms: Alarms,
    sight: Sight,
    /// By the camera's own words.
    camera_is_down: bool,
    /// Since when the camera's thread is asked to end.
    camera_dismissed_at: Option<Timestamp>,
    bin_is_full: bool,
    /// Since when the belt stands; `None` while it moves.
    standing_since: Option<Timestamp>,
    parts_standing: u32,
    slips: u64,
    /// The fault output was asked for.
    needs_person: bool,
    reported_losses: [bool; 2],
}

impl Supervision {
    pub(super) fn new(
        shared: Arc<Shared>,
        indicators: Indicators,
        alarms: alarm::Settings,
        safety: Safety,
        is_armed: bool,
        trigger: &Trigger,
    ) -> Self {
        Self {
            shared,
            phase: Phase::Starting,
            safety,
            is_armed,
            // By the clock alone, or where each frame is a part, a belt may be empty for hours.
            has_eye: match trigger {
                Trigger::Edge { input, .. } => !input.ends_with_camera(),
                Trigger::Tripwire { .. } => true,
                Trigger::EveryFrame => false,
            },
            indicators,
            alarms: Alarms::new(alarms),
            sight: Sight::default(),
            camera_is_down: false,
            camera_dismissed_at: None,
            bin_is_full: false,
            standing_since: None,
            parts_standing: 0,
            slips: 0,
            needs_person: false,
            reported_losses: [false; 2],
        }
    }

    pub(super) fn start(&mut self, belt: &dyn Belt) {
        self.standing_since = belt.is_measured().then(|| self.shared.clock.now());
    }

    /// The loop has turned.
    pub(super) fn beat(&self) {
        self.shared.board.beats.turned.set(self.shared.clock.now());
    }

    /// When something here is due without a wake-up.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        [self.indicators.next_at(), self.gives_up_belt_at(), self.gives_up_camera_at()].into_iter().flatten().min()
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn safety(&self) -> Safety {
        self.safety
    }

    /// Parts are seen from here on: at once, or when the tripwire knows its empty belt.
    pub(super) fn become_ready(&mut self) {
        if self.phase == Phase::Starting && self.shared.board.beats.read().learning.is_none() {
            self.phase = self.phase.after(Event::PartsAreSeen);
            self.show_ready();
        }
    }

    /// No more parts are taken.
    pub(super) fn stop(&mut self) {
        self.shared.announce_stopping();
        self.raise(|indicators| &mut indicators.ready, false);
        self.phase = self.phase.after(Event::EndIsDue(self.shared.clock.now()));
    }

    /// Every part is served, or the loop has panicked.
    pub(super) fn end(&mut self, event: Event) {
        self.phase = self.phase.after(event);
    }

    pub(super) fn make_safe(&mut self) {
        self.indicators.make_safe();
    }

    /// Lets the heart beat while all is well.
    pub(super) fn drive(&mut self) {
        let now = self.shared.clock.now();
        while let Some(outcome) = self.indicators.step(now, self.is_well()) {
            if let Err(fault) = outcome {
                self.fault(Fault::Line, None, fault.to_string());
            }
        }
    }

    fn is_well(&self) -> bool {
        self.phase.is_at_work() && !self.sight.is_blind() && !self.needs_person
    }

    /// Sets the ready output to what is so. A run that ends is not ready, and a dry one never is.
    fn show_ready(&mut self) {
        if self.is_armed && self.phase == Phase::Ready {
            self.raise(|indicators| &mut indicators.ready, !self.sight.is_blind());
        }
    }
}

/// The camera.
impl Supervision {
    pub(super) fn camera_fails(&mut self, fault: CameraFault, error: &Error) {
        self.camera_is_down = true;
        self.fault(Fault::Camera, None, format!("{fault}: {error}"));
    }

    pub(super) fn camera_is_back(&mut self, down: Duration) {
        self.camera_is_down = false;
        self.note(Note::CameraBack { at: self.shared.clock.now(), down });
    }

    /// A part's frame was looked at; `reason` says why it cannot be judged, where it cannot.
    pub(super) fn note_sight(&mut self, reason: Option<Reason>) {
        let news = self.sight.count(reason);
        self.shared.board.note_blind(reason.unwrap_or(Reason::NoPart), self.sight.blind_in_a_row());
        match news {
            None => {}
            Some(News::Blind) => {
                let blindness = reason.and_then(Reason::blindness).unwrap_or_default();
                let parts = self.sight.blind_in_a_row();
                let message = format!(
                    "{parts} parts in a row were not seen, the last for a frame that is {blindness}: the line is not \
                     ready until one is seen; look at the camera with `zoomgate doctor --live`"
                );
                self.fault(Fault::CameraBlind, None, message);
                self.show_ready();
            }
            Some(News::Sees(blind)) => {
                self.note(Note::SightBack { at: self.shared.clock.now(), blind });
                self.show_ready();
            }
            Some(News::Empty) if self.has_eye => {
                let message = format!(
                    "{EMPTY_IN_A_ROW} parts in a row were triggered and the camera saw the empty belt: check \
                     [trigger] exposure_offset_ms, and that eye and camera look at the same part"
                );
                self.fault(Fault::NothingTriggered, None, message);
            }
            Some(News::Empty) => {}
        }
    }

    /// No more frames are needed.
    pub(super) fn dismiss_camera(&mut self) {
        self.camera_dismissed_at.get_or_insert(self.shared.clock.now());
        self.shared.end_capture();
    }

    /// When a camera that does not come back is no longer waited for.
    fn gives_up_camera_at(&self) -> Option<Timestamp> {
        let at = self.camera_dismissed_at? + self.shared.board.about.limits.ending();
        (!self.shared.cap_finished()).then_some(at)
    }

    /// Whether the time of the camera's thread is over; the run has failed then.
    pub(super) fn gives_up_camera(&mut self) -> bool {
        let is_over = self.gives_up_camera_at().is_some_and(|at| at <= self.shared.clock.now());
        if is_over {
            self.give_up_thread(Thread::Cap, "the camera does not answer");
        }
        is_over
    }

    /// A thread hangs and the run ends without it.
    pub(super) fn give_up_thread(&mut self, thread: Thread, what: &str) {
        let limit = self.shared.board.about.limits.ending().as_secs_f64();
        let name = thread.name();
        let message = format!("{what}: thread {name} did not end within {limit} s; start the program again");
        // Not with `fault`, which raises an output; and said here, as whoever sees a stall does.
        log::error!("{} {message}", Fault::Stalled.code());
        self.report(Fault::Stalled, None, message.clone().into());
        self.shared.fail(Error::new(ErrorKind::Timeout, message));
    }
}

/// The belt and the bin.
impl Supervision {
    pub(super) fn report_belt(&mut self, belt: &dyn Belt, now: Timestamp) {
        let is_moving = belt.is_moving();
        if is_moving == self.standing_since.is_some() {
            self.standing_since = (!is_moving).then_some(now);
            self.parts_standing = 0;
            if !is_moving {
                Counters::add(&self.shared.counters.belt_stops);
            }
            self.note(Note::Belt { at: now, moving: is_moving });
        }
        let slips = belt.slips();
        if slips > std::mem::replace(&mut self.slips, slips) {
            let message = format!("{slips} edges of the encoder were lost so far: check its cable and its frequency");
            self.fault(Fault::EncoderSlip, None, message);
        }
    }

    /// A part was triggered: on a belt that stands that should not happen, and not again and again.
    pub(super) fn suspect_encoder(&mut self) {
        if self.standing_since.is_none() {
            return;
        }
        self.parts_standing += 1;
        if self.parts_standing == PARTS_ON_A_STANDING_BELT {
            let message = "parts come while the encoder says that the belt stands: check its cable and [encoder]";
            self.fault(Fault::EncoderSilent, None, message);
            self.take_measures(self.safety.missed_reject());
        }
    }

    /// When a run that ends no longer waits for a belt that stands.
    fn gives_up_belt_at(&self) -> Option<Timestamp> {
        Some(self.phase.stopping_since()?.max(self.standing_since?) + END_GRACE)
    }

    /// Whether a run that ends no longer waits for the belt to go on.
    pub(super) fn gives_up_belt(&self) -> bool {
        self.gives_up_belt_at().is_some_and(|at| at <= self.shared.clock.now())
    }

    pub(super) fn bin_is(&mut self, is_full: bool) {
        self.bin_is_full = is_full;
        if is_full {
            self.fault(Fault::BinFull, None, "the bin of rejects is full: empty it, then reset");
            self.take_measures(self.safety.missed_reject());
        }
    }
}

/// Faults, and the person who sees to them.
impl Supervision {
    /// Counts a verdict; many together may be an alarm.
    pub(super) fn watch_verdict(&mut self, verdict: Verdict) {
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

    /// A person has seen what there is: outputs that called for one go down, but for what is still there. A line that
    /// stands because rejects have nowhere to go must not start because somebody has seen it.
    pub(super) fn acknowledge(&mut self) {
        self.alarms.acknowledge();
        self.parts_standing = 0;
        if self.sight.acknowledge() {
            self.show_ready();
        }
        self.needs_person = self.bin_is_full || self.camera_is_down;
        if !(self.bin_is_full && self.safety.missed_reject().stop_line) {
            self.raise(|indicators| &mut indicators.stop_line, false);
        }
        self.raise(|indicators| &mut indicators.fault, self.needs_person);
        self.note(Note::Acknowledged { at: self.shared.clock.now() });
    }

    pub(super) fn take_measures(&mut self, measures: Measures) {
        // A dry run asks nobody to stop; what it would have done stands in the events.
        if measures.stop_line && self.is_armed {
            self.raise(|indicators| &mut indicators.stop_line, true);
        }
        if measures.fault {
            self.call_person();
        }
    }

    fn call_person(&mut self) {
        self.needs_person = true;
        self.raise(|indicators| &mut indicators.fault, true);
    }

    /// Sets an indicator, if it is wired.
    fn raise(&mut self, which: fn(&mut Indicators) -> &mut Option<SafeLine>, high: bool) {
        let level = if high { Level::High } else { Level::Low };
        let outcome = which(&mut self.indicators).as_mut().map_or(Ok(()), |line| line.set_level(level));
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

    fn report(&mut self, fault: Fault, part: Option<PartId>, message: Cow<'static, str>) {
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
