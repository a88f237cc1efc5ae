//! What comes in: edges, frames and scores, and what each does to the ledger.

use std::sync::atomic::Ordering;

use super::{Actuation, Trigger};
use crate::camera::BrokenFrame;
use crate::clock::Timestamp;
use crate::decide::{Part, Reason, Receipt, Verdict, decide};
use crate::error::Error;
use crate::frame::Frame;
use crate::gpio::Level;
use crate::inspect::Inspection;
use crate::pipeline::queue::Next;
use crate::pipeline::recording::Note;
use crate::pipeline::{Captured, Job, Scored};
use crate::reject;
use crate::telemetry::{Counters, Fault, Stage};
use crate::units::{FrameId, PartId};

/// The most parts that a gap in the frame numbers is taken for. A driver whose counter jumps further has restarted.
const GAP_MAX: u64 = 64;

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
                Ok(Some(edge)) if edge.level == Level::High => _ = self.birth(edge.at),
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
                Captured::Broken(broken) => {
                    self.close_gap(broken.id, broken.exposure_at);
                    self.take_broken(broken);
                }
                Captured::Fault(fault, error) => self.fault(Fault::Camera, None, format!("{fault}: {error}")),
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

    fn take_frame(&mut self, frame: Frame) {
        if let Some(part) = self.part_of(frame.exposure_at) {
            let job = Job { part: part.id, deadline: part.deadline, frame };
            // Before the job: what takes it must not be overtaken by this.
            self.shared.board.beats.inspecting.begin(self.shared.clock.now());
            if let Some(evicted) = self.shared.jobs.push_evicting(job) {
                let message = "pushed out before its inspection started: the inspection is slower than the belt";
                self.refuse(evicted.part, Reason::Overrun, Fault::Overrun, message.to_owned());
            }
        }
    }

    fn take_broken(&mut self, broken: BrokenFrame) {
        if let Some(part) = self.part_of(broken.exposure_at) {
            self.refuse(part.id, Reason::Broken, Fault::FrameBroken, broken.error.to_string());
        }
    }

    pub(super) fn take_scores(&mut self) {
        while let Next::Item(Scored { part, dequeued_at, started_at, outcome }) = self.shared.scores.next() {
            match outcome {
                Ok(inspection) => {
                    self.record_times(&inspection);
                    self.latency.record(Stage::Queue, started_at.since(dequeued_at));
                    let verdict = decide(inspection.score, self.threshold);
                    if self.settle(part, verdict, Some(inspection)) {
                        self.latency.record(Stage::Verdict, self.shared.clock.now().since(dequeued_at));
                        if verdict == Verdict::Uninspected(Reason::NotFinite) {
                            self.fault(Fault::Inspection, Some(part), "its score is not a number".to_owned());
                        }
                    }
                }
                Err(error) => {
                    self.refuse(part, Reason::InspectionFailed, Fault::Inspection, story(&error));
                }
            }
        }
    }

    /// The part that a frame shows: a new one where every frame is a part.
    fn part_of(&mut self, exposure_at: Timestamp) -> Option<Part> {
        let part = match self.trigger {
            Trigger::EveryFrame => {
                let part = self.birth(exposure_at)?;
                self.ledger.mark_seen(part.id);
                Some(part)
            }
            Trigger::Edge { exposure_delay, tolerance, .. } => {
                self.ledger.attach(exposure_at, exposure_delay, tolerance)
            }
        };
        if part.is_none() {
            Counters::add(&self.shared.counters.frames_unmatched);
        }
        part
    }

    /// Opens a part; `None` when the ledger was full and the part is settled already.
    fn birth(&mut self, trigger_at: Timestamp) -> Option<Part> {
        Counters::add(&self.shared.counters.parts);
        let reject::Plan { position, fire_at, deadline } = reject::plan(&self.settings, &*self.belt, trigger_at);
        let plan = |id| Part { id, trigger_at, position, fire_at, deadline };
        let (part, refused) = self.ledger.open(self.shared.clock.now(), plan);
        let Some(refused) = refused else { return Some(part) };
        self.fault(
            Fault::Overrun,
            Some(part.id),
            "more parts on the belt than [reject] travel has room for".to_owned(),
        );
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

    fn refuse(&mut self, part: PartId, reason: Reason, fault: Fault, message: String) {
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
