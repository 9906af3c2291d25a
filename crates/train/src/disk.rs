//! The file system as a run uses it: what a run writes, and what it resumes from.
//!
//! Each error names the file. Tests make a disk that fails at the n-th operation.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use fireclay::model_file::{WriteStep, write_whole_in_steps};
use fireclay_files::{check_file_place, read_regular};
use fireclay_terminal::counted;

/// Something that a disk is asked to do.
#[derive(Debug)]
pub enum Operation<'a> {
    /// Make or open a file or folder.
    Open,
    /// Write these bytes to a file.
    Write(&'a mut File, &'a [u8]),
    /// Read a file.
    Read,
    /// Flush a file or folder to disk.
    Flush,
    /// Give a file its name.
    Rename,
    /// Remove a file.
    Remove,
    /// Shorten a file.
    Truncate,
}

type Before = dyn Fn(Operation<'_>) -> io::Result<()> + Send + Sync;

/// A disk; clones are the same one.
#[derive(Clone, Default)]
pub struct Disk {
    before: Option<Arc<Before>>,
}

impl Disk {
    /// A disk on which `before` is called before each operation and can fail in its place.
    pub fn with(before: impl Fn(Operation<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { before: Some(Arc::new(before)) }
    }

    fn before(&self, operation: Operation<'_>) -> io::Result<()> {
        self.before.as_ref().map_or(Ok(()), |before| before(operation))
    }

    /// Writes a file whole or not at all, and flushes it and its folder.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut before = |step: WriteStep<'_>| {
            self.before(match step {
                WriteStep::Open => Operation::Open,
                WriteStep::Write(file) => Operation::Write(file, bytes),
                WriteStep::Flush | WriteStep::FlushFolder => Operation::Flush,
                WriteStep::Rename => Operation::Rename,
            })
        };
        let written =
            check_file_place(path).and_then(|()| write_whole_in_steps(path, bytes, &mut before));
        written.map_err(named(path))
    }

    /// Asks whether a file can be read that is not read by this.
    ///
    /// # Errors
    ///
    /// That of a disk that fails.
    pub fn may_read(&self) -> io::Result<()> {
        self.before(Operation::Read)
    }

    /// Reads a regular file of at most `most` bytes.
    ///
    /// # Errors
    ///
    /// The file system's, and those of [`read_regular`]. They do not name the file: the caller says
    /// what it is to it.
    pub fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        self.before(Operation::Read).and_then(|()| read_regular(path, most))
    }

    /// Makes a folder unless it exists, and flushes its parent.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        self.new_folder(path).map_err(named(path))
    }

    /// Makes a folder that is not there yet, and flushes the one that it is in.
    ///
    /// # Errors
    ///
    /// The file system's, which alone does not name the folder; `AlreadyExists` if it is there.
    pub fn new_folder(&self, path: &Path) -> io::Result<()> {
        self.before(Operation::Open)?;
        fs::create_dir(path)?;
        let flushed = self.before(Operation::Flush).and_then(|()| flush_parent(path));
        // What may be gone tomorrow is not made.
        flushed.inspect_err(|_| drop(fs::remove_dir(path)))
    }

    /// Removes a file; one that is gone is fine.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.before(Operation::Remove).and_then(|()| fs::remove_file(path));
        log::debug!("removed {}", path.display());
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(named(path)),
        }
    }

    /// Opens a file to write at its end; its first `keep` bytes stay.
    ///
    /// # Errors
    ///
    /// The file system's; `InvalidData` if the file is shorter than that.
    pub fn open_end(&self, path: &Path, keep: u64) -> io::Result<File> {
        self.opened_end(path, keep).map_err(named(path))
    }

    fn opened_end(&self, path: &Path, keep: u64) -> io::Result<File> {
        self.before(Operation::Open)?;
        check_file_place(path)?;
        let before = fs::metadata(path).ok().map(|metadata| metadata.len());
        let found = before.unwrap_or(0);
        if found < keep {
            let message = shortened(before, keep);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let file = File::options().create(true).append(true).open(path)?;
        if found > keep {
            self.before(Operation::Truncate)?;
            file.set_len(keep)?;
        }
        log::info!("writing to {}, after {keep} bytes", path.display());
        Ok(file)
    }

    /// Writes at the end of a file.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.before(Operation::Write(file, bytes))?;
        file.write_all(bytes)
    }

    /// Flushes a file to disk.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn flush(&self, file: &File) -> io::Result<()> {
        self.before(Operation::Flush)?;
        file.sync_data()
    }
}

/// What is wrong with a file that has fewer bytes than it had, or none as it is gone.
pub(crate) fn shortened(found: Option<u64>, least: u64) -> String {
    match found {
        Some(found) => {
            format!("it has {} and had {least}: it was shortened", counted(found, "byte"))
        }
        None => format!("it is missing, and had {}", counted(least, "byte")),
    }
}

/// Bytes of the largest settings file that is read.
pub const MOST_SETTINGS: u64 = 1 << 20;
/// Bytes of the largest list of labels that is read.
pub const MOST_LABELS: u64 = 1 << 24;
/// Bytes of the largest manifest that is read.
pub const MOST_MANIFEST: u64 = 1 << 26;
/// Bytes of the largest log of measurements that is read.
pub const MOST_LOG: u64 = 1 << 30;

/// As [`read_regular`], of a text, without the byte order mark that some editors begin it with.
///
/// # Errors
///
/// As for [`read_regular`], and `InvalidData` for what is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let bytes = read_regular(path, most)?;
    let text = fireclay_data::decode_text(&bytes);
    text.map(str::to_owned).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Names the file of an error.
pub(crate) fn named(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(unix)]
fn flush_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(not(unix))]
fn flush_parent(_path: &Path) -> io::Result<()> {
    Ok(())
}
