//! The record of a run in progress: measurements, checkpoints, and the signals in between.

use std::io;

use fireclay::{Mlp, Model};
use serde::{Deserialize, Serialize};

use crate::checkpoints::{Checkpoints, Pace};
use crate::progress::{Due, EpochReport, Keeper, Progress};
use crate::run_folder::MetricsLog;
use crate::signals::Signals;
use crate::state::Snapshot;

/// What a checkpoint keeps beside the state: which run it is of, and how far its log was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Digest of the settings that the state depends on.
    pub settings: String,
    /// Digest of the data.
    pub data: String,
    /// Bytes of `metrics.jsonl`.
    pub log: u64,
}

/// Writes the record of a run.
pub struct Recorder<'a> {
    /// The measurements.
    pub log: MetricsLog,
    /// The checkpoints.
    pub checkpoints: Checkpoints,
    /// When one is due.
    pub pace: Pace,
    /// What was asked for from outside.
    pub signals: Signals,
    /// Of the settings and the data; the log's length is filled in.
    pub mark: Mark,
    /// What is around a network in a model file.
    pub model: &'a dyn Fn(Mlp) -> Model,
    /// Optimizer steps of an epoch.
    pub steps_per_epoch: u64,
}

impl Keeper for Recorder<'_> {
    fn record_steps(&mut self, progress: &Progress<'_>) -> io::Result<()> {
        self.log.write_steps(progress)
    }

    fn record_epoch(&mut self, report: &EpochReport) -> io::Result<()> {
        self.log.write_epoch(report)
    }

    fn due(&mut self, step: u64, epoch_ended: bool) -> io::Result<Due> {
        self.checkpoints.poll()?;
        if self.signals.stop().is_some() {
            return Ok(Due::Interrupt);
        }
        let epoch = epoch_ended.then(|| step / self.steps_per_epoch);
        let is_due = self.pace.is_due(step, epoch) || self.signals.take_checkpoint();
        Ok(if is_due { Due::Keep } else { Due::Nothing })
    }

    fn keep(&mut self, snapshot: Snapshot) -> io::Result<()> {
        let step = snapshot.progress().step;
        let best = snapshot.best_epoch().map(|epoch| epoch * self.steps_per_epoch);
        let mark = Mark { log: self.log.whole(), ..self.mark.clone() };
        let checkpoint =
            snapshot.into_checkpoint(|mlp| (self.model)(mlp), &mark).map_err(io::Error::other)?;
        // The log first: a checkpoint speaks of lines that are on disk.
        self.checkpoints.write(step, best, checkpoint, self.log.flusher()?)?;
        self.pace.reset();
        Ok(())
    }
}
