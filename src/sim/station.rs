//! The simulated reject station: an actuator that needs a while, and an eye at the bin that sees what it hits.
//!
//! What the program has to find out by itself (how far the actuator is, how long it takes) is given here and told to
//! nobody. A part leaves the belt as soon as it lies in front of an active actuator; the eye sees it a flight later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::belt::{PhotoEye, arrivals};
use crate::clock::{Clock, Timestamp, WakeToken};
use crate::gpio::{Edge, Level, LineFault, OutputLine, TriggerInput};

/// The hidden truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// From the part's leading edge in the trigger's eye to the same edge at the actuator.
    pub travel: Duration,
    /// How long a part takes to pass a point of the belt.
    pub body: Duration,
    /// From the line's edge to the actuator's motion, both ways.
    pub latency: Duration,
    /// From leaving the belt to the eye at the bin.
    pub flight: Duration,
    /// Each part is up to so much earlier or later at the actuator than the belt would have it.
    pub jitter: Duration,
    /// The eye sees parts that stay on the belt too.
    pub eye_sees_all: bool,
}

/// The station; clones are the same.
#[derive(Clone)]
pub struct Station {
    clock: Arc<dyn Clock>,
    truth: Truth,
    /// When each part's leading edge is at the actuator.
    in_front: Arc<[Timestamp]>,
    arrivals: Arc<[Timestamp]>,
    pulses: Arc<Mutex<Vec<Pulse>>>,
}

#[derive(Clone, Copy, Debug)]
struct Pulse {
    rise: Timestamp,
    fall: Option<Timestamp>,
}

impl Station {
    /// Behind a belt with these [`arrivals`] at the trigger's eye.
    pub fn new(clock: Arc<dyn Clock>, arrivals: Arc<[Timestamp]>, truth: Truth, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut in_front = |arrival: &Timestamp| {
            let stray = truth.jitter.mul_f64(2.0 * rng.random::<f64>());
            *arrival + truth.travel + stray - truth.jitter
        };
        let in_front = arrivals.iter().map(&mut in_front).collect();
        Self { clock, truth, in_front, arrivals, pulses: Arc::default() }
    }

    /// The trigger's eye, which is covered for as long as a part is.
    pub fn trigger(&self) -> PhotoEye {
        PhotoEye::covered(&self.arrivals, self.truth.body)
    }

    /// The actuator's line, with the level at which it works.
    pub fn line(&self, name: &str, active: Level) -> Box<dyn OutputLine> {
        Box::new(StationLine { name: name.to_owned(), active, station: self.clone() })
    }

    /// The eye at the bin.
    pub fn eye(&self) -> Box<dyn TriggerInput> {
        Box::new(Eye { station: self.clone(), next: 0 })
    }

    /// No panic can happen under this lock that leaves half a pulse.
    fn pulses(&self) -> MutexGuard<'_, Vec<Pulse>> {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the eye sees part `n`, by the pulses up to now.
    fn seen_at(&self, n: usize) -> Option<Timestamp> {
        let Truth { body, latency, flight, eye_sees_all, .. } = self.truth;
        let start = self.in_front[n];
        let hit = self.pulses().iter().find_map(|pulse| {
            let at = start.max(pulse.rise + latency);
            let is_active = pulse.fall.is_none_or(|fall| at < fall + latency);
            (at < start + body && is_active).then_some(at)
        });
        hit.or(eye_sees_all.then_some(start)).map(|at| at + flight)
    }
}

struct StationLine {
    name: String,
    active: Level,
    station: Station,
}

impl OutputLine for StationLine {
    fn set_level(&mut self, level: Level) -> Result<(), LineFault> {
        let now = self.station.clock.now();
        let mut pulses = self.station.pulses();
        let is_active = pulses.last().is_some_and(|pulse| pulse.fall.is_none());
        match (level == self.active, pulses.last_mut()) {
            (true, _) if !is_active => pulses.push(Pulse { rise: now, fall: None }),
            (false, Some(last)) => _ = last.fall.get_or_insert(now),
            _ => {}
        }
        Ok(())
    }

