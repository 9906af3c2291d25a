//! What is measured, by Burn's learner metrics and, of a regression, its errors.
//!
//! Every number is exact over the whole epoch for any batch size: losses are given row by row and
//! counts are summed, so that a short batch weighs what it holds.

mod average_precision;
mod choice;
mod errors;
mod macro_score;
mod measure;
mod meter;
mod monitor;
mod observed;

pub use choice::{MetricChoice, MetricError};
pub use meter::{Measured, Meter, Moment};
pub(crate) use meter::{MeterProgress, Sum};
pub use monitor::Monitor;
pub use observed::Observed;
