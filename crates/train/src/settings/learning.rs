//! Weights of classes, sampling of rows, and transforms of targets in training.

use std::collections::BTreeMap;

use clap::ValueEnum;
use fireclay::{Loss, Task, nearest};
use fireclay_data::{Dataset, Split, Targets};
use serde::{Deserialize, Serialize};

use super::{Settings, SettingsError};

/// The weights of classes in the loss, as a person gives them; a run keeps the numbers that follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ClassWeightsText", into = "ClassWeightsText")]
pub enum ClassWeights {
    /// As much as all others: `n / (k n_c)` for `n_c` of `n` training rows and `k` classes, as in
    /// scikit-learn.
    Balanced,
    /// By label; classes that are not named count 1.
    Given(BTreeMap<String, f64>),
}

/// Class weights in a file: `"balanced"`, `"yes=3,no=1"`, or a number for each label.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum ClassWeightsText {
    Text(String),
    Table(BTreeMap<String, f64>),
}

impl TryFrom<ClassWeightsText> for ClassWeights {
    type Error = String;

    fn try_from(text: ClassWeightsText) -> Result<Self, Self::Error> {
        match text {
            ClassWeightsText::Text(text) => text.parse(),
            ClassWeightsText::Table(weights) => Ok(Self::Given(weights)),
        }
    }
}

impl From<ClassWeights> for ClassWeightsText {
    fn from(weights: ClassWeights) -> Self {
        match weights {
            ClassWeights::Balanced => Self::Text("balanced".to_owned()),
            ClassWeights::Given(weights) => Self::Table(weights),
        }
    }
}

impl std::str::FromStr for ClassWeights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "balanced" {
            return Ok(Self::Balanced);
        }
        let weights = text.split(',').map(|one| {
            let (label, weight) = one.rsplit_once('=')?;
            Some((label.trim().to_owned(), weight.trim().parse().ok()?))
        });
        weights.collect::<Option<_>>().map(Self::Given).ok_or_else(|| {
            format!("`{text}` is neither balanced nor the weight of each class, such as yes=3,no=1")
        })
    }
}

/// The rows of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Every row once, in random order.
    #[default]
    Shuffle,
    /// As many rows as there are, drawn with replacement in proportion to their sample weights; the
    /// training loss is then unweighted.
    Weighted,
    /// As many rows as there are, drawn with replacement so that all classes are equally frequent.
    Balanced,
}

impl Sampling {
    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shuffle => "shuffle",
            Self::Weighted => "weighted",
            Self::Balanced => "balanced",
        }
    }

    /// Returns true if every row is visited once.
    pub fn is_shuffle(&self) -> bool {
        *self == Self::Shuffle
    }
}

/// The transform of the targets of a regression for training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TargetTransform {
    /// Targets as they are.
    None,
    /// Natural logarithm of the targets; predictions are in the unit of the targets.
    Log,
}

/// Training rows of each class.
pub(crate) fn class_counts(ids: &[u32], classes: usize, rows: &[usize]) -> Vec<usize> {
    let mut counts = vec![0; classes];
    rows.iter().for_each(|&row| counts[ids[row] as usize] += 1);
    counts
}

impl Settings {
    /// The task of a new network: with the quantiles of the loss, if it has any.
    pub(crate) fn with_quantiles(&self, task: Task) -> Task {
        match &self.loss {
            Some(Loss::Quantile(loss)) => task.with_quantiles(loss.quantiles.clone()),
            _ => task,
        }
    }

    /// Turns the class weights that were asked for into numbers of the loss.
    ///
    /// # Errors
    ///
    /// Targets that are no classes, a loss without class weights, a label that no class has, and a
    /// weight out of range.
    pub(crate) fn weigh_classes(
        &mut self,
        task: &Task,
        data: &Dataset,
        training: &[usize],
    ) -> Result<(), SettingsError> {
        let Some(asked) = self.training.class_weights.take() else { return Ok(()) };
        let (Targets::Classes { ids, labels }, Some(Loss::CrossEntropy(loss))) =
            (data.targets(), &mut self.loss)
        else {
            return Err(SettingsError::ClassWeights { task: task.kind() });
        };
        let weights = match asked {
            ClassWeights::Balanced => {
                let counts = class_counts(ids, labels.len(), training);
                let (rows, classes) = (training.len() as f64, labels.len() as f64);
                // A class without rows weighs nothing, whatever its weight.
                let weight = |&count: &usize| match count {
                    0 => 1.0,
                    count => rows / (classes * count as f64),
                };
                counts.iter().map(weight).collect()
            }
            ClassWeights::Given(given) => {
                if let Some(label) = given.keys().find(|label| !labels.contains(label)) {
                    let near = nearest(label, labels.iter().map(String::as_str));
                    let nearest = near.map(str::to_owned);
                    return Err(SettingsError::UnknownClass { label: label.clone(), nearest });
                }
                labels.iter().map(|label| given.get(label).copied().unwrap_or(1.0)).collect()
            }
        };
        loss.class_weights = Some(weights);
        Ok(self.loss.iter().try_for_each(|loss| loss.validate(task))?)
    }

