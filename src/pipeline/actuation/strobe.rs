//! The timing of the panel's outputs: when which level is due. Pure; `panel` drives the lines.
//!
//! Each is asked at the loop's instants: `due` until it has nothing more to say, `next_at` for how long to wait. A loop
//! that comes late makes a level late and never short: a strobe has its full width, whoever reads it sees it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::gpio::Level;

/// Strobes that can wait. Chosen as the pulse schedule's: more parts than are under way on any belt we know.
pub const WAITING: usize = 64;

/// From a result on its line to the edge that says it is valid. Chosen: above the skew of two outputs and their cables.
pub const SETTLE: Duration = Duration::from_millis(1);

/// There is no room for another strobe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What is due on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The result's own line.
    Result(Level),
    /// The strobe that says so.
    Valid(Level),
}

/// Each part's result, one after the other: result, settle, valid high, valid low, the next.
#[derive(Debug)]
pub struct Results {
    width: Duration,
    waiting: VecDeque<Level>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Idle,
    /// The result is on its line, not yet said to be valid.
    Settling(Timestamp),
    Valid(Timestamp),
    /// The strobe is low, so that the next rise is seen as one.
    Pause(Timestamp),
}

impl Results {
    /// Strobes of this width, and pauses of at least as much; allocates once.
    pub fn new(width: Duration) -> Self {
        Self { width, waiting: VecDeque::with_capacity(WAITING), phase: Phase::Idle }
    }

    /// Takes the next part's result; high is not released.
    ///
    /// # Errors
    /// [`Full`] when [`WAITING`] wait already; the result is not taken.
    pub fn push(&mut self, result: Level) -> Result<(), Full> {
        if self.waiting.len() == WAITING {
            return Err(Full);
        }
        self.waiting.push_back(result);
        Ok(())
    }

    /// The next thing to do at `now`; call until `None`.
    pub fn due(&mut self, now: Timestamp) -> Option<Due> {
        match self.phase {
            Phase::Settling(until) if until <= now => {
                self.phase = Phase::Valid(now + self.width);
                Some(Due::Valid(Level::High))
            }
            Phase::Valid(until) if until <= now => {
                self.phase = Phase::Pause(now + self.width);
                Some(Due::Valid(Level::Low))
            }
            Phase::Pause(until) if until > now => None,
            Phase::Idle | Phase::Pause(_) => {
                self.phase = Phase::Idle;
                let result = self.waiting.pop_front()?;
                self.phase = Phase::Settling(now + SETTLE);
                Some(Due::Result(result))
            }
            Phase::Settling(_) | Phase::Valid(_) => None,
        }
    }

    /// When something is due without anybody pushing.
    pub fn next_at(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Idle => None,
            Phase::Settling(at) | Phase::Valid(at) | Phase::Pause(at) => Some(at),
        }
    }

    /// Whether every result was given and its strobe is low again.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && matches!(self.phase, Phase::Idle | Phase::Pause(_))
    }
}

/// Toggles while all is well, and rests low while it is not.
#[derive(Debug)]
pub struct Heartbeat {
    period: Duration,
    level: Level,
    /// `None` while something is wrong.
    next: Option<Timestamp>,
}

impl Heartbeat {
    /// A heart that beats from its first [`due`](Self::due) on.
    pub fn new(period: Duration) -> Self {
        Self { period, level: Level::Low, next: None }
    }

    /// The level to set now, if it changes.
    pub fn due(&mut self, now: Timestamp, is_well: bool) -> Option<Level> {
        if !is_well {
            self.next = None;
            return (std::mem::replace(&mut self.level, Level::Low) == Level::High).then_some(Level::Low);
        }
        let due = self.next.unwrap_or(now);
        if due > now {
            return None;
        }
        // A beat that was missed is missed: the next one is a whole period away.
        self.next = Some((due + self.period).max(now + self.period / 2));
        self.level = self.level.inverted();
        Some(self.level)
    }

    /// When the next beat is due; `None` while something is wrong.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.next
    }
}

/// A light that goes on for a while at a delay from each trigger edge; what overlaps is one.
#[derive(Debug)]
pub struct Strobe {
    delay: Duration,
    width: Duration,
    waiting: VecDeque<Timestamp>,
    lit_until: Option<Timestamp>,
}

impl Strobe {
    /// On `delay` after an edge, for `width`; allocates once.
    pub fn new(delay: Duration, width: Duration) -> Self {
        Self { delay, width, waiting: VecDeque::with_capacity(WAITING), lit_until: None }
    }

    /// Takes an edge; edges come in order.
    ///
    /// # Errors
    /// [`Full`] when [`WAITING`] wait already; the strobe is not taken.
    pub fn push(&mut self, edge_at: Timestamp) -> Result<(), Full> {
        if self.waiting.len() == WAITING {
            return Err(Full);
        }
        self.waiting.push_back(edge_at + self.delay);
        Ok(())
    }

