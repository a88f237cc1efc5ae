//! A belt measured by an encoder: edges in, position and forecast out. Pure: edges are fed in, time is told.
//!
//! ```text
//!   edge           edge           edge                        no edge for `stopped`
//! ───┼──────────────┼──────────────┼╌╌╌╌╌╌╌╌╌╌╌╌╌╌┤ held ────────────────┼─── stands still
//!    interpolated   interpolated   extrapolated, one count at most
//! ```
//!
//! Position: exact at each edge, interpolated between edges, and after the last one extrapolated with the measured
//! speed, by one count at most. Reverse motion lowers it.
//! Forecast ([`Belt::time_at`]): at the measured speed while edges come when they should. When the next one is overdue
//! nothing beyond it is forecast before it has come, and the belt is taken to slow down: the forecast moves away in
//! steps that double, so that a loop that wakes at each forecast wakes a few times and not without end.
//! A belt stands still when no edge has come for `stopped`, while it moves in reverse, and until the second edge after a
//! stop or a turn, because one edge has no speed. An edge that trembles under its sensor turns all the time.

use std::collections::VecDeque;
use std::time::Duration;

use super::Belt;
use crate::clock::Timestamp;
use crate::gpio::{Edge, InputOptions, Level};
use crate::units::Millimetres;

/// Edges that are remembered. Chosen: a frame may be half a second older than its part, at some thousand edges a second.
const HISTORY: usize = 4096;

/// The speed is measured over this many counts, two periods of a quadrature encoder, whose quarters are uneven.
const SPEED_COUNTS: usize = 8;

/// And over no more than this, unless two edges are further apart: a coarse encoder must not lag behind the belt.
const SPEED_SPAN: Duration = Duration::from_millis(100);

/// `[encoder]` as used.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Name of the input line of channel A.
    pub line_a: String,
    /// Name of the input line of channel B; with it the direction is known.
    pub line_b: Option<String>,
    /// How both lines are read.
    pub options: InputOptions,
    /// How far the belt moves in one period of channel A.
    pub mm_per_pulse: Millimetres,
    /// A belt without an edge for this long stands still.
    pub stopped: Duration,
}

/// A channel of the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The only one of a single-pulse encoder; leads B in forward motion.
    A,
    /// A quarter of a period behind A in forward motion.
    B,
}

/// A belt whose position comes from an encoder.
#[derive(Debug)]
pub struct EncoderBelt {
    /// Millimetres of one count: a period, or a quarter of it with two channels.
    pitch: f64,
    stopped: Duration,
    quadrature: Option<Quadrature>,
    now: Timestamp,
    count: i64,
    /// The last count: one forward or one back.
    step: i64,
    marks: VecDeque<Mark>,
    /// Millimetres a second, negative in reverse; 0 while unknown.
    speed: f64,
    slips: u64,
}

/// A moment at which the position was known exactly.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Timestamp,
    position: f64,
    /// The belt stood still before it, or turned round: no speed goes across it.
    first: bool,
}

impl EncoderBelt {
    /// A belt at position 0 that has not moved yet; allocates once.
    ///
    /// # Panics
    /// If a pulse is not a positive, finite distance (`check` refuses that).
    pub fn new(settings: &Settings) -> Self {
        let pulse = settings.mm_per_pulse.0;
        assert!(pulse > 0.0 && pulse.is_finite(), "a pulse must be a distance, got {pulse} mm");
        let quadrature = settings.line_b.is_some().then(Quadrature::default);
        Self {
            pitch: if quadrature.is_some() { pulse / 4.0 } else { pulse },
            stopped: settings.stopped,
            quadrature,
            now: Timestamp::ZERO,
            count: 0,
            step: 0,
            marks: VecDeque::with_capacity(HISTORY + 1),
            speed: 0.0,
            slips: 0,
        }
    }

    /// Millimetres of one count: the most by which [`Belt::position_at`] can be wrong.
    pub fn pitch(&self) -> Millimetres {
        Millimetres(self.pitch)
    }

    fn step(&mut self, channel: Channel, level: Level) -> i64 {
        match (&mut self.quadrature, channel) {
            (Some(quadrature), _) => match quadrature.step(channel, level) {
                Ok(step) => step,
                Err(Slip) => {
                    self.slips += 1;
                    0
                }
            },
            (None, Channel::A) => i64::from(level == Level::High),
            (None, Channel::B) => 0,
        }
    }

