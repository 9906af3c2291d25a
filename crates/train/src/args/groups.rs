//! The flags of a run in groups, for every program that trains.

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use fireclay::{Activation, Backend, DeviceChoice, Initializer, Norm, Parametrization};
use toml::Value;

use super::decision::DecisionArgs;
use super::flags::{Flags, OrNone, assigned};
use crate::checkpoints::Every;
use crate::metrics::{MetricChoice, Monitor};
use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;
use crate::settings::{
    ClassWeights, FLAGS, Keep, NumberEmbedding, OnDivergence, Partial, Sampling, Settings,
    SettingsError, TargetScalingChoice, TargetTransform, Validation,
};

/// A parser of one of several values by name, which help and completions list.
fn one_of<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Error + Send + Sync> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

/// Where settings come from, beside flags of their own.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArgs {
    /// Read settings from a TOML file, such as a run's config.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set any setting by its path in a settings file, such as optimizer.alpha=0.9; repeatable.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Seed of every random choice [default: 1].
    #[arg(long, value_name = "N")]
    pub seed: Option<u32>,
}

impl SettingsArgs {
    /// The settings of a run, part by part: those `below`, the file, the flags, and each --set.
    ///
    /// # Errors
    ///
    /// An unreadable file, or a --set that is not `path=value`.
    pub fn parts(
        &self,
        below: Vec<Partial>,
        mut flags: Flags,
    ) -> Result<Vec<Partial>, SettingsError> {
        let mut parts = below;
        if let Some(file) = &self.config {
            parts.push(Partial::file(file)?);
        }
        flags.count("seed", self.seed);
        parts.push(flags.into());
        for assignment in &self.set {
            parts.push(assigned(assignment)?);
        }
        Ok(parts)
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Backend")]
pub struct BackendArgs {
    /// Backend to compute with [default: flex].
    #[arg(long, value_name = "NAME")]
    pub backend: Option<Backend>,
    /// Device to use: an index from --list-backends, `cpu` or `integrated` [default: the first].
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// List backends, compiled features and devices, then exit.
    #[arg(long)]
    pub list_backends: bool,
}

impl BackendArgs {
    /// Adds these settings.
    pub fn add_to(&self, flags: &mut Flags) {
        flags.text("backend", self.backend.map(Backend::name));
        flags.text("device", self.device);
    }
}

/// The data, and the rows of it.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Data set: mnist, fashion-mnist, kmnist, emnist-{balanced,letters,digits,byclass,bymerge,mnist}, qmnist, a table (.csv, .tsv or .jsonl, also with .gz or .zst; .parquet, .npz, .npy or .safetensors), idx:FOLDER for IDX files, or sounds:PATH for recordings: a folder of WAV and FLAC files, or a table with a column `file` [default: mnist].
    #[arg(id = "data", long = "data", value_name = "SOURCE")]
    pub source: Option<String>,
    /// Parts of the file names of recordings, such as {label}_{speaker}_{index}; each is a column for --group and --test [default: the label is the folder].
    #[arg(long, value_name = "PATTERN")]
    pub pattern: Option<String>,
    /// Samples held out for validation: a number or a share [default: 5000, or a tenth if there are fewer than 25,000].
    #[arg(long, value_name = "N|SHARE")]
    pub validation: Option<Validation>,
    /// Hold out the same share of each class, for validation and for the test of a table.
    #[arg(long)]
    pub stratified: bool,
    /// Train on these classes only, given by label [default: all].
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// Scaling of regression targets during training [default: standardize].
    #[arg(long, value_name = "HOW")]
    pub target_scaling: Option<TargetScalingChoice>,
    /// Transform of regression targets during training; predictions are transformed back [default: none].
    #[arg(long, value_name = "HOW")]
    pub target_transform: Option<TargetTransform>,
}

impl DataArgs {
    /// Adds these settings.
    pub fn add_to(&self, flags: &mut Flags) {
        flags.text("data.source", self.source.as_ref());
        flags.text("data.sounds.pattern", self.pattern.as_ref());
        flags.set("data.validation", self.validation.and_then(|v| Value::try_from(v).ok()));
        flags.on("data.stratified", self.stratified);
        flags.list("data.classes", &self.classes);
        flags.choice("data.target_scaling", self.target_scaling);
        flags.choice("data.target_transform", self.target_transform);
    }
}

/// A parser of activation functions.
pub fn activation_values() -> impl TypedValueParser<Value = Activation> {
    one_of(Activation::ALL.iter().map(|activation| activation.name()))
}

/// A parser of norms.
pub fn norm_values() -> impl TypedValueParser<Value = Norm> {
    one_of(Norm::ALL.iter().map(|norm| norm.name()))
}

fn initializer_values() -> impl TypedValueParser<Value = Initializer> {
    one_of(Initializer::ALL.iter().map(|initializer| initializer.name()))
}

fn parametrization_values() -> impl TypedValueParser<Value = Parametrization> {
    one_of(Parametrization::ALL.iter().map(|parametrization| parametrization.name()))
}

/// A new network.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Widths of the hidden layers, such as 300,100; `none` for a linear model [default: 128].
    #[arg(long, value_name = "WIDTHS", value_parser = widths)]
    pub hidden: Option<Widths>,
    /// Activation function of the hidden layers [default: relu].
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = activation_values())]
    pub activation: Vec<Activation>,
    /// Dropout rate of the hidden layers [default: 0].
    #[arg(long, value_name = "SHARE")]
    pub dropout: Option<f64>,
    /// Dropout rate of the inputs [default: 0].
    #[arg(long, value_name = "SHARE")]
    pub input_dropout: Option<f64>,
    /// Normalization of the hidden layers [default: none].
    #[arg(long, value_name = "NAME", value_parser = norm_values())]
    pub norm: Option<Norm>,
    /// Add skip connections around hidden layers whose input and output are equally wide.
    #[arg(long)]
    pub residual: bool,
    /// Distribution of the initial weights [default: glorot-uniform].
    #[arg(long, value_name = "NAME", value_parser = initializer_values())]
    pub initializer: Option<Initializer>,
    /// Parametrization of the linear layers; ntk divides their inputs by the root of the input width [default: standard].
    #[arg(long, value_name = "NAME", value_parser = parametrization_values())]
    pub parametrization: Option<Parametrization>,
    /// Number of members of an ensemble that share the hidden layers (TabM-mini) [default: 1].
    #[arg(long, value_name = "N")]
    pub members: Option<u32>,
    /// Embedding dimension of categorical columns with more values than --one-hot [default: 8].
    #[arg(long, value_name = "N")]
    pub embedding: Option<u32>,
    /// Embedding of numeric columns [default: none].
    #[arg(long, value_name = "NAME")]
    pub numeric_embedding: Option<NumberEmbedding>,
}

