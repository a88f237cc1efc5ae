//! Confirmation: a second eye at the bin, which sees each rejected part leave the belt. Pure.
//!
//! A part that was hit is expected where the belt is `travel` beyond the actuator, within the window before and after
//! that, which is a distance like the reject window: a belt that stands neither confirms nor misses. The eye cannot tell
//! parts apart, so an edge confirms the oldest part that it can be; one that no part explains is unexpected.

use std::time::Duration;

use super::Belt;
use super::schedule::{CAPACITY, Full};
use crate::clock::Timestamp;
use crate::gpio::InputOptions;
use crate::units::{Millimetres, MmPerSecond};

/// `[confirm]` as used.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Name of the eye's input line.
    pub line: String,
    /// How that line is read.
    pub options: InputOptions,
    /// A second edge within this time is the same part's.
    pub holdoff: Duration,
    /// From the actuator to the eye, in millimetres of belt.
    pub travel: Millimetres,
    /// A part may be seen up to this much earlier or later, at the configured belt speed.
    pub window: Duration,
}

/// Parts that the eye has yet to see; `T` is carried unopened.
#[derive(Debug)]
pub struct Confirmations<T> {
    expected: Vec<(Millimetres, T)>,
    travel: f64,
    slack: f64,
    /// How long after its instant the eye's edge is known.
    delay: Duration,
}

impl<T> Confirmations<T> {
    /// Expects nobody yet; allocates once.
    pub fn new(settings: &Settings, belt_speed: MmPerSecond) -> Self {
        let slack = settings.window.as_secs_f64() * belt_speed.0;
        Self {
            expected: Vec::with_capacity(CAPACITY),
            travel: settings.travel.0,
            slack,
            delay: settings.options.debounce,
        }
    }

    /// Expects the part that was hit when the belt was at `position`.
    ///
    /// # Errors
    /// [`Full`] when there are as many as the schedule has pulses.
    pub fn expect(&mut self, position: Millimetres, part: T) -> Result<(), Full> {
        if self.expected.len() >= CAPACITY {
            return Err(Full);
        }
        self.expected.push((position, part));
        Ok(())
    }

    /// The eye saw something; returns the part that it was, `None` when nobody was expected.
    pub fn seen(&mut self, at: Timestamp, belt: &dyn Belt) -> Option<T> {
        let here = belt.position_at(at).0;
        let i = self.expected.iter().position(|(p, _)| (here - p.0 - self.travel).abs() <= self.slack)?;
        Some(self.expected.remove(i).1)
    }

    /// Takes a part that the belt has carried past its window, once an edge of the eye in it would have settled; call
    /// until `None`, after the eye's edges were taken.
    pub fn missing(&mut self, now: Timestamp, belt: &dyn Belt) -> Option<T> {
        let i =
            self.expected.iter().position(|(p, _)| self.end_at(*p, belt).is_some_and(|end| end + self.delay < now))?;
        Some(self.expected.remove(i).1)
    }

    /// Takes a part whatever the belt does, because the run ends; call until `None`.
    pub fn abandon(&mut self) -> Option<T> {
        self.expected.pop().map(|(_, part)| part)
    }

    /// When the next window will be over.
    pub fn next_at(&self, belt: &dyn Belt) -> Option<Timestamp> {
        let ends = self.expected.iter().filter_map(|(p, _)| self.end_at(*p, belt));
        ends.min().map(|end| end + self.delay + Duration::from_nanos(1))
    }

    /// Whether nobody is expected.
    pub fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    fn end_at(&self, position: Millimetres, belt: &dyn Belt) -> Option<Timestamp> {
        belt.time_at(Millimetres(position.0 + self.travel + self.slack))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reject::ConstantSpeed;

    /// One millimetre is one millisecond; parts are expected 100 ms after their hit, 20 ms more or less.
    fn confirmations(hits_mm: &[f64]) -> (Confirmations<f64>, ConstantSpeed) {
        let settings = Settings {
            line: "bin".into(),
            options: InputOptions::default(),
            holdoff: Duration::ZERO,
            travel: Millimetres(100.0),
            window: Duration::from_millis(20),
        };
        let speed = MmPerSecond(1000.0);
        let mut confirmations = Confirmations::new(&settings, speed);
        for hit in hits_mm {
            confirmations.expect(Millimetres(*hit), *hit).unwrap();
        }
        (confirmations, ConstantSpeed::new(speed, Timestamp::ZERO))
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * 1_000_000)
    }

    #[test]
    fn an_edge_confirms_the_oldest_part_that_it_can_be() {
        let (mut confirmations, belt) = confirmations(&[10.0, 25.0, 500.0]);
        let seen = [80, 110, 111, 112, 600].map(|ms| confirmations.seen(at(ms), &belt));
        assert_eq!(seen, [None, Some(10.0), Some(25.0), None, Some(500.0)]);
        assert!(confirmations.is_empty());
    }

    #[test]
    fn a_part_that_is_not_seen_in_its_window_is_missing_once() {
        let (mut confirmations, belt) = confirmations(&[10.0, 25.0]);
        assert_eq!(confirmations.missing(at(130), &belt), None, "the last instant");
        let next = confirmations.next_at(&belt).unwrap();
        assert_eq!(next, Timestamp(at(130).0 + 1));
        assert_eq!(confirmations.missing(next, &belt), Some(10.0));
        assert_eq!(confirmations.missing(next, &belt), None);
        assert_eq!(confirmations.seen(at(125), &belt), Some(25.0));
    }

    #[test]
    fn more_than_fit_are_refused() {
        let (mut confirmations, _) = confirmations(&[0.0; CAPACITY]);
        assert_eq!(confirmations.expect(Millimetres(0.0), 1.0), Err(Full));
        assert_eq!(std::iter::from_fn(|| confirmations.abandon()).count(), CAPACITY);
    }
}
