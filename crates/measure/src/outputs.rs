//! What a model says of every row of a data set.

use fireclay::{Loaded, PredictError};
use fireclay_data::Dataset;

use crate::error::EvaluateError;

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
    let input = &model.description().input;
    let is_encoded = data.input().is_some();
    if is_encoded && data.input() != Some(input) {
        return Err(EvaluateError::OtherColumns);
    }
    if !is_encoded {
        input.require_dense().map_err(PredictError::from)?;
    }
    let (found, expected) = (data.width(), model.features());
    if found != expected {
        return Err(EvaluateError::Features { found, expected });
    }
    let outputs = model.description().architecture.outputs;
    let mut all = Vec::with_capacity(data.len() * outputs);
    let step = batch_size.clamp(1, data.len());
    for start in (0..data.len()).step_by(step) {
        let rows = start..(start + step).min(data.len());
        all.extend(if is_encoded {
            model.outputs_of_encoded(&data.encoded_rows(rows))
        } else {
            model.outputs(&data.numbers(rows))
        }?);
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
