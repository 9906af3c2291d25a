//! The bytes of our files: safetensors with a document and a digest in its metadata.
//!
//! Neither reading nor writing holds more than the values that are asked for and one piece of the
//! file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;

use fireclay_files::{Dtype, Entry, Header, Limits, ReadAt, Stretch, count_values};
use serde::Serialize;
use serde::de::Error as _;

use super::ModelFileProblem;
use super::digest::Digest;
use crate::predictor::packed::Packed;
use crate::{NamedTensor, ParameterPath};

/// Key of the digest in the file's metadata.
const DIGEST_KEY: &str = "fireclay_digest";
/// Key by which other libraries recognise the layout, and its value.
const FORMAT_KEY: &str = "format";
const FORMAT: &str = "pt";

/// The largest header: what is made of it is up to ten times as large.
const LIMITS: Limits = Limits { bytes: 32 << 20, tensors: 50_000 };

/// The most values of a document, as [`count_values`] counts them.
const MOST_VALUES: u64 = 500_000;

/// Bytes that are read or written at once.
const PIECE: usize = 64 << 10;

/// Rows of a matrix that are read at once to be turned: as many numbers as a line of cache holds.
const ROWS: usize = 16;

/// Which values of a file are kept, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// None: the file is only checked.
    Nothing,
    /// All, as the file has them.
    All,
    /// Those of the network, matrices turned to `[inputs, outputs]`, which is how they are used.
    Network,
    /// Those of the network, weight matrices in panels of at most this many lanes.
    Packed(usize),
}

/// The bytes of a safetensors file with a document under `key` in its metadata, the same for the
/// same content, and the digest in it.
///
/// # Errors
///
/// [`ModelFileProblem::Document`] if the header cannot be written as JSON.
pub fn pack(
    key: &str,
    document: &str,
    tensors: &[NamedTensor],
) -> Result<(Vec<u8>, String), ModelFileProblem> {
    let lazy: Vec<LazyTensor<'_>> = tensors.iter().map(LazyTensor::of).collect();
    let (mut file, digest) = head(key, document, &lazy)?;
    file.reserve_exact(lazy.iter().map(|tensor| tensor.size() as usize).sum());
    body(&lazy, &mut file)?;
    Ok((file, digest))
}

/// Reads what [`pack`] wrote: the document by `read`, whose error comes before any about the
/// tensors, and the tensors in the order of the file.
///
/// # Errors
///
/// A [`ModelFileProblem`]; [`NoDocument`](ModelFileProblem::NoDocument) if `key` is absent.
pub fn unpack<T>(
    key: &str,
    bytes: &[u8],
    read: impl FnOnce(&str) -> Result<T, ModelFileProblem>,
) -> Result<(T, Vec<NamedTensor>), ModelFileProblem> {
    let (document, tensors) = unpack_from(key, &bytes, Keep::All, read, |_, _| Dtype::F32)?;
    Ok((document, tensors.plain))
}

/// The tensors of a file, in its order.
#[derive(Debug, Default)]
pub(crate) struct Tensors {
    /// Those of type `F32`.
    pub(crate) plain: Vec<NamedTensor>,
    /// Weight matrices of type `F32` that have been packed.
    pub(crate) packed: Vec<PackedTensor>,
    /// All others.
    pub(crate) raw: Vec<RawTensor>,
}

/// A weight matrix, laid out for products.
#[derive(Debug)]
pub(crate) struct PackedTensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) matrix: Packed,
}

/// A tensor as the bytes of its file.
#[derive(Debug)]
pub(crate) struct RawTensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

/// As [`unpack`], of a file; the values that are not kept are left out. `expected` gives the type that
/// a tensor has by the document.
pub(crate) fn unpack_from<T>(
    key: &str,
    file: &dyn ReadAt,
    keep: Keep,
    read: impl FnOnce(&str) -> Result<T, ModelFileProblem>,
    expected: impl Fn(&T, &str) -> Dtype,
) -> Result<(T, Tensors), ModelFileProblem> {
    let Header { metadata, tensors } = Header::read(file, LIMITS)?;
    let mut metadata = metadata.unwrap_or_default();
    let text = metadata.remove(key).ok_or(ModelFileProblem::NoDocument)?;
    check_count(&text)?;
    let document = read(&text)?;
    let found = metadata.remove(DIGEST_KEY).unwrap_or_default();
    check_metadata(&metadata)?;
    // A wrong type is reported only once the digest is right: damage could look like another type.
    let other = tensors.iter().find(|entry| entry.dtype != expected(&document, &entry.name));
    let other = other.map(|entry| ModelFileProblem::Dtype {
        name: entry.name.clone(),
        found: entry.dtype.to_string(),
        expected: expected(&document, &entry.name).to_string(),
    });
    let keep = if other.is_some() { Keep::Nothing } else { keep };
    let (tensors, computed) = read_tensors(file, &text, tensors, keep)?;
    if found == computed {
        other.map_or(Ok((document, tensors)), Err)
    } else {
        Err(ModelFileProblem::Digest { found, computed })
    }
}

