//! The template: what each place of a part looks like, as a mean and a deviation of every feature there.
//!
//! PaDiM's idea (Defard et al. 2021) at a cost that a small board can pay: features are whitened once for all places
//! (by the Cholesky factor of their covariance), and each place then keeps a diagonal Gaussian. Where parts lie at the
//! same place in every picture this finds what a bank cannot, a hole that is missing or a groove where none belongs; on
//! parts that lie anywhere every place has the same Gaussian, and what is left is the Mahalanobis distance.
//!
//! Chosen by a prototype: `docs/EXPERIMENTS.md`, "Template and bank".

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::features::{FeatureGraph, QuantizedFeatures};
use super::linear::{cholesky, inverse_lower, product};
use super::location_stats::Layout;
use crate::error::Result;

/// Added to the covariance's diagonal, in mean variances: directions in which good parts never vary must not decide.
const RIDGE: f64 = 0.02;
/// Weight of what holds for all places in each place's statistics, in parts.
const SHRINK: f64 = 4.0;

/// Whitening, and each place's Gaussian in whitened features.
#[derive(Clone, Debug)]
pub struct Template {
    /// Whitening matrix `[channels, channels]`, row-major, lower triangular.
    pub weight: Vec<f32>,
    /// `[channels]`: minus the whitened mean of all places.
    pub bias: Vec<f32>,
    /// Each place's mean and one over its deviation; `None` where views lie anywhere.
    pub places: Option<Gaussians>,
    channels: usize,
}

/// A diagonal Gaussian for each place.
#[derive(Clone, Debug)]
pub struct Gaussians {
    /// What they are places of.
    pub layout: Layout,
    /// Means, `[places, channels]`.
    pub mean: Vec<f32>,
    /// One over the standard deviations, `[places, channels]`.
    pub gain: Vec<f32>,
}

/// Views of good parts in batches: too many to be kept, or kept already.
pub struct Batches<'a> {
    /// What places they show.
    pub layout: Layout,
    /// How many there are.
    pub count: usize,
    /// The `n`-th.
    pub batch: &'a dyn Fn(usize) -> Result<Vec<QuantizedFeatures>>,
}

impl<'a> Batches<'a> {
    /// Whole views, all in one batch.
    pub fn whole(grid: [usize; 2], batch: &'a dyn Fn(usize) -> Result<Vec<QuantizedFeatures>>) -> Self {
        Self { layout: Layout::fixed(grid), count: 1, batch }
    }
}

impl Template {
    /// Fits the whitening to `views` of good parts and the Gaussians to `batches` of them, which may be the same; without
    /// batches no place is told from another.
    ///
    /// Deterministic for a generator state. Cost: `channels² x cells` multiplications a view; memory `2 x channels x
    /// places` doubles and `SAMPLE x channels` floats (25 MB).
    ///
    /// # Errors
    /// Those of the batches.
    pub fn fit(
        space: &FeatureGraph,
        views: &[QuantizedFeatures],
        batches: Option<&Batches<'_>>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let channels = space.channels;
        let (weight, mean) = whitening(&space.sample(views, rng), channels);
        let bias = weight.chunks(channels).map(|row| -row.iter().zip(&mean).map(|(w, m)| w * m).sum::<f32>()).collect();
        let mut template = Self { weight, bias, places: None, channels };
        if let Some(batches) = batches {
            template.places = Some(template.gaussians(space, batches)?);
        }
        Ok(template)
    }

    /// Root mean squared deviation of a view's [`whitened`](Self::whitened) cells from what is usual at their places:
    /// `[cells]`, 0 for those that show none; the view begins `at` a row and a column.
    pub fn distances(&self, z: &[f32], at: [usize; 2]) -> Vec<f32> {
        let channels = self.channels;
        let rms = |sum: f32| (sum / channels as f32).sqrt();
        let Some(Gaussians { layout, mean, gain }) = &self.places else {
            return z.chunks(channels).map(|z| rms(z.iter().map(|v| v * v).sum())).collect();
        };
        let mut distances = vec![0.0; z.len() / channels];
        for (cell, place) in layout.of(at) {
            let of = place * channels..(place + 1) * channels;
            let parts = z[cell * channels..][..channels].iter().zip(&mean[of.clone()]).zip(&gain[of]);
            distances[cell] = rms(parts.map(|((z, m), g)| ((z - m) * g).powi(2)).sum());
        }
        distances
    }

    /// The whitened features of a view: `[cells, channels]`.
    pub fn whitened(&self, space: &FeatureGraph, codes: &[u8]) -> Vec<f32> {
        let mut x = Vec::with_capacity(codes.len());
        space.real(codes, &mut x);
        self.whiten(&x)
    }

    /// Whitens cells `[n, channels]`: unit variance in every direction in which good cells vary.
    pub fn whiten(&self, x: &[f32]) -> Vec<f32> {
        let mut z = product(x, &self.weight, self.channels);
        for cell in z.chunks_mut(self.channels) {
            cell.iter_mut().zip(&self.bias).for_each(|(v, b)| *v += b);
        }
        z
    }

