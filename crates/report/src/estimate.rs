//! A measured number and how far it may be from the truth.

use serde::{Deserialize, Serialize};
use train::wilson;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_nothing_may_be_anything() {
        let found = Estimate::share(0, 0);
        assert_eq!((found.value, found.low, found.high), (0.0, 0.0, 1.0));
    }
}
