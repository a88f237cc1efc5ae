//! From edges to parts: debounce, holdoff, and a trigger that only counts time. Pure, around any input.
//!
//! | word | means |
//! |---|---|
//! | debounce | a level must hold this long before it counts |
//! | holdoff | a second edge within this time of the first belongs to the same part |
//!
//! Debouncing is done here and not by the kernel, whose debouncer stamps an edge when the level has settled, by a timer
//! of whole jiffies: late by the debounce time and up to 10 ms more, and a reject pulse by as much. Here the level
//! settles in its own time and the edge keeps the instant at which the interrupt saw it.

use std::sync::Arc;
use std::time::Duration;

use super::{Edge, Level, LineFault, TriggerInput};
use crate::clock::{Clock, Timestamp, WakeToken};

/// Decides which changes of a line count.
#[derive(Clone, Copy, Debug)]
pub struct Debounce {
    period: Duration,
    /// What the line has settled at; unknown before the first edge.
    settled: Option<Level>,
    /// A change that has not held long enough yet.
    pending: Option<Edge>,
}

impl Debounce {
    /// A level counts once it has held for `period`.
    pub fn new(period: Duration) -> Self {
        Self { period, settled: None, pending: None }
    }

    /// Takes an edge; returns an earlier one that had settled by then. A period of zero gives every edge at once.
    pub fn take(&mut self, edge: Edge) -> Option<Edge> {
        if self.period.is_zero() {
            return Some(edge);
        }
        let settled = self.due(edge.at);
        // The first edge says where the line was before.
        let before = *self.settled.get_or_insert(edge.level.inverted());
        self.pending = (edge.level != before).then_some(edge);
        settled
    }

    /// The change that has settled by `now`, if there is one; it is stamped with its beginning.
    pub fn due(&mut self, now: Timestamp) -> Option<Edge> {
        let edge = self.pending.take_if(|edge| edge.at + self.period <= now)?;
        self.settled = Some(edge.level);
        Some(edge)
    }

    /// When the pending change will have settled.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.pending.map(|edge| edge.at + self.period)
    }
}

/// An input whose levels count once they have held.
pub struct Debounced<I> {
    input: I,
    debounce: Debounce,
    /// The input's fault; what had settled before it still comes first.
    fault: Option<LineFault>,
}

impl<I: TriggerInput> Debounced<I> {
    /// Debounces `input`; a `period` of zero takes every edge.
    pub fn new(input: I, period: Duration) -> Self {
        Self { input, debounce: Debounce::new(period), fault: None }
    }
}

impl<I: TriggerInput> TriggerInput for Debounced<I> {
    fn next_edge(&mut self, now: Timestamp) -> Result<Option<Edge>, LineFault> {
        while self.fault.is_none() {
            match self.input.next_edge(now) {
                Ok(Some(edge)) => {
                    if let Some(settled) = self.debounce.take(edge) {
                        return Ok(Some(settled));
                    }
                }
                Ok(None) => break,
                Err(fault) => self.fault = Some(fault),
            }
        }
        // Every edge up to now is known: what has held until now has settled.
        match (self.debounce.due(now), &self.fault) {
            (Some(edge), _) => Ok(Some(edge)),
            (None, Some(fault)) => Err(fault.clone()),
            (None, None) => Ok(None),
        }
    }

    fn next_at(&self) -> Option<Timestamp> {
        self.input.next_at().into_iter().chain(self.debounce.next_at()).min()
    }

    fn is_exhausted(&self) -> bool {
        self.input.is_exhausted() && self.debounce.next_at().is_none()
    }

    fn attach(&mut self, clock: &Arc<dyn Clock>, token: &WakeToken) {
        self.input.attach(clock, token);
    }

    fn delay(&self) -> Duration {
        self.input.delay() + self.debounce.period
    }

    fn ends_with_camera(&self) -> bool {
        self.input.ends_with_camera()
    }
}

/// An input of which a rising edge within the holdoff of the last one that counted is the same part's.
pub struct HeldOff<I> {
    input: I,
    holdoff: Duration,
    last: Option<Timestamp>,
}

impl<I: TriggerInput> HeldOff<I> {
    /// Holds `input` off; a `holdoff` of zero takes every edge.
    pub fn new(input: I, holdoff: Duration) -> Self {
        Self { input, holdoff, last: None }
    }
}

impl<I: TriggerInput> TriggerInput for HeldOff<I> {
    fn next_edge(&mut self, now: Timestamp) -> Result<Option<Edge>, LineFault> {
        while let Some(edge) = self.input.next_edge(now)? {
            if edge.level == Level::Low {
                return Ok(Some(edge));
            }
            if self.last.is_none_or(|last| edge.at >= last + self.holdoff) {
                self.last = Some(edge.at);
                return Ok(Some(edge));
            }
        }
        Ok(None)
    }

    fn next_at(&self) -> Option<Timestamp> {
        self.input.next_at()
    }

    fn is_exhausted(&self) -> bool {
        self.input.is_exhausted()
    }

    fn attach(&mut self, clock: &Arc<dyn Clock>, token: &WakeToken) {
        self.input.attach(clock, token);
    }

    fn delay(&self) -> Duration {
        self.input.delay()
    }

    fn ends_with_camera(&self) -> bool {
        self.input.ends_with_camera()
    }
}

/// A part every so often, by the clock alone: for a belt without an eye whose parts keep their distance.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    next: Timestamp,
    period: Duration,
}

