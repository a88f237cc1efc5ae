//! What the full image looks like: known defects that are nowhere in particular, a shade, a blur, a wrong finish, and
//! small ones by what they do to the features' means.
//!
//! Means and mean squares of every feature channel over the view, and for each known bad one linear function of them, of
//! which the largest counts. Two things are added up in it, each in deviations of good parts. One is what all bads of the
//! training run have in common, by logistic regression against the good ones (a handful of bads and hundreds of channels: the
//! penalty is strong, and both classes weigh the same). The other is what this bad has, by its linear discriminant against
//! the good parts' covariance (exemplar LDA: Hariharan, Malik and Ramanan 2012): good parts are many and say in which
//! directions parts differ anyway, one bad part says which way it lies. Ten known bads, added to the full image's
//! normality, float features: magnetic tiles .868 with neither, .895 with the first, .917 with both; castings .958,
//! .987, .996 (`docs/EXPERIMENTS.md`).

use super::features::{FeatureGraph, QuantizedFeatures};
use super::linear::{cholesky, solve};

/// How much the examples weigh against the penalty `|w|²/2` (scikit-learn's `C`).
const TRUST: f64 = 0.01;
/// What is added to the covariance of standardised features, in features for each good view: the fewer good parts, the
/// less is known of how they differ. Best of .03 to 3 times the unit matrix for 280 good parts (.1), 100 (.3) and 40 (1 to
/// 3), 384 features.
const RIDGE: f64 = 0.07;
/// Pooled features further out than this many deviations of good parts tell no more.
pub const FAR: f32 = 8.0;
/// Newton's method settles within a few steps; more than this never helps.
const STEPS: usize = 25;

/// Linear functions of a view's pooled features.
#[derive(Clone, Debug)]
pub struct ImageClassifier {
    /// What is usual of each pooled feature: `[2·channels]`, means first, then mean squares.
    pub mean: Vec<f32>,
    /// One over its deviation over good parts, `[2·channels]`.
    pub gain: Vec<f32>,
    /// One for each known bad; the largest counts.
    pub odds: Vec<Odds>,
}

/// A linear function.
#[derive(Clone, Debug)]
pub struct Odds {
    /// Weight of each pooled feature, once standardised and clipped to ±[`FAR`].
    pub weight: Vec<f32>,
    /// Added to the sum.
    pub bias: f32,
}

/// What whole views of known bads pool to, with each bad's number.
pub(super) type Pooled = Vec<(usize, Vec<f32>)>;

impl ImageClassifier {
    /// Fits to views of good and of known bad parts, at least one of each, the latter with the bad's number.
    ///
    /// Deterministic. Cost: `(2·channels)³` for each of a few Newton steps.
    ///
    /// # Panics
    /// If either is empty.
    pub(super) fn fit(space: &FeatureGraph, good: &[QuantizedFeatures], bad: &[(usize, QuantizedFeatures)]) -> Self {
        let goods: Vec<_> = good.iter().map(|v| pooled(space, v)).collect();
        Self::fit_pooled(&goods, &[bad.iter().map(|(b, v)| (*b, pooled(space, v))).collect()])
    }

    /// As [`ImageClassifier::fit`], of views that are [`pooled`] already, for the bads of each training run by themselves: what all have in
    /// common is less of the old ones. Two blotches, four pictures of the second (`tests/adapt.rs`, the crop's
    /// AUROC of the first): .81 before, .69 with one function of all.
    ///
    /// # Panics
    /// If there are no goods, or no bads in a training run.
    pub(super) fn fit_pooled(goods: &[Vec<f32>], runs: &[Pooled]) -> Self {
        assert!(!goods.is_empty() && runs.iter().all(|bads| !bads.is_empty()), "two classes are needed");
        let n = goods.len() as f64;
        let moments = |i: usize| {
            let mean = goods.iter().map(|g| f64::from(g[i])).sum::<f64>() / n;
            let var = goods.iter().map(|g| (f64::from(g[i]) - mean).powi(2)).sum::<f64>() / n;
            (mean as f32, (1.0 / var.sqrt().max(1e-4)) as f32)
        };
        let (mean, gain) = (0..goods[0].len()).map(moments).unzip();
        let mut overall = Self { mean, gain, odds: Vec::new() };
        let goods: Vec<_> = goods.iter().map(|view| overall.standardised(view)).collect();
        let factor = cholesky(&covariance(&goods), goods[0].len());
        for bads in runs {
            let bads: Vec<_> = bads.iter().map(|(b, view)| (*b, overall.standardised(view))).collect();
            overall.odds.extend(odds(&goods, &factor, &bads));
        }
        overall
    }

