//! The input of a model, fitted to the training rows of a table, and rows encoded by it.

use std::borrow::Cow;

use fireclay_model::{
    Boolean, Category, Date, Detail, Field, FieldKind, InputError, InputSpec, Number,
    NumberEncoding, Value,
};

use crate::kind::Kind;
use crate::schema::{ColumnPart, PlannedColumn, Schema};
use crate::table::{Cells, Column, Table};
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
    let numbers = schema.features().filter(|planned| planned.profile.kind == Kind::Number).count();
    let how = (schema.numbers(), Detail::of_columns(numbers));
    let fields = schema.features().map(|planned| field(table, planned, how, training, rows));
    Ok(InputSpec::new(fields.collect::<Result<_, _>>()?)?)
}

fn field(
    table: &Table,
    planned: &PlannedColumn,
    (encoding, detail): (NumberEncoding, Detail),
    training: &[usize],
    rows: &[usize],
) -> Result<Field, TableError> {
    let column = planned.column(table)?;
    let is_missing = rows.iter().any(|&row| column.cells.get(row).is_missing());
    if training.iter().all(|&row| column.cells.get(row).is_missing()) {
        return Err(TableError::EmptyFeature { name: column.name.clone() });
    }
    let kind: FieldKind = match (planned.profile.kind, &planned.part) {
        (_, ColumnPart::Ordered(order)) => {
            let category = Category::fit_ordered(order.clone(), []);
            Category { missing: is_missing, ..category }.into()
        }
        (_, ColumnPart::Date(format)) => {
            let texts = texts(column, training);
            let date = Date::fit(*format, texts.iter().map(|text| text.as_deref()));
            Date { missing: is_missing, ..date }.into()
        }
        (Kind::Category, _) => {
            let texts = texts(column, training);
            let category = Category::fit(texts.iter().map(|text| text.as_deref()));
            Category { missing: is_missing, ..category }.into()
        }
        (Kind::Boolean, _) => Boolean { missing: is_missing }.into(),
        _ => {
            let numbers = training.iter().map(|&row| column.cells.get(row).number());
            let number = Number::fit_as(encoding, numbers, detail);
            Number { missing: is_missing, ..number }.into()
        }
    };
    Ok(Field::new(column.name.clone(), kind))
}

/// The texts of some rows; none where there is no value.
fn texts<'a>(column: &'a Column, rows: &[usize]) -> Vec<Option<Cow<'a, str>>> {
    let cells = rows.iter().map(|&row| column.cells.get(row));
    cells.map(|cell| (!cell.is_missing()).then(|| cell.text())).collect()
}

/// Encodes some rows of a table by the names of its columns: `[rows, width]` row by row.
///
/// # Errors
///
/// A column that the input takes and the table lacks, and a value that is not one of its column, with
/// its row.
pub fn encode(table: &Table, input: &InputSpec, rows: &[usize]) -> Result<Vec<f32>, TableError> {
    let names = input.fields().iter().map(|field| &field.name);
    let columns = names.map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<&String> = columns.iter().map(|column| &column.name).collect();
    let encoder = input.encoder(&names)?;
    let cells = columns.iter().zip(input.fields());
    let cells: Vec<Cow<'_, Cells>> = cells.map(|(column, field)| of_field(column, field)).collect();
    let width = input.width();
    let mut encoded = vec![0.0; rows.len() * width];
    let mut values: Vec<Value<'_>> = Vec::with_capacity(columns.len());
    for (&row, into) in rows.iter().zip(encoded.chunks_exact_mut(width)) {
        values.clear();
        for (cells, field) in cells.iter().zip(input.fields()) {
            values.push(value(cells.get(row), Some(&field.kind)));
        }
        encoder.encode_into(row, &values, into).map_err(of_row)?;
    }
    Ok(encoded)
}

/// The cells of a column as its field takes them: as texts, unless they are numbers for numbers.
fn of_field<'a>(column: &'a Column, field: &Field) -> Cow<'a, Cells> {
    match (&column.cells, &field.kind) {
        (Cells::Texts(_), _) | (_, FieldKind::Number(_) | FieldKind::Boolean(_)) => {
            Cow::Borrowed(&column.cells)
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
