//! Reading files and comparing them, in the same pass, with published checksums.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use fireclay_files::hex;
use fireclay_readers::{Compression, Idx, IdxRows, decompress};
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::DataError;

/// The published checksum of a file, in lower-case hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Nothing.
    Unknown,
    /// SHA-256 of the decompressed bytes: holds however the file is compressed.
    Contents(&'static str),
    /// SHA-256 of the file as it is published.
    FileSha256(&'static str),
    /// MD5 of the file as it is published; guards against damage, not against malice.
    FileMd5(&'static str),
}

/// Reads an IDX file that is plain or compressed with gzip or zstd, detected by the contents.
///
/// # Errors
///
/// [`DataError::Read`] if the file cannot be opened, [`DataError::NotAFile`] if it is a folder, a pipe
/// or a device, [`DataError::Idx`] if it is malformed.
pub fn read_idx(path: &Path) -> Result<Idx, DataError> {
    read_verified(path, Checksum::Unknown)
}

/// Reads an IDX file and compares it with `checksum`.
///
/// The sum of a published gzip file says nothing about a copy that was decompressed or packed
/// differently by hand: such a copy is held to the format alone.
pub(crate) fn read_verified(path: &Path, checksum: Checksum) -> Result<Idx, DataError> {
    let (file, packed) = open_regular(path)?;
    let (mut of_file, mut of_contents) = checksum.hashers();

    let file = BufReader::new(Hashing { source: file, hasher: &mut of_file });
    let (compression, contents) = decompress(file).map_err(DataError::read(path))?;
    let contents = Hashing { source: contents, hasher: &mut of_contents };
    let length = (compression == Compression::Plain).then_some(packed);
    let mut rows = IdxRows::new(contents, length).map_err(DataError::idx(path))?;
    if length.is_none() {
        rows.check_packed(packed).map_err(DataError::idx(path))?;
    }
    let values = rows.next_rows(usize::MAX).map_err(DataError::idx(path))?;
    rows.end().map_err(DataError::idx(path))?;
    let idx = Idx { shape: rows.shape(), values };
    drop(rows);
    log::info!("read {}, {:?}", path.display(), idx.shape);

    let found = match checksum {
        Checksum::Contents(_) => of_contents,
        _ if compression == Compression::Gzip => of_file,
        _ => Hasher::None,
    };
    checksum.compare(path, found)?;
    Ok(idx)
}

/// Opens a file of known size, and says how large it is. Looked at first: to open a pipe would wait
/// for somebody to write into it, and a device never ends.
fn open_regular(path: &Path) -> Result<(File, u64), DataError> {
    let metadata = std::fs::metadata(path).map_err(DataError::read(path))?;
    if !metadata.is_file() {
        return Err(DataError::NotAFile { path: path.to_owned() });
    }
    Ok((File::open(path).map_err(DataError::read(path))?, metadata.len()))
}

/// Compares the bytes of a file, whatever they are, with `checksum`.
pub(crate) fn verify_file(path: &Path, checksum: Checksum) -> Result<(), DataError> {
    let file = File::open(path).map_err(DataError::read(path))?;
    let (mut of_file, _) = checksum.hashers();
    let mut file =
        BufReader::with_capacity(1 << 16, Hashing { source: file, hasher: &mut of_file });
    io::copy(&mut file, &mut io::sink()).map_err(DataError::read(path))?;
    checksum.compare(path, of_file)
}

impl Checksum {
    fn hex(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Contents(hex) | Self::FileSha256(hex) | Self::FileMd5(hex) => hex,
        }
    }

    /// Hashers for the bytes of the file and for its decompressed contents.
    fn hashers(self) -> (Hasher, Hasher) {
        match self {
            Self::Unknown => (Hasher::None, Hasher::None),
            Self::Contents(_) => (Hasher::None, Hasher::Sha256(Sha256::new())),
            Self::FileSha256(_) => (Hasher::Sha256(Sha256::new()), Hasher::None),
            Self::FileMd5(_) => (Hasher::Md5(Md5::new()), Hasher::None),
        }
    }

    fn compare(self, path: &Path, hasher: Hasher) -> Result<(), DataError> {
        match hasher.finish() {
            Some(found) if found != self.hex() => Err(DataError::Checksum {
                path: path.to_owned(),
                expected: self.hex().to_owned(),
                found,
            }),
            _ => Ok(()),
        }
    }
}

enum Hasher {
    None,
    Sha256(Sha256),
    Md5(Md5),
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Md5(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Sha256(hasher) => Some(hex(&hasher.finalize())),
            Self::Md5(hasher) => Some(hex(&hasher.finalize())),
        }
    }
}

/// Passes bytes on and hashes them.
struct Hashing<'a, R> {
    source: R,
    hasher: &'a mut Hasher,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// SHA-256 in hexadecimal.
#[cfg(test)]
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn published_sums_of_abc() {
        // RFC 1321, appendix A.5, and FIPS 180-2, appendix B.1.
        let md5 = "900150983cd24fb0d6963f7d28e17f72";
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for checksum in [Checksum::FileMd5(md5), Checksum::FileSha256(sha256)] {
            verify_file(file(b"abc").path(), checksum).unwrap();
            let other = verify_file(file(b"abd").path(), checksum);
            assert!(matches!(other, Err(DataError::Checksum { .. })), "{checksum:?}");
        }
    }

    #[test]
    fn the_sum_of_a_gzip_file_is_not_asked_of_a_plain_copy() {
        let plain = file(&[0, 0, 8, 1, 0, 0, 0, 1, 5]);
        assert!(read_verified(plain.path(), Checksum::FileSha256("00")).is_ok());
        let contents = read_verified(plain.path(), Checksum::Contents("00"));
        assert!(matches!(contents, Err(DataError::Checksum { .. })));
    }
}
