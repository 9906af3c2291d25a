//! The networks of files, evaluated in `f64` by loops that can be read, and what the programs that
//! wrote the files answered.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

pub(crate) mod onnx;
pub(crate) mod pickle;
pub(crate) mod zip;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use fireclay_formats::{Activation, Archive, Layer, Layout, Network, Norm, Tensor};

/// A file of the folder of goldens.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

/// A `.keras` file of this model with the weights of a golden.
pub(crate) fn keras_file(model: &serde_json::Value, weights: &str) -> Vec<u8> {
    let weights = fs::read(golden(weights)).unwrap();
    zip::archive(&[
        zip::Entry::stored("config.json", model.to_string().as_bytes()),
        zip::Entry::stored("model.weights.h5", &weights),
    ])
}

/// The first 1,000 test images of MNIST, scaled by 1/255 as the programs did it.
pub(crate) fn images() -> Vec<Vec<f64>> {
    let packed = fs::File::open(golden("mnist-1000.gz")).unwrap();
    let mut pixels = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut pixels).unwrap();
    assert_eq!(pixels.len(), 784_000);
    let scaled = |&pixel: &u8| f64::from(f32::from(pixel) / 255.0);
    pixels.chunks(784).map(|image| image.iter().map(scaled).collect()).collect()
}

/// Requires that the network gives the logits in a file of the goldens: each within 1e-5, or that
/// part of itself if it is above 1, and the same largest one.
#[track_caller]
pub(crate) fn check_logits(archive: &Archive, network: &Network, logits: &str) {
    let expected = fs::read(golden(logits)).unwrap();
    let expected: Vec<f64> = expected
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&bytes| f64::from(f32::from_le_bytes(bytes)))
        .collect();
    let steps = Steps::new(archive, network);
    let images = images();
    let outputs = expected.len() / images.len();
    for (row, (image, expected)) in images.iter().zip(expected.chunks(outputs)).enumerate() {
        let found = steps.run(image);
        assert_eq!(found.len(), outputs, "row {row}");
        for (found, expected) in found.iter().zip(expected) {
            let most = 1e-5 * expected.abs().max(1.0);
            assert!((found - expected).abs() <= most, "row {row}: {found}, not {expected}");
        }
        assert_eq!(largest(&found), largest(expected), "row {row}");
    }
}

/// The tensor of this name.
#[track_caller]
pub(crate) fn tensor<'a>(archive: &'a Archive, name: &str) -> &'a Tensor {
    let found = archive.tensors.iter().find(|tensor| tensor.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {:?}", archive.tensors))
}

fn largest(values: &[f64]) -> Option<usize> {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]))
}

/// A network with its numbers.
struct Steps {
    steps: Vec<Step>,
}

enum Step {
    Nothing,
    Rescale(f64, f64),
    /// `[inputs, outputs]`, row by row, and what is added.
    Dense(Vec<f64>, Vec<f64>),
    /// Factors and what is added: of each feature, or one for all.
    Affine(Vec<f64>, Vec<f64>),
    /// Factors, what is added, epsilon.
    LayerNorm(Vec<f64>, Vec<f64>, f64),
    RmsNorm(Vec<f64>, f64),
    Activation(Activation),
    /// Slopes where a number is negative: of each feature, or one for all.
    Prelu(Vec<f64>),
    Residual(Steps),
}

impl Steps {
    fn new(archive: &Archive, network: &Network) -> Self {
        Self::of(archive, &network.layers)
    }

    fn of(archive: &Archive, layers: &[Layer]) -> Self {
        Self { steps: layers.iter().map(|layer| step(archive, layer)).collect() }
    }

    fn run(&self, image: &[f64]) -> Vec<f64> {
        self.steps.iter().fold(image.to_vec(), |x, step| step.run(x))
    }
}

