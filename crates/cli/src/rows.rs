//! The rows that models are measured on.

use anyhow::{Context, Result, bail};
use fireclay::Model;
use fireclay_data::Dataset;

/// Which rows to measure on.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct Rows {
    /// Measure on this data: a name such as mnist, or idx:FOLDER; by default what the model was trained on.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    /// Measure on these rows of it.
    #[arg(long, value_name = "ROWS", default_value = "test")]
    split: Part,
    /// Measure on these classes alone, by their labels; of the data that the model was trained on, by default those that it was.
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    classes: Vec<String>,
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Those that training never sees.
    Test,
    /// Those that are trained on, with those that are held out for validation.
    Train,
}

impl Rows {
    /// Whether any were asked for.
    pub(crate) fn are_asked_for(&self) -> bool {
        self.data.is_some() || !self.classes.is_empty() || self.split != Part::Test
    }

    /// The rows, and what they are called.
    pub(crate) fn load(&self, model: &Model) -> Result<(String, Dataset)> {
        let Some(source) = self.data.as_ref().or(model.provenance.data.as_ref()) else {
            bail!(
                "the model does not say what it was trained on; say with --data what to measure on"
            );
        };
        let data = train::load_with_bar(&source.parse()?).with_context(|| {
            if self.data.is_some() { "--data" } else { "the data that the model was trained on" }
        })?;
        let classes = match self.data {
            None if self.classes.is_empty() => trained_on(model),
            _ => self.classes.clone(),
        };
        let data = train::only(data, &classes)?;
        let (part, data) = match self.split {
            Part::Test => ("test", data.test),
            Part::Train => ("train", data.train),
        };
        let alone = match &classes[..] {
            [] => String::new(),
            some => format!(", classes {}", some.join(", ")),
        };
        Ok((format!("{source} ({part}{alone})"), data))
    }
}

/// The classes of its data that a model was trained on, if not all.
fn trained_on(model: &Model) -> Vec<String> {
    let settings = model.provenance.settings.as_ref();
    let classes = settings.and_then(|settings| settings["data"]["classes"].as_array());
    let labels = classes.into_iter().flatten().filter_map(|label| label.as_str());
    labels.map(str::to_owned).collect()
}
