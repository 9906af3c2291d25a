//! Steps that are one operation: forward, backward and update in the same few phases.
//!
//! The general way to a step, by Burn's differentiation, serves every network. That of most is a
//! chain of dense layers, and for such a chain on the CPU `fireclay-kernels` has the whole step.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor, TensorData};
use fireclay::{Activation, Architecture, Loss, Mlp, Norm, Targets, scaling};
use fireclay_data::{Features, HostRows, Targets as HostTargets};
use fireclay_kernels::{
    Chain, ChosenRows, RawFeatures, Smoothing, StepBatch, TrainedLayer, TrainedParameter,
};

use crate::job::Job;
use crate::metrics::Observed;
use crate::optimizer::{Optimizer, OptimizerConfig};
use crate::state::State;

/// The layers of a state's network, and what its optimizer remembers of them, where they are
/// stepped.
pub(crate) struct Fused {
    chain: Chain,
    smoothing: Smoothing,
    /// Whether the optimizer remembers nothing yet.
    is_first: bool,
    /// What the learning rate of each layer's bias and weight is multiplied by.
    rates: Vec<[f64; 2]>,
}

impl Fused {
    /// # Errors
    ///
    /// Why the steps of such a run are made of separate operations.
    pub(crate) fn new(job: &Job<'_>, state: &State) -> Result<Self, String> {
        let smoothing = smoothing(job, state.mlp.architecture())?;
        let is_first = state.optimizer.memory().is_empty();
        let layers: Option<Vec<_>> = state
            .mlp
            .layers
            .iter()
            .enumerate()
            .map(|(i, layer)| {
                Some(TrainedLayer {
                    weight: trained(&layer.weight, path(i, true), &state.optimizer)?,
                    bias: trained(layer.bias.as_ref()?, path(i, false), &state.optimizer)?,
                    epilogue: state.mlp.epilogue(i),
                })
            })
            .collect();
        let chain = layers.and_then(|layers| Chain::new(&layers));
        let chain = chain.ok_or_else(|| "the device has no fused step".to_owned())?;
        let rate = |i, is_weight| state.optimizer.rate_of(&path(i, is_weight));
        let rates = (0..state.mlp.layers.len()).map(|i| [rate(i, false), rate(i, true)]).collect();
        Ok(Self { chain, smoothing, is_first, rates })
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
        let HostRows { features, width, targets, indices } = job.rows.on_host(rows);
        let HostTargets::Classes { ids, .. } = targets else {
            unreachable!("cross-entropy takes classes")
        };
        let classes: Vec<usize> = indices.iter().map(|&row| ids[row] as usize).collect();
        let features = match features {
            Features::Bytes(bytes) => RawFeatures::Bytes(bytes),
            Features::Floats(floats) => RawFeatures::Floats(floats),
        };
        let scaling = scaling(job.preprocessing);
        let batch = StepBatch {
            rows: ChosenRows { features, width, indices, scaling },
            classes: &classes,
            smoothing: &self.smoothing,
            divisor: job.weight(rows),
        };
        state.optimizer.count_step();
        let Self { chain, rates, is_first, .. } = self;
        let rule = |layer: usize, is_weight| {
            let rate = factor * rates[layer][usize::from(is_weight)];
            let rule = state.optimizer.rule(is_weight, *is_first, rate);
            rule.unwrap_or_else(|| unreachable!("the optimizer has been looked at"))
        };
        let outcome = chain.step(rule, &batch);
        self.is_first = false;
        let ids: Vec<i32> = classes.into_iter().map(|class| class as i32).collect();
        let classes = Tensor::<1, Int>::from_data(TensorData::new(ids, [rows.len()]), job.device);
        let targets = Targets::Classes(classes);
        Observed { losses: outcome.losses, outputs: outcome.logits, targets }
    }

    /// Copies what the steps came to into the state.
    pub(crate) fn settle(&self, state: &mut State) {
        let Mlp { layers, .. } = &mut state.mlp;
        for (i, (layer, moved)) in layers.iter_mut().zip(self.chain.layers()).enumerate() {
            let Linear { weight, bias } = layer;
            replace(weight, moved.weight, path(i, true), &mut state.optimizer);
            if let Some(bias) = bias {
                replace(bias, moved.bias, path(i, false), &mut state.optimizer);
            }
        }
    }
}

/// The loss of a run whose steps can be one operation.
fn smoothing(job: &Job<'_>, network: &Architecture) -> Result<Smoothing, String> {
    let Loss::CrossEntropy(loss) = job.loss else {
        return Err(format!("the loss is {}", job.loss.name()));
    };
    let is_other = |a: &Activation| !matches!(a, Activation::Relu | Activation::Identity);
    if let Some(other) = network.hidden.iter().map(|layer| layer.activation).find(is_other) {
        return Err(format!("the activation is {other}"));
    }
    let is_served = matches!(
        job.optimizer,
        OptimizerConfig::Sgd(_) | OptimizerConfig::Adam(_) | OptimizerConfig::AdamW(_)
    );
    if !is_served {
        return Err(format!("the optimizer is {}", job.optimizer.name()));
    }
    let training = job.training;
    let tuning = job.tuned.map(|tuned| tuned.tuning);
    let hidden = &network.hidden;
    let has_dropout = network.input_dropout > 0.0 || hidden.iter().any(|layer| layer.dropout > 0.0);
    let obstacles = [
        (hidden.iter().any(|layer| layer.norm != Norm::None), "there are norms"),
        (has_dropout, "there is dropout"),
        (hidden.iter().any(|layer| layer.skip.is_some()), "there are skip connections"),
        (!(0..network.layers()).all(|i| network.has_bias(i)), "a layer has no biases"),
        (training.accumulate > 1, "gradients are accumulated"),
        (training.clip_norm.is_some(), "gradients are clipped"),
        (network.lora.is_some(), "there are adapters"),
        (tuning.is_some_and(|t| t.l2_sp > 0.0), "weights are pulled to their start"),
        (tuning.is_some_and(|t| t.distillation.is_some()), "there is a teacher"),
    ];
    match obstacles.into_iter().find(|(is_there, _)| *is_there) {
        Some((_, why)) => Err(why.to_owned()),
        None => Ok(loss.smoothing()),
    }
}

fn path(layer: usize, is_weight: bool) -> String {
    format!("layers.{layer}.{}", if is_weight { "weight" } else { "bias" })
}

/// `None` if the optimizer's rule is not one of the kernels'.
fn trained<const D: usize>(
    parameter: &Param<Tensor<D>>,
    path: String,
    optimizer: &Optimizer,
) -> Option<TrainedParameter<D>> {
    let value = parameter.val();
    let memory = optimizer.memory().get(&path).cloned().unwrap_or_default();
    let rule = optimizer.rule(D == 2, memory.is_empty(), 1.0)?;
    let rule = value.is_require_grad().then_some(rule);
    Some(TrainedParameter { value: value.without_autodiff(), memory, rule })
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
