//! The numbers of an evaluation.

use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::counts::{Averages, ClassScores};
use crate::estimate::Estimate;
use crate::ranking::Ranking;

/// How good a model is on some rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows measured on.
    pub rows: usize,
    /// Mean loss, the usual one of the task and without weights: cross-entropy of a classifier,
    /// binary cross-entropy of a multi-label model, squared error in regression, or pinball loss with
    /// quantiles; of standardized targets, if the task has a scaling, while all else is in the unit of
    /// the targets.
    pub loss: Estimate,
    /// What else there is to measure.
    pub scores: Scores,
    /// The rows with the greatest loss, the worst first; of equal ones the first.
    pub worst: Vec<WorstRow>,
}

/// What there is to measure, by the kind of task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
pub enum Scores {
    /// Of a classifier.
    Classification(Classification),
    /// Of a multi-label model.
    MultiLabel(MultiLabel),
    /// Of a regression model.
    Regression(Regression),
}

/// A row that the model does badly on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorstRow {
    /// The row of the data set, from 0.
    pub row: usize,
    /// Its loss.
    pub loss: f64,
    /// What it is: its label, its labels with commas between them, or its values.
    pub truth: String,
    /// What the model says, likewise.
    pub predicted: String,
    /// The probability of what the model says; of a classifier only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Whether the model is right.
    pub is_right: bool,
}

/// A number of an evaluation with its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Its name, such as `accuracy` or `macro-f1`.
    pub name: String,
    /// The number.
    pub estimate: Estimate,
    /// Whether it is a share, from 0 to 1.
    pub is_share: bool,
    /// Whether more is better.
    pub more_is_better: bool,
}

/// How well a classifier tells classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// The share of rows predicted right.
    pub accuracy: Estimate,
    /// The share of rows whose class is among the most probable.
    pub top: Vec<TopK>,
    /// Every class of the model, by index.
    pub classes: Vec<ClassScores>,
    /// Averages over the classes that occur, as truth or as prediction, each weighing the same.
    pub macro_average: Averages,
    /// Averages over the classes, each weighing as much as it has rows.
    pub weighted_average: Averages,
    /// Rows of class `i` that are called `j`: `confusion[i][j]`. Of more than 1000 classes it is
    /// empty: it would be larger than the data.
    pub confusion: Vec<Vec<usize>>,
    /// Whether its probabilities can be believed.
    pub calibration: Calibration,
    /// The order of rows by its probabilities; none where rows of one kind are all there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<Ranking>,
}

/// The share of rows whose class is among the `k` most probable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// How many classes count.
    pub k: usize,
    /// The share; of equal logits, the class with the lower index is the more probable.
    pub accuracy: Estimate,
}

/// Scores of a multi-label model; a label is predicted if its probability is at least its threshold,
/// which is one half unless the model has another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiLabel {
    /// The share of rows with all labels right.
    pub subset_accuracy: Estimate,
    /// The share of labels that are right, of all rows: 1 minus the Hamming loss.
    pub label_accuracy: Estimate,
    /// Every label, by index.
    pub labels: Vec<ClassScores>,
    /// Scores of all labels counted together.
    pub micro_average: Averages,
    /// Averages over the labels, each weighing the same.
    pub macro_average: Averages,
    /// Averages over the labels, each weighing as much as it has rows.
    pub weighted_average: Averages,
    /// Whether its probabilities can be believed.
    pub calibration: Calibration,
    /// The order of rows by its probabilities; none where rows of one kind are all there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<Ranking>,
}

/// How far off predicted numbers are; over several targets, the plain averages of theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// Mean absolute error.
    pub mae: Estimate,
    /// Root of the mean squared error.
    pub rmse: Estimate,
    /// Coefficient of determination: 1 minus the squared error over that of the mean.
    pub r2: Estimate,
    /// Median absolute error.
    pub median_error: Estimate,
    /// Every target, by index.
    pub targets: Vec<TargetScores>,
    /// The coverage of intervals; none without intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<IntervalScores>,
}

/// Coverage and width of prediction intervals; over several targets, the plain averages of theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalScores {
    /// The coverage that the intervals are meant to have.
    pub level: f64,
    /// The share of truths within their interval.
    pub coverage: Estimate,
    /// Mean width of the intervals.
    pub width: Estimate,
}

