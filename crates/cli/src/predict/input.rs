//! What is to be predicted: files of several kinds, or standard input, to rows of numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use fireclay::Description;
use fireclay_data::{IdxRows, IdxValues, decompressed};

use super::container::Kind;
use super::foreign;
use super::picture;
use super::table::{Heading, Table};
use super::waiting::Waiting;
use crate::output::printable;

/// The most bytes of an array, which is read as a whole.
const MOST_OF_AN_ARRAY: u64 = 2 << 30;
/// Bytes that tell what a file is.
const BEGINNING: usize = 512;

const NPY: &[u8] = b"\x93NUMPY";

/// How inputs are read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) pictures: picture::Options,
    pub(crate) heading: Heading,
}

/// The rows of an input, read as they are asked for.
pub(crate) struct Rows<'a> {
    /// What was done to make them.
    pub(crate) done: Vec<String>,
    /// Whether the input is one thing and no list, such as a picture.
    pub(crate) is_single: bool,
    width: usize,
    source: Source<'a>,
}

/// Where the rows come from.
enum Source<'a> {
    /// Numbers of rows, one after the other, and how many of them were given.
    Array(Vec<f32>, usize),
    Idx(IdxRows<Box<dyn Read + 'a>>),
    Table(Table<Box<dyn BufRead + 'a>>),
}

/// Reads an input, `-` for standard input, in one pass; its content says what it is.
pub(crate) fn read<'a>(name: &Path, model: &Description, reading: Reading) -> Result<Rows<'a>> {
    if name.as_os_str() == "-" {
        let stdin = arrived(|| Ok(std::io::stdin().lock()), "standard input")?;
        return begin(stdin, None, None, model, reading).context("standard input");
    }
    let named = || name.display().to_string();
    let metadata = std::fs::metadata(name).with_context(named)?;
    if metadata.is_dir() {
        bail!("{}: this is a folder; name the files in it", name.display());
    }
    // Of a pipe or a device it is not known.
    let length = metadata.is_file().then_some(metadata.len());
    let open = || File::open(name).map(BufReader::new);
    let file = if metadata.is_file() { open() } else { arrived(open, &shown(name)) };
    let promised = foreign::promised(name);
    let rows = begin(file.with_context(named)?, length, promised, model, reading);
    let rows = rows.with_context(named)?;
    match length {
        Some(length) => log::info!("read {}, {length} bytes", name.display()),
        None => log::info!("reading {}", name.display()),
    }
    Ok(rows)
}

/// Opens a stream and waits for its first bytes, which may take for ever: a pipe is not even open before
/// a program opens its other end. What is waited for is said.
fn arrived<R: BufRead>(open: impl FnOnce() -> io::Result<R>, name: &str) -> io::Result<R> {
    let _waiting = Waiting::begin(format!("waiting for data from {name}; Ctrl-C ends it"));
    let mut stream = open()?;
    stream.fill_buf()?;
    Ok(stream)
}

/// A path in messages.
fn shown(name: &Path) -> String {
    printable(&name.display().to_string(), 200)
}

/// Tells by the first bytes what a stream is; they may be compressed. What its name promises is for the
/// message.
fn begin<'a>(
    stream: impl BufRead + 'a,
    length: Option<u64>,
    promised: Option<&str>,
    model: &Description,
    reading: Reading,
) -> Result<Rows<'a>> {
    if length == Some(0) {
        bail!("the file is empty");
    }
    let (is_plain, contents) = decompressed(stream)?;
    let mut contents = BufReader::new(contents);
    let mut beginning = Vec::new();
    contents.by_ref().take(BEGINNING as u64).read_to_end(&mut beginning)?;
    let width = model.architecture.inputs();
    if let Some(kind) = Kind::of(&beginning) {
        let whole = Cursor::new(beginning).chain(contents);
        let bytes = kind.read(whole, length.filter(|_| is_plain))?;
        let picture::Row { features, done } = picture::row(bytes, model, reading.pictures)?;
        return Ok(Rows { done, is_single: true, width, source: Source::Array(features, 0) });
    }
    if beginning.starts_with(NPY) {
        let whole = Cursor::new(beginning).chain(contents);
        return of_npy(limited(whole, length.filter(|_| is_plain))?, width);
    }
    if let Some(named) = foreign::named(&beginning) {
        bail!(named);
    }
    let is_idx = beginning.starts_with(&[0, 0]) && !beginning.starts_with(&[0, 0, 0]);
    let whole = Cursor::new(beginning).chain(contents);
    if is_idx {
        let plain = length.filter(|_| is_plain);
        let rows = IdxRows::new(Box::new(whole) as Box<dyn Read + 'a>, plain)?;
        if let Some(packed) = length.filter(|_| !is_plain) {
            rows.check_packed(packed)?;
        }
        let is_single = check(&rows.shape(), width)?;
        return Ok(Rows { done: Vec::new(), is_single, width, source: Source::Idx(rows) });
    }
    if let Some(kind) = promised {
        bail!(
            "by its name this is {kind}, and its bytes begin as no file that is read here; copy or save \
             it once more"
        );
    }
    let mut done = Vec::new();
    let whole = Box::new(whole) as Box<dyn BufRead + 'a>;
    let table = Table::begin(whole, width, reading.heading, &mut done)?;
    Ok(Rows { done, is_single: false, width, source: Source::Table(table) })
}

