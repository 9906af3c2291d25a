//! Precision, recall and F-beta, averaged over classes.

use std::sync::Arc;

use burn::tensor::{Bool, Tensor, TensorReadError};
use burn::train::metric::{
    ConfusionStatsInput, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};

/// What is averaged.
#[derive(Clone, Copy, Debug)]
pub(super) enum Score {
    Precision,
    Recall,
    /// The weighted harmonic mean of the two: recall weighs `beta²` as much.
    FBeta(f64),
}

/// How a probability becomes a guess.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guess {
    /// The most probable class.
    Most,
    /// Every label above one half.
    AboveHalf,
}

/// A score of each class, averaged over those that occur, as truth or as guess.
///
/// As a metric of Burn's, whose own of these names count a class that does not occur as 0 in
/// precision and recall, and leave it out in F-beta.
#[derive(Clone)]
pub(super) struct MacroScore {
    name: MetricName,
    score: Score,
    guess: Guess,
    /// Rows of each class that are of it and called so, that are called so, and that are of it.
    counts: Vec<[f64; 3]>,
    /// Of the last rows alone, in per cent.
    last: Option<f64>,
}

impl MacroScore {
    pub(super) fn new(name: &str, score: Score, guess: Guess) -> Self {
        let name = Arc::new(name.to_owned());
        Self { name, score, guess, counts: Vec::new(), last: None }
    }

    /// The average in per cent; 0 of nothing.
    fn average(&self, counts: &[[f64; 3]]) -> f64 {
        let (sum, classes) = counts
            .iter()
            .filter(|[_, called, are]| called + are > 0.0)
            .fold((0.0, 0.0), |(sum, classes), &of| (sum + self.score.of(of), classes + 1.0));
        if classes > 0.0 { 100.0 * sum / classes } else { 0.0 }
    }

    fn entry(&self, value: f64) -> SerializedEntry {
        SerializedEntry::new(format!("{value:.2} %"), value.to_string())
    }
}

impl Score {
    /// 0 where it is 0 of nothing, as scikit-learn has it.
    fn of(self, [hits, called, are]: [f64; 3]) -> f64 {
        let of = match self {
            Self::Precision => called,
            Self::Recall => are,
            // (1 + b²) hits / (called + b² are), written so that no b² overflows.
            Self::FBeta(beta) => {
                let weight = 1.0 / (1.0 + beta * beta);
                weight * called + (1.0 - weight) * are
            }
        };
        if of > 0.0 { hits / of } else { 0.0 }
    }
}

impl Metric for MacroScore {
    type Input = ConfusionStatsInput;

    fn update(
        &mut self,
        input: &ConfusionStatsInput,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let ConfusionStatsInput { predictions, targets } = input.clone();
        let [_, classes] = predictions.dims();
        let called: Tensor<2, Bool> = match self.guess {
            Guess::AboveHalf => predictions.greater_elem(0.5),
            Guess::Most => predictions.argmax(1).squeeze_dim::<1>(1).one_hot::<2>(classes).bool(),
        };
        let hits = called.clone().bool_and(targets.clone());
        let sums = [hits, called, targets].map(|which| which.float().sum_dim(0));
        let sums = Tensor::cat(sums.to_vec(), 0).try_into_vec_as::<f32>()?;
        let latest: Vec<[f64; 3]> = (0..classes)
            .map(|class| [0, 1, 2].map(|which| f64::from(sums[which * classes + class])))
            .collect();
        self.counts.resize(classes, [0.0; 3]);
        for (all, new) in self.counts.iter_mut().zip(&latest) {
            all.iter_mut().zip(new).for_each(|(all, new)| *all += new);
        }
        let last = self.average(&latest);
        self.last = Some(last);
        Ok(self.entry(last))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry(self.average(&self.counts)))
    }

    fn clear(&mut self) {
        self.counts.clear();
        self.last = None;
    }

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: Some("%".to_owned()), higher_is_better: true }.into()
    }
}

impl Numeric for MacroScore {
    fn value(&self) -> Option<NumericEntry> {
        self.last.map(NumericEntry::Value)
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.last.map(|_| NumericEntry::Value(self.average(&self.counts)))
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.average(&self.counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::data::dataloader::Progress;
    use burn::tensor::Device;

    fn average(score: Score, guess: Guess) -> f64 {
        let device = Device::flex();
        // Of four classes the third is guessed once and the last does not occur.
        let predictions = Tensor::<2>::from_floats(
            [
                [0.9, 0.1, 0.0, 0.0],
                [0.6, 0.4, 0.0, 0.0],
                [0.2, 0.8, 0.0, 0.0],
                [0.0, 0.3, 0.7, 0.0],
            ],
            &device,
        );
        let targets = Tensor::<1, burn::tensor::Int>::from_ints([0, 1, 1, 1], &device);
        let input = ConfusionStatsInput::new(predictions, targets.one_hot::<2>(4).bool());
        let mut metric = MacroScore::new("score", score, guess);
        let moment =
            MetricMetadata { progress: Progress::new(1, 1, None), iteration: None, lr: None };
        metric.update(&input, &moment).unwrap();
        metric.final_value().current()
    }

    #[test]
    fn a_class_that_does_not_occur_counts_for_nothing() {
        // Class by class: precision 1/2, 1, 0; recall 1, 1/3, 0; F1 2/3, 1/2, 0.
        for guess in [Guess::Most, Guess::AboveHalf] {
            assert!((average(Score::Precision, guess) - 100.0 * 1.5 / 3.0).abs() < 1e-9);
            assert!((average(Score::Recall, guess) - 100.0 * (4.0 / 3.0) / 3.0).abs() < 1e-9);
            let f1 = average(Score::FBeta(1.0), guess);
            assert!((f1 - 100.0 * (2.0 / 3.0 + 0.5) / 3.0).abs() < 1e-9, "{f1}");
        }
        // Of a beta without bounds nothing but recall is left.
        let f = average(Score::FBeta(1e200), Guess::Most);
        assert!((f - average(Score::Recall, Guess::Most)).abs() < 1e-9);
    }
}
