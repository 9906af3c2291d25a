//! Tables: rows of numbers in text, read a line at a time.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use fireclay_readers::{TextError, decode_text};
use fireclay_terminal::{counted, printable};

/// The most bytes of a line that a number takes, and of one whatever its numbers.
const MOST_OF_A_NUMBER: usize = 256;
const MOST_OF_A_LINE: usize = 1 << 16;
/// From so many columns on, numbers that count up from 0 or 1 are a heading and no row.
const SURELY_COUNTED: usize = 4;

/// From so many columns on, numbers that count up from another one may be either.
const MAYBE_COUNTED: usize = 6;

/// Whether the first line is a heading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heading {
    /// If it has no numbers, or numbers that count the columns.
    #[default]
    Auto,
    /// It is.
    Yes,
    /// It is a row.
    No,
}

/// What is wrong with a table of numbers.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The stream fails.
    #[error(transparent)]
    Stream(#[from] io::Error),
    /// There are no rows.
    #[error("it has no rows of numbers")]
    NoRows,
    /// There is a heading and nothing behind it.
    #[error(
        "it has no rows of numbers behind its heading; if the heading is a row, say --no-header"
    )]
    HeadingAlone,
    /// The bytes are no text.
    #[error("it is neither a picture nor an IDX, NPY or CSV file")]
    NoTable,
    /// A line is longer than numbers for this model can be.
    #[error("line {line} has more than {most} bytes; this is no table for this model")]
    LongLine {
        /// The line, from 1.
        line: usize,
        /// The most bytes of a line.
        most: usize,
    },
    /// A line is not UTF-8.
    #[error("line {line} is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// The line, from 1.
        line: usize,
    },
    /// The text has another encoding, or other ends of lines.
    #[error(transparent)]
    Text(TextError),
    /// A quote is opened and not closed.
    #[error("line {line}: a quote is opened and not closed")]
    OpenQuote {
        /// The line, from 1.
        line: usize,
    },
    /// The first line may be a heading or a row.
    #[error(
        "line {line}: `{text}` may be a heading or a row; say which with --header or --no-header"
    )]
    Ambiguous {
        /// The line, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// The heading has more columns than the model takes.
    #[error(
        "its heading has {}; the model takes {expected}; {remedy}",
        counted(*.found as u64, "column")
    )]
    WideHeading {
        /// Columns of the heading.
        found: usize,
        /// Numbers of a row.
        expected: usize,
        /// Which columns are too many.
        remedy: String,
    },
    /// A line has more cells than the model takes numbers.
    #[error("line {line} has {}; the model takes {expected}; {remedy}", counted(*found as u64, "cell"))]
    Cells {
        /// The line, from 1.
        line: usize,
        /// Its cells.
        found: usize,
        /// Numbers of a row.
        expected: usize,
        /// Which columns are too many.
        remedy: String,
    },
    /// A line has fewer numbers than the model takes.
    #[error(
        "line {line} has {}; the model takes {expected}",
        counted(*.found as u64, "number")
    )]
    Numbers {
        /// The line, from 1.
        line: usize,
        /// Its numbers.
        found: usize,
        /// Numbers of a row.
        expected: usize,
    },
    /// A cell is empty.
    #[error("line {line}, column {column} is empty; the model takes a number there")]
    EmptyCell {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A cell is not a finite number.
    #[error("line {line}: `{cell}` {problem}")]
    Cell {
        /// The line, from 1.
        line: usize,
        /// The beginning of the cell.
        cell: String,
        /// What it is instead.
        problem: CellProblem,
    },
}

/// What a cell is that is not a finite number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellProblem {
    /// NaN or infinite.
    #[error("is not a finite number")]
    NotFinite,
    /// A number with a decimal comma.
    #[error("has a comma; write numbers with a point, such as 1.5")]
    Comma,
    /// Numbers between vertical bars.
    #[error("is not a number; separate numbers with commas, semicolons or tabs")]
    Bars,
    /// A word in the first line.
    #[error("is not a number; if the line is a heading, say so with --header")]
    MaybeHeading,
    /// Anything else.
    #[error("is not a number")]
    NoNumber,
}

type Result<T> = std::result::Result<T, TableError>;

