//! Average precision, which looks at all rows of an epoch together.

use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn::train::renderer::MetricState;
use fireclay::TargetTensor;
use fireclay_measure::{Ranked, average, of_classes, of_labels};

use super::measure::Measure;
use super::meter::Sum;
use super::{Measured, Moment, Observed};

/// The name in files and messages.
pub(super) const NAME: &str = "average-precision";

/// Average precision as `fireclay evaluate` measures it, of the epoch so far.
#[derive(Clone, Debug, Default)]
pub(super) struct AveragePrecision {
    all: Rows,
    /// Of the last rows alone.
    last: Option<f64>,
}

/// Logits and what is right.
#[derive(Clone, Debug, Default)]
struct Rows {
    /// `[rows, outputs]`.
    logits: Vec<f32>,
    outputs: usize,
    /// The class of each row.
    classes: Vec<u32>,
    /// 0 or 1 for each label of each row, `[rows, outputs]`.
    labels: Vec<u8>,
}

impl Rows {
    fn of(observed: &Observed) -> Result<Self, TensorReadError> {
        let [_, outputs] = observed.outputs.dims();
        let logits = observed.outputs.clone().try_into_vec_as::<f32>()?;
        let mut rows = Self { logits, outputs, ..Self::default() };
        match &observed.targets {
            TargetTensor::Classes(classes) => {
                let ids = classes.clone().try_into_vec_as::<i64>()?;
                rows.classes = ids.into_iter().map(|id| id as u32).collect();
            }
            TargetTensor::Values(labels) => {
                let labels = labels.clone().try_into_vec_as::<f32>()?;
                rows.labels = labels.into_iter().map(|label| u8::from(label > 0.5)).collect();
            }
        }
        Ok(rows)
    }

    fn extend(&mut self, more: &Self) {
        self.outputs = more.outputs;
        self.logits.extend(&more.logits);
        self.classes.extend(&more.classes);
        self.labels.extend(&more.labels);
    }

    /// 0 where no label has rows of both kinds.
    fn average_precision(&self) -> f64 {
        let Self { logits, outputs, classes, labels } = self;
        let ranked: Vec<Ranked> = if classes.is_empty() {
            of_labels(logits, labels, *outputs)
        } else {
            of_classes(logits, classes, *outputs)
        };
        let [_, precision] = average(&ranked, &vec![1.0; logits.len() / (*outputs).max(1)]);
        if precision.is_nan() { 0.0 } else { precision }
    }
}

fn measured(value: f64) -> Vec<Measured> {
    vec![Measured { name: NAME.to_owned(), value, is_share: true }]
}

impl Measure for AveragePrecision {
    fn start(&mut self, _moment: Moment) -> Result<(), TensorReadError> {
        *self = Self::default();
        Ok(())
    }

    fn update(&mut self, observed: &Observed, _moment: Moment) -> Result<(), TensorReadError> {
        let rows = Rows::of(observed)?;
        self.last = Some(rows.average_precision());
        self.all.extend(&rows);
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<Measured>, TensorReadError> {
        Ok(measured(self.all.average_precision()))
    }

    fn latest(&self) -> Vec<Measured> {
        self.last.map(measured).unwrap_or_default()
    }

    /// Nothing, for all rows of the epoch would be put in order again and again.
    fn so_far(&self) -> Vec<Measured> {
        Vec::new()
    }

    fn definitions(&self) -> Vec<MetricDefinition> {
        let name = Arc::new(NAME.to_owned());
        let attributes = NumericAttributes { unit: Some("%".to_owned()), higher_is_better: true };
        vec![MetricDefinition {
            metric_id: MetricId::new(name.clone()),
            name,
            description: None,
            attributes: MetricAttributes::Numeric(attributes),
        }]
    }

    fn states(&self) -> Vec<MetricState> {
        let state = |value: f64| {
            let percent = 100.0 * value;
            let entry = SerializedEntry::new(format!("{percent:.2} %"), percent.to_string());
            let entry = MetricEntry::new(MetricId::new(Arc::new(NAME.to_owned())), entry);
            MetricState::Numeric(entry, Some(NumericEntry::Value(percent)))
        };
        self.last.map(state).into_iter().collect()
    }

    fn sum(&mut self) -> Option<&mut Sum> {
        None
    }

    fn needs_rows(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, Tensor};

    use super::*;

    const MOMENT: Moment = Moment { step: 0, steps: 1, learning_rate: 0.0 };

    #[test]
    fn it_is_scikit_learns_however_rows_are_cut() {
        let device = Device::flex();
        let score = [0.3, -1.0, 2.0, 0.3, 0.1, 4.0, -2.0];
        let ids = [1, 0, 1, 0, 1, 0, 0];
        for cuts in [&[0, 7][..], &[0, 1, 5, 7], &[0, 3, 7]] {
            let mut metric = AveragePrecision::default();
            for cut in cuts.windows(2) {
                let logits: Vec<[f32; 2]> =
                    score[cut[0]..cut[1]].iter().map(|&z| [0.0, z]).collect();
                let data = burn::tensor::TensorData::new(logits.concat(), [logits.len(), 2]);
                let outputs = Tensor::<2>::from_data(data, &device);
                let classes = Tensor::<1, Int>::from_ints(&ids[cut[0]..cut[1]], &device);
                let losses = Tensor::zeros([logits.len()], &device);
                let targets = TargetTensor::Classes(classes);
                metric.update(&Observed::new(losses, outputs, targets), MOMENT).unwrap();
            }
            // sklearn.metrics.average_precision_score(ids, score)
            let found = metric.finish().unwrap()[0].value;
            assert!((found - EXPECTED).abs() < 1e-12, "{cuts:?}: {found}");
        }
    }

    const EXPECTED: f64 = 0.533_333_333_333_333_3;
}
