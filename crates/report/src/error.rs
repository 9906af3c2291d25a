//! Why there is no report.

use std::path::{Path, PathBuf};

use fireclay::ModelFileError;
use fireclay_measure::EvaluateError;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file of a run cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A line of the measurements is none.
    #[error("{}, line {line}, is not a measurement", .path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The data that was named cannot be read, or is not what the run learned from.
    #[error("{reason}")]
    Data {
        /// Why, with its causes.
        reason: String,
    },
    /// The model in the folder of a run is not the one that the run ended with.
    #[error(transparent)]
    Replaced(std::io::Error),
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(#[from] ModelFileError),
    /// The model cannot be measured.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A plot cannot be drawn.
    #[error("the plot {name} cannot be drawn: {reason}")]
    Plot {
        /// The plot.
        name: String,
        /// What went wrong.
        reason: String,
    },
}

impl ReportError {
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }
}
