//! Encodings fitted to the values of the training rows.

use std::collections::BTreeSet;

use super::{Category, Number};

impl Number {
    /// Mean and standard deviation, divided by the number of values, of the values that are present
    /// and finite; in double precision by Welford's recurrence. No value gives 0 and 0.
    ///
    /// Source: B. P. Welford, "Note on a method for calculating corrected sums of squares and
    /// products", Technometrics 4 (1962).
    pub fn fit(values: impl IntoIterator<Item = Option<f64>>) -> Self {
        let (mut count, mut mean, mut squares, mut missing) = (0.0, 0.0, 0.0, false);
        for value in values {
            let Some(value) = value.filter(|value| value.is_finite()) else {
                missing = true;
                continue;
            };
            count += 1.0;
            let distance = value - mean;
            mean += distance / count;
            squares += distance * (value - mean);
        }
        let deviation = if count > 0.0 { libm::sqrt(squares / count) } else { 0.0 };
        Self { mean, deviation, missing }
    }
}

impl Category {
    /// The texts that occur, sorted, and whether any row lacks one.
    pub fn fit<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let (mut seen, mut missing) = (BTreeSet::new(), false);
        for value in values {
            match value {
                Some(text) => drop(seen.insert(text)),
                None => missing = true,
            }
        }
        Self { values: seen.into_iter().map(str::to_owned).collect(), missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_fitted_to_what_is_there() {
        let fitted = Number::fit([Some(2.0), None, Some(4.0), Some(f64::NAN)]);
        assert_eq!(fitted, Number { mean: 3.0, deviation: 1.0, missing: true });
        let far = Number::fit((0..1000).map(|i| Some(1e9 + f64::from(i % 2))));
        assert!((far.deviation - 0.5).abs() < 1e-6, "{far:?}");
        assert_eq!(Number::fit([None]).deviation, 0.0);
    }

    #[test]
    fn texts_are_sorted_and_counted_once() {
        let fitted = Category::fit([Some("b"), Some("a"), Some("b")]);
        let values = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(fitted, Category { values: values.clone(), missing: false });
        assert_eq!(Category::fit([Some("b"), None, Some("a")]), Category { values, missing: true });
    }
}
