//! A model measured on a data set.

use fireclay::{Loaded, Task};
use fireclay_data::{Dataset, Targets};

use crate::error::EvaluateError;
use crate::evaluation::Evaluation;
use crate::options::Options;
use crate::outputs::{check_finite, outputs};
use crate::targets::{MatchError, matched, task_of};
use crate::{classification, multi_label, regression};

/// Measures a model on all rows of a data set.
///
/// Rows count as much as their weights say, if they have weights. Labels are matched by name, or by place where the model's or the data's are just numbers.
///
/// # Errors
///
/// An [`EvaluateError`]: data that does not fit the model, a model that gives NaN, a device that
/// fails.
pub fn evaluate(
    model: &Loaded,
    data: &Dataset,
    options: &Options,
) -> Result<Evaluation, EvaluateError> {
    let task = &model.description().task;
    let targets = matched(data, task)?.targets().clone();
    let outputs = outputs(model, data, options.batch_size)?;
    let evaluation = evaluate_weighted(task, &outputs, &targets, data.weights(), options)?;
    log::info!("measured them, with {} draws of the bootstrap", options.resamples);
    Ok(evaluation)
}

/// Outputs up to which each is measured, with an interval: those of ImageNet-21k, and some.
///
/// A thousand draws of the bootstrap keep 200 MB then; a file from a stranger must not ask for
/// more.
const MOST_OUTPUTS: usize = 25_000;

/// Evaluates given outputs: calibrated logits, or values in the unit of their target, `[rows, outputs]`.
///
/// Classes and labels are predicted as the thresholds of the task decide. Everything is computed in
/// double precision.
///
/// # Errors
///
/// An [`EvaluateError`]: targets of another kind or number, an output that is not finite.
pub fn evaluate_outputs(
    task: &Task,
    outputs: &[f32],
    targets: &Targets,
    options: &Options,
) -> Result<Evaluation, EvaluateError> {
    evaluate_weighted(task, outputs, targets, None, options)
}

/// As [`evaluate_outputs`], of rows with weights, `[rows]`, each at least 0 and not all 0; none means 1
/// each.
///
/// # Errors
///
/// As for [`evaluate_outputs`].
pub fn evaluate_weighted(
    task: &Task,
    outputs: &[f32],
    targets: &Targets,
    weights: Option<&[f32]>,
    options: &Options,
) -> Result<Evaluation, EvaluateError> {
    let width = task.outputs();
    if width > MOST_OUTPUTS {
        return Err(EvaluateError::TooManyOutputs { found: width, most: MOST_OUTPUTS });
    }
    check_finite(outputs, width)?;
    let weights = match weights {
        Some(weights) => weights.iter().map(|&weight| f64::from(weight)).collect(),
        None => vec![1.0; outputs.len() / width],
    };
    match (task, targets) {
        (Task::Classification { .. }, Targets::Classes { ids, .. }) => {
            check_count(outputs, ids.len(), width)?;
            Ok(classification::evaluation(task, outputs, ids, &weights, options))
        }
        (Task::MultiLabel { .. }, Targets::MultiLabel { values, .. }) => {
            check_count(outputs, values.len() / width, width)?;
            Ok(multi_label::evaluation(task, outputs, values, &weights, options))
        }
        (Task::Regression { targets: names, .. }, Targets::Values { values, .. }) => {
            check_count(outputs, values.len() / names.len(), width)?;
            Ok(regression::evaluation(task, outputs, values, &weights, options))
        }
        _ => {
            let found = task_of(targets).kind();
            Err(MatchError::Task { found, expected: task.kind() }.into())
        }
    }
}

/// Refuses outputs that are not of as many rows as the targets.
fn check_count(outputs: &[f32], rows: usize, width: usize) -> Result<(), EvaluateError> {
    let found = outputs.len();
    if found == rows * width {
        return Ok(());
    }
    Err(EvaluateError::Count { found, rows, outputs: width })
}