    fn name(&self) -> &str {
        &self.name
    }
}

struct Eye {
    station: Station,
    next: usize,
}

impl Eye {
    /// The next part that is seen; those that have passed the actuator unhurt are left out.
    fn next_seen(&mut self) -> Option<Timestamp> {
        let Truth { body, latency, .. } = self.station.truth;
        while let Some(start) = self.station.in_front.get(self.next) {
            let seen = self.station.seen_at(self.next);
            if seen.is_some() || *start + body + latency >= self.station.clock.now() {
                return seen;
            }
            self.next += 1;
        }
        None
    }
}

impl TriggerInput for Eye {
    fn next_edge(&mut self, now: Timestamp) -> Result<Option<Edge>, LineFault> {
        let due = self.next_seen().filter(|at| *at <= now);
        self.next += usize::from(due.is_some());
        Ok(due.map(|at| Edge { at, level: Level::High }))
    }

    fn next_at(&self) -> Option<Timestamp> {
        Eye { station: self.station.clone(), next: self.next }.next_seen()
    }

    fn is_exhausted(&self) -> bool {
        self.next == self.station.in_front.len()
    }

    fn attach(&mut self, _clock: &Arc<dyn Clock>, _bell: &WakeToken) {}
}

/// Parts that pass one at a time, for a person who puts the same part on the belt again and again.
pub fn one_at_a_time(start: Timestamp, parts: u64, every: Duration) -> Arc<[Timestamp]> {
    let spacing = super::belt::Spacing { mean: every, jitter: 0.05, crowded: 0.0, crowded_gap: every };
    arrivals(start, parts, spacing, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SchedulerSlot, SimClock};

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * 1_000_000)
    }

    /// When the eye sees a part that comes at 100 ms, is at the actuator from 400 to 440 ms and meets this pulse, sent with
    /// a latency of 15 ms.
    fn seen(rise: u64, fall: u64, eye_sees_all: bool) -> Option<u64> {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
        let slot = SchedulerSlot::reserve(&clock, "act");
        slot.take();
        let truth = Truth {
            travel: ms(300),
            body: ms(40),
            latency: ms(15),
            flight: ms(100),
            jitter: Duration::ZERO,
            eye_sees_all,
        };
        let station = Station::new(Arc::clone(&clock), [at(100)].into(), truth, 1);
        let (mut line, mut eye) = (station.line("reject", Level::High), station.eye());
        for (when, level) in [(rise, Level::High), (fall, Level::Low)] {
            clock.sleep_until(at(when));
            line.set_level(level).unwrap();
        }
        let foretold = eye.next_at();
        clock.sleep_until(at(1000));
        let edge = eye.next_edge(at(1000)).unwrap().map(|edge| edge.at);
        assert_eq!(edge, foretold);
        edge.map(|at| at.0 / 1_000_000)
    }

    #[test]
    fn a_part_is_hit_while_it_lies_in_front_of_a_moving_actuator() {
        assert_eq!(seen(380, 430, false), Some(500), "active when the part comes");
        assert_eq!(seen(405, 455, false), Some(520), "active when the part is there");
        assert_eq!(seen(424, 474, false), Some(539), "its tail");
        assert_eq!(seen(425, 475, false), None, "just gone");
        assert_eq!(seen(335, 385, false), None, "back before it comes");
        assert_eq!(seen(336, 386, false), Some(500), "its nose");
        assert_eq!(seen(600, 650, true), Some(500), "an eye in the wrong place");
    }

    #[test]
    fn the_triggers_eye_is_covered_for_as_long_as_the_part_is() {
        let mut eye = PhotoEye::covered(&[at(10), at(50)], ms(20));
        let edges: Vec<_> = std::iter::from_fn(|| eye.next_edge(at(70)).unwrap()).collect();
        let edge = |ms, level| Edge { at: at(ms), level };
        let (high, low) = (Level::High, Level::Low);
        assert_eq!(edges, [edge(10, high), edge(30, low), edge(50, high), edge(70, low)]);
        assert!(eye.is_exhausted());
    }
}
