//! A chain of dense layers under training, in memory of its own that suits the threads.
//!
//! A step has a few phases, each shared by all threads. The inputs are gathered; then comes one
//! hidden layer after the other; the head goes on to the losses and back; the gradient goes back
//! through the hidden layers; and at last each thread takes some of the weights: their gradient, and
//! at once their step.
//!
//! Weights, and what is remembered of them, lie in panels of some columns each. As far as it can, a
//! thread keeps to its own panels: what another core has just changed takes longer to fetch than to
//! compute with.

use std::ops::Range;

use burn::backend::Flex;
use burn::tensor::{DType, Tensor};

use super::cross_entropy::{Shares, by_row, loss};
use super::dense::{apply, chain as back_through, sum_rows};
use super::optimizer::Numbers;
use super::product::{Block, Matrix, MatrixMut, Start, blocks, multiply, pieces};
use super::{Placed, Real, numbers, tensor, vectorised};
use crate::{Batch, Epilogue, Outcome, Rule, TrainedLayer, TrainedParameter, team};

/// A chain of either number type.
#[derive(Debug)]
pub(crate) enum AnyChain {
    F32(Chain<f32>),
    F64(Chain<f64>),
}

impl AnyChain {
    /// `None` if the layers are not for the fast body or do not fit each other.
    pub(crate) fn new(layers: &[TrainedLayer]) -> Option<Self> {
        match layers.first()?.weight.value.dtype() {
            DType::F32 => Chain::new(layers).map(Self::F32),
            DType::F64 => Chain::new(layers).map(Self::F64),
            _ => None,
        }
    }

    pub(crate) fn step(&mut self, rule: &Rules<'_>, batch: &Batch<'_>) -> Outcome {
        match self {
            Self::F32(chain) => chain.step(rule, batch),
            Self::F64(chain) => chain.step(rule, batch),
        }
    }

    pub(crate) fn layers(&self) -> Vec<TrainedLayer> {
        match self {
            Self::F32(chain) => chain.layers.iter().map(Layer::copied).collect(),
            Self::F64(chain) => chain.layers.iter().map(Layer::copied).collect(),
        }
    }
}

/// The rule of a layer's weights (`true`) or bias.
type Rules<'a> = dyn Fn(usize, bool) -> Rule + 'a;

/// Numbers that begin on a cache line, so that no two threads write to the same one.
#[derive(Debug, Default)]
struct Lines<T> {
    numbers: Vec<T>,
    start: usize,
    count: usize,
}

impl<T: Real> Lines<T> {
    const LINE: usize = 64;

    fn zeros(count: usize) -> Self {
        let numbers = vec![T::zero(); count + Self::LINE / size_of::<T>()];
        let start = numbers.as_ptr().align_offset(Self::LINE).min(numbers.len() - count);
        Self { numbers, start, count }
    }

    /// The first `count` numbers, whatever they are.
    fn first(&mut self, count: usize) -> &mut [T] {
        if self.count < count {
            *self = Self::zeros(count);
        }
        &mut self.numbers[self.start..self.start + count]
    }

    fn all(&self) -> &[T] {
        &self.numbers[self.start..self.start + self.count]
    }

    fn all_mut(&mut self) -> &mut [T] {
        &mut self.numbers[self.start..self.start + self.count]
    }
}

/// See [`AnyChain`].
#[derive(Debug)]
pub(crate) struct Chain<T> {
    layers: Vec<Layer<T>>,
    /// The inputs and the outputs of each layer, `[batch, width]`.
    values: Vec<Lines<T>>,
    /// The gradient by the outputs of each layer, before its epilogue.
    gradients: Vec<Lines<T>>,
}

#[derive(Debug)]
struct Layer<T> {
    /// `[inputs, outputs]`.
    sizes: [usize; 2],
    epilogue: Epilogue,
    weight: Parameter<T>,
    bias: Parameter<T>,
}

