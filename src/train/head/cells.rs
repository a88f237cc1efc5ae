//! What a step of the fit is fed with: views as rows of cells, spoilt ones, the reference scores.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::train::features::{Codes, FeatureGraph};

const REFERENCE_DRAWS: usize = 5000;

/// Where a cell stands in its view's planes: the four cells of each 2x2 block lie in four planes of `cells/4`.
pub(super) fn place(cell: usize, [rows, columns]: [usize; 2]) -> usize {
    let (y, x) = (cell / columns, cell % columns);
    ((y % 2) * 2 + x % 2) * (rows * columns / 4) + (y / 2) * (columns / 2) + x / 2
}

/// Centred features of several views, plane-major: `[4, views, cells/4, channels]`, with `noise` (`[k, cells,
/// channels]`) added to the last `k` views.
pub(super) fn planes(space: &FeatureGraph, views: &[&[u8]], mean: &[f32], noise: &[f32]) -> Vec<f32> {
    let (c, tokens) = (space.channels, space.cells() / 4);
    let [_, columns] = space.grid;
    let first_noisy = views.len() - noise.len() / (space.cells() * c);
    let zero = f32::from(space.quant.zero_point);
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

/// The mean of the good views' features: `[channels]`.
pub(super) fn mean(space: &FeatureGraph, good: &[Codes]) -> Vec<f32> {
    let mut sums = vec![0u64; space.channels];
    for codes in good {
        for cell in codes.chunks(space.channels) {
            for (s, &c) in sums.iter_mut().zip(cell) {
                *s += u64::from(c);
            }
        }
    }
    let n = (good.len() * space.cells()) as f64;
    let zero = f64::from(space.quant.zero_point);
    sums.iter().map(|&s| ((s as f64 / n - zero) * f64::from(space.quant.scale)) as f32).collect()
}

/// Mean and deviation of the reference scores' draws.
pub(super) fn reference(rng: &mut ChaCha8Rng) -> (f64, f64) {
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
pub(super) fn spoil(x: &mut [f32], mask: &mut [f32], [h, w]: [usize; 2], channels: usize, rng: &mut ChaCha8Rng) {
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