impl NetworkArgs {
    /// Adds these settings.
    ///
    /// # Errors
    ///
    /// Several activations, which a settings file gives layer by layer.
    pub(super) fn add_to(&self, flags: &mut Flags) -> Result<(), SettingsError> {
        if self.activation.len() > 1 {
            let message = "--activation gives all hidden layers one function; describe each layer \
                           with [[model.layers]] in a settings file"
                .to_owned();
            return Err(SettingsError::Parse { origin: FLAGS.to_owned(), message });
        }
        let widths = self.hidden.as_ref().map(|Widths(widths)| widths.clone());
        flags.set("model.hidden", widths.map(Value::from));
        flags.text("model.activation", self.activation.first());
        flags.number("model.dropout", self.dropout);
        flags.number("model.input_dropout", self.input_dropout);
        flags.text("model.norm", self.norm);
        flags.on("model.residual", self.residual);
        flags.text("model.initializer", self.initializer);
        flags.text("model.parametrization", self.parametrization);
        flags.count("model.ensemble.members", self.members);
        flags.count("embedding.categories", self.embedding);
        flags.choice("embedding.numbers", self.numeric_embedding);
        Ok(())
    }
}

/// Widths of hidden layers, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widths(Vec<u32>);

fn widths(text: &str) -> Result<Widths, String> {
    if text == "none" {
        return Ok(Widths(Vec::new()));
    }
    let widths = text.split(',').map(|width| {
        width.trim().parse().map_err(|_| format!("`{width}` is not a width; type 300,100 or none"))
    });
    widths.collect::<Result<_, _>>().map(Widths)
}

