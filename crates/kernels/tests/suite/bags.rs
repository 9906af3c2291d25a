//! Bags, alone and before a chain, against the plain steps, which define them.

use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use fireclay_kernels::{
    Chain, ChosenRows, Epilogue, RawFeatures, Rule, Scaling, Smoothing, SparseBatch, StepBatch,
    TrainedBag, TrainedLayer, TrainedParameter, bag, has_finite_sum, plain,
};
use proptest::prelude::*;
use proptest::sample::select;
use rayon::ThreadPoolBuilder;

use crate::chain::{adam, doubles, numbered, rules, sgd};
use crate::support::{Random, config};

/// Rows of the data set; a batch is drawn from them.
const ROWS: usize = 30;

/// Bags, and layers behind them.
#[derive(Clone, Debug)]
struct Case {
    /// Dense features of a row.
    dense: usize,
    /// Terms, width, dense inputs before it, and function of each bag.
    bags: Vec<(usize, usize, usize, Epilogue)>,
    /// Of the outputs of each layer.
    widths: Vec<usize>,
    batch: usize,
    dtype: DType,
    rule: Rule,
    /// Of the bags' weights and biases, and of the layers.
    trained: [bool; 3],
    is_weighted: bool,
}

/// Sparse rows of up to 12 terms, some of none.
fn sparse(terms: usize, random: &mut Random) -> SparseBatch {
    let mut rows = SparseBatch { starts: vec![0], ..SparseBatch::default() };
    for _ in 0..ROWS {
        let mut places: Vec<u32> =
            (0..random.below(13)).map(|_| random.below(terms) as u32).collect();
        places.sort_unstable();
        places.dedup();
        rows.values.extend(places.iter().map(|_| random.below(9) as f32 / 4.0 - 1.0));
        rows.places.extend(places);
        rows.starts.push(rows.places.len());
    }
    rows
}

fn parameter<const D: usize>(
    dims: [usize; D],
    (dtype, rule): (DType, Option<Rule>),
    random: &mut Random,
) -> TrainedParameter<D> {
    let numbers = random.numbers(dims.iter().product(), -0.5..0.5, dtype);
    let value = Tensor::from_data(TensorData::new(numbers, dims), (&Device::flex(), dtype));
    TrainedParameter { value, memory: Vec::new(), rule }
}

impl Case {
    fn parts(&self, random: &mut Random) -> (Vec<TrainedLayer>, Vec<TrainedBag>) {
        let [weights, biases, layers] =
            self.trained.map(|is_trained| (self.dtype, is_trained.then_some(self.rule)));
        let mut inputs = 0;
        let mut bags = Vec::new();
        for &(terms, width, before, epilogue) in &self.bags {
            let first = inputs + before;
            inputs = first + width;
            let weight = parameter([terms, width], weights, random);
            let bias = parameter([width], biases, random);
            bags.push(TrainedBag { weight, bias, epilogue, first });
        }
        let before: usize = self.bags.iter().map(|bag| bag.2).sum();
        inputs += self.dense - before;
        let last = self.widths.len() - 1;
        let layers = self.widths.iter().enumerate().map(|(i, &width)| TrainedLayer {
            weight: parameter([std::mem::replace(&mut inputs, width), width], layers, random),
            bias: parameter([width], layers, random),
            epilogue: if i == last { Epilogue::None } else { Epilogue::Relu },
        });
        (layers.collect(), bags)
    }

