//! What comes in: edges, frames and scores, and what each does to the ledger.
//!
//! With a camera that runs freely a frame may come before the edge of the part that it shows: the camera sees the part
//! first, or the edge has to settle. Such a frame waits for as long as an edge can still ask for it.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Actuation, Trigger, sight};
use crate::camera::BrokenFrame;
use crate::clock::{Offset, Timestamp};
use crate::decide::part::EARLY_FRAMES;
use crate::decide::{Part, Reason, Receipt, Verdict, decide};
use crate::error::Error;
use crate::frame::Frame;
use crate::gpio::Level;
use crate::inspect::Inspection;
use crate::pipeline::queue::Next;
use crate::pipeline::recording::Note;
use crate::pipeline::{Captured, Job, Outcome, Scored, reason};
use crate::reject;
use crate::telemetry::{Counters, Fault, Stage};
use crate::units::{FrameId, PartId};

/// The most parts that a gap in the frame numbers is taken for. A driver whose counter jumps further has restarted.
const GAP_MAX: u64 = 64;

/// How long an edge may take from the interrupt to here, beside its debounce. Chosen: as long as `act` may be held up.
const EDGE_LATENCY: Duration = Duration::from_millis(20);

impl Actuation {
    pub(super) fn next_edge_at(&self) -> Option<Timestamp> {
        match &self.trigger {
            Trigger::Edge { input, .. } if !self.stopping => input.next_at(),
            _ => None,
        }
    }

