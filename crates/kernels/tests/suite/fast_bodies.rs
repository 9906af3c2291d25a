//! The fast bodies on `flex` against the plain ones, which define the operations.
//!
//! Shapes, layouts and numbers are drawn from a fixed seed, so that what fails once fails again.

use std::array;

use crate::support::{Random, config};
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use fireclay_kernels::{
    AdamStep, Epilogue, SgdStep, Smoothing, adam, cross_entropy, dense, plain, sgd,
};
use proptest::prelude::*;
use proptest::sample::select;
use rayon::ThreadPoolBuilder;

/// Distance of 1 from the next number.
fn epsilon(dtype: DType) -> f64 {
    if dtype == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON }
}

fn smallest_normal(dtype: DType) -> f64 {
    if dtype == DType::F32 { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE }
}

fn dtypes() -> impl Strategy<Value = DType> {
    select(vec![DType::F32, DType::F64])
}

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Rows,
    /// Column by column, which the fast bodies leave to the plain ones.
    Columns,
    /// From the middle of a longer tensor, with NaN around it.
    Part,
}

fn layouts() -> impl Strategy<Value = Layout> {
    prop_oneof![4 => Just(Layout::Rows), 1 => Just(Layout::Columns), 2 => Just(Layout::Part)]
}

/// Where a tensor is made, and of which numbers.
type Place<'a> = (&'a Device, DType);

fn matrix(
    numbers: &[f64],
    [rows, columns]: [usize; 2],
    layout: Layout,
    place: Place<'_>,
) -> Tensor<2> {
    match layout {
        Layout::Rows => {
            Tensor::from_data(TensorData::new(numbers.to_vec(), [rows, columns]), place)
        }
        Layout::Columns => {
            let across = |column| (0..rows).map(move |row| numbers[row * columns + column]);
            let numbers: Vec<f64> = (0..columns).flat_map(across).collect();
            Tensor::from_data(TensorData::new(numbers, [columns, rows]), place).transpose()
        }
        Layout::Part => {
            let around = vec![f64::NAN; columns];
            let numbers = [&around[..], numbers, &around[..]].concat();
            let whole =
                Tensor::<2>::from_data(TensorData::new(numbers, [rows + 2, columns]), place);
            whole.narrow(0, 1, rows)
        }
    }
}

fn row(numbers: &[f64], layout: Layout, place: Place<'_>) -> Tensor<1> {
    let count = numbers.len();
    if layout == Layout::Part {
        let numbers = [&[f64::NAN], numbers, &[f64::NAN]].concat();
        let whole = Tensor::<1>::from_data(TensorData::new(numbers, [count + 2]), place);
        return whole.narrow(0, 1, count);
    }
    Tensor::from_data(TensorData::new(numbers.to_vec(), [count]), place)
}

fn form(data: &TensorData) -> (Vec<usize>, DType) {
    (data.shape().to_vec(), data.dtype())
}

fn doubles(data: &TensorData) -> Vec<f64> {
    data.clone().convert::<f64>().try_to_vec().unwrap()
}

/// The numbers' bits, with one NaN for all and one zero for both.
fn bits(data: &TensorData) -> Vec<u64> {
    let bits = |x: f64| if x.is_nan() { f64::NAN.to_bits() } else { (x + 0.0).to_bits() };
    doubles(data).into_iter().map(bits).collect()
}

#[track_caller]
fn assert_same(what: &str, found: &TensorData, expected: &TensorData) {
    assert_eq!(form(found), form(expected), "{what}");
    if bits(found) != bits(expected) {
        let numbers = doubles(found).into_iter().zip(doubles(expected)).enumerate();
        let of_bits = |x: f64| (x + 0.0).to_bits();
        let (i, (found, expected)) = { numbers }
            .find(|(_, (f, e))| of_bits(*f) != of_bits(*e) && !(f.is_nan() && e.is_nan()))
            .unwrap();
        panic!("{what}[{i}]: {found:e} != {expected:e}");
    }
}

/// NaN and infinities in the same places, and the rest within its own tolerance.
#[track_caller]
fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: impl Fn(usize) -> f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let is_close = match (found.is_finite(), expected.is_finite()) {
            (true, true) => (found - expected).abs() <= tolerance(i),
            _ => found == expected || (found.is_nan() && expected.is_nan()),
        };
        assert!(is_close, "{what}[{i}]: {found:e} != {expected:e} ± {:e}", tolerance(i));
    }
}

