//! A chain of dense layers under training, in memory of its own that suits the threads.
//!
//! A step has a few phases, each shared by all threads. The inputs are gathered; then comes one
//! hidden layer after the other; the head computes the losses and the way back; the gradient goes back
//! through the hidden layers; and at last each thread takes some of the weights: their gradient, and
//! at once their step.
//!
//! Weights, and what is remembered of them, lie in panels of some columns each. As far as it can, a
//! thread keeps to its own panels: what another core has just changed takes longer to fetch than to
//! compute with.

use std::ops::Range;

use burn::backend::Flex;
use burn::tensor::{DType, Tensor};

use super::bags::{Bag, Entrance};
use super::cross_entropy::{Shares, by_row, loss};
use super::dense::{apply, back_through};
use super::product::{Addend, Block, Matrix, MatrixMut, blocks, multiply, pieces};
use super::tuning::{backward_width, by_outputs, panel_width, rows_of_product, some_rows};
use super::update::update;
use super::{Placed, Real, numbers, team, tensor, vectorised};
use crate::{
    ChosenRows, Epilogue, Outcome, Part, RawFeatures, Rule, StepBatch, TrainedBag, TrainedLayer,
    TrainedParameter,
};

/// A chain of either number type.
#[derive(Debug)]
pub(crate) enum AnyChain {
    F32(TypedChain<f32>),
    F64(TypedChain<f64>),
}

impl AnyChain {
    /// `None` if the layers and bags are not for the fast body or do not fit each other.
    pub(crate) fn new(layers: &[TrainedLayer], bags: Vec<TrainedBag>) -> Option<Self> {
        match layers.first()?.weight.value.dtype() {
            DType::F32 => TypedChain::new(layers, bags).map(Self::F32),
            DType::F64 => TypedChain::new(layers, bags).map(Self::F64),
            _ => None,
        }
    }

    pub(crate) fn step(&mut self, rule: &PartRules<'_>, batch: &StepBatch<'_>) -> Outcome {
        match self {
            Self::F32(chain) => chain.step(rule, batch),
            Self::F64(chain) => chain.step(rule, batch),
        }
    }

    pub(crate) fn layers(&self) -> Vec<TrainedLayer> {
        match self {
            Self::F32(chain) => chain.layers.iter().map(DenseLayer::copied).collect(),
            Self::F64(chain) => chain.layers.iter().map(DenseLayer::copied).collect(),
        }
    }

    pub(crate) fn bags(&self) -> Vec<TrainedBag> {
        match self {
            Self::F32(chain) => chain.bags.iter().map(Bag::shared).collect(),
            Self::F64(chain) => chain.bags.iter().map(Bag::shared).collect(),
        }
    }
}

/// The rule of a part's weights (`true`) or bias.
pub(super) type PartRules<'a> = dyn Fn(Part, bool) -> Rule + 'a;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Numbers that begin on a cache line, so that no two threads write to the same one.
#[derive(Debug, Default)]
pub(super) struct Lines<T> {
    numbers: Vec<T>,
    start: usize,
    count: usize,
}

impl<T: Real> Lines<T> {
    fn zeros(count: usize) -> Self {
        let numbers = vec![T::zero(); count + LINE / size_of::<T>()];
        let start = numbers.as_ptr().align_offset(LINE).min(numbers.len() - count);
        Self { numbers, start, count }
    }

    /// Copies some columns of a matrix `[rows, columns]`.
    fn of_columns(matrix: &[T], sizes: [usize; 2], columns: Range<usize>) -> Self {
        let mut lines = Self::zeros(sizes[0] * columns.len());
        let rows = lines.all_mut().chunks_exact_mut(columns.len());
        for (into, row) in rows.zip(matrix.chunks_exact(sizes[1])) {
            into.copy_from_slice(&row[columns.clone()]);
        }
        lines
    }

    /// The first `count` numbers, whatever they are.
    pub(super) fn first(&mut self, count: usize) -> &mut [T] {
        if self.count < count {
            *self = Self::zeros(count);
        }
        &mut self.numbers[self.start..self.start + count]
    }

    fn all(&self) -> &[T] {
        &self.numbers[self.start..self.start + self.count]
    }

