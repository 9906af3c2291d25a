//! Quantiles of training rows, and ranks among them.

/// The quantile at the share `part / whole` of sorted numbers, linear between two of them, as NumPy has
/// it by default. There is at least one number.
pub(super) fn quantile(sorted: &[f64], part: usize, whole: usize) -> f64 {
    let last = sorted.len() - 1;
    // In whole numbers: rounding must not leave a place that is exactly that of a number.
    let (place, whole) = (part as u64 * last as u64, whole as u64);
    let before = (place / whole) as usize;
    let after = (before + 1).min(last);
    sorted[before] + (sorted[after] - sorted[before]) * ((place % whole) as f64 / whole as f64)
}

/// The quantiles of sorted numbers at `count` equally spaced shares from 0 to 1; `count` is at least 2.
pub(super) fn quantiles(sorted: &[f64], count: usize) -> Vec<f64> {
    (0..count).map(|i| quantile(sorted, i, count - 1)).collect()
}

/// The place of a number among quantiles at equally spaced shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rank {
    /// All quantiles are equal.
    Only,
    /// A share, from 0 to 1.
    Share(f64),
}

impl Rank {
    /// The rank of `x`: linear between two quantiles; of several equal ones, the middle.
    pub(super) fn of(x: f64, quantiles: &[f64]) -> Self {
        let [least, .., greatest] = quantiles else { return Self::Only };
        if least == greatest {
            return Self::Only;
        }
        if x <= *least {
            return Self::Share(0.0);
        }
        if x >= *greatest {
            return Self::Share(1.0);
        }
        let not_below = quantiles.partition_point(|&quantile| quantile < x);
        let above = quantiles.partition_point(|&quantile| quantile <= x);
        let place = if not_below < above {
            (not_below + above - 1) as f64 / 2.0
        } else {
            let (a, b) = (quantiles[above - 1], quantiles[above]);
            (above - 1) as f64 + (x - a) / (b - a)
        };
        Self::Share(place / (quantiles.len() - 1) as f64)
    }
}

/// The quantile of the standard normal distribution at `p`, for `p` in `[1e-10, 1 - 1e-10]`, to about 16
/// digits.
///
/// Source: M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution",
/// Applied Statistics 37 (1988), PPND16 without its part for smaller `p`.
pub(super) fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * polynomial(&MIDDLE_OVER, r) / polynomial(&MIDDLE_UNDER, r);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = libm::sqrt(-libm::log(tail)) - 1.6;
    let distance = polynomial(&TAIL_OVER, r) / polynomial(&TAIL_UNDER, r);
    if q < 0.0 { -distance } else { distance }
}

/// The coefficients of the polynomials over and under the line, the constant first.
const MIDDLE_OVER: [f64; 8] = [
    3.387_132_872_796_366_5,
    133.141_667_891_784_38,
    1_971.590_950_306_551_3,
    13_731.693_765_509_46,
    45_921.953_931_549_87,
    67_265.770_927_008_7,
    33_430.575_583_588_13,
    2_509.080_928_730_122_7,
];
const MIDDLE_UNDER: [f64; 8] = [
    1.0,
    42.313_330_701_600_91,
    687.187_007_492_057_9,
    5_394.196_021_424_751,
    21_213.794_301_586_597,
    39_307.895_800_092_71,
    28_729.085_735_721_943,
    5_226.495_278_852_854,
];
const TAIL_OVER: [f64; 8] = [
    1.423_437_110_749_683_5,
    4.630_337_846_156_546,
    5.769_497_221_460_691,
    3.647_848_324_763_204_5,
    1.270_458_252_452_368_4,
    0.241_780_725_177_450_6,
    0.022_723_844_989_269_184,
    7.745_450_142_783_414e-4,
];
const TAIL_UNDER: [f64; 8] = [
    1.0,
    2.053_191_626_637_759,
    1.676_384_830_183_803_8,
    0.689_767_334_985_1,
    0.148_103_976_427_480_08,
    0.015_198_666_563_616_457,
    5.475_938_084_995_345e-4,
    1.050_750_071_644_416_9e-9,
];

fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_two_numbers() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(quantile(&sorted, 1, 4), 1.75);
        assert_eq!(quantiles(&sorted, 3), [1.0, 3.0, 8.0]);
        assert_eq!(quantiles(&[7.0], 2), [7.0, 7.0]);
        let numbers: Vec<f64> = (0..50).map(f64::from).collect();
        assert_eq!(quantiles(&numbers, 50), numbers);
    }

    #[test]
    fn equal_quantiles_have_the_middle_rank() {
        let quantiles = [0.0, 1.0, 1.0, 1.0, 3.0];
        for (x, rank) in [(-1.0, 0.0), (0.0, 0.0), (1.0, 0.5), (2.0, 0.875), (3.0, 1.0)] {
            assert_eq!(Rank::of(x, &quantiles), Rank::Share(rank), "{x}");
        }
        assert_eq!(Rank::of(2.0, &[2.0]), Rank::Only);
    }

    #[test]
    fn known_quantiles_of_the_normal_distribution() {
        // Wichura's own check values.
        for (p, expected) in [(0.25, -0.674_489_750_196_081_7), (0.001, -3.090_232_306_167_813_5)] {
            assert!((normal_quantile(p) - expected).abs() < 1e-14);
            assert!((normal_quantile(1.0 - p) + expected).abs() < 1e-13);
        }
        assert_eq!(normal_quantile(0.5), 0.0);
    }
}
