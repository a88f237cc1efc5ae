//! The simulated clock: real threads, one at a time, on a time that jumps.
//!
//! A cooperative scheduler with one baton. Exactly one seated thread runs; when it waits, the next runnable one in slot
//! order runs; when none is runnable the time jumps to the earliest deadline and everything due then becomes runnable.
//! Work takes no simulated time unless it sleeps. The run therefore depends on its inputs alone and repeats exactly.
//!
//! Nobody runnable and nobody with a deadline is a deadlock, which is a bug: every waiting thread panics and names all
//! of them. So is time that stands still because a thread keeps asking for an instant that has passed: it panics.
//! A thread that ends or panics gives its slot back, so that it never wedges the others.
//! Threads without a slot (a test, a signal handler) may wake, and read the time, but not wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::{Clock, Timestamp, Wake, WakeToken};

/// Waits without time moving on after which a thread is taken to spin. Chosen: far above any burst of real work.
const WAITS_PER_INSTANT: u32 = 100_000;

/// A deterministic clock that starts at zero.
#[derive(Debug, Default)]
pub struct SimClock {
    state: Mutex<State>,
    baton: Condvar,
}

#[derive(Debug, Default)]
struct State {
    now: Timestamp,
    slots: Vec<SlotState>,
    running: Option<usize>,
    waits_since_tick: u32,
    deadlock: Option<String>,
}

#[derive(Debug)]
struct SlotState {
    name: &'static str,
    thread: Option<ThreadId>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// May run when its turn comes, woken by this.
    Ready(Wake),
    Running,
    Waiting {
        token: Option<WakeToken>,
        deadline: Option<Timestamp>,
    },
    Gone,
}

impl SimClock {
    /// A clock at zero without threads.
    pub fn new() -> Self {
        Self::default()
    }

    /// No user code runs under this lock, so a poisoned one still holds a consistent state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the baton away and blocks until it comes back.
    fn block(&self, mut state: MutexGuard<'_, State>, slot: usize, phase: Phase) -> Wake {
        state.slots[slot].phase = phase;
        state.running = None;
        state.pass_baton();
        self.baton.notify_all();
        self.await_turn(state, slot)
    }

    fn await_turn(&self, mut state: MutexGuard<'_, State>, slot: usize) -> Wake {
        while state.running != Some(slot) {
            if let Some(story) = state.deadlock.clone() {
                drop(state);
                panic!("{story}");
            }
            state = self.baton.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match std::mem::replace(&mut state.slots[slot].phase, Phase::Running) {
            Phase::Ready(wake) => wake,
            phase => panic!("the baton went to {} in phase {phase:?}", state.slots[slot].name),
        }
    }

    fn wait_in(&self, token: Option<&WakeToken>, deadline: Option<Timestamp>) -> Wake {
        let mut state = self.state();
        let me = thread::current().id();
        let slot = state.slots.iter().position(|s| s.thread == Some(me));
        let Some(slot) = slot else {
            drop(state);
            panic!("a thread without a slot waits on the simulated clock: reserve and take one first");
        };
        if let Some(token) = token
            && token.take()
        {
            return Wake::Woken;
        }
        state.waits_since_tick += 1;
        if state.waits_since_tick > WAITS_PER_INSTANT {
            let (name, now) = (state.slots[slot].name, state.now.0);
            drop(state);
            panic!("the simulated clock stands still at {now} ns: {name} waits for what has passed, again and again");
        }
        let phase = match deadline {
            Some(at) if at <= state.now => Phase::Ready(Wake::Deadline),
            _ => Phase::Waiting { token: token.cloned(), deadline },
        };
        self.block(state, slot, phase)
    }
}

impl State {
    fn pass_baton(&mut self) {
        if self.running.is_some() {
            return;
        }
        if let Some(next) = self.first_ready() {
            self.running = Some(next);
            return;
        }
        let earliest = self.slots.iter().filter_map(|s| s.deadline()).min();
        let Some(earliest) = earliest else {
            self.deadlock = self.story();
            return;
        };
        if earliest > self.now {
            self.now = earliest;
            self.waits_since_tick = 0;
        }
        for slot in &mut self.slots {
            if slot.deadline().is_some_and(|at| at <= self.now) {
                slot.phase = Phase::Ready(Wake::Deadline);
            }
        }
        self.running = self.first_ready();
    }

    fn first_ready(&self) -> Option<usize> {
        self.slots.iter().position(|s| matches!(s.phase, Phase::Ready(_)))
    }

