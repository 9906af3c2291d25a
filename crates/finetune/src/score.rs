//! How good models are on the same rows, and how they differ.

use burn::tensor::TensorReadError;
use fireclay::{Loaded, Model, Preprocessing, first_largest};
use fireclay_data::{DataError, Dataset, Features, Targets};
use fireclay_measure::{
    Classification, EvaluateError, Evaluation, MatchError, Options, Regression, Scores, evaluate,
    evaluate_outputs, matched,
};
use fireclay_terminal::short;

/// Why models cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A model cannot be evaluated.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The data has other targets than the model.
    #[error(transparent)]
    Match(#[from] MatchError),
    /// Some rows cannot be taken out of the data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device cannot be read.
    #[error("the device failed: {0}")]
    Device(#[from] TensorReadError),
}

/// The names of the scores that models are compared by; none of several labels a row.
pub(crate) fn score_names(targets: &Targets) -> &'static [&'static str] {
    match targets {
        Targets::Classes { .. } => &["accuracy"],
        Targets::MultiLabel { .. } => &[],
        Targets::Values { .. } => &["rmse", "mae", "r2"],
    }
}

/// The scores of a model on all rows of a data set as people read them, in the order of
/// [`score_names`].
///
/// # Errors
///
/// Data that does not fit the model, or a device that cannot be read.
pub(crate) fn scores(model: &Model, data: &Dataset) -> Result<Vec<String>, ScoreError> {
    let evaluation = match numbers(model, data) {
        // A start may overflow on rows that it was not made for; what was tuned need not.
        Err(EvaluateError::NotFinite { .. }) => {
            return Ok(vec!["not finite".to_owned(); score_names(data.targets()).len()]);
        }
        evaluation => evaluation?,
    };
    Ok(match &evaluation.scores {
        Scores::Classification(scores) => vec![accuracy(scores)],
        Scores::MultiLabel(_) => Vec::new(),
        Scores::Regression(Regression { rmse, mae, r2, .. }) => {
            [rmse, mae, r2].map(|score| short(score.value)).to_vec()
        }
    })
}

fn numbers(model: &Model, data: &Dataset) -> Result<Evaluation, EvaluateError> {
    evaluate(&Loaded::of(model)?, data, &Options::of_numbers())
}

/// The accuracy with its 95 % interval.
fn accuracy(scores: &Classification) -> String {
    let [value, low, high] =
        [scores.accuracy.value, scores.accuracy.low, scores.accuracy.high].map(|s| 100.0 * s);
    format!("{value:.2} % ({low:.2} to {high:.2})")
}

/// Mean losses on the same rows: of a model, and of outputs that are zero for every row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// Of the model; NaN if an output of it is not finite.
    pub model: f64,
    /// Of outputs of zero.
    pub zero: f64,
}

/// Rows that are enough to tell whether a model knows what its outputs are named after.
const ENOUGH: usize = 10_000;

/// The usual loss of a model for its task, on rows spread evenly over a data set, and that of
/// outputs of zero.
///
/// # Errors
///
/// Data that does not fit the model, or a device that cannot be read.
pub(crate) fn losses(model: &Model, data: &Dataset) -> Result<Losses, ScoreError> {
    let apart = data.len().div_ceil(ENOUGH).max(1);
    let rows: Vec<usize> = (0..data.len()).step_by(apart).collect();
    let data = matched(&data.only_rows(&rows)?, &model.task)?;
    let mut zeros = vec![0.0; rows.len() * model.task.outputs()];
    model.task.restore(&mut zeros);
    let of_zero = evaluate_outputs(&model.task, &zeros, data.targets(), &Options::of_numbers())?;
    let of_model = match numbers(model, &data) {
        Err(EvaluateError::NotFinite { .. }) => f64::NAN,
        evaluation => evaluation?.loss.value,
    };
    Ok(Losses { model: of_model, zero: of_zero.loss.value })
}

/// How two models with the same outputs differ on the same rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Difference {
    /// The largest difference of any output of the networks: of standardized numbers, in a regression
    /// whose targets are.
    pub(crate) largest: f32,
    /// Rows with the same largest output.
    pub(crate) agreeing: usize,
    /// All rows.
    pub(crate) rows: usize,
}

/// Compares two models on all rows of a data set.
///
/// # Errors
///
/// A device that cannot be read.
pub(crate) fn difference(
    a: &Model,
    b: &Model,
    data: &Dataset,
) -> Result<Difference, TensorReadError> {
    let mut found = Difference { rows: data.len(), ..Difference::default() };
    let [a_outputs, b_outputs] = [network_outputs(a, data)?, network_outputs(b, data)?];
    let width = a.task.outputs();
    for (a, b) in a_outputs.chunks_exact(width).zip(b_outputs.chunks_exact(width)) {
        found.agreeing += usize::from(first_largest(a) == first_largest(b));
        for (a, b) in a.iter().zip(b) {
            let apart = (a - b).abs();
            // Not `max`, which forgets a NaN.
            found.largest = if apart <= found.largest { found.largest } else { apart };
        }
    }
    Ok(found)
}

/// What the network of a model gives for all rows, `[rows, outputs]`: standardized numbers, in a
/// regression whose targets are.
///
/// # Errors
///
/// A device that cannot be read.
pub(crate) fn network_outputs(model: &Model, data: &Dataset) -> Result<Vec<f32>, TensorReadError> {
    /// Rows at a time: enough to keep a device busy, few enough to be small.
    const BATCH: usize = 1000;
    let device = model.device();
    let all: Vec<usize> = (0..data.len()).collect();
    let mut outputs = Vec::with_capacity(data.len() * model.task.outputs());
    for rows in all.chunks(BATCH) {
        let inputs = data.batch(rows, &device).inputs;
        outputs.extend(model.network_outputs(inputs).try_into_vec_as::<f32>()?);
    }
    Ok(outputs)
}

/// Rows of random features, such as the model's preprocessing expects: bytes if it divides by 255,
/// about the means that it takes off, or else about zero.
pub(crate) fn random_rows(model: &Model) -> Result<Dataset, DataError> {
    const ROWS: usize = 1000;
    let width = model.features();
    let mut state = 1;
    let features = (0..ROWS * width).map(|i| {
        let unit = uniform(&mut state);
        match model.input.preprocessing() {
            Preprocessing::Scale { scale } | Preprocessing::Normalize { scale, .. }
                if scale.is_normal() =>
            {
                unit / scale
            }
            Preprocessing::Standardize { mean, deviation } => {
                let column = i % width;
                mean[column] + deviation[column] * (4.0 * unit - 2.0)
            }
            _ => 4.0 * unit - 2.0,
        }
    });
    let features = Features::Floats(features.collect());
    // Outputs alone are compared, so that any target will do.
    let targets = Targets::Values { values: vec![0.0; ROWS], names: vec!["none".to_owned()] };
    Dataset::new(model.mlp.architecture().input_shape.clone(), features, targets)
}

/// The next of a row of numbers in [0, 1): SplitMix64 (Steele, Lea and Flood 2014).
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
}
