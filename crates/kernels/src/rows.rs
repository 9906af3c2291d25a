//! Rows of a data set, gathered and scaled in one pass.

/// Chosen rows of a data set on the host, and how they are scaled.
#[derive(Clone, Copy, Debug)]
pub struct ChosenRows<'a> {
    /// The features of all rows, row by row.
    pub features: RawFeatures<'a>,
    /// RawFeatures of a row.
    pub width: usize,
    /// The rows, in order.
    pub indices: &'a [usize],
    /// From features to inputs.
    pub scaling: Scaling<'a>,
}

/// RawFeatures as they are stored.
#[derive(Clone, Copy, Debug)]
pub enum RawFeatures<'a> {
    /// Bytes, such as pixels.
    Bytes(&'a [u8]),
    /// Any numbers.
    Floats(&'a [f32]),
}

/// An affine map of the features.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling<'a> {
    /// `x`.
    None,
    /// `scale x`.
    Scale(f32),
    /// `(scale x - mean) / deviation`.
    Normalize {
        /// The factor, applied first.
        scale: f32,
        /// Mean of the scaled features.
        mean: f32,
        /// Standard deviation of the scaled features.
        deviation: f32,
    },
    /// `(x - mean) · 1 / deviation`, feature by feature; 0 where the deviation is 0.
    Standardize {
        /// Mean of each feature.
        mean: &'a [f32],
        /// Standard deviation of each feature.
        deviation: &'a [f32],
    },
}

impl ChosenRows<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Returns true if there is no row.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The inputs of all rows, one after the other.
    ///
    /// # Panics
    ///
    /// If there is no row of an index, as in slice indexing.
    pub fn gather(&self) -> Vec<f32> {
        let mut inputs = vec![0.0; self.len() * self.width];
        let rows = inputs.chunks_exact_mut(self.width.max(1)).enumerate();
        rows.for_each(|(i, into)| self.fill(i, into));
        inputs
    }

    /// Where the features of the `i`-th row are.
    #[inline(always)]
    pub(crate) fn place(&self, i: usize) -> std::ops::Range<usize> {
        self.indices[i] * self.width..(self.indices[i] + 1) * self.width
    }

    /// The inputs of the `i`-th row.
    #[inline(always)]
    pub(crate) fn fill<T: From<f32>>(&self, i: usize, into: &mut [T]) {
        let row = self.place(i);
        match self.features {
            RawFeatures::Bytes(bytes) => {
                self.scaling.apply(bytes[row].iter().map(|&byte| f32::from(byte)), into);
            }
            RawFeatures::Floats(floats) => self.scaling.apply(floats[row].iter().copied(), into),
        }
    }
}

impl Scaling<'_> {
    #[inline(always)]
    fn apply<T: From<f32>>(&self, features: impl Iterator<Item = f32>, into: &mut [T]) {
        let places = into.iter_mut().zip(features);
        match *self {
            Self::None => places.for_each(|(into, x)| *into = x.into()),
            Self::Scale(scale) => places.for_each(|(into, x)| *into = (x * scale).into()),
            Self::Normalize { scale, mean, deviation } => {
                places.for_each(|(into, x)| *into = ((x * scale - mean) / deviation).into());
            }
            Self::Standardize { mean, deviation } => {
                for ((into, x), (mean, &deviation)) in places.zip(mean.iter().zip(deviation)) {
                    let factor = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
                    *into = ((x - mean) * factor).into();
                }
            }
        }
    }
}
