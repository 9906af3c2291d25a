//! A classifier made of dense layers, trained a whole step at a time.

use std::sync::Arc;

use burn::tensor::activation::relu;
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};

use crate::{
    AdamStep, ChosenRows, Epilogue, SgdStep, Smoothing, SparseBatch, SparseMatrix, flex, plain,
};

/// A dense layer under training.
#[derive(Clone, Debug)]
pub struct TrainedLayer {
    /// `[inputs, outputs]`.
    pub weight: TrainedParameter<2>,
    /// `[outputs]`.
    pub bias: TrainedParameter<1>,
    /// The function after the affine map.
    pub epilogue: Epilogue,
}

/// A bag under training: `epilogue(sum_j value_j · weight[place_j] + bias)` over the terms of a row, as
/// some of the inputs of the first layer.
#[derive(Clone, Debug)]
pub struct TrainedBag {
    /// `[terms, width]`. A step changes only the vectors of terms that its batch has, and what is
    /// remembered of them.
    pub weight: TrainedParameter<2>,
    /// `[width]`.
    pub bias: TrainedParameter<1>,
    /// The function after the sum.
    pub epilogue: Epilogue,
    /// The place of its first number among the inputs of the first layer; those of no bag are the
    /// dense features, in their order.
    pub first: usize,
}

/// A part of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A dense layer.
    Layer(usize),
    /// A bag.
    Bag(usize),
}

/// A parameter under training.
#[derive(Clone, Debug)]
pub struct TrainedParameter<const D: usize> {
    /// Its numbers, off the autodiff graph.
    pub value: Tensor<D>,
    /// The memory of the optimizer, flattened: as many tensors as [`Rule::memory`] says, or none
    /// before the first step.
    pub memory: Vec<Tensor<1>>,
    /// The step that it takes; `None` if it stays as it is.
    pub rule: Option<Rule>,
}

/// One step of an optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Adam or AdamW; remembers the mean of gradients and that of their squares.
    Adam(AdamStep),
    /// Gradient descent; with momentum, remembers the velocity.
    Sgd(SgdStep),
}

impl Rule {
    /// Number of tensors that it remembers.
    pub fn memory(&self) -> usize {
        match self {
            Self::Adam(_) => 2,
            Self::Sgd(step) => usize::from(step.momentum != 0.0),
        }
    }

    /// The same for rows that are stepped alone, see [`AdamStep::sparse`].
    #[must_use]
    pub fn sparse(self) -> Self {
        match self {
            Self::Adam(step) => Self::Adam(step.sparse()),
            Self::Sgd(_) => self,
        }
    }
}

/// The samples that a step learns from.
#[derive(Clone, Copy, Debug)]
pub struct StepBatch<'a> {
    /// The dense inputs.
    pub rows: ChosenRows<'a>,
    /// For each bag, the terms of all rows of the data set, of which `rows` has the indices.
    pub terms: &'a [SparseMatrix<'a>],
    /// The class of each row.
    pub classes: &'a [usize],
    /// Label smoothing and class weights.
    pub smoothing: &'a Smoothing,
    /// Weight of each row in the sum of losses; none means 1 each.
    pub weights: Option<&'a [f32]>,
    /// Divisor of the summed losses.
    pub divisor: f64,
}

/// Losses and logits of a batch, before the step.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The cross-entropy of each row, `[batch]`, without the weights of rows.
    pub losses: Tensor<1>,
    /// `[batch, classes]`.
    pub logits: Tensor<2>,
}

/// A chain of dense layers under training, in memory that suits the CPU, with bags before the first.
///
/// Each layer is [`dense`](crate::dense), the loss [`cross_entropy`](crate::cross_entropy), the step
/// [`adam`](crate::adam) or [`sgd`](crate::sgd); all of a step is one operation, on several threads.
/// Its definition is [`plain::chain_step`].
#[derive(Debug)]
pub struct Chain(flex::AnyChain);

impl Chain {
    /// Copies the layers and takes the bags; `None` if there is no layer, if they do not fit each other,
    /// or if they are not of `f32` or `f64` on Burn's CPU backend `flex`.
    ///
    /// Bags are changed in their tensors, as long as nothing else holds these.
    pub fn new(layers: &[TrainedLayer], bags: Vec<TrainedBag>) -> Option<Self> {
        flex::AnyChain::new(layers, bags).map(Self)
    }

