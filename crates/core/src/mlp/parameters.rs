//! The parameters of a network, from and to where they are kept.

use std::borrow::Cow;
use std::collections::BTreeSet;

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use fireclay_model::model_file::{Dtype, LazyTensor, Piece, give_values};
use fireclay_model::transpose;

use super::Mlp;
use crate::front::{FrontLayer, MemberScales, Scales};
use crate::norm::NormLayer;
use crate::parameter::parameter;
use crate::{
    AdapterSide, Architecture, HiddenLayer, LowRank, ModelFileProblem, NamedTensor, ParameterPath,
};

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
        for (i, shares) in self.activations.iter().enumerate() {
            if let Some(Scales { weight }) = shares {
                add(ParameterPath::Activation(i), Stored::Row(weight.val()));
            }
        }
        for (i, (layer, part)) in self.front.iter().zip(&self.architecture.front).enumerate() {
            for (path, shape) in part.parameters(i) {
                let ParameterPath::Front(_, kind) = path else { continue };
                if let Some(parameter) = layer.parameter(kind) {
                    add(path, Stored::Flat(parameter.reshape([-1]), shape));
                }
            }
        }
        if let Some(Scales { weight }) = &self.scaling {
            add(ParameterPath::Scaling, Stored::Row(weight.val()));
        }
        if let Some(MemberScales { weight }) = &self.members {
            let weight = weight.val();
            let shape = weight.dims().to_vec();
            add(ParameterPath::Members, Stored::Flat(weight.reshape([-1]), shape));
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
                [_, inputs] if path.is_linear() => transpose(&values, inputs),
                _ => values,
            })
        })
    }

    /// As [`from_tensors`](Self::from_tensors), but `take` gives matrices that rows are multiplied
    /// with as they are used, `[inputs, outputs]`; it is asked by PyTorch's shape all the same.
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
        let mut activations = Vec::new();
        for (i, HiddenLayer { width, parametric, .. }) in network.hidden.iter().enumerate() {
            let path = parametric.then_some(ParameterPath::Activation(i));
            activations.push(path.map(|path| scales(path, *width, device, take)).transpose()?);
        }
        let front = FrontLayer::all(network, device, take)?;
        let width = network.front_width();
        let scaling = network.scaling.then_some(ParameterPath::Scaling);
        let scaling = scaling.map(|path| scales(path, width, device, take)).transpose()?;
        let members = network.ensemble.map(|ensemble| [ensemble.members, width]);
        let members = members.map(|shape| {
            let values = take(ParameterPath::Members, &shape)?;
            Ok(MemberScales { weight: parameter(TensorData::new(values, shape), device) })
        });
        Ok(Self {
            layers,
            norms,
            adapters,
            activations,
            front,
            scaling,
            members: members.transpose()?,
            architecture: network.clone(),
            keeps_statistics: false,
            frozen: BTreeSet::new(),
            touched: Vec::new(),
        })
    }
}

/// Learned factors of so many numbers.
fn scales<E>(
    path: ParameterPath,
    width: usize,
    device: &Device,
    take: &mut ParameterSource<'_, E>,
) -> Result<Scales, E> {
    let values = take(path, &[width])?;
    Ok(Scales { weight: parameter(TensorData::new(values, [width]), device) })
}

/// An entry for each layer.
pub(super) fn build_adapters<E>(
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
    /// Row by row, with its shape.
    Flat(Tensor<1>, Vec<usize>),
}

impl Stored {
    fn shape(&self) -> Vec<usize> {
        match self {
            Self::Row(row) => row.dims().to_vec(),
            Self::Flat(_, shape) => shape.clone(),
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
            Self::Row(row) | Self::Flat(row, _) => row.clone().try_into_vec_as::<f32>(),
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
