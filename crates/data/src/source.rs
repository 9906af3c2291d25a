//! The names under which data sets are asked for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fireclay_model::InputSpec;
use fireclay_tables::is_called_table;

use crate::{DataError, SoundSource, TableSource, sounds};

/// A data set that [`crate::load`] can get.
///
/// Written and parsed as `mnist`, `fashion-mnist`, `kmnist`, `emnist-letters` (and the other
/// splits), `qmnist`, `idx:FOLDER`, `sounds:PATH`, and the path of a table or a folder.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Handwritten digits, 60,000 and 10,000; bundled with this crate.
    Mnist,
    /// Articles of clothing, 60,000 and 10,000 (MIT licence, Zalando SE).
    FashionMnist,
    /// Cursive Japanese characters, 60,000 and 10,000 (CC BY-SA 4.0, CODH).
    Kmnist,
    /// Handwritten digits and letters (NIST Special Database 19).
    Emnist(EmnistSplit),
    /// MNIST made again from its sources, 60,000 and 60,000 (BSD licence, Facebook).
    Qmnist,
    /// A folder with the four files of an MNIST-like set, and optionally a `labels.txt`.
    Idx(PathBuf),
    /// A table of named columns in a file.
    Table(Box<TableSource>),
    /// Recordings in a folder, or in the files that a table names.
    Sounds(Box<SoundSource>),
}

/// Which characters of EMNIST, and how they are grouped to classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmnistSplit {
    /// 47 classes, 112,800 and 18,800 rows, equally many of each class.
    Balanced,
    /// 26 classes, upper and lower case together, 124,800 and 20,800 rows.
    Letters,
    /// 10 classes, 240,000 and 40,000 rows.
    Digits,
    /// 62 classes, 697,932 and 116,323 rows.
    ByClass,
    /// 47 classes, 697,932 and 116,323 rows.
    ByMerge,
    /// 10 classes, 60,000 and 10,000 rows.
    Mnist,
}

const FOLDER_PREFIX: &str = "idx:";
const TEXTS_PREFIX: &str = "text:";
const SOUNDS_PREFIX: &str = "sounds:";

const NAMED: [Source; 10] = [
    Source::Mnist,
    Source::FashionMnist,
    Source::Kmnist,
    Source::Emnist(EmnistSplit::Balanced),
    Source::Emnist(EmnistSplit::Letters),
    Source::Emnist(EmnistSplit::Digits),
    Source::Emnist(EmnistSplit::ByClass),
    Source::Emnist(EmnistSplit::ByMerge),
    Source::Emnist(EmnistSplit::Mnist),
    Source::Qmnist,
];

impl Source {
    /// Every name that parses, with `idx:FOLDER` and `sounds:FOLDER` standing for all folders.
    pub fn names() -> Vec<String> {
        let folder = Self::Idx("FOLDER".into());
        let recordings = Self::Sounds(Box::new(SoundSource::new("FOLDER")));
        NAMED.iter().chain([&folder, &recordings]).map(Self::to_string).collect()
    }

    /// The file or folder that it is read from, if it is not known by name.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Idx(folder) => Some(folder),
            Self::Table(table) => Some(&table.path),
            Self::Sounds(recordings) => Some(&recordings.table.path),
            _ => None,
        }
    }

    /// The same source with rows encoded by the input of a model: of a table, by the names of columns; of
    /// recordings, by the features that the model takes.
    #[must_use]
    pub fn encoded_by(self, input: &InputSpec) -> Self {
        match self {
            Self::Table(table) if input.as_dense().is_none() => {
                Self::Table(Box::new(TableSource { input: Some(input.clone()), ..*table }))
            }
            Self::Sounds(recordings) if input.sounds().is_some() => {
                Self::Sounds(Box::new(SoundSource { sounds: input.sounds(), ..*recordings }))
            }
            other => other,
        }
    }

    /// The same source at another path; one that is known by name is nowhere else.
    #[must_use]
    pub fn at(&self, path: PathBuf) -> Self {
        match self {
            Self::Idx(_) => Self::Idx(path),
            Self::Table(table) => {
                Self::Table(Box::new(TableSource { path, ..TableSource::clone(table) }))
            }
            Self::Sounds(recordings) => Self::Sounds(Box::new(recordings.at(path))),
            named => named.clone(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mnist => f.write_str("mnist"),
            Self::FashionMnist => f.write_str("fashion-mnist"),
            Self::Kmnist => f.write_str("kmnist"),
            Self::Emnist(split) => write!(f, "emnist-{split}"),
            Self::Qmnist => f.write_str("qmnist"),
            Self::Idx(folder) => write!(f, "{FOLDER_PREFIX}{}", folder.display()),
            Self::Table(table) => {
                let prefix = if table.is_texts { TEXTS_PREFIX } else { "" };
                write!(f, "{prefix}{}", table.path.display())
            }
            Self::Sounds(recordings) => {
                write!(f, "{SOUNDS_PREFIX}{}", recordings.table.path.display())
            }
        }
    }
}

impl fmt::Display for EmnistSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Balanced => "balanced",
            Self::Letters => "letters",
            Self::Digits => "digits",
            Self::ByClass => "byclass",
            Self::ByMerge => "bymerge",
            Self::Mnist => "mnist",
        })
    }
}

