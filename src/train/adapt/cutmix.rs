//! CutMix of a located defect in feature space: its cells over those of a kept good view, where no good picture is at hand.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::frame::geometry::{Roi, View};
use crate::train::features::QuantizedFeatures;

/// Cells `[left, top, right, bottom]`, right and bottom exclusive, all even: coarse features are repeated over 2x2 cells.
pub type Cells = [usize; 4];

/// The cells of `view`, on `grid`, that a defect at `defect` reaches: features are averages over neighbours, so that one
/// more cell on each side shows it.
pub fn cells(defect: Roi, view: &View, grid: [usize; 2]) -> Cells {
    let side = |from: u32, length: u32, at: f64, of: f64, cells: usize| {
        let cell = |p: f64| (p - at) / of * cells as f64;
        let low = (cell(f64::from(from)).floor() - 1.0).clamp(0.0, (cells - 2) as f64) as usize & !1;
        let high = (cell(f64::from(from) + f64::from(length)).ceil() + 1.0).clamp(0.0, cells as f64) as usize;
        (low, high.next_multiple_of(2).clamp(low + 2, cells))
    };
    let (left, right) = side(defect.x, defect.width, view.x, view.width, grid[1]);
    let (top, bottom) = side(defect.y, defect.height, view.y, view.height, grid[0]);
    [left, top, right, bottom]
}

/// `good` with the cells `from` of `bad`, within a third of the view's size of where they were.
///
/// Codes `[cells, channels]` on `grid`.
pub fn paste(
    good: &QuantizedFeatures,
    bad: &QuantizedFeatures,
    from: Cells,
    grid: [usize; 2],
    rng: &mut ChaCha8Rng,
) -> QuantizedFeatures {
    let [rows, columns] = grid;
    let channels = good.len() / (rows * columns);
    let [left, top, right, bottom] = from;
    let mut shifted = |at: usize, length: usize, cells: usize| {
        let third = (cells / 6) as i64;
        let to = at as i64 + 2 * rng.random_range(-third..=third);
        to.clamp(0, (cells - length) as i64) as usize & !1
    };
    let x = shifted(left, right - left, columns);
    let y = shifted(top, bottom - top, rows);
    let mut codes = good.to_vec();
    for row in 0..bottom - top {
        let width = (right - left) * channels;
        let (source, to) = (((top + row) * columns + left) * channels, ((y + row) * columns + x) * channels);
        codes[to..to + width].copy_from_slice(&bad[source..source + width]);
    }
    QuantizedFeatures::new(codes, good.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn a_defect_reaches_its_cells_and_one_more() {
        let view = View { x: 100.0, y: 50.0, width: 320.0, height: 160.0 };
        let at = |x, y, width, height| cells(Roi { x, y, width, height }, &view, [16, 32]);
        assert_eq!(at(200, 100, 20, 10), [8, 4, 14, 8]);
        assert_eq!(at(0, 0, 110, 60), [0, 0, 2, 2], "beyond the view");
        assert_eq!(at(410, 205, 500, 500), [30, 14, 32, 16]);
        assert_eq!(at(0, 0, 900, 900), [0, 0, 32, 16]);
    }

    #[test]
    fn the_cells_land_whole_and_on_even_places() {
        let (rows, columns, channels) = (6, 8, 3);
        let good = QuantizedFeatures::new(vec![1; rows * columns * channels], [4, 2]);
        let bad: Vec<u8> = (0..rows * columns * channels).map(|i| 100 + (i / channels) as u8).collect();
        let bad = QuantizedFeatures::new(bad, [0, 0]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let mixed = paste(&good, &bad, [2, 2, 6, 4], [rows, columns], &mut rng);
            assert_eq!(mixed.at, good.at);
            let changed: Vec<usize> = (0..rows * columns).filter(|i| mixed[i * channels] != 1).collect();
            let (x, y) = (changed[0] % columns, changed[0] / columns);
            assert!(changed.len() == 8 && x % 2 == 0 && y % 2 == 0, "{changed:?}");
            for (n, i) in changed.iter().enumerate() {
                let source = (2 + n / 4) * columns + 2 + n % 4;
                assert_eq!((i % columns, i / columns), (x + n % 4, y + n / 4));
                assert!(mixed[i * channels..][..channels].iter().all(|v| usize::from(*v) == 100 + source));
            }
            places.insert((x, y));
        }
        assert!(places.len() > 3, "{places:?}");
    }
}