/// How many operations lie between a tensor and the leaves of its graph.
///
/// A fast body is one operation, so this tells that it ran.
fn depth<const D: usize>(tensor: &Tensor<D>) -> usize {
    let primitive = tensor.clone().try_into_primitive::<Autodiff<Flex>>().unwrap();
    let node = format!("{primitive:?}");
    let (_, order) = node.split_once("order: ").unwrap();
    order.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

// Dense layers.

type DenseBody = fn(Tensor<2>, Tensor<2>, Tensor<1>, Epilogue) -> Tensor<2>;

/// How the gradient comes to the layer.
#[derive(Clone, Copy, Debug)]
enum Upstream {
    Rows,
    /// Column by column.
    Columns,
    /// One 1 for all places.
    Ones,
}

#[derive(Clone, Copy, Debug)]
struct Layer {
    /// Batch, inputs, outputs.
    sizes: [usize; 3],
    dtype: DType,
    epilogue: Epilogue,
    /// Of `x`, `weight` and `bias`.
    layouts: [Layout; 3],
    upstream: Upstream,
    /// Which of `x`, `weight` and `bias` need their gradients.
    needs: [bool; 3],
}

/// The numbers of `x`, `weight` and `bias`, and the gradient by `y`.
#[derive(Clone)]
struct LayerNumbers {
    inputs: [Vec<f64>; 3],
    upstream: Vec<f64>,
}

/// `y` and the gradients by `x`, `weight` and `bias`.
#[derive(Debug)]
struct Pass {
    y: TensorData,
    gradients: [Option<TensorData>; 3],
}

impl Layer {
    fn new(sizes: [usize; 3], dtype: DType, epilogue: Epilogue) -> Self {
        let layouts = [Layout::Rows; 3];
        Self { sizes, dtype, epilogue, layouts, upstream: Upstream::Rows, needs: [true; 3] }
    }

    fn counts(&self) -> [usize; 4] {
        let [batch, inputs, outputs] = self.sizes;
        [batch * inputs, inputs * outputs, outputs, batch * outputs]
    }

    fn numbers(&self, random: &mut Random) -> LayerNumbers {
        let [x, weight, bias, y] =
            self.counts().map(|count| random.numbers(count, -2.0..2.0, self.dtype));
        LayerNumbers { inputs: [x, weight, bias], upstream: y }
    }

    /// Small enough that no sum of their products is rounded.
    fn whole_numbers(&self, random: &mut Random) -> LayerNumbers {
        let [x, weight, bias, y] =
            self.counts().map(|count| (0..count).map(|_| random.below(7) as f64 - 3.0).collect());
        LayerNumbers { inputs: [x, weight, bias], upstream: y }
    }

    fn inputs(&self, numbers: &LayerNumbers, device: &Device) -> (Tensor<2>, Tensor<2>, Tensor<1>) {
        let [batch, inputs, outputs] = self.sizes;
        let place = (device, self.dtype);
        let [x, weight, bias] = &numbers.inputs;
        let x = matrix(x, [batch, inputs], self.layouts[0], place);
        let weight = matrix(weight, [inputs, outputs], self.layouts[1], place);
        (x, weight, row(bias, self.layouts[2], place))
    }

    fn off_graph(&self, body: DenseBody, numbers: &LayerNumbers) -> TensorData {
        let (x, weight, bias) = self.inputs(numbers, &Device::flex());
        body(x, weight, bias, self.epilogue).into_data()
    }

    fn on_graph(&self, body: DenseBody, numbers: &LayerNumbers) -> Pass {
        self.on_device(body, numbers, &Device::flex().autodiff())
    }

    fn on_device(&self, body: DenseBody, numbers: &LayerNumbers, device: &Device) -> Pass {
        let (x, weight, bias) = self.inputs(numbers, device);
        let x = x.set_require_grad(self.needs[0]);
        let weight = weight.set_require_grad(self.needs[1]);
        let bias = bias.set_require_grad(self.needs[2]);
        let y = body(x.clone(), weight.clone(), bias.clone(), self.epilogue);
        let data = y.clone().into_data();
        if self.needs == [false; 3] {
            return Pass { y: data, gradients: [None, None, None] };
        }
        let [batch, _, outputs] = self.sizes;
        let by_y =
            |layout| matrix(&numbers.upstream, [batch, outputs], layout, (device, self.dtype));
        let sum = match self.upstream {
            Upstream::Rows => (y * by_y(Layout::Rows)).sum(),
            Upstream::Columns => (y.transpose() * by_y(Layout::Columns).transpose()).sum(),
            Upstream::Ones => y.sum(),
        };
        let gradients = sum.backward();
        let of_x = x.grad(&gradients).map(Tensor::into_data);
        let of_weight = weight.grad(&gradients).map(Tensor::into_data);
        let of_bias = bias.grad(&gradients).map(Tensor::into_data);
        Pass { y: data, gradients: [of_x, of_weight, of_bias] }
    }

    /// For every number of a pass, the sum of the sizes of its terms: rounding grows with it.
    fn sizes_of_terms(&self, numbers: &LayerNumbers) -> Pass {
        let sizes = |numbers: &Vec<f64>| numbers.iter().map(|x| x.abs()).collect();
        let numbers = LayerNumbers {
            inputs: numbers.inputs.each_ref().map(sizes),
            upstream: sizes(&numbers.upstream),
        };
        Self::new(self.sizes, DType::F64, Epilogue::None).on_graph(plain::dense, &numbers)
    }

    /// What a sum of so many terms can differ by if it is taken in another order (Higham 2002, 3.1).
    fn tolerance(&self, terms: usize, size: f64) -> f64 {
        2.0 * (terms + 1) as f64 * epsilon(self.dtype) * size
    }

    /// Takes the gradient by `y` away where rounding decides whether `relu` lets it pass.
    fn without_ties(&self, mut numbers: LayerNumbers) -> LayerNumbers {
        if self.epilogue == Epilogue::Relu {
            let affine = Self::new(self.sizes, DType::F64, Epilogue::None);
            let y = doubles(&affine.off_graph(plain::dense, &numbers));
            let sizes = doubles(&self.sizes_of_terms(&numbers).y);
            for ((upstream, y), size) in numbers.upstream.iter_mut().zip(y).zip(sizes) {
                if y.abs() <= self.tolerance(self.sizes[1], size) {
                    *upstream = 0.0;
                }
            }
        }
        numbers
    }

    /// Compares the fast body with the plain one, on the graph and off it.
    #[track_caller]
    fn check(&self, numbers: LayerNumbers) {
        let numbers = self.without_ties(numbers);
        let sizes = self.sizes_of_terms(&numbers);
        let [found, expected] =
            [dense as DenseBody, plain::dense].map(|body| self.on_graph(body, &numbers));
        let off_graph = self.off_graph(dense, &numbers);
        assert_same("y off the graph", &off_graph, &found.y);
        let [batch, inputs, outputs] = self.sizes;
        self.compare("y", &found.y, &expected.y, &sizes.y, inputs + 1);
        for (i, (name, terms)) in
            [("x", outputs), ("weight", batch), ("bias", batch)].into_iter().enumerate()
        {
            let what = format!("gradient by {name}");
            match (&found.gradients[i], &expected.gradients[i]) {
                (Some(found), Some(expected)) => {
                    let sizes = sizes.gradients[i].as_ref().unwrap();
                    self.compare(&what, found, expected, sizes, terms);
                }
                (None, None) => assert!(!self.needs[i], "there is no {what}"),
                (found, _) => panic!("{what}: only one body has it, fast {}", found.is_some()),
            }
        }
    }

    #[track_caller]
    fn compare(
        &self,
        what: &str,
        found: &TensorData,
        expected: &TensorData,
        sizes: &TensorData,
        terms: usize,
    ) {
        assert_eq!(form(found), form(expected), "{what}");
        let sizes = doubles(sizes);
        let tolerance = |i: usize| self.tolerance(terms, sizes[i]);
        assert_close(what, &doubles(found), &doubles(expected), tolerance);
    }
}

/// Mostly small; around 128, where a result is cut into pieces, and beyond.
fn extents() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 1usize..40,
        2 => Just(1usize),
        1 => select(vec![64usize, 127, 128, 129]),
        1 => 130usize..270,
    ]
}

