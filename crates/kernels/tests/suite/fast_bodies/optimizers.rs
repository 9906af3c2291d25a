//! Steps of the optimizers.

use std::array;

use burn::backend::Flex;
use burn::tensor::{DType, Device, Tensor, TensorData};
use fireclay_kernels::{AdamStep, SgdStep, adam, plain, sgd};
use proptest::prelude::*;
use proptest::sample::select;

use super::{Layout, assert_close, assert_same, doubles, dtypes, row, smallest_normal};
use crate::support::{Random, config};

pub(super) type AdamBody =
    fn(Tensor<1>, Tensor<1>, Tensor<1>, Tensor<1>, &AdamStep) -> [Tensor<1>; 3];
pub(super) type SgdBody = fn(Tensor<1>, Tensor<1>, Tensor<1>, &SgdStep) -> [Tensor<1>; 2];

prop_compose! {
    fn adam_steps()(
        rate in select(vec![1e-3, 0.1]),
        beta1 in select(vec![0.0, 0.9]),
        beta2 in select(vec![0.0, 0.99, 0.999]),
        epsilon in select(vec![1e-8, 1e-3]),
        penalty in select(vec![0.0, 0.01]),
        shrinkage in select(vec![0.0, 1e-4]),
        step in 1u64..2000,
    ) -> AdamStep {
        AdamStep { rate, beta1, beta2, epsilon, penalty, shrinkage, step }
    }
}

prop_compose! {
    fn sgd_steps()(
        rate in select(vec![1e-3, 0.1]),
        momentum in select(vec![0.0, 0.9]),
        dampening in select(vec![0.0, 0.5]),
        nesterov: bool,
        penalty in select(vec![0.0, 0.01]),
    ) -> SgdStep {
        SgdStep { rate, momentum, dampening, nesterov, penalty }
    }
}

/// A parameter on its way: its value, what is remembered of it, and the gradients to come.
#[derive(Clone)]
pub(super) struct Training {
    dtype: DType,
    is_on_graph: bool,
    value: Vec<f64>,
    mean: Vec<f64>,
    square: Vec<f64>,
    gradients: Vec<Vec<f64>>,
}

impl Training {
    /// Sizes that no step brings near the subnormal numbers.
    pub(super) fn new(count: usize, steps: usize, dtype: DType, random: &mut Random) -> Self {
        let gradient = |random: &mut Random| random.of_all_sizes(count, 1e-6..1e3, dtype);
        Self {
            dtype,
            is_on_graph: false,
            value: random.of_all_sizes(count, 1e-3..1e3, dtype),
            mean: gradient(random),
            square: gradient(random).into_iter().map(f64::abs).collect(),
            gradients: (0..steps).map(|_| gradient(random)).collect(),
        }
    }

    fn tensor(&self, numbers: &[f64]) -> Tensor<1> {
        let device = Device::flex();
        let device = if self.is_on_graph { device.autodiff() } else { device };
        row(numbers, Layout::Rows, (&device, self.dtype))
    }

    /// All that every step returns.
    pub(super) fn adam(&self, body: AdamBody, step: &AdamStep) -> Vec<TensorData> {
        let [mut value, mut mean, mut square] =
            [&self.value, &self.mean, &self.square].map(|numbers| self.tensor(numbers));
        let mut seen = Vec::new();
        for (i, gradient) in self.gradients.iter().enumerate() {
            let step = AdamStep { step: step.step + i as u64, ..*step };
            [value, mean, square] = body(value, self.tensor(gradient), mean, square, &step);
            seen.extend([&value, &mean, &square].map(|tensor| tensor.clone().into_data()));
        }
        seen
    }

    pub(super) fn sgd(&self, body: SgdBody, step: &SgdStep) -> Vec<TensorData> {
        let [mut value, mut velocity] =
            [&self.value, &self.mean].map(|numbers| self.tensor(numbers));
        let mut seen = Vec::new();
        for gradient in &self.gradients {
            [value, velocity] = body(value, self.tensor(gradient), velocity, step);
            seen.extend([&value, &velocity].map(|tensor| tensor.clone().into_data()));
        }
        seen
    }

