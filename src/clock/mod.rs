//! Time: nanoseconds of CLOCK_MONOTONIC, and the trait through which every thread reads it and waits.
//!
//! There is one time base for triggers, frames and pulses. Wall-clock time appears only in logs and files.
//! All blocking in the pipeline goes through [`Clock`], so that the same threads run on [`MonotonicClock`] (hardware,
//! real-time demo) and on [`SimClock`] (tests, `--fast`), where an hour of conveyor takes seconds and repeats exactly.
//!
//! | word | means |
//! |---|---|
//! | [`Bell`] | one thread's wake-up call: anybody rings, its one owner waits; a ring with nobody waiting is kept |
//! | [`Seat`] | a thread's place in the clock; all are reserved before the first thread starts |

mod sim;

use std::num::NonZeroU32;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::futex;
use rustix::time::Timespec;

pub use sim::SimClock;

/// An instant: nanoseconds of CLOCK_MONOTONIC (or of the simulated clock).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The clock's origin.
    pub const ZERO: Self = Self(0);

    /// Later than anything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// Time since `earlier`, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        // 584 years of nanoseconds fit; saturating keeps a hostile config from wrapping.
        Self(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A distance between two instants that may point back: nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(pub i64);

impl From<Duration> for Offset {
    fn from(forward: Duration) -> Self {
        Self(i64::try_from(forward.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Add<Offset> for Timestamp {
    type Output = Self;
    fn add(self, offset: Offset) -> Self {
        Self(self.0.saturating_add_signed(offset.0))
    }
}

/// Reads time and waits for it.
///
/// Threads of a daemon each hold a [`Seat`]; a real clock does not need it, the simulated one schedules by it.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Blocks until `bell` was rung (the ring is consumed) or `deadline` has come.
    ///
    /// One thread at a time may wait on a bell. Without a deadline it waits for as long as it takes.
    fn wait(&self, bell: &Bell, deadline: Option<Timestamp>) -> Wake;

    /// Blocks until `deadline` has come.
    fn sleep_until(&self, deadline: Timestamp);

    /// Wakes the thread that waits on `bell`, or the next one to do so. Never blocks; any thread may call it.
    fn ring(&self, bell: &Bell);

    /// Reserves a place for a thread, see [`Seat::reserve`].
    fn register(&self, name: &'static str) -> usize;

    /// Takes a reserved place in the calling thread, see [`Seat::take`].
    fn enter(&self, seat: usize);

    /// Gives a place back; called when its [`Seat`] is dropped.
    fn leave(&self, seat: usize);
}

/// Why [`Clock::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Somebody rang the bell.
    Rung,
    /// The deadline came first.
    Deadline,
}

/// One thread's wake-up call; clones are the same bell.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<AtomicU32>);

impl Bell {
    /// A bell that has not been rung.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a ring until it is taken.
    fn keep(&self) {
        self.0.store(1, Ordering::SeqCst);
    }

    /// Takes the ring that was kept, if there is one.
    fn take(&self) -> bool {
        self.0.swap(0, Ordering::SeqCst) == 1
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A thread's place in a clock, given back when dropped: by return or by panic.
///
/// Reserve all seats in one thread, in the order in which threads that are due at the same instant shall run, then move
/// each into its thread and [`take`](Self::take) it there first.
pub struct Seat {
    clock: Arc<dyn Clock>,
    index: usize,
}

impl Seat {
    /// Reserves the next place for the thread `name`.
    pub fn reserve(clock: &Arc<dyn Clock>, name: &'static str) -> Self {
        Self { clock: Arc::clone(clock), index: clock.register(name) }
    }

    /// Binds the place to the calling thread; on a simulated clock, blocks until it is this thread's turn.
    pub fn take(&self) {
        self.clock.enter(self.index);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.clock.leave(self.index);
    }
}

fn timespec(at: Timestamp) -> Timespec {
    let (seconds, nanos) = (at.0 / 1_000_000_000, at.0 % 1_000_000_000);
    // 584 years of seconds and less than a second of nanoseconds fit wherever a timespec is defined.
    Timespec { tv_sec: seconds as _, tv_nsec: nanos as _ }
}

/// CLOCK_MONOTONIC, the time base of kernel timestamps on frames and edges.
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock;

impl Clock for MonotonicClock {
    fn now(&self) -> Timestamp {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = u64::try_from(t.tv_sec).expect("CLOCK_MONOTONIC never is negative");
        let nanos = u64::try_from(t.tv_nsec).expect("nanoseconds of a timespec never are negative");
        Timestamp(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    fn wait(&self, bell: &Bell, deadline: Option<Timestamp>) -> Wake {
        // A word that threads wait on rather than a lock and a condition: who waits under SCHED_FIFO must not depend on
        // who rings. The kernel takes the deadline as it is, an instant of CLOCK_MONOTONIC.
        let timeout = deadline.map(timespec);
        loop {
            if bell.take() {
                return Wake::Rung;
            }
            if deadline.is_some_and(|deadline| self.now() >= deadline) {
                return Wake::Deadline;
            }
            // Why it returns does not matter: a ring, the deadline and a signal all are looked at above.
            _ = futex::wait_bitset(&bell.0, futex::Flags::PRIVATE, 0, timeout.as_ref(), NonZeroU32::MAX);
        }
    }

    fn sleep_until(&self, deadline: Timestamp) {
        loop {
            let now = self.now();
            if now >= deadline {
                return;
            }
            std::thread::sleep(deadline.since(now));
        }
    }

    fn ring(&self, bell: &Bell) {
        bell.keep();
        // Also where a ring is kept already: whoever kept it may have been set aside before it woke the thread. This can
        // only fail for a word that is none.
        _ = futex::wake(&bell.0, futex::Flags::PRIVATE, 1);
    }

    fn register(&self, _name: &'static str) -> usize {
        0
    }

    fn enter(&self, _seat: usize) {}

    fn leave(&self, _seat: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_with_nobody_waiting_is_kept_once() {
        let clock = MonotonicClock;
        let bell = Bell::new();
        clock.ring(&bell);
        clock.ring(&bell);
        assert_eq!(clock.wait(&bell, Some(Timestamp::ZERO)), Wake::Rung);
        assert_eq!(clock.wait(&bell, Some(Timestamp::ZERO)), Wake::Deadline);
    }

    #[test]
    fn a_ring_from_another_thread_wakes() {
        let bell = Bell::new();
        let other = bell.clone();
        let ringer = std::thread::spawn(move || MonotonicClock.ring(&other));
        assert_eq!(MonotonicClock.wait(&bell, None), Wake::Rung);
        ringer.join().unwrap();
    }

    #[test]
    fn time_saturates_instead_of_wrapping() {
        assert_eq!(Timestamp(u64::MAX) + Duration::MAX, Timestamp::NEVER);
        assert_eq!(Timestamp(5) - Duration::from_nanos(9), Timestamp::ZERO);
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(5) + Offset(-2), Timestamp(3));
        assert_eq!(Timestamp(5) + Offset(-9), Timestamp::ZERO);
        assert_eq!(Timestamp(5) + Offset::from(Duration::MAX), Timestamp(5 + i64::MAX as u64));
    }
}
