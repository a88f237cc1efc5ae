//! What is usual at each place of a map: edges and holes of a registered part vary more than its plain faces.
//!
//! Mean and deviation of a map's cells over good parts, averaged over 3x3 cells (parts shift a little) and shrunk towards
//! those of the whole map, as far as parts are few; where parts lie anywhere, every place looks the same and the
//! standardisation is that of the whole map.
//!
//! The places of full images are their cells. Those of crops are the cells of a [lattice](CropLattice) of the whole frame,
//! of which each view shows some.

use crate::inspect::crop::CropLattice;

/// Weight of the whole map's statistics, in parts.
const SHRINK: f64 = 8.0;

/// Which place of the part a view's cells show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rows and columns of a view.
    pub grid: [usize; 2],
    /// Rows and columns of all places: the grid itself where every view shows the same.
    pub extent: [usize; 2],
    /// Cells along the edges of a view that show no place (see [`CropLattice::margin`]).
    pub margin: usize,
}

impl Layout {
    /// Every view shows the same places.
    pub fn fixed(grid: [usize; 2]) -> Self {
        Self { grid, extent: grid, margin: 0 }
    }

    /// Views begin anywhere on a lattice.
    pub fn on(lattice: &CropLattice, grid: [usize; 2]) -> Self {
        Self { grid, extent: [lattice.rows, lattice.columns], margin: lattice.margin }
    }

    /// All places.
    pub fn count(&self) -> usize {
        self.extent[0] * self.extent[1]
    }

    /// Whether views differ in what they show.
    pub fn moves(&self) -> bool {
        self.extent != self.grid
    }

    /// The cells of a view that begins at a row and a column, each with the place that it shows.
    pub fn of(&self, at: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
        let [row, column] = if self.moves() { at } else { [0, 0] };
        let ([rows, columns], across, margin) = (self.grid, self.extent[1], self.margin);
        let place = move |y: usize, x: usize| (y * columns + x, (row + y) * across + column + x);
        (margin..rows - margin).flat_map(move |y| (margin..columns - margin).map(move |x| place(y, x)))
    }
}

/// Mean and deviation at each place, `[places]`.
#[derive(Clone, Debug)]
pub struct LocationStats {
    /// What they are places of.
    pub layout: Layout,
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations, > 0.
    pub std: Vec<f32>,
}

impl LocationStats {
    /// Of the maps of good parts, `[rows, columns]` of the layout's grid each, with where they begin.
    pub fn fit(maps: &[(Vec<f32>, [usize; 2])], layout: Layout) -> Self {
        let Moments { count, mean, var, whole } = Moments::of(maps, layout);
        let [rows, columns] = layout.extent;
        let shrunk = |values: Vec<f64>, whole: f64| -> Vec<f64> {
            let near = near(&values, rows, columns).into_iter().zip(&count);
            near.map(|(v, n)| (n * v + SHRINK * whole) / (n + SHRINK)).collect()
        };
        Self::of(&shrunk(mean, whole[0]), &shrunk(var, whole[1]), whole, layout)
    }

    /// The same everywhere: for views that move over the part.
    pub fn anywhere(maps: &[(Vec<f32>, [usize; 2])], grid: [usize; 2]) -> Self {
        let layout = Layout::fixed(grid);
        let whole = Moments::of(maps, layout).whole;
        Self::of(&vec![whole[0]; layout.count()], &vec![whole[1]; layout.count()], whole, layout)
    }

    fn of(mean: &[f64], var: &[f64], all: [f64; 2], layout: Layout) -> Self {
        let least = (0.05 * all[1].sqrt()).max(0.01 * all[0].abs()).max(1e-6);
        Self {
            layout,
            mean: mean.iter().map(|&m| m as f32).collect(),
            std: var.iter().map(|v| v.sqrt().max(least) as f32).collect(),
        }
    }

    /// A map that begins at a row and a column, in standard deviations of what is usual at each place: none where a cell
    /// shows no place.
    pub fn standardise(&self, map: &mut Vec<f32>, at: [usize; 2]) {
        let mut standard = vec![0.0; map.len()];
        for (cell, place) in self.layout.of(at) {
            standard[cell] = (map[cell] - self.mean[place]) / self.std[place];
        }
        *map = standard;
    }
}

