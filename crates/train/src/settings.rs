//! Everything that a run is determined by, in one value: from defaults, recipe, file and flags.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use fireclay::model_file::write_whole;
use fireclay::{
    Backend, ConfigError, DeviceChoice, Loss, LossError, MlpConfig, Preprocessing,
    PreprocessingError, Task, nearest,
};
use fireclay_data::{Dataset, Features, Holdout, Source};
use serde::{Deserialize, Serialize};

use crate::metrics::{MetricChoice, MetricError};
use crate::optimizer::{OptimizerConfig, OptimizerError};
use crate::schedule::{Schedule, ScheduleError};

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
    /// What training makes small; the task's usual loss if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// How the weights move.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// The loop.
    pub training: TrainingSettings,
}

/// What to learn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// A name such as `mnist`, or `idx:FOLDER`.
    pub source: String,
    /// Held out for validation: a number of samples, or a share of them between 0 and 1.
    pub validation: Validation,
    /// Holds out the same share of every class.
    pub stratified: bool,
    /// What is done to raw features before the network sees them.
    pub preprocessing: PreprocessingChoice,
}

/// How much to hold out for validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Validation {
    /// A number of samples.
    Count(usize),
    /// A share of the samples, above 0 and below 1.
    Fraction(f64),
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
    /// Pixel bytes to [0, 1], then to mean 0 and deviation 1 over all pixels together.
    Normalize,
    /// Each feature to mean 0 and deviation 1.
    Standardize,
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
}

/// When to end early.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without improvement after which the run ends.
    pub patience: u64,
    /// How much better than the best an epoch must be to count as an improvement.
    pub min_improvement: f64,
}

/// Which weights become the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The best epoch's with early stopping, else the last.
    #[default]
    Auto,
    /// Those of the last epoch.
    Last,
    /// Those of the best epoch.
    Best,
}

/// What tells a good epoch from a bad one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Monitor {
    /// The lowest validation loss.
    #[default]
    Loss,
    /// The highest validation accuracy.
    Accuracy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            backend: Backend::default(),
            device: DeviceChoice::default(),
            data: DataSettings::default(),
            model: MlpConfig::default(),
            loss: None,
            optimizer: OptimizerConfig::default(),
            schedule: Schedule::default(),
            training: TrainingSettings::default(),
        }
    }
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            source: "mnist".to_owned(),
            validation: Validation::Count(5000),
            stratified: false,
            preprocessing: PreprocessingChoice::default(),
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
            clip_norm: None,
            ema: None,
            early_stopping: None,
            keep: Keep::default(),
            monitor: Monitor::default(),
            metrics: Vec::new(),
        }
    }
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { patience: 5, min_improvement: 0.0 }
    }
}

impl std::str::FromStr for Validation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Count(count));
        }
        match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 => Ok(Self::Fraction(share)),
            _ => {
                Err(format!("`{text}` is neither a number of samples nor a share between 0 and 1"))
            }
        }
    }
}

impl From<Validation> for Holdout {
    fn from(validation: Validation) -> Self {
        match validation {
            Validation::Count(count) => Self::Count(count),
            Validation::Fraction(share) => Self::Fraction(share),
        }
    }
}

/// The recipes that come with the program: name and file.
pub const RECIPES: [(&str, &str); 3] = [
    ("mnist", include_str!("../../../recipes/mnist.toml")),
    ("mnist-small", include_str!("../../../recipes/mnist-small.toml")),
    ("mnist-best", include_str!("../../../recipes/mnist-best.toml")),
];

