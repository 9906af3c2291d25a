//! Where training and evaluation read rows: one door for every way to get them to a device.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fireclay_model::SparseRows;

use crate::batch::matrix;
use crate::{Batch, BatchTargets, Dataset, Features, Targets};

/// The largest part of a data set that lies on a device, in bytes: what every WebGPU device can
/// bind as one buffer (`maxStorageBufferBindingSize`, WebGPU, section 3.6.2).
const LARGEST: usize = 128 << 20;

/// The rows of a data set, for a device: whatever trains or measures a network reads them here.
///
/// On the CPU a batch is gathered from host memory. To a device with memory of its own
/// ([`on_device`](Self::on_device)) as little as possible travels: a data set that fits lies there
/// whole, a batch is a selection, and only the numbers of its rows travel. Of a larger one each batch
/// is uploaded, which a device that computes behind a queue does while it still works on the batch
/// before. Bytes travel and lie as bytes, four to an integer, and become floats where they are used.
///
/// Every way gives the same batches.
///
/// ```
/// use burn::tensor::Device;
/// use fireclay_data::{Dataset, Features, RowSource, Targets};
///
/// let targets = Targets::Values { values: vec![0.0, 1.0], names: vec!["y".to_owned()] };
/// let data = Dataset::new(vec![3], Features::Bytes(vec![1, 2, 3, 4, 5, 255]), targets)?;
/// let batch = RowSource::on_device(&data, &Device::flex()).batch(&[1]);
/// assert_eq!(batch.inputs.try_into_vec_as::<f32>()?, [4.0, 5.0, 255.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RowSource<'a> {
    data: &'a Dataset,
    device: Device,
    way: Way,
}

/// Rows on the host, as they are stored, for an operation that gathers and prepares them itself.
#[derive(Clone, Copy, Debug)]
pub struct HostRows<'a> {
    /// The features of all rows, row by row.
    pub features: &'a Features,
    /// Features of a row.
    pub width: usize,
    /// The terms of all rows, for each text.
    pub terms: &'a [SparseRows],
    /// The targets of all rows.
    pub targets: &'a Targets,
    /// Which rows, in order.
    pub indices: &'a [usize],
}

/// The way of rows to the device.
#[derive(Clone, Debug)]
enum Way {
    /// Gathered on the host, as floats.
    Gathered,
    /// Selected from the data set, which lies on the device.
    Selected(Box<DeviceRows>, Unpacking),
    /// Uploaded as they are stored.
    Uploaded(Unpacking),
}

/// Rows on the device.
#[derive(Clone, Debug)]
struct DeviceRows {
    features: DeviceFeatures,
    targets: BatchTargets,
}

#[derive(Clone, Debug)]
enum DeviceFeatures {
    /// `[rows, ceil(width / 4)]`, the first byte of each integer the least.
    Bytes(Tensor<2, Int>),
    /// `[rows, width]`.
    Floats(Tensor<2>),
}

/// The shift of each byte of an integer to the right, `[1, 1, 4]`.
#[derive(Clone, Debug)]
struct Unpacking(Tensor<3, Int>);

impl<'a> RowSource<'a> {
    /// Rows that are gathered on the host: for the CPU, or where they are few.
    pub fn gathered(data: &'a Dataset, device: &Device) -> Self {
        Self { data, device: device.clone(), way: Way::Gathered }
    }

    /// Rows for a device with memory of its own; the data set is uploaded if it fits.
    pub fn on_device(data: &'a Dataset, device: &Device) -> Self {
        Self::within(data, device, LARGEST)
    }

