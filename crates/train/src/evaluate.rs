//! A network measured on rows that it does not learn from.
//!
//! `fireclay_measure` has the loop for models that are ready. This is one of its own since it measures
//! a network between two epochs, where it is, with the metrics of training: it reads the device only
//! when rows have gathered, and its numbers, single precision in part, are those of the logs of all
//! earlier runs, which a resumed run continues byte for byte.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorReadError};
use burn::train::renderer::MetricState;
use fireclay::{Mlp, Targets, prepare};
use fireclay_data::{BatchTargets, RowSource};

use crate::job::Job;
use crate::metrics::{Measured, Meter, MetricChoice, Moment, Observed};

/// Rows of a batch when nothing is trained: enough to keep a device busy, few enough to be small.
const EVALUATION_BATCH: usize = 1000;

/// Measures a network on some rows of a data set, in batches.
///
/// # Errors
///
/// The device's, when it cannot be read.
pub fn evaluate(
    job: &Job<'_>,
    mlp: &Mlp,
    source: &RowSource<'_>,
    rows: &[usize],
) -> Result<Evaluation, TensorReadError> {
    let choices: Vec<MetricChoice> = job
        .training
        .measured()
        .into_iter()
        .filter(|choice| !matches!(choice, MetricChoice::LearningRate | MetricChoice::Speed))
        .collect();
    let mut meter = Meter::new(job.task, &choices);
    let moment =
        Moment { step: 0, steps: rows.len().div_ceil(EVALUATION_BATCH), learning_rate: 0.0 };
    if rows.is_empty() {
        return Ok(Evaluation { measured: Vec::new(), states: Vec::new() });
    }
    meter.start(moment)?;
    for rows in rows.chunks(EVALUATION_BATCH) {
        let (raw, targets) = batch(source, rows);
        let outputs = mlp.forward(prepare(job.preprocessing, raw));
        let losses = job.loss.rows(outputs.clone(), &targets.clone().standardized(job.task));
        meter.record(Observed { losses, outputs, targets }.restored(job.task));
        if meter.is_due() {
            meter.measure(moment)?;
        }
    }
    Ok(Evaluation { measured: meter.finish(moment)?, states: meter.states() })
}

/// What was measured on some rows.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// The numbers, the loss first; none if there were no rows.
    pub measured: Vec<Measured>,
    /// The same for Burn's dashboard.
    pub states: Vec<MetricState>,
}

impl Evaluation {
    /// The number of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.measured.iter().find(|measured| measured.name == name).map(|measured| measured.value)
    }

    /// All numbers by name.
    pub fn by_name(&self) -> BTreeMap<String, f64> {
        self.measured.iter().map(|measured| (measured.name.clone(), measured.value)).collect()
    }
}

/// What is right of the rows of a batch, as losses take it.
pub fn targets(batch: BatchTargets) -> Targets {
    match batch {
        BatchTargets::Classes(classes) => Targets::Classes(classes),
        BatchTargets::Values(values) => Targets::Values(values),
    }
}

/// Raw features, `[batch, features]`, and what is right.
pub(crate) fn batch(source: &RowSource<'_>, rows: &[usize]) -> (Tensor<2>, Targets) {
    let batch = source.batch(rows);
    (batch.inputs, targets(batch.targets))
}