/// Returns true if a file has a document under `key` in its metadata.
pub(crate) fn has_document(key: &str, file: &dyn ReadAt) -> bool {
    let header = Header::read(file, LIMITS).ok();
    header.and_then(|header| header.metadata).is_some_and(|metadata| metadata.contains_key(key))
}

/// The digest that a Fireclay file records, if any; only reading the whole file verifies it.
///
/// # Errors
///
/// [`ModelFileProblem::Safetensors`].
pub fn digest_of(file: &dyn ReadAt) -> Result<Option<String>, ModelFileProblem> {
    let header = Header::read(file, LIMITS)?;
    Ok(header.metadata.and_then(|mut metadata| metadata.remove(DIGEST_KEY)))
}

/// The values of a document are counted before any is made.
fn check_count(text: &str) -> Result<(), ModelFileProblem> {
    let found = count_values(text, MOST_VALUES)?;
    if found > MOST_VALUES {
        let what = format!("it has more than {MOST_VALUES} values");
        return Err(serde_json::Error::custom(what).into());
    }
    Ok(())
}

/// The tensors of a file in its order, and the digest, for which they are read by their names.
fn read_tensors(
    file: &dyn ReadAt,
    text: &str,
    entries: Vec<Entry>,
    keep: Keep,
) -> Result<(Tensors, String), ModelFileProblem> {
    let mut digest = Digest::of(text);
    let mut values: Vec<KeptTensor> = entries.iter().map(|_| KeptTensor::Nothing).collect();
    let mut by_name: Vec<usize> = (0..entries.len()).collect();
    // The digest takes tensors by name, so that it does not depend on the order of the file.
    by_name.sort_unstable_by_key(|&at| &entries[at].name);
    for at in by_name {
        let entry = &entries[at];
        let path = entry.name.parse::<ParameterPath>().ok();
        values[at] = KeptTensor::of(entry, path, keep);
        // Scales and embeddings have two axes too, and are used as they are.
        let is_turned = matches!(keep, Keep::Network | Keep::Packed(_))
            && path.is_some_and(ParameterPath::is_linear);
        read_tensor(file, entry, &mut digest, &mut values[at], is_turned)?;
    }
    let mut tensors = Tensors::default();
    for (Entry { name, shape, dtype, .. }, read) in entries.into_iter().zip(values) {
        match read {
            KeptTensor::Bytes(bytes) => tensors.raw.push(RawTensor { name, shape, bytes }),
            KeptTensor::Packed(matrix) => tensors.packed.push(PackedTensor { name, shape, matrix }),
            KeptTensor::Nothing if dtype != Dtype::F32 => {
                tensors.raw.push(RawTensor { name, shape, bytes: Vec::new() });
            }
            KeptTensor::Nothing => {
                tensors.plain.push(NamedTensor { name, shape, values: Vec::new() });
            }
            KeptTensor::Values(values) => tensors.plain.push(NamedTensor { name, shape, values }),
        }
    }
    Ok((tensors, digest.finish()))
}

/// The part of a tensor that is kept.
enum KeptTensor {
    Nothing,
    Values(Vec<f32>),
    Packed(Packed),
    Bytes(Vec<u8>),
}

impl KeptTensor {
    /// Room for a tensor, which is that of a parameter if it has a path.
    fn of(entry: &Entry, path: Option<ParameterPath>, keep: Keep) -> Self {
        let is_of_run = entry.name.starts_with(super::RUN_PREFIX);
        match (keep, entry.dtype, path, &entry.shape[..]) {
            (Keep::Nothing, ..) => Self::Nothing,
            (Keep::Network | Keep::Packed(_), ..) if is_of_run => Self::Nothing,
            // As many numbers as the file has bytes for.
            (
                Keep::Packed(widest),
                Dtype::F32,
                Some(ParameterPath::Weight(_)),
                &[outputs, inputs],
            ) if outputs > 0 && inputs > 0 => {
                Self::Packed(Packed::zeros([inputs, outputs], widest))
            }
            (_, Dtype::F32, ..) => Self::Values(Vec::new()),
            _ => Self::Bytes(Vec::new()),
        }
    }
}

