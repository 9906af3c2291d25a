//! What can be wrong with a table.

use std::io;
use std::path::PathBuf;

use fireclay_model::{DateFormat, InputError, TextEncodingError, ValueProblem};
use fireclay_terminal::{counted, names, printable};

/// The most names that a message lists.
const MOST_NAMES: usize = 8;
/// The most characters of a name or cell that a message quotes.
pub(crate) const MOST_CHARACTERS: usize = 40;

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be opened or read.
    #[error("cannot read it")]
    Read(#[from] io::Error),
    /// It is a folder, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// The file has another encoding.
    #[error("it is encoded as {found}; save it as UTF-8")]
    Encoding {
        /// The encoding that its first bytes name.
        found: &'static str,
    },
    /// An Arrow IPC file.
    #[error(
        "it is an Arrow file (Feather); convert it to Parquet: python -c \"import pyarrow.feather as f, pyarrow.parquet as p; p.write_table(f.read_table('rows.arrow'), 'rows.parquet')\""
    )]
    Arrow,
    /// The file is of a kind that holds no table.
    #[error("it is {found}; give a table as CSV, JSON Lines or Parquet")]
    OtherFormat {
        /// The kind of the file.
        found: &'static str,
    },
    /// A file with typed columns is damaged.
    #[error("it is no whole {format} file: {}", printable(problem, 300))]
    Columnar {
        /// The format.
        format: &'static str,
        /// The problem.
        problem: String,
    },
    /// A column has a type that cells do not have, such as a list.
    #[error(
        "column {}: its type is {}; give numbers, texts, truth values, dates or times",
        printable(name, MOST_CHARACTERS),
        printable(found, MOST_CHARACTERS)
    )]
    ColumnType {
        /// The column.
        name: String,
        /// Its type.
        found: String,
    },
    /// A small file claims content that would fill the memory.
    #[error(
        "its content would take hundreds of times the bytes of the file, which is not believed"
    )]
    Inflated,
    /// A stream that must be in memory is too large.
    #[error("a stream of Parquet or arrays can have {most} bytes; save it as a file")]
    LargeStream {
        /// The most bytes.
        most: u64,
    },
    /// There is nothing in it.
    #[error("the table is empty; its first line must name the columns")]
    NoHeading,
    /// The first line does not end.
    #[error("the first line has more than {most} bytes; it must name the columns")]
    LongHeading {
        /// The most bytes of a line.
        most: u64,
    },
    /// The first line holds a row.
    #[error(
        "the first line has numbers alone ({}); it must name the columns. Add a line of names",
        printable(beginning, MOST_CHARACTERS)
    )]
    NumbersAsHeading {
        /// The beginning of the line.
        beginning: String,
    },
    /// There are more columns than are read.
    #[error("the table has {found} columns; at most {most} are read")]
    TooManyColumns {
        /// Columns of the heading.
        found: usize,
        /// The most columns.
        most: usize,
    },
    /// There are no columns.
    #[error("the table has no column with a name")]
    NoColumns,
    /// There are no rows.
    #[error("the table has no rows behind its heading")]
    NoRows,
    /// Two columns have one name.
    #[error("columns {first} and {second} are both named {name:?}; names must differ")]
    Duplicate {
        /// The name.
        name: String,
        /// The first of them, from 1.
        first: usize,
        /// The second, from 1.
        second: usize,
    },
    /// A file of targets has several columns.
    #[error("{}: it has {}; a file of --target-file has one", path.display(), counted(*found as u64, "column"))]
    TargetColumns {
        /// The file.
        path: PathBuf,
        /// Its columns.
        found: usize,
    },
    /// A file of targets beside rows that are read in blocks.
    #[error("--target-file has no effect with --memory; put the targets into the file of the rows")]
    TargetBlocks,
    /// Columns have different lengths.
    #[error("column {name:?} has {}, and others have {expected}", counted(*found as u64, "cell"))]
    Lengths {
        /// The column.
        name: String,
        /// Its cells.
        found: usize,
        /// The cells of others.
        expected: usize,
    },
    /// A name in the heading is not UTF-8.
    #[error("line 1, column {column}: the name is not UTF-8; save the file as UTF-8")]
    HeadingNotUtf8 {
        /// The place of the column, from 1.
        column: usize,
    },
    /// A cell is not UTF-8.
    #[error(
        "line {line}, column {}: it is not UTF-8; save the file as UTF-8",
        printable(column, MOST_CHARACTERS)
    )]
    CellNotUtf8 {
        /// The line, from 1.
        line: u64,
        /// The name of the column.
        column: String,
    },
    /// A line of text is not UTF-8.
    #[error("line {line} is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// The line, from 1.
        line: u64,
    },
    /// A line of JSON is not UTF-8.
    #[error("line {line}, byte {byte}: it is not UTF-8; save the file as UTF-8")]
    LineNotUtf8 {
        /// The line, from 1.
        line: u64,
        /// The byte in the line, from 1.
        byte: usize,
    },
    /// A cell has a NUL character.
    #[error(
        "line {line}, column {}: it has a NUL character; the file is damaged or binary",
        printable(column, MOST_CHARACTERS)
    )]
    Nul {
        /// The line, from 1.
        line: u64,
        /// The name of the column.
        column: String,
    },
    /// A line has fewer cells than the heading.
    #[error(
        "line {line} has {}; the heading has {expected}: column {} has none",
        counted(*found as u64, "cell"),
        printable(column, MOST_CHARACTERS)
    )]
    FewCells {
        /// The line, from 1.
        line: u64,
        /// Its cells.
        found: usize,
        /// Those of the heading.
        expected: usize,
        /// The first column without a cell.
        column: String,
    },
    /// A line has more cells than the heading.
    #[error(
        "line {line} has {}; the heading has {expected}: {} is in no column",
        counted(*found as u64, "cell"),
        quoted(cell)
    )]
    ManyCells {
        /// The line, from 1.
        line: u64,
        /// Its cells.
        found: usize,
        /// Those of the heading.
        expected: usize,
        /// The first cell behind those of the columns.
        cell: String,
    },
    /// A row does not end.
    #[error("line {line}: the row has more than {most} bytes; a quote may not be closed")]
    LongRow {
        /// The line where the row begins, from 1.
        line: u64,
        /// The most bytes of a row.
        most: u64,
    },
    /// A line of a text has no end.
    #[error("line {line} has more than {most} bytes; divide the text")]
    LongLine {
        /// The line, from 1.
        line: u64,
        /// The most bytes of a line.
        most: u64,
    },
    /// A line of texts has no single label.
    #[error(
        "line {line} has no label, or several; write `__label__x text`, or the text, a tab and the label"
    )]
    NoLabel {
        /// The line, from 1.
        line: u64,
    },
    /// A line is no JSON object.
    #[error("line {line} is not a JSON object: {problem}")]
    Json {
        /// The line, from 1.
        line: u64,
        /// The problem.
        problem: String,
    },
    /// A value of a JSON object is an object, or a list that is no row of numbers or texts.
    #[error(
        "line {line}, key {}: the value is {found}; give a number, a text, true, false, null, or lists of numbers or texts",
        printable(key, MOST_CHARACTERS)
    )]
    JsonValue {
        /// The line, from 1.
        line: u64,
        /// The key.
        key: String,
        /// The value in words.
        found: String,
    },
    /// Objects have few keys in common.
    #[error(
        "line {line}: the objects have {columns} keys and few in common, which makes no table; give all of them the same keys"
    )]
    Sparse {
        /// The line where it shows, from 1.
        line: u64,
        /// Keys of all objects.
        columns: u64,
    },
    /// There is no column of this name.
    #[error(
        "the table has no column {}{}; its columns are {}",
        printable(name, MOST_CHARACTERS),
        nearest.as_ref().map_or(String::new(), |near| format!(" (did you mean {near:?}?)")),
        names(columns, MOST_NAMES)
    )]
    NoColumn {
        /// The name.
        name: String,
        /// The name spelt most like it.
        nearest: Option<String>,
        /// The columns of the table.
        columns: Vec<String>,
    },
    /// A column is named for two kinds.
    #[error("column {name:?} is given as {first} and as {second}; give it once")]
    TwoKinds {
        /// The column.
        name: String,
        /// The first kind.
        first: &'static str,
        /// The second kind.
        second: &'static str,
    },
    /// A column that must hold numbers holds something else.
    #[error(
        "row {row}, column {name:?}: {} is not a number{}",
        quoted(found),
        if *is_target { "; targets of a regression and weights must be numbers" } else { "; remove the column from --numeric, or mend the cell" }
    )]
    NotANumber {
        /// The column.
        name: String,
        /// The row, from 1 behind the heading.
        row: usize,
        /// The cell.
        found: String,
        /// True if it is the target of a regression, or a weight.
        is_target: bool,
    },
    /// No target is named.
    #[error(
        "no target column is given; name the column to learn with --target, one of {}",
        names(columns, MOST_NAMES)
    )]
    NoTarget {
        /// The columns of the table.
        columns: Vec<String>,
    },
    /// A target has no value in any row.
    #[error("target {name:?} has no value in any row; name another column with --target")]
    EmptyTarget {
        /// The column.
        name: String,
    },
    /// A feature has no value in any training row.
    #[error("column {name:?} has no value in any training row; leave it out with --drop")]
    EmptyFeature {
        /// The column.
        name: String,
    },
    /// The encoding of texts is impossible.
    #[error(transparent)]
    Texts(#[from] TextEncodingError),
    /// No term of a text is kept.
    #[error(
        "column {name:?}: no term is in enough training rows; lower --min-df, or leave the column out with --drop"
    )]
    NoTerms {
        /// The column.
        name: String,
    },
    /// A target may hold classes or numbers.
    #[error(
        "target {name:?} has {distinct} different whole numbers, which may be classes or amounts; \
         give --task classification or --task regression"
    )]
    UnclearTask {
        /// The column.
        name: String,
        /// Its different values.
        distinct: usize,
    },
    /// Some targets are 0 and 1 alone, and others are not.
    #[error(
        "some targets are 0 and 1 alone and others are not; give --task regression, or targets of one kind"
    )]
    UnclearTasks,
    /// Several targets of classes.
    #[error(
        "classification has one target column, and {count} are given; give one, or --task multi-label for columns of 0 and 1"
    )]
    SeveralClassTargets {
        /// Targets given.
        count: usize,
    },
    /// A cell that must hold a list of labels holds something else.
    #[error(
        "row {row}, target {name:?}: {} is no list of labels, such as [\"red\",\"round\"]",
        quoted(found)
    )]
    NotAList {
        /// The column.
        name: String,
        /// The row, from 1 behind the heading.
        row: usize,
        /// The cell.
        found: String,
    },
    /// A label of several is neither 0 nor 1.
    #[error(
        "row {row}, target {name:?}: {} is neither 0 nor 1, as labels of --task multi-label are",
        quoted(found)
    )]
    NotALabel {
        /// The column.
        name: String,
        /// The row, from 1 behind the heading.
        row: usize,
        /// The cell.
        found: String,
    },
    /// A column that must hold truth values holds something else.
    #[error(
        "row {row}, column {name:?}: {} is neither true nor false; remove the column from --boolean, or mend the cell",
        quoted(found)
    )]
    NotABoolean {
        /// The column.
        name: String,
        /// The row, from 1 behind the heading.
        row: usize,
        /// The cell.
        found: String,
    },
    /// The order of a column lacks one of its values.
    #[error(
        "row {row}, column {name:?}: {} is not in the order of the column; add it, or mend the cell",
        quoted(found)
    )]
    NotInOrder {
        /// The column.
        name: String,
        /// The row, from 1 behind the heading.
        row: usize,
        /// The cell.
        found: String,
    },
    /// A column of the table is not in the schema.
    #[error(
        "column {name:?} is not in the schema; add it, or give `others` as \"infer\" or \"drop\""
    )]
    NotInSchema {
        /// The column.
        name: String,
    },
    /// The order of categories is not written as it must be.
    #[error(
        "--ordered {}: give the column and its categories in order, such as size=small<medium<large",
        quoted(given)
    )]
    BadOrder {
        /// The text.
        given: String,
    },
    /// A row has no time.
    #[error("row {row}, column {name:?}: there is no time; fill the cell, or leave out the row")]
    NoTime {
        /// The column.
        name: String,
        /// The row, from 1 behind the heading.
        row: usize,
    },
    /// Dates may be read in several ways, or in none.
    #[error(
        "column {name:?}: {} {}; give --date-format year-month-day, day-month-year, month-day-year or \
         compact", quoted(example),
        match given {
            Some(given) => format!("and other dates cannot all be read as {given}"),
            None => "and other dates may be read in several ways, or in none".to_owned(),
        }
    )]
    UnclearDates {
        /// The column.
        name: String,
        /// One of its values.
        example: String,
        /// The format that was given.
        given: Option<DateFormat>,
    },
    /// A compressed file, to be read in blocks.
    #[error("a compressed table cannot be read in blocks; decompress it, or leave out --memory")]
    CompressedBlocks,
    /// A file of JSON Lines, to be read in blocks.
    #[error(
        "JSON Lines cannot be read in blocks; convert the table to CSV or Parquet, or leave out --memory"
    )]
    JsonBlocks,
    /// Compressed arrays, to be read in blocks.
    #[error(
        "compressed arrays cannot be read in blocks; save them with numpy.savez, or leave out --memory"
    )]
    PackedBlocks,
    /// A file changed while it was read.
    #[error("{} has changed since training began; put the file back and resume", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// No column is left as a feature.
    #[error(
        "no column is left as a feature; use fewer --drop, or name kinds with --numeric or --categorical"
    )]
    NoFeatures,
    /// A value is not one of its column.
    #[error("row {row}, column {column:?}: {problem}")]
    Value {
        /// The row, from 1 behind the heading.
        row: usize,
        /// The column.
        column: String,
        /// The problem.
        problem: ValueProblem,
    },
    /// The columns do not fit the input of a model.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Anything else that the reader of CSV finds.
    #[error("{0}")]
    Csv(String),
    /// A problem with a file of this name.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: Box<TableError>,
    },
}

/// A cell in quotes.
fn quoted(cell: &str) -> String {
    format!("`{}`", printable(cell, MOST_CHARACTERS))
}

impl TableError {
    /// That a table has no column of this name.
    pub fn no_column(name: &str, columns: &[String]) -> Self {
        let mut best = (0.5, None);
        for column in columns {
            let alike = strsim::normalized_damerau_levenshtein(
                &name.to_lowercase(),
                &column.to_lowercase(),
            );
            if alike >= best.0 {
                best = (alike, Some(column.clone()));
            }
        }
        Self::NoColumn { name: name.to_owned(), nearest: best.1, columns: columns.to_vec() }
    }
}
