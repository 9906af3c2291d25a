//! The network.

use std::borrow::Cow;
use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use fireclay_kernels::{Epilogue, dense};
use fireclay_model::model_file::{LazyTensor, Piece};
use fireclay_model::{AdapterSide, ParameterPath, initial_values, transpose};

use crate::activation::{activate, leaky_relu};
use crate::dropout::{Dropout, DropoutKey};
use crate::norm::NormLayer;
use crate::{
    Activation, ConfigError, Lora, LowRank, MlpConfig, ModelFileProblem, NamedTensor, Norm,
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
    /// One per hidden layer, or none at all.
    pub norms: Vec<NormLayer>,
    /// An entry per linear layer, or none at all.
    pub adapters: Vec<Option<LowRank>>,
    #[module(skip)]
    config: MlpConfig,
    /// Whether batch norms keep their running statistics as they are, and use them, in training too.
    #[module(skip)]
    keeps_statistics: bool,
    /// Paths that are not trained.
    #[module(skip)]
    frozen: BTreeSet<String>,
}

impl Mlp {
    /// Builds a network with initial weights drawn from `seed`: the same bits on every device.
    ///
    /// # Errors
    ///
    /// As [`MlpConfig::validate`], and [`ConfigError::NoMemory`].
    pub fn init(config: &MlpConfig, seed: u64, device: &Device) -> Result<Self, ConfigError> {
        config.validate()?;
        config.check_memory()?;
        Self::build(config, device, &mut |path, _| Ok(initial_values(config, seed, path)))
    }

    /// What this network was built from.
    pub fn config(&self) -> &MlpConfig {
        &self.config
    }

