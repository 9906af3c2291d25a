//! A training step in two or more phases, each shared by all threads.
//!
//! In a small network, whose weights stay in every core's cache, a thread takes some rows of the
//! batch through the whole network, there and back; in a larger one the threads share each product.
//! Then each takes some rows of the weights: their gradient, and at once their step.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use super::cross_entropy::{Shares, by_row, loss};
use super::dense::{apply, chain, sum_rows};
use super::optimizer::{Numbers, places};
use super::product::{Block, Matrix, MatrixMut, blocks, multiply, pieces};
use super::{Placed, Real, for_real, tensor, vectorised};
use crate::{Batch, Epilogue, Outcome, TrainedLayer, TrainedParameter, team};

/// Memory that steps use again and again.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    f32: Buffers<f32>,
    f64: Buffers<f64>,
}

/// What the rows of a batch come to.
#[derive(Debug, Default)]
pub(crate) struct Buffers<T> {
    /// The inputs and the outputs of each layer, `[batch, width]`.
    values: Vec<Vec<T>>,
    /// The gradient by the outputs of each layer, before its epilogue.
    gradients: Vec<Vec<T>>,
}

impl<T: Real> Buffers<T> {
    fn resize(&mut self, batch: usize, widths: &[usize]) {
        let fit = |buffers: &mut Vec<Vec<T>>, widths: &[usize]| {
            buffers.resize_with(widths.len(), Vec::new);
            for (buffer, width) in buffers.iter_mut().zip(widths) {
                buffer.resize(batch * width, T::zero());
            }
        };
        fit(&mut self.values, widths);
        fit(&mut self.gradients, &widths[1..]);
    }
}

/// The number types' buffers.
pub(crate) trait Buffered: Real {
    fn buffers(space: &mut Workspace) -> &mut Buffers<Self>;
    /// Calls `run` with this many numbers, in memory that this thread keeps.
    fn with_scratch(count: usize, run: impl FnOnce(&mut [Self]));
}

macro_rules! buffered {
    ($real:ident) => {
        impl Buffered for $real {
            fn buffers(space: &mut Workspace) -> &mut Buffers<Self> {
                &mut space.$real
            }

            fn with_scratch(count: usize, run: impl FnOnce(&mut [Self])) {
                thread_local! {
                    static SCRATCH: std::cell::RefCell<Vec<$real>> = const { std::cell::RefCell::new(Vec::new()) };
                }
                SCRATCH.with_borrow_mut(|scratch| {
                    scratch.resize(scratch.len().max(count), 0.0);
                    run(&mut scratch[..count]);
                });
            }
        }
    };
}
buffered!(f32);
buffered!(f64);

/// The fast body of [`train_step`](crate::train_step); the layers come back if they are not for it.
pub(crate) fn train_step(
    layers: Vec<TrainedLayer>,
    batch: &Batch<'_>,
    space: &mut Workspace,
) -> Result<(Vec<TrainedLayer>, Outcome), Vec<TrainedLayer>> {
    let mut layers: Vec<PlacedLayer> = layers.into_iter().map(PlacedLayer::of).collect();
    let Some(first) = layers.first().filter(|_| fit(&layers, batch)) else {
        return Err(layers.into_iter().map(PlacedLayer::back).collect());
    };
    let dtype = first.weight.value.whole().map(FlexTensor::dtype);
    let outcome = for_real!(dtype.unwrap_or(burn::tensor::DType::F32), T => {
        let layers = layers.iter_mut().map(Layer::<T>::of).collect();
        run(layers, batch, T::buffers(space))
    });
    Ok((layers.into_iter().map(PlacedLayer::back).collect(), outcome))
}

struct PlacedLayer {
    weight: PlacedParameter,
    bias: PlacedParameter,
    epilogue: Epilogue,
}

struct PlacedParameter {
    value: Placed,
    memory: Vec<Placed>,
    rule: Option<crate::Rule>,
}

