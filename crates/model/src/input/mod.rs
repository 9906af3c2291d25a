//! The input of a model for one row, and its encoding for the network.

mod boolean;
mod category;
mod date;
mod encoder;
mod field;
mod number;
mod text;

use std::collections::HashSet;

use fireclay_terminal::counted;
use serde::{Deserialize, Serialize};

use crate::{
    Pictures, PicturesError, Preprocessing, PreprocessingError, RowError, Sounds, SoundsError,
};

pub use boolean::Boolean;
pub use category::{Category, CategoryEncoding};
pub use date::{Date, DateFit, DateFormat, DatePart};
pub use encoder::{Encoder, Value, ValueProblem};
pub use field::{Dense, Field, FieldKind};
pub use number::{Detail, Number, NumberEncoding, NumberFit, NumberScaling};
pub use text::{
    Analyzer, BadNgramRange, Idf, NgramRange, TermPlaces, Text, TextEncoding, TextEncodingError,
    TextFit, TextWeighting, Vocabulary, Weighting,
};

/// The input of a model for one row: named fields, whose encodings stand side by side in front of
/// the network.
///
/// Pictures, embeddings and rows of features are one [`Dense`] field; a table has a field for each
/// column. Everything that an encoding was fitted to is in the field, and so in the model file.
///
/// ```
/// use fireclay_model::{Field, InputSpec, Number, Value};
///
/// let sizes = Number::fit([Some(1.0), Some(3.0), None]);
/// let colours = fireclay_model::Category::fit([Some("red"), Some("blue")]);
/// let input = InputSpec::new(vec![
///     Field::new("size", sizes),
///     Field::new("colour", colours),
/// ])?;
/// // The number, whether it is missing, and one place for each colour.
/// assert_eq!(input.width(), 4);
/// // By name: columns may come in any order, and those of no field are left out.
/// let encoder = input.encoder(&["colour", "weather", "size"])?;
/// let row = encoder.encode(0, &[Value::Text("red"), Value::Missing, Value::Number(3.0)])?;
/// assert_eq!(row.dense, [1.0, 0.0, 0.0, 1.0]);
/// # Ok::<(), fireclay_model::InputError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    fields: Vec<Field>,
}

impl InputSpec {
    /// The name of the one field of models whose files give it none.
    pub const FEATURES: &'static str = "features";

    /// Fields, in the order in which the network sees them.
    ///
    /// # Errors
    ///
    /// An [`InputError`] that names the first field at fault.
    pub fn new(fields: Vec<Field>) -> Result<Self, InputError> {
        let input = Self { fields };
        input.validate()?;
        Ok(input)
    }

    /// Rows of numbers of one shape, such as `[28, 28]`: one field, named
    /// [`FEATURES`](Self::FEATURES). Whether the preprocessing fits them shows in
    /// [`validate`](Self::validate).
    pub fn dense(shape: &[usize], preprocessing: Preprocessing) -> Self {
        let dense = Dense { shape: shape.to_vec(), preprocessing, pictures: None, sounds: None };
        Self { fields: vec![Field::new(Self::FEATURES, dense)] }
    }

