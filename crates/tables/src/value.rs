//! From a cell to the value of a field, the same in training and prediction.

use fireclay_model::{Category, FieldKind, InputSpec, Value};

use crate::table::{Cell, is_missing, number};

/// The value of a cell in a column of this kind. Spaces around a text belong to it where the model
/// knows it so, and else to the table.
pub fn value<'a>(cell: Cell<'a>, kind: Option<&FieldKind>) -> Value<'a> {
    let text = match cell {
        Cell::Number(number) if number.is_nan() => return Value::Missing,
        Cell::Number(number) => return Value::Number(number),
        Cell::Text(text) => text,
    };
    let bare = text.trim();
    match kind {
        Some(FieldKind::Category(category)) if knows(category, text) => Value::Text(text),
        Some(FieldKind::Category(category)) if knows(category, bare) => Value::Text(bare),
        _ if is_missing(bare) => Value::Missing,
        Some(FieldKind::Number(_)) => number(bare).map_or(Value::Text(bare), Value::Number),
        _ => Value::Text(bare),
    }
}

/// Returns true if a category has this text.
pub fn knows(category: &Category, text: &str) -> bool {
    category.place(text).is_some()
}

/// The name of a column, without spaces around it unless the model takes it with them.
pub fn name_of(name: &str, input: &InputSpec) -> String {
    let is_taken = input.fields().iter().any(|field| field.name == name);
    if is_taken { name } else { name.trim() }.to_owned()
}
