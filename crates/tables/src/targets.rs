//! What is learned: the task that target columns set, and the targets of rows.

use std::collections::{BTreeSet, HashMap};

use crate::TableError;
use crate::kind::{Kind, Profile};
use crate::options::TableTask;
use crate::table::{Cell, Column, Table};

/// Different whole numbers up to which a target may be a class or a number.
const MAYBE_CLASSES: usize = 20;

/// The task that some target columns set, if it is clear.
///
/// # Errors
///
/// Targets without values, whole numbers that may be classes or amounts, and targets of several kinds.
pub fn task(targets: &[&Profile], given: Option<TableTask>) -> Result<TableTask, TableError> {
    if let Some(empty) = targets.iter().find(|target| target.present() == 0) {
        return Err(TableError::EmptyTarget { name: empty.name.clone() });
    }
    match (given, targets) {
        (Some(TableTask::Classification), [_, _, ..]) => {
            Err(TableError::SeveralClassTargets { count: targets.len() })
        }
        (Some(task), _) => Ok(task),
        (None, [only]) => of_one(only),
        (None, several) => of_several(several),
    }
}

/// The task of one target: labels if its values are lists of them, classes if its values are no numbers, and numbers if they are many or not
/// whole; a few whole numbers may be either.
fn of_one(target: &Profile) -> Result<TableTask, TableError> {
    if target.examples.iter().all(|example| labels_of(example).is_some()) {
        return Ok(TableTask::MultiLabel);
    }
    if target.numbers < target.present() {
        return Ok(TableTask::Classification);
    }
    if target.kind == Kind::Boolean || target.distinct <= 2 {
        return Ok(TableTask::Classification);
    }
    if target.integers < target.numbers || target.distinct > MAYBE_CLASSES {
        return Ok(TableTask::Regression);
    }
    Err(TableError::UnclearTask { name: target.name.clone(), distinct: target.distinct })
}

/// The task of several targets: numbers, unless all are 0 or 1.
fn of_several(targets: &[&Profile]) -> Result<TableTask, TableError> {
    let is_binary = |target: &&&Profile| {
        matches!(target.range, Some([0.0, 1.0])) && target.integers == target.present()
    };
    match targets.iter().filter(is_binary).count() {
        count if count == targets.len() => Ok(TableTask::MultiLabel),
        0 => Ok(TableTask::Regression),
        _ => Err(TableError::UnclearTasks),
    }
}

/// The targets of some rows.
#[derive(Clone, Debug, PartialEq)]
pub enum TableTargets {
    /// One class a row.
    Classes {
        /// `[rows]`, each less than the number of labels.
        ids: Vec<u32>,
        /// The labels: numbers in their order, texts in alphabetical order.
        labels: Vec<String>,
    },
    /// Any number of labels a row.
    MultiLabel {
        /// `[rows, labels]` row by row, each 0 or 1.
        values: Vec<u8>,
        /// The labels of a column of lists, in alphabetical order; none if each label has a column.
        labels: Option<Vec<String>>,
    },
    /// Numbers.
    Values {
        /// `[rows, targets]` row by row.
        values: Vec<f32>,
    },
}

/// Rows that have all targets, in order.
///
/// # Errors
///
/// A target that is not there.
pub fn rows_with_targets(table: &Table, targets: &[String]) -> Result<Vec<usize>, TableError> {
    let columns = columns(table, targets)?;
    let has_all = |row: &usize| columns.iter().all(|column| !column.cells.get(*row).is_missing());
    Ok((0..table.rows()).filter(has_all).collect())
}

/// The targets of some rows, all of which have them.
///
/// # Errors
///
/// A target that is not there, or whose value does not fit the task, with its row.
pub fn targets_of(
    table: &Table,
    targets: &[String],
    task: TableTask,
    rows: &[usize],
) -> Result<TableTargets, TableError> {
    let columns = &columns(table, targets)?[..];
    match task {
        TableTask::Classification => Ok(classes(columns[0], rows)),
        TableTask::MultiLabel if is_list(columns, rows) => lists(columns[0], rows),
        TableTask::MultiLabel => {
            let cells = rows.iter().flat_map(|&row| columns.iter().map(move |&c| (c, row)));
            let values = cells.map(|(column, row)| label(column, row)).collect::<Result<_, _>>()?;
            Ok(TableTargets::MultiLabel { values, labels: None })
        }
        TableTask::Regression => {
            let cells = rows.iter().flat_map(|&row| columns.iter().map(move |&c| (c, row)));
            let values =
                cells.map(|(column, row)| target(column, row)).collect::<Result<_, _>>()?;
            Ok(TableTargets::Values { values })
        }
    }
}

