//! Files of several kinds, or standard input, to rows of numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use fireclay_model::Description;
use fireclay_pictures::{self as pictures, Kind};
use fireclay_readers::{Compression, IdxRows, IdxValues, decompress};
use fireclay_sounds::{self as sounds, Extractor, Recording, SoundError, Windows};
use fireclay_terminal::printable;

use crate::InputProblem;
use crate::foreign::{self, Foreign};
use crate::table::{Heading, Table};
use crate::waiting::Waiting;

/// The most bytes of an array, which is read as a whole.
const MOST_OF_AN_ARRAY: u64 = 2 << 30;
/// Bytes that tell what a file is.
const BEGINNING: u64 = 512;

const NPY: &[u8] = b"\x93NUMPY";

/// How inputs are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// How pictures become rows.
    pub pictures: pictures::Options,
    /// Windows over recordings; whole recordings if absent.
    pub windows: Option<WindowSize>,
    /// Whether the first line of a table is a heading.
    pub heading: Heading,
}

/// Windows over a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowSize {
    /// The length of each, in seconds.
    pub length: f64,
    /// From one to the next, in seconds.
    pub hop: f64,
}

/// Rows that were read together.
#[derive(Default)]
pub(crate) struct Block {
    /// Numbers of each row.
    pub(crate) rows: Vec<Vec<f32>>,
    /// Where the window of each row begins in its recording, in seconds; none of other rows.
    pub(crate) starts: Vec<f64>,
}

/// The rows of an input, read as they are asked for.
pub(crate) struct Rows {
    /// What was done to make them.
    pub(crate) done: Vec<String>,
    /// Whether the input is one thing and no list, such as a picture.
    pub(crate) is_single: bool,
    width: usize,
    source: Source,
}

/// Where the rows come from.
enum Source {
    /// Numbers of rows, one after the other, and how many of them were given.
    Array(Vec<f32>, usize),
    Idx(IdxRows<Box<dyn Read>>),
    Table(Table<Box<dyn BufRead>>),
    Windows(Box<Windows<Box<dyn Read>>>, Box<Extractor>),
}

/// Reads an input, `-` for standard input, in one pass; its content says what it is.
pub(crate) fn read(
    name: &Path,
    model: &Description,
    reading: Reading,
) -> Result<Rows, InputProblem> {
    begin(opened(name)?, name, model, reading)
}

/// The name of an input in messages.
pub(crate) fn shown(name: &Path) -> String {
    if name.as_os_str() == "-" {
        return "standard input".to_owned();
    }
    printable(&name.display().to_string(), 200)
}

/// An input whose first bytes have arrived.
pub(crate) struct Opened {
    pub(crate) stream: Box<dyn BufRead>,
    /// Its bytes, if they are known.
    pub(crate) length: Option<u64>,
}

/// Opens an input, `-` for standard input.
pub(crate) fn opened(name: &Path) -> Result<Opened, InputProblem> {
    if name.as_os_str() == "-" {
        let stream = arrived(|| Ok(Box::new(BufReader::new(io::stdin()))), name)?;
        return Ok(Opened { stream, length: None });
    }
    let metadata = std::fs::metadata(name)?;
    if metadata.is_dir() {
        return Err(InputProblem::Folder);
    }
    if metadata.is_file() {
        let stream = Box::new(BufReader::new(File::open(name)?));
        return Ok(Opened { stream, length: Some(metadata.len()) });
    }
    // Of a pipe or a device the length is not known.
    let stream = arrived(|| Ok(Box::new(BufReader::new(File::open(name)?))), name)?;
    Ok(Opened { stream, length: None })
}

/// Opens a stream and waits for its first bytes, which may take for ever: a pipe is not even open before
/// a program opens its other end. What is waited for is logged.
fn arrived(
    open: impl FnOnce() -> io::Result<Box<dyn BufRead>>,
    name: &Path,
) -> io::Result<Box<dyn BufRead>> {
    let _waiting = Waiting::begin(format!("waiting for data from {}; Ctrl-C ends it", shown(name)));
    let mut stream = open()?;
    stream.fill_buf()?;
    Ok(stream)
}

