//! Bounds of a view's evidences: they accuse without limit and acquit only a little.
//!
//! A weighted sum lets one evidence vouch for what another has never seen: before a lens cap a discriminant of whole
//! views said "24 deviations better than good", and the normality evidence could not make up for that. So
//!
//! * each evidence is bounded from below near what is usual of good parts;
//! * a view that is further from usual than any held-out good part by far is rejected, whatever the sum says. Two
//!   measures of normality are asked: the evidence itself, a mean of the largest cells, which a small defect reaches,
//!   and of the full image the mean over all cells, which only a view that is unusual everywhere reaches (a defect may
//!   fill a crop).
//!
//! ```text
//! floor   = median - 1.5 s                         s: half of what lies between the 16 and the 84 % quantile
//! u       = max((x - median) / (limit - median))   over both measures; limit = max + c (max - median)
//! score  >= threshold                              where u > 1
//! ```
//!
//! `c` is 1 for the full image's evidence and 2 for the crop's, whose crops are chosen for what is suspicious in
//! them. It is larger where fewer than 60 parts were held out, as the expected extremes of a normal distribution ask for:
//! the highest of a few is nearer to the usual than the highest of many. The mean's cells are in deviations of what is
//! usual at their places, so that a few of those over all cells are an exception however little the held-out parts spread.
//!
//! All of it is in the recipe's graph, behind the evidences (`graph.rs`).

use crate::inspect::Evidence;
use crate::inspect::recipe::{Standard, ViewConstants};
use crate::stats::quantile;

use super::weights::PER_VIEW;

/// How far below the median of good parts an evidence may acquit, in robust deviations.
const ACQUITS: f32 = 1.5;
/// Held-out parts whose highest is taken as it is.
const MANY: usize = 60;
/// A spread smaller than this share of the median is rounding: pictures that repeat each other spread by nothing.
const SPREAD_MIN: f32 = 0.05;
/// The mean over the map may rise by so many deviations of cells beyond the highest held-out one. Chosen: empty frames and
/// frames out of focus rise by 3.3 and more on the sets at hand, and the strangest of good castings, tiles and bottles by
/// less than 2 (`docs/EXPERIMENTS.md`).
const MEAN_RISE: f32 = 2.5;
/// The guarded score is above the threshold by this factor: rounding must not bring it below.
const SURELY: f32 = 1.01;

/// What the graph does to one view's raw evidences.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds {
    /// The least that each evidence says, in the order of [`super::weights`].
    pub(super) floor: [f32; PER_VIEW],
    /// Median over good parts of the normality evidence and of the mean over the normality map.
    pub(super) usual: [f32; 2],
    /// One over what lies between the median and the limit; 0 where nothing is too far.
    pub(super) inverse: [f32; 2],
    /// The least normality evidence where `u > 1` and the others are at their floors.
    pub(super) guard: f32,
    /// How much less that is for each unit of the other evidences above their floors.
    pub(super) spared: [f32; PER_VIEW - 1],
}

impl Bounds {
    /// Evidences pass as they are.
    pub(super) const NONE: Self = Self {
        floor: [f32::MIN; PER_VIEW],
        usual: [0.0; 2],
        inverse: [0.0; 2],
        guard: f32::MIN,
        spared: [0.0; PER_VIEW - 1],
    };

    /// From the raw evidences of a full image's held-out good parts and the means over their normality maps; without a
    /// [guard](Self::guarded).
    pub(super) fn of_full(goods: &[Evidence], means: &[f32]) -> Self {
        let (usual, inverse) = limited(means, 1.0, MEAN_RISE);
        let bounds = Self::of(goods, 1.0);
        Self { usual: [bounds.usual[0], usual], inverse: [bounds.inverse[0], inverse], ..bounds }
    }

    /// The same of crops.
    pub(super) fn of_zoom(goods: &[Evidence]) -> Self {
        Self::of(goods, 2.0)
    }

    fn of(goods: &[Evidence], beyond: f32) -> Self {
        let column = |value: fn(&Evidence) -> Option<f32>| goods.iter().filter_map(value).collect::<Vec<f32>>();
        let evidences = [column(|e| Some(e.normality)), column(|e| e.known), column(|e| e.overall)];
        let (usual, inverse) = limited(&evidences[0], beyond * few(goods.len()), 0.0);
        Self {
            floor: std::array::from_fn(|e| floor(&evidences[e])),
            usual: [usual, 0.0],
            inverse: [inverse, 0.0],
            ..Self::NONE
        }
    }

