//! Where a run begins, resumes, and rolls back to.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use fireclay::{Checkpoint, Mlp};
use fireclay_terminal::counted;

use super::Run;
use crate::checkpoints::{self, Pace};
use crate::fit::FitError;
use crate::job::Job;
use crate::manifest::{DataSummary, Manifest, Rollback};
use crate::place::Place;
use crate::record::Mark;
use crate::run_files::MODEL;
use crate::run_folder::RunFolder;
use crate::settings::Settings;
use crate::state::State;
use crate::vectors;

/// Where training starts or resumes.
pub(super) struct Begun {
    pub(super) folder: RunFolder,
    pub(super) manifest: Manifest,
    pub(super) state: State,
    /// Bytes of the log that are true of the state.
    pub(super) log: u64,
}

impl Run {
    /// A new run: its folder, its settings, and the state before the first step.
    pub(super) fn fresh(&self, job: &Job<'_>) -> Result<Begun> {
        let mlp = self.first_mlp()?;
        let folder = self.create_folder()?;
        let mut manifest = Manifest {
            version: 1,
            settings: self.settings.clone(),
            data: self.placed(folder.path()),
            warnings: self.warnings(job),
            files: BTreeMap::new(),
            sessions: vec![self.session(0)],
            result: None,
        };
        let start = self
            .start
            .as_ref()
            .map(|start| start.save(folder.path(), &mut manifest, &self.options.disk));
        let written = start
            .unwrap_or(Ok(()))
            .and_then(|()| {
                self.options.disk.write_whole(&folder.config(), self.settings.to_file().as_bytes())
            })
            .and_then(|()| manifest.save(folder.path(), &self.options.disk));
        if let Err(error) = written {
            // Neither can be, so nothing of the run is worth keeping.
            let _ = std::fs::remove_dir_all(folder.path());
            return Err(error).context("the run folder cannot be written");
        }
        Ok(Begun { folder, manifest, state: State::new(job, mlp), log: 0 })
    }

    /// A run that resumes from its newest whole checkpoint.
    pub(super) fn resumed(&self, job: &Job<'_>, path: &Path) -> Result<Begun> {
        let folder = RunFolder::open(path.to_owned())
            .with_context(|| format!("{} cannot be resumed", path.display()))?;
        // Read under the lock: until now another process may have changed it.
        let mut manifest = Manifest::load(path, &self.options.disk)?;
        self.check_data(&manifest)?;
        if !folder.config().exists() {
            self.options
                .disk
                .write_whole(&folder.config(), manifest.settings.to_file().as_bytes())?;
        }
        let has_model = path.join(MODEL).exists();
        // The run will write its own model in this place: another one must not be lost.
        if has_model {
            manifest.check_model(path)?;
        }
        let epochs = self.settings.training.epochs;
        // One whose model is gone has its last steps to do again.
        let is_finished =
            has_model && manifest.result.as_ref().is_some_and(|result| !result.stopped);
        if is_finished && epochs <= manifest.settings.training.epochs {
            bail!(
                "the run {} is finished, after {}; to train it further, add --epochs {}",
                path.display(),
                counted(manifest.settings.training.epochs, "epoch"),
                manifest.settings.training.epochs.saturating_mul(2),
            );
        }
        let (state, log) = self.newest_state(job, &folder, |_| true)?;
        if state.progress().epochs > epochs {
            bail!(
                "the run has trained {}, more than --epochs {epochs}",
                counted(state.progress().epochs, "epoch")
            );
        }
        if is_finished && job.is_at_its_end(&state) {
            bail!(
                "the run stopped early: its validation {} no longer improved, and more epochs do not \
                 change that",
                self.settings.training.monitor
            );
        }
        let session = self.session(state.progress().step);
        folder.sweep(&self.options.disk)?;
        manifest.sessions.push(session);
        manifest.settings = self.settings.clone();
        manifest.data = self.placed(path);
        manifest.warnings = self.warnings(job);
        manifest.result = None;
        self.options.disk.write_whole(&folder.config(), self.settings.to_file().as_bytes())?;
        manifest.save(path, &self.options.disk)?;
        folder.remove_report(&self.options.disk)?;
        Ok(Begun { folder, manifest, state, log })
    }

    /// What the run learns from, with the folders in which that lies now.
    fn placed(&self, folder: &Path) -> DataSummary {
        let place = Place::of(&self.sources.data, folder);
        let mut data = DataSummary { place, ..self.summary.clone() };
        if let (Some(replayed), Some(source)) = (&mut data.replayed, &self.sources.replay) {
            replayed.place = Place::of(source, folder);
        }
        data
    }

