//! The command line: what can be typed, and the settings and options that it amounts to.

mod augment;
mod decision;
mod flags;
mod groups;
mod sounds;
mod table;
mod terminal;
mod text;

use clap::Parser;

use crate::settings::{Partial, PreprocessingChoice, RECIPES, Settings, SettingsError};

pub use augment::AugmentArgs;
pub use decision::DecisionArgs;
pub use flags::Flags;
pub use groups::{
    BackendArgs, DataArgs, NetworkArgs, OptimizationArgs, OutputArgs, ResumingArgs, SettingsArgs,
    TrainingArgs, activation_values, norm_values,
};
pub use sounds::SoundArgs;
pub use table::TableArgs;
pub use terminal::load_with_bar;
pub use text::TextArgs;

/// Train a multilayer perceptron.
///
/// Without arguments, this trains a network with one hidden layer (784-128-10, relu, Adam, 5 epochs)
/// on the bundled MNIST. Settings come from the defaults, then --recipe, --schema, --config, flags,
/// then --set; later ones override earlier ones.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "train", version, after_help = EXAMPLES, allow_negative_numbers = true)]
pub struct Args {
    /// Bundled recipe to start from.
    #[arg(long, value_name = "NAME", help_heading = "Settings", help = recipe_help())]
    pub recipe: Option<String>,
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
    /// The features of recordings.
    #[command(flatten)]
    pub sounds: SoundArgs,
    /// Task, if the target columns of a table do not determine it [default: inferred].
    #[arg(long, value_name = "TASK", help_heading = "Tables", value_parser = TASKS)]
    pub task: Option<String>,
    /// Preprocessing of raw features, other than those of tables [default: auto].
    #[arg(long, value_name = "HOW", help_heading = "Data")]
    pub preprocessing: Option<PreprocessingChoice>,
    /// The network.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Learning rate [default: that of the optimizer; 0.001 for adam].
    #[arg(long, value_name = "RATE", help_heading = "Optimization")]
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
    /// New location of the old data of a fine-tuning run with --replay.
    #[arg(long, value_name = "SOURCE", help_heading = "Resuming")]
    pub replay_data: Option<String>,
    /// Where the run goes, and what it shows.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The tasks that a table may have.
const TASKS: [&str; 3] = ["classification", "multi-label", "regression"];

fn recipe_help() -> String {
    let names = RECIPES.map(|(name, _)| name).join(", ");
    format!("Start from a bundled recipe [default: none] [possible values: {names}]")
}

const EXAMPLES: &str = "\
Examples:
  train                                          the default network on MNIST, in seconds
  train --recipe mnist-small                     a small network, in seconds
  train --backend wgpu                           on a GPU
  train --hidden 300,100 --activation sigmoid --dropout 0.2 --optimizer sgd --momentum 0.9
  train --data fashion-mnist --patience 3        another data set, with early stopping
  train --data data.csv --target price           a table
  train --recipe speech --data sounds:clips      recordings, a folder for each class
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

impl Rate {
    /// The rate of all parameters, the last that was given.
    pub fn of_all(rates: &[Self]) -> Option<f64> {
        rates.iter().rev().find(|rate| rate.group.is_none()).map(|rate| rate.value)
    }

    /// The rates of groups of parameters, each with its group.
    pub fn of_groups(rates: &[Self]) -> impl Iterator<Item = (&str, &Self)> {
        rates.iter().filter_map(|rate| Some((rate.group.as_deref()?, rate)))
    }
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

impl Args {
    /// The settings part by part: the recipe, the file, the flags, and each --set.
    ///
    /// # Errors
    ///
    /// An unknown recipe, an unreadable file, several activations, or a --set that is not
    /// `path=value`.
    pub fn parts(&self) -> Result<Vec<Partial>, SettingsError> {
        let recipe = self.recipe.as_deref().map(Partial::recipe).transpose()?;
        let mut flags = Flags::default();
        self.backend.add_to(&mut flags);
        self.data.add_to(&mut flags);
        self.table.add_to(&mut flags);
        self.sounds.add_to(&mut flags);
        flags.text("data.table.task", self.task.as_ref());
        flags.choice("data.preprocessing", self.preprocessing);
        self.network.add_to(&mut flags)?;
        flags.number("optimizer.learning_rate", Rate::of_all(&self.lr));
        self.optimization.add_to(&mut flags);
        self.training.add_to(&mut flags);
        self.augment.add_to(&mut flags);
        let below = recipe.into_iter().chain(self.table.schema()?);
        self.settings.parts(below.collect(), flags)
    }

    /// The settings of a new run.
    ///
    /// # Errors
    ///
    /// As [`parts`](Self::parts); a part that sets something unknown, and a metric to monitor without
    /// validation samples.
    pub fn new_settings(&self) -> Result<Settings, SettingsError> {
        let settings = Settings::merged(&self.parts()?)?;
        self.training.check(&settings)?;
        Ok(settings)
    }
}
