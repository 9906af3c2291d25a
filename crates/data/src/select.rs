//! Data sets made of other sets: some classes, other labels, several sets one after the other.

use fireclay_model::SparseRows;

use crate::{DataError, Dataset, Features, Targets};

impl Dataset {
    /// The rows of these classes alone, which are the only labels then, in the order they have here.
    ///
    /// # Errors
    ///
    /// [`DataError::NoClasses`] if the targets are not classes, [`DataError::UnknownLabel`] for a
    /// label that is not there, [`DataError::NoRows`] if no row has one.
    pub fn only_classes(&self, wanted: &[String]) -> Result<Self, DataError> {
        let (rows, targets) = self.targets().only_classes(wanted)?;
        self.of_rows(&rows, targets)
    }

    /// These rows alone, in this order.
    ///
    /// # Errors
    ///
    /// [`DataError::NoRows`] of none.
    pub fn only_rows(&self, rows: &[usize]) -> Result<Self, DataError> {
        self.of_rows(rows, self.targets().of_rows(rows))
    }

    fn of_rows(&self, rows: &[usize], targets: Targets) -> Result<Self, DataError> {
        let features = self.features().rows_of(self.width(), rows);
        let made = self.made(features, self.terms_of(rows), targets, self.weights_of(rows))?;
        Ok(made.placed(self, rows))
    }

    /// The same rows with other targets.
    ///
    /// # Errors
    ///
    /// As for [`Dataset::new`].
    pub fn with_targets(&self, targets: Targets) -> Result<Self, DataError> {
        let (features, terms) = (self.features().clone(), self.terms().to_vec());
        let mut made = self.made(features, terms, targets, self.weights.clone())?;
        made.places.clone_from(&self.places);
        Ok(made)
    }

    /// These rows, which are some of another set, with their places in the file of a table.
    fn placed(self, other: &Self, rows: &[usize]) -> Self {
        match &other.places {
            Some(places) => {
                let rows = rows.iter().map(|&row| places.rows[row]).collect();
                self.at_places(&places.path, rows)
            }
            None => self,
        }
    }

    /// The weights of some rows, if rows have weights.
    fn weights_of(&self, rows: &[usize]) -> Option<Vec<f32>> {
        let weights = self.weights()?;
        Some(rows.iter().map(|&row| weights[row]).collect())
    }

    /// The same rows with these labels, each row with the label of its name.
    ///
    /// # Errors
    ///
    /// [`DataError::NoClasses`] if the targets are not classes, [`DataError::UnknownLabel`] for a
    /// label of this set that is not among the others.
    pub fn relabelled(&self, others: &[String]) -> Result<Self, DataError> {
        let (ids, labels) = self.targets().classes()?;
        if labels == others {
            return Ok(self.clone());
        }
        let places = places(labels, others);
        if let Some(at) = places.iter().position(Option::is_none) {
            return Err(unknown_label(&labels[at], others));
        }
        let ids = ids.iter().filter_map(|&id| places[id as usize]).collect();
        self.with_targets(Targets::Classes { ids, labels: others.to_vec() })
    }

    /// These rows, and behind them some rows of another set with the same shape and labels.
    ///
    /// # Errors
    ///
    /// [`DataError::BlocksAlone`], [`DataError::ShapeMismatch`] or [`DataError::LabelMismatch`] if the sets differ in more than
    /// their rows.
    pub fn followed_by(&self, other: &Self, rows: &[usize]) -> Result<Self, DataError> {
        // All of them would have to be in memory.
        if matches!(self.features(), Features::Blocks(_)) {
            return Err(DataError::BlocksAlone);
        }
        if self.shape() != other.shape() || self.terms().len() != other.terms().len() {
            let (train, test) = (self.shape().to_vec(), other.shape().to_vec());
            return Err(DataError::ShapeMismatch { train, test });
        }
        let features = match (self.features(), other.features().rows_of(self.width(), rows)) {
            (Features::Bytes(first), Features::Bytes(then)) => {
                Features::Bytes([&first[..], &then].concat())
            }
            (first, then) => Features::Floats([first.floats(), then.floats()].concat()),
        };
        let columns = self.targets().labels().len();
        let targets = match (self.targets().clone(), other.targets()) {
            (Targets::Classes { mut ids, labels }, Targets::Classes { ids: then, .. }) => {
                ids.extend(rows.iter().map(|&row| then[row]));
                Targets::Classes { ids, labels }
            }
            (Targets::MultiLabel { mut values, labels }, Targets::MultiLabel { values: t, .. }) => {
                rows.iter().for_each(|&row| values.extend(&t[row * columns..][..columns]));
                Targets::MultiLabel { values, labels }
            }
            (Targets::Values { mut values, names }, Targets::Values { values: t, .. }) => {
                rows.iter().for_each(|&row| values.extend(&t[row * columns..][..columns]));
                Targets::Values { values, names }
            }
            _ => return Err(DataError::LabelMismatch),
        };
        if self.targets().labels() != other.targets().labels() {
            return Err(DataError::LabelMismatch);
        }
        let mut terms = self.terms().to_vec();
        terms.iter_mut().zip(other.terms()).for_each(|(all, other)| all.extend(other, rows));
        self.made(features, terms, targets, self.joined_weights(other, rows))
    }