    #[track_caller]
    fn check_adam(&self, step: &AdamStep) {
        let steps = self.adam(adam, step).into_iter().zip(self.adam(plain::adam, step));
        for (i, (found, expected)) in steps.enumerate() {
            let what = ["value", "mean", "square"][i % 3];
            assert_same(&format!("{what} after step {}", i / 3), &found, &expected);
        }
    }

    #[track_caller]
    fn check_sgd(&self, step: &SgdStep) {
        let steps = self.sgd(sgd, step).into_iter().zip(self.sgd(plain::sgd, step));
        for (i, (found, expected)) in steps.enumerate() {
            let what = ["value", "velocity"][i % 2];
            assert_same(&format!("{what} after step {}", i / 2), &found, &expected);
        }
    }
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0usize), Just(1usize), Just(7usize), 2usize..200]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn adam_is_the_plain_one(
        step in adam_steps(),
        count in lengths(),
        dtype in dtypes(),
        is_on_graph: bool,
        seed: u64,
    ) {
        let training = Training::new(count, 4, dtype, &mut Random(seed));
        Training { is_on_graph, ..training }.check_adam(&step);
    }

    #[test]
    fn sgd_is_the_plain_one(
        step in sgd_steps(),
        count in lengths(),
        dtype in dtypes(),
        is_on_graph: bool,
        seed: u64,
    ) {
        let training = Training::new(count, 4, dtype, &mut Random(seed));
        Training { is_on_graph, ..training }.check_sgd(&step);
    }

    /// A setting of 0 leaves its term out: 0 times infinity would be NaN.
    #[test]
    fn optimizers_have_nan_and_infinities_in_the_same_places(
        adam_step in adam_steps(),
        sgd_step in sgd_steps(),
        dtype in dtypes(),
        seed: u64,
    ) {
        let mut random = Random(seed);
        let mut training = Training::new(50, 2, dtype, &mut random);
        random.spoil(&mut training.value, 5);
        random.spoil(&mut training.mean, 5);
        training.gradients.iter_mut().for_each(|gradient| random.spoil(gradient, 5));
        training.check_adam(&adam_step);
        training.check_sgd(&sgd_step);
    }

    /// Means come out as the plain body's, with zero in place of the subnormal ones.
    #[test]
    fn subnormal_means_become_zero(
        adam_step in adam_steps(),
        sgd_step in sgd_steps(),
        dtype in dtypes(),
        seed: u64,
    ) {
        let mut random = Random(seed);
        let smallest = smallest_normal(dtype);
        let mut training = Training::new(50, 1, dtype, &mut random);
        training.mean = random.of_all_sizes(50, smallest..8.0 * smallest, dtype);
        training.square = training.mean.iter().map(|x| x.abs()).collect();
        training.gradients = vec![vec![0.0; 50]];
        let adam_step = AdamStep { beta1: 0.3, beta2: 0.4, penalty: 0.0, ..adam_step };
        let sgd_step = SgdStep { momentum: 0.3, penalty: 0.0, ..sgd_step };
        let found = [&training.adam(adam, &adam_step)[1..], &training.sgd(sgd, &sgd_step)[1..]];
        let expected = [
            &training.adam(plain::adam, &adam_step)[1..],
            &training.sgd(plain::sgd, &sgd_step)[1..],
        ];
        for (found, expected) in found.concat().iter().zip(&expected.concat()) {
            let normal: Vec<f64> = doubles(expected)
                .into_iter()
                .map(|x| if x.abs() < smallest { 0.0 } else { x })
                .collect();
            let zeros = normal.iter().filter(|&&x| x == 0.0).count();
            assert!((1..50).contains(&zeros), "{zeros} of 50 are subnormal");
            assert!(doubles(expected).iter().all(|&x| x != 0.0), "the plain body has none");
            assert_close("mean", &doubles(found), &normal, |_| 0.0);
        }
    }
}

