//! Burn's metrics, each with what it takes to go on in the middle of an epoch.

use burn::tensor::TensorReadError;
use burn::train::metric::{
    AccuracyInput, AccuracyMetric, AurocMetric, ClassReduction, ConfusionStatsInput, HammingScore,
    HammingScoreInput, IterationSpeedMetric, LearningRateMetric, LossInput, LossMetric, Metric,
    MetricDefinition, MetricEntry, MetricId, Numeric, NumericEntry, TopKAccuracyInput,
    TopKAccuracyMetric,
};
use burn::train::renderer::MetricState;
use fireclay::Task;

use super::average_precision::AveragePrecision;
use super::errors::Errors;
use super::macro_score::{Guess, MacroScore, Score};
use super::meter::Sum;
use super::{Measured, MetricChoice, Moment, Observed};

/// The name of the loss, the only mean over rows in which their weights count.
const LOSS: &str = "loss";

/// The metrics of every run: the loss, and the accuracy or, of a regression, the errors.
pub(super) fn always(task: &Task) -> Vec<Box<dyn Measure>> {
    let loss = mean(LOSS, LossMetric::new(), false, |o| LossInput::new(o.weighted_losses()));
    match task {
        Task::Classification { .. } => {
            let accuracy = mean("accuracy", AccuracyMetric::new(), true, |o| {
                AccuracyInput::new(o.decided(), o.classes())
            });
            vec![loss, accuracy]
        }
        Task::MultiLabel { .. } => {
            let accuracy = mean("accuracy", HammingScore::new(), true, |o| {
                let ConfusionStatsInput { predictions, targets } = o.decided_confusion();
                HammingScoreInput::new(predictions, targets.int())
            });
            vec![loss, accuracy]
        }
        Task::Regression { .. } => vec![loss, Box::new(Errors::default())],
    }
}

impl MetricChoice {
    pub(super) fn measure(self, task: &Task) -> Box<dyn Measure> {
        let guess = match task {
            Task::MultiLabel { .. } => Guess::AboveHalf,
            _ => Guess::Most,
        };
        let name = &self.to_string();
        let average = |score| {
            let metric = MacroScore::new(name, score, guess);
            of_whole(name, metric, Observed::decided_confusion)
        };
        match self {
            Self::TopK(k) => mean(name, TopKAccuracyMetric::new(k), true, |o| {
                TopKAccuracyInput::new(o.decided(), o.classes())
            }),
            Self::Precision => average(Score::Precision),
            Self::Recall => average(Score::Recall),
            Self::FBeta(beta) => average(Score::FBeta(beta)),
            Self::Auroc => {
                let metric = AurocMetric::multiclass(ClassReduction::Macro);
                of_whole(name, metric, Observed::confusion)
            }
            Self::AveragePrecision => Box::new(AveragePrecision::default()),
            Self::LearningRate => last_value(name, LearningRateMetric::new()),
            Self::Speed => last_value(name, IterationSpeedMetric::new()),
        }
    }
}

/// One of Burn's metrics, whatever its input, or several numbers that come of the same sums.
pub(super) trait Measure: Send {
    fn start(&mut self, moment: Moment) -> Result<(), TensorReadError>;
    fn update(&mut self, observed: &Observed, moment: Moment) -> Result<(), TensorReadError>;
    fn finish(&mut self) -> Result<Vec<Measured>, TensorReadError>;
    fn latest(&self) -> Vec<Measured>;
    fn so_far(&self) -> Vec<Measured>;
    fn definitions(&self) -> Vec<MetricDefinition>;
    fn states(&self) -> Vec<MetricState>;
    /// The sum to resume from, of a metric that is a mean over rows.
    fn sum(&mut self) -> Option<&mut Sum>;
    /// Whether it can only go on from all the rows of the epoch.
    fn needs_rows(&self) -> bool;
    /// Some rows of the epoch were measured and not kept, by a program that had no such metric.
    fn lacks_rows(&mut self) {}
}

/// How the number of an epoch comes from those of its parts.
enum Whole<M> {
    /// The mean over rows.
    Mean(Sum),
    /// By Burn, which keeps what it needs of every part.
    Kept,
    /// The last part's; begun before the first step.
    Last(fn(&mut M, Moment) -> Result<(), TensorReadError>),
}

struct BurnMetric<M: Metric> {
    name: String,
    metric: M,
    input: fn(&Observed) -> M::Input,
    is_share: bool,
    whole: Whole<M>,
    last: Option<MetricEntry>,
    /// Steps of the epoch before measuring began: it may go on in the middle.
    first: usize,
}

