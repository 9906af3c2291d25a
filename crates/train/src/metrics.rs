//! What is measured, by Burn's learner metrics.
//!
//! Every number is exact over the whole epoch for any batch size: losses are given row by row and
//! counts are summed, so that a short batch weighs what it holds.

use std::fmt;
use std::str::FromStr;

use burn::data::dataloader::Progress;
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Bool, Int, Tensor, TensorReadError};
use burn::train::metric::{
    AccuracyInput, AccuracyMetric, AurocMetric, ClassReduction, ConfusionStatsInput,
    FBetaScoreMetric, HammingScore, HammingScoreInput, IterationSpeedMetric, LearningRateMetric,
    LossInput, LossMetric, Metric, MetricDefinition, MetricEntry, MetricId, MetricMetadata,
    Numeric, NumericEntry, PrecisionMetric, RecallMetric, TopKAccuracyInput, TopKAccuracyMetric,
};
use burn::train::renderer::MetricState;
use fireclay::{Targets, Task};
use serde::{Deserialize, Serialize};

/// A metric beside the loss and the accuracy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MetricChoice {
    /// `top-K`: the right class is among the K most probable.
    TopK(usize),
    /// `precision`: of what was called a class, the share that is; mean over classes.
    Precision,
    /// `recall`: of what is a class, the share called so; mean over classes.
    Recall,
    /// `f-BETA`: weighted harmonic mean of precision and recall; mean over classes.
    FBeta(f64),
    /// `auroc`: area under the receiver operating characteristic, one class against the rest.
    Auroc,
    /// `learning-rate`: that of the last step.
    LearningRate,
    /// `speed`: optimizer steps per second.
    Speed,
}

impl fmt::Display for MetricChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopK(k) => write!(f, "top-{k}"),
            Self::Precision => f.write_str("precision"),
            Self::Recall => f.write_str("recall"),
            Self::FBeta(beta) => write!(f, "f-{beta}"),
            Self::Auroc => f.write_str("auroc"),
            Self::LearningRate => f.write_str("learning-rate"),
            Self::Speed => f.write_str("speed"),
        }
    }
}

impl FromStr for MetricChoice {
    type Err = MetricError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || MetricError::Unknown { found: text.to_owned() };
        match text {
            "precision" => Ok(Self::Precision),
            "recall" => Ok(Self::Recall),
            "auroc" => Ok(Self::Auroc),
            "learning-rate" => Ok(Self::LearningRate),
            "speed" => Ok(Self::Speed),
            _ => match text.split_once('-') {
                Some(("top", k)) => match k.parse() {
                    Ok(k) if k > 0 => Ok(Self::TopK(k)),
                    _ => Err(unknown()),
                },
                Some(("f", beta)) => match beta.parse::<f64>() {
                    Ok(beta) if beta.is_finite() && beta > 0.0 => Ok(Self::FBeta(beta)),
                    _ => Err(unknown()),
                },
                _ => Err(unknown()),
            },
        }
    }
}

impl TryFrom<String> for MetricChoice {
    type Error = MetricError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MetricChoice> for String {
    fn from(choice: MetricChoice) -> Self {
        choice.to_string()
    }
}

/// Why a metric can not be measured.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// No metric is called so.
    #[error(
        "unknown metric `{found}`; metrics: top-K (such as top-5), precision, recall, f-BETA (such as f-1), auroc, learning-rate, speed"
    )]
    Unknown {
        /// The name given.
        found: String,
    },
    /// The metric belongs to another kind of task.
    #[error("metric {metric} does not fit a {task} task")]
    WrongTask {
        /// The metric.
        metric: MetricChoice,
        /// The kind of task.
        task: &'static str,
    },
    /// Fewer than two classes.
    #[error("metric {metric} needs at least 2 classes and there is 1")]
    OneClass {
        /// The metric.
        metric: MetricChoice,
    },
    /// More guesses than classes.
    #[error("metric {metric} asks for more classes than the {classes} there are")]
    TooManyClasses {
        /// The metric.
        metric: MetricChoice,
        /// Classes of the task.
        classes: usize,
    },
}

impl MetricChoice {
    /// Checks that the metric fits the task.
    ///
    /// # Errors
    ///
    /// A [`MetricError`] that says why it does not.
    pub fn validate(self, task: &Task) -> Result<(), MetricError> {
        let fits = match self {
            Self::LearningRate | Self::Speed => true,
            Self::TopK(_) => matches!(task, Task::Classification { .. }),
            _ => !matches!(task, Task::Regression { .. }),
        };
        match self {
            _ if !fits => Err(MetricError::WrongTask { metric: self, task: task.kind() }),
            Self::Precision | Self::Recall | Self::FBeta(_) | Self::Auroc if task.outputs() < 2 => {
                Err(MetricError::OneClass { metric: self })
            }
            Self::TopK(k) if k > task.outputs() => {
                Err(MetricError::TooManyClasses { metric: self, classes: task.outputs() })
            }
            _ => Ok(()),
        }
    }
}