/// All bytes of an array, whose number may be known.
fn limited(from: impl Read, length: Option<u64>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if length.is_none_or(|length| length <= MOST_OF_AN_ARRAY) {
        from.take(MOST_OF_AN_ARRAY + 1).read_to_end(&mut bytes)?;
    }
    if length.unwrap_or(bytes.len() as u64) > MOST_OF_AN_ARRAY {
        bail!("it has more than {MOST_OF_AN_ARRAY} bytes; give it in parts");
    }
    Ok(bytes)
}

fn of_npy<'a>(bytes: Vec<u8>, width: usize) -> Result<Rows<'a>> {
    let archive = fireclay_formats::from_bytes(&bytes)?;
    drop(bytes);
    match &archive.tensors[..] {
        [array] => {
            let is_single = check(&array.shape, width)?;
            let source = Source::Array(array.to_f32()?, 0);
            Ok(Rows { done: Vec::new(), is_single, width, source })
        }
        _ => bail!("this holds {} arrays, not one", archive.tensors.len()),
    }
}

/// Checks that an array of this shape is rows for the model: its first axis counts them, unless all of
/// it is one row, and then it is so.
fn check(shape: &[usize], width: usize) -> Result<bool> {
    let product =
        |sizes: &[usize]| sizes.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
    let row = product(shape.get(1..).unwrap_or_default());
    if row == Some(width) && !shape.is_empty() {
        return Ok(false);
    }
    if product(shape) == Some(width) {
        return Ok(true);
    }
    let row = row.map_or("too many".to_owned(), |row| row.to_string());
    bail!("it has rows of {row} numbers, of shape {shape:?}; the model takes {width}")
}

impl Rows<'_> {
    /// The next rows, `most` at the most, each as wide as the model takes it; none after the last.
    pub(crate) fn next(&mut self, most: usize) -> Result<Vec<Vec<f32>>> {
        let width = self.width.max(1);
        let rows = |values: &[f32]| values.chunks_exact(width).map(<[f32]>::to_vec).collect();
        match &mut self.source {
            Source::Array(values, given) => {
                let end = values.len().min(given.saturating_add(width.saturating_mul(most)));
                let found = rows(&values[*given..end]);
                *given = end;
                Ok(found)
            }
            Source::Idx(idx) => {
                // One row may be all of the file.
                let most = if self.is_single { usize::MAX } else { most };
                let values: Vec<f32> = match idx.next_rows(most)? {
                    IdxValues::Bytes(bytes) => bytes.into_iter().map(f32::from).collect(),
                    IdxValues::Ints(ints) => ints.into_iter().map(|int| int as f32).collect(),
                    IdxValues::Floats(floats) => floats,
                };
                if values.is_empty() {
                    idx.end()?;
                }
                Ok(rows(&values))
            }
            Source::Table(table) => table.next_rows(most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_rows_or_one_row() {
        assert!(!check(&[2, 3, 2], 6).unwrap());
        assert!(!check(&[2, 6], 6).unwrap());
        assert!(check(&[3, 4], 12).unwrap());
        assert!(check(&[12], 12).unwrap());
        assert!(check(&[3, 4], 5).is_err());
        assert!(!check(&[0, 4], 4).unwrap());
        assert!(check(&[usize::MAX, 2, usize::MAX], 4).is_err());
        let mut rows = Rows {
            done: Vec::new(),
            is_single: false,
            width: 2,
            source: Source::Array((0..6).map(|i| i as f32).collect(), 0),
        };
        assert_eq!(rows.next(2).unwrap(), [[0.0, 1.0], [2.0, 3.0]]);
        assert_eq!(rows.next(2).unwrap(), [[4.0, 5.0]]);
        assert!(rows.next(2).unwrap().is_empty());
    }
}