const LOSSES: [&str; 6] =
    ["cross-entropy", "binary-cross-entropy", "mse", "mae", "huber", "quantile"];

/// The loss, and how the weights move; the learning rate is a flag of the program.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Optimization")]
pub struct OptimizationArgs {
    /// Loss function [default: the usual one for the task].
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(LOSSES))]
    pub loss: Option<String>,
    /// Label smoothing: share of the target spread over all classes [default: 0].
    #[arg(long, value_name = "SHARE")]
    pub label_smoothing: Option<f64>,
    /// Quantiles to predict of each target; selects the quantile loss [default: 0.05,0.5,0.95].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub quantiles: Vec<f64>,
    /// Optimizer [default: adam].
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(OptimizerConfig::NAMES))]
    pub optimizer: Option<String>,
    /// Momentum (sgd, rmsprop, muon) [default: that of the optimizer].
    #[arg(long, value_name = "SHARE")]
    pub momentum: Option<f64>,
    /// Use Nesterov momentum (sgd, muon).
    #[arg(long)]
    pub nesterov: bool,
    /// Weight decay of weight matrices [default: that of the optimizer].
    #[arg(long, value_name = "RATE")]
    pub weight_decay: Option<f64>,
    /// Learning rate schedule [default: constant].
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Schedule::NAMES))]
    pub schedule: Option<String>,
    /// Warm-up epochs of the learning rate (constant, linear, cosine) [default: 0].
    #[arg(long, value_name = "EPOCHS")]
    pub warmup_epochs: Option<f64>,
}

impl OptimizationArgs {
    /// Adds these settings.
    pub fn add_to(&self, flags: &mut Flags) {
        // Only one loss has label smoothing, and one has quantiles.
        let smoothed = self.label_smoothing.map(|_| "cross-entropy");
        let spread = (!self.quantiles.is_empty()).then_some("quantile");
        flags.text("loss.name", self.loss.as_deref().or(smoothed).or(spread));
        flags.numbers("loss.quantiles", &self.quantiles);
        flags.number("loss.label_smoothing", self.label_smoothing);
        flags.text("optimizer.name", self.optimizer.as_ref());
        flags.number("optimizer.momentum", self.momentum);
        flags.on("optimizer.nesterov", self.nesterov);
        flags.number("optimizer.weight_decay", self.weight_decay);
        flags.text("schedule.name", self.schedule.as_ref());
        flags.number("schedule.warmup_epochs", self.warmup_epochs);
    }
}

/// The loop.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Training")]
pub struct TrainingArgs {
    /// Number of epochs [default: 5].
    #[arg(long, value_name = "N")]
    pub epochs: Option<u32>,
    /// Batch size [default: 32].
    #[arg(long, value_name = "N")]
    pub batch_size: Option<u32>,
    /// Number of batches whose gradients are averaged for one optimizer step [default: 1].
    #[arg(long, value_name = "N")]
    pub accumulate: Option<u32>,
    /// Drop the last batch of an epoch if it is incomplete.
    #[arg(long)]
    pub drop_last: bool,
    /// Clip the global gradient norm to this value [default: none].
    #[arg(long, value_name = "NORM")]
    pub clip_norm: Option<OrNone<f64>>,
    /// Decay per step of an exponential moving average of the weights, which becomes the model [default: none].
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<OrNone<f64>>,
    /// Stop after this many epochs without improvement, and keep the best weights [default: none].
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<OrNone<u32>>,
    /// Smallest improvement that counts for --patience, in the unit of --monitor [default: 0].
    #[arg(long, value_name = "AMOUNT", requires = "patience")]
    pub min_improvement: Option<f64>,
    /// Weights that become the model [default: auto].
    #[arg(long, value_name = "WHICH")]
    pub keep: Option<Keep>,
    /// Validation metric that selects the best epoch, such as accuracy, macro-f1, rmse or r2 [default: loss].
    #[arg(long, value_name = "METRIC")]
    pub monitor: Option<Monitor>,
    /// Additional metrics: top-5, macro-precision, macro-recall, macro-f1, auroc, average-precision, learning-rate, speed [default: none].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub metrics: Vec<MetricChoice>,
    /// Action when the loss is not finite: stop, rollback (to the last checkpoint, with half the learning rate) or rollback:N (at most N times) [default: stop].
    #[arg(long, value_name = "HOW", help_heading = "Resuming")]
    pub on_divergence: Option<OnDivergence>,
    /// Sampling of the rows of an epoch [default: shuffle].
    #[arg(long, value_name = "HOW")]
    pub sampling: Option<Sampling>,
    /// Class weights in the loss: balanced, or by label, such as yes=3,no=1 [default: 1 each].
    #[arg(long, value_name = "WEIGHTS")]
    pub class_weights: Option<ClassWeights>,
    /// Choices on the validation samples.
    #[command(flatten)]
    pub decision: DecisionArgs,
}

