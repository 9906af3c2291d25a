//! Parameters as Burn holds them.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

/// A trainable parameter of `data`'s values and type.
pub(crate) fn parameter<const D: usize>(data: TensorData, device: &Device) -> Param<Tensor<D>> {
    let dtype = data.dtype();
    Param::from_tensor(Tensor::from_data(data, (device, dtype)))
}