    fn measured_speed(&self) -> f64 {
        let Some(last) = self.marks.back() else { return 0.0 };
        let mut from = last;
        for (counts, mark) in self.marks.iter().rev().take(SPEED_COUNTS + 1).enumerate() {
            if counts > 1 && last.at.since(mark.at) > SPEED_SPAN {
                break;
            }
            from = mark;
            if mark.first {
                break;
            }
        }
        let seconds = last.at.since(from.at).as_secs_f64();
        // Edges of one and the same instant have no speed of their own; what was measured before them stays.
        let stale = if from.first && last.first { 0.0 } else { self.speed };
        if seconds > 0.0 { (last.position - from.position) / seconds } else { stale }
    }

    /// When the belt crossed `position` the last time, which it did.
    fn crossed_at(&self, position: f64) -> Timestamp {
        let Some(last) = self.marks.back() else { return self.now };
        if position > last.position {
            return (last.at + seconds((position - last.position) / self.speed)).min(self.now);
        }
        let newer = self.marks.iter().rev();
        for (b, a) in newer.clone().zip(newer.skip(1)) {
            if a.position < position && position <= b.position {
                let (from, span) = self.span(a, b);
                return from + span.mul_f64((position - a.position) / (b.position - a.position));
            }
        }
        self.marks[0].at
    }

    /// The time in which the belt moved from one mark to the next: a stop between them was before it.
    fn span(&self, a: &Mark, b: &Mark) -> (Timestamp, Duration) {
        let from = if b.first { a.at.max(b.at - self.stopped) } else { a.at };
        (from, b.at.since(from))
    }
}

impl Belt for EncoderBelt {
    fn position_at(&self, at: Timestamp) -> Millimetres {
        let next = self.marks.partition_point(|m| m.at <= at);
        let Some(a) = next.checked_sub(1).map(|i| &self.marks[i]) else {
            return Millimetres(self.marks.front().map_or(0.0, |m| m.position));
        };
        Millimetres(match self.marks.get(next) {
            Some(b) => {
                let (from, span) = self.span(a, b);
                let fraction = at.since(from).as_secs_f64() / span.as_secs_f64().max(f64::MIN_POSITIVE);
                a.position + (b.position - a.position) * fraction.min(1.0)
            }
            None => a.position + (self.speed * at.since(a.at).as_secs_f64()).clamp(-self.pitch, self.pitch),
        })
    }

    fn time_at(&self, Millimetres(position): Millimetres) -> Option<Timestamp> {
        if position <= self.position_at(self.now).0 {
            return Some(self.crossed_at(position));
        }
        if !self.is_moving() {
            return None;
        }
        let last = self.marks.back()?;
        let period = self.pitch / self.speed;
        let overdue = self.now.since(last.at).as_secs_f64() / period;
        let distance = position - last.position;
        Some(if overdue < 1.0 {
            last.at + seconds(distance / self.speed)
        } else {
            let slower = overdue.log2().floor().exp2();
            last.at + seconds((2.0 * period + (distance - self.pitch).max(0.0) / self.speed) * slower)
        })
    }

    fn feed(&mut self, channel: Channel, edge: Edge) {
        let step = self.step(channel, edge.level);
        if step == 0 {
            return;
        }
        let at = self.marks.back().map_or(edge.at, |last| edge.at.max(last.at));
        let first = self.step != step || self.marks.back().is_none_or(|last| at.since(last.at) >= self.stopped);
        self.step = step;
        // The edge itself lies between the two counts, whichever way it is passed.
        let position = self.count.max(self.count + step) as f64 * self.pitch;
        self.count += step;
        self.marks.push_back(Mark { at, position, first });
        if self.marks.len() > HISTORY {
            self.marks.pop_front();
        }
        self.speed = self.measured_speed();
        self.now = self.now.max(at);
    }