fn step(archive: &Archive, layer: &Layer) -> Step {
    let numbers = |name: &String| tensor(archive, name).to_f64().unwrap();
    match layer {
        Layer::Flatten | Layer::Dropout(_) => Step::Nothing,
        Layer::Rescale { scale, offset } => Step::Rescale(*scale, *offset),
        Layer::Dense { weight, bias, layout } => {
            let weight = tensor(archive, weight);
            let &[rows, columns] = &weight.shape[..] else { panic!("{weight:?}") };
            let values = weight.to_f64().unwrap();
            let (values, outputs) = match layout {
                Layout::InOut => (values, columns),
                Layout::OutIn => {
                    let at = |at: usize| values[at % rows * columns + at / rows];
                    ((0..rows * columns).map(at).collect(), rows)
                }
            };
            let bias = bias.as_ref().map_or_else(|| vec![0.0; outputs], numbers);
            assert_eq!(bias.len(), outputs);
            Step::Dense(values, bias)
        }
        Layer::Norm { kind, scale, shift, mean, variance, epsilon } => {
            let of = |name: &Option<String>, absent: f64, width: usize| {
                name.as_ref().map_or_else(|| vec![absent; width], numbers)
            };
            let named = [mean, scale, shift].into_iter().flatten().next();
            let width = named.map_or(0, |name| tensor(archive, name).to_f64().unwrap().len());
            let (mut scale, mut shift) = (of(scale, 1.0, width), of(shift, 0.0, width));
            if *kind == Norm::Layer {
                return Step::LayerNorm(scale, shift, *epsilon);
            }
            if *kind == Norm::Rms {
                return Step::RmsNorm(scale, *epsilon);
            }
            let (mean, variance) = (of(mean, 0.0, width), of(variance, 1.0, width));
            for at in 0..width {
                scale[at] /= (variance[at] + epsilon).sqrt();
                shift[at] -= mean[at] * scale[at];
            }
            Step::Affine(scale, shift)
        }
        Layer::Affine { scale, offset } => {
            let of = |name: &Option<String>, absent| name.as_ref().map_or(vec![absent], numbers);
            Step::Affine(of(scale, 1.0), of(offset, 0.0))
        }
        Layer::Activation(activation) => Step::Activation(activation.clone()),
        Layer::Prelu { slope } => Step::Prelu(numbers(slope)),
        Layer::Residual(layers) => Step::Residual(Steps::of(archive, layers)),
    }
}

impl Step {
    fn run(&self, mut x: Vec<f64>) -> Vec<f64> {
        match self {
            Step::Nothing => x,
            Step::Rescale(scale, offset) => x.iter().map(|x| scale * x + offset).collect(),
            Step::Dense(weight, bias) => {
                let outputs = bias.len();
                assert_eq!(weight.len(), x.len() * outputs);
                let mut sums = bias.clone();
                // Most pixels are 0, and so are many numbers after a ReLU.
                for (at, &x) in x.iter().enumerate().filter(|(_, x)| **x != 0.0) {
                    let row = &weight[at * outputs..][..outputs];
                    for (sum, weight) in sums.iter_mut().zip(row) {
                        *sum += x * weight;
                    }
                }
                sums
            }
            Step::Affine(scale, shift) => {
                let (scale, shift) = (each(scale, x.len()), each(shift, x.len()));
                (0..x.len()).map(|at| x[at] * scale[at] + shift[at]).collect()
            }
            Step::LayerNorm(scale, shift, epsilon) => {
                let count = x.len() as f64;
                let mean = x.iter().sum::<f64>() / count;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
                let deviation = (variance + epsilon).sqrt();
                for (at, x) in x.iter_mut().enumerate() {
                    let scale = scale.get(at).copied().unwrap_or(1.0);
                    *x = (*x - mean) / deviation * scale + shift.get(at).copied().unwrap_or(0.0);
                }
                x
            }
            Step::RmsNorm(scale, epsilon) => {
                let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
                for (at, x) in x.iter_mut().enumerate() {
                    *x *= scale.get(at).copied().unwrap_or(1.0) / (mean + epsilon).sqrt();
                }
                x
            }
            Step::Activation(activation) => activate(activation, x),
            Step::Prelu(slopes) => {
                let slopes = each(slopes, x.len());
                (0..x.len()).map(|at| x[at].max(0.0) + slopes[at] * x[at].min(0.0)).collect()
            }
            Step::Residual(inner) => {
                let added = inner.run(&x);
                assert_eq!(added.len(), x.len());
                x.iter().zip(added).map(|(x, added)| x + added).collect()
            }
        }
    }
}