    /// How bad a view looks to the function that finds most: the sum of two, each in deviations of good parts.
    pub fn score(&self, space: &FeatureGraph, codes: &[u8]) -> f32 {
        self.of_pooled(&pooled(space, codes))
    }

    fn of_pooled(&self, pooled: &[f32]) -> f32 {
        let z = self.standardised(pooled);
        let score = |o: &Odds| o.bias + z.iter().zip(&o.weight).map(|(&z, &w)| z as f32 * w).sum::<f32>();
        self.odds.iter().map(score).fold(f32::MIN, f32::max)
    }

    fn standardised(&self, pooled: &[f32]) -> Vec<f64> {
        let z = |((&p, &m), &g): ((&f32, &f32), &f32)| f64::from(((p - m) * g).clamp(-FAR, FAR));
        pooled.iter().zip(&self.mean).zip(&self.gain).map(z).collect()
    }
}

/// Mean and mean square of each channel over a view: `[2·channels]`.
pub(super) fn pooled(space: &FeatureGraph, codes: &[u8]) -> Vec<f32> {
    let c = space.channels;
    let zero = i64::from(space.quant.zero_point);
    let mut sums = vec![[0i64; 2]; c];
    for cell in codes.chunks_exact(c) {
        for (s, &code) in sums.iter_mut().zip(cell) {
            let v = i64::from(code) - zero;
            *s = [s[0] + v, s[1] + v * v];
        }
    }
    let (cells, scale) = (space.cells() as f64, f64::from(space.quant.scale));
    let means = sums.iter().map(|s| (s[0] as f64 / cells * scale) as f32);
    means.chain(sums.iter().map(|s| (s[1] as f64 / cells * scale * scale) as f32)).collect()
}

/// The covariance of standardised rows, `[features, features]`, with a ridge: the lower half.
fn covariance(rows: &[Vec<f64>]) -> Vec<f64> {
    let (d, n) = (rows[0].len(), rows.len() as f64);
    let mut covariance = vec![0.0; d * d];
    for row in rows {
        for (i, x) in row.iter().enumerate() {
            covariance[i * d..=i * d + i].iter_mut().zip(row).for_each(|(sum, y)| *sum += x * y / n);
        }
    }
    (0..d).for_each(|i| covariance[i * d + i] += RIDGE * d as f64 / n);
    covariance
}

