//! The network.

mod parameters;

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use fireclay_kernels::{Epilogue, dense};
use fireclay_model::initial_values;

use crate::activation::{activate, leaky_relu};
use crate::dropout::{Dropout, DropoutKey};
use crate::ensemble;
use crate::front::{FrontLayer, MemberScales, Scales, TouchedRows};
use crate::input::batch_of;
use crate::norm::NormLayer;
use crate::{
    Activation, AdapterSide, Architecture, ConfigError, Ensemble, FrontPart, HiddenLayer, Lora,
    LowRank, MlpConfig, NetworkInput, NormPart, NormPosition, ParameterPath, Parametrization,
    SkipPosition,
};

use self::parameters::build_adapters;
pub use self::parameters::{ParameterSource, unreadable};

/// A multilayer perceptron on a device; made by [`Mlp::init`] or read from a model file.
///
/// Its parameters are addressed by path, in files and messages alike: `layers.0.weight`,
/// `layers.0.bias`, `norms.0.weight`, `norms.0.bias`, `norms.0.running_mean`, `norms.0.running_var`,
/// `adapters.0.a` and `adapters.0.b` for the adapter of layer 0, `activations.0.weight`,
/// `front.0.weight`, `front.0.bias`, `front.0.frequency` and `front.0.phase`, `scaling.weight` and
/// `members.weight`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Linear layers from input to output; weights are `[inputs, outputs]`.
    pub layers: Vec<Linear>,
    /// An entry per hidden layer.
    pub norms: Vec<Option<NormLayer>>,
    /// An entry per linear layer.
    pub adapters: Vec<Option<LowRank>>,
    /// The shares of parametric activations; an entry per hidden layer.
    pub activations: Vec<Option<Scales>>,
    /// The parts of the front stage.
    pub front: Vec<FrontLayer>,
    /// A factor of each input of the first layer.
    pub scaling: Option<Scales>,
    /// The same for each member of an ensemble.
    pub members: Option<MemberScales>,
    #[module(skip)]
    architecture: Architecture,
    /// True if batch norms keep their running statistics as they are, and use them, in training
    /// too.
    #[module(skip)]
    keeps_statistics: bool,
    /// Paths that are not trained.
    #[module(skip)]
    frozen: BTreeSet<ParameterPath>,
    /// The vectors of terms that the last batch of training differentiates by.
    #[module(skip)]
    touched: Vec<TouchedRows>,
}

impl Mlp {
    /// Builds a network with initial weights drawn from `seed`: the same bits on every device.
    ///
    /// # Errors
    ///
    /// As [`MlpConfig::architecture`], and [`ConfigError::NoMemory`].
    pub fn init(config: &MlpConfig, seed: u64, device: &Device) -> Result<Self, ConfigError> {
        Self::of(&config.architecture()?, seed, device)
    }

    /// As [`init`](Self::init), of a network that is described layer by layer.
    ///
    /// # Errors
    ///
    /// As [`Architecture::validate`], and [`ConfigError::NoMemory`].
    pub fn of(network: &Architecture, seed: u64, device: &Device) -> Result<Self, ConfigError> {
        network.validate()?;
        network.check_memory()?;
        Self::build(network, device, &mut |path, _| Ok(initial_values(network, seed, path)))
    }

    /// The network, layer by layer.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Takes the network out and leaves one without layers, so that nothing else holds its tensors
    /// while they change.
    pub fn take(&mut self) -> Self {
        Self {
            layers: std::mem::take(&mut self.layers),
            norms: std::mem::take(&mut self.norms),
            adapters: std::mem::take(&mut self.adapters),
            activations: std::mem::take(&mut self.activations),
            front: std::mem::take(&mut self.front),
            scaling: self.scaling.take(),
            members: self.members.take(),
            architecture: self.architecture.clone(),
            keeps_statistics: self.keeps_statistics,
            frozen: self.frozen.clone(),
            touched: std::mem::take(&mut self.touched),
        }
    }

    /// The vectors of terms by which the last batch of training is differentiated, of each bag that is
    /// trained, in place of those of all terms.
    pub fn touched(&self) -> &[TouchedRows] {
        &self.touched
    }

    /// Freezes every parameter but those whose path `is_trained` says yes to.
    ///
    /// A layer without a trained parameter also has no dropout in training, and a norm without one
    /// keeps its running statistics, as all norms do if `keeps_statistics`.
    pub fn train_only(self, is_trained: impl Fn(&str) -> bool, keeps_statistics: bool) -> Self {
        let mut freeze = Freeze { is_trained, path: Vec::new(), frozen: BTreeSet::new() };
        let mlp = self.map(&mut freeze);
        Self { keeps_statistics, frozen: freeze.frozen, ..mlp }
    }

