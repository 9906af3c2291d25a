//! What a model says of every row of a data set.

use burn::tensor::TensorReadError;
use fireclay::{Loaded, ModelFileProblem, PredictError};
use fireclay_data::Dataset;
use train::MatchError;

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
    /// The targets are not the outputs of the model.
    #[error(transparent)]
    Targets(#[from] MatchError),
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
