//! Cross-entropy.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use fireclay_kernels::{Smoothing, cross_entropy, plain};
use proptest::prelude::*;
use proptest::sample::select;

use super::{
    Layout, assert_close, assert_same, depth, doubles, dtypes, epsilon, extents, form, layouts,
    matrix, row, smallest_normal,
};
use crate::support::{Random, config};

pub(super) type LossBody = fn(Tensor<2>, Tensor<1, Int>, &Smoothing) -> Tensor<1>;

#[derive(Clone, Debug)]
pub(super) struct Classification {
    pub(super) batch: usize,
    pub(super) count: usize,
    /// Logits lie within this distance of 0.
    pub(super) most: f64,
    pub(super) smoothing: Smoothing,
    pub(super) dtype: DType,
    pub(super) layout: Layout,
}

pub(super) struct ClassificationNumbers {
    logits: Vec<f64>,
    classes: Vec<usize>,
    upstream: Vec<f64>,
}

/// A loss and its gradient, or their tolerances.
#[derive(Default)]
struct Textbook {
    losses: Vec<f64>,
    gradient: Vec<f64>,
}

impl Classification {
    pub(super) fn numbers(&self, random: &mut Random) -> ClassificationNumbers {
        let logits = random.numbers(self.batch * self.count, -self.most..self.most, self.dtype);
        let classes = (0..self.batch).map(|_| random.below(self.count)).collect();
        let upstream = random.numbers(self.batch, -2.0..2.0, self.dtype);
        ClassificationNumbers { logits, classes, upstream }
    }

    fn inputs(
        &self,
        numbers: &ClassificationNumbers,
        device: &Device,
    ) -> (Tensor<2>, Tensor<1, Int>) {
        let sizes = [self.batch, self.count];
        let logits = matrix(&numbers.logits, sizes, self.layout, (device, self.dtype));
        let ids: Vec<i64> = numbers.classes.iter().map(|&class| class as i64).collect();
        (logits, Tensor::from_data(TensorData::new(ids, [self.batch]), device))
    }

    fn off_graph(&self, body: LossBody, numbers: &ClassificationNumbers) -> TensorData {
        let (logits, classes) = self.inputs(numbers, &Device::flex());
        body(logits, classes, &self.smoothing).into_data()
    }

    /// Losses, and their gradient by the logits.
    pub(super) fn on_graph(
        &self,
        body: LossBody,
        numbers: &ClassificationNumbers,
    ) -> [TensorData; 2] {
        let device = Device::flex().autodiff();
        let (logits, classes) = self.inputs(numbers, &device);
        let logits = logits.require_grad();
        let losses = body(logits.clone(), classes, &self.smoothing);
        let upstream = row(&numbers.upstream, Layout::Rows, (&device, self.dtype));
        let gradients = (losses.clone() * upstream).sum().backward();
        [losses.into_data(), logits.grad(&gradients).unwrap().into_data()]
    }

    /// Returns the share of `-log softmax` of each class for a sample of one class.
    fn shares(&self, own: usize) -> Vec<f64> {
        let Smoothing { share, class_weights } = &self.smoothing;
        let of_class = |class| {
            let target = share / self.count as f64 + if class == own { 1.0 - share } else { 0.0 };
            target * class_weights.as_ref().map_or(1.0, |weights| weights[class])
        };
        (0..self.count).map(of_class).collect()
    }

    /// The formula in f64, and what rounding to `dtype` on the way can change.
    ///
    /// The terms of a loss are `share · (log Σ exp - z)`, with `z` and the sum measured from the
    /// largest logit. Those of a gradient are `Σ shares · p` and a share; `p` is off by the rounding
    /// of the sum, and by that of the exponent.
    fn textbook(&self, numbers: &ClassificationNumbers) -> (Textbook, Textbook) {
        let (mut exact, mut tolerance) = (Textbook::default(), Textbook::default());
        let epsilon = 4.0 * epsilon(self.dtype);
        let rows = numbers.logits.chunks(self.count).zip(&numbers.classes);
        for ((row, &class), upstream) in rows.zip(&numbers.upstream) {
            let shares = self.shares(class);
            let all = shares.iter().sum::<f64>();
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum = row.iter().map(|z| (z - most).exp()).sum::<f64>();
            let terms = shares.iter().zip(row);
            let loss = |(share, z): (&f64, &f64)| share * (sum.ln() + (most - z));
            exact.losses.push(terms.clone().map(loss).sum());
            let sizes = terms.clone().map(|(share, z)| share * (1.0 + sum.ln() + (most - z)));
            tolerance.losses.push((self.count + 4) as f64 * epsilon * sizes.sum::<f64>());
            for (share, z) in terms {
                let p = (z - most).exp() / sum;
                exact.gradient.push((all * p - share) * upstream);
                let of_p = p * ((self.count + 4) as f64 + (most - z));
                let size = (all * of_p + share) * upstream.abs();
                tolerance.gradient.push(epsilon * size + 4.0 * smallest_normal(self.dtype));
            }
        }
        (exact, tolerance)
    }
}

