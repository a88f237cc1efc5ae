//! The notice board of a run: what every thread may write in passing and anybody may read while the run goes on.
//!
//! Counters, latencies and heartbeats are atomics. The last verdicts and the scheduling stand behind locks that only
//! `rec` and readers take: `cap`, `insp` and `act` never wait here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::watchdog::{Heartbeats, Limits};
use super::{Counters, Latency};
use crate::clock::Timestamp;
use crate::decide::{Reason, Verdict};
use crate::units::PartId;

/// How many verdicts the board remembers.
pub const RECENT: usize = 16;

/// What is known of a run before it starts.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The recipe's file, as the configuration names it; empty where a test brought its own inspection.
    pub recipe: String,
    /// Whether the recipe knows what good pictures show, so that a blind camera is told.
    pub knows_sight: bool,
    /// What runs it in floats, where it is slow and the configuration allows that.
    pub slow: Option<String>,
    /// Scores at or above it reject.
    pub threshold: f32,
    /// Nothing fires.
    pub dry_run: bool,
    /// When what is stale.
    pub limits: Limits,
    /// When the run began.
    pub started_at: Timestamp,
}

/// How the kernel schedules the actuation thread, and whether it may take the process's memory away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realtime {
    /// Its priority under SCHED_FIFO; `None` where it shares the processor with everything else.
    pub fifo_priority: Option<u8>,
    /// Whether the process's memory is locked.
    pub memory_locked: bool,
    /// What was asked for and not permitted, each a sentence with its remedy; empty where all was.
    pub refused: Vec<String>,
}

/// A verdict on the board, as small as it can be remembered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Remembered {
    /// The part.
    pub part: PartId,
    /// Its verdict.
    pub verdict: Verdict,
    /// The fused score, where it was inspected.
    pub score: Option<f32>,
    /// The word for what became of its pulse, where one was planned.
    pub pulse: Option<&'static str>,
}

/// The board.
#[derive(Debug, Default)]
pub struct Board {
    /// What is known beforehand.
    pub about: About,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Where the time goes; `act` writes.
    pub latency: Arc<Latency>,
    /// Progress.
    pub beats: Heartbeats,
    /// How the last part was blind, in the low byte (one more than the reason's index), and how many in a row were.
    blind: AtomicU64,
    recent: Mutex<VecDeque<Remembered>>,
    realtime: Mutex<Realtime>,
}

impl Board {
    /// A board that counts in `counters`.
    pub fn new(about: About, counters: Arc<Counters>) -> Self {
        Self { about, counters, recent: Mutex::new(VecDeque::with_capacity(RECENT)), ..Self::default() }
    }

    /// Remembers a verdict and forgets the oldest; called by `rec`.
    pub fn remember(&self, verdict: Remembered) {
        let mut all = lock(&self.recent);
        if all.len() == RECENT {
            all.pop_front();
        }
        all.push_back(verdict);
    }

    /// The last verdicts, the newest last.
    pub fn recent(&self) -> Vec<Remembered> {
        lock(&self.recent).iter().copied().collect()
    }

    /// Notes that the last `in_a_row` parts were blind, the newest for `reason`; 0 where the last one was seen. Called by
    /// `act`.
    pub fn note_blind(&self, reason: Reason, in_a_row: u64) {
        let reason = if in_a_row > 0 { reason.index() as u64 + 1 } else { 0 };
        self.blind.store(in_a_row << 8 | reason, Ordering::Relaxed);
    }

    /// How the last part was blind, and how many in a row were.
    pub fn blind(&self) -> (Option<Reason>, u64) {
        let blind = self.blind.load(Ordering::Relaxed);
        // One less than the byte, which is 0 where the last part was seen.
        let reason = usize::try_from(blind & 0xFF).ok().and_then(|at| at.checked_sub(1));
        (reason.and_then(|at| Reason::ALL.get(at).copied()), blind >> 8)
    }

    /// Notes how the actuation thread is scheduled; called once, before it does anything else.
    pub fn note_realtime(&self, realtime: Realtime) {
        *lock(&self.realtime) = realtime;
    }

    /// How the actuation thread is scheduled.
    pub fn realtime(&self) -> Realtime {
        lock(&self.realtime).clone()
    }
}

/// Nothing that can panic happens under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_the_camera_is_blind_comes_back_as_it_was_noted() {
        let board = Board::default();
        assert_eq!(board.blind(), (None, 0));
        for reason in Reason::ALL {
            board.note_blind(reason, 1 << 40);
            assert_eq!(board.blind(), (Some(reason), 1 << 40));
        }
        board.note_blind(Reason::BlindDark, 0);
        assert_eq!(board.blind(), (None, 0));
    }

    #[test]
    fn the_newest_verdicts_stay() {
        let board = Board::default();
        for part in 1..=40 {
            board.remember(Remembered { part: PartId(part), verdict: Verdict::Pass, score: None, pulse: None });
        }
        let parts: Vec<_> = board.recent().iter().map(|r| r.part.0).collect();
        assert_eq!(parts, (25..=40).collect::<Vec<_>>());
    }
}
