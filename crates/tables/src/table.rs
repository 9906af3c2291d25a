//! A table in memory: columns of cells as the file has them.

use crate::TableError;

/// Rows of named columns, with every cell as the file has it.
///
/// A table has passed the checks of its reader: names differ, and all columns have as many cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
    rows: usize,
}

/// A named column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its cells, from the first row to the last.
    pub cells: Cells,
}

/// The cells of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Texts, of formats without types; what they mean depends on the kind of the column.
    Texts(Texts),
    /// Numbers, of formats with types; a missing number is NaN.
    Numbers(Vec<f64>),
}

/// Texts behind each other in one buffer, which takes little more memory than the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    buffer: String,
    /// The end of each text in the buffer.
    ends: Vec<usize>,
}

/// One cell, as the file has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// A text, of a format without types.
    Text(&'a str),
    /// A number, of a format with types; NaN if it is missing.
    Number(f64),
}

/// How the absence of a value is written, besides an empty cell.
pub const MISSING: [&str; 7] = ["NA", "N/A", "NaN", "nan", "null", "NULL", "<NA>"];

/// Returns true if a cell without spaces around it stands for a missing value.
pub fn is_missing(bare: &str) -> bool {
    bare.is_empty() || MISSING.contains(&bare)
}

/// The finite number that a cell is written as: digits with a decimal point, and an exponent if need
/// be. Words such as `inf` are no numbers.
pub fn number(bare: &str) -> Option<f64> {
    let begins = bare.bytes().next()?;
    let could_be = begins.is_ascii_digit() || matches!(begins, b'-' | b'+' | b'.');
    let found: f64 = bare.parse().ok().filter(|_| could_be)?;
    found.is_finite().then_some(found)
}

impl Texts {
    /// Adds a text at the end.
    pub fn push(&mut self, text: &str) {
        self.buffer.push_str(text);
        self.ends.push(self.buffer.len());
    }

    /// The text of a row.
    ///
    /// # Panics
    ///
    /// If there is no such row: a mistake of the caller, as in slice indexing.
    pub fn get(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.buffer[start..self.ends[row]]
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns true if there is no text.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row))
    }
}

impl Cells {
    /// Number of cells.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }

    /// Returns true if there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell of a row.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn get(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Texts(texts) => Cell::Text(texts.get(row)),
            Self::Numbers(numbers) => Cell::Number(numbers[row]),
        }
    }

    /// Bytes of the cells in a file of text, each with what separates it from the next.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.buffer.len() + texts.len(),
            Self::Numbers(numbers) => 8 * numbers.len(),
        }
    }

    /// The cells of some rows, all of which exist.
    pub(crate) fn part(&self, rows: std::ops::Range<usize>) -> Self {
        match self {
            Self::Numbers(numbers) => Self::Numbers(numbers[rows].to_vec()),
            Self::Texts(texts) => {
                let mut part = Texts::default();
                rows.for_each(|row| part.push(texts.get(row)));
                Self::Texts(part)
            }
        }
    }

    /// All cells in order.
    pub fn iter(&self) -> impl Iterator<Item = Cell<'_>> {
        (0..self.len()).map(|row| self.get(row))
    }
}

impl<'a> Cell<'a> {
    /// Returns true if there is no value.
    pub fn is_missing(self) -> bool {
        match self {
            Self::Text(text) => is_missing(text.trim()),
            Self::Number(number) => number.is_nan(),
        }
    }

    /// The number of the cell, if it has one.
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Text(text) => number(text.trim()),
            Self::Number(number) => number.is_finite().then_some(number),
        }
    }

    /// The text of the cell without spaces around it; a number in its shortest form.
    pub fn text(self) -> std::borrow::Cow<'a, str> {
        match self {
            Self::Text(text) => text.trim().into(),
            Self::Number(number) => number.to_string().into(),
        }
    }
}

impl Table {
    /// Puts columns together.
    ///
    /// # Errors
    ///
    /// [`TableError::NoRows`], [`TableError::NoColumns`], [`TableError::Duplicate`] for two columns
    /// of one name, and [`TableError::Lengths`] for columns of different lengths.
    pub fn new(columns: Vec<Column>) -> Result<Self, TableError> {
        let Some(first) = columns.first() else { return Err(TableError::NoColumns) };
        let rows = first.cells.len();
        if let Some(other) = columns.iter().find(|column| column.cells.len() != rows) {
            let (name, found) = (other.name.clone(), other.cells.len());
            return Err(TableError::Lengths { name, found, expected: rows });
        }
        check_names(columns.iter().map(|column| column.name.as_str()))?;
        if rows == 0 { Err(TableError::NoRows) } else { Ok(Self { columns, rows }) }
    }

    /// The columns, in the order of the file.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Number of rows, at least 1.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The names of the columns.
    pub fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// The column of this name.
    ///
    /// # Errors
    ///
    /// [`TableError::NoColumn`], with the nearest name.
    pub fn column(&self, name: &str) -> Result<&Column, TableError> {
        let found = self.columns.iter().find(|column| column.name == name);
        found.ok_or_else(|| TableError::no_column(name, &self.names()))
    }

