//! The folder of a run: settings before the first step, measurements as they come, the model last.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fireclay_files::check_file_place;
use fireclay_terminal::is_visible;
use serde::Serialize;

use crate::disk::{Disk, named};
use crate::metrics::Measured;
use crate::progress::{EpochReport, Progress};
use crate::run_files::{
    BASE, CHECKPOINTS, CONFIG, FILES, LAST_GOOD, LOCK, METRICS, MODEL, REPORT, START, TEACHER,
};

/// A folder `runs/<name>` that this process works on, and no other.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The system lets go of it when the process ends, however it ends.
    _lock: File,
}

impl RunFolder {
    /// Makes the folder: `out/name`, which must not be there yet, or by default the first of
    /// `out/stem-1`, `out/stem-2`, … that is free.
    ///
    /// # Errors
    ///
    /// The file system's; `AlreadyExists` for a name that is taken, unless by a run that was killed
    /// before it began; `InvalidInput` for a [`NameProblem`].
    pub fn create(out: &Path, name: Option<&str>, stem: &str, disk: &Disk) -> io::Result<Self> {
        if let Some(name) = name {
            check_name(name)
                .map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        }
        fs::create_dir_all(out)?;
        if let Some(name) = name {
            let path = out.join(name);
            return match disk.new_folder(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Self::reclaim(path, error, disk)
                }
                result => result.and_then(|()| Self::open(path)),
            };
        }
        let mut number = 1;
        loop {
            let path = out.join(format!("{stem}-{number}"));
            // Making a folder is atomic: of two runs that start together, one takes the next number.
            match disk.new_folder(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                result => return result.and_then(|()| Self::open(path)),
            }
        }
    }

    /// Opens an existing folder.
    ///
    /// # Errors
    ///
    /// The file system's; `WouldBlock` if another process works on it, and `InvalidInput` if
    /// something else is in the place of one of its files.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        for name in FILES {
            let file = path.join(name);
            check_file_place(&file).map_err(named(&file))?;
        }
        let lock = File::options().create(true).append(true).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "another process is working on this run",
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Takes a folder whose run was killed before it began, and clears it; otherwise `taken`.
    fn reclaim(path: PathBuf, taken: io::Error, disk: &Disk) -> io::Result<Self> {
        if !never_began(&path) {
            return Err(taken);
        }
        let folder = Self::open(path)?;
        // Read again under the lock: until now another process may have begun the run.
        if !never_began(&folder.path) {
            return Err(taken);
        }
        folder.sweep(disk)?;
        for name in BEFORE_MANIFEST {
            disk.remove(&folder.path.join(name))?;
        }
        Ok(folder)
    }

    /// Removes what a process that was killed left of files under way.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn sweep(&self, disk: &Disk) -> io::Result<()> {
        for folder in [self.path.clone(), self.checkpoints()] {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry?.path();
                let name = path.file_name().and_then(|name| name.to_str());
                if name.is_some_and(is_under_way) {
                    disk.remove(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Checkpoints, a file each.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The settings, resolved.
    pub fn config(&self) -> PathBuf {
        config(&self.path)
    }

    /// The trained model.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// The last good network of a run whose loss stopped being a number.
    pub fn last_good(&self) -> PathBuf {
        self.path.join(LAST_GOOD)
    }

    /// Removes the report, if there is one: it is of the run as it was before it was resumed.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub(crate) fn remove_report(&self, disk: &Disk) -> io::Result<()> {
        let report = self.path.join(REPORT);
        if is_report(&report) { disk.remove(&report) } else { Ok(()) }
    }

    /// Measurements, a JSON object a line.
    pub fn metrics(&self) -> PathBuf {
        self.path.join(METRICS)
    }
}

/// Where the settings of a run's folder are.
pub(crate) fn config(folder: &Path) -> PathBuf {
    folder.join(CONFIG)
}

/// The existing files of a run: those that it reads again, and its checkpoints.
pub fn files_of(folder: &Path) -> Vec<PathBuf> {
    let checkpoints = fs::read_dir(folder.join(CHECKPOINTS)).into_iter().flatten().flatten();
    let checkpoints = checkpoints.map(|entry| entry.path());
    let files = FILES.iter().map(|name| folder.join(name)).filter(|path| path.exists());
    files.chain(checkpoints).collect()
}

/// Whether a file is a page that a command wrote, and not a person.
pub fn is_report(path: &Path) -> bool {
    let mut start = Vec::new();
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let file = is_file.then(|| File::open(path).ok()).flatten();
    let read = file.map(|file| file.take(1 << 12).read_to_end(&mut start));
    let text = String::from_utf8_lossy(&start);
    read.is_some() && text.starts_with("<!DOCTYPE html>") && text.contains(" - Fireclay</title>")
}

/// Writes `metrics.jsonl`: a line for every measurement in training and after every epoch.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    disk: Disk,
    whole: u64,
}