#[derive(Debug)]
struct Parameter<T> {
    /// `[rows, columns]`; a bias has one row.
    sizes: [usize; 2],
    panels: Vec<Panel<T>>,
    rule: Option<Rule>,
}

/// Some columns of a parameter, row by row, and what is remembered of them.
#[derive(Debug)]
struct Panel<T> {
    columns: Range<usize>,
    value: Lines<T>,
    memory: Vec<Lines<T>>,
}

/// Columns of a panel.
fn panel_width(columns: usize) -> usize {
    if columns < 512 { 64 } else { 128 }
}

impl<T: Real> Parameter<T> {
    fn new<const D: usize>(of: &TrainedParameter<D>, sizes: [usize; 2]) -> Option<Self> {
        let TrainedParameter { value, memory, rule } = of;
        let dims = value.dims();
        let fits = dims[..] == sizes[2 - D..] && value.dtype() == T::dtype();
        let value = Placed::of(value.clone());
        let value = numbers::<T>(value.plain().filter(|_| fits)?);
        let remembered = rule.map_or(0, |rule| rule.memory());
        let memory: Vec<_> = memory.iter().map(|part| Placed::of(part.clone())).collect();
        let memory: Option<Vec<&[T]>> = memory
            .iter()
            .map(|part| {
                let part = part.plain().filter(|part| part.dtype() == T::dtype())?;
                Some(numbers::<T>(part)).filter(|part| part.len() == value.len())
            })
            .collect();
        let memory = memory.filter(|memory| memory.is_empty() || memory.len() == remembered)?;
        let panels = pieces(sizes[1], panel_width(sizes[1])).into_iter().map(|columns| {
            let cut = |numbers: &[T]| {
                let mut lines = Lines::zeros(sizes[0] * columns.len());
                let rows = lines.all_mut().chunks_exact_mut(columns.len());
                for (into, row) in rows.zip(numbers.chunks_exact(sizes[1])) {
                    into.copy_from_slice(&row[columns.clone()]);
                }
                lines
            };
            let value = cut(value);
            // Before its first step, an optimizer remembers zeros.
            let zeros = |_| Lines::zeros(sizes[0] * columns.len());
            let memory = match &memory[..] {
                [] => (0..remembered).map(zeros).collect(),
                memory => memory.iter().map(|numbers| cut(numbers)).collect(),
            };
            Panel { columns, value, memory }
        });
        Some(Self { sizes, panels: panels.collect(), rule: *rule })
    }

    /// The same as tensors; what is remembered is flat.
    fn copied<const D: usize>(&self) -> TrainedParameter<D> {
        let [rows, columns] = self.sizes;
        let whole = |lines: &dyn Fn(&Panel<T>) -> Option<&[T]>| {
            let mut numbers = vec![T::zero(); rows * columns];
            for panel in &self.panels {
                let Some(lines) = lines(panel) else { continue };
                let width = panel.columns.len();
                let rows = numbers.chunks_exact_mut(columns);
                for (into, row) in rows.zip(lines.chunks_exact(width)) {
                    into[panel.columns.clone()].copy_from_slice(row);
                }
            }
            numbers
        };
        let memory = (0..self.rule.map_or(0, |rule| rule.memory())).map(|i| {
            let numbers = whole(&|panel| panel.memory.get(i).map(Lines::all));
            Tensor::from_primitive::<Flex>(tensor(numbers, [rows * columns]))
        });
        let dims: [usize; D] = std::array::from_fn(|d| self.sizes[d + 2 - D]);
        let value = tensor(whole(&|panel| Some(panel.value.all())), dims);
        TrainedParameter {
            value: Tensor::from_primitive::<Flex>(value),
            memory: memory.collect(),
            rule: self.rule,
        }
    }
}