impl FromStr for Source {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        if let Some(path) = name.strip_prefix(TEXTS_PREFIX).filter(|path| !path.is_empty()) {
            let table = TableSource { is_texts: true, ..TableSource::new(path) };
            return Ok(Self::Table(Box::new(table)));
        }
        if let Some(path) = name.strip_prefix(SOUNDS_PREFIX).filter(|path| !path.is_empty()) {
            return Ok(Self::Sounds(Box::new(SoundSource::new(path))));
        }
        match name.strip_prefix(FOLDER_PREFIX) {
            Some("") => Err(unknown(name)),
            Some(folder) => Ok(Self::Idx(folder.into())),
            None => {
                let known = NAMED.into_iter().find(|source| source.to_string() == name);
                known.or_else(|| at_path(name)).ok_or_else(|| unknown(name))
            }
        }
    }
}

/// The source at a path: a file is a table, as one is that is called so, and a folder has IDX files.
fn at_path(name: &str) -> Option<Source> {
    let path = Path::new(name);
    if path.is_dir() {
        // A word that is nearly a name is more likely to be one than a folder that happens to be here.
        let is_path =
            name.contains(std::path::is_separator) || nearest(name, &Source::names()).is_none();
        return is_path.then(|| Source::Idx(path.to_owned()));
    }
    let is_table = is_called_table(path) || path.is_file();
    is_table.then(|| Source::Table(Box::new(TableSource::new(path))))
}

/// The files that a source of data is read from, if it is no named one; for a program that must not
/// overwrite one of them.
pub fn data_files(source: Option<&str>) -> Vec<PathBuf> {
    let folder = match source.map(str::parse) {
        Some(Ok(Source::Idx(folder))) => folder,
        Some(Ok(Source::Table(table))) => return vec![table.path],
        Some(Ok(Source::Sounds(recordings))) => {
            let path = recordings.table.path;
            return sounds::files(&path).unwrap_or_else(|_| vec![path]);
        }
        _ => return Vec::new(),
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| is_data_file(path)).collect()
}

/// Returns true if a file has one of the names that a folder of data is read from.
fn is_data_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let is_idx = name.contains("ubyte") || name.contains("-float") && name.contains("idx");
    is_idx || name == "labels.txt"
}

fn unknown(name: &str) -> DataError {
    let choices = Source::names();
    let path = Path::new(name);
    let is_folder = path.exists().then(|| path.is_dir());
    let is_like_a_path = name.contains(std::path::is_separator) || path.extension().is_some();
    if is_like_a_path || is_folder.is_some() && nearest(name, &choices).is_none() {
        return DataError::PathAsSource { name: name.to_owned(), is_folder };
    }
    DataError::UnknownSource { name: name.to_owned(), nearest: nearest(name, &choices), choices }
}

/// The choice spelt most like `name`, if it is spelt like it at all.
fn nearest(name: &str, choices: &[String]) -> Option<String> {
    let choices = choices.iter().map(String::as_str);
    fireclay_model::nearest(&name.to_lowercase(), choices).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back() {
        for name in Source::names() {
            assert_eq!(name.parse::<Source>().unwrap().to_string(), name);
        }
        assert_eq!("idx:/a b".parse::<Source>().unwrap(), Source::Idx("/a b".into()));
    }

    #[test]
    fn the_files_of_a_folder_are_those_that_are_read() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["train-images-idx3-ubyte.gz", "mine.safetensors"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let found = data_files(Some(&format!("idx:{}", folder.path().display())));
        assert_eq!(found, [folder.path().join("train-images-idx3-ubyte.gz")]);
        assert!(data_files(Some("mnist")).is_empty() && data_files(None).is_empty());
    }

    #[test]
    fn an_unknown_name_lists_the_choices_and_the_nearest() {
        let check = |name: &str, expected: Option<&str>| {
            let error = name.parse::<Source>().unwrap_err();
            let text = error.to_string();
            let DataError::UnknownSource { nearest, choices, .. } = error else {
                panic!("{name}: {text}")
            };
            assert_eq!(nearest.as_deref(), expected, "{name}");
            assert_eq!(choices, Source::names());
            assert!(choices.iter().all(|choice| text.contains(choice)), "{text}");
        };
        check("mnits", Some("mnist"));
        check("MNIST", Some("mnist"));
        check("fashion_mnist", Some("fashion-mnist"));
        check("emnist-letter", Some("emnist-letters"));
        check("cifar10", None);
        check("idx:", Some("idx:FOLDER"));
        check("", None);
    }

    #[test]
    fn a_path_is_no_unknown_name() {
        let check = |name: &str, expected: Option<bool>| {
            let error = name.parse::<Source>().unwrap_err();
            let text = error.to_string();
            let DataError::PathAsSource { is_folder, .. } = error else { panic!("{name}: {text}") };
            assert_eq!(is_folder, expected, "{name}");
            assert!(text.contains(&format!("`{name}`")) && text.contains("idx:"), "{text}");
        };
        check("./nowhere", None);
        check("nowhere.xyz", None);
        assert!(
            matches!("rows.csv".parse(), Ok(Source::Table(table)) if table.path == Path::new("rows.csv"))
        );
        assert!(matches!("src/lib.rs".parse(), Ok(Source::Table(_))));
        assert!(matches!("src".parse(), Ok(Source::Idx(folder)) if folder == Path::new("src")));
    }
}
