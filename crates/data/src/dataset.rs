//! Rows on the host: features, targets, and the one door that checks them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fireclay_files::hex;
use fireclay_model::{EncodedRows, InputSpec, SparseRows};
use fireclay_tables::raw_rows;
use sha2::{Digest, Sha256};

use crate::order::permutation;
use crate::{DataError, RowsOnDisk};

/// Rows of features with their targets, in host memory.
///
/// Made by [`Dataset::new`] or [`Dataset::with_terms`], which check everything once; afterwards every
/// row is known to be whole, finite and labelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    shape: Vec<usize>,
    width: usize,
    rows: usize,
    features: Features,
    /// The terms of each text.
    terms: Vec<SparseRows>,
    targets: Targets,
    /// What encoded the rows, of a table.
    input: Option<Arc<InputSpec>>,
    /// How much each row counts; none means 1.
    pub(crate) weights: Option<Vec<f32>>,
    /// Where the rows are in the file of their table, if they are of one.
    pub(crate) places: Option<Arc<RowPlaces>>,
}

/// Rows as the file of their table has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The texts of each row, `[rows][columns]`.
    pub cells: Vec<Vec<String>>,
}

/// Where rows are in the file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowPlaces {
    pub(crate) path: PathBuf,
    /// The place of each row behind the heading, from 0.
    pub(crate) rows: Vec<usize>,
}

/// The features of all rows, row-major: `[rows, width]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Features {
    /// Bytes, such as pixels, kept as they are stored: a quarter of the memory of floats.
    Bytes(Vec<u8>),
    /// Finite floats.
    Floats(Vec<f32>),
    /// Rows that stay on disk, and are read in blocks.
    Blocks(RowsOnDisk),
}

/// The targets of all rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// One class per row.
    Classes {
        /// `[rows]`, each less than `labels.len()`.
        ids: Vec<u32>,
        /// The name of each class.
        labels: Vec<String>,
    },
    /// Any number of labels per row.
    MultiLabel {
        /// 0 or 1, row-major: `[rows, labels]`.
        values: Vec<u8>,
        /// The name of each label.
        labels: Vec<String>,
    },
    /// Real numbers, for regression.
    Values {
        /// Finite, row-major: `[rows, names]`.
        values: Vec<f32>,
        /// The name of each target.
        names: Vec<String>,
    },
}

impl Dataset {
    /// Checks and keeps rows; `shape` is that of one row, such as `[28, 28]`.
    ///
    /// # Errors
    ///
    /// [`DataError::BadShape`], [`DataError::NoRows`] and [`DataError::PartialRow`] if the features
    /// are not whole rows; [`DataError::NoLabels`], [`DataError::DuplicateLabel`],
    /// [`DataError::TargetCount`], [`DataError::ClassOutOfRange`] and [`DataError::NotBinary`] if
    /// the targets do not fit; [`DataError::NotFinite`] for a NaN or an infinity anywhere.
    pub fn new(shape: Vec<usize>, features: Features, targets: Targets) -> Result<Self, DataError> {
        Self::with_terms(shape, features, Vec::new(), targets)
    }

    /// As [`Dataset::new`], with the terms of the texts of each row: for each text, sparse rows.
    ///
    /// A row of texts alone has the shape `[0]` and no features.
    ///
    /// # Errors
    ///
    /// As for [`Dataset::new`], and [`DataError::Terms`] for a text without a sparse row for each row,
    /// with places that do not rise within one, or with a value that is not finite.
    pub fn with_terms(
        shape: Vec<usize>,
        features: Features,
        terms: Vec<SparseRows>,
        targets: Targets,
    ) -> Result<Self, DataError> {
        let (width, rows) = match terms.first() {
            Some(first) if shape == [0] => (0, first.len()),
            _ => {
                let width = row_width(&shape)?;
                (width, features.rows(width)?)
            }
        };
        if rows == 0 {
            return Err(DataError::NoRows);
        }
        if let Features::Floats(values) = &features {
            check_finite("feature", values, width)?;
        }
        check_terms(&terms, rows)?;
        targets.check(rows)?;
        let (weights, input, places) = (None, None, None);
        Ok(Self { shape, width, rows, features, terms, targets, weights, input, places })
    }

