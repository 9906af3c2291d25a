//! What is left of the old task.

use anyhow::{Context, Result};
use fireclay::{Architecture, Mlp, Model, Task};
use fireclay_data::TrainTest;
use train::{fitted_to, only, task};

use crate::score::accuracy;
use crate::table::{row, table};

/// How well the old task is done before and after.
///
/// If the tuned model no longer has the old labels, the old output layer is put on its body.
pub(crate) fn forgetting(
    base: &Model,
    tuned: &Model,
    source: &str,
    old: TrainTest,
) -> Result<String> {
    if !matches!(base.task, Task::Classification { .. }) {
        return Ok(String::new());
    }
    let known = |label: &&String| base.task.names().contains(label);
    let labels: Vec<String> =
        task(old.train.targets()).names().iter().filter(known).cloned().collect();
    if labels.is_empty() {
        return Ok(format!(
            "{source} has no label that the start knew, so nothing was forgotten\n"
        ));
    }
    let old = only(old, &labels)?;
    let before = fitted_to(old.clone(), &base.task)?.test;
    let has_labels =
        task(old.train.targets()).names().iter().all(|l| tuned.task.names().contains(l));
    let (after, model, how) = if has_labels {
        (fitted_to(old, &tuned.task)?.test, tuned.clone(), "")
    } else {
        let body = swap_back(base, tuned)?;
        (before.clone(), body, ", with the old head on the tuned body")
    };
    let (Some(was), Some(is)) = (accuracy(base, &before)?, accuracy(&model, &after)?) else {
        return Ok(String::new());
    };
    let rows = [
        row![format!("the old task, {source}"), "accuracy on its test samples, 95 % interval"],
        row!["before", was],
        row![format!("after{how}"), is],
    ];
    Ok(table(&rows))
}

/// The tuned network with the base's output layer.
fn swap_back(base: &Model, tuned: &Model) -> Result<Model> {
    let merged = tuned.mlp.clone().merged();
    let network = Architecture { outputs: base.task.outputs(), ..merged.architecture().clone() };
    let head = format!("layers.{}.", merged.layers.len() - 1);
    let (body, old) = (merged.tensors()?, base.mlp.tensors()?);
    let mlp = Mlp::from_tensors(&network, &tuned.device(), |name, _| {
        let from = if name.starts_with(&head) { &old } else { &body };
        let found = from.iter().find(|tensor| tensor.name == name);
        found.map(|t| t.values.clone()).with_context(|| format!("{name} is missing"))
    })?;
    Ok(Model { mlp, ..base.clone() })
}
