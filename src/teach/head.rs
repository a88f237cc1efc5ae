//! The attention head: fitted on few known bad pictures with the deviation loss.
//!
//! ```text
//! x [B·N, C] ─ linear ─ relu ──┬──────────────────────────── + ─ linear ─ relu ── linear ─► map [B, N]
//!                              └ mean 2x2 ─ self-attention ─ γ·repeat ┘
//! ```
//!
//! A 1x1 convolution is a linear layer over cells, so everything is a matrix product with cells as rows, the four cells
//! of every 2x2 block in four planes. The image's
//! score is the mean of the largest cells (DRA). Loss for images: the deviation loss of DevNet (Pang et al. 2019, eq. 6
//! and 7): `dev = (score - mean(r)) / std(r)`, `r` 5,000 draws of N(0, 1); `(1-y)|dev| + y·max(0, 5 - dev)`. Noise
//! pseudo-anomalies in feature space add a per-cell cross entropy, so that the head learns with no known bad at all
//! what "not like the good ones" means, and where.

use candle_core::{DType, Device, Result as Candle, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::features::{Codes, FeatureGraph};

/// Channels inside the head.
pub const HIDDEN: usize = 64;
/// Channels of attention keys and queries.
pub const KEY: usize = 16;
/// Share of cells whose mean is the image's score.
pub const TOP_SHARE: f64 = 0.02;
/// Slope of the leaky ReLU below 0.
pub const LEAK: f64 = 0.2;
const MARGIN: f64 = 5.0;
const REFERENCE_DRAWS: usize = 5000;
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

/// `x [n, in]` through weight `[out, in]` and bias `[out]`.
///
/// The bias enters as a product with ones: its gradient is then a matrix product as well, where candle would sum a
/// broadcast element by element (a tenth of the fit's time).
fn linear(x: &Tensor, layer: &[Var; 2]) -> Candle<Tensor> {
    let ones = Tensor::ones((x.dim(0)?, 1), DType::F32, &Device::Cpu)?;
    x.matmul(&layer[0].t()?)? + ones.matmul(&layer[1].unsqueeze(0)?)?
}

/// Leaky ReLU. Before the last layer alone: with ReLU there a fit was seen to end with every channel at 0 and a constant
/// map.
fn leaky(x: &Tensor) -> Candle<Tensor> {
    (x.relu()? * (1.0 - LEAK))? + (x * LEAK)?
}

/// Mean over 2x2 cells: `[4·m, c]`, plane-major (see [`place`]), to `[m, c]`.
///
/// A product with constants, like [`double`] and [`scale`]: matrix products and their gradients run at the processor's
/// speed, candle's strided reductions and broadcasts at a tenth of it.
fn halve(x: &Tensor) -> Candle<Tensor> {
    let (n, c) = x.dims2()?;
    let quarter = Tensor::full(0.25f32, (1, 4), &Device::Cpu)?;
    quarter.matmul(&x.reshape((4, n / 4 * c))?)?.reshape((n / 4, c))
}

/// Every cell of `[m, c]` repeated 2x2: `[4·m, c]`, plane-major.
fn double(x: &Tensor) -> Candle<Tensor> {
    let (m, c) = x.dims2()?;
    let ones = Tensor::ones((4, 1), DType::F32, &Device::Cpu)?;
    ones.matmul(&x.reshape((1, m * c))?)?.reshape((4 * m, c))
}

/// `x` times the scalar `by` `[1, 1]`.
fn scale(x: &Tensor, by: &Tensor) -> Candle<Tensor> {
    x.reshape((x.elem_count(), 1))?.matmul(by)?.reshape(x.shape())
}

/// Scaled dot-product attention over `[B, n, c]` tokens.
///
/// The softmax is written as `(e·v) / (e·1)`, `e = exp(scores - largest)`, for the same reason.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Candle<Tensor> {
    let (b, n, _) = v.dims3()?;
    let scores = (q.matmul(&k.t()?)? * (1.0 / (KEY as f64).sqrt()))?;
    // Of each row: with the largest of all, a row far below it would underflow to 0 / 0.
    let largest = scores.detach().max_keepdim(2)?;
    let e = scores.broadcast_sub(&largest)?.exp()?;
    let sums = e.matmul(&Tensor::ones((b, n, 1), DType::F32, &Device::Cpu)?)?;
    e.matmul(v)?.broadcast_div(&sums)
}