    fn within(data: &'a Dataset, device: &Device, largest: usize) -> Self {
        let numbers = match data.features() {
            Features::Bytes(_) => data.width().div_ceil(4),
            Features::Floats(_) => data.width(),
            Features::Blocks(_) => return Self::gathered(data, device),
        };
        // Nothing to put there.
        if numbers == 0 {
            return Self::gathered(data, device);
        }
        // Each part is a buffer of its own, so the widest one decides.
        let widest = numbers.max(data.targets().labels().len());
        let unpacking = Unpacking(Tensor::from_data([[[0, 8, 16, 24]]], device));
        let way = if 4 * widest * data.len() <= largest {
            let all: Vec<usize> = (0..data.len()).collect();
            Way::Selected(Box::new(DeviceRows::upload(data, &all, device)), unpacking)
        } else {
            Way::Uploaded(unpacking)
        };
        Self { data, device: device.clone(), way }
    }

    /// The data set that rows are of.
    pub fn data(&self) -> &'a Dataset {
        self.data
    }

    /// Describes the way of rows to a device with memory of its own; none on the CPU.
    pub fn in_words(&self) -> Option<&'static str> {
        match self.way {
            Way::Gathered => None,
            Way::Selected(..) => Some("selected from the data set, which lies on the device"),
            Way::Uploaded(_) => Some("uploaded: the data set is too large to lie on the device"),
        }
    }

    /// Raw features and targets on the device, in the order of `indices`; see [`Dataset::batch`].
    ///
    /// # Panics
    ///
    /// If an index is not less than [`Dataset::len`]: a mistake of the caller, as in slice indexing.
    pub fn batch(&self, indices: &[usize]) -> Batch {
        let (rows, unpacking) = match &self.way {
            Way::Gathered => return self.data.batch(indices, &self.device),
            Way::Selected(all, unpacking) => {
                indices.iter().for_each(|&index| self.data.check_row(index));
                (all.select(indices, &self.device), unpacking)
            }
            Way::Uploaded(unpacking) => {
                indices.iter().for_each(|&index| self.data.check_row(index));
                (DeviceRows::upload(self.data, indices, &self.device), unpacking)
            }
        };
        let inputs = match rows.features {
            DeviceFeatures::Floats(floats) => floats,
            DeviceFeatures::Bytes(packed) => unpacking.apply(packed, self.data.width()),
        };
        Batch { inputs, terms: self.data.terms_of(indices), targets: rows.targets }
    }

    /// The same rows on the host, as they are stored.
    pub fn on_host<'b>(&'b self, indices: &'b [usize]) -> HostRows<'b> {
        let (features, targets) = (self.data.features(), self.data.targets());
        let (width, terms) = (self.data.width(), self.data.terms());
        HostRows { features, width, terms, targets, indices }
    }
}

impl Unpacking {
    /// `[rows, width]` of bytes that lie four to an integer.
    fn apply(&self, packed: Tensor<2, Int>, width: usize) -> Tensor<2> {
        let [rows, integers] = packed.dims();
        let bytes = packed.unsqueeze_dim::<3>(2).bitwise_right_shift(self.0.clone());
        let bytes = bytes.bitwise_and_scalar(0xFF).float().reshape([rows, 4 * integers]);
        bytes.narrow(1, 0, width)
    }
}

impl DeviceRows {
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
            Features::Blocks(blocks) => {
                let mut values = Vec::with_capacity(rows * width);
                blocks.gather(indices, &mut values);
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

    #[test]
    fn what_does_not_fit_is_uploaded_batch_by_batch() {
        let targets = Targets::Classes { ids: vec![0, 1, 1], labels: vec!["a".into(), "b".into()] };
        let features = Features::Bytes((0..15).collect());
        let data = Dataset::new(vec![5], features, targets).unwrap();
        let device = Device::flex();
        // Two integers for the five bytes of each row.
        let fits = RowSource::within(&data, &device, 24);
        let does_not = RowSource::within(&data, &device, 23);
        let is_selected = |rows: &RowSource<'_>| matches!(rows.way, Way::Selected(..));
        assert!(is_selected(&fits) && !is_selected(&does_not));
        let rows = [2, 0, 2, 1];
        let expected = data.batch(&rows, &device);
        for source in [fits, does_not] {
            let found = source.batch(&rows);
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
        RowSource::on_device(&data, &Device::flex()).batch(&[0, 2]);
    }
}
