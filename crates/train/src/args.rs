//! The command line: what can be typed, and the settings it amounts to.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};
use fireclay::{Activation, Backend, DeviceChoice, Initializer, Norm};
use toml::Value;

use crate::checkpoints::Every;
use crate::metrics::{MetricChoice, Monitor};
use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;
use crate::settings::{
    FLAGS, Keep, Layer, OnDivergence, PreprocessingChoice, SettingsError, TargetScalingChoice,
    Validation,
};

/// Trains a multilayer perceptron.
///
/// Without arguments, it trains the tutorial's network (784-128-10, relu, Adam, 5 epochs) on the
/// bundled MNIST. Settings come from the defaults, then --recipe, then --config, then flags; later
/// ones win.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "train", version, after_help = EXAMPLES, allow_negative_numbers = true)]
pub struct Args {
    /// Start from a bundled recipe.
    #[arg(long, value_name = "NAME", help_heading = "Settings")]
    pub recipe: Option<String>,
    /// Read settings from a TOML file, such as a run's config.toml.
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub config: Option<PathBuf>,
    /// Set one setting by its path in the file, such as optimizer.alpha=0.9; repeatable.
    #[arg(long, value_name = "PATH=VALUE", help_heading = "Settings")]
    pub set: Vec<String>,
    /// Seed of every random choice.
    #[arg(long, value_name = "N", help_heading = "Settings")]
    pub seed: Option<u32>,

    /// Backend to compute with.
    #[arg(long, value_name = "NAME", help_heading = "Backend")]
    pub backend: Option<Backend>,
    /// Device to use: an index from --list-backends, `cpu` or `integrated`.
    #[arg(long, value_name = "DEVICE", help_heading = "Backend")]
    pub device: Option<DeviceChoice>,
    /// List backends, compiled features and devices, then exit.
    #[arg(long, help_heading = "Backend")]
    pub list_backends: bool,

    /// Data set: mnist, fashion-mnist, kmnist, emnist-{balanced,letters,digits,byclass,bymerge,mnist}, qmnist or idx:FOLDER (images or numbers).
    #[arg(long, value_name = "SOURCE", help_heading = "Data")]
    pub data: Option<String>,
    /// Samples held out for validation: a number or a share [default: 5000, or a tenth of a small data set].
    #[arg(long, value_name = "N|SHARE", help_heading = "Data")]
    pub validation: Option<Validation>,
    /// Hold out the same share of each class.
    #[arg(long, help_heading = "Data")]
    pub stratified: bool,
    /// Train on these classes only, given by label.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', help_heading = "Data")]
    pub classes: Vec<String>,
    /// Preprocessing of raw features.
    #[arg(long, value_name = "HOW", help_heading = "Data")]
    pub preprocessing: Option<PreprocessingChoice>,
    /// Scaling of regression targets during training [default: standardize].
    #[arg(long, value_name = "HOW", help_heading = "Data")]
    pub target_scaling: Option<TargetScalingChoice>,

    /// Widths of the hidden layers, such as 300,100; `none` for a linear model.
    #[arg(long, value_name = "WIDTHS", value_parser = widths, help_heading = "Network")]
    pub hidden: Option<Widths>,
    /// Activation function of the hidden layers.
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Network")]
    pub activation: Vec<Activation>,
    /// Dropout rate of the hidden layers.
    #[arg(long, value_name = "SHARE", help_heading = "Network")]
    pub dropout: Option<f64>,
    /// Dropout rate of the inputs.
    #[arg(long, value_name = "SHARE", help_heading = "Network")]
    pub input_dropout: Option<f64>,
    /// Normalization of the hidden layers: none, batch, layer or rms.
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub norm: Option<Norm>,
    /// Add skip connections around hidden layers whose input and output are equally wide.
    #[arg(long, help_heading = "Network")]
    pub residual: bool,
    /// Distribution of the initial weights.
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub initializer: Option<Initializer>,