/// Mean of the `count` largest values of each row of `[B, n]`.
fn top_mean(map: &Tensor, count: usize) -> Candle<Tensor> {
    let order = map.detach().contiguous()?.arg_sort_last_dim(false)?;
    map.gather(&order.narrow(1, 0, count)?.contiguous()?, 1)?.mean(1)
}

/// The deviation loss of scores `[B]` with labels `[B]`, against a reference of given mean and deviation.
fn deviation(scores: &Tensor, labels: &Tensor, mean: f64, std: f64) -> Candle<Tensor> {
    let dev = ((scores - mean)? / std)?;
    let good = ((1.0 - labels)? * dev.abs()?)?;
    let bad = (labels * (MARGIN - dev)?.relu()?)?;
    (good + bad)?.mean_all()
}

/// Binary cross entropy of logits against a mask, averaged: `max(x, 0) - x·m + ln(1 + exp(-|x|))`.
fn cross_entropy(logits: &Tensor, mask: &Tensor) -> Candle<Tensor> {
    let soft = ((logits.abs()?.neg()?.exp()? + 1.0)?).log()?;
    ((logits.relu()? - (logits * mask)?)? + soft)?.mean_all()
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
                let loss = net.loss(space, good, bad, &mean, rng)?;
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
    fn loss(
        &self,
        space: &FeatureGraph,
        good: &[Codes],
        bad: &[Codes],
        mean: &[f32],
        rng: &mut ChaCha8Rng,
    ) -> Candle<Tensor> {
        let [goods, bads, pseudos] = views_a_step(space.cells());
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
        let images = deviation(&top_mean(&maps.narrow(0, 0, scored)?, top)?, &labels, m, s)?;
        let pseudo = maps.narrow(0, scored, pseudos)?;
        let mask = Tensor::from_vec(mask, (pseudos, space.cells()), &Device::Cpu)?;
        let cells = cross_entropy(&pseudo, &mask)?;
        let raised = ((MARGIN - top_mean(&pseudo, top)?)?.relu()?.mean_all()? * 0.1)?;
        (images + cells)? + raised
    }
}

/// Where a cell stands in its view's planes: the four cells of each 2x2 block lie in four planes of `cells/4`.
fn place(cell: usize, [rows, columns]: [usize; 2]) -> usize {
    let (y, x) = (cell / columns, cell % columns);
    ((y % 2) * 2 + x % 2) * (rows * columns / 4) + (y / 2) * (columns / 2) + x / 2
}

/// Centred features of several views, plane-major: `[4, views, cells/4, channels]`, with `noise` (`[k, cells,
/// channels]`) added to the last `k` views.
fn planes(space: &FeatureGraph, views: &[&[u8]], mean: &[f32], noise: &[f32]) -> Vec<f32> {
    let (c, tokens) = (space.channels, space.cells() / 4);
    let [_, columns] = space.grid;
    let first_noisy = views.len() - noise.len() / (space.cells() * c);
    let zero = f32::from(space.quant.zero);
    let mut x = vec![0.0f32; views.len() * space.cells() * c];
    x.par_chunks_mut(tokens * c).enumerate().for_each(|(i, out)| {
        let (plane, v) = (i / views.len(), i % views.len());
        for (token, out) in out.chunks_mut(c).enumerate() {
            let (y, px) = (token / (columns / 2) * 2 + plane / 2, token % (columns / 2) * 2 + plane % 2);
            let cell = (y * columns + px) * c;
            for ((o, &code), m) in out.iter_mut().zip(&views[v][cell..cell + c]).zip(mean) {
                *o = (f32::from(code) - zero) * space.quant.scale - m;
            }
            if v >= first_noisy {
                let at = (v - first_noisy) * space.cells() * c + cell;
                out.iter_mut().zip(&noise[at..at + c]).for_each(|(o, n)| *o += n);
            }
        }
    });
    x
}

