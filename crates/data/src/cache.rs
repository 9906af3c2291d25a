//! Files kept on disk: found if they are right, fetched if not, and never half there.

use std::fs;
use std::path::{Path, PathBuf};

use fireclay_terminal::message;
use tempfile::NamedTempFile;

use crate::DataError;
use crate::error::Attempt;
use crate::fetch::{Client, FetchError, FetchProgress};

/// Folders and addresses for [`load`](crate::load); the default serves everyone but tests and shared
/// machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The folder for fetched files instead of `fireclay` in the user's cache folder.
    /// Each data set has a folder of its own in it.
    pub cache_folder: Option<PathBuf>,
    /// Base URLs to fetch from, in this order, instead of the published mirrors.
    pub mirrors: Option<Vec<String>>,
}

/// The places that the files of a set come from.
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
    progress: &'a mut dyn FnMut(FetchProgress),
}

impl<'a> Cache<'a> {
    /// Names folders and mirrors; touches neither disk nor network.
    pub(crate) fn open(
        origin: &Origin,
        options: &LoadOptions,
        progress: &'a mut dyn FnMut(FetchProgress),
    ) -> Result<Self, DataError> {
        let root = match &options.cache_folder {
            Some(folder) => folder.clone(),
            None => dirs::cache_dir().ok_or(DataError::NoCacheFolder)?.join("fireclay"),
        };
        let mirrors = match &options.mirrors {
            Some(mirrors) => mirrors.clone(),
            None => origin.mirrors.iter().map(|&mirror| mirror.to_owned()).collect(),
        };
        Ok(Self {
            folder: root.join(origin.folder),
            shared_folder: origin.shared_folder.map(PathBuf::from),
            mirrors,
            client: Client::new(),
            progress,
        })
    }

    /// Returns the result of `accept` for the file `name`, from disk if it is there and accepted,
    /// else fetched.
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
                Err(error) => {
                    let failed = attempt(path.display().to_string(), &error);
                    log::warn!("{} is not used: {}", failed.address, failed.reason);
                    attempts.push(failed);
                }
            }
        }
        // A copy, since fetching borrows the whole cache.
        for mirror in self.mirrors.clone() {
            let url = format!("{}/{name}", mirror.trim_end_matches('/'));
            log::info!("fetching {url}");
            match self.fetch(name, &url, &accept) {
                Ok(value) => return Ok(value),
                // A full disk is not the fault of the mirror.
                Err(error @ DataError::Write { .. }) => return Err(error),
                Err(error) => {
                    let failed = attempt(url, &error);
                    log::info!("{} cannot be had: {}", failed.address, failed.reason);
                    attempts.push(failed);
                }
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
        fs::create_dir_all(&self.folder).map_err(DataError::write(self.folder.clone()))?;
        let mut file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .tempfile_in(&self.folder)
            .map_err(DataError::write(self.folder.clone()))?;
        self.client.fetch(name, url, file.as_file_mut(), self.progress).map_err(
            |error| match error {
                FetchError::Write(source) => DataError::write(self.folder.clone())(source),
                other => DataError::Fetch { url: url.to_owned(), reason: message(&other) },
            },
        )?;
        // Accepted under its temporary name: what is refused is deleted with the temporary file.
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
        other => message(other),
    };
    Attempt { address, reason }
}

