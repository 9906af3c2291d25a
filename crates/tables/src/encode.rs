//! The input of a model, fitted to the training rows of a table, and rows encoded by it.

use fireclay_model::{Category, Field, FieldKind, InputError, InputSpec, Number, Value};

use crate::kind::Kind;
use crate::schema::{ColumnPart, PlannedColumn, Schema};
use crate::table::{Column, Table};
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
    let fields = schema.features().map(|planned| field(table, planned, training, rows));
    Ok(InputSpec::new(fields.collect::<Result<_, _>>()?)?)
}

fn field(
    table: &Table,
    planned: &PlannedColumn,
    training: &[usize],
    rows: &[usize],
) -> Result<Field, TableError> {
    let column = planned.column(table)?;
    let is_missing = rows.iter().any(|&row| column.cells.get(row).is_missing());
    if training.iter().all(|&row| column.cells.get(row).is_missing()) {
        return Err(TableError::EmptyFeature { name: column.name.clone() });
    }
    let kind: FieldKind = match (planned.profile.kind, &planned.part) {
        (Kind::Category | Kind::Boolean, ColumnPart::Feature) if !is_numeric(planned) => {
            let texts: Vec<Option<String>> =
                training.iter().map(|&row| text(column, row)).collect();
            let mut category = Category::fit(texts.iter().map(Option::as_deref));
            category.missing = is_missing;
            category.into()
        }
        _ => {
            let numbers = training.iter().map(|&row| column.cells.get(row).number());
            let mut number = Number::fit(numbers);
            number.missing = is_missing;
            number.into()
        }
    };
    Ok(Field::new(column.name.clone(), kind))
}

/// Returns true if all values of a column are numbers, as of 0 and 1.
fn is_numeric(planned: &PlannedColumn) -> bool {
    planned.profile.kind == Kind::Boolean && planned.profile.numbers == planned.profile.present()
}

fn text(column: &Column, row: usize) -> Option<String> {
    let cell = column.cells.get(row);
    (!cell.is_missing()).then(|| cell.text().into_owned())
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
    let width = input.width();
    let mut encoded = vec![0.0; rows.len() * width];
    let mut values: Vec<Value<'_>> = Vec::with_capacity(columns.len());
    for (&row, into) in rows.iter().zip(encoded.chunks_exact_mut(width)) {
        values.clear();
        for (column, field) in columns.iter().zip(input.fields()) {
            values.push(value(column.cells.get(row), Some(&field.kind)));
        }
        encoder.encode_into(row, &values, into).map_err(of_row)?;
    }
    Ok(encoded)
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