    pub(super) fn take_edges(&mut self) {
        while !self.stopping {
            let Trigger::Edge { input, .. } = &mut self.trigger else { return };
            match input.next_edge(self.shared.clock.now()) {
                Ok(Some(edge)) if edge.level == Level::High => {
                    self.take_edge(edge.at);
                    self.suspect_encoder();
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(line) => {
                    // Without triggers parts would pass unseen: the only honest answer is to end the run.
                    self.fault(Fault::Trigger, None, line.to_string());
                    self.shared.fail(line.into());
                    return;
                }
            }
        }
    }

    pub(super) fn take_frames(&mut self, cap_finished: bool) {
        while let Next::Item(captured) = self.shared.frames.next() {
            match captured {
                Captured::Frame(frame) => {
                    self.close_gap(frame.id, frame.exposure_at);
                    self.take_frame(frame);
                }
                Captured::Trip(tripped_at, frame) => {
                    self.close_gap(frame.id, frame.exposure_at);
                    if !self.stopping {
                        self.birth(tripped_at);
                        self.suspect_encoder();
                    }
                    self.take_frame(frame);
                }
                Captured::Broken(broken) => {
                    self.close_gap(broken.id, broken.exposure_at);
                    self.take_broken(broken);
                }
                Captured::Fault(fault, error) => {
                    self.watched.camera_is_down = true;
                    self.fault(Fault::Camera, None, format!("{fault}: {error}"));
                }
                Captured::Back(down) => {
                    self.watched.camera_is_down = false;
                    self.note(Note::CameraBack { at: self.shared.clock.now(), down });
                }
            }
        }
        if cap_finished {
            let exposed = FrameId(self.shared.exposed.load(Ordering::SeqCst));
            if exposed > self.next_frame {
                self.close_gap(exposed, self.shared.clock.now());
                self.next_frame = exposed;
            }
        }
    }

    /// A part passes the eye: its light, its birth, and its frame if that has come already.
    fn take_edge(&mut self, edge_at: Timestamp) {
        if self.panel.trigger(edge_at).is_err() {
            let message = "light strobes wait for their time: shorten [outputs] light_delay_ms";
            self.fault(Fault::StrobeLost, None, message);
        }
        if self.edges.len() == EARLY_FRAMES {
            self.edges.pop_front();
        }
        self.edges.push_back(edge_at);
        // Taken out first: a part that is refused at birth takes its frame with it.
        let frame = self.early_frame_of(edge_at);
        if let Some(part) = self.birth(edge_at)
            && let Some(frame) = frame
        {
            self.ledger.mark_seen(part.id);
            self.submit(&part, frame);
        }
    }

    fn early_frame_of(&mut self, edge_at: Timestamp) -> Option<Frame> {
        let Trigger::Edge { exposure_offset, tolerance, .. } = self.trigger else { return None };
        let expected = edge_at + exposure_offset;
        let distance = |frame: &Frame| frame.exposure_at.abs_diff(expected);
        let nearest = (0..self.early.len()).min_by_key(|&i| distance(&self.early[i]))?;
        if distance(&self.early[nearest]) > tolerance {
            return None;
        }
        self.early.remove(nearest)
    }

    fn take_frame(&mut self, frame: Frame) {
        match self.part_of(frame.exposure_at) {
            Some(part) => self.submit(&part, frame),
            None => self.keep_early(frame),
        }
    }

    /// Keeps a frame whose edge may still come; any other belongs to no part.
    fn keep_early(&mut self, frame: Frame) {
        let now = self.shared.clock.now();
        let Trigger::Edge { ref input, exposure_offset, tolerance, .. } = self.trigger else { return };
        let edge_latency = input.delay() + EDGE_LATENCY;
        let latest_edge = |frame: &Frame| frame.exposure_at + Offset(exposure_offset.0.saturating_neg()) + tolerance;
        let may_come = |frame: &Frame| now <= latest_edge(frame) + edge_latency;
        // An edge that has come has its part, which has its frame, or has lost it: its neighbour must not get this one.
        let is_somebodys =
            self.edges.iter().any(|edge| frame.exposure_at.abs_diff(*edge + exposure_offset) <= tolerance);
        while self.early.len() == EARLY_FRAMES || self.early.front().is_some_and(|first| !may_come(first)) {
            self.early.pop_front();
            Counters::add(&self.shared.counters.frames_unmatched);
        }
        if may_come(&frame) && !is_somebodys && !self.stopping {
            self.early.push_back(frame);
        } else {
            Counters::add(&self.shared.counters.frames_unmatched);
        }
    }

    /// No edge will come any more.
    pub(super) fn forget_early_frames(&mut self) {
        self.early.drain(..).for_each(|_| Counters::add(&self.shared.counters.frames_unmatched));
    }

    fn submit(&mut self, part: &Part, frame: Frame) {
        // On a measured belt the deadline is a place: who is too late is withdrawn when the belt gets there.
        let deadline = if self.belt.is_measured() { Timestamp::NEVER } else { part.deadline };
        let job = Job { part: part.id, deadline, frame };
        // Before the job: what takes it must not be overtaken by this.
        self.shared.board.beats.inspecting.begin(self.shared.clock.now());
        if let Some(evicted) = self.shared.jobs.push_evicting(job) {
            let message = "pushed out before its inspection started: the inspection is slower than the belt";
            self.refuse(evicted.part, Reason::Overrun, Fault::Overrun, message);
        }
    }

    fn take_broken(&mut self, broken: BrokenFrame) {
        match self.part_of(broken.exposure_at) {
            Some(part) => self.refuse(part.id, Reason::Broken, Fault::FrameBroken, broken.error.to_string()),
            None => Counters::add(&self.shared.counters.frames_unmatched),
        }
    }

    pub(super) fn take_scores(&mut self) {
        while let Next::Item(Scored { part, dequeued_at, started_at, outcome }) = self.shared.scores.next() {
            match outcome {
                Outcome::Judged(inspection) => {
                    self.note_sight(None);
                    self.record_times(&inspection);
                    self.latency.record(Stage::Queue, started_at.since(dequeued_at));
                    let verdict = decide(inspection.score, self.threshold);
                    if self.settle(part, verdict, Some(inspection)) {
                        self.latency.record(Stage::Verdict, self.shared.clock.now().since(dequeued_at));
                        if verdict == Verdict::Uninspected(Reason::NotFinite) {
                            self.fault(Fault::Inspection, Some(part), "its score is not a number");
                        }
                    }
                }
                Outcome::Unseen(unseen) => self.take_unseen(part, reason(unseen)),
                Outcome::Failed(error) => {
                    self.refuse(part, Reason::InspectionFailed, Fault::Inspection, story(&error));
                }
            }
        }
    }

    /// A part's frame shows nothing that could be judged.
    fn take_unseen(&mut self, part: PartId, reason: Reason) {
        match sight::story(reason) {
            Some(story) => self.refuse(part, reason, Fault::FrameBlind, story),
            // An empty belt is no fault: whether it should be is for the trigger to say, and for many in a row.
            None => _ = self.settle(part, Verdict::Uninspected(reason), None),
        }
        self.note_sight(Some(reason));
    }

    /// The part that a frame shows: a new one where every frame is a part.
    fn part_of(&mut self, exposure_at: Timestamp) -> Option<Part> {
        match self.trigger {
            Trigger::EveryFrame => {
                let part = self.birth(exposure_at)?;
                self.ledger.mark_seen(part.id);
                Some(part)
            }
            Trigger::Edge { exposure_offset, tolerance, .. } | Trigger::Tripwire { exposure_offset, tolerance } => {
                self.ledger.attach(exposure_at, exposure_offset, tolerance)
            }
        }
    }

    /// Opens a part; `None` when the ledger was full and the part is settled already.
    fn birth(&mut self, trigger_at: Timestamp) -> Option<Part> {
        Counters::add(&self.shared.counters.parts);
        let reject::Plan { position, fire_at, deadline } = reject::plan(&self.settings, &*self.belt, trigger_at);
        let plan = |id| Part { id, trigger_at, position, fire_at, deadline };
        let (part, refused) = self.ledger.open(self.shared.clock.now(), plan);
        let Some(refused) = refused else { return Some(part) };
        self.fault(Fault::Overrun, Some(part.id), "more parts on the belt than [reject] travel has room for");
        self.conclude(refused);
        None
    }

    /// Where every frame is a part, a number that never arrived is a part that nobody has seen.
    fn close_gap(&mut self, id: FrameId, exposure_at: Timestamp) {
        let missing = id.0.saturating_sub(self.next_frame.0);
        let last = self.last_exposure.replace(exposure_at);
        // A number that comes twice, or late, must not open a gap behind it.
        self.next_frame = self.next_frame.max(FrameId(id.0 + 1));
        if missing == 0 {
            return;
        }
        let message = format!("{missing} frames before frame {} never arrived", id.0);
        self.fault(Fault::FramesLost, None, message);
        if matches!(self.trigger, Trigger::EveryFrame) {
            let parts = missing.min(GAP_MAX);
            let from = last.unwrap_or(exposure_at);
            // Evenly between their neighbours: nobody knows better.
            let step = exposure_at.since(from) / (u32::try_from(parts).expect("at most GAP_MAX") + 1);
            let mut trigger_at = from;
            for _ in 0..parts {
                trigger_at = trigger_at + step;
                if let Some(part) = self.birth(trigger_at) {
                    self.ledger.mark_seen(part.id);
                    self.settle(part.id, Verdict::Uninspected(Reason::FrameLost), None);
                }
            }
        }
    }

    fn refuse(&mut self, part: PartId, reason: Reason, fault: Fault, message: impl Into<Cow<'static, str>>) {
        if self.settle(part, Verdict::Uninspected(reason), None) {
            self.fault(fault, Some(part), message);
        }
    }

    /// Offers a verdict to the ledger; whether it became the part's.
    fn settle(&mut self, part: PartId, verdict: Verdict, inspection: Option<Inspection>) -> bool {
        let now = self.shared.clock.now();
        match self.ledger.settle(part, verdict, inspection, now) {
            Receipt::Settled(settled) => {
                self.conclude(settled);
                true
            }
            Receipt::TooLate => {
                if let Some(inspection) = inspection {
                    Counters::add(&self.shared.counters.late_scores);
                    self.note(Note::LateScore { part, at: now, score: Some(inspection.score.0) });
                }
                false
            }
        }
    }

    fn record_times(&mut self, inspection: &Inspection) {
        let times = &inspection.times;
        self.latency.record(Stage::Convert, times.convert);
        self.latency.record(Stage::Full, times.full);
        if inspection.score_zoom.is_some() {
            self.latency.record(Stage::Zoom, times.zoom);
        }
        self.latency.record(Stage::Inspect, times.total);
    }
}

/// The message and its causes on one line, for an event.
fn story(error: &Error) -> String {
    let mut story = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        story.push_str(": ");
        story.push_str(&next.to_string());
        cause = next.source();
    }
    story
}
