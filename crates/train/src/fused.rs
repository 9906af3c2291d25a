//! Steps that are one operation: forward, backward and update in the same few phases.
//!
//! The general way to a step, by Burn's differentiation, serves every network. That of most is a
//! chain of dense layers, and for such a chain on the CPU `fireclay-kernels` has the whole step.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor, TensorData};
use fireclay::{
    Activation, Architecture, CrossEntropy, FrontParameter, FrontPart, Loss, Mlp, Norm,
    ParameterPath, Parametrization, TargetTensor, scaling,
};
use fireclay_data::{Features, HostRows, Targets};
use fireclay_kernels::{
    Chain, ChosenRows, Epilogue, Part, RawFeatures, Rule, Smoothing, SparseMatrix, StepBatch,
    TrainedBag, TrainedLayer, TrainedParameter,
};

use crate::job::Job;
use crate::metrics::Observed;
use crate::optimizer::{KernelRule, Now, Optimizer};
use crate::state::State;

/// Why the steps of a run are made of separate operations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The loss is not the cross-entropy of classes.
    #[error("the loss is {0}")]
    Loss(&'static str),
    /// A hidden layer has another activation than relu.
    #[error("the activation is {0}")]
    Activation(Activation),
    /// The optimizer's step is no operation of the kernels.
    #[error("the optimizer is {0}")]
    Optimizer(&'static str),
    /// A hidden layer has a norm.
    #[error("there are norms")]
    Norms,
    /// Inputs or units are dropped.
    #[error("there is dropout")]
    Dropout,
    /// Columns pass a front stage other than bags of terms, or a learned scaling.
    #[error("there is a front stage")]
    Front,
    /// The network is an ensemble.
    #[error("there are members of an ensemble")]
    Members,
    /// Inputs of layers are divided.
    #[error("the parametrization is {0}")]
    Parametrization(Parametrization),
    /// A hidden layer has a parametric activation.
    #[error("there are parametric activations")]
    Parametric,
    /// A hidden layer has a skip connection.
    #[error("there are skip connections")]
    Skips,
    /// A layer has weights alone.
    #[error("a layer has no biases")]
    NoBiases,
    /// A step is made of several batches.
    #[error("gradients are accumulated")]
    Accumulation,
    /// The norm of the gradients is limited.
    #[error("gradients are clipped")]
    Clipping,
    /// The network has adapters.
    #[error("there are adapters")]
    Adapters,
    /// L2-SP is on.
    #[error("weights are pulled to their start")]
    Anchors,
    /// A teacher is distilled.
    #[error("there is a teacher")]
    Teacher,
    /// The backend has no such operation.
    #[error("the device has no fused step")]
    Device,
}

/// The layers of a state's network, and what its optimizer remembers of them, where they are
/// stepped.
pub(crate) struct Fused<'a> {
    chain: Chain,
    rule: Box<dyn KernelRule>,
    smoothing: Smoothing,
    /// The class of each row of the data.
    classes: &'a [u32],
    /// Whether the optimizer remembers nothing yet.
    is_first: bool,
    /// What the learning rate of each layer's bias and weight is multiplied by.
    rates: Vec<[f64; 2]>,
    /// The bags, in order.
    bags: Vec<FusedBag>,
}

/// A bag that is stepped with the layers.
struct FusedBag {
    /// Its place in the front stage.
    part: usize,
    /// The place of its first number among the inputs of the first layer.
    first: usize,
    epilogue: Epilogue,
    /// What the learning rate of its bias and weight is multiplied by.
    rates: [f64; 2],
}

