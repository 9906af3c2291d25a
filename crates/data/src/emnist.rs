//! EMNIST: one archive for all splits, images stored transposed, letters counted from 1.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use fireclay_readers::{IdxValues, decompress, parse_idx};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::cache::{Cache, Origin};
use crate::checksum::{Checksum, verify_file};
use crate::set::{IdxFile, TrainTest, classified, digits};
use crate::{DataError, Dataset, EmnistSplit};

pub(crate) const ARCHIVE: Origin = Origin {
    folder: "emnist",
    shared_folder: None,
    mirrors: &["https://biometrics.nist.gov/cs_links/EMNIST/"],
};
const ARCHIVE_NAME: &str = "gzip.zip";
const ARCHIVE_SUM: Checksum =
    Checksum::FileSha256("fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e");

/// Loads one split from the archive, fetching the archive (560 MB) if it is not there.
pub(crate) fn load(split: EmnistSplit, cache: &mut Cache<'_>) -> Result<TrainTest, DataError> {
    cache.obtain(ARCHIVE_NAME, |path| {
        verify_file(path, ARCHIVE_SUM)?;
        read_split(path, split)
    })
}

fn read_split(archive: &Path, split: EmnistSplit) -> Result<TrainTest, DataError> {
    Ok(TrainTest::new(read_part(archive, split, "train")?, read_part(archive, split, "test")?))
}

fn read_part(archive: &Path, split: EmnistSplit, part: &str) -> Result<Dataset, DataError> {
    let mut images = read_member(archive, &format!("emnist-{split}-{part}-images-idx3-ubyte.gz"))?;
    upright(&mut images)?;
    let labels = read_member(archive, &format!("emnist-{split}-{part}-labels-idx1-ubyte.gz"))?;
    let (path, mut ids) = labels.into_class_ids()?;
    if split == EmnistSplit::Letters {
        count_from_zero(&mut ids).map_err(DataError::in_file(&path))?;
    }
    classified(images, &path, ids, labels_of(split))
}

/// Reads one member as a stream. Its CRC is compared by the archive reader at its end, up to which
/// [`parse_idx`] reads.
fn read_member(archive: &Path, name: &str) -> Result<IdxFile, DataError> {
    let member = format!("gzip/{name}");
    let zip_error = |source: ZipError| DataError::Archive {
        path: archive.to_owned(),
        member: member.clone(),
        source,
    };
    let file = File::open(archive).map_err(DataError::read(archive))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(zip_error)?;
    let compressed = zip.by_name(&member).map_err(zip_error)?;
    let path = archive.join(&member);
    let (_, contents) =
        decompress(BufReader::new(compressed)).map_err(|error| zip_error(error.into()))?;
    let idx = parse_idx(contents, None).map_err(DataError::idx(&path))?;
    log::info!("read {}, {:?}", path.display(), idx.shape);
    Ok(IdxFile { path, idx })
}

/// Swaps rows and columns of each image, in place.
fn upright(images: &mut IdxFile) -> Result<(), DataError> {
    let side = match images.idx.shape.as_slice() {
        &[_, rows, columns] if rows == columns => rows,
        shape => {
            let error = DataError::NotSquare { shape: shape.iter().skip(1).copied().collect() };
            return Err(DataError::in_file(&images.path)(error));
        }
    };
    if let IdxValues::Bytes(pixels) = &mut images.idx.values {
        pixels.chunks_exact_mut(side * side).for_each(|image| transpose(image, side));
    }
    Ok(())
}

fn transpose(image: &mut [u8], side: usize) {
    for row in 0..side {
        for column in 0..row {
            image.swap(row * side + column, column * side + row);
        }
    }
}

fn count_from_zero(ids: &mut [u32]) -> Result<(), DataError> {
    for (row, id) in ids.iter_mut().enumerate() {
        *id = id.checked_sub(1).ok_or(DataError::ZeroLabel { row })?;
    }
    Ok(())
}

/// A name for each letter.
fn names(letters: &str) -> Vec<String> {
    letters.chars().map(String::from).collect()
}

