//! The fields of an input: what each takes, and what its encoding was fitted to.

use serde::{Deserialize, Serialize};

use super::{Boolean, InputError};
use crate::{Pictures, Preprocessing};

/// One field of an [`InputSpec`](crate::InputSpec).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name, by which the column of a table is found.
    pub name: String,
    /// The values that it takes, with its fitted encoding.
    #[serde(rename = "takes")]
    pub kind: FieldKind,
}

/// The values that a field takes; later kinds, such as texts and dates, are further variants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FieldKind {
    /// Numbers of one shape: pixels, an embedding, a row of features.
    Dense(Dense),
    /// A number that may be missing.
    Number(Number),
    /// A truth value.
    Boolean(Boolean),
    /// One of some texts.
    Category(Category),
}

/// Numbers of one shape, row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Shape of one sample, such as `[28, 28]`.
    pub shape: Vec<usize>,
    /// From raw numbers to what the network sees.
    pub preprocessing: Preprocessing,
    /// The appearance of the training pictures, if they were pictures and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pictures: Option<Pictures>,
}

/// A number that may be missing: `(x - mean) / deviation`, and 0 where the deviation is 0 or the
/// number is missing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Number {
    /// Mean of the training rows that have it.
    pub mean: f64,
    /// Standard deviation of the training rows that have it.
    pub deviation: f64,
    /// True if it may be missing: then a further number is 1 where it is, and else 0.
    pub missing: bool,
}

/// One of some texts: a 1 in the place of its own and 0 in all others.
///
/// A text that was not among the training rows is 0 in every place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// The texts, sorted.
    pub values: Vec<String>,
    /// True if it may be missing: then it has a last place of its own.
    pub missing: bool,
}

impl Field {
    /// A field of this name.
    pub fn new(name: impl Into<String>, kind: impl Into<FieldKind>) -> Self {
        Self { name: name.into(), kind: kind.into() }
    }

    /// Numbers that the network sees of it.
    pub fn width(&self) -> usize {
        match &self.kind {
            FieldKind::Dense(dense) => {
                dense.shape.iter().fold(1, |width, &size| width.saturating_mul(size))
            }
            FieldKind::Number(number) => 1 + usize::from(number.missing),
            FieldKind::Boolean(_) => 1,
            FieldKind::Category(category) => category.values.len() + usize::from(category.missing),
        }
    }

    /// Whether the format of model files has it only since version 3.
    pub(super) fn needs_version_3(&self) -> bool {
        matches!(self.kind, FieldKind::Boolean(_))
    }

    pub(super) fn validate(&self) -> Result<(), InputError> {
        match &self.kind {
            FieldKind::Dense(dense) => dense.validate(&self.name),
            FieldKind::Number(number) => number.validate(&self.name),
            FieldKind::Boolean(_) => Ok(()),
            FieldKind::Category(category) => category.validate(&self.name),
        }
    }
}

impl From<Dense> for FieldKind {
    fn from(dense: Dense) -> Self {
        Self::Dense(dense)
    }
}

impl From<Number> for FieldKind {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

impl From<Boolean> for FieldKind {
    fn from(boolean: Boolean) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<Category> for FieldKind {
    fn from(category: Category) -> Self {
        Self::Category(category)
    }
}

impl Dense {
    fn validate(&self, field: &str) -> Result<(), InputError> {
        let width = self.shape.iter().try_fold(1usize, |width, &size| width.checked_mul(size));
        let Some(width) = width.filter(|&width| width > 0 && !self.shape.is_empty()) else {
            return Err(InputError::BadShape {
                field: field.to_owned(),
                shape: self.shape.clone(),
            });
        };
        self.preprocessing.validate(width)?;
        if let Some(pictures) = &self.pictures {
            pictures.validate(&self.shape)?;
        }
        Ok(())
    }
}

impl Number {
    fn validate(&self, field: &str) -> Result<(), InputError> {
        let (what, found) = if !self.mean.is_finite() {
            ("the mean", self.mean)
        } else if !(self.deviation.is_finite() && self.deviation >= 0.0) {
            ("the deviation", self.deviation)
        } else {
            return Ok(());
        };
        Err(InputError::Statistic { field: field.to_owned(), what, found })
    }
}

impl Category {
    fn validate(&self, field: &str) -> Result<(), InputError> {
        if self.values.is_empty() {
            return Err(InputError::NoCategories { field: field.to_owned() });
        }
        match self.values.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => {
                Err(InputError::Categories { field: field.to_owned(), value: pair[1].clone() })
            }
            None => Ok(()),
        }
    }
}