/// Longer than what one thread takes, by a piece and some.
#[test]
fn optimizers_are_the_plain_ones_on_several_threads() {
    for dtype in [DType::F32, DType::F64] {
        let training = Training::new((2 << 17) + 3, 1, dtype, &mut Random(9));
        training.check_adam(&ADAM);
        training.check_sgd(&SGD);
    }
}

pub(super) const ADAM: AdamStep = AdamStep {
    rate: 0.01,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    penalty: 0.01,
    shrinkage: 1e-3,
    step: 5,
};

pub(super) const SGD: SgdStep =
    SgdStep { rate: 0.01, momentum: 0.9, dampening: 0.1, nesterov: true, penalty: 0.01 };

/// Another tensor that shares the storage keeps its numbers; so do the numbers beside a part.
#[test]
fn a_step_changes_no_tensor_that_is_held() {
    for dtype in [DType::F32, DType::F64] {
        let training = Training::new(40, 1, dtype, &mut Random(10));
        let tensors = [&training.value, &training.gradients[0], &training.mean, &training.square]
            .map(|numbers| training.tensor(numbers));
        let before = tensors.clone().map(Tensor::into_data);
        // All of a tensor, its beginning, its end; the last is left to the plain body.
        for range in [0..40, 0..25, 15..40] {
            let part = || tensors.clone().map(|tensor| tensor.slice(range.clone()));
            let [value, gradient, mean, square] = part();
            let found = adam(value, gradient, mean, square, &ADAM);
            let [value, gradient, mean, square] = part();
            let expected = plain::adam(value, gradient, mean, square, &ADAM);
            for (found, expected) in found.into_iter().zip(expected) {
                assert_same("adam", &found.into_data(), &expected.into_data());
            }
            let [value, gradient, mean, _] = part();
            let found = sgd(value, gradient, mean, &SGD);
            let [value, gradient, mean, _] = part();
            let expected = plain::sgd(value, gradient, mean, &SGD);
            for (found, expected) in found.into_iter().zip(expected) {
                assert_same("sgd", &found.into_data(), &expected.into_data());
            }
            for (tensor, before) in tensors.iter().zip(&before) {
                assert_same("a tensor that is held", &tensor.clone().into_data(), before);
            }
        }
        // One tensor in every role.
        let shared = tensors[0].clone().abs();
        let [a, b, c, d] = array::from_fn(|_| shared.clone());
        let found = adam(a, b, c, d, &ADAM);
        let [a, b, c, d] = array::from_fn(|_| tensors[0].clone().abs());
        let expected = plain::adam(a, b, c, d, &ADAM);
        for (found, expected) in found.into_iter().zip(expected) {
            assert_same("one tensor in every role", &found.into_data(), &expected.into_data());
        }
    }
}

/// The other half of the promise: without another holder nothing is allocated.
#[test]
fn a_step_is_taken_in_place() {
    fn address(tensor: Tensor<1>) -> (usize, Tensor<1>) {
        let primitive = tensor.try_into_primitive::<Flex>().unwrap();
        (primitive.bytes().as_ptr() as usize, Tensor::from_primitive::<Flex>(primitive))
    }
    let training = Training::new(1000, 1, DType::F32, &mut Random(11));
    let tensors = || {
        [&training.value, &training.mean, &training.square]
            .map(|numbers| address(training.tensor(numbers)))
    };
    let gradient = || training.tensor(&training.gradients[0]);
    let [(at_value, value), (at_mean, mean), (at_square, square)] = tensors();
    let stepped = adam(value, gradient(), mean, square, &ADAM).map(|tensor| address(tensor).0);
    assert_eq!(stepped, [at_value, at_mean, at_square]);
    let [(at_value, value), (at_velocity, velocity), _] = tensors();
    let stepped = sgd(value, gradient(), velocity, &SGD).map(|tensor| address(tensor).0);
    assert_eq!(stepped, [at_value, at_velocity]);
}
