//! How a token watches descriptors: one thread waits for wake-ups, its deadline and the kernel's edges in one call.
//!
//! All are asked for once each time that they become ready (EPOLLET), so that what nobody reads, a line of a run that
//! ends for instance, wakes the thread once and does not keep it awake: it may run before all others.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};

/// What an event of no source is about. A source's is about its bit.
const WAKE_OR_TIMER: u64 = 0;

/// Descriptors that wake one thread.
#[derive(Debug)]
pub(super) struct EventPoll {
    epoll: OwnedFd,
    wakes: OwnedFd,
    /// Ends a wait at an instant. A timeout would not do: the kernel lets an ordinary thread's be late by a thousandth.
    timer: OwnedFd,
    sources: AtomicU32,
    /// The bits of the sources that have something new.
    news: AtomicU64,
}

impl EventPoll {
    /// Watches wake-ups and deadlines.
    pub(super) fn open() -> io::Result<Self> {
        let poll = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            wakes: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            timer: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?,
            sources: AtomicU32::new(0),
            news: AtomicU64::new(0),
        };
        let when = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&poll.epoll, &poll.wakes, epoll::EventData::new_u64(WAKE_OR_TIMER), when)?;
        epoll::add(&poll.epoll, &poll.timer, epoll::EventData::new_u64(WAKE_OR_TIMER), when)?;
        Ok(poll)
    }

    /// From now on `source` is watched, until its last copy is closed; its bit.
    pub(super) fn watch(&self, source: BorrowedFd<'_>) -> io::Result<u64> {
        let number = self.sources.fetch_add(1, Ordering::SeqCst);
        let Some(bit) = 1_u64.checked_shl(number) else {
            return Err(io::Error::other("a thread watches 64 descriptors at most"));
        };
        let when = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.epoll, source, epoll::EventData::new_u64(bit), when)?;
        Ok(bit)
    }

    /// Whether a source had something new until now.
    pub(super) fn take_news(&self, bit: u64) -> bool {
        self.news.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Wakes the thread that listens.
    pub(super) fn wake(&self) {
        // Never read, so never more than an event: it fails when it was woken 2^64 times, and the thread is awake then.
        _ = rustix::io::write(&self.wakes, &1_u64.to_ne_bytes());
    }

    /// Waits for a wake-up, a source or the deadline, or for no reason; whether a source has something new.
    pub(super) fn listen(&self, deadline: Option<Timespec>) -> bool {
        // A deadline of zero, which would switch the timer off, has passed: who asks has looked.
        let it_value = deadline.unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval, it_value };
        // Cannot fail: the instant is one of CLOCK_MONOTONIC, the descriptor a timer's.
        _ = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &timer);
        self.wait(None)
    }

    /// Whether a source has something new now.
    pub(super) fn look(&self) -> bool {
        self.wait(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    fn wait(&self, timeout: Option<&Timespec>) -> bool {
        let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; 16];
        // What does not fit comes with the next call. A signal is a reason to look again, as a wake-up is.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut events, timeout) else { return false };
        let news = events.iter().fold(0, |news, event| news | event.data.u64());
        self.news.fetch_or(news, Ordering::SeqCst);
        news != WAKE_OR_TIMER
    }
}
