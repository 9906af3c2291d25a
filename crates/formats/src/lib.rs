//! Tensors, and what is known of the network they belong to, from the files of other programs.
//!
//! [`read`] detects the kind of a file by its content and returns an [`Archive`]. The file may come from a
//! stranger: nothing in it is executed, every size is checked against the bytes present before
//! anything is allocated for it, and whatever is malformed, hostile or not understood is a
//! [`FormatError`] that names the file. No other file is opened, but those within its own folder
//! that an ONNX model names for its numbers.
//!
//! The *meaning* of the tensors for a Fireclay network is not decided here: `finetune` does that.

mod archive;
mod burn;
mod bytes;
mod classes;
mod error;
mod foreign;
mod hdf5;
mod keras;
mod names;
mod numbers;
mod numpy;
mod onnx;
mod pytorch;
mod safetensors;
mod store;
mod stranger;
mod zipped;

pub use archive::{
    Activation, Archive, ElementType, Kind, Layer, Layout, Network, Norm, OutputKind, Tensor,
};
pub use error::{FormatError, Holding, Problem};
pub use stranger::{not_a_model, not_an_adapter};

use std::path::Path;
use std::sync::Arc;

use fireclay_files::{ReadAt, RegularFile};

use store::Part;

/// The key that stands for all tensors of a file.
pub const WHOLE: &str = ".";

/// The most bytes that a file may have.
pub const LARGEST_FILE: u64 = 16 << 30;

/// Reads a file of any kind that is known.
///
/// # Errors
///
/// A [`FormatError`] that names the file and what is wrong with it.
pub fn read(path: impl AsRef<Path>) -> Result<Archive, FormatError> {
    let path = path.as_ref();
    check_name(path)
        .and_then(|()| open(path))
        .and_then(|file| from_file(path, &file, None))
        .map_err(|problem| FormatError { path: path.to_owned(), problem })
}

/// Opens a file that may be read: a regular one, and not too large.
///
/// # Errors
///
/// The file system's, and [`Problem::NotAFile`] or [`Problem::Limit`] for what is not read.
pub fn open(path: &Path) -> Result<Arc<RegularFile>, Problem> {
    let file = RegularFile::open(path).map_err(|error| {
        foreign::opened_folder(path).map_or_else(|| error.into(), Problem::from)
    })?;
    let found = file.size();
    if found > LARGEST_FILE {
        return Err(Problem::Limit { what: "the file", found, most: LARGEST_FILE });
    }
    log::info!("opened {}, {found} bytes", path.display());
    Ok(Arc::new(file))
}

/// Reads what the file of this path has under a key, as [`from_bytes_at`] does. An ONNX model may
/// have its numbers in other files of the same folder.
///
/// Numbers are left where they are until they are asked for, so that a file takes no memory to
/// speak of.
///
/// # Errors
///
/// A [`Problem`], as for [`from_bytes_at`].
pub fn from_file(
    path: &Path,
    file: &Arc<RegularFile>,
    key: Option<&str>,
) -> Result<Archive, Problem> {
    chosen(&Part::from(Arc::clone(file)), Some(path), key)
}

/// Reads the bytes of a file of any kind that is known.
///
/// # Errors
///
/// A [`Problem`], as for [`read`].
pub fn from_bytes(bytes: &[u8]) -> Result<Archive, Problem> {
    from_bytes_at(bytes, None)
}

/// Reads what the bytes of a file of any kind that is known have under a key: in a checkpoint of
/// PyTorch the keys on the way to a state dictionary, joined by dots, or the last of them; in any
/// file the beginning of the names of tensors, up to a dot or a slash. [`WHOLE`] stands for all.
///
/// # Errors
///
/// A [`Problem`], as for [`read`]; [`Problem::NoKey`] if there is nothing under this key, and
/// [`Problem::Several`] if there are several networks and no key.
pub fn from_bytes_at(bytes: &[u8], key: Option<&str>) -> Result<Archive, Problem> {
    chosen(&Part::from(bytes.to_vec()), None, key)
}

/// Reads what a file has under a key; it lies here if it has a path.
fn chosen(file: &Part, path: Option<&Path>, key: Option<&str>) -> Result<Archive, Problem> {
    let archive = read_kind(file, path, key)?;
    match key {
        // The dictionaries of PyTorch are chosen from as they are read.
        Some(key) if archive.kind != Kind::PyTorch => names::choose(archive, key),
        _ => Ok(archive),
    }
}

/// Reads a file of the kind that its beginning shows.
fn read_kind(file: &Part, path: Option<&Path>, key: Option<&str>) -> Result<Archive, Problem> {
    let beginning = file.beginning()?;
    // First, for the size that it begins with may look like the beginning of another kind.
    if safetensors::is_safetensors(beginning) {
        return safetensors::read(file);
    }
    if zipped::is_zip(beginning) {
        return from_zip(file, key);
    }
    if pytorch::is_pickle(beginning) {
        return pytorch::read_legacy(file, key);
    }
    if burn::is_record(beginning) {
        return burn::read(file);
    }
    if beginning.starts_with(hdf5::SIGNATURE) {
        return keras::from_hdf5(file);
    }
    if numpy::is_npy(beginning) {
        return numpy::read_npy(file);
    }
    if let Some(words) = foreign::name(file)? {
        return Err(words.into());
    }
    // Last, for nothing but its fields shows its kind.
    if onnx::is_model(file)? {
        return onnx::read(file, path);
    }
    Err(Problem::unknown(beginning))
}

/// Reads a zip archive of one of the programs that write one.
fn from_zip(file: &Part, key: Option<&str>) -> Result<Archive, Problem> {
    let zipped = zipped::Zipped::open("zip", file)?;
    if pytorch::is_in(&zipped) {
        return pytorch::read_zip(&zipped, key);
    }
    if keras::is_keras(&zipped) {
        return keras::from_zip(&zipped);
    }
    if numpy::is_npz(&zipped) {
        return numpy::read_npz(&zipped);
    }
    Err(foreign::zip(&zipped).into())
}

/// Refuses a file whose name says that it is one part of several, such as
/// `model-00001-of-00003.safetensors`, for it may look like a whole network.
///
/// # Errors
///
/// [`Problem::Part`], or [`Problem::Foreign`] for a part of TensorFlow's.
pub fn check_name(path: &Path) -> Result<(), Problem> {
    foreign::part(path).map_or(Ok(()), Err)
}

/// Names the kind of a folder that programs keep a model in, as [`Problem::Foreign`].
pub fn folder(path: &Path) -> Option<Problem> {
    foreign::folder(path).map(Problem::from)
}

/// Reads a whole file, which must be a regular one.
///
/// # Errors
///
/// As for [`open`].
pub fn whole_file(path: &Path) -> Result<Vec<u8>, Problem> {
    Ok(Part::from(open(path)?).read()?)
}
