//! The command line: what can be typed, and what it amounts to.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Parser, Subcommand};
use fireclay::{Activation, Ink, Lora, Norm, NormPosition, Placement, Preprocessing};
use fireclay_formats::Layout;
use regex::RegexBuilder;
use train::settings::{Partial, SettingsError};
use train::tuning::Baseline;
use train::{
    AugmentArgs, BackendArgs, DataArgs, Flags, OptimizationArgs, OutputArgs, Rate, ResumingArgs,
    SettingsArgs, TableArgs, TrainingArgs, activation_values, norm_values,
};

use crate::head::{Head, label_file};
use crate::import::{Layers, Options, TaskKind};
use crate::pattern::{Glob, Pattern};
use crate::plan::Strategy;

/// Fine-tune a model of Fireclay, PyTorch, Keras, scikit-learn, ONNX or Burn.
///
/// By default, the outputs of labels that the model and the data share keep their weights, if they
/// predict these labels better than zero outputs; new outputs start at zero. All parameters are
/// trained from the first step, with a learning rate of 0.003 that decays to zero along a cosine.
#[derive(Debug, Default, Parser)]
#[command(
    name = "finetune",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    mut_arg("schedule", |arg| arg.help("Learning rate schedule [default: cosine]")),
    mut_arg("config", |arg| arg.help(CONFIG_HELP)),
    defer(of_new_runs)
)]
pub struct Args {
    /// Subcommand.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to train.
    #[command(flatten)]
    pub tune: Tune,
    /// Old data for --replay and for the accuracy on the old task; with --resume, its new location.
    #[arg(long, value_name = "SOURCE", help_heading = "Fine-tuning")]
    pub replay_data: Option<String>,
    /// Options for reading files of other programs.
    #[command(flatten)]
    pub reading: Reading,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// What computes.
    #[command(flatten)]
    pub backend: BackendArgs,
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// The columns of a table.
    #[command(flatten)]
    pub table: TableArgs,
    /// Learning rate, or that of some parameters; repeatable: --lr body=1e-4 --lr head=1e-3 [default: that of the optimizer; 0.003 for adam].
    #[arg(long, value_name = "RATE|PATTERN=RATE", help_heading = "Optimization")]
    pub lr: Vec<Rate>,
    /// The loss, and how the weights move.
    #[command(flatten)]
    pub optimization: OptimizationArgs,
    /// The loop.
    #[command(flatten)]
    pub training: TrainingArgs,
    /// Random changes of recordings.
    #[command(flatten)]
    pub augment: AugmentArgs,
    /// A run that is resumed or repeated.
    #[command(flatten)]
    pub resuming: ResumingArgs,
    /// Where the run goes, and what it shows.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What can be done instead of training.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Convert a file of another program into a Fireclay model, and list where each tensor went.
    Import(Box<Import>),
    /// Merge an adapter into the weights of its base, and report the rounding error.
    Merge(Merge),
}

/// `finetune import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// File to read.
    pub file: PathBuf,
    /// Model file to write.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Overwrite the file of --to if it exists; an input is never overwritten.
    #[arg(long)]
    pub force: bool,
    /// Report the accuracy on the test samples of this data set.
    #[arg(long, value_name = "SOURCE")]
    pub data: Option<String>,
    /// Ink of the training pictures, if --data does not determine it: bright-on-dark, dark-on-bright or mixed.
    #[arg(long, value_name = "INK", requires = "placement")]
    pub ink: Option<Ink>,
    /// Placement of the ink, if --data does not determine it: as-is, mnist, emnist, mass:PIXELS or box:PIXELS (centre of mass or bounding box in the middle; PIXELS is the longer side of the ink).
    #[arg(long, value_name = "PLACE", requires = "ink")]
    pub placement: Option<Placement>,
    /// Print nothing but errors.
    #[arg(from_global)]
    pub quiet: bool,
    /// Options for reading files of other programs.
    #[command(flatten)]
    pub reading: Reading,
}

/// `finetune merge`.
#[derive(Debug, clap::Args)]
pub struct Merge {
    /// Base model that the adapter was trained on; not needed for a model with adapters inside.
    #[arg(long, value_name = "FILE")]
    pub base: Option<PathBuf>,
    /// Adapter file, or model file with adapters.
    #[arg(long, value_name = "FILE")]
    pub adapter: PathBuf,
    /// Model file to write.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Overwrite the file of --to if it exists; an input is never overwritten.
    #[arg(long)]
    pub force: bool,
    /// Data set whose test samples are compared [default: 1,000 random rows].
    #[arg(long, value_name = "SOURCE")]
    pub data: Option<String>,
    /// Largest allowed difference of any output; above it, nothing is written.
    #[arg(long, value_name = "NUMBER", default_value_t = 1e-3)]
    pub tolerance: f32,
    /// Print nothing but errors.
    #[arg(from_global)]
    pub quiet: bool,
}

