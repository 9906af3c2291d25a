//! The fast training step against the plain one, which defines it.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use burn::tensor::{DType, Device, Tensor, TensorData};
use fireclay_kernels::{
    AdamStep, Batch, Epilogue, Features, Outcome, Rows, Rule, Scaling, SgdStep, Smoothing,
    TrainedLayer, TrainedParameter, Workspace, plain, train_step,
};
use proptest::prelude::*;
use proptest::sample::select;
use support::{Random, config};

/// A network, its optimizer, and how many rows it sees at a time.
#[derive(Clone, Debug)]
struct Case {
    /// Of the inputs and of each layer's outputs.
    widths: Vec<usize>,
    batch: usize,
    dtype: DType,
    rule: Rule,
    /// Which parameters are trained, weight and bias in turn.
    trained: Vec<bool>,
    smoothing: Smoothing,
    is_bytes: bool,
    scaling: usize,
}

/// Rows of the data set; a batch is drawn from them.
const ROWS: usize = 50;

impl Case {
    fn layers(&self, random: &mut Random) -> Vec<TrainedLayer> {
        let last = self.widths.len() - 2;
        let layer = |i: usize| TrainedLayer {
            weight: self.parameter(2 * i, [self.widths[i], self.widths[i + 1]], random),
            bias: self.parameter(2 * i + 1, [self.widths[i + 1]], random),
            epilogue: if i == last { Epilogue::None } else { Epilogue::Relu },
        };
        (0..=last).map(layer).collect()
    }

    fn parameter<const D: usize>(
        &self,
        index: usize,
        dims: [usize; D],
        random: &mut Random,
    ) -> TrainedParameter<D> {
        let scale = 1.0 / (dims[0] as f64).sqrt();
        let numbers = random.numbers(dims.iter().product(), -scale..scale, self.dtype);
        let data = TensorData::new(numbers, dims);
        let value = Tensor::from_data(data, (&Device::flex(), self.dtype));
        TrainedParameter {
            value,
            memory: Vec::new(),
            rule: self.trained[index].then_some(self.rule),
        }
    }

    /// Three steps on rows drawn from `seed`: what they came to, and what they left.
    fn run(&self, seed: u64, step: impl FnMut(Vec<TrainedLayer>, &Batch<'_>) -> Stepped) -> Found {
        let mut step = step;
        let mut random = Random(seed);
        let mut layers = self.layers(&mut random);
        let width = self.widths[0];
        let bytes: Vec<u8> = (0..ROWS * width).map(|_| random.below(256) as u8).collect();
        let floats: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) - 100.0).collect();
        let (mean, deviation) = (vec![90.0; width], vec![70.0; width]);
        let scale = 1.0 / 255.0;
        let scaling = match self.scaling {
            0 => Scaling::Scale(scale),
            1 => Scaling::Normalize { scale, mean: 0.4, deviation: 0.3 },
            _ => Scaling::Standardize { mean: &mean, deviation: &deviation },
        };
        let features =
            if self.is_bytes { Features::Bytes(&bytes) } else { Features::Floats(&floats) };
        let mut found = Found::default();
        for number in 0..3 {
            let indices: Vec<usize> = (0..self.batch).map(|_| random.below(ROWS)).collect();
            let outputs = self.widths[self.widths.len() - 1];
            let classes: Vec<usize> = (0..self.batch).map(|_| random.below(outputs)).collect();
            let batch = Batch {
                rows: Rows { features, width, indices: &indices, scaling },
                classes: &classes,
                smoothing: &self.smoothing,
                divisor: self.batch as f64,
            };
            for layer in &mut layers {
                next(&mut layer.weight.rule, number + 1);
                next(&mut layer.bias.rule, number + 1);
            }
            let (stepped, Outcome { losses, logits }) = step(layers, &batch);
            layers = stepped;
            found.outcomes.extend([doubles(losses), doubles(logits)]);
        }
        for layer in layers {
            found.add(layer.weight);
            found.add(layer.bias);
        }
        found
    }

    fn check(&self, seed: u64) {
        let mut space = Workspace::default();
        let fast = self.run(seed, |layers, batch| train_step(layers, batch, &mut space));
        let expected = self.run(seed, plain::train_step);
        // Sums of some hundred terms of size 1, over three steps.
        let tolerance = if self.dtype == DType::F32 { 2e-4 } else { 1e-12 };
        assert_eq!(fast.parameters.len(), expected.parameters.len());
        let pairs = fast.outcomes.iter().zip(&expected.outcomes);
        for (found, expected) in pairs.chain(fast.parameters.iter().zip(&expected.parameters)) {
            assert_eq!(found.len(), expected.len());
            let most = expected.iter().fold(1e-3f64, |most, x| most.max(x.abs()));
            for (found, expected) in found.iter().zip(expected) {
                let off = (found - expected).abs();
                assert!(off <= tolerance * most, "{found} is not {expected}, {self:?}");
            }
        }
    }
}

