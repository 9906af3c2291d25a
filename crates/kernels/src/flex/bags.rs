//! The bags of a chain: sparse rows in front of its first layer.
//!
//! The vectors of terms stay in the tensors that they came in, once, and a step changes those that its
//! batch touches.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use super::bag::{NONE, add_terms, each_touched};
use super::chain::PartRules;
use super::dense::back_through;
use super::optimizer::{TypedRule, places};
use super::product::{Matrix, pieces};
use super::tuning::part_of_terms;
use super::{Placed, Real, numbers, team, tensor, vectorised};
use crate::{Epilogue, Part, Rule, SparseMatrix, StepBatch, TrainedBag, TrainedParameter};

#[derive(Debug)]
pub(super) struct Bag<T> {
    /// Terms, and numbers of a vector.
    sizes: [usize; 2],
    first: usize,
    epilogue: Epilogue,
    weight: Kept,
    bias: Kept,
    /// For each term, none between two steps.
    heads: Vec<u32>,
    of: std::marker::PhantomData<T>,
}

/// A parameter in its tensor, with what is remembered of it.
#[derive(Debug)]
struct Kept {
    value: FlexTensor,
    memory: Vec<FlexTensor>,
    rule: Option<Rule>,
}

impl Kept {
    fn new<T: Real, const D: usize>(of: TrainedParameter<D>) -> Option<Self> {
        let TrainedParameter { value, memory, rule } = of;
        let count = value.shape().num_elements();
        let value = whole::<T, D>(value)?;
        let remembered = rule.map_or(0, |rule| rule.memory());
        let mut memory: Vec<_> =
            memory.into_iter().map(whole::<T, 1>).collect::<Option<Vec<_>>>()?;
        if memory.is_empty() {
            // Before its first step, an optimizer remembers zeros.
            memory = (0..remembered).map(|_| tensor(vec![T::zero(); count], [count])).collect();
        }
        let fits = memory.len() == remembered
            && memory.iter().all(|part| part.layout().num_elements() == count);
        fits.then_some(Self { value, memory, rule })
    }

    /// The same as tensors, which share its numbers.
    fn shared<const D: usize>(&self) -> TrainedParameter<D> {
        let memory = self.memory.iter().cloned();
        TrainedParameter {
            value: Tensor::from_primitive::<Flex>(self.value.clone()),
            memory: memory.map(Tensor::from_primitive::<Flex>).collect(),
            rule: self.rule,
        }
    }
}

/// The storage of a tensor off the graph, if it can be changed as one slice of this type.
fn whole<T: Real, const D: usize>(tensor: Tensor<D>) -> Option<FlexTensor> {
    let placed = Placed::of(tensor);
    placed.whole().filter(|tensor| tensor.dtype() == T::dtype())?;
    match placed {
        Placed::Off(tensor) => Some(tensor),
        _ => None,
    }
}

impl<T: Real> Bag<T> {
    pub(super) fn new(bag: TrainedBag) -> Option<Self> {
        let TrainedBag { weight, bias, epilogue, first } = bag;
        let sizes @ [_, width] = weight.value.dims();
        if bias.value.dims() != [width] || sizes.contains(&0) {
            return None;
        }
        let (weight, bias) = (Kept::new::<T, 2>(weight)?, Kept::new::<T, 1>(bias)?);
        let heads = vec![NONE; sizes[0]];
        Some(Self { sizes, first, epilogue, weight, bias, heads, of: std::marker::PhantomData })
    }

    /// Returns true if bags stand side by side among so many inputs, in rising order.
    pub(super) fn fit(bags: &[Self], inputs: usize) -> bool {
        let ends = bags.iter().map(|bag| bag.first + bag.width());
        let nexts = bags.iter().skip(1).map(|bag| bag.first).chain([inputs]);
        ends.zip(nexts).all(|(end, next)| end <= next)
    }

    pub(super) fn width(&self) -> usize {
        self.sizes[1]
    }

    pub(super) fn is_trained(&self) -> bool {
        self.weight.rule.is_some() || self.bias.rule.is_some()
    }

    /// The same as tensors, which share its numbers.
    pub(super) fn shared(&self) -> TrainedBag {
        TrainedBag {
            weight: self.weight.shared(),
            bias: self.bias.shared(),
            epilogue: self.epilogue,
            first: self.first,
        }
    }

