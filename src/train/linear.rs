//! The little linear algebra that teaching needs, on row-major `[n, n]` slices in double precision.

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