    /// The same, so that where `u > 1` the fused score reaches `threshold` though the other view acquits as much as it may,
    /// its weighted sum being `other`. A view that does not count guards nothing.
    pub(super) fn guarded(self, view: &ViewConstants, other: f32, fused: &Standard, threshold: f32) -> Self {
        let Standard { mean, std } = view.normality.image;
        if view.normality.weight <= 0.0 {
            return Self { inverse: [0.0; 2], ..self };
        }
        let normality = view.normality.weight * (self.floor[0] - mean) / std;
        let others = self.least(view) - normality + other;
        let scale = std / view.normality.weight;
        let known = view.known.map_or(0.0, |c| c.weight / c.image.std);
        let overall = view.overall.map_or(0.0, |c| c.weight / c.image.std);
        Self {
            guard: mean + scale * (fused.mean + fused.std * SURELY * threshold - others),
            spared: [scale * known, scale * overall],
            ..self
        }
    }

    /// The weighted sum of a view whose evidences all acquit as much as they may.
    pub(super) fn least(&self, view: &ViewConstants) -> f32 {
        let [normality, known, overall] = self.floor;
        view.weighted(&Evidence { normality, known: Some(known), overall: Some(overall) })
    }

    /// How far a view is from usual: more than 1 is too far.
    pub(super) fn unusual(&self, normality: f32, mean: f32) -> f32 {
        let far = |i: usize, v: f32| (v - self.usual[i]) * self.inverse[i];
        far(0, normality).max(far(1, mean))
    }

    /// What the graph says of raw evidences and the mean over the normality map.
    pub(super) fn apply(&self, e: &Evidence, mean: f32) -> Evidence {
        let [normality, known, overall] = self.floor;
        let (known, overall) = (e.known.map(|v| v.max(known)), e.overall.map(|v| v.max(overall)));
        let spared = |n: usize, v: Option<f32>| v.map_or(0.0, |v| self.spared[n] * (v - self.floor[n + 1]));
        let guard = self.guard - spared(0, known) - spared(1, overall);
        let is_far = self.unusual(e.normality, mean) > 1.0;
        let normality = e.normality.max(normality).max(if is_far { guard } else { f32::MIN });
        Evidence { normality, known, overall }
    }
}

/// The mean over a view's normality map, the first of its `maps` `[parts, cells]`.
pub(super) fn normality_mean(maps: &[f32], parts: usize) -> f32 {
    let cells = maps.len() / parts;
    maps[..cells].iter().sum::<f32>() / cells as f32
}

/// How far below the median of `values` an evidence may be; nothing where there are none.
pub(super) fn floor(values: &[f32]) -> f32 {
    if values.is_empty() {
        return f32::MIN;
    }
    let sorted = sorted(values);
    let spread = (quantile(&sorted, 0.84) - quantile(&sorted, 0.16)) / 2.0;
    quantile(&sorted, 0.5) - ACQUITS * spread
}

/// The median of `values`, and one over what lies between it and the limit: that is as far beyond the highest as that is
/// from the median, `beyond` times, and at least by `rise`.
fn limited(values: &[f32], beyond: f32, rise: f32) -> (f32, f32) {
    let sorted = sorted(values);
    let (usual, most) = (quantile(&sorted, 0.5), sorted[sorted.len() - 1]);
    let spread = (most - usual).max(SPREAD_MIN * usual.abs()).max(f32::EPSILON);
    (usual, 1.0 / (spread + (beyond * spread).max(rise)))
}

/// How much further the limit is for `n` held-out parts than for many.
fn few(n: usize) -> f32 {
    (highest(MANY) / highest(n.max(3))).max(1.0)
}

/// The expected highest of `n` values of a normal distribution, in deviations: Blom, "Statistical Estimates and
/// Transformed Beta-Variables" (1958).
fn highest(n: usize) -> f32 {
    let above = 0.625 / (n as f64 + 0.25);
    super::promise::normal_quantile(above) as f32
}

