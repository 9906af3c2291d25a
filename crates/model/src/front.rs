//! The front stage: what becomes of the columns of a row before the first layer.

use serde::{Deserialize, Serialize};

use crate::config::{positive, sizes};
use crate::{
    Activation, CategoryEncoding, ConfigError, Field, FieldKind, FrontParameter, InputSpec,
    ParameterPath,
};

/// A part of the front stage, for some columns of a row that stand side by side.
///
/// A column of a category has the index of its level, as a number; one that is no index is 0, the
/// level of values that were not seen in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FrontPart {
    /// Columns that are left as they are.
    Pass {
        /// Number of columns.
        columns: usize,
    },
    /// A learned vector for each level of a category, whose index is one column.
    Embedding {
        /// Number of levels.
        levels: usize,
        /// Length of a vector.
        width: usize,
    },
    /// Periodic embeddings of numbers, with a bias and the number itself (PBLD, Holzmüller et al.
    /// 2024, arXiv 2407.04491): `[A cos(2π (w x) + b) + c, x]`, each column with its own `w`, `b`,
    /// `A` and `c`.
    Periodic {
        /// Number of columns.
        columns: usize,
        /// Length of `w` and of `b`.
        frequencies: usize,
        /// Numbers that a column becomes, itself among them; at least 2.
        width: usize,
        /// Standard deviation of `w` at first.
        sigma: f64,
    },
    /// The sum of a learned vector for each term of a text, and a bias:
    /// `activation(sum of value_j * weight[place_j] + bias)`. It takes the sparse row of the next
    /// [`Text`](crate::Text) field, and no column.
    ///
    /// With the mean as weighting this is the bag of fastText (Joulin et al. 2016, arXiv 1607.01759).
    Bag {
        /// Places of terms.
        terms: usize,
        /// Length of a vector.
        width: usize,
        /// The function of the sum; a leaky relu has its usual slope.
        activation: Activation,
    },
}

impl FrontPart {
    /// Dense columns of a row that it takes.
    pub fn columns(&self) -> usize {
        match *self {
            Self::Pass { columns } | Self::Periodic { columns, .. } => columns,
            Self::Embedding { .. } => 1,
            Self::Bag { .. } => 0,
        }
    }

    /// The places of terms of the text that it takes, if it takes one.
    pub fn terms(&self) -> Option<usize> {
        match *self {
            Self::Bag { terms, .. } => Some(terms),
            _ => None,
        }
    }

    /// Numbers that it gives; as many as can be counted.
    pub fn width(&self) -> usize {
        match *self {
            Self::Pass { columns } => columns,
            Self::Embedding { width, .. } | Self::Bag { width, .. } => width,
            Self::Periodic { columns, width, .. } => columns.saturating_mul(width),
        }
    }

    /// Path and shape of each of its parameters, if it is part `i`.
    pub fn parameters(&self, i: usize) -> Vec<(ParameterPath, Vec<usize>)> {
        use FrontParameter::{Bias, Frequency, Phase, Weight};
        let shapes = match *self {
            Self::Pass { .. } => Vec::new(),
            Self::Embedding { levels, width } => vec![(Weight, vec![levels, width])],
            Self::Bag { terms, width, .. } => {
                vec![(Weight, vec![terms, width]), (Bias, vec![width])]
            }
            Self::Periodic { columns, frequencies, width, .. } => vec![
                (Frequency, vec![columns, frequencies]),
                (Phase, vec![columns, frequencies]),
                (Weight, vec![columns, width.saturating_sub(1), frequencies]),
                (Bias, vec![columns, width.saturating_sub(1)]),
            ],
        };
        let named = shapes.into_iter();
        named.map(|(parameter, shape)| (ParameterPath::Front(i, parameter), shape)).collect()
    }

    /// Its parameters, if they can be counted.
    pub(crate) fn count(&self) -> Option<usize> {
        match *self {
            Self::Pass { .. } => Some(0),
            Self::Embedding { levels, width } => levels.checked_mul(width),
            Self::Bag { terms, width, .. } => terms.checked_add(1)?.checked_mul(width),
            Self::Periodic { columns, frequencies, width, .. } => {
                let of_column = frequencies.checked_add(1)?.checked_mul(width)?;
                of_column.checked_add(frequencies)?.checked_mul(columns)
            }
        }
    }

    /// Checks every field of part `i`.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the first field at fault.
    pub(crate) fn validate(&self, i: usize) -> Result<(), ConfigError> {
        match *self {
            Self::Pass { columns } => sizes("front.columns", &[columns]),
            Self::Embedding { levels, width } => {
                sizes("front.levels", &[levels])?;
                sizes("front.width", &[width])
            }
            Self::Bag { terms, width, .. } => {
                sizes("front.terms", &[terms])?;
                sizes("front.width", &[width])
            }
            Self::Periodic { columns, frequencies, width, sigma } => {
                sizes("front.columns", &[columns])?;
                sizes("front.frequencies", &[frequencies])?;
                positive("front.sigma", sigma)?;
                if width < 2 {
                    return Err(ConfigError::PeriodicWidth { part: i, found: width });
                }
                Ok(())
            }
        }
    }
}

