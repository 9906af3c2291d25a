//! What is held out for validation.

use fireclay_data::Holdout;
use serde::{Deserialize, Serialize};

/// How much to hold out for validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Validation {
    /// A number of samples.
    Count(usize),
    /// A share of the samples, above 0 and below 1.
    Fraction(f64),
}

impl std::str::FromStr for Validation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Count(count));
        }
        match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 => Ok(Self::Fraction(share)),
            _ => {
                Err(format!("`{text}` is neither a number of samples nor a share between 0 and 1"))
            }
        }
    }
}

impl Validation {
    /// What is held out of so many samples if nobody says: [`Holdout::usual`].
    pub fn usual(rows: usize) -> Self {
        match Holdout::usual(rows) {
            Holdout::Count(count) => Self::Count(count),
            Holdout::Fraction(share) => Self::Fraction(share),
        }
    }
}

impl From<Validation> for Holdout {
    fn from(validation: Validation) -> Self {
        match validation {
            Validation::Count(count) => Self::Count(count),
            Validation::Fraction(share) => Self::Fraction(share),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_sets_give_a_tenth() {
        for rows in [25_000, 60_000] {
            assert_eq!(Validation::usual(rows), Validation::Count(5000), "{rows}");
        }
        for rows in [830, 24_999] {
            assert_eq!(Validation::usual(rows), Validation::Fraction(0.1), "{rows}");
        }
    }
}
