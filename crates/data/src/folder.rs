//! `idx:FOLDER`: the four files of an MNIST-like set, as a user keeps them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::checksum::read_idx;
use crate::dataset::check_labels;
use crate::load::{Part, TrainTest, classified};
use crate::{DataError, IdxError};

/// Far more than any list of class names; a larger file is not one.
const MAX_LABELS_BYTES: u64 = 1 << 20;

pub(crate) fn load(folder: &Path) -> Result<TrainTest, DataError> {
    let part = |prefixes: &[&str], kind: &str| find(folder, prefixes, kind).and_then(read);
    let train_images = part(&["train"], "images-idx3")?;
    let (train_path, train_ids) = byte_labels(part(&["train"], "labels-idx1")?)?;
    let test_images = part(&["t10k", "test"], "images-idx3")?;
    let (test_path, test_ids) = byte_labels(part(&["t10k", "test"], "labels-idx1")?)?;

    let labels = match read_label_names(folder)? {
        Some(labels) => labels,
        None => numbered(train_ids.iter().chain(&test_ids)),
    };
    let train = classified(train_images, &train_path, train_ids, labels.clone())?;
    let test = classified(test_images, &test_path, test_ids, labels)?;
    if train.shape() != test.shape() {
        let (train, test) = (train.shape().to_vec(), test.shape().to_vec());
        return Err(DataError::ShapeMismatch { train, test });
    }
    Ok(TrainTest { train, test })
}

fn read(path: PathBuf) -> Result<Part, DataError> {
    read_idx(&path).map(|idx| Part { path, idx })
}

/// Only labels of one byte: they bound the number of classes when no `labels.txt` does.
fn byte_labels(labels: Part) -> Result<(PathBuf, Vec<u32>), DataError> {
    if labels.idx.shape.len() > 1 {
        let source = IdxError::NotLabels { shape: labels.idx.shape };
        return Err(DataError::Idx { path: labels.path, source });
    }
    labels.into_class_ids()
}

/// The first file named `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, compressed or not.
fn find(folder: &Path, prefixes: &[&str], kind: &str) -> Result<PathBuf, DataError> {
    let dotted = kind.replace('-', ".");
    let looked_for: Vec<String> = prefixes
        .iter()
        .flat_map(|prefix| [kind, &dotted].map(|kind| format!("{prefix}-{kind}-ubyte")))
        .collect();
    let candidates = looked_for
        .iter()
        .flat_map(|name| ["", ".gz", ".zst"].map(|suffix| folder.join(format!("{name}{suffix}"))));
    match candidates.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => Err(DataError::MissingFile {
            found: list(folder)?,
            folder: folder.to_owned(),
            looked_for,
        }),
    }
}

fn list(folder: &Path) -> Result<Vec<String>, DataError> {
    let entries = fs::read_dir(folder).map_err(DataError::read(folder))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.truncate(20);
    Ok(names)
}

/// The lines of `labels.txt`, if there is one.
fn read_label_names(folder: &Path) -> Result<Option<Vec<String>>, DataError> {
    let path = folder.join("labels.txt");
    if !path.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    let file = File::open(&path).map_err(DataError::read(&path))?;
    file.take(MAX_LABELS_BYTES).read_to_string(&mut text).map_err(DataError::read(&path))?;
    let labels: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    match labels.iter().position(String::is_empty) {
        Some(line) => Err(DataError::EmptyLabelLine { path, line: line + 1 }),
        None => match check_labels(&labels) {
            Ok(()) => Ok(Some(labels)),
            Err(error) => Err(DataError::in_file(&path)(error)),
        },
    }
}

/// Labels "0" to the highest id.
fn numbered<'a>(ids: impl Iterator<Item = &'a u32>) -> Vec<String> {
    (0..=ids.copied().max().unwrap_or(0)).map(|id| id.to_string()).collect()
}