impl Interval {
    /// A part every `period`, the first one period after `start`.
    ///
    /// # Panics
    /// If the period is zero (`check` refuses that).
    pub fn new(start: Timestamp, period: Duration) -> Self {
        assert!(!period.is_zero(), "an interval of zero has no next part");
        Self { next: start + period, period }
    }
}

impl TriggerInput for Interval {
    fn next_edge(&mut self, now: Timestamp) -> Result<Option<Edge>, LineFault> {
        if self.next > now {
            return Ok(None);
        }
        let edge = Edge { at: self.next, level: Level::High };
        self.next = self.next + self.period;
        Ok(Some(edge))
    }

    fn next_at(&self) -> Option<Timestamp> {
        Some(self.next)
    }

    fn is_exhausted(&self) -> bool {
        false
    }

    fn attach(&mut self, _clock: &Arc<dyn Clock>, _bell: &WakeToken) {}

    fn ends_with_camera(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpio::recorded::Played;

    const MS: u64 = 1_000_000;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Edges at known milliseconds, high or low.
    fn script(edges: &[(u64, bool)]) -> Played {
        let level = |high| if high { Level::High } else { Level::Low };
        Played(edges.iter().map(|&(at, high)| Edge { at: Timestamp(at * MS), level: level(high) }).collect())
    }

    /// Asks whenever the input says so; what came as `(asked, stamped, high)` in milliseconds.
    fn play(mut input: impl TriggerInput) -> Vec<(u64, u64, bool)> {
        let mut came = Vec::new();
        while let Some(now) = input.next_at() {
            while let Some(edge) = input.next_edge(now).unwrap() {
                came.push((now.0 / MS, edge.at.0 / MS, edge.level == Level::High));
            }
        }
        assert!(input.is_exhausted());
        came
    }

    #[test]
    fn a_level_counts_once_it_has_held_and_is_stamped_with_its_beginning() {
        type Case<'a> = (&'a str, &'a [(u64, bool)], &'a [(u64, u64, bool)]);
        let cases: &[Case] = &[
            ("clean", &[(100, true), (150, false)], &[(105, 100, true), (155, 150, false)]),
            ("bounces on make", &[(100, true), (101, false), (103, true)], &[(108, 103, true)]),
            ("a spike is nothing", &[(100, true), (104, false), (200, true)], &[(205, 200, true)]),
            ("held exactly as long", &[(100, true), (105, false)], &[(105, 100, true), (110, 105, false)]),
            ("starts high", &[(100, false), (200, true)], &[(105, 100, false), (205, 200, true)]),
            ("two of a kind", &[(100, true), (102, true)], &[(107, 102, true)]),
        ];
        for (what, edges, expected) in cases {
            assert_eq!(play(Debounced::new(script(edges), ms(5))), *expected, "{what}");
        }
    }

    #[test]
    fn without_a_debounce_every_edge_counts_as_it_comes() {
        let edges = [(100, true), (100, true), (101, false), (102, false)];
        assert_eq!(play(Debounced::new(script(&edges), Duration::ZERO)), edges.map(|(at, high)| (at, at, high)));
    }

    #[test]
    fn edges_read_late_are_judged_by_their_stamps() {
        let mut input = Debounced::new(script(&[(100, true), (150, false), (152, true), (153, false)]), ms(5));
        let mut came = Vec::new();
        while let Some(edge) = input.next_edge(Timestamp(900 * MS)).unwrap() {
            came.push(edge.at.0 / MS);
        }
        assert_eq!(came, [100, 153]);
    }

    #[test]
    fn a_fault_comes_after_what_had_settled_before_it() {
        struct Broken;
        impl TriggerInput for Broken {
            fn next_edge(&mut self, _now: Timestamp) -> Result<Option<Edge>, LineFault> {
                Err(LineFault { line: "eye".to_owned(), message: "gone".to_owned() })
            }
            fn next_at(&self) -> Option<Timestamp> {
                None
            }
            fn is_exhausted(&self) -> bool {
                false
            }
            fn attach(&mut self, _clock: &Arc<dyn Clock>, _bell: &WakeToken) {}
        }
        let mut input = Debounced::new(Broken, ms(5));
        input.debounce.take(Edge { at: Timestamp(100 * MS), level: Level::High });
        assert!(matches!(input.next_edge(Timestamp(105 * MS)), Ok(Some(_))));
        assert!(input.next_edge(Timestamp(105 * MS)).is_err());
    }

    #[test]
    fn a_second_edge_within_the_holdoff_is_the_same_part() {
        let edges = [(100, true), (110, false), (130, true), (149, true), (150, true), (160, true)];
        let rising: Vec<_> =
            play(HeldOff::new(script(&edges), ms(50))).into_iter().filter(|(_, _, high)| *high).collect();
        assert_eq!(rising, [(100, 100, true), (150, 150, true)], "the holdoff is not prolonged by what it swallows");
        assert_eq!(play(HeldOff::new(script(&edges), Duration::ZERO)).len(), 6);
    }

    #[test]
    fn an_interval_keeps_its_beat_however_late_it_is_asked() {
        let mut input = Interval::new(Timestamp(7 * MS), ms(10));
        assert_eq!(input.next_edge(Timestamp(16 * MS)).unwrap(), None);
        let late: Vec<_> = std::iter::from_fn(|| input.next_edge(Timestamp(40 * MS)).unwrap()).collect();
        assert_eq!(late.iter().map(|e| e.at.0 / MS).collect::<Vec<_>>(), [17, 27, 37]);
        assert_eq!(input.next_at(), Some(Timestamp(47 * MS)));
    }
}