/// Why settings can not be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No recipe has this name.
    #[error(
        "there is no recipe `{found}`{}; recipes: {}. A file of your own goes with --config",
        nearest(found, RECIPES.map(|(name, _)| name)).map_or(String::new(), |n| format!(", did you mean `{n}`?")),
        RECIPES.map(|(name, _)| name).join(", ")
    )]
    UnknownRecipe {
        /// The name given.
        found: String,
    },
    /// A settings file can not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Settings are not TOML, or not settings.
    #[error("{origin}: {message}")]
    Parse {
        /// The file, recipe or flags they come from.
        origin: String,
        /// What is wrong and where, with the nearest known word.
        message: String,
    },
    /// A value of the training section is out of range.
    #[error("{setting} is {found}; it must be {expected}")]
    OutOfRange {
        /// The setting at fault.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// The network's sizes contradict the data's.
    #[error(
        "model.{setting} is {found} but the data has {expected}; leave it out to take the data's"
    )]
    Sizes {
        /// The setting at fault.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What the data has.
        expected: String,
    },
    /// The network is impossible.
    #[error("model: {0}")]
    Model(#[from] ConfigError),
    /// The loss is impossible.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// The optimizer is impossible.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
    /// The schedule is impossible.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A metric does not fit the task.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The preprocessing is impossible.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
}

/// One layer of settings, to be laid over those below it.
#[derive(Debug)]
pub struct Layer {
    /// The file, recipe or flags it comes from, for messages.
    pub origin: String,
    /// The settings that it sets.
    pub table: toml::Table,
}

impl Layer {
    /// A recipe that comes with the program.
    ///
    /// # Errors
    ///
    /// [`SettingsError::UnknownRecipe`] if there is none of this name.
    pub fn recipe(name: &str) -> Result<Self, SettingsError> {
        let (_, text) = RECIPES
            .into_iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| SettingsError::UnknownRecipe { found: name.to_owned() })?;
        Self::parse(format!("recipe {name}"), text)
    }

    /// A settings file.
    ///
    /// # Errors
    ///
    /// The file can not be read, or is not TOML.
    pub fn file(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        Self::parse(path.display().to_string(), &text)
    }

    fn parse(origin: String, text: &str) -> Result<Self, SettingsError> {
        match toml::from_str(text) {
            Ok(table) => Ok(Self { origin, table }),
            Err(error) => Err(SettingsError::Parse { origin, message: error.to_string() }),
        }
    }
}

impl Settings {
    /// The defaults with `layers` laid over them, the last on top.
    ///
    /// A section that names another choice (`optimizer.name = "sgd"` over `"adam"`) replaces the
    /// section below it instead of mixing the settings of two choices.
    ///
    /// # Errors
    ///
    /// A layer sets something unknown, or to a value of another type.
    pub fn from_layers(layers: &[Layer]) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        let mut table: toml::Table = settings.to_toml().parse().unwrap_or_default();
        for layer in layers {
            overlay(&mut table, &layer.table);
            // Layer by layer, so that an error is told with where it comes from.
            let refused = |message| SettingsError::Parse { origin: layer.origin.clone(), message };
            settings = table
                .clone()
                .try_into()
                .map_err(|error| refused(explain(&error, &table, &layer.table)))?;
            let read: toml::Table = settings.to_toml().parse().unwrap_or_default();
            if let Some(path) = ignored(&table, &read) {
                return Err(refused(format!("there is no setting `{path}`")));
            }
        }
        Ok(settings)
    }

    /// Checks everything that can be checked before the data is read.
    ///
    /// # Errors
    ///
    /// The first setting at fault.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.optimizer.validate()?;
        self.schedule.validate()?;
        self.training.validate()?;
        // Sizes that are left to the data are as good as any here.
        let sizes = MlpConfig::new([1], [], 1);
        let mut model = self.model.clone();
        if model.input_shape.is_empty() {
            model.input_shape = sizes.input_shape;
        }
        if model.outputs == 0 {
            model.outputs = sizes.outputs;
        }
        Ok(model.validate()?)
    }

    /// Fills in what is left to the data: the network's sizes, the loss and the preprocessing.
    ///
    /// # Errors
    ///
    /// Settings that contradict the data or its task.
    pub fn resolve(&mut self, data: &Dataset, task: &Task) -> Result<(), SettingsError> {
        let model = &mut self.model;
        if model.input_shape.is_empty() {
            model.input_shape = data.shape().to_vec();
        }
        if model.outputs == 0 {
            model.outputs = task.outputs();
        }
        if self.data.preprocessing == PreprocessingChoice::Auto {
            self.data.preprocessing = match data.features() {
                Features::Bytes(_) => PreprocessingChoice::Scale,
                Features::Floats(_) => PreprocessingChoice::Standardize,
            };
        }
        agree("input_shape", &model.input_shape, &data.shape().to_vec())?;
        agree("outputs", &model.outputs, &task.outputs())?;
        model.validate()?;
        self.loss.get_or_insert_with(|| Loss::default_for(task)).validate(task)?;
        for metric in &self.training.metrics {
            metric.validate(task)?;
        }
        Ok(())
    }

    /// The settings as a file.
    pub fn to_toml(&self) -> String {
        // Serialisation of plain numbers, strings and tables has no way to fail.
        toml::to_string_pretty(self).unwrap_or_default()
    }

    /// Writes the settings as a file, whole or not at all.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let text = format!(
            "# The resolved settings of this run; repeat it with --config.\n{}",
            self.to_toml()
        );
        write_whole(path, text.as_bytes())
    }
}

