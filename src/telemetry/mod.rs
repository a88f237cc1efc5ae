//! Counters, latency and events: what a run tells about itself. Never in the way of a part.
//!
//! Counters, latencies and heartbeats are atomics that any thread may read while the run goes on; events are written by
//! `rec`. [`watchdog`] judges the heartbeats, [`status`] is what a running daemon tells. Imports only base and the words
//! of `decide`.

pub mod board;
pub mod events;
pub mod latency;
pub mod status;
pub mod watchdog;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::decide::{Reason, Verdict};

pub use latency::{Histogram, Latency, LatencyMs, Stage, StageMs};

/// Something that went wrong besides a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A frame arrived damaged or with the wrong size.
    FrameBroken,
    /// The camera does not deliver; once when it goes, then once a minute.
    Camera,
    /// Frames were exposed and never arrived, or found the link to `act` full.
    FramesLost,
    /// A part's frame shows nothing that can be judged.
    FrameBlind,
    /// The frames of several parts in a row show nothing that can be judged; once when the camera goes blind.
    CameraBlind,
    /// The trigger input can no longer be read.
    Trigger,
    /// An edge starts parts, and the camera sees the empty belt; once for many in a row.
    NothingTriggered,
    /// A part was pushed out before its inspection started.
    Overrun,
    /// An inspection failed, or its score is not a number.
    Inspection,
    /// A score found the link to `act` full.
    ScoreLost,
    /// The pulse schedule was full.
    ScheduleFull,
    /// An output line did not follow.
    Line,
    /// A known reject was not fired in its window, or not seen at the bin.
    MissedReject,
    /// An uninspected part that the policy rejects was not fired in its window, or not seen at the bin.
    MissedUninspected,
    /// A result or a light strobe found no room to wait.
    StrobeLost,
    /// The encoder can no longer be read.
    Encoder,
    /// Parts come while the encoder says that the belt stands.
    EncoderSilent,
    /// Edges of the encoder were lost.
    EncoderSlip,
    /// An input beside trigger and encoder can no longer be read.
    Input,
    /// The bin of rejects is full.
    BinFull,
    /// Too many rejects in a row.
    ConsecutiveRejects,
    /// Too many of the last parts were not inspected.
    UninspectedRate,
    /// Events could not be written.
    EventsLost,
    /// The run ends with an error: a thread panicked, or the trigger is lost.
    RunFailed,
    /// The camera, the inspection or the actuation loop makes no progress.
    Stalled,
}

impl Fault {
    /// Every fault, in the order of the counters.
    pub const ALL: [Self; 25] = [
        Self::FrameBroken,
        Self::Camera,
        Self::FramesLost,
        Self::FrameBlind,
        Self::CameraBlind,
        Self::Trigger,
        Self::NothingTriggered,
        Self::Overrun,
        Self::Inspection,
        Self::ScoreLost,
        Self::ScheduleFull,
        Self::Line,
        Self::MissedReject,
        Self::MissedUninspected,
        Self::StrobeLost,
        Self::Encoder,
        Self::EncoderSilent,
        Self::EncoderSlip,
        Self::Input,
        Self::BinFull,
        Self::ConsecutiveRejects,
        Self::UninspectedRate,
        Self::EventsLost,
        Self::RunFailed,
        Self::Stalled,
    ];

