//! `fireclay predict`: the program `fireclay-predict` on any backend.

use anyhow::Result;
use fireclay::{Description, Loaded, PredictError, Prediction, Value, ValuesError};
use fireclay_predict::program::{self, PredictArgs};
use fireclay_predict::{InputProblem, Predicts};
use fireclay_terminal::Exit;

use crate::model::{self, Where};

/// Predict pictures (PNG, JPEG, BMP, GIF, WebP, TIFF), recordings (WAV, FLAC), arrays (IDX, NPY) and tables (CSV).
#[derive(Debug, clap::Args)]
#[command(
    about = "Predict pictures, recordings, arrays and tables",
    after_help = program::examples("fireclay predict")
)]
pub(crate) struct Args {
    #[command(flatten)]
    predict: PredictArgs,
    /// Where to compute.
    #[command(flatten)]
    at: Where,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let device = args.at.device()?;
    let PredictArgs { model, adapter, .. } = &args.predict;
    let model = model::load(model, adapter.as_deref(), &device)?;
    program::run(&args.predict, &Chosen(model))?;
    Ok(Exit::Done)
}

/// A model on the device that the user chose.
struct Chosen(Loaded);

impl Predicts for Chosen {
    fn description(&self) -> &Description {
        self.0.description()
    }

    fn members(&self) -> usize {
        self.0.members()
    }

    fn predict(&self, rows: &[Vec<f32>]) -> Result<Vec<Prediction>, InputProblem> {
        self.0.predict(rows).map_err(of_rows)
    }

    fn predict_values(
        &self,
        columns: &[String],
        rows: &[Vec<Value<'_>>],
    ) -> Result<Vec<Prediction>, InputProblem> {
        self.0.predict_values(columns, rows).map_err(of_values)
    }

    fn spread(&self, rows: &[Vec<f32>]) -> Result<Option<Vec<f32>>, InputProblem> {
        self.0.spread(rows).map_err(of_rows)
    }

    fn spread_of_values(
        &self,
        columns: &[String],
        rows: &[Vec<Value<'_>>],
    ) -> Result<Option<Vec<f32>>, InputProblem> {
        self.0.spread_of_values(columns, rows).map_err(of_values)
    }
}

fn of_rows(error: PredictError) -> InputProblem {
    match error {
        PredictError::Row(error) => error.into(),
        error => InputProblem::Backend(Box::new(error)),
    }
}

fn of_values(error: ValuesError) -> InputProblem {
    match error {
        ValuesError::Input(error) => error.into(),
        error => InputProblem::Backend(Box::new(error)),
    }
}