prop_compose! {
    fn classifications()(
        batch in extents(),
        count in prop_oneof![1usize..12, 12usize..80],
        most in select(vec![1.0, 30.0, 1e4]),
        share in select(vec![0.0, 0.1, 0.9]),
        is_weighted: bool,
        seed: u64,
        dtype in dtypes(),
        layout in layouts(),
    ) -> Classification {
        let weights = || Random(seed).numbers(count, 0.1..3.0, DType::F64);
        let smoothing = Smoothing { share, class_weights: is_weighted.then(weights) };
        Classification { batch, count, most, smoothing, dtype, layout }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn cross_entropy_is_the_plain_one_and_the_textbooks(case in classifications(), seed: u64) {
        let numbers = case.numbers(&mut Random(seed));
        let (exact, tolerance) = case.textbook(&numbers);
        let [losses, gradient] = case.on_graph(cross_entropy, &numbers);
        let [plain_losses, plain_gradient] = case.on_graph(plain::cross_entropy, &numbers);
        assert_eq!(form(&losses), form(&plain_losses));
        assert_eq!(form(&gradient), form(&plain_gradient));
        let off_graph = case.off_graph(cross_entropy, &numbers);
        assert_same("losses off the graph", &off_graph, &losses);

        let of_loss = |i: usize| tolerance.losses[i];
        assert_close("textbook", &doubles(&losses), &exact.losses, of_loss);
        let twice = |i: usize| 2.0 * tolerance.losses[i];
        assert_close("losses", &doubles(&losses), &doubles(&plain_losses), twice);
        let of_gradient = |i: usize| tolerance.gradient[i];
        assert_close("textbook gradient", &doubles(&gradient), &exact.gradient, of_gradient);
        let twice = |i: usize| 2.0 * tolerance.gradient[i];
        assert_close("gradient", &doubles(&gradient), &doubles(&plain_gradient), twice);
    }

    /// Sizes are no question here: within a thousandth, or not a number at all.
    #[test]
    fn cross_entropy_has_nan_and_infinities_in_the_same_places(
        case in classifications(),
        rarity in 2usize..100,
        seed: u64,
    ) {
        let mut random = Random(seed);
        let mut numbers = case.numbers(&mut random);
        random.spoil(&mut numbers.logits, rarity);
        let found = case.on_graph(cross_entropy, &numbers).map(|data| doubles(&data));
        let expected = case.on_graph(plain::cross_entropy, &numbers).map(|data| doubles(&data));
        for (what, found, expected) in
            [("losses", &found[0], &expected[0]), ("gradient", &found[1], &expected[1])]
        {
            assert_close(what, found, expected, |i| 1e-3 * expected[i].abs().max(1.0));
        }
    }
}

/// Otherwise the properties above would compare the plain body with itself.
#[test]
fn cross_entropy_is_one_operation_if_the_layout_allows() {
    for layout in [Layout::Rows, Layout::Part, Layout::Columns] {
        let smoothing = Smoothing { share: 0.1, class_weights: None };
        let (batch, count, most, dtype) = (3, 4, 1.0, DType::F32);
        let case = Classification { batch, count, most, smoothing, dtype, layout };
        let numbers = case.numbers(&mut Random(6));
        let (logits, classes) = case.inputs(&numbers, &Device::flex().autodiff());
        let losses = cross_entropy(logits.require_grad(), classes, &case.smoothing);
        assert_eq!(depth(&losses) == 1, layout != Layout::Columns, "{layout:?}");
    }
}

#[test]
fn cross_entropy_takes_every_kind_of_class_ids() {
    let smoothing = Smoothing::default();
    let (batch, count, most, dtype, layout) = (5, 4, 3.0, DType::F32, Layout::Rows);
    let case = Classification { batch, count, most, smoothing, dtype, layout };
    let numbers = case.numbers(&mut Random(7));
    let device = Device::flex();
    let (logits, classes) = case.inputs(&numbers, &device);
    let expected = cross_entropy(logits.clone(), classes.clone(), &case.smoothing).into_data();
    let mut kinds: Vec<Tensor<1, Int>> = [DType::I32, DType::U32, DType::I16, DType::U8]
        .map(|dtype| classes.clone().cast(dtype))
        .to_vec();
    let ids = classes.clone().unsqueeze_dim::<2>(1);
    // Every second number of a longer tensor, and the middle of another.
    let twice = Tensor::cat(vec![ids.clone(), ids], 1);
    kinds.push(twice.slice([0..5, 0..1]).squeeze_dim(1));
    kinds.push(Tensor::cat(vec![classes.clone(), classes.clone(), classes], 0).narrow(0, 5, 5));
    for classes in kinds {
        let kind = classes.dtype();
        let losses = cross_entropy(logits.clone(), classes.clone(), &case.smoothing).into_data();
        let tolerance = |_| 1e-5;
        assert_close(&format!("{kind:?}"), &doubles(&losses), &doubles(&expected), tolerance);
    }
}

#[test]
fn cross_entropy_of_no_sample_is_empty() {
    for share in [0.0, 0.1] {
        let smoothing = Smoothing { share, class_weights: Some(vec![1.0; 4]) };
        let (batch, count, most, dtype, layout) = (0, 4, 1.0, DType::F32, Layout::Rows);
        let case = Classification { batch, count, most, smoothing, dtype, layout };
        let numbers = case.numbers(&mut Random(8));
        let bodies = [cross_entropy as LossBody, plain::cross_entropy];
        let [found, expected] = bodies.map(|body| case.on_graph(body, &numbers));
        assert_same("losses", &found[0], &expected[0]);
        assert_same("gradient", &found[1], &expected[1]);
    }
}

#[test]
#[should_panic(expected = "out of bounds")]
fn cross_entropy_refuses_a_class_that_is_not_there() {
    let device = Device::flex();
    let logits = Tensor::<2>::zeros([2, 3], &device);
    let classes = Tensor::<1, Int>::from_data([0, 3], &device);
    let _ = cross_entropy(logits, classes, &Smoothing::default()).into_data();
}
