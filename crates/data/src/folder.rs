//! `idx:FOLDER`: the four files of an MNIST-like set, or of a regression, as a user keeps them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::checksum::read_idx;
use crate::dataset::check_labels;
use crate::idx::IdxValues;
use crate::load::{Part, TrainTest, check_rows, classified};
use crate::text::{TextError, read_text};
use crate::{DataError, Dataset, Targets};

/// The largest class id that is counted up to. Labels of one byte stay below, those of QMNIST too.
const LARGEST_ID: u32 = 9_999;

/// The files that hold rows: pictures of bytes, or numbers.
const ROWS: [&str; 2] = ["images-idx3-ubyte", "features-idx2-float"];
/// The files that hold what is right: classes, or the numbers of a regression.
const ANSWERS: [&str; 3] = ["labels-idx1-ubyte", "targets-idx2-float", "targets-idx1-float"];

pub(crate) fn load(folder: &Path) -> Result<TrainTest, DataError> {
    let part = |prefixes: &[&str], kinds: &[&str]| find(folder, prefixes, kinds).and_then(read);
    let train = (part(&["train"], &ROWS)?, part(&["train"], &ANSWERS)?);
    let tests: &[&str] = &["t10k", "test"];
    let test = (part(tests, &ROWS)?, part(tests, &ANSWERS)?);
    let names = read_label_names(folder)?;
    let is_of_numbers = |part: &Part| matches!(part.idx.values, IdxValues::Floats(_));
    let data = match (is_of_numbers(&train.1), is_of_numbers(&test.1)) {
        (false, false) => of_classes(train, test, names),
        (true, true) => of_numbers(train, test, names),
        _ => Err(DataError::MixedTargets { folder: folder.to_owned() }),
    }?;
    if data.train.shape() != data.test.shape() {
        let (train, test) = (data.train.shape().to_vec(), data.test.shape().to_vec());
        return Err(DataError::ShapeMismatch { train, test });
    }
    Ok(data)
}

/// Rows and what is right of them.
type Parts = (Part, Part);

fn of_classes(
    train: Parts,
    test: Parts,
    names: Option<Vec<String>>,
) -> Result<TrainTest, DataError> {
    let ((train_rows, train), (test_rows, test)) = (train, test);
    let (train_path, train_ids) = train.into_class_ids()?;
    let (test_path, test_ids) = test.into_class_ids()?;
    let labels = match names {
        Some(labels) => labels,
        None => {
            let largest = largest(&train_path, &train_ids)?.max(largest(&test_path, &test_ids)?);
            (0..=largest).map(|id| id.to_string()).collect()
        }
    };
    let train = classified(train_rows, &train_path, train_ids, labels.clone())?;
    let test = classified(test_rows, &test_path, test_ids, labels)?;
    Ok(TrainTest { train, test })
}

fn of_numbers(
    train: Parts,
    test: Parts,
    names: Option<Vec<String>>,
) -> Result<TrainTest, DataError> {
    let columns = train.1.idx.shape.get(1).copied().unwrap_or(1);
    let names = names.unwrap_or_else(|| (0..columns).map(|column| column.to_string()).collect());
    let valued = |(rows, Part { path, idx }): Parts| {
        check_rows(&rows, &path, idx.shape[0])?;
        let (found, values) = idx.into_targets().map_err(DataError::idx(&path))?;
        if found != names.len() {
            return Err(DataError::TargetColumns { path, found, expected: names.len() });
        }
        let (shape, features) = rows.idx.into_features().map_err(DataError::idx(&rows.path))?;
        let targets = Targets::Values { values, names: names.clone() };
        Dataset::new(shape, features, targets).map_err(DataError::in_file(&path))
    };
    Ok(TrainTest { train: valued(train)?, test: valued(test)? })
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

/// The first file named `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, or as another of these
/// kinds, compressed or not; or of that name in a folder of that name, as Kaggle packs them.
fn find(folder: &Path, prefixes: &[&str], kinds: &[&str]) -> Result<PathBuf, DataError> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut looked_for = Vec::new();
    for kind in kinds {
        let dotted = kind.replacen('-', ".", 1);
        let of_kind: Vec<String> = prefixes
            .iter()
            .flat_map(|prefix| [kind, dotted.as_str()].map(|kind| format!("{prefix}-{kind}")))
            .collect();
        found.extend(find_named(folder, &of_kind)?);
        looked_for.extend(of_kind);
    }
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    match &found[..] {
        [path] => Ok(path.clone()),
        [first, second, ..] => Err(DataError::TwoFiles {
            folder: folder.to_owned(),
            first: name(first).unwrap_or_default(),
            second: name(second).unwrap_or_default(),
        }),
        [] => {
            let found = list(folder)?;
            Err(DataError::MissingFile { found, folder: folder.to_owned(), looked_for })
        }
    }
}

/// The first file with one of these names.
fn find_named(folder: &Path, looked_for: &[String]) -> Result<Option<PathBuf>, DataError> {
    let names = || {
        let suffixed = |name| ["", ".gz", ".zst"].map(|suffix| format!("{name}{suffix}"));
        looked_for.iter().flat_map(suffixed)
    };
    let inside = names().map(|name| folder.join(&name).join(&name));
    let candidates = names().map(|name| folder.join(name)).chain(inside);
    if let Some(path) = candidates.into_iter().find(|path| path.is_file()) {
        return Ok(Some(path));
    }
    // It has the name, and is a folder of other files, a pipe or a device.
    match names().map(|name| folder.join(name)).find(|path| path.exists()) {
        Some(path) => Err(DataError::NotAFile { path }),
        None => Ok(None),
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
