//! How sure a counted share is.

/// Two-sided 95 %.
const Z: f64 = 1.959_964;

/// Wilson's interval for a share of `rate` seen in `n` parts, 95 % confidence; 0..=1 of none.
///
/// Unlike the plain interval it stays inside 0..=1, and a share of 0 in few parts does not look certain (Wilson 1927;
/// recommended for small counts by Brown, Cai and DasGupta, "Interval Estimation for a Binomial Proportion", 2001).
pub fn wilson(rate: f64, n: f64) -> (f64, f64) {
    if n <= 0.0 {
        return (0.0, 1.0);
    }
    let z2 = Z * Z;
    let centre = (rate + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_textbooks() {
        // 81 of 263, as in Newcombe 1998, table I: 0.2553 to 0.3662.
        let (low, high) = wilson(81.0 / 263.0, 263.0);
        assert!((low - 0.2553).abs() < 1e-4 && (high - 0.3662).abs() < 1e-4, "{low} {high}");
        let (low, high) = wilson(0.0, 20.0);
        assert!(low == 0.0 && (high - 0.1611).abs() < 1e-4, "{high}");
        let (low, high) = wilson(1.0, 20.0);
        assert!((low - 0.8389).abs() < 1e-4 && high > 1.0 - 1e-12);
        assert_eq!(wilson(0.5, 0.0), (0.0, 1.0));
    }

    #[test]
    fn the_interval_is_another_programs() {
        // SciPy 1.17, `binomtest(k, n).proportion_ci(0.95, "wilson")`.
        for (k, n, exact) in [
            (1.0, 29.0, (0.006_113, 0.171_755)),
            (15.0, 148.0, (0.062_386, 0.160_487)),
            (5.0, 56.0, (0.038_742, 0.192_560)),
            (3.0, 10.0, (0.107_791, 0.603_222)),
        ] {
            let (low, high) = wilson(k / n, n);
            assert!((low - exact.0).abs() < 1e-6 && (high - exact.1).abs() < 1e-6, "{k} of {n}: {low} {high}");
        }
    }
}
