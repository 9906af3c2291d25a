//! The network.

use std::borrow::Cow;
use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use fireclay_kernels::{Epilogue, dense};
use fireclay_model::model_file::{Dtype, LazyTensor, Piece, give_values};
use fireclay_model::{initial_values, transpose};

use crate::activation::{activate, leaky_relu};
use crate::dropout::{Dropout, DropoutKey};
use crate::norm::NormLayer;
use crate::parameter::parameter;
use crate::{
    Activation, AdapterSide, Architecture, ConfigError, HiddenLayer, Lora, LowRank, MlpConfig,
    ModelFileProblem, NamedTensor, NormPart, NormPosition, ParameterPath, SkipPosition,
};

/// A multilayer perceptron on a device; made by [`Mlp::init`] or read from a model file.
///
/// Its parameters are addressed by path, in files and messages alike: `layers.0.weight`,
/// `layers.0.bias`, `norms.0.weight`, `norms.0.bias`, `norms.0.running_mean`, `norms.0.running_var`,
/// and `adapters.0.a` and `adapters.0.b` for the adapter of layer 0.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Linear layers from input to output; weights are `[inputs, outputs]`.
    pub layers: Vec<Linear>,
    /// An entry per hidden layer.
    pub norms: Vec<Option<NormLayer>>,
    /// An entry per linear layer.
    pub adapters: Vec<Option<LowRank>>,
    #[module(skip)]
    architecture: Architecture,
    /// True if batch norms keep their running statistics as they are, and use them, in training
    /// too.
    #[module(skip)]
    keeps_statistics: bool,
    /// Paths that are not trained.
    #[module(skip)]
    frozen: BTreeSet<ParameterPath>,
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
        let Self { layers, norms, adapters, architecture, keeps_statistics, frozen } = self;
        Self {
            layers: std::mem::take(layers),
            norms: std::mem::take(norms),
            adapters: std::mem::take(adapters),
            architecture: architecture.clone(),
            keeps_statistics: *keeps_statistics,
            frozen: frozen.clone(),
        }
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

    fn adapter_scale(&self) -> f64 {
        self.architecture.lora.as_ref().map_or(0.0, Lora::scale)
    }

    /// Logits or values for inference: no dropout, and batch norms use their running statistics.
    ///
    /// `[batch, inputs] → [batch, outputs]`.
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let starts = self.architecture.skip_starts();
        let mut read = Vec::with_capacity(starts.len());
        let mut x = input;
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
        self.layer(self.layers.len() - 1, x.clone(), x)
    }

    /// Logits or values for a training step: dropout drawn from `key`, batch norms use the
    /// statistics of this batch and move their running ones towards them.
    ///
    /// `[batch, inputs] → [batch, outputs]`.
    pub fn forward_train(&mut self, input: Tensor<2>, key: DropoutKey) -> Tensor<2> {
        let mut noise = Dropout::new(key);
        let starts = self.architecture.skip_starts();
        let mut read = Vec::with_capacity(starts.len());
        let mut x = input;
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
        let output = self.layers.len() - 1;
        self.layer(output, x.clone(), self.adapter_input(output, x, &mut noise))
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
        let y = dense(x, weight, bias, self.epilogue(i));
        match self.adapter(i) {
            Some(adapter) => y + adapter.forward(adapter_input).mul_scalar(self.adapter_scale()),
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
        let HiddenLayer { activation, leaky_slope, .. } = self.architecture.hidden[i];
        match (self.epilogue(i), activation) {
            (Epilogue::Relu, _) => y,
            (Epilogue::None, Activation::LeakyRelu) => leaky_relu(y, leaky_slope),
            (Epilogue::None, activation) => activate(activation, y),
        }
    }

    /// Returns the function of layer `i` after its affine map, in the same operation.
    pub fn epilogue(&self, i: usize) -> Epilogue {
        let Some(layer) = self.architecture.hidden.get(i) else { return Epilogue::None };
        let is_next = !layer.has_norm_at(NormPosition::BeforeActivation)
            && layer.skip.is_none_or(|skip| skip.position == SkipPosition::Output)
            && self.adapter(i).is_none();
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

impl Mlp {
    /// Every parameter and running statistic, read back from the device, in the order of the path
    /// of a sample.
    ///
    /// # Errors
    ///
    /// The device's, when it cannot be read.
    pub fn tensors(&self) -> Result<Vec<NamedTensor>, TensorReadError> {
        let read = self.stored().into_iter().map(|(name, stored)| {
            Ok(NamedTensor { name, shape: stored.shape(), values: stored.read()? })
        });
        read.collect()
    }

    /// As [`tensors`](Self::tensors), each read when its values are asked for.
    pub(crate) fn lazy(&self) -> Vec<LazyTensor<'static>> {
        let stored = self.stored().into_iter().map(|(name, stored)| LazyTensor {
            name: Cow::Owned(name),
            dtype: Dtype::F32,
            shape: stored.shape(),
            bytes: Box::new(move |each| stored.pieces(each)),
        });
        stored.collect()
    }

    fn stored(&self) -> Vec<(String, Stored)> {
        let mut tensors = Vec::new();
        let mut add = |path: ParameterPath, stored| tensors.push((path.to_string(), stored));
        for (i, layer) in self.layers.iter().enumerate() {
            add(ParameterPath::Weight(i), Stored::Matrix(layer.weight.val()));
            if let Some(bias) = &layer.bias {
                add(ParameterPath::Bias(i), Stored::Row(bias.val()));
            }
        }
        for (i, norm) in self.norms.iter().enumerate() {
            for (part, parameter) in norm.iter().flat_map(NormLayer::parameters) {
                add(ParameterPath::Norm(i, part), Stored::Row(parameter.val()));
            }
        }
        for (i, adapter) in self.adapters.iter().enumerate() {
            if let Some(LowRank { a, b }) = adapter {
                add(ParameterPath::Adapter(i, AdapterSide::A), Stored::Matrix(a.val()));
                add(ParameterPath::Adapter(i, AdapterSide::B), Stored::Matrix(b.val()));
            }
        }
        tensors
    }

    /// Builds a validated network from the values that `take` gives for each name
    /// and PyTorch shape, as many as the shape has.
    ///
    /// # Errors
    ///
    /// The first error of `take`.
    pub fn from_tensors<E>(
        network: &Architecture,
        device: &Device,
        mut take: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        Self::build(network, device, &mut |path, shape| {
            let values = take(&path.to_string(), shape)?;
            Ok(match *shape {
                [_, inputs] => transpose(&values, inputs),
                _ => values,
            })
        })
    }

    /// As [`from_tensors`](Self::from_tensors), but `take` gives matrices as they are used,
    /// `[inputs, outputs]`; it is asked by PyTorch's shape all the same.
    ///
    /// # Errors
    ///
    /// The first error of `take`.
    pub fn build<E>(
        network: &Architecture,
        device: &Device,
        take: &mut ParameterSource<'_, E>,
    ) -> Result<Self, E> {
        let mut layers = Vec::new();
        for (i, sizes @ [_, outputs]) in network.layer_sizes().into_iter().enumerate() {
            let weight = matrix(ParameterPath::Weight(i), sizes, device, take)?;
            let bias = if network.has_bias(i) {
                let bias = take(ParameterPath::Bias(i), &[outputs])?;
                Some(parameter(TensorData::new(bias, [outputs]), device))
            } else {
                None
            };
            layers.push(Linear { weight, bias });
        }
        let mut norms = Vec::new();
        for (i, layer) in network.hidden.iter().enumerate() {
            let Some(width) = network.norm_width(i) else {
                norms.push(None);
                continue;
            };
            let mut norm = NormLayer::new(layer, width, device);
            for (part, parameter) in norm.parameters_mut() {
                let values = take(ParameterPath::Norm(i, part), &[width])?;
                let values = TensorData::new(values, [width]);
                *parameter = parameter.clone().map(|_| Tensor::from_data(values, device));
            }
            norms.push(Some(norm));
        }
        let adapters = build_adapters(network, device, take)?;
        let architecture = network.clone();
        let frozen = BTreeSet::new();
        Ok(Self { layers, norms, adapters, architecture, keeps_statistics: false, frozen })
    }
}

/// An entry for each layer.
fn build_adapters<E>(
    network: &Architecture,
    device: &Device,
    take: &mut ParameterSource<'_, E>,
) -> Result<Vec<Option<LowRank>>, E> {
    let mut adapters = Vec::new();
    for (i, [inputs, outputs]) in network.layer_sizes().into_iter().enumerate() {
        let Some(lora) = network.adapter(i) else {
            adapters.push(None);
            continue;
        };
        let (a, b) = ([inputs, lora.rank], [lora.rank, outputs]);
        let a = matrix(ParameterPath::Adapter(i, AdapterSide::A), a, device, take)?;
        let b = matrix(ParameterPath::Adapter(i, AdapterSide::B), b, device, take)?;
        adapters.push(Some(LowRank { a, b }));
    }
    Ok(adapters)
}

/// Numbers that are read from a device at once to be written.
const MOST_AT_ONCE: usize = 256 << 10;

/// A tensor on its device, as it is stored.
enum Stored {
    Row(Tensor<1>),
    /// Turned when it is read.
    Matrix(Tensor<2>),
}

impl Stored {
    fn shape(&self) -> Vec<usize> {
        match self {
            Self::Row(row) => row.dims().to_vec(),
            Self::Matrix(matrix) => {
                let [inputs, outputs] = matrix.dims();
                vec![outputs, inputs]
            }
        }
    }

    /// Gives `each` its values, of a matrix some rows of the file at a time.
    fn pieces(&self, each: &mut Piece<'_>) -> Result<(), ModelFileProblem> {
        let Self::Matrix(matrix) = self else {
            return give_values(&self.read().map_err(unreadable)?, each);
        };
        let [inputs, outputs] = matrix.dims();
        let rows = (MOST_AT_ONCE / inputs.max(1)).max(1);
        for start in (0..outputs).step_by(rows) {
            let part = matrix.clone().slice([0..inputs, start..(start + rows).min(outputs)]);
            give_values(&Self::Matrix(part).read().map_err(unreadable)?, each)?;
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<f32>, TensorReadError> {
        match self {
            Self::Row(row) => row.clone().try_into_vec_as::<f32>(),
            Self::Matrix(matrix) => matrix.clone().transpose().try_into_vec_as::<f32>(),
        }
    }
}

/// Gives the numbers of the parameter at a path, of this shape.
pub type ParameterSource<'a, E> = dyn FnMut(ParameterPath, &[usize]) -> Result<Vec<f32>, E> + 'a;

/// The parameter `[inputs, outputs]` that is called so and `[outputs, inputs]` in a file.
fn matrix<E>(
    path: ParameterPath,
    [inputs, outputs]: [usize; 2],
    device: &Device,
    take: &mut ParameterSource<'_, E>,
) -> Result<Param<Tensor<2>>, E> {
    let values = take(path, &[outputs, inputs])?;
    Ok(parameter(TensorData::new(values, [inputs, outputs]), device))
}

/// A device that cannot be read, as the error of the file that was to be written.
pub fn unreadable(error: TensorReadError) -> ModelFileProblem {
    ModelFileProblem::Parameters(Box::new(DeviceError(error)))
}

/// The device failed.
#[derive(Debug, thiserror::Error)]
#[error("the device failed: {0}")]
struct DeviceError(#[source] TensorReadError);
