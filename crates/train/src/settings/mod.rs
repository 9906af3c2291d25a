//! Everything that a run is determined by, in one value: from defaults, recipe, file and flags.

mod embedding;
mod ending;
mod error;
mod learning;
mod memory;
mod partial;
mod rates;
mod source;
mod validation;

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use fireclay::{
    Average, Backend, DeviceChoice, FrontPart, Loss, MlpConfig, Preprocessing, Sounds,
    TargetScaling, Task,
};
use fireclay_data::tables::TableOptions;
use fireclay_data::{Augmentation, Dataset, Features, SoundOptions, Source, Targets};
use fireclay_measure::Goals;
use serde::{Deserialize, Serialize};

use crate::manifest::sha256;
use crate::metrics::{MetricChoice, Monitor};
use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;
use crate::tuning::Tuning;

pub use embedding::{EmbeddingSettings, NumberEmbedding};
pub use ending::{Annealed, EarlyStopping, Keep, OnDivergence};
pub use error::SettingsError;
pub(crate) use learning::class_counts;
pub use learning::{ClassWeights, Sampling, TargetTransform};
pub use memory::Memory;
pub(crate) use partial::{FLAGS, NONE};
pub use partial::{Partial, RECIPES};
pub use rates::GroupRates;
pub use validation::Validation;

/// The settings of a run, as a file holds them.
///
/// The default is the tutorial's run: MNIST, one hidden layer of 128, Adam, batches of 32, 5 epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Fixes every random choice of the run.
    pub seed: u64,
    /// What computes.
    pub backend: Backend,
    /// Which of the backend's devices.
    pub device: DeviceChoice,
    /// What to learn from.
    pub data: DataSettings,
    /// The network.
    pub model: MlpConfig,
    /// How columns of a table become its inputs.
    #[serde(skip_serializing_if = "EmbeddingSettings::is_default")]
    pub embedding: EmbeddingSettings,
    /// What training makes small; the task's usual loss if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// How the weights move.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// The loop.
    pub training: TrainingSettings,
    /// Choices on the validation split after training.
    #[serde(skip_serializing_if = "Goals::is_default")]
    pub decision: Goals,
    /// The model that training starts from, and what is trained of it; a fresh network if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuning: Option<Tuning>,
}

/// What to learn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// A name such as `mnist`, `idx:FOLDER`, `sounds:PATH`, or the path of a table.
    pub source: String,
    /// Held out for validation: a number of samples, or a share of them between 0 and 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Holds out the same share of every class.
    pub stratified: bool,
    /// The classes that are learned, if not all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Columns and splits of a table.
    #[serde(skip_serializing_if = "is_default")]
    pub table: TableOptions,
    /// File names and features of recordings.
    #[serde(skip_serializing_if = "is_default")]
    pub sounds: SoundOptions,
    /// Memory within which the rows of a table are read in blocks; all are in memory if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// What is done to raw features before the network sees them.
    pub preprocessing: PreprocessingChoice,
    /// What is done to the targets of a regression for training; nothing if absent, as in runs of
    /// programs that left them as they are. A new run has it, if it is a regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_scaling: Option<TargetScalingChoice>,
    /// The transform of the targets of a regression for training; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_transform: Option<TargetTransform>,
}

/// How preprocessing is chosen; what needs numbers is fitted on the training split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PreprocessingChoice {
    /// `scale` for pixel bytes, `standardize` for other features.
    #[default]
    Auto,
    /// Features as they are.
    None,
    /// Pixel bytes to [0, 1].
    Scale,
    /// Pixel bytes to [0, 1], then to mean 0 and standard deviation 1 over all pixels together.
    Normalize,
    /// Each feature to mean 0 and standard deviation 1.
    Standardize,
    /// As in the model that training starts from.
    #[value(skip)]
    Model,
}

