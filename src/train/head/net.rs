//! The head's numbers while it is fitted: one list, the pass of a view through them, and what its loss says of each.

use std::sync::{Mutex, PoisonError};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::cells::{Spoilt, centred};
use super::ops::{
    Attention, Layer, MARGIN, cross_entropy, deviation, double, double_back, halve, leaky, leaky_back, linear,
    linear_back, linear_numbers_back, relu, relu_back, squared_error, top_mean,
};
use super::optimiser::AdamW;
use super::parameters::{HIDDEN, Head, KEY, top_cells};
use crate::train::features::FeatureGraph;

/// The weight of "a spoilt view scores above the margin" beside its cells' cross entropy.
const RAISED: f32 = 0.1;

/// Where the layers' numbers lie: in the order of [`Head::numbers`], then γ.
#[derive(Clone, Copy)]
struct Layers {
    first: Layer,
    query: Layer,
    key: Layer,
    value: Layer,
    second: Layer,
    last: Layer,
}

impl Layers {
    fn new(channels: usize) -> Self {
        let mut at = 0;
        let mut layer = |out: usize, inp: usize| {
            let layer = Layer { at, out, inp };
            at = layer.end();
            layer
        };
        Self {
            first: layer(HIDDEN, channels),
            query: layer(KEY, HIDDEN),
            key: layer(KEY, HIDDEN),
            value: layer(HIDDEN, HIDDEN),
            second: layer(HIDDEN, HIDDEN),
            last: layer(1, HIDDEN),
        }
    }

    fn all(&self) -> [Layer; 6] {
        [self.first, self.query, self.key, self.value, self.second, self.last]
    }

    fn gamma(&self) -> usize {
        self.last.end()
    }
}

/// A view, and what its map shall be.
pub(super) struct Example<'a> {
    pub(super) codes: &'a [u8],
    pub(super) target: Target<'a>,
    /// Of its loss.
    pub(super) weight: f32,
}

pub(super) enum Target<'a> {
    /// The score of a good or a bad part, against a reference of given mean and deviation.
    Part { is_bad: bool, reference: [f64; 2] },
    /// Spoilt cells stand out.
    Spoilt(Spoilt),
    /// As it was, `[cells]`, plane-major.
    Was(&'a [f32]),
}

impl Target<'_> {
    /// The loss of a map, plane-major, which becomes its gradient.
    fn loss(&self, map: &mut [f32]) -> f32 {
        let count = top_cells(map.len());
        match self {
            Self::Part { is_bad, reference } => {
                let (score, top) = top_mean(map, count);
                let [loss, slope] = deviation(score, *is_bad, *reference);
                map.fill(0.0);
                top.into_iter().for_each(|i| map[i] = slope / count as f32);
                loss
            }
            Self::Spoilt(spoilt) => {
                let (score, top) = top_mean(map, count);
                let loss = cross_entropy(map, &spoilt.mask);
                if score <= MARGIN {
                    top.into_iter().for_each(|i| map[i] -= RAISED / count as f32);
                }
                loss + RAISED * (MARGIN - score).max(0.0)
            }
            Self::Was(was) => squared_error(map, was),
        }
    }
}

/// What passes through the head for one view, and back; kept from one view to the next. Rows are cells, plane-major, or
/// tokens of four of them.
pub(super) struct Pass {
    /// Features, `[cells, channels]`.
    x: Vec<f32>,
    hidden: Vec<f32>,
    tokens: Vec<f32>,
    attention: Attention,
    /// What is hidden, and what is attended to.
    both: Vec<f32>,
    second: Vec<f32>,
    /// Logits, `[cells]`; on the way back their gradient.
    pub(super) map: Vec<f32>,
    /// Gradients of cells, of cells, of tokens.
    back: [Vec<f32>; 3],
}

impl Pass {
    fn new(space: &FeatureGraph) -> Self {
        let cells = space.cells();
        let (hidden, tokens) = (vec![0.0; cells * HIDDEN], vec![0.0; cells / 4 * HIDDEN]);
        Self {
            x: vec![0.0; cells * space.channels],
            hidden: hidden.clone(),
            tokens: tokens.clone(),
            attention: Attention::new(cells / 4, HIDDEN),
            both: hidden.clone(),
            second: hidden.clone(),
            map: vec![0.0; cells],
            back: [hidden.clone(), hidden, tokens],
        }
    }
}

/// A head's numbers, of features centred on a mean.
pub(super) struct Net {
    layers: Layers,
    numbers: Vec<f32>,
}

impl Net {
    pub(super) fn new(channels: usize, rng: &mut ChaCha8Rng) -> Self {
        let layers = Layers::new(channels);
        let mut numbers = vec![0.0; layers.gamma() + 1];
        for layer in layers.all() {
            let bound = 1.0 / (layer.inp as f32).sqrt();
            let weight = &mut numbers[layer.at..layer.at + layer.out * layer.inp];
            weight.iter_mut().for_each(|w| *w = rng.random_range(-bound..bound));
        }
        Self { layers, numbers }
    }

