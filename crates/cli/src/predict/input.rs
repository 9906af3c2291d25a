//! What is to be predicted: files of several kinds, or standard input, to rows of numbers.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use fireclay::Model;
use fireclay_data::{Idx, IdxValues, parse_idx, read_idx};

use super::decode::is_picture;
use super::picture::{self, Fit};

/// The most bytes that are read of an input.
const MOST_BYTES: u64 = 2 << 30;

const NPY: &[u8] = b"\x93NUMPY";
const COMPRESSED: [&[u8]; 2] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd"];

/// The rows of an input.
pub(crate) struct Rows {
    /// Each as wide as the model takes it.
    pub(crate) features: Vec<Vec<f32>>,
    /// What was done to make them.
    pub(crate) done: Vec<String>,
    /// Whether the input is one thing and no list, such as a picture.
    pub(crate) is_single: bool,
}

/// Reads an input, `-` for standard input; its content says what it is.
pub(crate) fn read(name: &Path, model: &Model, fit: Fit) -> Result<Rows> {
    if name.as_os_str() == "-" {
        let bytes = limited(std::io::stdin().lock()).context("standard input can not be read")?;
        log::info!("read standard input, {} bytes", bytes.len());
        return rows(&bytes, None, model, fit).context("standard input");
    }
    let named = || name.display().to_string();
    let metadata = std::fs::metadata(name).with_context(named)?;
    if metadata.is_dir() {
        bail!("{}: this is a folder; name the files in it", name.display());
    }
    let file = std::fs::File::open(name).with_context(named)?;
    let bytes = limited(file).with_context(named)?;
    log::info!("read {}, {} bytes", name.display(), bytes.len());
    rows(&bytes, Some(name), model, fit).with_context(named)
}

fn limited(from: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        bail!("it has more than {MOST_BYTES} bytes; give it in parts");
    }
    Ok(bytes)
}

fn rows(bytes: &[u8], path: Option<&Path>, model: &Model, fit: Fit) -> Result<Rows> {
    let width = model.features();
    if is_picture(bytes) {
        let picture::Row { features, done } = picture::row(bytes, model, fit)?;
        return Ok(Rows { features: vec![features], done, is_single: true });
    }
    if bytes.starts_with(NPY) {
        return of_npy(bytes, width);
    }
    if let (Some(path), true) = (path, COMPRESSED.iter().any(|magic| bytes.starts_with(magic))) {
        return of_idx(read_idx(path)?, width);
    }
    if bytes.starts_with(&[0, 0]) {
        return of_idx(parse_idx(bytes, Some(bytes.len() as u64))?, width);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => of_csv(text, width),
        _ => bail!("this is no PNG, JPEG, IDX, NPY or CSV file"),
    }
}

fn of_idx(idx: Idx, width: usize) -> Result<Rows> {
    let values: Vec<f32> = match idx.values {
        IdxValues::Bytes(bytes) => bytes.into_iter().map(f32::from).collect(),
        IdxValues::Ints(ints) => ints.into_iter().map(|int| int as f32).collect(),
    };
    cut(&idx.shape, &values, width)
}

fn of_npy(bytes: &[u8], width: usize) -> Result<Rows> {
    let archive = fireclay_formats::from_bytes(bytes)?;
    match &archive.tensors[..] {
        [array] => cut(&array.shape, &array.to_f32()?, width),
        _ => bail!("this holds {} arrays, not one", archive.tensors.len()),
    }
}

/// Cuts an array into rows: its first axis counts them, unless all of it is one row.
fn cut(shape: &[usize], values: &[f32], width: usize) -> Result<Rows> {
    let row = shape.get(1..).unwrap_or_default().iter().product::<usize>();
    let is_single = values.len() == width && row != width;
    if !is_single && row != width {
        bail!("it has rows of {row} numbers, of shape {shape:?}; the model takes {width}");
    }
    let features = values.chunks_exact(width.max(1)).map(<[f32]>::to_vec).collect();
    Ok(Rows { features, done: Vec::new(), is_single })
}

/// Rows of numbers with commas, semicolons, tabs or spaces in between; a first line that is no
/// numbers is a heading.
fn of_csv(text: &str, width: usize) -> Result<Rows> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
    let mut lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')).peekable();
    let mut done = Vec::new();
    if let Some((line, _)) = lines.peek()
        && cells(line).all(|cell| cell.parse::<f32>().is_err())
    {
        done.push("its first line is a heading, and left out".to_owned());
        lines.next();
    }
    let mut features = Vec::new();
    for (line, number) in lines {
        let row = cells(line).map(|cell| number_of(cell, number)).collect::<Result<Vec<f32>>>()?;
        if row.len() != width {
            let hint = match row.len() == width + 1 {
                true => "; leave the column of the answers out",
                false => "",
            };
            bail!("line {number} has {} numbers; the model takes {width}{hint}", row.len());
        }
        features.push(row);
    }
    if features.is_empty() {
        bail!("it is no PNG, JPEG, IDX or NPY file, and as a table it has no rows of numbers");
    }
    Ok(Rows { features, done, is_single: false })
}

fn number_of(cell: &str, line: usize) -> Result<f32> {
    let shown = || crate::output::printable(cell, 30);
    let number: f32 =
        cell.parse().with_context(|| format!("line {line}: `{}` is not a number", shown()))?;
    if !number.is_finite() {
        bail!("line {line}: `{}` is not a finite number", shown());
    }
    Ok(number)
}

fn cells(line: &str) -> impl Iterator<Item = &str> {
    let separator = [',', ';', '\t'].into_iter().find(|&c| line.contains(c));
    let cells: Vec<&str> = match separator {
        Some(separator) => line.split(separator).collect(),
        None => line.split_whitespace().collect(),
    };
    cells.into_iter().map(|cell| cell.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_numbers() {
        for text in ["1,2\n3,4\n", "a;b\n1;2\n3;4", "# x\n1 2\n\n3 4\r\n", "\u{feff}1\t2\n3\t4"] {
            assert_eq!(of_csv(text, 2).unwrap().features, [[1.0, 2.0], [3.0, 4.0]], "{text:?}");
        }
        for (text, words) in [
            ("1,2\n3\n", "line 2 has 1 numbers; the model takes 2"),
            ("1,2,3", "leave the column of the answers out"),
            ("1,x", "line 1: `x` is not a number"),
            ("1,nan", "`nan` is not a finite number"),
            ("a,b\n", "as a table it has no rows of numbers"),
            ("", "as a table it has no rows of numbers"),
        ] {
            let error = format!("{:#}", of_csv(text, 2).err().unwrap());
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn arrays_are_rows_or_one_row() {
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(cut(&[2, 3, 2], &values, 6).unwrap().features.len(), 2);
        assert!(!cut(&[2, 6], &values, 6).unwrap().is_single);
        assert!(cut(&[3, 4], &values, 12).unwrap().is_single);
        assert!(cut(&[12], &values, 12).unwrap().is_single);
        assert!(cut(&[3, 4], &values, 5).is_err());
        assert!(cut(&[0, 4], &[], 4).unwrap().features.is_empty());
    }
}