/// What a run writes before its manifest, beside the lock.
const BEFORE_MANIFEST: [&str; 4] = [START, BASE, TEACHER, CONFIG];

/// Whether a file is one that a process was writing when it was killed.
fn is_under_way(name: &str) -> bool {
    name.starts_with(".fireclay-") && name.ends_with(".tmp")
}

/// Whether a folder is empty, or has the lock of a run and beside it nothing but what a run writes
/// before its manifest: the run was killed before its first step, and there is nothing to lose.
pub(crate) fn never_began(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let (mut has_lock, mut is_empty) = (false, true);
    for entry in entries {
        is_empty = false;
        let Ok(entry) = entry else { return false };
        let (name, is_file) = (entry.file_name(), entry.file_type().is_ok_and(|t| t.is_file()));
        let Some(name) = name.to_str().filter(|_| is_file) else { return false };
        has_lock |= name == LOCK;
        if name != LOCK && !BEFORE_MANIFEST.contains(&name) && !is_under_way(name) {
            return false;
        }
    }
    has_lock || is_empty
}

/// Why a name cannot be that of a run's folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// Nothing was typed.
    #[error("the name is empty")]
    Empty,
    /// It leads to another folder.
    #[error("{0} is not a name but a place; choose the folder of all runs with --out")]
    Place(&'static str),
    /// It has a character that separates folders, here or on another system.
    #[error("a name has no `{0}`; choose the folder of all runs with --out")]
    Separator(char),
    /// It has a character that does not show, such as a line break.
    #[error("the name has the character {0}, which does not show")]
    Invisible(String),
    /// It ends in what some systems cut off.
    #[error("the name ends in {0}, which some systems leave out")]
    End(&'static str),
    /// It has another meaning for `--resume`.
    #[error("`latest` is what --resume calls the last run")]
    Latest,
    /// It has too many bytes.
    #[error("the name has {bytes} bytes; at most {MOST_NAME} fit into a file system")]
    Long {
        /// How many it has.
        bytes: usize,
    },
}

/// Bytes of the longest name of a folder.
const MOST_NAME: usize = 255;

/// Whether a name can be that of a run's folder, on any system.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), NameProblem> {
    match name {
        "" => return Err(NameProblem::Empty),
        "." => return Err(NameProblem::Place("`.`")),
        ".." => return Err(NameProblem::Place("`..`")),
        "latest" => return Err(NameProblem::Latest),
        _ => {}
    }
    if let Some(separator) = name.chars().find(|c| ['/', '\\'].contains(c)) {
        return Err(NameProblem::Separator(separator));
    }
    if let Some(hidden) = name.chars().find(|&c| !is_visible(c)) {
        return Err(NameProblem::Invisible(hidden.escape_unicode().to_string()));
    }
    if name.ends_with('.') {
        return Err(NameProblem::End("a dot"));
    }
    if name.ends_with(char::is_whitespace) {
        return Err(NameProblem::End("a space"));
    }
    if name.len() > MOST_NAME {
        return Err(NameProblem::Long { bytes: name.len() });
    }
    Ok(())
}