impl<'a> Fused<'a> {
    /// # Errors
    ///
    /// Why the steps of such a run are made of separate operations.
    pub(crate) fn new(job: &'a Job<'a>, state: &State) -> Result<Self, Obstacle> {
        let (loss, classes) = loss_of_classes(job)?;
        check_network(state.mlp.architecture())?;
        let name = job.optimizer.name();
        let rule = job.optimizer.kernel().ok_or(Obstacle::Optimizer(name))?;
        check_training(job)?;
        let optimizer = &state.optimizer;
        let layers: Option<Vec<_>> = state
            .mlp
            .layers
            .iter()
            .enumerate()
            .map(|(i, layer)| {
                Some(TrainedLayer {
                    weight: trained(&layer.weight, weight(i), optimizer, true, rule.as_ref()),
                    bias: trained(layer.bias.as_ref()?, bias(i), optimizer, false, rule.as_ref()),
                    epilogue: state.mlp.epilogue(i),
                })
            })
            .collect();
        let bags = bags_of(state.mlp.architecture(), optimizer)?;
        let in_chain = bags.iter().map(|bag| bag.in_chain(state, rule.as_ref()));
        let in_chain: Option<Vec<_>> = in_chain.collect();
        let parts = layers.zip(in_chain);
        let chain = parts.and_then(|(layers, bags)| Chain::new(&layers, bags));
        let chain = chain.ok_or(Obstacle::Device)?;
        let rates = (0..state.mlp.layers.len())
            .map(|i| [optimizer.rate_of(&bias(i)), optimizer.rate_of(&weight(i))])
            .collect();
        let is_first = optimizer.memory().is_empty();
        Ok(Self { chain, rule, smoothing: loss.smoothing(), classes, is_first, rates, bags })
    }

    /// Takes the vectors of terms out of the state, so that each is changed where it lies and none is
    /// copied; [`settle`](Self::settle) puts them back.
    pub(crate) fn release(&self, state: &mut State) {
        for FusedBag { part, .. } in &self.bags {
            for parameter in [FrontParameter::Weight, FrontParameter::Bias] {
                state.optimizer.memory_mut().remove(&front(*part, parameter));
            }
            let Some(weight) = &mut state.mlp.front[*part].weight else { continue };
            *weight = weight.clone().map(|weight| Tensor::empty([0, 0], &weight.device()));
        }
    }

    /// One optimizer step on these rows, with the learning rate times `factor`; the state learns of
    /// it when it is [settled](Self::settle).
    pub(crate) fn step(
        &mut self,
        job: &Job<'_>,
        state: &mut State,
        rows: &[usize],
        factor: f64,
    ) -> Observed {
        let HostRows { features, width, terms, indices, .. } = job.rows.on_host(rows);
        let classes: Vec<usize> = indices.iter().map(|&row| self.classes[row] as usize).collect();
        let (mut gathered, places): (Vec<f32>, Vec<usize>);
        let augmented = job.augmented(rows, state.progress.epochs + 1);
        let (features, indices) = match (augmented, features) {
            (Some(augmented), _) => {
                gathered = augmented;
                places = (0..indices.len()).collect();
                (RawFeatures::Floats(&gathered), &places[..])
            }
            (None, Features::Bytes(bytes)) => (RawFeatures::Bytes(bytes), indices),
            (None, Features::Floats(floats)) => (RawFeatures::Floats(floats), indices),
            (None, Features::Blocks(blocks)) => {
                gathered = Vec::with_capacity(indices.len() * width);
                blocks.gather(indices, &mut gathered);
                places = (0..indices.len()).collect();
                (RawFeatures::Floats(&gathered), &places[..])
            }
        };
        let terms: Vec<SparseMatrix<'_>> = terms
            .iter()
            .map(|all| SparseMatrix {
                starts: all.starts(),
                places: all.places(),
                values: all.values(),
            })
            .collect();
        let scaling = scaling(job.preprocessing);
        let weights = job.weights_of(rows);
        let batch = StepBatch {
            rows: ChosenRows { features, width, indices, scaling },
            terms: &terms,
            classes: &classes,
            smoothing: &self.smoothing,
            weights: weights.as_deref(),
            divisor: job.weight(rows),
        };
        state.optimizer.count_step();
        let Self { chain, rule, rates, is_first, bags, .. } = self;
        let (step, decay) = (state.optimizer.steps(), state.optimizer.decay());
        let rule_of = |part: Part, is_weight: bool| -> Rule {
            let rates = match part {
                Part::Layer(layer) => &rates[layer],
                Part::Bag(bag) => &bags[bag].rates,
            };
            let factor = factor * rates[usize::from(is_weight)];
            let rule = rule.rule(is_weight, *is_first, Now { factor, step, decay });
            if is_weight && matches!(part, Part::Bag(_)) { rule.sparse() } else { rule }
        };
        let outcome = chain.step(rule_of, &batch);
        self.is_first = false;
        let ids: Vec<i32> = classes.into_iter().map(|class| class as i32).collect();
        let classes = Tensor::<1, Int>::from_data(TensorData::new(ids, [rows.len()]), job.device);
        let targets = TargetTensor::Classes(classes);
        let weights = job.row_weights(rows);
        Observed { weights, ..Observed::new(outcome.losses, outcome.logits, targets) }
    }

