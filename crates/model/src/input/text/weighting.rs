//! The values of the terms of a text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::named_enum;

named_enum! {
    /// The weighting of terms, before it is fitted.
    #[derive(Default)]
    pub enum TextWeighting as "weighting of terms" {
        /// The number of times that a term occurs.
        Counts = "counts",
        /// That number times the inverse document frequency, divided by the norm of the row.
        #[default]
        TfIdf = "tf-idf",
        /// The share of a term among all of the text.
        Mean = "mean",
    }
}

/// The value of each term of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Weighting {
    /// `n`, the number of times that it occurs.
    #[serde(deserialize_with = "crate::strict::no_fields")]
    Counts,
    /// `tf idf / |row|`, with the Euclidean norm, as scikit-learn's `TfidfVectorizer`.
    TfIdf {
        /// True if `tf` is `1 + ln(n)` in place of `n`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sublinear: bool,
        /// `ln((1 + rows) / (1 + rows with the term)) + 1` of each place.
        idf: Idf,
    },
    /// `n` divided by the number of all terms with a place, as fastText.
    #[serde(deserialize_with = "crate::strict::no_fields")]
    Mean,
}

/// The inverse document frequency of each place; in files the little-endian bytes of all numbers in
/// Base64.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Idf(Vec<f32>);

impl From<Vec<f32>> for Idf {
    fn from(numbers: Vec<f32>) -> Self {
        Self(numbers)
    }
}

impl From<Idf> for String {
    fn from(idf: Idf) -> Self {
        let bytes: Vec<u8> = idf.0.iter().flat_map(|number| number.to_le_bytes()).collect();
        STANDARD.encode(bytes)
    }
}

impl TryFrom<String> for Idf {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = STANDARD.decode(text).map_err(|_| "`idf` is no Base64")?;
        match bytes.as_chunks::<4>() {
            (numbers, []) => {
                Ok(Self(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()))
            }
            _ => Err("`idf` ends within a number"),
        }
    }
}

impl Idf {
    /// The frequencies, by place.
    pub fn numbers(&self) -> &[f32] {
        &self.0
    }
}

impl Weighting {
    /// Returns true if it has what it needs for so many places.
    pub(super) fn fits(&self, terms: usize) -> bool {
        match self {
            Self::Counts | Self::Mean => true,
            Self::TfIdf { idf: Idf(idf), .. } => {
                idf.len() == terms && idf.iter().all(|idf| idf.is_finite() && *idf >= 0.0)
            }
        }
    }

    /// The value of each place, of ascending places with repetitions.
    pub(super) fn values(&self, places: &[u32]) -> Vec<(u32, f32)> {
        let groups = places.chunk_by(|a, b| a == b);
        let mut row: Vec<(u32, f64)> = groups.map(|group| (group[0], group.len() as f64)).collect();
        match self {
            Self::Counts => {}
            Self::Mean => {
                let all = places.len() as f64;
                row.iter_mut().for_each(|(_, value)| *value /= all);
            }
            Self::TfIdf { idf: Idf(idf), sublinear } => {
                for (place, value) in &mut row {
                    let tf = if *sublinear { 1.0 + value.ln() } else { *value };
                    *value = tf * idf.get(*place as usize).copied().map_or(0.0, f64::from);
                }
                let norm = row.iter().map(|(_, value)| value * value).sum::<f64>().sqrt();
                let norm = if norm > 0.0 { norm } else { 1.0 };
                row.iter_mut().for_each(|(_, value)| *value /= norm);
            }
        }
        row.into_iter().map(|(place, value)| (place, value as f32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_frequencies_as_base64() {
        let weighting = Weighting::TfIdf { sublinear: false, idf: vec![1.0, -0.5].into() };
        let text = r#"{"kind":"tf-idf","idf":"AACAPwAAAL8="}"#;
        assert_eq!(serde_json::to_string(&weighting).unwrap(), text);
        assert_eq!(serde_json::from_str::<Weighting>(text).unwrap(), weighting);
        for bad in [
            r#"{"kind":"tf-idf","idf":"AACA"}"#,
            r#"{"kind":"tf-idf","idf":"?"}"#,
            r#"{"kind":"mean","idf":""}"#,
        ] {
            assert!(serde_json::from_str::<Weighting>(bad).is_err(), "{bad}");
        }
    }
}