    /// The level to set now, if it changes; call until `None`.
    pub fn due(&mut self, now: Timestamp) -> Option<Level> {
        while self.waiting.pop_front_if(|start| *start <= now).is_some() {
            if self.lit_until.replace(now + self.width).is_none() {
                return Some(Level::High);
            }
        }
        self.lit_until.take_if(|until| *until <= now).map(|_| Level::Low)
    }

    /// When something is due without another edge.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.waiting.front().copied().into_iter().chain(self.lit_until).min()
    }

    /// Whether it is dark and stays so.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.lit_until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * MS)
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Plays results pushed at these milliseconds, waking when asked to; what was due when.
    fn play_results(pushes: &[(u64, Level)]) -> Vec<(u64, Due)> {
        let mut results = Results::new(ms(20));
        let mut pushes: VecDeque<_> = pushes.iter().copied().collect();
        let mut done = Vec::new();
        while let Some(now) = pushes.front().map(|p| at(p.0)).into_iter().chain(results.next_at()).min() {
            while let Some((_, result)) = pushes.pop_front_if(|p| at(p.0) <= now) {
                results.push(result).unwrap();
            }
            done.extend(std::iter::from_fn(|| results.due(now)).map(|due| (now.0 / MS, due)));
        }
        assert!(results.is_idle());
        done
    }

    #[test]
    fn each_result_settles_before_its_strobe_and_two_never_run_into_each_other() {
        use Due::{Result, Valid};
        use Level::{High, Low};
        let one = [(100, Result(High)), (101, Valid(High)), (121, Valid(Low))];
        assert_eq!(play_results(&[(100, High)]), one);
        let second = [(141, Result(Low)), (142, Valid(High)), (162, Valid(Low))];
        assert_eq!(play_results(&[(100, High), (105, Low)]), [one, second].concat());
        assert_eq!(play_results(&[(100, High), (141, Low)]), [one, second].concat());
        let later = [(300, Result(High)), (301, Valid(High)), (321, Valid(Low))];
        assert_eq!(play_results(&[(100, High), (300, High)]), [one, later].concat(), "two equal results are two");
    }

    #[test]
    fn a_loop_that_comes_late_never_shortens_a_strobe() {
        let mut results = Results::new(ms(20));
        results.push(Level::High).unwrap();
        assert_eq!(results.due(at(100)), Some(Due::Result(Level::High)));
        assert_eq!(results.due(at(500)), Some(Due::Valid(Level::High)));
        assert_eq!(results.due(at(500)), None);
        assert_eq!(results.next_at(), Some(at(520)));
        let mut light = Strobe::new(ms(2), ms(5));
        light.push(at(100)).unwrap();
        assert_eq!(light.due(at(150)), Some(Level::High));
        assert_eq!((light.due(at(150)), light.next_at()), (None, Some(at(155))));
    }

    #[test]
    fn what_has_no_room_is_given_back() {
        let (mut results, mut light) = (Results::new(ms(1)), Strobe::new(ms(1), ms(1)));
        for _ in 0..WAITING {
            results.push(Level::Low).unwrap();
            light.push(at(0)).unwrap();
        }
        assert_eq!((results.push(Level::Low), light.push(at(0))), (Err(Full), Err(Full)));
        assert!(!results.is_idle() && !light.is_idle());
    }

    #[test]
    fn a_heart_beats_while_all_is_well_and_rests_low_otherwise() {
        let mut heart = Heartbeat::new(ms(100));
        let mut beats = Vec::new();
        for (now, is_well) in [
            (0, true),
            (99, true),
            (100, true),
            (200, true),
            (210, false),
            (300, false),
            (310, true),
            (409, true),
            (410, true),
        ] {
            beats.extend(heart.due(at(now), is_well).map(|level| (now, level)));
        }
        let (high, low) = (Level::High, Level::Low);
        assert_eq!(beats, [(0, high), (100, low), (200, high), (210, low), (310, high), (410, low)]);
        // A loop that was away for a second does not make up for it.
        assert_eq!(heart.due(at(1410), true), Some(high));
        assert_eq!(heart.next_at(), Some(at(1460)));
        assert_eq!((heart.due(at(1410), false), heart.next_at()), (Some(low), None));
    }

    #[test]
    fn a_light_follows_each_edge_and_overlaps_are_one() {
        let play = |edges: &[u64]| {
            let mut light = Strobe::new(ms(3), ms(10));
            edges.iter().for_each(|edge| light.push(at(*edge)).unwrap());
            let mut seen = Vec::new();
            while let Some(now) = light.next_at() {
                seen.extend(std::iter::from_fn(|| light.due(now)).map(|level| (now.0 / MS, level)));
            }
            assert!(light.is_idle());
            seen
        };
        let (high, low) = (Level::High, Level::Low);
        assert_eq!(play(&[100]), [(103, high), (113, low)]);
        assert_eq!(play(&[100, 200]), [(103, high), (113, low), (203, high), (213, low)]);
        assert_eq!(play(&[100, 106]), [(103, high), (119, low)]);
        assert_eq!(play(&[100, 110]), [(103, high), (123, low)], "touching is one");
    }
}