    /// Copies what the steps came to into the state; the vectors of terms are handed to it.
    pub(crate) fn settle(&self, state: &mut State) {
        let Mlp { layers, front: stage, .. } = &mut state.mlp;
        for (i, (layer, moved)) in layers.iter_mut().zip(self.chain.layers()).enumerate() {
            let Linear { weight: weights, bias: biases } = layer;
            replace(weights, moved.weight, weight(i), &mut state.optimizer);
            if let Some(biases) = biases {
                replace(biases, moved.bias, bias(i), &mut state.optimizer);
            }
        }
        for (FusedBag { part, .. }, moved) in self.bags.iter().zip(self.chain.bags()) {
            let [weights, biases] = [FrontParameter::Weight, FrontParameter::Bias];
            if let Some(weight) = &mut stage[*part].weight {
                replace(weight, moved.weight, front(*part, weights), &mut state.optimizer);
            }
            if let Some(bias) = &mut stage[*part].bias {
                let TrainedParameter { value, memory, rule } = moved.bias;
                let moved = TrainedParameter { value: value.unsqueeze::<2>(), memory, rule };
                replace(bias, moved, front(*part, biases), &mut state.optimizer);
            }
        }
    }
}

impl FusedBag {
    /// The bag with what the optimizer remembers of it; none if it is not whole.
    fn in_chain(&self, state: &State, rule: &dyn KernelRule) -> Option<TrainedBag> {
        let layer = state.mlp.front.get(self.part)?;
        let (weight, bias) = (layer.weight.as_ref()?, layer.bias.as_ref()?);
        let [weights, biases] = [FrontParameter::Weight, FrontParameter::Bias];
        let optimizer = &state.optimizer;
        let bias = trained(bias, front(self.part, biases), optimizer, false, rule);
        let TrainedParameter { value, memory, rule: of_bias } = bias;
        Some(TrainedBag {
            weight: trained(weight, front(self.part, weights), optimizer, true, rule),
            bias: TrainedParameter { value: value.squeeze_dim(0), memory, rule: of_bias },
            epilogue: self.epilogue,
            first: self.first,
        })
    }
}

/// The bags of a front stage that has nothing else but columns that it leaves as they are.
fn bags_of(network: &Architecture, optimizer: &Optimizer) -> Result<Vec<FusedBag>, Obstacle> {
    let (mut bags, mut first) = (Vec::new(), 0);
    for (part, kind) in network.front.iter().enumerate() {
        match *kind {
            FrontPart::Pass { .. } => {}
            FrontPart::Bag { activation, .. } => {
                let epilogue = match activation {
                    Activation::Relu => Epilogue::Relu,
                    Activation::Identity => Epilogue::None,
                    other => return Err(Obstacle::Activation(other)),
                };
                let rates = [FrontParameter::Bias, FrontParameter::Weight];
                let rates = rates.map(|parameter| optimizer.rate_of(&front(part, parameter)));
                bags.push(FusedBag { part, first, epilogue, rates });
            }
            _ => return Err(Obstacle::Front),
        }
        first += kind.width();
    }
    Ok(bags)
}

