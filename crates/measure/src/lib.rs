//! How good a model is on some rows, and whether two models differ by more than chance.
//!
//! [`evaluate`] measures a model on a data set, each number with its 95 % interval; [`compare`]
//! measures two on the same rows.
//!
//! ```no_run
//! use fireclay::{Backend, DeviceChoice, Loaded};
//! use fireclay_data::{LoadOptions, Source, load};
//! use fireclay_measure::{Options, evaluate};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Backend::Flex.device(DeviceChoice::Default)?;
//! let model = Loaded::load("runs/mnist-1/model.safetensors".as_ref(), &device)?;
//! let data = load(&Source::Mnist, &LoadOptions::default(), &mut |_| {})?;
//! let evaluation = evaluate(&model, &data.test, &Options::default())?;
//! for measure in evaluation.measures() {
//!     assert!(measure.estimate.low <= measure.estimate.high, "{}", measure.name);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Why the statistics are computed here, in double precision on the host, and not by the metrics of
//! training: those are sums over batches in single precision, made to be cheap. These are computed
//! once, have to equal what other programs compute of the same predictions, and are resampled a
//! thousand times for their intervals.

mod bootstrap;
mod calibration;
mod classification;
mod compare;
mod counts;
mod decide;
mod error;
mod estimate;
mod evaluate;
mod evaluation;
mod importance;
mod multi_label;
mod options;
mod outputs;
mod ranking;
mod regression;
mod targets;

pub use calibration::{Bin, Calibration};
pub use compare::{ChangedRow, Comparison, McNemar, McNemarMethod, compare, mcnemar};
pub use counts::{Averages, ClassScores};
pub use decide::{Decided, Finding, GoalError, Goals, ThresholdGoal};
pub use error::EvaluateError;
pub use estimate::{Estimate, Interval};
pub use evaluate::{evaluate, evaluate_outputs, evaluate_weighted};
pub use evaluation::{
    Classification, Evaluation, IntervalScores, Measure, MultiLabel, Regression, Scores,
    TargetScores, TopK, WorstRow,
};
pub use importance::{Importance, importance};
pub use options::Options;
pub use outputs::outputs;
pub use ranking::{Ranked, Ranking, average, of_classes, of_labels};
pub use regression::{median, r2};
pub use targets::{MatchError, are_numbers, are_places, fitted_to, matched, only, task_of};
