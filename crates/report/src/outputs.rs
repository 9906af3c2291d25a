//! What a model says of every row of a data set.

use burn::tensor::TensorReadError;
use fireclay::{Loaded, ModelFileProblem, PredictError, Task};
use fireclay_data::{DataError, Dataset, Targets};

/// The logits, or values, of all rows: `[rows, outputs]`, row by row.
///
/// `batch_size` rows are computed at a time; the outputs do not depend on it.
///
/// # Errors
///
/// [`EvaluateError::Features`] for rows of another width, [`EvaluateError::NotFinite`] for a model
/// that gives a NaN or an infinity, [`EvaluateError::Predict`].
pub fn outputs(
    model: &Loaded,
    data: &Dataset,
    batch_size: usize,
) -> Result<Vec<f32>, EvaluateError> {
    model.description().input.require_dense().map_err(PredictError::from)?;
    let (found, expected) = (data.width(), model.features());
    if found != expected {
        return Err(EvaluateError::Features { found, expected });
    }
    let outputs = model.description().architecture.outputs;
    let mut all = Vec::with_capacity(data.len() * outputs);
    let step = batch_size.clamp(1, data.len());
    for start in (0..data.len()).step_by(step) {
        all.extend(model.outputs(&data.numbers(start..(start + step).min(data.len())))?);
    }
    check_finite(&all, outputs)?;
    log::info!("computed the outputs of {} rows", data.len());
    Ok(all)
}

/// Refuses outputs that nothing can be said of.
pub(crate) fn check_finite(outputs: &[f32], width: usize) -> Result<(), EvaluateError> {
    match outputs.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(EvaluateError::NotFinite {
            row: at / width,
            output: at % width,
            found: outputs[at],
        }),
        None => Ok(()),
    }
}

/// The targets of a data set as a model counts them.
///
/// Labels are matched by name. Where the names of one side are just numbers, which is what a model
/// has that came from a file without names, they are places and are matched by place, unless the
/// other side has numbers too: the digit 5 is not the digit 0.
///
/// # Errors
///
/// [`EvaluateError::Task`] for targets of another kind, [`EvaluateError::Labels`] and
/// [`EvaluateError::Names`] for labels that the model does not know.
pub(crate) fn matched(data: &Dataset, task: &Task) -> Result<Targets, EvaluateError> {
    let found = train::task(data.targets());
    if found.kind() != task.kind() {
        return Err(EvaluateError::Task { found: found.kind(), expected: task.kind() });
    }
    if found.names() == task.names() {
        return Ok(data.targets().clone());
    }
    if let Targets::Classes { ids, .. } = data.targets() {
        let relabelled = data.relabelled(task.names());
        let by_place = are_places_of(found.names(), task.names())
            || are_places_of(task.names(), found.names());
        return match relabelled {
            Ok(data) => Ok(data.targets().clone()),
            Err(_) if by_place && found.outputs() == task.outputs() => {
                Ok(Targets::Classes { ids: ids.clone(), labels: task.names().to_vec() })
            }
            Err(error) => Err(EvaluateError::Labels(error)),
        };
    }
    let (found, expected) = (found.names().join(", "), task.names().join(", "));
    Err(EvaluateError::Names { found, expected })
}

/// Whether the labels are "0", "1", … and the others no numbers at all.
fn are_places_of(labels: &[String], others: &[String]) -> bool {
    labels.iter().enumerate().all(|(i, label)| *label == i.to_string())
        && !others.iter().any(|label| label.parse::<i64>().is_ok())
}

/// Why a model cannot be measured on some data.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The rows do not have as many features as the model takes.
    #[error("the rows have {found} features; this model takes {expected}")]
    Features {
        /// Features of a row.
        found: usize,
        /// Features of the model.
        expected: usize,
    },
    /// The targets are of another kind than the model's outputs.
    #[error("{}", train::differing_tasks(expected, found))]
    Task {
        /// The kind of the data.
        found: &'static str,
        /// The kind of the model.
        expected: &'static str,
    },
    /// A label of the data is none of the model's.
    #[error("the labels of the data are not those of the model")]
    Labels(#[source] DataError),
    /// The targets of the data are not the model's outputs.
    #[error("the data has the targets {found}; the model's are {expected}")]
    Names {
        /// Names in the data.
        found: String,
        /// Names in the model.
        expected: String,
    },
    /// Outputs and targets are not of equally many rows.
    #[error("there are {found} outputs, for {rows} rows of {outputs}")]
    Count {
        /// Outputs given.
        found: usize,
        /// Rows of the targets.
        rows: usize,
        /// Outputs of a row.
        outputs: usize,
    },
    /// The model has more outputs than are measured.
    #[error("the model has {found} outputs; at most {most} can be measured")]
    TooManyOutputs {
        /// Outputs of the model.
        found: usize,
        /// Outputs that can be measured.
        most: usize,
    },
    /// The model gives something that is not a number.
    #[error("row {row}: output {output} of the model is {found}")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The output, from 0.
        output: usize,
        /// Its value.
        found: f32,
    },
    /// Two models cannot be compared.
    #[error("the second model has other labels: {found}; those of the first are {expected}")]
    OtherLabels {
        /// Labels of the second model.
        found: String,
        /// Labels of the first.
        expected: String,
    },
    /// The device failed.
    #[error("the device failed")]
    Device(#[from] TensorReadError),
    /// The model cannot be copied to the host.
    #[error(transparent)]
    Model(#[from] ModelFileProblem),
    /// The outputs cannot be computed.
    #[error(transparent)]
    Predict(#[from] PredictError),
}
