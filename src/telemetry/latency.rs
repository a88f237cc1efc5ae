//! Latency by stage: histograms with fixed buckets, exact maxima, no allocation after the start. Recorded by one thread,
//! read by any.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets per doubling: a reported percentile is at most 1/16 above the true one.
const PER_OCTAVE: usize = 16;
/// Below this, one bucket; a microsecond is nothing to any stage.
const FLOOR_NS: u64 = 1_000;
/// 1 µs times 2^27 is 134 s; slower goes to the last bucket and keeps its true maximum.
const OCTAVES: usize = 27;

/// Where the time of a part goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Frame taken from the camera to its inspection's start.
    Queue,
    /// Frame to the model's input.
    Convert,
    /// The full image through the model.
    Full,
    /// The crops through the model.
    Zoom,
    /// The whole inspection as its own clock measured it.
    Inspect,
    /// Frame taken from the camera to the verdict: the number that has to fit before the deadline.
    Verdict,
    /// Deadline to the rise of the line; has to stay inside the window.
    Pulse,
}

impl Stage {
    /// Every stage, in the order of the data flow.
    pub const ALL: [Self; 7] =
        [Self::Queue, Self::Convert, Self::Full, Self::Zoom, Self::Inspect, Self::Verdict, Self::Pulse];

    /// The key in `--json` output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Convert => "convert",
            Self::Full => "full",
            Self::Zoom => "zoom",
            Self::Inspect => "inspect",
            Self::Verdict => "verdict",
            Self::Pulse => "pulse",
        }
    }
}

/// One histogram for each stage.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    stages: [Histogram; Stage::ALL.len()],
}

impl Latency {
    /// Adds one measurement.
    pub fn record(&self, stage: Stage, took: Duration) {
        self.stages[stage as usize].record(took);
    }

    /// The histogram of a stage.
    pub fn of(&self, stage: Stage) -> &Histogram {
        &self.stages[stage as usize]
    }

    /// Percentiles as `--json` prints them; the overall ones are those of [`Stage::Verdict`].
    pub fn summary(&self) -> LatencyMs {
        let stage_ms = |stage| self.of(stage).p50_p99_ms().map(|(p50, p99)| StageMs { p50, p99 });
        let total = stage_ms(Stage::Verdict);
        LatencyMs {
            p50: total.map(|t| t.p50),
            p99: total.map(|t| t.p99),
            by_stage: Stage::ALL.into_iter().map(|stage| (stage.as_str().to_owned(), stage_ms(stage))).collect(),
        }
    }
}

/// `latency_ms` of a `--json` object: milliseconds, null where nothing was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyMs {
    /// Median from frame to verdict.
    pub p50: Option<f64>,
    /// 99th percentile from frame to verdict.
    pub p99: Option<f64>,
    /// Each stage by its name.
    pub by_stage: BTreeMap<String, Option<StageMs>>,
}

/// Percentiles of one stage in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageMs {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// A histogram of durations.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    count: AtomicU64,
    max_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = std::iter::repeat_with(AtomicU64::default).take(OCTAVES * PER_OCTAVE + 1).collect();
        Self { buckets, count: AtomicU64::new(0), max_ns: AtomicU64::new(0) }
    }
}

impl Clone for Histogram {
    fn clone(&self) -> Self {
        let copy = |n: &AtomicU64| AtomicU64::new(n.load(Ordering::Relaxed));
        Self { buckets: self.buckets.iter().map(copy).collect(), count: copy(&self.count), max_ns: copy(&self.max_ns) }
    }
}

impl Histogram {
    /// Adds one measurement.
    pub fn record(&self, took: Duration) {
        self.buckets[bucket(took)].fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The longest; zero when empty.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns.load(Ordering::Relaxed))
    }

    /// The duration that the fraction `q` (0..=1) of the measurements do not exceed, rounded up to a bucket's edge;
    /// `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((q * count as f64).ceil() as u64).clamp(1, count);
        let mut below = 0;
        let bucket = self.buckets.iter().position(|n| {
            below += n.load(Ordering::Relaxed);
            below >= rank
        });
        let max = self.max();
        Some(bucket.map_or(max, |i| upper_edge(i).min(max)))
    }

    /// Median and 99th percentile in milliseconds; `None` when empty.
    pub fn p50_p99_ms(&self) -> Option<(f64, f64)> {
        let ms = |q| self.quantile(q).map(|d| d.as_secs_f64() * 1e3);
        ms(0.5).zip(ms(0.99))
    }
}

fn bucket(took: Duration) -> usize {
    let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    if ns <= FLOOR_NS {
        return 0;
    }
    let octaves = (ns as f64 / FLOOR_NS as f64).log2() * PER_OCTAVE as f64;
    (octaves.ceil() as usize).min(OCTAVES * PER_OCTAVE)
}

fn upper_edge(bucket: usize) -> Duration {
    if bucket == OCTAVES * PER_OCTAVE {
        return Duration::MAX;
    }
    Duration::from_nanos((FLOOR_NS as f64 * (bucket as f64 / PER_OCTAVE as f64).exp2()).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        for (q, truth_ms) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let got = histogram.quantile(q).unwrap().as_secs_f64() * 1e3;
            assert!((truth_ms * 0.999..=truth_ms * 1.0625).contains(&got), "q {q}: {got} ms for {truth_ms} ms");
        }
        assert_eq!(histogram.max(), Duration::from_secs(1));
    }

    #[test]
    fn extremes_have_a_bucket() {
        let histogram = Histogram::default();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::from_secs(100_000));
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_nanos(FLOOR_NS)));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_secs(100_000)));
    }
}
