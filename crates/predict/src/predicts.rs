//! Where predictions are computed.

use std::num::NonZero;
use std::thread::available_parallelism;

use fireclay_model::{Description, Prediction, Predictor, Value, check_row};

use crate::InputProblem;

/// A model that predicts rows: a [`Predictor`] on the host, or whatever else computes the same.
pub trait Predicts {
    /// What the model is, apart from its weights.
    fn description(&self) -> &Description;

    /// Number of members whose predictions are averaged; 1 of a model that is no ensemble.
    fn members(&self) -> usize;

    /// Predicts rows of raw features, each `[features]`.
    ///
    /// # Errors
    ///
    /// [`InputProblem::Row`] for a row that the model does not take, [`InputProblem::Backend`] if the
    /// computation fails.
    fn predict(&self, rows: &[Vec<f32>]) -> Result<Vec<Prediction>, InputProblem>;

    /// Predicts rows by the names of their columns, which may come in any order.
    ///
    /// # Errors
    ///
    /// [`InputProblem::Values`] for a column or a value that the model does not take,
    /// [`InputProblem::Backend`] if the computation fails.
    fn predict_values(
        &self,
        columns: &[String],
        rows: &[Vec<Value<'_>>],
    ) -> Result<Vec<Prediction>, InputProblem>;

    /// How far the members of an ensemble are apart: the standard deviation over them of each
    /// probability, or of each value in the unit of its target, `[rows, names]`; none of a model that is
    /// no ensemble.
    ///
    /// # Errors
    ///
    /// As for [`predict`](Self::predict).
    fn spread(&self, rows: &[Vec<f32>]) -> Result<Option<Vec<f32>>, InputProblem>;

    /// As [`spread`](Self::spread), of rows by the names of their columns.
    ///
    /// # Errors
    ///
    /// As for [`predict_values`](Self::predict_values).
    fn spread_of_values(
        &self,
        columns: &[String],
        rows: &[Vec<Value<'_>>],
    ) -> Result<Option<Vec<f32>>, InputProblem>;
}

/// On all cores; the number of threads changes no output.
impl Predicts for Predictor {
    fn description(&self) -> &Description {
        self.description()
    }

    fn members(&self) -> usize {
        self.members()
    }

    fn predict(&self, rows: &[Vec<f32>]) -> Result<Vec<Prediction>, InputProblem> {
        for (at, row) in rows.iter().enumerate() {
            check_row(at, row, self.features())?;
        }
        let threads = available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let outputs = self.outputs(&rows.concat(), threads)?;
        Ok(self.description().task.predictions(outputs))
    }

    fn predict_values(
        &self,
        columns: &[String],
        rows: &[Vec<Value<'_>>],
    ) -> Result<Vec<Prediction>, InputProblem> {
        Ok(self.predict_values(columns, rows)?)
    }

    fn spread(&self, rows: &[Vec<f32>]) -> Result<Option<Vec<f32>>, InputProblem> {
        Ok(self.spread(rows)?)
    }

    fn spread_of_values(
        &self,
        columns: &[String],
        rows: &[Vec<Value<'_>>],
    ) -> Result<Option<Vec<f32>>, InputProblem> {
        Ok(self.spread_of_values(columns, rows)?)
    }
}
