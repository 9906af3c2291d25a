//! Everything that training changes, in one value, and that value as a checkpoint.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData, TensorReadError};
use fireclay::{Architecture, Checkpoint, Mlp, Model, ModelFileProblem, NamedTensor, TargetTensor};
use fireclay_terminal::counted;
use serde::{Deserialize, Serialize};

use crate::ema::Average;
use crate::evaluate::Evaluation;
use crate::job::Job;
use crate::metrics::{Meter, MeterProgress, Observed, Sum};
use crate::optimizer::Optimizer;
use crate::schedule::PlateauState;
use crate::settings::TrainingSettings;

/// Everything that training changes.
///
/// Two states that are equal lead to equal runs: what is random is a function of the seed and of
/// the numbers in here.
#[derive(Clone, Debug)]
pub struct State {
    /// On the autodiff graph.
    pub(crate) mlp: Mlp,
    pub(crate) optimizer: Optimizer,
    pub(crate) average: Option<Average>,
    pub(crate) plateau: PlateauState,
    pub(crate) best: Best,
    pub(crate) progress: RunProgress,
    /// Of the epoch under way; taken by the loop when it resumes.
    meter: MeterProgress,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunProgress {
    /// Optimizer steps so far.
    pub step: u64,
    /// Epochs that have ended, with their validation.
    pub epochs: u64,
    /// How often the run diverged and went back; each time halves the learning rate.
    pub rollbacks: u32,
}

impl State {
    /// Before the first step.
    pub fn new(job: &Job<'_>, mlp: Mlp) -> Self {
        let mut mlp = mlp.train();
        if let (Some(tuned), Some((phase, _))) = (job.tuned, job.phase(1)) {
            mlp = tuned.freeze(mlp, phase);
        }
        let optimizer = Optimizer::new(job.optimizer.clone(), &mlp);
        let average = job.training.ema.map(|decay| Average::new(decay, &mlp));
        Self {
            mlp,
            optimizer,
            average,
            plateau: PlateauState::default(),
            best: Best::default(),
            progress: RunProgress::default(),
            meter: MeterProgress::default(),
        }
    }

    /// How far the run has come.
    pub fn progress(&self) -> RunProgress {
        self.progress
    }

    /// Goes back to this state after a divergence: with half the learning rate.
    pub fn rolled_back(mut self, times: u32) -> Self {
        self.progress.rollbacks = times;
        self
    }

    /// Makes ready for an epoch, from 1: what it trains can move, and nothing else.
    pub(crate) fn enter(&mut self, job: &Job<'_>, epoch: u64, is_at_its_begin: bool) {
        let (Some(tuned), Some((phase, is_first))) = (job.tuned, job.phase(epoch)) else {
            self.optimizer.set_rates(job.training.rates.by_path(self.mlp.architecture()));
            return;
        };
        self.mlp = tuned.freeze(self.mlp.take(), phase);
        self.optimizer.set_rates(phase.rates.clone());
        if is_first && is_at_its_begin {
            self.optimizer.restart();
            self.plateau = PlateauState::default();
        }
    }

    /// The network as it would be kept now: averaged if there is an average, off the graph.
    pub(crate) fn model(&self) -> Mlp {
        match &self.average {
            Some(average) => average.applied(self.mlp.clone()).valid(),
            None => self.mlp.valid(),
        }
    }

    /// Takes the weights into their average, if there is one.
    pub(crate) fn average_weights(&mut self) {
        if let Some(average) = &mut self.average {
            average.update(&self.mlp);
        }
    }

    /// What the schedule's learning rate is multiplied by.
    pub(crate) fn rate_factor(&self) -> f64 {
        self.plateau.factor() * 0.5f64.powi(self.progress.rollbacks as i32)
    }

    /// Hands the measurements of the epoch under way to the meter that continues it.
    pub(crate) fn take_meter(&mut self) -> MeterProgress {
        std::mem::take(&mut self.meter)
    }

