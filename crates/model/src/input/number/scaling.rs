//! From a number to what the network sees of it.

use serde::{Deserialize, Serialize};

use super::super::InputError;
use super::quantiles::{Rank, normal_quantile};

/// A fitted map from a number to what the network sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum NumberScaling {
    /// `x`.
    #[serde(deserialize_with = "crate::strict::no_fields")]
    None,
    /// `(x - mean) / deviation`, as scikit-learn's `StandardScaler`; 0 where the deviation is 0.
    Standardize {
        /// Mean of the training rows.
        mean: f64,
        /// Standard deviation of the training rows, divided by their number.
        deviation: f64,
    },
    /// `r / sqrt(1 + (r / 3)²)` with `r = (x - median) / range`; 0 where the range is 0.
    ///
    /// Source: the preprocessing of RealMLP, D. Holzmüller et al., "Better by default", 2024,
    /// arXiv 2407.04491.
    Robust {
        /// Median of the training rows.
        median: f64,
        /// Upper less lower quartile; where these are equal, half of maximum less minimum.
        range: f64,
    },
    /// `(x - minimum) / (maximum - minimum)`, as scikit-learn's `MinMaxScaler`; 0 where they are
    /// equal. Values beyond them are below 0 and above 1.
    MinMax {
        /// The least number of the training rows.
        minimum: f64,
        /// The greatest.
        maximum: f64,
    },
    /// The quantile of the standard normal distribution at the value's rank, as scikit-learn's
    /// `QuantileTransformer`, without noise; 0 where all training rows are equal.
    ///
    /// Ranks are limited to `[1e-7, 1 - 1e-7]`. So the least training row, and everything below it,
    /// gives -5.2, and the greatest and everything above it 5.2.
    Quantile {
        /// Quantiles of the training rows at equally spaced ranks from 0 to 1.
        quantiles: Vec<f64>,
    },
    /// For each bin `[a, b]` between two edges `(x - a) / (b - a)`: limited to `[0, 1]`, but not
    /// below in the first bin and not above in the last. A single edge, of equal rows, gives a 0.
    ///
    /// Source: piecewise-linear encoding, Y. Gorishniy et al., "On embeddings for numerical features
    /// in tabular deep learning", 2022, arXiv 2203.05556, as in `rtdl_num_embeddings`.
    PiecewiseLinear {
        /// The edges of the bins: different quantiles of the training rows.
        edges: Vec<f64>,
    },
}

/// Bounds of the ranks, as scikit-learn has them: those of 0 and 1 are infinitely far out.
const LEAST_RANK: f64 = 1e-7;

/// The bound of the smooth clip.
const CLIP: f64 = 3.0;

impl NumberScaling {
    /// Numbers that it gives.
    pub fn width(&self) -> usize {
        match self {
            Self::PiecewiseLinear { edges } => edges.len().saturating_sub(1).max(1),
            _ => 1,
        }
    }

    /// Maps a number into [`width`](Self::width) others. In double precision: of large numbers, such
    /// as times, single precision keeps too little.
    pub(in super::super) fn apply(&self, x: f64, into: &mut [f32]) {
        let scaled = match self {
            Self::None => x,
            Self::Standardize { mean, deviation } => divided(x - mean, *deviation),
            Self::Robust { median, range } => {
                let r = divided(x - median, *range);
                // As the square root of the sum of squares, which cannot overflow.
                r / libm::hypot(1.0, r / CLIP)
            }
            Self::MinMax { minimum, maximum } => divided(x - minimum, maximum - minimum),
            Self::Quantile { quantiles } => normal_score(x, quantiles),
            Self::PiecewiseLinear { edges } => return fill_bins(x, edges, into),
        };
        into[0] = scaled as f32;
    }

    pub(in super::super) fn validate(&self, field: &str) -> Result<(), InputError> {
        let statistics = match self {
            Self::None => return Ok(()),
            Self::Standardize { mean, deviation } => {
                [("the mean", *mean, true), ("the deviation", *deviation, *deviation >= 0.0)]
            }
            Self::Robust { median, range } => {
                [("the median", *median, true), ("the range", *range, *range >= 0.0)]
            }
            Self::MinMax { minimum, maximum } => {
                [("the minimum", *minimum, true), ("the maximum", *maximum, maximum >= minimum)]
            }
            Self::Quantile { quantiles } => {
                return sorted(field, "quantiles", quantiles, |a, b| a <= b);
            }
            Self::PiecewiseLinear { edges } => return sorted(field, "edges", edges, |a, b| a < b),
        };
        let wrong =
            statistics.into_iter().find(|(_, found, is_good)| !is_good || !found.is_finite());
        wrong.map_or(Ok(()), |(what, found, _)| {
            Err(InputError::Statistic { field: field.to_owned(), what, found })
        })
    }
}