/// What is done to the targets of a regression; outputs are turned back into their unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TargetScalingChoice {
    /// Targets as they are.
    None,
    /// Each target to mean 0 and standard deviation 1 over the training rows.
    Standardize,
    /// As in the model that training starts from.
    #[value(skip)]
    Model,
}

/// The training loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingSettings {
    /// Passes over the training split.
    pub epochs: u64,
    /// Samples whose gradients are computed together.
    pub batch_size: usize,
    /// Batches whose gradients are averaged into one step.
    pub accumulate: usize,
    /// Leaves out the last batch of an epoch if it is short.
    pub drop_last: bool,
    /// The rows of an epoch.
    #[serde(skip_serializing_if = "Sampling::is_shuffle")]
    pub sampling: Sampling,
    /// The weights of classes, of a run that has not yet begun; the loss has the numbers then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// Greatest joint norm of all gradients of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Decay, per step, of an exponential moving average of the weights, which is then the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Ends the run early when the validation split shows no improvement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Which weights become the model: the last, or those of the best epoch by `monitor`.
    pub keep: Keep,
    /// What makes an epoch the best, on the validation split.
    pub monitor: Monitor,
    /// What is measured beside the loss and the accuracy.
    pub metrics: Vec<MetricChoice>,
    /// What is done when something stops being a finite number.
    pub on_divergence: OnDivergence,
    /// Settings that fall to 0 in the second half of the run, along half a cosine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub anneal: Vec<Annealed>,
    /// What the learning rate of groups of parameters is multiplied by.
    #[serde(skip_serializing_if = "GroupRates::is_default")]
    pub rates: GroupRates,
    /// Random changes of the features of recordings.
    #[serde(skip_serializing_if = "Augmentation::is_none")]
    pub augment: Augmentation,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            backend: Backend::default(),
            device: DeviceChoice::default(),
            data: DataSettings::default(),
            model: MlpConfig::default(),
            embedding: EmbeddingSettings::default(),
            loss: None,
            optimizer: OptimizerConfig::default(),
            schedule: Schedule::default(),
            training: TrainingSettings::default(),
            decision: Goals::default(),
            tuning: None,
        }
    }
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            source: "mnist".to_owned(),
            validation: None,
            stratified: false,
            classes: Vec::new(),
            table: TableOptions::default(),
            sounds: SoundOptions::default(),
            memory: None,
            preprocessing: PreprocessingChoice::default(),
            target_scaling: None,
            target_transform: None,
        }
    }
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            epochs: 5,
            batch_size: 32,
            accumulate: 1,
            drop_last: false,
            sampling: Sampling::default(),
            class_weights: None,
            clip_norm: None,
            ema: None,
            early_stopping: None,
            keep: Keep::default(),
            monitor: Monitor::default(),
            metrics: Vec::new(),
            on_divergence: OnDivergence::default(),
            anneal: Vec::new(),
            rates: GroupRates::default(),
            augment: Augmentation::default(),
        }
    }
}