/// What a file does not say, and how its names are read.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Import")]
#[group(id = "reading", multiple = true)]
pub struct Reading {
    /// Read only the tensors below this key of a checkpoint, or with this prefix of their names; `.` reads all.
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Rename tensors before matching; repeatable: --map 'encoder\.(\d)=layers.$1'.
    #[arg(long, value_name = "REGEX=NAME")]
    pub map: Vec<Rename>,
    /// Use the order of the file for layers whose order neither names nor shapes determine.
    #[arg(long)]
    pub by_order: bool,
    /// Accept these parameters as missing (patterns as for --freeze): a bias is left out, a norm becomes the identity.
    #[arg(long, value_name = "PATTERN")]
    pub allow_missing: Vec<Pattern>,
    /// Ignore these tensors of the file: a name, a glob such as optimizer.*, or regex:….
    #[arg(long, value_name = "PATTERN")]
    pub allow_unused: Vec<Glob>,
    /// Activation of the hidden layers, if the file does not record it: one for all, or one for each, such as relu,tanh.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = activation_values())]
    pub activation: Vec<Activation>,
    /// Norm of the hidden layers, if the file does not record it.
    #[arg(long, value_name = "NAME", value_parser = norm_values())]
    pub norm: Option<Norm>,
    /// Add the input of each hidden layer after its activation, where both are equally wide.
    #[arg(long)]
    pub residual: bool,
    /// Preprocessing of raw features, if the file does not record it; for normalized pixels, give --normalize instead.
    #[arg(long, value_name = "HOW")]
    pub preprocessing: Option<FilePreprocessing>,
    /// Layout of weight matrices, if the file does not record it: out-in as in PyTorch, in-out as in Keras.
    #[arg(long, value_name = "HOW", value_parser = layout)]
    pub layout: Option<Layout>,
    /// File with each hidden layer in full, as [[model.layers]] of a settings file, if the model file does not record them.
    #[arg(long, value_name = "FILE")]
    pub layers: Option<PathBuf>,
    /// Position of norms, if the file does not record it: before-activation, after-activation or input; several with a comma.
    #[arg(long, value_name = "PLACE", value_delimiter = ',')]
    pub norm_position: Vec<NormPosition>,
    /// Epsilon of norms, if the file does not record it [default: 1e-5; for Keras 1e-3].
    #[arg(long, value_name = "NUMBER", value_parser = epsilon)]
    pub norm_epsilon: Option<f64>,
    /// Negative slope of leaky-relu, if the file does not record it [default: 0.01, as PyTorch].
    #[arg(long, value_name = "NUMBER", value_parser = slope, allow_negative_numbers = true)]
    pub leaky_slope: Option<f64>,
    /// Import without skip connections, even if names suggest them.
    #[arg(long, conflicts_with = "residual")]
    pub no_residual: bool,
    /// Mean and standard deviation for normalizing pixels in [0, 1], such as 0.1307,0.3081 [default: none].
    #[arg(long, value_name = "MEAN,DEVIATION", value_parser = normalize, conflicts_with = "preprocessing")]
    pub normalize: Option<Preprocessing>,
    /// Task of the outputs, if the file does not record it.
    #[arg(long, value_name = "TASK")]
    pub task: Option<TaskKind>,
    /// File with the label of each output, one per line.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
}

/// How raw features were prepared for the network in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FilePreprocessing {
    /// Features as they are.
    None,
    /// Pixel bytes to [0, 1].
    Scale,
}

