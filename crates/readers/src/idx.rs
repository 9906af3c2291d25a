//! The IDX format of the MNIST family: magic bytes, big-endian sizes, row-major data.
//!
//! Nothing a header claims is believed: sizes are multiplied with checks, compared with the length
//! of a plain file before anything is allocated, and reached step by step in a compressed one.

use std::io::{self, Read};

use thiserror::Error;

use crate::compression::is_likely;

/// The contents of an IDX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Idx {
    /// Sizes, the number of rows first; never empty, never containing 0.
    pub shape: Vec<usize>,
    /// The values, row-major: as many as the product of `shape`.
    pub values: IdxValues,
}

/// The values of an IDX file.
#[derive(Clone, Debug, PartialEq)]
pub enum IdxValues {
    /// Element type `0x08`.
    Bytes(Vec<u8>),
    /// Element type `0x0C`.
    Ints(Vec<i32>),
    /// Element types `0x0D` and, rounded to single precision, `0x0E`.
    Floats(Vec<f32>),
}

/// Why bytes are not a usable IDX file.
#[derive(Debug, Error)]
pub enum IdxError {
    /// The first two bytes are not zero.
    #[error(
        "it starts with the bytes {:02x} {:02x}; an IDX file starts with 00 00{}",
        .found[0], .found[1], packed(*.found)
    )]
    Magic {
        /// The first two bytes.
        found: [u8; 2],
    },
    /// The element type is not read here.
    #[error(
        "its element type is {found:#04x}; 0x08 (unsigned byte), 0x0c (32-bit integer), 0x0d and 0x0e (floats of 32 and 64 bits) are supported"
    )]
    ElementType {
        /// The third byte.
        found: u8,
    },
    /// The header announces no dimension.
    #[error("it has no dimensions; at least one is needed")]
    NoDimensions,
    /// A dimension is zero.
    #[error("it is empty: its shape is {shape:?}")]
    Empty {
        /// The sizes in the header.
        shape: Vec<u32>,
    },
    /// The sizes multiply to more than can be addressed.
    #[error("its shape {shape:?} is too large for this machine")]
    TooLarge {
        /// The sizes in the header.
        shape: Vec<u32>,
    },
    /// There are fewer bytes than the header says.
    #[error("it ends at byte {found}, its header says {expected}; it was cut off")]
    Truncated {
        /// Bytes needed, header included.
        expected: u64,
        /// Bytes present, decompressed.
        found: u64,
    },
    /// There are more bytes than the header says.
    #[error("bytes follow the {expected} that its header says")]
    Trailing {
        /// Bytes needed, header included.
        expected: u64,
    },
    /// The bytes could not be read or decompressed.
    #[error("its bytes cannot be read or decompressed")]
    Stream(#[source] io::Error),
    /// The file holds something else than images of bytes.
    #[error(
        "it holds {element} of shape {shape:?}, and images are unsigned bytes of shape [rows, ..] with \
         two axes or more{}",
        if shape.len() == 1 { "; this looks like a file of labels" } else { "" }
    )]
    NotImages {
        /// The kind of elements, such as `32-bit integers`.
        element: &'static str,
        /// The shape found.
        shape: Vec<usize>,
    },
    /// The file holds something else than class labels.
    #[error(
        "it holds {element} of shape {shape:?}, and labels are bytes or 32-bit integers of shape [rows], \
         or QMNIST's integers of shape [rows, 8]{}",
        if shape.len() > 2 { "; this looks like a file of images" } else { "" }
    )]
    NotLabels {
        /// The kind of elements, such as `32-bit integers`.
        element: &'static str,
        /// The shape found.
        shape: Vec<usize>,
    },
    /// The file holds something else than rows of features.
    #[error(
        "it holds {element} of shape {shape:?}, and features are floats or bytes of shape [rows, ..] with \
         two axes or more"
    )]
    NotFeatures {
        /// The kind of elements, such as `32-bit integers`.
        element: &'static str,
        /// The shape found.
        shape: Vec<usize>,
    },
    /// The file holds something else than the targets of a regression.
    #[error(
        "it holds {element} of shape {shape:?}, and targets are floats of shape [rows] or [rows, targets]"
    )]
    NotTargets {
        /// The kind of elements, such as `32-bit integers`.
        element: &'static str,
        /// The shape found.
        shape: Vec<usize>,
    },
    /// A compressed file announces more than its bytes are likely to hold.
    #[error(
        "its header says {expected} bytes, more than its {packed} compressed bytes are likely to hold; \
         if it is right, decompress the file first"
    )]
    Inflated {
        /// Bytes after decompression, by its header.
        expected: u64,
        /// Bytes of the compressed file.
        packed: u64,
    },
    /// A class label is negative.
    #[error("label {row} is {found}; labels count from 0")]
    NegativeLabel {
        /// The row.
        row: usize,
        /// The label.
        found: i32,
    },
}