    /// Three steps on rows drawn from `seed`: losses, and all that they left.
    fn run(&self, seed: u64, is_fast: bool) -> Vec<Vec<f64>> {
        let random = &mut Random(seed);
        let (mut layers, mut bags) = self.parts(random);
        let mut chain = Chain::new(&layers, bags.clone()).unwrap();
        let terms: Vec<_> = self.bags.iter().map(|bag| sparse(bag.0, random)).collect();
        let terms: Vec<_> = terms.iter().map(SparseBatch::as_matrix).collect();
        let floats: Vec<f32> =
            (0..ROWS * self.dense).map(|_| random.below(9) as f32 / 4.0).collect();
        let outputs = self.widths[self.widths.len() - 1];
        let smoothing = Smoothing { share: 0.1, class_weights: None };
        let mut found = Vec::new();
        for number in 1..4 {
            let indices: Vec<usize> = (0..self.batch).map(|_| random.below(ROWS)).collect();
            let classes: Vec<usize> = (0..self.batch).map(|_| random.below(outputs)).collect();
            let weights: Vec<f32> = (0..self.batch).map(|_| random.below(5) as f32 / 2.0).collect();
            let (features, width) = (RawFeatures::Floats(&floats), self.dense);
            let batch = StepBatch {
                rows: ChosenRows { features, width, indices: &indices, scaling: Scaling::None },
                terms: &terms,
                classes: &classes,
                smoothing: &smoothing,
                weights: self.is_weighted.then_some(&weights),
                divisor: self.batch as f64,
            };
            let rule = numbered(self.rule, number);
            let outcome = if is_fast {
                chain.step(|_, _| rule, &batch)
            } else {
                for bag in &mut bags {
                    bag.weight.rule = bag.weight.rule.map(|_| rule);
                    bag.bias.rule = bag.bias.rule.map(|_| rule);
                }
                for layer in &mut layers {
                    layer.weight.rule = layer.weight.rule.map(|_| rule);
                    layer.bias.rule = layer.bias.rule.map(|_| rule);
                }
                let (l, b, outcome) = plain::chain_step(layers, bags, &batch);
                (layers, bags) = (l, b);
                outcome
            };
            found.extend([doubles(outcome.losses), doubles(outcome.logits)]);
        }
        if is_fast {
            (layers, bags) = (chain.layers(), chain.bags());
        }
        for bag in bags {
            add(&mut found, bag.weight);
            add(&mut found, bag.bias);
        }
        for layer in layers {
            add(&mut found, layer.weight);
            add(&mut found, layer.bias);
        }
        found
    }
}

fn add<const D: usize>(found: &mut Vec<Vec<f64>>, parameter: TrainedParameter<D>) {
    found.push(doubles(parameter.value));
    found.extend(parameter.memory.into_iter().map(doubles));
}

fn epilogues() -> impl Strategy<Value = Epilogue> {
    select(vec![Epilogue::None, Epilogue::Relu])
}