    /// Loss function [default: the usual one for the task].
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(LOSSES), help_heading = "Optimization")]
    pub loss: Option<String>,
    /// Label smoothing: share of the target spread over all classes.
    #[arg(long, value_name = "SHARE", help_heading = "Optimization")]
    pub label_smoothing: Option<f64>,
    /// Optimizer.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(OptimizerConfig::NAMES), help_heading = "Optimization")]
    pub optimizer: Option<String>,
    /// Learning rate.
    #[arg(long, value_name = "RATE", help_heading = "Optimization")]
    pub lr: Vec<Rate>,
    /// Momentum (sgd, rmsprop, muon).
    #[arg(long, value_name = "SHARE", help_heading = "Optimization")]
    pub momentum: Option<f64>,
    /// Use Nesterov momentum (sgd).
    #[arg(long, help_heading = "Optimization")]
    pub nesterov: bool,
    /// Weight decay; applies to weight matrices only.
    #[arg(long, value_name = "RATE", help_heading = "Optimization")]
    pub weight_decay: Option<f64>,
    /// Learning rate schedule.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Schedule::NAMES), help_heading = "Optimization")]
    pub schedule: Option<String>,
    /// Warm-up epochs of the learning rate (constant, linear, cosine).
    #[arg(long, value_name = "EPOCHS", help_heading = "Optimization")]
    pub warmup_epochs: Option<f64>,

    /// Number of epochs.
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub epochs: Option<u32>,
    /// Batch size.
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub batch_size: Option<u32>,
    /// Batches to accumulate into one optimizer step.
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub accumulate: Option<u32>,
    /// Drop the last batch of an epoch if it is incomplete.
    #[arg(long, help_heading = "Training")]
    pub drop_last: bool,
    /// Clip the global gradient norm to this value.
    #[arg(long, value_name = "NORM", help_heading = "Training")]
    pub clip_norm: Option<f64>,
    /// Average the weights with this decay per step (EMA); the average becomes the model.
    #[arg(long, value_name = "DECAY", help_heading = "Training")]
    pub ema: Option<f64>,
    /// Stop after this many epochs without improvement, and keep the best weights.
    #[arg(long, value_name = "EPOCHS", help_heading = "Training")]
    pub patience: Option<u32>,
    /// Smallest improvement that counts for --patience, in the unit of --monitor.
    #[arg(long, value_name = "AMOUNT", requires = "patience", help_heading = "Training")]
    pub min_improvement: Option<f64>,
    /// Weights that become the model.
    #[arg(long, value_name = "WHICH", help_heading = "Training")]
    pub keep: Option<Keep>,
    /// Validation metric that selects the best epoch, such as accuracy, f-1, rmse or r2 [default: loss].
    #[arg(long, value_name = "METRIC", help_heading = "Training")]
    pub monitor: Option<Monitor>,
    /// Additional metrics: top-5, precision, recall, f-1, auroc, learning-rate, speed.
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Training")]
    pub metrics: Vec<MetricChoice>,

    /// Resume a run, given by folder, name or `latest`.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["repeat", "name", "dry_run"], help_heading = "Resuming")]
    pub resume: Option<String>,
    /// Repeat a finished run and compare the models bit by bit.
    #[arg(long, value_name = "RUN", help_heading = "Resuming")]
    pub repeat: Option<String>,
    /// Checkpoint interval: 500steps, 1epoch, 30s, several of these, or never [default: 1epoch,60s, or that of the resumed run].
    #[arg(long, value_name = "PACE", value_delimiter = ',', help_heading = "Resuming")]
    pub checkpoint_every: Vec<Every>,
    /// Action when the loss is not finite: stop, rollback (to the last checkpoint, with half the learning rate) or rollback:N (at most N times).
    #[arg(long, value_name = "HOW", help_heading = "Resuming")]
    pub on_divergence: Option<OnDivergence>,
    /// New location of the replayed data of a fine-tuning run.
    #[arg(long, value_name = "SOURCE", help_heading = "Resuming")]
    pub replay_data: Option<String>,
    /// Refuse settings that cannot reproduce the same bits.
    #[arg(long, help_heading = "Resuming")]
    pub deterministic: bool,

    /// Name of the run's folder [default: numbered].
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub name: Option<String>,
    /// Folder of all runs.
    #[arg(long, value_name = "FOLDER", default_value = "runs", help_heading = "Output")]
    pub out: PathBuf,
    /// Show Burn's dashboard instead of a progress bar.
    #[arg(long, conflicts_with = "quiet", help_heading = "Output")]
    pub tui: bool,
    /// Print nothing but errors.
    #[arg(short, long, global = true, help_heading = "Output")]
    pub quiet: bool,
    /// Print where the time went, and whether a step is one fused operation.
    #[arg(long, conflicts_with = "quiet", help_heading = "Output")]
    pub profile: bool,
    /// Check everything and print the resolved settings; write nothing.
    #[arg(long, help_heading = "Output")]
    pub dry_run: bool,

    /// Default settings of a program that trains with this loop, below the user's.
    #[arg(skip)]
    pub defaults: Vec<Layer>,
}