fn mean(space: &FeatureGraph, good: &[Codes]) -> Vec<f32> {
    let mut sums = vec![0u64; space.channels];
    for codes in good {
        for cell in codes.chunks(space.channels) {
            for (s, &c) in sums.iter_mut().zip(cell) {
                *s += u64::from(c);
            }
        }
    }
    let n = (good.len() * space.cells()) as f64;
    let zero = f64::from(space.quant.zero);
    sums.iter().map(|&s| ((s as f64 / n - zero) * f64::from(space.quant.scale)) as f32).collect()
}

/// Mean and deviation of the reference scores' draws.
fn reference(rng: &mut ChaCha8Rng) -> (f64, f64) {
    let (mut s, mut s2) = (0.0, 0.0);
    for _ in 0..REFERENCE_DRAWS / 2 {
        for v in normal_pair(rng) {
            s += f64::from(v);
            s2 += f64::from(v) * f64::from(v);
        }
    }
    let n = REFERENCE_DRAWS as f64;
    (s / n, (s2 / n - (s / n).powi(2)).sqrt())
}

/// Two independent draws of N(0, 1) (Box and Muller).
fn normal_pair(rng: &mut ChaCha8Rng) -> [f32; 2] {
    let r = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    let a = std::f32::consts::TAU * rng.random::<f32>();
    [r * a.cos(), r * a.sin()]
}