/// A table whose rows are read as they are asked for.
pub(crate) struct Table<R> {
    lines: Lines<R>,
    form: Form,
    /// A row that was read to see what the first line is.
    first: Option<Vec<f32>>,
    has_rows: bool,
    /// Whether the first line was left out.
    is_headed: bool,
}

/// The lines of a stream.
struct Lines<R> {
    source: R,
    /// The most bytes of a line.
    most: usize,
    /// The line that was read last, counted from 1.
    number: usize,
    bytes: Vec<u8>,
}

/// A line that holds something, without spaces around it.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a str,
    number: usize,
}

/// What each line has.
#[derive(Clone, Copy)]
struct Form {
    /// Numbers of a row.
    width: usize,
    separator: Option<char>,
}

impl<R: BufRead> Table<R> {
    /// Reads the first lines; `done` names what was left out of them.
    pub(crate) fn begin(
        source: R,
        width: usize,
        heading: Heading,
        done: &mut Vec<String>,
    ) -> Result<Self> {
        let most = MOST_OF_A_LINE.max(width.saturating_mul(MOST_OF_A_NUMBER));
        let mut lines = Lines { source, most, number: 0, bytes: Vec::new() };
        let line = lines.next()?.ok_or(TableError::NoRows)?;
        let form = Form { width, separator: separator(line.text) };
        let cells = form.cells(line)?;
        let is_headed = is_heading(&cells, width, heading, line)?;
        let mut first = None;
        if is_headed {
            done.push(format!("its first line is a heading, and left out: {}", shown(line.text)));
            if let Some(remedy) = surplus(&cells, width) {
                let found = cells.len();
                return Err(TableError::WideHeading { found, expected: width, remedy });
            }
        } else {
            first = Some(form.row(line)?);
        }
        Ok(Self { lines, form, first, has_rows: false, is_headed })
    }

    /// The next rows, `most` at the most; none after the last.
    pub(crate) fn next_rows(&mut self, most: usize) -> Result<Vec<Vec<f32>>> {
        let mut rows: Vec<Vec<f32>> = self.first.take().into_iter().collect();
        while rows.len() < most {
            let Some(line) = self.lines.next()? else { break };
            rows.push(self.form.row(line)?);
        }
        self.has_rows |= !rows.is_empty();
        if self.has_rows {
            Ok(rows)
        } else if self.is_headed {
            Err(TableError::HeadingAlone)
        } else {
            Err(TableError::NoRows)
        }
    }
}

impl<R: BufRead> Lines<R> {
    /// The next line that is neither empty nor a comment.
    fn next(&mut self) -> Result<Option<Line<'_>>> {
        loop {
            self.bytes.clear();
            let most = self.most as u64 + 1;
            self.source.by_ref().take(most).read_until(b'\n', &mut self.bytes)?;
            if self.bytes.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            if is_something(&self.bytes) {
                break;
            }
        }
        let (number, most) = (self.number, self.most);
        // Only the first may begin with a mark of the byte order.
        let text = decode_text(&self.bytes);
        if self.bytes.len() > most && !matches!(text, Err(TextError::LoneCr)) {
            return Err(TableError::LongLine { line: number, most });
        }
        let text = text.map_err(|error| match error {
            TextError::NotUtf8 { .. } if self.bytes.iter().any(|byte| *byte < b'\t') => {
                TableError::NoTable
            }
            TextError::NotUtf8 { .. } => TableError::NotUtf8 { line: number },
            error => TableError::Text(error),
        })?;
        if text.contains('\0') {
            return Err(TableError::NoTable);
        }
        Ok(Some(Line { text: text.trim(), number }))
    }
}

/// Whether a line is neither empty nor a comment.
fn is_something(line: &[u8]) -> bool {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line).trim_ascii();
    !line.is_empty() && !line.starts_with(b"#")
}

impl Form {
    fn row(self, line: Line<'_>) -> Result<Vec<f32>> {
        if let Some(row) = self.plain_row(line.text) {
            return Ok(row);
        }
        let (line, cells, expected) = (line.number, self.cells(line)?, self.width);
        let found = cells.len();
        if let Some(remedy) = surplus(&cells, expected) {
            return Err(TableError::Cells { line, found, expected, remedy });
        }
        let mut row = Vec::with_capacity(found);
        for (i, cell) in cells.iter().enumerate() {
            row.push(number(cell, line, i + 1)?);
        }
        if found != expected {
            return Err(TableError::Numbers { line, found, expected });
        }
        Ok(row)
    }