    /// Takes the network out and leaves one without layers, so that nothing else holds its tensors
    /// while they change.
    pub fn take(&mut self) -> Self {
        let Self { layers, norms, adapters, config, keeps_statistics, frozen } = self;
        Self {
            layers: std::mem::take(layers),
            norms: std::mem::take(norms),
            adapters: std::mem::take(adapters),
            config: config.clone(),
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

    /// Whether anything of layer `i`, its norm and its adapter is trained.
    fn is_trained(&self, i: usize) -> bool {
        let is_trained = |path: String| !self.frozen.contains(&path);
        self.frozen.is_empty()
            || is_trained(format!("layers.{i}.weight"))
            || is_trained(format!("layers.{i}.bias"))
            || self.adapter(i).is_some()
                && ["a", "b"].iter().any(|part| is_trained(format!("adapters.{i}.{part}")))
            || i < self.norms.len() && self.is_norm_trained(i)
    }

    fn is_norm_trained(&self, i: usize) -> bool {
        let is_trained = |path: String| !self.frozen.contains(&path);
        is_trained(format!("norms.{i}.weight")) || is_trained(format!("norms.{i}.bias"))
    }

    /// The same network with fresh adapters, which change nothing until they are trained.
    ///
    /// # Errors
    ///
    /// Adapters that the network can not have.
    pub fn with_adapters(self, lora: Lora, seed: u64) -> Result<Self, ConfigError> {
        let config = MlpConfig { lora: Some(lora), ..self.config.clone() };
        config.validate()?;
        config.check_memory()?;
        let device = self.layers[0].weight.val().device();
        let adapters = build_adapters(&config, &device, &mut |path, _| {
            Ok(initial_values(&config, seed, path))
        })?;
        Ok(Self { adapters, config, ..self })
    }

    /// The network without its adapters: the base that they were trained on, bit for bit.
    pub fn without_adapters(self) -> Self {
        let config = MlpConfig { lora: None, ..self.config.clone() };
        Self { adapters: Vec::new(), config, ..self }
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

    fn adapter_scale(&self) -> f64 {
        self.config.lora.as_ref().map_or(0.0, Lora::scale)
    }

    /// Logits or values for inference: no dropout, and batch norms use their running statistics.
    ///
    /// `[batch, inputs] → [batch, outputs]`.
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let mut x = input;
        for i in 0..self.layers.len() {
            let mut y = self.layer(i, x.clone(), x.clone());
            if self.is_output(i) {
                return y;
            }
            if let Some(norm) = self.norms.get(i) {
                y = norm.forward(y);
            }
            x = self.residual(x, self.activate(i, y));
        }
        x
    }

    /// Logits or values for a training step: dropout drawn from `key`, batch norms use the
    /// statistics of this batch and move their running ones towards them.
    ///
    /// `[batch, inputs] → [batch, outputs]`.
    pub fn forward_train(&mut self, input: Tensor<2>, key: DropoutKey) -> Tensor<2> {
        let mut noise = Dropout::new(key);
        let mut x = input;
        if self.is_trained(0) {
            x = noise.apply(x, self.config.input_dropout);
        }
        for i in 0..self.layers.len() {
            let adapter_input = match &self.config.lora {
                Some(lora) if self.adapter(i).is_some() => noise.apply(x.clone(), lora.dropout),
                _ => x.clone(),
            };
            let mut y = self.layer(i, x.clone(), adapter_input);
            if self.is_output(i) {
                return y;
            }
            let is_trained = self.is_trained(i);
            let moves = self.is_norm_trained(i) && !self.keeps_statistics;
            if let Some(norm) = self.norms.get_mut(i) {
                y = if moves { norm.forward_train(y) } else { norm.forward(y) };
            }
            let mut y = self.activate(i, y);
            if is_trained {
                y = noise.apply(y, self.config.dropout);
            }
            x = self.residual(x, y);
        }
        x
    }

    /// A linear layer, with its activation where the two make one operation, and its adapter.
    fn layer(&self, i: usize, x: Tensor<2>, adapter_input: Tensor<2>) -> Tensor<2> {
        let weight = self.layers[i].weight.val();
        let [_, outputs] = weight.dims();
        let bias = self.layers[i].bias.as_ref();
        let bias = bias.map_or_else(|| Tensor::zeros([outputs], &x.device()), Param::val);
        let y = dense(x, weight, bias, self.epilogue(i));
        match self.adapter(i) {
            Some(adapter) => y + adapter.forward(adapter_input).mul_scalar(self.adapter_scale()),
            None => y,
        }
    }

    /// The activation, unless the layer has applied it.
    fn activate(&self, i: usize, y: Tensor<2>) -> Tensor<2> {
        match (self.epilogue(i), self.config.activation) {
            (Epilogue::Relu, _) => y,
            (Epilogue::None, Activation::LeakyRelu) => leaky_relu(y, self.config.leaky_slope),
            (Epilogue::None, activation) => activate(activation, y),
        }
    }

    /// What layer `i` does after its affine map, in the same operation.
    pub fn epilogue(&self, i: usize) -> Epilogue {
        let is_last_word = !self.is_output(i) && self.norms.is_empty() && self.adapter(i).is_none();
        match self.config.activation {
            Activation::Relu if is_last_word => Epilogue::Relu,
            _ => Epilogue::None,
        }
    }

    fn is_output(&self, layer: usize) -> bool {
        layer + 1 == self.layers.len()
    }

    fn residual(&self, input: Tensor<2>, output: Tensor<2>) -> Tensor<2> {
        if self.config.residual && input.dims() == output.dims() { input + output } else { output }
    }
}

/// Marks the parameters that are trained.
struct Freeze<F> {
    is_trained: F,
    path: Vec<String>,
    frozen: BTreeSet<String>,
}

impl<F: Fn(&str) -> bool> ModuleMapper for Freeze<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        if path.contains(".running_") {
            return param;
        }
        let is_trained = (self.is_trained)(&path);
        if !is_trained {
            self.frozen.insert(path);
        }
        param.set_require_grad(is_trained)
    }
}

