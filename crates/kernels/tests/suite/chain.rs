//! Chains of layers against the plain steps, which define theirs.

use crate::support::{Random, config};
use burn::tensor::{DType, Device, Tensor, TensorData};
use fireclay_kernels::{
    AdamStep, Chain, ChosenRows, Epilogue, Outcome, RawFeatures, Rule, Scaling, SgdStep, Smoothing,
    StepBatch, TrainedLayer, TrainedParameter, plain,
};
use proptest::prelude::*;
use proptest::sample::select;
use rayon::ThreadPoolBuilder;

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
    is_weighted: bool,
    is_bytes: bool,
    scaling: usize,
}

/// ChosenRows of the data set; a batch is drawn from them.
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
    fn run(&self, seed: u64, body: Body) -> Found {
        let mut random = Random(seed);
        let mut layers = self.layers(&mut random);
        let mut chain = Chain::new(&layers, Vec::new()).unwrap();
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
            if self.is_bytes { RawFeatures::Bytes(&bytes) } else { RawFeatures::Floats(&floats) };
        let mut found = Found::default();
        for number in 0..3 {
            let indices: Vec<usize> = (0..self.batch).map(|_| random.below(ROWS)).collect();
            let outputs = self.widths[self.widths.len() - 1];
            let weights: Vec<f32> = (0..self.batch).map(|_| random.below(5) as f32 / 2.0).collect();
            let classes: Vec<usize> = (0..self.batch).map(|_| random.below(outputs)).collect();
            let batch = StepBatch {
                rows: ChosenRows { features, width, indices: &indices, scaling },
                terms: &[],
                classes: &classes,
                smoothing: &self.smoothing,
                weights: self.is_weighted.then_some(&weights),
                divisor: self.batch as f64,
            };
            let rule = numbered(self.rule, number + 1);
            let Outcome { losses, logits } = match body {
                Body::Chain => chain.step(|_, _| rule, &batch),
                Body::Plain => {
                    for layer in &mut layers {
                        layer.weight.rule = layer.weight.rule.map(|_| rule);
                        layer.bias.rule = layer.bias.rule.map(|_| rule);
                    }
                    let (stepped, _, outcome) = plain::chain_step(layers, Vec::new(), &batch);
                    layers = stepped;
                    outcome
                }
            };
            found.outcomes.extend([doubles(losses), doubles(logits)]);
        }
        if let Body::Chain = body {
            layers = chain.layers();
        }
        for layer in layers {
            found.add(layer.weight);
            found.add(layer.bias);
        }
        found
    }

    fn check(&self, seed: u64) {
        let [fast, expected] = [Body::Chain, Body::Plain].map(|body| self.run(seed, body));
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

#[derive(Clone, Copy)]
enum Body {
    Chain,
    Plain,
}

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

/// A rule at a step, from 1.
pub(crate) fn numbered(mut rule: Rule, number: u64) -> Rule {
    if let Rule::Adam(step) = &mut rule {
        step.step = number;
    }
    rule
}

pub(crate) fn doubles<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().try_to_vec().unwrap()
}

/// The epsilon is large: next to a small one, the sign of a rounding error would be a whole step.
pub(crate) fn adam(penalty: f64, shrinkage: f64) -> Rule {
    let (rate, beta1, beta2, epsilon) = (1e-2, 0.9, 0.99, 1e-2);
    Rule::Adam(AdamStep { rate, beta1, beta2, epsilon, penalty, shrinkage, step: 1 })
}

pub(crate) fn sgd(momentum: f64, nesterov: bool, penalty: f64) -> Rule {
    Rule::Sgd(SgdStep { rate: 0.05, momentum, dampening: 0.0, nesterov, penalty })
}

