//! Why a model cannot be measured.

use fireclay::{ModelFileProblem, PredictError};

use crate::targets::MatchError;

/// Why a model cannot be measured on some data.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The rows of a table are encoded for another model.
    #[error("the rows are encoded for another model; read the table for this one")]
    OtherColumns,
    /// The rows have no columns with names.
    #[error("the importance of columns needs a table; give one with --data")]
    NoColumns,
    /// The rows do not have as many features as the model takes.
    #[error("the rows have another number of features, {found}; this model takes {expected}")]
    Features {
        /// Features of a row.
        found: usize,
        /// Features of the model.
        expected: usize,
    },
    /// The targets are not the outputs of the model.
    #[error(transparent)]
    Targets(#[from] MatchError),
    /// Outputs and targets are not of equally many rows.
    #[error("the number of outputs is {found}; the rows, {rows}, have {outputs} each")]
    Count {
        /// Outputs given.
        found: usize,
        /// Rows of the targets.
        rows: usize,
        /// Outputs of a row.
        outputs: usize,
    },
    /// The model has more outputs than are measured.
    #[error("the model has {found} outputs; at most {most} can be measured")]
    TooManyOutputs {
        /// Outputs of the model.
        found: usize,
        /// Outputs that can be measured.
        most: usize,
    },
    /// The model gives something that is not a number.
    #[error("row {row}: output {output} of the model is {found}")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The output, from 0.
        output: usize,
        /// Its value.
        found: f32,
    },
    /// Two models cannot be compared.
    #[error("the second model has other labels: {found}; those of the first are {expected}")]
    OtherLabels {
        /// Labels of the second model.
        found: String,
        /// Labels of the first.
        expected: String,
    },
    /// The second model is given other rows than the first.
    #[error("the rows of the second model have other targets than those of the first")]
    OtherRows,
    /// The model cannot be copied to the host.
    #[error(transparent)]
    Model(#[from] ModelFileProblem),
    /// The outputs cannot be computed.
    #[error(transparent)]
    Predict(#[from] PredictError),
}