    /// The row of a line in which nothing is unusual, in one walk over its bytes: tables have millions
    /// of cells.
    fn plain_row(self, text: &str) -> Option<Vec<f32>> {
        let separator = u8::try_from(self.separator?).ok()?;
        let bytes = text.as_bytes();
        let mut row = Vec::with_capacity(self.width);
        let (mut at, mut start, mut whole) = (0, 0, Some(0_u32));
        loop {
            let byte = bytes.get(at).copied();
            if byte.is_none() || byte == Some(separator) {
                // Up to 7 digits are exact as `f32`.
                row.push(match whole {
                    Some(whole) if (1..=7).contains(&(at - start)) => whole as f32,
                    _ => {
                        text.get(start..at)?.trim().parse().ok().filter(|n: &f32| n.is_finite())?
                    }
                });
                (start, whole) = (at + 1, Some(0));
            }
            let Some(byte) = byte else { break };
            if byte.is_ascii_digit() {
                whole =
                    whole.map(|whole| whole.wrapping_mul(10).wrapping_add(u32::from(byte - b'0')));
            } else if byte != separator {
                whole = None;
            }
            at += 1;
        }
        (row.len() == self.width).then_some(row)
    }

    /// The cells of a line, without the empty one behind a separator that ends it.
    fn cells(self, line: Line<'_>) -> Result<Vec<Cow<'_, str>>> {
        let cells = cells(line.text, self.separator);
        let mut cells = cells.ok_or(TableError::OpenQuote { line: line.number })?;
        if cells.len() == self.width + 1 && cells.last().is_some_and(|cell| cell.is_empty()) {
            cells.pop();
        }
        Ok(cells)
    }
}

/// Semicolons and tabs come before commas, which may belong to the numbers.
fn separator(line: &str) -> Option<char> {
    [';', '\t', ','].into_iter().find(|&separator| line.contains(separator))
}

/// The cells of a line, without quotes around them; nothing if a quote is not closed.
fn cells(line: &str, separator: Option<char>) -> Option<Vec<Cow<'_, str>>> {
    let Some(separator) = separator else {
        return Some(line.split_whitespace().map(|cell| cell.trim_matches('"').into()).collect());
    };
    if !line.contains('"') {
        return Some(line.split(separator).map(|cell| cell.trim().into()).collect());
    }
    let (mut cells, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
    for letter in line.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            letter if letter == separator && !is_quoted => {
                cells.push(std::mem::take(&mut cell).trim().to_owned().into());
            }
            letter => cell.push(letter),
        }
    }
    cells.push(cell.trim().to_owned().into());
    (!is_quoted).then_some(cells)
}

