//! The checkpoints of a run: when one is due, how it is written, which are kept, which is the newest.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fireclay::{Checkpoint, ModelFileError, ModelFileProblem};
use fireclay_files::check_file_place;
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, named};

/// How often a checkpoint is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Every {
    /// After so many steps of the run.
    Steps(u64),
    /// After so many epochs.
    Epochs(u64),
    /// After so much time.
    Time(Duration),
    /// Not at all.
    Never,
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let count = text[..text.len() - unit.len()].parse().ok().filter(|&count: &u64| count > 0);
        match (count, unit.trim()) {
            (Some(count), "steps" | "step") => Ok(Self::Steps(count)),
            (Some(count), "epochs" | "epoch") => Ok(Self::Epochs(count)),
            (Some(count), "s") => Ok(Self::Time(Duration::from_secs(count))),
            (Some(count), "min") => Ok(Self::Time(Duration::from_secs(count.saturating_mul(60)))),
            _ => Err(format!("`{text}` is not a pace; type 500steps, 1epoch, 30s, 5min or never")),
        }
    }
}

impl TryFrom<String> for Every {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Every> for String {
    fn from(every: Every) -> Self {
        every.to_string()
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(count) => write!(f, "{count}steps"),
            Self::Epochs(count) => write!(f, "{count}epochs"),
            Self::Time(time) => write!(f, "{}s", time.as_secs()),
            Self::Never => f.write_str("never"),
        }
    }
}

/// Tells when a checkpoint is due.
#[derive(Debug)]
pub struct Pace {
    every: Vec<Every>,
    last: Instant,
}

impl Pace {
    /// Each of these by itself.
    pub fn new(every: Vec<Every>) -> Self {
        Self { every, last: Instant::now() }
    }

    /// Whether one is due after this step, or after the epoch that ended with it.
    pub fn is_due(&self, step: u64, epoch_ended: Option<u64>) -> bool {
        self.every.iter().any(|every| match (every, epoch_ended) {
            (Every::Steps(count), None) => step.is_multiple_of(*count),
            (Every::Epochs(count), Some(epoch)) => epoch.is_multiple_of(*count),
            (Every::Time(time), None) => self.last.elapsed() >= *time,
            _ => false,
        })
    }

    /// Whether a checkpoint after this step, of epochs of so many, may be one of the pace and not one
    /// that was asked for in between.
    pub fn may_be_at(&self, step: u64, steps_per_epoch: u64) -> bool {
        let ended = step.is_multiple_of(steps_per_epoch).then_some(step / steps_per_epoch);
        self.every.iter().any(|every| matches!(every, Every::Time(_)))
            || self.is_due(step, None)
            || ended.is_some() && self.is_due(step, ended)
    }

    /// Takes note of a checkpoint.
    pub fn reset(&mut self) {
        self.last = Instant::now();
    }
}

/// Checkpoints that are kept beside that of the best epoch.
const NEWEST: usize = 2;

/// The folder of a run's checkpoints, with a thread that writes one at a time.
pub struct Checkpoints {
    folder: PathBuf,
    disk: Disk,
    /// Steps of the checkpoints that are on disk and whole.
    steps: BTreeSet<u64>,
    /// The step of the best epoch's checkpoint.
    best: Option<u64>,
    writing: Option<Writing>,
}

struct Writing {
    step: u64,
    thread: JoinHandle<io::Result<()>>,
}

impl Checkpoints {
    /// The checkpoints in this folder, which need not be there yet; the steps are those to keep an
    /// eye on, such as [`steps_in`] finds.
    pub fn new(folder: PathBuf, disk: Disk, steps: impl IntoIterator<Item = u64>) -> Self {
        Self { folder, disk, steps: steps.into_iter().collect(), best: None, writing: None }
    }