    /// Returns true if any parameter of layer `i`, its norm or its adapter is trained.
    fn is_trained(&self, i: usize) -> bool {
        !self.is_frozen(ParameterPath::Weight(i))
            || self.architecture.has_bias(i) && !self.is_frozen(ParameterPath::Bias(i))
            || self.adapter(i).is_some()
                && [AdapterSide::A, AdapterSide::B]
                    .into_iter()
                    .any(|side| !self.is_frozen(ParameterPath::Adapter(i, side)))
            || self.norm(i).is_some() && self.is_norm_trained(i)
            || self.shares(i).is_some() && !self.is_frozen(ParameterPath::Activation(i))
    }

    fn is_norm_trained(&self, i: usize) -> bool {
        let mut parts = [NormPart::Weight, NormPart::Bias].into_iter();
        parts.any(|part| !self.is_frozen(ParameterPath::Norm(i, part)))
    }

    fn is_frozen(&self, path: ParameterPath) -> bool {
        self.frozen.contains(&path)
    }

    /// The same network with fresh adapters, which change nothing until they are trained.
    ///
    /// # Errors
    ///
    /// Adapters that the network cannot have.
    pub fn with_adapters(self, lora: Lora, seed: u64) -> Result<Self, ConfigError> {
        let architecture = Architecture { lora: Some(lora), ..self.architecture.clone() };
        architecture.validate()?;
        architecture.check_memory()?;
        let device = self.layers[0].weight.val().device();
        let adapters = build_adapters(&architecture, &device, &mut |path, _| {
            Ok::<_, ConfigError>(initial_values(&architecture, seed, path))
        })?;
        Ok(Self { adapters, architecture, ..self })
    }

    /// The network without its adapters: the base that they were trained on, bit for bit.
    pub fn without_adapters(self) -> Self {
        let architecture = Architecture { lora: None, ..self.architecture.clone() };
        let adapters = self.layers.iter().map(|_| None).collect();
        Self { adapters, architecture, ..self }
    }

    /// The network with its adapters added into the weights, `W + s A B`, equal but for rounding.
    pub fn merged(mut self) -> Self {
        let scale = self.adapter_scale();
        for (layer, adapter) in self.layers.iter_mut().zip(&self.adapters) {
            if let Some(adapter) = adapter {
                let delta = adapter.a.val().matmul(adapter.b.val()).mul_scalar(scale);
                layer.weight = layer.weight.clone().map(|weight| weight + delta);
            }
        }
        self.without_adapters()
    }

    fn adapter(&self, i: usize) -> Option<&LowRank> {
        self.adapters.get(i)?.as_ref()
    }

    fn norm(&self, i: usize) -> Option<&NormLayer> {
        self.norms.get(i)?.as_ref()
    }

    /// The shares of a parametric activation.
    fn shares(&self, i: usize) -> Option<&Scales> {
        self.activations.get(i)?.as_ref()
    }

    fn adapter_scale(&self) -> f64 {
        self.architecture.lora.as_ref().map_or(0.0, Lora::scale)
    }

    /// Logits or values for inference: no dropout, and batch norms use their running statistics.
    ///
    /// `[batch, inputs] → [batch, outputs]`, with the terms of each text.
    ///
    /// # Panics
    ///
    /// If there are not as many columns as the network takes, or not as many texts as it has bags.
    pub fn forward(&self, input: impl Into<NetworkInput>) -> Tensor<2> {
        self.averaged(self.forward_members(input))
    }

