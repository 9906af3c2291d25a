//! Files as they are read: known in size.

use std::io::Read;
use std::path::Path;

use fireclay_files::{ReadAt, RegularFile, Stretch};

use super::ModelFileProblem;

/// Opens a regular file; a device or a pipe might never end.
///
/// # Errors
///
/// The file system's, and [`ModelFileProblem::NotAFile`].
pub fn open(path: &Path) -> Result<RegularFile, ModelFileProblem> {
    let file = RegularFile::open(path)?;
    log::info!("opened {}, {} bytes", path.display(), file.size());
    Ok(file)
}

/// Reads a file of known size; a device or a pipe might never end.
///
/// # Errors
///
/// The file system's, and [`ModelFileProblem::NotAFile`].
pub fn read_regular_file(path: &Path) -> Result<Vec<u8>, ModelFileProblem> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    Stretch::new(&file, 0..file.size()).read_to_end(&mut bytes)?;
    Ok(bytes)
}
