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
    /// The same percentiles of a number that rows make larger by chance, as they do the calibration
    /// error, and resampled ones more so: where the number falls, and not where the truth lies.
    Spread,
}

impl Interval {
    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wilson => "Wilson",
            Self::Bootstrap => "bootstrap",
            Self::Spread => "spread",
        }
    }
}

impl Estimate {
    /// A share with its Wilson interval; of no rows it is 0, and may be anything.
    pub fn share(hits: usize, rows: usize) -> Self {
        let value = if rows == 0 { 0.0 } else { hits as f64 / rows as f64 };
        let [low, high] = wilson(hits, rows);
        Self { value, low, high, interval: Interval::Wilson }
    }

    /// A share of so many things as the bootstrap found it; where all is right, or nothing, it draws
    /// the same again and again and knows nothing, and Wilson's interval is taken.
    pub(crate) fn or_share(self, of: usize) -> Self {
        if self.low < self.high {
            return self;
        }
        let hits = (self.value * of as f64).round() as usize;
        Self { value: self.value, ..Self::share(hits, of) }
    }

    /// As a [`Interval::Spread`].
    pub(crate) fn spread(self) -> Self {
        Self { interval: Interval::Spread, ..self }
    }
}

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The 95 % score interval of `hits` out of `rows` (Wilson 1927), which is right near 0 and 1 too;
/// of no rows it is everything.
fn wilson(hits: usize, rows: usize) -> [f64; 2] {
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
    fn a_share_of_nothing_may_be_anything() {
        let found = Estimate::share(0, 0);
        assert_eq!((found.value, found.low, found.high), (0.0, 0.0, 1.0));
    }

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
