//! Tables whose columns have names, for models that take named columns.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{BufRead, Cursor};
use std::path::Path;

use fireclay_model::{Field, FieldKind, InputError, InputSpec, Value};
use fireclay_tables::{Block, Blocks, TableError, as_taken, knows, name_of, value};
use fireclay_terminal::{names, printable};

/// The most names of columns that are listed.
const MOST_NAMES: usize = 5;

/// What is wrong with a table of named columns.
#[derive(Debug, thiserror::Error)]
pub enum ColumnsError {
    /// The table is damaged, or no table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The heading does not fit the model.
    #[error("the first line of the table must name the columns {names}")]
    Heading {
        /// The first columns that the model takes.
        names: String,
        /// What does not fit.
        source: InputError,
    },
}

/// The rows of a table, read as they are asked for.
pub(crate) struct Columns<'a> {
    /// The name of each column.
    pub(crate) header: Vec<String>,
    /// What was done to make rows of the table.
    pub(crate) done: Vec<String>,
    /// Whether it is a text that was given by itself.
    pub(crate) is_single: bool,
    input: &'a InputSpec,
    blocks: Blocks,
    /// Columns in which a text was met that the model does not know.
    warned: BTreeSet<usize>,
}

impl<'a> Columns<'a> {
    /// Reads the heading of a table in a file.
    pub(crate) fn open(path: &Path, input: &'a InputSpec) -> Result<Self, ColumnsError> {
        let blocks = match only_text(input) {
            Some(column) => Blocks::open_texts(path, column)?,
            None => Blocks::open(path)?,
        };
        Self::of(blocks, input)
    }

    /// Reads the heading of a table in a stream.
    pub(crate) fn begin(
        stream: impl BufRead + 'static,
        input: &'a InputSpec,
    ) -> Result<Self, ColumnsError> {
        let blocks = match only_text(input) {
            Some(column) => Blocks::begin_texts(stream, column)?,
            None => Blocks::begin(stream)?,
        };
        Self::of(blocks, input)
    }

    /// Texts for a model that takes one and nothing else; none for another model.
    pub(crate) fn of_texts(texts: &[String], input: &'a InputSpec) -> Option<Self> {
        let column = only_text(input)?;
        // To a text, the end of a line is a space.
        let lines = texts.iter().map(|text| text.replace(['\n', '\r'], " ") + "\n");
        let blocks = Blocks::of_texts(Cursor::new(lines.collect::<String>()), column);
        let table = Self::of(blocks, input).ok()?;
        Some(Self { is_single: texts.len() == 1, ..table })
    }

    fn of(blocks: Blocks, input: &'a InputSpec) -> Result<Self, ColumnsError> {
        let header: Vec<String> = blocks.names().iter().map(|name| name_of(name, input)).collect();
        let encoder = input.encoder(&header).map_err(|source| ColumnsError::Heading {
            names: names(&input.columns(), MOST_NAMES),
            source,
        })?;
        let mut done = Vec::new();
        if !encoder.ignored().is_empty() {
            done.push(format!("columns left out: {}", names(encoder.ignored(), MOST_NAMES)));
        }
        Ok(Self { header, done, is_single: false, input, blocks, warned: BTreeSet::new() })
    }

    /// The cells of the next rows, `most` at the most; none after the last.
    pub(crate) fn next_rows(&mut self, most: usize) -> Result<Option<Block>, ColumnsError> {
        let Some(mut block) = self.blocks.next_block(most)? else { return Ok(None) };
        for (name, cells) in self.header.iter().zip(&mut block.columns) {
            let taken = kind(self.input, name).map(|kind| as_taken(cells, kind));
            if let Some(Cow::Owned(texts)) = taken {
                *cells = texts;
            }
        }
        Ok(Some(block))
    }