    /// As [`forward`](Self::forward), of an ensemble those of each member, one after the other:
    /// `[batch · members, outputs]`.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_members(&self, input: impl Into<NetworkInput>) -> Tensor<2> {
        let starts = self.architecture.skip_starts();
        let mut read = Vec::with_capacity(starts.len());
        let mut x = self.enter(input.into(), None);
        for (i, layer) in self.architecture.hidden.iter().enumerate() {
            read.push(starts[i].then(|| x.clone()));
            let normalise = |y, position| self.normalise(i, y, layer.has_norm_at(position));
            x = normalise(x, NormPosition::Input);
            let mut y = self.layer(i, x.clone(), x);
            y = self.skip(i, &read, y, SkipPosition::BeforeNorm);
            y = normalise(y, NormPosition::BeforeActivation);
            y = self.skip(i, &read, y, SkipPosition::BeforeActivation);
            y = self.activate(i, y);
            y = normalise(y, NormPosition::AfterActivation);
            x = self.skip(i, &read, y, SkipPosition::Output);
        }
        self.output(x.clone(), x)
    }

    /// Logits or values for a training step: dropout drawn from `key`, batch norms use the
    /// statistics of this batch and move their running ones towards them.
    ///
    /// `[batch, inputs] → [batch, outputs]`; of an ensemble those of each member, one after the other:
    /// `[batch · members, outputs]`.
    ///
    /// A bag is differentiated by the vectors of terms that the batch has, see [`touched`](Self::touched).
    ///
    /// # Panics
    ///
    /// As for [`forward`](Self::forward).
    pub fn forward_train(&mut self, input: impl Into<NetworkInput>, key: DropoutKey) -> Tensor<2> {
        self.forward_train_with(input, key, 1.0)
    }

    /// As [`forward_train`](Self::forward_train), with all dropout rates times `factor`.
    pub fn forward_train_with(
        &mut self,
        input: impl Into<NetworkInput>,
        key: DropoutKey,
        factor: f64,
    ) -> Tensor<2> {
        let mut noise = Dropout::new(key, factor);
        let starts = self.architecture.skip_starts();
        let mut read = Vec::with_capacity(starts.len());
        let mut touched = Vec::new();
        let mut x = self.enter(input.into(), Some(&mut touched));
        self.touched = touched;
        if self.is_trained(0) {
            x = noise.apply(x, self.architecture.input_dropout);
        }
        for (i, is_start) in starts.into_iter().enumerate() {
            read.push(is_start.then(|| x.clone()));
            x = self.normalise_train(i, x, NormPosition::Input);
            let mut y = self.layer(i, x.clone(), self.adapter_input(i, x, &mut noise));
            y = self.skip(i, &read, y, SkipPosition::BeforeNorm);
            y = self.normalise_train(i, y, NormPosition::BeforeActivation);
            y = self.skip(i, &read, y, SkipPosition::BeforeActivation);
            y = self.activate(i, y);
            y = self.normalise_train(i, y, NormPosition::AfterActivation);
            if self.is_trained(i) {
                y = noise.apply(y, self.architecture.hidden[i].dropout);
            }
            x = self.skip(i, &read, y, SkipPosition::Output);
        }
        let adapter_input = self.adapter_input(self.layers.len() - 1, x.clone(), &mut noise);
        self.output(x, adapter_input)
    }

    /// Outputs of all members of an ensemble to those of the whole, `[batch · members, outputs] →
    /// [batch, outputs]`; of any other network as they are.
    pub fn averaged(&self, outputs: Tensor<2>) -> Tensor<2> {
        match self.architecture.ensemble {
            Some(Ensemble { members, average }) => ensemble::averaged(average, outputs, members),
            None => outputs,
        }
    }

    /// What the first layer reads: the front stage of a row, scaled, and for each member of an ensemble
    /// once more.
    fn enter(&self, input: NetworkInput, touched: Option<&mut Vec<TouchedRows>>) -> Tensor<2> {
        let mut x = self.embed(input, touched);
        if let Some(Scales { weight }) = &self.scaling {
            x = x * weight.val().unsqueeze::<2>();
        }
        match &self.members {
            Some(MemberScales { weight }) => ensemble::scaled(x, weight.val()),
            None => x,
        }
    }

    /// The front stage.
    fn embed(&self, input: NetworkInput, mut touched: Option<&mut Vec<TouchedRows>>) -> Tensor<2> {
        let NetworkInput { columns: input, terms } = input;
        if self.front.is_empty() {
            return input;
        }
        let [batch, _] = input.dims();
        let (mut first, mut terms) = (0, terms.iter());
        let mut parts = Vec::with_capacity(self.front.len());
        for (i, (layer, part)) in self.front.iter().zip(&self.architecture.front).enumerate() {
            if let FrontPart::Bag { activation, .. } = *part {
                let rows = terms.next().map(batch_of);
                let touched = touched.as_deref_mut();
                parts.extend(rows.and_then(|rows| layer.bag(i, activation, rows, touched)));
            } else {
                let columns = first..first + part.columns();
                first = columns.end;
                parts.push(layer.forward(part, input.clone().slice([0..batch, columns])));
            }
        }
        Tensor::cat(parts, 1)
    }

    /// The output layer; that of an ensemble has a part for each member.
    fn output(&self, x: Tensor<2>, adapter_input: Tensor<2>) -> Tensor<2> {
        let i = self.layers.len() - 1;
        let Some(Ensemble { members, .. }) = self.architecture.ensemble else {
            return self.layer(i, x, adapter_input);
        };
        let mut y = ensemble::product(self.divided(i, x), self.layers[i].weight.val(), members);
        if let Some(LowRank { a, b }) = self.adapter(i) {
            let low = self.divided(i, adapter_input).matmul(a.val());
            y = y + ensemble::product(low, b.val(), members).mul_scalar(self.adapter_scale());
        }
        match &self.layers[i].bias {
            Some(bias) => ensemble::biased(y, bias.val(), members),
            None => y,
        }
    }

    /// Inputs of linear layer `i` as its parametrization divides them.
    fn divided(&self, i: usize, x: Tensor<2>) -> Tensor<2> {
        match self.architecture.parametrization {
            Parametrization::Standard => x,
            Parametrization::Ntk => x.mul_scalar(self.architecture.input_factor(i)),
        }
    }

    /// Returns the input of a layer's adapter in training.
    fn adapter_input(&self, i: usize, x: Tensor<2>, noise: &mut Dropout) -> Tensor<2> {
        match self.architecture.adapter(i) {
            Some(lora) => noise.apply(x, lora.dropout),
            None => x,
        }
    }

    /// A linear layer, with its activation where the two make one operation, and its adapter.
    fn layer(&self, i: usize, x: Tensor<2>, adapter_input: Tensor<2>) -> Tensor<2> {
        let weight = self.layers[i].weight.val();
        let [_, outputs] = weight.dims();
        let bias = self.layers[i].bias.as_ref();
        let bias =
            bias.map_or_else(|| Tensor::zeros([outputs], (&x.device(), x.dtype())), Param::val);
        let y = dense(self.divided(i, x), weight, bias, self.epilogue(i));
        match self.adapter(i) {
            Some(adapter) => {
                let low = adapter.forward(self.divided(i, adapter_input));
                y + low.mul_scalar(self.adapter_scale())
            }
            None => y,
        }
    }

    /// Normalises for inference, if `is_here`.
    fn normalise(&self, i: usize, y: Tensor<2>, is_here: bool) -> Tensor<2> {
        match self.norm(i) {
            Some(norm) if is_here => norm.forward(y),
            _ => y,
        }
    }

    /// Normalises for training, if the norm of hidden layer `i` is here.
    fn normalise_train(&mut self, i: usize, y: Tensor<2>, position: NormPosition) -> Tensor<2> {
        if !self.architecture.hidden[i].has_norm_at(position) {
            return y;
        }
        let moves = self.is_norm_trained(i) && !self.keeps_statistics;
        match self.norms.get_mut(i) {
            Some(Some(norm)) if moves => norm.forward_train(y),
            Some(Some(norm)) => norm.forward(y),
            _ => y,
        }
    }

    /// The activation, unless the layer has applied it.
    fn activate(&self, i: usize, y: Tensor<2>) -> Tensor<2> {
        if self.epilogue(i) == Epilogue::Relu {
            return y;
        }
        let HiddenLayer { activation, leaky_slope, .. } = self.architecture.hidden[i];
        let linear = y.clone();
        let y = match activation {
            Activation::LeakyRelu => leaky_relu(y, leaky_slope),
            activation => activate(activation, y),
        };
        match self.shares(i) {
            Some(Scales { weight }) => {
                linear.clone() + (y - linear) * weight.val().unsqueeze::<2>()
            }
            None => y,
        }
    }

    /// Returns the function of layer `i` after its affine map, in the same operation.
    pub fn epilogue(&self, i: usize) -> Epilogue {
        let Some(layer) = self.architecture.hidden.get(i) else { return Epilogue::None };
        let is_next = !layer.has_norm_at(NormPosition::BeforeActivation)
            && layer.skip.is_none_or(|skip| skip.position == SkipPosition::Output)
            && self.adapter(i).is_none()
            && !layer.parametric;
        if layer.activation == Activation::Relu && is_next {
            Epilogue::Relu
        } else {
            Epilogue::None
        }
    }

    /// Adds what an earlier layer read, if hidden layer `i` has a skip connection here.
    fn skip(
        &self,
        i: usize,
        read: &[Option<Tensor<2>>],
        y: Tensor<2>,
        position: SkipPosition,
    ) -> Tensor<2> {
        let span = self.architecture.hidden[i].skips_at(position);
        match span.and_then(|span| read[i + 1 - span].as_ref()) {
            Some(read) => read.clone() + y,
            None => y,
        }
    }
}

/// Marks the parameters that are trained.
struct Freeze<F> {
    is_trained: F,
    path: Vec<String>,
    frozen: BTreeSet<ParameterPath>,
}

impl<F: Fn(&str) -> bool> ModuleMapper for Freeze<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let Ok(path) = name.parse::<ParameterPath>() else { return param };
        if !path.is_trainable() {
            return param;
        }
        let is_trained = (self.is_trained)(&name);
        if !is_trained {
            self.frozen.insert(path);
        }
        param.set_require_grad(is_trained)
    }
}