    fn gaussians(&self, space: &FeatureGraph, batches: &Batches<'_>) -> Result<Gaussians> {
        let (layout, channels) = (batches.layout, self.channels);
        let [rows, columns] = layout.extent;
        let mut counts = vec![0.0f64; layout.count()];
        let mut sums = vec![[0.0f64; 2]; layout.count() * channels];
        for batch in 0..batches.count {
            let views = (batches.batch)(batch)?;
            for chunk in views.chunks(16) {
                let whitened: Vec<_> = chunk.par_iter().map(|codes| self.whitened(space, codes)).collect();
                for (z, codes) in whitened.iter().zip(chunk) {
                    for (cell, place) in layout.of(codes.at) {
                        counts[place] += 1.0;
                        let z = &z[cell * channels..][..channels];
                        for (s, &z) in sums[place * channels..].iter_mut().zip(z) {
                            let z = f64::from(z);
                            *s = [s[0] + z, s[1] + z * z];
                        }
                    }
                }
            }
        }
        let all = counts.iter().sum::<f64>().max(1.0);
        let channel = |c: usize| -> Vec<(f32, f32)> {
            let at = |place: usize| sums[place * channels + c];
            let [s, s2] = (0..layout.count()).map(at).fold([0.0; 2], |all, of| [all[0] + of[0], all[1] + of[1]]);
            let whole = s / all;
            let spread = (s2 / all - whole * whole).max(1e-6);
            let moments = |(place, &n): (usize, &f64)| match (n > 0.0, at(place)) {
                (true, [s, s2]) => (s / n, (s2 / n - (s / n).powi(2)).max(0.0)),
                (false, _) => (whole, spread),
            };
            let (mean, var): (Vec<f64>, Vec<f64>) = counts.iter().enumerate().map(moments).unzip();
            // Neighbours vary alike; their means do not: averaging those would blur the part.
            let var = super::location_stats::near(&var, rows, columns);
            let shrunk = |n: f64, local: f64, whole: f64| (n * local + SHRINK * whole) / (n + SHRINK);
            let place = |((m, v), &n): ((&f64, f64), &f64)| {
                (shrunk(n, *m, whole) as f32, (1.0 / shrunk(n, v, spread).sqrt()) as f32)
            };
            mean.iter().zip(var).zip(&counts).map(place).collect()
        };
        let (mut mean, mut gain) = (vec![0.0; sums.len()], vec![0.0; sums.len()]);
        let of_channels: Vec<_> = (0..channels).into_par_iter().map(channel).collect();
        for (c, places) in of_channels.into_iter().enumerate() {
            for (place, (m, g)) in places.into_iter().enumerate() {
                (mean[place * channels + c], gain[place * channels + c]) = (m, g);
            }
        }
        Ok(Gaussians { layout, mean, gain })
    }
}

/// The inverse of the covariance's Cholesky factor, `[channels, channels]`, and the mean.
fn whitening(cells: &[f32], channels: usize) -> (Vec<f32>, Vec<f32>) {
    let n = (cells.len() / channels).max(1) as f64;
    let mut mean = vec![0.0f64; channels];
    for cell in cells.chunks(channels) {
        mean.iter_mut().zip(cell).for_each(|(m, &v)| *m += f64::from(v) / n);
    }
    let mut columns = vec![0.0f32; cells.len()];
    let rows = cells.len() / channels;
    for (r, cell) in cells.chunks(channels).enumerate() {
        for (c, (&v, m)) in cell.iter().zip(&mean).enumerate() {
            columns[c * rows + r] = (f64::from(v) - m) as f32;
        }
    }
    let mut covariance: Vec<f64> = product(&columns, &columns, rows).into_iter().map(|v| f64::from(v) / n).collect();
    let ridge = RIDGE * (0..channels).map(|c| covariance[c * channels + c]).sum::<f64>() / channels as f64;
    (0..channels).for_each(|c| covariance[c * channels + c] += ridge.max(1e-9));
    let inverse = inverse_lower(&cholesky(&covariance, channels), channels);
    (inverse.into_iter().map(|v| v as f32).collect(), mean.into_iter().map(|m| m as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn whitened_cells_have_unit_variance_and_no_correlation() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        // Channel 2 is nearly channel 0, channel 1 is twice as large.
        let cells: Vec<f32> = (0..4000)
            .flat_map(|_| {
                let [a, b, c]: [f32; 3] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
                [a + 5.0, 2.0 * b, a + 0.5 * c]
            })
            .collect();
        let (weight, mean) = whitening(&cells, 3);
        let centred: Vec<f32> = cells.chunks(3).flat_map(|c| [0, 1, 2].map(|i| c[i] - mean[i])).collect();
        let z = product(&centred, &weight, 3);
        for i in 0..3 {
            for j in 0..3 {
                let moment = z.chunks(3).map(|c| f64::from(c[i] * c[j])).sum::<f64>() / 4000.0;
                // The ridge, two hundredths of a mean variance of 0.7, takes a little and leaves a little.
                let (low, high) = if i == j { (0.7, 1.05) } else { (-0.15, 0.15) };
                assert!((low..high).contains(&moment), "moment {i} {j} is {moment}");
            }
        }
    }
}