impl PlacedLayer {
    fn of(layer: TrainedLayer) -> Self {
        let TrainedLayer { weight, bias, epilogue } = layer;
        Self { weight: PlacedParameter::of(weight), bias: PlacedParameter::of(bias), epilogue }
    }

    fn back(self) -> TrainedLayer {
        let Self { weight, bias, epilogue } = self;
        TrainedLayer { weight: weight.back(), bias: bias.back(), epilogue }
    }

    /// `[inputs, outputs]`.
    fn sizes(&self) -> Option<[usize; 2]> {
        self.weight.value.whole().map(|weight| weight.layout().shape().dims())
    }
}

impl PlacedParameter {
    fn of<const D: usize>(parameter: TrainedParameter<D>) -> Self {
        let TrainedParameter { value, memory, rule } = parameter;
        let memory = memory.into_iter().map(Placed::of).collect();
        let mut parameter = Self { value: Placed::of(value), memory, rule };
        parameter.begin();
        parameter
    }

    /// Before its first step, an optimizer remembers zeros.
    fn begin(&mut self) {
        let (Some(value), Some(rule), []) = (self.value.whole(), &self.rule, &self.memory[..])
        else {
            return;
        };
        let count = value.layout().num_elements();
        let zeros = |_| for_real!(value.dtype(), T => tensor(vec![T::of(0.0); count], [count]));
        self.memory = (0..rule.memory()).map(zeros).map(Placed::Off).collect();
    }

    fn back<const D: usize>(self) -> TrainedParameter<D> {
        let memory = self.memory.into_iter().map(Placed::back).collect();
        TrainedParameter { value: self.value.back(), memory, rule: self.rule }
    }

    /// Whether it is all of one type and has this many numbers.
    fn is(&self, dtype: burn::tensor::DType, count: usize) -> bool {
        let is = |placed: &Placed| {
            placed.whole().is_some_and(|t| t.dtype() == dtype && t.layout().num_elements() == count)
        };
        let remembered = self.rule.map_or(0, |rule| rule.memory());
        is(&self.value) && self.memory.iter().all(is) && self.memory.len() >= remembered
    }
}

/// Whether layers and batch are for the fast body and fit each other.
fn fit(layers: &[PlacedLayer], batch: &Batch<'_>) -> bool {
    let Some(dtype) = layers.first().and_then(|l| l.weight.value.whole()).map(FlexTensor::dtype)
    else {
        return false;
    };
    let mut width = batch.rows.width;
    for layer in layers {
        let Some([inputs, outputs]) = layer.sizes() else { return false };
        let fits = inputs == width
            && outputs > 0
            && layer.weight.is(dtype, inputs * outputs)
            && layer.bias.is(dtype, outputs);
        if !fits {
            return false;
        }
        width = outputs;
    }
    batch.classes.len() == batch.rows.len() && batch.classes.iter().all(|&class| class < width)
}

/// A layer's numbers.
struct Layer<'a, T> {
    sizes: [usize; 2],
    epilogue: Epilogue,
    weight: Parameter<'a, T>,
    bias: Parameter<'a, T>,
}

struct Parameter<'a, T> {
    value: &'a mut [T],
    memory: Vec<&'a mut [T]>,
    rule: Option<Numbers<T>>,
}

impl<'a, T: Real> Layer<'a, T> {
    fn of(layer: &'a mut PlacedLayer) -> Self {
        Self {
            sizes: layer.sizes().unwrap_or_default(),
            epilogue: layer.epilogue,
            weight: Parameter::of(&mut layer.weight),
            bias: Parameter::of(&mut layer.bias),
        }
    }

    fn weights(&self) -> Matrix<'_, T> {
        Matrix::new(self.weight.value, self.sizes)
    }

    fn is_trained(&self) -> bool {
        self.weight.rule.is_some() || self.bias.rule.is_some()
    }
}