/// A training run's functions: what its bads have in common, and what each has, in deviations of good parts; each bad's views
/// count as their mean. `factor` is the Cholesky factor of the goods' [`covariance`].
fn odds(goods: &[Vec<f64>], factor: &[f64], bads: &[(usize, Vec<f64>)]) -> Vec<Odds> {
    let views: Vec<_> = bads.iter().map(|(_, view)| view.clone()).collect();
    let common = logistic(goods, &views);
    let d = common.len() - 1;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let said: Vec<f64> = goods.iter().map(|g| dot(g, &common[..d])).collect();
    let mean = said.iter().sum::<f64>() / said.len() as f64;
    let deviation = (said.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / said.len() as f64).sqrt().max(1e-6);
    let mut numbers: Vec<usize> = bads.iter().map(|(b, _)| *b).collect();
    numbers.sort_unstable();
    numbers.dedup();
    // One bad alone does not say what of it is the defect: magnetic tiles with one known, .871 without its own, .838 with it.
    let share = 1.0 - 1.0 / numbers.len() as f64;
    let of = |number: usize| {
        let views: Vec<_> = bads.iter().filter(|(b, _)| *b == number).map(|(_, view)| view).collect();
        let example: Vec<f64> = (0..d).map(|i| views.iter().map(|v| v[i]).sum::<f64>() / views.len() as f64).collect();
        let own = solve(factor, &example);
        // With the ridge in it: over parts that were not fitted on, good ones differ by more than over those that were.
        let far = dot(&own, &example).sqrt().max(1e-6);
        let weight = common[..d].iter().zip(own).map(|(common, own)| (common / deviation + share * own / far) as f32);
        Odds { weight: weight.collect(), bias: (-mean / deviation) as f32 }
    };
    numbers.into_iter().map(of).collect()
}

