//! Batches for a device with memory of its own, such as a graphics card.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::batch::matrix;
use crate::{Batch, BatchTargets, Dataset, Features};

/// The largest part of a data set that lies on a device, in bytes: what every WebGPU device can
/// bind as one buffer (`maxStorageBufferBindingSize`, WebGPU, section 3.6.2).
const LARGEST: usize = 128 << 20;

/// Gives a device the batches of a data set, with as little traffic as possible.
///
/// A data set that fits lies on the device whole; a batch is a selection there, and only the
/// numbers of its rows travel. Of a larger one each batch is uploaded, which a device that computes
/// behind a queue does while it still works on the batch before. Bytes travel and lie as bytes,
/// four to an integer, and become floats where they are used.
///
/// The batches are those of [`Dataset::batch`], which is the better way on the CPU.
///
/// ```
/// use burn::tensor::Device;
/// use fireclay_data::{Dataset, Feed, Features, Targets};
///
/// let targets = Targets::Values { values: vec![0.0, 1.0], names: vec!["y".to_owned()] };
/// let data = Dataset::new(vec![3], Features::Bytes(vec![1, 2, 3, 4, 5, 255]), targets)?;
/// let batch = Feed::new(&data, &Device::flex()).batch(&[1]);
/// assert_eq!(batch.inputs.try_into_vec_as::<f32>()?, [4.0, 5.0, 255.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Feed<'a> {
    data: &'a Dataset,
    device: Device,
    /// All rows, if they fit.
    resident: Option<Rows>,
    /// How far right each byte of an integer lies, `[1, 1, 4]`.
    shifts: Tensor<3, Int>,
}

/// Rows on the device.
struct Rows {
    features: DeviceFeatures,
    targets: BatchTargets,
}

enum DeviceFeatures {
    /// `[rows, ceil(width / 4)]`, the first byte of each integer the least.
    Bytes(Tensor<2, Int>),
    /// `[rows, width]`.
    Floats(Tensor<2>),
}

impl<'a> Feed<'a> {
    /// Uploads the data set if it fits.
    pub fn new(data: &'a Dataset, device: &Device) -> Self {
        Self::within(data, device, LARGEST)
    }

    fn within(data: &'a Dataset, device: &Device, largest: usize) -> Self {
        let numbers = match data.features() {
            Features::Bytes(_) => data.width().div_ceil(4),
            Features::Floats(_) => data.width(),
        };
        let widest = numbers.max(data.targets().labels().len());
        let fits = 4 * widest * data.len() <= largest;
        let resident = fits.then(|| {
            let all: Vec<usize> = (0..data.len()).collect();
            Rows::upload(data, &all, device)
        });
        let shifts = Tensor::from_data([[[0, 8, 16, 24]]], device);
        Self { data, device: device.clone(), resident, shifts }
    }

    /// The data set that batches are of.
    pub fn data(&self) -> &'a Dataset {
        self.data
    }

    /// Whether the data set lies on the device whole.
    pub fn is_resident(&self) -> bool {
        self.resident.is_some()
    }

    /// The same as [`Dataset::batch`].
    ///
    /// # Panics
    ///
    /// If an index is not less than [`Dataset::len`], as [`Dataset::batch`].
    pub fn batch(&self, indices: &[usize]) -> Batch {
        indices.iter().for_each(|&index| self.data.check_row(index));
        let Rows { features, targets } = match &self.resident {
            Some(all) => all.select(indices, &self.device),
            None => Rows::upload(self.data, indices, &self.device),
        };
        let inputs = match features {
            DeviceFeatures::Floats(floats) => floats,
            DeviceFeatures::Bytes(packed) => self.unpack(packed),
        };
        Batch { inputs, targets }
    }

    /// `[rows, width]` of bytes that lie four to an integer.
    fn unpack(&self, packed: Tensor<2, Int>) -> Tensor<2> {
        let [rows, integers] = packed.dims();
        let bytes = packed.unsqueeze_dim::<3>(2).bitwise_right_shift(self.shifts.clone());
        let bytes = bytes.bitwise_and_scalar(0xFF).float().reshape([rows, 4 * integers]);
        bytes.narrow(1, 0, self.data.width())
    }
}

