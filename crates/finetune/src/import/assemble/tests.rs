//! Networks of every kind of step, computed here by their formulas in double precision, become models
//! that give the same outputs, or are refused with a reason.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use fireclay::{Activation, Device, Norm, Preprocessing, Task};
use fireclay_formats as formats;
use fireclay_formats::{Archive, Kind, Layer, Layout, Network, Tensor};

use super::super::{Fate, ImportError, Imported, Options, TaskKind};
use super::assemble;

/// Numbers that are the same every time.
struct Random(u64);

impl Random {
    /// From -1 to 1.
    fn number(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1_u64 << 30) as f64 - 1.0
    }

    fn below(&mut self, end: usize) -> usize {
        ((self.number() + 1.0) / 2.0 * end as f64) as usize % end
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// A network with its tensors.
struct Made {
    random: Random,
    tensors: Vec<Tensor>,
    values: BTreeMap<String, Vec<f64>>,
    layers: Vec<Layer>,
    width: usize,
}

impl Made {
    fn new(seed: u64, width: usize) -> Self {
        let (tensors, values, layers) = Default::default();
        Self { random: Random(seed), tensors, values, layers, width }
    }

    fn tensor(&mut self, shape: &[usize], mut number: impl FnMut(&mut Random) -> f64) -> String {
        let name = format!("t{}", self.tensors.len());
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| number(&mut self.random) as f32).collect();
        self.tensors.push(Tensor::from_f32(&name, shape.to_vec(), &values).unwrap());
        self.values.insert(name.clone(), values.into_iter().map(f64::from).collect());
        name
    }

    fn vector(&mut self) -> String {
        self.tensor(&[self.width], Random::number)
    }

    fn dense(&mut self, outputs: usize) -> &mut Self {
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

    fn function(&mut self, name: &str) -> &mut Self {
        self.function_with(name, &[])
    }

    fn function_with(&mut self, name: &str, constants: &[(&str, f64)]) -> &mut Self {
        let constants = constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        let name = name.to_owned();
        self.layers.push(Layer::Activation(formats::Activation { name, constants }));
        self
    }

    fn norm(&mut self, kind: formats::Norm) -> &mut Self {
        let scale = (self.random.below(4) > 0).then(|| self.vector());
        let shift = (self.random.below(4) > 0).then(|| self.vector());
        let positive = |random: &mut Random| random.number().abs() + 0.1;
        let is_batch = kind == formats::Norm::Batch;
        let mean = is_batch.then(|| self.vector());
        let variance = is_batch.then(|| self.tensor(&[self.width], positive));
        self.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon: 1e-3 });
        self
    }

    fn batch_norm(&mut self) -> &mut Self {
        self.norm(formats::Norm::Batch)
    }

    fn prelu(&mut self) -> &mut Self {
        let slope = self.vector();
        self.layers.push(Layer::Prelu { slope });
        self
    }

    fn rescale(&mut self, scale: f64, offset: f64) -> &mut Self {
        self.layers.push(Layer::Rescale { scale, offset });
        self
    }

    fn affine(&mut self) -> &mut Self {
        let (scale, offset) = (Some(self.vector()), Some(self.vector()));
        self.layers.push(Layer::Affine { scale, offset });
        self
    }

    fn residual(&mut self, build: impl FnOnce(&mut Self)) -> &mut Self {
        let before = std::mem::take(&mut self.layers);
        build(self);
        let inner = std::mem::replace(&mut self.layers, before);
        self.layers.push(Layer::Residual(inner));
        self
    }

    fn imported(&self, options: &Options) -> Result<Imported, ImportError> {
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
        };
        let network = Network { input_shape: None, layers: self.layers.clone() };
        assemble(archive, &network, true, options, &Device::flex())
    }

    /// What the layers make of a row.
    fn outputs(&self, row: &[f64]) -> Vec<f64> {
        self.forward(&self.layers, row.to_vec())
    }

    fn forward(&self, layers: &[Layer], mut x: Vec<f64>) -> Vec<f64> {
        for layer in layers {
            x = self.step(layer, x);
        }
        x
    }

    fn numbers(&self, name: &Option<String>, count: usize, absent: f64) -> Vec<f64> {
        match name.as_ref().map(|name| &self.values[name]) {
            Some(one) if one.len() == 1 => vec![one[0]; count],
            Some(all) => all.clone(),
            None => vec![absent; count],
        }
    }

    fn step(&self, layer: &Layer, x: Vec<f64>) -> Vec<f64> {
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
    fn check(&self) -> Imported {
        let imported = self.imported(&numbers()).unwrap_or_else(|error| panic!("{error}"));
        self.compare(&imported);
        imported
    }

    #[track_caller]
    fn compare(&self, imported: &Imported) {
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
    fn refused(&self, words: &str) {
        let error = self.imported(&numbers()).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
        assert!(!error.contains(['{', '}']) && !error.contains("Some("), "{error}");
    }
}

/// Raw features as they are, and numbers as outputs.
fn numbers() -> Options {
    Options {
        preprocessing: Some(Preprocessing::None),
        task: Some(TaskKind::Regression),
        ..Options::default()
    }
}

fn config(imported: &Imported) -> fireclay::MlpConfig {
    imported.model.mlp.architecture().into()
}

#[test]
fn batch_norms_anywhere_are_folded_or_kept() {
    // In the usual place of every hidden layer they are kept.
    let mut made = Made::new(1, 4);
    made.dense(5).batch_norm().function("relu").dense(3).batch_norm().function("relu").dense(2);
    let imported = made.check();
    assert_eq!((config(&imported).norm, config(&imported).norm_epsilon), (Norm::Batch, 1e-3));
    assert!(imported.notes.is_empty(), "{:?}", imported.notes);
    // Of some layers, behind activations, before the first and behind the last, they are folded.
    let mut some = Made::new(2, 4);
    some.dense(5).batch_norm().function("tanh").dense(3).function("tanh").dense(2);
    let mut behind = Made::new(3, 4);
    behind.dense(5).function("relu").batch_norm().dense(3).function("relu").batch_norm().dense(2);
    let mut ends = Made::new(4, 4);
    ends.batch_norm().dense(5).function("relu").dense(2).batch_norm();
    for made in [some, behind, ends] {
        let imported = made.check();
        assert_eq!(config(&imported).norm, Norm::None);
        assert!(imported.notes[0].contains("batch norms are folded"), "{:?}", imported.notes);
        let norm = imported.placed.iter().find(|tensor| match &tensor.fate {
            Fate::Used { change, .. } => change == "folded in" || change == "of each feature",
            Fate::Skipped(_) => false,
        });
        assert!(norm.is_some(), "{:?}", imported.placed);
    }
    // Both before and behind the activation: the usual ones stay.
    let mut both = Made::new(5, 4);
    both.dense(5).batch_norm().function("relu").batch_norm().dense(2).batch_norm();
    assert_eq!(config(&both.check()).norm, Norm::Batch);
    // A norm behind a norm, and factors before and behind it.
    let mut stacked = Made::new(6, 4);
    stacked.dense(5).rescale(2.0, 1.0).batch_norm().rescale(0.5, -1.0).batch_norm().affine();
    stacked.function("tanh").affine().dense(2).rescale(3.0, 0.25);
    assert_eq!(config(&stacked.check()).norm, Norm::Batch);
}

#[test]
fn layer_norms_stay_where_they_are_or_are_refused() {
    let layer = formats::Norm::Layer;
    let mut usual = Made::new(1, 4);
    usual.dense(5).norm(layer).rescale(2.0, 0.5).batch_norm().function("tanh").dense(2);
    assert_eq!(config(&usual.check()).norm, Norm::Layer);
    let mut behind = Made::new(2, 4);
    behind.dense(5).function("relu").norm(layer).dense(2);
    behind.refused("behind an activation");
    let mut input = Made::new(3, 4);
    input.norm(layer).dense(5).function("relu").dense(2);
    input.refused("on its input");
    let mut last = Made::new(4, 4);
    last.dense(5).norm(layer).function("relu").dense(2).norm(layer);
    last.refused("behind its last layer");
    let mut some = Made::new(5, 4);
    some.dense(5).norm(layer).function("relu").dense(3).function("relu").dense(2);
    some.refused("not behind every hidden layer");
}

#[test]
fn linear_layers_without_an_activation_between_them_become_one() {
    let mut made = Made::new(1, 4);
    made.dense(6)
        .dense(3)
        .batch_norm()
        .dense(5)
        .function("tanh")
        .dense(4)
        .rescale(2.0, 1.0)
        .dense(2);
    let imported = made.check();
    assert_eq!(config(&imported).hidden, [5]);
    assert!(imported.notes.iter().any(|note| note.contains("became one")));
    // Where no layer has one, all stay.
    let mut linear = Made::new(2, 4);
    linear.dense(6).batch_norm().dense(3).batch_norm().function("identity").dense(2);
    let imported = linear.check();
    assert_eq!((&config(&imported).hidden[..], config(&imported).norm), (&[6, 3][..], Norm::Batch));
    assert_eq!(config(&imported).activation, Activation::Identity);
}

#[test]
fn slopes_of_any_kind_are_kept() {
    let slope = [("slope", 0.3)];
    let mut leaky = Made::new(1, 4);
    leaky.dense(5).batch_norm().function_with("leaky-relu", &slope);
    leaky.dense(3).batch_norm().function_with("leaky-relu", &slope).dense(2);
    let imported = leaky.check();
    let found = (config(&imported).activation, config(&imported).leaky_slope);
    assert_eq!(found, (Activation::LeakyRelu, 0.3));
    assert_eq!(config(&imported).norm, Norm::Batch);
    // One slope for all, as PyTorch's PReLU begins.
    let mut shared = Made::new(2, 4);
    shared.dense(5);
    let one = shared.tensor(&[1], |_| 0.25);
    shared.layers.push(Layer::Prelu { slope: one });
    shared.dense(2);
    let imported = shared.check();
    assert_eq!((config(&imported).leaky_slope, &config(&imported).hidden[..]), (0.25, &[5][..]));
    // Slopes that differ, with a norm and a factor about them.
    let mut each = Made::new(3, 4);
    each.dense(5).batch_norm().prelu().rescale(2.0, 1.0).dense(3).function("relu").dense(4);
    each.function_with("leaky-relu", &slope).dense(2);
    let imported = each.check();
    assert_eq!(config(&imported).activation, Activation::Relu);
    assert_eq!(config(&imported).hidden, [10, 3, 8]);
    assert!(imported.notes.iter().any(|note| note.contains("10, 3, 8")), "{:?}", imported.notes);
    assert!(imported.placed.iter().all(|t| !matches!(&t.fate, Fate::Skipped(_))));
}

#[test]
fn batch_norms_before_slopes_that_differ_are_folded() {
    let slope = [("slope", 0.3)];
    // Every hidden layer has one, as in most files.
    let mut leaky = Made::new(1, 4);
    leaky.dense(5).batch_norm().function_with("leaky-relu", &slope);
    leaky.dense(3).batch_norm().function("leaky-relu").dense(2);
    let mut each = Made::new(2, 4);
    each.dense(5).batch_norm().prelu().dense(3).batch_norm().prelu().dense(2).batch_norm();
    let mut both = Made::new(3, 4);
    both.batch_norm().dense(5).batch_norm().prelu().batch_norm().dense(2);
    let mut carried = Made::new(4, 4);
    carried.dense(5).batch_norm().prelu().residual(|made| {
        made.dense(5).batch_norm().prelu().dense(5);
    });
    carried.dense(2);
    for (made, hidden) in
        [(leaky, vec![10, 6]), (each, vec![10, 6]), (both, vec![10]), (carried, vec![10, 20])]
    {
        let imported = made.check();
        assert_eq!(config(&imported).hidden, hidden);
        assert_eq!((config(&imported).norm, config(&imported).activation), PLAIN_RELU);
        let is_folded = |note: &String| note.contains("batch norms are folded");
        assert!(imported.notes.iter().any(is_folded), "{:?}", imported.notes);
        assert!(imported.placed.iter().all(|t| !matches!(&t.fate, Fate::Skipped(_))));
    }
    // A layer norm cannot be folded.
    let mut layer = Made::new(5, 4);
    layer.dense(5).norm(formats::Norm::Layer).prelu().dense(2);
    layer.refused("in front of leaky relus of different slopes");
}

const PLAIN_RELU: (Norm, Activation) = (Norm::None, Activation::Relu);

#[test]
fn constants_of_functions_go_into_the_layers_about_them() {
    let mut softplus = Made::new(1, 4);
    softplus.dense(5).function_with("softplus", &[("beta", 2.0)]).dense(3);
    softplus.function_with("softplus", &[("beta", 0.5)]).dense(2);
    assert_eq!(config(&softplus.check()).activation, Activation::Softplus);
    let mut bounded = Made::new(2, 4);
    bounded.dense(5).function_with("relu", &[("max", 1.5)]).dense(2);
    assert_eq!(config(&bounded.check()).activation, Activation::Relu6);
}

#[test]
fn a_function_at_either_end_needs_that_of_the_hidden_layers() {
    let mut tanh = Made::new(1, 4);
    tanh.dense(5).function("tanh").dense(2).function("tanh").rescale(3.0, 1.0);
    assert_eq!(config(&tanh.check()).hidden, [5, 2]);
    let mut relu = Made::new(2, 4);
    relu.dense(3).function("relu");
    assert_eq!(config(&relu.check()).hidden, [3]);
    let mut sigmoid = Made::new(3, 4);
    sigmoid.dense(5).function("sigmoid").dense(2).function("sigmoid");
    assert_eq!(config(&sigmoid.check()).hidden, [5, 2]);
    let mut first = Made::new(4, 4);
    first.function("sigmoid").dense(2);
    assert_eq!(config(&first.check()).hidden, [4]);
    let mut differs = Made::new(5, 4);
    differs.dense(5).function("relu").dense(2).function("tanh");
    differs.refused("tanh behind its last layer, t");
    let mut hidden = Made::new(6, 4);
    hidden.dense(5).function("relu").dense(3).function("tanh").dense(2);
    hidden.refused("differ in their activation: relu behind");
}

#[test]
fn skips_are_ours_or_are_folded() {
    let mut ours = Made::new(1, 4);
    ours.dense(5).function("relu");
    ours.residual(|made| {
        made.dense(5).function("relu");
    });
    ours.dense(3).function("relu").dense(2);
    let imported = ours.check();
    assert!(config(&imported).residual);
    assert_eq!(config(&imported).hidden, [5, 5, 3]);
    // With norms, from the input, and at the end.
    let mut rich = Made::new(2, 4);
    for _ in 0..2 {
        rich.residual(|made| {
            made.dense(4).batch_norm().function("tanh");
        });
    }
    assert_eq!(config(&rich.check()).norm, Norm::Batch);
    // Around what is linear.
    let mut linear = Made::new(3, 4);
    linear.dense(5).function("tanh");
    linear.residual(|made| {
        made.dense(6).batch_norm().dense(5);
    });
    linear.residual(|made| {
        made.affine();
    });
    linear.function("tanh").dense(2);
    assert!(!config(&linear.check()).residual);
    let mut missing = Made::new(4, 4);
    missing.dense(5).function("relu").dense(5).function("relu");
    missing.residual(|made| {
        made.dense(5).function("relu");
    });
    missing.dense(2).check();
    let mut missing = Made::new(4, 4);
    missing.dense(5).function("tanh").dense(5).function("tanh");
    missing.residual(|made| {
        made.dense(5).function("tanh");
    });
    missing.dense(2).refused("none around");
    let mut two = Made::new(5, 4);
    two.dense(5).function("relu");
    two.residual(|made| {
        made.dense(5).function("tanh").dense(5);
    });
    two.function("relu").dense(2).refused("more than one linear layer");
    let mut wide = Made::new(6, 4);
    wide.residual(|made| {
        made.dense(5);
    });
    wide.dense(2).refused("adds 4 numbers to 5");
}

#[test]
fn relus_carry_what_a_skip_takes_past_several_layers() {
    // The usual block: of the output of a relu one unit each is enough.
    let mut usual = Made::new(1, 4);
    usual.dense(5).batch_norm().function("relu");
    usual.residual(|made| {
        made.dense(3).batch_norm().function("relu").dense(5).batch_norm();
    });
    usual.function("relu").dense(2);
    let imported = usual.check();
    assert_eq!(config(&imported).hidden, [5, 3 + 5, 5]);
    assert!(imported.notes.iter().any(|note| note.contains("became units")));
    // Norm and activation first, from the input on, three layers, a function at the end.
    let mut first = Made::new(2, 4);
    first.residual(|made| {
        made.batch_norm().function("relu").dense(3).function("relu").dense(6).dense(4);
    });
    first.residual(|made| {
        made.dense(3).function("relu").dense(4).function("relu").rescale(2.0, 0.5);
    });
    first.function("relu").dense(2).check();
    // One inside of another, with a slope.
    let mut nested = Made::new(3, 4);
    nested.residual(|made| {
        made.dense(3).function("leaky-relu");
        made.residual(|made| {
            made.dense(3).function("leaky-relu").dense(3);
        });
        made.function("leaky-relu").dense(4);
    });
    let imported = nested.dense(2).check();
    assert_eq!(config(&imported).activation, Activation::LeakyRelu);
}

/// Random networks: whatever is read gives the outputs of the file.
#[test]
fn random_networks_are_right_or_refused() {
    let mut read = 0;
    for seed in 0..400 {
        let mut made = Made::new(seed, 3);
        let functions: &[&str] = made.random.one_of(&[
            &["relu"],
            &["tanh"],
            &["relu", "relu", "leaky-relu"],
            &["sigmoid", "tanh"],
        ]);
        for _ in 0..1 + made.random.below(9) {
            match made.random.below(9) {
                0 | 1 => {
                    let width = 2 + made.random.below(3);
                    made.dense(width);
                }
                2 | 3 => {
                    let name = made.random.one_of(functions);
                    made.function(name);
                }
                4 => {
                    made.batch_norm();
                }
                5 => {
                    made.affine();
                }
                6 => {
                    made.rescale(-0.5, 0.25);
                }
                7 => {
                    let kind = made.random.one_of(&[formats::Norm::Batch, formats::Norm::Layer]);
                    made.norm(kind);
                }
                _ => {
                    let (width, name) = (made.width, made.random.one_of(functions));
                    made.residual(|made| {
                        if made.random.below(2) > 0 {
                            made.dense(4).batch_norm().function(name);
                        }
                        made.dense(width);
                        if made.random.below(3) > 0 {
                            made.function(name);
                        }
                    });
                }
            }
        }
        made.dense(2);
        match made.imported(&numbers()) {
            Ok(imported) => {
                made.compare(&imported);
                read += 1;
            }
            Err(ImportError::Unsupported { .. }) => {}
            Err(error) => panic!("{error}\n{:?}", made.layers),
        }
    }
    assert!(read > 150, "{read}");
}

/// A network of one layer with so many outputs and such an end, imported.
fn one_layer(
    outputs: usize,
    end: Option<&str>,
    of_file: impl FnOnce(&mut Archive),
    options: &Options,
) -> Result<Imported, ImportError> {
    let mut made = Made::new(1, 3);
    made.dense(outputs);
    if let Some(end) = end {
        made.function(end);
    }
    let mut archive = Archive {
        kind: Kind::Onnx,
        tensors: made.tensors,
        network: None,
        layout: None,
        labels: None,
        class_names: Vec::new(),
        files: Vec::new(),
        task: None,
        notes: Vec::new(),
    };
    of_file(&mut archive);
    let network = Network { input_shape: None, layers: made.layers };
    let options = Options { preprocessing: Some(Preprocessing::None), ..options.clone() };
    assemble(archive, &network, true, &options, &Device::flex())
}

fn nothing(_: &mut Archive) {}

#[test]
fn sigmoids_are_labels_and_one_alone_is_two_classes() {
    let of = |outputs, end, task: Option<TaskKind>| {
        one_layer(outputs, end, nothing, &Options { task, ..Options::default() })
    };
    use TaskKind::{Classification, MultiLabel, Regression};
    let labels = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let classes = Task::numbered_classes;
    let (sigmoid, softmax) = (Some("sigmoid"), Some("softmax"));
    for (outputs, end, said, expected) in [
        (1, sigmoid, None, classes(2)),
        (1, sigmoid, Some(Classification), classes(2)),
        (1, sigmoid, Some(MultiLabel), Task::MultiLabel { labels: labels(&["0"]) }),
        (2, sigmoid, None, Task::MultiLabel { labels: labels(&["0", "1"]) }),
        // Ten sigmoids for one digit of ten: the greatest is the class.
        (10, sigmoid, Some(Classification), classes(10)),
        (2, softmax, None, classes(2)),
        (2, Some("log-softmax"), None, classes(2)),
        (1, None, Some(Regression), Task::Regression { targets: labels(&["0"]) }),
        (1, None, Some(Classification), classes(2)),
        (3, None, Some(Classification), classes(3)),
        (1, sigmoid, Some(Regression), Task::Regression { targets: labels(&["0"]) }),
    ] {
        let found = of(outputs, end, said).unwrap().model.task;
        assert_eq!(found, expected, "{outputs} {end:?} {said:?}");
    }
    for (outputs, end, said, words) in [
        (2, softmax, MultiLabel, "ends in softmax, and --task says multi-label"),
        (2, softmax, Regression, "ends in softmax, and --task says regression"),
        (1, softmax, Classification, "softmax behind one output, which is always 1"),
    ] {
        let error = of(outputs, end, Some(said)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn linear_outputs_may_mean_anything_unless_something_tells() {
    let unsaid = |outputs, of_file: &dyn Fn(&mut Archive), options: &Options| match one_layer(
        outputs, None, of_file, options,
    ) {
        Err(ImportError::Unsaid { flag, .. }) => assert!(flag.starts_with("--task"), "{flag}"),
        other => panic!("{:?}", other.map(|imported| imported.model.task)),
    };
    let options = Options::default();
    let names = |count: usize| Some((0..count).map(|name| format!("n{name}")).collect());
    let of_data = |data| Options { data: Some(data), ..Options::default() };
    let digits = of_data(Task::numbered_classes(10));
    unsaid(1, &nothing, &options);
    unsaid(2, &nothing, &options);
    // Data of another number of classes tells nothing, and one number may be a regression of two.
    unsaid(5, &nothing, &digits);
    unsaid(1, &nothing, &of_data(Task::numbered_classes(2)));
    // One class alone would always be right.
    unsaid(1, &|archive| archive.labels = names(1), &options);
    let of = |outputs, of_file: &dyn Fn(&mut Archive), options: &Options| {
        one_layer(outputs, None, of_file, options).unwrap().model.task
    };
    assert_eq!(of(10, &nothing, &digits), Task::numbered_classes(10));
    let values = Task::Regression { targets: vec!["y".to_owned()] };
    assert_eq!(of(1, &nothing, &of_data(values)).kind(), "regression");
    let said = Options { labels: names(3), ..Options::default() };
    assert_eq!(of(3, &nothing, &said).names(), ["n0", "n1", "n2"]);
    let labelled = of(1, &|archive| archive.labels = names(2), &options);
    assert_eq!(labelled, Task::Classification { labels: names(2).unwrap() });
    for (task, kind) in [
        (formats::Task::Regression, "regression"),
        (formats::Task::Classification, "classification"),
        (formats::Task::MultiLabel, "multi-label"),
    ] {
        assert_eq!(of(1, &|archive| archive.task = Some(task), &options).kind(), kind);
    }
    // What the file tells is not overruled, but where one of several outputs is meant.
    let said = |task| Options { task: Some(task), ..Options::default() };
    let of_numbers = |archive: &mut Archive| archive.task = Some(formats::Task::Regression);
    for (outputs, task) in [(1, TaskKind::Classification), (2, TaskKind::MultiLabel)] {
        let error = one_layer(outputs, None, of_numbers, &said(task)).unwrap_err();
        assert!(error.to_string().contains("is of regression, and --task says"), "{error}");
    }
    let one_of_two = one_layer(2, None, of_numbers, &said(TaskKind::Classification)).unwrap();
    assert_eq!(one_of_two.model.task, Task::numbered_classes(2));
    let told = |note: &String| note.ends_with("a softmax, which it was not trained for");
    assert!(one_of_two.notes.iter().any(told), "{:?}", one_of_two.notes);
    let of_labels = |archive: &mut Archive| archive.task = Some(formats::Task::MultiLabel);
    let classes = said(TaskKind::Classification);
    assert!(one_layer(2, Some("sigmoid"), of_labels, &classes).is_ok());
    // A squared error is also used on classes, which sigmoids at the end show.
    let one_of_two = one_layer(2, Some("sigmoid"), of_numbers, &classes).unwrap();
    assert_eq!(one_of_two.model.task, Task::numbered_classes(2));
}

#[test]
fn one_logit_is_the_second_of_two_classes() {
    let options = Options { task: Some(TaskKind::Classification), ..numbers() };
    let mut made = Made::new(7, 3);
    made.dense(1);
    let imported = made.imported(&options).unwrap();
    let row = [0.5_f32, -1.0, 2.0];
    let logit = made.outputs(&row.map(f64::from))[0];
    let found = imported.model.predict(&[row]).unwrap();
    let fireclay::Prediction::Class { distribution, .. } = &found[0] else { panic!("{found:?}") };
    assert!((f64::from(distribution[1]) - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6);
}

#[test]
fn labels_of_the_file_are_taken_as_they_are() {
    let labels = ["a, b", "c"];
    let named = |archive: &mut Archive| archive.labels = Some(labels.map(str::to_owned).to_vec());
    let options = Options::default();
    let of = |outputs, end, options: &Options| {
        one_layer(outputs, Some(end), named, options).map(|imported| imported.model.task)
    };
    assert_eq!(of(2, "softmax", &options).unwrap().names(), labels);
    // Of one sigmoid there are two classes.
    assert_eq!(of(1, "sigmoid", &options).unwrap().names(), labels);
    let error = of(3, "softmax", &options).unwrap_err().to_string();
    assert!(error.contains("the file has 2 names, and the network 3 outputs"), "{error}");
    let said = Options { labels: Some(vec!["x".to_owned(); 3]), ..options };
    assert_eq!(of(3, "softmax", &said).unwrap().names(), ["x", "x", "x"]);
}

#[test]
fn names_beside_the_weights_are_taken_if_they_fit() {
    type Lists<'a> = &'a [(&'a str, &'a [&'a str])];
    let of = |lists: Lists<'_>, labels: Option<Vec<String>>| {
        let named = |archive: &mut Archive| {
            let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let list = |(key, of): &(&str, &[&str])| ((*key).to_owned(), names(of));
            archive.class_names = lists.iter().map(list).collect();
        };
        let options = Options { labels, ..Options::default() };
        one_layer(2, Some("softmax"), named, &options)
    };
    let both = [("classes", &["a", "b"][..]), ("class_to_idx", &["a", "b"])];
    let imported = of(&both, None).unwrap();
    assert_eq!(imported.model.task.names(), ["a", "b"]);
    let note = "the outputs are named as under \"classes\"".to_owned();
    assert!(imported.notes.contains(&note), "{:?}", imported.notes);
    let imported = of(&[("labels", &["a", "b", "c"]), both[1]], None).unwrap();
    assert_eq!(imported.model.task.names(), ["a", "b"]);
    let note = "left out: 3 names under \"labels\"; the network has 2 outputs".to_owned();
    assert!(imported.notes.contains(&note), "{:?}", imported.notes);
    assert_eq!(of(&[("labels", &["a"])], None).unwrap().model.task.names(), ["0", "1"]);
    let contradicting = [both[0], ("names", &["b", "a"])];
    let error = of(&contradicting, None).unwrap_err().to_string();
    assert!(error.contains("a, b under \"classes\" and b, a under \"names\""), "{error}");
    let said = of(&contradicting, Some(vec!["x".to_owned(), "y".to_owned()])).unwrap();
    assert_eq!(said.model.task.names(), ["x", "y"]);
}

#[test]
fn names_of_the_network_and_beside_it_must_agree() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let of = |beside: &[&str], options: &Options| {
        let named = |archive: &mut Archive| {
            archive.labels = Some(names(&["c", "a"]));
            archive.class_names = vec![("classes".to_owned(), names(beside))];
        };
        one_layer(2, Some("softmax"), named, options)
    };
    let options = Options::default();
    let error = of(&["x", "y"], &options).unwrap_err().to_string();
    assert!(error.contains("c, a in its network and x, y under \"classes\""), "{error}");
    for beside in [&["c", "a"][..], &["x", "y", "z"]] {
        assert_eq!(of(beside, &options).unwrap().model.task.names(), ["c", "a"]);
    }
    let said = Options { labels: Some(names(&["p", "q"])), ..options };
    assert_eq!(of(&["x", "y"], &said).unwrap().model.task.names(), ["p", "q"]);
}

#[test]
fn what_stands_before_the_first_layer_is_preprocessing() {
    let unsaid = Options { preprocessing: None, ..numbers() };
    // A factor of each feature tells how features were prepared.
    let mut made = Made::new(1, 3);
    made.tensor(&[3], |random| random.number().abs() + 0.5);
    made.layers.push(Layer::Affine { scale: Some("t0".to_owned()), offset: None });
    made.dense(2);
    let imported = made.imported(&unsaid).unwrap();
    made.compare(&imported);
    assert!(matches!(imported.model.preprocessing, Preprocessing::Standardize { .. }));
    // A batch norm does not.
    let mut norm = Made::new(2, 3);
    norm.batch_norm().dense(2);
    assert!(matches!(norm.imported(&unsaid), Err(ImportError::Unsaid { .. })));
    norm.check();
    // It tells what features it has seen, which are not bytes divided by 255.
    let mut bytes = Made::new(4, 3);
    let mean = Some(bytes.tensor(&[3], |_| 33.0));
    let variance = Some(bytes.tensor(&[3], |_| 78.0 * 78.0));
    let (scale, shift, kind) = (None, None, formats::Norm::Batch);
    bytes.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon: 1e-3 });
    bytes.dense(2);
    let scaled = Options { preprocessing: Some(Preprocessing::PIXELS), ..numbers() };
    let error = bytes.imported(&scaled).unwrap_err();
    assert!(matches!(error, ImportError::SeenOtherwise { .. }), "{error}");
    bytes.check();
    // Fixed statistics, as Keras' Normalization has them, do.
    let mut fixed = Made::new(3, 3);
    let mean = Some(fixed.vector());
    let variance = Some(fixed.tensor(&[3], |random| random.number().abs() + 0.1));
    let (scale, shift, kind) = (None, None, formats::Norm::Batch);
    fixed.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon: 0.0 });
    fixed.dense(2);
    let imported = fixed.imported(&unsaid).unwrap();
    fixed.compare(&imported);
    assert!(matches!(imported.model.preprocessing, Preprocessing::Standardize { .. }));
}

#[test]
fn sizes_and_numbers_are_checked() {
    let mut empty = Made::new(1, 4);
    empty.refused("no linear layer");
    empty.tensor(&[0, 1 << 40], Random::number);
    let (bias, layout) = (None, Layout::OutIn);
    empty.layers.push(Layer::Dense { weight: "t0".to_owned(), bias, layout });
    empty.refused("neither of them 0");
    // Two thin layers would make a matrix of 2^26 numbers.
    let mut thin = Made::new(2, 1 << 13);
    thin.dense(1).dense(1 << 13).function("relu").dense(1);
    thin.refused("much larger than what is in the file");
    let mut negative = Made::new(3, 4);
    negative.dense(2).function("relu").dense(2);
    let (mean, variance) = (Some(negative.vector()), Some(negative.tensor(&[2], |_| -1.0)));
    let (scale, shift, kind) = (None, None, formats::Norm::Batch);
    negative.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon: 1e-3 });
    negative.refused("variance of -1");
    let mut infinite = Made::new(4, 4);
    infinite.tensor(&[2, 4], |_| f64::INFINITY);
    infinite.layers.push(Layer::Dense { weight: "t0".to_owned(), bias: None, layout });
    assert!(matches!(infinite.imported(&numbers()), Err(ImportError::NotFinite { .. })));
}