    /// The fields of several inputs of the same columns, one input after the other: what each gives of
    /// a row stands side by side, and so every name occurs once for each input.
    pub(crate) fn side_by_side<'a>(inputs: impl Iterator<Item = &'a Self>) -> Self {
        Self { fields: inputs.flat_map(|input| input.fields.iter().cloned()).collect() }
    }

    /// The names of the columns that it takes, in the order of their first fields.
    pub fn columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::with_capacity(self.fields.len());
        let mut seen = HashSet::new();
        columns.extend(
            self.fields.iter().map(|field| &field.name).filter(|name| seen.insert(*name)).cloned(),
        );
        columns
    }

    /// The same input, of rows that are such pictures; one that is not [dense](Self::as_dense) has
    /// none.
    #[must_use]
    pub fn with_pictures(mut self, pictures: Option<Pictures>) -> Self {
        if let Some(dense) = self.as_dense_mut() {
            dense.pictures = pictures;
        }
        self
    }

    /// The same input, of rows that have such features of recordings; one that is not
    /// [dense](Self::as_dense) has none.
    #[must_use]
    pub fn with_sounds(mut self, sounds: Option<Sounds>) -> Self {
        if let Some(dense) = self.as_dense_mut() {
            dense.sounds = sounds;
        }
        self
    }

    /// The same input, of rows of this shape, if it is [dense](Self::as_dense).
    #[must_use]
    pub(crate) fn with_shape(mut self, shape: &[usize]) -> Self {
        if let Some(dense) = self.as_dense_mut() {
            dense.shape = shape.to_vec();
        }
        self
    }

    fn as_dense_mut(&mut self) -> Option<&mut Dense> {
        match &mut self.fields[..] {
            [Field { kind: FieldKind::Dense(dense), .. }] => Some(dense),
            _ => None,
        }
    }

    /// The fields, in the order in which the network sees them.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The one field of rows of numbers, if that is all the model takes.
    pub fn as_dense(&self) -> Option<&Dense> {
        match &self.fields[..] {
            [Field { kind: FieldKind::Dense(dense), .. }] => Some(dense),
            _ => None,
        }
    }

    /// As [`as_dense`](Self::as_dense), for whoever has rows of numbers without names.
    ///
    /// # Errors
    ///
    /// [`RowError::Named`].
    pub fn require_dense(&self) -> Result<&Dense, RowError> {
        self.as_dense().ok_or_else(|| RowError::Named { fields: self.columns() })
    }

    /// The one field, if it has the name that files of version 1 know it by.
    pub(crate) fn as_features(&self) -> Option<&Dense> {
        self.as_dense().filter(|_| self.fields[0].name == Self::FEATURES)
    }

    /// Returns the preprocessing of the rows that the network is given: that of a [`Dense`] input;
    /// rows of other inputs are encoded before.
    pub fn preprocessing(&self) -> &Preprocessing {
        self.as_dense().map_or(&Preprocessing::None, |dense| &dense.preprocessing)
    }

    /// Returns the appearance of the pictures that rows stand for, if they do and it is known.
    pub fn pictures(&self) -> Option<Pictures> {
        self.as_dense().and_then(|dense| dense.pictures)
    }

    /// Returns the features of recordings that rows have, if they are of recordings.
    pub fn sounds(&self) -> Option<Sounds> {
        self.as_dense().and_then(|dense| dense.sounds)
    }

    /// Whether the format of model files can describe it only since version 3.
    pub(crate) fn needs_version_3(&self) -> bool {
        self.fields.iter().any(Field::needs_version_3)
    }

    /// The texts, in the order of the fields; each gives a sparse row in place of dense columns.
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        self.fields.iter().filter_map(|field| match &field.kind {
            FieldKind::Text(text) => Some(text),
            _ => None,
        })
    }

    /// Dense columns that the network sees of a row; 0 for an input of texts alone.
    pub fn width(&self) -> usize {
        self.fields.iter().map(Field::width).fold(0, usize::saturating_add)
    }

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// An [`InputError`] that names the first field at fault.
    pub fn validate(&self) -> Result<(), InputError> {
        if self.fields.is_empty() {
            return Err(InputError::NoField);
        }
        let mut names: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(InputError::Duplicate { name: pair[0].to_owned() });
        }
        self.fields.iter().try_for_each(Field::validate)
    }

    /// Checks that a network whose input has this shape can see what the fields give.
    ///
    /// # Errors
    ///
    /// [`InputError::Shape`], and those of [`validate`](Self::validate).
    pub fn validate_for(&self, shape: &[usize]) -> Result<(), InputError> {
        self.validate()?;
        let found = self.as_dense().map_or_else(|| vec![self.width()], |dense| dense.shape.clone());
        if found == shape {
            Ok(())
        } else {
            Err(InputError::Shape { found, expected: shape.to_vec() })
        }
    }
}