/// Reads a tensor piece by piece, for the digest and for its values if they are wanted.
fn read_tensor(
    file: &dyn ReadAt,
    entry: &Entry,
    digest: &mut Digest,
    to: &mut KeptTensor,
    is_turned: bool,
) -> Result<(), ModelFileProblem> {
    use std::io::Read as _;
    let size = entry.place.end - entry.place.start;
    digest.tensor(&entry.name, &entry.shape, size);
    let (rows, columns) = match entry.shape[..] {
        [rows, columns] if matches!(to, KeptTensor::Packed(_)) => (rows, columns),
        [rows, columns] if is_turned && rows > 1 && columns > 1 => (rows, columns),
        _ => (1, 1),
    };
    // Whole rows of a matrix, as long as they are no more than a megabyte.
    let few_rows = ROWS.saturating_mul(columns).saturating_mul(4);
    let piece = if rows > 1 && few_rows <= 16 * PIECE { few_rows } else { PIECE };
    let mut values = Values { to, rows, columns, count: 0 };
    values.reserve(size as usize);
    let mut stretch = Stretch::new(file, entry.place.clone());
    let mut buffer = vec![0; piece.min(size as usize)];
    let mut left = size;
    while left > 0 {
        let bytes = &mut buffer[..left.min(piece as u64) as usize];
        stretch.read_exact(bytes)?;
        digest.update(bytes);
        values.add(bytes);
        left -= bytes.len() as u64;
    }
    Ok(())
}

/// The values of a tensor as they are read; those of a matrix go to their place in the turned one.
struct Values<'a> {
    to: &'a mut KeptTensor,
    rows: usize,
    columns: usize,
    /// The number so far.
    count: usize,
}

impl Values<'_> {
    fn reserve(&mut self, bytes: usize) {
        match &mut self.to {
            // Turned values arrive out of order, so all places must exist.
            KeptTensor::Values(to) if self.rows > 1 => *to = vec![0.0; bytes / 4],
            KeptTensor::Values(to) => to.reserve_exact(bytes / 4),
            KeptTensor::Bytes(to) => to.reserve_exact(bytes),
            KeptTensor::Packed(_) | KeptTensor::Nothing => {}
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        let to = match &mut self.to {
            KeptTensor::Packed(to) => {
                let words = bytes.as_chunks::<4>().0;
                let (first, column) = (self.count / self.columns, self.count % self.columns);
                self.count += words.len();
                if column == 0 && words.len().is_multiple_of(self.columns) {
                    to.set_outputs(first, words);
                } else {
                    for (at, &word) in (self.count - words.len()..).zip(words) {
                        let (output, input) = (at / self.columns, at % self.columns);
                        to.set(output, input, f32::from_le_bytes(word));
                    }
                }
                return;
            }
            KeptTensor::Values(to) => to,
            KeptTensor::Bytes(to) => {
                to.extend_from_slice(bytes);
                return;
            }
            KeptTensor::Nothing => return,
        };
        let words = bytes.as_chunks::<4>().0;
        if self.rows < 2 {
            to.extend(words.iter().map(|&word| f32::from_le_bytes(word)));
            return;
        }
        let first = self.count / self.columns;
        if words.len().is_multiple_of(self.columns) && self.count.is_multiple_of(self.columns) {
            // Column by column, so that what is written lies together.
            for (column, turned) in to.chunks_exact_mut(self.rows).enumerate() {
                let column = words.iter().skip(column).step_by(self.columns);
                for (value, &word) in turned[first..].iter_mut().zip(column) {
                    *value = f32::from_le_bytes(word);
                }
            }
        } else {
            for (at, &word) in (self.count..).zip(words) {
                to[at % self.columns * self.rows + at / self.columns] = f32::from_le_bytes(word);
            }
        }
        self.count += words.len();
    }
}

/// A tensor that is to be written, whose values are asked for one tensor at a time.
pub struct LazyTensor<'a> {
    /// Path of the parameter, such as `layers.0.weight`.
    pub name: Cow<'a, str>,
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Size of each dimension, as a file has it.
    pub shape: Vec<usize>,
    /// Gives its bytes, row by row, in pieces that are not all in memory at once.
    pub bytes: Box<Pieces<'a>>,
}

/// Hands bytes on, piece by piece.
pub type Pieces<'a> = dyn Fn(&mut Piece<'_>) -> Result<(), ModelFileProblem> + 'a;

/// A function that takes a piece of bytes.
pub type Piece<'p> = dyn FnMut(&[u8]) -> Result<(), ModelFileProblem> + 'p;

/// Hands the bytes of numbers on, piece by piece.
///
/// # Errors
///
/// That of `each`.
pub fn give_values(values: &[f32], each: &mut Piece<'_>) -> Result<(), ModelFileProblem> {
    let mut bytes = Vec::with_capacity(PIECE);
    for piece in values.chunks(PIECE / 4) {
        bytes.clear();
        bytes.extend(piece.iter().flat_map(|value| value.to_le_bytes()));
        each(&bytes)?;
    }
    Ok(())
}

