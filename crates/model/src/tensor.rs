//! Tensors on the host.

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

/// A matrix whose rows have `columns` values, row by row, to the same one column by column.
pub fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|i| matrix.iter().skip(i).step_by(columns).copied()).collect()
}
