//! Why settings cannot be used.

use std::path::PathBuf;

use fireclay::{ConfigError, LossError, PreprocessingError, TargetScalingError, nearest};
use fireclay_data::AugmentationError;
use fireclay_measure::GoalError;
use fireclay_terminal::printable;

use super::Sampling;
use super::partial::RECIPES;
use crate::metrics::{MetricError, Monitor};
use crate::optimizer::OptimizerError;
use crate::schedule::ScheduleError;
use crate::vectors::VectorsFileError;

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No recipe has this name.
    #[error(
        "there is no recipe `{found}`{}; recipes: {}. A file of your own goes with --config",
        nearest(found, RECIPES.map(|(name, _)| name)).map_or(String::new(), |n| format!(", did you mean `{n}`?")),
        RECIPES.map(|(name, _)| name).join(", ")
    )]
    UnknownRecipe {
        /// The name given.
        found: String,
    },
    /// Vectors of words are given, and the data has no text.
    #[error("--vectors is for texts, and the data has no column of text; leave it out")]
    NoText,
    /// The file of the vectors of words cannot be read.
    #[error(transparent)]
    Vectors(#[from] VectorsFileError),
    /// Columns are named, and the data has none.
    #[error(
        "--target and other flags of tables have no effect on {data}; give a table with --data"
    )]
    NoTable {
        /// The data.
        data: String,
    },
    /// Flags of recordings, for other data.
    #[error(
        "--pattern and other flags of recordings have no effect on {data}; give sounds:PATH with --data"
    )]
    NoRecordings {
        /// The data.
        data: String,
    },
    /// A setting of augmentation that is out of its range.
    #[error(transparent)]
    Augmentation(#[from] AugmentationError),
    /// Augmentation of other rows than those of recordings.
    #[error("--augment flags have no effect on {data}: only recordings are augmented. Remove them")]
    NothingToAugment {
        /// The data.
        data: String,
    },
    /// A bound of memory, for data that is read whole.
    #[error("--memory has no effect on {data}: only tables are read in blocks. Remove it")]
    NoBlocks {
        /// The data.
        data: String,
    },
    /// A preprocessing of all features, for a table.
    #[error("--preprocessing has no effect on a table, whose columns have their own; remove it")]
    PreprocessedTable,
    /// There are no validation rows to monitor.
    #[error("--monitor {monitor} needs validation samples; give --validation, or leave it out")]
    NothingToMonitor {
        /// The metric.
        monitor: Monitor,
    },
    /// A settings file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Settings are not TOML, or not settings.
    #[error("{origin}: {message}")]
    Parse {
        /// The file, recipe or flags they come from.
        origin: String,
        /// What is wrong and where, with the nearest known word.
        message: String,
    },
    /// A value of the training section is out of range.
    #[error("{setting} is {found}; it must be {expected}")]
    OutOfRange {
        /// The setting at fault.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// A parameter that the network does not have.
    #[error(
        "the network has no parameter `{path}`{}",
        nearest.as_ref().map_or(String::new(), |n| format!("; did you mean `{n}`?"))
    )]
    Parameter {
        /// The path.
        path: String,
        /// The most similar path that it has.
        nearest: Option<String>,
    },
    /// The network's sizes contradict the data's.
    #[error(
        "model.{setting} is {found} but the data has {expected}; leave it out to take the data's"
    )]
    Sizes {
        /// The setting at fault.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What the data has.
        expected: String,
    },
    /// The network is impossible.
    #[error("model: {0}")]
    Model(#[from] ConfigError),
    /// The loss is impossible.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// The optimizer is impossible.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
    /// The schedule is impossible.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A metric does not fit the task.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The preprocessing is impossible.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
    /// Targets are scaled that are no numbers.
    #[error(
        "data.target_scaling (--target-scaling) is for the numbers of a regression, and this is a {task} task; leave it out"
    )]
    TargetScaling {
        /// The kind of task.
        task: &'static str,
    },
    /// Labels are smoothed where none excludes the others.
    #[error(
        "loss.label_smoothing (--label-smoothing) is for classes, and this is a {task} task; leave it out"
    )]
    LabelSmoothing {
        /// The kind of task.
        task: &'static str,
    },
    /// The targets cannot be scaled.
    #[error("{found}{}", advice(.found))]
    Targets {
        /// What is wrong with them.
        #[from]
        found: TargetScalingError,
    },
    /// Targets are transformed that are no numbers.
    #[error(
        "data.target_transform (--target-transform) is for the numbers of a regression, and this is a {task} task; leave it out"
    )]
    TargetTransform {
        /// The kind of task.
        task: &'static str,
    },
    /// Classes are weighed where there are none, or by a loss without class weights.
    #[error(
        "training.class_weights (--class-weights) is for classes and their cross-entropy, and this is a {task} task; leave it out"
    )]
    ClassWeights {
        /// The kind of task.
        task: &'static str,
    },
    /// A weight of a label that no class has.
    #[error(
        "--class-weights: there is no class `{label}`{}",
        nearest.as_ref().map_or(String::new(), |n| format!("; did you mean `{}`?", printable(n, 40)))
    )]
    UnknownClass {
        /// The label given.
        label: String,
        /// The most similar label.
        nearest: Option<String>,
    },
    /// Rows lack what they are drawn by.
    #[error("--sampling {} needs {lacks}, which the data lacks; leave it out", sampling.name())]
    Sampling {
        /// The choice.
        sampling: Sampling,
        /// What is missing.
        lacks: &'static str,
    },
    /// All rows of a split have the weight 0.
    #[error(
        "all {split} samples have the weight 0; give some of them a weight, or split the rows otherwise"
    )]
    NoWeight {
        /// The split.
        split: &'static str,
    },
    /// What is chosen on the validation samples is impossible.
    #[error(transparent)]
    Decision(#[from] GoalError),
}

/// What can be done about targets that cannot be scaled.
fn advice(error: &TargetScalingError) -> &'static str {
    match error {
        TargetScalingError::NotPositive { .. } => {
            "; give --target-transform none, or targets above 0"
        }
        _ => "; give --target-scaling none, or targets in another unit",
    }
}