impl<'a, T: Real> Parameter<'a, T> {
    fn of(parameter: &'a mut PlacedParameter) -> Self {
        fn numbers<T: Real>(placed: &mut Placed) -> &mut [T] {
            match placed {
                Placed::Off(tensor) => places(tensor),
                _ => unreachable!("every tensor has been looked at"),
            }
        }
        Self {
            value: numbers(&mut parameter.value),
            memory: parameter.memory.iter_mut().map(numbers).collect(),
            rule: parameter.rule.as_ref().map(Numbers::new),
        }
    }
}

/// Weights of a network that stays in every core's cache.
const SMALL: usize = 1 << 19;
/// Least and most rows of a batch that a thread takes through a small network at a time.
const ROWS: [usize; 2] = [16, 128];
/// The size of the blocks of outputs that a thread computes at a time in a larger one.
const OUTPUTS: [usize; 2] = [256, 256];
/// The size of the blocks of weights that a thread steps at a time.
const WEIGHTS: [usize; 2] = [64, 512];

fn run<T: Buffered>(
    mut layers: Vec<Layer<'_, T>>,
    batch: &Batch<'_>,
    space: &mut Buffers<T>,
) -> Outcome {
    let rows = batch.rows.len();
    let widths: Vec<usize> =
        [batch.rows.width].into_iter().chain(layers.iter().map(|layer| layer.sizes[1])).collect();
    space.resize(rows, &widths);
    let mut losses = vec![T::zero(); rows];
    let pass = Pass {
        layers: &layers,
        batch,
        widths: &widths,
        lowest: layers.iter().position(Layer::is_trained).unwrap_or(layers.len()),
    };
    if layers.iter().map(|layer| layer.weight.value.len()).sum::<usize>() <= SMALL {
        pass.by_rows(space, &mut losses);
    } else {
        pass.by_layers(space, &mut losses);
    }
    update(&mut layers, rows, space);
    let logits = space.values.last().cloned().unwrap_or_default();
    let outputs = widths.last().copied().unwrap_or(0);
    Outcome {
        losses: Tensor::from_primitive::<Flex>(tensor(losses, [rows])),
        logits: Tensor::from_primitive::<Flex>(tensor(logits, [rows, outputs])),
    }
}

/// The batch's way through the network and back.
struct Pass<'a, T> {
    layers: &'a [Layer<'a, T>],
    batch: &'a Batch<'a>,
    /// Of the inputs and of each layer's outputs.
    widths: &'a [usize],
    /// The first layer that is trained: gradients go no further back.
    lowest: usize,
}