fn sorted(values: &[f32]) -> Vec<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inspect::recipe::{EvidenceConstants, ImageClassifierConstants};

    fn good(i: usize) -> Evidence {
        let at = |step: usize| ((i * step) % 60) as f32 / 10.0;
        Evidence { normality: 2.0 + at(7), known: Some(at(11) - 3.0), overall: Some(at(13)) }
    }

    fn constants(goods: &[Evidence], weights: [f32; PER_VIEW]) -> ViewConstants {
        let image = |value: fn(&Evidence) -> f32| Standard::of(&goods.iter().map(value).collect::<Vec<_>>());
        let cell = Standard { mean: 0.0, std: 1.0 };
        let known = EvidenceConstants { image: image(|e| e.known.unwrap()), cell, weight: weights[1] };
        ViewConstants {
            normality: EvidenceConstants { image: image(|e| e.normality), cell, weight: weights[0] },
            known: Some(known),
            overall: Some(ImageClassifierConstants { image: image(|e| e.overall.unwrap()), weight: weights[2] }),
            sum: cell,
        }
    }

    #[test]
    fn quantiles_and_extremes_by_the_book() {
        assert_eq!([0.0, 0.5, 1.0].map(|q| quantile(&[1.0, 2.0, 4.0], q)), [1.0, 2.0, 4.0]);
        assert_eq!(quantile(&[1.0, 2.0], 0.25), 1.25);
        // Harter, "Expected Values of Normal Order Statistics", Biometrika 48 (1961).
        for (n, expected) in [(5, 1.163), (10, 1.539), (50, 2.249), (100, 2.508)] {
            assert!((highest(n) - expected).abs() < 0.03, "{n}: {}", highest(n));
        }
    }

    #[test]
    fn what_is_usual_passes_as_it_is_and_good_parts_are_never_too_far() {
        let goods: Vec<Evidence> = (0..60).map(good).collect();
        let means: Vec<f32> = (0..60u8).map(|i| f32::from(i % 7) / 7.0).collect();
        let bounds = Bounds::of_full(&goods, &means);
        for (e, &mean) in goods.iter().zip(&means) {
            assert!(bounds.unusual(e.normality, mean) <= 0.5 + 1e-5);
        }
        let middle = Evidence { normality: 5.0, known: Some(0.0), overall: Some(3.0) };
        assert_eq!(bounds.apply(&middle, 0.5), middle);
        assert_eq!(Bounds::NONE.apply(&good(3), 9e9), good(3));
        let twins = Bounds::of_full(&[middle; 9], &[0.5; 9]);
        assert!(twins.unusual(5.0 + 1e-3, 0.5 + 1e-3) < 1.0, "rounding is no exception: {twins:?}");
        assert!(few(5) > 1.8 && few(60) == 1.0 && few(500) == 1.0, "five parts do not show the highest of many");
        let local = Bounds::of_zoom(&goods);
        assert!(local.unusual(5.0, 1e9) < 1.0, "the mean does not count");
    }

    proptest! {
        /// Whatever the other evidences and the other view say, a view that is too far from usual is a reject.
        #[test]
        fn no_evidence_vouches_for_a_view_that_is_unlike_all_good_ones(
            weights in proptest::array::uniform6(0.02f32..3.0),
            (known, overall) in (-1e4f32..50.0, -1e4f32..50.0),
            other in proptest::array::uniform3(-1e4f32..50.0),
            over in 1.001f32..20.0,
            by_mean in any::<bool>(),
            threshold in 1.0f32..9.0,
        ) {
            let goods: Vec<Evidence> = (0..60).map(good).collect();
            let means: Vec<f32> = (0..60u8).map(|i| f32::from(i % 7) / 7.0).collect();
            let bounds = Bounds::of_full(&goods, &means);
            let bounded: Vec<Evidence> = goods.iter().zip(&means).map(|(e, &m)| bounds.apply(e, m)).collect();
            let [a, b, c, d, e, f] = weights;
            let views = [constants(&bounded, [a, b, c]), constants(&bounded, [d, e, f])];
            let sums: Vec<f32> = bounded.iter().map(|e| views[0].weighted(e) + views[1].weighted(e)).collect();
            let fused = Standard::of(&sums);
            let [full, zoom] = [0, 1]
                .map(|v: usize| bounds.clone().guarded(&views[v], bounds.least(&views[1 - v]), &fused, threshold));
            let far = |i: usize| bounds.usual[i] + over / bounds.inverse[i];
            let (normality, mean) = if by_mean { (-50.0, far(1)) } else { (far(0), 0.0) };
            let strange = Evidence { normality, known: Some(known), overall: Some(overall) };
            let [normality, known, overall] = other;
            let plain = Evidence { normality, known: Some(known), overall: Some(overall) };
            let score = |e: &Evidence, z: &Evidence| fused.z(views[0].weighted(e) + views[1].weighted(z));
            prop_assert!(score(&full.apply(&strange, mean), &zoom.apply(&plain, 0.0)) >= threshold);
            prop_assert!(score(&full.apply(&plain, 0.0), &zoom.apply(&strange, mean)) >= threshold);
        }
    }
}