impl DataSettings {
    /// The source by name.
    ///
    /// # Errors
    ///
    /// An unknown name, with the nearest known one.
    pub fn source(&self) -> Result<Source, fireclay_data::DataError> {
        self.source.parse()
    }

    /// The chosen preprocessing, fitted on the training rows; `auto` is nothing until
    /// [`resolve`](Settings::resolve) has chosen.
    pub fn preprocessing(&self, data: &Dataset, training: &[usize]) -> Preprocessing {
        match self.preprocessing {
            PreprocessingChoice::Auto | PreprocessingChoice::None => Preprocessing::None,
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

impl TrainingSettings {
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

/// Lays `over` on `table`, section by section.
fn overlay(table: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        let value = &match value {
            // `optimizer = "sgd"` is short for `optimizer.name = "sgd"`.
            toml::Value::String(_) if CHOICES.contains(&key.as_str()) => {
                toml::Value::Table([("name".to_owned(), value.clone())].into_iter().collect())
            }
            other => other.clone(),
        };
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => {
                let names = (below.get("name"), above.get("name"));
                if matches!(names, (Some(old), Some(new)) if old != new) {
                    below.clear();
                }
                overlay(below, above);
            }
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Sections that are one of several choices, told apart by their `name`.
const CHOICES: [&str; 3] = ["loss", "optimizer", "schedule"];

/// The path of the first setting that was given and is not among those that were read.
fn ignored(given: &toml::Table, read: &toml::Table) -> Option<String> {
    given.iter().find_map(|(key, value)| match (value, read.get(key)) {
        (_, None) => Some(key.clone()),
        (toml::Value::Table(given), Some(toml::Value::Table(read))) => {
            ignored(given, read).map(|path| format!("{key}.{path}"))
        }
        _ => None,
    })
}

/// Says why a layer can not be read: a setting that its section's choice does not have, or else
/// the message of the TOML error.
fn explain(error: &toml::de::Error, table: &toml::Table, layer: &toml::Table) -> String {
    let mut quoted = error.message().split('`').skip(1).step_by(2);
    let field = quoted.next().filter(|_| error.message().starts_with("unknown field"));
    let section = field.and_then(|field| {
        let mut sections = CHOICES.into_iter();
        sections
            .find(|section| layer.get(*section).is_some_and(|values| values.get(field).is_some()))
    });
    let name = section.and_then(|section| table.get(section)?.get("name")?.as_str());
    match (field, section, name) {
        (Some(field), Some(section), Some(name)) => {
            let near = nearest(field, quoted.clone());
            let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let known: Vec<&str> = quoted.collect();
            format!("{section} {name} has no `{field}`, it has {}{near}", known.join(", "))
        }
        _ => with_suggestion(error),
    }
}

/// The message of a TOML error, with the nearest of the words that it says it expected.
fn with_suggestion(error: &toml::de::Error) -> String {
    let mut quoted = error.message().split('`').skip(1).step_by(2);
    let text = error.to_string().trim_end().to_owned();
    let is_unknown = error.message().starts_with("unknown ");
    match quoted.next().filter(|_| is_unknown).and_then(|found| nearest(found, quoted)) {
        Some(near) => format!("{text}\ndid you mean `{near}`?"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{Adam, Sgd};

    fn layer(text: &str) -> Layer {
        Layer { origin: "test".to_owned(), table: text.parse().unwrap() }
    }

    fn settings(texts: &[&str]) -> Result<Settings, SettingsError> {
        Settings::from_layers(&texts.iter().map(|text| layer(text)).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_layer_wins_setting_by_setting() {
        let found = settings(&[
            "[training]\nepochs = 7\nbatch_size = 64",
            "[training]\nepochs = 9\n[optimizer]\nlearning_rate = 0.5",
        ]);
        let found = found.unwrap();
        assert_eq!((found.training.epochs, found.training.batch_size), (9, 64));
        let adam = Adam { learning_rate: 0.5, ..Adam::default() };
        assert_eq!(found.optimizer, OptimizerConfig::Adam(adam));
    }

    #[test]
    fn another_choice_starts_from_its_own_defaults() {
        let found =
            settings(&["[optimizer]\nbeta1 = 0.5", "[optimizer]\nname = \"sgd\"\nmomentum = 0.9"]);
        let sgd = Sgd { momentum: 0.9, ..Sgd::default() };
        assert_eq!(found.unwrap().optimizer, OptimizerConfig::Sgd(sgd));
    }

    #[test]
    fn an_unknown_setting_is_answered_with_the_nearest() {
        for (text, near) in [
            ("sead = 1", "seed"),
            ("[model]\nhiden = [3]", "hidden"),
            ("[training]\nepoch = 3", "epochs"),
            ("[optimizer]\nlearning_rat = 1.0", "learning_rate"),
            ("[optimizer]\nname = \"adm\"", "adam"),
            ("[model]\nactivation = \"rellu\"", "relu"),
        ] {
            let error = settings(&[text]).unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean `{near}`?")), "{text}: {error}");
        }
    }

    #[test]
    fn every_recipe_and_the_defaults_are_valid_and_read_back() {
        for (name, _) in RECIPES {
            let found = Settings::from_layers(&[Layer::recipe(name).unwrap()]).unwrap();
            found.validate().unwrap();
            assert_eq!(settings(&[&found.to_toml()]).unwrap(), found, "{name}");
        }
        let default = Settings::default();
        assert_eq!(settings(&[&default.to_toml()]).unwrap(), default);
        // The recipe `mnist` is the defaults, written out.
        let mnist = Settings::from_layers(&[Layer::recipe("mnist").unwrap()]).unwrap();
        let scaled =
            DataSettings { preprocessing: PreprocessingChoice::Scale, ..default.data.clone() };
        assert_eq!(mnist, Settings { data: scaled, ..default });
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (text, setting) in [
            ("[training]\nepochs = 0", "epochs"),
            ("[training]\nbatch_size = 0", "batch_size"),
            ("[training]\naccumulate = 0", "accumulate"),
            ("[training]\nclip_norm = 0.0", "clip_norm"),
            ("[training]\nema = 1.0", "ema"),
            ("[training.early_stopping]\npatience = 0", "patience"),
            ("[training.early_stopping]\nmin_improvement = -1.0", "min_improvement"),
            ("[model]\ndropout = 1.5", "dropout"),
            ("[optimizer]\nlearning_rate = nan", "learning_rate"),
            ("[optimizer]\nname = \"sgd\"\nnesterov = true", "momentum"),
            ("[schedule]\nname = \"step\"\nevery_epochs = 0", "every_epochs"),
        ] {
            let error = settings(&[text]).unwrap().validate().unwrap_err().to_string();
            assert!(error.contains(setting), "{text}: {error}");
        }
    }
}