    /// This state on the host, with the measurements of the epoch under way.
    ///
    /// # Errors
    ///
    /// The device's, when it cannot be read.
    pub(crate) fn snapshot(&self, meter: &mut Meter) -> Result<Snapshot, TensorReadError> {
        let meter = meter.progress();
        let document = Document {
            progress: self.progress,
            optimizer_steps: self.optimizer.steps(),
            plateau: self.plateau.clone(),
            best: self.best.score.map(|score| BestEpoch { score, epoch: self.best.epoch }),
            sums: meter.sums,
            measured: meter.measured.iter().map(Observed::rows).collect(),
            pending: meter.pending.iter().map(Observed::rows).collect(),
        };
        let mut tensors = Vec::new();
        for (path, memory) in self.optimizer.memory() {
            for (i, tensor) in memory.iter().enumerate() {
                tensors.push(host(format!("optimizer.{path}.{i}"), tensor.clone())?);
            }
        }
        for (path, weight) in self.average.iter().flat_map(Average::weights) {
            tensors.push(host(format!("average.{path}"), weight.clone())?);
        }
        if let Some(best) = &self.best.mlp {
            let best = best.tensors()?.into_iter();
            tensors.extend(best.map(|t| NamedTensor { name: format!("best.{}", t.name), ..t }));
        }
        let observed = meter.measured.into_iter().chain(meter.pending).collect();
        if let Some(observed) = Observed::joined(observed) {
            tensors.push(host("observed.losses".to_owned(), observed.losses)?);
            tensors.push(host("observed.outputs".to_owned(), observed.outputs)?);
            if let Some(weights) = observed.weights {
                tensors.push(host("observed.weights".to_owned(), weights)?);
            }
            tensors.push(match observed.targets {
                TargetTensor::Classes(ids) => host("observed.classes".to_owned(), ids.float())?,
                TargetTensor::Values(values) => host("observed.values".to_owned(), values)?,
            });
        }
        Ok(Snapshot { mlp: self.mlp.valid(), document, tensors })
    }

    /// The state that a checkpoint holds.
    ///
    /// # Errors
    ///
    /// A [`StateError`] if it is not that of such a job.
    pub fn restore(job: &Job<'_>, checkpoint: Checkpoint) -> Result<Self, StateError> {
        let document: Document = serde_json::from_value(checkpoint.run()["state"].clone())?;
        let (Model { mlp, .. }, run) = Model::from_checkpoint(checkpoint, job.device)?;
        let mut tensors = Tensors::of(run, job.device);
        let network = mlp.architecture().clone();
        let sizes: BTreeMap<String, usize> = network
            .tensors()
            .into_iter()
            .map(|(path, shape)| (path.to_string(), shape.iter().product()))
            .collect();
        let mlp = mlp.train();
        let memory = tensors.memory(&sizes)?;
        let steps = document.optimizer_steps;
        let average = match job.training.ema {
            Some(decay) => Some(Average::resumed(decay, tensors.average(&sizes)?)),
            None => None,
        };
        let best = match document.best {
            Some(BestEpoch { score, epoch }) => {
                let keeps = job.training.keeps_best();
                let mlp = if keeps { Some(tensors.best(&network)?) } else { None };
                Best { score: Some(score), epoch, mlp }
            }
            None => Best::default(),
        };
        // With quantiles there are more outputs than values.
        let width = job.task.names().len();
        let before = document.measured.iter().sum();
        let meter = MeterProgress {
            measured: tensors.observed(&document.measured, 0, width)?,
            pending: tensors.observed(&document.pending, before, width)?,
            sums: document.sums,
        };
        let expected = Meter::new(job.task, &job.training.measured()).sums();
        if meter.sums.len() != expected {
            return Err(StateError::Sums { found: meter.sums.len(), expected });
        }
        Ok(Self {
            optimizer: Optimizer::resumed(job.optimizer.clone(), &mlp, steps, memory),
            mlp,
            average,
            plateau: document.plateau,
            best,
            progress: document.progress,
            meter,
        })
    }
}

/// A [`State`] on the host.
#[derive(Clone, Debug)]
pub struct Snapshot {
    mlp: Mlp,
    document: Document,
    tensors: Vec<NamedTensor>,
}

impl Snapshot {
    /// How far the run has come.
    pub fn progress(&self) -> RunProgress {
        self.document.progress
    }

    /// The best epoch so far, if epochs are compared.
    pub fn best_epoch(&self) -> Option<u64> {
        self.document.best.as_ref().map(|best| best.epoch)
    }