/// Names the program that packed a file in a way that is not read here, by its first bytes.
fn packed(found: [u8; 2]) -> &'static str {
    match &found {
        b"PK" => "; this is a ZIP archive: unpack it first",
        b"BZ" => "; this looks like bzip2: decompress it first",
        [0xFD, b'7'] => "; this looks like xz: decompress it first",
        _ => "",
    }
}

/// Reads IDX from decompressed bytes; `length` is their number if it is known beforehand.
///
/// # Errors
///
/// [`IdxError`], one variant per way to be malformed. The reader must end where the data ends.
pub fn parse_idx(reader: impl Read, length: Option<u64>) -> Result<Idx, IdxError> {
    let mut rows = IdxRows::new(reader, length)?;
    let values = rows.next_rows(usize::MAX)?;
    rows.end()?;
    Ok(Idx { shape: rows.shape(), values })
}

/// The rows of an IDX file, read as they are asked for, so that memory holds no more of them.
pub struct IdxRows<R> {
    source: R,
    header: Header,
    /// Bytes of the file that were read, decompressed.
    read: u64,
}

impl<R: Read> IdxRows<R> {
    /// Reads the header, and compares it with the number of decompressed bytes if that is known.
    ///
    /// # Errors
    ///
    /// As for [`parse_idx`], of the header.
    pub fn new(mut source: R, length: Option<u64>) -> Result<Self, IdxError> {
        let header = Header::read(&mut source)?;
        let expected = header.file_bytes()?;
        if let Some(found) = length {
            check_length(expected, found)?;
        }
        let read = header.header_bytes();
        Ok(Self { source, header, read })
    }

    /// Sizes, the number of rows first; never empty, never containing 0.
    pub fn shape(&self) -> Vec<usize> {
        self.header.shape.iter().map(|&size| size as usize).collect()
    }

    /// Compares what the header says with the bytes of the compressed file that holds it, before any
    /// of it is unpacked.
    ///
    /// # Errors
    ///
    /// [`IdxError::Inflated`].
    pub fn check_packed(&self, packed: u64) -> Result<(), IdxError> {
        let expected = self.header.file_bytes()?;
        if is_likely(expected, packed) {
            return Ok(());
        }
        Err(IdxError::Inflated { expected, packed })
    }

    /// The next rows, `most` at the most; without values after the last.
    ///
    /// # Errors
    ///
    /// The stream ends too early, or cannot be read.
    pub fn next_rows(&mut self, most: usize) -> Result<IdxValues, IdxError> {
        let expected = self.header.file_bytes()?;
        let row = self.header.row_bytes();
        let left = expected - self.read;
        let bytes = left.min(row.saturating_mul(most as u64));
        // All bytes were found to be addressable when the header was read.
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let payload = read_payload(&mut self.source, self.read, bytes, expected)?;
        self.read += payload.len() as u64;
        Ok(match self.header.element {
            Element::Byte => IdxValues::Bytes(payload),
            Element::Int => IdxValues::Ints(ints(&payload)),
            Element::Float => IdxValues::Floats(words(&payload).map(f32::from_be_bytes).collect()),
            Element::Double => {
                IdxValues::Floats(words(&payload).map(|x| f64::from_be_bytes(x) as f32).collect())
            }
        })
    }

