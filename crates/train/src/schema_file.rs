//! The schema of a table as a file: what its columns are, for a person to edit.

use std::collections::BTreeMap;
use std::path::Path;

use fireclay::DateFormat;
use fireclay_data::TableFacts;
use fireclay_data::tables::{ColumnPart, Kind, Others, PlannedColumn, TableOptions, TableTask};
use serde::{Deserialize, Serialize};
use toml::Value;

use crate::disk::{MOST_SETTINGS, read_text};
use crate::settings::{Partial, SettingsError};

/// What a schema file says, in TOML or JSON.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SchemaFile {
    target: Vec<String>,
    task: Option<TableTask>,
    weight: Option<String>,
    group: Option<String>,
    time: Option<String>,
    others: Others,
    columns: BTreeMap<String, ColumnSchema>,
}

/// What a schema file says of a column.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnSchema {
    kind: ColumnKind,
    /// The values of a category in their order.
    #[serde(default)]
    order: Vec<String>,
    /// How a date is written.
    #[serde(default)]
    format: Option<DateFormat>,
}

/// The kinds of columns that a person can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ColumnKind {
    Number,
    Boolean,
    Category,
    Date,
    Text,
    Drop,
}

/// Reads a schema file as the settings of a table.
///
/// # Errors
///
/// A file that cannot be read, or is no schema.
pub(crate) fn read(path: &Path) -> Result<Partial, SettingsError> {
    let text = read_text(path, MOST_SETTINGS)
        .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    let options = parse(&text)
        .map_err(|message| SettingsError::Parse { origin: path.display().to_string(), message })?;
    let table = toml::Table::try_from(options).unwrap_or_default();
    let data = toml::Table::from_iter([("table".to_owned(), Value::Table(table))]);
    let table = toml::Table::from_iter([("data".to_owned(), Value::Table(data))]);
    Ok(Partial { origin: path.display().to_string(), table })
}

/// The options that a schema amounts to, or what is wrong with it.
fn parse(text: &str) -> Result<TableOptions, String> {
    let file: SchemaFile = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        toml::from_str(text).map_err(|error| error.to_string())?
    };
    let SchemaFile { target, task, weight, group, time, others, columns } = file;
    let mut options =
        TableOptions { target, task, weight, group, time, others, ..TableOptions::default() };
    for (name, column) in columns {
        add(&mut options, name, column)?;
    }
    Ok(options)
}

/// Adds what a schema says of a column.
fn add(options: &mut TableOptions, name: String, column: ColumnSchema) -> Result<(), String> {
    let ColumnSchema { kind, order, format } = column;
    let is_role = options.target.contains(&name)
        || [&options.weight, &options.group].into_iter().any(|role| role.as_ref() == Some(&name));
    if is_role {
        return Err(format!(
            "column {name:?} is `target`, `weight` or `group`; leave it out of `columns`"
        ));
    }
    if !order.is_empty() && kind != ColumnKind::Category {
        return Err(format!("column {name:?}: only a category has an `order`; remove it"));
    }
    if format.is_some() && kind != ColumnKind::Date {
        return Err(format!("column {name:?}: only a date has a `format`; remove it"));
    }
    match (kind, format) {
        (ColumnKind::Category, _) if !order.is_empty() => {
            if name.contains('=') || order.iter().any(|value| value.contains('<')) {
                return Err(format!(
                    "column {name:?}: an order cannot have a name with `=`, nor values with `<`"
                ));
            }
            options.ordered.push(format!("{name}={}", order.join("<")));
        }
        (ColumnKind::Date, Some(format)) => options.date.push(format!("{name}={format}")),
        (ColumnKind::Date, None) => options.date.push(name),
        (ColumnKind::Number, _) => options.numeric.push(name),
        (ColumnKind::Boolean, _) => options.boolean.push(name),
        (ColumnKind::Category, _) => options.categorical.push(name),
        (ColumnKind::Text, _) => options.text.push(name),
        (ColumnKind::Drop, _) => options.drop.push(name),
    }
    Ok(())
}

