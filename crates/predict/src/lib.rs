//! Predictions of files: pictures, recordings, arrays and tables in, text or JSON out.
//!
//! [`Predicting`] reads an input as it is asked for, predicts its rows in batches with a
//! [`Predictor`](fireclay_model::Predictor) or whatever else [`Predicts`], and gives [`Answer`]s that
//! write themselves in a [`Form`].
//! An input may come from a stranger: memory grows with the bytes that arrive, and whatever is malformed
//! is a [`PredictError`] that names it.
//!
//! Nothing here knows Burn, and the library prints nothing; with the feature `program` there is also the
//! command line that `fireclay-predict` and `fireclay predict` share.

mod answer;
mod columns;
mod error;
mod foreign;
mod model;
mod predicting;
mod predicts;
#[cfg(feature = "program")]
pub mod program;
mod rows;
mod sheet;
mod table;
mod waiting;

pub use answer::{Answer, Form};
pub use columns::ColumnsError;
pub use error::{InputProblem, PredictError};
pub use foreign::Foreign;
pub use model::{LoadError, ManifestProblem, check_run, explained, load, load_adapter, model_file};
pub use predicting::{Batch, Predicting};
pub use predicts::Predicts;
pub use rows::{Reading, WindowSize};
pub use sheet::{Extra, Format, Sheet};
pub use table::{CellProblem, Heading, TableError};
