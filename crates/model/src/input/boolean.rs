//! Truth values.

use serde::{Deserialize, Serialize};

use super::{Value, ValueProblem};

/// A truth value: 1 if true, -1 if false, 0 if missing.
///
/// Texts are read in any of the usual [spellings](Boolean::parse), and the numbers 0 and 1 as false
/// and true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boolean {
    /// True if it may be missing.
    pub missing: bool,
}

impl Boolean {
    /// The spellings of false and true, in lower case.
    pub const SPELLINGS: [[&'static str; 6]; 2] =
        [["false", "no", "f", "n", "off", "0"], ["true", "yes", "t", "y", "on", "1"]];

    /// Fits the encoding to the training rows: whether any of them lacks a value.
    pub fn fit(values: impl IntoIterator<Item = Option<bool>>) -> Self {
        Self { missing: values.into_iter().any(|value| value.is_none()) }
    }

    /// Reads a truth value, in upper or lower case; none if the text has another spelling.
    pub fn parse(text: &str) -> Option<bool> {
        let [no, yes] = Self::SPELLINGS;
        if yes.iter().any(|word| word.eq_ignore_ascii_case(text)) {
            Some(true)
        } else {
            no.iter().any(|word| word.eq_ignore_ascii_case(text)).then_some(false)
        }
    }

    pub(super) fn encode(self, value: Value<'_>, into: &mut [f32]) -> Result<(), ValueProblem> {
        let is_true = match value {
            Value::Missing if self.missing => None,
            Value::Boolean(is_true) => Some(is_true),
            Value::Number(1.0) => Some(true),
            Value::Number(0.0) => Some(false),
            Value::Text(text) => Some(Self::parse(text).ok_or_else(|| Self::problem(value))?),
            other => return Err(Self::problem(other)),
        };
        into[0] = is_true.map_or(0.0, |is_true| if is_true { 1.0 } else { -1.0 });
        Ok(())
    }

    fn problem(value: Value<'_>) -> ValueProblem {
        ValueProblem::of(value, "true or false")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(missing: bool, value: Value<'_>) -> Result<f32, ValueProblem> {
        let mut into = [f32::NAN];
        Boolean { missing }.encode(value, &mut into).map(|()| into[0])
    }

    #[test]
    fn truth_is_1_and_falsehood_minus_1_in_any_spelling() {
        for (value, expected) in [
            (Value::Text("Yes"), 1.0),
            (Value::Text("TRUE"), 1.0),
            (Value::Text("f"), -1.0),
            (Value::Text("0"), -1.0),
            (Value::Number(1.0), 1.0),
            (Value::Number(-0.0), -1.0),
            (Value::Boolean(false), -1.0),
            (Value::Missing, 0.0),
        ] {
            assert_eq!(encoded(true, value), Ok(expected), "{value:?}");
        }
    }

    #[test]
    fn other_values_are_refused() {
        let missing = encoded(false, Value::Missing).unwrap_err();
        assert!(matches!(missing, ValueProblem::Missing { .. }), "{missing}");
        for value in
            [Value::Text("maybe"), Value::Number(2.0), Value::Text(""), Value::Dense(&[1.0])]
        {
            let problem = encoded(true, value).unwrap_err();
            assert!(problem.to_string().contains("expects true or false"), "{problem}");
        }
    }

    #[test]
    fn only_rows_without_a_value_make_it_missing() {
        assert_eq!(Boolean::fit([Some(true), Some(false)]), Boolean { missing: false });
        assert_eq!(Boolean::fit([Some(true), None]), Boolean { missing: true });
    }
}
