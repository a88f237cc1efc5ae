//! A lock whose holder runs at the priority of whoever waits for it.
//!
//! `act` runs under SCHED_FIFO and shares links with threads that do not. Behind an ordinary lock, one of those that is
//! preempted in the few instructions for which it holds it keeps `act` waiting for as long as the rest of the machine is
//! busy: milliseconds, which is a late pulse (priority inversion). With this one the kernel lends it `act`'s priority
//! until it lets go (a PI futex, futex(2)).
//!
//! The futex stands in front of an ordinary mutex that alone guards the value, so that no unsafe code is needed and a
//! kernel without PI futexes costs the lending and nothing else. Both are free when nobody else is there: two atomic
//! operations each way.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::thread::{futex, gettid};

/// A value that one thread at a time uses, for a few instructions.
#[derive(Debug, Default)]
pub struct Lock<T> {
    /// The kernel's number of the thread that holds it, 0 for none; the kernel adds a bit when others wait.
    owner: AtomicU32,
    value: Mutex<T>,
}

/// The value, until dropped.
pub struct LockGuard<'a, T> {
    // In this order: whoever is let in by the second must not find the first closed.
    value: MutexGuard<'a, T>,
    _futex: FutexGuard<'a>,
}

impl<T> Lock<T> {
    /// A lock that nobody holds.
    pub fn new(value: T) -> Self {
        Self { owner: AtomicU32::new(0), value: Mutex::new(value) }
    }

    /// Waits until no other thread holds it.
    ///
    /// A thread that panicked while it held the lock leaves the value as it was then.
    pub fn hold(&self) -> LockGuard<'_, T> {
        let futex_guard = FutexGuard::take(&self.owner);
        LockGuard { value: self.value.lock().unwrap_or_else(PoisonError::into_inner), _futex: futex_guard }
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// The futex in front of the mutex, held until dropped; nothing where the kernel has none to give.
struct FutexGuard<'a>(Option<&'a AtomicU32>);

impl<'a> FutexGuard<'a> {
    fn take(owner: &'a AtomicU32) -> Self {
        let was_free = owner.compare_exchange(0, me(), Ordering::Acquire, Ordering::Relaxed).is_ok();
        let is_ours = was_free || futex::lock_pi(owner, futex::Flags::PRIVATE, None).is_ok();
        Self(is_ours.then_some(owner))
    }
}

impl Drop for FutexGuard<'_> {
    fn drop(&mut self) {
        if let Some(owner) = self.0
            && owner.compare_exchange(me(), 0, Ordering::Release, Ordering::Relaxed).is_err()
        {
            // Others wait: the kernel hands it to the first of them. It cannot refuse what is ours.
            _ = futex::unlock_pi(owner, futex::Flags::PRIVATE);
        }
    }
}

/// The kernel's number of this thread.
fn me() -> u32 {
    thread_local! {
        static ME: u32 = gettid().as_raw_nonzero().get().unsigned_abs();
    }
    ME.with(|me| *me)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::{Duration, Instant};

    use thread_priority::{
        RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };

    use super::*;

    #[test]
    fn one_thread_at_a_time_holds_it() {
        let lock = Lock::new([0_u64; 2]);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let mut held = lock.hold();
                        let next = held[0] + 1;
                        held[0] = next;
                        held[1] = next;
                    }
                });
            }
        });
        assert_eq!(*lock.hold(), [80_000; 2]);
        assert_eq!(lock.owner.load(Ordering::SeqCst), 0, "nobody has it any more");
    }

    #[test]
    fn a_panic_lets_go() {
        let lock = Lock::new(1);
        let holder = || {
            let mut held = lock.hold();
            *held = 2;
            panic!("on purpose");
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(holder)).is_err());
        assert_eq!(*lock.hold(), 2);
    }

    /// The kernel's priority of the calling thread: 20 for an ordinary one, -1 - n for SCHED_FIFO n.
    fn priority() -> i64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').nth(15).unwrap().parse().unwrap()
    }

    #[test]
    fn who_holds_it_runs_with_the_priority_of_who_waits() {
        let (lock, (tell, told)) = (Lock::new(()), channel());
        thread::scope(|scope| {
            let held = lock.hold();
            scope.spawn(|| {
                let priority = ThreadPriority::Crossplatform(7.try_into().unwrap());
                let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
                let set = set_thread_priority_and_policy(thread_native_id(), priority, fifo);
                tell.send(set.is_ok()).unwrap();
                drop(lock.hold());
            });
            if !told.recv().unwrap() {
                eprintln!("SKIPPED: SCHED_FIFO is not permitted here, so that no priority can be lent");
                return;
            }
            let until = Instant::now() + Duration::from_secs(20);
            while priority() != -8 {
                assert!(Instant::now() < until, "it still runs at {}", priority());
                thread::yield_now();
            }
            drop(held);
            assert_eq!(priority(), 20, "and gives it back");
        });
    }
}