    /// Texts that the model does not know, the first of each column that had none before, in words.
    pub(crate) fn unknown(&mut self, rows: &[Vec<Value<'_>>]) -> Vec<String> {
        let Self { header, input, warned, .. } = self;
        let mut found = Vec::new();
        for (place, name) in header.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let Some(FieldKind::Category(category)) = kind(input, name) else { continue };
            let mut texts = rows.iter().filter_map(|row| match row.get(place) {
                Some(Value::Text(text)) if !knows(category, text) => Some(*text),
                _ => None,
            });
            if let Some(text) = texts.next().filter(|_| warned.insert(place)) {
                let (name, text) = (printable(name, 40), printable(text, 40));
                found.push(format!("column {name}: the model does not know {text:?}"));
            }
        }
        found
    }

    /// What the cells of rows mean.
    pub(crate) fn values<'b>(&self, block: &'b Block) -> Vec<Vec<Value<'b>>> {
        let mut rows = vec![Vec::with_capacity(block.columns.len()); block.rows];
        for (name, cells) in self.header.iter().zip(&block.columns) {
            let kind = kind(self.input, name);
            rows.iter_mut().zip(cells.iter()).for_each(|(row, cell)| row.push(value(cell, kind)));
        }
        rows
    }
}

/// The name of the one field, if it is a text: a file of texts alone needs no heading then.
fn only_text(input: &InputSpec) -> Option<&str> {
    match input.fields() {
        [Field { name, kind: FieldKind::Text(_) }] => Some(name),
        _ => None,
    }
}

/// The kind of the field of this name, if the model has one.
fn kind<'a>(input: &'a InputSpec, name: &str) -> Option<&'a FieldKind> {
    input.fields().iter().find(|field| field.name == name).map(|field| &field.kind)
}

#[cfg(test)]
mod tests {
    use fireclay_model::{Boolean, Category, Date, DateFormat, Number, TextEncoding, TextFit};
    use fireclay_terminal::message;

    use super::*;

    fn input() -> InputSpec {
        let size = Number::fit([Some(-1.0), Some(1.0), None]);
        let colour = Category::fit([Some(" pad "), Some("NA"), Some("red"), None]);
        InputSpec::new(vec![Field::new("size", size), Field::new("colour", colour)]).unwrap()
    }

    fn rows(text: &str) -> Result<Vec<Vec<String>>, ColumnsError> {
        let input = input();
        let bytes = Cursor::new(text.as_bytes().to_vec());
        let mut table = Columns::begin(bytes, &input)?;
        let Some(rows) = table.next_rows(100)? else { return Ok(Vec::new()) };
        let said = |value: &Value<'_>| format!("{value:?}");
        Ok(table.values(&rows).iter().map(|row| row.iter().map(said).collect()).collect())
    }

    #[test]
    fn cells_mean_what_their_column_takes() {
        let expected = [["Text(\"NA\")", "Number(1.5)"], ["Missing", "Missing"]];
        for text in [
            "colour,size\nNA,1.5\n,NA\n",
            "\u{feff}colour;size\r\nNA;1.5\r\n;\r\n",
            "colour\tsize\nNA\t1.5\n\tnull",
            "colour | size\nNA | 1.5\n | NaN ",
        ] {
            assert_eq!(rows(text).unwrap(), expected, "{text:?}");
        }
        let padded = "size,colour\n 2 ,\" pad \"\n3, red \n";
        assert_eq!(
            rows(padded).unwrap(),
            [["Number(2.0)", "Text(\" pad \")"], ["Number(3.0)", "Text(\"red\")"]]
        );
        let quoted = "size,colour,\"a, b\"\n2,red,\"x\ny\"\n";
        assert_eq!(rows(quoted).unwrap(), [["Number(2.0)", "Text(\"red\")", "Text(\"x\\ny\")"]]);
    }