impl<T: Real> Layer<T> {
    fn new(layer: &TrainedLayer) -> Option<Self> {
        let sizes @ [_, outputs] = layer.weight.value.dims();
        Some(Self {
            sizes,
            epilogue: layer.epilogue,
            weight: Parameter::new(&layer.weight, sizes)?,
            bias: Parameter::new(&layer.bias, [1, outputs])?,
        })
    }

    fn copied(&self) -> TrainedLayer {
        let (weight, bias) = (self.weight.copied(), self.bias.copied());
        TrainedLayer { weight, bias, epilogue: self.epilogue }
    }

    fn is_trained(&self) -> bool {
        self.weight.rule.is_some() || self.bias.rule.is_some()
    }

    /// The weights of a panel, `[inputs, columns]`.
    fn weights(&self, panel: usize) -> Matrix<'_, T> {
        let panel = &self.weight.panels[panel];
        Matrix::new(panel.value.all(), [self.sizes[0], panel.columns.len()])
    }
}

/// Whether the threads share a layer's outputs rather than the rows of the batch.
///
/// Then each keeps its own panels and needs all of the inputs; otherwise each keeps its own rows and
/// needs all of the panels. What is less to move between them is better.
fn by_outputs(rows: usize, outputs: usize) -> bool {
    outputs >= rows
}

/// Rows of a batch that a thread takes at a time.
fn some_rows(rows: usize) -> usize {
    rows.div_ceil(8).next_multiple_of(16).min(128)
}

/// Rows of a product with a matrix of these sizes that a thread takes at a time.
///
/// A product begins with sorting the matrix for the processor; where that is much work, it is done
/// for many rows, and there are panels enough for all threads.
fn rows_of_product(rows: usize, sizes: [usize; 2]) -> usize {
    if is_large(sizes) { rows.min(256) } else { some_rows(rows) }
}

fn is_large([inner, columns]: [usize; 2]) -> bool {
    inner * columns >= 1 << 20
}

/// Rows of a panel that a thread steps at a time.
fn panel_rows(rows: usize, sizes @ [_, outputs]: [usize; 2]) -> usize {
    if is_large(sizes) || by_outputs(rows, outputs) { 256 } else { 128 }
}

impl<T: Real> Chain<T> {
    fn new(layers: &[TrainedLayer]) -> Option<Self> {
        let layers: Vec<_> = layers.iter().map(Layer::<T>::new).collect::<Option<_>>()?;
        let fits = layers.windows(2).all(|pair| pair[0].sizes[1] == pair[1].sizes[0])
            && layers.iter().all(|layer| layer.sizes.iter().all(|&size| size > 0));
        let values = layers.iter().map(|_| Lines::default()).chain([Lines::default()]).collect();
        let gradients = layers.iter().map(|_| Lines::default()).collect();
        fits.then_some(Self { layers, values, gradients })
    }

    fn step(&mut self, rule: &Rules<'_>, batch: &Batch<'_>) -> Outcome {
        let rows = batch.rows.len();
        let widths: Vec<usize> = [self.layers[0].sizes[0]]
            .into_iter()
            .chain(self.layers.iter().map(|layer| layer.sizes[1]))
            .collect();
        assert_eq!(batch.rows.width, widths[0], "a row has as many features as there are inputs");
        assert_eq!(batch.classes.len(), rows, "every row has a class");
        let lowest = self.layers.iter().position(Layer::is_trained);
        let pass =
            Pass { layers: &self.layers, batch, lowest: lowest.unwrap_or(self.layers.len()) };
        fn views<'a, T: Real>(
            lines: &'a mut [Lines<T>],
            rows: usize,
            widths: &[usize],
        ) -> Vec<&'a mut [T]> {
            let lines = lines.iter_mut().zip(widths);
            lines.map(|(lines, width)| lines.first(rows * width)).collect()
        }
        let mut values = views(&mut self.values, rows, &widths);
        let mut gradients = views(&mut self.gradients, rows, &widths[1..]);
        let mut losses = vec![T::zero(); rows];
        pass.run(&mut values, &mut gradients, &mut losses);
        update(&mut self.layers, rule, &values, &gradients, rows);
        let outputs = widths[self.layers.len()];
        Outcome {
            losses: Tensor::from_primitive::<Flex>(tensor(losses, [rows])),
            logits: Tensor::from_primitive::<Flex>(tensor(
                values[self.layers.len()].to_vec(),
                [rows, outputs],
            )),
        }
    }
}

