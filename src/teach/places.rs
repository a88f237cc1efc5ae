//! What is usual at each place of a map: edges and holes of a registered part vary more than its plain faces.
//!
//! Mean and deviation of a map's cells over good parts, averaged over 3x3 cells (parts shift a little) and shrunk towards
//! those of the whole map, as far as parts are few; where parts lie anywhere, every place looks the same and the
//! standardisation is that of the whole map.

/// Weight of the whole map's statistics, in parts.
const SHRINK: f64 = 8.0;

/// Mean and deviation at each cell, `[cells]`.
#[derive(Clone, Debug)]
pub struct Places {
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations, > 0.
    pub std: Vec<f32>,
}

impl Places {
    /// Of the maps of good parts, each `[rows, columns]`.
    pub fn fit(maps: &[Vec<f32>], [rows, columns]: [usize; 2]) -> Self {
        let (mean, var, all) = moments(maps, rows * columns);
        let n = maps.len() as f64;
        let shrunk = |local: f64, whole: f64| (n * local + SHRINK * whole) / (n + SHRINK);
        let mean: Vec<f64> = near(&mean, rows, columns).into_iter().map(|m| shrunk(m, all[0])).collect();
        let var: Vec<f64> = near(&var, rows, columns).into_iter().map(|v| shrunk(v, all[1])).collect();
        Self::of(&mean, &var, all)
    }

    /// The same everywhere: for views that move over the part.
    pub fn anywhere(maps: &[Vec<f32>], cells: usize) -> Self {
        let (_, _, all) = moments(maps, cells);
        Self::of(&vec![all[0]; cells], &vec![all[1]; cells], all)
    }

    fn of(mean: &[f64], var: &[f64], all: [f64; 2]) -> Self {
        let least = (0.05 * all[1].sqrt()).max(0.01 * all[0].abs()).max(1e-6);
        Self {
            mean: mean.iter().map(|&m| m as f32).collect(),
            std: var.iter().map(|v| v.sqrt().max(least) as f32).collect(),
        }
    }

    /// A map in standard deviations of what is usual at each place.
    pub fn standardise(&self, map: &mut [f32]) {
        for ((v, m), s) in map.iter_mut().zip(&self.mean).zip(&self.std) {
            *v = (*v - m) / s;
        }
    }
}

/// Mean and variance at each cell, and `[mean, variance]` over all of them.
fn moments(maps: &[Vec<f32>], cells: usize) -> (Vec<f64>, Vec<f64>, [f64; 2]) {
    let n = maps.len().max(1) as f64;
    let mut mean = vec![0.0; cells];
    let mut square = vec![0.0; cells];
    for map in maps {
        for ((m, s), &v) in mean.iter_mut().zip(&mut square).zip(map) {
            *m += f64::from(v) / n;
            *s += f64::from(v) * f64::from(v) / n;
        }
    }
    let whole = mean.iter().sum::<f64>() / cells as f64;
    let spread = (square.iter().sum::<f64>() / cells as f64 - whole * whole).max(0.0);
    let var = mean.iter().zip(&square).map(|(m, s)| (s - m * m).max(0.0)).collect();
    (mean, var, [whole, spread])
}

/// The mean over each cell and its neighbours.
pub(super) fn near(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(values.len());
    for y in 0..rows {
        for x in 0..columns {
            let (mut sum, mut count) = (0.0, 0.0);
            for ny in y.saturating_sub(1)..(y + 2).min(rows) {
                for nx in x.saturating_sub(1)..(x + 2).min(columns) {
                    sum += values[ny * columns + nx];
                    count += 1.0;
                }
            }
            out.push(sum / count);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restless_place_is_told_from_a_calm_one() {
        let maps: Vec<Vec<f32>> = (0..100)
            .map(|i| (0..36).map(|c| if c < 18 { 5.0 + (i % 5) as f32 } else { 1.0 + 0.1 * (i % 3) as f32 }).collect())
            .collect();
        let places = Places::fit(&maps, [6, 6]);
        let mut map = vec![9.0f32; 36];
        places.standardise(&mut map);
        assert!(map[35] > 4.0 * map[0], "9 is usual at the top and strange at the bottom: {map:?}");
    }

    #[test]
    fn few_parts_say_little_about_places() {
        let map: Vec<f32> = (0..36).map(|c| c as f32).collect();
        let one = Places::fit(std::slice::from_ref(&map), [6, 6]);
        let many = Places::fit(&vec![map; 50], [6, 6]);
        let range = |p: &Places| p.mean[35] - p.mean[0];
        assert!(range(&one) < 0.2 * range(&many));
    }
}
