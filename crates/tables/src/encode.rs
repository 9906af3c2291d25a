//! The input of a model, fitted to the training rows of a table, and rows encoded by it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fireclay_model::{
    Boolean, Category, CategoryEncoding, DateFit, Detail, EncodedRows, Encoder, Field, FieldKind,
    InputError, InputSpec, NumberFit, TextFit, Value,
};

use crate::kind::Kind;
use crate::schema::{ColumnPart, PlannedColumn, Schema};
use crate::table::{Cell, Cells, Table};
use crate::{TableError, value};

/// Fits the encoding of each feature to `training` rows alone; `rows` are all that will be encoded,
/// and say only whether a value may be missing.
///
/// # Errors
///
/// A feature without a value in any training row.
pub fn fit(
    table: &Table,
    schema: &Schema,
    training: &[usize],
    rows: &[usize],
) -> Result<InputSpec, TableError> {
    let mut fields = InputFit::new(schema);
    for (fit, planned) in fields.0.iter_mut().zip(schema.features()) {
        let cells = &planned.column(table)?.cells;
        training.iter().for_each(|&row| fit.add(cells.get(row)));
        rows.iter().for_each(|&row| fit.note(cells.get(row)));
    }
    fields.finish()
}

/// The encodings of all features, being fitted a row at a time.
#[derive(Clone, Debug)]
pub struct InputFit(Vec<FieldFit>);

/// The encoding of a feature, being fitted.
#[derive(Clone, Debug)]
pub struct FieldFit {
    name: String,
    state: FitState,
    detail: Detail,
    one_hot: usize,
    /// Training rows with a value.
    count: usize,
    /// True if a row lacks a value, of training or not.
    missing: bool,
}

#[derive(Clone, Debug)]
enum FitState {
    Number(NumberFit),
    Boolean,
    Category(BTreeMap<String, usize>),
    Ordered(Vec<String>),
    Date(DateFit),
    Text(Box<TextFit>, usize),
}

/// The most terms of all columns together: a model file has room for them.
const MOST_TERMS: usize = 400_000;

impl InputFit {
    /// A fit without rows.
    pub fn new(schema: &Schema) -> Self {
        let numbers = schema.features().filter(|planned| planned.profile.kind == Kind::Number);
        let detail = Detail::of_columns(numbers.count());
        let texts = schema.features().filter(|planned| planned.profile.kind == Kind::Text);
        let most_terms = MOST_TERMS / texts.count().max(1);
        let fields = schema.features();
        Self(fields.map(|planned| FieldFit::new(planned, schema, detail, most_terms)).collect())
    }

    /// The features, in the order of the schema.
    pub fn fields_mut(&mut self) -> &mut [FieldFit] {
        &mut self.0
    }

    /// Returns the fitted input.
    ///
    /// # Errors
    ///
    /// [`TableError::EmptyFeature`].
    pub fn finish(self) -> Result<InputSpec, TableError> {
        let fields = self.0.into_iter().map(FieldFit::finish);
        Ok(InputSpec::new(fields.collect::<Result<_, _>>()?)?)
    }
}

impl FieldFit {
    fn new(planned: &PlannedColumn, schema: &Schema, detail: Detail, most_terms: usize) -> Self {
        let state = match (planned.profile.kind, &planned.part) {
            (_, ColumnPart::Ordered(order)) => FitState::Ordered(order.clone()),
            (_, ColumnPart::Date(format)) => FitState::Date(DateFit::new(*format)),
            (Kind::Category, _) => FitState::Category(BTreeMap::new()),
            (Kind::Boolean, _) => FitState::Boolean,
            (Kind::Text, _) => FitState::Text(Box::new(TextFit::new(schema.texts())), most_terms),
            _ => FitState::Number(NumberFit::new(schema.numbers())),
        };
        let (name, one_hot) = (planned.profile.name.clone(), schema.one_hot());
        Self { name, state, detail, one_hot, count: 0, missing: false }
    }

