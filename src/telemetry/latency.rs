//! Latency by stage: histograms with fixed buckets, exact maxima, no allocation after the start.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

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
    /// The full view through the model.
    Full,
    /// Crops and zoomed views.
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
    pub fn record(&mut self, stage: Stage, took: Duration) {
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
            by_stage: Stage::ALL.into_iter().map(|stage| (stage.as_str(), stage_ms(stage))).collect(),
        }
    }
}

/// `latency_ms` of a `--json` object: milliseconds, null where nothing was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatencyMs {
    /// Median from frame to verdict.
    pub p50: Option<f64>,
    /// 99th percentile from frame to verdict.
    pub p99: Option<f64>,
    /// Each stage by its name.
    pub by_stage: BTreeMap<&'static str, Option<StageMs>>,
}

/// Percentiles of one stage in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StageMs {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// A histogram of durations.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; OCTAVES * PER_OCTAVE + 1].into(), count: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    /// Adds one measurement.
    pub fn record(&mut self, took: Duration) {
        self.buckets[bucket(took)] += 1;
        self.count += 1;
        self.max = self.max.max(took);
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest; zero when empty.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The duration that the fraction `q` (0..=1) of the measurements do not exceed, rounded up to a bucket's edge;
    /// `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let rank = ((q * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut below = 0;
        let bucket = self.buckets.iter().position(|n| {
            below += n;
            below >= rank
        });
        Some(bucket.map_or(self.max, |i| upper_edge(i).min(self.max)))
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
        let mut histogram = Histogram::default();
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
        let mut histogram = Histogram::default();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::from_secs(100_000));
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_nanos(FLOOR_NS)));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_secs(100_000)));
    }
}