/// Makes sure that a run of this name can be made in `out`, without making anything.
///
/// # Errors
///
/// As [`RunFolder::create`].
pub(crate) fn check_free(out: &Path, name: Option<&str>) -> io::Result<()> {
    if let Some(name) = name {
        check_name(name).map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        let path = out.join(name);
        if fs::symlink_metadata(&path).is_ok() && !never_began(&path) {
            let message = "a file or folder of this name exists already";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
    }
    // What is made first is the nearest folder that is not there.
    let there = out.ancestors().find(|path| fs::symlink_metadata(path).is_ok());
    match there.filter(|path| !path.is_dir()) {
        Some(path) => {
            let message = format!("{} is not a folder", path.display());
            Err(io::Error::new(io::ErrorKind::NotADirectory, message))
        }
        None => Ok(()),
    }
}

/// How much of a run a measurement covers.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// The steps since the last measurement.
    Steps,
    /// A whole epoch, or a whole split.
    Epoch,
}

/// A line of `metrics.jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    split: &'a str,
    span: Span,
    epoch: u64,
    step: u64,
    #[serde(flatten)]
    values: BTreeMap<&'a str, f64>,
}

impl MetricsLog {
    /// Starts a log, or continues one whose first `keep` bytes are still true.
    ///
    /// # Errors
    ///
    /// The file system's; `InvalidData` if the log is shorter than that.
    pub fn open(path: &Path, keep: u64, disk: Disk) -> io::Result<Self> {
        let file = disk.open_end(path, keep)?;
        Ok(Self { path: path.to_owned(), file, disk, whole: keep })
    }

    /// Bytes of the log.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    /// What flushes the log, as it is now, to disk; another thread may call it.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn flusher(&self) -> io::Result<impl FnOnce() -> io::Result<()> + Send + 'static> {
        let (file, disk, path) = (self.file.try_clone()?, self.disk.clone(), self.path.clone());
        Ok(move || disk.flush(&file).map_err(named(&path)))
    }

    /// Adds what was measured on a split, up to an epoch and step of the run, both from 1.
    ///
    /// # Errors
    ///
    /// The file system's; the log then ends with its last whole line.
    pub fn write(
        &mut self,
        split: &str,
        span: Span,
        epoch: u64,
        step: u64,
        measured: &[Measured],
    ) -> io::Result<()> {
        let values = measured.iter().map(|m| (m.name.as_str(), m.value)).collect();
        self.append(&serde_json::to_string(&Line { split, span, epoch, step, values })?)
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let text = format!("{line}\n");
        let written = self.disk.append(&mut self.file, text.as_bytes());
        if written.is_err() {
            // Half a line is worse than none; if even this fails, the first error says why.
            let _ = self.file.set_len(self.whole);
        } else {
            self.whole += text.len() as u64;
        }
        written.map_err(named(&self.path))
    }

    /// Adds the line of the steps that were measured last.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_steps(&mut self, progress: &Progress<'_>) -> io::Result<()> {
        let mut measured = progress.meter.latest();
        if !measured.iter().any(|m| m.name == "learning-rate") {
            let value = progress.moment.learning_rate;
            measured.push(Measured { name: "learning-rate".to_owned(), value, is_share: false });
        }
        self.write("training", Span::Steps, progress.epoch, progress.step, &measured)
    }

    /// Adds the lines of a finished epoch.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_epoch(&mut self, report: &EpochReport) -> io::Result<()> {
        let EpochReport { epoch, step, training, validation, .. } = report;
        self.write("training", Span::Epoch, *epoch, *step, training)?;
        if validation.measured.is_empty() {
            return Ok(());
        }
        self.write("validation", Span::Epoch, *epoch, *step, &validation.measured)
    }
}