impl Settings {
    /// Checks everything that can be checked before the data is read.
    ///
    /// # Errors
    ///
    /// The first setting at fault.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.optimizer.validate()?;
        self.schedule.validate()?;
        self.training.validate()?;
        self.embedding.validate()?;
        // Sizes that are left to the data are as good as any here.
        let sizes = MlpConfig::new([1], [], 1);
        let mut model = self.model.clone();
        if model.input_shape.is_empty() {
            let columns = model.front.iter().map(FrontPart::columns);
            let columns = columns.fold(0, usize::saturating_add);
            model.input_shape = if columns > 0 { vec![columns] } else { sizes.input_shape };
        }
        if model.outputs == 0 {
            model.outputs = sizes.outputs;
        }
        model.architecture()?;
        Ok(())
    }

    /// Fills in what is left to the data: the network's sizes, the loss, the preprocessing and what is
    /// held out.
    ///
    /// # Errors
    ///
    /// Settings that contradict the data or its task.
    pub fn resolve(&mut self, data: &Dataset, task: &Task) -> Result<(), SettingsError> {
        let is_of_recordings = matches!(self.source(), Ok(Source::Sounds(_)));
        self.embed(data)?;
        let model = &mut self.model;
        if model.input_shape.is_empty() {
            model.input_shape = data.shape().to_vec();
        }
        if model.outputs == 0 {
            model.outputs = task.outputs();
        }
        if let Some(ensemble) = &mut model.ensemble {
            ensemble.average = Average::of(task);
        }
        if self.data.sounds != SoundOptions::default() && !is_of_recordings {
            return Err(SettingsError::NoRecordings { data: self.data.source.clone() });
        }
        if data.input().is_some() {
            self.data.check_table()?;
            self.data.preprocessing = PreprocessingChoice::None;
        } else if self.data.memory.is_some() {
            return Err(SettingsError::NoBlocks { data: self.data.source.clone() });
        } else if self.data.table != TableOptions::default() && !is_of_recordings {
            return Err(SettingsError::NoTable { data: self.data.source.clone() });
        }
        if self.data.preprocessing == PreprocessingChoice::Auto {
            self.data.preprocessing = match data.features() {
                Features::Bytes(_) => PreprocessingChoice::Scale,
                Features::Floats(_) | Features::Blocks(_) => PreprocessingChoice::Standardize,
            };
        }
        self.data.validation.get_or_insert_with(|| Validation::usual(data.len()));
        agree("input_shape", &model.input_shape, &data.shape().to_vec())?;
        agree("outputs", &model.outputs, &task.outputs())?;
        let network = model.architecture()?;
        if let Some(tuning) = &self.tuning {
            tuning.validate(&network)?;
        }
        let smooths =
            matches!(&self.loss, Some(Loss::CrossEntropy(loss)) if loss.label_smoothing > 0.0);
        if smooths && !matches!(task, Task::Classification { .. }) {
            return Err(SettingsError::LabelSmoothing { task: task.kind() });
        }
        self.loss.get_or_insert_with(|| Loss::default_for(task)).validate(task)?;
        for metric in &self.training.metrics {
            metric.validate(task)?;
        }
        self.training.monitor.validate(task)?;
        let is_regression = matches!(task, Task::Regression { .. });
        if self.data.target_scaling.is_some() && !is_regression {
            return Err(SettingsError::TargetScaling { task: task.kind() });
        }
        if self.data.target_transform.is_some() && !is_regression {
            return Err(SettingsError::TargetTransform { task: task.kind() });
        }
        Ok(())
    }

    /// Checks that augmentation has rows of recordings, and fits their features.
    ///
    /// # Errors
    ///
    /// A setting of augmentation that does not.
    pub fn check_augmentation(&self, sounds: Option<&Sounds>) -> Result<(), SettingsError> {
        let augment = &self.training.augment;
        if !augment.is_none() && sounds.is_none() {
            return Err(SettingsError::NothingToAugment { data: self.data.source.clone() });
        }
        Ok(augment.validate(sounds)?)
    }

    /// The settings as a file.
    pub fn to_toml(&self) -> String {
        // Serialisation of plain numbers, strings and tables has no way to fail.
        toml::to_string_pretty(self).unwrap_or_default()
    }

    /// The settings with each that a file leaves out and that has a value all the same.
    pub fn spelled_out(&self) -> Self {
        let mut all = self.clone();
        if let Schedule::Plateau(plateau) = &mut all.schedule {
            plateau.watch.get_or_insert_default();
        }
        all
    }

    /// The settings as the file of a run.
    pub fn to_file(&self) -> String {
        let use_of_it = match self.tuning {
            None => "--config FILE starts a new run with them",
            Some(_) => "--resume and --repeat use them",
        };
        format!("# The resolved settings of this run; {use_of_it}.\n{}", self.to_toml())
    }

    /// What differs from `other` and changes the mathematics of a resumed run: path, value
    /// here and value there.
    ///
    /// The number of epochs, the backend and its device may change.
    pub fn differences(&self, other: &Self) -> Vec<(String, String, String)> {
        differing(&self.mathematics(), &other.mathematics())
    }

    /// Everything that differs from `other`: path, value here and value there.
    pub fn all_differences(&self, other: &Self) -> Vec<(String, String, String)> {
        differing(&self.flat(), &other.flat())
    }

    /// `sha256:` and the digest of what must not change when a run is resumed.
    pub fn digest(&self) -> String {
        let mut lines = self.mathematics();
        // Checkpoints of older runs have the digest of other names: `f-1` for `macro-f1`.
        for path in ["training.metrics", "training.monitor"] {
            if let Some(names) = lines.get_mut(path) {
                *names = names.replace("macro-f", "f-").replace("macro-", "");
            }
        }
        let text: String =
            lines.into_iter().map(|(path, value)| format!("{path} = {value}\n")).collect();
        sha256(text.as_bytes())
    }

    /// Everything that the arithmetic of a run depends on, by path.
    fn mathematics(&self) -> BTreeMap<String, String> {
        let mut flat = self.flat();
        for path in ["backend", "device", "training.epochs"] {
            flat.remove(path);
        }
        flat
    }

    /// Everything, by path, as a file has it.
    pub fn flat(&self) -> BTreeMap<String, String> {
        let mut flat = BTreeMap::new();
        flatten("", &self.to_toml().parse().unwrap_or_default(), &mut flat);
        flat
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What differs: path, value here and value there.
fn differing(
    here: &BTreeMap<String, String>,
    there: &BTreeMap<String, String>,
) -> Vec<(String, String, String)> {
    let paths: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    let differing = paths.into_iter().filter(|path| here.get(*path) != there.get(*path));
    differing.map(|path| (path.clone(), value(here, path), value(there, path))).collect()
}

fn value(settings: &BTreeMap<String, String>, path: &str) -> String {
    settings.get(path).cloned().unwrap_or_else(|| "absent".to_owned())
}

/// The values of nested tables by their dotted paths.
fn flatten(prefix: &str, table: &toml::Table, flat: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(below) => flatten(&format!("{prefix}{key}."), below, flat),
            value => {
                flat.insert(format!("{prefix}{key}"), value.to_string());
            }
        }
    }
}