    /// A checkpoint of this state: `model` gives what is around a network in a model file, `record`
    /// is kept beside the state.
    ///
    /// # Errors
    ///
    /// The device's, when it cannot be read.
    pub fn into_checkpoint(
        self,
        model: impl FnOnce(Mlp) -> Model,
        record: impl Serialize,
    ) -> Result<Checkpoint, StateError> {
        let run = serde_json::json!({
            "state": serde_json::to_value(&self.document)?,
            "record": serde_json::to_value(record)?,
        });
        Ok(Checkpoint::new(model(self.mlp).to_host()?, run, self.tensors))
    }
}

/// The state of a run in the document of its checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    progress: RunProgress,
    optimizer_steps: u64,
    plateau: PlateauState,
    best: Option<BestEpoch>,
    /// Of the epoch under way: its means so far, and the rows of each part that was measured and of
    /// each step that was not.
    sums: Vec<Sum>,
    measured: Vec<usize>,
    pending: Vec<usize>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BestEpoch {
    score: f64,
    epoch: u64,
}

/// Why a state cannot be kept or gone on from.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The document is not that of a run's state.
    #[error("its state of the run cannot be read: {0}")]
    Document(#[from] serde_json::Error),
    /// The model in it is not whole.
    #[error(transparent)]
    Model(#[from] ModelFileProblem),
    /// A tensor is not there.
    #[error("tensor run.{name} is missing")]
    Missing {
        /// The tensor.
        name: String,
    },
    /// A tensor has another size, or numbers it cannot have.
    #[error("tensor run.{name} has {found}; it must have {expected}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// The metrics are others.
    #[error("it has the sums of {found} metrics; this run measures {expected}")]
    Sums {
        /// Sums in the checkpoint.
        found: usize,
        /// Metrics of the run.
        expected: usize,
    },
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(#[from] TensorReadError),
}

/// The run's tensors in a checkpoint.
struct Tensors<'a> {
    /// Those that were not taken: each is needed once, and moved to the device.
    by_name: BTreeMap<String, NamedTensor>,
    device: &'a Device,
}

impl<'a> Tensors<'a> {
    fn of(checkpoint: Checkpoint, device: &'a Device) -> Self {
        Self { by_name: checkpoint.into_tensors().collect(), device }
    }

    fn named(&self, name: &str) -> Result<&NamedTensor, StateError> {
        let found = self.by_name.get(name);
        found.ok_or_else(|| StateError::Missing { name: name.to_owned() })
    }

    /// The numbers of a tensor that must have so many.
    fn numbers(&mut self, name: &str, expected: usize) -> Result<Vec<f32>, StateError> {
        let NamedTensor { values, .. } = self
            .by_name
            .remove(name)
            .ok_or_else(|| StateError::Missing { name: name.to_owned() })?;
        if values.len() == expected {
            return Ok(values);
        }
        let [found, expected] =
            [values.len(), expected].map(|count| counted(count as u64, "number"));
        Err(StateError::Tensor { name: name.to_owned(), found, expected })
    }

    fn flat(&mut self, name: &str, count: usize) -> Result<Tensor<1>, StateError> {
        let values = self.numbers(name, count)?;
        Ok(Tensor::from_data(TensorData::new(values, [count]), self.device))
    }

    /// Names with this prefix, without it.
    fn under(&self, prefix: &str) -> Vec<String> {
        let names = self.by_name.keys().filter_map(|name| name.strip_prefix(prefix));
        names.map(str::to_owned).collect()
    }

    /// What the optimizer remembers: `optimizer.PATH.INDEX`.
    fn memory(
        &mut self,
        sizes: &BTreeMap<String, usize>,
    ) -> Result<BTreeMap<String, Vec<Tensor<1>>>, StateError> {
        let mut memory: BTreeMap<String, Vec<Tensor<1>>> = BTreeMap::new();
        for name in self.under("optimizer.") {
            let full = format!("optimizer.{name}");
            let known = name.rsplit_once('.').and_then(|(path, _)| Some((path, *sizes.get(path)?)));
            let Some((path, count)) = known else {
                return Err(StateError::Tensor {
                    name: full,
                    found: "no parameter of its name".to_owned(),
                    expected: "one".to_owned(),
                });
            };
            memory.entry(path.to_owned()).or_default().push(self.flat(&full, count)?);
        }
        Ok(memory)
    }

    /// The averaged weights: `average.PATH`.
    fn average(
        &mut self,
        sizes: &BTreeMap<String, usize>,
    ) -> Result<BTreeMap<String, Tensor<1>>, StateError> {
        // Of what is frozen from the first step on there is none.
        let mut averaged = BTreeMap::new();
        for path in self.under("average.") {
            if let Some(&count) = sizes.get(&path) {
                let average = self.flat(&format!("average.{path}"), count)?;
                averaged.insert(path, average);
            }
        }
        Ok(averaged)
    }

    /// The network of the best epoch: `best.PATH`.
    fn best(&mut self, network: &Architecture) -> Result<Mlp, StateError> {
        Mlp::from_tensors(network, self.device, |path, shape| {
            self.numbers(&format!("best.{path}"), shape.iter().product())
        })
    }

    /// What was observed, cut into parts of so many rows; `first` is the row that they begin at.
    fn observed(
        &self,
        parts: &[usize],
        first: usize,
        outputs: usize,
    ) -> Result<Vec<Observed>, StateError> {
        let mut start = first;
        let mut observed = Vec::new();
        for &rows in parts {
            let part = start..start.saturating_add(rows);
            let losses = self.rows("observed.losses", part.clone(), 1)?;
            let values = self.rows("observed.outputs", part.clone(), outputs)?;
            let losses = Tensor::from_data(TensorData::new(losses, [rows]), self.device);
            let values = self.matrix(values, rows, outputs);
            let targets = self.targets(part.clone(), outputs)?;
            let weights = self.weights(part)?;
            observed.push(Observed { weights, ..Observed::new(losses, values, targets) });
            start = start.saturating_add(rows);
        }
        Ok(observed)
    }

    /// The weights of some rows, if rows have weights.
    fn weights(&self, part: std::ops::Range<usize>) -> Result<Option<Tensor<1>>, StateError> {
        if !self.by_name.contains_key("observed.weights") {
            return Ok(None);
        }
        let count = part.len();
        let weights = TensorData::new(self.rows("observed.weights", part, 1)?, [count]);
        Ok(Some(Tensor::from_data(weights, self.device)))
    }

    fn targets(
        &self,
        part: std::ops::Range<usize>,
        outputs: usize,
    ) -> Result<TargetTensor, StateError> {
        let rows = part.len();
        if !self.by_name.contains_key("observed.classes") {
            let values = self.rows("observed.values", part, outputs)?;
            return Ok(TargetTensor::Values(self.matrix(values, rows, outputs)));
        }
        let ids = self.rows("observed.classes", part, 1)?;
        let is_class = |id: &f32| *id >= 0.0 && (*id as usize) < outputs && id.fract() == 0.0;
        if let Some(id) = ids.iter().find(|id| !is_class(id)) {
            return Err(StateError::Tensor {
                name: "observed.classes".to_owned(),
                found: format!("the class {id}"),
                expected: format!("classes below {outputs}"),
            });
        }
        let ids: Vec<i32> = ids.into_iter().map(|id| id as i32).collect();
        let data = TensorData::new(ids, [rows]);
        Ok(TargetTensor::Classes(Tensor::<1, Int>::from_data(data, self.device)))
    }

    fn matrix(&self, values: Vec<f32>, rows: usize, columns: usize) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, [rows, columns]), self.device)
    }

    /// Some rows of a tensor with so many columns.
    fn rows(
        &self,
        name: &str,
        rows: std::ops::Range<usize>,
        columns: usize,
    ) -> Result<Vec<f32>, StateError> {
        let values = &self.named(name)?.values;
        let part = rows.start.saturating_mul(columns)..rows.end.saturating_mul(columns);
        values.get(part).map(<[f32]>::to_vec).ok_or_else(|| StateError::Tensor {
            name: name.to_owned(),
            found: counted(values.len() as u64, "number"),
            expected: format!("{} of {columns}", counted(rows.end as u64, "row")),
        })
    }
}

