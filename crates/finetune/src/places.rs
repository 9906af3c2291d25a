//! Labels that are only numbers, of a model or of data, and the names that the other side has.

use fireclay::{Model, Task};
use fireclay_data::TrainTest;
use fireclay_measure::{are_numbers, are_places, fitted_to, task_of};

use crate::score::{ScoreError, losses};

/// A model and data with the same names, where one side had mere numbers and the other the names.
///
/// Numbers may be names themselves, as those of digits are. So the outputs of a classifier are only
/// places if it predicts the data's labels so: if its loss on the training rows is lower than that of
/// outputs of zero. None if there is nothing to rename.
///
/// # Errors
///
/// A device that cannot be read.
pub(crate) fn named(
    model: &Model,
    data: &TrainTest,
) -> Result<Option<(Model, TrainTest)>, ScoreError> {
    let found = task_of(data.train.targets());
    if found.kind() != model.task.kind() || !are_places(found.names(), model.task.names()) {
        return Ok(None);
    }
    let fitted = fitted_to(data.clone(), &model.task)?;
    if !matches!(found, Task::Regression { .. }) {
        let losses = losses(model, &fitted.train)?;
        // A loss that is no number is not below anything.
        let is_known = losses.model < losses.zero;
        if !is_known {
            return Ok(None);
        }
    }
    if !are_numbers(model.task.names()) {
        return Ok(Some((model.clone(), fitted)));
    }
    let task = model.task.clone().with_names(found.names().to_vec());
    Ok(Some((Model { task, ..model.clone() }, data.clone())))
}