/// Statistics of maps.
struct Moments {
    /// Maps that show each place.
    count: Vec<f64>,
    /// Means and variances there; those of all places where no map shows one.
    mean: Vec<f64>,
    var: Vec<f64>,
    /// `[mean, variance]` over all places.
    whole: [f64; 2],
}

impl Moments {
    fn of(maps: &[(Vec<f32>, [usize; 2])], layout: Layout) -> Self {
        let mut sums = vec![[0.0f64; 3]; layout.count()];
        for (map, at) in maps {
            for (cell, place) in layout.of(*at) {
                let v = f64::from(map[cell]);
                let [n, s, s2] = sums[place];
                sums[place] = [n + 1.0, s + v, s2 + v * v];
            }
        }
        let [n, s, s2] = sums.iter().fold([0.0; 3], |all, of| std::array::from_fn(|i| all[i] + of[i]));
        let n = n.max(1.0);
        let whole = [s / n, (s2 / n - (s / n).powi(2)).max(0.0)];
        let of = |[n, s, s2]: [f64; 3]| match n > 0.0 {
            true => (s / n, (s2 / n - (s / n).powi(2)).max(0.0)),
            false => (whole[0], whole[1]),
        };
        let (mean, var) = sums.iter().map(|&sums| of(sums)).unzip();
        Self { count: sums.iter().map(|s| s[0]).collect(), mean, var, whole }
    }
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
        let value = |i: usize, c: usize| if c < 18 { 5.0 + (i % 5) as f32 } else { 1.0 + 0.1 * (i % 3) as f32 };
        let maps: Vec<_> = (0..100).map(|i| ((0..36).map(|c| value(i, c)).collect(), [0, 0])).collect();
        let places = LocationStats::fit(&maps, Layout::fixed([6, 6]));
        let mut map = vec![9.0f32; 36];
        places.standardise(&mut map, [0, 0]);
        assert!(map[35] > 4.0 * map[0], "9 is usual at the top and strange at the bottom: {map:?}");
    }

    #[test]
    fn few_parts_say_little_about_places() {
        let map = ((0..36).map(|c| c as f32).collect::<Vec<f32>>(), [0, 0]);
        let one = LocationStats::fit(std::slice::from_ref(&map), Layout::fixed([6, 6]));
        let many = LocationStats::fit(&vec![map; 50], Layout::fixed([6, 6]));
        let range = |p: &LocationStats| p.mean[35] - p.mean[0];
        assert!(range(&one) < 0.2 * range(&many));
    }

    #[test]
    fn views_that_move_learn_each_place_where_it_is() {
        let layout = Layout { grid: [4, 4], extent: [6, 8], margin: 1 };
        assert_eq!(layout.of([2, 4]).collect::<Vec<_>>(), [(5, 29), (6, 30), (9, 37), (10, 38)]);
        assert_eq!(Layout::fixed([1, 2]).of([2, 4]).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
        // Every place is a level of its own, but for some that no view shows, and edges of views tell nothing.
        let map = |at: [usize; 2]| {
            let mut map = vec![1e9; 16];
            layout.of(at).for_each(|(cell, place)| map[cell] = 10.0 * place as f32);
            map
        };
        let begins = (0..300).map(|i| [i % 3, i % 5]).filter(|at| *at != [2, 4]);
        let places = LocationStats::fit(&begins.map(|at| (map(at), at)).collect::<Vec<_>>(), layout);
        let standard = |from: [usize; 2]| {
            let mut map = map(from);
            places.standardise(&mut map, [1, 1]);
            map
        };
        let (usual, odd) = (standard([1, 1]), standard([0, 0]));
        assert!(layout.of([1, 1]).all(|(c, _)| usual[c].abs() < 0.5 && usual[c] - odd[c] > 1.0), "{usual:?} {odd:?}");
        assert_eq!((odd[0], odd[15], odd[7]), (0.0, 0.0, 0.0), "edges");
        assert!(places.mean[38].is_finite() && places.std[38] > 0.0);
    }
}