    /// Makes place for bags among the inputs of the `i`-th row of a batch, whose dense ones stand first,
    /// and fills it.
    #[inline(always)]
    pub(super) fn fill(bags: &[Self], batch: &StepBatch<'_>, i: usize, inputs: &mut [T]) {
        let (mut dense, mut end) = (batch.rows.width, inputs.len());
        for bag in bags.iter().rev() {
            let behind = bag.first + bag.width();
            inputs.copy_within(dense - (end - behind)..dense, behind);
            dense -= end - behind;
            end = bag.first;
        }
        for (bag, terms) in bags.iter().zip(batch.terms) {
            let sum = &mut inputs[bag.first..][..bag.width()];
            sum.copy_from_slice(numbers(&bag.bias.value));
            add_terms(numbers(&bag.weight.value), terms.row(batch.rows.indices[i]), sum);
            if bag.epilogue == Epilogue::Relu {
                sum.iter_mut().for_each(|x| *x = if *x < T::zero() { T::zero() } else { *x });
            }
        }
    }

    fn step_bias(&mut self, rule: Rule, by_sums: Matrix<'_, T>, rows: usize) {
        self.bias.rule = Some(rule);
        let mut gradient = vec![T::zero(); self.width()];
        for row in 0..rows {
            gradient.iter_mut().zip(by_sums.row(row)).for_each(|(sum, &g)| *sum += g);
        }
        let mut memory: Vec<_> = self.bias.memory.iter_mut().map(places::<T>).collect();
        TypedRule::new(&rule).take(places(&mut self.bias.value), &gradient, &mut memory);
    }

    /// Steps the vectors of the terms that a batch has, and no others.
    fn step_weight(
        &mut self,
        rule: Rule,
        by_sums: Matrix<'_, T>,
        (matrix, indices): (SparseMatrix<'_>, &[usize]),
    ) {
        self.weight.rule = Some(rule);
        let [terms, width] = self.sizes;
        let rule = TypedRule::new(&rule);
        let most = part_of_terms(terms);
        let memory = self.weight.memory.iter_mut().map(places::<T>);
        let mut memory: Vec<_> = memory.map(|part| part.chunks_mut(most * width)).collect();
        let values = places::<T>(&mut self.weight.value).chunks_mut(most * width);
        let mut parts: Vec<_> = pieces(terms, most)
            .into_iter()
            .zip(values)
            .zip(self.heads.chunks_mut(most))
            .map(|((range, value), heads)| {
                let memory: Vec<_> = memory.iter_mut().filter_map(Iterator::next).collect();
                (range, heads, value, memory)
            })
            .collect();
        team::each(&mut parts, |(range, heads, value, memory)| {
            let first = range.start;
            T::with_scratch(width, |gradient| {
                vectorised(
                    #[inline(always)]
                    || {
                        let rows = indices.iter().copied();
                        each_touched(
                            (rows, matrix),
                            (range.clone(), heads),
                            by_sums,
                            gradient,
                            #[inline(always)]
                            |place, gradient| {
                                let start = (place - first) * width;
                                rule.take_part(value, gradient, memory, start..start + width);
                            },
                        );
                    },
                );
            });
        });
    }
}

/// What a batch brought to the first layer.
pub(super) struct Entrance<'a, T> {
    pub(super) batch: &'a StepBatch<'a>,
    /// The inputs of the first layer, `[batch, width]`.
    pub(super) inputs: &'a [T],
    pub(super) width: usize,
}

impl<T: Real> Entrance<'_, T> {
    /// Steps the bags that are trained; `by_inputs` is the gradient by the inputs.
    pub(super) fn step(&self, bags: &mut [Bag<T>], rule: &PartRules<'_>, by_inputs: &mut [T]) {
        let rows = self.batch.rows.len();
        for (i, (bag, &matrix)) in bags.iter_mut().zip(self.batch.terms).enumerate() {
            let columns = bag.first..bag.first + bag.width();
            let inputs = self.inputs.chunks_exact(self.width);
            for (y, gradient) in inputs.zip(by_inputs.chunks_exact_mut(self.width)) {
                back_through(bag.epilogue, &y[columns.clone()], &mut gradient[columns.clone()]);
            }
            let by_sums = Matrix::new(by_inputs, [rows, self.width]).columns(columns);
            if bag.bias.rule.is_some() {
                bag.step_bias(rule(Part::Bag(i), false), by_sums, rows);
            }
            if bag.weight.rule.is_some() {
                let terms = (matrix, self.batch.rows.indices);
                bag.step_weight(rule(Part::Bag(i), true), by_sums, terms);
            }
        }
    }
}
