//! Tensors in double precision, for tests that compare arithmetic and not rounding.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// The CPU device that every test here computes on.
pub(crate) fn device() -> Device {
    Device::flex()
}

/// An f64 tensor on the device.
pub(crate) fn tensor<const D: usize>(
    values: Vec<f64>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F64))
}

/// The values of a tensor.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as::<f64>().unwrap()
}
