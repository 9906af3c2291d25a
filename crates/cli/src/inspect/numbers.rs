//! The numbers of a tensor, counted.

use fireclay_formats::Layout;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::output::printable;

/// A tensor as a file has it.
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: &'static str,
    pub(super) is_float: bool,
    /// How a matrix lies.
    pub(super) layout: Layout,
    /// Whether it is a parameter, and not the memory of an optimizer or the like.
    pub(super) is_parameter: bool,
    pub(super) values: Vec<f64>,
}

/// What the numbers of a tensor come to; mean, deviation and range are those of the finite ones.
#[derive(Debug, Serialize)]
pub(super) struct Numbers {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: &'static str,
    pub(super) count: u64,
    pub(super) mean: Option<f64>,
    pub(super) deviation: Option<f64>,
    pub(super) least: Option<f64>,
    pub(super) largest: Option<f64>,
    pub(super) zeros: u64,
    pub(super) nan: u64,
    pub(super) infinite: u64,
}

impl Numbers {
    pub(super) fn of(tensor: &Stored) -> Self {
        let values = &tensor.values;
        let count = |is: fn(&f64) -> bool| values.iter().filter(|value| is(value)).count() as u64;
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let number = finite().count();
        let some = |value: f64| (number > 0 && value.is_finite()).then_some(value);
        let mean = finite().map(|value| value / number as f64).sum::<f64>();
        let variance = finite().map(|value| (value - mean).powi(2) / number as f64).sum::<f64>();
        Self {
            name: printable(&tensor.name, 200),
            shape: tensor.shape.clone(),
            dtype: tensor.dtype,
            count: values.len() as u64,
            mean: some(mean),
            deviation: some(variance.sqrt()),
            least: some(finite().fold(f64::INFINITY, f64::min)),
            largest: some(finite().fold(f64::NEG_INFINITY, f64::max)),
            zeros: count(|value| *value == 0.0),
            nan: count(|value| value.is_nan()),
            infinite: count(|value| value.is_infinite()),
        }
    }
}

impl Stored {
    /// Whether all numbers are the same, so that it says nothing if another tensor has them too.
    pub(super) fn is_constant(&self) -> bool {
        self.values.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits())
    }

    /// The same for the same numbers of the same shape.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.shape.iter().for_each(|&size| hash.update((size as u64).to_le_bytes()));
        self.values.iter().for_each(|value| hash.update(value.to_bits().to_le_bytes()));
        hash.finalize().into()
    }

    /// Units of a layer with these weights into which only zeros come, by index.
    pub(super) fn dead_units(&self) -> Vec<usize> {
        let [rows, columns] = self.shape[..] else { return Vec::new() };
        if rows == 0 || columns == 0 {
            return Vec::new();
        }
        match self.layout {
            Layout::OutIn => {
                let rows = self.values.chunks_exact(columns).enumerate();
                rows.filter(|(_, row)| row.iter().all(|v| *v == 0.0)).map(|(i, _)| i).collect()
            }
            Layout::InOut => {
                let mut is_dead = vec![true; columns];
                for row in self.values.chunks_exact(columns) {
                    is_dead.iter_mut().zip(row).for_each(|(dead, v)| *dead &= *v == 0.0);
                }
                (0..columns).filter(|&column| is_dead[column]).collect()
            }
        }
    }
}
