//! Scalings fitted to the numbers of the training rows.

use super::quantiles::{quantile, quantiles};
use super::{Number, NumberEncoding, NumberScaling};

/// The most numbers in a model file for the quantiles of all its columns.
const MOST_NUMBERS: usize = 100_000;

/// The detail in which the distribution of a number is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Quantiles of [`NumberEncoding::Quantile`], at least 2; no more than there are rows.
    pub quantiles: usize,
    /// Bins of [`NumberEncoding::PiecewiseLinear`], at least 1; fewer where quantiles coincide.
    pub bins: usize,
}

impl Default for Detail {
    /// 1,000 quantiles, as scikit-learn, and 48 bins, as `rtdl_num_embeddings`.
    fn default() -> Self {
        Self { quantiles: 1000, bins: 48 }
    }
}

impl Detail {
    /// The detail for a table with so many columns of numbers, so that a model file has room for it.
    pub fn of_columns(columns: usize) -> Self {
        let most = MOST_NUMBERS / columns.max(1);
        let Self { quantiles, bins } = Self::default();
        Self { quantiles: quantiles.min(most), bins: bins.min(most) }
    }
}

impl Number {
    /// Mean and standard deviation, divided by the number of values, of the values that are present
    /// and finite. No value gives 0 and 0.
    pub fn fit(values: impl IntoIterator<Item = Option<f64>>) -> Self {
        Self::fit_as(NumberEncoding::Standardize, values, Detail::default())
    }

    /// Fits an encoding to the values of the training rows that are present and finite.
    pub fn fit_as(
        encoding: NumberEncoding,
        values: impl IntoIterator<Item = Option<f64>>,
        detail: Detail,
    ) -> Self {
        let mut fit = NumberFit::new(encoding);
        values.into_iter().for_each(|value| fit.add(value));
        fit.finish(detail)
    }
}

/// An encoding that is being fitted to numbers, one at a time.
///
/// [Standardize](NumberEncoding::Standardize) keeps none of them; all others keep all.
#[derive(Clone, Debug)]
pub struct NumberFit {
    encoding: NumberEncoding,
    moments: Moments,
    present: Vec<f64>,
    missing: bool,
}

impl NumberFit {
    /// A fit without values.
    pub fn new(encoding: NumberEncoding) -> Self {
        Self { encoding, moments: Moments::default(), present: Vec::new(), missing: false }
    }

    /// Adds the value of a row; one that is not finite is as good as missing.
    pub fn add(&mut self, value: Option<f64>) {
        match value.filter(|value| value.is_finite()) {
            None => self.missing = true,
            Some(value) if self.encoding == NumberEncoding::Standardize => self.moments.add(value),
            Some(value) => self.present.push(value),
        }
    }

    /// Returns the fitted number.
    pub fn finish(mut self, detail: Detail) -> Number {
        let missing = self.missing;
        if self.encoding == NumberEncoding::Standardize {
            return Number { scaling: self.moments.scaling(), missing };
        }
        if self.present.is_empty() {
            // Of nothing, any number will do: every value is missing.
            self.present.push(0.0);
        }
        self.present.sort_unstable_by(f64::total_cmp);
        Number { scaling: NumberScaling::fit(self.encoding, &self.present, detail), missing }
    }
}

impl NumberScaling {
    /// Fits an encoding to sorted numbers, of which there is at least one.
    fn fit(encoding: NumberEncoding, sorted: &[f64], detail: Detail) -> Self {
        let (minimum, maximum) = (sorted[0], sorted[sorted.len() - 1]);
        match encoding {
            NumberEncoding::None => Self::None,
            NumberEncoding::Standardize => {
                let mut moments = Moments::default();
                sorted.iter().for_each(|&value| moments.add(value));
                moments.scaling()
            }
            NumberEncoding::Robust => {
                let quartiles = quantile(sorted, 3, 4) - quantile(sorted, 1, 4);
                let range = if quartiles > 0.0 { quartiles } else { (maximum - minimum) / 2.0 };
                Self::Robust { median: quantile(sorted, 1, 2), range }
            }
            NumberEncoding::MinMax => Self::MinMax { minimum, maximum },
            NumberEncoding::Quantile => {
                let count = detail.quantiles.min(sorted.len()).max(2);
                Self::Quantile { quantiles: quantiles(sorted, count) }
            }
            NumberEncoding::PiecewiseLinear => {
                let mut edges = quantiles(sorted, detail.bins.max(1) + 1);
                edges.dedup();
                Self::PiecewiseLinear { edges }
            }
        }
    }
}

/// Mean and variance, in double precision by Welford's recurrence.
///
/// Source: B. P. Welford, "Note on a method for calculating corrected sums of squares and products",
/// Technometrics 4 (1962).
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub(in super::super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let distance = value - self.mean;
        self.mean += distance / self.count;
        self.squares += distance * (value - self.mean);
    }

    /// Mean and standard deviation, divided by the number of values; 0 and 0 of none.
    pub(in super::super) fn mean_and_deviation(self) -> (f64, f64) {
        let deviation = if self.count > 0.0 { libm::sqrt(self.squares / self.count) } else { 0.0 };
        (self.mean, deviation)
    }

    fn scaling(self) -> NumberScaling {
        let (mean, deviation) = self.mean_and_deviation();
        NumberScaling::Standardize { mean, deviation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_fitted_to_what_is_there() {
        let fitted = Number::fit([Some(2.0), None, Some(4.0), Some(f64::NAN)]);
        let scaling = NumberScaling::Standardize { mean: 3.0, deviation: 1.0 };
        assert_eq!(fitted, Number { scaling, missing: true });
        let far = Number::fit((0..1000).map(|i| Some(1e9 + f64::from(i % 2))));
        let NumberScaling::Standardize { deviation, .. } = far.scaling else { panic!("{far:?}") };
        assert!((deviation - 0.5).abs() < 1e-6, "{far:?}");
        let nothing = NumberScaling::Standardize { mean: 0.0, deviation: 0.0 };
        assert_eq!(Number::fit([None]), Number { scaling: nothing, missing: true });
    }

    #[test]
    fn equal_quartiles_give_way_to_the_extremes() {
        let mostly = (0..100).map(|i| {
            Some(if i == 0 {
                -2.0
            } else if i > 97 {
                6.0
            } else {
                1.0
            })
        });
        let fitted = Number::fit_as(NumberEncoding::Robust, mostly, Detail::default());
        assert_eq!(fitted.scaling, NumberScaling::Robust { median: 1.0, range: 4.0 });
    }

    #[test]
    fn every_encoding_fits_little_or_nothing() {
        for &encoding in NumberEncoding::ALL {
            for values in [vec![], vec![None], vec![Some(f64::NAN)], vec![Some(3.0)]] {
                let fitted = Number::fit_as(encoding, values.iter().copied(), Detail::default());
                assert_eq!(fitted.validate("x"), Ok(()), "{encoding} {values:?}");
                assert_eq!(fitted.missing, values.iter().any(|v| v.is_none_or(f64::is_nan)));
            }
        }
    }

    #[test]
    fn wide_tables_and_equal_numbers_have_fewer_quantiles() {
        assert_eq!(Detail::of_columns(10), Detail::default());
        assert_eq!(Detail::of_columns(1000).quantiles, 100);
        let fitted = Number::fit_as(
            NumberEncoding::PiecewiseLinear,
            (0..500).map(|i| Some(f64::from(i / 100))),
            Detail::default(),
        );
        let edges = vec![0.0, 1.0, 2.0, 3.0, 4.0];
        assert_eq!(fitted.scaling, NumberScaling::PiecewiseLinear { edges });
    }
}