    /// Takes one optimizer step on the summed cross-entropy of a batch over the divisor.
    ///
    /// `rule` returns the step of the weights (`true`) or the bias of a part, of those that have a
    /// rule already.
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, a class, a row or a term does not exist, or a rule remembers more than
    /// the one before.
    pub fn step(&mut self, rule: impl Fn(Part, bool) -> Rule, batch: &StepBatch<'_>) -> Outcome {
        self.0.step(&rule, batch)
    }

    /// Copies the layers as they are now.
    pub fn layers(&self) -> Vec<TrainedLayer> {
        self.0.layers()
    }

    /// Returns the bags as they are now; the tensors share the chain's numbers, which the next step
    /// copies if they are still held.
    pub fn bags(&self) -> Vec<TrainedBag> {
        self.0.bags()
    }
}

/// The definition of [`Chain::step`]: the plain bodies, differentiated by Burn.
pub fn plain(
    layers: Vec<TrainedLayer>,
    bags: Vec<TrainedBag>,
    batch: &StepBatch<'_>,
) -> (Vec<TrainedLayer>, Vec<TrainedBag>, Outcome) {
    let value = layers.first().map(|layer| &layer.weight.value);
    let (device, dtype) =
        value.map_or((Device::default(), DType::F32), |value| (value.device(), value.dtype()));
    let device = device.autodiff();
    let ids: Vec<i64> = batch.classes.iter().map(|&class| class as i64).collect();
    let classes = Tensor::<1, Int>::from_data(TensorData::new(ids, [batch.rows.len()]), &device);
    let on_graph: Vec<_> =
        layers.iter().map(|l| (l.weight.on_graph(), l.bias.on_graph())).collect();
    let bags_on_graph: Vec<_> =
        bags.iter().map(|bag| (bag.weight.on_graph(), bag.bias.on_graph())).collect();
    let rows: Vec<_> = batch.terms.iter().map(|terms| chosen(*terms, batch)).collect();
    let mut x = entered(batch, &bags, &bags_on_graph, &rows, (&device, dtype));
    for (layer, (weight, bias)) in layers.iter().zip(&on_graph) {
        x = plain::dense(x, weight.clone(), bias.clone(), layer.epilogue);
    }
    let losses = plain::cross_entropy(x.clone(), classes, batch.smoothing);
    // Not divided: in the backward pass of that, Burn rounds the divisor to `f32`.
    let shares = losses.clone().mul_scalar(1.0 / batch.divisor);
    let mut graph = match batch.weights {
        Some(weights) => {
            let data = TensorData::new(weights.to_vec(), [weights.len()]);
            shares * Tensor::from_data(data, (&device, dtype))
        }
        None => shares,
    }
    .backward();
    let stepped = layers.into_iter().zip(on_graph).map(|(layer, (weight, bias))| TrainedLayer {
        weight: layer.weight.stepped(weight.grad_remove(&mut graph)),
        bias: layer.bias.stepped(bias.grad_remove(&mut graph)),
        epilogue: layer.epilogue,
    });
    let stepped = stepped.collect();
    let bags = bags.into_iter().zip(rows).zip(bags_on_graph);
    let bags = bags.map(|((bag, rows), (weight, bias))| TrainedBag {
        weight: bag.weight.stepped_rows(weight.grad_remove(&mut graph), &rows),
        bias: bag.bias.stepped(bias.grad_remove(&mut graph)),
        ..bag
    });
    let bags = bags.collect();
    let outcome = Outcome { losses: losses.without_autodiff(), logits: x.without_autodiff() };
    (stepped, bags, outcome)
}