/// What some rows came to.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Loss of each row, `[rows]`.
    pub losses: Tensor<1>,
    /// Logits or values, `[rows, outputs]`.
    pub outputs: Tensor<2>,
    /// The right answers.
    pub targets: Targets,
}

impl Observed {
    /// Off the autodiff graph, so that keeping it keeps nothing else alive.
    pub fn detached(self) -> Self {
        Self {
            losses: self.losses.without_autodiff(),
            outputs: self.outputs.without_autodiff(),
            targets: match self.targets {
                Targets::Classes(classes) => Targets::Classes(classes.without_autodiff()),
                Targets::Values(values) => Targets::Values(values.without_autodiff()),
            },
        }
    }

    /// The rows of several observations, in order; none of none.
    pub fn joined(parts: Vec<Self>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let first = parts.next()?;
        let (mut losses, mut outputs) = (vec![first.losses], vec![first.outputs]);
        let mut targets = vec![first.targets];
        for part in parts {
            losses.push(part.losses);
            outputs.push(part.outputs);
            targets.push(part.targets);
        }
        let classes: Vec<_> = targets.iter().filter_map(as_classes).collect();
        let values: Vec<_> = targets.iter().filter_map(as_values).collect();
        Some(Self {
            losses: Tensor::cat(losses, 0),
            outputs: Tensor::cat(outputs, 0),
            targets: if values.is_empty() {
                Targets::Classes(Tensor::cat(classes, 0))
            } else {
                Targets::Values(Tensor::cat(values, 0))
            },
        })
    }

    fn classes(&self) -> Tensor<1, Int> {
        as_classes(&self.targets)
            .unwrap_or_else(|| unreachable!("a metric of classes was given values"))
    }

    /// Probability and truth of every class or label: `[rows, outputs]` each.
    fn confusion(&self) -> ConfusionStatsInput {
        let outputs = self.outputs.clone();
        let [_, count] = outputs.dims();
        match &self.targets {
            Targets::Classes(classes) => {
                let truth: Tensor<2, Bool> = classes.clone().one_hot::<2>(count).bool();
                ConfusionStatsInput::new(softmax(outputs, 1), truth)
            }
            Targets::Values(labels) => {
                ConfusionStatsInput::new(sigmoid(outputs), labels.clone().greater_elem(0.5))
            }
        }
    }
}

fn as_classes(targets: &Targets) -> Option<Tensor<1, Int>> {
    match targets {
        Targets::Classes(classes) => Some(classes.clone()),
        Targets::Values(_) => None,
    }
}

fn as_values(targets: &Targets) -> Option<Tensor<2>> {
    match targets {
        Targets::Classes(_) => None,
        Targets::Values(values) => Some(values.clone()),
    }
}

/// One measured number.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Name in files and messages, such as `accuracy`.
    pub name: String,
    /// Its value; shares are in `[0, 1]`.
    pub value: f64,
    /// Whether it is a share, which people read in per cent.
    pub is_share: bool,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_share {
            write!(f, "{} {:.2} %", self.name, 100.0 * self.value)
        } else {
            write!(f, "{} {}", self.name, short(self.value))
        }
    }
}

/// A number in a few characters, whatever its size.
fn short(value: f64) -> String {
    match value.abs() {
        0.01..1e5 => format!("{value:.4}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3e}"),
    }
}

/// Where in the run a measurement is taken.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Optimizer steps of this epoch so far.
    pub step: usize,
    /// Optimizer steps of an epoch.
    pub steps: usize,
    /// Learning rate of the last step.
    pub learning_rate: f64,
}

impl From<Moment> for MetricMetadata {
    fn from(moment: Moment) -> Self {
        Self {
            progress: Progress::new(moment.step, moment.steps, None),
            iteration: Some(moment.step),
            lr: Some(moment.learning_rate.into()),
        }
    }
}

/// All metrics of one split, over one epoch at a time.
pub struct Meter {
    metrics: Vec<Box<dyn Measure>>,
    pending: Vec<Observed>,
    rows: usize,
}

/// Rows after which pending observations are measured, however few the steps.
const MOST_PENDING_ROWS: usize = 1 << 14;
/// Steps after which pending observations are measured: a device is read this seldom.
const MOST_PENDING_STEPS: usize = 50;