/// Why an input cannot be that of a model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InputError {
    /// There is no field.
    #[error("the input has no field")]
    NoField,
    /// Two fields have one name.
    #[error("the input has two fields named {name:?}; names must differ")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The fields give other numbers than the network takes.
    #[error("the input gives rows of shape {found:?}, and the network takes {expected:?}")]
    Shape {
        /// The shape that the fields give.
        found: Vec<usize>,
        /// The shape that the network takes.
        expected: Vec<usize>,
    },
    /// A shape without axes, or with too many numbers to count.
    #[error("field {field:?} has the impossible shape {shape:?}")]
    BadShape {
        /// The field.
        field: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A statistic that nothing can be fitted to.
    #[error("field {field:?}: {what} is {found}; it must be finite, and no distance below 0")]
    Statistic {
        /// The field.
        field: String,
        /// The statistic.
        what: &'static str,
        /// Its value.
        found: f64,
    },
    /// Quantiles or edges that cannot be those of numbers.
    #[error("field {field:?}: its {what} must be finite numbers in rising order, at least one")]
    Order {
        /// The field.
        field: String,
        /// The numbers.
        what: &'static str,
    },
    /// A category without values.
    #[error("field {field:?} has no categories; it needs at least one")]
    NoCategories {
        /// The field.
        field: String,
    },
    /// Categories that are not in order, or occur twice.
    #[error("field {field:?}: its categories are not sorted, or {value:?} occurs twice")]
    Categories {
        /// The field.
        field: String,
        /// The first category at fault.
        value: String,
    },
    /// A binary category of more than two values.
    #[error("field {field:?} has {found} categories; a binary one has at most 2")]
    NotBinary {
        /// The field.
        field: String,
        /// Its categories.
        found: usize,
    },
    /// A date without parts, or with a part twice.
    #[error("field {field:?} needs parts of its date, each at most once")]
    DateParts {
        /// The field.
        field: String,
    },
    /// A text without terms.
    #[error("field {field:?} needs n-grams of words or of characters")]
    Ngrams {
        /// The field.
        field: String,
    },
    /// Places of terms that a network cannot have.
    #[error("field {field:?} has {found} terms; it needs from 1 to {most}")]
    TermCount {
        /// The field.
        field: String,
        /// Its terms.
        found: usize,
        /// The most terms.
        most: usize,
    },
    /// Terms that are not in order, or occur twice.
    #[error("field {field:?}: its terms are not sorted, or {term:?} occurs twice")]
    Terms {
        /// The field.
        field: String,
        /// The first term at fault.
        term: String,
    },
    /// Inverse document frequencies that do not fit the terms.
    #[error("field {field:?} needs a finite idf of at least 0 for each of its {terms} terms")]
    Idf {
        /// The field.
        field: String,
        /// Its terms.
        terms: usize,
    },
    /// The bags of the network are not those of the texts.
    #[error("the texts have {found:?} terms, and the bags of the network take {expected:?}")]
    Bags {
        /// The terms of each text.
        found: Vec<usize>,
        /// The terms that each bag takes.
        expected: Vec<usize>,
    },
    /// The preprocessing does not fit.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
    /// The pictures do not fit.
    #[error(transparent)]
    Pictures(#[from] PicturesError),
    /// The features of recordings do not fit.
    #[error(transparent)]
    Sounds(#[from] SoundsError),
    /// Columns that the model takes are not there.
    #[error("columns are missing: {}; the model takes {}", in_words(missing), in_words(expected))]
    MissingColumns {
        /// The fields without a column.
        missing: Vec<String>,
        /// All fields.
        expected: Vec<String>,
    },
    /// Two columns have the name of one field.
    #[error("two columns are named {name:?}, which the model takes; names must differ")]
    DuplicateColumn {
        /// The name.
        name: String,
    },
    /// A value is not one of its field.
    #[error("row {row}, column {column:?}: {problem}")]
    Value {
        /// The row, from 0.
        row: usize,
        /// The column.
        column: String,
        /// The problem.
        problem: ValueProblem,
    },
    /// A row has another number of values than there are columns.
    #[error("row {row} has {} for {}", counted(*found as u64, "value"), counted(*expected as u64, "column"))]
    Columns {
        /// The row, from 0.
        row: usize,
        /// Its values.
        found: usize,
        /// Columns.
        expected: usize,
    },
}

/// Names in quotes, at most ten of them.
fn in_words(names: &[String]) -> String {
    const MOST: usize = 10;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(MOST);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    shown.join(", ") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> InputSpec {
        let scaling = NumberScaling::Standardize { mean: 2.0, deviation: 2.0 };
        let size = Number { scaling, missing: true };
        let colour = Category::fit([Some("blue"), Some("red")]);
        let pixels = Dense {
            shape: vec![1, 2],
            preprocessing: Preprocessing::Scale { scale: 0.5 },
            pictures: None,
            sounds: None,
        };
        let fields = vec![
            Field::new("size", size),
            Field::new("pixels", pixels),
            Field::new("colour", colour),
        ];
        InputSpec::new(fields).unwrap()
    }

    fn error(row: &[Value<'_>]) -> String {
        let input = table();
        let encoder = input.encoder(&["size", "pixels", "colour"]).unwrap();
        encoder.encode(3, row).unwrap_err().to_string()
    }

    #[test]
    fn fields_stand_side_by_side_in_their_own_order() {
        let input = table();
        assert_eq!(input.width(), 6);
        let encoder = input.encoder(&["extra", "colour", "pixels", "size"]).unwrap();
        assert_eq!(encoder.ignored(), ["extra"]);
        let row =
            [Value::Text("?"), Value::Text("red"), Value::Dense(&[4.0, 6.0]), Value::Number(6.0)];
        assert_eq!(encoder.encode(0, &row).unwrap().dense, [2.0, 0.0, 2.0, 3.0, 0.0, 1.0]);
    }

    #[test]
    fn what_was_never_seen_is_nothing_and_what_is_missing_is_said() {
        let input = table();
        let encoder = input.encoder(&["size", "pixels", "colour"]).unwrap();
        let row = [Value::Missing, Value::Dense(&[0.0, 0.0]), Value::Text("green")];
        assert_eq!(encoder.encode(0, &row).unwrap().dense, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn constant_numbers_become_0() {
        let constant = Number::fit([Some(5.0), Some(5.0)]);
        let input = InputSpec::new(vec![Field::new("x", constant)]).unwrap();
        let encoder = input.encoder(&["x"]).unwrap();
        assert_eq!(encoder.encode(0, &[Value::Number(9.0)]).unwrap().dense, [0.0]);
    }

    #[test]
    fn columns_that_do_not_fit_are_named() {
        let input = table();
        let missing = input.encoder(&["colour", "Size"]).unwrap_err().to_string();
        assert!(missing.contains(r#"missing: "size", "pixels"; the model takes"#), "{missing}");
        let twice = input.encoder(&["size", "pixels", "colour", "size"]).unwrap_err();
        assert!(matches!(twice, InputError::DuplicateColumn { name } if name == "size"));
        assert!(input.encoder(&["size", "pixels", "colour", "x", "x"]).is_ok());
    }

    #[test]
    fn values_that_do_not_fit_name_row_and_column() {
        let pixels = Value::Dense(&[0.0, 0.0]);
        let red = Value::Text("red");
        for (row, expected) in [
            (vec![Value::Number(f64::NAN), pixels, red], r#"row 3, column "size": it is NaN"#),
            (vec![Value::Number(1e300), pixels, red], r#"column "size": it is 1e300"#),
            (vec![Value::Text("big"), pixels, red], r#"column "size": it is a text, "big""#),
            (vec![Value::Number(1.0), Value::Missing, red], r#"column "pixels": it is missing"#),
            (vec![Value::Number(1.0), pixels, Value::Missing], r#"column "colour": it is missing"#),
            (
                vec![Value::Number(1.0), pixels, Value::Number(1.0)],
                r#"column "colour": it is a number"#,
            ),
            (
                vec![Value::Number(1.0), Value::Dense(&[1.0]), red],
                "it has 1 number, and the model expects 2",
            ),
            (
                vec![Value::Number(1.0), Value::Dense(&[1.0, f32::INFINITY]), red],
                "number 1 of it is inf",
            ),
            (vec![pixels, red], "row 3 has 2 values for 3 columns"),
        ] {
            let found = error(&row);
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn impossible_inputs_are_refused() {
        let number = |mean, deviation| {
            let scaling = NumberScaling::Standardize { mean, deviation };
            Field::new("x", Number { scaling, missing: false })
        };
        let category = |values: &[&str]| {
            let values = values.iter().map(|&value| value.to_owned()).collect();
            let encoding = CategoryEncoding::OneHot;
            Field::new("c", Category { values, encoding, missing: false })
        };
        let shape = |shape: &[usize]| {
            let (shape, preprocessing) = (shape.to_vec(), Preprocessing::None);
            Field::new("d", Dense { shape, preprocessing, pictures: None, sounds: None })
        };
        let wrong = Dense {
            shape: vec![2],
            preprocessing: Preprocessing::Standardize { mean: vec![0.0], deviation: vec![1.0] },
            pictures: None,
            sounds: None,
        };
        for fields in [
            vec![],
            vec![number(0.0, 1.0), number(0.0, 1.0)],
            vec![number(f64::NAN, 1.0)],
            vec![number(0.0, -1.0)],
            vec![category(&["b", "a"])],
            vec![category(&["a", "a"])],
            vec![category(&[])],
            vec![shape(&[])],
            vec![shape(&[0])],
            vec![shape(&[usize::MAX, 2])],
            vec![Field::new("d", wrong)],
        ] {
            assert!(InputSpec::new(fields.clone()).is_err(), "{fields:?}");
        }
        assert!(table().validate_for(&[6]).is_ok());
        assert!(matches!(table().validate_for(&[7]), Err(InputError::Shape { .. })));
        let dense = InputSpec::dense(&[2, 3], Preprocessing::PIXELS);
        assert!(dense.validate_for(&[2, 3]).is_ok());
        assert!(dense.validate_for(&[6]).is_err(), "another shape of as many numbers");
    }
}