impl Rows {
    fn upload(data: &Dataset, indices: &[usize], device: &Device) -> Self {
        let (rows, width) = (indices.len(), data.width());
        let row = |&index: &usize| index * width..(index + 1) * width;
        let features = match data.features() {
            Features::Bytes(bytes) => {
                let packed = indices.iter().flat_map(|index| bytes[row(index)].chunks(4).map(pack));
                let packed =
                    TensorData::new(packed.collect::<Vec<i32>>(), [rows, width.div_ceil(4)]);
                DeviceFeatures::Bytes(Tensor::from_data(packed, device))
            }
            Features::Floats(floats) => {
                let mut values = Vec::with_capacity(rows * width);
                indices.iter().for_each(|index| values.extend_from_slice(&floats[row(index)]));
                DeviceFeatures::Floats(matrix(values, rows, width, device))
            }
        };
        Self { features, targets: data.batch_targets(indices, device) }
    }

    fn select(&self, indices: &[usize], device: &Device) -> Self {
        // Below 2^31: all rows fit in `LARGEST` bytes.
        let indices: Vec<i32> = indices.iter().map(|&index| index as i32).collect();
        let count = indices.len();
        let chosen = Tensor::<1, Int>::from_data(TensorData::new(indices, [count]), device);
        let features = match &self.features {
            DeviceFeatures::Bytes(all) => {
                DeviceFeatures::Bytes(all.clone().select(0, chosen.clone()))
            }
            DeviceFeatures::Floats(all) => {
                DeviceFeatures::Floats(all.clone().select(0, chosen.clone()))
            }
        };
        let targets = match &self.targets {
            BatchTargets::Classes(all) => BatchTargets::Classes(all.clone().select(0, chosen)),
            BatchTargets::Values(all) => BatchTargets::Values(all.clone().select(0, chosen)),
        };
        Self { features, targets }
    }
}

/// Up to four bytes in one integer, the first the least.
fn pack(bytes: &[u8]) -> i32 {
    let mut four = [0; 4];
    four[..bytes.len()].copy_from_slice(bytes);
    i32::from_le_bytes(four)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Targets;

    #[test]
    fn what_does_not_fit_is_uploaded_batch_by_batch() {
        let targets = Targets::Classes { ids: vec![0, 1, 1], labels: vec!["a".into(), "b".into()] };
        let features = Features::Bytes((0..15).collect());
        let data = Dataset::new(vec![5], features, targets).unwrap();
        let device = Device::flex();
        // Two integers for the five bytes of each row.
        let (fits, does_not) = (Feed::within(&data, &device, 24), Feed::within(&data, &device, 23));
        assert!(fits.is_resident() && !does_not.is_resident());
        let rows = [2, 0, 2, 1];
        let expected = data.batch(&rows, &device);
        for feed in [fits, does_not] {
            let found = feed.batch(&rows);
            assert_eq!(found.inputs.to_data(), expected.inputs.to_data());
            let (BatchTargets::Classes(found), BatchTargets::Classes(expected)) =
                (found.targets, &expected.targets)
            else {
                panic!("these are classes")
            };
            assert_eq!(found.to_data(), expected.to_data());
        }
    }

    #[test]
    #[should_panic(expected = "row 2 is out of range for 2 rows")]
    fn a_row_that_is_not_there_is_a_mistake_of_the_caller() {
        let targets = Targets::Classes { ids: vec![0, 0], labels: vec!["a".into()] };
        let data = Dataset::new(vec![1], Features::Bytes(vec![1, 2]), targets).unwrap();
        Feed::new(&data, &Device::flex()).batch(&[0, 2]);
    }
}