    /// The net that gives `head` for features centred on `mean`; γ is folded into the values already.
    pub(super) fn of(head: &Head, mean: &[f32]) -> Self {
        let numbers = head.numbers().into_iter().chain([1.0]).collect();
        let mut net = Self { layers: Layers::new(mean.len()), numbers };
        net.centre(mean, 1.0);
        net
    }

    /// The head that this net is, for features as they are.
    pub(super) fn head(mut self, mean: &[f32], grid: [usize; 2]) -> Head {
        self.centre(mean, -1.0);
        let gamma = self.layers.gamma();
        let by = self.numbers[gamma];
        let mut head = Head::from_numbers(&self.numbers[..gamma], mean.len(), grid).expect("as many as a head has");
        head.value.weight.iter_mut().chain(&mut head.value.bias).for_each(|v| *v *= by);
        head
    }

    /// Adds `by` times what the first layer makes of `mean` to its bias.
    fn centre(&mut self, mean: &[f32], by: f32) {
        let first = self.layers.first;
        let (weight, bias) = self.numbers[first.at..first.end()].split_at_mut(first.out * first.inp);
        for (b, w) in bias.iter_mut().zip(weight.chunks_exact(first.inp)) {
            *b += by * w.iter().zip(mean).map(|(w, m)| w * m).sum::<f32>();
        }
    }

    /// A view's map: logits, plane-major.
    pub(super) fn map(&self, space: &FeatureGraph, codes: &[u8], mean: &[f32]) -> Vec<f32> {
        let mut pass = Pass::new(space);
        centred(space, codes, mean, &mut pass.x);
        self.forward(&mut pass);
        pass.map
    }

    fn forward(&self, pass: &mut Pass) {
        let (layers, numbers) = (&self.layers, &self.numbers);
        linear(&pass.x, layers.first, numbers, &mut pass.hidden);
        relu(&mut pass.hidden);
        halve(&pass.hidden, &mut pass.tokens);
        linear(&pass.tokens, layers.query, numbers, &mut pass.attention.q);
        linear(&pass.tokens, layers.key, numbers, &mut pass.attention.k);
        linear(&pass.tokens, layers.value, numbers, &mut pass.attention.v);
        pass.attention.forward();
        pass.both.copy_from_slice(&pass.hidden);
        double(&pass.attention.out, numbers[layers.gamma()], &mut pass.both);
        linear(&pass.both, layers.second, numbers, &mut pass.second);
        leaky(&mut pass.second);
        linear(&pass.second, layers.last, numbers, &mut pass.map);
    }

    /// Adds to `gradient` what the map's gradient, in its place, says of each number.
    fn backward(&self, pass: &mut Pass, gradient: &mut [f32]) {
        let (layers, numbers) = (&self.layers, &self.numbers);
        let [d, of_both, of_tokens] = &mut pass.back;
        linear_numbers_back(&pass.second, &pass.map, layers.last, gradient);
        linear_back(&pass.map, layers.last, numbers, 0.0, d);
        leaky_back(&pass.second, d);
        linear_numbers_back(&pass.both, d, layers.second, gradient);
        linear_back(d, layers.second, numbers, 0.0, of_both);
        let gamma = layers.gamma();
        gradient[gamma] += double_back(&pass.attention.out, numbers[gamma], of_both, of_tokens);
        pass.attention.backward(of_tokens);
        let parts = [layers.query, layers.key, layers.value].into_iter().zip(&pass.attention.back);
        for ((layer, d), keep) in parts.zip([0.0, 1.0, 1.0]) {
            linear_numbers_back(&pass.tokens, d, layer, gradient);
            linear_back(d, layer, numbers, keep, of_tokens);
        }
        double(of_tokens, 0.25, of_both);
        relu_back(&pass.hidden, of_both);
        linear_numbers_back(&pass.x, of_both, layers.first, gradient);
    }
}

/// A fit under way.
pub(super) struct Fit<'a> {
    pub(super) net: Net,
    space: &'a FeatureGraph,
    mean: &'a [f32],
    optimiser: AdamW,
    /// One for each view of a step, added up in the views' order, whichever thread was first.
    gradients: Vec<Vec<f32>>,
    /// One for each thread.
    passes: Mutex<Vec<Pass>>,
}

impl<'a> Fit<'a> {
    pub(super) fn new(net: Net, space: &'a FeatureGraph, mean: &'a [f32]) -> Self {
        let optimiser = AdamW::new(net.numbers.len());
        Self { net, space, mean, optimiser, gradients: Vec::new(), passes: Mutex::default() }
    }