/// The batch's way through the network and back.
struct Pass<'a, T> {
    layers: &'a [Layer<T>],
    batch: &'a Batch<'a>,
    /// The first layer that is trained: gradients go no further back.
    lowest: usize,
}

/// A part of a layer's values: some rows of a panel.
struct Part<'a, T> {
    panel: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    numbers: MatrixMut<'a, T>,
}

/// Cuts a layer's values, `[rows, columns]`, into parts, those of one thread behind each other; each
/// is a product with some columns of a matrix `[inner, columns]`, at most `wide`.
fn parts<T: Real>(
    numbers: &mut [T],
    rows: usize,
    sizes @ [_, columns]: [usize; 2],
    wide: usize,
) -> Vec<Part<'_, T>> {
    let size = [rows_of_product(rows, sizes), wide];
    let numbers = MatrixMut::new(numbers, [rows, columns]).split(size);
    let parts = blocks([rows, columns], size).into_iter().zip(numbers);
    let part = |(Block { rows, columns }, numbers)| {
        let panel = columns.start / size[1];
        Part { panel, rows, columns, numbers }
    };
    let mut parts: Vec<_> = parts.map(part).collect();
    if by_outputs(rows, columns) {
        parts.sort_by_key(|part: &Part<'_, T>| part.panel);
    }
    parts
}