/// A number for each of `width` features.
fn each(values: &[f64], width: usize) -> Vec<f64> {
    if values.len() == 1 {
        return vec![values[0]; width];
    }
    assert_eq!(values.len(), width);
    values.to_vec()
}

/// The functions of PyTorch by the names of [`Activation`].
fn activate(activation: &Activation, x: Vec<f64>) -> Vec<f64> {
    let constant =
        |name: &str, usual: f64| activation.constants.get(name).copied().unwrap_or(usual);
    let each = |function: &dyn Fn(f64) -> f64| x.iter().map(|&x| function(x)).collect();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let elu = |x: f64, alpha: f64| if x > 0.0 { x } else { alpha * x.exp_m1() };
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = x.iter().map(|x| (x - largest).exp()).sum::<f64>();
    match activation.name.as_str() {
        "identity" => x,
        "relu" => each(&|x| x.max(0.0)),
        "leaky-relu" => {
            let slope = constant("slope", 0.01);
            each(&|x| if x > 0.0 { x } else { slope * x })
        }
        "relu6" => each(&|x| x.clamp(0.0, 6.0)),
        "elu" => {
            let alpha = constant("alpha", 1.0);
            each(&|x| elu(x, alpha))
        }
        "selu" => each(&|x| 1.050_700_987_355_480_5 * elu(x, 1.673_263_242_354_377_2)),
        "gelu" => each(&|x| 0.5 * x * (1.0 + erf(x / 2f64.sqrt()))),
        "gelu-tanh" => each(&|x| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }),
        "silu" => each(&|x| x * sigmoid(x)),
        "mish" => each(&|x| x * softplus(x).tanh()),
        "sigmoid" => each(&sigmoid),
        "tanh" => each(&f64::tanh),
        "softplus" => {
            let beta = constant("beta", 1.0);
            each(&|x| softplus(beta * x) / beta)
        }
        "softsign" => each(&|x| x / (1.0 + x.abs())),
        "hard-sigmoid" => {
            let (alpha, beta) = (constant("alpha", 1.0 / 6.0), constant("beta", 0.5));
            each(&|x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        "hard-swish" => each(&|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        "hard-tanh" => each(&|x| x.clamp(constant("min", -1.0), constant("max", 1.0))),
        "softmax" => each(&|x| (x - largest).exp() / sum),
        "log-softmax" => each(&|x| x - largest - sum.ln()),
        other => panic!("no function {other}"),
    }
}

/// The error function by a series whose terms all have one sign, so that none cancels another.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        n += 2.0;
        term *= 2.0 * x * x / n;
        sum += term;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}

/// Requires that the network gives for these rows of `f32`, each of `features` numbers, what a file
/// of `f32` has: each within 1e-5, or that part of itself if it is above 1.
#[track_caller]
pub(crate) fn check_rows(archive: &Archive, network: &Network, rows: &Path, answers: &Path) {
    let numbers = |path: &Path| -> Vec<f64> {
        let bytes = fs::read(path).unwrap();
        bytes.as_chunks::<4>().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect()
    };
    let (rows, expected) = (numbers(rows), numbers(answers));
    let steps = Steps::new(archive, network);
    let count = rows.len() / FEATURES;
    let outputs = expected.len() / count;
    for (at, (row, expected)) in rows.chunks(FEATURES).zip(expected.chunks(outputs)).enumerate() {
        let found = steps.run(row);
        assert_eq!(found.len(), outputs, "row {at}");
        for (found, expected) in found.iter().zip(expected) {
            let most = 1e-5 * expected.abs().max(1.0);
            assert!((found - expected).abs() <= most, "row {at}: {found}, not {expected}");
        }
    }
}

/// Features of the rows of small goldens.
const FEATURES: usize = 4;
