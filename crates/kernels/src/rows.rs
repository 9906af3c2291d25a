//! Rows of a data set, gathered and scaled in one pass.

/// Chosen rows of a data set on the host, and how they are scaled.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The features of all rows, row by row.
    pub features: Features<'a>,
    /// Features of a row.
    pub width: usize,
    /// Which rows, in order.
    pub indices: &'a [usize],
    /// From features to inputs.
    pub scaling: Scaling<'a>,
}

/// Features as they are stored.
#[derive(Clone, Copy, Debug)]
pub enum Features<'a> {
    /// Such as pixels.
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

impl Rows<'_> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is none.
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

    /// Brings some rows into the cache: they lie far apart, and to wait for all at once takes no
    /// longer than for one.
    #[cfg(feature = "flex")]
    pub(crate) fn prefetch(&self, rows: std::ops::Range<usize>) {
        fn touch<T: Copy>(features: &[T], number: impl Fn(T) -> u32) -> u32 {
            let line = (64 / size_of::<T>()).max(1);
            features.iter().step_by(line).fold(0, |sum, &x| sum.wrapping_add(number(x)))
        }
        let row = |i: usize| self.indices[i] * self.width..(self.indices[i] + 1) * self.width;
        let sum = rows.fold(0u32, |sum, i| {
            sum.wrapping_add(match self.features {
                Features::Bytes(bytes) => touch(&bytes[row(i)], u32::from),
                Features::Floats(floats) => touch(&floats[row(i)], f32::to_bits),
            })
        });
        std::hint::black_box(sum);
    }

    /// The inputs of the `i`-th row.
    #[inline(always)]
    pub(crate) fn fill<T: From<f32>>(&self, i: usize, into: &mut [T]) {
        let row = self.indices[i] * self.width..(self.indices[i] + 1) * self.width;
        match self.features {
            Features::Bytes(bytes) => {
                self.scaling.apply(bytes[row].iter().map(|&byte| f32::from(byte)), into);
            }
            Features::Floats(floats) => self.scaling.apply(floats[row].iter().copied(), into),
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
