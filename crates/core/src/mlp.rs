//! The network.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use fireclay_kernels::{Epilogue, dense};

use crate::dropout::{Dropout, DropoutKey};
use crate::norm::NormLayer;
use crate::rng::{Purpose, generator};
use crate::{Activation, MlpConfig, Norm};

/// A multilayer perceptron on a device; made by [`MlpConfig::init`] or read from a model file.
///
/// Its parameters are addressed by path, in files and messages alike: `layers.0.weight`,
/// `layers.0.bias`, `norms.0.weight`, `norms.0.bias`, `norms.0.running_mean`, `norms.0.running_var`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Linear layers from input to output; weights are `[inputs, outputs]`.
    pub layers: Vec<Linear>,
    /// One per hidden layer, or none at all.
    pub norms: Vec<NormLayer>,
    #[module(skip)]
    config: MlpConfig,
}

impl Mlp {
    /// Draws initial weights; `config` has been validated.
    pub(crate) fn random(config: &MlpConfig, seed: u64, device: &Device) -> Self {
        let layers = config.layer_sizes().into_iter().enumerate().map(|(i, [inputs, outputs])| {
            let mut rng = generator(seed, Purpose::Weights, i as u64);
            let weights = config.initializer.weights(inputs, outputs, &mut rng);
            Linear {
                weight: parameter(TensorData::new(weights, [inputs, outputs]), device),
                bias: Some(parameter(TensorData::zeros::<f32, _>([outputs]), device)),
            }
        });
        let layers = layers.collect();
        let norms = match config.norm {
            Norm::None => Vec::new(),
            kind => {
                config.hidden.iter().map(|&width| NormLayer::new(kind, width, device)).collect()
            }
        };
        Self { layers, norms, config: config.clone() }
    }

    /// What this network was built from.
    pub fn config(&self) -> &MlpConfig {
        &self.config
    }

    /// Takes the network out and leaves one without layers, so that nothing else holds its tensors
    /// while they change.
    pub fn take(&mut self) -> Self {
        let (layers, norms) = (std::mem::take(&mut self.layers), std::mem::take(&mut self.norms));
        Self { layers, norms, config: self.config.clone() }
    }

    /// Logits or values for inference: no dropout, and batch norms use their running statistics.
    ///
    /// `[batch, inputs] → [batch, outputs]`.
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let mut x = input;
        for i in 0..self.layers.len() {
            let mut y = self.layer(i, x.clone());
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
        let mut x = noise.apply(input, self.config.input_dropout);
        for i in 0..self.layers.len() {
            let mut y = self.layer(i, x.clone());
            if self.is_output(i) {
                return y;
            }
            if let Some(norm) = self.norms.get_mut(i) {
                y = norm.forward_train(y);
            }
            let y = noise.apply(self.activate(i, y), self.config.dropout);
            x = self.residual(x, y);
        }
        x
    }

    /// A linear layer, with its activation where the two make one operation.
    fn layer(&self, i: usize, x: Tensor<2>) -> Tensor<2> {
        let weight = self.layers[i].weight.val();
        let [_, outputs] = weight.dims();
        let bias = self.layers[i].bias.as_ref();
        let bias = bias.map_or_else(|| Tensor::zeros([outputs], &x.device()), Param::val);
        dense(x, weight, bias, self.epilogue(i))
    }

    /// The activation, unless the layer has applied it.
    fn activate(&self, i: usize, y: Tensor<2>) -> Tensor<2> {
        match self.epilogue(i) {
            Epilogue::None => self.config.activation.apply(y),
            Epilogue::Relu => y,
        }
    }

    /// What layer `i` does after its affine map, in the same operation.
    pub fn epilogue(&self, i: usize) -> Epilogue {
        let is_last_word = !self.is_output(i) && self.norms.is_empty();
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

/// A trainable parameter of `data`'s values and type.
pub(crate) fn parameter<const D: usize>(data: TensorData, device: &Device) -> Param<Tensor<D>> {
    let dtype = data.dtype();
    Param::from_tensor(Tensor::from_data(data, (device, dtype)))
}

/// A tensor on the host, named and laid out as PyTorch's `state_dict` has it:
/// a linear weight is `[outputs, inputs]`.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Path of the parameter, such as `layers.0.weight`.
    pub name: String,
    /// Size of each dimension.
    pub shape: Vec<usize>,
    /// Values, row by row.
    pub values: Vec<f32>,
}

impl Mlp {
    /// Every parameter and running statistic, read back from the device, in the order of the path
    /// of a sample.
    ///
    /// # Errors
    ///
    /// The device's, when it can not be read.
    pub fn tensors(&self) -> Result<Vec<NamedTensor>, TensorReadError> {
        let mut tensors = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            tensors.push(read(format!("layers.{i}.weight"), layer.weight.val().transpose())?);
            if let Some(bias) = &layer.bias {
                tensors.push(read(format!("layers.{i}.bias"), bias.val())?);
            }
        }
        for (i, norm) in self.norms.iter().enumerate() {
            for (name, parameter) in norm.parameters() {
                tensors.push(read(format!("norms.{i}.{name}"), parameter.val())?);
            }
        }
        Ok(tensors)
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
        let mut layers = Vec::new();
        for (i, [inputs, outputs]) in config.layer_sizes().into_iter().enumerate() {
            let weight = take(&format!("layers.{i}.weight"), &[outputs, inputs])?;
            let bias = take(&format!("layers.{i}.bias"), &[outputs])?;
            layers.push(Linear {
                weight: parameter(
                    TensorData::new(transpose(&weight, inputs), [inputs, outputs]),
                    device,
                ),
                bias: Some(parameter(TensorData::new(bias, [outputs]), device)),
            });
        }
        let mut norms = Vec::new();
        for (i, &width) in config.hidden.iter().enumerate() {
            if config.norm == Norm::None {
                break;
            }
            let mut norm = NormLayer::new(config.norm, width, device);
            for (name, parameter) in norm.parameters_mut() {
                let values =
                    TensorData::new(take(&format!("norms.{i}.{name}"), &[width])?, [width]);
                *parameter = parameter.clone().map(|_| Tensor::from_data(values, device));
            }
            norms.push(norm);
        }
        Ok(Self { layers, norms, config: config.clone() })
    }
}

fn read<const D: usize>(name: String, tensor: Tensor<D>) -> Result<NamedTensor, TensorReadError> {
    let shape = tensor.dims().to_vec();
    Ok(NamedTensor { name, shape, values: tensor.try_into_vec_as::<f32>()? })
}

/// `[outputs, inputs]` row by row to `[inputs, outputs]` row by row.
fn transpose(weight: &[f32], inputs: usize) -> Vec<f32> {
    (0..inputs).flat_map(|i| weight.iter().skip(i).step_by(inputs).copied()).collect()
}