fn host<const D: usize>(name: String, tensor: Tensor<D>) -> Result<NamedTensor, TensorReadError> {
    let shape = tensor.dims().to_vec();
    Ok(NamedTensor { name, shape, values: tensor.try_into_vec_as::<f32>()? })
}

/// The best epoch so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Best {
    /// Higher is better; none before the first epoch.
    pub(crate) score: Option<f64>,
    pub(crate) epoch: u64,
    /// Its network, if the run keeps it.
    pub(crate) mlp: Option<Mlp>,
}

impl Best {
    /// Takes note of an epoch; whether it improved on all before it.
    pub(crate) fn observe(
        &mut self,
        o: &TrainingSettings,
        found: &Evaluation,
        mlp: &Mlp,
        epoch: u64,
    ) -> bool {
        let value = found.get(&o.monitor.to_string());
        let score = value.map(|value| if o.monitor.more_is_better() { value } else { -value });
        let least = o.early_stopping.as_ref().map_or(0.0, |stop| stop.min_improvement);
        let improved = match (score, self.score) {
            (Some(score), Some(best)) => score > best + least,
            (Some(score), None) => !score.is_nan(),
            (None, _) => false,
        };
        if improved {
            let mlp = o.keeps_best().then(|| mlp.clone());
            *self = Self { score, epoch, mlp };
        }
        improved
    }

    /// Whether the run has waited long enough for an improvement, after this epoch; it waits from
    /// the epoch `since`, after which the last part of the run begins.
    pub(crate) fn is_exhausted(&self, o: &TrainingSettings, epoch: u64, since: u64) -> bool {
        o.early_stopping.as_ref().is_some_and(|stop| {
            epoch > since && epoch >= self.epoch.max(since).saturating_add(stop.patience)
        })
    }
}