    pub(super) fn all_mut(&mut self) -> &mut [T] {
        &mut self.numbers[self.start..self.start + self.count]
    }
}

/// A chain of one number type, see [`AnyChain`].
#[derive(Debug)]
pub(crate) struct TypedChain<T> {
    layers: Vec<DenseLayer<T>>,
    bags: Vec<Bag<T>>,
    /// The inputs and the outputs of each layer, `[batch, width]`.
    values: Vec<Lines<T>>,
    /// The gradient by the outputs of each layer, before its epilogue.
    gradients: Vec<Lines<T>>,
    /// The gradient by the inputs, where there are bags to train.
    by_inputs: Lines<T>,
}

#[derive(Debug)]
pub(super) struct DenseLayer<T> {
    /// `[inputs, outputs]`.
    pub(super) sizes: [usize; 2],
    epilogue: Epilogue,
    pub(super) weight: Parameter<T>,
    pub(super) bias: Parameter<T>,
}

#[derive(Debug)]
pub(super) struct Parameter<T> {
    /// `[rows, columns]`; a bias has one row.
    pub(super) sizes: [usize; 2],
    pub(super) panels: Vec<Panel<T>>,
    pub(super) rule: Option<Rule>,
}

/// Some columns of a parameter, row by row, and what is remembered of them.
#[derive(Debug)]
pub(super) struct Panel<T> {
    pub(super) columns: Range<usize>,
    pub(super) value: Lines<T>,
    pub(super) memory: Vec<Lines<T>>,
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
            let value = Lines::of_columns(value, sizes, columns.clone());
            let memory = if memory.is_empty() {
                // Before its first step, an optimizer remembers zeros.
                (0..remembered).map(|_| Lines::zeros(sizes[0] * columns.len())).collect()
            } else {
                let memory = memory.iter();
                memory.map(|part| Lines::of_columns(part, sizes, columns.clone())).collect()
            };
            Panel { columns, value, memory }
        });
        Some(Self { sizes, panels: panels.collect(), rule: *rule })
    }

    /// The same as tensors; what is remembered is flat.
    fn copied<const D: usize>(&self) -> TrainedParameter<D> {
        let count = self.sizes[0] * self.sizes[1];
        let memory = (0..self.rule.map_or(0, |rule| rule.memory())).map(|i| {
            let numbers = self.whole(self.panels.iter().map(|panel| panel.memory.get(i)));
            Tensor::from_primitive::<Flex>(tensor(numbers, [count]))
        });
        let dims: [usize; D] = std::array::from_fn(|d| self.sizes[d + 2 - D]);
        let value = tensor(self.whole(self.panels.iter().map(|panel| Some(&panel.value))), dims);
        TrainedParameter {
            value: Tensor::from_primitive::<Flex>(value),
            memory: memory.collect(),
            rule: self.rule,
        }
    }

    /// Returns the numbers of the panels as one matrix, zero where a panel has nothing.
    fn whole<'a>(&self, lines: impl Iterator<Item = Option<&'a Lines<T>>>) -> Vec<T>
    where
        T: 'a,
    {
        let [rows, columns] = self.sizes;
        let mut numbers = vec![T::zero(); rows * columns];
        for (panel, lines) in self.panels.iter().zip(lines) {
            let Some(lines) = lines else { continue };
            let rows = numbers.chunks_exact_mut(columns);
            for (into, row) in rows.zip(lines.all().chunks_exact(panel.columns.len())) {
                into[panel.columns.clone()].copy_from_slice(row);
            }
        }
        numbers
    }
}

impl<T: Real> DenseLayer<T> {
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

impl<T: Real> TypedChain<T> {
    fn new(layers: &[TrainedLayer], bags: Vec<TrainedBag>) -> Option<Self> {
        let layers: Vec<_> = layers.iter().map(DenseLayer::<T>::new).collect::<Option<_>>()?;
        let bags: Vec<_> = bags.into_iter().map(Bag::<T>::new).collect::<Option<_>>()?;
        let fits = layers.windows(2).all(|pair| pair[0].sizes[1] == pair[1].sizes[0])
            && layers.iter().all(|layer| layer.sizes.iter().all(|&size| size > 0))
            && Bag::fit(&bags, layers.first()?.sizes[0]);
        let values = layers.iter().map(|_| Lines::default()).chain([Lines::default()]).collect();
        let gradients = layers.iter().map(|_| Lines::default()).collect();
        fits.then_some(Self { layers, bags, values, gradients, by_inputs: Lines::default() })
    }

