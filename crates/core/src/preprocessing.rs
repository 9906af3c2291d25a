//! From raw features to what the network sees, on a device.

use burn::tensor::{Tensor, TensorData};
use fireclay_kernels::Scaling;

use crate::Preprocessing;

/// Maps raw features, `[batch, features]`.
pub fn prepare(preprocessing: &Preprocessing, x: Tensor<2>) -> Tensor<2> {
    match preprocessing {
        Preprocessing::None => x,
        Preprocessing::Scale { scale } => x.mul_scalar(*scale),
        Preprocessing::Normalize { scale, mean, deviation } => {
            x.mul_scalar(*scale).sub_scalar(*mean).div_scalar(*deviation)
        }
        Preprocessing::Standardize { mean, deviation } => {
            let factor = deviation.iter().map(|&d| if d > 0.0 { 1.0 / d } else { 0.0 }).collect();
            let (shift, factor) = (row(mean.clone(), &x), row(factor, &x));
            (x - shift) * factor
        }
    }
}

/// A row `[1, columns]` on the device of `x`.
pub(crate) fn row(values: Vec<f32>, x: &Tensor<2>) -> Tensor<2> {
    let shape = [1, values.len()];
    Tensor::from_data(TensorData::new(values, shape), (&x.device(), x.dtype()))
}

/// The same for rows on the host, to the bit.
pub fn scaling(preprocessing: &Preprocessing) -> Scaling<'_> {
    match preprocessing {
        Preprocessing::None => Scaling::None,
        Preprocessing::Scale { scale } => Scaling::Scale(*scale),
        Preprocessing::Normalize { scale, mean, deviation } => {
            Scaling::Normalize { scale: *scale, mean: *mean, deviation: *deviation }
        }
        Preprocessing::Standardize { mean, deviation } => Scaling::Standardize { mean, deviation },
    }
}