/// A pseudo-anomaly: noise `[cells, channels]` on the cells where a smooth random field is high; marks them in `mask`,
/// plane-major.
fn spoil(x: &mut [f32], mask: &mut [f32], [h, w]: [usize; 2], channels: usize, rng: &mut ChaCha8Rng) {
    const KNOTS: usize = 6;
    let knots: Vec<f32> = (0..KNOTS * KNOTS / 2).flat_map(|_| normal_pair(rng)).collect();
    let strength = 0.6 * (0.5 + rng.random::<f32>());
    for y in 0..h {
        for px in 0..w {
            let (fy, fx) = (y as f32 / h as f32 * (KNOTS - 1) as f32, px as f32 / w as f32 * (KNOTS - 1) as f32);
            let (iy, ix) = (fy as usize, fx as usize);
            let (ty, tx) = (fy - iy as f32, fx - ix as f32);
            let at = |dy: usize, dx: usize| knots[(iy + dy).min(KNOTS - 1) * KNOTS + (ix + dx).min(KNOTS - 1)];
            let top = at(0, 0) * (1.0 - tx) + at(0, 1) * tx;
            let bottom = at(1, 0) * (1.0 - tx) + at(1, 1) * tx;
            if top * (1.0 - ty) + bottom * ty > 1.1 {
                let cell = y * w + px;
                mask[place(cell, [h, w])] = 1.0;
                for pair in x[cell * channels..(cell + 1) * channels].chunks_mut(2) {
                    for (v, n) in pair.iter_mut().zip(normal_pair(rng)) {
                        *v += strength * n;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Compares candle's gradient of `f` at `x` with central differences, everywhere.
    fn check(name: &str, dims: &[usize], f: impl Fn(&Tensor) -> Candle<Tensor>) {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let n: usize = dims.iter().product();
        // Values away from 0, where the kinks of relu and abs are.
        let at: Vec<f32> =
            (0..n).map(|_| rng.random_range(0.1f32..1.5) * if rng.random::<bool>() { 1.0 } else { -1.0 }).collect();
        let var = Var::from_slice(&at, dims, &Device::Cpu).expect("var");
        let grads = f(&var).expect(name).backward().expect(name);
        let got: Vec<f32> = grads.get(&var).expect(name).flatten_all().expect(name).to_vec1().expect(name);
        let value = |v: &[f32]| {
            let t = Tensor::from_slice(v, dims, &Device::Cpu).expect("tensor");
            f64::from(f(&t).expect(name).to_scalar::<f32>().expect(name))
        };
        let step = 1e-2f32;
        for i in 0..n {
            let (mut up, mut down) = (at.clone(), at.clone());
            up[i] += step;
            down[i] -= step;
            let want = (value(&up) - value(&down)) / (2.0 * f64::from(step));
            let error = (f64::from(got[i]) - want).abs();
            assert!(error < 2e-2 * want.abs().max(0.1), "{name}[{i}]: gradient {} but differences say {want}", got[i]);
        }
    }

    /// Reduces to a scalar with uneven weights, so that no gradient can hide behind symmetry.
    fn uneven(x: &Tensor) -> Candle<Tensor> {
        let n = x.elem_count();
        let w: Vec<f32> = (0..n).map(|i| 0.3 + ((i * 7) % 5) as f32 * 0.2).collect();
        (x.flatten_all()? * Tensor::from_vec(w, n, &Device::Cpu)?)?.sum_all()
    }

    fn layer(out: usize, inp: usize) -> [Var; 2] {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let w: Vec<f32> = (0..out * inp).map(|_| rng.random_range(-1.0f32..1.0)).collect();
        [
            Var::from_vec(w, (out, inp), &Device::Cpu).expect("w"),
            Var::from_vec(vec![0.3f32; out], out, &Device::Cpu).expect("b"),
        ]
    }

    #[test]
    fn gradients_of_every_op_match_finite_differences() {
        let a = layer(3, 4);
        check("linear in x", &[5, 4], |x| uneven(&linear(x, &a)?));
        check("linear in w", &[3, 4], |w| {
            let x = layer(6, 4)[0].as_tensor().clone();
            uneven(&x.matmul(&w.t()?)?.broadcast_add(&a[1])?)
        });
        check("bias", &[3], |b| {
            let x = Tensor::ones((5, 3), DType::F32, &Device::Cpu)?;
            uneven(&(x + Tensor::ones((5, 1), DType::F32, &Device::Cpu)?.matmul(&b.unsqueeze(0)?)?)?)
        });
        check("relu", &[5, 4], |x| uneven(&x.relu()?));
        check("leaky", &[5, 4], |x| uneven(&leaky(x)?));
        check("halve", &[16, 3], |x| uneven(&halve(x)?));
        check("double", &[4, 3], |x| uneven(&double(x)?));
        let fixed = layer(12, 16)[0].as_tensor().reshape((2, 6, 16)).expect("reshape");
        check("attention in q", &[2, 6, 16], |q| uneven(&attend(q, &fixed, &fixed)?));
        check("attention in k", &[2, 6, 16], |k| uneven(&attend(&fixed, k, &fixed)?));
        check("attention in v", &[2, 6, 16], |v| uneven(&attend(&fixed, &fixed, v)?));
        check("scale by gamma", &[1, 1], |g| uneven(&scale(&fixed, g)?));
        check("top mean", &[3, 9], |m| uneven(&top_mean(m, 2)?));
        check("narrow", &[4, 3], |m| uneven(&m.narrow(0, 1, 2)?));
        let labels = Tensor::from_slice(&[0f32, 1.0, 0.0, 1.0], 4, &Device::Cpu).expect("labels");
        check("deviation loss", &[4], |s| deviation(s, &labels, 0.02, 1.1));
        let mask = Tensor::from_slice(&[0f32, 1.0, 1.0, 0.0, 0.0, 1.0], (2, 3), &Device::Cpu).expect("mask");
        check("cross entropy", &[2, 3], |x| cross_entropy(x, &mask));
    }

    #[test]
    fn the_deviation_loss_has_its_published_values() {
        let t = |v: &[f32]| Tensor::from_slice(v, v.len(), &Device::Cpu).expect("t");
        let loss =
            |s: f32, y: f32| deviation(&t(&[s]), &t(&[y]), 0.0, 1.0).expect("loss").to_scalar::<f32>().expect("scalar");
        assert_eq!(loss(2.0, 0.0), 2.0);
        assert_eq!(loss(-2.0, 0.0), 2.0);
        assert_eq!(loss(2.0, 1.0), 3.0);
        assert_eq!(loss(6.0, 1.0), 0.0);
    }
}