/// What is trained, and of what.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Fine-tuning")]
#[group(id = "tune", multiple = true)]
pub struct Tune {
    /// Model to start from, required for a new run: a Fireclay model or checkpoint, .pt, .pth, .safetensors, .keras, .h5, .npz, .onnx or .bpk.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Output layer: keep, data (the labels of the data), both (the labels of the model, then of the data), a number of outputs, or a file of labels; labels in common keep their weights [default: data; with --replay both].
    #[arg(long, value_name = "HEAD")]
    pub head: Option<Head>,
    /// Reinitialize the whole output layer with zeros, including labels the model already predicts.
    #[arg(long)]
    pub fresh_head: bool,
    /// Parameters to freeze: a path, a glob, regex:…, or a word: all, head, body (also all-but-head), biases, norms, adapters, first:N, last:N [default: none].
    #[arg(long, value_name = "PATTERN")]
    pub freeze: Vec<Pattern>,
    /// Parameters to train, all others frozen; patterns as for --freeze [default: all].
    #[arg(long, value_name = "PATTERN")]
    pub train: Vec<Pattern>,
    /// Order in which head and body are trained [default: full].
    #[arg(long, value_name = "NAME", alias = "recipe")]
    pub strategy: Option<Strategy>,
    /// Dropout rate of the hidden layers [default: that of the starting model].
    #[arg(long, value_name = "SHARE")]
    pub dropout: Option<f64>,
    /// Multiply the learning rate by this for each layer further from the output [default: 1].
    #[arg(long, value_name = "FACTOR")]
    pub lr_decay: Option<f64>,
    /// Interval at which one more layer is unfrozen, from the head down, such as 1epoch [default: all from the first step].
    #[arg(long, value_name = "PACE", value_parser = epochs)]
    pub unfreeze_every: Option<u64>,
    /// Strength of L2-SP: pull the weights below the head towards their initial values [default: 0].
    #[arg(long, value_name = "STRENGTH")]
    pub l2_sp: Option<f64>,
    /// Freeze the running statistics of batch norms, and use them in training.
    #[arg(long)]
    pub keep_statistics: bool,
    /// Train low-rank adapters (LoRA) and the head: rank=8, and optionally alpha=32 [default: 4 x rank, for a scale of 4], dropout=0.1 and rs (scale by the root of the rank).
    #[arg(long, value_name = "SETTINGS", value_parser = lora)]
    pub lora: Option<Lora>,
    /// Layers with an adapter; patterns as for --freeze [default: all hidden layers].
    #[arg(long, value_name = "PATTERN", requires = "lora")]
    pub lora_on: Vec<Pattern>,
    /// Teacher for distillation: a model of any size with the same labels.
    #[arg(long, value_name = "FILE")]
    pub teacher: Option<PathBuf>,
    /// Temperature of distillation, which divides the logits.
    #[arg(long, value_name = "T", default_value_t = 4.0, requires = "teacher")]
    pub temperature: f64,
    /// Weight of the distillation loss, from 0 to 1; the loss of the labels has the remaining weight.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, requires = "teacher")]
    pub alpha: f64,
    /// Rows of the old data to mix in, as a share of the training rows [default: 0].
    #[arg(long, value_name = "FRACTION", requires = "replay_data")]
    pub replay: Option<f64>,
    /// Classes of the old data to use [default: all].
    #[arg(long, value_name = "LABELS", value_delimiter = ',', requires = "replay_data")]
    pub replay_classes: Vec<String>,
    /// Baseline to train and compare with: the same network from scratch on the same rows [default: none].
    #[arg(long, value_name = "WHAT")]
    pub baseline: Option<Baseline>,
}

/// Help for --config, whose file cannot describe the network.
const CONFIG_HELP: &str = "Read settings from a TOML file; the network and its preprocessing come \
                           from the model of --from";

/// Lets each flag of a new run conflict with those of an existing one, so that an error names what was
/// typed and not the whole group.
fn of_new_runs(mut command: clap::Command) -> clap::Command {
    let groups = command.get_groups().filter(|group| ["reading", "tune"].contains(&id(group)));
    let flags: Vec<_> = groups.flat_map(ArgGroup::get_args).cloned().collect();
    for flag in flags {
        command = command.mut_arg(flag, |arg| arg.conflicts_with_all(["resume", "repeat"]));
    }
    command
}

fn id(group: &ArgGroup) -> &str {
    group.get_id().as_str()
}

const EXAMPLES: &str = "\
Examples:
  finetune --from model.pt --activation relu --preprocessing scale --data fashion-mnist
                                       a PyTorch state dict, for other labels
  finetune --from digits.safetensors --freeze all-but-head
                                       train the output layer only
  finetune --from model.keras --lora rank=8
                                       low-rank adapters; adapter.safetensors is small
  finetune --from model.onnx --preprocessing scale --lr body=1e-4 --lr head=1e-3
  finetune --from big.safetensors --teacher bigger.safetensors
  finetune --resume latest             resume the last run
  finetune import model.h5 --preprocessing scale --to model.safetensors --data mnist
  finetune merge --base base.safetensors --adapter adapter.safetensors --to one.safetensors

