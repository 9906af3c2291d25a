//! Parquet files: columns in groups of rows, each column in compressed pages.
//!
//! Columns of lists and structures are not read. Source: the format of Apache Parquet, version 2.

mod footer;
mod hybrid;
mod pages;
mod values;
mod write;

use self::footer::{Element, Footer, Group, Stored};
use self::pages::{PageProblem, Reading, cells};
pub use self::write::{ParquetWriter, Values};
use super::{Budget, Place};
use crate::TableError;
use crate::csv_rows::MOST_COLUMNS;
use crate::table::Cells;

/// The mark at both ends of a file, and the bytes at its end: the length of the footer, and the mark.
const MARK: &[u8] = b"PAR1";
const TAIL: u64 = 8;

/// The columns of a Parquet file, and its groups of rows.
#[derive(Debug)]
pub(crate) struct Parquet {
    columns: Vec<(Element, Stored)>,
    groups: Vec<Group>,
}

impl Parquet {
    pub(super) fn begin(place: &Place, budget: &mut Budget) -> Result<Self, TableError> {
        let start = place.len().checked_sub(TAIL).ok_or_else(|| damaged("it is cut off"))?;
        let tail = place.bytes(start, TAIL)?;
        let (length, mark) = tail.split_at(4);
        if mark != MARK {
            return Err(damaged("it is cut off, or encrypted"));
        }
        let length = u64::from(u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
        let start = start.checked_sub(length).ok_or_else(|| damaged("its footer is too long"))?;
        let footer = Footer::read(&place.bytes(start, length)?);
        let Footer { schema, rows, groups } =
            footer.ok_or_else(|| damaged("its footer is damaged"))?;
        let columns = columns(schema)?;
        let cells = rows.saturating_mul(columns.len() as u64);
        budget.claim(cells.saturating_mul(8)).ok_or(TableError::Inflated)?;
        let in_groups = groups.iter().fold(0u64, |rows, group| rows.saturating_add(group.rows));
        let is_whole = groups.iter().all(|group| group.chunks.len() == columns.len());
        if in_groups != rows || !is_whole {
            return Err(damaged("its footer contradicts itself"));
        }
        usize::try_from(rows).map_err(damaged)?;
        Ok(Self { columns, groups })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(element, _)| element.name.clone()).collect()
    }

    /// The first row of each group, and the number of rows.
    pub(super) fn starts(&self) -> Vec<usize> {
        let mut starts = vec![0];
        // The number of all rows can be counted.
        starts.extend(self.groups.iter().scan(0, |end, group| {
            *end += group.rows as usize;
            Some(*end)
        }));
        starts
    }

    /// The cells of a group.
    pub(super) fn group(
        &self,
        place: &Place,
        group: usize,
        budget: &mut Budget,
    ) -> Result<Vec<Cells>, TableError> {
        let group = &self.groups[group];
        let rows = usize::try_from(group.rows).map_err(damaged)?;
        let columns = self.columns.iter().zip(&group.chunks).map(|((element, stored), chunk)| {
            let bytes = place.bytes(chunk.start, chunk.length)?;
            let is_optional = element.repetition == 1;
            let reading = Reading { stored: *stored, is_optional, codec: chunk.codec, rows };
            cells(&bytes, reading, budget).map_err(|problem| of_column(problem, &element.name))
        });
        columns.collect()
    }
}

/// The columns of a schema, whose first element is their parent.
fn columns(schema: Vec<Element>) -> Result<Vec<(Element, Stored)>, TableError> {
    let mut elements = schema.into_iter();
    let root = elements.next().ok_or_else(|| damaged("it describes no columns"))?;
    let found = elements.len();
    if found > MOST_COLUMNS {
        return Err(TableError::TooManyColumns { found, most: MOST_COLUMNS });
    }
    let columns = elements.map(|element| match element.stored() {
        Some(stored) => Ok((element, stored)),
        None => {
            let found = element.in_words();
            Err(TableError::ColumnType { name: element.name, found })
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    if root.children != columns.len() as u64 {
        return Err(damaged("its schema contradicts itself"));
    }
    Ok(columns)
}

fn of_column(problem: PageProblem, name: &str) -> TableError {
    match problem {
        PageProblem::Inflated => TableError::Inflated,
        PageProblem::Damaged => damaged(format!("column {name:?} is damaged")),
        PageProblem::Encoding(number) => {
            damaged(format!("column {name:?} has encoding {number}, which is not read"))
        }
        PageProblem::Codec(number) => {
            const CODECS: [&str; 6] = ["", "", "", "LZO", "Brotli", "LZ4 of Hadoop"];
            let codec = usize::try_from(number).ok().and_then(|number| CODECS.get(number));
            let codec = codec.unwrap_or(&"a newer compression");
            damaged(format!(
                "column {name:?} is compressed with {codec}; save it with Snappy or Zstandard"
            ))
        }
    }
}

fn damaged(problem: impl std::fmt::Display) -> TableError {
    TableError::Columnar { format: "Parquet", problem: problem.to_string() }
}
