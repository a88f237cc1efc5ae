//! Figures of merit: ranking (AUROC, average precision) and rates at a threshold.
//!
//! Pure functions over scores; higher is more anomalous, a part is rejected when its score is at or above the
//! threshold. A figure that the data cannot give (no defective part, no mask) is `None`, never 0 or 0.5.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats;

/// Area under the ROC curve: the chance that a defective part scores above a good one, ties counted as one half.
///
/// `None` when either list is empty. O(n log n).
///
/// # Panics
/// If a score is NaN.
pub fn auroc(good: &[f32], bad: &[f32]) -> Option<f64> {
    if good.is_empty() || bad.is_empty() {
        return None;
    }
    // The rank-sum form: twice the number of pairs won, counted tie group by tie group from the lowest score.
    let (mut twice_won, mut good_below) = (0u128, 0u128);
    for tie in tie_groups(good, bad) {
        twice_won += tie.bad * (2 * good_below + tie.good);
        good_below += tie.good;
    }
    Some(twice_won as f64 / (2.0 * good.len() as f64 * bad.len() as f64))
}

/// Average precision: the precision at each distinct threshold, weighted by the recall that it adds.
///
/// Defective parts are what is looked for. Not interpolated; `None` without a defective part.
///
/// # Panics
/// If a score is NaN.
pub fn average_precision(good: &[f32], bad: &[f32]) -> Option<f64> {
    if bad.is_empty() {
        return None;
    }
    let (mut found, mut false_alarms, mut area) = (0.0, 0.0, 0.0);
    for tie in tie_groups(good, bad).into_iter().rev() {
        found += tie.bad as f64;
        false_alarms += tie.good as f64;
        area += tie.bad as f64 * found / (found + false_alarms);
    }
    Some(area / bad.len() as f64)
}

/// How many good and bad scores share one value.
struct Tie {
    good: u128,
    bad: u128,
}

/// Equal scores together, lowest first. 0 and -0 are equal.
fn tie_groups(good: &[f32], bad: &[f32]) -> Vec<Tie> {
    let mut scores: Vec<(f32, bool)> = good.iter().map(|&s| (s, false)).chain(bad.iter().map(|&s| (s, true))).collect();
    assert!(scores.iter().all(|(s, _)| !s.is_nan()), "a score is NaN");
    scores.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    scores
        .chunk_by(|a, b| a.0 == b.0)
        .map(|tie| {
            let bad = tie.iter().filter(|(_, is_bad)| *is_bad).count() as u128;
            Tie { good: tie.len() as u128 - bad, bad }
        })
        .collect()
}

/// Share of the defective parts that would pass: scores below `threshold`. `None` when there are none.
pub fn escape(bad: &[f32], threshold: f64) -> Option<f64> {
    share(bad, |s| s < threshold)
}

/// Share of the good parts that would be rejected: scores at or above `threshold`. `None` when there are none.
pub fn overkill(good: &[f32], threshold: f64) -> Option<f64> {
    share(good, |s| s >= threshold)
}

/// Share of the defective parts that would pass if the threshold were as low as `overkill` of these good parts allows.
///
/// Compares scores at equal overkill, wherever their own thresholds lie; it looks at the test's good parts, so it says
/// what a score could do and not what it will. `None` when either list is empty.
pub fn escape_at(good: &[f32], bad: &[f32], overkill: f64) -> Option<f64> {
    let mut sorted = good.to_vec();
    let allowed = (overkill * good.len() as f64) as usize;
    // The highest good score that must pass; what ties with it passes, too.
    let passing = good.len().checked_sub(allowed + 1).and_then(|last| stats::nth(&mut sorted, last)).map(f64::from);
    let escape = share(bad, |s| passing.is_some_and(|passing| s <= passing));
    escape.filter(|_| !good.is_empty())
}

