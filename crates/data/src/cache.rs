//! Files kept on disk: found if they are right, fetched if not, and never half there.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Attempt, with_causes};
use crate::fetch::{Client, FetchError};
use crate::load::{LoadOptions, Progress};
use crate::DataError;

/// Where the files of a set come from.
pub(crate) struct Origin {
    /// Its folder in the cache.
    pub(crate) folder: &'static str,
    /// A folder of the operating system in which a package may have put the files.
    pub(crate) shared_folder: Option<&'static str>,
    /// Base URLs, best first, each ending with a slash.
    pub(crate) mirrors: &'static [&'static str],
}

/// The files of one set.
pub(crate) struct Cache<'a> {
    folder: PathBuf,
    shared_folder: Option<PathBuf>,
    mirrors: Vec<String>,
    client: Client,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Cache<'a> {
    /// Names folders and mirrors; touches neither disk nor network.
    pub(crate) fn open(
        origin: &Origin,
        options: &LoadOptions,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Result<Self, DataError> {
        let root = match &options.cache_folder {
            Some(folder) => folder.clone(),
            None => dirs::cache_dir().ok_or(DataError::NoCacheFolder)?.join("fireclay"),
        };
        let published = || origin.mirrors.iter().map(|&mirror| mirror.to_owned()).collect();
        Ok(Self {
            folder: root.join(origin.folder),
            shared_folder: origin.shared_folder.map(PathBuf::from),
            mirrors: options.mirrors.clone().unwrap_or_else(published),
            client: Client::new(),
            progress,
        })
    }

    /// What `accept` makes of the file `name`, from disk if it is there and accepted, else fetched.
    ///
    /// `accept` reads and checks a file in one pass; what it refuses is never kept.
    pub(crate) fn obtain<T>(
        &mut self,
        name: &str,
        accept: impl Fn(&Path) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let mut attempts = Vec::new();
        for path in self.candidates(name).into_iter().filter(|path| path.is_file()) {
            match accept(&path) {
                Ok(value) => return Ok(value),
                Err(error) => attempts.push(attempt(path.display().to_string(), &error)),
            }
        }
        for mirror in self.mirrors.clone() {
            let url = format!("{}/{name}", mirror.trim_end_matches('/'));
            match self.fetch(name, &url, &accept) {
                Ok(value) => return Ok(value),
                // A full disk is not the fault of the mirror.
                Err(error @ DataError::Write { .. }) => return Err(error),
                Err(error) => attempts.push(attempt(url, &error)),
            }
        }
        Err(self.unavailable(name, attempts))
    }

    /// Fetches to a temporary sibling; gives it its name only when `accept` has accepted it.
    fn fetch<T>(
        &mut self,
        name: &str,
        url: &str,
        accept: impl Fn(&Path) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let write_error = || DataError::write(self.folder.clone());
        fs::create_dir_all(&self.folder).map_err(write_error())?;
        let mut file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .tempfile_in(&self.folder)
            .map_err(write_error())?;
        self.client.fetch(name, url, file.as_file_mut(), self.progress).map_err(
            |error| match error {
                FetchError::Write(source) => write_error()(source),
                other => DataError::Fetch { url: url.to_owned(), reason: with_causes(&other) },
            },
        )?;
        let value = accept(file.path())?;
        keep(file, &self.folder, name)?;
        Ok(value)
    }

    /// The paths at which a file is looked for. An IDX file may be plain, `.gz` or `.zst`.
    fn candidates(&self, name: &str) -> Vec<PathBuf> {
        let names = accepted_names(name);
        let folders = std::iter::once(&self.folder).chain(&self.shared_folder);
        folders.flat_map(|folder| names.iter().map(|name| folder.join(name))).collect()
    }

    fn unavailable(&self, name: &str, attempts: Vec<Attempt>) -> DataError {
        DataError::Unavailable {
            file: name.to_owned(),
            attempts,
            folder: self.folder.clone(),
            accepted_names: accepted_names(name),
        }
    }
}

fn accepted_names(name: &str) -> Vec<String> {
    match name.strip_suffix(".gz") {
        Some(plain) => vec![name.to_owned(), plain.to_owned(), format!("{plain}.zst")],
        None => vec![name.to_owned()],
    }
}

fn attempt(address: String, error: &DataError) -> Attempt {
    let reason = match error {
        // The address already says which file.
        DataError::Fetch { reason, .. } => reason.clone(),
        other => with_causes(other),
    };
    Attempt { address, reason }
}

/// Flushes, renames, and flushes the folder, so that the file survives a power cut whole or not at
/// all.
fn keep(file: NamedTempFile, folder: &Path, name: &str) -> Result<(), DataError> {
    let path = folder.join(name);
    file.as_file().sync_all().map_err(DataError::write(&path))?;
    file.persist(&path).map_err(|error| DataError::write(&path)(error.error))?;
    // Other systems cannot open a folder as a file.
    #[cfg(unix)]
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(DataError::write(folder))?;
    Ok(())
}
