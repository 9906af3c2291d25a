//! How far a measured share may be from the truth.

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The 95 % score interval of `hits` out of `rows` (Wilson 1927), which is right near 0 and 1 too;
/// of no rows it is everything.
pub fn wilson(hits: usize, rows: usize) -> [f64; 2] {
    if rows == 0 {
        return [0.0, 1.0];
    }
    let n = rows as f64;
    let share = hits as f64 / n;
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // At 0 and 1 the ends are the share itself; rounding must not put them beyond it.
    [((middle - half) / scale).clamp(0.0, share), ((middle + half) / scale).clamp(share, 1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_those_of_scipy() {
        // scipy.stats.binomtest(hits, rows).proportion_ci(method="wilson")
        for (hits, rows, expected) in [
            (9_740, 10_000, [0.970_694_284_357_386, 0.976_941_685_187_212_6]),
            (0, 10, [0.0, 0.277_532_799_862_889_26]),
            (10, 10, [0.722_467_200_137_110_9, 1.0]),
        ] {
            let found = wilson(hits, rows);
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
            assert!(found.iter().zip(&expected).all(near), "{hits}/{rows}: {found:?}");
        }
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
    }
}