/// A choice of front stage for the fields of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct FrontChoice {
    /// Length of the vector of each level of a category whose column is an index.
    pub categories: usize,
    /// Periodic embeddings of numbers, if they are wanted.
    pub numbers: Option<PeriodicEmbedding>,
    /// The bag of each text.
    pub texts: TextBag,
}

/// The sizes of the bag of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextBag {
    /// Length of the vector of each term.
    pub width: usize,
    /// The function of the sum of vectors.
    pub activation: Activation,
}

impl Default for TextBag {
    /// The first layer of a multilayer perceptron.
    fn default() -> Self {
        Self { width: 64, activation: Activation::Relu }
    }
}

/// The sizes of periodic embeddings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeriodicEmbedding {
    /// Frequencies of a column.
    pub frequencies: usize,
    /// Numbers that a column becomes, itself among them; at least 2.
    pub width: usize,
    /// Standard deviation of the frequencies at first.
    pub sigma: f64,
}

impl InputSpec {
    /// The front stage of a network that reads this input; none if every column is left as it is.
    pub fn front(&self, choice: &FrontChoice) -> Vec<FrontPart> {
        let mut parts = Vec::new();
        for field in self.fields() {
            for part in front_of(field, choice) {
                add(&mut parts, part);
            }
        }
        let is_plain = parts.iter().all(|part| matches!(part, FrontPart::Pass { .. }));
        if is_plain { Vec::new() } else { parts }
    }
}

/// Adds a part, to the last one if the two are alike.
fn add(parts: &mut Vec<FrontPart>, part: FrontPart) {
    match (parts.last_mut(), &part) {
        (Some(FrontPart::Pass { columns }), FrontPart::Pass { columns: more })
        | (Some(FrontPart::Periodic { columns, .. }), FrontPart::Periodic { columns: more, .. }) => {
            *columns += more;
        }
        _ => parts.push(part),
    }
}

/// The parts for the columns of a field.
fn front_of(field: &Field, choice: &FrontChoice) -> Vec<FrontPart> {
    let all = field.width();
    let numbers = match &field.kind {
        FieldKind::Category(category) => {
            if let Some(levels) = category.indices() {
                return vec![FrontPart::Embedding { levels, width: choice.categories }];
            }
            // The place of an ordered text; whether there is one stands beside it.
            usize::from(category.encoding == CategoryEncoding::Ordered)
        }
        // Bins of a number are embeddings of their own.
        FieldKind::Number(number) => usize::from(all - usize::from(number.missing) == 1),
        FieldKind::Dense(_) => all,
        FieldKind::Text(text) => {
            let TextBag { width, activation } = choice.texts;
            return vec![FrontPart::Bag { terms: text.terms(), width, activation }];
        }
        _ => 0,
    };
    let Some(PeriodicEmbedding { frequencies, width, sigma }) = choice.numbers else {
        return vec![FrontPart::Pass { columns: all }];
    };
    let periodic = FrontPart::Periodic { columns: numbers, frequencies, width, sigma };
    let rest = FrontPart::Pass { columns: all - numbers };
    [periodic, rest].into_iter().filter(|part| part.columns() > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Category, Number, NumberScaling};

    #[test]
    fn numbers_get_waves_and_all_else_is_left_as_it_is() {
        let scaling = NumberScaling::Standardize { mean: 0.0, deviation: 1.0 };
        let number = |missing| Number { scaling: scaling.clone(), missing };
        let colour = |encoding| {
            let values = vec!["blue".into(), "red".into()];
            Category { values, encoding, missing: true }
        };
        let fields = vec![
            Field::new("a", number(false)),
            Field::new("b", number(true)),
            Field::new("c", colour(CategoryEncoding::OneHot)),
            Field::new("d", number(false)),
            Field::new("e", colour(CategoryEncoding::Index)),
            Field::new("f", colour(CategoryEncoding::Ordered)),
        ];
        let input = InputSpec::new(fields).unwrap();
        let periodic = PeriodicEmbedding { frequencies: 16, width: 4, sigma: 0.1 };
        let texts = TextBag::default();
        let choice = FrontChoice { categories: 8, numbers: Some(periodic), texts };
        let of = |columns| FrontPart::Periodic { columns, frequencies: 16, width: 4, sigma: 0.1 };
        let index = FrontPart::Embedding { levels: 4, width: 8 };
        let pass = |columns| FrontPart::Pass { columns };
        let expected = [of(2), pass(4), of(1), index.clone(), of(1), pass(1)];
        assert_eq!(input.front(&choice), expected);
        let columns: usize = expected.iter().map(FrontPart::columns).sum();
        assert_eq!(columns, input.width());
        let plain = FrontChoice { numbers: None, ..choice };
        assert_eq!(input.front(&plain), [pass(7), index, pass(2)]);
        let input = InputSpec::new(input.fields()[..4].to_vec()).unwrap();
        assert!(input.front(&plain).is_empty());
    }
}