fn mean<M: Metric + Numeric + 'static>(
    name: &str,
    metric: M,
    is_share: bool,
    input: fn(&Observed) -> M::Input,
) -> Box<dyn Measure> {
    BurnMetric::boxed(name, metric, input, is_share, Whole::Mean(Sum::default()))
}

fn of_whole<M: Metric<Input = ConfusionStatsInput> + Numeric + 'static>(
    name: &str,
    metric: M,
    input: fn(&Observed) -> ConfusionStatsInput,
) -> Box<dyn Measure> {
    BurnMetric::boxed(name, metric, input, true, Whole::Kept)
}

fn last_value<M: Metric<Input = ()> + Numeric + 'static>(
    name: &str,
    metric: M,
) -> Box<dyn Measure> {
    let whole =
        Whole::Last(|metric: &mut M, moment: Moment| metric.update(&(), &moment.into()).map(drop));
    BurnMetric::boxed(name, metric, |_| (), false, whole)
}

impl<M: Metric + Numeric + 'static> BurnMetric<M> {
    fn boxed(
        name: &str,
        metric: M,
        input: fn(&Observed) -> M::Input,
        is_share: bool,
        whole: Whole<M>,
    ) -> Box<dyn Measure> {
        let name = name.to_owned();
        Box::new(Self { name, metric, input, is_share, whole, last: None, first: 0 })
    }
}

impl<M: Metric> BurnMetric<M> {
    fn measured(&self, value: f64) -> Measured {
        // Burn gives shares in per cent.
        let scale = if self.is_share { 100.0 } else { 1.0 };
        Measured { name: self.name.clone(), value: value / scale, is_share: self.is_share }
    }

    fn id(&self) -> MetricId {
        MetricId::new(self.metric.name())
    }
}

impl<M: Metric + Numeric> Measure for BurnMetric<M> {
    fn start(&mut self, moment: Moment) -> Result<(), TensorReadError> {
        self.metric.clear();
        self.last = None;
        self.first = moment.step;
        match &mut self.whole {
            Whole::Mean(sum) => *sum = Sum::default(),
            Whole::Kept => {}
            Whole::Last(begin) => begin(&mut self.metric, moment)?,
        }
        Ok(())
    }

    fn update(&mut self, observed: &Observed, moment: Moment) -> Result<(), TensorReadError> {
        let moment = Moment { step: moment.step.saturating_sub(self.first), ..moment };
        let entry = self.metric.update(&(self.input)(observed), &moment.into())?;
        self.last = Some(MetricEntry::new(self.id(), entry));
        if let Whole::Mean(sum) = &mut self.whole
            && let Some(NumericEntry::Aggregated { aggregated_value, count }) = self.metric.value()
        {
            match observed.weight()?.filter(|_| self.name == LOSS) {
                Some(weight) => sum.add_weighted(aggregated_value, count, weight),
                None => sum.add(aggregated_value, count),
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<Measured>, TensorReadError> {
        let value = match &self.whole {
            Whole::Mean(sum) => sum.mean(),
            Whole::Kept => {
                self.metric.compute()?;
                self.metric.final_value().current()
            }
            Whole::Last(_) => self.metric.value().map_or(0.0, |value| value.current()),
        };
        Ok(vec![self.measured(value)])
    }

    fn latest(&self) -> Vec<Measured> {
        let value = self.last.as_ref().and_then(|_| self.metric.value());
        value.map(|value| self.measured(value.current())).into_iter().collect()
    }

    fn so_far(&self) -> Vec<Measured> {
        let value = match &self.whole {
            Whole::Mean(sum) => (sum.rows > 0).then(|| sum.mean()),
            Whole::Kept => {
                let value = self.last.as_ref().and_then(|_| self.metric.running_value());
                value.map(|value| value.current())
            }
            Whole::Last(_) => return self.latest(),
        };
        value.map(|value| self.measured(value)).into_iter().collect()
    }

    fn definitions(&self) -> Vec<MetricDefinition> {
        vec![MetricDefinition::new(self.id(), &self.metric)]
    }

    fn states(&self) -> Vec<MetricState> {
        let last = self.last.clone().into_iter();
        last.map(|last| MetricState::Numeric(last, self.metric.value())).collect()
    }

    fn sum(&mut self) -> Option<&mut Sum> {
        match &mut self.whole {
            Whole::Mean(sum) => Some(sum),
            _ => None,
        }
    }

    fn needs_rows(&self) -> bool {
        matches!(self.whole, Whole::Kept)
    }
}