    fn step(&mut self, rule: &PartRules<'_>, batch: &StepBatch<'_>) -> Outcome {
        let rows = batch.rows.len();
        let Self { layers, bags, .. } = self;
        let widths: Vec<usize> = [layers[0].sizes[0]]
            .into_iter()
            .chain(layers.iter().map(|layer| layer.sizes[1]))
            .collect();
        let of_bags: usize = bags.iter().map(Bag::width).sum();
        let width = batch.rows.width + of_bags;
        assert_eq!(width, widths[0], "a row has as many features as there are inputs");
        assert_eq!(batch.classes.len(), rows, "every row has a class");
        assert_eq!(batch.terms.len(), bags.len(), "every bag has terms");
        let is_entered = bags.iter().any(Bag::is_trained);
        let lowest = layers.iter().position(DenseLayer::is_trained).unwrap_or(layers.len());
        let lowest = if is_entered { 0 } else { lowest };
        let by_inputs = self.by_inputs.first(if is_entered { rows * widths[0] } else { 0 });
        let by_inputs = is_entered.then_some(by_inputs);
        let pass = Pass { layers, bags, batch, lowest };
        let mut values = views(&mut self.values, rows, &widths);
        let mut gradients = views(&mut self.gradients, rows, &widths[1..]);
        let mut losses = vec![T::zero(); rows];
        let by_inputs = pass.run(&mut values, &mut gradients, by_inputs, &mut losses);
        if let Some(by_inputs) = by_inputs {
            let entrance = Entrance { batch, inputs: &*values[0], width: widths[0] };
            entrance.step(bags, rule, by_inputs);
        }
        update(layers, rule, &values, &gradients, rows);
        let outputs = widths[layers.len()];
        Outcome {
            losses: Tensor::from_primitive::<Flex>(tensor(losses, [rows])),
            logits: Tensor::from_primitive::<Flex>(tensor(
                values[layers.len()].to_vec(),
                [rows, outputs],
            )),
        }
    }
}

/// A matrix `[rows, width]` in each of these, whatever its numbers are.
fn views<'a, T: Real>(
    lines: &'a mut [Lines<T>],
    rows: usize,
    widths: &[usize],
) -> Vec<&'a mut [T]> {
    let lines = lines.iter_mut().zip(widths);
    lines.map(|(lines, width)| lines.first(rows * width)).collect()
}

/// The batch's way through the network and back.
struct Pass<'a, T> {
    layers: &'a [DenseLayer<T>],
    bags: &'a [Bag<T>],
    batch: &'a StepBatch<'a>,
    /// The first layer that is trained: gradients go no further back.
    lowest: usize,
}

/// Some rows of a panel of a layer's values.
struct Tile<'a, T> {
    panel: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    numbers: MatrixMut<'a, T>,
}

/// Cuts a layer's values, `[rows, columns]`, into tiles, those of one thread behind each other; each
/// is a product with some columns of a matrix `[inner, columns]`, at most `wide`.
fn tiles<T: Real>(
    numbers: &mut [T],
    rows: usize,
    sizes @ [_, columns]: [usize; 2],
    wide: usize,
) -> Vec<Tile<'_, T>> {
    let size = [rows_of_product(rows, sizes), wide];
    let numbers = MatrixMut::new(numbers, [rows, columns]).split(size);
    let parts = blocks([rows, columns], size).into_iter().zip(numbers);
    let mut parts: Vec<_> = parts
        .map(|(Block { rows, columns }, numbers)| {
            let panel = columns.start / size[1];
            Tile { panel, rows, columns, numbers }
        })
        .collect();
    if by_outputs(rows, columns) {
        parts.sort_by_key(|part| part.panel);
    }
    parts
}