    /// Names the threads that wait for each other; `None` where none is left.
    fn story(&self) -> Option<String> {
        let waiting: Vec<_> =
            self.slots.iter().filter(|s| matches!(s.phase, Phase::Waiting { .. })).map(|s| s.name).collect();
        (!waiting.is_empty()).then(|| {
            format!("deadlock on the simulated clock at {} ns: {} wait for a wake-up", self.now.0, waiting.join(", "))
        })
    }
}

impl SlotState {
    fn deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Waiting { deadline, .. } => deadline,
            _ => None,
        }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.state().now
    }

    fn wait(&self, token: &WakeToken, deadline: Option<Timestamp>) -> Wake {
        self.wait_in(Some(token), deadline)
    }

    fn sleep_until(&self, deadline: Timestamp) {
        self.wait_in(None, Some(deadline));
    }

    fn wake(&self, token: &WakeToken) {
        // The state's lock comes first here as in `wait`, so that a wake-up never falls between look and sleep.
        let mut state = self.state();
        let waiting = state
            .slots
            .iter_mut()
            .find(|s| matches!(&s.phase, Phase::Waiting { token: Some(theirs), .. } if theirs.is(token)));
        match waiting {
            Some(slot) => slot.phase = Phase::Ready(Wake::Woken),
            None => token.keep(),
        }
    }

    fn register(&self, name: &'static str) -> usize {
        let mut state = self.state();
        state.slots.push(SlotState { name, thread: None, phase: Phase::Ready(Wake::Woken) });
        state.slots.len() - 1
    }

    fn enter(&self, slot: usize) {
        let mut state = self.state();
        state.slots[slot].thread = Some(thread::current().id());
        state.pass_baton();
        self.baton.notify_all();
        self.await_turn(state, slot);
    }

    fn leave(&self, slot: usize) {
        let mut state = self.state();
        state.slots[slot].phase = Phase::Gone;
        state.slots[slot].thread = None;
        if state.running == Some(slot) {
            state.running = None;
        }
        // A slot given back before any was taken must not start the others: `enter` does.
        if state.slots.iter().any(|s| s.thread.is_some()) {
            state.pass_baton();
        }
        self.baton.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::SchedulerSlot;

    type Log = Arc<Mutex<Vec<String>>>;
    type Body = Box<dyn FnOnce(&dyn Clock, &Log) + Send>;

    /// Runs each body in its own seated thread and returns what they logged, and which panicked.
    fn run_threads(bodies: Vec<(&'static str, Body)>) -> (Vec<String>, Vec<bool>) {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
        let log = Log::default();
        let slots: Vec<_> = bodies.iter().map(|(name, _)| SchedulerSlot::reserve(&clock, name)).collect();
        let threads: Vec<_> = bodies
            .into_iter()
            .zip(slots)
            .map(|((_, body), slot)| {
                let (clock, log) = (Arc::clone(&clock), Arc::clone(&log));
                thread::spawn(move || {
                    slot.take();
                    body(&*clock, &log);
                    drop(slot);
                })
            })
            .collect();
        let panicked = threads.into_iter().map(|t| t.join().is_err()).collect();
        let lines = log.lock().unwrap().clone();
        (lines, panicked)
    }

    fn say(clock: &dyn Clock, log: &Log, what: &str) {
        log.lock().unwrap().push(format!("{what}@{}", clock.now().0));
    }

    #[test]
    fn time_jumps_and_equal_deadlines_run_in_seat_order() {
        for _ in 0..20 {
            let (log, _) = run_threads(vec![
                (
                    "a",
                    Box::new(|c, l| {
                        c.sleep_until(Timestamp(50));
                        say(c, l, "a");
                    }),
                ),
                (
                    "b",
                    Box::new(|c, l| {
                        c.sleep_until(Timestamp(20));
                        say(c, l, "b");
                        c.sleep_until(Timestamp(50));
                        say(c, l, "b");
                    }),
                ),
            ]);
            assert_eq!(log, ["b@20", "a@50", "b@50"]);
        }
    }

    #[test]
    fn a_ring_beats_a_deadline_and_does_not_preempt() {
        let token = WakeToken::new();
        let ringer = token.clone();
        let (log, _) = run_threads(vec![
            (
                "waiter",
                Box::new(move |c, l| {
                    let wake = c.wait(&token, Some(Timestamp(100)));
                    say(c, l, &format!("{wake:?}"));
                    let wake = c.wait(&token, Some(c.now() + Duration::from_nanos(7)));
                    say(c, l, &format!("{wake:?}"));
                }),
            ),
            (
                "ringer",
                Box::new(move |c, l| {
                    c.sleep_until(Timestamp(30));
                    c.wake(&ringer);
                    say(c, l, "rang");
                }),
            ),
        ]);
        assert_eq!(log, ["rang@30", "Woken@30", "Deadline@37"]);
    }

    #[test]
    fn a_deadlock_panics_in_every_waiting_thread() {
        let (_, panicked) = run_threads(vec![
            ("a", Box::new(|c, _| _ = c.wait(&WakeToken::new(), None))),
            ("b", Box::new(|c, _| _ = c.wait(&WakeToken::new(), None))),
        ]);
        assert_eq!(panicked, [true, true]);
    }

    #[test]
    fn a_thread_that_stops_the_time_panics() {
        let spin: Body = Box::new(|c, _| {
            loop {
                c.sleep_until(Timestamp::ZERO);
            }
        });
        assert_eq!(run_threads(vec![("spinner", spin)]).1, [true]);
    }

    #[test]
    fn a_panicking_thread_does_not_wedge_the_others() {
        let (log, panicked) = run_threads(vec![
            (
                "bad",
                Box::new(|c, _| {
                    c.sleep_until(Timestamp(10));
                    panic!("on purpose");
                }),
            ),
            (
                "good",
                Box::new(|c, l| {
                    c.sleep_until(Timestamp(20));
                    say(c, l, "good");
                }),
            ),
        ]);
        assert_eq!((log, panicked), (vec!["good@20".to_owned()], vec![true, false]));
    }
}