    /// Rows that an input of a model has encoded from the columns of a table.
    ///
    /// # Errors
    ///
    /// As for [`Dataset::with_terms`].
    pub fn encoded(
        input: &InputSpec,
        rows: EncodedRows,
        targets: Targets,
    ) -> Result<Self, DataError> {
        let EncodedRows { dense, sparse, .. } = rows;
        let features = Features::Floats(dense);
        let data = Self::with_terms(vec![input.width()], features, sparse, targets)?;
        Ok(data.with_input(input.clone()))
    }

    /// The same rows, encoded by this input of a model from the columns of a table.
    #[must_use]
    pub fn with_input(mut self, input: InputSpec) -> Self {
        self.input = Some(Arc::new(input));
        self
    }

    /// The same rows, which are these of the file of a table.
    #[must_use]
    pub(crate) fn at_places(mut self, path: &Path, rows: Vec<usize>) -> Self {
        self.places = Some(Arc::new(RowPlaces { path: path.to_owned(), rows }));
        self
    }

    /// What the file of a table has in some rows, in the columns that the input takes. None of rows that
    /// are of no table.
    ///
    /// # Errors
    ///
    /// [`DataError::Table`] for a file that cannot be read, or has changed.
    pub fn raw_rows(&self, rows: &[usize]) -> Result<Option<RawRows>, DataError> {
        let (Some(places), Some(input)) = (&self.places, &self.input) else { return Ok(None) };
        let (columns, path) = (input.columns(), &places.path);
        let rows: Vec<usize> = rows.iter().map(|&row| places.rows[row]).collect();
        let cells = raw_rows(path, &rows, &columns).map_err(DataError::table(path))?;
        Ok(Some(RawRows { columns, cells }))
    }

    /// The training rows, in ascending order, in the random order of an epoch; a function of seed and
    /// epoch, and of the blocks of rows that stay on disk.
    pub fn order(&self, train: &[usize], seed: u64, epoch: u64) -> Vec<usize> {
        match &self.features {
            Features::Blocks(blocks) => blocks.order(train, seed, epoch),
            _ => permutation(train.len(), seed, epoch)
                .into_iter()
                .map(|i| train[i as usize])
                .collect(),
        }
    }

    /// Why rows that stay on disk could not be read, if that happened.
    pub fn failure(&self) -> Option<Arc<DataError>> {
        match &self.features {
            Features::Blocks(blocks) => blocks.failure(),
            _ => None,
        }
    }

    /// The input of a model that encoded the rows, of a table; none of raw rows.
    pub fn input(&self) -> Option<&InputSpec> {
        self.input.as_deref()
    }