prop_compose! {
    fn cases()(
        bags in proptest::collection::vec((1usize..60, 1usize..40, 0usize..4, epilogues()), 1..3),
        behind in 0usize..4,
        widths in proptest::collection::vec(1usize..70, 1..4),
        batch in 1usize..50,
        dtype in select(vec![DType::F32, DType::F64]),
        rule in rules(),
        trained in proptest::array::uniform3(prop::bool::weighted(0.8)),
        is_weighted: bool,
    ) -> Case {
        let dense = behind + bags.iter().map(|bag| bag.2).sum::<usize>();
        Case { dense, bags, widths, batch, dtype, rule, trained, is_weighted }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_step_is_the_plain_one(case in cases(), seed: u64) {
        let [fast, expected] = [true, false].map(|is_fast| case.run(seed, is_fast));
        prop_assert_eq!(fast.len(), expected.len());
        // Sums of some tens of terms of size 1, over three steps.
        let tolerance = if case.dtype == DType::F32 { 2e-4 } else { 1e-12 };
        for (found, expected) in fast.iter().zip(&expected) {
            prop_assert_eq!(found.len(), expected.len());
            let most = expected.iter().fold(1e-3f64, |most, x| most.max(x.abs()));
            for (found, expected) in found.iter().zip(expected) {
                prop_assert!((found - expected).abs() <= tolerance * most, "{found} {expected}");
            }
        }
    }

    #[test]
    fn a_bag_and_its_gradient_are_the_plain_ones(
        terms in 1usize..60,
        width in 1usize..40,
        dtype in select(vec![DType::F32, DType::F64]),
        seed: u64,
    ) {
        let random = &mut Random(seed);
        let rows = Arc::new(sparse(terms, random));
        let numbers = random.numbers(terms * width, -1.0..1.0, dtype);
        let upstream = random.numbers(ROWS * width, -1.0..1.0, dtype);
        let device = Device::flex().autodiff();
        let [fast, expected] = [bag, plain::bag].map(|body: fn(_, &_) -> Tensor<2>| {
            let data = TensorData::new(numbers.clone(), [terms, width]);
            let weight = Tensor::<2>::from_data(data, (&device, dtype)).require_grad();
            let sums = body(weight.clone(), &rows);
            let by_sums = TensorData::new(upstream.clone(), [ROWS, width]);
            let mut graph = (sums.clone() * Tensor::from_data(by_sums, (&device, dtype))).backward();
            let gradient = weight.grad_remove(&mut graph).map(doubles);
            (doubles(sums), gradient.unwrap_or_else(|| vec![0.0; terms * width]))
        });
        let tolerance = if dtype == DType::F32 { 1e-5 } else { 1e-13 };
        let pairs = fast.0.iter().zip(&expected.0).chain(fast.1.iter().zip(&expected.1));
        for (found, expected) in pairs {
            prop_assert!((found - expected).abs() <= tolerance, "{found} {expected}");
        }
    }
}

fn large() -> Case {
    Case {
        dense: 3,
        bags: vec![(5000, 20, 1, Epilogue::None), (70, 33, 0, Epilogue::Relu)],
        widths: vec![40, 3],
        batch: 200,
        dtype: DType::F32,
        rule: adam(0.0, 0.01),
        trained: [true; 3],
        is_weighted: false,
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let alone = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let alone = alone.install(|| large().run(7, true));
    for _ in 0..10 {
        assert!(large().run(7, true) == alone);
    }
}

/// By any rule, and with weight decay: only what a batch has moves.
#[test]
fn what_a_batch_does_not_have_stays_as_it_is() {
    for rule in [adam(0.1, 0.0), adam(0.0, 0.01), sgd(0.9, false, 0.1)] {
        let case = Case { rule, bags: vec![(900, 5, 0, Epilogue::None)], dense: 0, ..large() };
        let (layers, bags) = case.parts(&mut Random(3));
        let before = doubles(bags[0].weight.value.clone());
        let mut chain = Chain::new(&layers, bags).unwrap();
        let rows = SparseBatch {
            starts: vec![0, 2, 2, 3],
            places: vec![4, 700, 4],
            values: vec![1.0, 0.5, 2.0],
        };
        let (indices, smoothing) = ([0, 1, 2], Smoothing::default());
        let batch = StepBatch {
            rows: ChosenRows {
                features: RawFeatures::Floats(&[]),
                width: 0,
                indices: &indices,
                scaling: Scaling::None,
            },
            terms: &[rows.as_matrix()],
            classes: &[0, 1, 2],
            smoothing: &smoothing,
            weights: None,
            divisor: 3.0,
        };
        chain.step(|_, _| rule, &batch);
        let after = chain.bags().remove(0).weight;
        let value = doubles(after.value);
        let memory: Vec<_> = after.memory.into_iter().map(doubles).collect();
        for term in 0..900 {
            let numbers = term * 5..term * 5 + 5;
            let is_touched = [4, 700].contains(&term);
            assert_eq!(value[numbers.clone()] != before[numbers.clone()], is_touched, "{term}");
            for part in &memory {
                assert_eq!(part[numbers.clone()].iter().any(|x| *x != 0.0), is_touched, "{term}");
            }
        }
    }
}

#[test]
fn a_sum_shows_every_number_that_is_not_finite() {
    let device = Device::flex();
    for at in [0, 7, 16, 99] {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut numbers = vec![1.0f32; 100];
            assert_eq!(has_finite_sum(Tensor::<1>::from_floats(&numbers[..], &device)), Some(true));
            numbers[at] = bad;
            assert_eq!(
                has_finite_sum(Tensor::<1>::from_floats(&numbers[..], &device)),
                Some(false)
            );
        }
    }
}
