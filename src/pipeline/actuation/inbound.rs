//! What comes in: edges, frames and scores, and what each does to the ledger.
//!
//! With a camera that runs freely a frame may come before the edge of the part that it shows: the camera sees the part
//! first, or the edge has to settle. Such a frame waits for as long as an edge can still ask for it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::outbound::Outbound;
use super::sensors::SensorReader;
use super::supervision::Supervision;
use super::{Sensors, Trigger, sight};
use crate::camera::BrokenFrame;
use crate::clock::{Offset, Timestamp};
use crate::decide::part::EARLY_FRAMES;
use crate::decide::{Ledger, Part, Reason, Receipt, Verdict, decide};
use crate::error::Error;
use crate::frame::Frame;
use crate::gpio::Level;
use crate::inspect::Inspection;
use crate::pipeline::queue::Next;
use crate::pipeline::recording::Note;
use crate::pipeline::{Captured, Job, Outcome, Scored, Shared, reason};
use crate::reject;
use crate::telemetry::{Counters, Fault, Stage};
use crate::units::{FrameId, PartId};

/// The most parts that a gap in the frame numbers is taken for. A driver whose counter jumps further has restarted.
const GAP_MAX: u64 = 64;

/// How long an edge may take from the interrupt to here, beside its debounce. Chosen: as long as `act` may be held up.
const EDGE_LATENCY: Duration = Duration::from_millis(20);

/// Open parts, and all that comes for them until each has its verdict.
pub(super) struct Inbound {
    shared: Arc<Shared>,
    trigger: Trigger,
    sensors: SensorReader,
    threshold: f32,
    ledger: Ledger,
    /// The number that the next frame should have, and the last exposure seen.
    next_frame: FrameId,
    last_exposure: Option<Timestamp>,
    /// Frames that came before the edge of their part, if they are any part's; and the last edges.
    early: VecDeque<Frame>,
    edges: VecDeque<Timestamp>,
}

/// Why a part is not inspected, and the fault that says so.
struct Refusal {
    reason: Reason,
    fault: Fault,
    message: Cow<'static, str>,
}

impl Inbound {
    /// No part is open; the inputs wake the loop's token from here on.
    pub(super) fn new(
        shared: Arc<Shared>,
        mut trigger: Trigger,
        sensors: Sensors,
        threshold: f32,
        ledger: Ledger,
    ) -> Self {
        if let Trigger::Edge { input, .. } = &mut trigger {
            input.attach(&shared.clock, &shared.act_token);
        }
        Self {
            sensors: SensorReader::new(&shared, sensors),
            trigger,
            threshold,
            ledger,
            next_frame: FrameId(0),
            last_exposure: None,
            early: VecDeque::with_capacity(EARLY_FRAMES),
            edges: VecDeque::with_capacity(EARLY_FRAMES),
            shared,
        }
    }

    /// The run begins.
    pub(super) fn start(&mut self) {
        self.sensors.start();
    }

    /// When a deadline comes, or an input has something to say without a wake-up.
    pub(super) fn next_at(&self, takes_parts: bool) -> Option<Timestamp> {
        let edge = match &self.trigger {
            Trigger::Edge { input, .. } if takes_parts => input.next_at(),
            _ => None,
        };
        [self.ledger.next_deadline(), edge, self.sensors.next_at()].into_iter().flatten().min()
    }

    /// Whether every part has its verdict.
    pub(super) fn is_empty(&self) -> bool {
        self.ledger.is_empty()
    }

    /// Whether a part still waits for its frame.
    pub(super) fn awaits_frame(&self) -> bool {
        !matches!(self.trigger, Trigger::EveryFrame) && self.ledger.awaits_frame()
    }

    /// Whether no more parts can come.
    pub(super) fn has_ended(&self, cap_finished: bool) -> bool {
        match &self.trigger {
            Trigger::EveryFrame | Trigger::Tripwire { .. } => cap_finished,
            Trigger::Edge { input, .. } => input.is_exhausted() || (cap_finished && input.ends_with_camera()),
        }
    }