impl TrainingArgs {
    /// Adds these settings.
    pub fn add_to(&self, flags: &mut Flags) {
        flags.count("training.epochs", self.epochs);
        flags.count("training.batch_size", self.batch_size);
        flags.count("training.accumulate", self.accumulate);
        flags.on("training.drop_last", self.drop_last);
        flags.number_or_none("training.clip_norm", self.clip_norm);
        flags.number_or_none("training.ema", self.ema);
        flags.count_or_none("training.early_stopping", "patience", self.patience);
        flags.number("training.early_stopping.min_improvement", self.min_improvement);
        flags.choice("training.keep", self.keep);
        flags.text("training.monitor", self.monitor);
        flags.text("training.on_divergence", self.on_divergence);
        flags.list("training.metrics", &self.metrics);
        flags.choice("training.sampling", self.sampling);
        let weights = self.class_weights.clone();
        flags.set("training.class_weights", weights.and_then(|w| Value::try_from(w).ok()));
        self.decision.add_to(flags);
    }

    /// Checks that there are validation samples for a metric that was asked for, the default too.
    ///
    /// # Errors
    ///
    /// [`SettingsError::NothingToMonitor`].
    pub fn check(&self, settings: &Settings) -> Result<(), SettingsError> {
        match self.monitor {
            Some(monitor) if settings.data.validation == Some(Validation::Count(0)) => {
                Err(SettingsError::NothingToMonitor { monitor })
            }
            _ => Ok(()),
        }
    }
}

/// A run that is resumed or repeated, and how a run can be.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Resuming")]
pub struct ResumingArgs {
    /// Resume a run, given by folder, name or `latest`.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["repeat", "name", "dry_run"])]
    pub resume: Option<String>,
    /// Repeat a finished run, given by folder or name, and compare the models bit by bit.
    #[arg(long, value_name = "RUN")]
    pub repeat: Option<String>,
    /// Checkpoint interval: 500steps, 1epoch, 30s, several of these separated by commas, or never [default: 1epoch,60s, or that of the resumed run].
    #[arg(long, value_name = "PACE", value_delimiter = ',')]
    pub checkpoint_every: Vec<Every>,
    /// Refuse settings whose result is not reproducible bit for bit.
    #[arg(long)]
    pub deterministic: bool,
}

/// Where a run goes, and what it shows.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Name of the run's folder [default: numbered].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Folder of all runs.
    #[arg(long, value_name = "FOLDER", default_value = "runs")]
    pub out: PathBuf,
    /// Show a full-screen dashboard instead of a progress bar.
    #[arg(long, conflicts_with = "quiet")]
    pub tui: bool,
    /// Print only errors and requested output.
    #[arg(short, long, global = true, display_order = 0)]
    pub quiet: bool,
    /// Print the time of each part of the training, and whether a step is one fused operation.
    #[arg(long, conflicts_with = "quiet")]
    pub profile: bool,
    /// Check the table of --data, and print every column with its kind and all warnings; write nothing.
    #[arg(long, conflicts_with = "dry_run")]
    pub check: bool,
    /// Check the settings and the data, and print the resolved settings; write nothing.
    #[arg(long)]
    pub dry_run: bool,
}
