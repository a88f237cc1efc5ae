//! The attention head: fitted on few known bad pictures with the deviation loss.
//!
//! ```text
//! x [B·N, C] ─ linear ─ relu ──┬──────────────────────────── + ─ linear ─ relu ── linear ─► map [B, N]
//!                              └ mean 2x2 ─ self-attention ─ γ·repeat ┘
//! ```
//!
//! A 1x1 convolution is a linear layer over cells, so everything is a matrix product with cells as rows, the four cells
//! of every 2x2 block in four planes. The image's score is the mean of the largest cells (DRA). Loss for images: the deviation loss of DevNet (Pang et al. 2019, eq. 6
//! and 7): `dev = (score - mean(r)) / std(r)`, `r` 5,000 draws of N(0, 1); `(1-y)|dev| + y·max(0, 5 - dev)`. Noise
//! pseudo-anomalies in feature space add a per-cell cross entropy, so that the head learns with no known bad at all
//! what "not like the good ones" means, and where.

mod cells;
mod ops;
mod refit;

use candle_core::{DType, Device, Result as Candle, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::ablation::Ingredients;
use super::features::{Codes, FeatureGraph};
use cells::{mean, place, planes, reference, spoil};
use ops::{MARGIN, attend, cross_entropy, deviation, double, halve, leaky, linear, scale, top_mean};
pub use refit::Views;

/// Channels inside the head.
pub const HIDDEN: usize = 64;
/// Channels of attention keys and queries.
pub const KEY: usize = 16;
/// Share of cells whose mean is the image's score.
pub const TOP_SHARE: f64 = 0.02;
/// Slope of the leaky ReLU below 0.
pub const LEAK: f64 = 0.2;
/// Good, known bad and spoilt views a step; fewer where views have more cells than [`MANY_CELLS`], since a step learns
/// from cells.
const A_STEP: [usize; 3] = [5, 5, 3];
const A_STEP_OF_MANY: [usize; 3] = [3, 3, 2];
const MANY_CELLS: usize = 1536;

fn views_a_step(cells: usize) -> [usize; 3] {
    if cells > MANY_CELLS { A_STEP_OF_MANY } else { A_STEP }
}

/// A linear layer's weight `[out, in]` and bias `[out]`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Row-major `[out, in]`.
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

/// A fitted head, as plain numbers; the mean of the features is folded into the first layer.
#[derive(Clone, Debug)]
pub struct Head {
    /// Features to hidden.
    pub first: Linear,
    /// Queries of the attention.
    pub query: Linear,
    /// Keys of the attention.
    pub key: Linear,
    /// Values of the attention, multiplied by γ already.
    pub value: Linear,
    /// Hidden to hidden.
    pub second: Linear,
    /// Hidden to one map.
    pub last: Linear,
    grid: [usize; 2],
}

/// How a head is fitted.
#[derive(Clone, Copy, Debug)]
pub struct FitOptions {
    /// Optimiser steps.
    pub steps: usize,
    /// AdamW's learning rate.
    pub rate: f64,
    /// What it learns from.
    pub ingredients: Ingredients,
}

/// Number of cells averaged for the image's score.
pub fn top_cells(cells: usize) -> usize {
    ((cells as f64 * TOP_SHARE) as usize).max(1)
}

struct Net {
    first: [Var; 2],
    query: [Var; 2],
    key: [Var; 2],
    value: [Var; 2],
    gamma: Var,
    second: [Var; 2],
    last: [Var; 2],
    grid: [usize; 2],
}

impl Net {
    fn new(channels: usize, grid: [usize; 2], rng: &mut ChaCha8Rng) -> Candle<Self> {
        let mut layer = |out: usize, inp: usize| -> Candle<[Var; 2]> {
            let bound = 1.0 / (inp as f32).sqrt();
            let w: Vec<f32> = (0..out * inp).map(|_| rng.random_range(-bound..bound)).collect();
            Ok([Var::from_vec(w, (out, inp), &Device::Cpu)?, Var::zeros(out, DType::F32, &Device::Cpu)?])
        };
        Ok(Self {
            first: layer(HIDDEN, channels)?,
            query: layer(KEY, HIDDEN)?,
            key: layer(KEY, HIDDEN)?,
            value: layer(HIDDEN, HIDDEN)?,
            gamma: Var::zeros((1, 1), DType::F32, &Device::Cpu)?,
            second: layer(HIDDEN, HIDDEN)?,
            last: layer(1, HIDDEN)?,
            grid,
        })
    }

    fn variables(&self) -> Vec<Var> {
        let pairs = [&self.first, &self.query, &self.key, &self.value, &self.second, &self.last];
        pairs.into_iter().flatten().cloned().chain([self.gamma.clone()]).collect()
    }

    /// `[N·B, C]`, plane-major (see [`place`]), to `[B, N]`, each view's cells in planes.
    fn forward(&self, x: &Tensor, batch: usize) -> Candle<Tensor> {
        let h = linear(x, &self.first)?.relu()?;
        let tokens = halve(&h)?;
        let n = tokens.dim(0)? / batch;
        let part = |layer, c| linear(&tokens, layer)?.reshape((batch, n, c));
        let z = attend(&part(&self.query, KEY)?, &part(&self.key, KEY)?, &part(&self.value, HIDDEN)?)?;
        let z = double(&scale(&z.reshape((batch * n, HIDDEN))?, &self.gamma)?)?;
        let h = (h + z)?;
        let out = linear(&leaky(&linear(&h, &self.second)?)?, &self.last)?;
        out.reshape((4, batch, n))?.transpose(0, 1)?.contiguous()?.reshape((batch, 4 * n))
    }

    fn plain(&self, mean: &[f32]) -> Candle<Head> {
        let of = |l: &[Var; 2]| -> Candle<Linear> {
            Ok(Linear { weight: l[0].flatten_all()?.to_vec1()?, bias: l[1].to_vec1()? })
        };
        let mut first = of(&self.first)?;
        for (b, w) in first.bias.iter_mut().zip(first.weight.chunks(mean.len())) {
            *b -= w.iter().zip(mean).map(|(w, m)| w * m).sum::<f32>();
        }
        let gamma = self.gamma.flatten_all()?.to_vec1::<f32>()?[0];
        let mut value = of(&self.value)?;
        value.weight.iter_mut().chain(&mut value.bias).for_each(|v| *v *= gamma);
        Ok(Head {
            first,
            query: of(&self.query)?,
            key: of(&self.key)?,
            value,
            second: of(&self.second)?,
            last: of(&self.last)?,
            grid: self.grid,
        })
    }
}

impl Head {
    /// Fits a head on views of good parts and of known bad ones (which may be none: noise alone then).
    ///
    /// Deterministic for a generator state. `tick` is called after every step. Cost: about three forward passes of
    /// 16 views a step.
    ///
    /// # Panics
    /// If `good` is empty.
    pub fn fit(
        space: &FeatureGraph,
        good: &[Codes],
        bad: &[Codes],
        options: FitOptions,
        rng: &mut ChaCha8Rng,
        mut tick: impl FnMut(),
    ) -> Self {
        assert!(!good.is_empty(), "a head needs good views");
        let mean = mean(space, good);
        let mut run = || -> Candle<Self> {
            let net = Net::new(space.channels, space.grid, rng)?;
            let params = ParamsAdamW { lr: options.rate, weight_decay: 1e-4, ..ParamsAdamW::default() };
            let mut optimiser = AdamW::new(net.variables(), params)?;
            for step in 0..options.steps {
                // The last third anneals, so that the result does not hang on the last few draws.
                let left = (options.steps - step) as f64 / options.steps as f64;
                optimiser.set_learning_rate(options.rate * (3.0 * left).min(1.0));
                let loss = net.loss(space, good, bad, &mean, options.ingredients, rng)?;
                optimiser.backward_step(&loss)?;
                tick();
            }
            net.plain(&mean)
        };
        run().expect("shapes follow from the feature graph")
    }

    /// The head's map of one view: `[cells]` logits. The same arithmetic as the recipe's graph before quantisation.
    pub fn map(&self, space: &FeatureGraph, codes: &[u8]) -> Vec<f32> {
        let run = || -> Candle<Vec<f32>> {
            let var = |l: &Linear| -> Candle<[Var; 2]> {
                let (out, inp) = (l.bias.len(), l.weight.len() / l.bias.len());
                Ok([
                    Var::from_slice(&l.weight, (out, inp), &Device::Cpu)?,
                    Var::from_slice(&l.bias, out, &Device::Cpu)?,
                ])
            };
            let net = Net {
                first: var(&self.first)?,
                query: var(&self.query)?,
                key: var(&self.key)?,
                value: var(&self.value)?,
                gamma: Var::ones((1, 1), DType::F32, &Device::Cpu)?,
                second: var(&self.second)?,
                last: var(&self.last)?,
                grid: self.grid,
            };
            let x = planes(space, &[codes], &vec![0.0; space.channels], &[]);
            let x = Tensor::from_vec(x, (space.cells(), space.channels), &Device::Cpu)?;
            let logits: Vec<f32> = net.forward(&x, 1)?.flatten_all()?.to_vec1()?;
            Ok((0..space.cells()).map(|cell| logits[place(cell, space.grid)]).collect())
        };
        run().expect("shapes follow from the feature graph")
    }
}

impl Net {
    /// The loss of one step: views of good parts and known bads by the deviation loss, spoilt ones cell by cell.
    fn loss(
        &self,
        space: &FeatureGraph,
        good: &[Codes],
        bad: &[Codes],
        mean: &[f32],
        ingredients: Ingredients,
        rng: &mut ChaCha8Rng,
    ) -> Candle<Tensor> {
        let [goods, bads, pseudos] = views_a_step(space.cells());
        let pseudos = if ingredients.pseudo { pseudos } else { 0 };
        let mut views: Vec<&Codes> = (0..goods).map(|_| &good[rng.random_range(0..good.len())]).collect();
        if !bad.is_empty() {
            views.extend((0..bads).map(|_| &bad[rng.random_range(0..bad.len())]));
        }
        let scored = views.len();
        views.extend((0..pseudos).map(|_| &good[rng.random_range(0..good.len())]));
        let mut noise = vec![0.0f32; pseudos * space.cells() * space.channels];
        let mut mask = vec![0.0f32; pseudos * space.cells()];
        for (noise, mask) in noise.chunks_mut(space.cells() * space.channels).zip(mask.chunks_mut(space.cells())) {
            spoil(noise, mask, space.grid, space.channels, rng);
        }
        let codes: Vec<&[u8]> = views.iter().map(|v| &v[..]).collect();
        let x = planes(space, &codes, mean, &noise);
        let batch = views.len();
        let x = Tensor::from_vec(x, (batch * space.cells(), space.channels), &Device::Cpu)?;
        let maps = self.forward(&x, batch)?;
        let top = top_cells(space.cells());
        let labels: Vec<f32> = (0..scored).map(|i| if i < goods { 0.0 } else { 1.0 }).collect();
        let labels = Tensor::from_vec(labels, scored, &Device::Cpu)?;
        let (m, s) = reference(rng);
        let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
        if ingredients.deviation {
            loss = (loss + deviation(&top_mean(&maps.narrow(0, 0, scored)?, top)?, &labels, m, s)?)?;
        }
        if pseudos > 0 {
            let pseudo = maps.narrow(0, scored, pseudos)?;
            let mask = Tensor::from_vec(mask, (pseudos, space.cells()), &Device::Cpu)?;
            let raised = ((MARGIN - top_mean(&pseudo, top)?)?.relu()?.mean_all()? * 0.1)?;
            loss = ((loss + cross_entropy(&pseudo, &mask)?)? + raised)?;
        }
        Ok(loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::metrics::auroc;
    use crate::nn::onnx::{Graph, QuantParams};
    use crate::train::view::top_mean;
    use rand::SeedableRng;

    const GRID: [usize; 2] = [8, 8];
    const CHANNELS: usize = 8;

    /// A view of noise, with a patch of 2x2 cells where `odd` adds to a channel.
    fn view(odd: impl Fn(usize, &mut ChaCha8Rng) -> i32, rng: &mut ChaCha8Rng) -> Codes {
        let at = [rng.random_range(1..6), rng.random_range(1..6)];
        let mut value = |i: usize| {
            let (cell, c) = (i / CHANNELS, i % CHANNELS);
            let (y, x) = (cell / GRID[1], cell % GRID[1]);
            let is_inside = (at[0]..at[0] + 2).contains(&y) && (at[1]..at[1] + 2).contains(&x);
            let odd = if is_inside { odd(c, rng) } else { 0 };
            (128 + odd + rng.random_range(-20..20)) as u8
        };
        (0..GRID[0] * GRID[1] * CHANNELS).map(&mut value).collect()
    }

    #[test]
    fn pseudo_anomalies_teach_kinds_that_nobody_has_shown() {
        let quant = QuantParams { scale: 1.0 / 60.0, zero_point: 128 };
        let space = FeatureGraph { graph: Graph::default(), grid: GRID, channels: CHANNELS, quant, input: [64, 64] };
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        type Odd = fn(usize, &mut ChaCha8Rng) -> i32;
        let (none, one): (Odd, Odd) = (|_, _| 0, |c, _| if c == 0 { 80 } else { 0 });
        let wild: Odd = |_, rng| if rng.random() { 40 } else { -40 };
        let mut views = |odd: Odd, n| (0..n).map(|_| view(odd, &mut rng)).collect::<Vec<_>>();
        let (good, bad, tests, unknown) = (views(none, 30), views(one, 6), views(none, 40), views(wild, 40));
        let all = Ingredients::default();
        let [with, without] = [all, all.without("pseudo").unwrap()].map(|ingredients| {
            let options = FitOptions { steps: 500, rate: 3e-3, ingredients };
            let head = Head::fit(&space, &good, &bad, options, &mut ChaCha8Rng::seed_from_u64(1), || ());
            let scores = |v: &[Codes]| v.iter().map(|c| top_mean(&head.map(&space, c), 1)).collect::<Vec<_>>();
            auroc(&scores(&tests), &scores(&unknown)).unwrap()
        });
        assert!(with > 0.9 && without < with - 0.1, "with {with}, without {without}");
    }
}
