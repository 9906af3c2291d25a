//! From the values of a row to what the network sees, by the names of their columns.

use fireclay_terminal::counted;

use super::{Dense, Field, FieldKind, InputError, InputSpec};
use crate::EncodedRows;

/// The value of a field in one row, as the data has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// There is none.
    Missing,
    /// A number.
    Number(f64),
    /// A truth value.
    Boolean(bool),
    /// A text.
    Text(&'a str),
    /// Numbers of a [`Dense`] field, row by row.
    Dense(&'a [f32]),
}

/// Turns rows with these columns into what the network sees.
#[derive(Clone, Debug)]
pub struct Encoder<'a> {
    input: &'a InputSpec,
    /// The column of each field.
    places: Vec<usize>,
    columns: usize,
    ignored: Vec<String>,
}

impl InputSpec {
    /// Finds the column of each field by its name; columns may come in any order.
    ///
    /// # Errors
    ///
    /// [`InputError::MissingColumns`] and [`InputError::DuplicateColumn`].
    pub fn encoder(&self, columns: &[impl AsRef<str>]) -> Result<Encoder<'_>, InputError> {
        let mut places = Vec::with_capacity(self.fields.len());
        let mut missing = Vec::new();
        for field in &self.fields {
            let mut found =
                (0..columns.len()).filter(|&place| columns[place].as_ref() == field.name);
            match (found.next(), found.next()) {
                (Some(place), None) => places.push(place),
                (Some(_), Some(_)) => {
                    return Err(InputError::DuplicateColumn { name: field.name.clone() });
                }
                (None, _) => missing.push(field.name.clone()),
            }
        }
        if !missing.is_empty() {
            // An ensemble has several fields of one column.
            let missing =
                self.columns().into_iter().filter(|name| missing.contains(name)).collect();
            return Err(InputError::MissingColumns { missing, expected: self.columns() });
        }
        let others = columns.iter().enumerate().filter(|(place, _)| !places.contains(place));
        let ignored = others.map(|(_, column)| column.as_ref().to_owned()).collect();
        Ok(Encoder { input: self, places, columns: columns.len(), ignored })
    }

    /// As [`encoder`](Self::encoder), of rows that have a value for each field, in the order of the
    /// fields.
    pub fn encoder_of_fields(&self) -> Encoder<'_> {
        let columns = self.fields.len();
        Encoder { input: self, places: (0..columns).collect(), columns, ignored: Vec::new() }
    }
}

impl Encoder<'_> {
    /// Columns that are of no field.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Encodes a row for the network, which has `row` others before it.
    ///
    /// # Errors
    ///
    /// [`InputError::Columns`], and [`InputError::Value`] for the first value at fault.
    pub fn encode(&self, row: usize, values: &[Value<'_>]) -> Result<EncodedRows, InputError> {
        let mut encoded = EncodedRows::new(self.input);
        self.encode_onto(row, values, &mut encoded)?;
        Ok(encoded)
    }

    /// Encodes several rows for the network.
    ///
    /// # Errors
    ///
    /// As for [`encode`](Self::encode), of the first row at fault.
    pub fn encode_rows<'v>(
        &self,
        rows: &[impl AsRef<[Value<'v>]>],
    ) -> Result<EncodedRows, InputError> {
        let mut encoded = EncodedRows::new(self.input);
        encoded.dense.reserve_exact(rows.len() * self.input.width());
        for (at, row) in rows.iter().enumerate() {
            self.encode_onto(at, row.as_ref(), &mut encoded)?;
        }
        Ok(encoded)
    }

    /// As [`encode`](Self::encode), behind rows that this input has encoded before.
    ///
    /// # Errors
    ///
    /// As for [`encode`](Self::encode); the rows are then of no use.
    pub fn encode_onto(
        &self,
        row: usize,
        values: &[Value<'_>],
        onto: &mut EncodedRows,
    ) -> Result<(), InputError> {
        if values.len() != self.columns {
            let (found, expected) = (values.len(), self.columns);
            return Err(InputError::Columns { row, found, expected });
        }
        onto.push(|mut left, sparse| {
            let mut texts = sparse.iter_mut();
            for (field, &place) in self.input.fields.iter().zip(&self.places) {
                let (room, rest) = left.split_at_mut(field.width());
                let encoded = match &field.kind {
                    FieldKind::Text(text) => {
                        texts.next().map_or(Ok(()), |rows| text.encode(values[place], rows))
                    }
                    _ => field.encode(values[place], room),
                };
                encoded.map_err(|problem| InputError::Value {
                    row,
                    column: field.name.clone(),
                    problem,
                })?;
                left = rest;
            }
            Ok(())
        })
    }
}

impl Field {
    /// Encodes a value into the dense columns of the field; a text has none.
    fn encode(&self, value: Value<'_>, into: &mut [f32]) -> Result<(), ValueProblem> {
        match &self.kind {
            FieldKind::Dense(dense) => dense.encode(value, into),
            FieldKind::Number(number) => number.encode(value, into),
            FieldKind::Boolean(boolean) => boolean.encode(value, into),
            FieldKind::Category(category) => category.encode(value, into),
            FieldKind::Date(date) => date.encode(value, into),
            FieldKind::Text(_) => Ok(()),
        }
    }
}

impl Dense {
    fn encode(&self, value: Value<'_>, into: &mut [f32]) -> Result<(), ValueProblem> {
        let Value::Dense(numbers) = value else {
            return Err(ValueProblem::of(value, "numbers of one shape"));
        };
        if numbers.len() != into.len() {
            let (found, expected) = (numbers.len(), into.len());
            return Err(ValueProblem::Count { found, expected });
        }
        if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
            return Err(ValueProblem::NotFiniteAt { at, found: numbers[at] });
        }
        into.copy_from_slice(numbers);
        self.preprocessing.apply(into);
        Ok(())
    }
}

/// Why a value is not one of its field.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ValueProblem {
    /// It is missing, and was not in any training row.
    #[error("it is missing, and no training row lacks it; the model expects {expected}")]
    Missing {
        /// The values that the field takes.
        expected: &'static str,
    },
    /// It is of another kind.
    #[error("it is {found}, and the model expects {expected}")]
    Kind {
        /// The value found.
        found: String,
        /// The values that the field takes.
        expected: &'static str,
    },
    /// A number that is not finite, or is too far from the training rows for single precision.
    #[error("it is {found:?}; numbers must be finite, and so must the network's input")]
    NotFinite {
        /// The number.
        found: f64,
    },
    /// One of several numbers is not finite.
    #[error("number {at} of it is {found}; numbers must be finite")]
    NotFiniteAt {
        /// Its place, from 0.
        at: usize,
        /// The number.
        found: f32,
    },
    /// Another number of numbers.
    #[error("it has {}, and the model expects {expected}", counted(*found as u64, "number"))]
    Count {
        /// Numbers of the value.
        found: usize,
        /// Numbers of the field.
        expected: usize,
    },
}

impl ValueProblem {
    pub(super) fn of(value: Value<'_>, expected: &'static str) -> Self {
        let found = match value {
            Value::Missing => return Self::Missing { expected },
            Value::Number(number) => format!("a number, {number}"),
            Value::Boolean(is_true) => format!("the truth value {is_true}"),
            Value::Text(text) => {
                let beginning: String = text.chars().take(40).collect();
                format!("a text, {beginning:?}")
            }
            Value::Dense(numbers) => {
                format!("a row of {}", counted(numbers.len() as u64, "number"))
            }
        };
        Self::Kind { found, expected }
    }
}
