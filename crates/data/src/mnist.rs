//! MNIST, bundled: Yann LeCun, Corinna Cortes, Christopher J.C. Burges; CC BY-SA 3.0.

use std::path::PathBuf;

use fireclay_readers::{Zstd, parse_idx};

use crate::set::{IdxFile, TrainTest, classified, digits};
use crate::{DataError, Dataset};

/// Name and compressed bytes of a file.
type Bundled = (&'static str, &'static [u8]);

const FILES: [Bundled; 4] = [
    ("train-images-idx3-ubyte", include_bytes!("../mnist/train-images-idx3-ubyte.zst")),
    ("train-labels-idx1-ubyte", include_bytes!("../mnist/train-labels-idx1-ubyte.zst")),
    ("t10k-images-idx3-ubyte", include_bytes!("../mnist/t10k-images-idx3-ubyte.zst")),
    ("t10k-labels-idx1-ubyte", include_bytes!("../mnist/t10k-labels-idx1-ubyte.zst")),
];

/// Decompresses one file after the other, so that only one decoder's window is alive at a time.
pub(crate) fn load() -> Result<TrainTest, DataError> {
    let [train_images, train_labels, test_images, test_labels] = FILES;
    Ok(TrainTest::new(part(train_images, train_labels)?, part(test_images, test_labels)?))
}

fn part(images: Bundled, labels: Bundled) -> Result<Dataset, DataError> {
    let images = file(images)?;
    let (path, ids) = file(labels)?.into_class_ids()?;
    classified(images, &path, ids, digits())
}

fn file((name, compressed): Bundled) -> Result<IdxFile, DataError> {
    let path = PathBuf::from(format!("bundled {name}"));
    let idx = parse_idx(Zstd::new(compressed), None).map_err(DataError::idx(&path))?;
    Ok(IdxFile { path, idx })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::checksum::sha256;

    #[test]
    fn the_payloads_are_the_published_ones() {
        let sums = [
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ];
        for ((name, compressed), sum) in FILES.into_iter().zip(sums) {
            let mut payload = Vec::new();
            Zstd::new(compressed).read_to_end(&mut payload).unwrap();
            assert_eq!(sha256(&payload), sum, "{name}");
        }
    }

    #[test]
    fn the_bundle_fits_the_registry() {
        // The registry takes crates of up to 10 MiB; the rest of the crate needs some of that.
        let bytes: usize = FILES.iter().map(|(_, compressed)| compressed.len()).sum();
        assert!(bytes < 10 * 1024 * 1024 - 256 * 1024, "{bytes}");
    }
}