impl DataSettings {
    /// Refuses a preprocessing of a table, whose columns have encodings of their own.
    fn check_table(&self) -> Result<(), SettingsError> {
        match self.preprocessing {
            PreprocessingChoice::Auto | PreprocessingChoice::None | PreprocessingChoice::Model => {
                Ok(())
            }
            _ => Err(SettingsError::PreprocessedTable),
        }
    }

    /// The chosen preprocessing, fitted on the training rows; `auto` is nothing until
    /// [`resolve`](Settings::resolve) has chosen, and `model` is that of another model.
    pub fn preprocessing(&self, data: &Dataset, training: &[usize]) -> Preprocessing {
        match self.preprocessing {
            PreprocessingChoice::Auto | PreprocessingChoice::None | PreprocessingChoice::Model => {
                Preprocessing::None
            }
            PreprocessingChoice::Scale => Preprocessing::PIXELS,
            PreprocessingChoice::Normalize => {
                let (mean, deviation) = data.global_mean_and_std(training);
                let scale = 1.0 / 255.0;
                let deviation = (scale * deviation).max(f32::MIN_POSITIVE);
                Preprocessing::Normalize { scale, mean: scale * mean, deviation }
            }
            PreprocessingChoice::Standardize => {
                let (mean, deviation) = data.mean_and_std(training);
                Preprocessing::Standardize { mean, deviation }
            }
        }
    }
}