impl<T: Real> Pass<'_, T> {
    /// Phase by phase, each of which all threads share.
    fn run(&self, values: &mut [&mut [T]], gradients: &mut [&mut [T]], losses: &mut [T]) {
        let rows = losses.len();
        let last = self.layers.len() - 1;
        self.gather(MatrixMut::new(values[0], [rows, self.layers[0].sizes[0]]));
        for (i, layer) in self.layers[..last].iter().enumerate() {
            let (before, after) = values.split_at_mut(i + 1);
            let x = Matrix::new(before[i], [rows, layer.sizes[0]]);
            let wide = panel_width(layer.sizes[1]);
            team::each(&mut parts(after[0], rows, layer.sizes, wide), |part| {
                forward(layer, part.panel, x.rows(part.rows.clone()), &mut part.numbers);
            });
        }
        self.head(values, gradients, losses);
        for i in (self.lowest..last.saturating_sub(1)).rev() {
            let (before, after) = gradients.split_at_mut(i + 1);
            let next = &self.layers[i + 1];
            let by_y = Matrix::new(after[0], [rows, next.sizes[1]]);
            let y = Matrix::new(values[i + 1], [rows, next.sizes[0]]);
            let [inputs, outputs] = next.sizes;
            let wide = if is_large(next.sizes) { 512 } else { 64 };
            team::each(&mut parts(before[i], rows, [outputs, inputs], wide), |part| {
                let by_y = by_y.rows(part.rows.clone());
                let y = y.rows(part.rows.clone()).columns(part.columns.clone());
                self.backward(i, by_y, y, part.columns.clone(), &mut part.numbers);
            });
        }
    }

    /// The inputs.
    fn gather(&self, inputs: MatrixMut<'_, T>) {
        let [rows, width] = inputs.sizes();
        let most = some_rows(rows);
        let mut parts: Vec<_> =
            pieces(rows, most).into_iter().zip(inputs.split([most, width])).collect();
        team::each(&mut parts, |(rows, inputs)| {
            self.batch.rows.prefetch(rows.clone());
            vectorised(
                #[inline(always)]
                || {
                    for (i, row) in rows.clone().enumerate() {
                        self.batch.rows.fill(row, inputs.row(i));
                    }
                },
            );
        });
    }

    /// From the last hidden layer to the losses, and back again, some rows at a time.
    fn head(&self, values: &mut [&mut [T]], gradients: &mut [&mut [T]], losses: &mut [T]) {
        struct Part<'a, T> {
            rows: Range<usize>,
            logits: MatrixMut<'a, T>,
            by_logits: MatrixMut<'a, T>,
            by_x: Option<MatrixMut<'a, T>>,
            losses: &'a mut [T],
        }
        let rows = losses.len();
        let last = self.layers.len() - 1;
        let layer = &self.layers[last];
        let most = some_rows(rows);
        let [inputs, outputs] = layer.sizes;
        let (hidden, logits) = values.split_at_mut(last + 1);
        let x = Matrix::new(hidden[last], [rows, inputs]);
        let (by_hidden, by_logits) = gradients.split_at_mut(last);
        let split = |numbers, width| MatrixMut::new(numbers, [rows, width]).split([most, width]);
        let mut logits = split(&mut *logits[0], outputs).into_iter();
        let mut by_logits = split(&mut *by_logits[0], outputs).into_iter();
        let by_x = by_hidden.last_mut().filter(|_| self.lowest < last);
        let mut by_x = by_x.map(|numbers| split(&mut **numbers, inputs)).into_iter().flatten();
        let parts = pieces(rows, most).into_iter().zip(losses.chunks_mut(most));
        let mut parts: Vec<_> = parts
            .filter_map(|(rows, losses)| {
                let (logits, by_logits) = (logits.next()?, by_logits.next()?);
                Some(Part { rows, logits, by_logits, by_x: by_x.next(), losses })
            })
            .collect();
        team::each(&mut parts, |Part { rows, logits, by_logits, by_x, losses }| {
            let x = x.rows(rows.clone());
            for (i, panel) in layer.weight.panels.iter().enumerate() {
                forward(layer, i, x, &mut logits.columns(panel.columns.clone()));
            }
            self.loss(rows.start, logits.as_matrix(), by_logits, losses);
            if let Some(by_x) = by_x {
                self.backward(last - 1, by_logits.as_matrix(), x, 0..inputs, by_x);
            }
        });
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
        vectorised(
            #[inline(always)]
            || {
                for (row, into) in losses.iter_mut().enumerate() {
                    let class = self.batch.classes[first + row];
                    let numbers = gradient.row(row);
                    numbers.copy_from_slice(logits.row(row));
                    *into = loss(numbers, class, &shares);
                    by_row(numbers, class, share, &shares);
                }
            },
        );
    }

    /// From the gradient by the outputs of layer `i + 1` to some columns of that of layer `i`, whose
    /// outputs are `y`.
    fn backward(
        &self,
        i: usize,
        by_y: Matrix<'_, T>,
        y: Matrix<'_, T>,
        columns: Range<usize>,
        into: &mut MatrixMut<'_, T>,
    ) {
        let next = &self.layers[i + 1];
        for (number, panel) in next.weight.panels.iter().enumerate() {
            let by_y = by_y.columns(panel.columns.clone());
            let weights = next.weights(number).transposed().columns(columns.clone());
            if number == 0 {
                multiply(by_y, weights, Start::Zero, into);
            } else {
                multiply(by_y, weights, Start::Sum, into);
            }
        }
        let [rows, _] = into.sizes();
        (0..rows).for_each(|row| back_through(self.layers[i].epilogue, y.row(row), into.row(row)));
    }
}

/// The outputs of one panel of a layer.
fn forward<T: Real>(layer: &Layer<T>, panel: usize, x: Matrix<'_, T>, y: &mut MatrixMut<'_, T>) {
    let bias = layer.bias.panels[panel].value.all();
    multiply(x, layer.weights(panel), Start::Row(bias), y);
    y.slices().for_each(|numbers| apply(layer.epilogue, numbers));
}

