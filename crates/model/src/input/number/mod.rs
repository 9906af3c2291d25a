//! Numbers of tables.

mod fit;
mod quantiles;
mod scaling;

use serde::{Deserialize, Serialize};

use super::{InputError, Value, ValueProblem};
use crate::named_enum;

pub(super) use fit::Moments;
pub use fit::{Detail, NumberFit};
pub use scaling::NumberScaling;

named_enum! {
    /// The encoding of a number, before it is fitted.
    #[derive(Default)]
    pub enum NumberEncoding as "encoding of numbers" {
        /// `(x - mean) / deviation`.
        #[default]
        Standardize = "standardize",
        /// `(x - median) / interquartile range`, smoothly clipped to `(-3, 3)`.
        Robust = "robust",
        /// The quantile of a normal distribution at the value's rank.
        Quantile = "quantile",
        /// `(x - minimum) / (maximum - minimum)`.
        MinMax = "min-max",
        /// A number for each of some bins between quantiles, filled from the lowest.
        PiecewiseLinear = "piecewise-linear",
        /// `x`.
        None = "none",
    }
}

/// A number that may be missing: its scaling, and 0 in place of it where it is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Record", into = "Record")]
pub struct Number {
    /// From the number to what the network sees.
    pub scaling: NumberScaling,
    /// True if it may be missing: then a further number is 1 where it is, and else 0.
    pub missing: bool,
}

/// As files have it: version 2 has the mean and the deviation of a standardised number alone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deviation: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scaling: Option<NumberScaling>,
    missing: bool,
}

impl From<Number> for Record {
    fn from(number: Number) -> Self {
        let missing = number.missing;
        match number.scaling {
            NumberScaling::Standardize { mean, deviation } => {
                Self { mean: Some(mean), deviation: Some(deviation), scaling: None, missing }
            }
            other => Self { mean: None, deviation: None, scaling: Some(other), missing },
        }
    }
}

impl TryFrom<Record> for Number {
    type Error = &'static str;

    fn try_from(record: Record) -> Result<Self, Self::Error> {
        let scaling = match (record.mean, record.deviation, record.scaling) {
            (Some(mean), Some(deviation), None) => NumberScaling::Standardize { mean, deviation },
            (None, None, Some(NumberScaling::Standardize { .. }) | None) => {
                return Err("a standardized number needs `mean` and `deviation` and no `scaling`");
            }
            (None, None, Some(scaling)) => scaling,
            _ => return Err("a number needs either `mean` and `deviation`, or `scaling`"),
        };
        Ok(Self { scaling, missing: record.missing })
    }
}

impl Number {
    /// Numbers that the network sees of it.
    pub(super) fn width(&self) -> usize {
        self.scaling.width() + usize::from(self.missing)
    }

    pub(super) fn encode(&self, value: Value<'_>, into: &mut [f32]) -> Result<(), ValueProblem> {
        let (scaled, indicator) = into.split_at_mut(self.scaling.width());
        let found = match value {
            Value::Number(number) => number,
            Value::Missing if self.missing => {
                scaled.fill(0.0);
                indicator.fill(1.0);
                return Ok(());
            }
            other => return Err(ValueProblem::of(other, "a number")),
        };
        if found.is_finite() {
            self.scaling.apply(found, scaled);
        }
        if !found.is_finite() || scaled.iter().any(|number| !number.is_finite()) {
            return Err(ValueProblem::NotFinite { found });
        }
        indicator.fill(0.0);
        Ok(())
    }

    pub(super) fn validate(&self, field: &str) -> Result<(), InputError> {
        self.scaling.validate(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standardized_number_is_written_as_version_2_has_it() {
        let scaling = NumberScaling::Standardize { mean: 2.0, deviation: 0.5 };
        let number = Number { scaling, missing: true };
        let text = r#"{"mean":2.0,"deviation":0.5,"missing":true}"#;
        assert_eq!(serde_json::to_string(&number).unwrap(), text);
        assert_eq!(serde_json::from_str::<Number>(text).unwrap(), number);
    }

    #[test]
    fn a_number_has_one_scaling() {
        for text in [
            r#"{"missing":true}"#,
            r#"{"mean":1.0,"missing":true}"#,
            r#"{"mean":1.0,"deviation":1.0,"scaling":{"kind":"none"},"missing":true}"#,
            r#"{"scaling":{"kind":"standardize","mean":1.0,"deviation":1.0},"missing":true}"#,
            r#"{"scaling":{"kind":"none","mean":1.0},"missing":true}"#,
            r#"{"scaling":{"kind":"robust","median":1.0},"missing":true}"#,
            r#"{"scaling":{"kind":"none"}}"#,
        ] {
            assert!(serde_json::from_str::<Number>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_number_is_0_beside_its_indicator() {
        for &encoding in NumberEncoding::ALL {
            let values = [Some(1.0), Some(2.0), Some(5.0), None];
            let number = Number::fit_as(encoding, values, Detail::default());
            let mut into = vec![f32::NAN; number.width()];
            number.encode(Value::Missing, &mut into).unwrap();
            let (indicator, scaled) = into.split_last().unwrap();
            assert!(*indicator == 1.0 && scaled.iter().all(|&x| x == 0.0), "{encoding}: {into:?}");
            number.encode(Value::Number(1.5), &mut into).unwrap();
            assert_eq!(into.last(), Some(&0.0), "{encoding}");
            let present = Number::fit_as(encoding, values[..3].iter().copied(), Detail::default());
            let mut into = vec![0.0; present.width()];
            let problem = present.encode(Value::Missing, &mut into).unwrap_err();
            assert!(matches!(problem, ValueProblem::Missing { .. }), "{encoding}: {problem}");
        }
    }
}