/// A trainable parameter of `data`'s values and type.
pub(crate) fn parameter<const D: usize>(data: TensorData, device: &Device) -> Param<Tensor<D>> {
    let dtype = data.dtype();
    Param::from_tensor(Tensor::from_data(data, (device, dtype)))
}

impl Mlp {
    /// Every parameter and running statistic, read back from the device, in the order of the path
    /// of a sample.
    ///
    /// # Errors
    ///
    /// The device's, when it can not be read.
    pub fn tensors(&self) -> Result<Vec<NamedTensor>, TensorReadError> {
        let read = self.stored().into_iter().map(|(name, stored)| {
            Ok(NamedTensor { name, shape: stored.shape(), values: stored.read()? })
        });
        read.collect()
    }

    /// As [`tensors`](Self::tensors), each read when its values are asked for.
    pub(crate) fn lazy(&self) -> Vec<LazyTensor<'static>> {
        let lazy = |(name, stored): (String, Stored)| LazyTensor {
            name: Cow::Owned(name),
            shape: stored.shape(),
            values: Box::new(move |each| stored.pieces(each)),
        };
        self.stored().into_iter().map(lazy).collect()
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
            for (part, parameter) in norm.parameters() {
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

    /// Builds the network of a validated `config` from the values that `take` gives for each name
    /// and PyTorch shape, as many as the shape has.
    ///
    /// # Errors
    ///
    /// The first error of `take`.
    pub fn from_tensors<E>(
        config: &MlpConfig,
        device: &Device,
        mut take: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        Self::build(config, device, &mut |path, shape| {
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
        config: &MlpConfig,
        device: &Device,
        take: &mut ParameterSource<'_, E>,
    ) -> Result<Self, E> {
        let mut layers = Vec::new();
        for (i, sizes @ [_, outputs]) in config.layer_sizes().into_iter().enumerate() {
            let weight = matrix(ParameterPath::Weight(i), sizes, device, take)?;
            let bias = take(ParameterPath::Bias(i), &[outputs])?;
            let bias = Some(parameter(TensorData::new(bias, [outputs]), device));
            layers.push(Linear { weight, bias });
        }
        let mut norms = Vec::new();
        for (i, &width) in config.hidden.iter().enumerate() {
            if config.norm == Norm::None {
                break;
            }
            let mut norm = NormLayer::new(config, width, device);
            for (part, parameter) in norm.parameters_mut() {
                let values = take(ParameterPath::Norm(i, part), &[width])?;
                let values = TensorData::new(values, [width]);
                *parameter = parameter.clone().map(|_| Tensor::from_data(values, device));
            }
            norms.push(norm);
        }
        let adapters = build_adapters(config, device, take)?;
        let config = config.clone();
        let frozen = BTreeSet::new();
        Ok(Self { layers, norms, adapters, config, keeps_statistics: false, frozen })
    }
}

/// An entry for each layer, or none at all.
fn build_adapters<E>(
    config: &MlpConfig,
    device: &Device,
    take: &mut ParameterSource<'_, E>,
) -> Result<Vec<Option<LowRank>>, E> {
    let Some(lora) = &config.lora else { return Ok(Vec::new()) };
    let adapted: BTreeSet<usize> = lora.layers.iter().copied().collect();
    let mut adapters = Vec::new();
    for (i, [inputs, outputs]) in config.layer_sizes().into_iter().enumerate() {
        if !adapted.contains(&i) {
            adapters.push(None);
            continue;
        }
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
        let Self::Matrix(matrix) = self else { return each(&self.read().map_err(unreadable)?) };
        let [inputs, outputs] = matrix.dims();
        let rows = (MOST_AT_ONCE / inputs.max(1)).max(1);
        for start in (0..outputs).step_by(rows) {
            let part = matrix.clone().slice([0..inputs, start..(start + rows).min(outputs)]);
            each(&Self::Matrix(part).read().map_err(unreadable)?)?;
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