/// The weight of each of some rows: the number of a column.
///
/// # Errors
///
/// A column that is not there, or a cell that is no number, with its row.
pub fn weights_of(table: &Table, name: &str, rows: &[usize]) -> Result<Vec<f32>, TableError> {
    let column = table.column(name)?;
    rows.iter().map(|&row| target(column, row)).collect()
}

fn columns<'a>(table: &'a Table, names: &[String]) -> Result<Vec<&'a Column>, TableError> {
    names.iter().map(|name| table.column(name)).collect()
}

/// Classes are numbered as they are met, and then in the order of their labels: a text is kept once, not
/// once a row.
fn classes(column: &Column, rows: &[usize]) -> TableTargets {
    let mut met: HashMap<String, u32> = HashMap::new();
    let mut ids = Vec::with_capacity(rows.len());
    for &row in rows {
        let text = column.cells.get(row).text();
        let id = match met.get(text.as_ref()) {
            Some(&id) => id,
            None => {
                let id = met.len() as u32;
                met.insert(text.into_owned(), id);
                id
            }
        };
        ids.push(id);
    }
    let mut labels: Vec<(String, u32)> = met.into_iter().collect();
    labels.sort_unstable();
    let numbers: Option<Vec<f64>> = labels.iter().map(|(label, _)| crate::number(label)).collect();
    if numbers.is_some() {
        labels.sort_by(|(a, _), (b, _)| {
            let (a, b) = (crate::number(a), crate::number(b));
            a.unwrap_or_default().total_cmp(&b.unwrap_or_default())
        });
    }
    let mut places = vec![0; labels.len()];
    (0..).zip(&labels).for_each(|(place, (_, id))| places[*id as usize] = place);
    ids.iter_mut().for_each(|id| *id = places[*id as usize]);
    TableTargets::Classes { ids, labels: labels.into_iter().map(|(label, _)| label).collect() }
}

/// The labels of a cell that is a list of texts, as JSON has it.
fn labels_of(cell: &str) -> Option<Vec<String>> {
    if cell.starts_with('[') { serde_json::from_str(cell).ok() } else { None }
}

/// Returns true if there is one target, whose first cell is a list.
fn is_list(columns: &[&Column], rows: &[usize]) -> bool {
    let first = rows.first().zip(columns.first());
    let is_first = |(&row, column): (&usize, &&Column)| labels_of(&column.cells.get(row).text());
    columns.len() == 1 && first.and_then(is_first).is_some()
}

/// The labels of a column of lists.
fn lists(column: &Column, rows: &[usize]) -> Result<TableTargets, TableError> {
    let lists = rows.iter().map(|&row| {
        let cell = column.cells.get(row).text();
        labels_of(&cell).ok_or_else(|| TableError::NotAList {
            name: column.name.clone(),
            row: row + 1,
            found: cell.into_owned(),
        })
    });
    let lists = lists.collect::<Result<Vec<_>, _>>()?;
    let labels: BTreeSet<&String> = lists.iter().flatten().collect();
    let labels: Vec<String> = labels.into_iter().cloned().collect();
    if labels.is_empty() {
        return Err(TableError::EmptyTarget { name: column.name.clone() });
    }
    let mut values = vec![0; lists.len() * labels.len()];
    for (row, list) in values.chunks_exact_mut(labels.len()).zip(&lists) {
        for label in list {
            if let Ok(place) = labels.binary_search(label) {
                row[place] = 1;
            }
        }
    }
    Ok(TableTargets::MultiLabel { values, labels: Some(labels) })
}

/// 0 or 1, also as false or true, and no or yes.
fn label(column: &Column, row: usize) -> Result<u8, TableError> {
    let cell = column.cells.get(row);
    let text = cell.text().to_lowercase();
    match (cell.number(), text.as_str()) {
        (Some(0.0), _) | (None, "false" | "no" | "n" | "f") => Ok(0),
        (Some(1.0), _) | (None, "true" | "yes" | "y" | "t") => Ok(1),
        _ => Err(TableError::NotALabel { name: column.name.clone(), row: row + 1, found: text }),
    }
}

fn target(column: &Column, row: usize) -> Result<f32, TableError> {
    let cell: Cell<'_> = column.cells.get(row);
    let number = cell.number().map(|number| number as f32);
    number.filter(|number| number.is_finite()).ok_or_else(|| TableError::NotANumber {
        name: column.name.clone(),
        row: row + 1,
        found: cell.text().into_owned(),
        is_target: true,
    })
}