impl<T: Real> Pass<'_, T> {
    /// Phase by phase, each of which all threads share; returns the gradient by the inputs, if there is
    /// room for it.
    fn run<'b>(
        &self,
        values: &mut [&mut [T]],
        gradients: &mut [&mut [T]],
        mut by_inputs: Option<&'b mut [T]>,
        losses: &mut [T],
    ) -> Option<&'b mut [T]> {
        let rows = losses.len();
        let last = self.layers.len() - 1;
        self.gather(MatrixMut::new(values[0], [rows, self.layers[0].sizes[0]]));
        for (i, layer) in self.layers[..last].iter().enumerate() {
            let (before, after) = values.split_at_mut(i + 1);
            let x = Matrix::new(before[i], [rows, layer.sizes[0]]);
            let wide = panel_width(layer.sizes[1]);
            team::each(&mut tiles(after[0], rows, layer.sizes, wide), |part| {
                forward(layer, part.panel, x.rows(part.rows.clone()), &mut part.numbers);
            });
        }
        let (by_hidden, by_logits) = gradients.split_at_mut(last);
        // The inputs of the head are a hidden layer's outputs, if there is one.
        let by_x = match by_hidden.last_mut() {
            Some(by_hidden) => (self.lowest < last).then_some(&mut **by_hidden),
            None => by_inputs.as_deref_mut(),
        };
        self.head(values, by_x, by_logits[0], losses);
        for next in (self.lowest + 1..last).rev() {
            let (before, after) = gradients.split_at_mut(next);
            self.back(next, values[next], after[0], before[next - 1], rows);
        }
        if let Some(by_inputs) = by_inputs.as_deref_mut().filter(|_| last > 0) {
            self.back(0, values[0], gradients[0], by_inputs, rows);
        }
        by_inputs
    }

    /// From the gradient by the outputs of a layer to that by its inputs, which are `x`.
    fn back(&self, layer: usize, x: &[T], by_y: &[T], by_x: &mut [T], rows: usize) {
        let [inputs, outputs] = self.layers[layer].sizes;
        let by_y = Matrix::new(by_y, [rows, outputs]);
        let x = Matrix::new(x, [rows, inputs]);
        let wide = backward_width([inputs, outputs]);
        team::each(&mut tiles(by_x, rows, [outputs, inputs], wide), |part| {
            let by_y = by_y.rows(part.rows.clone());
            let x = x.rows(part.rows.clone()).columns(part.columns.clone());
            self.backward(layer, by_y, x, part.columns.clone(), &mut part.numbers);
        });
    }

    /// The inputs.
    fn gather(&self, inputs: MatrixMut<'_, T>) {
        let [rows, width] = inputs.sizes();
        let most = some_rows(rows);
        let mut parts: Vec<_> =
            pieces(rows, most).into_iter().zip(inputs.split([most, width])).collect();
        team::each(&mut parts, |(rows, inputs)| {
            prefetch(&self.batch.rows, rows.clone());
            vectorised(
                #[inline(always)]
                || {
                    for (i, row) in rows.clone().enumerate() {
                        let into = inputs.row(i);
                        self.batch.rows.fill(row, into);
                        if !self.bags.is_empty() {
                            Bag::fill(self.bags, self.batch, row, into);
                        }
                    }
                },
            );
        });
    }

    /// From the last hidden layer to the losses, and back again, some rows at a time.
    ///
    /// `by_x` is the gradient by its inputs, if something before it is trained.
    fn head(
        &self,
        values: &mut [&mut [T]],
        by_x: Option<&mut [T]>,
        by_logits: &mut [T],
        losses: &mut [T],
    ) {
        let rows = losses.len();
        let last = self.layers.len() - 1;
        let layer = &self.layers[last];
        let most = some_rows(rows);
        let [inputs, outputs] = layer.sizes;
        let (hidden, logits) = values.split_at_mut(last + 1);
        let x = Matrix::new(hidden[last], [rows, inputs]);
        let mut logits = split_rows(logits[0], [rows, outputs], most).into_iter();
        let mut by_logits = split_rows(by_logits, [rows, outputs], most).into_iter();
        let by_x = by_x.map(|numbers| split_rows(numbers, [rows, inputs], most));
        let mut by_x = by_x.into_iter().flatten();
        let parts = pieces(rows, most).into_iter().zip(losses.chunks_mut(most));
        let mut parts: Vec<_> = parts
            .filter_map(|(rows, losses)| {
                let (logits, by_logits) = (logits.next()?, by_logits.next()?);
                Some(HeadRows { rows, logits, by_logits, by_x: by_x.next(), losses })
            })
            .collect();
        team::each(&mut parts, |HeadRows { rows, logits, by_logits, by_x, losses }| {
            let x = x.rows(rows.clone());
            for (i, panel) in layer.weight.panels.iter().enumerate() {
                forward(layer, i, x, &mut logits.columns(panel.columns.clone()));
            }
            self.loss(rows.start, logits.as_matrix(), by_logits, losses);
            if let Some(by_x) = by_x {
                self.backward(last, by_logits.as_matrix(), x, 0..inputs, by_x);
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
                    let weight = self.batch.weights.map(|weights| weights[first + row]);
                    let share = weight.map_or(share, |weight| share * T::of(f64::from(weight)));
                    by_row(numbers, class, share, &shares);
                }
            },
        );
    }

    /// From the gradient by the outputs of a layer to some columns of that by the affine map before it,
    /// whose outputs are `x`.
    fn backward(
        &self,
        layer: usize,
        by_y: Matrix<'_, T>,
        x: Matrix<'_, T>,
        columns: Range<usize>,
        into: &mut MatrixMut<'_, T>,
    ) {
        let next = &self.layers[layer];
        for (number, panel) in next.weight.panels.iter().enumerate() {
            let by_y = by_y.columns(panel.columns.clone());
            let weights = next.weights(number).transposed().columns(columns.clone());
            if number == 0 {
                multiply(by_y, weights, Addend::Zero, into);
            } else {
                multiply(by_y, weights, Addend::Existing, into);
            }
        }
        let Some(before) = layer.checked_sub(1) else { return };
        let [rows, _] = into.sizes();
        let epilogue = self.layers[before].epilogue;
        (0..rows).for_each(|row| back_through(epilogue, x.row(row), into.row(row)));
    }
}

