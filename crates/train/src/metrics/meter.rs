//! Measuring a split over an epoch.

use std::fmt;

use burn::data::dataloader::Progress;
use burn::tensor::{Tensor, TensorReadError};
use burn::train::metric::{MetricDefinition, MetricMetadata};
use burn::train::renderer::MetricState;
use fireclay::Task;
use fireclay_terminal::short;
use serde::{Deserialize, Serialize};

use super::measure::{self, Measure};
use super::{MetricChoice, Observed};

/// One measured number.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Name in files and messages, such as `accuracy`.
    pub name: String,
    /// Its value; shares are in `[0, 1]`.
    pub value: f64,
    /// Whether it is a share, which people read in per cent.
    pub is_share: bool,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_share {
            write!(f, "{} {:.2} %", self.name, 100.0 * self.value)
        } else {
            write!(f, "{} {}", self.name, short(self.value))
        }
    }
}

/// Where in the run a measurement is taken.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Optimizer steps of this epoch so far.
    pub step: usize,
    /// Optimizer steps of an epoch.
    pub steps: usize,
    /// Learning rate of the last step.
    pub learning_rate: f64,
}

impl From<Moment> for MetricMetadata {
    fn from(moment: Moment) -> Self {
        Self {
            progress: Progress::new(moment.step, moment.steps, None),
            iteration: Some(moment.step),
            lr: Some(moment.learning_rate.into()),
        }
    }
}

/// All metrics of one split, over one epoch at a time.
pub struct Meter {
    metrics: Vec<Box<dyn Measure>>,
    /// What was measured in this epoch, if a metric needs all of it to go on.
    measured: Vec<Observed>,
    /// What was not measured yet, step by step.
    pending: Vec<Observed>,
    rows: usize,
}

/// Rows after which pending observations are measured, however few the steps.
const MOST_PENDING_ROWS: usize = 1 << 14;
/// Steps after which pending observations are measured: a device is read this seldom.
const MOST_PENDING_STEPS: usize = 50;

impl Meter {
    /// A meter of the loss, the accuracy or, of a regression, the errors, and `choices`.
    pub fn new(task: &Task, choices: &[MetricChoice]) -> Self {
        let mut metrics = measure::always(task);
        metrics.extend(choices.iter().map(|choice| choice.measure(task)));
        Self { metrics, measured: Vec::new(), pending: Vec::new(), rows: 0 }
    }

    /// Forgets everything, for a new epoch.
    pub fn start(&mut self, moment: Moment) -> Result<(), TensorReadError> {
        self.measured.clear();
        self.pending.clear();
        self.rows = 0;
        self.metrics.iter_mut().try_for_each(|metric| metric.start(moment))
    }

    /// Takes note of a step, off the graph; nothing is read from the device yet.
    pub fn record(&mut self, observed: Observed) {
        self.rows += observed.rows();
        self.pending.push(observed);
    }

    /// Whether it is time to [`measure`](Self::measure).
    pub fn is_due(&self) -> bool {
        self.pending.len() >= MOST_PENDING_STEPS || self.rows >= MOST_PENDING_ROWS
    }