Strategies: full trains everything from the first step; lp-ft trains the head for half of the epochs,
then everything at a tenth of the rate; probe trains only the head.";

impl Args {
    /// The settings part by part: those `below`, the file, the flags, and each --set.
    ///
    /// # Errors
    ///
    /// An unreadable file, or a --set that is not `path=value`.
    pub fn parts(&self, below: Vec<Partial>) -> Result<Vec<Partial>, SettingsError> {
        let mut flags = Flags::default();
        self.backend.add_to(&mut flags);
        self.data.add_to(&mut flags);
        self.table.add_to(&mut flags);
        flags.number("model.dropout", self.tune.dropout);
        flags.number("optimizer.learning_rate", Rate::of_all(&self.lr));
        self.optimization.add_to(&mut flags);
        self.training.add_to(&mut flags);
        self.augment.add_to(&mut flags);
        let below = below.into_iter().chain(self.table.schema()?);
        self.settings.parts(below.collect(), flags)
    }

    /// How the file of the network is read.
    ///
    /// # Errors
    ///
    /// Settings that say what that file says, or another file that cannot be read.
    pub fn options(&self) -> Result<Options> {
        for part in self.parts(Vec::new())?.iter().filter(|part| !part.is_of_flags()) {
            let data = part.table.get("data").and_then(|data| data.as_table());
            let prepares = data.is_some_and(|data| data.contains_key("preprocessing"));
            if part.table.contains_key("model") || prepares {
                bail!(
                    "{} sets {}, which comes from the file of the network; leave it out",
                    part.origin,
                    if prepares { "data.preprocessing" } else { "[model]" }
                );
            }
        }
        self.reading.options()
    }
}

impl Reading {
    /// How the file is read.
    ///
    /// # Errors
    ///
    /// A file of labels or of layers that cannot be read.
    pub fn options(&self) -> Result<Options> {
        let labels = match &self.labels {
            Some(path) => {
                Some(label_file(path).with_context(|| format!("--labels {}", path.display()))?)
            }
            None => None,
        };
        let preprocessing = match self.preprocessing {
            Some(FilePreprocessing::None) => Some(Preprocessing::None),
            Some(FilePreprocessing::Scale) => Some(Preprocessing::PIXELS),
            None => self.normalize.clone(),
        };
        let layers = match &self.layers {
            Some(path) => {
                Some(Layers::read(path).with_context(|| format!("--layers {}", path.display()))?)
            }
            None => None,
        };
        Ok(Options {
            key: self.key.clone(),
            map: self.map.iter().map(|Rename { from, to }| (from.clone(), to.clone())).collect(),
            by_order: self.by_order,
            allow_missing: self.allow_missing.clone(),
            allow_unused: self.allow_unused.clone(),
            layout: self.layout,
            activation: self.activation.clone(),
            layers,
            norm: self.norm,
            norm_position: self.norm_position.clone(),
            norm_epsilon: self.norm_epsilon,
            leaky_slope: self.leaky_slope,
            residual: self.residual,
            no_residual: self.no_residual,
            preprocessing,
            task: self.task,
            labels,
            ..Options::default()
        })
    }
}

/// `REGEX=NAME`.
#[derive(Clone, Debug)]
pub struct Rename {
    from: regex::Regex,
    to: String,
}

impl FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) =
            text.rsplit_once('=').ok_or("give it as REGEX=NAME, such as encoder=layers.0")?;
        let from = RegexBuilder::new(from).size_limit(1 << 20).build().map_err(|error| {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!(
                "{from} is not a regular expression ({why}); put \\ before a character such as \
                     ( that stands for itself"
            )
        })?;
        Ok(Self { from, to: to.to_owned() })
    }
}

fn layout(text: &str) -> Result<Layout, String> {
    match text {
        "out-in" => Ok(Layout::OutIn),
        "in-out" => Ok(Layout::InOut),
        _ => Err("give out-in or in-out".to_owned()),
    }
}

fn normalize(text: &str) -> Result<Preprocessing, String> {
    let numbers = text.split_once(',').and_then(|(mean, deviation)| {
        Some((mean.trim().parse().ok()?, deviation.trim().parse().ok()?))
    });
    match numbers {
        Some((mean, deviation)) if deviation > 0.0 => {
            Ok(Preprocessing::Normalize { scale: 1.0 / 255.0, mean, deviation })
        }
        _ => Err("give MEAN,DEVIATION of pixels in [0, 1], such as 0.1307,0.3081".to_owned()),
    }
}

fn slope(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(slope) if slope.is_finite() => Ok(slope),
        _ => Err("give a finite number, such as 0.2".to_owned()),
    }
}