    fn observe(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    fn is_moving(&self) -> bool {
        self.speed > 0.0 && self.marks.back().is_some_and(|last| self.now.since(last.at) < self.stopped)
    }

    fn next_change(&self) -> Option<Timestamp> {
        let last = self.marks.back().filter(|_| self.is_moving())?;
        Some(last.at + self.stopped)
    }

    fn is_measured(&self) -> bool {
        true
    }

    fn slips(&self) -> u64 {
        self.slips
    }
}

/// Saturates: a forecast beyond the end of time is [`Timestamp::NEVER`].
fn seconds(seconds: f64) -> Duration {
    Duration::from_nanos((seconds * 1e9).round() as u64)
}

/// Decodes two channels into counts of a quarter period.
#[derive(Debug, Default)]
struct Quadrature {
    a: Option<Level>,
    b: Option<Level>,
}

/// An edge to the level that the channel already had: one was lost before it.
struct Slip;

impl Quadrature {
    /// The count that an edge stands for; 0 until both levels are known.
    fn step(&mut self, channel: Channel, level: Level) -> Result<i64, Slip> {
        let (mine, other) = match channel {
            Channel::A => (&mut self.a, self.b),
            Channel::B => (&mut self.b, self.a),
        };
        let before = mine.replace(level);
        if before == Some(level) {
            return Err(Slip);
        }
        // The first word of a channel may be its level at the start rather than a change.
        let (Some(_), Some(other)) = (before, other) else { return Ok(0) };
        // Forward, A rises while B is low and falls while it is high; B rises while A is high and falls while it is low.
        let is_forward = (level == other) == (channel == Channel::B);
        Ok(if is_forward { 1 } else { -1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn settings(two_channels: bool) -> Settings {
        Settings {
            line_a: "a".to_owned(),
            line_b: two_channels.then(|| "b".to_owned()),
            options: InputOptions::default(),
            mm_per_pulse: Millimetres(2.0),
            stopped: Duration::from_millis(100),
        }
    }

    /// A single-pulse belt of 2 mm a pulse with pulses at these milliseconds, seen at the last one.
    fn belt(pulses_ms: &[u64]) -> EncoderBelt {
        let mut belt = EncoderBelt::new(&settings(false));
        for ms in pulses_ms {
            for level in [Level::High, Level::Low] {
                belt.feed(Channel::A, Edge { at: Timestamp(ms * MS), level });
            }
        }
        belt
    }

    fn position(belt: &EncoderBelt, ms: u64) -> f64 {
        belt.position_at(Timestamp(ms * MS)).0
    }

    fn time_ms(belt: &EncoderBelt, mm: f64) -> Option<f64> {
        belt.time_at(Millimetres(mm)).map(|t| t.0 as f64 / 1e6)
    }

    #[test]
    fn positions_lie_between_the_edges_and_one_count_ahead_at_most() {
        let belt = belt(&[10, 20, 30]);
        for (at, mm) in
            [(0, 2.0), (10, 2.0), (15, 3.0), (20, 4.0), (30, 6.0), (35, 7.0), (40, 8.0), (41, 8.0), (900, 8.0)]
        {
            assert!((position(&belt, at) - mm).abs() < 1e-9, "at {at} ms: {} mm", position(&belt, at));
        }
    }

    #[test]
    fn a_forecast_follows_the_speed_and_is_none_where_the_belt_stands() {
        let mut belt = belt(&[10, 20, 30]);
        assert_eq!(time_ms(&belt, 16.0), Some(80.0), "0.2 mm/ms from 6 mm at 30 ms");
        assert_eq!(time_ms(&belt, 5.0), Some(25.0), "where it was");
        belt.observe(Timestamp(39 * MS));
        assert_eq!(time_ms(&belt, 16.0), Some(80.0));
        assert!(belt.is_moving());
        belt.observe(Timestamp(129 * MS));
        assert_eq!(belt.next_change(), Some(Timestamp(130 * MS)));
        belt.observe(Timestamp(130 * MS));
        assert!(!belt.is_moving());
        assert_eq!(time_ms(&belt, 16.0), None);
        assert_eq!(time_ms(&belt, 7.0), Some(35.0), "within the count it may have moved");
    }

    #[test]
    fn nothing_beyond_an_overdue_edge_is_forecast_before_it_can_come() {
        let mut belt = belt(&[10, 20, 30]);
        let mut wakes = 0;
        let mut now = Timestamp(30 * MS);
        // A hair beyond the next edge: a loop that wakes at each forecast must neither fire nor spin.
        while let Some(next) = belt.time_at(Millimetres(8.000_000_1)) {
            assert!(next > now, "due at {next:?} although no edge has come");
            now = next;
            belt.observe(now);
            wakes += 1;
        }
        assert!(wakes < 8, "{wakes} wakes");
        let belt_again = super::tests::belt(&[10, 20, 30, 60]);
        assert_eq!(position(&belt_again, 60), 8.0);
    }

    #[test]
    fn a_stop_is_no_speed_and_the_second_edge_after_it_is_one() {
        let mut belt = belt(&[10, 20, 30, 5000]);
        assert!(!belt.is_moving(), "one edge after a stop");
        assert_eq!((position(&belt, 5000), time_ms(&belt, 9.0)), (8.0, None));
        assert!(time_ms(&belt, 7.0).unwrap() >= 4900.0, "it was crossed after the stop");
        belt.feed(Channel::A, Edge { at: Timestamp(5010 * MS), level: Level::High });
        assert_eq!(time_ms(&belt, 16.0), Some(5040.0));
    }

    /// A belt with two channels, both of which have told that they are low.
    fn two_channels() -> EncoderBelt {
        let mut belt = EncoderBelt::new(&settings(true));
        for channel in [Channel::A, Channel::B] {
            belt.feed(channel, Edge { at: Timestamp::ZERO, level: Level::Low });
        }
        belt
    }

    /// Edges of two channels, `steps` quarter periods from where the channels are, a millisecond each.
    fn turn(belt: &mut EncoderBelt, phase: &mut i64, at: &mut u64, steps: i64) {
        for _ in 0..steps.abs() {
            // The four levels of a period, forward: A, A and B, B, none.
            let levels = |phase: i64| (matches!(phase.rem_euclid(4), 1 | 2), matches!(phase.rem_euclid(4), 2 | 3));
            let before = levels(*phase);
            *phase += steps.signum();
            *at += 1;
            let after = levels(*phase);
            let (channel, high) = if before.0 == after.0 { (Channel::B, after.1) } else { (Channel::A, after.0) };
            let level = if high { Level::High } else { Level::Low };
            belt.feed(channel, Edge { at: Timestamp(*at * MS), level });
        }
    }

    #[test]
    fn two_channels_know_the_direction() {
        let mut belt = two_channels();
        let (mut phase, mut at) = (0, 0);
        turn(&mut belt, &mut phase, &mut at, 40);
        assert_eq!(position(&belt, at), 20.0, "half a millimetre each");
        assert!((belt.speed - 500.0).abs() < 1e-9);
        turn(&mut belt, &mut phase, &mut at, -12);
        assert_eq!(position(&belt, at), 14.5, "back by twelve edges, the first of them where it turned");
        assert!(!belt.is_moving() && time_ms(&belt, 15.0).is_none(), "it moves away from what is ahead");
        assert!(time_ms(&belt, 10.0).unwrap() <= 21.0, "what it passed stays passed");
        turn(&mut belt, &mut phase, &mut at, 12);
        assert_eq!(position(&belt, at), 20.0);
        assert_eq!(belt.slips(), 0);
    }

    #[test]
    fn an_edge_that_trembles_under_its_sensor_is_no_motion() {
        let mut belt = two_channels();
        let (mut phase, mut at) = (0, 0);
        turn(&mut belt, &mut phase, &mut at, 20);
        for n in 0..200 {
            turn(&mut belt, &mut phase, &mut at, if n % 2 == 0 { -1 } else { 1 });
        }
        assert!((position(&belt, at) - 10.0).abs() <= 0.5, "{}", position(&belt, at));
        assert!(!belt.is_moving(), "{} mm/s", belt.speed);
    }

    #[test]
    fn a_lost_edge_is_counted() {
        let mut belt = EncoderBelt::new(&settings(true));
        for at in 1..4 {
            belt.feed(Channel::A, Edge { at: Timestamp(at), level: Level::High });
        }
        assert_eq!(belt.slips(), 2);
    }

    #[test]
    fn old_edges_are_forgotten() {
        let mut belt = EncoderBelt::new(&settings(false));
        for n in 1..=2 * HISTORY as u64 {
            belt.feed(Channel::A, Edge { at: Timestamp(n * MS), level: Level::High });
        }
        assert_eq!(belt.marks.len(), HISTORY);
        assert_eq!(belt.time_at(Millimetres(1.0)), Some(belt.marks[0].at), "long ago is all that is known");
    }
}
