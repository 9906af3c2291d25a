//! Rows of CSV and TSV, read as they are asked for.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use csv::{ByteRecord, Reader, ReaderBuilder, StringRecord};
use fireclay_readers::decompress;

use crate::TableError;
use crate::table::number;

/// What separates the cells of a line.
const SEPARATORS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// The most bytes of a row, and the most columns: each cell takes a few times its bytes.
pub(crate) const MOST_OF_A_ROW: u64 = 2 << 20;
pub(crate) const MOST_COLUMNS: usize = 1 << 16;

/// Marks of other encodings than UTF-8, longest first.
const MARKS: [(&[u8], &str); 4] = [
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// The rows of a CSV or TSV stream, which may be compressed; the separator is what its first line has
/// most of: a comma, a tab, a semicolon or a bar.
pub(crate) struct CsvRows {
    header: Vec<String>,
    rows: Reader<Limited<Box<dyn Read>>>,
    record: ByteRecord,
}

impl CsvRows {
    /// Reads the heading.
    ///
    /// # Errors
    ///
    /// A [`TableError`] about the heading: missing, too long, too wide, in another encoding.
    pub(crate) fn begin(stream: impl BufRead + 'static) -> Result<Self, TableError> {
        let (_, contents) = decompress(stream)?;
        let mut contents = BufReader::with_capacity(1 << 16, contents);
        let mut heading = Vec::new();
        contents.by_ref().take(MOST_OF_A_ROW).read_until(b'\n', &mut heading)?;
        if let Some((_, found)) = MARKS.iter().find(|(mark, _)| heading.starts_with(mark)) {
            return Err(TableError::Encoding { found });
        }
        if heading.trim_ascii().is_empty() {
            return Err(TableError::NoHeading);
        }
        if heading.len() as u64 == MOST_OF_A_ROW {
            return Err(TableError::LongHeading { most: MOST_OF_A_ROW });
        }
        let separator = separator(&heading);
        let found = 1 + count(&heading, separator);
        if found > MOST_COLUMNS {
            return Err(TableError::TooManyColumns { found, most: MOST_COLUMNS });
        }
        let whole = Box::new(Cursor::new(heading).chain(contents)) as Box<dyn Read>;
        let whole = Limited { from: whole, left: MOST_OF_A_ROW, is_over: false };
        let mut rows = ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(whole);
        let header = rows.byte_headers()?.iter().enumerate().map(|(at, name)| {
            let name = std::str::from_utf8(name).map(str::to_owned);
            name.map_err(|_| TableError::HeadingNotUtf8 { column: at + 1 })
        });
        let header = header.collect::<Result<Vec<String>, _>>()?;
        if let Some(name) = header.iter().find(|name| name.contains('\0')) {
            return Err(TableError::Nul { line: 1, column: name.clone() });
        }
        Ok(Self { header, rows, record: ByteRecord::new() })
    }

    /// The names of the columns, as the first line has them.
    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    /// Refuses a first line of numbers alone, which is a row.
    ///
    /// # Errors
    ///
    /// [`TableError::NumbersAsHeading`].
    pub(crate) fn check_names(&self) -> Result<(), TableError> {
        if self.header.iter().all(|name| number(name.trim()).is_some()) {
            return Err(TableError::NumbersAsHeading { beginning: self.header.join(",") });
        }
        Ok(())
    }

    /// Reads the next row into `record`; false after the last.
    ///
    /// # Errors
    ///
    /// A [`TableError`] that names the line.
    pub(crate) fn next_row(&mut self, record: &mut StringRecord) -> Result<bool, TableError> {
        self.rows.get_mut().left = MOST_OF_A_ROW;
        let mut bytes = std::mem::take(&mut self.record);
        let start = self.rows.position().line();
        match self.rows.read_byte_record(&mut bytes) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(_) if self.rows.get_ref().is_over => {
                return Err(TableError::LongRow { line: start, most: MOST_OF_A_ROW });
            }
            Err(error) => return Err(error.into()),
        }
        let old = std::mem::replace(record, checked(bytes, &self.header)?);
        // Its room serves the next row.
        self.record = old.into_byte_record();
        Ok(true)
    }
}

