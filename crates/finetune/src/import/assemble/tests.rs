//! Networks of every kind of step, computed here by their formulas in double precision, become models
//! that give the same outputs, or are refused with a reason.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use fireclay::{Device, Norm, Preprocessing, Task};
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
        let has_shift = kind != formats::Norm::Rms && self.random.below(4) > 0;
        let shift = has_shift.then(|| self.vector());
        let positive = |random: &mut Random| random.number().abs() + 0.1;
        let is_batch = kind == formats::Norm::Batch;
        let mean = is_batch.then(|| self.vector());
        let variance = is_batch.then(|| self.tensor(&[self.width], positive));
        self.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon: 1e-3 });
        self
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

    /// Any step, with skip connections so deep within each other.
    fn random_step(&mut self, depth: usize) {
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

/// The hidden layers of a network, each in a few words.
fn described(imported: &Imported) -> Vec<String> {
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

const BATCH: formats::Norm = formats::Norm::Batch;
const LAYER: formats::Norm = formats::Norm::Layer;

#[track_caller]
fn folds(imported: &Imported) {
    let is_told = |note: &String| note.contains("batch norms without room");
    assert!(imported.notes.iter().any(is_told), "{:?}", imported.notes);
    let is_folded = |tensor: &&super::super::Placed| match &tensor.fate {
        Fate::Used { change, .. } => change.contains("folded in"),
        Fate::Skipped(_) => false,
    };
    assert!(imported.placed.iter().any(|tensor| is_folded(&tensor)), "{:?}", imported.placed);
}

#[test]
fn norms_of_each_layer_stay_where_they_are() {
    for (kind, name) in [(BATCH, "batch"), (LAYER, "layer"), (formats::Norm::Rms, "rms")] {
        // Beside some layers alone, on either side of the activation, and on the input.
        let mut made = Made::new(1, 4);
        made.norm(kind).dense(5).function("relu").dense(3).norm(kind).function("tanh");
        made.dense(6).function("sigmoid").norm(kind).dense(4).function("relu").dense(2);
        let imported = made.check();
        let expected = [
            format!("5, relu, {name} input"),
            format!("3, tanh, {name} before-activation"),
            format!("6, sigmoid, {name} after-activation"),
            "4, relu".to_owned(),
        ];
        assert_eq!(described(&imported), expected);
        assert!(imported.notes.is_empty(), "{:?}", imported.notes);
        let layer = &imported.model.mlp.architecture().hidden[1];
        assert_eq!(layer.norm_epsilon, 1e-3);
    }
    // One of each kind, and two about one activation: the second stands on what the next layer reads.
    let mut both = Made::new(2, 4);
    both.dense(5).norm(BATCH).function("relu").norm(LAYER).dense(3).function("tanh").dense(2);
    let expected = ["5, relu, batch before-activation", "3, tanh, layer input"];
    assert_eq!(described(&both.check()), expected);
    // Behind dropout, which stands behind a norm here.
    let mut dropped = Made::new(3, 4);
    dropped.dense(5).function("relu");
    dropped.layers.push(Layer::Dropout(0.25));
    dropped.norm(BATCH).dense(3).function("relu").dense(2);
    let imported = dropped.check();
    assert_eq!(described(&imported), ["5, relu", "3, relu, batch input"]);
    assert_eq!(imported.model.mlp.architecture().hidden[0].dropout, 0.25);
}

#[test]
fn batch_norms_without_room_are_folded() {
    let mut end = Made::new(4, 4);
    end.dense(5).function("relu").dense(2).norm(BATCH);
    folds(&end.check());
    // A norm of what the next layer reads goes into its weights if that has one of its own.
    let mut three = Made::new(5, 4);
    three.dense(5).norm(BATCH).function("relu").norm(BATCH).dense(3).norm(BATCH).function("tanh");
    three.dense(2);
    let imported = three.check();
    folds(&imported);
    let expected = ["5, relu, batch before-activation", "3, tanh, batch before-activation"];
    assert_eq!(described(&imported), expected);
    // A norm behind a norm, and factors before and behind it.
    let mut stacked = Made::new(6, 4);
    stacked.dense(5).rescale(2.0, 1.0).norm(BATCH).rescale(0.5, -1.0).norm(BATCH).affine();
    stacked.function("tanh").affine().dense(2).rescale(3.0, 0.25);
    let imported = stacked.check();
    folds(&imported);
    assert_eq!(described(&imported), ["5, tanh, batch before-activation"]);
    let mut mixed = Made::new(1, 4);
    mixed.dense(5).norm(LAYER).rescale(2.0, 0.5).norm(BATCH).function("tanh").dense(2);
    assert_eq!(described(&mixed.check()), ["5, tanh, layer before-activation"]);
}

#[test]
fn layer_norms_without_room_stand_beside_a_layer_that_changes_nothing() {
    let added = |made: &Made, expected: &[&str]| {
        let imported = made.check();
        assert_eq!(described(&imported), expected);
        let is_told = |note: &String| note.contains("a linear layer that changes nothing");
        assert!(imported.notes.iter().any(is_told), "{:?}", imported.notes);
    };
    let mut last = Made::new(4, 4);
    last.dense(5).norm(LAYER).function("relu").dense(2).norm(LAYER);
    added(&last, &["5, relu, layer before-activation", "2, identity, layer before-activation"]);
    let mut two = Made::new(5, 4);
    two.dense(5).norm(LAYER).norm(LAYER).function("relu").dense(2);
    added(&two, &["5, identity, layer before-activation", "5, relu, layer input"]);
    let mut scaled = Made::new(6, 4);
    scaled.dense(5).function("relu").rescale(2.0, 1.0).norm(LAYER).dense(2);
    added(&scaled, &["5, relu", "5, identity, layer before-activation"]);
    // An RMS norm has no shift that another could go into.
    let mut shifted = Made::new(8, 4);
    shifted.norm(formats::Norm::Rms).rescale(2.0, 0.0).rescale(1.0, 0.5).function("tanh").dense(2);
    added(&shifted, &["4, tanh, rms input"]);
    // Behind the last skip connection, as in most networks of such blocks.
    let mut blocks = Made::new(7, 4);
    blocks.residual(|made| {
        made.norm(LAYER).dense(6).function("relu").dense(4);
    });
    blocks.norm(LAYER).dense(2);
    let last = "4, identity, layer before-activation, skip 2 before-norm";
    assert_eq!(described(&blocks.check()), ["6, relu, layer input", last]);
}

#[test]
fn linear_layers_and_their_biases_stay_as_they_are() {
    let mut made = Made::new(1, 4);
    made.dense(6)
        .dense(3)
        .norm(BATCH)
        .dense(5)
        .function("tanh")
        .dense(4)
        .rescale(2.0, 1.0)
        .dense(2);
    let expected =
        ["6, identity", "3, identity, batch before-activation", "5, tanh", "4, identity"];
    assert_eq!(described(&made.check()), expected);
    // Each as in the file, but where something was folded in.
    for has_bias in [[true, false, true], [false, true, false]] {
        let mut made = Made::new(2, 3);
        for (outputs, has_bias) in [5, 4, 2].into_iter().zip(has_bias) {
            let inputs = std::mem::replace(&mut made.width, outputs);
            let weight = made.tensor(&[outputs, inputs], Random::number);
            let bias = has_bias.then(|| made.vector());
            made.layers.push(Layer::Dense { weight, bias, layout: Layout::OutIn });
            if outputs > 2 {
                made.function("relu");
            }
        }
        let network = made.check().model.mlp.architecture().clone();
        assert_eq!([0, 1, 2].map(|layer| network.has_bias(layer)), has_bias);
    }
}

#[test]
fn slopes_of_any_kind_are_kept() {
    let slope = [("slope", 0.3)];
    let mut leaky = Made::new(1, 4);
    leaky.dense(5).norm(BATCH).function_with("leaky-relu", &slope);
    leaky.dense(3).norm(BATCH).function("leaky-relu").dense(2);
    let imported = leaky.check();
    let slopes = |imported: &Imported| -> Vec<f64> {
        imported.model.mlp.architecture().hidden.iter().map(|layer| layer.leaky_slope).collect()
    };
    assert_eq!(slopes(&imported), [0.3, 0.01]);
    let expected =
        ["5, leaky-relu, batch before-activation", "3, leaky-relu, batch before-activation"];
    assert_eq!(described(&imported), expected);
    // One slope for all, as PyTorch's PReLU begins.
    let mut shared = Made::new(2, 4);
    shared.dense(5);
    let one = shared.tensor(&[1], |_| 0.25);
    shared.layers.push(Layer::Prelu { slope: one });
    shared.dense(2);
    let imported = shared.check();
    assert_eq!(
        (slopes(&imported), described(&imported)),
        (vec![0.25], vec!["5, leaky-relu".to_owned()])
    );
    // Slopes of each unit, with a norm and a factor about them.
    let mut each = Made::new(3, 4);
    each.dense(5).norm(BATCH).prelu().rescale(2.0, 1.0).dense(3).function("relu").dense(4);
    each.function_with("leaky-relu", &slope).dense(2);
    let imported = each.check();
    folds(&imported);
    assert_eq!(described(&imported), ["10, relu", "3, relu", "4, leaky-relu"]);
    assert!(imported.notes.iter().any(|note| note.contains("10, 3, 4")), "{:?}", imported.notes);
    assert!(imported.placed.iter().all(|t| !matches!(&t.fate, Fate::Skipped(_))));
    // Between norms that stay, beside a skip connection, and at the end.
    let mut beside = Made::new(5, 4);
    beside.norm(BATCH).dense(5).norm(LAYER).prelu().norm(LAYER).dense(3).prelu();
    beside.residual(|made| {
        made.prelu().dense(3).prelu();
    });
    beside.prelu();
    let imported = beside.check();
    assert!(imported.placed.iter().all(|t| !matches!(&t.fate, Fate::Skipped(_))));
}

#[test]
fn constants_of_functions_go_into_the_layers_about_them() {
    let mut softplus = Made::new(1, 4);
    softplus.dense(5).function_with("softplus", &[("beta", 2.0)]).dense(3);
    softplus.function_with("softplus", &[("beta", 0.5)]).dense(2);
    assert_eq!(described(&softplus.check()), ["5, softplus", "3, softplus"]);
    let mut bounded = Made::new(2, 4);
    bounded.dense(5).function_with("relu", &[("max", 1.5)]).dense(2);
    assert_eq!(described(&bounded.check()), ["5, relu6"]);
    // What has no counterpart is refused with the name of the layer.
    let mut elu = Made::new(3, 4);
    elu.dense(5).function("relu").dense(3).function_with("elu", &[("alpha", 0.5)]).dense(2);
    let Some(Layer::Dense { weight, .. }) = elu.layers.get(2) else { panic!("{:?}", elu.layers) };
    elu.refused(&format!("elu with alpha = 0.5, behind {weight}"));
}

#[test]
fn functions_of_each_layer_stay_and_may_stand_at_either_end() {
    let mut hidden = Made::new(6, 4);
    hidden.dense(5).function("relu").dense(3).function("tanh").dense(2);
    assert_eq!(described(&hidden.check()), ["5, relu", "3, tanh"]);
    let mut tanh = Made::new(1, 4);
    tanh.dense(5).function("relu").dense(2).function("tanh").rescale(3.0, 1.0);
    assert_eq!(described(&tanh.check()), ["5, relu", "2, tanh"]);
    let mut sigmoid = Made::new(3, 4);
    sigmoid.dense(5).function("sigmoid").dense(2).function("sigmoid");
    assert_eq!(described(&sigmoid.check()), ["5, sigmoid", "2, sigmoid"]);
    let mut first = Made::new(4, 4);
    first.function("sigmoid").dense(2);
    assert_eq!(described(&first.check()), ["4, sigmoid"]);
    let mut two = Made::new(5, 4);
    two.dense(5).function("relu").function("tanh").dense(2);
    assert_eq!(described(&two.check()), ["5, relu", "5, tanh"]);
}

#[test]
fn skips_span_the_layers_that_they_span_in_the_file() {
    let mut one = Made::new(1, 4);
    one.dense(5).function("relu");
    one.residual(|made| {
        made.dense(5).function("tanh");
    });
    one.dense(3).function("relu").dense(2);
    let expected = ["5, relu", "5, tanh, skip 1 output", "3, relu"];
    assert_eq!(described(&one.check()), expected);
    // The usual block: the sum, and then the activation.
    let mut usual = Made::new(2, 4);
    usual.dense(5).norm(BATCH).function("relu");
    usual.residual(|made| {
        made.dense(3).norm(BATCH).function("tanh").dense(5).norm(BATCH);
    });
    usual.function("relu").dense(2);
    let imported = usual.check();
    let expected = [
        "5, relu, batch before-activation",
        "3, tanh, batch before-activation",
        "5, relu, batch before-activation, skip 2 before-activation",
    ];
    assert_eq!(described(&imported), expected);
    // The norm behind the sum.
    let mut behind = Made::new(3, 4);
    behind.residual(|made| {
        made.dense(3).function("tanh").dense(4);
    });
    behind.norm(LAYER).function("relu").dense(2);
    let last = "4, relu, layer before-activation, skip 2 before-norm";
    assert_eq!(described(&behind.check()), ["3, tanh", last]);
    // One inside of another, norms first, and from the input.
    let mut nested = Made::new(4, 4);
    nested.residual(|made| {
        made.norm(BATCH).dense(3).function("relu");
        made.residual(|made| {
            made.dense(5).function("tanh").dense(3);
        });
        made.function("sigmoid").dense(4);
    });
    nested.dense(2);
    let expected = [
        "3, relu, batch input",
        "5, tanh",
        "3, sigmoid, skip 2 before-activation",
        "4, identity, skip 4 output",
    ];
    assert_eq!(described(&nested.check()), expected);
}

#[test]
fn skips_without_room_get_a_layer_that_changes_nothing() {
    // From what stands behind an activation, around a factor, and twice to one sum.
    let mut made = Made::new(5, 4);
    made.dense(5).function("tanh").rescale(2.0, 1.0);
    made.residual(|made| {
        made.dense(5).function("tanh").rescale(-1.0, 0.0);
    });
    made.residual(|made| {
        made.affine();
    });
    made.residual(|made| {
        made.residual(|made| {
            made.dense(5).function("relu");
        });
    });
    made.function("tanh").dense(2);
    let imported = made.check();
    assert!(imported.notes.iter().any(|note| note.contains("a skip connection without room")));
    // From features that are multiplied by a number below 0.
    let mut first = Made::new(6, 4);
    first.affine();
    first.residual(|made| {
        made.dense(4).function("relu");
    });
    first.dense(2).check();
    let mut wide = Made::new(7, 4);
    wide.residual(|made| {
        made.dense(5);
    });
    wide.dense(2).refused("adds 4 numbers to 5");
    let mut softmax = Made::new(8, 4);
    softmax.residual(|made| {
        made.dense(4).function("softmax");
    });
    softmax.dense(2).refused("a softmax inside of a skip connection");
}

/// Random networks: all of them are read, and give the outputs of the file.
#[test]
fn random_networks_give_the_outputs_of_the_file() {
    for seed in 0..600 {
        let mut made = Made::new(seed, 3);
        for _ in 0..1 + made.random.below(12) {
            made.random_step(2);
        }
        made.dense(2);
        made.check();
    }
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
        (1, None, Some(Regression), Task::regression(labels(&["0"]))),
        (1, None, Some(Classification), classes(2)),
        (3, None, Some(Classification), classes(3)),
        (1, sigmoid, Some(Regression), Task::regression(labels(&["0"]))),
    ] {
        let found = of(outputs, end, said).unwrap().model.task;
        assert_eq!(found, expected, "{outputs} {end:?} {said:?}");
    }
    // A note names what tells: the flag only where it was given.
    let of_classes = |archive: &mut Archive| archive.task = Some(formats::Task::Classification);
    for (task, words) in
        [(None, "as the labels of the file say"), (Some(Classification), "as --task says")]
    {
        let options = Options { task, ..Options::default() };
        let notes = one_layer(10, sigmoid, of_classes, &options).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains(words)), "{notes:?}");
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
    let values = Task::regression(vec!["y".to_owned()]);
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
    assert!(matches!(imported.model.input.preprocessing(), Preprocessing::Standardize { .. }));
    // A batch norm does not.
    let mut norm = Made::new(2, 3);
    norm.norm(BATCH).dense(2);
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
    assert!(matches!(imported.model.input.preprocessing(), Preprocessing::Standardize { .. }));
}

#[test]
fn sizes_and_numbers_are_checked() {
    let mut empty = Made::new(1, 4);
    empty.refused("no linear layer");
    empty.tensor(&[0, 1 << 40], Random::number);
    let (bias, layout) = (None, Layout::OutIn);
    empty.layers.push(Layer::Dense { weight: "t0".to_owned(), bias, layout });
    empty.refused("neither of them 0");
    // A layer that changes nothing would have 2^26 numbers.
    let mut wide = Made::new(2, 1);
    wide.dense(1 << 13).function("relu").function("tanh").dense(1);
    wide.refused("much larger than what is in the file");
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
