//! `idx:FOLDER`: the four files of an MNIST-like set, as a user keeps them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::checksum::read_idx;
use crate::dataset::check_labels;
use crate::load::{Part, TrainTest, classified};
use crate::text::{TextError, read_text};

/// The largest class id that is counted up to. Labels of one byte stay below, those of QMNIST too.
const LARGEST_ID: u32 = 9_999;

pub(crate) fn load(folder: &Path) -> Result<TrainTest, DataError> {
    let part = |prefixes: &[&str], kind: &str| find(folder, prefixes, kind).and_then(read);
    let train_images = part(&["train"], "images-idx3")?;
    let (train_path, train_ids) = part(&["train"], "labels-idx1")?.into_class_ids()?;
    let test_images = part(&["t10k", "test"], "images-idx3")?;
    let (test_path, test_ids) = part(&["t10k", "test"], "labels-idx1")?.into_class_ids()?;

    let labels = match read_label_names(folder)? {
        Some(labels) => labels,
        None => {
            let largest = largest(&train_path, &train_ids)?.max(largest(&test_path, &test_ids)?);
            (0..=largest).map(|id| id.to_string()).collect()
        }
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

/// The largest class id, from which classes are counted where no `labels.txt` names them.
fn largest(path: &Path, ids: &[u32]) -> Result<u32, DataError> {
    match ids.iter().copied().max().unwrap_or(0) {
        found if found > LARGEST_ID => {
            Err(DataError::TooManyClasses { path: path.to_owned(), found, most: LARGEST_ID })
        }
        found => Ok(found),
    }
}

/// The first file named `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, compressed or not; or
/// of that name in a folder of that name, as Kaggle packs them.
fn find(folder: &Path, prefixes: &[&str], kind: &str) -> Result<PathBuf, DataError> {
    let dotted = kind.replace('-', ".");
    let looked_for: Vec<String> = prefixes
        .iter()
        .flat_map(|prefix| [kind, &dotted].map(|kind| format!("{prefix}-{kind}-ubyte")))
        .collect();
    let names = || {
        let suffixed = |name| ["", ".gz", ".zst"].map(|suffix| format!("{name}{suffix}"));
        looked_for.iter().flat_map(suffixed)
    };
    let inside = names().map(|name| folder.join(&name).join(&name));
    let candidates = names().map(|name| folder.join(name)).chain(inside);
    if let Some(path) = candidates.into_iter().find(|path| path.is_file()) {
        return Ok(path);
    }
    // It has the name, and is a folder of other files, a pipe or a device.
    if let Some(path) = names().map(|name| folder.join(name)).find(|path| path.exists()) {
        return Err(DataError::NotAFile { path });
    }
    Err(DataError::MissingFile { found: list(folder)?, folder: folder.to_owned(), looked_for })
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
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DataError::read(&path)(error)),
        Ok(_) => {}
    }
    // A link that leads nowhere, a folder or a pipe has the name, and no labels.
    let metadata = fs::metadata(&path).map_err(DataError::read(&path))?;
    if !metadata.is_file() {
        return Err(DataError::NotAFile { path });
    }
    let text = read_text(&path).map_err(|source| match source {
        TextError::Read(source) => DataError::Read { path: path.clone(), source },
        source => DataError::Text { path: path.clone(), source },
    })?;
    let labels: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    match labels.iter().position(String::is_empty) {
        Some(line) => Err(DataError::EmptyLabelLine { path, line: line + 1 }),
        None => match check_labels(&labels) {
            Ok(()) => Ok(Some(labels)),
            Err(error) => Err(DataError::in_file(&path)(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_or_refused_and_never_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let labels = folder.path().join("labels.txt");
        assert_eq!(read_label_names(folder.path()).unwrap(), None);
        fs::write(&labels, "cat\ndog\n").unwrap();
        let found = read_label_names(folder.path()).unwrap();
        assert_eq!(found, Some(vec!["cat".to_owned(), "dog".to_owned()]));
        fs::remove_file(&labels).unwrap();
        fs::create_dir(&labels).unwrap();
        let found = read_label_names(folder.path());
        assert!(matches!(found, Err(DataError::NotAFile { .. })), "{found:?}");
        fs::remove_dir(&labels).unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("gone.txt", &labels).unwrap();
            let found = read_label_names(folder.path());
            assert!(matches!(found, Err(DataError::Read { .. })), "{found:?}");
            fs::remove_file(&labels).unwrap();
            // To open a pipe would wait for somebody to write into it.
            let made = std::process::Command::new("mkfifo").arg(&labels).status().unwrap();
            assert!(made.success());
            let found = read_label_names(folder.path());
            assert!(matches!(found, Err(DataError::NotAFile { .. })), "{found:?}");
        }
    }
}