/// `x / by`, or 0 if `by` is 0.
fn divided(x: f64, by: f64) -> f64 {
    if by == 0.0 { 0.0 } else { x / by }
}

/// The number of a standard normal distribution that has the rank of `x` among the quantiles.
fn normal_score(x: f64, quantiles: &[f64]) -> f64 {
    match Rank::of(x, quantiles) {
        Rank::Only => 0.0,
        Rank::Share(rank) => normal_quantile(rank.clamp(LEAST_RANK, 1.0 - LEAST_RANK)),
    }
}

fn fill_bins(x: f64, edges: &[f64], into: &mut [f32]) {
    into.fill(0.0);
    let last = edges.len().saturating_sub(2);
    for (bin, (pair, into)) in edges.windows(2).zip(into).enumerate() {
        let mut filled = (x - pair[0]) / (pair[1] - pair[0]);
        if bin > 0 {
            filled = filled.max(0.0);
        }
        if bin < last {
            filled = filled.min(1.0);
        }
        *into = filled as f32;
    }
}

fn sorted(
    field: &str,
    what: &'static str,
    numbers: &[f64],
    is_in_order: fn(f64, f64) -> bool,
) -> Result<(), InputError> {
    let is_sorted = numbers.windows(2).all(|pair| is_in_order(pair[0], pair[1]));
    if !numbers.is_empty() && is_sorted && numbers.iter().all(|number| number.is_finite()) {
        Ok(())
    } else {
        Err(InputError::Order { field: field.to_owned(), what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(scaling: &NumberScaling, x: f64) -> Vec<f32> {
        let mut into = vec![f32::NAN; scaling.width()];
        scaling.apply(x, &mut into);
        into
    }

    #[test]
    fn equal_rows_become_0() {
        for scaling in [
            NumberScaling::Standardize { mean: 5.0, deviation: 0.0 },
            NumberScaling::Robust { median: 5.0, range: 0.0 },
            NumberScaling::MinMax { minimum: 5.0, maximum: 5.0 },
            NumberScaling::Quantile { quantiles: vec![5.0, 5.0, 5.0] },
            NumberScaling::PiecewiseLinear { edges: vec![5.0] },
        ] {
            assert_eq!(scaling.validate("x"), Ok(()));
            for x in [5.0, -1e300, 9.0] {
                assert_eq!(applied(&scaling, x), [0.0], "{scaling:?}");
            }
        }
    }

    #[test]
    fn the_smooth_clip_ends_at_3() {
        let scaling = NumberScaling::Robust { median: 1.0, range: 2.0 };
        assert_eq!(applied(&scaling, 1.0), [0.0]);
        assert_eq!(applied(&scaling, 1e300), [3.0]);
        assert_eq!(applied(&scaling, -1e300), [-3.0]);
        // r = 3.
        assert!((applied(&scaling, 7.0)[0] - 3.0 / 2f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn bins_fill_from_the_lowest_and_the_outer_ones_have_no_end() {
        let scaling = NumberScaling::PiecewiseLinear { edges: vec![0.0, 1.0, 3.0, 4.0] };
        for (x, expected) in [
            (-2.0, [-2.0, 0.0, 0.0]),
            (0.25, [0.25, 0.0, 0.0]),
            (2.0, [1.0, 0.5, 0.0]),
            (4.0, [1.0, 1.0, 1.0]),
            (6.0, [1.0, 1.0, 3.0]),
        ] {
            assert_eq!(applied(&scaling, x), expected);
        }
        let one = NumberScaling::PiecewiseLinear { edges: vec![0.0, 2.0] };
        assert_eq!([applied(&one, -2.0), applied(&one, 4.0)], [[-1.0], [2.0]]);
    }

    #[test]
    fn impossible_scalings_are_refused() {
        let infinite = f64::INFINITY;
        for scaling in [
            NumberScaling::Standardize { mean: f64::NAN, deviation: 1.0 },
            NumberScaling::Standardize { mean: 0.0, deviation: -1.0 },
            NumberScaling::Robust { median: infinite, range: 1.0 },
            NumberScaling::Robust { median: 0.0, range: infinite },
            NumberScaling::MinMax { minimum: 1.0, maximum: 0.0 },
            NumberScaling::Quantile { quantiles: vec![] },
            NumberScaling::Quantile { quantiles: vec![1.0, 0.0] },
            NumberScaling::Quantile { quantiles: vec![0.0, f64::NAN] },
            NumberScaling::PiecewiseLinear { edges: vec![] },
            NumberScaling::PiecewiseLinear { edges: vec![1.0, 1.0] },
            NumberScaling::PiecewiseLinear { edges: vec![1.0, infinite] },
        ] {
            assert!(scaling.validate("x").is_err(), "{scaling:?}");
        }
    }
}
