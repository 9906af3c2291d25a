//! Files that a person asked to be written: never over what is read, and over another file only
//! if that was asked for.

use std::fs;
use std::path::{Path, PathBuf};

use crate::check_file_place;

/// A file to be written.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// The file.
    pub path: &'a Path,
    /// The flag that names it, such as `--to`.
    pub flag: &'static str,
    /// Files that are read.
    pub inputs: &'a [PathBuf],
    /// True if an existing file may be replaced.
    pub is_forced: bool,
}

impl Output<'_> {
    /// Makes sure that the file can be written without loss. To be asked before anything takes
    /// long, and again before it is written.
    ///
    /// # Errors
    ///
    /// An [`OutputError`] that says what is in the way.
    pub fn check(&self) -> Result<(), OutputError> {
        let (path, flag) = (self.path.to_owned(), self.flag);
        if path.as_os_str().is_empty() {
            return Err(OutputError::NoName { flag });
        }
        if self.inputs.iter().any(|input| is_same_file(input, &path)) {
            return Err(OutputError::Input { path, flag });
        }
        check_file_place(&path).map_err(|source| OutputError::NoFile {
            path: path.clone(),
            flag,
            source,
        })?;
        if fs::symlink_metadata(&path).is_ok() {
            return if self.is_forced { Ok(()) } else { Err(OutputError::Exists { path, flag }) };
        }
        let is_folder_named = path.as_os_str().to_string_lossy().ends_with(std::path::is_separator);
        if is_folder_named || path.file_name().is_none() {
            return Err(OutputError::NoName { flag });
        }
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) if !parent.is_dir() => {
                let parent = parent.to_owned();
                Err(OutputError::NoFolder { path, flag, parent })
            }
            _ => Ok(()),
        }
    }
}

/// Returns true if two paths lead to one file that exists, by whatever names.
fn is_same_file(a: &Path, b: &Path) -> bool {
    let same_name = a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b);
    same_name || inode(a).zip(inode(b)).is_some_and(|(a, b)| a == b)
}

#[cfg(unix)]
fn inode(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Elsewhere the names are all there is.
#[cfg(not(unix))]
fn inode(_path: &Path) -> Option<(u64, u64)> {
    None
}

/// Why a file is not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It is one of those that are read.
    #[error("{flag} {}: this command reads that file, and never replaces it; name another file", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// The flag that names it.
        flag: &'static str,
    },
    /// It exists.
    #[error("{flag} {}: this file exists; name another one, or replace it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// The flag that names it.
        flag: &'static str,
    },
    /// A folder, a device or a pipe is in its place.
    #[error("{flag} {}: {source}; name a file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
        /// The flag that names it.
        flag: &'static str,
        /// The error of what is at the path.
        source: std::io::Error,
    },
    /// The folder that it would be in does not exist.
    #[error("{flag} {}: the folder {} does not exist; make it first", path.display(), parent.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// The flag that names it.
        flag: &'static str,
        /// The folder.
        parent: PathBuf,
    },
    /// There is no name of a file.
    #[error("{flag} needs the name of a file")]
    NoName {
        /// The flag.
        flag: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &Path, input: &Path, is_forced: bool) -> Result<(), OutputError> {
        let inputs = [PathBuf::from("no such file"), input.to_owned()];
        Output { path, flag: "--to", inputs: &inputs, is_forced }.check()
    }

    #[test]
    fn an_input_is_never_written_over_by_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("run")).unwrap();
        fs::write(at("model"), "x").unwrap();
        let mut names = vec![at("model"), at("./model"), at("run/../model")];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("model"), at("link")).unwrap();
            fs::hard_link(at("model"), at("hard")).unwrap();
            names.extend([at("link"), at("hard")]);
        }
        for name in &names {
            for is_forced in [false, true] {
                let found = check(name, &at("model"), is_forced);
                assert!(matches!(found, Err(OutputError::Input { .. })), "{name:?}: {found:?}");
            }
            // Nor if the link is what is read.
            let found = check(&at("model"), name, true);
            assert!(matches!(found, Err(OutputError::Input { .. })), "{name:?}: {found:?}");
        }
    }

    #[test]
    fn another_file_is_replaced_if_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("there"), "x").unwrap();
        let input = at("input");
        assert!(matches!(check(&at("there"), &input, false), Err(OutputError::Exists { .. })));
        assert!(check(&at("there"), &input, true).is_ok());
        assert!(check(&at("new"), &input, false).is_ok());
        for is_forced in [false, true] {
            let of = |path: &Path| check(path, &input, is_forced);
            assert!(matches!(of(folder.path()), Err(OutputError::NoFile { .. })));
            assert!(matches!(of(&at("gone/new")), Err(OutputError::NoFolder { .. })));
            assert!(matches!(of(&at("new/")), Err(OutputError::NoName { .. })));
            assert!(matches!(of(Path::new("")), Err(OutputError::NoName { .. })));
            #[cfg(unix)]
            assert!(matches!(of(Path::new("/dev/null")), Err(OutputError::NoFile { .. })));
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
            let found = check(&at("dangling"), &input, true);
            assert!(matches!(found, Err(OutputError::NoFile { .. })), "{found:?}");
        }
    }
}
