//! What people see while a run goes on.

mod bar;
mod dashboard;
mod plain;

use std::io;

pub use bar::Bar;
pub use dashboard::Dashboard;
pub use plain::Plain;

use crate::evaluate::Evaluation;
use crate::job::Job;
use crate::metrics::{Measured, Meter, Moment};
use crate::schedule::Length;
use crate::state::Snapshot;

/// Is told what happens in a run. An error ends the run.
pub trait Observer {
    /// Training is about to begin.
    ///
    /// # Errors
    ///
    /// That of what it writes to.
    fn start(&mut self, job: &Job<'_>, length: Length, meter: &Meter) -> io::Result<()>;

    /// Some steps were taken and measured.
    ///
    /// # Errors
    ///
    /// That of what it writes to.
    fn progress(&mut self, progress: &Progress<'_>) -> io::Result<()>;

    /// An epoch ended.
    ///
    /// # Errors
    ///
    /// That of what it writes to.
    fn epoch(&mut self, report: &EpochReport) -> io::Result<()>;

    /// What the loop is to do here, after a step or, once more, after an epoch.
    ///
    /// # Errors
    ///
    /// That of what was written since the last time.
    fn due(&mut self, _step: u64, _epoch_ended: bool) -> io::Result<Due> {
        Ok(Due::Nothing)
    }

    /// Is given the state that it asked for.
    ///
    /// # Errors
    ///
    /// That of what it writes to.
    fn keep(&mut self, _snapshot: Snapshot) -> io::Result<()> {
        Ok(())
    }
}

/// What the loop is to do between two steps. Of several wishes the last in this order holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Go on.
    Nothing,
    /// Hand over the state and go on.
    Keep,
    /// End the run here and keep what was learnt.
    Finish,
    /// Hand over the state and stop.
    Interrupt,
}

/// Where a run is within an epoch.
pub struct Progress<'a> {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Optimizer steps of the run so far.
    pub step: u64,
    /// Where in the epoch, and the learning rate.
    pub moment: Moment,
    /// Samples of this epoch so far.
    pub samples: usize,
    /// Samples a second.
    pub speed: f64,
    /// What was measured.
    pub meter: &'a Meter,
}

/// What an epoch came to.
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Optimizer steps of the run so far.
    pub step: u64,
    /// Samples trained on.
    pub samples: usize,
    /// Seconds spent training on them; validation is not counted.
    pub seconds: f64,
    /// Measured on the training split while the weights moved.
    pub training: Vec<Measured>,
    /// Measured on the validation split after it; empty if there is none.
    pub validation: Evaluation,
    /// Whether it is the best epoch so far.
    pub improved: bool,
}

/// The line of an epoch that stays on the screen.
fn epoch_line(report: &EpochReport, epochs: u64) -> String {
    let width = epochs.to_string().len();
    let mut line = format!("epoch {:>width$}/{epochs}  {}", report.epoch, list(&report.training));
    if !report.validation.measured.is_empty() {
        line += &format!("  val {}", list(&report.validation.measured));
    }
    // A line of the usual two numbers fits 80 columns.
    let decimals = usize::from(report.seconds < 9.95);
    line + &format!("  {:.decimals$} s", report.seconds)
}

/// Measured numbers on one line.
pub(crate) fn list(measured: &[Measured]) -> String {
    measured.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
