//! The notice board of a run: what every thread may write in passing and anybody may read while the run goes on.
//!
//! Counters, latencies and heartbeats are atomics. The last verdicts and the scheduling stand behind locks that only
//! `rec` and readers take: `cap`, `insp` and `act` never wait here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::watchdog::{Heartbeats, Limits};
use super::{Counters, Latency};
use crate::clock::Timestamp;
use crate::decide::Verdict;
use crate::units::PartId;

/// How many verdicts the board remembers.
pub const RECENT: usize = 16;

/// What is known of a run before it starts.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The recipe's file, as the configuration names it; empty where a test brought its own inspection.
    pub recipe: String,
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
    fn the_newest_verdicts_stay() {
        let board = Board::default();
        for part in 1..=40 {
            board.remember(Remembered { part: PartId(part), verdict: Verdict::Pass, score: None, pulse: None });
        }
        let parts: Vec<_> = board.recent().iter().map(|r| r.part.0).collect();
        assert_eq!(parts, (25..=40).collect::<Vec<_>>());
    }
}