    /// Reads on to the end of the stream, where the decompressors compare their checksums.
    ///
    /// # Errors
    ///
    /// Bytes follow the rows, or the stream is damaged.
    pub fn end(&mut self) -> Result<(), IdxError> {
        expect_end(&mut self.source, self.header.file_bytes()?)
    }
}

impl Idx {
    /// Takes the file as images: the shape of one image, and the pixels of all.
    ///
    /// # Errors
    ///
    /// [`IdxError::NotImages`].
    pub fn into_images(self) -> Result<(Vec<usize>, Vec<u8>), IdxError> {
        match self.values {
            IdxValues::Bytes(pixels) if self.shape.len() > 1 => {
                Ok((self.shape[1..].to_vec(), pixels))
            }
            values => Err(IdxError::NotImages { element: values.element(), shape: self.shape }),
        }
    }

    /// Takes the file as targets of a regression: how many a row has, and those of all rows.
    ///
    /// # Errors
    ///
    /// [`IdxError::NotTargets`].
    pub fn into_targets(self) -> Result<(usize, Vec<f32>), IdxError> {
        match (self.values, self.shape.as_slice()) {
            (IdxValues::Floats(values), [_]) => Ok((1, values)),
            (IdxValues::Floats(values), &[_, targets]) => Ok((targets, values)),
            (values, _) => {
                Err(IdxError::NotTargets { element: values.element(), shape: self.shape })
            }
        }
    }

    /// Takes the file as class labels; of QMNIST's eight columns the first is the class.
    ///
    /// # Errors
    ///
    /// [`IdxError::NotLabels`], and [`IdxError::NegativeLabel`].
    pub fn into_class_ids(self) -> Result<Vec<u32>, IdxError> {
        match (&self.values, self.shape.as_slice()) {
            (IdxValues::Bytes(ids), [_]) => Ok(ids.iter().map(|&id| u32::from(id)).collect()),
            (IdxValues::Ints(ints), [_]) => ints.iter().enumerate().map(class_id).collect(),
            (IdxValues::Ints(ints), [_, 8]) => {
                ints.iter().step_by(8).enumerate().map(class_id).collect()
            }
            _ => Err(IdxError::NotLabels { element: self.values.element(), shape: self.shape }),
        }
    }
}

impl IdxValues {
    /// The type of the values in words, such as `32-bit integers`.
    pub fn element(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "unsigned bytes",
            Self::Ints(_) => "32-bit integers",
            Self::Floats(_) => "floats",
        }
    }
}

fn class_id((row, &id): (usize, &i32)) -> Result<u32, IdxError> {
    u32::try_from(id).map_err(|_| IdxError::NegativeLabel { row, found: id })
}

#[derive(Clone, Copy)]
enum Element {
    Byte,
    Int,
    Float,
    Double,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Element::Byte => 1,
            Element::Int | Element::Float => 4,
            Element::Double => 8,
        }
    }
}

struct Header {
    element: Element,
    shape: Vec<u32>,
}

impl Header {
    fn read(reader: &mut impl Read) -> Result<Self, IdxError> {
        let mut magic = [0; 4];
        fill(reader, &mut magic, 0, 4)?;
        let [first, second, element, rank] = magic;
        if [first, second] != [0, 0] {
            return Err(IdxError::Magic { found: [first, second] });
        }
        let element = match element {
            0x08 => Element::Byte,
            0x0C => Element::Int,
            0x0D => Element::Float,
            0x0E => Element::Double,
            found => return Err(IdxError::ElementType { found }),
        };
        let shape = read_shape(reader, rank)?;
        if shape.contains(&0) {
            return Err(IdxError::Empty { shape });
        }
        Ok(Self { element, shape })
    }

    fn header_bytes(&self) -> u64 {
        4 + 4 * self.shape.len() as u64
    }

