//! What is left of the old task.

use anyhow::Result;
use fireclay::{Architecture, Mlp, Model, Task};
use fireclay_data::TrainTest;
use fireclay_measure::{are_places, fitted_to, matched, only, task_of};
use fireclay_terminal::{row, table};

use crate::head::values;
use crate::score::scores;

/// How well the old task is done before and after; empty of several labels a row.
///
/// If the tuned model no longer has the old outputs, the old output layer is put on its body.
pub(super) fn forgetting(
    base: &Model,
    tuned: &Model,
    source: &str,
    old: TrainTest,
) -> Result<String> {
    let old = match &base.task {
        Task::Classification { labels, .. } => {
            let found = task_of(old.train.targets());
            let known = found.names().iter().filter(|label| labels.contains(label));
            let labels: Vec<String> = known.cloned().collect();
            if labels.is_empty() && !are_places(found.names(), base.task.names()) {
                return Ok(format!(
                    "{source} has no label that the start knew, so nothing was forgotten\n"
                ));
            }
            // None of them by name is all of them by place.
            only(old, &labels)?
        }
        Task::MultiLabel { .. } => return Ok(String::new()),
        Task::Regression { .. } => old,
    };
    let before = fitted_to(old.clone(), &base.task)?.test;
    let is_unit_kept = base.task.scaling() == tuned.task.scaling();
    let (after, model, how) = match matched(&old.test, &tuned.task) {
        Ok(after) if is_unit_kept => (after, tuned.clone(), ""),
        _ => (before.clone(), swap_back(base, tuned)?, ", with the old head on the tuned body"),
    };
    let old_task = format!("the old task, {source}");
    let heading = match base.task {
        Task::Regression { .. } => {
            row![format!("{old_task}, on its test samples"), "rmse", "mae", "r2"]
        }
        _ => row![old_task, "accuracy on its test samples, 95 % interval"],
    };
    let was = [row!["before"], scores(base, &before)?].concat();
    let is = [row![format!("after{how}")], scores(&model, &after)?].concat();
    Ok(table(&[heading, was, is]))
}

/// The tuned network with the base's output layer.
fn swap_back(base: &Model, tuned: &Model) -> Result<Model> {
    let merged = tuned.mlp.clone().merged();
    let Architecture { input_shape, outputs, ensemble, .. } = base.mlp.architecture().clone();
    let network = Architecture { input_shape, outputs, ensemble, ..merged.architecture().clone() };
    let head = format!("layers.{}.", merged.layers.len() - 1);
    let (body, old) = (merged.tensors()?, base.mlp.tensors()?);
    let mlp = Mlp::from_tensors(&network, &tuned.device(), |name, _| {
        let from = if name.starts_with(&head) { &old } else { &body };
        values(from, name)
    })?;
    Ok(Model { mlp, ..base.clone() })
}
