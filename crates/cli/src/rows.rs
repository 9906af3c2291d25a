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
    /// Measure on these classes alone, by their labels.
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
    pub(crate) fn is_asked_for(&self) -> bool {
        self.data.is_some()
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
        let data = train::only(data, &self.classes)?;
        Ok(match self.split {
            Part::Test => (format!("{source} (test)"), data.test),
            Part::Train => (format!("{source} (train)"), data.train),
        })
    }
}
