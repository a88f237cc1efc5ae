//! The prototype bank: a few hundred feature cells that stand for all the good ones.
//!
//! Greedy k-centre (PatchCore's coreset, Roth et al. 2022, algorithm 1) on a bounded sample of cells in a random
//! projection (Johnson-Lindenstrauss), then a few rounds of k-means from there: the centres alone are the sample's
//! outermost cells, and 512 of them would sit around the good cells instead of among them.
//!
//! Distances are taken between whitened cells, where directions in which good parts hardly vary count as much as those in
//! which they vary most (`docs/EXPERIMENTS.md`, "Where the bank's distances are taken").

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::linear::product;

/// Prototypes in a bank by default: more cost more than the backbone itself.
pub const PROTOTYPES: usize = 512;
const PROJECTED: usize = 32;
const ROUNDS: usize = 2;

/// Prototypes of good cells: `[prototypes, channels]` f32.
#[derive(Clone, Debug)]
pub struct Bank {
    /// Row-major values.
    pub values: Vec<f32>,
    /// Channels of one prototype.
    pub channels: usize,
}

impl Bank {
    /// Fits at most `size` prototypes to a sample of cells, `[n, channels]` f32 (see
    /// [`Template::whiten`](super::template::Template::whiten)).
    ///
    /// Deterministic for a generator state. Cost: [`SAMPLE`](super::features::SAMPLE)` x size x PROJECTED` for the
    /// centres and twice `SAMPLE x size x channels` for the rounds; memory `SAMPLE x channels` floats (25 MB).
    pub fn fit(cells: &[f32], channels: usize, size: usize, rng: &mut ChaCha8Rng) -> Self {
        let centres = k_centre(&project(cells, channels, rng), size, rng);
        let mut values: Vec<f32> =
            centres.iter().flat_map(|&i| cells[i * channels..(i + 1) * channels].iter().copied()).collect();
        for _ in 0..ROUNDS {
            values = means(cells, &values, channels);
        }
        Self { values, channels }
    }

    /// Prototypes in the bank.
    pub fn len(&self) -> usize {
        self.values.len() / self.channels
    }

    /// Whether the bank has no prototype.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Root mean squared distance of each of the cells `[cells, channels]` of a view to its nearest prototype: `[cells]`.
    pub fn distances(&self, cells: &[f32]) -> Vec<f32> {
        let nearest = nearest(cells, &self.values, self.channels);
        nearest.into_iter().map(|(_, d2)| (d2.max(0.0) / self.channels as f32).sqrt()).collect()
    }
}

/// Random Gaussian-like projection (signs) of `[n, channels]` to `[n, PROJECTED]`.
fn project(cells: &[f32], channels: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let signs: Vec<f32> = (0..channels * PROJECTED).map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 }).collect();
    cells
        .par_chunks(channels)
        .flat_map_iter(|cell| {
            let mut out = [0.0f32; PROJECTED];
            for (v, row) in cell.iter().zip(signs.chunks_exact(PROJECTED)) {
                for (o, s) in out.iter_mut().zip(row) {
                    *o += v * s;
                }
            }
            out
        })
        .collect()
}

/// Indices of `size` points, each the furthest from those before it; the first by chance.
fn k_centre(points: &[f32], size: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let n = points.len() / PROJECTED;
    if n <= size {
        return (0..n).collect();
    }
    let mut far = vec![f32::MAX; n];
    let mut centres = vec![rng.random_range(0..n)];
    while centres.len() < size {
        let last = centres[centres.len() - 1] * PROJECTED;
        let centre = &points[last..last + PROJECTED];
        far.par_iter_mut().zip(points.par_chunks(PROJECTED)).with_min_len(4096).for_each(|(d, p)| {
            let d2: f32 = p.iter().zip(centre).map(|(a, b)| (a - b) * (a - b)).sum();
            *d = d.min(d2);
        });
        // The first of equals, so that the order of threads cannot matter.
        let next = (0..n).max_by(|&a, &b| far[a].total_cmp(&far[b]).then(b.cmp(&a))).unwrap_or(0);
        if far[next] <= 0.0 {
            break;
        }
        centres.push(next);
    }
    centres
}

/// Each prototype replaced by the mean of the cells nearest to it; one without cells stays.
fn means(cells: &[f32], prototypes: &[f32], channels: usize) -> Vec<f32> {
    let near = nearest(cells, prototypes, channels);
    let mut sums = vec![0.0f64; prototypes.len()];
    let mut counts = vec![0u32; prototypes.len() / channels];
    for (cell, (p, _)) in cells.chunks(channels).zip(near) {
        counts[p] += 1;
        for (s, &v) in sums[p * channels..].iter_mut().zip(cell) {
            *s += f64::from(v);
        }
    }
    let mut out = prototypes.to_vec();
    for (p, &n) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
        for c in p * channels..(p + 1) * channels {
            out[c] = (sums[c] / f64::from(n)) as f32;
        }
    }
    out
}

/// For every cell, its nearest prototype and the squared distance.
///
/// `|x - p|² = |x|² - 2 (x·p - |p|²/2)`: one matrix product, then the largest of each row.
fn nearest(cells: &[f32], prototypes: &[f32], channels: usize) -> Vec<(usize, f32)> {
    let half: Vec<f32> = prototypes.chunks(channels).map(|p| p.iter().map(|v| v * v).sum::<f32>() / 2.0).collect();
    let count = half.len();
    cells
        .par_chunks(256 * channels)
        .flat_map_iter(|block| {
            let product = product(block, prototypes, channels);
            let mut out = Vec::with_capacity(block.len() / channels);
            for (cell, row) in block.chunks(channels).zip(product.chunks(count)) {
                let best = (0..count)
                    .max_by(|&a, &b| (row[a] - half[a]).total_cmp(&(row[b] - half[b])).then(b.cmp(&a)))
                    .unwrap_or(0);
                let norm: f32 = cell.iter().map(|v| v * v).sum();
                out.push((best, norm - 2.0 * (row[best] - half[best])));
            }
            out
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn nearest_finds_what_brute_force_finds() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let cells: Vec<f32> = (0..40 * 7).map(|_| rng.random_range(-1.0..1.0)).collect();
        let bank: Vec<f32> = (0..9 * 7).map(|_| rng.random_range(-1.0..1.0)).collect();
        for (cell, (p, d2)) in cells.chunks(7).zip(nearest(&cells, &bank, 7)) {
            let all: Vec<f32> =
                bank.chunks(7).map(|b| b.iter().zip(cell).map(|(a, c)| (a - c) * (a - c)).sum()).collect();
            let best = (0..9).min_by(|&a, &b| all[a].total_cmp(&all[b])).expect("nine");
            assert_eq!(p, best);
            assert!((d2 - all[best]).abs() < 1e-4);
        }
    }

    #[test]
    fn centres_are_spread_and_repeat_for_a_seed() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        // Three tight clusters far apart: three centres must take one of each.
        let points: Vec<f32> = (0..300)
            .flat_map(|i| {
                let mut p = [0.0f32; PROJECTED];
                p[i % 3] = 100.0 + (i as f32) * 1e-3;
                p
            })
            .collect();
        let centres = k_centre(&points, 3, &mut rng);
        let mut clusters: Vec<usize> = centres.iter().map(|i| i % 3).collect();
        clusters.sort_unstable();
        assert_eq!(clusters, [0, 1, 2]);
        assert_eq!(centres, k_centre(&points, 3, &mut ChaCha8Rng::seed_from_u64(1)));
    }
}