impl<'a> LazyTensor<'a> {
    /// Of a tensor in memory.
    pub fn of(tensor: &'a NamedTensor) -> Self {
        Self {
            name: Cow::Borrowed(&tensor.name),
            dtype: Dtype::F32,
            shape: tensor.shape.clone(),
            bytes: Box::new(|each| give_values(&tensor.values, each)),
        }
    }

    /// Returns the size of its values in bytes.
    fn size(&self) -> u64 {
        (self.dtype.bits() / 8 * self.shape.iter().product::<usize>()) as u64
    }
}

/// One entry of a safetensors header.
#[derive(Serialize)]
#[serde(untagged)]
enum HeaderEntry<'a> {
    Metadata(BTreeMap<&'a str, &'a str>),
    Tensor { dtype: Dtype, shape: &'a [usize], data_offsets: [u64; 2] },
}

/// The digest of a document and of these tensors.
pub(crate) fn digest(
    document: &str,
    tensors: &[LazyTensor<'_>],
) -> Result<String, ModelFileProblem> {
    let mut digest = Digest::of(document);
    let mut by_name: Vec<&LazyTensor<'_>> = tensors.iter().collect();
    by_name.sort_unstable_by_key(|tensor| &tensor.name);
    for tensor in by_name {
        digest.tensor(&tensor.name, &tensor.shape, tensor.size());
        let mut count = 0;
        (tensor.bytes)(&mut |bytes| {
            digest.update(bytes);
            count += bytes.len();
            Ok(())
        })?;
        let expected = tensor.size() as usize;
        if count != expected {
            let name = tensor.name.clone().into_owned();
            return Err(ModelFileProblem::Count { name, found: count, expected });
        }
    }
    Ok(digest.finish())
}

/// Returns the beginning of a safetensors file of these tensors, and its digest. Written here
/// because the library's writer orders the metadata at random, and one model must always give one
/// file.
pub(crate) fn head(
    key: &str,
    document: &str,
    tensors: &[LazyTensor<'_>],
) -> Result<(Vec<u8>, String), ModelFileProblem> {
    // Every tensor is read twice, here and by `body`: the digest stands before the values.
    let digest = digest(document, tensors)?;
    let metadata =
        BTreeMap::from([(key, document), (DIGEST_KEY, digest.as_str()), (FORMAT_KEY, FORMAT)]);
    let mut header = BTreeMap::from([("__metadata__", HeaderEntry::Metadata(metadata))]);
    let mut end = 0;
    for tensor in tensors {
        let data_offsets = [end, end + tensor.size()];
        let entry = HeaderEntry::Tensor { dtype: tensor.dtype, shape: &tensor.shape, data_offsets };
        header.insert(&tensor.name, entry);
        end += tensor.size();
    }
    let mut json = serde_json::to_vec(&header)?;
    // Readers may map the file: data starts at a multiple of 8.
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json);
    Ok((file, digest))
}

/// Writes what follows the head.
pub(crate) fn body(tensors: &[LazyTensor<'_>], to: &mut dyn Write) -> Result<(), ModelFileProblem> {
    for tensor in tensors {
        (tensor.bytes)(&mut |bytes| to.write_all(bytes).map_err(ModelFileProblem::Io))?;
    }
    Ok(())
}

/// The digest does not cover these, so each must be one that a writer writes.
fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), ModelFileProblem> {
    for (key, value) in metadata {
        if key != FORMAT_KEY || value != FORMAT {
            let (key, value) = (key.clone(), value.chars().take(40).collect());
            return Err(ModelFileProblem::Metadata { key, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_are_turned_while_they_are_read() {
        // Of some rows at once, of more columns than a piece holds, of one row and of one column.
        for (rows, columns) in [(3, 5), (40, 7), (33, 200), (2, 300_000), (1, 9), (9, 1)] {
            let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let tensor = NamedTensor {
                name: "layers.0.weight".to_owned(),
                shape: vec![rows, columns],
                values,
            };
            let (bytes, _) = pack("k", "1", std::slice::from_ref(&tensor)).unwrap();
            let f32s = |_: &(), _: &str| Dtype::F32;
            let read = |keep| unpack_from("k", &bytes, keep, |_| Ok(()), f32s).unwrap().1.plain;
            assert_eq!(read(Keep::All), [tensor]);
            assert!(read(Keep::Nothing)[0].values.is_empty());
            let turned = &read(Keep::Network)[0].values;
            assert_eq!(turned.len(), rows * columns);
            for (at, value) in turned.iter().enumerate() {
                assert_eq!(*value, (at % rows * columns + at / rows) as f32, "{rows} {columns}");
            }
        }
    }
}
