//! Regular files and bytes, read by offset.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// Bytes of a known number that are read by offset.
pub trait ReadAt: Send + Sync {
    /// Returns the number of bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// The file system's, and `UnexpectedEof` if there are not as many bytes.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(buffer.len()));
        match start.zip(end).and_then(|(start, end)| self.get(start..end)) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }
}

/// A file that is one, as long as it was when it was opened.
#[derive(Debug)]
pub struct RegularFile {
    #[cfg(unix)]
    file: File,
    #[cfg(not(unix))]
    file: std::sync::Mutex<File>,
    size: u64,
}

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A folder, device, pipe or socket: it may wait for somebody, or have no end.
    #[error("this is not a regular file")]
    NotAFile,
}

impl RegularFile {
    /// Opens a file to read it.
    ///
    /// # Errors
    ///
    /// An [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        // Looked at first: some devices do something when they are opened.
        if !std::fs::metadata(path)?.is_file() {
            return Err(OpenError::NotAFile);
        }
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            // A pipe that has taken the file's place since then would wait for somebody to write.
            use std::os::unix::fs::OpenOptionsExt;
            options.custom_flags(libc::O_NONBLOCK);
        }
        let file = options.open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(OpenError::NotAFile);
        }
        #[cfg(not(unix))]
        let file = std::sync::Mutex::new(file);
        Ok(Self { file, size: metadata.len() })
    }
}

impl ReadAt for RegularFile {
    fn size(&self) -> u64 {
        self.size
    }

    #[cfg(unix)]
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset)
    }

    #[cfg(not(unix))]
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Seek, SeekFrom};
        let mut file = self.file.lock().map_err(|_| io::ErrorKind::Other)?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}

/// A stretch of a file, read from its beginning to its end.
pub struct Stretch<'a> {
    source: &'a dyn ReadAt,
    place: Range<u64>,
}

impl<'a> Stretch<'a> {
    /// The bytes in this place.
    pub fn new(source: &'a dyn ReadAt, place: Range<u64>) -> Self {
        Self { source, place }
    }
}

impl Read for Stretch<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.place.end.saturating_sub(self.place.start);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.source.read_exact_at(&mut buffer[..count], self.place.start)?;
        self.place.start += count as u64;
        Ok(count)
    }
}

/// The SHA-256 of all bytes, in hexadecimal.
///
/// # Errors
///
/// The file system's.
pub fn sha256(source: &dyn ReadAt) -> io::Result<String> {
    let mut stretch = Stretch::new(source, 0..source.size());
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match stretch.read(&mut piece)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&piece[..count]),
        }
    }
}

/// Bytes in hexadecimal, two digits each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_a_file_of_them_are_read_alike() {
        let bytes: Vec<u8> = (0..100).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, &bytes).unwrap();
        let file = RegularFile::open(&path).unwrap();
        let sources: [&dyn ReadAt; 2] = [&bytes, &file];
        for source in sources {
            assert_eq!(source.size(), 100);
            let mut part = [0; 5];
            source.read_exact_at(&mut part, 95).unwrap();
            assert_eq!(part, [95, 96, 97, 98, 99]);
            for offset in [96, u64::MAX] {
                let error = source.read_exact_at(&mut part, offset).unwrap_err();
                assert_ne!(error.kind(), io::ErrorKind::Interrupted, "{offset}");
            }
            let mut all = Vec::new();
            Stretch::new(source, 3..9).read_to_end(&mut all).unwrap();
            assert_eq!(all, [3, 4, 5, 6, 7, 8]);
            let expected = sha256(&bytes.as_slice()).unwrap();
            assert_eq!(sha256(source).unwrap(), expected);
        }
    }

    #[test]
    fn the_digest_is_that_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&&b"abc"[..]).unwrap(), expected);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(RegularFile::open(folder.path()), Err(OpenError::NotAFile)));
        let missing = folder.path().join("missing");
        assert!(matches!(RegularFile::open(&missing), Err(OpenError::Io(_))));
        #[cfg(unix)]
        {
            let pipe = folder.path().join("pipe");
            let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
            assert!(made.success());
            for path in [pipe.as_path(), Path::new("/dev/zero")] {
                assert!(matches!(RegularFile::open(path), Err(OpenError::NotAFile)), "{path:?}");
            }
            let socket = folder.path().join("socket");
            let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
            assert!(matches!(RegularFile::open(&socket), Err(OpenError::NotAFile)));
        }
    }
}
