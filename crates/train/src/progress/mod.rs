//! What people see during a run.

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

/// Shows training to a person. An error ends the run.
pub trait Display {
    /// Shows that training is about to begin.
    ///
    /// # Errors
    ///
    /// That of what it writes to.
    fn start(&mut self, job: &Job<'_>, length: Length, meter: &Meter) -> io::Result<()>;

    /// Shows the steps that were measured last.
    ///
    /// # Errors
    ///
    /// That of what it writes to.
    fn progress(&mut self, progress: &Progress<'_>) -> io::Result<()>;

    /// Shows a finished epoch.
    ///
    /// # Errors
    ///
    /// That of what it writes to.
    fn epoch(&mut self, report: &EpochReport) -> io::Result<()>;

    /// Whether the person asked for the end of the run.
    fn wants_to_stop(&self) -> bool;
}

/// Keeps the record of training: its measurements and its states. An error ends the run.
pub trait Keeper {
    /// Records the steps that were measured last.
    ///
    /// # Errors
    ///
    /// That of what it writes to.
    fn record_steps(&mut self, progress: &Progress<'_>) -> io::Result<()>;

    /// Records a finished epoch.
    ///
    /// # Errors
    ///
    /// That of what it writes to.
    fn record_epoch(&mut self, report: &EpochReport) -> io::Result<()>;

    /// Decides what the loop does after a step and, once more, after an epoch.
    ///
    /// # Errors
    ///
    /// That of what was written since the last time.
    fn due(&mut self, step: u64, epoch_ended: bool) -> io::Result<Due>;

    /// Keeps the state that [`due`](Self::due) asked for.
    ///
    /// # Errors
    ///
    /// That of what it writes to.
    fn keep(&mut self, snapshot: Snapshot) -> io::Result<()>;
}

/// What a run says to a person, around its training and within.
pub trait Console: Send + Sync {
    /// Prints a text and a line break.
    ///
    /// # Errors
    ///
    /// That of what it writes to; it ends the run.
    fn say(&self, text: &str) -> io::Result<()>;

    /// Prints a warning.
    fn warn(&self, warning: &str);

    /// A display of the steps that come next.
    fn display(&self) -> Box<dyn Display>;
}

/// Says nothing, shows nothing and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Console for Silent {
    fn say(&self, _text: &str) -> io::Result<()> {
        Ok(())
    }

    fn warn(&self, _warning: &str) {}

    fn display(&self) -> Box<dyn Display> {
        Box::new(Self)
    }
}

impl Display for Silent {
    fn start(&mut self, _job: &Job<'_>, _length: Length, _meter: &Meter) -> io::Result<()> {
        Ok(())
    }

    fn progress(&mut self, _progress: &Progress<'_>) -> io::Result<()> {
        Ok(())
    }

    fn epoch(&mut self, _report: &EpochReport) -> io::Result<()> {
        Ok(())
    }

    fn wants_to_stop(&self) -> bool {
        false
    }
}

impl Keeper for Silent {
    fn record_steps(&mut self, _progress: &Progress<'_>) -> io::Result<()> {
        Ok(())
    }

    fn record_epoch(&mut self, _report: &EpochReport) -> io::Result<()> {
        Ok(())
    }

    fn due(&mut self, _step: u64, _epoch_ended: bool) -> io::Result<Due> {
        Ok(Due::Nothing)
    }

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
