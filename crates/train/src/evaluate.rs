//! A network measured on rows that it does not learn from.
//!
//! `fireclay_measure` has the loop for models that are ready. This is one of its own since it measures
//! a network between two epochs, where it is, with the metrics of training: it reads the device only
//! when rows have gathered, and its numbers, single precision in part, are those of the logs of all
//! earlier runs, which a resumed run continues byte for byte.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use burn::train::renderer::MetricState;
use fireclay::{Mlp, NetworkInput, TargetTensor, restored};
use fireclay_data::{Batch, BatchTargets, Dataset, RowSource};

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
        let outputs = mlp.forward(raw.prepared(job.preprocessing));
        // Logits are calibrated before their loss; values have one in the unit of the network.
        let learned = match job.task.decision() {
            Some(_) => restored(job.task, outputs.clone()),
            None => outputs.clone(),
        };
        let losses = job.loss.rows(learned, &targets.clone().standardized(job.task));
        let weights = row_weights(source.data(), rows, job.device);
        let observed = Observed { weights, ..Observed::new(losses, outputs, targets) };
        meter.record(observed.restored(job.task));
        if meter.is_due() {
            meter.measure(moment)?;
        }
    }
    Ok(Evaluation { measured: meter.finish(moment)?, states: meter.states() })
}

/// The outputs of a network for some rows of a job, `[rows, outputs]`: logits, or values in the unit of
/// their target.
///
/// # Errors
///
/// The device's, when it cannot be read.
pub(crate) fn outputs(
    job: &Job<'_>,
    mlp: &Mlp,
    rows: &[usize],
) -> Result<Vec<f32>, TensorReadError> {
    let mut all = Vec::with_capacity(rows.len() * job.task.outputs());
    for rows in rows.chunks(EVALUATION_BATCH) {
        let (raw, _) = batch(&job.rows, rows);
        let outputs = restored(job.task, mlp.forward(raw.prepared(job.preprocessing)));
        all.extend(outputs.try_into_vec_as::<f32>()?);
    }
    Ok(all)
}

/// The weights of some rows of a data set, `[rows]`, if its rows have weights.
pub(crate) fn row_weights(data: &Dataset, rows: &[usize], device: &Device) -> Option<Tensor<1>> {
    let weights = data.weights()?;
    let weights: Vec<f32> = rows.iter().map(|&row| weights[row]).collect();
    Some(Tensor::from_data(TensorData::new(weights, [rows.len()]), device))
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
pub fn targets(batch: BatchTargets) -> TargetTensor {
    match batch {
        BatchTargets::Classes(classes) => TargetTensor::Classes(classes),
        BatchTargets::Values(values) => TargetTensor::Values(values),
    }
}

/// Raw features, `[batch, features]`, with the terms of texts, and what is right.
pub(crate) fn batch(source: &RowSource<'_>, rows: &[usize]) -> (NetworkInput, TargetTensor) {
    let Batch { inputs: columns, terms, targets: right } = source.batch(rows);
    (NetworkInput { columns, terms }, targets(right))
}