fn share(scores: &[f32], is_counted: impl Fn(f64) -> bool) -> Option<f64> {
    let counted = scores.iter().filter(|&&s| is_counted(f64::from(s))).count();
    (!scores.is_empty()).then(|| counted as f64 / scores.len() as f64)
}

/// The figures of one kind of defect, against all good test parts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KindMetrics {
    /// Test pictures of this kind.
    pub count: usize,
    /// AUROC of this kind alone; `None` without good test pictures.
    pub auroc_image: Option<f64>,
    /// Share of this kind that would pass.
    pub escape: Option<f64>,
}

/// The table of kinds; `bad` is (kind, score) of every defective test picture.
///
/// # Panics
/// If a score is NaN.
pub fn by_kind<'a>(
    good: &[f32],
    bad: impl IntoIterator<Item = (&'a str, f32)>,
    threshold: f64,
) -> BTreeMap<String, KindMetrics> {
    let mut scores: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for (kind, score) in bad {
        scores.entry(kind.to_owned()).or_default().push(score);
    }
    let figures =
        |s: Vec<f32>| KindMetrics { count: s.len(), auroc_image: auroc(good, &s), escape: escape(&s, threshold) };
    scores.into_iter().map(|(kind, s)| (kind, figures(s))).collect()
}

/// How many leading bits of a score tell pixels apart: sign, exponent and 11 bits of mantissa.
const BIN_BITS: u32 = 20;

/// Pixel AUROC over any number of pictures in 16 MiB.
///
/// Pixels are counted in 2^20 bins by the leading bits of their score, so scores that differ by less than 1 part in
/// 2,048 may count as ties; no range has to be known beforehand. [`PixelAuroc::error_bound`] says what that can have
/// cost.
#[derive(Clone)]
pub struct PixelAuroc {
    good: Box<[u64]>,
    bad: Box<[u64]>,
}

impl Default for PixelAuroc {
    fn default() -> Self {
        let bins = || vec![0; 1 << BIN_BITS].into_boxed_slice();
        Self { good: bins(), bad: bins() }
    }
}

impl PixelAuroc {
    /// Counts one picture: `map` and `is_bad` are `[height, width]` of the same size.
    ///
    /// # Panics
    /// If the sizes differ or a score is NaN.
    pub fn add(&mut self, map: &[f32], is_bad: &[bool]) {
        assert_eq!(map.len(), is_bad.len(), "a map and its mask");
        for (&score, &is_bad) in map.iter().zip(is_bad) {
            let bins = if is_bad { &mut self.bad } else { &mut self.good };
            bins[bin(score)] += 1;
        }
    }

    /// The area so far; `None` before both a good and a defective pixel were counted.
    pub fn auroc(&self) -> Option<f64> {
        let pairs = self.pairs()?;
        let (mut won, mut good_below) = (0.0, 0.0);
        for (&good, &bad) in self.good.iter().zip(&self.bad) {
            won += bad as f64 * (good_below + 0.5 * good as f64);
            good_below += good as f64;
        }
        Some(won / pairs)
    }

    /// The most by which [`PixelAuroc::auroc`] can differ from the exact area; `None` where that is.
    pub fn error_bound(&self) -> Option<f64> {
        let tied: f64 = self.good.iter().zip(&self.bad).map(|(&g, &b)| 0.5 * g as f64 * b as f64).sum();
        Some(tied / self.pairs()?)
    }

    fn pairs(&self) -> Option<f64> {
        let count = |bins: &[u64]| bins.iter().sum::<u64>() as f64;
        let pairs = count(&self.good) * count(&self.bad);
        (pairs > 0.0).then_some(pairs)
    }
}

/// A bin number that grows with the score: the float's bits, made monotonic, cut to the leading ones.
fn bin(score: f32) -> usize {
    assert!(!score.is_nan(), "a pixel's score is NaN");
    let bits = (score + 0.0).to_bits(); // -0 becomes 0
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    (ordered >> (32 - BIN_BITS)) as usize
}

/// Arithmetic mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    stats::mean(values.iter().copied())
}

