//! Medians, quantiles, means and deviations: one of each.
//!
//! Two medians, because figures of recipes and reports depend on which one was taken: [`upper_median`] is always one of
//! the values, [`median`] lies halfway between the middle two of an even number. Likewise [`nth`] is a value by its rank
//! and [`quantile`] interpolates. Nothing here allocates.

use std::cmp::Ordering;
use std::time::Duration;

/// What can be put in order: floating-point numbers by their total order, so that NaN has a place and is not a panic.
pub trait Ordered: Copy {
    /// The order of two values.
    fn order(&self, other: &Self) -> Ordering;
}

impl Ordered for f32 {
    fn order(&self, other: &Self) -> Ordering {
        self.total_cmp(other)
    }
}

impl Ordered for f64 {
    fn order(&self, other: &Self) -> Ordering {
        self.total_cmp(other)
    }
}

impl Ordered for u8 {
    fn order(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}

impl Ordered for Duration {
    fn order(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}

/// The value with `rank` values below it, the nearest-rank quantile; `None` where there are not so many. Puts `values`
/// into another order; linear in their number.
pub fn nth<T: Ordered>(values: &mut [T], rank: usize) -> Option<T> {
    (rank < values.len()).then(|| *values.select_nth_unstable_by(rank, T::order).1)
}

/// The middle value, of an even number the upper of the two; `None` of nothing. Puts `values` into another order.
pub fn upper_median<T: Ordered>(values: &mut [T]) -> Option<T> {
    nth(values, values.len() / 2)
}

/// The middle value, of an even number halfway between the two; `None` of nothing. Puts `values` into another order.
pub fn median(values: &mut [f64]) -> Option<f64> {
    let upper = upper_median(values)?;
    let lower = nth(values, (values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// The quantile at `share` (0 to 1) of values in ascending order, between two neighbours where it falls between them
/// (Hyndman and Fan's seventh definition). Not the same bits as [`median`] at one half: it is computed from the
/// lower neighbour, in `f32`.
///
/// # Panics
/// If there are none.
pub fn quantile(sorted: &[f32], share: f32) -> f32 {
    let at = share * (sorted.len() - 1) as f32;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Arithmetic mean; `None` of nothing.
pub fn mean(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let n = values.clone().count();
    (n > 0).then(|| values.sum::<f64>() / n as f64)
}

/// Standard deviation of a sample, over n - 1; `None` of fewer than two.
pub fn deviation(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let n = values.clone().count();
    let mean = mean(values.clone())?;
    let squares: f64 = values.map(|v| (v - mean).powi(2)).sum();
    (n > 1).then(|| (squares / (n - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_those_of_sorted_values() {
        assert_eq!((upper_median::<f32>(&mut []), median(&mut [])), (None, None));
        assert_eq!((upper_median(&mut [3.0f32, 1.0, 2.0]), median(&mut [3.0, 1.0, 2.0])), (Some(2.0), Some(2.0)));
        assert_eq!(
            (upper_median(&mut [4u8, 1, 2, 8]), median(&mut [4.0, 1.0, 2.0, 8.0])),
            (Some(4), Some(3.0)),
            "of an even number"
        );
        assert!(upper_median(&mut [f64::NAN, f64::NAN, 1.0]).unwrap().is_nan(), "NaN is above all numbers");
    }

    #[test]
    fn values_by_rank_and_between_ranks() {
        let mut values = [5u8, 3, 9, 1];
        assert_eq!([0, 1, 3, 4].map(|rank| nth(&mut values, rank)), [Some(1), Some(3), Some(9), None]);
        assert_eq!([0.0, 0.5, 1.0].map(|share| quantile(&[1.0, 2.0, 4.0], share)), [1.0, 2.0, 4.0]);
        assert_eq!(quantile(&[1.0, 2.0], 0.25), 1.25);
    }

    #[test]
    fn mean_and_deviation_of_a_sample() {
        let of = |values: &[f64]| (mean(values.iter().copied()), deviation(values.iter().copied()));
        assert_eq!([of(&[]), of(&[3.0])], [(None, None), (Some(3.0), None)]);
        assert_eq!(of(&[1.0, 2.0, 3.0]), (Some(2.0), Some(1.0)));
    }
}