    /// The stable code in events, logs and the manual.
    pub fn code(self) -> &'static str {
        match self {
            Self::FrameBroken => "CAM-01",
            Self::Camera => "CAM-02",
            Self::FramesLost => "CAM-03",
            Self::FrameBlind => "CAM-04",
            Self::CameraBlind => "CAM-05",
            Self::Trigger => "TRG-01",
            Self::NothingTriggered => "TRG-02",
            Self::Overrun => "INS-01",
            Self::Inspection => "INS-02",
            Self::ScoreLost => "INS-03",
            Self::ScheduleFull => "ACT-01",
            Self::Line => "ACT-02",
            Self::MissedReject => "ACT-03",
            Self::MissedUninspected => "ACT-04",
            Self::StrobeLost => "ACT-05",
            Self::Encoder => "ENC-01",
            Self::EncoderSilent => "ENC-02",
            Self::EncoderSlip => "ENC-03",
            Self::Input => "INP-01",
            Self::BinFull => "BIN-01",
            Self::ConsecutiveRejects => "ALM-01",
            Self::UninspectedRate => "ALM-02",
            Self::EventsLost => "REC-01",
            Self::RunFailed => "SUP-01",
            Self::Stalled => "SUP-02",
        }
    }

    /// What it means, in the words of `status` and of the journal's catalogue.
    pub fn name(self) -> &'static str {
        match self {
            Self::FrameBroken => "a frame is damaged or has another size",
            Self::Camera => "the camera does not deliver",
            Self::FramesLost => "frames were exposed and never arrived",
            Self::FrameBlind => "a frame shows nothing that can be judged",
            Self::CameraBlind => "the camera is blind",
            Self::Trigger => "the trigger input cannot be read",
            Self::NothingTriggered => "parts are triggered and the belt is seen empty",
            Self::Overrun => "parts come faster than they are inspected",
            Self::Inspection => "an inspection fails, or its score is no number",
            Self::ScoreLost => "a score found its link full",
            Self::ScheduleFull => "the pulse schedule is full",
            Self::Line => "an output line does not follow",
            Self::MissedReject => "a known reject missed its window",
            Self::MissedUninspected => "an uninspected part that should be rejected missed its window",
            Self::StrobeLost => "a result or a light strobe found no room to wait",
            Self::Encoder => "the encoder cannot be read",
            Self::EncoderSilent => "parts come while the encoder is silent",
            Self::EncoderSlip => "edges of the encoder were lost",
            Self::Input => "an input cannot be read",
            Self::BinFull => "the bin of rejects is full",
            Self::ConsecutiveRejects => "too many rejects in a row",
            Self::UninspectedRate => "too many parts are not inspected",
            Self::EventsLost => "events cannot be written",
            Self::RunFailed => "the run ended with an error",
            Self::Stalled => "a part of the line makes no progress",
        }
    }

    /// The identifier of its journal entries, 128 bits in hexadecimal: "zoomgate" and the code, in ASCII.
    ///
    /// `systemd/zoomgate.catalog` explains each; `journalctl -x` shows that below the entry.
    pub fn message_id(self) -> String {
        let bytes = b"zoomgate".iter().copied().chain(self.code().bytes()).chain(std::iter::repeat(0));
        const_hex::encode(bytes.take(16).collect::<Vec<u8>>())
    }

    /// Whether the fault output shall call a person. A single frame that is damaged or shows nothing is the plant's
    /// policy's business.
    pub fn needs_person(self) -> bool {
        !matches!(self, Self::FrameBroken | Self::FrameBlind)
    }
}

/// Counters of a run; shared, monotonic.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames that the camera delivered, broken ones included.
    pub frames: AtomicU64,
    /// Frames that belonged to no part.
    pub frames_unmatched: AtomicU64,
    /// Parts born.
    pub parts: AtomicU64,
    /// Verdicts `pass`.
    pub passes: AtomicU64,
    /// Verdicts `reject`.
    pub rejects: AtomicU64,
    /// Verdicts `uninspected`, by [`Reason::index`].
    pub uninspected: [AtomicU64; Reason::ALL.len()],
    /// Scores that came when the ledger was final.
    pub late_scores: AtomicU64,
    /// Inspections not started because the part's verdict was final already.
    pub skipped: AtomicU64,
    /// Pulses planned.
    pub pulses_planned: AtomicU64,
    /// Pulses that raised the line in their window.
    pub pulses_fired: AtomicU64,
    /// Pulses that continued an earlier one.
    pub pulses_merged: AtomicU64,
    /// Pulses whose window was over.
    pub pulses_late: AtomicU64,
    /// Pulses not fired because the line was active for an earlier part.
    pub pulses_refused: AtomicU64,
    /// Pulses that could not be fired.
    pub pulses_failed: AtomicU64,
    /// Known rejects not fired in their window, or not seen at the bin.
    pub missed_rejects: AtomicU64,
    /// Rejected parts that the eye at the bin saw.
    pub rejects_confirmed: AtomicU64,
    /// Edges of that eye that no rejected part explains.
    pub confirmations_unexpected: AtomicU64,
    /// How often the belt came to a stop.
    pub belt_stops: AtomicU64,
    /// Faults, in the order of [`Fault::ALL`].
    pub faults: [AtomicU64; Fault::ALL.len()],
    /// Events that could not be written.
    pub events_lost: AtomicU64,
}

impl Counters {
    /// Adds one.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a verdict.
    pub fn count_verdict(&self, verdict: Verdict) {
        Self::add(match verdict {
            Verdict::Pass => &self.passes,
            Verdict::Reject => &self.rejects,
            Verdict::Uninspected(reason) => &self.uninspected[reason.index()],
        });
    }

    /// Counts a fault.
    pub fn count_fault(&self, fault: Fault) {
        Self::add(&self.faults[fault as usize]);
    }

