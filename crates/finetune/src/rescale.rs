//! The scaling of the targets of a regression whose outputs are kept.

use burn::tensor::TensorReadError;
use fireclay::{Model, TargetScaling, Task};
use fireclay_data::{Dataset, Targets};
use fireclay_measure::task_of;

use crate::score::{Losses, network_outputs};

/// How many times as large the squared error in the old scaling must be for a new one to be taken.
const CLEARLY: f64 = 2.0;

/// A target whose scaling was fitted to the new rows, since the network's numbers say more in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rescaled {
    /// The name of the target.
    pub target: String,
    /// Its mean and deviation before.
    pub before: [f32; 2],
    /// Those of the new training rows.
    pub after: [f32; 2],
}

/// A regression with the scalings that its outputs are kept with.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The model.
    pub(crate) model: Model,
    /// What was changed of its scaling.
    pub(crate) rescaled: Vec<Rescaled>,
    /// The mean squared errors of the model and of the mean of each target, in variances of the
    /// targets; none if the model lacks some of them.
    pub(crate) losses: Option<Losses>,
}

/// Mean squared errors of one target, in its variance over the training rows.
#[derive(Clone, Copy, Debug, Default)]
struct Errors {
    kept: f64,
    refitted: f64,
    mean: f64,
}

/// The scaling of each output that the data has a target for: the model's, or that of `wanted` if the
/// same numbers of the network are clearly closer to the targets in it.
///
/// A target in another unit is so met exactly: standardized it is what the network was trained for.
/// None if there is no scaling to choose.
///
/// # Errors
///
/// A device that cannot be read.
pub(crate) fn kept(
    base: &Model,
    wanted: &Task,
    data: &Dataset,
) -> Result<Option<Kept>, TensorReadError> {
    let (Task::Regression { targets, intervals, .. }, Some(new)) = (&base.task, wanted.scaling())
    else {
        return Ok(None);
    };
    // Numbers of logarithms, or several of a target, are not compared in variances of it.
    if base.task.is_logarithmic() || new.logarithm || intervals.width() > 1 {
        return Ok(None);
    }
    let found = task_of(data.targets());
    if found.names() != wanted.names() {
        return Ok(None);
    }
    let places = wanted.names().iter().map(|name| targets.iter().position(|t| t == name));
    let places: Vec<Option<usize>> = places.collect();
    let old = base.task.scaling().cloned().unwrap_or_else(|| TargetScaling {
        mean: vec![0.0; targets.len()],
        deviation: vec![1.0; targets.len()],
        logarithm: false,
    });
    let errors = errors(base, &old, new, &places, data)?;
    let (mut scaling, mut rescaled) = (old, Vec::new());
    let mut losses = Losses { model: 0.0, zero: 0.0 };
    for (i, (errors, place)) in errors.iter().zip(&places).enumerate() {
        let Some(place) = *place else { continue };
        // An error that is no number is not below anything.
        let is_near = errors.kept <= CLEARLY * errors.refitted;
        let is_refitted = errors.refitted < errors.mean && !is_near;
        if is_refitted {
            let before = [scaling.mean[place], scaling.deviation[place]];
            let after = [new.mean[i], new.deviation[i]];
            [scaling.mean[place], scaling.deviation[place]] = after;
            rescaled.push(Rescaled { target: targets[place].clone(), before, after });
        }
        losses.model += if is_refitted { errors.refitted } else { errors.kept };
        losses.zero += errors.mean;
    }
    let count = places.len() as f64;
    let losses = Losses { model: losses.model / count, zero: losses.zero / count };
    let losses = places.iter().all(Option::is_some).then_some(losses);
    let scaling = if rescaled.is_empty() { base.task.scaling().cloned() } else { Some(scaling) };
    let intervals = intervals.clone();
    let task = Task::Regression { targets: targets.clone(), scaling, intervals };
    Ok(Some(Kept { model: Model { task, ..base.clone() }, rescaled, losses }))
}

/// The errors of each target of the data, of which the model's output stands at its place.
fn errors(
    base: &Model,
    old: &TargetScaling,
    new: &TargetScaling,
    places: &[Option<usize>],
    data: &Dataset,
) -> Result<Vec<Errors>, TensorReadError> {
    let Targets::Values { values, .. } = data.targets() else { return Ok(Vec::new()) };
    let outputs = network_outputs(base, data)?;
    let rows = outputs.chunks_exact(base.task.outputs()).zip(values.chunks_exact(places.len()));
    let mut sums = vec![Errors::default(); places.len()];
    for (outputs, values) in rows {
        for (i, (sum, place)) in sums.iter_mut().zip(places).enumerate() {
            let Some(place) = *place else { continue };
            let output = f64::from(outputs[place]);
            let (mean, deviation) = (f64::from(new.mean[i]), f64::from(new.deviation[i]));
            let target = (f64::from(values[i]) - mean) / deviation;
            let value = output * f64::from(old.deviation[place]) + f64::from(old.mean[place]);
            sum.kept += ((value - mean) / deviation - target).powi(2);
            sum.refitted += (output - target).powi(2);
            sum.mean += target.powi(2);
        }
    }
    let count = data.len() as f64;
    Ok(sums
        .into_iter()
        .map(|sum| Errors {
            kept: sum.kept / count,
            refitted: sum.refitted / count,
            mean: sum.mean / count,
        })
        .collect())
}
