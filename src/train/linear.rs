//! The little linear algebra that teaching needs, on row-major slices: products in single precision, factors in double.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

/// Rows of a product that one thread computes at a time. Fixed, so that results do not depend on the number of threads.
const BLOCK: usize = 128;

/// A slice as a matrix `[len / columns, columns]`.
///
/// # Panics
/// If the slice does not hold whole rows.
pub(super) fn rows(values: &[f32], columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((values.len() / columns, columns), values).expect("whole rows")
}

/// `out = a·b + keep·out`, on the calling thread.
///
/// # Panics
/// If the shapes do not fit each other.
pub(super) fn multiply(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, keep: f32, out: &mut [f32]) {
    let mut out = ArrayViewMut2::from_shape((a.nrows(), b.ncols()), out).expect("a row for each of a's");
    general_mat_mul(1.0, &a, &b, keep, &mut out);
}

/// `[n, channels] x [m, channels]ᵀ`, on all threads: `[n, m]`.
///
/// # Panics
/// If a slice does not hold whole rows.
pub(super) fn product(a: &[f32], b: &[f32], channels: usize) -> Vec<f32> {
    let b = rows(b, channels);
    let mut out = vec![0.0; a.len() / channels * b.nrows()];
    let blocks = a.par_chunks(BLOCK * channels).zip(out.par_chunks_mut(BLOCK * b.nrows()));
    blocks.for_each(|(a, out)| multiply(rows(a, channels), b.t(), 0.0, out));
    out
}

/// The lower triangular `L` with `L·Lᵀ = a` for a symmetric positive definite `a`, of which the lower half is read.
pub(super) fn cholesky(a: &[f64], n: usize) -> Vec<f64> {
    let mut l = vec![0.0f64; n * n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = l[i * n..i * n + j].iter().zip(&l[j * n..j * n + j]).map(|(a, b)| a * b).sum();
            let rest = a[i * n + j] - dot;
            // Callers add a ridge; the floor is for a matrix that is not finite precision's friend.
            l[i * n + j] = if i == j { rest.max(1e-12).sqrt() } else { rest / l[j * n + j] };
        }
    }
    l
}

/// The inverse of a lower triangular matrix, by forward substitution.
pub(super) fn inverse_lower(l: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0f64; n * n];
    for column in 0..n {
        for row in column..n {
            let dot: f64 = (column..row).map(|k| l[row * n + k] * inverse[k * n + column]).sum();
            let unit = if row == column { 1.0 } else { 0.0 };
            inverse[row * n + column] = (unit - dot) / l[row * n + row];
        }
    }
    inverse
}

/// `x` with `L·Lᵀ·x = b`.
pub(super) fn solve(l: &[f64], b: &[f64]) -> Vec<f64> {
    let n = b.len();
    let mut x = b.to_vec();
    for i in 0..n {
        let dot: f64 = l[i * n..i * n + i].iter().zip(&x).map(|(l, x)| l * x).sum();
        x[i] = (x[i] - dot) / l[i * n + i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|k| l[k * n + i] * x[k]).sum();
        x[i] = (x[i] - dot) / l[i * n + i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 9] = [4.0, 2.0, 0.6, 2.0, 5.0, 1.5, 0.6, 1.5, 3.0];

    #[test]
    fn a_factor_and_its_inverse_give_back_the_matrix() {
        let l = cholesky(&A, 3);
        let inverse = inverse_lower(&l, 3);
        for i in 0..3 {
            for j in 0..3 {
                let back: f64 = (0..3).map(|k| l[i * 3 + k] * l[j * 3 + k]).sum();
                assert!((back - A[i * 3 + j]).abs() < 1e-12);
                let unit: f64 = (0..3).map(|k| l[i * 3 + k] * inverse[k * 3 + j]).sum();
                assert!((unit - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_solution_gives_back_the_right_side() {
        let b = [1.0, -2.0, 0.5];
        let x = solve(&cholesky(&A, 3), &b);
        for (row, b) in A.chunks(3).zip(b) {
            assert!((row.iter().zip(&x).map(|(a, x)| a * x).sum::<f64>() - b).abs() < 1e-12);
        }
    }
}
