//! The recordings of a folder, or of a table, as a table of files and what is known of each.

use std::fs;
use std::path::{Path, PathBuf};

use fireclay_tables::{Cells, Column, Reading, Table, Texts, read};

use super::pattern::Pattern;
use super::{FILE, LABEL};
use crate::DataError;

/// Endings of files that are recordings.
const ENDINGS: [&str; 3] = ["wav", "wave", "flac"];
/// Folders within folders that are looked into.
const MOST_DEPTH: usize = 8;

/// The table of a file, whose column `file` names recordings beside it, or of the recordings in a
/// folder, with a column for each part of the pattern of their names.
pub(super) fn listed(path: &Path, pattern: Option<&str>) -> Result<Reading, DataError> {
    let pattern = pattern.map(Pattern::parse).transpose()?;
    if !path.is_file() {
        let table = of_folder(path, pattern.as_ref())?;
        return Ok(Reading { table, unnamed: Vec::new() });
    }
    let of_table = DataError::table(path);
    let Reading { table, unnamed } = read(path).map_err(&of_table)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let named: Vec<PathBuf> = table
        .column(FILE)
        .map_err(&of_table)?
        .cells
        .iter()
        .map(|cell| folder.join(cell.text().as_ref()))
        .collect();
    let files = texts(named.iter().map(as_text));
    let mut columns = vec![Column { name: FILE.to_owned(), cells: files }];
    columns.extend(table.columns().iter().filter(|column| column.name != FILE).cloned());
    if let Some(pattern) = pattern {
        columns.extend(of_names(&named, &pattern)?);
    }
    let table = Table::new(columns).map_err(&of_table)?;
    Ok(Reading { table, unnamed })
}

/// All recordings in a folder and in those within it, in the order of their names.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut found = Vec::new();
    add_files(folder, MOST_DEPTH, &mut found)?;
    found.sort_unstable();
    Ok(found)
}

fn add_files(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for entry in fs::read_dir(folder).map_err(DataError::read(folder))? {
        let path = entry.map_err(DataError::read(folder))?.path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden {
            continue;
        }
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        if path.is_dir() && depth > 0 {
            add_files(&path, depth - 1, found)?;
        } else if path.is_file() && ending.is_some_and(|e| ENDINGS.contains(&e.as_str())) {
            found.push(path);
        }
    }
    Ok(())
}

/// The recordings of a folder. The label is a part of their names, or else the folder within this one
/// that they are in.
fn of_folder(folder: &Path, pattern: Option<&Pattern>) -> Result<Table, DataError> {
    let files = files(folder)?;
    if files.is_empty() {
        return Err(DataError::NoRecordings { folder: folder.to_owned() });
    }
    let mut columns =
        vec![Column { name: FILE.to_owned(), cells: texts(files.iter().map(as_text)) }];
    if let Some(pattern) = pattern {
        columns.extend(of_names(&files, pattern)?);
    }
    if pattern.is_none_or(|pattern| pattern.names().all(|name| name != LABEL)) {
        let labels = files.iter().map(|file| label(file, folder));
        let labels = labels.collect::<Result<Vec<_>, _>>()?;
        columns.push(Column { name: LABEL.to_owned(), cells: texts(labels) });
    }
    Table::new(columns).map_err(DataError::table(folder))
}

/// The folder within another that a file is in.
fn label(file: &Path, folder: &Path) -> Result<String, DataError> {
    let within = file.strip_prefix(folder).unwrap_or(file);
    match within.parent().and_then(|parent| parent.iter().next()) {
        Some(label) => Ok(label.to_string_lossy().into_owned()),
        None => Err(DataError::NoClassFolder { file: file.to_owned() }),
    }
}

/// A column for each part of a pattern.
fn of_names(files: &[PathBuf], pattern: &Pattern) -> Result<Vec<Column>, DataError> {
    let mut columns: Vec<Texts> = pattern.names().map(|_| Texts::default()).collect();
    for file in files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let parts = pattern.parts(&stem);
        let parts = parts.ok_or_else(|| DataError::OtherName { file: file.clone() })?;
        columns.iter_mut().zip(parts).for_each(|(column, part)| column.push(part));
    }
    let columns = pattern.names().zip(columns);
    let columns =
        columns.map(|(name, cells)| Column { name: name.to_owned(), cells: Cells::Texts(cells) });
    Ok(columns.collect())
}

fn as_text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}

fn texts(all: impl IntoIterator<Item = String>) -> Cells {
    let mut texts = Texts::default();
    all.into_iter().for_each(|text| texts.push(&text));
    Cells::Texts(texts)
}