fn epilogues() -> impl Strategy<Value = Epilogue> {
    select(vec![Epilogue::None, Epilogue::Relu])
}

prop_compose! {
    fn layers()(
        sizes in array::from_fn::<_, 3, _>(|_| extents()),
        dtype in dtypes(),
        epilogue in epilogues(),
        layouts in array::from_fn::<_, 3, _>(|_| layouts()),
        upstream in select(vec![Upstream::Rows, Upstream::Columns]),
        needs in any::<[bool; 3]>(),
    ) -> Layer {
        Layer { sizes, dtype, epilogue, layouts, upstream, needs }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn dense_is_the_plain_one(layer in layers(), seed: u64) {
        layer.check(layer.numbers(&mut Random(seed)));
    }

    /// All gradients at once, of the layout that the fast body takes.
    #[test]
    fn dense_is_the_plain_one_in_rows(layer in layers(), seed: u64) {
        let layer = Layer { layouts: [Layout::Rows; 3], needs: [true; 3], ..layer };
        layer.check(layer.numbers(&mut Random(seed)));
    }

    /// Whole numbers often meet the kink of `relu`, where the derivative is 0, and are not rounded:
    /// every order of summing gives the same.
    #[test]
    fn dense_is_exact_on_whole_numbers(layer in layers(), seed: u64) {
        let layer = Layer { needs: [true; 3], upstream: Upstream::Ones, ..layer };
        let numbers = layer.whole_numbers(&mut Random(seed));
        let [found, expected] =
            [dense as DenseBody, plain::dense].map(|body| layer.on_graph(body, &numbers));
        assert_same("y", &found.y, &expected.y);
        for (found, expected) in found.gradients.iter().zip(&expected.gradients) {
            assert_same("gradient", found.as_ref().unwrap(), expected.as_ref().unwrap());
        }
    }

    /// `relu` keeps NaN in both bodies, and lets the gradient pass there.
    #[test]
    fn dense_has_nan_and_infinities_in_the_same_places(layer in layers(), seed: u64) {
        let mut random = Random(seed);
        let mut numbers = layer.numbers(&mut random);
        for input in &mut numbers.inputs {
            random.spoil(input, 60);
        }
        Layer { needs: [true; 3], ..layer }.check(numbers);
    }
}

/// One NaN makes its row NaN and no other.
#[test]
fn a_nan_stays_in_its_row() {
    for epilogue in [Epilogue::None, Epilogue::Relu] {
        let layer = Layer::new([130, 20, 33], DType::F32, epilogue);
        let mut numbers = layer.numbers(&mut Random(1));
        numbers.inputs[0][128 * 20 + 7] = f64::NAN;
        let y = doubles(&layer.off_graph(dense, &numbers));
        for (i, row) in y.chunks(33).enumerate() {
            assert!(row.iter().all(|y| y.is_nan() == (i == 128)), "{epilogue:?}: row {i}");
        }
    }
}

/// Sizes whose three products all reach the number of multiplications worth several threads.
#[test]
fn dense_is_the_plain_one_on_several_threads() {
    for (dtype, sizes) in [(DType::F32, [300, 150, 130]), (DType::F64, [257, 129, 131])] {
        assert!(sizes.iter().product::<usize>() > 1 << 22);
        for epilogue in [Epilogue::None, Epilogue::Relu] {
            let layer = Layer::new(sizes, dtype, epilogue);
            layer.check(layer.numbers(&mut Random(2)));
        }
    }
}

/// A sum of nothing is 0, and gradients have the shapes of what they are by.
#[test]
fn dense_takes_empty_sizes() {
    for dtype in [DType::F32, DType::F64] {
        for epilogue in [Epilogue::None, Epilogue::Relu] {
            for sizes in [[0, 3, 2], [4, 0, 2], [4, 3, 0], [0, 0, 2], [0, 3, 0], [0, 0, 0]] {
                let layer = Layer::new(sizes, dtype, epilogue);
                layer.check(layer.numbers(&mut Random(3)));
            }
        }
    }
}

/// Otherwise the properties above would compare the plain body with itself.
#[test]
fn dense_is_one_operation_if_the_layout_allows() {
    for layout in [Layout::Rows, Layout::Part, Layout::Columns] {
        let layer = Layer::new([3, 4, 5], DType::F32, Epilogue::Relu);
        let layer = Layer { layouts: [Layout::Rows, layout, Layout::Rows], ..layer };
        let numbers = layer.numbers(&mut Random(4));
        let (x, weight, bias) = layer.inputs(&numbers, &Device::flex().autodiff());
        let y = dense(x, weight.require_grad(), bias.require_grad(), Epilogue::Relu);
        assert_eq!(depth(&y) == 1, layout != Layout::Columns, "{layout:?}");
    }
}

/// Inputs off the graph are constants to it, and a graph that recomputes is the plain body's.
#[test]
fn dense_takes_inputs_of_several_places() {
    let layer = Layer::new([7, 5, 6], DType::F32, Epilogue::Relu);
    let numbers = layer.without_ties(layer.numbers(&mut Random(5)));
    let recomputing = Device::flex().autodiff().gradient_checkpointing();
    let [found, expected] = [dense as DenseBody, plain::dense]
        .map(|body| layer.on_device(body, &numbers, &recomputing));
    assert_same("y that is recomputed", &found.y, &expected.y);
    for (found, expected) in found.gradients.iter().zip(&expected.gradients) {
        assert_same("gradient", found.as_ref().unwrap(), expected.as_ref().unwrap());
    }

    let by_weight = |body: DenseBody| {
        let (x, _, _) = layer.inputs(&numbers, &Device::flex());
        let (_, weight, bias) = layer.inputs(&numbers, &Device::flex().autodiff());
        let weight = weight.require_grad();
        let gradients = body(x, weight.clone(), bias, Epilogue::Relu).sum().backward();
        weight.grad(&gradients).unwrap().into_data()
    };
    assert_same("constant input", &by_weight(dense), &by_weight(plain::dense));
}

// Cross-entropy.

type LossBody = fn(Tensor<2>, Tensor<1, Int>, &Smoothing) -> Tensor<1>;

#[derive(Clone, Debug)]
struct Classification {
    batch: usize,
    count: usize,
    /// Logits lie within this distance of 0.
    most: f64,
    smoothing: Smoothing,
    dtype: DType,
    layout: Layout,
}

struct ClassificationNumbers {
    logits: Vec<f64>,
    classes: Vec<usize>,
    upstream: Vec<f64>,
}

/// What a loss and its gradient are, or what they may be off by.
#[derive(Default)]
struct Textbook {
    losses: Vec<f64>,
    gradient: Vec<f64>,
}

impl Classification {
    fn numbers(&self, random: &mut Random) -> ClassificationNumbers {
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
    fn on_graph(&self, body: LossBody, numbers: &ClassificationNumbers) -> [TensorData; 2] {
        let device = Device::flex().autodiff();
        let (logits, classes) = self.inputs(numbers, &device);
        let logits = logits.require_grad();
        let losses = body(logits.clone(), classes, &self.smoothing);
        let upstream = row(&numbers.upstream, Layout::Rows, (&device, self.dtype));
        let gradients = (losses.clone() * upstream).sum().backward();
        [losses.into_data(), logits.grad(&gradients).unwrap().into_data()]
    }

    /// How much `-log softmax` of each class counts for a sample of one class.
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

// Optimizers.

type AdamBody = fn(Tensor<1>, Tensor<1>, Tensor<1>, Tensor<1>, &AdamStep) -> [Tensor<1>; 3];
type SgdBody = fn(Tensor<1>, Tensor<1>, Tensor<1>, &SgdStep) -> [Tensor<1>; 2];

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
struct Training {
    dtype: DType,
    is_on_graph: bool,
    value: Vec<f64>,
    mean: Vec<f64>,
    square: Vec<f64>,
    gradients: Vec<Vec<f64>>,
}

impl Training {
    /// Sizes that no step brings near the subnormal numbers.
    fn new(count: usize, steps: usize, dtype: DType, random: &mut Random) -> Self {
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
    fn adam(&self, body: AdamBody, step: &AdamStep) -> Vec<TensorData> {
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

    fn sgd(&self, body: SgdBody, step: &SgdStep) -> Vec<TensorData> {
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

const ADAM: AdamStep = AdamStep {
    rate: 0.01,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    penalty: 0.01,
    shrinkage: 1e-3,
    step: 5,
};

const SGD: SgdStep =
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

// All of them.

/// The bits of every body, of sizes that are worth several threads.
fn everything() -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    for epilogue in [Epilogue::None, Epilogue::Relu] {
        let layer = Layer::new([400, 200, 150], DType::F32, epilogue);
        let numbers = layer.numbers(&mut Random(12));
        let Pass { y, gradients } = layer.on_graph(dense, &numbers);
        seen.push(y);
        seen.extend(gradients.into_iter().flatten());
    }
    let smoothing = Smoothing { share: 0.1, class_weights: None };
    let (batch, count, most, dtype, layout) = (400, 100, 10.0, DType::F32, Layout::Rows);
    let case = Classification { batch, count, most, smoothing, dtype, layout };
    seen.extend(case.on_graph(cross_entropy, &case.numbers(&mut Random(13))));
    let training = Training::new((3 << 17) + 5, 1, DType::F32, &mut Random(14));
    seen.extend(training.adam(adam, &ADAM));
    seen.extend(training.sgd(sgd, &SGD));
    seen.into_iter().map(|data| data.as_bytes().to_vec()).collect()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let alone = pool(1).install(everything);
    assert_eq!(alone.len(), 2 * 4 + 2 + 3 + 2);
    for threads in [2, 3, 8] {
        // Not `assert_eq`, which would print a million bytes.
        let is_same = pool(threads).install(everything) == alone;
        assert!(is_same, "{threads} threads");
    }
}
