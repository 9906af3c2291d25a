//! Networks as files describe them, made at random or layer by layer, and what comes of them.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use fireclay::{Device, Norm, Preprocessing};
use fireclay_formats as formats;
use fireclay_formats::{Archive, Kind, Layer, Layout, Network, Tensor};

use super::super::super::{Fate, ImportError, Imported, Options, TaskKind};
use super::super::assemble;

/// Numbers that are the same every time.
pub(super) struct Random(u64);

impl Random {
    /// From -1 to 1.
    pub(super) fn number(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1_u64 << 30) as f64 - 1.0
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        ((self.number() + 1.0) / 2.0 * end as f64) as usize % end
    }

    pub(super) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// A network with its tensors.
pub(super) struct Made {
    pub(super) random: Random,
    pub(super) tensors: Vec<Tensor>,
    pub(super) values: BTreeMap<String, Vec<f64>>,
    pub(super) layers: Vec<Layer>,
    pub(super) width: usize,
}

impl Made {
    pub(super) fn new(seed: u64, width: usize) -> Self {
        let (tensors, values, layers) = Default::default();
        Self { random: Random(seed), tensors, values, layers, width }
    }

    pub(super) fn tensor(
        &mut self,
        shape: &[usize],
        mut number: impl FnMut(&mut Random) -> f64,
    ) -> String {
        let name = format!("t{}", self.tensors.len());
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| number(&mut self.random) as f32).collect();
        self.tensors.push(Tensor::from_f32(&name, shape.to_vec(), &values).unwrap());
        self.values.insert(name.clone(), values.into_iter().map(f64::from).collect());
        name
    }

    pub(super) fn vector(&mut self) -> String {
        self.tensor(&[self.width], Random::number)
    }

    pub(super) fn dense(&mut self, outputs: usize) -> &mut Self {
        let inputs = std::mem::replace(&mut self.width, outputs);
        let layout = self.random.one_of(&[Layout::OutIn, Layout::InOut]);
        let shape = match layout {
            Layout::OutIn => [outputs, inputs],
            Layout::InOut => [inputs, outputs],
        };
        let weight = self.tensor(&shape, Random::number);
        let bias = (self.random.below(3) > 0).then(|| self.vector());
        self.layers.push(Layer::Dense { weight, bias, layout });
        self
    }

    pub(super) fn function(&mut self, name: &str) -> &mut Self {
        self.function_with(name, &[])
    }

    pub(super) fn function_with(&mut self, name: &str, constants: &[(&str, f64)]) -> &mut Self {
        let constants = constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        let name = name.to_owned();
        self.layers.push(Layer::Activation(formats::Activation { name, constants }));
        self
    }

    pub(super) fn norm(&mut self, kind: formats::Norm) -> &mut Self {
        let scale = (self.random.below(4) > 0).then(|| self.vector());
        let has_shift = kind != formats::Norm::Rms && self.random.below(4) > 0;
        let shift = has_shift.then(|| self.vector());
        let positive = |random: &mut Random| random.number().abs() + 0.1;
        let is_batch = kind == formats::Norm::Batch;
        let mean = is_batch.then(|| self.vector());
        let variance = is_batch.then(|| self.tensor(&[self.width], positive));
        self.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon: 1e-3 });
        self
    }

    pub(super) fn prelu(&mut self) -> &mut Self {
        let slope = self.vector();
        self.layers.push(Layer::Prelu { slope });
        self
    }

    pub(super) fn rescale(&mut self, scale: f64, offset: f64) -> &mut Self {
        self.layers.push(Layer::Rescale { scale, offset });
        self
    }

    pub(super) fn affine(&mut self) -> &mut Self {
        let (scale, offset) = (Some(self.vector()), Some(self.vector()));
        self.layers.push(Layer::Affine { scale, offset });
        self
    }

    pub(super) fn residual(&mut self, build: impl FnOnce(&mut Self)) -> &mut Self {
        let before = std::mem::take(&mut self.layers);
        build(self);
        let inner = std::mem::replace(&mut self.layers, before);
        self.layers.push(Layer::Residual(inner));
        self
    }

    /// Any step, with skip connections so deep within each other.
    pub(super) fn random_step(&mut self, depth: usize) {
        let width = 2 + self.random.below(3);
        match self.random.below(if depth > 0 { 12 } else { 10 }) {
            0..=2 => self.dense(width),
            3 | 4 => {
                let name = self.random.one_of(&["relu", "tanh", "sigmoid", "leaky-relu"]);
                self.function(name)
            }
            5 => self.norm(BATCH),
            6 => {
                let kind = self.random.one_of(&[LAYER, formats::Norm::Rms]);
                self.norm(kind)
            }
            7 => match self.random.below(2) {
                0 => self.affine(),
                _ => self.rescale(-0.5, 0.25),
            },
            8 => self.prelu(),
            9 => {
                self.layers.push(Layer::Dropout(0.5));
                self
            }
            _ => {
                let (width, steps) = (self.width, self.random.below(4));
                self.residual(|made| {
                    (0..steps).for_each(|_| made.random_step(depth - 1));
                    if made.width != width || steps == 0 {
                        made.dense(width);
                    }
                })
            }
        };
    }

    pub(super) fn imported(&self, options: &Options) -> Result<Imported, ImportError> {
        let archive = Archive {
            kind: Kind::Onnx,
            tensors: self.tensors.clone(),
            network: None,
            layout: None,
            labels: None,
            class_names: Vec::new(),
            files: Vec::new(),
            task: None,
            notes: Vec::new(),
            advice: None,
        };
        let network = Network { input_shape: None, layers: self.layers.clone() };
        assemble(archive, &network, true, options, &Device::flex())
    }

    /// What the layers make of a row.
    pub(super) fn outputs(&self, row: &[f64]) -> Vec<f64> {
        self.forward(&self.layers, row.to_vec())
    }

    pub(super) fn forward(&self, layers: &[Layer], mut x: Vec<f64>) -> Vec<f64> {
        for layer in layers {
            x = self.step(layer, x);
        }
        x
    }

    pub(super) fn numbers(&self, name: &Option<String>, count: usize, absent: f64) -> Vec<f64> {
        match name.as_ref().map(|name| &self.values[name]) {
            Some(one) if one.len() == 1 => vec![one[0]; count],
            Some(all) => all.clone(),
            None => vec![absent; count],
        }
    }

    pub(super) fn step(&self, layer: &Layer, x: Vec<f64>) -> Vec<f64> {
        let width = x.len();
        let each = |f: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
            x.iter().enumerate().map(|(at, &x)| f(at, x)).collect()
        };
        match layer {
            Layer::Flatten | Layer::Dropout(_) => x,
            Layer::Rescale { scale, offset } => each(&|_, x| scale * x + offset),
            Layer::Affine { scale, offset } => {
                let (a, b) = (self.numbers(scale, width, 1.0), self.numbers(offset, width, 0.0));
                each(&|at, x| a[at] * x + b[at])
            }
            Layer::Dense { weight, bias, layout } => {
                let weight = &self.values[weight];
                let outputs = weight.len() / width;
                let at = |input: usize, output: usize| match layout {
                    Layout::OutIn => weight[output * width + input],
                    Layout::InOut => weight[input * outputs + output],
                };
                let bias = self.numbers(bias, outputs, 0.0);
                let sum = |o: usize| (0..width).map(|i| at(i, o) * x[i]).sum::<f64>() + bias[o];
                (0..outputs).map(sum).collect()
            }
            Layer::Norm { kind, scale, shift, mean, variance, epsilon } => {
                let count = width as f64;
                let of_row = x.iter().sum::<f64>() / count;
                let spread = x.iter().map(|x| (x - of_row).powi(2)).sum::<f64>() / count;
                let (mean, variance) = match kind {
                    formats::Norm::Batch => {
                        (self.numbers(mean, width, 0.0), self.numbers(variance, width, 1.0))
                    }
                    formats::Norm::Layer => (vec![of_row; width], vec![spread; width]),
                    formats::Norm::Rms => {
                        let square = x.iter().map(|x| x * x).sum::<f64>() / count;
                        (vec![0.0; width], vec![square; width])
                    }
                };
                let (a, b) = (self.numbers(scale, width, 1.0), self.numbers(shift, width, 0.0));
                each(&|at, x| (x - mean[at]) / (variance[at] + epsilon).sqrt() * a[at] + b[at])
            }
            Layer::Prelu { slope } => {
                let slope = self.numbers(&Some(slope.clone()), width, 0.0);
                each(&|at, x| if x > 0.0 { x } else { slope[at] * x })
            }
            Layer::Activation(found) => {
                let constant = |name: &str, absent| *found.constants.get(name).unwrap_or(&absent);
                match found.name.as_str() {
                    "relu" => each(&|_, x| x.clamp(0.0, constant("max", f64::INFINITY))),
                    "leaky-relu" => {
                        each(&|_, x| if x > 0.0 { x } else { constant("slope", 0.01) * x })
                    }
                    "tanh" => each(&|_, x| x.tanh()),
                    "sigmoid" => each(&|_, x| 1.0 / (1.0 + (-x).exp())),
                    "softplus" => {
                        let beta = constant("beta", 1.0);
                        each(&|_, x| (beta * x).exp().ln_1p() / beta)
                    }
                    "identity" => x,
                    other => panic!("{other}"),
                }
            }
            Layer::Residual(inner) => {
                let sum = self.forward(inner, x.clone());
                sum.iter().zip(x).map(|(sum, x)| sum + x).collect()
            }
        }
    }

    /// Imports it for numbers, and compares outputs.
    #[track_caller]
    pub(super) fn check(&self) -> Imported {
        let imported = self.imported(&numbers()).unwrap_or_else(|error| panic!("{error}"));
        self.compare(&imported);
        imported
    }

    #[track_caller]
    pub(super) fn compare(&self, imported: &Imported) {
        let features = imported.model.features();
        let mut random = Random(9);
        for _ in 0..5 {
            let row: Vec<f32> = (0..features).map(|_| (2.0 * random.number()) as f32).collect();
            let expected = self.outputs(&row.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
            let data = TensorData::new(row, [1, features]);
            let raw = burn::Tensor::<2>::from_data(data, &Device::flex());
            let found = imported.model.forward(raw).try_into_vec_as::<f32>().unwrap();
            assert_eq!(found.len(), expected.len());
            let largest = expected.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
            for (a, b) in found.iter().zip(&expected) {
                let difference = (f64::from(*a) - b).abs();
                assert!(difference <= 1e-5 * largest, "{a} {b}\n{:?}", self.layers);
            }
        }
    }

    #[track_caller]
    pub(super) fn refused(&self, words: &str) {
        let error = self.imported(&numbers()).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
        assert!(!error.contains(['{', '}']) && !error.contains("Some("), "{error}");
    }
}