/// Whether the first line is a heading; where both are likely it is asked for.
fn is_heading(
    cells: &[Cow<'_, str>],
    width: usize,
    heading: Heading,
    line: Line<'_>,
) -> Result<bool> {
    if heading != Heading::Auto {
        return Ok(heading == Heading::Yes);
    }
    if !cells.iter().any(|cell| is_number(cell)) {
        // Numbers with commas are no words.
        return Ok(!cells.iter().all(|cell| is_with_comma(cell)));
    }
    // The first may name the column of the answers, or of the row's own numbers.
    let rest = if cells.len() == width + 1 && !is_number(&cells[0]) { &cells[1..] } else { cells };
    let is_count = counts_from(rest, 0) || counts_from(rest, 1);
    if rest.len() != width || !is_count {
        // Years, say, or columns that were chosen out of more.
        let is_counting = cells.len() >= MAYBE_COUNTED && cells.windows(2).all(is_next);
        if !is_counting {
            return Ok(false);
        }
    }
    if rest.len() < SURELY_COUNTED || !is_count {
        return Err(TableError::Ambiguous { line: line.number, text: shown(line.text) });
    }
    Ok(true)
}

fn is_number(cell: &str) -> bool {
    cell.parse::<f32>().is_ok()
}

/// Whether cells count up from this number.
fn counts_from(cells: &[Cow<'_, str>], first: usize) -> bool {
    cells.iter().enumerate().all(|(i, cell)| cell.parse() == Ok(first + i))
}

/// Whether the second of two cells is the next whole number.
fn is_next(pair: &[Cow<'_, str>]) -> bool {
    let [first, second] = pair else { return false };
    let numbers = first.parse::<u64>().ok().zip(second.parse::<u64>().ok());
    numbers.is_some_and(|(first, second)| first.checked_add(1) == Some(second))
}

/// Which columns are too many, as far as the heading shows it.
fn surplus(cells: &[Cow<'_, str>], width: usize) -> Option<String> {
    if cells.len() <= width {
        return None;
    }
    const NAMES: [&str; 11] = [
        "label", "labels", "class", "target", "digit", "y", "id", "index", "row", "name",
        "filename",
    ];
    let mut named: Vec<&Cow<'_, str>> = cells.iter().collect();
    named.retain(|cell| NAMES.contains(&cell.to_lowercase().as_str()));
    let mut words: Vec<&Cow<'_, str>> = cells.iter().collect();
    words.retain(|cell| !cell.is_empty() && !is_number(cell));
    let columns = match (&named[..], &words[..]) {
        ([], [word]) => vec![*word],
        _ => named,
    };
    Some(match &columns[..] {
        [column] => format!("leave the column {} out", quoted(column)),
        [] if cells.first().is_some_and(|cell| cell.is_empty()) => {
            "leave the column of row numbers out".to_owned()
        }
        [] => "leave out columns of answers and of row numbers".to_owned(),
        columns => {
            let quoted: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
            format!("leave the columns {} out", quoted.join(", "))
        }
    })
}

fn quoted(cell: &str) -> String {
    format!("`{}`", printable(cell, 30))
}

fn number(cell: &str, line: usize, column: usize) -> Result<f32> {
    if cell.is_empty() {
        return Err(TableError::EmptyCell { line, column });
    }
    let problem = match cell.parse::<f32>() {
        Ok(number) if number.is_finite() => return Ok(number),
        Ok(_) => CellProblem::NotFinite,
        Err(_) if is_with_comma(cell) => CellProblem::Comma,
        Err(_) if cell.contains('|') => CellProblem::Bars,
        Err(_) if line == 1 => CellProblem::MaybeHeading,
        Err(_) => CellProblem::NoNumber,
    };
    Err(TableError::Cell { line, cell: printable(cell, 30), problem })
}

/// Whether it would be a number with a point in place of a comma.
fn is_with_comma(cell: &str) -> bool {
    cell.contains(',') && cell.replace(',', ".").parse::<f32>().is_ok()
}

fn shown(line: &str) -> String {
    printable(line, 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], width: usize, heading: Heading) -> Result<(Vec<Vec<f32>>, Vec<String>)> {
        let mut done = Vec::new();
        let mut table = Table::begin(text, width, heading, &mut done)?;
        let mut rows = Vec::new();
        loop {
            match table.next_rows(2)? {
                some if some.is_empty() => return Ok((rows, done)),
                some => rows.extend(some),
            }
        }
    }

    fn error(text: &[u8], width: usize) -> String {
        read(text, width, Heading::Auto).unwrap_err().to_string()
    }

    #[test]
    fn tables_of_numbers() {
        for text in [
            "5,2\n3,4\n",
            "a;b\n5;2\n3;4",
            "# x\n5 2\n\n3 4\r\n",
            "\u{feff}5\t2\n3\t4",
            "\u{feff}a,b\r\n5,2\r\n\r\n3,4\r\n",
            "\"5\",\"2\"\n\"3\", \"4\"\n",
            "\"a, b\",c\n5,2\n3,4\n",
            "5,2,\n3,4,\n",
            "a;b;\n5;2;\n3;4;\n",
            "5.0,2e0\n+3,4\n",
        ] {
            let (rows, _) = read(text.as_bytes(), 2, Heading::Auto).unwrap();
            assert_eq!(rows, [[5.0, 2.0], [3.0, 4.0]], "{text:?}");
        }
        for (text, words) in [
            ("5,2\n3\n", "line 2 has 1 number; the model takes 2"),
            ("4,2,3", "line 1 has 3 cells; the model takes 2; leave out columns of answers"),
            ("a,Label,b\n1,7,2\n", "leave the column `Label` out"),
            ("id,a,b,label\n0,1,2,7\n", "leave the columns `id`, `label` out"),
            ("1,2,seven\n", "leave the column `seven` out"),
            ("4,x", "line 1: `x` is not a number"),
            ("4,nan", "`nan` is not a finite number"),
            ("a,b\n", "it has no rows of numbers"),
            ("", "it has no rows of numbers"),
            ("a,b\n", "if the heading is a row, say --no-header"),
            ("3,\n4,5\n", "line 1, column 2 is empty"),
            ("3,5\n,4\n", "line 2, column 1 is empty"),
            ("1,5;2,5\n", "`1,5` has a comma; write numbers with a point"),
            ("\"1,5\",\"2,5\"\n", "`1,5` has a comma"),
            ("a;b\n1,5;2\n", "line 2: `1,5` has a comma"),
            ("\"1,2\n", "a quote is opened and not closed"),
            ("label,a,b\n7,1,2\n", "leave the column `label` out"),
            (",a,b\n0,1,2\n", "leave the column of row numbers out"),
            ("a,b,label\n1,2,7\n", "leave the column `label` out"),
            ("ab\0c\n", "neither a picture nor"),
        ] {
            let error = error(text.as_bytes(), 2);
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn numbers_that_count_the_columns_are_a_heading() {
        for text in
            ["0,1,2,3\n5,6,7,8\n", "1,2,3,4\n5,6,7,8\n", "\"0\",\"1\",\"2\",\"3\"\n5,6,7,8\n"]
        {
            let (rows, done) = read(text.as_bytes(), 4, Heading::Auto).unwrap();
            assert_eq!(rows, [[5.0, 6.0, 7.0, 8.0]], "{text:?}");
            assert!(done[0].contains("a heading, and left out"), "{done:?}");
            let (rows, done) = read(text.as_bytes(), 4, Heading::No).unwrap();
            assert_eq!((rows.len(), done.len()), (2, 0));
        }
        for row in ["2,3,4,5\n", "0,1,2,4\n", "0.0,1.0,2.0,3.0\n", "3,2,1,0\n"] {
            assert_eq!(read(row.as_bytes(), 4, Heading::Auto).unwrap().0.len(), 1, "{row}");
        }
        for (text, width) in [("0,1,2\n5,6,7\n", 3), ("1,2\n3,4\n", 2), ("0\n5\n", 1)] {
            let asked = error(text.as_bytes(), width);
            assert!(asked.contains("say which with --header or --no-header"), "{asked}");
            assert_eq!(read(text.as_bytes(), width, Heading::No).unwrap().0.len(), 2);
            assert_eq!(read(text.as_bytes(), width, Heading::Yes).unwrap().0.len(), 1);
        }
        let years = error(b"2001,2002,2003,2004,2005,2006\n5,1,7,2,9,3\n", 6);
        assert!(years.contains("say which with --header or --no-header"), "{years}");
        let columns = error(b"label,0,1,2,3\n7,5,6,7,8\n", 4);
        assert!(columns.contains("leave the column `label` out"), "{columns}");
        let columns = error(b",0,1,2,3\n0,5,6,7,8\n", 4);
        assert!(columns.contains("leave the column of row numbers out"), "{columns}");
    }

    #[test]
    fn other_encodings_and_endless_lines_are_refused() {
        let wide: Vec<u8> = "\u{feff}1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(error(&wide, 2).contains("UTF-16"));
        assert!(error(b"5,2\n\xe9,4\n", 2).contains("line 2 is not UTF-8"));
        assert!(error(b"5,2\r3,4\r", 2).contains("its lines end with CR alone"));
        let page = "5,2\r".repeat(20_000);
        assert!(error(page.as_bytes(), 2).contains("its lines end with CR alone"));
        let endless = std::io::BufReader::new(std::io::repeat(b'7'));
        let found = Table::begin(endless, 2, Heading::Auto, &mut Vec::new()).err().unwrap();
        assert!(found.to_string().contains("has more than 65536 bytes"), "{found}");
    }
}