    /// The same rows with these weights, `[rows]`: how much each counts in a mean over rows.
    ///
    /// # Errors
    ///
    /// [`DataError::WeightCount`], [`DataError::BadWeight`] for one that is below 0 or no finite number,
    /// and [`DataError::NoWeight`] if all are 0.
    pub fn with_weights(self, weights: Vec<f32>) -> Result<Self, DataError> {
        let (rows, found) = (self.rows, weights.len());
        if found != rows {
            return Err(DataError::WeightCount { rows, found });
        }
        if let Some(row) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0))
        {
            return Err(DataError::BadWeight { row, found: weights[row] });
        }
        if weights.iter().all(|weight| *weight == 0.0) {
            return Err(DataError::NoWeight);
        }
        Ok(Self { weights: Some(weights), ..self })
    }

    /// The number of rows, at least 1.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Always `false`: a data set has at least one row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The shape of one row, such as `[28, 28]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of features in one row: the product of [`Dataset::shape`].
    pub fn width(&self) -> usize {
        self.width
    }

    /// The features of all rows.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The terms of each text, `[rows]` each; none if rows have no text.
    pub fn terms(&self) -> &[SparseRows] {
        &self.terms
    }

    /// The terms of each text in some rows, in this order.
    ///
    /// # Panics
    ///
    /// If an index is not less than [`Dataset::len`].
    pub fn terms_of(&self, rows: &[usize]) -> Vec<SparseRows> {
        rows.iter().for_each(|&row| self.check_row(row));
        self.terms.iter().map(|all| all.only(rows)).collect()
    }

    /// Some rows as a network sees them, of a table.
    pub fn encoded_rows(&self, rows: Range<usize>) -> EncodedRows {
        let terms = self.terms_of(&rows.clone().collect::<Vec<_>>());
        EncodedRows::of_parts(self.numbers(rows.clone()), terms, rows.len())
    }

    /// The raw features of some rows as numbers, `[rows, width]` row by row.
    pub fn numbers(&self, rows: Range<usize>) -> Vec<f32> {
        let values = rows.start * self.width()..rows.end * self.width();
        match &self.features {
            Features::Bytes(bytes) => bytes[values].iter().map(|&byte| f32::from(byte)).collect(),
            Features::Floats(floats) => floats[values].to_vec(),
            Features::Blocks(blocks) => {
                let mut numbers = Vec::with_capacity(values.len());
                blocks.gather(&rows.collect::<Vec<_>>(), &mut numbers);
                numbers
            }
        }
    }

    /// The targets of all rows.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The weights of all rows, `[rows]`; none means 1 each.
    pub fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref()
    }

    /// `sha256:` and the digest of everything in it: shape, features, targets and their names, and
    /// weights and texts if there are any.
    ///
    /// Two data sets with the same digest train the same model.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update((self.rows as u64).to_le_bytes());
        hash.update((self.shape.len() as u64).to_le_bytes());
        self.shape.iter().for_each(|&size| hash.update((size as u64).to_le_bytes()));
        match &self.features {
            Features::Bytes(bytes) => add(&mut hash, 0, bytes, |bytes| Cow::Borrowed(bytes)),
            Features::Floats(floats) => add(&mut hash, 1, floats, little_endian),
            Features::Blocks(blocks) => {
                add(&mut hash, 6, blocks.digest().as_bytes(), |bytes| Cow::Borrowed(bytes));
            }
        }
        match &self.targets {
            Targets::Classes { ids, .. } => {
                add(&mut hash, 2, ids, |ids| ids.iter().flat_map(|id| id.to_le_bytes()).collect());
            }
            Targets::MultiLabel { values, .. } => {
                add(&mut hash, 3, values, |bytes| Cow::Borrowed(bytes));
            }
            Targets::Values { values, .. } => add(&mut hash, 4, values, little_endian),
        }
        for label in self.targets.labels() {
            add(&mut hash, 5, label.as_bytes(), |bytes| Cow::Borrowed(bytes));
        }
        if let Some(weights) = &self.weights {
            add(&mut hash, 6, weights, little_endian);
        }
        for terms in &self.terms {
            add(&mut hash, 7, terms.starts(), |starts| {
                starts.iter().flat_map(|&start| (start as u64).to_le_bytes()).collect()
            });
            add(&mut hash, 8, terms.places(), |places| {
                places.iter().flat_map(|place| place.to_le_bytes()).collect()
            });
            add(&mut hash, 9, terms.values(), little_endian);
        }
        format!("sha256:{}", hex(&hash.finalize()))
    }

    /// Appends the features of row `index` to `values`, bytes as `0.0..=255.0`.
    ///
    /// Panics if there is no such row.
    pub(crate) fn append_row(&self, index: usize, values: &mut Vec<f32>) {
        self.check_row(index);
        let row = index * self.width..(index + 1) * self.width;
        match &self.features {
            Features::Bytes(bytes) => values.extend(bytes[row].iter().map(|&byte| f32::from(byte))),
            Features::Floats(floats) => values.extend_from_slice(&floats[row]),
            Features::Blocks(blocks) => blocks.gather(&[index], values),
        }
    }

    /// Panics if there is no such row; this check serves every way to take a row.
    pub(crate) fn check_row(&self, index: usize) {
        assert!(index < self.rows, "row {index} is out of range for {} rows", self.rows);
    }
}

/// Adds a part of a data set to its digest: kind, length, and the bytes of all elements.
fn add<T>(hash: &mut Sha256, kind: u8, part: &[T], bytes: fn(&[T]) -> Cow<'_, [u8]>) {
    hash.update([kind]);
    hash.update((part.len() as u64).to_le_bytes());
    // A piece at a time: a table may be large.
    part.chunks(1 << 14).for_each(|piece| hash.update(bytes(piece)));
}

/// The bytes of each number, the least first.
fn little_endian(numbers: &[f32]) -> Cow<'_, [u8]> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

impl Features {
    fn rows(&self, width: usize) -> Result<usize, DataError> {
        let found = match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Floats(floats) => floats.len(),
            Self::Blocks(blocks) => blocks.rows() * blocks.width(),
        };
        match found {
            0 => Err(DataError::NoRows),
            _ if width == 0 || found % width != 0 => Err(DataError::PartialRow { width, found }),
            _ => Ok(found / width),
        }
    }
}