impl<T: Buffered> Pass<'_, T> {
    /// Each thread takes some rows all the way.
    fn by_rows(&self, space: &mut Buffers<T>, losses: &mut [T]) {
        struct Part<'a, T> {
            first: usize,
            values: Vec<MatrixMut<'a, T>>,
            gradients: Vec<MatrixMut<'a, T>>,
            losses: &'a mut [T],
        }
        let rows = losses.len();
        let most = rows.div_ceil(8).next_multiple_of(ROWS[0]).clamp(ROWS[0], ROWS[1]);
        let parts = losses.chunks_mut(most).enumerate();
        let mut parts: Vec<_> = parts
            .map(|(i, losses)| Part {
                first: i * most,
                values: Vec::new(),
                gradients: Vec::new(),
                losses,
            })
            .collect();
        for (values, &width) in space.values.iter_mut().zip(self.widths) {
            let split = MatrixMut::new(values, [rows, width]).split([most, width]);
            parts.iter_mut().zip(split).for_each(|(part, values)| part.values.push(values));
        }
        for (gradients, &width) in space.gradients.iter_mut().zip(&self.widths[1..]) {
            let split = MatrixMut::new(gradients, [rows, width]).split([most, width]);
            parts.iter_mut().zip(split).for_each(|(part, of)| part.gradients.push(of));
        }
        team::each(&mut parts, |Part { first, values, gradients, losses }| {
            self.gather(*first, &mut values[0]);
            for (i, layer) in self.layers.iter().enumerate() {
                let (before, after) = values.split_at_mut(i + 1);
                forward(layer, before[i].as_matrix(), 0..layer.sizes[1], &mut after[0]);
            }
            let last = self.layers.len() - 1;
            self.loss(*first, values[last + 1].as_matrix(), &mut gradients[last], losses);
            for i in (self.lowest..last).rev() {
                let (before, after) = gradients.split_at_mut(i + 1);
                let y = values[i + 1].as_matrix();
                self.backward(i, after[0].as_matrix(), y, 0..self.widths[i + 1], &mut before[i]);
            }
        });
    }

    /// Layer by layer, each thread computes some blocks.
    fn by_layers(&self, space: &mut Buffers<T>, losses: &mut [T]) {
        let rows = losses.len();
        let Buffers { values, gradients } = space;
        let few = pieces(rows, ROWS[0]);
        let inputs = MatrixMut::new(&mut values[0], [rows, self.widths[0]]);
        let mut parts: Vec<_> = few.iter().zip(inputs.split([ROWS[0], self.widths[0]])).collect();
        team::each(&mut parts, |(rows, inputs)| self.gather(rows.start, inputs));
        for (i, layer) in self.layers.iter().enumerate() {
            let (before, after) = values.split_at_mut(i + 1);
            let x = Matrix::new(&before[i], [rows, layer.sizes[0]]);
            in_blocks(&mut after[0], [rows, layer.sizes[1]], |block, y| {
                forward(layer, x.rows(block.rows.clone()), block.columns.clone(), y);
            });
        }
        let last = self.layers.len() - 1;
        let width = self.widths[last + 1];
        let logits = Matrix::new(&values[last + 1], [rows, width]);
        let of_logits = MatrixMut::new(&mut gradients[last], [rows, width]);
        let of_logits = of_logits.split([ROWS[0], width]).into_iter();
        let mut parts: Vec<_> = few.iter().zip(of_logits).zip(losses.chunks_mut(ROWS[0])).collect();
        team::each(&mut parts, |((rows, gradient), losses)| {
            self.loss(rows.start, logits.rows((*rows).clone()), gradient, losses);
        });
        for i in (self.lowest..last).rev() {
            let (before, after) = gradients.split_at_mut(i + 1);
            let gradient = Matrix::new(&after[0], [rows, self.widths[i + 2]]);
            let sizes = [rows, self.widths[i + 1]];
            let y = Matrix::new(&values[i + 1], sizes);
            in_blocks(&mut before[i], sizes, |block, into| {
                let gradient = gradient.rows(block.rows.clone());
                self.backward(i, gradient, y.block(block), block.columns.clone(), into);
            });
        }
    }

    /// The inputs of the rows of the batch from `first` on.
    fn gather(&self, first: usize, into: &mut MatrixMut<'_, T>) {
        let [rows, _] = into.sizes();
        vectorised(|| (0..rows).for_each(|row| self.batch.rows.fill(first + row, into.row(row))));
    }

    /// Losses and their gradient by the logits, of the rows of the batch from `first` on.
    fn loss(
        &self,
        first: usize,
        logits: Matrix<'_, T>,
        gradient: &mut MatrixMut<'_, T>,
        losses: &mut [T],
    ) {
        let [_, classes] = gradient.sizes();
        let shares = Shares { smoothing: self.batch.smoothing, classes };
        let share = T::one() / T::of(self.batch.divisor);
        vectorised(|| {
            for (row, into) in losses.iter_mut().enumerate() {
                let class = self.batch.classes[first + row];
                let numbers = gradient.row(row);
                numbers.copy_from_slice(logits.row(row));
                *into = loss(numbers, class, &shares);
                by_row(numbers, class, share, &shares);
            }
        });
    }

    /// From the gradient by the outputs of layer `i + 1` to some columns of that of layer `i`, whose
    /// outputs are `y`.
    fn backward(
        &self,
        i: usize,
        gradient: Matrix<'_, T>,
        y: Matrix<'_, T>,
        columns: std::ops::Range<usize>,
        into: &mut MatrixMut<'_, T>,
    ) {
        let weights = self.layers[i + 1].weights().transposed().columns(columns);
        multiply(gradient, weights, None, into);
        let [rows, _] = into.sizes();
        (0..rows).for_each(|row| chain(self.layers[i].epilogue, y.row(row), into.row(row)));
    }
}

