//! A measured number and how far it may be from the truth.

use serde::{Deserialize, Serialize};

/// A number measured on some rows, with the 95 % interval of what it would be on all rows of the
/// kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number measured.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How the interval was found.
    pub interval: Interval,
}

/// How an interval was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interval {
    /// The score interval of a share (Wilson 1927), which is right near 0 and 1 too.
    Wilson,
    /// From the 2.5th to the 97.5th percentile of the number on resampled rows (Efron 1979).
    Bootstrap,
}

impl Interval {
    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wilson => "Wilson",
            Self::Bootstrap => "bootstrap",
        }
    }
}

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

impl Estimate {
    /// A share with its Wilson interval; of no rows it is 0, and may be anything.
    pub fn share(hits: usize, rows: usize) -> Self {
        let interval = Interval::Wilson;
        if rows == 0 {
            return Self { value: 0.0, low: 0.0, high: 1.0, interval };
        }
        let n = rows as f64;
        let value = hits as f64 / n;
        let middle = value + Z * Z / (2.0 * n);
        let half = Z * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        // At 0 and 1 the ends are the share itself; rounding must not put them beyond it.
        let low = ((middle - half) / scale).clamp(0.0, value);
        let high = ((middle + half) / scale).clamp(value, 1.0);
        Self { value, low, high, interval }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_wilsons_interval() {
        // scipy.stats.binomtest(hits, rows).proportion_ci(method="wilson")
        for (hits, rows, low, high) in [
            (9_740, 10_000, 0.970_694_284_357_386, 0.976_941_685_187_212_6),
            (0, 10, 0.0, 0.277_532_799_862_889_26),
            (10, 10, 0.722_467_200_137_110_9, 1.0),
        ] {
            let found = Estimate::share(hits, rows);
            assert!((found.low - low).abs() < 1e-12, "{hits}/{rows}: {found:?}");
            assert!((found.high - high).abs() < 1e-12, "{hits}/{rows}: {found:?}");
        }
    }

    #[test]
    fn a_share_of_nothing_may_be_anything() {
        let found = Estimate::share(0, 0);
        assert_eq!((found.value, found.low, found.high), (0.0, 0.0, 1.0));
    }
}