    /// Writes a checkpoint behind the caller's back, after the one before it is on disk.
    ///
    /// `best` is the step of the best epoch, whose checkpoint is kept; `first` is done before
    /// anything is written.
    ///
    /// # Errors
    ///
    /// That of the checkpoint before.
    pub fn write(
        &mut self,
        step: u64,
        best: Option<u64>,
        checkpoint: Checkpoint,
        first: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        self.finish()?;
        self.best = best;
        self.disk.make_folder(&self.folder)?;
        let (disk, path) = (self.disk.clone(), path_of(&self.folder, step));
        let thread =
            std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
                first()?;
                let (bytes, _) = checkpoint.to_bytes().map_err(io::Error::other)?;
                disk.write_whole(&path, &bytes)
            })?;
        self.writing = Some(Writing { step, thread });
        Ok(())
    }

    /// Looks after the checkpoint that is being written, without waiting for it.
    ///
    /// # Errors
    ///
    /// Its own, if it failed.
    pub fn poll(&mut self) -> io::Result<()> {
        match &self.writing {
            Some(writing) if writing.thread.is_finished() => self.finish(),
            _ => Ok(()),
        }
    }

    /// Waits for the checkpoint that is being written, and removes those that are no longer kept.
    ///
    /// # Errors
    ///
    /// Its own, if it failed.
    pub fn finish(&mut self) -> io::Result<()> {
        let Some(Writing { step, thread }) = self.writing.take() else { return Ok(()) };
        thread.join().map_err(|_| io::Error::other("the writing of a checkpoint panicked"))??;
        self.steps.insert(step);
        let newest: Vec<u64> = self.steps.iter().rev().take(NEWEST).copied().collect();
        let old: Vec<u64> = self
            .steps
            .iter()
            .filter(|step| !newest.contains(step) && self.best != Some(**step))
            .copied()
            .collect();
        for step in old {
            self.disk.remove(&path_of(&self.folder, step))?;
            self.steps.remove(&step);
        }
        Ok(())
    }
}

/// Where the checkpoint of a step is.
pub fn path_of(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("step-{step:08}.safetensors"))
}

/// The steps of the checkpoints in a folder, whole or not, the newest first; none without a folder.
///
/// # Errors
///
/// The file system's.
pub fn steps_in(folder: &Path) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut steps = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let step = name.to_str().and_then(|name| {
            name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse::<u64>().ok()
        });
        steps.extend(step);
    }
    steps.sort_unstable_by(|a, b| b.cmp(a));
    Ok(steps)
}

/// The newest whole checkpoint of a folder, and what is wrong with those after it.
pub struct Newest {
    /// Its step and content; none if there is no whole one.
    pub found: Option<(u64, Checkpoint)>,
    /// Newer ones that cannot be read.
    pub damaged: Vec<ModelFileError>,
}

/// Looks for the newest whole checkpoint among those whose step `is_wanted`.
///
/// # Errors
///
/// The folder's, and `InvalidInput` if something else than a file is in the place of a checkpoint; a
/// damaged checkpoint is no error.
pub fn newest(folder: &Path, disk: &Disk, is_wanted: impl Fn(u64) -> bool) -> io::Result<Newest> {
    let mut damaged = Vec::new();
    let steps = steps_in(folder)?;
    for &step in &steps {
        let path = path_of(folder, step);
        check_file_place(&path).map_err(|error| {
            let message = format!("{error}; remove it, and the checkpoint before it serves");
            named(&path)(io::Error::new(error.kind(), message))
        })?;
    }
    for step in steps.into_iter().filter(|&step| is_wanted(step)) {
        let path = path_of(folder, step);
        let read = match disk.may_read() {
            Ok(()) => Checkpoint::load(&path),
            Err(error) => Err(ModelFileError { path, problem: ModelFileProblem::Io(error) }),
        };
        match read {
            Ok(checkpoint) => return Ok(Newest { found: Some((step, checkpoint)), damaged }),
            Err(error) => damaged.push(error),
        }
    }
    Ok(Newest { found: None, damaged })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_reads_back_and_a_slip_says_how_to_type_one() {
        for text in ["500steps", "1epochs", "30s", "never"] {
            assert_eq!(text.parse::<Every>().map(|every| every.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("5min".parse(), Ok(Every::Time(Duration::from_secs(300))));
        for slip in ["", "0steps", "steps", "3", "3 weeks", "-1s", "99999999999999999999s"] {
            assert!(slip.parse::<Every>().is_err_and(|message| message.contains("500steps")));
        }
    }

    #[test]
    fn steps_are_counted_over_the_run_and_epochs_at_their_end() {
        let pace = Pace::new(vec![Every::Steps(5), Every::Epochs(2)]);
        assert!(!pace.is_due(4, None) && pace.is_due(5, None) && pace.is_due(10, None));
        assert!(!pace.is_due(7, Some(1)) && pace.is_due(14, Some(2)));
        let now = Pace::new(vec![Every::Time(Duration::ZERO)]);
        assert!(now.is_due(1, None));
        assert!(!Pace::new(vec![Every::Never]).is_due(1, Some(1)));
        // Steps of epochs of 7: 5, 10, and at the end of the second, 14.
        let found: Vec<u64> = (1..=14).filter(|&step| pace.may_be_at(step, 7)).collect();
        assert_eq!(found, [5, 10, 14]);
        assert!(Pace::new(vec![Every::Time(Duration::MAX)]).may_be_at(3, 7));
    }
}