/// Flushes, renames, and flushes the folder, so that the file survives a power cut whole or not at
/// all.
fn keep(file: NamedTempFile, folder: &Path, name: &str) -> Result<(), DataError> {
    let path = folder.join(name);
    file.as_file().sync_all().map_err(DataError::write(&path))?;
    file.persist(&path).map_err(|error| DataError::write(&path)(error.error))?;
    log::info!("wrote {}", path.display());
    // Other systems cannot open a folder as a file.
    #[cfg(unix)]
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(DataError::write(folder))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use fireclay_readers::{Idx, IdxValues};
    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::checksum::{Checksum, read_verified, sha256};
    use crate::test_server::{Server, announcing, ok, status};

    const NAME: &str = "rows.gz";
    const IDX: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9];

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn contents(bytes: &[u8]) -> Checksum {
        Checksum::Contents(sha256(bytes).leak())
    }

    fn obtain(
        folder: &Path,
        mirrors: &[&Server],
        checksum: Checksum,
    ) -> (Result<Idx, DataError>, Vec<FetchProgress>) {
        let mut seen = Vec::new();
        let mut progress = |progress| seen.push(progress);
        let mut client = Client::new();
        client.back_off = Duration::from_millis(1);
        let mut cache = Cache {
            folder: folder.to_owned(),
            shared_folder: None,
            mirrors: mirrors.iter().map(|mirror| mirror.url()).collect(),
            client,
            progress: &mut progress,
        };
        (cache.obtain(NAME, |path| read_verified(path, checksum)), seen)
    }

    fn listing(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    #[track_caller]
    fn check_right(found: Result<Idx, DataError>) {
        assert_eq!(found.unwrap().values, IdxValues::Bytes(vec![7, 8, 9]));
    }

    #[track_caller]
    fn check_unavailable(found: Result<Idx, DataError>) -> Vec<Attempt> {
        match found {
            Err(DataError::Unavailable { attempts, .. }) => attempts,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fetches_once_and_then_reads_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(|_, _| ok(&gzip(IDX)));
        let (found, seen) = obtain(folder.path(), &[&server], contents(IDX));
        check_right(found);
        let bytes = gzip(IDX).len() as u64;
        let last = FetchProgress { file: NAME.to_owned(), done: bytes, total: Some(bytes) };
        assert_eq!(seen.last(), Some(&last));

        let (found, seen) = obtain(folder.path(), &[&server], contents(IDX));
        check_right(found);
        assert!(seen.is_empty());
        assert_eq!(server.requests(), ["/rows.gz"]);
        assert_eq!(listing(folder.path()), [NAME]);
    }

    #[test]
    fn sums_of_the_file_itself_hold_too() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(|_, _| ok(&gzip(IDX)));
        let checksum = Checksum::FileSha256(sha256(&gzip(IDX)).leak());
        check_right(obtain(folder.path(), &[&server], checksum).0);
        // The MD5 of no bytes.
        let checksum = Checksum::FileMd5("d41d8cd98f00b204e9800998ecf8427e");
        let attempts = check_unavailable(obtain(folder.path(), &[&server], checksum).0);
        assert!(attempts.iter().all(|attempt| attempt.reason.contains("checksum")));
    }

    #[test]
    fn a_wrong_checksum_is_not_kept_and_the_next_mirror_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = Server::start(|_, _| ok(&gzip(&[0, 0, 8, 1, 0, 0, 0, 1, 1])));
        let attempts = check_unavailable(obtain(folder.path(), &[&wrong], contents(IDX)).0);
        assert_eq!(attempts[0].address, format!("{}/{NAME}", wrong.url()));
        assert!(attempts[0].reason.contains("checksum"), "{attempts:?}");
        assert!(listing(folder.path()).is_empty());

        let right = Server::start(|_, _| ok(&gzip(IDX)));
        check_right(obtain(folder.path(), &[&wrong, &right], contents(IDX)).0);
        // Wrong bytes are no passing trouble: each mirror is asked once.
        assert_eq!((wrong.requests().len(), right.requests().len()), (2, 1));
    }

    #[test]
    fn a_missing_file_is_asked_of_the_next_mirror() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Server::start(|_, _| status(404));
        let right = Server::start(|_, _| ok(&gzip(IDX)));
        check_right(obtain(folder.path(), &[&missing, &right], contents(IDX)).0);
        assert_eq!(missing.requests().len(), 1);
    }

    #[test]
    fn passing_trouble_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(|_, before| match before {
            0 => status(503),
            1 => announcing(1_000, &gzip(IDX)),
            _ => ok(&gzip(IDX)),
        });
        check_right(obtain(folder.path(), &[&server], contents(IDX)).0);
        assert_eq!(server.requests().len(), 3);
    }

    #[test]
    fn an_interrupted_transfer_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(|_, _| announcing(1_000, &gzip(IDX)));
        let attempts = check_unavailable(obtain(folder.path(), &[&server], contents(IDX)).0);
        assert_eq!(server.requests().len(), 4, "one try and three retries: {attempts:?}");
        assert!(listing(folder.path()).is_empty());
    }

    #[test]
    fn a_damaged_cached_file_is_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), gzip(&[0, 0, 8, 1, 0, 0, 0, 1, 1])).unwrap();
        let server = Server::start(|_, _| ok(&gzip(IDX)));
        check_right(obtain(folder.path(), &[&server], contents(IDX)).0);
        assert_eq!(fs::read(folder.path().join(NAME)).unwrap(), gzip(IDX));
    }

    #[test]
    fn files_put_in_by_hand_may_be_plain_or_zstd() {
        let zstd =
            ruzstd::encoding::compress_to_vec(IDX, ruzstd::encoding::CompressionLevel::Fastest);
        for (name, bytes) in [("rows", IDX), ("rows.zst", &zstd)] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), bytes).unwrap();
            check_right(obtain(folder.path(), &[], contents(IDX)).0);
            let other = obtain(folder.path(), &[], contents(b"other")).0;
            assert!(check_unavailable(other)[0].reason.contains("checksum"));
        }
    }

    #[test]
    fn without_a_network_the_message_says_what_to_put_where() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Server::start(|_, _| status(404));
        let error = obtain(folder.path(), &[&missing], contents(IDX)).0.unwrap_err().to_string();
        let url = format!("{}/{NAME}: the server answered with status 404", missing.url());
        let place =
            format!("put it into {} as rows.gz or rows or rows.zst", folder.path().display());
        assert!(error.contains(&url) && error.contains(&place), "{error}");
    }
}