    /// Makes sure that the data is what the run learned from.
    pub(super) fn check_data(&self, manifest: &Manifest) -> Result<()> {
        let (was, is) = (&manifest.data, &self.summary);
        if was.is_same(is) {
            return Ok(());
        }
        bail!(
            "the data is not what this run learns from: {} with {} training and {} test samples, {}; \
             it was {} with {} and {}, {}",
            self.sources.data,
            is.training,
            is.test,
            is.digest,
            was.source,
            was.training,
            was.test,
            was.digest,
        );
    }

    /// The state of the newest whole checkpoint among those whose step `is_wanted`, and the length of
    /// its log; that before the first step if there is none.
    fn newest_state(
        &self,
        job: &Job<'_>,
        folder: &RunFolder,
        is_wanted: impl Fn(u64) -> bool,
    ) -> Result<(State, u64)> {
        let newest = checkpoints::newest(&folder.checkpoints(), &self.options.disk, is_wanted)?;
        for damaged in &newest.damaged {
            self.options.console.warn(&format!("skipped a damaged checkpoint: {damaged}"));
        }
        let Some((step, checkpoint)) = newest.found else {
            if !newest.damaged.is_empty() {
                bail!(
                    "no checkpoint in {} is whole; put one back, or {}",
                    folder.checkpoints().display(),
                    self.options.way_to_the_first_step(folder.path())
                );
            }
            return Ok((State::new(job, self.first_mlp()?), 0));
        };
        let path = checkpoints::path_of(&folder.checkpoints(), step);
        self.restored(job, folder, checkpoint).with_context(|| path.display().to_string())
    }

    /// The state in a checkpoint of this run, and the length of its log.
    fn restored(
        &self,
        job: &Job<'_>,
        folder: &RunFolder,
        checkpoint: Checkpoint,
    ) -> Result<(State, u64)> {
        let mark: Mark = serde_json::from_value(checkpoint.run()["record"].clone())?;
        let expected = self.mark();
        if mark.settings != expected.settings || mark.data != expected.data {
            bail!(
                "it is of a run with other settings or other data than {}",
                folder.config().display()
            );
        }
        Ok((State::restore(job, checkpoint)?, mark.log))
    }

    /// Goes back to the newest checkpoint before the divergence, at `step`, with half the learning
    /// rate; if the last try began there too and came to nothing, to the one before.
    pub(super) fn roll_back(
        &self,
        job: &Job<'_>,
        begun: &mut Begun,
        times: u32,
        step: u64,
        error: &FitError,
    ) -> Result<()> {
        let folder = begun.folder.checkpoints();
        let (pace, steps) = (Pace::new(self.pace.clone()), job.steps_per_epoch());
        // Not the one at which the last try began, if that is the try that failed: a killed run may
        // have gone on from before it.
        let last = begun.manifest.last_rollback();
        let last = last.filter(|last| last.rate_factor == rate_factor(times - 1));
        let tried = last.map(|last| last.to_step);
        let (state, log) = self.newest_state(job, &begun.folder, |at| {
            // Nor those that a signal asked for: a run without it would not have them.
            at < step && pace.may_be_at(at, steps) && tried != Some(at)
        })?;
        begun.state = state.rolled_back(times);
        begun.log = log;
        // Those after it are of a way that is not gone on.
        for at in checkpoints::steps_in(&folder)? {
            if at > begun.state.progress().step {
                self.options.disk.remove(&checkpoints::path_of(&folder, at))?;
            }
        }
        let rollback = Rollback {
            reason: error.to_string(),
            to_step: begun.state.progress().step,
            rate_factor: rate_factor(times),
        };
        self.say(&format!(
            "{}; back to step {} with the learning rate times {:e}",
            rollback.reason, rollback.to_step, rollback.rate_factor
        ))?;
        if let Some(session) = begun.manifest.sessions.last_mut() {
            session.rollbacks.push(rollback);
        }
        Ok(begun.manifest.save(begun.folder.path(), &self.options.disk)?)
    }

    /// The network before the first step.
    fn first_mlp(&self) -> Result<Mlp> {
        match &self.start {
            Some(start) => Ok(start.model.mlp.clone()),
            None => self.fresh_mlp(),
        }
    }

    /// A network whose weights are drawn, but for vectors of words that are given.
    fn fresh_mlp(&self) -> Result<Mlp> {
        let Settings { model, seed, embedding, .. } = &self.settings;
        match (&embedding.vectors, self.data.train.input()) {
            (Some(path), Some(input)) => {
                vectors::network_with(path, &model.architecture()?, input, *seed, &self.device)
            }
            _ => Ok(Mlp::init(model, *seed, &self.device)?),
        }
    }
}

/// What the learning rate is multiplied by after so many rollbacks.
fn rate_factor(rollbacks: u32) -> f64 {
    0.5f64.powi(rollbacks as i32)
}
