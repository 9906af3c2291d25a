//! A model measured on a data set.

use fireclay::{Loaded, Task};
use fireclay_data::{Dataset, Targets};
use serde::{Deserialize, Serialize};
use train::{MatchError, matched};

use crate::classification::{self, Classification};
use crate::estimate::Estimate;
use crate::multi_label::{self, MultiLabel};
use crate::outputs::{EvaluateError, check_finite, outputs};
use crate::regression::{self, Regression};

/// How a model is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Rows that are computed at a time; 1024. It changes nothing but time and memory.
    pub batch_size: usize,
    /// Classes that count as one answer, for the top-k accuracies; 3 and 5. Those that are as many
    /// as the classes, or more, are left out.
    pub top: Vec<usize>,
    /// Rows with the greatest loss that are listed; 20.
    pub worst: usize,
    /// Draws of the bootstrap, at least one; 1000.
    pub resamples: usize,
    /// Fixes the draws of the bootstrap.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch_size: 1024, top: vec![3, 5], worst: 20, resamples: 1000, seed: 0 }
    }
}

/// How good a model is on some rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows measured on.
    pub rows: usize,
    /// Mean loss, the usual one of the task and without weights: cross-entropy of a classifier,
    /// binary cross-entropy of a multi-label model, squared error in regression; of standardized
    /// targets, if the task has a scaling, while all else is in the unit of the targets.
    pub loss: Estimate,
    /// What else there is to measure.
    pub scores: Scores,
    /// The rows with the greatest loss, the worst first; of equal ones the first.
    pub worst: Vec<WorstRow>,
}

/// What there is to measure, by the kind of task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
pub enum Scores {
    /// Of a classifier.
    Classification(Classification),
    /// Of a multi-label model.
    MultiLabel(MultiLabel),
    /// Of a regression model.
    Regression(Regression),
}

/// A row that the model does badly on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorstRow {
    /// The row of the data set, from 0.
    pub row: usize,
    /// Its loss.
    pub loss: f64,
    /// What it is: its label, its labels with commas between them, or its values.
    pub truth: String,
    /// What the model says, likewise.
    pub predicted: String,
    /// The probability of what the model says; of a classifier only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Whether the model is right.
    pub is_right: bool,
}

/// A number of an evaluation with its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Its name, such as `accuracy` or `macro-f1`.
    pub name: String,
    /// The number.
    pub estimate: Estimate,
    /// Whether it is a share, from 0 to 1.
    pub is_share: bool,
    /// Whether more is better.
    pub more_is_better: bool,
}

/// Measures a model on all rows of a data set.
///
/// Labels are matched by name, or by place where the model's or the data's are just numbers.
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
    let evaluation = evaluate_outputs(task, &outputs, &targets, options)?;
    log::info!("measured them, with {} draws of the bootstrap", options.resamples);
    Ok(evaluation)
}

/// Outputs up to which each is measured, with an interval: those of ImageNet-21k, and some.
///
/// A thousand draws of the bootstrap keep 200 MB then; a file from a stranger must not ask for
/// more.
const MOST_OUTPUTS: usize = 25_000;

/// Evaluates given outputs: logits, or values in the unit of their target, `[rows, outputs]`.
///
/// Everything is computed in double precision.
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
    let width = task.outputs();
    if width > MOST_OUTPUTS {
        return Err(EvaluateError::TooManyOutputs { found: width, most: MOST_OUTPUTS });
    }
    check_finite(outputs, width)?;
    let count = |rows: usize| {
        let found = outputs.len();
        let fits = found == rows * width;
        if fits { Ok(()) } else { Err(EvaluateError::Count { found, rows, outputs: width }) }
    };
    match (task, targets) {
        (Task::Classification { labels }, Targets::Classes { ids, .. }) => {
            count(ids.len())?;
            Ok(classification::evaluation(labels, outputs, ids, options))
        }
        (Task::MultiLabel { labels }, Targets::MultiLabel { values, .. }) => {
            count(values.len() / width)?;
            Ok(multi_label::evaluation(labels, outputs, values, options))
        }
        (Task::Regression { targets: names, scaling }, Targets::Values { values, .. }) => {
            count(values.len() / width)?;
            Ok(regression::evaluation(names, scaling.as_ref(), outputs, values, options))
        }
        _ => {
            let found = train::task(targets).kind();
            Err(MatchError::Task { found, expected: task.kind() }.into())
        }
    }
}

impl Evaluation {
    /// Every number of the whole, the most telling first; those of single classes and targets are
    /// in [`Evaluation::scores`].
    pub fn measures(&self) -> Vec<Measure> {
        let mut all = match &self.scores {
            Scores::Classification(scores) => scores.measures(),
            Scores::MultiLabel(scores) => scores.measures(),
            Scores::Regression(scores) => scores.measures(),
        };
        all.insert(all.len().min(1), Measure::error("loss", self.loss));
        all
    }

    /// The number of a name, such as `accuracy`.
    pub fn measure(&self, name: &str) -> Option<Measure> {
        self.measures().into_iter().find(|measure| measure.name == name)
    }
}

impl Measure {
    /// A share of which more is better.
    pub(crate) fn share(name: &str, estimate: Estimate) -> Self {
        Self { name: name.to_owned(), estimate, is_share: true, more_is_better: true }
    }

    /// Something of which less is better.
    pub(crate) fn error(name: &str, estimate: Estimate) -> Self {
        Self { name: name.to_owned(), estimate, is_share: false, more_is_better: false }
    }
}

/// The rows with the greatest loss, the worst first.
pub(crate) fn worst(losses: &[f64], count: usize) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..losses.len()).collect();
    rows.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]).then(a.cmp(&b)));
    rows.truncate(count);
    rows
}