/// How far off the predictions of one target are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetScores {
    /// Its name.
    pub name: String,
    /// Mean absolute error, in the unit of the target.
    pub mae: Estimate,
    /// Root of the mean squared error, in the unit of the target.
    pub rmse: Estimate,
    /// Coefficient of determination; of a target that is constant, 1 if it is met and else 0.
    pub r2: Estimate,
    /// Median absolute error, in the unit of the target.
    pub median_error: Estimate,
}

impl Evaluation {
    /// Every number of the whole, the most telling first; those of single classes and targets are
    /// in [`Evaluation::scores`].
    pub fn measures(&self) -> Vec<Measure> {
        let mut all = match &self.scores {
            Scores::Classification(scores) => scores.measures(),
            Scores::MultiLabel(scores) => scores.measures(),
            Scores::Regression(scores) => scores.measures(),
        };
        all.insert(all.len().min(1), Measure::error("loss", self.loss));
        all
    }

    /// The number of a name, such as `accuracy`.
    pub fn measure(&self, name: &str) -> Option<Measure> {
        self.measures().into_iter().find(|measure| measure.name == name)
    }
}

impl Measure {
    /// A share of which more is better.
    fn share(name: &str, estimate: Estimate) -> Self {
        Self { name: name.to_owned(), estimate, is_share: true, more_is_better: true }
    }

    /// Something of which less is better.
    fn error(name: &str, estimate: Estimate) -> Self {
        Self { name: name.to_owned(), estimate, is_share: false, more_is_better: false }
    }
}

impl Classification {
    fn measures(&self) -> Vec<Measure> {
        let mut all = vec![Measure::share("accuracy", self.accuracy)];
        all.extend(
            self.top.iter().map(|top| Measure::share(&format!("top-{}", top.k), top.accuracy)),
        );
        all.extend(average_measures("macro", &self.macro_average));
        all.extend(average_measures("weighted", &self.weighted_average));
        all.extend(ranking_measures(self.ranking.as_ref()));
        all.push(calibration_measure(&self.calibration));
        all
    }
}

impl MultiLabel {
    fn measures(&self) -> Vec<Measure> {
        let mut all = vec![
            Measure::share("subset-accuracy", self.subset_accuracy),
            Measure::share("label-accuracy", self.label_accuracy),
        ];
        all.extend(average_measures("micro", &self.micro_average));
        all.extend(average_measures("macro", &self.macro_average));
        all.extend(average_measures("weighted", &self.weighted_average));
        all.extend(ranking_measures(self.ranking.as_ref()));
        all.push(calibration_measure(&self.calibration));
        all
    }
}

impl Regression {
    fn measures(&self) -> Vec<Measure> {
        let mut all = vec![
            Measure { more_is_better: true, ..Measure::error("r2", self.r2) },
            Measure::error("rmse", self.rmse),
            Measure::error("mae", self.mae),
            Measure::error("median-error", self.median_error),
        ];
        if let Some(intervals) = &self.intervals {
            all.push(Measure::share("coverage", intervals.coverage));
            all.push(Measure::error("interval-width", intervals.width));
        }
        all
    }
}

fn average_measures(kind: &str, of: &Averages) -> [Measure; 3] {
    [("precision", of.precision), ("recall", of.recall), ("f1", of.f1)]
        .map(|(name, estimate)| Measure::share(&format!("{kind}-{name}"), estimate))
}

fn ranking_measures(ranking: Option<&Ranking>) -> Vec<Measure> {
    let measures = ranking.map(|ranking| {
        [("auroc", ranking.auroc), ("average-precision", ranking.average_precision)]
            .map(|(name, estimate)| Measure::share(name, estimate))
    });
    measures.into_iter().flatten().collect()
}

fn calibration_measure(calibration: &Calibration) -> Measure {
    Measure { is_share: true, ..Measure::error("calibration-error", calibration.error) }
}

/// The rows with the greatest loss, the worst first.
pub(crate) fn worst(losses: &[f64], count: usize) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..losses.len()).collect();
    rows.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]).then(a.cmp(&b)));
    rows.truncate(count);
    rows
}
