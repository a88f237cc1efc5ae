//! The state of a running daemon as one JSON object: what `zoomgate status` asks for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::board::{Board, Realtime, Remembered};
use super::watchdog::Stale;
use super::{Counts, Fault, LatencyMs};
use crate::clock::Timestamp;
use crate::decide::Reason;

/// Version of the object's fields; grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// Everything a daemon tells about itself. Values that are not available are null, never absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since the run began.
    pub uptime_s: f64,
    /// `starting | running | stalled`, judged as the watchdog does.
    pub state: String,
    /// What makes no progress.
    pub stale: Option<String>,
    /// The recipe's file.
    pub recipe: String,
    /// What runs it in floats, where it is slow and the configuration allows that.
    #[serde(default)]
    pub slow: Option<String>,
    /// Scores at or above it reject.
    pub threshold: f32,
    /// Nothing fires.
    pub dry_run: bool,
    /// Parts, verdicts and frames.
    pub counts: CountsNow,
    /// Pulses by outcome; `planned` is the sum of the others once each of them is known.
    pub pulses: BTreeMap<String, u64>,
    /// The faults that have happened.
    pub faults: Vec<FaultCount>,
    /// Percentiles by stage.
    pub latency_ms: LatencyMs,
    /// The camera.
    pub camera: CameraNow,
    /// Whether it sees; null from a daemon that does not ask.
    #[serde(default)]
    pub sight: Option<SightNow>,
    /// Scheduling of the actuation thread.
    pub realtime: Realtime,
    /// The last verdicts, the newest last.
    pub recent: Vec<Recent>,
}

/// `counts` of [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsNow {
    /// Frames that the camera delivered.
    pub frames: u64,
    /// Frames that belonged to no part.
    pub frames_unmatched: u64,
    /// Parts born.
    pub parts: u64,
    /// Verdicts `pass`.
    pub passes: u64,
    /// Verdicts `reject`.
    pub rejects: u64,
    /// Verdicts `uninspected`.
    pub uninspected: u64,
    /// The same by reason, without those that did not happen.
    pub uninspected_by_reason: BTreeMap<String, u64>,
    /// Scores that came too late.
    pub late_scores: u64,
    /// Known rejects that were not fired in their window.
    pub missed_rejects: u64,
    /// Events that could not be written.
    pub events_lost: u64,
}

/// A fault that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCount {
    /// The stable code.
    pub code: String,
    /// What it means.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// A verdict of `recent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// The part's number.
    pub part: u64,
    /// `pass | reject | uninspected`.
    pub verdict: String,
    /// Why it is uninspected.
    pub reason: Option<String>,
    /// The fused score.
    pub score: Option<f32>,
    /// `fired | merged | late | refused | failed`; null where no pulse was planned.
    pub pulse: Option<String>,
}

impl From<Remembered> for Recent {
    fn from(Remembered { part, verdict, score, pulse }: Remembered) -> Self {
        Self {
            part: part.0,
            verdict: verdict.as_str().to_owned(),
            reason: verdict.reason().map(|r| r.as_str().to_owned()),
            score,
            pulse: pulse.map(str::to_owned),
        }
    }
}

/// `camera` of [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CameraNow {
    /// `never_seen | fresh | idle | down | silent | ended`.
    pub state: String,
    /// Since the last frame.
    pub last_frame_age_s: Option<f64>,
}

/// `sight` of [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SightNow {
    /// Whether the recipe knows what good pictures show; without that every frame is judged, and it is to be taught again.
    pub known: bool,
    /// How the last part's frame was blind: `dark | bright | flat | blurred | frozen`; null where it was seen.
    pub blind: Option<String>,
    /// So many parts in a row were.
    pub blind_in_a_row: u64,
}

impl SightNow {
    fn of(board: &Board) -> Self {
        let (reason, blind_in_a_row) = board.blind();
        let blind = reason.and_then(Reason::blindness).map(str::to_owned);
        Self { known: board.about.knows_sight, blind, blind_in_a_row }
    }
}