const LOSSES: [&str; 5] = ["cross-entropy", "binary-cross-entropy", "mse", "mae", "huber"];

const EXAMPLES: &str = "\
Examples:
  train                                          the tutorial, a few seconds
  train --recipe mnist-small                     a small network, in seconds
  train --backend wgpu                           on a GPU
  train --hidden 300,100 --activation sigmoid --dropout 0.2 --optimizer sgd --momentum 0.9
  train --data fashion-mnist --patience 3        another data set, with early stopping
  train --resume latest                          resume the last run
  train --repeat mnist-1                         repeat a run and compare the models
  train --config runs/mnist-1/config.toml --lr 0.01     a new run with one setting changed";

/// A learning rate, of some parameters or of all: `1e-3` or `body=1e-4`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// Which parameters; none for all.
    pub group: Option<String>,
    /// The rate.
    pub value: f64,
    /// Both as they were typed.
    pub typed: String,
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (group, number) = match text.rsplit_once('=') {
            Some((group, number)) => (Some(group.to_owned()), number),
            None => (None, text),
        };
        let value = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
        Ok(Self { group, value, typed: text.to_owned() })
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

impl Args {
    /// The settings below the flags, and the flags on top; [`defaults`](Self::defaults) are lowest.
    ///
    /// # Errors
    ///
    /// An unknown recipe, an unreadable file, several activations, or a --set that is not
    /// `path=value`.
    pub fn layers(&self) -> Result<Vec<Layer>, SettingsError> {
        let mut layers = self.defaults.clone();
        if let Some(recipe) = &self.recipe {
            layers.push(Layer::recipe(recipe)?);
        }
        if let Some(file) = &self.config {
            layers.push(Layer::file(file)?);
        }
        if self.activation.len() > 1 {
            let message = "--activation gives all hidden layers one function; describe each layer \
                           with [[model.layers]] in a settings file"
                .to_owned();
            return Err(SettingsError::Parse { origin: FLAGS.to_owned(), message });
        }
        layers.push(self.flags());
        for assignment in &self.set {
            layers.push(assigned(assignment)?);
        }
        Ok(layers)
    }

    /// The learning rate, the last that was given.
    pub fn rate(&self) -> Option<f64> {
        self.lr.iter().rev().find(|rate| rate.group.is_none()).map(|rate| rate.value)
    }

    /// The learning rates of groups of parameters.
    pub fn group_rates(&self) -> impl Iterator<Item = (&str, &Rate)> {
        self.lr.iter().filter_map(|rate| Some((rate.group.as_deref()?, rate)))
    }

    /// Checkpoint intervals: those of the command line, or else those of the resumed run, or else each
    /// epoch and each minute.
    pub(crate) fn pace(&self, before: &[Every]) -> Vec<Every> {
        const USUAL: [Every; 2] = [Every::Epochs(1), Every::Time(Duration::from_secs(60))];
        let paces = [&self.checkpoint_every[..], before, &USUAL];
        paces.into_iter().find(|pace| !pace.is_empty()).unwrap_or_default().to_vec()
    }