    /// Other rows of this set, encoded as these are.
    fn made(
        &self,
        features: Features,
        terms: Vec<SparseRows>,
        targets: Targets,
        weights: Option<Vec<f32>>,
    ) -> Result<Self, DataError> {
        let mut made = Self::with_terms(self.shape().to_vec(), features, terms, targets)?;
        made.weights = weights;
        Ok(match self.input() {
            Some(input) => made.with_input(input.clone()),
            None => made,
        })
    }

    /// The weights of these rows and of some rows of another set, 1 each where one of the two has none;
    /// none if neither has any.
    fn joined_weights(&self, other: &Self, rows: &[usize]) -> Option<Vec<f32>> {
        let then = other.weights_of(rows);
        if self.weights.is_none() && then.is_none() {
            return None;
        }
        let own = self.weights.clone().unwrap_or_else(|| vec![1.0; self.len()]);
        Some([own, then.unwrap_or_else(|| vec![1.0; rows.len()])].concat())
    }
}

impl Targets {
    /// The same labels of rows among these labels, in another order or with others beside them; targets
    /// of other kinds as they are.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownLabel`].
    pub(crate) fn spread_over(&self, others: &[String]) -> Result<Self, DataError> {
        let Self::MultiLabel { values, labels } = self else { return Ok(self.clone()) };
        let places = places(labels, others);
        if let Some(at) = places.iter().position(Option::is_none) {
            return Err(unknown_label(&labels[at], others));
        }
        let rows = values.len() / labels.len().max(1);
        let mut spread = vec![0; rows * others.len()];
        for (row, of_row) in spread.chunks_exact_mut(others.len()).zip(values.chunks(labels.len()))
        {
            let set = places.iter().flatten().zip(of_row);
            set.for_each(|(&place, &value)| row[place as usize] = value);
        }
        Ok(Self::MultiLabel { values: spread, labels: others.to_vec() })
    }

    /// The rows of these classes, in ascending order, and their targets, whose only labels these are.
    ///
    /// # Errors
    ///
    /// [`DataError::NoClasses`] and [`DataError::UnknownLabel`].
    pub(crate) fn only_classes(&self, wanted: &[String]) -> Result<(Vec<usize>, Self), DataError> {
        let (ids, labels) = self.classes()?;
        if let Some(label) = wanted.iter().find(|label| !labels.contains(label)) {
            return Err(unknown_label(label, labels));
        }
        let kept: Vec<String> =
            labels.iter().filter(|label| wanted.contains(label)).cloned().collect();
        let places = places(labels, &kept);
        let rows: Vec<usize> =
            (0..ids.len()).filter(|&row| places[ids[row] as usize].is_some()).collect();
        let ids = rows.iter().filter_map(|&row| places[ids[row] as usize]).collect();
        Ok((rows, Self::Classes { ids, labels: kept }))
    }

    fn classes(&self) -> Result<(&[u32], &[String]), DataError> {
        match self {
            Self::Classes { ids, labels } => Ok((ids, labels)),
            _ => Err(DataError::NoClasses),
        }
    }

    /// Those of some rows, in this order.
    ///
    /// # Panics
    ///
    /// If there is no such row: a mistake of the caller, as in slice indexing.
    pub fn of_rows(&self, rows: &[usize]) -> Self {
        let columns = self.labels().len();
        match self {
            Self::Classes { ids, labels } => Self::Classes {
                ids: rows.iter().map(|&row| ids[row]).collect(),
                labels: labels.clone(),
            },
            Self::MultiLabel { values, labels } => {
                Self::MultiLabel { values: rows_of(values, columns, rows), labels: labels.clone() }
            }
            Self::Values { values, names } => {
                Self::Values { values: rows_of(values, columns, rows), names: names.clone() }
            }
        }
    }
}

impl Features {
    /// Some rows, copied.
    fn rows_of(&self, width: usize, rows: &[usize]) -> Self {
        fn pick<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Vec<T> {
            rows.iter().flat_map(|&row| &values[row * width..][..width]).copied().collect()
        }
        match self {
            Self::Bytes(bytes) => Self::Bytes(pick(bytes, width, rows)),
            Self::Floats(floats) => Self::Floats(pick(floats, width, rows)),
            Self::Blocks(blocks) => {
                let mut values = Vec::with_capacity(rows.len() * width);
                blocks.gather(rows, &mut values);
                Self::Floats(values)
            }
        }
    }

    fn floats(&self) -> Vec<f32> {
        match self {
            Self::Bytes(bytes) => bytes.iter().map(|&byte| f32::from(byte)).collect(),
            Self::Floats(floats) => floats.clone(),
            Self::Blocks(blocks) => {
                let mut values = Vec::new();
                blocks.gather(&(0..blocks.rows()).collect::<Vec<_>>(), &mut values);
                values
            }
        }
    }
}

/// Where each label is among the others.
fn places(labels: &[String], others: &[String]) -> Vec<Option<u32>> {
    let places = labels.iter().map(|label| others.iter().position(|other| other == label));
    places.map(|place| u32::try_from(place?).ok()).collect()
}

