//! `idx:FOLDER`: the four files of an MNIST-like set, or of a regression, as a user keeps them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fireclay_readers::{IdxValues, TextError, read_text};

use crate::checksum::read_idx;
use crate::dataset::check_labels;
use crate::set::{IdxFile, TrainTest, check_rows, classified, features};
use crate::{DataError, Dataset, Targets};

/// The largest class id that is counted up to. Labels of one byte stay below, those of QMNIST too.
const LARGEST_ID: u32 = 9_999;

/// The files that hold rows: pictures of bytes, or numbers.
const ROWS: [&str; 2] = ["images-idx3-ubyte", "features-idx2-float"];
/// The files that hold answers: classes, or the numbers of a regression.
const ANSWERS: [&str; 3] = ["labels-idx1-ubyte", "targets-idx2-float", "targets-idx1-float"];

pub(crate) fn load(folder: &Path) -> Result<TrainTest, DataError> {
    let train = files(folder, &["train"])?;
    let test = files(folder, &["t10k", "test"])?;
    let names = read_label_names(folder)?;
    let [of_train, of_test] =
        [&train.1, &test.1].map(|answers| matches!(answers.idx.values, IdxValues::Floats(_)));
    if of_train != of_test {
        return Err(DataError::MixedTargets { folder: folder.to_owned() });
    }
    let data =
        if of_train { of_numbers(train, test, names) } else { of_classes(train, test, names) }?;
    if data.train.shape() != data.test.shape() {
        let (train, test) = (data.train.shape().to_vec(), data.test.shape().to_vec());
        return Err(DataError::ShapeMismatch { train, test });
    }
    Ok(data)
}

/// Rows and their answers.
type Files = (IdxFile, IdxFile);

/// Reads the rows and the answers of the part with one of these prefixes.
fn files(folder: &Path, prefixes: &[&str]) -> Result<Files, DataError> {
    Ok((read(find(folder, prefixes, &ROWS)?)?, read(find(folder, prefixes, &ANSWERS)?)?))
}

fn of_classes(
    train: Files,
    test: Files,
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
    Ok(TrainTest::new(train, test))
}

fn of_numbers(
    train: Files,
    test: Files,
    names: Option<Vec<String>>,
) -> Result<TrainTest, DataError> {
    let columns = train.1.idx.shape.get(1).copied().unwrap_or(1);
    let names = names.unwrap_or_else(|| (0..columns).map(|column| column.to_string()).collect());
    Ok(TrainTest::new(valued(train, &names)?, valued(test, &names)?))
}

/// Puts rows and the numbers of a regression, one column for each name, together.
fn valued((rows, answers): Files, names: &[String]) -> Result<Dataset, DataError> {
    let IdxFile { path, idx } = answers;
    check_rows(&rows, &path, idx.shape[0])?;
    let (found, values) = idx.into_targets().map_err(DataError::idx(&path))?;
    if found != names.len() {
        return Err(DataError::TargetColumns { path, found, expected: names.len() });
    }
    let (shape, features) = features(rows.idx).map_err(DataError::idx(&rows.path))?;
    let targets = Targets::Values { values, names: names.to_vec() };
    Dataset::new(shape, features, targets).map_err(DataError::in_file(&path))
}

fn read(path: PathBuf) -> Result<IdxFile, DataError> {
    read_idx(&path).map(|idx| IdxFile { path, idx })
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
    match &found[..] {
        [path] => Ok(path.clone()),
        [first, second, ..] => Err(DataError::TwoFiles {
            folder: folder.to_owned(),
            first: file_name(first),
            second: file_name(second),
        }),
        [] => {
            let found = list(folder)?;
            Err(DataError::MissingFile { found, folder: folder.to_owned(), looked_for })
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The first file with one of these names.
fn find_named(folder: &Path, looked_for: &[String]) -> Result<Option<PathBuf>, DataError> {
    let names: Vec<String> = looked_for
        .iter()
        .flat_map(|name| ["", ".gz", ".zst"].map(|suffix| format!("{name}{suffix}")))
        .collect();
    let inside = names.iter().map(|name| folder.join(name).join(name));
    let mut candidates = names.iter().map(|name| folder.join(name)).chain(inside);
    if let Some(path) = candidates.find(|path| path.is_file()) {
        return Ok(Some(path));
    }
    // It has the name, and is a folder of other files, a pipe or a device.
    match names.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
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