impl Targets {
    /// The names of the classes, the labels or the regression targets.
    pub fn labels(&self) -> &[String] {
        match self {
            Self::Classes { labels, .. } | Self::MultiLabel { labels, .. } => labels,
            Self::Values { names, .. } => names,
        }
    }

    fn check(&self, rows: usize) -> Result<(), DataError> {
        check_labels(self.labels())?;
        let columns = self.labels().len();
        match self {
            Self::Classes { ids, .. } => {
                check_count(rows, 1, ids.len())?;
                check_ids(ids, columns)
            }
            Self::MultiLabel { values, .. } => {
                check_count(rows, columns, values.len())?;
                check_binary(values, columns)
            }
            Self::Values { values, .. } => {
                check_count(rows, columns, values.len())?;
                check_finite("target", values, columns)
            }
        }
    }
}

fn row_width(shape: &[usize]) -> Result<usize, DataError> {
    let width = shape.iter().try_fold(1_usize, |width, &size| width.checked_mul(size));
    match width {
        Some(width) if width > 0 && !shape.is_empty() => Ok(width),
        _ => Err(DataError::BadShape { shape: shape.to_vec() }),
    }
}

pub(crate) fn check_labels(labels: &[String]) -> Result<(), DataError> {
    if labels.is_empty() {
        return Err(DataError::NoLabels);
    }
    let mut seen = HashSet::new();
    match labels.iter().find(|label| !seen.insert(label.as_str())) {
        Some(label) => Err(DataError::DuplicateLabel { label: label.clone() }),
        None => Ok(()),
    }
}

fn check_count(rows: usize, columns: usize, found: usize) -> Result<(), DataError> {
    let expected = rows.saturating_mul(columns);
    if found == expected { Ok(()) } else { Err(DataError::TargetCount { rows, expected, found }) }
}

fn check_ids(ids: &[u32], classes: usize) -> Result<(), DataError> {
    match ids.iter().position(|&id| id as usize >= classes) {
        Some(row) => Err(DataError::ClassOutOfRange { row, id: ids[row], classes }),
        None => Ok(()),
    }
}

fn check_binary(values: &[u8], columns: usize) -> Result<(), DataError> {
    match values.iter().position(|&value| value > 1) {
        Some(at) => {
            Err(DataError::NotBinary { row: at / columns, column: at % columns, found: values[at] })
        }
        None => Ok(()),
    }
}

/// Checks that each text has a sparse row for each row, whose places rise and whose values are finite.
fn check_terms(terms: &[SparseRows], rows: usize) -> Result<(), DataError> {
    let is_good = |all: &SparseRows| {
        let is_finite = all.values().iter().all(|value| value.is_finite());
        let mut places = (0..all.len()).map(|row| all.row(row).0);
        is_finite && all.len() == rows && places.all(|row| row.is_sorted_by(|a, b| a < b))
    };
    match terms.iter().position(|all| !is_good(all)) {
        Some(text) => Err(DataError::Terms { text }),
        None => Ok(()),
    }
}