impl Status {
    /// What the board says at `now`.
    pub fn of(board: &Board, now: Timestamp) -> Self {
        let counts = board.counters.snapshot();
        let beats = board.beats.read();
        let limits = &board.about.limits;
        let stale = beats.stale(limits, now);
        let was_seen = beats.frame.is_some() || beats.idle.is_some() || beats.camera_ended.is_some();
        let state = match stale {
            None if beats.learning.is_some() => "starting",
            None => "running",
            Some(Stale::Camera | Stale::Actuation) if !was_seen => "starting",
            Some(_) => "stalled",
        };
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: now.since(board.about.started_at).as_secs_f64(),
            state: state.to_owned(),
            stale: stale.filter(|_| state == "stalled").map(|s| s.as_str().to_owned()),
            recipe: board.about.recipe.clone(),
            slow: board.about.slow.clone(),
            threshold: board.about.threshold,
            dry_run: board.about.dry_run,
            counts: CountsNow::of(&counts),
            pulses: counts.pulses.named().map(|(name, n)| (name.to_owned(), n)).into(),
            faults: faults(&counts),
            latency_ms: board.latency.summary(),
            camera: CameraNow {
                state: beats.camera(limits, now).as_str().to_owned(),
                last_frame_age_s: beats.frame.map(|at| now.since(at).as_secs_f64()),
            },
            sight: Some(SightNow::of(board)),
            realtime: board.realtime(),
            recent: board.recent().into_iter().map(Recent::from).collect(),
        }
    }
}

impl CountsNow {
    fn of(counts: &Counts) -> Self {
        let by_reason = counts.uninspected_by_reason.iter().filter(|(_, n)| *n > 0);
        Self {
            frames: counts.frames,
            frames_unmatched: counts.frames_unmatched,
            parts: counts.parts,
            passes: counts.passes,
            rejects: counts.rejects,
            uninspected: counts.uninspected(),
            uninspected_by_reason: by_reason.map(|(reason, n)| (reason.as_str().to_owned(), *n)).collect(),
            late_scores: counts.late_scores,
            missed_rejects: counts.missed_rejects,
            events_lost: counts.events_lost,
        }
    }
}

fn faults(counts: &Counts) -> Vec<FaultCount> {
    let happened = counts.faults.iter().filter(|(_, n)| *n > 0);
    happened
        .map(|(f, n)| FaultCount { code: f.code().to_owned(), name: Fault::name(*f).to_owned(), count: *n })
        .collect()
}

