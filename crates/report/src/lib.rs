//! How good a model is, where it fails, and what became of a run.
//!
//! [`evaluate`] measures a model on a data set, each number with its 95 % interval; [`compare`]
//! asks whether two models differ by more than chance; [`Report`] makes one page of a run.
//!
//! ```no_run
//! use fireclay::{Backend, DeviceChoice, Loaded};
//! use fireclay_data::{LoadOptions, Source, load};
//! use fireclay_report::{Options, evaluate};
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
//! Why the statistics are computed here, in double precision on the host, and not by the metrics
//! of training: those are sums over batches in single precision, made to be cheap; these are looked
//! at once, have to equal what other programs compute of the same predictions, and are resampled a
//! thousand times for their intervals.
//!
//! Nothing here prints, and nothing is changed: runs, models and data are only read.

mod bootstrap;
mod calibration;
mod classification;
mod compare;
mod counts;
mod diagram;
mod estimate;
mod evaluate;
mod log;
mod multi_label;
mod outputs;
mod page;
mod pictures;
mod plots;
mod raster;
mod regression;
mod report;
mod tensorboard;

pub use calibration::{Bin, Calibration};
pub use classification::{Classification, TopK};
pub use compare::{ChangedRow, Comparison, McNemar, McNemarMethod, compare, mcnemar};
pub use counts::{Averages, ClassScores};
pub use estimate::{Estimate, Interval};
pub use evaluate::{Evaluation, Measure, Options, Scores, WorstRow, evaluate, evaluate_outputs};
pub use log::{Curve, Curves, Log};
pub use multi_label::MultiLabel;
pub use outputs::{EvaluateError, outputs};
pub use regression::{Regression, TargetScores};
pub use report::{Plot, Report, ReportError};
pub use tensorboard::EventFile;
