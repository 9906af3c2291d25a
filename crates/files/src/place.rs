//! Regular files by their paths.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Reads a regular file of at most `most` bytes; a pipe or a device may have no end.
///
/// # Errors
///
/// The file system's; `InvalidInput` for what is no regular file, and for a longer one. They do not
/// name the file.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // A link to nothing is no file that is missing, which some callers do without.
    check_file_place(path)?;
    let length = fs::metadata(path)?.len();
    if length > most {
        return Err(invalid(&format!("it has {length} bytes; at most {most} are read")));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(length).read_to_end(&mut bytes)?;
    log::info!("read {}, {} bytes", path.display(), bytes.len());
    Ok(bytes)
}

/// Checks that this place has a regular file, or nothing at all; it is not opened, which waits for
/// ever at a pipe.
///
/// # Errors
///
/// `InvalidInput` for a folder, pipe, socket or device, and for a link to nothing.
pub fn check_file_place(path: &Path) -> io::Result<()> {
    match (fs::symlink_metadata(path), fs::metadata(path)) {
        (_, Ok(metadata)) if metadata.is_file() => Ok(()),
        (_, Ok(metadata)) => {
            Err(invalid(&format!("this is {}, not a regular file", kind(metadata.file_type()))))
        }
        (Ok(_), Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            Err(invalid("this is a link to a file that does not exist"))
        }
        // Opening it gives the same error, with the name of the file.
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn kind(file_type: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if file_type.is_dir() {
        "a folder"
    } else if file_type.is_fifo() {
        "a named pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn kind(file_type: fs::FileType) -> &'static str {
    if file_type.is_dir() { "a folder" } else { "a device" }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message.to_owned())
}