/// Steps every parameter that is trained: some weights at a time, while their gradient is in cache.
fn update<T: Real>(
    layers: &mut [Layer<T>],
    rule: &Rules<'_>,
    values: &[&mut [T]],
    gradients: &[&mut [T]],
    rows: usize,
) {
    let sizes: Vec<_> = layers.iter().map(|layer| layer.sizes).collect();
    let mut parts = trained(layers, rule, rows);
    in_order(&mut parts, &sizes, rows);
    team::each(&mut parts, |part| {
        let [inputs, outputs] = sizes[part.layer];
        let by_y = Matrix::new(gradients[part.layer], [rows, outputs]);
        let by_y = by_y.columns(part.columns.clone());
        T::with_scratch(part.value.len(), |gradient| {
            match &part.inputs {
                Some(some) => {
                    let x = Matrix::new(values[part.layer], [rows, inputs]);
                    let x = x.columns(some.clone()).transposed();
                    let sizes = [some.len(), part.columns.len()];
                    multiply(x, by_y, Start::Zero, &mut MatrixMut::new(gradient, sizes));
                }
                None => {
                    gradient.fill(T::zero());
                    (0..rows).for_each(|row| sum_rows(by_y.row(row), gradient));
                }
            }
            part.rule.take(part.value, gradient, &mut part.memory);
        });
    });
}

/// A piece of a parameter, which one thread updates.
struct Trained<'a, T> {
    layer: usize,
    /// Of the weights; none for a bias.
    inputs: Option<Range<usize>>,
    columns: Range<usize>,
    rule: Numbers<T>,
    value: &'a mut [T],
    memory: Vec<&'a mut [T]>,
}

/// The pieces of all parameters that are trained.
fn trained<'a, T: Real>(
    layers: &'a mut [Layer<T>],
    rule: &Rules<'_>,
    rows: usize,
) -> Vec<Trained<'a, T>> {
    let mut parts = Vec::new();
    for (layer, Layer { weight, bias, .. }) in layers.iter_mut().enumerate() {
        for (parameter, is_weight) in [(weight, true), (bias, false)] {
            if parameter.rule.is_none() {
                continue;
            }
            let [high, _] = parameter.sizes;
            let most = panel_rows(rows, parameter.sizes);
            let rule = rule(layer, is_weight);
            parameter.rule = Some(rule);
            for Panel { columns, value, memory } in &mut parameter.panels {
                let count = most * columns.len();
                let mut memory: Vec<_> =
                    memory.iter_mut().map(|part| part.all_mut().chunks_mut(count)).collect();
                let values = value.all_mut().chunks_mut(count);
                for (inputs, value) in pieces(high, most).into_iter().zip(values) {
                    let memory = memory.iter_mut().filter_map(Iterator::next).collect();
                    let (columns, inputs) = (columns.clone(), is_weight.then_some(inputs));
                    let rule = Numbers::new(&rule);
                    parts.push(Trained { layer, inputs, columns, rule, value, memory });
                }
            }
        }
    }
    parts
}

/// Puts the pieces of one thread behind each other, and the small ones into the middle, so that each
/// half of the others stays with its thread.
fn in_order<T>(parts: &mut [Trained<'_, T>], sizes: &[[usize; 2]], rows: usize) {
    const SMALL: usize = 1024;
    parts.sort_by_key(|part| {
        let place = match &part.inputs {
            Some(inputs) if !by_outputs(rows, sizes[part.layer][1]) => inputs.start,
            _ => part.columns.start,
        };
        (part.value.len() < SMALL, part.layer, place)
    });
    let large = parts.partition_point(|part| part.value.len() >= SMALL);
    parts[large / 2..].rotate_left(large - large / 2);
}
