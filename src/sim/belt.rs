//! The conveyor: when parts arrive, and the photo-eye that sees them.
//!
//! Arrivals are a pure function of the spacing and a seed. The photo-eye and the simulated camera share one list, as
//! both look at the same belt.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::clock::{Clock, Timestamp, WakeToken};
use crate::gpio::{Edge, Level, LineFault, TriggerInput};

/// How parts follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spacing {
    /// From one part to the next on average.
    pub mean: Duration,
    /// Each spacing lies uniformly within this fraction of the mean around it, 0..1.
    pub jitter: f64,
    /// This share of the parts follows its predecessor after [`crowded_gap`](Self::crowded_gap) only, 0..=1.
    pub crowded: f64,
    /// Spacing of a crowded part.
    pub crowded_gap: Duration,
}

impl Spacing {
    /// Parts at a rate, jittered by a fifth, none crowded: a belt fed by a machine.
    ///
    /// # Panics
    /// If the rate is not positive and finite (`check` refuses that).
    pub fn at_rate(parts_per_s: f64) -> Self {
        let mean = Duration::from_secs_f64(1.0 / parts_per_s);
        Self { mean, jitter: 0.2, crowded: 0.0, crowded_gap: mean }
    }
}

/// When each part passes the photo-eye.
///
/// The first passes one spacing after `start`, so that every thread is up before anything happens.
pub fn arrivals(start: Timestamp, parts: u64, spacing: Spacing, seed: u64) -> Arc<[Timestamp]> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut at = start;
    (0..parts)
        .map(|_| {
            // Both are drawn for every part, so that the share of crowded ones does not shift the other draws.
            let (crowd, stretch) = (rng.random::<f64>(), rng.random::<f64>());
            let gap = if crowd < spacing.crowded {
                spacing.crowded_gap
            } else {
                spacing.mean.mul_f64((1.0 + spacing.jitter * (2.0 * stretch - 1.0)).max(0.0))
            };
            at = at + gap;
            at
        })
        .collect()
}

/// A trigger input that knows its edges beforehand.
pub struct PhotoEye {
    edges: Vec<Edge>,
    next: usize,
}

impl PhotoEye {
    /// A photo-eye above a belt with these arrivals, oldest first; it tells when parts come and not when they have gone.
    pub fn new(arrivals: Arc<[Timestamp]>) -> Self {
        Self { edges: arrivals.iter().map(|at| Edge { at: *at, level: Level::High }).collect(), next: 0 }
    }

    /// The same, with parts that cover it for as long as `body`, which is less than from one to the next.
    pub fn covered(arrivals: &[Timestamp], body: Duration) -> Self {
        let edges =
            |at: &Timestamp| [(*at, Level::High), (*at + body, Level::Low)].map(|(at, level)| Edge { at, level });
        Self { edges: arrivals.iter().flat_map(edges).collect(), next: 0 }
    }
}

impl TriggerInput for PhotoEye {
    fn next_edge(&mut self, now: Timestamp) -> Result<Option<Edge>, LineFault> {
        let due = self.edges.get(self.next).filter(|edge| edge.at <= now);
        self.next += usize::from(due.is_some());
        Ok(due.copied())
    }

    fn next_at(&self) -> Option<Timestamp> {
        self.edges.get(self.next).map(|edge| edge.at)
    }

    fn is_exhausted(&self) -> bool {
        self.next == self.edges.len()
    }

    fn attach(&mut self, _clock: &Arc<dyn Clock>, _bell: &WakeToken) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_repeat_for_a_seed_and_keep_their_spacing() {
        let spacing = Spacing {
            mean: Duration::from_millis(100),
            jitter: 0.2,
            crowded: 0.05,
            crowded_gap: Duration::from_millis(15),
        };
        let start = Timestamp(7);
        let times = arrivals(start, 2000, spacing, 3);
        assert_eq!(times, arrivals(start, 2000, spacing, 3));
        assert_ne!(times, arrivals(start, 2000, spacing, 4));
        let gaps: Vec<_> = times.windows(2).map(|w| w[1].since(w[0])).collect();
        let crowded = gaps.iter().filter(|g| **g == spacing.crowded_gap).count();
        assert!((60..140).contains(&crowded), "{crowded} of 2000 are crowded");
        let (low, high) = (Duration::from_millis(80), Duration::from_millis(120));
        assert!(gaps.iter().all(|g| *g == spacing.crowded_gap || (low..=high).contains(g)));
    }

    #[test]
    fn edges_come_in_order_and_not_early() {
        let mut eye = PhotoEye::new([Timestamp(10), Timestamp(20)].into());
        assert_eq!(eye.next_edge(Timestamp(9)).unwrap(), None);
        assert_eq!(eye.next_edge(Timestamp(25)).unwrap().map(|e| e.at), Some(Timestamp(10)));
        assert_eq!(eye.next_edge(Timestamp(25)).unwrap().map(|e| e.at), Some(Timestamp(20)));
        assert!(eye.is_exhausted());
        assert_eq!(eye.next_edge(Timestamp(25)).unwrap(), None);
    }
}
