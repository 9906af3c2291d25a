//! How far off predicted numbers are, in the unit of their target.
//!
//! Definitions as scikit-learn's `mean_absolute_error`, `root_mean_squared_error`, `r2_score` and
//! `median_absolute_error`, of several targets their plain average. Sums are in double precision.

use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn::train::renderer::MetricState;
use fireclay::TargetTensor;
use fireclay_measure::{median, r2};

use super::measure::Measure;
use super::meter::Sum;
use super::{Measured, Moment, Observed};

/// The names of what is measured of every regression, and whether more is better.
pub(super) const NAMES: [(&str, bool); 4] =
    [("mae", false), ("rmse", false), ("r2", true), ("median-error", false)];

/// The errors of one target.
#[derive(Clone, Debug, Default)]
struct OfTarget {
    /// The distance of each row, for the median.
    distances: Vec<f64>,
    sum: f64,
    squares: f64,
    /// Of the truth, by Welford's update (Technometrics 4, 1962).
    mean: f64,
    spread: f64,
}

impl OfTarget {
    fn add(&mut self, predicted: f32, truth: f32) {
        let (predicted, truth) = (f64::from(predicted), f64::from(truth));
        let off = (predicted - truth).abs();
        self.distances.push(off);
        self.sum += off;
        self.squares += off * off;
        let from_old_mean = truth - self.mean;
        self.mean += from_old_mean / self.distances.len() as f64;
        self.spread += from_old_mean * (truth - self.mean);
    }

    /// In the order of [`NAMES`], but for the median.
    fn of_sums(&self) -> [f64; 3] {
        let rows = self.distances.len() as f64;
        [self.sum / rows, (self.squares / rows).sqrt(), r2(self.squares, self.spread)]
    }

    fn median(&self) -> [f64; 1] {
        [median(&mut self.distances.clone())]
    }
}

/// The averages over the targets of some scores of each.
fn averages<const N: usize>(targets: &[OfTarget], scores: fn(&OfTarget) -> [f64; N]) -> [f64; N] {
    let mut averages = [0.0; N];
    for target in targets {
        for (average, score) in averages.iter_mut().zip(scores(target)) {
            *average += score / targets.len() as f64;
        }
    }
    averages
}

/// In the order of [`NAMES`].
fn scores(targets: &[OfTarget]) -> [f64; 4] {
    let [mae, rmse, r2] = averages(targets, OfTarget::of_sums);
    let [median] = averages(targets, OfTarget::median);
    [mae, rmse, r2, median]
}

/// The errors of an epoch, or of a split.
#[derive(Clone, Debug, Default)]
pub(super) struct Errors {
    /// None before the first rows.
    all: Vec<OfTarget>,
    /// Of the last rows alone.
    last: Option<[f64; 4]>,
    /// Whether rows of this epoch were measured by a program that did not keep them.
    is_partial: bool,
}

/// Numbers in the order of [`NAMES`], which may lack the last.
fn named(scores: &[f64]) -> Vec<Measured> {
    NAMES
        .into_iter()
        .zip(scores)
        .map(|((name, _), &value)| Measured { name: name.to_owned(), value, is_share: false })
        .collect()
}

impl Errors {
    fn are_known(&self) -> bool {
        !self.all.is_empty() && !self.is_partial
    }
}

impl Measure for Errors {
    fn start(&mut self, _moment: Moment) -> Result<(), TensorReadError> {
        *self = Self::default();
        Ok(())
    }