/// Begins to read rows: the first bytes of an input tell what it is, and they may be compressed.
fn begin(
    Opened { stream, length }: Opened,
    name: &Path,
    model: &Description,
    reading: Reading,
) -> Result<Rows, InputProblem> {
    if length == Some(0) {
        return Err(InputProblem::Empty);
    }
    let (compression, contents) = decompress(stream)?;
    let is_plain = compression == Compression::Plain;
    let mut contents = BufReader::new(contents);
    let mut beginning = Vec::new();
    contents.by_ref().take(BEGINNING).read_to_end(&mut beginning)?;
    let whole = Box::new(Cursor::new(beginning.clone()).chain(contents));
    let (plain, packed) = (length.filter(|_| is_plain), length.filter(|_| !is_plain));
    let width = model.architecture.inputs();
    let is_recording = sounds::Kind::of(&beginning).is_some();
    if reading.windows.is_some() && !is_recording {
        return Err(InputProblem::NoRecording);
    }
    let rows = if is_recording {
        of_recording(whole, model, reading.windows)
    } else if let Some(kind) = Kind::of(&beginning) {
        of_picture(kind.read(whole, plain)?, model, reading.pictures)
    } else if beginning.starts_with(NPY) {
        of_npy(limited(whole, plain)?, width)
    } else if let Some(foreign) = Foreign::of(&beginning) {
        Err(foreign.into())
    } else if beginning.starts_with(&[0, 0]) && !beginning.starts_with(&[0, 0, 0]) {
        of_idx(whole, plain, packed, width)
    } else if let Some(kind) = foreign::promised(name) {
        Err(InputProblem::OnlyByName { kind })
    } else {
        of_table(whole, width, reading.heading)
    }?;
    match length {
        Some(length) => log::info!("read {}, {length} bytes", name.display()),
        None => log::info!("reading {}", name.display()),
    }
    Ok(rows)
}

fn of_picture(
    bytes: Vec<u8>,
    model: &Description,
    options: pictures::Options,
) -> Result<Rows, InputProblem> {
    let pictures::Row { features, done } = pictures::row(bytes, model, options)?;
    let width = features.len();
    Ok(Rows { done, is_single: true, width, source: Source::Array(features, 0) })
}

/// The row of a whole recording, or those of its windows.
fn of_recording(
    stream: Box<dyn Read>,
    model: &Description,
    windows: Option<WindowSize>,
) -> Result<Rows, InputProblem> {
    let shape = &model.architecture.input_shape;
    let Some(sounds) = model.input.sounds() else {
        return Err(InputProblem::NoSounds { shape: shape.clone() });
    };
    let extractor = Extractor::new(sounds).map_err(SoundError::from)?;
    let recording = Recording::open(stream)?;
    let (rate, width) = (recording.rate(), model.architecture.inputs());
    let mut done = Vec::new();
    if rate != sounds.rate {
        done.push(format!("resampled from {rate} to {} Hz", sounds.rate));
    }
    let Some(WindowSize { length, hop }) = windows else {
        let features = extractor.features(&recording.samples(sounds.rate)?)?;
        return Ok(Rows { done, is_single: true, width, source: Source::Array(features, 0) });
    };
    let windows = Box::new(Windows::new(recording, sounds.rate, length, hop)?);
    let source = Source::Windows(windows, Box::new(extractor));
    Ok(Rows { done, is_single: false, width, source })
}

/// The rows of an IDX file, whose bytes may be known, or those of the compressed file that holds it.
fn of_idx(
    stream: Box<dyn Read>,
    plain: Option<u64>,
    packed: Option<u64>,
    width: usize,
) -> Result<Rows, InputProblem> {
    let rows = IdxRows::new(stream, plain)?;
    if let Some(packed) = packed {
        rows.check_packed(packed)?;
    }
    let is_single = is_one_row(&rows.shape(), width)?;
    Ok(Rows { done: Vec::new(), is_single, width, source: Source::Idx(rows) })
}

fn of_table(
    stream: Box<dyn BufRead>,
    width: usize,
    heading: Heading,
) -> Result<Rows, InputProblem> {
    let mut done = Vec::new();
    let table = Table::begin(stream, width, heading, &mut done)?;
    Ok(Rows { done, is_single: false, width, source: Source::Table(table) })
}