type Stepped = (Vec<TrainedLayer>, Outcome);

#[derive(Debug, Default, PartialEq)]
struct Found {
    outcomes: Vec<Vec<f64>>,
    parameters: Vec<Vec<f64>>,
}

impl Found {
    fn add<const D: usize>(&mut self, parameter: TrainedParameter<D>) {
        self.parameters.push(doubles(parameter.value));
        self.parameters.extend(parameter.memory.into_iter().map(doubles));
    }
}

fn next(rule: &mut Option<Rule>, number: u64) {
    if let Some(Rule::Adam(step)) = rule {
        step.step = number;
    }
}

fn doubles<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().try_to_vec().unwrap()
}

/// The epsilon is large: next to a small one, the sign of a rounding error would be a whole step.
fn adam(penalty: f64, shrinkage: f64) -> Rule {
    let (rate, beta1, beta2, epsilon) = (1e-2, 0.9, 0.99, 1e-2);
    Rule::Adam(AdamStep { rate, beta1, beta2, epsilon, penalty, shrinkage, step: 1 })
}

fn rules() -> impl Strategy<Value = Rule> {
    let sgd = |momentum, nesterov, penalty| {
        Rule::Sgd(SgdStep { rate: 0.05, momentum, dampening: 0.0, nesterov, penalty })
    };
    select(vec![
        adam(0.0, 0.0),
        adam(0.1, 0.0),
        adam(0.0, 0.01),
        sgd(0.0, false, 0.0),
        sgd(0.0, false, 0.1),
        sgd(0.9, false, 0.0),
        sgd(0.9, true, 0.1),
    ])
}

prop_compose! {
    fn cases()(
        widths in proptest::collection::vec(1usize..80, 2..5),
        batch in prop_oneof![Just(1usize), 2usize..40, 100usize..300],
        dtype in select(vec![DType::F32, DType::F64]),
        rule in rules(),
        trained in proptest::collection::vec(prop::bool::weighted(0.8), 8),
        share in select(vec![0.0, 0.1]),
        is_weighted: bool,
        is_bytes: bool,
        scaling in 0usize..3,
    ) -> Case {
        let outputs = widths[widths.len() - 1];
        let weights = || (0..outputs).map(|class| 0.5 + class as f64 / 50.0).collect();
        let smoothing = Smoothing { share, class_weights: is_weighted.then(weights) };
        Case { widths, batch, dtype, rule, trained, smoothing, is_bytes, scaling }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_step_is_the_plain_one(case in cases(), seed: u64) {
        case.check(seed);
    }
}

/// Too many weights for a core's cache: the threads share each product.
fn large(dtype: DType, trained: Vec<bool>) -> Case {
    Case {
        widths: vec![300, 700, 500, 7],
        batch: 270,
        dtype,
        rule: adam(0.0, 0.0),
        trained,
        smoothing: Smoothing::default(),
        is_bytes: true,
        scaling: 0,
    }
}

#[test]
fn a_large_network_steps_as_the_plain_one() {
    for dtype in [DType::F32, DType::F64] {
        large(dtype, vec![true; 6]).check(3);
        large(dtype, vec![false, false, false, true, true, true]).check(4);
    }
}

#[test]
fn what_has_no_rule_stays_and_remembers_nothing() {
    let case = Case { trained: vec![false; 6], ..large(DType::F32, Vec::new()) };
    let before = case.layers(&mut Random(5));
    let mut space = Workspace::default();
    let mut kept = Found::default();
    for layer in before {
        kept.add(layer.weight);
        kept.add(layer.bias);
    }
    let after = case.run(5, |layers, batch| train_step(layers, batch, &mut space));
    assert_eq!(after.parameters, kept.parameters);
}

/// As plain bodies do, a step leaves alone what somebody else holds.
#[test]
fn a_step_changes_no_tensor_that_is_held() {
    let case = Case { widths: vec![20, 30, 5], batch: 40, ..large(DType::F32, vec![true; 4]) };
    let mut space = Workspace::default();
    let mut held = Vec::new();
    case.run(6, |layers, batch| {
        for layer in &layers {
            let weight = layer.weight.value.clone();
            held.push((doubles(weight.clone()), weight));
        }
        train_step(layers, batch, &mut space)
    });
    for (numbers, tensor) in held {
        assert_eq!(doubles(tensor), numbers);
    }
}

#[test]
fn steps_repeat_to_the_bit_whoever_takes_the_pieces() {
    for case in [
        large(DType::F32, vec![true; 6]),
        Case { widths: vec![784, 128, 10], ..large(DType::F32, vec![true; 4]) },
    ] {
        let run = || {
            let mut space = Workspace::default();
            case.run(7, |layers, batch| train_step(layers, batch, &mut space))
        };
        let first = run();
        for _ in 0..20 {
            assert_eq!(run(), first);
        }
    }
}