pub(crate) fn rules() -> impl Strategy<Value = Rule> {
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
        widths in proptest::collection::vec(1usize..150, 2..5),
        batch in prop_oneof![Just(1usize), 2usize..40, 100usize..300],
        dtype in select(vec![DType::F32, DType::F64]),
        rule in rules(),
        trained in proptest::collection::vec(prop::bool::weighted(0.8), 8),
        share in select(vec![0.0, 0.1]),
        has_class_weights: bool,
        is_weighted: bool,
        is_bytes: bool,
        scaling in 0usize..3,
    ) -> Case {
        let outputs = widths[widths.len() - 1];
        let weights = || (0..outputs).map(|class| 0.5 + class as f64 / 50.0).collect();
        let smoothing = Smoothing { share, class_weights: has_class_weights.then(weights) };
        Case { widths, batch, dtype, rule, trained, smoothing, is_weighted, is_bytes, scaling }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_step_is_the_plain_one(case in cases(), seed: u64) {
        case.check(seed);
    }
}

/// Wide enough for several panels and blocks of each.
fn large(dtype: DType, trained: Vec<bool>) -> Case {
    Case {
        widths: vec![300, 700, 500, 7],
        batch: 270,
        dtype,
        rule: adam(0.0, 0.0),
        trained,
        smoothing: Smoothing::default(),
        is_weighted: false,
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
    let mut before = Found::default();
    for layer in case.layers(&mut Random(5)) {
        before.add(layer.weight);
        before.add(layer.bias);
    }
    assert_eq!(case.run(5, Body::Chain).parameters, before.parameters);
}

/// A chain continues from the memory of its layers.
#[test]
fn layers_of_a_chain_make_the_same_chain() {
    for rule in [adam(0.1, 0.01), sgd(0.9, true, 0.1), sgd(0.0, false, 0.0)] {
        let case = Case { rule, ..small() };
        let mut chain = Chain::new(&case.layers(&mut Random(8)), Vec::new()).unwrap();
        let bytes: Vec<u8> = (0..784 * ROWS).map(|i| (i * 7 % 256) as u8).collect();
        let (indices, classes): (Vec<_>, Vec<_>) = (0..40).map(|i| (i, i % 10)).unzip();
        let (features, scaling) = (RawFeatures::Bytes(&bytes), Scaling::Scale(1.0 / 255.0));
        let batch = StepBatch {
            rows: ChosenRows { features, width: 784, indices: &indices, scaling },
            terms: &[],
            classes: &classes,
            smoothing: &case.smoothing,
            weights: None,
            divisor: 40.0,
        };
        chain.step(|_, _| numbered(rule, 1), &batch);
        let mut copy = Chain::new(&chain.layers(), Vec::new()).unwrap();
        let [first, second] = [&mut chain, &mut copy].map(|chain| {
            doubles(chain.step(|_, _| numbered(rule, 2), &batch).losses);
            doubles(chain.step(|_, _| numbered(rule, 3), &batch).losses)
        });
        assert_eq!(first, second);
    }
}

#[test]
fn layers_that_do_not_fit_make_no_chain() {
    assert!(Chain::new(&[], Vec::new()).is_none());
    let layers = small().layers(&mut Random(9));
    assert!(Chain::new(&layers, Vec::new()).is_some());
    let swapped: Vec<_> = layers.iter().rev().cloned().collect();
    assert!(Chain::new(&swapped, Vec::new()).is_none());
    let mut of_another_type = layers.clone();
    of_another_type[1].bias.value = layers[1].bias.value.clone().cast(DType::F64);
    assert!(Chain::new(&of_another_type, Vec::new()).is_none());
    let mut of_another_size = layers;
    of_another_size[0].bias.value = Tensor::zeros([3], &Device::flex());
    assert!(Chain::new(&of_another_size, Vec::new()).is_none());
}

/// The tutorial's network.
fn small() -> Case {
    Case { widths: vec![784, 128, 10], batch: 40, ..large(DType::F32, vec![true; 4]) }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let wide = Case { widths: vec![70, 130, 200, 10], batch: 129, ..small() };
    let wide = Case { trained: vec![true; 6], ..wide };
    for case in [large(DType::F32, vec![true; 6]), small(), wide] {
        // One thread alone, and as many as the machine has; who takes which piece is chance.
        let alone = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let alone = alone.install(|| case.run(7, Body::Chain));
        for _ in 0..10 {
            assert!(case.run(7, Body::Chain) == alone, "{case:?}");
        }
    }
}
