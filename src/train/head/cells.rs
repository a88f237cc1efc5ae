//! What a step of the fit is fed with: views as rows of cells, spoilt ones, the reference scores.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::train::features::{FeatureGraph, QuantizedFeatures};

const REFERENCE_DRAWS: usize = 5000;

/// Where a cell stands in its view's planes: the four cells of each 2x2 block lie in four planes of `cells/4`.
pub(super) fn place(cell: usize, [rows, columns]: [usize; 2]) -> usize {
    let (y, x) = (cell / columns, cell % columns);
    ((y % 2) * 2 + x % 2) * (rows * columns / 4) + (y / 2) * (columns / 2) + x / 2
}

/// Centred features of a view, plane-major: `[4, cells/4, channels]`.
pub(super) fn centred(space: &FeatureGraph, codes: &[u8], mean: &[f32], x: &mut [f32]) {
    let (c, tokens) = (space.channels, space.cells() / 4);
    let [_, columns] = space.grid;
    let zero = f32::from(space.quant.zero_point);
    for (i, out) in x.chunks_exact_mut(c).enumerate() {
        let (plane, token) = (i / tokens, i % tokens);
        let (y, px) = (token / (columns / 2) * 2 + plane / 2, token % (columns / 2) * 2 + plane % 2);
        let cell = (y * columns + px) * c;
        for ((o, &code), m) in out.iter_mut().zip(&codes[cell..cell + c]).zip(mean) {
            *o = (f32::from(code) - zero) * space.quant.scale - m;
        }
    }
}

/// The mean of the good views' features: `[channels]`.
pub(super) fn mean(space: &FeatureGraph, good: &[QuantizedFeatures]) -> Vec<f32> {
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
pub(super) fn reference(rng: &mut ChaCha8Rng) -> [f64; 2] {
    let (mut s, mut s2) = (0.0, 0.0);
    for _ in 0..REFERENCE_DRAWS / 2 {
        for v in normal_pair(rng) {
            s += f64::from(v);
            s2 += f64::from(v) * f64::from(v);
        }
    }
    let n = REFERENCE_DRAWS as f64;
    [s / n, (s2 / n - (s / n).powi(2)).sqrt()]
}

/// Two independent draws of N(0, 1).
fn normal_pair(rng: &mut ChaCha8Rng) -> [f32; 2] {
    normals([rng.random(), rng.random()])
}

/// Two independent draws of N(0, 1) from two of the uniform distribution (Box and Muller).
fn normals([first, second]: [f32; 2]) -> [f32; 2] {
    let r = (-2.0 * (1.0 - first).ln()).sqrt();
    let a = std::f32::consts::TAU * second;
    [r * a.cos(), r * a.sin()]
}

/// A pseudo-anomaly: noise on the cells where a smooth random field is high.
pub(super) struct Spoilt {
    /// 1 where a cell is spoilt, else 0: `[cells]`, plane-major.
    pub(super) mask: Vec<f32>,
    cells: Vec<usize>,
    strength: f32,
    /// The noise as it was drawn, one pair for two channels of each of the cells; [`Spoilt::add`] makes it normal, on the
    /// thread that needs it.
    uniform: Vec<[f32; 2]>,
}

impl Spoilt {
    /// Draws one for a grid.
    pub(super) fn draw([h, w]: [usize; 2], channels: usize, rng: &mut ChaCha8Rng) -> Self {
        const KNOTS: usize = 6;
        let knots: Vec<f32> = (0..KNOTS * KNOTS / 2).flat_map(|_| normal_pair(rng)).collect();
        let strength = 0.6 * (0.5 + rng.random::<f32>());
        let mut spoilt = Self { mask: vec![0.0; h * w], cells: Vec::new(), strength, uniform: Vec::new() };
        for y in 0..h {
            for px in 0..w {
                let (fy, fx) = (y as f32 / h as f32 * (KNOTS - 1) as f32, px as f32 / w as f32 * (KNOTS - 1) as f32);
                let (iy, ix) = (fy as usize, fx as usize);
                let (ty, tx) = (fy - iy as f32, fx - ix as f32);
                let at = |dy: usize, dx: usize| knots[(iy + dy).min(KNOTS - 1) * KNOTS + (ix + dx).min(KNOTS - 1)];
                let top = at(0, 0) * (1.0 - tx) + at(0, 1) * tx;
                let bottom = at(1, 0) * (1.0 - tx) + at(1, 1) * tx;
                if top * (1.0 - ty) + bottom * ty > 1.1 {
                    spoilt.mask[place(y * w + px, [h, w])] = 1.0;
                    spoilt.cells.push(y * w + px);
                    spoilt
                        .uniform
                        .extend((0..channels.div_ceil(2)).map(|_| -> [f32; 2] { [rng.random(), rng.random()] }));
                }
            }
        }
        spoilt
    }

    /// Adds the noise to features, plane-major.
    pub(super) fn add(&self, space: &FeatureGraph, x: &mut [f32]) {
        let c = space.channels;
        for (&cell, uniform) in self.cells.iter().zip(self.uniform.chunks_exact(c.div_ceil(2))) {
            let at = place(cell, space.grid) * c;
            for (pair, &uniform) in x[at..at + c].chunks_mut(2).zip(uniform) {
                pair.iter_mut().zip(normals(uniform)).for_each(|(v, n)| *v += self.strength * n);
            }
        }
    }
}
