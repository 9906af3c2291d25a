//! The fields of an input: what each takes, and what its encoding was fitted to.

use serde::{Deserialize, Serialize};

use super::{Boolean, Category, CategoryEncoding, Date, InputError, Number, NumberScaling, Text};
use crate::{Pictures, Preprocessing, Sounds};

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

/// The values that a field takes, with the encoding that was fitted to them.
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
    /// A date, or a date with a time.
    Date(Date),
    /// Sentences.
    Text(Text),
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
    /// The features of the training recordings, if rows are made of recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sounds: Option<Sounds>,
}

impl Field {
    /// A field of this name.
    pub fn new(name: impl Into<String>, kind: impl Into<FieldKind>) -> Self {
        Self { name: name.into(), kind: kind.into() }
    }

    /// Dense columns that the network sees of it.
    pub fn width(&self) -> usize {
        match &self.kind {
            FieldKind::Dense(dense) => {
                dense.shape.iter().fold(1, |width, &size| width.saturating_mul(size))
            }
            FieldKind::Number(number) => number.width(),
            FieldKind::Boolean(_) => 1,
            FieldKind::Category(category) => category.width(),
            FieldKind::Date(date) => date.width(),
            FieldKind::Text(_) => 0,
        }
    }

    /// Whether the format of model files has it only since version 3.
    pub(super) fn needs_version_3(&self) -> bool {
        match &self.kind {
            FieldKind::Dense(dense) => dense.sounds.is_some(),
            FieldKind::Number(number) => {
                !matches!(number.scaling, NumberScaling::Standardize { .. })
            }
            FieldKind::Category(category) => category.encoding != CategoryEncoding::OneHot,
            FieldKind::Boolean(_) | FieldKind::Date(_) | FieldKind::Text(_) => true,
        }
    }

    pub(super) fn validate(&self) -> Result<(), InputError> {
        match &self.kind {
            FieldKind::Dense(dense) => dense.validate(&self.name),
            FieldKind::Number(number) => number.validate(&self.name),
            FieldKind::Boolean(_) => Ok(()),
            FieldKind::Category(category) => category.validate(&self.name),
            FieldKind::Date(date) => date.validate(&self.name),
            FieldKind::Text(text) => text.validate(&self.name),
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

impl From<Date> for FieldKind {
    fn from(date: Date) -> Self {
        Self::Date(date)
    }
}

impl From<Text> for FieldKind {
    fn from(text: Text) -> Self {
        Self::Text(text)
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
        if let Some(sounds) = &self.sounds {
            sounds.validate(&self.shape)?;
        }
        Ok(())
    }
}