/// Some columns of a layer's outputs.
fn forward<T: Real>(
    layer: &Layer<'_, T>,
    x: Matrix<'_, T>,
    columns: std::ops::Range<usize>,
    y: &mut MatrixMut<'_, T>,
) {
    let weights = layer.weights().columns(columns.clone());
    multiply(x, weights, Some(&layer.bias.value[columns]), y);
    y.slices().for_each(|numbers| apply(layer.epilogue, numbers));
}

/// Calls `run` for each block of a matrix.
fn in_blocks<T: Real>(
    numbers: &mut [T],
    sizes: [usize; 2],
    run: impl Fn(&Block, &mut MatrixMut<'_, T>) + Sync,
) {
    let parts = MatrixMut::new(numbers, sizes).split(OUTPUTS);
    let mut parts: Vec<_> = blocks(sizes, OUTPUTS).into_iter().zip(parts).collect();
    team::each(&mut parts, |(block, part)| run(block, part));
}

/// Steps every parameter that is trained: some weights at a time, while their gradient is in cache.
fn update<T: Buffered>(layers: &mut [Layer<'_, T>], rows: usize, space: &Buffers<T>) {
    struct Part<'a, T> {
        layer: usize,
        /// Of the weights; none for the bias.
        block: Option<Block>,
        rule: &'a Numbers<T>,
        value: MatrixMut<'a, T>,
        memory: Vec<MatrixMut<'a, T>>,
    }
    let sizes: Vec<_> = layers.iter().map(|layer| layer.sizes).collect();
    let mut parts = Vec::new();
    for (i, layer) in layers.iter_mut().enumerate() {
        if let Parameter { value, memory, rule: Some(rule) } = &mut layer.weight {
            let split = |numbers| MatrixMut::new(numbers, layer.sizes).split(WEIGHTS).into_iter();
            let mut memory: Vec<_> = memory.iter_mut().map(|part| split(part)).collect();
            for (block, value) in blocks(layer.sizes, WEIGHTS).into_iter().zip(split(value)) {
                let memory = memory.iter_mut().filter_map(Iterator::next).collect();
                parts.push(Part { layer: i, block: Some(block), rule, value, memory });
            }
        }
        if let Parameter { value, memory, rule: Some(rule) } = &mut layer.bias {
            let row = |numbers| MatrixMut::new(numbers, [1, layer.sizes[1]]);
            let memory = memory.iter_mut().map(|part| row(part)).collect();
            parts.push(Part { layer: i, block: None, rule, value: row(value), memory });
        }
    }
    team::each(&mut parts, |part| {
        let [inputs, outputs] = sizes[part.layer];
        let numbers = &space.gradients[part.layer];
        let [high, wide] = part.value.sizes();
        T::with_scratch(high * wide, |gradient| {
            match &part.block {
                Some(block) => {
                    let x = Matrix::new(&space.values[part.layer], [rows, inputs]);
                    let x = x.columns(block.rows.clone()).transposed();
                    let by_y = Matrix::new(numbers, [rows, outputs]).columns(block.columns.clone());
                    multiply(x, by_y, None, &mut MatrixMut::new(gradient, [high, wide]));
                }
                None => {
                    gradient.fill(T::zero());
                    sum_rows(numbers, gradient);
                }
            }
            let mut memory: Vec<_> = part.memory.iter_mut().map(MatrixMut::slices).collect();
            let mut gradient = gradient;
            for value in part.value.slices() {
                let (now, rest) = gradient.split_at_mut(value.len());
                gradient = rest;
                part.rule.take(value, now, memory.iter_mut().filter_map(Iterator::next));
            }
        });
    });
}