/// A row as text, with a cell for each column.
///
/// # Errors
///
/// A [`TableError`] that names the line and the column.
pub(crate) fn checked(bytes: ByteRecord, header: &[String]) -> Result<StringRecord, TableError> {
    let line = bytes.position().map_or(0, csv::Position::line);
    let (found, expected) = (bytes.len(), header.len());
    if let Some(column) = header.get(found).cloned() {
        return Err(TableError::FewCells { line, found, expected, column });
    }
    if let Some(cell) = bytes.get(expected) {
        let cell = String::from_utf8_lossy(cell).into_owned();
        return Err(TableError::ManyCells { line, found, expected, cell });
    }
    if let Some(place) = bytes.iter().position(|cell| cell.contains(&0)) {
        return Err(TableError::Nul { line, column: header[place].clone() });
    }
    StringRecord::from_byte_record(bytes).map_err(|error| {
        let column = header.get(error.utf8_error().field()).cloned().unwrap_or_default();
        TableError::CellNotUtf8 { line, column }
    })
}

/// What occurs most in the heading; a comma if nothing does.
fn separator(heading: &[u8]) -> u8 {
    // Of equally frequent ones the first.
    let most = SEPARATORS.into_iter().rev().max_by_key(|&separator| count(heading, separator));
    most.unwrap_or(b',')
}

/// What separates the cells of a file that is not compressed.
pub(crate) fn separator_of(path: &std::path::Path) -> Result<u8, TableError> {
    let mut heading = Vec::new();
    let file = BufReader::new(std::fs::File::open(path)?);
    file.take(MOST_OF_A_ROW).read_until(b'\n', &mut heading)?;
    Ok(separator(&heading))
}

/// How often a byte occurs.
fn count(bytes: &[u8], byte: u8) -> usize {
    bytes.iter().filter(|&&other| other == byte).count()
}

impl From<csv::Error> for TableError {
    fn from(error: csv::Error) -> Self {
        let words = error.to_string();
        match error.into_kind() {
            csv::ErrorKind::Io(error) => Self::Read(error),
            _ => Self::Csv(words),
        }
    }
}

/// Bytes of which a row has so many at the most: a quote that is never closed is not read to the end.
struct Limited<R> {
    from: R,
    left: u64,
    /// True once more of a row was asked for.
    is_over: bool,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.is_over = true;
            return Err(io::Error::other("a row does not end"));
        }
        let read = self.from.read(into)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use fireclay_terminal::message;

    use super::*;

    fn rows(bytes: &[u8]) -> Result<Vec<Vec<String>>, TableError> {
        let mut table = CsvRows::begin(Cursor::new(bytes.to_vec()))?;
        table.check_names()?;
        let (mut all, mut record) = (vec![table.header().to_vec()], StringRecord::new());
        while table.next_row(&mut record)? {
            all.push(record.iter().map(str::to_owned).collect());
        }
        Ok(all)
    }

    #[test]
    fn separators_marks_and_ends_of_lines_are_found() {
        let expected = [["a", "b"], ["1", "x y"]];
        for text in [
            "a,b\n1,x y\n",
            "\u{feff}a;b\r\n1;x y\r\n",
            "a\tb\n1\tx y",
            "a|b\n1|\"x y\"",
            "a,b\r1,x y\r",
            "a,b\n\n1,x y\n\n",
        ] {
            assert_eq!(rows(text.as_bytes()).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn damaged_tables_name_the_line() {
        let open = format!("a,b\n1,\"{}", "x".repeat(MOST_OF_A_ROW as usize + (1 << 20)));
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (b"".to_vec(), "the table is empty"),
            (b"\n\n".to_vec(), "the table is empty"),
            (b"a,b\n1\n".to_vec(), "line 2 has 1 cell; the heading has 2: column b has none"),
            (b"a,b\n1,2\n3,4,5\n".to_vec(), "line 3 has 3 cells; the heading has 2: `5` is in no"),
            (b"a,b\n1,2\n3,\xff\n".to_vec(), "line 3, column b: it is not UTF-8"),
            (b"a,\xff\n1,2\n".to_vec(), "line 1, column 2: the name is not UTF-8"),
            (b"a,b\n1,2\0\n".to_vec(), "line 2, column b: it has a NUL"),
            (b"\xff\xfea\0,\0b\0".to_vec(), "encoded as UTF-16"),
            (b"1,2.5,3\n4,5,6\n".to_vec(), "the first line has numbers alone (1,2.5,3)"),
            (vec![b','; 1 << 17], "has 131073 columns; at most 65536"),
            (vec![b'x'; 3 << 20], "the first line has more than 2097152 bytes"),
            (
                open.into_bytes(),
                "line 2: the row has more than 2097152 bytes; a quote may not be closed",
            ),
        ];
        for (bytes, expected) in cases {
            let error = message(&rows(&bytes).unwrap_err());
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