    /// What was counted so far. Each number is right; together they may straddle an event of a running pipeline.
    pub fn snapshot(&self) -> Counts {
        let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
        Counts {
            frames: get(&self.frames),
            frames_unmatched: get(&self.frames_unmatched),
            parts: get(&self.parts),
            passes: get(&self.passes),
            rejects: get(&self.rejects),
            uninspected_by_reason: Reason::ALL.map(|r| (r, get(&self.uninspected[r.index()]))),
            late_scores: get(&self.late_scores),
            skipped: get(&self.skipped),
            pulses: Pulses {
                planned: get(&self.pulses_planned),
                fired: get(&self.pulses_fired),
                merged: get(&self.pulses_merged),
                late: get(&self.pulses_late),
                refused: get(&self.pulses_refused),
                failed: get(&self.pulses_failed),
            },
            missed_rejects: get(&self.missed_rejects),
            rejects_confirmed: get(&self.rejects_confirmed),
            confirmations_unexpected: get(&self.confirmations_unexpected),
            belt_stops: get(&self.belt_stops),
            faults: Fault::ALL.map(|f| (f, get(&self.faults[f as usize]))),
            events_lost: get(&self.events_lost),
        }
    }
}

/// The values of [`Counters`] at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Frames that the camera delivered, broken ones included.
    pub frames: u64,
    /// Frames that belonged to no part.
    pub frames_unmatched: u64,
    /// Parts born; the sum of passes, rejects and uninspected once a run has ended.
    pub parts: u64,
    /// Verdicts `pass`.
    pub passes: u64,
    /// Verdicts `reject`.
    pub rejects: u64,
    /// Verdicts `uninspected`.
    pub uninspected_by_reason: [(Reason, u64); Reason::ALL.len()],
    /// Scores that came when the ledger was final.
    pub late_scores: u64,
    /// Inspections not started because the part's verdict was final already.
    pub skipped: u64,
    /// Pulses.
    pub pulses: Pulses,
    /// Known rejects not fired in their window, or not seen at the bin.
    pub missed_rejects: u64,
    /// Rejected parts that the eye at the bin saw.
    pub rejects_confirmed: u64,
    /// Edges of that eye that no rejected part explains.
    pub confirmations_unexpected: u64,
    /// How often the belt came to a stop.
    pub belt_stops: u64,
    /// Faults by kind.
    pub faults: [(Fault, u64); Fault::ALL.len()],
    /// Events that could not be written.
    pub events_lost: u64,
}

impl Counts {
    /// Verdicts `uninspected` of every reason.
    pub fn uninspected(&self) -> u64 {
        self.uninspected_by_reason.iter().map(|(_, n)| n).sum()
    }

    /// Verdicts `uninspected` for one reason.
    pub fn uninspected_for(&self, reason: Reason) -> u64 {
        self.uninspected_by_reason[reason.index()].1
    }

    /// Faults of one kind.
    pub fn fault(&self, fault: Fault) -> u64 {
        self.faults[fault as usize].1
    }
}

/// Pulses by outcome; `planned` is the sum of the rest once a run has ended. `pulses` of every `--json` object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pulses {
    /// Pulses planned.
    pub planned: u64,
    /// Raised the line in their window.
    pub fired: u64,
    /// Continued an earlier pulse.
    pub merged: u64,
    /// Their window was over.
    pub late: u64,
    /// The line was active for an earlier part, and pulses are not shared.
    pub refused: u64,
    /// Could not be fired.
    pub failed: u64,
}

impl Pulses {
    /// Each with its stable name, `planned` first.
    pub fn named(self) -> [(&'static str, u64); 6] {
        // Taken apart: an outcome that is left out here does not compile.
        let Self { planned, fired, merged, late, refused, failed } = self;
        [
            ("planned", planned),
            ("fired", fired),
            ("merged", merged),
            ("late", late),
            ("refused", refused),
            ("failed", failed),
        ]
    }
}

impl fmt::Display for Pulses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, n) in self.named() {
            write!(f, "{separator}{n} {name}")?;
            separator = if separator.is_empty() { ": " } else { ", " };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_place_and_its_own_code() {
        let codes: std::collections::BTreeSet<_> = Fault::ALL.iter().map(|f| f.code()).collect();
        assert_eq!(codes.len(), Fault::ALL.len());
        for (i, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, i);
            assert!(!fault.name().is_empty());
        }
    }

    #[test]
    fn pulses_are_told_by_outcome() {
        let pulses = Pulses { planned: 6, fired: 3, merged: 2, late: 1, ..Pulses::default() };
        assert_eq!(pulses.to_string(), "6 planned: 3 fired, 2 merged, 1 late, 0 refused, 0 failed");
        let text = r#"{"planned":6,"fired":3,"merged":2,"late":1,"refused":0,"failed":0}"#;
        assert_eq!(serde_json::to_string(&pulses).unwrap(), text);
    }
}