    /// Checks that rows have what they are drawn by, and that their weights let each split be measured.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Sampling`] and [`SettingsError::NoWeight`].
    pub(crate) fn check_weights(
        &self,
        data: &Dataset,
        split: &Split,
        test: &Dataset,
    ) -> Result<(), SettingsError> {
        let is_drawn = !self.training.sampling.is_shuffle();
        let lacks = match (self.training.sampling, data.targets()) {
            // Rows that are drawn at random would be read from all over the file.
            _ if is_drawn && self.data.memory.is_some() => Some("all rows in memory"),
            (Sampling::Weighted, _) if data.weights().is_none() => Some("a column of weights"),
            (Sampling::Balanced, targets) if !matches!(targets, Targets::Classes { .. }) => {
                Some("classes")
            }
            _ => None,
        };
        if let Some(lacks) = lacks {
            return Err(SettingsError::Sampling { sampling: self.training.sampling, lacks });
        }
        let all_of_test: Vec<usize> = (0..test.len()).collect();
        for (name, data, rows) in [
            ("training", data, &split.train),
            ("validation", data, &split.validation),
            ("test", test, &all_of_test),
        ] {
            let Some(weights) = data.weights() else { continue };
            if !rows.is_empty() && rows.iter().all(|&row| weights[row] == 0.0) {
                return Err(SettingsError::NoWeight { split: name });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fireclay::CrossEntropy;
    use fireclay_data::Features;

    use super::*;

    fn data(ids: &[u32]) -> Dataset {
        let labels = ["no", "yes"].map(String::from).to_vec();
        let targets = Targets::Classes { ids: ids.to_vec(), labels };
        Dataset::new(vec![1], Features::Bytes(vec![0; ids.len()]), targets).unwrap()
    }

    fn weighed(asked: &str, ids: &[u32], training: &[usize]) -> Result<Vec<f64>, SettingsError> {
        let data = data(ids);
        let task = Task::classification(data.targets().labels().to_vec());
        let mut settings = Settings { loss: Some(Loss::default_for(&task)), ..Settings::default() };
        settings.training.class_weights = Some(asked.parse().unwrap());
        settings.weigh_classes(&task, &data, training)?;
        assert_eq!(settings.training.class_weights, None);
        match settings.loss {
            Some(Loss::CrossEntropy(CrossEntropy { class_weights, .. })) => {
                Ok(class_weights.unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    /// `compute_class_weight("balanced", classes=[0, 1], y=[0, 0, 0, 1])` of scikit-learn.
    #[test]
    fn balanced_weights_are_scikit_learns() {
        let found = weighed("balanced", &[0, 0, 0, 1, 1], &[0, 1, 2, 3]).unwrap();
        assert_eq!(found, [4.0 / 6.0, 2.0]);
        // A class without a training row counts once.
        assert_eq!(weighed("balanced", &[0, 0, 1], &[0, 1]).unwrap(), [0.5, 1.0]);
    }

    #[test]
    fn given_weights_are_by_label() {
        assert_eq!(weighed("yes=3", &[0, 1], &[0, 1]).unwrap(), [1.0, 3.0]);
        assert_eq!(weighed("yes=3, no=0.5", &[0, 1], &[0, 1]).unwrap(), [0.5, 3.0]);
        let error = weighed("yess=3", &[0, 1], &[0, 1]).unwrap_err().to_string();
        assert!(error.contains("did you mean `yes`?"), "{error}");
        assert!(weighed("yes=0", &[0, 1], &[0, 1]).is_err());
        for text in ["balance", "yes", "yes=x", ""] {
            assert!(text.parse::<ClassWeights>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_has_a_word_or_a_table() {
        let read = |text: &str| toml::from_str::<Settings>(text).unwrap().training.class_weights;
        assert_eq!(read("[training]\nclass_weights = \"balanced\""), Some(ClassWeights::Balanced));
        let given = ClassWeights::Given([("yes".to_owned(), 3.0)].into());
        assert_eq!(read("[training.class_weights]\nyes = 3"), Some(given.clone()));
        assert_eq!(read("[training]\nclass_weights = \"yes=3\""), Some(given));
    }

    #[test]
    fn rows_are_drawn_by_what_they_have() {
        let data = data(&[0, 1, 0]);
        let split = Split { train: vec![0, 1], validation: vec![2] };
        let mut settings = Settings::default();
        settings.check_weights(&data, &split, &data).unwrap();
        settings.training.sampling = Sampling::Weighted;
        let error = settings.check_weights(&data, &split, &data).unwrap_err().to_string();
        assert!(error.contains("weights"), "{error}");
        let weighted = data.clone().with_weights(vec![1.0, 0.0, 0.0]).unwrap();
        let error = settings.check_weights(&weighted, &split, &data).unwrap_err().to_string();
        assert!(error.contains("validation"), "{error}");
    }
}