impl Meter {
    /// A meter of the loss, the accuracy where the task has one, and `choices`.
    pub fn new(task: &Task, choices: &[MetricChoice]) -> Self {
        let mut metrics: Vec<Box<dyn Measure>> =
            vec![share_or_number("loss", LossMetric::new(), false, |o| {
                LossInput::new(o.losses.clone())
            })];
        match task {
            Task::Classification { .. } => {
                metrics.push(share_or_number("accuracy", AccuracyMetric::new(), true, |o| {
                    AccuracyInput::new(o.outputs.clone(), o.classes())
                }));
            }
            Task::MultiLabel { .. } => {
                metrics.push(share_or_number("accuracy", HammingScore::new(), true, |o| {
                    let ConfusionStatsInput { predictions, targets } = o.confusion();
                    HammingScoreInput::new(predictions, targets.int())
                }));
            }
            Task::Regression { .. } => {}
        }
        metrics.extend(choices.iter().map(|choice| choice.measure(task)));
        Self { metrics, pending: Vec::new(), rows: 0 }
    }

    /// Forgets everything, for a new epoch.
    pub fn start(&mut self, moment: Moment) -> Result<(), TensorReadError> {
        self.pending.clear();
        self.rows = 0;
        self.metrics.iter_mut().try_for_each(|metric| metric.start(moment))
    }

    /// Takes note of a step; nothing is read from the device yet.
    pub fn record(&mut self, observed: Observed) {
        let [rows] = observed.losses.dims();
        self.rows += rows;
        self.pending.push(observed.detached());
    }

    /// Whether it is time to [`measure`](Self::measure).
    pub fn is_due(&self) -> bool {
        self.pending.len() >= MOST_PENDING_STEPS || self.rows >= MOST_PENDING_ROWS
    }

    /// How many steps before the last recorded one a loss stopped being finite, if one did among
    /// those not measured yet.
    ///
    /// # Errors
    ///
    /// The device's, when it can not be read.
    pub fn first_not_finite(&self) -> Result<Option<usize>, TensorReadError> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let losses = self.pending.iter().map(|step| step.losses.clone()).collect();
        let losses = Tensor::cat(losses, 0).try_into_vec_as::<f32>()?;
        let Some(row) = losses.iter().position(|loss| !loss.is_finite()) else { return Ok(None) };
        let mut rows = 0;
        let step = self.pending.iter().position(|step| {
            rows += step.losses.dims()[0];
            row < rows
        });
        Ok(step.map(|step| self.pending.len() - 1 - step))
    }

    /// Measures what was recorded since the last time.
    ///
    /// # Errors
    ///
    /// The device's, when it can not be read.
    pub fn measure(&mut self, moment: Moment) -> Result<(), TensorReadError> {
        self.rows = 0;
        let Some(joined) = Observed::joined(std::mem::take(&mut self.pending)) else {
            return Ok(());
        };
        self.metrics.iter_mut().try_for_each(|metric| metric.update(&joined, moment))
    }

    /// The numbers of the last measurement alone, of metrics that have any before the epoch's end.
    pub fn latest(&self) -> Vec<Measured> {
        self.metrics.iter().filter_map(|metric| metric.latest()).collect()
    }

    /// The numbers of the epoch so far, of metrics that have any before its end.
    pub fn so_far(&self) -> Vec<Measured> {
        self.metrics.iter().filter_map(|metric| metric.so_far()).collect()
    }

    /// The numbers of the whole epoch.
    ///
    /// # Errors
    ///
    /// The device's, when it can not be read.
    pub fn finish(&mut self, moment: Moment) -> Result<Vec<Measured>, TensorReadError> {
        self.measure(moment)?;
        self.metrics.iter_mut().map(|metric| metric.finish()).collect()
    }

    /// Names and kinds for Burn's dashboard.
    pub fn definitions(&self) -> Vec<MetricDefinition> {
        self.metrics.iter().map(|metric| metric.definition()).collect()
    }

    /// The last update of each metric for Burn's dashboard.
    pub fn states(&self) -> Vec<MetricState> {
        self.metrics.iter().filter_map(|metric| metric.state()).collect()
    }
}

