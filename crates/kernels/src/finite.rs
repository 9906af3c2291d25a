//! Numbers that are finite.

use burn::tensor::Tensor;

/// Returns true if the sum of all numbers is finite, which it is not if one of them is not; `None` if
/// the tensor is not on Burn's CPU backend `flex`, where it would have to be read back.
pub fn has_finite_sum(tensor: Tensor<1>) -> Option<bool> {
    crate::flex::has_finite_sum(tensor)
}