/// One line for people about a run: `systemctl status` shows it.
pub fn sentence(board: &Board, now: Timestamp) -> String {
    let counts = board.counters.snapshot();
    let camera = board.beats.read().camera(&board.about.limits, now).as_str().replace('_', " ");
    let mut line = format!(
        "{} parts: {} passed, {} rejected, {} not inspected; camera {camera}",
        counts.parts,
        counts.passes,
        counts.rejects,
        counts.uninspected()
    );
    if let SightNow { blind: Some(how), blind_in_a_row, .. } = SightNow::of(board) {
        line.push_str(&format!(", blind ({how}, {blind_in_a_row} parts in a row)"));
    }
    if counts.missed_rejects > 0 {
        line.push_str(&format!("; {} rejects missed", counts.missed_rejects));
    }
    for fault in faults(&counts) {
        line.push_str(&format!("; {} {} ({})", fault.code, fault.name, fault.count));
    }
    if board.about.dry_run {
        line.push_str("; dry run");
    }
    if board.about.slow.is_some() {
        line.push_str("; slow recipe");
    }
    line
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::decide::Verdict;
    use crate::telemetry::board::About;
    use crate::telemetry::{Counters, Stage};

    #[test]
    fn the_object_comes_back_as_it_went() {
        let board = Board::default();
        board.latency.record(Stage::Verdict, Duration::from_millis(3));
        board.counters.count_verdict(Verdict::Reject);
        board.counters.count_fault(Fault::Camera);
        let status = Status::of(&board, Timestamp(5_000_000_000));
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
        assert!(json.starts_with("{\"schema\":1,"), "{json}");
        assert_eq!((status.counts.rejects, status.uptime_s), (1, 5.0));
        assert_eq!(status.faults[0].code, "CAM-02");
        assert!(status.latency_ms.p50.is_some_and(|ms| (3.0..3.3).contains(&ms)));
    }

    #[test]
    fn sight_is_told_and_an_answer_without_it_is_understood() {
        let board = Board::new(About { knows_sight: true, ..About::default() }, Arc::default());
        let json = || serde_json::to_value(Status::of(&board, Timestamp::ZERO)).unwrap();
        assert_eq!(json()["sight"], serde_json::json!({ "known": true, "blind": null, "blind_in_a_row": 0 }));
        board.note_blind(Reason::BlindFrozen, 3);
        assert_eq!(json()["sight"], serde_json::json!({ "known": true, "blind": "frozen", "blind_in_a_row": 3 }));
        let mut before = json();
        before.as_object_mut().unwrap().remove("sight");
        assert_eq!(serde_json::from_value::<Status>(before).unwrap().sight, None);
    }

    #[test]
    fn every_pulse_that_was_planned_has_its_outcome_among_them() {
        let board = Board::default();
        let counters = &board.counters;
        let outcomes = [
            &counters.pulses_fired,
            &counters.pulses_merged,
            &counters.pulses_late,
            &counters.pulses_refused,
            &counters.pulses_failed,
        ];
        for (outcome, times) in outcomes.into_iter().zip(1..) {
            for _ in 0..times {
                Counters::add(&counters.pulses_planned);
                Counters::add(outcome);
            }
        }
        let pulses = Status::of(&board, Timestamp::ZERO).pulses;
        let sum: u64 = pulses.iter().filter(|(name, _)| *name != "planned").map(|(_, n)| n).sum();
        assert_eq!((pulses["planned"], sum, pulses["refused"]), (15, 15, 4), "{pulses:?}");
    }

    #[test]
    fn states_are_those_of_the_watchdog() {
        let (now, long_ago) = (Timestamp(100_000_000_000), Timestamp(1));
        type Prepare = fn(&Board, Timestamp, Timestamp);
        let cases: [(&str, Prepare); 4] = [
            ("starting", |_, _, _| {}),
            ("starting", |b, now, _| b.beats.turned.set(now)),
            ("running", |b, now, _| {
                b.beats.turned.set(now);
                b.beats.frame.set(now);
            }),
            ("stalled", |b, now, long_ago| {
                b.beats.turned.set(long_ago);
                b.beats.frame.set(now);
            }),
        ];
        for (state, prepare) in cases {
            let board = Board::default();
            prepare(&board, now, long_ago);
            let status = Status::of(&board, now);
            assert_eq!((status.state.as_str(), status.stale.is_some()), (state, state == "stalled"));
        }
    }

    #[test]
    fn the_sentence_is_one_line_and_names_what_went_wrong() {
        let board = Board::default();
        Counters::add(&board.counters.parts);
        board.counters.count_fault(Fault::Line);
        board.note_blind(Reason::BlindDark, 4);
        let line = sentence(&board, Timestamp::ZERO);
        assert!(!line.contains("slow"), "{line}");
        let about = crate::telemetry::board::About { slow: Some("all of it".into()), ..Default::default() };
        let slow = Board::new(about, Default::default());
        assert!(sentence(&slow, Timestamp::ZERO).ends_with("slow recipe"));
        assert_eq!(Status::of(&slow, Timestamp::ZERO).slow.as_deref(), Some("all of it"));
        assert!(!line.contains('\n') && line.contains("1 parts") && line.contains("ACT-02"), "{line}");
        assert!(line.contains("camera never seen, blind (dark, 4 parts in a row)"), "{line}");
    }
}