impl MetricChoice {
    fn measure(self, task: &Task) -> Box<dyn Measure> {
        let macro_ = ClassReduction::Macro;
        let is_multi_label = matches!(task, Task::MultiLabel { .. });
        let name = &self.to_string();
        match self {
            Self::TopK(k) => share_or_number(name, TopKAccuracyMetric::new(k), true, |o| {
                TopKAccuracyInput::new(o.outputs.clone(), o.classes())
            }),
            Self::Precision if is_multi_label => share_or_number(
                name,
                PrecisionMetric::multilabel(0.5, macro_),
                true,
                Observed::confusion,
            ),
            Self::Precision => share_or_number(
                name,
                PrecisionMetric::multiclass(1, macro_),
                true,
                Observed::confusion,
            ),
            Self::Recall if is_multi_label => share_or_number(
                name,
                RecallMetric::multilabel(0.5, macro_),
                true,
                Observed::confusion,
            ),
            Self::Recall => share_or_number(
                name,
                RecallMetric::multiclass(1, macro_),
                true,
                Observed::confusion,
            ),
            Self::FBeta(beta) if is_multi_label => {
                let metric = FBetaScoreMetric::multilabel(beta, 0.5, macro_);
                share_or_number(name, metric, true, Observed::confusion)
            }
            Self::FBeta(beta) => {
                let metric = FBetaScoreMetric::multiclass(beta, 1, macro_);
                share_or_number(name, metric, true, Observed::confusion)
            }
            Self::Auroc => {
                share_or_number(name, AurocMetric::multiclass(macro_), true, Observed::confusion)
            }
            Self::LearningRate => last_value(name, LearningRateMetric::new()),
            Self::Speed => last_value(name, IterationSpeedMetric::new()),
        }
    }
}

/// One of Burn's metrics, whatever its input.
trait Measure: Send {
    fn start(&mut self, moment: Moment) -> Result<(), TensorReadError>;
    fn update(&mut self, observed: &Observed, moment: Moment) -> Result<(), TensorReadError>;
    fn finish(&mut self) -> Result<Measured, TensorReadError>;
    fn latest(&self) -> Option<Measured>;
    fn so_far(&self) -> Option<Measured>;
    fn definition(&self) -> MetricDefinition;
    fn state(&self) -> Option<MetricState>;
}

struct BurnMetric<M: Metric> {
    name: String,
    metric: M,
    input: fn(&Observed) -> M::Input,
    is_share: bool,
    /// Of a metric whose last value is the epoch's: begins the epoch, before the first step.
    begin: Option<Begin<M>>,
    last: Option<MetricEntry>,
}

type Begin<M> = fn(&mut M, Moment) -> Result<(), TensorReadError>;

fn share_or_number<M: Metric + Numeric + 'static>(
    name: &str,
    metric: M,
    is_share: bool,
    input: fn(&Observed) -> M::Input,
) -> Box<dyn Measure> {
    let name = name.to_owned();
    Box::new(BurnMetric { name, metric, input, is_share, begin: None, last: None })
}

fn last_value<M: Metric<Input = ()> + Numeric + 'static>(
    name: &str,
    metric: M,
) -> Box<dyn Measure> {
    let name = name.to_owned();
    let begin: Begin<M> = |metric, moment| metric.update(&(), &moment.into()).map(drop);
    Box::new(BurnMetric {
        name,
        metric,
        input: |_| (),
        is_share: false,
        begin: Some(begin),
        last: None,
    })
}

impl<M: Metric> BurnMetric<M> {
    fn measured(&self, entry: &NumericEntry) -> Measured {
        // Burn gives shares in per cent.
        let scale = if self.is_share { 100.0 } else { 1.0 };
        let value = entry.current() / scale;
        Measured { name: self.name.clone(), value, is_share: self.is_share }
    }

    fn id(&self) -> MetricId {
        MetricId::new(self.metric.name())
    }
}

impl<M: Metric + Numeric> Measure for BurnMetric<M> {
    fn start(&mut self, moment: Moment) -> Result<(), TensorReadError> {
        self.metric.clear();
        self.last = None;
        self.begin.map_or(Ok(()), |begin| begin(&mut self.metric, moment))
    }

    fn update(&mut self, observed: &Observed, moment: Moment) -> Result<(), TensorReadError> {
        let entry = self.metric.update(&(self.input)(observed), &moment.into())?;
        self.last = Some(MetricEntry::new(self.id(), entry));
        Ok(())
    }

    fn finish(&mut self) -> Result<Measured, TensorReadError> {
        if self.begin.is_some() {
            return Ok(self.latest().unwrap_or_else(|| self.measured(&NumericEntry::Value(0.0))));
        }
        self.metric.compute()?;
        Ok(self.measured(&self.metric.final_value()))
    }

    fn latest(&self) -> Option<Measured> {
        self.last.as_ref()?;
        Some(self.measured(&self.metric.value()?))
    }

    fn so_far(&self) -> Option<Measured> {
        if self.begin.is_some() {
            return self.latest();
        }
        self.last.as_ref()?;
        Some(self.measured(&self.metric.running_value()?))
    }

    fn definition(&self) -> MetricDefinition {
        MetricDefinition::new(self.id(), &self.metric)
    }

    fn state(&self) -> Option<MetricState> {
        Some(MetricState::Numeric(self.last.clone()?, self.metric.value()))
    }
}