impl DataSettings {
    /// The task with the chosen scaling of its targets, fitted on the training rows; that of another
    /// model has its own.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Targets`] for targets beyond single precision.
    pub fn scaled(
        &self,
        task: Task,
        data: &Dataset,
        training: &[usize],
    ) -> Result<Task, SettingsError> {
        let Targets::Values { values, .. } = data.targets() else { return Ok(task) };
        let targets = task.names().len();
        let is_logarithmic = self.target_transform == Some(TargetTransform::Log);
        let scaling = match (self.target_scaling, is_logarithmic) {
            (Some(TargetScalingChoice::Model), _) => return Ok(task),
            (Some(TargetScalingChoice::Standardize), false) => {
                Some(TargetScaling::fit(values, targets, training)?)
            }
            (Some(TargetScalingChoice::Standardize), true) => {
                Some(TargetScaling::fit_logarithm(values, targets, training)?)
            }
            (_, true) => Some(TargetScaling::of_logarithm(targets)),
            (_, false) => return Ok(task),
        };
        Ok(task.with_scaling(scaling))
    }
}

impl TrainingSettings {
    /// What is measured beside the metrics of every run: what was asked for, and what is monitored.
    pub fn measured(&self) -> Vec<MetricChoice> {
        let monitored = self.monitor.choice().filter(|choice| !self.metrics.contains(choice));
        self.metrics.iter().copied().chain(monitored).collect()
    }

    /// Whether the model is the best epoch's rather than the last's.
    pub fn keeps_best(&self) -> bool {
        match self.keep {
            Keep::Auto => self.early_stopping.is_some(),
            Keep::Last => false,
            Keep::Best => true,
        }
    }

    /// Whether anything depends on validation samples.
    pub fn needs_validation(&self, schedule: &Schedule) -> bool {
        self.keeps_best()
            || self.early_stopping.is_some()
            || matches!(schedule, Schedule::Plateau(_))
    }

    fn validate(&self) -> Result<(), SettingsError> {
        at_least_one("training.epochs", self.epochs)?;
        at_least_one("training.batch_size", self.batch_size as u64)?;
        at_least_one("training.accumulate", self.accumulate as u64)?;
        let rows = self.batch_size.checked_mul(self.accumulate);
        let expected = "few enough that accumulated batches can be counted";
        in_range(rows.is_some(), "training.batch_size", self.batch_size, expected)?;
        if let Some(norm) = self.clip_norm {
            in_range(
                norm.is_finite() && norm > 0.0,
                "training.clip_norm",
                format!("{norm:?}"),
                "above 0",
            )?;
        }
        if let Some(decay) = self.ema {
            let expected = "above 0 and below 1";
            in_range(decay > 0.0 && decay < 1.0, "training.ema", format!("{decay:?}"), expected)?;
        }
        self.rates.validate()?;
        self.augment.validate(None)?;
        if let Some(EarlyStopping { patience, min_improvement }) = self.early_stopping {
            at_least_one("training.early_stopping.patience", patience)?;
            let holds = min_improvement.is_finite() && min_improvement >= 0.0;
            let setting = "training.early_stopping.min_improvement";
            in_range(holds, setting, format!("{min_improvement:?}"), "0 or above")?;
        }
        Ok(())
    }
}

fn at_least_one(setting: &'static str, found: u64) -> Result<(), SettingsError> {
    in_range(found >= 1, setting, found, "at least 1")
}

fn in_range(
    holds: bool,
    setting: &'static str,
    found: impl ToString,
    expected: &'static str,
) -> Result<(), SettingsError> {
    if holds {
        Ok(())
    } else {
        Err(SettingsError::OutOfRange { setting, found: found.to_string(), expected })
    }
}

fn agree<T: PartialEq + std::fmt::Debug>(
    setting: &'static str,
    found: &T,
    expected: &T,
) -> Result<(), SettingsError> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
    Err(SettingsError::Sizes { setting, found, expected })
}