fn check_finite(role: &'static str, values: &[f32], columns: usize) -> Result<(), DataError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(DataError::NotFinite {
            role,
            row: at / columns,
            column: at % columns,
            found: values[at],
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn classes(ids: &[u32], labels: &[&str]) -> Targets {
        Targets::Classes { ids: ids.to_vec(), labels: names(labels) }
    }

    fn bytes(shape: &[usize], count: usize, targets: Targets) -> Result<Dataset, DataError> {
        Dataset::new(shape.to_vec(), Features::Bytes(vec![7; count]), targets)
    }

    #[test]
    fn keeps_what_it_was_given() {
        let set = bytes(&[2, 3], 12, classes(&[1, 0], &["a", "b"])).unwrap();
        assert_eq!((set.len(), set.width(), set.shape()), (2, 6, [2, 3].as_slice()));
        assert_eq!(set.features(), &Features::Bytes(vec![7; 12]));
        assert_eq!(set.targets(), &classes(&[1, 0], &["a", "b"]));
        assert!(!set.is_empty());
    }

    #[test]
    fn a_digest_tells_every_difference() {
        let set = |shape: &[usize], ids: &[u32], labels: &[&str]| {
            bytes(shape, 12, classes(ids, labels)).unwrap().digest()
        };
        let digest = set(&[2, 3], &[1, 0], &["a", "b"]);
        assert_eq!(digest, set(&[2, 3], &[1, 0], &["a", "b"]));
        assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
        for other in [
            set(&[3, 2], &[1, 0], &["a", "b"]),
            set(&[6], &[1, 0], &["a", "b"]),
            set(&[2, 3], &[0, 1], &["a", "b"]),
            set(&[2, 3], &[1, 0], &["a", "c"]),
            set(&[2, 3], &[1, 0], &["a", "b", "c"]),
        ] {
            assert_ne!(digest, other);
        }
        let floats = Features::Floats(vec![7.0; 12]);
        let floats = Dataset::new(vec![2, 3], floats, classes(&[1, 0], &["a", "b"])).unwrap();
        assert_ne!(digest, floats.digest());
    }

    #[test]
    fn weights_are_checked_and_part_of_the_digest() {
        let set = || bytes(&[2], 6, classes(&[1, 0, 1], &["a", "b"])).unwrap();
        let weighted = set().with_weights(vec![0.0, 0.5, 2.0]).unwrap();
        assert_eq!(weighted.weights(), Some(&[0.0, 0.5, 2.0][..]));
        assert_ne!(weighted.digest(), set().digest());
        let found = set().with_weights(vec![1.0; 2]);
        assert!(matches!(found, Err(DataError::WeightCount { rows: 3, found: 2 })));
        for bad in [-1.0, f32::NAN, f32::INFINITY] {
            let found = set().with_weights(vec![1.0, bad, 1.0]);
            assert!(matches!(found, Err(DataError::BadWeight { row: 1, .. })), "{bad}");
        }
        assert!(matches!(set().with_weights(vec![0.0; 3]), Err(DataError::NoWeight)));
    }

    #[test]
    fn refuses_features_that_are_not_whole_rows() {
        let one = || classes(&[0], &["a"]);
        for shape in [vec![], vec![2, 0], vec![usize::MAX, 2]] {
            let found = bytes(&shape, 4, one());
            assert!(matches!(found, Err(DataError::BadShape { .. })), "{shape:?}: {found:?}");
        }
        assert!(matches!(bytes(&[4], 0, one()), Err(DataError::NoRows)));
        let partial = bytes(&[4], 5, one());
        assert!(matches!(partial, Err(DataError::PartialRow { width: 4, found: 5 })));
    }

    #[test]
    fn refuses_classes_that_do_not_fit() {
        let found = bytes(&[1], 2, classes(&[0], &["a"]));
        assert!(matches!(found, Err(DataError::TargetCount { rows: 2, expected: 2, found: 1 })));
        let found = bytes(&[1], 2, classes(&[0, 1], &["a"]));
        assert!(matches!(found, Err(DataError::ClassOutOfRange { row: 1, id: 1, classes: 1 })));
        assert!(matches!(bytes(&[1], 1, classes(&[0], &[])), Err(DataError::NoLabels)));
        let found = bytes(&[1], 1, classes(&[0], &["a", "a"]));
        assert!(matches!(found, Err(DataError::DuplicateLabel { label }) if label == "a"));
    }

    #[test]
    fn refuses_multi_label_values_other_than_0_and_1() {
        let targets = Targets::MultiLabel { values: vec![0, 1, 1, 2], labels: names(&["a", "b"]) };
        let found = bytes(&[1], 2, targets);
        assert!(matches!(found, Err(DataError::NotBinary { row: 1, column: 1, found: 2 })));
    }

    #[test]
    fn refuses_numbers_that_are_not_finite() {
        let floats = Features::Floats(vec![0.0, 1.0, f32::NAN]);
        let found = Dataset::new(vec![1], floats, classes(&[0, 0, 0], &["a"]));
        assert!(matches!(found, Err(DataError::NotFinite { role: "feature", row: 2, .. })));
        let targets =
            Targets::Values { values: vec![1.0, f32::INFINITY], names: names(&["y", "z"]) };
        let found = bytes(&[1], 1, targets);
        assert!(matches!(
            found,
            Err(DataError::NotFinite { role: "target", row: 0, column: 1, .. })
        ));
    }
}
