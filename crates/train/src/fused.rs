//! Steps that are one operation: forward, backward and update in the same few phases.
//!
//! The general way to a step, by Burn's differentiation, serves every network. That of most is a
//! chain of dense layers, and for such a chain on the CPU `fireclay-kernels` has the whole step.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor, TensorData};
use fireclay::{Activation, Loss, Mlp, Norm, Targets};
use fireclay_data::{Features as HostFeatures, Targets as HostTargets};
use fireclay_kernels::{
    self as kernels, Batch, Features, Rows, Smoothing, TrainedLayer, TrainedParameter, Workspace,
};

use crate::fit::Job;
use crate::metrics::Observed;
use crate::optimizer::{Optimizer, OptimizerConfig};
use crate::state::State;

/// What fused steps keep from one to the next.
pub(crate) struct Fused {
    smoothing: Smoothing,
    space: Workspace,
}

impl Fused {
    /// # Errors
    ///
    /// Why the steps of such a run are made of separate operations.
    pub(crate) fn new(job: &Job<'_>, mlp: &Mlp) -> Result<Self, String> {
        let config = mlp.config();
        if !kernels::is_fast_on(job.device) {
            return Err("the backend has no fused step".to_owned());
        }
        let Loss::CrossEntropy(loss) = job.loss else {
            return Err(format!("the loss is {}", job.loss.name()));
        };
        if !matches!(config.activation, Activation::Relu | Activation::Identity) {
            return Err(format!("the activation is {}", config.activation));
        }
        let is_served = matches!(
            job.optimizer,
            OptimizerConfig::Sgd(_) | OptimizerConfig::Adam(_) | OptimizerConfig::AdamW(_)
        );
        if !is_served {
            return Err(format!("the optimizer is {}", job.optimizer.name()));
        }
        let training = job.training;
        let obstacles = [
            (config.norm != Norm::None, "there are norms"),
            (config.dropout > 0.0 || config.input_dropout > 0.0, "there is dropout"),
            (config.residual, "there are residual connections"),
            (training.accumulate > 1, "gradients are accumulated"),
            (training.clip_norm.is_some(), "gradients are clipped"),
        ];
        match obstacles.into_iter().find(|(is_there, _)| *is_there) {
            Some((_, why)) => Err(why.to_owned()),
            None => Ok(Self { smoothing: loss.smoothing(), space: Workspace::default() }),
        }
    }

    /// One optimizer step on these rows, with the learning rate times `factor`.
    pub(crate) fn step(
        &mut self,
        job: &Job<'_>,
        state: &mut State,
        rows: &[usize],
        factor: f64,
    ) -> Observed {
        let HostTargets::Classes { ids, .. } = job.data.targets() else {
            unreachable!("cross-entropy takes classes")
        };
        let classes: Vec<usize> = rows.iter().map(|&row| ids[row] as usize).collect();
        let features = match job.data.features() {
            HostFeatures::Bytes(bytes) => Features::Bytes(bytes),
            HostFeatures::Floats(floats) => Features::Floats(floats),
        };
        let scaling = job.preprocessing.scaling();
        let batch = Batch {
            rows: Rows { features, width: job.data.width(), indices: rows, scaling },
            classes: &classes,
            smoothing: &self.smoothing,
            divisor: job.weight(rows),
        };
        state.optimizer.count_step();
        let (layers, keys) = taken(&mut state.mlp, &mut state.optimizer, factor);
        let (layers, outcome) = kernels::train_step(layers, &batch, &mut self.space);
        put_back(&mut state.mlp, &mut state.optimizer, layers, keys);
        let ids: Vec<i32> = classes.into_iter().map(|class| class as i32).collect();
        let classes = Tensor::<1, Int>::from_data(TensorData::new(ids, [rows.len()]), job.device);
        let targets = Targets::Classes(classes);
        Observed { losses: outcome.losses, outputs: outcome.logits, targets }
    }
}

/// A parameter without its tensor.
struct Key<const D: usize> {
    path: String,
    /// Makes it a parameter again.
    with: Box<dyn FnOnce(Tensor<D>) -> Param<Tensor<D>>>,
}

type Keys = Vec<(Key<2>, Key<1>)>;

/// Takes the layers out of a network, with what the optimizer remembers of them.
fn taken(mlp: &mut Mlp, optimizer: &mut Optimizer, factor: f64) -> (Vec<TrainedLayer>, Keys) {
    let epilogues: Vec<_> = (0..mlp.layers.len()).map(|i| mlp.epilogue(i)).collect();
    let layers = mlp.layers.drain(..).zip(epilogues).enumerate();
    layers
        .map(|(i, (Linear { weight, bias }, epilogue))| {
            let bias = bias.unwrap_or_else(|| unreachable!("a layer of a network has a bias"));
            let (weight, weight_key) =
                parameter(weight, format!("layers.{i}.weight"), optimizer, factor);
            let (bias, bias_key) = parameter(bias, format!("layers.{i}.bias"), optimizer, factor);
            (TrainedLayer { weight, bias, epilogue }, (weight_key, bias_key))
        })
        .unzip()
}

fn parameter<const D: usize>(
    parameter: Param<Tensor<D>>,
    path: String,
    optimizer: &mut Optimizer,
    factor: f64,
) -> (TrainedParameter<D>, Key<D>) {
    let (id, tensor, mapper) = parameter.consume();
    let is_trained = tensor.is_require_grad();
    let memory = optimizer.memory_mut().remove(&path).unwrap_or_default();
    let rule = optimizer.rule(D == 2, memory.is_empty(), factor).filter(|_| is_trained);
    let with = Box::new(move |tensor: Tensor<D>| {
        let tensor = tensor.autodiff().set_require_grad(is_trained);
        Param::from_mapped_value(id, tensor, mapper)
    });
    (TrainedParameter { value: tensor.without_autodiff(), memory, rule }, Key { path, with })
}

fn put_back(mlp: &mut Mlp, optimizer: &mut Optimizer, layers: Vec<TrainedLayer>, keys: Keys) {
    fn whole<const D: usize>(
        TrainedParameter { value, memory, rule }: TrainedParameter<D>,
        key: Key<D>,
        optimizer: &mut Optimizer,
    ) -> Param<Tensor<D>> {
        if rule.is_some() {
            optimizer.memory_mut().insert(key.path, memory);
        }
        (key.with)(value)
    }
    mlp.layers.extend(layers.into_iter().zip(keys).map(|(layer, (weight, bias))| Linear {
        weight: whole(layer.weight, weight, optimizer),
        bias: Some(whole(layer.bias, bias, optimizer)),
    }));
}