fn labels_of(split: EmnistSplit) -> Vec<String> {
    let upper = names("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    match split {
        EmnistSplit::Digits | EmnistSplit::Mnist => digits(),
        EmnistSplit::Letters => upper,
        EmnistSplit::ByClass => [digits(), upper, names("abcdefghijklmnopqrstuvwxyz")].concat(),
        // Lower-case letters that look like their upper case are merged with it.
        EmnistSplit::Balanced | EmnistSplit::ByMerge => {
            [digits(), upper, names("abdefghnqrt")].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::{Features, IdxError, Targets};

    /// An archive with one 2x2 image per label in each part of the letters.
    fn archive(labels: &[u8], side: u8) -> tempfile::NamedTempFile {
        let count = labels.len() as u8;
        let mut images = vec![0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 2, 0, 0, 0, side];
        images.extend((0..count * 2 * side).collect::<Vec<u8>>());
        let labels = [&[0, 0, 8, 1, 0, 0, 0, count], labels].concat();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut zip = ZipWriter::new(file.reopen().unwrap());
        for part in ["train", "test"] {
            for (kind, bytes) in [("images-idx3", &images), ("labels-idx1", &labels)] {
                let name = format!("gzip/emnist-letters-{part}-{kind}-ubyte.gz");
                zip.start_file(name, SimpleFileOptions::default()).unwrap();
                let mut gzip = GzEncoder::new(&mut zip, Compression::default());
                gzip.write_all(bytes).unwrap();
                gzip.finish().unwrap();
            }
        }
        zip.finish().unwrap();
        file
    }

    #[test]
    fn images_are_put_upright_and_letters_count_from_zero() {
        let set = read_split(archive(&[1, 26], 2).path(), EmnistSplit::Letters).unwrap().train;
        assert_eq!(set.features(), &Features::Bytes(vec![0, 2, 1, 3, 4, 6, 5, 7]));
        let labels = labels_of(EmnistSplit::Letters);
        assert_eq!(set.targets(), &Targets::Classes { ids: vec![0, 25], labels });
    }

    #[test]
    fn malformed_members_are_typed_errors() {
        let check = |labels: &[u8], side: u8, split: EmnistSplit| {
            read_split(archive(labels, side).path(), split).unwrap_err()
        };
        let zero = check(&[0], 2, EmnistSplit::Letters);
        assert!(matches!(zero, DataError::InFile { source, .. }
            if matches!(*source, DataError::ZeroLabel { row: 0 })));
        let oblong = check(&[1], 3, EmnistSplit::Letters);
        assert!(matches!(oblong, DataError::InFile { source, .. }
            if matches!(*source, DataError::NotSquare { .. })));
        let absent = check(&[1], 2, EmnistSplit::Digits);
        assert!(matches!(absent, DataError::Archive { source: ZipError::FileNotFound, .. }));
    }

    #[test]
    fn a_damaged_archive_is_an_error() {
        let whole = std::fs::read(archive(&[1; 9], 2).path()).unwrap();
        // In the compressed bytes of the first member, past its header.
        let mut damaged = whole.clone();
        damaged[90] ^= 0xFF;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), damaged).unwrap();
        let found = read_split(file.path(), EmnistSplit::Letters);
        assert!(
            matches!(
                found,
                Err(DataError::Idx { source: IdxError::Stream(_), .. } | DataError::Archive { .. })
            ),
            "{found:?}"
        );
    }

    #[test]
    fn every_split_names_its_classes() {
        let counts = [
            (EmnistSplit::Balanced, 47),
            (EmnistSplit::Letters, 26),
            (EmnistSplit::Digits, 10),
            (EmnistSplit::ByClass, 62),
            (EmnistSplit::ByMerge, 47),
            (EmnistSplit::Mnist, 10),
        ];
        for (split, count) in counts {
            assert_eq!(labels_of(split).len(), count, "{split}");
        }
        assert_eq!(labels_of(EmnistSplit::ByClass)[36], "a");
        assert_eq!(labels_of(EmnistSplit::Balanced)[46], "t");
    }
}
