//! A head that goes on learning from where it is, and its numbers as one list that can be kept.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::cells::mean;
use super::fit::{FitOptions, draw};
use super::net::{Example, Fit, Net, Target};
use super::parameters::{Head, Linear};
use crate::train::features::{FeatureGraph, QuantizedFeatures};

/// Views a step on which a head is held to what it said.
const REMEMBERED: usize = 4;
/// Weight of that beside what is new; chosen: logits of good and bad cells lie 5 apart.
const WEIGHT: f32 = 1.0;

/// What a head goes on learning from.
pub struct Views<'a> {
    /// Good views, at least one.
    pub good: &'a [QuantizedFeatures],
    /// Views of bad parts.
    pub bad: &'a [QuantizedFeatures],
    /// Views of which it shall say what it said.
    pub remember: &'a [&'a QuantizedFeatures],
}

impl Head {
    /// Goes on fitting this head, on views as [`Head::fit`] takes them; what it knows is where it starts, and what it
    /// says of the views to `remember` is what it shall say afterwards.
    ///
    /// Beside the loss of [`Head::fit`], the mean squared difference from its own logits on a few of those views a step
    /// (Buzzega et al. 2020, dark experience replay, eq. 4). Deterministic for a generator state. `tick` is called after
    /// every step. Cost: that of [`Head::fit`] and a third.
    ///
    /// # Panics
    /// If there are no good views.
    pub fn refit(
        &self,
        space: &FeatureGraph,
        views: &Views<'_>,
        options: FitOptions,
        rng: &mut ChaCha8Rng,
        mut tick: impl FnMut(),
    ) -> Self {
        let Views { good, bad, remember } = *views;
        assert!(!good.is_empty(), "a head needs good views");
        let mean = mean(space, good);
        let net = Net::of(self, &mean);
        let was: Vec<Vec<f32>> = remember.par_iter().map(|codes| net.map(space, codes, &mean)).collect();
        let mut fit = Fit::new(net, space, &mean);
        for step in 0..options.steps {
            let mut examples = draw(space, good, bad, options.ablation, rng);
            if !was.is_empty() {
                let drawn: [usize; REMEMBERED] = std::array::from_fn(|_| rng.random_range(0..was.len()));
                let weight = WEIGHT / REMEMBERED as f32;
                examples.extend(drawn.map(|i| Example { codes: remember[i], target: Target::Was(&was[i]), weight }));
            }
            // No warm-up to lose: the rate falls from the first step on.
            fit.step(&examples, options.rate * (options.steps - step) as f64 / options.steps as f64);
            tick();
        }
        fit.net.head(&mean, space.grid)
    }

    /// The head whose every number lies a `share` of the way from this one's to `later`'s, fitted on from it.
    pub fn towards(&self, later: &Self, share: f32) -> Self {
        let way = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a + share * (b - a)).collect::<Vec<f32>>();
        let layer = |a: &Linear, b: &Linear| Linear { weight: way(&a.weight, &b.weight), bias: way(&a.bias, &b.bias) };
        Self {
            first: layer(&self.first, &later.first),
            query: layer(&self.query, &later.query),
            key: layer(&self.key, &later.key),
            value: layer(&self.value, &later.value),
            second: layer(&self.second, &later.second),
            last: layer(&self.last, &later.last),
            grid: self.grid,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::nn::onnx::{Graph, QuantParams};
    use crate::train::ablation::Ablation;

    fn views(rng: &mut ChaCha8Rng, bright: bool) -> Vec<QuantizedFeatures> {
        let mut view = || -> QuantizedFeatures {
            (0..16 * 4).map(|i| rng.random_range(90..110u8) + if bright && i < 16 { 60 } else { 0 }).collect()
        };
        (0..8).map(|_| view()).collect()
    }

    #[test]
    fn a_head_comes_back_from_its_numbers_and_goes_on_from_where_it_was() {
        let space = FeatureGraph {
            graph: Graph::default(),
            grid: [4, 4],
            channels: 4,
            quant: QuantParams { scale: 0.05, zero_point: 100 },
            input: [32, 32],
        };
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (good, bad) = (views(&mut rng, false), views(&mut rng, true));
        let few = |steps| FitOptions { steps, rate: 1e-3, ablation: Ablation::default() };
        let head = Head::fit(&space, &good, &bad, few(5), &mut rng, || ());
        let back = Head::from_numbers(&head.numbers(), 4, [4, 4]).expect("as many numbers");
        assert_eq!(back.map(&space, &bad[0]), head.map(&space, &bad[0]));
        assert_eq!((Head::count(4), Head::count(usize::MAX)), (Some(head.numbers().len()), None));
        assert!(Head::from_numbers(&head.numbers()[1..], 4, [4, 4]).is_none());
        assert!(Head::from_numbers(&head.numbers(), 5, [4, 4]).is_none());

        let views = Views { good: &good, bad: &bad, remember: &[] };
        // Without a step it is the same head but for rounding; with steps it learns.
        let same = head.refit(&space, &views, few(0), &mut rng, || ());
        let far = |a: &Head, b: &Head| {
            let (a, b) = (a.map(&space, &bad[0]), b.map(&space, &bad[0]));
            a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(far(&same, &head) < 1e-4, "{}", far(&same, &head));
        let more = head.refit(&space, &views, few(40), &mut rng, || ());
        assert!(far(&head.towards(&more, 0.0), &head) < 1e-6 && far(&head.towards(&more, 1.0), &more) < 1e-4);
        let peak = |h: &Head, v: &QuantizedFeatures| h.map(&space, v).into_iter().fold(f32::MIN, f32::max);
        assert!(peak(&more, &bad[1]) - peak(&more, &good[1]) > peak(&head, &bad[1]) - peak(&head, &good[1]) + 0.5);
    }
}