/// The inputs of the first layer.
fn entered(
    batch: &StepBatch<'_>,
    bags: &[TrainedBag],
    on_graph: &[(Tensor<2>, Tensor<1>)],
    rows: &[Arc<SparseBatch>],
    place: (&Device, DType),
) -> Tensor<2> {
    let inputs = TensorData::new(batch.rows.gather(), [batch.rows.len(), batch.rows.width]);
    let inputs: Tensor<2> = Tensor::from_data(inputs, place);
    let (mut parts, mut dense, mut width) = (Vec::new(), 0, 0);
    for ((bag, rows), (weight, bias)) in bags.iter().zip(rows).zip(on_graph) {
        if bag.first > width {
            parts.push(inputs.clone().narrow(1, dense, bag.first - width));
            dense += bag.first - width;
        }
        let sums = plain::bag(weight.clone(), rows) + bias.clone().unsqueeze::<2>();
        parts.push(if bag.epilogue == Epilogue::Relu { relu(sums) } else { sums });
        let [_, of_bag] = weight.dims();
        width = bag.first + of_bag;
    }
    if dense < batch.rows.width {
        parts.push(inputs.narrow(1, dense, batch.rows.width - dense));
    }
    Tensor::cat(parts, 1)
}

/// The rows of a batch.
fn chosen(all: SparseMatrix<'_>, batch: &StepBatch<'_>) -> Arc<SparseBatch> {
    let mut rows = SparseBatch { starts: vec![0], ..SparseBatch::default() };
    for &row in batch.rows.indices {
        let (places, values) = all.row(row);
        rows.places.extend(places);
        rows.values.extend(values);
        rows.starts.push(rows.places.len());
    }
    Arc::new(rows)
}

impl TrainedParameter<2> {
    /// Steps the rows that a batch touches, and what is remembered of them.
    fn stepped_rows(self, gradient: Option<Tensor<2>>, rows: &SparseBatch) -> Self {
        let (Some(rule), Some(gradient)) = (self.rule, gradient) else { return self };
        let mut places: Vec<i64> = rows.places.iter().map(|&place| place.into()).collect();
        places.sort_unstable();
        places.dedup();
        let [terms, width] = self.value.dims();
        let count = places.len();
        let places = TensorData::new(places, [count]);
        let places = Tensor::<1, Int>::from_data(places, &self.value.device());
        let zeros = Tensor::zeros([terms * width], (&self.value.device(), self.value.dtype()));
        let mut memory = self.memory;
        memory.resize(rule.memory(), zeros);
        let matrices = memory.into_iter().map(|part| part.reshape([terms, width]));
        let matrices: Vec<Tensor<2>> = [self.value].into_iter().chain(matrices).collect();
        let mut some = matrices.iter().map(|matrix| matrix.clone().select(0, places.clone()));
        let some = TrainedParameter {
            value: some.next().unwrap_or_else(|| gradient.clone()),
            memory: some.map(|part| part.reshape([-1])).collect(),
            rule: Some(rule),
        };
        let some = some.stepped(Some(gradient.clone().select(0, places.clone())));
        let memory = some.memory.into_iter().map(|part| part.reshape([count, width]));
        let mut stepped =
            matrices.into_iter().zip([some.value].into_iter().chain(memory)).map(|(all, some)| {
                all.select_assign(0, places.clone(), some, IndexingUpdateOp::Assign)
            });
        let value = stepped.next().unwrap_or(gradient);
        Self { value, memory: stepped.map(|part| part.reshape([-1])).collect(), rule: Some(rule) }
    }
}

impl<const D: usize> TrainedParameter<D> {
    fn on_graph(&self) -> Tensor<D> {
        self.value.clone().autodiff().set_require_grad(self.rule.is_some())
    }

    fn stepped(self, gradient: Option<Tensor<D>>) -> Self {
        let (Some(rule), Some(gradient)) = (self.rule, gradient) else { return self };
        let dims = self.value.dims();
        let (value, gradient) = (self.value.reshape([-1]), gradient.reshape([-1]));
        let mut memory = self.memory.into_iter();
        // Before its first step, an optimizer remembers zeros.
        let [first, second] =
            [(); 2].map(|()| memory.next().unwrap_or_else(|| Tensor::zeros_like(&value)));
        let (value, memory) = match &rule {
            Rule::Adam(step) => {
                let [value, mean, square] = plain::adam(value, gradient, first, second, step);
                (value, vec![mean, square])
            }
            Rule::Sgd(step) => {
                let [value, velocity] = plain::sgd(value, gradient, first, step);
                (value, if rule.memory() == 0 { Vec::new() } else { vec![velocity] })
            }
        };
        Self { value: value.reshape(dims), memory, rule: Some(rule) }
    }
}
