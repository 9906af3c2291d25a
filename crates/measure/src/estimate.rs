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
        Self::of_share(value, rows as f64)
    }

    /// A share of rows as many as `rows`, which may be a number of rows that weigh differently.
    pub(crate) fn of_share(value: f64, rows: f64) -> Self {
        let [low, high] = wilson(value, rows);
        Self { value, low, high, interval: Interval::Wilson }
    }

    /// The weighted share of rows that are right, with the interval of as many rows of equal weight as
    /// are as informative (Kish 1965).
    pub(crate) fn weighted_share(right: Weight, all: Weight) -> Self {
        Self::of_share(right.share_of(all), all.rows())
    }

    /// A share of so many rows as the bootstrap found it; where all is right, or nothing, it draws
    /// the same again and again and knows nothing, and Wilson's interval is taken.
    pub(crate) fn or_share(self, of: f64) -> Self {
        if self.low < self.high {
            return self;
        }
        // Of weighted rows, `of` is no whole number, and the nearest one may be above it.
        let share = if of == 0.0 { 0.0 } else { ((self.value * of).round() / of).min(1.0) };
        Self { value: self.value, ..Self::of_share(share, of) }
    }

    /// As a [`Interval::Spread`].
    pub(crate) fn spread(self) -> Self {
        Self { interval: Interval::Spread, ..self }
    }
}

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The weight of some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Weight {
    /// The sum of their weights.
    pub(crate) sum: f64,
    /// The sum of the squares of their weights.
    squares: f64,
}

impl Weight {
    pub(crate) fn add(&mut self, weight: f64) {
        self.sum += weight;
        self.squares += weight * weight;
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, squares: self.squares + other.squares }
    }

    /// The share of these rows among all; 0 of nothing, as scikit-learn has it.
    pub(crate) fn share_of(self, all: Self) -> f64 {
        if all.sum > 0.0 { self.sum / all.sum } else { 0.0 }
    }

    /// As many rows of equal weight as are as informative as these (Kish 1965, Survey Sampling); the
    /// number of rows, if they weigh the same.
    pub(crate) fn rows(self) -> f64 {
        if self.squares > 0.0 { self.sum * self.sum / self.squares } else { 0.0 }
    }
}

/// The 95 % score interval of a share of `n` rows (Wilson 1927), which is right near 0 and 1 too; of no
/// rows it is everything.
fn wilson(share: f64, n: f64) -> [f64; 2] {
    if n == 0.0 {
        return [0.0, 1.0];
    }
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
            let found = wilson(f64::from(hits) / f64::from(rows), f64::from(rows));
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
            assert!(found.iter().zip(&expected).all(near), "{hits}/{rows}: {found:?}");
        }
        assert_eq!(wilson(0.0, 0.0), [0.0, 1.0]);
    }
}