/// The cross-entropy of a run that has it, and the class of each row of its data.
fn loss_of_classes<'a>(job: &'a Job<'_>) -> Result<(&'a CrossEntropy, &'a [u32]), Obstacle> {
    match (job.loss, job.data().targets()) {
        (Loss::CrossEntropy(loss), Targets::Classes { ids, .. }) => Ok((loss, ids)),
        _ => Err(Obstacle::Loss(job.loss.name())),
    }
}

/// Checks that a network is a chain of dense layers.
fn check_network(network: &Architecture) -> Result<(), Obstacle> {
    let hidden = &network.hidden;
    let mut activations = hidden.iter().map(|layer| layer.activation);
    let other = activations.find(|a| !matches!(a, Activation::Relu | Activation::Identity));
    if let Some(other) = other {
        return Err(Obstacle::Activation(other));
    }
    let has_dropout = network.input_dropout > 0.0 || hidden.iter().any(|layer| layer.dropout > 0.0);
    let parametrization = network.parametrization;
    first_of([
        (network.scaling, Obstacle::Front),
        (network.ensemble.is_some(), Obstacle::Members),
        (parametrization != Parametrization::Standard, Obstacle::Parametrization(parametrization)),
        (hidden.iter().any(|layer| layer.parametric), Obstacle::Parametric),
        (hidden.iter().any(|layer| layer.norm != Norm::None), Obstacle::Norms),
        (has_dropout, Obstacle::Dropout),
        (hidden.iter().any(|layer| layer.skip.is_some()), Obstacle::Skips),
        (!(0..network.layers()).all(|i| network.has_bias(i)), Obstacle::NoBiases),
        (network.lora.is_some(), Obstacle::Adapters),
    ])
}

/// Checks that nothing happens to gradients between the loss and the update.
fn check_training(job: &Job<'_>) -> Result<(), Obstacle> {
    let tuning = job.tuned.map(|tuned| tuned.tuning);
    first_of([
        (job.training.accumulate > 1, Obstacle::Accumulation),
        (job.training.clip_norm.is_some(), Obstacle::Clipping),
        (tuning.is_some_and(|t| t.l2_sp > 0.0), Obstacle::Anchors),
        (tuning.is_some_and(|t| t.distillation.is_some()), Obstacle::Teacher),
    ])
}

/// The first obstacle that exists, as an error.
fn first_of<const N: usize>(obstacles: [(bool, Obstacle); N]) -> Result<(), Obstacle> {
    match obstacles.into_iter().find(|(exists, _)| *exists) {
        Some((_, obstacle)) => Err(obstacle),
        None => Ok(()),
    }
}

fn weight(layer: usize) -> String {
    ParameterPath::Weight(layer).to_string()
}

fn bias(layer: usize) -> String {
    ParameterPath::Bias(layer).to_string()
}

fn front(part: usize, parameter: FrontParameter) -> String {
    ParameterPath::Front(part, parameter).to_string()
}

fn trained<const D: usize>(
    parameter: &Param<Tensor<D>>,
    path: String,
    optimizer: &Optimizer,
    is_weight: bool,
    rule: &dyn KernelRule,
) -> TrainedParameter<D> {
    let value = parameter.val();
    let memory = optimizer.memory().get(&path).cloned().unwrap_or_default();
    // What a chain is made with says which rule it is; the rule of each step has its numbers.
    let now = Now { factor: 1.0, step: optimizer.steps(), decay: 1.0 };
    let rule = value.is_require_grad().then(|| rule.rule(is_weight, memory.is_empty(), now));
    TrainedParameter { value: value.without_autodiff(), memory, rule }
}

fn replace<const D: usize>(
    parameter: &mut Param<Tensor<D>>,
    moved: TrainedParameter<D>,
    path: String,
    optimizer: &mut Optimizer,
) {
    if moved.rule.is_some() {
        let value = moved.value.autodiff().require_grad();
        *parameter = parameter.clone().map(|_| value);
        optimizer.memory_mut().insert(path, moved.memory);
    }
}