    /// The camera has ended and a part came after its last frame, or may come at any time.
    ///
    /// An input that is played knows its edges: those that trail the last frame are still that frame's.
    pub(super) fn has_outlived_its_camera(&self) -> bool {
        let Trigger::Edge { input, exposure_offset, tolerance, .. } = &self.trigger else { return false };
        let last_frame = self.last_exposure.map_or(Timestamp::ZERO, |at| at + *tolerance);
        input.next_at().is_none() || self.edges.back().is_some_and(|edge| *edge + *exposure_offset > last_frame)
    }

    /// Feeds the encoder's edges to the belt and plans every open part again.
    pub(super) fn read_belt(&mut self, outbound: &mut Outbound, supervision: &mut Supervision) {
        if !outbound.belt().is_measured() {
            return;
        }
        let now = self.shared.clock.now();
        self.sensors.read_encoder(now, outbound.belt_mut(), supervision);
        self.ledger.replan(|part| outbound.plan_again(part));
        supervision.report_belt(outbound.belt(), now);
    }

    pub(super) fn take_sensors(&mut self, outbound: &mut Outbound, supervision: &mut Supervision) {
        self.sensors.take(outbound, supervision);
    }

    /// Parts whose deadline has come without a score.
    pub(super) fn expire(&mut self, outbound: &mut Outbound, supervision: &mut Supervision) {
        let now = self.shared.clock.now();
        while let Some(settled) = self.ledger.expire(now) {
            if self.shared.jobs.withdraw(|job| job.part == settled.part.id).is_some() {
                Counters::add(&self.shared.counters.skipped);
            }
            outbound.conclude(settled, supervision);
        }
    }

    /// Nothing will come any more for the parts that are open.
    pub(super) fn abandon(&mut self, reason: Reason, outbound: &mut Outbound, supervision: &mut Supervision) {
        let now = self.shared.clock.now();
        while let Some(settled) = self.ledger.abandon(reason, now) {
            outbound.conclude(settled, supervision);
        }
    }

