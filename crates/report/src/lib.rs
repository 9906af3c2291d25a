//! A run, or a model, as one page.
//!
//! A [`Report`] shows what a run was made with, its curves, and how good its model is on the test
//! rows, by way of [`fireclay_measure`].
//!
//! Nothing here prints, and nothing is changed: runs, models and data are only read.

mod diagram;
mod error;
mod log;
mod page;
mod pictures;
mod plots;
mod raster;
mod report;
mod tensorboard;

pub use error::ReportError;
pub use fireclay_measure::Options;
pub use log::{Curve, Curves, Log};
pub use report::{Plot, Report};
pub use tensorboard::EventFile;