/// Brings some rows into the cache: they lie far apart, and to wait for all at once takes no longer
/// than for one.
fn prefetch(chosen: &ChosenRows<'_>, rows: Range<usize>) {
    let sum = rows.fold(0u32, |sum, i| {
        let place = chosen.place(i);
        sum.wrapping_add(match chosen.features {
            RawFeatures::Bytes(bytes) => touch(&bytes[place], u32::from),
            RawFeatures::Floats(floats) => touch(&floats[place], f32::to_bits),
        })
    });
    // Without a use of the sum, the compiler would leave out the reading.
    std::hint::black_box(sum);
}

/// Reads one number of each cache line.
fn touch<T: Copy>(features: &[T], number: impl Fn(T) -> u32) -> u32 {
    let line = (LINE / size_of::<T>()).max(1);
    features.iter().step_by(line).fold(0, |sum, &x| sum.wrapping_add(number(x)))
}

/// Some rows of the batch on their way through the head and back.
struct HeadRows<'a, T> {
    rows: Range<usize>,
    logits: MatrixMut<'a, T>,
    by_logits: MatrixMut<'a, T>,
    /// The gradient by the head's inputs, if a layer before it is trained.
    by_x: Option<MatrixMut<'a, T>>,
    losses: &'a mut [T],
}

/// A matrix `[rows, columns]` in blocks of at most this many whole rows.
fn split_rows<T>(numbers: &mut [T], sizes: [usize; 2], most: usize) -> Vec<MatrixMut<'_, T>> {
    MatrixMut::new(numbers, sizes).split([most, sizes[1]])
}

/// The outputs of one panel of a layer.
fn forward<T: Real>(
    layer: &DenseLayer<T>,
    panel: usize,
    x: Matrix<'_, T>,
    y: &mut MatrixMut<'_, T>,
) {
    let bias = layer.bias.panels[panel].value.all();
    multiply(x, layer.weights(panel), Addend::Row(bias), y);
    y.slices().for_each(|numbers| apply(layer.epilogue, numbers));
}