    fn update(&mut self, observed: &Observed, _moment: Moment) -> Result<(), TensorReadError> {
        let TargetTensor::Values(truth) = &observed.targets else {
            unreachable!("a metric of values was given classes")
        };
        let [_, width] = truth.dims();
        let predicted = observed.outputs.clone().try_into_vec_as::<f32>()?;
        let truth = truth.clone().try_into_vec_as::<f32>()?;
        let mut latest = vec![OfTarget::default(); width];
        self.all.resize(width, OfTarget::default());
        for (i, (&predicted, truth)) in predicted.iter().zip(truth).enumerate() {
            latest[i % width].add(predicted, truth);
            self.all[i % width].add(predicted, truth);
        }
        self.last = Some(scores(&latest));
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<Measured>, TensorReadError> {
        Ok(if self.are_known() { named(&scores(&self.all)) } else { Vec::new() })
    }

    fn latest(&self) -> Vec<Measured> {
        self.last.map(|last| named(&last)).unwrap_or_default()
    }

    /// Without the median, for which all rows of the epoch would be looked at again and again.
    fn so_far(&self) -> Vec<Measured> {
        let known = self.are_known().then(|| named(&averages(&self.all, OfTarget::of_sums)));
        known.unwrap_or_default()
    }

    fn definitions(&self) -> Vec<MetricDefinition> {
        NAMES.into_iter().map(definition).collect()
    }

    fn states(&self) -> Vec<MetricState> {
        self.latest().into_iter().map(state).collect()
    }

    fn sum(&mut self) -> Option<&mut Sum> {
        None
    }

    fn needs_rows(&self) -> bool {
        true
    }

    fn lacks_rows(&mut self) {
        self.is_partial = true;
    }
}

/// An error as Burn's dashboard knows it.
fn definition((name, higher_is_better): (&str, bool)) -> MetricDefinition {
    let name = Arc::new(name.to_owned());
    let attributes = NumericAttributes { unit: None, higher_is_better };
    MetricDefinition {
        metric_id: MetricId::new(name.clone()),
        name,
        description: None,
        attributes: MetricAttributes::Numeric(attributes),
    }
}

/// A measured error as Burn's dashboard shows it.
fn state(Measured { name, value, .. }: Measured) -> MetricState {
    let entry = SerializedEntry::new(format!("{value:.4}"), value.to_string());
    let entry = MetricEntry::new(MetricId::new(Arc::new(name)), entry);
    MetricState::Numeric(entry, Some(NumericEntry::Value(value)))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;

    /// Three targets, the last of them constant.
    const PREDICTED: [[f32; 3]; 5] = [
        [1.5, -20.0, 3.0],
        [2.0, 7.25, 3.5],
        [-0.5, 100.0, 3.0],
        [4.25, 31.0, 2.0],
        [0.0, 2.5, 3.0],
    ];
    const TRUTH: [[f32; 3]; 5] =
        [[1.0, -10.0, 3.0], [2.5, 5.0, 3.0], [-1.0, 80.0, 3.0], [4.0, 40.0, 3.0], [0.75, 2.0, 3.0]];

    fn observed(rows: std::ops::Range<usize>) -> Observed {
        let device = Device::flex();
        let of = |all: [[f32; 3]; 5]| {
            let values = all[rows.clone()].concat();
            Tensor::<2>::from_data(TensorData::new(values, [rows.len(), 3]), &device)
        };
        let losses = Tensor::zeros([rows.len()], &device);
        Observed::new(losses, of(PREDICTED), TargetTensor::Values(of(TRUTH)))
    }

    const MOMENT: Moment = Moment { step: 0, steps: 1, learning_rate: 0.0 };

    fn measured(cuts: &[usize]) -> Vec<f64> {
        let mut errors = Errors::default();
        errors.start(MOMENT).unwrap();
        for rows in cuts.windows(2) {
            errors.update(&observed(rows[0]..rows[1]), MOMENT).unwrap();
        }
        errors.finish().unwrap().into_iter().map(|measured| measured.value).collect()
    }

    /// scikit-learn 1.9.1: `mean_absolute_error`, `root_mean_squared_error`, `r2_score` and
    /// `median_absolute_error` of the numbers above.
    #[test]
    fn errors_are_scikit_learns_however_rows_are_cut() {
        let expected =
            [3.0500000000000003, 3.951061839642243, 0.5983641789468878, 3.1666666666666665];
        for cuts in [&[0, 5][..], &[0, 1, 5], &[0, 1, 2, 3, 4, 5], &[0, 3, 5]] {
            for (found, expected) in measured(cuts).into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{cuts:?}: {found} {expected}");
            }
        }
    }
}
