//! The simulated clock: real threads, one at a time, on a time that jumps.
//!
//! A cooperative scheduler with one baton. Exactly one seated thread runs; when it waits, the next runnable one in seat
//! order runs; when none is runnable the time jumps to the earliest deadline and everything due then becomes runnable.
//! Work takes no simulated time unless it sleeps. The run therefore depends on its inputs alone and repeats exactly.
//!
//! Nobody runnable and nobody with a deadline is a deadlock, which is a bug: every waiting thread panics and names all
//! of them. So is time that stands still because a thread keeps asking for an instant that has passed: it panics.
//! A thread that ends or panics gives its seat back, so that it never wedges the others.
//! Threads without a seat (a test, a signal handler) may ring, and read the time, but not wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::{Bell, Clock, Timestamp, Wake};

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
    seats: Vec<SeatState>,
    running: Option<usize>,
    waits_since_tick: u32,
    deadlock: Option<String>,
}

#[derive(Debug)]
struct SeatState {
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
        bell: Option<Bell>,
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
    fn block(&self, mut state: MutexGuard<'_, State>, seat: usize, phase: Phase) -> Wake {
        state.seats[seat].phase = phase;
        state.running = None;
        state.pass_baton();
        self.baton.notify_all();
        self.await_turn(state, seat)
    }

    fn await_turn(&self, mut state: MutexGuard<'_, State>, seat: usize) -> Wake {
        while state.running != Some(seat) {
            if let Some(story) = state.deadlock.clone() {
                drop(state);
                panic!("{story}");
            }
            state = self.baton.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match std::mem::replace(&mut state.seats[seat].phase, Phase::Running) {
            Phase::Ready(wake) => wake,
            phase => panic!("the baton went to {} in phase {phase:?}", state.seats[seat].name),
        }
    }

    fn wait_in(&self, bell: Option<&Bell>, deadline: Option<Timestamp>) -> Wake {
        let mut state = self.state();
        let me = thread::current().id();
        let seat = state.seats.iter().position(|s| s.thread == Some(me));
        let Some(seat) = seat else {
            drop(state);
            panic!("a thread without a seat waits on the simulated clock: reserve and take one first");
        };
        if let Some(bell) = bell
            && bell.take()
        {
            return Wake::Rung;
        }
        state.waits_since_tick += 1;
        if state.waits_since_tick > WAITS_PER_INSTANT {
            let (name, now) = (state.seats[seat].name, state.now.0);
            drop(state);
            panic!("the simulated clock stands still at {now} ns: {name} waits for what has passed, again and again");
        }
        let phase = match deadline {
            Some(at) if at <= state.now => Phase::Ready(Wake::Deadline),
            _ => Phase::Waiting { bell: bell.cloned(), deadline },
        };
        self.block(state, seat, phase)
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
        let earliest = self.seats.iter().filter_map(|s| s.deadline()).min();
        let Some(earliest) = earliest else {
            self.deadlock = self.story();
            return;
        };
        if earliest > self.now {
            self.now = earliest;
            self.waits_since_tick = 0;
        }
        for seat in &mut self.seats {
            if seat.deadline().is_some_and(|at| at <= self.now) {
                seat.phase = Phase::Ready(Wake::Deadline);
            }
        }
        self.running = self.first_ready();
    }

    fn first_ready(&self) -> Option<usize> {
        self.seats.iter().position(|s| matches!(s.phase, Phase::Ready(_)))
    }

    /// Names the threads that wait for each other; `None` where none is left.
    fn story(&self) -> Option<String> {
        let waiting: Vec<_> =
            self.seats.iter().filter(|s| matches!(s.phase, Phase::Waiting { .. })).map(|s| s.name).collect();
        (!waiting.is_empty()).then(|| {
            format!("deadlock on the simulated clock at {} ns: {} wait for a ring", self.now.0, waiting.join(", "))
        })
    }
}

impl SeatState {
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

    fn wait(&self, bell: &Bell, deadline: Option<Timestamp>) -> Wake {
        self.wait_in(Some(bell), deadline)
    }

    fn sleep_until(&self, deadline: Timestamp) {
        self.wait_in(None, Some(deadline));
    }

    fn ring(&self, bell: &Bell) {
        // The state's lock comes first here as in `wait`, so that a ring never falls between look and sleep.
        let mut state = self.state();
        let waiting = state
            .seats
            .iter_mut()
            .find(|s| matches!(&s.phase, Phase::Waiting { bell: Some(theirs), .. } if theirs.is(bell)));
        match waiting {
            Some(seat) => seat.phase = Phase::Ready(Wake::Rung),
            None => bell.keep(),
        }
    }

    fn register(&self, name: &'static str) -> usize {
        let mut state = self.state();
        state.seats.push(SeatState { name, thread: None, phase: Phase::Ready(Wake::Rung) });
        state.seats.len() - 1
    }

    fn enter(&self, seat: usize) {
        let mut state = self.state();
        state.seats[seat].thread = Some(thread::current().id());
        state.pass_baton();
        self.baton.notify_all();
        self.await_turn(state, seat);
    }

    fn leave(&self, seat: usize) {
        let mut state = self.state();
        state.seats[seat].phase = Phase::Gone;
        state.seats[seat].thread = None;
        if state.running == Some(seat) {
            state.running = None;
        }
        // A seat given back before any was taken must not start the others: `enter` does.
        if state.seats.iter().any(|s| s.thread.is_some()) {
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
    use crate::clock::Seat;

    type Log = Arc<Mutex<Vec<String>>>;
    type Body = Box<dyn FnOnce(&dyn Clock, &Log) + Send>;

    /// Runs each body in its own seated thread and returns what they logged, and which panicked.
    fn run_threads(bodies: Vec<(&'static str, Body)>) -> (Vec<String>, Vec<bool>) {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
        let log = Log::default();
        let seats: Vec<_> = bodies.iter().map(|(name, _)| Seat::reserve(&clock, name)).collect();
        let threads: Vec<_> = bodies
            .into_iter()
            .zip(seats)
            .map(|((_, body), seat)| {
                let (clock, log) = (Arc::clone(&clock), Arc::clone(&log));
                thread::spawn(move || {
                    seat.take();
                    body(&*clock, &log);
                    drop(seat);
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
        let bell = Bell::new();
        let ringer = bell.clone();
        let (log, _) = run_threads(vec![
            (
                "waiter",
                Box::new(move |c, l| {
                    let wake = c.wait(&bell, Some(Timestamp(100)));
                    say(c, l, &format!("{wake:?}"));
                    let wake = c.wait(&bell, Some(c.now() + Duration::from_nanos(7)));
                    say(c, l, &format!("{wake:?}"));
                }),
            ),
            (
                "ringer",
                Box::new(move |c, l| {
                    c.sleep_until(Timestamp(30));
                    c.ring(&ringer);
                    say(c, l, "rang");
                }),
            ),
        ]);
        assert_eq!(log, ["rang@30", "Rung@30", "Deadline@37"]);
    }

    #[test]
    fn a_deadlock_panics_in_every_waiting_thread() {
        let (_, panicked) = run_threads(vec![
            ("a", Box::new(|c, _| _ = c.wait(&Bell::new(), None))),
            ("b", Box::new(|c, _| _ = c.wait(&Bell::new(), None))),
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