/// All bytes of an array, whose number may be known.
fn limited(from: impl Read, length: Option<u64>) -> Result<Vec<u8>, InputProblem> {
    let mut bytes = Vec::new();
    if length.is_none_or(|length| length <= MOST_OF_AN_ARRAY) {
        from.take(MOST_OF_AN_ARRAY + 1).read_to_end(&mut bytes)?;
    }
    if length.unwrap_or(bytes.len() as u64) > MOST_OF_AN_ARRAY {
        return Err(InputProblem::LargeArray { most: MOST_OF_AN_ARRAY });
    }
    Ok(bytes)
}

fn of_npy(bytes: Vec<u8>, width: usize) -> Result<Rows, InputProblem> {
    let archive = fireclay_formats::from_bytes(&bytes)?;
    drop(bytes);
    let [array] = &archive.tensors[..] else {
        return Err(InputProblem::Arrays { found: archive.tensors.len() });
    };
    let is_single = is_one_row(&array.shape, width)?;
    let source = Source::Array(array.to_f32()?, 0);
    Ok(Rows { done: Vec::new(), is_single, width, source })
}

/// Whether an array of this shape is one row for the model and no list of rows: its first axis counts
/// rows, unless all of it is as wide as one.
fn is_one_row(shape: &[usize], width: usize) -> Result<bool, InputProblem> {
    let row = product(shape.get(1..).unwrap_or_default());
    if row == Some(width) && !shape.is_empty() {
        return Ok(false);
    }
    if product(shape) == Some(width) {
        return Ok(true);
    }
    Err(InputProblem::Width { row, shape: shape.to_vec(), expected: width })
}

fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1_usize, |all, &size| all.checked_mul(size))
}

impl Rows {
    /// The next rows, `most` at the most, each as wide as the model takes it; none after the last.
    pub(crate) fn next_block(&mut self, most: usize) -> Result<Block, InputProblem> {
        let width = self.width.max(1);
        let rows = match &mut self.source {
            Source::Array(values, given) => {
                let end = values.len().min(given.saturating_add(width.saturating_mul(most)));
                let found = in_rows(&values[*given..end], width);
                *given = end;
                found
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
                in_rows(&values, width)
            }
            Source::Table(table) => table.next_rows(most)?,
            Source::Windows(windows, extractor) => {
                return next_windows(windows, extractor, most);
            }
        };
        Ok(Block { rows, starts: Vec::new() })
    }
}

/// Windows that are predicted together: few, so that those of a stream that is still being recorded are
/// predicted soon.
const WINDOWS: usize = 16;

/// The features of the next windows, `most` at the most.
fn next_windows(
    windows: &mut Windows<Box<dyn Read>>,
    extractor: &Extractor,
    most: usize,
) -> Result<Block, InputProblem> {
    let mut block = Block::default();
    while block.rows.len() < most.min(WINDOWS)
        && let Some(window) = windows.next_window()?
    {
        block.rows.push(extractor.features(&window.samples)?);
        block.starts.push(window.start);
    }
    Ok(block)
}

fn in_rows(values: &[f32], width: usize) -> Vec<Vec<f32>> {
    values.chunks_exact(width).map(<[f32]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_rows_or_one_row() {
        assert!(!is_one_row(&[2, 3, 2], 6).unwrap());
        assert!(!is_one_row(&[2, 6], 6).unwrap());
        assert!(is_one_row(&[3, 4], 12).unwrap());
        assert!(is_one_row(&[12], 12).unwrap());
        assert!(is_one_row(&[3, 4], 5).is_err());
        assert!(!is_one_row(&[0, 4], 4).unwrap());
        assert!(is_one_row(&[usize::MAX, 2, usize::MAX], 4).is_err());
        let mut rows = Rows {
            done: Vec::new(),
            is_single: false,
            width: 2,
            source: Source::Array((0..6).map(|i| i as f32).collect(), 0),
        };
        assert_eq!(rows.next_block(2).unwrap().rows, [[0.0, 1.0], [2.0, 3.0]]);
        assert_eq!(rows.next_block(2).unwrap().rows, [[4.0, 5.0]]);
        assert!(rows.next_block(2).unwrap().rows.is_empty());
    }
}