/// The schema of a table, as it was inferred and as `options` say, in TOML.
pub(crate) fn text(facts: &TableFacts, options: &TableOptions) -> String {
    let schema = &facts.schema;
    let mut text = "# Schema of a table, for `--schema`. Kinds: number, boolean, category, date, text, drop.\n\
                    # A category may have `order = [\"low\", \"high\"]`, and a date a `format`.\n"
        .to_owned();
    text += &format!("target = {}\n", list(schema.targets()));
    text += &format!("task = \"{}\"\n", schema.task());
    let roles = [("weight", &options.weight), ("group", &options.group), ("time", &options.time)];
    for (name, column) in roles {
        if let Some(column) = column {
            text += &format!("{name} = {}\n", quoted(column));
        }
    }
    text += "others = \"refuse\"  # columns that are not named here: infer, drop or refuse\n\n[columns]\n";
    text + &schema.columns().iter().filter_map(line).collect::<String>()
}

/// The line of a column that has no other part.
fn line(column: &PlannedColumn) -> Option<String> {
    let profile = &column.profile;
    let (kind, detail) = match (&column.part, profile.kind) {
        (ColumnPart::Target | ColumnPart::Group | ColumnPart::Weight, _) => return None,
        (ColumnPart::Ordered(order), _) => ("category", format!(", order = {}", list(order))),
        (ColumnPart::Date(format), _) => ("date", format!(", format = \"{format}\"")),
        (ColumnPart::Dropped, _) => ("drop", String::new()),
        (_, Kind::Number) => ("number", String::new()),
        (_, Kind::Boolean) => ("boolean", String::new()),
        (_, Kind::Category) => ("category", String::new()),
        (_, Kind::Text) => ("text", String::new()),
        _ => ("drop", String::new()),
    };
    let name = quoted(&profile.name);
    // Why a column is left out, and what it holds.
    let examples: Vec<String> = profile.examples.iter().map(|one| quoted(one)).collect();
    let note = format!("{}: {}", profile.kind, examples.join(", "));
    Some(format!("{name} = {{ kind = \"{kind}\"{detail} }}  # {note}\n"))
}

/// A text as TOML has it, on one line.
fn quoted(text: &str) -> String {
    // Strings of JSON are strings of TOML, but for characters that TOML has only escaped.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "target = [\"price\"]\nweight = \"w\"\nothers = \"drop\"\n[columns]\n\
        size = { kind = \"category\", order = [\"small\", \"large\"] }\n\
        born = { kind = \"date\", format = \"day-month-year\" }\n\
        \"a b\" = { kind = \"number\" }\nid = { kind = \"drop\" }\n";

    #[test]
    fn a_schema_says_what_flags_say() {
        let found = parse(TOML).unwrap();
        assert_eq!(found.ordered, ["size=small<large"]);
        assert_eq!(found.date, ["born=day-month-year"]);
        assert_eq!(
            (&found.numeric[..], &found.drop[..]),
            (&["a b".to_owned()][..], &["id".to_owned()][..])
        );
        assert_eq!((found.weight.as_deref(), found.others), (Some("w"), Others::Drop));
        let value: toml::Table = toml::from_str(TOML).unwrap();
        assert_eq!(parse(&serde_json::to_string(&value).unwrap()).unwrap(), found);
    }

    #[test]
    fn what_is_no_schema_is_named() {
        for (text, expected) in [
            ("[columns]\nx = { kind = \"float\" }", "unknown variant `float`"),
            ("columns = 3", "invalid type"),
            ("kinds = 1", "unknown field `kinds`"),
            ("{\"target\": \"y\"}", "expected a sequence"),
            ("target = [\"y\"]\n[columns]\ny = { kind = \"number\" }", "leave it out of `columns`"),
            ("[columns]\nx = { kind = \"date\", order = [\"a\"] }", "only a category"),
            ("[columns]\nx = { kind = \"text\", format = \"compact\" }", "only a date"),
            ("[columns]\nx = { kind = \"category\", order = [\"a<b\", \"c\"] }", "cannot have"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn texts_are_quoted_for_toml() {
        for text in ["a", "\"", "a\\b", "é\n\t", "\u{7f}", "\u{1}"] {
            let value: toml::Table = toml::from_str(&format!("{0} = {0}", quoted(text))).unwrap();
            assert_eq!(value.get(text).and_then(Value::as_str), Some(text), "{text:?}");
        }
    }
}