    pub(super) fn take_edges(&mut self, outbound: &mut Outbound, supervision: &mut Supervision) {
        while supervision.phase().takes_parts() {
            let Trigger::Edge { input, .. } = &mut self.trigger else { return };
            match input.next_edge(self.shared.clock.now()) {
                Ok(Some(edge)) if edge.level == Level::High => {
                    self.take_edge(edge.at, outbound, supervision);
                    supervision.suspect_encoder();
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(line) => {
                    // Without triggers parts would pass unseen: the only honest answer is to end the run.
                    supervision.fault(Fault::Trigger, None, line.to_string());
                    self.shared.fail(line.into());
                    return;
                }
            }
        }
    }

    pub(super) fn take_frames(&mut self, cap_finished: bool, outbound: &mut Outbound, supervision: &mut Supervision) {
        while let Next::Item(captured) = self.shared.frames.next() {
            match captured {
                Captured::Frame(frame) => {
                    self.close_gap(frame.id, frame.exposure_at, outbound, supervision);
                    self.take_frame(frame, outbound, supervision);
                }
                Captured::Trip(tripped_at, frame) => {
                    self.close_gap(frame.id, frame.exposure_at, outbound, supervision);
                    if supervision.phase().takes_parts() {
                        self.birth(tripped_at, outbound, supervision);
                        supervision.suspect_encoder();
                    }
                    self.take_frame(frame, outbound, supervision);
                }
                Captured::Broken(broken) => {
                    self.close_gap(broken.id, broken.exposure_at, outbound, supervision);
                    self.take_broken(&broken, outbound, supervision);
                }
                Captured::Fault(fault, error) => supervision.camera_fails(fault, &error),
                Captured::Back(down) => supervision.camera_is_back(down),
            }
        }
        if cap_finished {
            let exposed = FrameId(self.shared.exposed.load(Ordering::SeqCst));
            if exposed > self.next_frame {
                self.close_gap(exposed, self.shared.clock.now(), outbound, supervision);
                self.next_frame = exposed;
            }
        }
    }

    /// A part passes the eye: its light, its birth, and its frame if that has come already.
    fn take_edge(&mut self, edge_at: Timestamp, outbound: &mut Outbound, supervision: &mut Supervision) {
        outbound.strobe(edge_at, supervision);
        if self.edges.len() == EARLY_FRAMES {
            self.edges.pop_front();
        }
        self.edges.push_back(edge_at);
        // Taken out first: a part that is refused at birth takes its frame with it.
        let frame = self.early_frame_of(edge_at);
        if let Some(part) = self.birth(edge_at, outbound, supervision)
            && let Some(frame) = frame
        {
            self.ledger.mark_seen(part.id);
            self.submit(&part, frame, outbound, supervision);
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

    fn take_frame(&mut self, frame: Frame, outbound: &mut Outbound, supervision: &mut Supervision) {
        match self.part_of(frame.exposure_at, outbound, supervision) {
            Some(part) => self.submit(&part, frame, outbound, supervision),
            None => self.keep_early(frame, supervision.phase().takes_parts()),
        }
    }

    /// Keeps a frame whose edge may still come; any other belongs to no part.
    fn keep_early(&mut self, frame: Frame, takes_parts: bool) {
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
        if may_come(&frame) && !is_somebodys && takes_parts {
            self.early.push_back(frame);
        } else {
            Counters::add(&self.shared.counters.frames_unmatched);
        }
    }

    /// No edge will come any more.
    pub(super) fn forget_early_frames(&mut self) {
        self.early.drain(..).for_each(|_| Counters::add(&self.shared.counters.frames_unmatched));
    }

    fn submit(&mut self, part: &Part, frame: Frame, outbound: &mut Outbound, supervision: &mut Supervision) {
        // On a measured belt the deadline is a place: who is too late is withdrawn when the belt gets there.
        let deadline = if outbound.belt().is_measured() { Timestamp::NEVER } else { part.deadline };
        let job = Job { part: part.id, deadline, frame };
        // Before the job: what takes it must not be overtaken by this.
        self.shared.board.beats.inspecting.begin(self.shared.clock.now());
        if let Some(evicted) = self.shared.jobs.push_evicting(job) {
            let message = "pushed out before its inspection started: the inspection is slower than the belt";
            let refusal = Refusal { reason: Reason::Overrun, fault: Fault::Overrun, message: message.into() };
            self.refuse(evicted.part, refusal, outbound, supervision);
        }
    }

    fn take_broken(&mut self, broken: &BrokenFrame, outbound: &mut Outbound, supervision: &mut Supervision) {
        match self.part_of(broken.exposure_at, outbound, supervision) {
            Some(part) => {
                let message = broken.error.to_string().into();
                let refusal = Refusal { reason: Reason::Broken, fault: Fault::FrameBroken, message };
                self.refuse(part.id, refusal, outbound, supervision);
            }
            None => Counters::add(&self.shared.counters.frames_unmatched),
        }
    }

    pub(super) fn take_scores(&mut self, outbound: &mut Outbound, supervision: &mut Supervision) {
        while let Next::Item(Scored { part, dequeued_at, started_at, outcome }) = self.shared.scores.next() {
            match outcome {
                Outcome::Judged(inspection) => {
                    supervision.note_sight(None);
                    self.record_times(&inspection);
                    self.shared.board.latency.record(Stage::Queue, started_at.since(dequeued_at));
                    let verdict = decide(inspection.score, self.threshold);
                    if self.settle(part, verdict, Some(inspection), outbound, supervision) {
                        let now = self.shared.clock.now();
                        self.shared.board.latency.record(Stage::Verdict, now.since(dequeued_at));
                        if verdict == Verdict::Uninspected(Reason::NotFinite) {
                            supervision.fault(Fault::Inspection, Some(part), "its score is not a number");
                        }
                    }
                }
                Outcome::Unseen(unseen) => self.take_unseen(part, reason(unseen), outbound, supervision),
                Outcome::Failed(error) => {
                    let (reason, fault) = (Reason::InspectionFailed, Fault::Inspection);
                    let refusal = Refusal { reason, fault, message: story(&error).into() };
                    self.refuse(part, refusal, outbound, supervision);
                }
            }
        }
    }

    /// A part's frame shows nothing that could be judged.
    fn take_unseen(&mut self, part: PartId, reason: Reason, outbound: &mut Outbound, supervision: &mut Supervision) {
        match sight::story(reason) {
            Some(story) => {
                let refusal = Refusal { reason, fault: Fault::FrameBlind, message: story.into() };
                self.refuse(part, refusal, outbound, supervision);
            }
            // An empty belt is no fault: whether it should be is for the trigger to say, and for many in a row.
            None => _ = self.settle(part, Verdict::Uninspected(reason), None, outbound, supervision),
        }
        supervision.note_sight(Some(reason));
    }

    /// The part that a frame shows: a new one where every frame is a part.
    fn part_of(
        &mut self,
        exposure_at: Timestamp,
        outbound: &mut Outbound,
        supervision: &mut Supervision,
    ) -> Option<Part> {
        match self.trigger {
            Trigger::EveryFrame => {
                let part = self.birth(exposure_at, outbound, supervision)?;
                self.ledger.mark_seen(part.id);
                Some(part)
            }
            Trigger::Edge { exposure_offset, tolerance, .. } | Trigger::Tripwire { exposure_offset, tolerance } => {
                self.ledger.attach(exposure_at, exposure_offset, tolerance)
            }
        }
    }

    /// Opens a part; `None` when the ledger was full and the part is settled already.
    fn birth(&mut self, trigger_at: Timestamp, outbound: &mut Outbound, supervision: &mut Supervision) -> Option<Part> {
        Counters::add(&self.shared.counters.parts);
        let reject::RejectPlan { position, fire_at, deadline } = outbound.plan(trigger_at);
        let plan = |id| Part { id, trigger_at, position, fire_at, deadline };
        let (part, refused) = self.ledger.open(self.shared.clock.now(), plan);
        let Some(refused) = refused else { return Some(part) };
        let message = "more parts on the belt than [reject] travel has room for";
        supervision.fault(Fault::Overrun, Some(part.id), message);
        outbound.conclude(refused, supervision);
        None
    }

    /// Where every frame is a part, a number that never arrived is a part that nobody has seen.
    fn close_gap(
        &mut self,
        id: FrameId,
        exposure_at: Timestamp,
        outbound: &mut Outbound,
        supervision: &mut Supervision,
    ) {
        let missing = id.0.saturating_sub(self.next_frame.0);
        let last = self.last_exposure.replace(exposure_at);
        // A number that comes twice, or late, must not open a gap behind it.
        self.next_frame = self.next_frame.max(FrameId(id.0 + 1));
        if missing == 0 {
            return;
        }
        let message = format!("{missing} frames before frame {} never arrived", id.0);
        supervision.fault(Fault::FramesLost, None, message);
        if matches!(self.trigger, Trigger::EveryFrame) {
            let parts = missing.min(GAP_MAX);
            let from = last.unwrap_or(exposure_at);
            // Evenly between their neighbours: nobody knows better.
            let step = exposure_at.since(from) / (u32::try_from(parts).expect("at most GAP_MAX") + 1);
            let mut trigger_at = from;
            for _ in 0..parts {
                trigger_at = trigger_at + step;
                if let Some(part) = self.birth(trigger_at, outbound, supervision) {
                    self.ledger.mark_seen(part.id);
                    let verdict = Verdict::Uninspected(Reason::FrameLost);
                    self.settle(part.id, verdict, None, outbound, supervision);
                }
            }
        }
    }

    fn refuse(
        &mut self,
        part: PartId,
        Refusal { reason, fault, message }: Refusal,
        outbound: &mut Outbound,
        supervision: &mut Supervision,
    ) {
        if self.settle(part, Verdict::Uninspected(reason), None, outbound, supervision) {
            supervision.fault(fault, Some(part), message);
        }
    }

    /// Offers a verdict to the ledger; whether it became the part's.
    fn settle(
        &mut self,
        part: PartId,
        verdict: Verdict,
        inspection: Option<Inspection>,
        outbound: &mut Outbound,
        supervision: &mut Supervision,
    ) -> bool {
        let now = self.shared.clock.now();
        match self.ledger.settle(part, verdict, inspection, now) {
            Receipt::Settled(settled) => {
                outbound.conclude(settled, supervision);
                true
            }
            Receipt::TooLate => {
                if let Some(inspection) = inspection {
                    Counters::add(&self.shared.counters.late_scores);
                    supervision.note(Note::LateScore { part, at: now, score: Some(inspection.score.0) });
                }
                false
            }
        }
    }

    fn record_times(&self, inspection: &Inspection) {
        let (latency, times) = (&self.shared.board.latency, &inspection.times);
        latency.record(Stage::Convert, times.convert);
        latency.record(Stage::Full, times.full);
        if inspection.score_zoom.is_some() {
            latency.record(Stage::Zoom, times.zoom);
        }
        latency.record(Stage::Inspect, times.total);
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
