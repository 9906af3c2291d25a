//! Dense layers.

use std::array;

use burn::tensor::{DType, Device, Tensor, TensorData};
use fireclay_kernels::{Epilogue, dense, plain};
use proptest::prelude::*;
use proptest::sample::select;

use super::{
    Layout, assert_close, assert_same, depth, doubles, dtypes, epsilon, extents, form, layouts,
    matrix, row,
};
use crate::support::{Random, config};

pub(super) type DenseBody = fn(Tensor<2>, Tensor<2>, Tensor<1>, Epilogue) -> Tensor<2>;

/// The form of the gradient that comes to the layer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Upstream {
    Rows,
    /// Column by column.
    Columns,
    /// One 1 for all places.
    Ones,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
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
pub(super) struct LayerNumbers {
    inputs: [Vec<f64>; 3],
    upstream: Vec<f64>,
}

/// `y` and the gradients by `x`, `weight` and `bias`.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) y: TensorData,
    pub(super) gradients: [Option<TensorData>; 3],
}

impl Layer {
    pub(super) fn new(sizes: [usize; 3], dtype: DType, epilogue: Epilogue) -> Self {
        let layouts = [Layout::Rows; 3];
        Self { sizes, dtype, epilogue, layouts, upstream: Upstream::Rows, needs: [true; 3] }
    }

    fn counts(&self) -> [usize; 4] {
        let [batch, inputs, outputs] = self.sizes;
        [batch * inputs, inputs * outputs, outputs, batch * outputs]
    }

    pub(super) fn numbers(&self, random: &mut Random) -> LayerNumbers {
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

    pub(super) fn on_graph(&self, body: DenseBody, numbers: &LayerNumbers) -> Pass {
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

    /// Returns the most that a sum of this many terms can differ by in another order (Higham 2002,
    /// 3.1).
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