    #[test]
    fn truth_values_dates_and_orders_are_read_from_text() {
        let date = Date::fit(DateFormat::DayMonthYear, [Some("1.3.2024"), Some("3.3.2024"), None]);
        let grade = Category::fit_ordered(vec!["low".into(), "high".into()], [None]);
        let input = InputSpec::new(vec![
            Field::new("paid", Boolean { missing: true }),
            Field::new("day", date),
            Field::new("grade", grade),
        ]);
        let input = input.unwrap();
        let text = "grade,paid,day\n high ,TRUE, 3.3.2024\nodd,n/a,NA\n,NA,\n,yes,soon\n";
        let mut table = Columns::begin(Cursor::new(text), &input).unwrap();
        let cells = table.next_rows(100).unwrap().unwrap();
        let values = table.values(&cells);
        assert_eq!(table.unknown(&values), ["column grade: the model does not know \"odd\""]);
        let encoder = input.encoder(&table.header).unwrap();
        let rows = values
            .iter()
            .enumerate()
            .map(|(row, values)| encoder.encode(row, values).map(|encoded| encoded.dense));
        let rows: Vec<Result<Vec<f32>, InputError>> = rows.collect();
        let [Ok(first), Err(second), Ok(third), Err(fourth)] = &rows[..] else {
            panic!("{rows:?}")
        };
        assert_eq!((first[0], first[1], &first[first.len() - 2..]), (1.0, 1.0, &[1.0, 0.0][..]));
        assert!(third[..third.len() - 2].iter().all(|&x| x == 0.0 || x == 1.0), "{third:?}");
        let second = second.to_string();
        assert!(second.contains("column \"paid\": it is a text, \"n/a\""), "{second}");
        let fourth = fourth.to_string();
        assert!(fourth.contains("expects a date such as 31.03.2024"), "{fourth}");
    }

    #[test]
    fn parquet_is_a_table_like_any_other() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../tables/tests/goldens/typed-snappy.parquet");
        let fields = vec![
            Field::new("flag", Boolean { missing: true }),
            Field::new("price", Number::fit([Some(0.0), None])),
            Field::new("day", Date::fit(DateFormat::default(), [Some("2024-02-29"), None])),
            Field::new("category", Category::fit([Some("red"), None])),
            // Numbers of the file that the model knows as texts.
            Field::new("small", Category::fit([Some("1"), Some("-3"), None])),
        ];
        let input = InputSpec::new(fields).unwrap();
        let mut table = Columns::open(Path::new(path), &input).unwrap();
        let block = table.next_rows(2).unwrap().unwrap();
        let encoder = input.encoder(&table.header).unwrap();
        let encoded = encoder.encode_rows(&table.values(&block)).unwrap();
        let first = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0];
        let second = [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        assert_eq!(encoded.dense, [first, second].concat());
        assert_eq!(table.next_rows(2).unwrap().unwrap().rows, 1);
        assert_eq!(table.next_rows(2).unwrap(), None);
    }

    #[test]
    fn a_model_of_one_text_reads_lines_and_tables() {
        let text = TextFit::new(&TextEncoding::default());
        let text = FieldKind::Text(text.finish(1));
        let input = InputSpec::new(vec![Field { name: "review".to_owned(), kind: text }]);
        assert!(input.is_err(), "a text without terms");
        let mut fit = TextFit::new(&TextEncoding::default());
        fit.add(Some("good tea"));
        let input = InputSpec::new(vec![Field::new("review", fit.finish(9))]).unwrap();
        let rows = |text: &'static str| {
            let mut table = Columns::begin(Cursor::new(text), &input).unwrap();
            let block = table.next_rows(100).unwrap().unwrap();
            let at = table.header.iter().position(|name| name == "review").unwrap();
            let said = |row: &Vec<Value<'_>>| format!("{:?}", row[at]);
            table.values(&block).iter().map(said).collect::<Vec<String>>()
        };
        let expected = [r#"Text("good, hot tea")"#, "Missing", r#"Text("\"bad")"#];
        assert_eq!(rows("good, hot tea\n\n\"bad\n"), expected);
        assert_eq!(rows("score,review\n1,good tea\n"), [r#"Text("good tea")"#]);
        assert_eq!(rows("{\"review\": \"good tea\"}\n"), [r#"Text("good tea")"#]);
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        for (text, expected) in [
            ("", "the table is empty"),
            ("\n\n", "the table is empty"),
            ("1,red\n2,blue\n", "\"size\", \"colour\""),
            ("size,colour\n1\n", "line 2 has 1 cell; the heading has 2"),
            ("size,size,colour\n", "two columns are named \"size\""),
        ] {
            let error = message(&rows(text).unwrap_err());
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