/// Sample standard deviation, over n - 1; `None` of fewer than two.
pub fn std(values: &[f64]) -> Option<f64> {
    stats::deviation(values.iter().copied())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    /// The definition, pair by pair.
    fn auroc_by_pairs(good: &[f32], bad: &[f32]) -> f64 {
        let won = |b: f32| -> f64 {
            good.iter()
                .map(|&g| {
                    if b > g {
                        1.0
                    } else if b == g {
                        0.5
                    } else {
                        0.0
                    }
                })
                .sum()
        };
        bad.iter().map(|&b| won(b)).sum::<f64>() / (good.len() * bad.len()) as f64
    }

    /// The definition, threshold by threshold.
    fn average_precision_by_thresholds(good: &[f32], bad: &[f32]) -> f64 {
        let mut thresholds: Vec<f32> = good.iter().chain(bad).copied().collect();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let above = |s: &[f32], t: f32| s.iter().filter(|&&v| v >= t).count() as f64;
        let (mut area, mut recall_before) = (0.0, 0.0);
        for t in thresholds {
            let recall = above(bad, t) / bad.len() as f64;
            area += (recall - recall_before) * above(bad, t) / (above(bad, t) + above(good, t));
            recall_before = recall;
        }
        area
    }

    #[test]
    fn auroc_by_hand() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0]), Some(1.0));
        assert_eq!(auroc(&[3.0, 4.0], &[1.0, 2.0]), Some(0.0));
        assert_eq!(auroc(&[5.0; 3], &[5.0; 7]), Some(0.5));
        // Pairs won by 2: over 1; by 3: over 1 and 2; ties: 2 with 2. (1 + 0.5 + 2) of 4.
        assert_eq!(auroc(&[1.0, 2.0], &[2.0, 3.0]), Some(3.5 / 4.0));
        assert_eq!(auroc(&[0.0], &[-0.0]), Some(0.5));
        assert_eq!(auroc(&[f32::NEG_INFINITY], &[f32::INFINITY]), Some(1.0));
        assert_eq!(auroc(&[], &[1.0]), None);
        assert_eq!(auroc(&[1.0], &[]), None);
    }

    #[test]
    fn escape_at_an_overkill_by_hand() {
        let good: Vec<f32> = (1..=100).map(|i| i as f32).collect();
        let bad = [50.0, 98.5, 99.0, 99.5, 100.5];
        // None of the goods may be rejected: all up to 100 pass; one in a hundred: all up to 99; two: up to 98.
        for (overkill, escape) in [(0.0, 0.8), (0.01, 0.6), (0.02, 0.2), (1.0, 0.0)] {
            assert_eq!(escape_at(&good, &bad, overkill), Some(escape), "{overkill}");
        }
        assert_eq!(escape_at(&[], &bad, 0.0), None);
        assert_eq!(escape_at(&good, &[], 0.0), None);
    }

    #[test]
    #[should_panic(expected = "NaN")]
    fn a_nan_score_is_no_score() {
        auroc(&[f32::NAN], &[1.0]);
    }

    #[test]
    fn average_precision_by_hand() {
        assert_eq!(average_precision(&[1.0, 2.0], &[3.0, 4.0]), Some(1.0));
        // From the top: bad (1/1), good, bad (2/3): the mean of 1 and 2/3.
        assert!(close(average_precision(&[3.0, 1.0], &[4.0, 2.0]).unwrap(), (1.0 + 2.0 / 3.0) / 2.0));
        // All equal: the share of bad ones.
        assert_eq!(average_precision(&[1.0; 3], &[1.0]), Some(0.25));
        assert_eq!(average_precision(&[], &[1.0]), Some(1.0));
        assert_eq!(average_precision(&[1.0], &[]), None);
    }

    #[test]
    fn rates_at_the_threshold_itself() {
        // A score equal to the threshold is rejected.
        assert_eq!(escape(&[1.0, 2.0, 3.0, 4.0], 2.0), Some(0.25));
        assert_eq!(overkill(&[1.0, 2.0, 3.0, 4.0], 2.0), Some(0.75));
        assert_eq!((escape(&[], 1.0), overkill(&[], 1.0)), (None, None));
    }

    #[test]
    fn kinds_stand_apart() {
        let table = by_kind(&[0.0, 1.0], [("dent", 2.0), ("scratch", 0.5), ("dent", 0.5)], 1.5);
        assert_eq!(table["dent"], KindMetrics { count: 2, auroc_image: Some(0.75), escape: Some(0.5) });
        assert_eq!(table["scratch"], KindMetrics { count: 1, auroc_image: Some(0.5), escape: Some(1.0) });
        assert_eq!(table.len(), 2);
        assert_eq!(by_kind(&[], [("dent", 2.0)], 1.5)["dent"].auroc_image, None);
    }

    #[test]
    fn pixels_by_hand() {
        let mut pixels = PixelAuroc::default();
        assert_eq!((pixels.auroc(), pixels.error_bound()), (None, None));
        pixels.add(&[1.0, 2.0, 2.0, 3.0], &[false, false, true, true]);
        assert_eq!(pixels.auroc(), Some(3.5 / 4.0));
        // The tie of 2 with 2 is one pair of four.
        assert_eq!(pixels.error_bound(), Some(0.5 / 4.0));
        pixels.add(&[0.0, -1.0], &[false, false]);
        assert_eq!(pixels.auroc(), Some(7.5 / 8.0));
    }

    #[test]
    fn bins_follow_the_order_of_scores() {
        let ordered =
            [f32::NEG_INFINITY, -1e30, -2.0, -1.0, -1e-30, 0.0, 1e-30, 0.5, 1.0, 1.001, 2.0, 1e30, f32::INFINITY];
        assert!(ordered.windows(2).all(|w| bin(w[0]) < bin(w[1])));
        assert_eq!(bin(0.0), bin(-0.0));
    }

    #[test]
    fn mean_and_deviation() {
        assert_eq!((mean(&[]), std(&[])), (None, None));
        assert_eq!((mean(&[3.0]), std(&[3.0])), (Some(3.0), None));
        assert_eq!((mean(&[1.0, 2.0, 3.0]), std(&[1.0, 2.0, 3.0])), (Some(2.0), Some(1.0)));
    }

    /// Few distinct values, so that ties are common.
    fn scores() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec((-6i8..6).prop_map(|v| f32::from(v) * 0.25), 1..40)
    }

    proptest! {
        #[test]
        fn auroc_is_its_definition(good in scores(), bad in scores()) {
            prop_assert!(close(auroc(&good, &bad).unwrap(), auroc_by_pairs(&good, &bad)));
        }

        #[test]
        fn average_precision_is_its_definition(good in scores(), bad in scores()) {
            let area = average_precision(&good, &bad).unwrap();
            prop_assert!(close(area, average_precision_by_thresholds(&good, &bad)));
        }
    }

    proptest! {
        // Each case clears 16 MiB.
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn pixel_auroc_is_within_its_bound(
            pixels in prop::collection::vec((-1e3f32..1e3, any::<bool>()), 2..300),
        ) {
            let (map, is_bad): (Vec<f32>, Vec<bool>) = pixels.iter().copied().unzip();
            let of = |wanted| pixels.iter().filter(|p| p.1 == wanted).map(|p| p.0).collect::<Vec<f32>>();
            let mut streamed = PixelAuroc::default();
            streamed.add(&map, &is_bad);
            match auroc(&of(false), &of(true)) {
                None => prop_assert_eq!(streamed.auroc(), None),
                Some(exact) => {
                    let error = (streamed.auroc().unwrap() - exact).abs();
                    prop_assert!(error <= streamed.error_bound().unwrap() + 1e-12);
                    prop_assert!(error < 0.01);
                }
            }
        }
    }
}