fn unknown_label(label: &str, choices: &[String]) -> DataError {
    DataError::UnknownLabel { label: label.to_owned(), choices: choices.to_vec() }
}

/// Some rows of a matrix.
fn rows_of<T: Copy>(values: &[T], columns: usize, rows: &[usize]) -> Vec<T> {
    rows.iter().flat_map(|&row| &values[row * columns..][..columns]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn set(ids: &[u32], labels: &[&str]) -> Dataset {
        let bytes = (0..2 * ids.len() as u8).collect();
        let targets = Targets::Classes { ids: ids.to_vec(), labels: names(labels) };
        Dataset::new(vec![2], Features::Bytes(bytes), targets).unwrap()
    }

    #[test]
    fn some_classes_keep_their_rows_and_order() {
        let some = set(&[2, 0, 1, 2], &["a", "b", "c"]).only_classes(&names(&["c", "a"])).unwrap();
        assert_eq!(some.features(), &Features::Bytes(vec![0, 1, 2, 3, 6, 7]));
        let expected = Targets::Classes { ids: vec![1, 0, 1], labels: names(&["a", "c"]) };
        assert_eq!(some.targets(), &expected);
    }

    #[test]
    fn rows_keep_their_targets() {
        let some = set(&[2, 0, 1], &["a", "b", "c"]).only_rows(&[2, 0]).unwrap();
        assert_eq!(some.features(), &Features::Bytes(vec![4, 5, 0, 1]));
        assert!(matches!(some.targets(), Targets::Classes { ids, .. } if ids == &[1, 2]));
        let targets =
            Targets::Values { values: vec![1.0, 2.0, 3.0, 4.0], names: names(&["y", "z"]) };
        let values = Dataset::new(vec![1], Features::Floats(vec![5.0, 6.0]), targets).unwrap();
        let last = values.only_rows(&[1]).unwrap();
        assert!(matches!(last.targets(), Targets::Values { values, .. } if values == &[3.0, 4.0]));
        assert!(matches!(values.only_rows(&[]), Err(DataError::NoRows)));
    }

    #[test]
    fn rows_keep_their_weights() {
        let whole = set(&[2, 0, 1], &["a", "b", "c"]).with_weights(vec![1.0, 2.0, 3.0]).unwrap();
        assert_eq!(whole.only_rows(&[2, 0]).unwrap().weights(), Some(&[3.0, 1.0][..]));
        let some = whole.only_classes(&names(&["a", "c"])).unwrap();
        assert_eq!(some.weights(), Some(&[1.0, 2.0][..]));
        let moved = whole.relabelled(&names(&["c", "b", "a"])).unwrap();
        assert_eq!(moved.weights(), whole.weights());
        let plain = set(&[0], &["a", "b", "c"]);
        let joined = whole.followed_by(&plain, &[0]).unwrap();
        assert_eq!(joined.weights(), Some(&[1.0, 2.0, 3.0, 1.0][..]));
        let joined = plain.followed_by(&whole, &[1]).unwrap();
        assert_eq!(joined.weights(), Some(&[1.0, 2.0][..]));
    }

    #[test]
    fn labels_move_by_name() {
        let moved = set(&[0, 1, 0], &["b", "a"]).relabelled(&names(&["a", "x", "b"])).unwrap();
        let expected = Targets::Classes { ids: vec![2, 0, 2], labels: names(&["a", "x", "b"]) };
        assert_eq!(moved.targets(), &expected);
    }

    #[test]
    fn sets_follow_each_other() {
        let both = set(&[0, 1], &["a", "b"]).followed_by(&set(&[1, 1, 0], &["a", "b"]), &[2, 0]);
        let both = both.unwrap();
        assert_eq!(both.features(), &Features::Bytes(vec![0, 1, 2, 3, 4, 5, 0, 1]));
        let expected = Targets::Classes { ids: vec![0, 1, 0, 1], labels: names(&["a", "b"]) };
        assert_eq!(both.targets(), &expected);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let ab = set(&[0, 1], &["a", "b"]);
        let unknown = ab.only_classes(&names(&["d"])).unwrap_err();
        assert!(unknown.to_string().contains("`d`"), "{unknown}");
        assert!(matches!(ab.only_classes(&[]), Err(DataError::NoRows)), "no class, no row");
        let missing = ab.relabelled(&names(&["a"]));
        assert!(matches!(missing, Err(DataError::UnknownLabel { label, .. }) if label == "b"));
        let other = ab.followed_by(&set(&[0], &["a"]), &[0]);
        assert!(matches!(other, Err(DataError::LabelMismatch)));
        let targets = Targets::Values { values: vec![1.0], names: names(&["y"]) };
        let values = Dataset::new(vec![2], Features::Floats(vec![1.0, 2.0]), targets).unwrap();
        assert!(matches!(values.relabelled(&names(&["y"])), Err(DataError::NoClasses)));
        assert!(matches!(ab.followed_by(&values, &[0]), Err(DataError::LabelMismatch)));
    }
}