    /// One step down the loss of `examples`; none where there are none. The same for any number of threads.
    pub(super) fn step(&mut self, examples: &[Example<'_>], rate: f64) {
        if examples.is_empty() {
            return;
        }
        if self.gradients.len() < examples.len() {
            self.gradients.resize(examples.len(), vec![0.0; self.net.numbers.len()]);
        }
        let mut gradients = std::mem::take(&mut self.gradients);
        let of_each = gradients.par_iter_mut().zip(examples).with_max_len(1);
        of_each.for_each(|(gradient, example)| {
            self.loss(example, gradient);
        });
        let (sum, others) = gradients[..examples.len()].split_at_mut(1);
        for other in others {
            sum[0].iter_mut().zip(&*other).for_each(|(s, o)| *s += o);
        }
        self.optimiser.step(&mut self.net.numbers, &sum[0], rate);
        self.gradients = gradients;
    }

    /// The loss of one example, and its gradient.
    fn loss(&self, example: &Example<'_>, gradient: &mut [f32]) -> f32 {
        let Example { codes, target, weight } = example;
        let passes = || self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let pass = passes().pop();
        let mut pass = pass.unwrap_or_else(|| Pass::new(self.space));
        centred(self.space, codes, self.mean, &mut pass.x);
        if let Target::Spoilt(spoilt) = target {
            spoilt.add(self.space, &mut pass.x);
        }
        self.net.forward(&mut pass);
        let loss = target.loss(&mut pass.map);
        pass.map.iter_mut().for_each(|d| *d *= weight);
        gradient.fill(0.0);
        // A known bad that scores above the margin says nothing.
        if pass.map.iter().any(|&d| d != 0.0) {
            self.net.backward(&mut pass, gradient);
        }
        passes().push(pass);
        loss * weight
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::super::FitOptions;
    use super::super::ops::tests::check_at;
    use super::*;
    use crate::nn::onnx::{Graph, QuantParams};
    use crate::train::ablation::Ablation;
    use crate::train::features::QuantizedFeatures;

    fn space(channels: usize) -> FeatureGraph {
        let quant = QuantParams { scale: 0.02, zero_point: 128 };
        FeatureGraph { graph: Graph::default(), grid: [4, 4], channels, quant, input: [32, 32] }
    }

    fn view(space: &FeatureGraph, rng: &mut ChaCha8Rng) -> QuantizedFeatures {
        (0..space.cells() * space.channels).map(|_| rng.random()).collect()
    }

    #[test]
    fn the_gradient_of_the_whole_loss_in_every_number_matches_finite_differences() {
        let space = space(3);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut net = Net::new(3, &mut rng);
        for layer in net.layers.all() {
            net.numbers[layer.end() - layer.out..layer.end()].iter_mut().for_each(|b| *b = rng.random_range(-0.3..0.3));
        }
        let gamma = net.layers.gamma();
        net.numbers[gamma] = 0.6;
        let views: Vec<QuantizedFeatures> = (0..4).map(|_| view(&space, &mut rng)).collect();
        let was: Vec<f32> = (0..space.cells()).map(|_| rng.random_range(-1.0..1.0)).collect();
        let reference = [0.02, 1.1];
        let targets = [
            Target::Part { is_bad: false, reference },
            Target::Part { is_bad: true, reference },
            Target::Spoilt(Spoilt::draw(space.grid, 3, &mut ChaCha8Rng::seed_from_u64(2))),
            Target::Was(&was),
        ];
        let Target::Spoilt(spoilt) = &targets[2] else { unreachable!() };
        assert!(spoilt.mask.contains(&1.0) && spoilt.mask.contains(&0.0), "{:?}", spoilt.mask);
        let pairs = views.iter().zip(targets).zip([0.5, 1.0, 0.7, 0.4]);
        let examples: Vec<_> = pairs.map(|((codes, target), weight)| Example { codes, target, weight }).collect();
        let mean = [0.1, -0.2, 0.3];
        check_at("the whole loss", &net.numbers, &[2e-3, 7e-4, 2.5e-4], |numbers| {
            let net = Net { layers: net.layers, numbers: numbers.to_vec() };
            let fit = Fit::new(net, &space, &mean);
            let mut sum = vec![0.0; numbers.len()];
            let mut loss = 0.0;
            for example in &examples {
                let mut gradient = vec![0.0; numbers.len()];
                loss += fit.loss(example, &mut gradient);
                sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g);
            }
            (loss, sum)
        });
    }

    #[test]
    fn a_head_is_the_same_for_any_number_of_threads() {
        let space = space(16);
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let [good, bad] = [8, 3].map(|n| (0..n).map(|_| view(&space, &mut rng)).collect::<Vec<QuantizedFeatures>>());
        let options = FitOptions { steps: 12, rate: 1e-3, ablation: Ablation::default() };
        let heads = [1, 2, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let head = pool.install(|| Head::fit(&space, &good, &bad, options, &mut rng, || ()));
            head.numbers().into_iter().map(f32::to_bits).collect::<Vec<u32>>()
        });
        assert!(heads[0] == heads[1] && heads[0] == heads[2]);
    }
}