fn epsilon(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(epsilon) if epsilon > 0.0 && epsilon < 1.0 => Ok(epsilon),
        _ => Err("give a number above 0 and below 1, such as 1e-5".to_owned()),
    }
}

fn epochs(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("epochs").or(text.strip_suffix("epoch")).unwrap_or(text);
    match number.trim().parse() {
        Ok(epochs) if epochs > 0 => Ok(epochs),
        _ => Err("give a number of epochs, such as 1epoch".to_owned()),
    }
}

/// Default scale of the adapters' outputs: at 1 they learn too slowly.
const SCALE: f64 = 4.0;

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

/// `rank=8,alpha=32,dropout=0.1,rs`; the layers are filled in later.
fn lora(text: &str) -> Result<Lora, String> {
    let mut lora =
        Lora { layers: Vec::new(), rank: 0, alpha: 0.0, dropout: 0.0, rank_stabilized: false };
    let mut alpha = None;
    for part in text.split(',') {
        match part.trim().split_once('=') {
            Some(("rank", rank)) => {
                lora.rank = rank.parse().map_err(|_| format!("`{rank}` is not a rank"))?;
            }
            Some(("alpha", text)) => alpha = Some(number(text)?),
            Some(("dropout", text)) => lora.dropout = number(text)?,
            None if part.trim() == "rs" => lora.rank_stabilized = true,
            _ => return Err(format!("`{part}`: give rank=8[,alpha=32][,dropout=0.1][,rs]")),
        }
    }
    if lora.rank == 0 {
        return Err("give the rank, such as rank=8".to_owned());
    }
    let rank = lora.rank as f64;
    lora.alpha = alpha.unwrap_or(SCALE * if lora.rank_stabilized { rank.sqrt() } else { rank });
    Ok(lora)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    /// The check of clap is left out where its debug assertions are.
    #[test]
    fn no_two_flags_have_one_name() {
        for command in Args::command().get_subcommands().chain([&Args::command()]) {
            let mut names: Vec<&str> =
                command.get_arguments().map(|arg| arg.get_id().as_str()).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{names:?}");
        }
    }

    #[test]
    fn functions_of_each_layer_are_those_of_the_file() {
        let words = ["finetune", "--from", "model.pt", "--activation", "relu,gelu"];
        let args = Args::parse_from(words);
        let two = [Activation::Relu, Activation::Gelu];
        assert_eq!(args.options().unwrap().activation, two);
        // A new network, such as the one beside a tuned one, has none of them.
        let parts = args.parts(Vec::new()).unwrap();
        assert!(parts.iter().all(|part| !part.table.contains_key("model")));
        let words = ["finetune", "import", "model.pt", "--to", "x", "--activation", "relu,gelu"];
        let Some(Command::Import(import)) = Args::parse_from(words).command else {
            panic!("it was typed")
        };
        assert_eq!(import.reading.options().unwrap().activation, two);
    }

    #[test]
    fn what_a_file_says_of_its_network_is_no_setting() {
        for words in [["--set", "model.hidden=[3]"], ["--set", "data.preprocessing=none"]] {
            let args = Args::parse_from(["finetune", "--from", "model.pt"].iter().chain(&words));
            let error = args.options().unwrap_err().to_string();
            assert!(error.contains("which comes from the file of the network"), "{error}");
        }
    }

    #[test]
    fn values_are_read_as_typed() {
        let found = lora("rank=8,alpha=16,dropout=0.1,rs").unwrap();
        assert_eq!((found.rank, found.alpha, found.dropout), (8, 16.0, 0.1));
        assert!(found.rank_stabilized);
        assert_eq!(lora("rank=4").unwrap().scale(), 4.0);
        assert_eq!(lora("rank=4,rs").unwrap().scale(), 4.0);
        for bad in ["", "alpha=3", "rank=x", "rank=2,foo", "rank=2,alpha=y"] {
            assert!(lora(bad).is_err(), "{bad}");
        }
        assert_eq!(epochs("2epochs"), Ok(2));
        assert!(epochs("0").is_err() && epochs("soon").is_err());
        assert!(normalize("0.13,0").is_err() && normalize("0.13").is_err());
        assert_eq!(epsilon("1e-3"), Ok(1e-3));
        assert!(["0", "-1", "nan", "2"].into_iter().all(|bad| epsilon(bad).is_err()));
        assert!("nothing".parse::<Rename>().is_err() && "(=x".parse::<Rename>().is_err());
    }
}