/// Raw features as they are, and numbers as outputs.
pub(super) fn numbers() -> Options {
    Options {
        preprocessing: Some(Preprocessing::None),
        task: Some(TaskKind::Regression),
        ..Options::default()
    }
}

/// The hidden layers of a network, each in a few words.
pub(super) fn described(imported: &Imported) -> Vec<String> {
    let network = imported.model.mlp.architecture();
    let one = |layer: &fireclay::HiddenLayer| {
        let mut words = vec![layer.width.to_string(), layer.activation.to_string()];
        if layer.norm != Norm::None {
            words.push(format!("{} {}", layer.norm, layer.norm_position));
        }
        if let Some(skip) = layer.skip {
            words.push(format!("skip {} {}", skip.span, skip.position));
        }
        words.join(", ")
    };
    network.hidden.iter().map(one).collect()
}

pub(super) const BATCH: formats::Norm = formats::Norm::Batch;
pub(super) const LAYER: formats::Norm = formats::Norm::Layer;

#[track_caller]
pub(super) fn folds(imported: &Imported) {
    let is_told = |note: &String| note.contains("batch norms without room");
    assert!(imported.notes.iter().any(is_told), "{:?}", imported.notes);
    let is_folded = |tensor: &&super::super::super::Placed| match &tensor.fate {
        Fate::Used { change, .. } => change.contains("folded in"),
        Fate::Skipped(_) => false,
    };
    assert!(imported.placed.iter().any(|tensor| is_folded(&tensor)), "{:?}", imported.placed);
}
