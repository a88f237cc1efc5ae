//! Time: nanoseconds of CLOCK_MONOTONIC, and the trait through which every thread reads it and waits.
//!
//! There is one time base for triggers, frames and pulses. Wall-clock time appears only in logs and files.
//! All blocking in the pipeline goes through [`Clock`], so that the same threads run on [`MonotonicClock`] (hardware,
//! real-time demo) and on [`SimClock`] (tests, `--fast`), where an hour of conveyor takes seconds and repeats exactly.
//!
//! | word | means |
//! |---|---|
//! | [`WakeToken`] | one thread's wake-up call: anybody wakes, its one owner waits; a wake-up with nobody waiting is kept; it can watch descriptors of the kernel, too |
//! | [`SchedulerSlot`] | a thread's place in the clock; all are reserved before the first thread starts |

mod event_poll;
mod sim;

use std::io;
use std::num::NonZeroU32;
use std::ops::{Add, Sub};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::thread::futex;
use rustix::time::Timespec;

use event_poll::EventPoll;
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

    /// Time between the two, whichever comes first.
    pub fn abs_diff(self, other: Self) -> Duration {
        Duration::from_nanos(self.0.abs_diff(other.0))
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
/// Threads of a daemon each hold a [`SchedulerSlot`]; a real clock does not need it, the simulated one schedules by it.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Blocks until `token` was woken (which takes the wake-up) or `deadline` has come.
    ///
    /// One thread at a time may wait on a token. Without a deadline it waits for as long as it takes.
    fn wait(&self, token: &WakeToken, deadline: Option<Timestamp>) -> Wake;

    /// Blocks until `deadline` has come.
    fn sleep_until(&self, deadline: Timestamp);

    /// Wakes the thread that waits on `token`, or the next one to do so. Never blocks; any thread may call it.
    fn wake(&self, token: &WakeToken);

    /// Reserves a place for a thread, see [`SchedulerSlot::reserve`].
    fn register(&self, name: &'static str) -> usize;

    /// Takes a reserved place in the calling thread, see [`SchedulerSlot::take`].
    fn enter(&self, slot: usize);

    /// Gives a place back; called when its [`SchedulerSlot`] is dropped.
    fn leave(&self, slot: usize);
}

/// Why [`Clock::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Somebody woke it.
    Woken,
    /// The deadline came first.
    Deadline,
}

/// One thread's wake-up call; clones are the same token.
#[derive(Clone, Debug, Default)]
pub struct WakeToken(Arc<TokenState>);

#[derive(Debug, Default)]
struct TokenState {
    /// 1 while a wake-up waits to be taken.
    kept: AtomicU32,
    /// Only of a token that watches descriptors too.
    poll: OnceLock<EventPoll>,
}

impl WakeToken {
    /// A token that has not been woken.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also wakes, on a real clock, each time that the kernel has something new to read from `source`; until that is closed.
    ///
    /// So the thread that waits reads it itself: no other thread, wake-up or lock between the kernel and it. A simulated
    /// clock knows no descriptors and never wakes for one.
    ///
    /// # Errors
    /// When the kernel gives no descriptor for it: the process has too many, or `source` is none that can be waited for;
    /// and for the 65th source.
    pub fn watch(&self, source: BorrowedFd<'_>) -> io::Result<Source> {
        let poll = match self.0.poll.get() {
            Some(poll) => poll,
            None => {
                let poll = EventPoll::open()?;
                self.0.poll.get_or_init(|| poll)
            }
        };
        Ok(Source { token: self.clone(), bit: poll.watch(source)? })
    }

    /// Keeps a wake-up until it is taken. A swap: whoever takes what another has put there also sees the poll that it opened.
    fn keep(&self) {
        self.0.kept.swap(1, Ordering::SeqCst);
    }

