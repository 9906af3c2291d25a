//! The results of a backend, to be compared with the reference.

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use fireclay::{CrossEntropy, Loss, Mlp, MlpConfig, Preprocessing, prepare};
use fireclay_data::{Dataset, Features, RowSource, Split, Targets, permutation};
use serde_json::{Value, json};
use train::fit::fit;
use train::job::Job;
use train::optimizer::OptimizerConfig;
use train::progress::Silent;
use train::schedule::Schedule;
use train::settings::{Settings, TrainingSettings};
use train::state::State;

use crate::reference::{Reference, loss};
use crate::task;

const SEED: u64 = 1;
const BATCH: usize = 32;
/// Steps that the backends train before their losses are compared.
const STEPS: usize = 100;
/// Rows whose logits are compared; none of them is trained on.
const ROWS: usize = 1000;
/// The wide network's steps in f64 would take minutes.
const MOST_TRAINED: usize = 1_000_000;

/// The logits before training, and the loss after it.
pub(crate) fn measure(network: &MlpConfig, rows: RowSource<'_>, device: &Device) -> Result<Value> {
    let data = rows.data();
    let mlp = Mlp::init(network, SEED, device)?;
    let before = logits(&mlp, data, device)?;
    let after = if trains(network) {
        let (trained, classes) = (trained(mlp, rows, device)?, classes(data, &compared())?);
        Some(loss(&logits(&trained, data, device)?, &classes))
    } else {
        None
    };
    Ok(json!({ "logits": before, "loss": after }))
}

/// The same in f64.
pub(crate) fn reference(network: &MlpConfig, data: &Dataset) -> Result<Value> {
    let device = fireclay::Backend::Flex.device(fireclay::DeviceChoice::Default)?;
    let mut tensors = Mlp::init(network, SEED, &device)?.tensors()?.into_iter().map(|t| t.values);
    let layers = std::iter::from_fn(|| Some((tensors.next()?, tensors.next()?)));
    let mut reference = Reference::new(layers);
    let before = expected_logits(&reference, data)?;
    let mut after = None;
    if trains(network) {
        let order: Vec<usize> =
            permutation(STEPS * BATCH, SEED, 1).into_iter().map(|row| row as usize).collect();
        for rows in order.chunks(BATCH) {
            let inputs: Vec<_> = rows.iter().map(|&row| input(data, row)).collect::<Result<_>>()?;
            reference.train(&inputs, &classes(data, rows)?);
        }
        after = Some(loss(&expected_logits(&reference, data)?, &classes(data, &compared())?));
    }
    Ok(json!({ "logits": before, "loss": after }))
}

/// The reference's logits of the rows that are compared.
fn expected_logits(reference: &Reference, data: &Dataset) -> Result<Vec<Vec<f64>>> {
    let rows = compared().into_iter();
    rows.map(|row| Ok(reference.logits(&input(data, row)?))).collect()
}

fn trains(network: &MlpConfig) -> bool {
    network.architecture().is_ok_and(|network| network.parameters() <= MOST_TRAINED)
}

fn compared() -> Vec<usize> {
    (STEPS * BATCH..STEPS * BATCH + ROWS).collect()
}

fn logits(mlp: &Mlp, data: &Dataset, device: &Device) -> Result<Vec<Vec<f64>>> {
    let inputs = prepare(&Preprocessing::PIXELS, data.batch(&compared(), device).inputs);
    let outputs = mlp.forward(inputs);
    let [_, width] = outputs.dims();
    let numbers = outputs.try_into_vec_as::<f32>()?;
    let rows = numbers.chunks(width);
    Ok(rows.map(|row| row.iter().copied().map(f64::from).collect()).collect())
}

/// Pixels as a network sees them: in `f32`, as every backend gets them.
fn input(data: &Dataset, row: usize) -> Result<Vec<f64>> {
    let Features::Bytes(bytes) = data.features() else { bail!("MNIST has bytes") };
    let pixels = &bytes[row * data.width()..(row + 1) * data.width()];
    Ok(pixels.iter().map(|&byte| f64::from(f32::from(byte) * (1.0 / 255.0))).collect())
}

fn classes(data: &Dataset, rows: &[usize]) -> Result<Vec<usize>> {
    let Targets::Classes { ids, .. } = data.targets() else { bail!("MNIST has classes") };
    Ok(rows.iter().map(|&row| ids[row] as usize).collect())
}

/// The network after an epoch of some steps, by the loop of `train`.
fn trained(mlp: Mlp, rows: RowSource<'_>, device: &Device) -> Result<Mlp> {
    // Burn's lazy constructors compute nothing by themselves: a first look at the device.
    let one = Tensor::<1>::from_data(TensorData::from([1.0f32]), device);
    if one.try_into_vec_as::<f32>()? != [1.0] {
        bail!("the device does not give back what it was given");
    }
    let split = Split { train: (0..STEPS * BATCH).collect(), validation: Vec::new() };
    let training =
        TrainingSettings { epochs: 1, batch_size: BATCH, ..Settings::default().training };
    let job = Job {
        task: &task(rows.data()),
        rows,
        split: &split,
        preprocessing: &Preprocessing::PIXELS,
        loss: &Loss::CrossEntropy(CrossEntropy::default()),
        optimizer: &OptimizerConfig::default(),
        schedule: &Schedule::default(),
        training: &training,
        tuned: None,
        sounds: None,
        seed: SEED,
        device,
    };
    let state = State::new(&job, mlp);
    Ok(fit(&job, state, &mut Silent, &mut Silent)?.mlp)
}