    fn payload_bytes(&self) -> Result<usize, IdxError> {
        let product = self.shape.iter().try_fold(self.element.bytes(), |product, &size| {
            product.checked_mul(usize::try_from(size).ok()?)
        });
        // A Vec cannot be longer than isize::MAX bytes.
        product
            .filter(|&bytes| isize::try_from(bytes).is_ok())
            .ok_or_else(|| IdxError::TooLarge { shape: self.shape.clone() })
    }

    /// Bytes of one row.
    fn row_bytes(&self) -> u64 {
        let sizes = self.shape.iter().skip(1).map(|&size| u64::from(size));
        sizes.fold(self.element.bytes() as u64, u64::saturating_mul)
    }

    fn file_bytes(&self) -> Result<u64, IdxError> {
        Ok(self.header_bytes() + self.payload_bytes()? as u64)
    }
}

fn read_shape(reader: &mut impl Read, rank: u8) -> Result<Vec<u32>, IdxError> {
    if rank == 0 {
        return Err(IdxError::NoDimensions);
    }
    let mut bytes = vec![0; 4 * usize::from(rank)];
    let expected = 4 + bytes.len() as u64;
    fill(reader, &mut bytes, 4, expected)?;
    Ok(words(&bytes).map(u32::from_be_bytes).collect())
}

fn check_length(expected: u64, found: u64) -> Result<(), IdxError> {
    match found.cmp(&expected) {
        std::cmp::Ordering::Less => Err(IdxError::Truncated { expected, found }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(IdxError::Trailing { expected }),
    }
}

/// The lead of the buffer over the bytes that really arrived; then it doubles. Large enough that
/// MNIST is one exact allocation, small enough that a lying header costs little.
const FIRST_STEP: usize = 64 << 20;

/// Reads `bytes` bytes after the first `offset`, of the `expected` that there must be in all.
fn read_payload(
    reader: &mut impl Read,
    offset: u64,
    bytes: usize,
    expected: u64,
) -> Result<Vec<u8>, IdxError> {
    let mut payload = Vec::new();
    while payload.len() < bytes {
        let start = payload.len();
        let step = (bytes - start).min(FIRST_STEP.max(start));
        // A header may claim more than there is memory for; `Vec::resize` alone would abort.
        payload
            .try_reserve_exact(step)
            .map_err(|_| IdxError::Stream(io::ErrorKind::OutOfMemory.into()))?;
        // Into what was reserved, which is not filled with zeros first.
        let read = reader.by_ref().take(step as u64).read_to_end(&mut payload);
        if read.map_err(IdxError::Stream)? < step {
            let found = offset + payload.len() as u64;
            return Err(IdxError::Truncated { expected, found });
        }
    }
    Ok(payload)
}

/// Fills `buffer` with the bytes after the first `offset`, of the `expected` that there must be.
fn fill(
    reader: &mut impl Read,
    buffer: &mut [u8],
    offset: u64,
    expected: u64,
) -> Result<(), IdxError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => return Err(IdxError::Truncated { expected, found: offset + filled as u64 }),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(IdxError::Stream(error)),
        }
    }
    Ok(())
}

/// Reading on to the end also makes the decompressors verify their own checksums.
fn expect_end(reader: &mut impl Read, expected: u64) -> Result<(), IdxError> {
    match fill(reader, &mut [0], expected, expected) {
        Ok(()) => Err(IdxError::Trailing { expected }),
        Err(IdxError::Truncated { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn ints(payload: &[u8]) -> Vec<i32> {
    words(payload).map(i32::from_be_bytes).collect()
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks().0.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_eight_columns_is_the_class() {
        let shape = vec![2, 8];
        let columns = IdxValues::Ints((0..16).collect());
        let idx = Idx { shape: shape.clone(), values: columns };
        assert_eq!(idx.into_class_ids().unwrap(), [0, 8]);
        let columns = IdxValues::Ints((-8..8).collect());
        let found = Idx { shape, values: columns }.into_class_ids();
        assert!(matches!(found, Err(IdxError::NegativeLabel { row: 0, found: -8 })));
    }
}