    /// Takes the wake-up that was kept, if there is one.
    fn take(&self) -> bool {
        self.0.kept.swap(0, Ordering::SeqCst) == 1
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A descriptor that a [`WakeToken`] watches.
#[derive(Debug)]
pub struct Source {
    token: WakeToken,
    bit: u64,
}

impl Source {
    /// Whether there is something new to read since this was asked last, as far as the last wait has shown. Costs no call
    /// to the kernel: a loop that has many sources asks only those that have something to say.
    pub fn has_news(&self) -> bool {
        self.token.0.poll.get().is_some_and(|poll| poll.take_news(self.bit))
    }
}

/// A thread's place in a clock, given back when dropped: by return or by panic.
///
/// Reserve all slots in one thread, in the order in which threads that are due at the same instant shall run, then move
/// each into its thread and [`take`](Self::take) it there first.
pub struct SchedulerSlot {
    clock: Arc<dyn Clock>,
    index: usize,
}

impl SchedulerSlot {
    /// Reserves the next place for the thread `name`.
    pub fn reserve(clock: &Arc<dyn Clock>, name: &'static str) -> Self {
        Self { clock: Arc::clone(clock), index: clock.register(name) }
    }

    /// Binds the place to the calling thread; on a simulated clock, blocks until it is this thread's turn.
    pub fn take(&self) {
        self.clock.enter(self.index);
    }
}

impl Drop for SchedulerSlot {
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

    fn wait(&self, token: &WakeToken, deadline: Option<Timestamp>) -> Wake {
        // A word that threads wait on rather than a lock and a condition: who waits under SCHED_FIFO must not depend on
        // whoever wakes. The kernel takes the deadline as it is, an instant of CLOCK_MONOTONIC. So does the poll.
        let timeout = deadline.map(timespec);
        loop {
            let poll = token.0.poll.get();
            let reason = match token.take() {
                true => Some(Wake::Woken),
                false => deadline.filter(|deadline| self.now() >= *deadline).map(|_| Wake::Deadline),
            };
            if let Some(reason) = reason {
                // A thread that always has a reason must not be deaf to the kernel.
                return if poll.is_some_and(EventPoll::look) { Wake::Woken } else { reason };
            }
            match poll {
                Some(poll) if poll.listen(timeout) => return Wake::Woken,
                Some(_) => {}
                // Why it returns does not matter: a wake-up, the deadline and a signal all are looked at above.
                None => {
                    let (kept, private) = (&token.0.kept, futex::Flags::PRIVATE);
                    _ = futex::wait_bitset(kept, private, 0, timeout.as_ref(), NonZeroU32::MAX);
                }
            }
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

    fn wake(&self, token: &WakeToken) {
        token.keep();
        // Also where a wake-up is kept already: whoever kept it may have been set aside before it woke the thread. This can
        // only fail for a word that is none.
        match token.0.poll.get() {
            Some(poll) => poll.wake(),
            None => _ = futex::wake(&token.0.kept, futex::Flags::PRIVATE, 1),
        }
    }

    fn register(&self, _name: &'static str) -> usize {
        0
    }

    fn enter(&self, _seat: usize) {}

    fn leave(&self, _seat: usize) {}
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_ring_with_nobody_waiting_is_kept_once() {
        let clock = MonotonicClock;
        let token = WakeToken::new();
        clock.wake(&token);
        clock.wake(&token);
        assert_eq!(clock.wait(&token, Some(Timestamp::ZERO)), Wake::Woken);
        assert_eq!(clock.wait(&token, Some(Timestamp::ZERO)), Wake::Deadline);
    }

    #[test]
    fn a_ring_from_another_thread_wakes() {
        let token = WakeToken::new();
        let other = token.clone();
        let ringer = std::thread::spawn(move || MonotonicClock.wake(&other));
        assert_eq!(MonotonicClock.wait(&token, None), Wake::Woken);
        ringer.join().unwrap();
    }

    /// A token that watches the end of a pipe, and the other end.
    fn hearing() -> (WakeToken, std::io::PipeReader, std::io::PipeWriter) {
        let ((reader, writer), token) = (std::io::pipe().unwrap(), WakeToken::new());
        _ = token.watch(reader.as_fd()).unwrap();
        (token, reader, writer)
    }

    #[test]
    fn each_source_has_its_own_news_once_also_for_a_thread_that_never_has_to_wait() {
        let (token, _reader, mut writer) = hearing();
        let (other, mut to_other) = std::io::pipe().unwrap();
        let source = token.watch(other.as_fd()).unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(MonotonicClock.wait(&token, None), Wake::Woken);
        assert!(!source.has_news(), "it was the first one");
        to_other.write_all(b"x").unwrap();
        MonotonicClock.wake(&token);
        assert_eq!(MonotonicClock.wait(&token, Some(Timestamp::ZERO)), Wake::Woken);
        assert_eq!([source.has_news(), source.has_news()], [true, false]);
    }

    #[test]
    fn what_a_bell_hears_wakes_once_each_time_though_nobody_reads_it() {
        let (token, _reader, mut writer) = hearing();
        assert_eq!(MonotonicClock.wait(&token, Some(MonotonicClock.now() + Duration::from_millis(5))), Wake::Deadline);
        for _ in 0..2 {
            let teller = std::thread::spawn(move || {
                writer.write_all(b"x").unwrap();
                writer
            });
            assert_eq!(MonotonicClock.wait(&token, None), Wake::Woken);
            writer = teller.join().unwrap();
            // A thread that runs before all others must not be kept awake by what it does not want.
            let soon = MonotonicClock.now() + Duration::from_millis(5);
            assert_eq!(MonotonicClock.wait(&token, Some(soon)), Wake::Deadline);
            assert!(MonotonicClock.now() >= soon);
        }
    }

    #[test]
    fn a_bell_that_hears_is_rung_and_keeps_its_deadlines_as_any_other() {
        let (token, _reader, _writer) = hearing();
        MonotonicClock.wake(&token);
        assert_eq!(MonotonicClock.wait(&token, Some(Timestamp::ZERO)), Wake::Woken);
        assert_eq!(MonotonicClock.wait(&token, Some(Timestamp::ZERO)), Wake::Deadline);
        let other = token.clone();
        let ringer = std::thread::spawn(move || MonotonicClock.wake(&other));
        assert_eq!(MonotonicClock.wait(&token, None), Wake::Woken);
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