/// Logistic regression with an L2 penalty on all but the intercept, each class weighing half: weights, then intercept.
///
/// Newton's method with halved steps; the objective is strictly convex, so that there is one answer.
fn logistic(good: &[Vec<f64>], bad: &[Vec<f64>]) -> Vec<f64> {
    let n = (good.len() + bad.len()) as f64;
    let weigh = |class: &[Vec<f64>]| TRUST * n / (2.0 * class.len() as f64);
    let examples: Vec<(&[f64], f64, f64)> =
        good.iter().map(|x| (&x[..], 0.0, weigh(good))).chain(bad.iter().map(|x| (&x[..], 1.0, weigh(bad)))).collect();
    let d = good[0].len() + 1;
    let logit = |w: &[f64], x: &[f64]| w[d - 1] + x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
    let objective = |w: &[f64]| {
        let loss = |&(x, y, c): &(&[f64], f64, f64)| {
            let t = logit(w, x);
            c * (t.max(0.0) - t * y + (-t.abs()).exp().ln_1p())
        };
        examples.iter().map(loss).sum::<f64>() + w[..d - 1].iter().map(|w| w * w / 2.0).sum::<f64>()
    };
    let mut w = vec![0.0; d];
    let mut now = objective(&w);
    for _ in 0..STEPS {
        let mut gradient: Vec<f64> = w[..d - 1].iter().copied().chain([0.0]).collect();
        let mut hessian = vec![0.0; d * d];
        // The intercept has no penalty; a tiny one keeps the matrix definite when all odds are certain.
        (0..d).for_each(|i| hessian[i * d + i] = if i + 1 < d { 1.0 } else { 1e-6 });
        for &(x, y, c) in &examples {
            let p = 1.0 / (1.0 + (-logit(&w, x)).exp());
            let at = |i: usize| if i + 1 < d { x[i] } else { 1.0 };
            let curvature = c * p * (1.0 - p);
            for i in 0..d {
                gradient[i] += c * (p - y) * at(i);
                let row = &mut hessian[i * d..i * d + i + 1];
                let k = curvature * at(i);
                row.iter_mut().enumerate().for_each(|(j, h)| *h += k * at(j));
            }
        }
        let step = solve(&cholesky(&hessian, d), &gradient);
        let mut share = 1.0;
        let next = loop {
            let next: Vec<f64> = w.iter().zip(&step).map(|(w, s)| w - share * s).collect();
            if objective(&next) < now || share < 1e-6 {
                break next;
            }
            share /= 2.0;
        };
        let was = now;
        now = objective(&next);
        if now >= was - 1e-9 * was.abs() {
            break;
        }
        w = next;
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::onnx::{Graph, QuantParams};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_answer_is_where_the_gradient_is_zero() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut draw = |shift: f64, n: usize| -> Vec<Vec<f64>> {
            (0..n).map(|_| vec![rng.random_range(-1.0..1.0) + shift, rng.random_range(-1.0..1.0)]).collect()
        };
        let (good, bad) = (draw(0.0, 60), draw(1.5, 5));
        let w = logistic(&good, &bad);
        assert!(w[0] > 0.1 && w[1].abs() < w[0] / 2.0, "{w:?}");
        let mut gradient = [w[0], w[1], 0.0];
        for (class, y) in [(&good, 0.0), (&bad, 1.0)] {
            for x in class {
                let p = 1.0 / (1.0 + (-(w[0] * x[0] + w[1] * x[1] + w[2])).exp());
                let c = TRUST * 65.0 / (2.0 * class.len() as f64) * (p - y);
                gradient = [gradient[0] + c * x[0], gradient[1] + c * x[1], gradient[2] + c];
            }
        }
        assert!(gradient.iter().all(|g| g.abs() < 1e-4), "{gradient:?}");
    }

    #[test]
    fn a_shade_over_the_whole_view_is_told_from_good_ones() {
        let space = FeatureGraph {
            graph: Graph::default(),
            grid: [4, 4],
            channels: 3,
            quant: QuantParams { scale: 0.1, zero_point: 10 },
            input: [32, 32],
        };
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let mut views = |shade: u8, n: usize| -> Vec<QuantizedFeatures> {
            let mut view = || (0..48).map(|i| rng.random_range(5..20u8) + if i % 3 == 1 { shade } else { 0 }).collect();
            (0..n).map(|_| view()).collect()
        };
        let (good, bad) = (views(0, 40), views(6, 3));
        let overall = ImageClassifier::fit(&space, &good, &bad.into_iter().enumerate().collect::<Vec<_>>());
        let worst_good = views(0, 30).iter().map(|v| overall.score(&space, v)).fold(f32::MIN, f32::max);
        let best_bad = views(6, 30).iter().map(|v| overall.score(&space, v)).fold(f32::MAX, f32::min);
        assert!(best_bad > worst_good, "{best_bad} {worst_good}");
    }

    #[test]
    fn bads_that_have_nothing_in_common_are_each_told_from_good_ones() {
        // Good parts differ most along one direction, which says nothing; bads lie to either side of another.
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut views = |off: f32, n: usize| -> Vec<Vec<f32>> {
            let mut view = || {
                let (light, own) = (rng.random_range(-3.0..3.0f32), rng.random_range(-0.2..0.2f32));
                vec![light + own + off, light - own - off, rng.random_range(-1.0..1.0)]
            };
            (0..n).map(|_| view()).collect()
        };
        let goods = views(0.0, 60);
        let kinds = [views(1.0, 2), views(-1.0, 2)];
        let bads: Pooled = kinds.concat().into_iter().enumerate().collect();
        let overall = ImageClassifier::fit_pooled(&goods, std::slice::from_ref(&bads));
        assert_eq!(overall.odds.len(), 4, "one for each");
        let scores = |overall: &ImageClassifier, views: &[Vec<f32>]| -> Vec<f32> {
            views.iter().map(|view| overall.of_pooled(view)).collect()
        };
        let worst =
            |overall: &ImageClassifier, views: &[Vec<f32>]| scores(overall, views).into_iter().fold(f32::MIN, f32::max);
        let least =
            |overall: &ImageClassifier, views: &[Vec<f32>]| scores(overall, views).into_iter().fold(f32::MAX, f32::min);
        let (unseen, others) = (views(0.0, 60), [views(1.0, 20), views(-1.0, 20)].concat());
        assert!(least(&overall, &others) > worst(&overall, &unseen));
        // What they have in common, for one bad taught alone counts nothing else, does not tell them.
        let common = ImageClassifier::fit_pooled(&goods, &[bads.into_iter().map(|(_, view)| (0, view)).collect()]);
        assert_eq!(common.odds.len(), 1);
        assert!(least(&common, &others) < worst(&common, &unseen));
    }
}