    fn flags(&self) -> Layer {
        let mut table = toml::Table::new();
        let mut set = |path: &str, value: Option<Value>| {
            if let Some(value) = value {
                insert(&mut table, path, value);
            }
        };
        let name = |text: &str| Value::String(text.to_owned());
        let count = |n: &u32| Value::Integer(i64::from(*n));
        let on = |flag: bool| flag.then_some(Value::Boolean(true));
        let number = |x: Option<f64>| x.map(Value::Float);

        set("seed", self.seed.as_ref().map(count));
        set("backend", self.backend.map(|backend| name(backend.name())));
        set("device", self.device.map(|device| Value::String(device.to_string())));
        set("data.source", self.data.as_deref().map(name));
        set("data.validation", self.validation.and_then(|v| Value::try_from(v).ok()));
        set("data.stratified", on(self.stratified));
        let labels = self.classes.iter().map(|label| name(label)).collect::<Vec<_>>();
        set("data.classes", (!labels.is_empty()).then_some(Value::Array(labels)));
        set("data.preprocessing", self.preprocessing.and_then(spelled));
        set("data.target_scaling", self.target_scaling.and_then(spelled));
        set(
            "model.hidden",
            self.hidden.as_ref().map(|w| Value::Array(w.0.iter().map(count).collect())),
        );
        set("model.activation", self.activation.first().map(|choice| name(choice.name())));
        set("model.dropout", number(self.dropout));
        set("model.input_dropout", number(self.input_dropout));
        set("model.norm", self.norm.map(|choice| name(choice.name())));
        set("model.residual", on(self.residual));
        set("model.initializer", self.initializer.map(|choice| name(choice.name())));
        // Only the cross-entropy has label smoothing.
        let smoothed = self.label_smoothing.map(|_| name("cross-entropy"));
        set("loss.name", self.loss.as_deref().map(name).or(smoothed));
        set("loss.label_smoothing", number(self.label_smoothing));
        set("optimizer.name", self.optimizer.as_deref().map(name));
        set("optimizer.learning_rate", number(self.rate()));
        set("optimizer.momentum", number(self.momentum));
        set("optimizer.nesterov", on(self.nesterov));
        set("optimizer.weight_decay", number(self.weight_decay));
        set("schedule.name", self.schedule.as_deref().map(name));
        set("schedule.warmup_epochs", number(self.warmup_epochs));
        set("training.epochs", self.epochs.as_ref().map(count));
        set("training.batch_size", self.batch_size.as_ref().map(count));
        set("training.accumulate", self.accumulate.as_ref().map(count));
        set("training.drop_last", on(self.drop_last));
        set("training.clip_norm", number(self.clip_norm));
        set("training.ema", number(self.ema));
        set("training.early_stopping.patience", self.patience.as_ref().map(count));
        set("training.early_stopping.min_improvement", number(self.min_improvement));
        set("training.keep", self.keep.and_then(spelled));
        set("training.monitor", self.monitor.map(|monitor| Value::String(monitor.to_string())));
        let metrics: Vec<_> = self.metrics.iter().map(|m| Value::String(m.to_string())).collect();
        set("training.on_divergence", self.on_divergence.map(|how| Value::String(how.to_string())));
        set("training.metrics", (!metrics.is_empty()).then_some(Value::Array(metrics)));
        Layer { origin: FLAGS.to_owned(), table }
    }
}

/// A choice as it is spelled on the command line and in files.
fn spelled<T: ValueEnum>(choice: T) -> Option<Value> {
    choice.to_possible_value().map(|value| Value::String(value.get_name().to_owned()))
}

/// The layer of one `--set path=value`; a value that is not TOML is taken as a string.
fn assigned(assignment: &str) -> Result<Layer, SettingsError> {
    let origin = format!("--set {assignment}");
    let Some((path, text)) = assignment.split_once('=') else {
        let message = "give it as PATH=VALUE, such as optimizer.alpha=0.9".to_owned();
        return Err(SettingsError::Parse { origin, message });
    };
    let value = toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let mut table = toml::Table::new();
    insert(&mut table, path.trim(), value);
    Ok(Layer { origin, table })
}

/// Sets `a.b.c` in nested tables.
fn insert(table: &mut toml::Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let below = table.entry(section).or_insert_with(|| Value::Table(toml::Table::new()));
            if let Value::Table(below) = below {
                insert(below, rest, value);
            }
        }
    }
}