    /// How many steps before the last recorded one a loss stopped being finite, if one did among
    /// those not measured yet.
    ///
    /// # Errors
    ///
    /// The device's, when it cannot be read.
    pub fn first_not_finite(&self) -> Result<Option<usize>, TensorReadError> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let losses = self.pending.iter().map(|step| step.losses.clone()).collect();
        let losses = Tensor::cat(losses, 0).try_into_vec_as::<f32>()?;
        let Some(row) = losses.iter().position(|loss| !loss.is_finite()) else { return Ok(None) };
        let mut rows = 0;
        let step = self.pending.iter().position(|step| {
            rows += step.losses.dims()[0];
            row < rows
        });
        Ok(step.map(|step| self.pending.len() - 1 - step))
    }

    /// Measures what was recorded since the last time.
    ///
    /// # Errors
    ///
    /// The device's, when it cannot be read.
    pub fn measure(&mut self, moment: Moment) -> Result<(), TensorReadError> {
        self.rows = 0;
        let Some(joined) = Observed::joined(std::mem::take(&mut self.pending)) else {
            return Ok(());
        };
        self.metrics.iter_mut().try_for_each(|metric| metric.update(&joined, moment))?;
        if self.metrics.iter().any(|metric| metric.needs_rows()) {
            self.measured.push(joined);
        }
        Ok(())
    }

    /// What it takes to go on in the middle of an epoch, to the bit.
    pub(crate) fn progress(&mut self) -> MeterProgress {
        MeterProgress {
            sums: self.metrics.iter_mut().filter_map(|metric| metric.sum()).map(|s| *s).collect(),
            measured: self.measured.clone(),
            pending: self.pending.clone(),
        }
    }

    /// Resumes in the middle of an epoch; the meter has been [started](Self::start).
    ///
    /// # Errors
    ///
    /// The device's, when it cannot be read.
    pub(crate) fn resume(
        &mut self,
        progress: MeterProgress,
        moment: Moment,
    ) -> Result<(), TensorReadError> {
        let kept = progress.measured.iter().map(|observed| observed.rows() as u64).sum::<u64>();
        if progress.sums.first().is_some_and(|losses| losses.rows != kept) {
            self.metrics.iter_mut().for_each(|metric| metric.lacks_rows());
        }
        for observed in &progress.measured {
            self.metrics.iter_mut().try_for_each(|metric| metric.update(observed, moment))?;
        }
        let sums = self.metrics.iter_mut().filter_map(|metric| metric.sum());
        sums.zip(progress.sums).for_each(|(sum, kept)| *sum = kept);
        self.measured = progress.measured;
        progress.pending.into_iter().for_each(|observed| self.record(observed));
        Ok(())
    }

    /// How many of its metrics go on from a sum.
    pub(crate) fn sums(&mut self) -> usize {
        self.metrics.iter_mut().filter_map(|metric| metric.sum()).count()
    }

    /// The numbers of the last measurement alone, of metrics that have any before the epoch's end.
    pub fn latest(&self) -> Vec<Measured> {
        self.metrics.iter().flat_map(|metric| metric.latest()).collect()
    }

    /// The numbers of the epoch so far, of metrics that have any before its end.
    pub fn so_far(&self) -> Vec<Measured> {
        self.metrics.iter().flat_map(|metric| metric.so_far()).collect()
    }

    /// The numbers of the whole epoch.
    ///
    /// # Errors
    ///
    /// The device's, when it cannot be read.
    pub fn finish(&mut self, moment: Moment) -> Result<Vec<Measured>, TensorReadError> {
        self.measure(moment)?;
        let mut measured = Vec::new();
        for metric in &mut self.metrics {
            measured.extend(metric.finish()?);
        }
        Ok(measured)
    }

    /// Names and kinds for Burn's dashboard.
    pub fn definitions(&self) -> Vec<MetricDefinition> {
        self.metrics.iter().flat_map(|metric| metric.definitions()).collect()
    }

    /// The last update of each metric for Burn's dashboard.
    pub fn states(&self) -> Vec<MetricState> {
        self.metrics.iter().flat_map(|metric| metric.states()).collect()
    }
}

/// A mean over rows, under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sum {
    /// Each value times its rows, or their weight.
    pub(crate) total: f64,
    pub(crate) rows: u64,
    /// The weight of the rows, if they have weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<f64>,
}

impl Sum {
    /// Adds the mean of some rows.
    pub(super) fn add(&mut self, mean: f64, rows: usize) {
        self.total += mean * rows as f64;
        self.rows += rows as u64;
    }

    /// Adds the weighted mean of some rows of this weight.
    pub(super) fn add_weighted(&mut self, mean: f64, rows: usize, weight: f64) {
        self.total += mean * weight;
        self.rows += rows as u64;
        *self.weight.get_or_insert(0.0) += weight;
    }

    /// 0 of rows that all weigh nothing.
    pub(super) fn mean(self) -> f64 {
        match self.weight {
            Some(0.0) => 0.0,
            weight => self.total / weight.unwrap_or(self.rows as f64),
        }
    }
}

/// What a [`Meter`] resumes from in the middle of an epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct MeterProgress {
    pub(crate) sums: Vec<Sum>,
    pub(crate) measured: Vec<Observed>,
    pub(crate) pending: Vec<Observed>,
}
