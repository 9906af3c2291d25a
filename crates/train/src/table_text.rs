//! The columns of a table in words.

use fireclay_data::TableFacts;
use fireclay_data::tables::{ColumnPart, Kind, PlannedColumn, Profile};
use fireclay_terminal::{counted, group, names, printable, row, table};

/// The most names of columns that a line lists.
const MOST_COLUMNS: usize = 6;
/// The most characters of a name, and of the examples of a column.
const MOST_CHARACTERS: usize = 32;

/// The target, and the columns of each kind in a line.
pub(crate) fn summary(facts: &TableFacts) -> String {
    let schema = &facts.schema;
    let task = schema.task();
    let mut text = format!("target {}: {task}\n", names(schema.targets(), MOST_COLUMNS));
    if let Some(sounds) = &facts.sounds {
        text += &format!("features: {sounds}\n");
    }
    for kind in [Kind::Number, Kind::Boolean, Kind::Category, Kind::Date, Kind::Text] {
        let found = schema.features().filter(|column| column.profile.kind == kind);
        let found: Vec<String> = found.map(|column| column.profile.name.clone()).collect();
        if !found.is_empty() {
            let listed = names(&found, MOST_COLUMNS);
            text += &format!("{} {}: {listed}\n", found.len(), plural(kind, found.len()));
        }
    }
    let unused = schema.columns().iter().filter(|column| column.part == ColumnPart::Unused);
    let unused: Vec<String> = unused
        .map(|PlannedColumn { profile: Profile { name, kind, .. }, .. }| {
            format!("{} ({kind})", printable(name, MOST_CHARACTERS))
        })
        .collect();
    // Columns of recordings are names and splits, and no features.
    if !unused.is_empty() && facts.sounds.is_none() {
        text += &format!("left out: {}; --check says why\n", names(&unused, MOST_COLUMNS));
    }
    if facts.left_out > 0 {
        let rows = group(facts.left_out as u64);
        text += &format!("left out: rows without a target, or of other classes: {rows}\n");
    }
    text
}

fn plural(kind: Kind, count: usize) -> &'static str {
    match (kind, count) {
        (Kind::Number, 1) => "number",
        (Kind::Number, _) => "numbers",
        (Kind::Boolean, 1) => "boolean",
        (Kind::Boolean, _) => "booleans",
        (Kind::Date, 1) => "date",
        (Kind::Date, _) => "dates",
        (Kind::Text, 1) => "text",
        (Kind::Text, _) => "texts",
        (_, 1) => "category",
        _ => "categories",
    }
}

/// Every column with its kind, and everything that is doubtful.
pub(crate) fn in_full(facts: &TableFacts) -> String {
    let mut rows = vec![row!["column", "kind", "part", "missing", "distinct", "range", "examples"]];
    rows.extend(facts.schema.columns().iter().map(line));
    let columns = counted(facts.schema.columns().len() as u64, "column");
    let mut text = format!("{}, {columns}\n{}", counted(facts.rows as u64, "row"), table(&rows));
    for place in &facts.unnamed {
        text += &format!("- column {place} has no name, and is left out\n");
    }
    for doubt in &facts.doubts {
        text += &format!("- {doubt}\n");
    }
    if facts.doubts.is_empty() {
        text += "No warnings.\n";
    }
    text
}

fn line(column: &PlannedColumn) -> Vec<String> {
    let Profile { name, kind, rows, missing, distinct, range, examples, .. } = &column.profile;
    let share = 100.0 * *missing as f64 / *rows as f64;
    let range = match range {
        Some([least, greatest]) if *kind == Kind::Number || *kind == Kind::Boolean => {
            format!("{least} to {greatest}")
        }
        _ => String::new(),
    };
    vec![
        printable(name, MOST_CHARACTERS),
        kind.to_string(),
        part(&column.part).to_owned(),
        if *missing == 0 { String::new() } else { format!("{share:.1} %") },
        group(*distinct as u64),
        range,
        printable(&examples.join(", "), MOST_CHARACTERS),
    ]
}

fn part(part: &ColumnPart) -> &'static str {
    match part {
        ColumnPart::Feature | ColumnPart::Date(_) => "feature",
        ColumnPart::Ordered(_) => "feature, ordered",
        ColumnPart::Target => "target",
        ColumnPart::Group => "group",
        ColumnPart::Weight => "weight",
        ColumnPart::Dropped | ColumnPart::Unused => "left out",
    }
}