    /// Adds the rows of another table, whose columns may come in another order; columns that it alone
    /// has are left out.
    ///
    /// # Errors
    ///
    /// [`TableError::NoColumn`] for a column that the other lacks.
    pub fn append(&mut self, other: &Self) -> Result<(), TableError> {
        for column in &mut self.columns {
            let more = &other.column(&column.name)?.cells;
            column.cells.append(more);
        }
        self.rows += other.rows;
        Ok(())
    }
}

impl Cells {
    /// The same cells as texts; an empty one where there is no number.
    pub fn to_texts(&self) -> Self {
        let mut texts = Texts::default();
        self.iter().for_each(|cell| texts.push_cell(cell));
        Self::Texts(texts)
    }

    /// Adds a cell at the end; numbers and texts become texts.
    pub fn push(&mut self, cell: Cell<'_>) {
        match (&mut *self, cell) {
            (Self::Numbers(numbers), Cell::Number(number)) => numbers.push(number),
            (Self::Texts(texts), cell) => texts.push_cell(cell),
            (numbers, cell) => {
                let mut texts = numbers.to_texts();
                texts.push(cell);
                *self = texts;
            }
        }
    }

    /// Adds the cells of another column; numbers and texts become texts.
    pub(crate) fn append(&mut self, other: &Self) {
        match (self, other) {
            (Self::Numbers(numbers), Self::Numbers(more)) => numbers.extend_from_slice(more),
            (Self::Texts(texts), more) => more.iter().for_each(|cell| texts.push_cell(cell)),
            (numbers, texts) => {
                let mut all = numbers.to_texts();
                all.append(texts);
                *numbers = all;
            }
        }
    }
}

impl Texts {
    /// Adds a cell; a missing number is an empty text.
    fn push_cell(&mut self, cell: Cell<'_>) {
        match cell {
            Cell::Text(text) => self.push(text),
            Cell::Number(number) if number.is_nan() => self.push(""),
            Cell::Number(number) => self.push(&number.to_string()),
        }
    }
}

/// Refuses two columns of one name.
pub(crate) fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), TableError> {
    let mut places = std::collections::HashMap::new();
    for (place, name) in names.enumerate() {
        if let Some(first) = places.insert(name, place) {
            let (first, second) = (first + 1, place + 1);
            return Err(TableError::Duplicate { name: name.to_owned(), first, second });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(cells: &[&str]) -> Cells {
        let mut texts = Texts::default();
        cells.iter().for_each(|cell| texts.push(cell));
        Cells::Texts(texts)
    }

    fn column(name: &str, cells: Cells) -> Column {
        Column { name: name.to_owned(), cells }
    }

    #[test]
    fn cells_are_as_the_file_has_them() {
        let cells = texts(&["", "1.50", " NA ", "é"]);
        let found: Vec<Cell<'_>> = cells.iter().collect();
        assert_eq!(found[1], Cell::Text("1.50"));
        assert!(found[0].is_missing() && found[2].is_missing() && !found[3].is_missing());
        assert_eq!((found[1].number(), found[3].number()), (Some(1.5), None));
        let numbers = Cells::Numbers(vec![2.0, f64::NAN]);
        assert!(numbers.get(1).is_missing() && numbers.get(0).text() == "2");
    }

    #[test]
    fn words_are_no_numbers() {
        for word in ["inf", "-inf", "nan", "NaN", "infinity", "1e999", "", "1,5", "0x1"] {
            assert_eq!(number(word), None, "{word}");
        }
        for (text, value) in [("-1.5e3", -1500.0), (".5", 0.5), ("+2", 2.0), ("007", 7.0)] {
            assert_eq!(number(text), Some(value), "{text}");
        }
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        assert!(matches!(Table::new(vec![]), Err(TableError::NoColumns)));
        let none = Table::new(vec![column("a", texts(&[]))]);
        assert!(matches!(none, Err(TableError::NoRows)));
        let ragged = vec![column("a", texts(&["1"])), column("b", texts(&["1", "2"]))];
        assert!(matches!(Table::new(ragged), Err(TableError::Lengths { found: 2, .. })));
        let twice = vec![column("a", texts(&["1"])), column("a", texts(&["2"]))];
        assert!(matches!(
            Table::new(twice),
            Err(TableError::Duplicate { first: 1, second: 2, .. })
        ));
    }

    #[test]
    fn rows_of_another_table_follow_by_name() {
        let mut first =
            Table::new(vec![column("a", texts(&["x"])), column("b", Cells::Numbers(vec![1.0]))])
                .unwrap();
        let other = Table::new(vec![
            column("b", texts(&["2.5"])),
            column("extra", texts(&["?"])),
            column("a", texts(&["y"])),
        ])
        .unwrap();
        first.append(&other).unwrap();
        assert_eq!(first.rows(), 2);
        assert_eq!(first.column("a").unwrap().cells, texts(&["x", "y"]));
        assert_eq!(first.column("b").unwrap().cells, texts(&["1", "2.5"]));
        let missing = Table::new(vec![column("a", texts(&["z"]))]).unwrap();
        assert!(matches!(first.append(&missing), Err(TableError::NoColumn { .. })));
    }
}
