//! The fit of a head from nothing, and its map of a view.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::cells::{Spoilt, mean, place, reference};
use super::net::{Example, Fit, Net, Target};
use super::parameters::Head;
use crate::train::ablation::Ablation;
use crate::train::features::{FeatureGraph, QuantizedFeatures};

/// Good, known bad and spoilt views a step; fewer where views have more cells than [`MANY_CELLS`], since a step learns
/// from cells.
const A_STEP: [usize; 3] = [5, 5, 3];
const A_STEP_OF_MANY: [usize; 3] = [3, 3, 2];
const MANY_CELLS: usize = 1536;

fn views_a_step(cells: usize) -> [usize; 3] {
    if cells > MANY_CELLS { A_STEP_OF_MANY } else { A_STEP }
}

/// How a head is fitted.
#[derive(Clone, Copy, Debug)]
pub struct FitOptions {
    /// Optimiser steps.
    pub steps: usize,
    /// AdamW's learning rate.
    pub rate: f64,
    /// What it learns from.
    pub ablation: Ablation,
}

impl Head {
    /// Fits a head on views of good parts and of known bad ones (which may be none: noise alone then).
    ///
    /// Deterministic for a generator state, whatever the number of threads. `tick` is called after every step. Cost:
    /// about three forward passes of 16 views a step; memory 4 MB for each thread and 0.2 MB for each of those views.
    ///
    /// # Panics
    /// If `good` is empty.
    pub fn fit(
        space: &FeatureGraph,
        good: &[QuantizedFeatures],
        bad: &[QuantizedFeatures],
        options: FitOptions,
        rng: &mut ChaCha8Rng,
        mut tick: impl FnMut(),
    ) -> Self {
        assert!(!good.is_empty(), "a head needs good views");
        let mean = mean(space, good);
        let mut fit = Fit::new(Net::new(space.channels, rng), space, &mean);
        for step in 0..options.steps {
            // The last third anneals, so that the result does not hang on the last few draws.
            let left = (options.steps - step) as f64 / options.steps as f64;
            fit.step(&draw(space, good, bad, options.ablation, rng), options.rate * (3.0 * left).min(1.0));
            tick();
        }
        fit.net.head(&mean, space.grid)
    }

    /// The head's map of one view: `[cells]` logits. The same arithmetic as the recipe's graph before quantisation.
    pub fn map(&self, space: &FeatureGraph, codes: &[u8]) -> Vec<f32> {
        let mean = vec![0.0; space.channels];
        let logits = Net::of(self, &mean).map(space, codes, &mean);
        (0..space.cells()).map(|cell| logits[place(cell, self.grid)]).collect()
    }
}

/// What one step learns from: views of good parts and known bads by the deviation loss, spoilt ones cell by cell.
pub(super) fn draw<'a>(
    space: &FeatureGraph,
    good: &'a [QuantizedFeatures],
    bad: &'a [QuantizedFeatures],
    ablation: Ablation,
    rng: &mut ChaCha8Rng,
) -> Vec<Example<'a>> {
    let [goods, bads, pseudos] = views_a_step(space.cells());
    let pseudos = if ablation.pseudo { pseudos } else { 0 };
    let mut parts: Vec<(&QuantizedFeatures, bool)> =
        (0..goods).map(|_| (&good[rng.random_range(0..good.len())], false)).collect();
    if !bad.is_empty() {
        parts.extend((0..bads).map(|_| (&bad[rng.random_range(0..bad.len())], true)));
    }
    let spoilt: Vec<&QuantizedFeatures> = (0..pseudos).map(|_| &good[rng.random_range(0..good.len())]).collect();
    let spoilt: Vec<_> = spoilt.into_iter().map(|view| (view, Spoilt::draw(space.grid, space.channels, rng))).collect();
    let reference = reference(rng);
    if !ablation.deviation {
        parts.clear();
    }
    let weight = 1.0 / parts.len() as f32;
    let part = |(codes, is_bad): (&'a QuantizedFeatures, bool)| Example {
        codes,
        target: Target::Part { is_bad, reference },
        weight,
    };
    let weight = 1.0 / pseudos as f32;
    let spoilt = spoilt.into_iter().map(|(codes, spoilt)| Example { codes, target: Target::Spoilt(spoilt), weight });
    parts.into_iter().map(part).chain(spoilt).collect()
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
    fn view(odd: impl Fn(usize, &mut ChaCha8Rng) -> i32, rng: &mut ChaCha8Rng) -> QuantizedFeatures {
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
        let all = Ablation::default();
        let [with, without] = [all, all.without("pseudo").unwrap()].map(|ablation| {
            let options = FitOptions { steps: 500, rate: 3e-3, ablation };
            let head = Head::fit(&space, &good, &bad, options, &mut ChaCha8Rng::seed_from_u64(1), || ());
            let scores =
                |v: &[QuantizedFeatures]| v.iter().map(|c| top_mean(&head.map(&space, c), 1)).collect::<Vec<_>>();
            auroc(&scores(&tests), &scores(&unknown)).unwrap()
        });
        assert!(with > 0.9 && without < with - 0.1, "with {with}, without {without}");
    }
}
