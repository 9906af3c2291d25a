//! What a run is carried out with: nothing of it changes what the run computes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fireclay_data::{DataError, LoadOptions, Source, TrainTest, load};
use fireclay_terminal::quoted_path;

use crate::checkpoints::Every;
use crate::disk::Disk;
use crate::progress::{Console, Silent};
use crate::run_files::CHECKPOINTS;
use crate::settings::Partial;

/// How a run is carried out.
///
/// By default the run says nothing, catches no signal, and goes to a numbered folder in `runs`.
#[derive(Clone)]
pub struct RunOptions {
    /// Folder of all runs.
    pub out: PathBuf,
    /// Name of the run's folder; numbered if absent.
    pub name: Option<String>,
    /// Folder of the settings file, where a relative folder of data is looked for too.
    pub settings_folder: Option<PathBuf>,
    /// Checkpoint intervals; if there are none, those of the resumed run, or else each epoch and each
    /// minute.
    pub checkpoint_every: Vec<Every>,
    /// Refuses settings that cannot reproduce the same bits.
    pub is_deterministic: bool,
    /// Catches Ctrl-C and SIGTERM, which then stop the run with a checkpoint; this is the only thing
    /// that a run changes in its process.
    pub catches_signals: bool,
    /// Command that messages tell people to type, such as `train`.
    pub program: String,
    /// Where the run says what it does.
    pub console: Arc<dyn Console>,
    /// What reads a data set.
    pub load: fn(&Source) -> Result<TrainTest, DataError>,
    /// Where the files of the run go.
    pub disk: Disk,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            out: PathBuf::from("runs"),
            name: None,
            settings_folder: None,
            checkpoint_every: Vec::new(),
            is_deterministic: false,
            catches_signals: false,
            program: "train".to_owned(),
            console: Arc::new(Silent),
            load: |source| load(source, &LoadOptions::default(), &mut |_| {}),
            disk: Disk::default(),
        }
    }
}

impl RunOptions {
    /// Checkpoint intervals of a run that had those `before`.
    pub(super) fn pace(&self, before: &[Every]) -> Vec<Every> {
        const USUAL: [Every; 2] = [Every::Epochs(1), Every::Time(Duration::from_secs(60))];
        let paces = [&self.checkpoint_every[..], before, &USUAL];
        paces.into_iter().find(|pace| !pace.is_empty()).unwrap_or_default().to_vec()
    }

    /// The command that resumes a run.
    pub(super) fn resume(&self, folder: &Path) -> String {
        format!("{} --resume {}", self.program, quoted_path(folder))
    }

    /// What to do about a run that has nothing whole to be resumed from.
    pub(super) fn way_to_the_first_step(&self, folder: &Path) -> String {
        format!(
            "remove the folder {}, and the run begins at its first step, with `{}`",
            folder.join(CHECKPOINTS).display(),
            self.resume(folder)
        )
    }

    /// Why the folder of the run cannot be made.
    pub(super) fn no_folder(&self) -> String {
        match &self.name {
            Some(name) => format!(
                "cannot make the run folder {}; choose another --name or --out",
                quoted_path(&self.out.join(name))
            ),
            None => format!(
                "cannot make a run folder in {}; choose another --out",
                quoted_path(&self.out)
            ),
        }
    }
}

/// What a resumed or repeated run takes from its caller, beside its own settings.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Settings to lay over its own: the number of epochs, the backend and the device.
    pub settings: Vec<Partial>,
    /// Where its data is now; where it was, if absent.
    pub data: Option<String>,
    /// Where the rows that it replays are now.
    pub replay_data: Option<String>,
}
