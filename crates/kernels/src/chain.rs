//! A classifier made of dense layers, trained a whole step at a time.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::{AdamStep, ChosenRows, Epilogue, SgdStep, Smoothing, flex, plain};

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
}

/// The samples that a step learns from.
#[derive(Clone, Copy, Debug)]
pub struct StepBatch<'a> {
    /// The inputs.
    pub rows: ChosenRows<'a>,
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

/// A chain of dense layers under training, in memory that suits the CPU.
///
/// Each layer is [`dense`](crate::dense), the loss [`cross_entropy`](crate::cross_entropy), the step
/// [`adam`](crate::adam) or [`sgd`](crate::sgd); all of a step is one operation, on several threads.
/// Its definition is [`plain::chain_step`].
#[derive(Debug)]
pub struct Chain(flex::AnyChain);

impl Chain {
    /// Copies the layers; `None` if there is none, if they do not fit each other, or if they are not
    /// of `f32` or `f64` on Burn's CPU backend `flex`.
    pub fn new(layers: &[TrainedLayer]) -> Option<Self> {
        flex::AnyChain::new(layers).map(Self)
    }

    /// Takes one optimizer step on the summed cross-entropy of a batch over the divisor.
    ///
    /// `rule` returns the step of the weights (`true`) or the bias of a layer, of those that have a
    /// rule already.
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, a class or a row does not exist, or a rule remembers more than the
    /// one before.
    pub fn step(&mut self, rule: impl Fn(usize, bool) -> Rule, batch: &StepBatch<'_>) -> Outcome {
        self.0.step(&rule, batch)
    }

    /// Copies the layers as they are now.
    pub fn layers(&self) -> Vec<TrainedLayer> {
        self.0.layers()
    }
}

/// The definition of [`Chain::step`]: the plain bodies, differentiated by Burn.
pub fn plain(layers: Vec<TrainedLayer>, batch: &StepBatch<'_>) -> (Vec<TrainedLayer>, Outcome) {
    let value = layers.first().map(|layer| &layer.weight.value);
    let (device, dtype) =
        value.map_or((Device::default(), DType::F32), |value| (value.device(), value.dtype()));
    let device = device.autodiff();
    let inputs = TensorData::new(batch.rows.gather(), [batch.rows.len(), batch.rows.width]);
    let ids: Vec<i64> = batch.classes.iter().map(|&class| class as i64).collect();
    let classes = Tensor::<1, Int>::from_data(TensorData::new(ids, [batch.rows.len()]), &device);
    let on_graph: Vec<_> =
        layers.iter().map(|l| (l.weight.on_graph(), l.bias.on_graph())).collect();
    let mut x = Tensor::from_data(inputs, (&device, dtype));
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
    let outcome = Outcome { losses: losses.without_autodiff(), logits: x.without_autodiff() };
    (stepped.collect(), outcome)
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
