//! From a network's outputs to an answer with a name.

use crate::{Intervals, Task};

/// The prediction of a model for one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Prediction {
    /// Of a classifier.
    Class {
        /// Index of the class: the most probable, or of two classes the one that the threshold of the
        /// model decides for.
        class: usize,
        /// Its label.
        label: String,
        /// Its probability.
        probability: f32,
        /// Probability of every class, by index; sums to 1.
        distribution: Vec<f32>,
    },
    /// Of a multi-label model: the probability of every label, by index.
    Labels {
        /// The labels whose probability reaches their threshold, which is one half unless the model has
        /// another.
        labels: Vec<String>,
        /// Probability of every label, by index.
        probabilities: Vec<f32>,
    },
    /// Of a regression model.
    Values {
        /// A number per target in the target's unit, by index.
        values: Vec<f32>,
        /// Lower and upper end of the interval of each value; empty if the model has no intervals.
        intervals: Vec<[f32; 2]>,
    },
}

impl Task {
    /// Turns the logits of one row into probabilities; values in the unit of their target are left as
    /// they are.
    pub fn finish(&self, outputs: &mut [f32]) {
        match self {
            Self::Classification { .. } => softmax(outputs),
            Self::MultiLabel { .. } => {
                outputs.iter_mut().for_each(|z| *z = 1.0 / (1.0 + (-*z).exp()));
            }
            Self::Regression { .. } => {}
        }
    }

    /// Turns logits, or values in the unit of their target, `[rows, outputs]` row by row, into
    /// predictions.
    pub fn predictions(&self, mut outputs: Vec<f32>) -> Vec<Prediction> {
        let rows = outputs.chunks_exact_mut(self.outputs());
        rows.map(|row| {
            self.finish(row);
            self.prediction(row)
        })
        .collect()
    }

    /// How far members are apart: the standard deviation over them of each probability, or of each value
    /// in the unit of its target, `[rows, names]`, from what they give, `[rows, members, outputs]`:
    /// logits, or values in the unit of their target.
    pub fn spread(&self, mut members: Vec<f32>, count: usize) -> Vec<f32> {
        let outputs = self.outputs();
        members.chunks_exact_mut(outputs).for_each(|member| self.finish(member));
        let rows = members.chunks_exact(count * outputs);
        let spread = rows.flat_map(|row| {
            (0..outputs).map(move |at| deviation(row.iter().skip(at).step_by(outputs)))
        });
        self.values(spread.collect())
    }

    /// Lower and upper end of the interval of each target, from the outputs of a row; none without
    /// intervals.
    fn bounds(&self, intervals: &Intervals, outputs: &[f32]) -> Vec<[f32; 2]> {
        let targets = outputs.chunks_exact(intervals.width()).enumerate();
        let is_logarithmic = self.is_logarithmic();
        targets.filter_map(|(at, of_it)| intervals.bounds(at, of_it, is_logarithmic)).collect()
    }

    /// Names what [`finish`](Self::finish) gave; there are as many numbers as the task has outputs.
    pub fn prediction(&self, finished: &[f32]) -> Prediction {
        match self {
            Self::Classification { labels, decision } => {
                let class = decision.class(finished);
                Prediction::Class {
                    class,
                    label: labels[class].clone(),
                    probability: finished[class],
                    distribution: finished.to_vec(),
                }
            }
            Self::MultiLabel { labels, decision } => {
                let is_given = |at: &usize| finished[*at] >= decision.threshold(*at);
                let given = (0..labels.len()).filter(is_given);
                Prediction::Labels {
                    labels: given.map(|at| labels[at].clone()).collect(),
                    probabilities: finished.to_vec(),
                }
            }
            Self::Regression { intervals, .. } => Prediction::Values {
                values: self.values(finished.to_vec()),
                intervals: self.bounds(intervals, finished),
            },
        }
    }
}

/// Standard deviation of some numbers, divided by their number.
fn deviation<'a>(numbers: impl Iterator<Item = &'a f32> + Clone) -> f32 {
    let numbers = numbers.map(|&x| f64::from(x));
    let count = numbers.clone().count() as f64;
    let mean = numbers.clone().sum::<f64>() / count;
    (numbers.map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt() as f32
}

/// `exp(z) / Σ exp(z)`, with the largest logit taken away first so that nothing overflows.
fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for z in logits.iter_mut() {
        *z = (*z - largest).exp();
        sum += *z;
    }
    logits.iter_mut().for_each(|z| *z /= sum);
}

/// Checks one row of raw features, which has `row` others before it.
///
/// # Errors
///
/// A [`RowError`]: it has another width, or a number that is not finite.
pub fn check_row(row: usize, features: &[f32], expected: usize) -> Result<(), RowError> {
    if features.len() != expected {
        return Err(RowError::Width { row, found: features.len(), expected });
    }
    // Without a way out of the loop, so that several numbers are looked at together.
    if features.iter().fold(true, |all, value| all & value.is_finite()) {
        return Ok(());
    }
    let feature = features.iter().position(|value| !value.is_finite()).unwrap_or_default();
    Err(RowError::NotFinite { row, feature, found: features[feature] })
}

/// Why a row cannot be predicted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RowError {
    /// A row does not have as many features as the model takes.
    #[error("row {row} has another number of features, {found}; this model takes {expected}")]
    Width {
        /// The row, from 0.
        row: usize,
        /// Its features.
        found: usize,
        /// The model's features.
        expected: usize,
    },
    /// A row of numbers for a model that takes named columns.
    #[error("this model takes the columns {}; give rows by the names of their columns", fields.join(", "))]
    Named {
        /// The names of its fields.
        fields: Vec<String>,
    },
    /// Encoded rows for another number of texts.
    #[error("the rows have the terms of {found} texts; this model takes {expected}")]
    Texts {
        /// Texts of the rows.
        found: usize,
        /// Texts of the model.
        expected: usize,
    },
    /// The terms of a text are not those of the model.
    #[error("text {text}: its terms are not those of this model, or there are too few rows")]
    Terms {
        /// The text, from 0.
        text: usize,
    },
    /// A feature is not a finite number.
    #[error("row {row}: feature {feature} is {found}; features must be finite numbers")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The feature, from 0.
        feature: usize,
        /// Its value.
        found: f32,
    },
}