    /// Adds the cell of a training row.
    pub fn add(&mut self, cell: Cell<'_>) {
        if cell.is_missing() {
            self.missing = true;
            if let FitState::Text(text, _) = &mut self.state {
                text.add(None);
            }
            return;
        }
        self.count += 1;
        match &mut self.state {
            FitState::Number(number) => number.add(cell.number()),
            FitState::Date(date) => date.add(Some(&cell.text())),
            FitState::Text(text, _) => text.add(Some(&cell.text())),
            FitState::Category(counts) => {
                let text = cell.text();
                match counts.get_mut(text.as_ref()) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(text.into_owned(), 1)),
                }
            }
            FitState::Boolean | FitState::Ordered(_) => {}
        }
    }

    /// Takes note of the cell of a row that nothing is fitted to: whether a value may be missing.
    pub fn note(&mut self, cell: Cell<'_>) {
        self.missing |= cell.is_missing();
    }

    fn finish(self) -> Result<Field, TableError> {
        let Self { name, state, detail, one_hot, count, missing } = self;
        if count == 0 {
            return Err(TableError::EmptyFeature { name });
        }
        let kind: FieldKind = match state {
            FitState::Number(number) => {
                let mut number = number.finish(detail);
                number.missing = missing;
                number.into()
            }
            FitState::Date(date) => {
                let mut date = date.finish();
                date.missing = missing;
                date.into()
            }
            FitState::Boolean => Boolean { missing }.into(),
            FitState::Text(text, most_terms) => {
                let text = text.finish(most_terms);
                if text.terms() == 0 {
                    return Err(TableError::NoTerms { name });
                }
                text.into()
            }
            FitState::Category(counts) => category(counts, one_hot, missing).into(),
            FitState::Ordered(order) => {
                Category { values: order, encoding: CategoryEncoding::Ordered, missing }.into()
            }
        };
        Ok(Field::new(name, kind))
    }
}

/// A category of these texts, with the rows of each: one-hot, or of too many an index for a learned
/// embedding. Texts of a single row share the embedding of all that are unseen, which is learned so.
fn category(counts: BTreeMap<String, usize>, one_hot: usize, missing: bool) -> Category {
    let is_wide = counts.len() > one_hot;
    let encoding = if is_wide { CategoryEncoding::Index } else { CategoryEncoding::OneHot };
    let least = if is_wide && counts.values().any(|&count| count > 1) { 2 } else { 1 };
    let often = counts.into_iter().filter(|(_, count)| *count >= least);
    Category { values: often.map(|(text, _)| text).collect(), encoding, missing }
}

/// Encodes some rows of a table by the names of its columns.
///
/// # Errors
///
/// A column that the input takes and the table lacks, and a value that is not one of its column, with
/// its row.
pub fn encode(table: &Table, input: &InputSpec, rows: &[usize]) -> Result<EncodedRows, TableError> {
    let names = input.fields().iter().map(|field| &field.name);
    let columns = names.map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
    let encoder = input.encoder_of_fields();
    let cells = columns.iter().zip(input.fields());
    let cells: Vec<Cow<'_, Cells>> =
        cells.map(|(column, field)| as_taken(&column.cells, &field.kind)).collect();
    let mut encoded = EncodedRows::new(input);
    encoded.dense.reserve_exact(rows.len() * input.width());
    let mut values = Vec::with_capacity(columns.len());
    for &row in rows {
        let cells = cells.iter().map(|cells| cells.get(row));
        encode_row(&encoder, input, row, cells, &mut values, &mut encoded)?;
    }
    Ok(encoded)
}

/// Encodes a row of cells, behind others, in the order of the input's fields; `values` is room for them.
pub(crate) fn encode_row<'a>(
    encoder: &Encoder<'_>,
    input: &InputSpec,
    row: usize,
    cells: impl Iterator<Item = Cell<'a>>,
    values: &mut Vec<Value<'a>>,
    onto: &mut EncodedRows,
) -> Result<(), TableError> {
    values.clear();
    values.extend(cells.zip(input.fields()).map(|(cell, field)| value(cell, Some(&field.kind))));
    encoder.encode_onto(row, values, onto).map_err(of_row)
}

/// The cells of a column as a field of this kind takes them: as texts, unless they are numbers for numbers
/// or truth values.
pub fn as_taken<'a>(cells: &'a Cells, kind: &FieldKind) -> Cow<'a, Cells> {
    match (cells, kind) {
        (Cells::Texts(_), _) | (_, FieldKind::Number(_) | FieldKind::Boolean(_)) => {
            Cow::Borrowed(cells)
        }
        (numbers, _) => Cow::Owned(numbers.to_texts()),
    }
}

/// The error of a row, counted as people do.
fn of_row(error: InputError) -> TableError {
    match error {
        InputError::Value { row, column, problem } => {
            TableError::Value { row: row + 1, column, problem }
        }
        other => other.into(),
    }
}
