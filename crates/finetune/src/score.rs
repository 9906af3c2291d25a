//! What models say of the same rows.

use anyhow::Result;
use burn::tensor::Tensor;
use fireclay::{Loss, Model, Preprocessing};
use fireclay_data::{Dataset, Features, Targets};
use train::evaluate::targets;
use train::metrics::{Meter, Moment, Observed};
use train::wilson;

/// Rows at a time: enough to keep a device busy, few enough to be small.
const BATCH: usize = 1000;

/// Rows that were told right, out of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accuracy {
    /// Rows told right.
    pub right: usize,
    /// All rows.
    pub rows: usize,
}

impl Accuracy {
    /// The share of rows told right.
    pub fn share(self) -> f64 {
        self.right as f64 / self.rows as f64
    }

    /// The 95 % interval of the share (Wilson 1927).
    pub fn interval(self) -> [f64; 2] {
        wilson(self.right, self.rows)
    }
}

impl std::fmt::Display for Accuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [low, high] = self.interval().map(|share| 100.0 * share);
        write!(f, "{:.2} % ({low:.2} to {high:.2})", 100.0 * self.share())
    }
}

/// How often a classifier is right; none if the data has no classes.
///
/// The data must have the model's labels.
///
/// # Errors
///
/// A device that cannot be read.
pub fn accuracy(model: &Model, data: &Dataset) -> Result<Option<Accuracy>> {
    let Targets::Classes { ids, .. } = data.targets() else { return Ok(None) };
    let mut right = 0;
    for_each_row(&[model], data, |row, logits| {
        right += usize::from(argmax(logits[0]) == ids[row] as usize);
    })?;
    Ok(Some(Accuracy { right, rows: data.len() }))
}

/// How far off a regression is on the rows of a data set with its targets: RMSE, MAE and R2, in their
/// unit and averaged over them.
///
/// # Errors
///
/// A device that cannot be read.
pub fn errors(model: &Model, data: &Dataset) -> Result<[f64; 3]> {
    let device = model.device();
    let mut meter = Meter::new(&model.task, &[]);
    let all: Vec<usize> = (0..data.len()).collect();
    let moment = Moment { step: 0, steps: all.len().div_ceil(BATCH), learning_rate: 0.0 };
    meter.start(moment)?;
    for rows in all.chunks(BATCH) {
        let batch = data.batch(rows, &device);
        let (outputs, right) = (model.forward(batch.inputs), targets(batch.targets));
        // Nobody asks for the loss.
        let losses = Tensor::zeros([rows.len()], &device);
        meter.record(Observed { losses, outputs, targets: right });
        meter.measure(moment)?;
    }
    let found = meter.finish(moment)?;
    let value = |name: &str| found.iter().find(|measured| measured.name == name);
    Ok(["rmse", "mae", "r2"].map(|name| value(name).map_or(f64::NAN, |measured| measured.value)))
}

/// Mean losses on the same rows: of a model, and of outputs that are zero for every row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// Of the model.
    pub model: f64,
    /// Of outputs of zero.
    pub zero: f64,
}

/// Rows that are enough to tell whether a model knows what its outputs are named after.
const ENOUGH: usize = 10_000;

/// The usual loss of a model for its task, on rows spread evenly over a data set, and that of
/// outputs of zero.
///
/// The data must have the model's labels.
///
/// # Errors
///
/// A device that cannot be read.
pub fn losses(model: &Model, data: &Dataset) -> Result<Losses> {
    let loss = Loss::default_for(&model.task);
    let device = model.device();
    let apart = data.len().div_ceil(ENOUGH).max(1);
    let all: Vec<usize> = (0..data.len()).step_by(apart).collect();
    let (mut of_model, mut of_zero) = (0.0, 0.0);
    for rows in all.chunks(BATCH) {
        let batch = data.batch(rows, &device);
        let outputs = model.network_outputs(batch.inputs);
        let right = targets(batch.targets).standardized(&model.task);
        of_zero += sum(loss.rows(outputs.zeros_like(), &right).try_into_vec_as::<f32>()?);
        of_model += sum(loss.rows(outputs, &right).try_into_vec_as::<f32>()?);
    }
    let count = all.len() as f64;
    Ok(Losses { model: of_model / count, zero: of_zero / count })
}

fn sum(values: Vec<f32>) -> f64 {
    values.into_iter().map(f64::from).sum()
}

/// How two models with the same outputs differ on the same rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Difference {
    /// The largest difference of any output of the networks: of standardized numbers, in a regression
    /// whose targets are.
    pub largest: f32,
    /// Rows with the same largest output.
    pub agreeing: usize,
    /// All rows.
    pub rows: usize,
}

/// Compares two models on all rows of a data set.
///
/// # Errors
///
/// A device that cannot be read.
pub fn difference(a: &Model, b: &Model, data: &Dataset) -> Result<Difference> {
    let mut found = Difference { rows: data.len(), ..Difference::default() };
    for_each_row(&[a, b], data, |_, logits| {
        found.agreeing += usize::from(argmax(logits[0]) == argmax(logits[1]));
        for (a, b) in logits[0].iter().zip(logits[1]) {
            let apart = (a - b).abs();
            // Not `max`, which forgets a NaN.
            found.largest = if apart <= found.largest { found.largest } else { apart };
        }
    })?;
    Ok(found)
}

/// Rows of random features, such as the model's preprocessing expects: bytes if it divides by 255,
/// about the means that it takes off, or else about zero.
pub(crate) fn random_rows(model: &Model) -> Result<Dataset> {
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
    Ok(Dataset::new(model.mlp.architecture().input_shape.clone(), features, targets)?)
}

/// The next of a row of numbers in [0, 1): SplitMix64 (Steele, Lea and Flood 2014).
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
}

/// Calls `see` with the number of each row and the outputs of each network for it.
fn for_each_row(
    models: &[&Model],
    data: &Dataset,
    mut see: impl FnMut(usize, &[&[f32]]),
) -> Result<()> {
    let Some(first) = models.first() else { return Ok(()) };
    let device = first.device();
    let all: Vec<usize> = (0..data.len()).collect();
    for rows in all.chunks(BATCH) {
        let inputs = data.batch(rows, &device).inputs;
        let mut outputs = Vec::new();
        for model in models {
            outputs.push(model.network_outputs(inputs.clone()).try_into_vec_as::<f32>()?);
        }
        for (i, &row) in rows.iter().enumerate() {
            let logits: Vec<&[f32]> = outputs
                .iter()
                .zip(models)
                .map(|(values, model)| {
                    let width = model.task.outputs();
                    &values[i * width..][..width]
                })
                .collect();
            see(row, &logits);
        }
    }
    Ok(())
}

/// The place of the first of the largest.
fn argmax(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}
