//! The rows that models are measured on.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fireclay::{Description, Task};
use fireclay_data::tables::TableTask;
use fireclay_data::{
    Dataset, SoundSource, Source, TableSource, TrainTest, load_all_sounds, load_whole,
};
use fireclay_measure::only;
use fireclay_terminal::printable;
use train::place::{portable, whole_data_of_run};
use train::settings::Settings;

use crate::model;

/// Which rows to measure on.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct Rows {
    /// Data set: a name such as mnist, a table file, idx:FOLDER for IDX files, or sounds:PATH for recordings [default: the data that the model was trained on].
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    /// Split of the data set to use.
    #[arg(long, value_name = "ROWS", default_value = "test")]
    split: Part,
    /// Classes to use, given by label [default: all, or those that the model was trained on].
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    classes: Vec<String>,
    /// File of the targets of the rows of --data, in one column [default: the targets are columns of the table].
    #[arg(long, value_name = "FILE", requires = "data")]
    target_file: Option<String>,
    /// Target columns of a table [default: those that the model was trained on].
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    target: Vec<String>,
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Rows of the final test, which training never sees.
    Test,
    /// Rows of training and validation.
    Train,
}

impl Rows {
    /// Reads data that was named. All rows of a table are rows for the test, encoded as the model was
    /// fitted; the target is the one that the model learned, unless another is named.
    fn load_source(&self, source: &Source, model: &Description) -> Result<TrainTest> {
        let table = match source {
            Source::Table(table) => table,
            Source::Sounds(recordings) => return self.load_recordings(recordings, model),
            other => return Ok(train::load_with_bar(other)?),
        };
        if model.input.as_dense().is_some() {
            bail!("this model takes rows of numbers without names, and no table; give idx:FOLDER");
        }
        let mut options =
            settings_of(model).map(|settings| settings.data.table).unwrap_or_default();
        // Those of training are of other rows.
        options.target_file.clone_from(&self.target_file);
        if !self.target.is_empty() {
            options.target.clone_from(&self.target);
        }
        if options.target.is_empty() {
            bail!("the model does not record its target columns; name them with --target");
        }
        let table = TableSource { options, ..TableSource::clone(table) };
        let rows = load_whole(&table, &model.input, table_task(&model.task), model.task.names())?;
        Ok(TrainTest::new(rows.clone(), rows))
    }

    /// Reads recordings that were named, all of which are rows for the test, with the features of the
    /// model; their names are read as in its run.
    fn load_recordings(&self, named: &SoundSource, model: &Description) -> Result<TrainTest> {
        if model.input.sounds().is_none() {
            bail!(
                "this model does not record features of recordings, so it cannot read {}",
                Source::Sounds(Box::new(named.clone()))
            );
        }
        let data = settings_of(model).map(|settings| settings.data).unwrap_or_default();
        let mut recordings =
            SoundSource { options: data.sounds, sounds: model.input.sounds(), ..named.clone() };
        recordings.table.options = data.table;
        if !self.target.is_empty() {
            recordings.table.options.target.clone_from(&self.target);
        }
        let rows = load_all_sounds(&recordings, table_task(&model.task))?;
        Ok(TrainTest::new(rows.clone(), rows))
    }

    /// Whether any were asked for.
    pub(crate) fn are_asked_for(&self) -> bool {
        self.data.is_some() || !self.classes.is_empty() || self.split != Part::Test
    }

    /// The data that was asked for.
    pub(crate) fn data(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// Whether other rows than the test rows of some data were asked for.
    pub(crate) fn are_chosen(&self) -> bool {
        !self.classes.is_empty() || self.split != Part::Test
    }

    /// The rows, and what they are called; `named` is the file or folder of the model, or of the
    /// adapter that was applied to it.
    pub(crate) fn load(&self, model: &Description, named: &Path) -> Result<(String, Dataset)> {
        let (source, data) = match &self.data {
            Some(source) => (
                source.clone(),
                self.load_source(&source.parse()?, model)
                    .with_context(|| format!("--data {source}"))?,
            ),
            None => data_of(model, named)?,
        };
        let classes = match self.data {
            None if self.classes.is_empty() => trained_on(model),
            _ => self.classes.clone(),
        };
        let data = only(data, &classes)?;
        let (part, data) = match self.split {
            Part::Test => ("test", data.test),
            Part::Train => ("train", data.train),
        };
        if let Some(warning) = train::warnings::of_scale(model.input.preprocessing(), &data) {
            log::warn!("{source}: {warning}");
        }
        let alone = match &classes[..] {
            [] => String::new(),
            some => format!(", classes {}", some.join(", ")),
        };
        Ok((format!("{source} ({part}{alone})"), data))
    }
}

/// The kind of prediction of a task: the few values of a small table may look like those of another.
fn table_task(task: &Task) -> TableTask {
    match task {
        Task::Classification { .. } => TableTask::Classification,
        Task::MultiLabel { .. } => TableTask::MultiLabel,
        Task::Regression { .. } => TableTask::Regression,
    }
}

/// The settings of the run that a model is of, if its file has them.
fn settings_of(model: &Description) -> Option<Settings> {
    serde_json::from_value(model.provenance.settings.clone()?).ok()
}

/// The data that a model was trained on, all classes of it: where its run found it, or where its file
/// says.
fn data_of(model: &Description, named: &Path) -> Result<(String, TrainTest)> {
    let Some(source) = &model.provenance.data else {
        bail!("the model does not record its training data; name a data set with --data");
    };
    if let Some((folder, manifest)) = model::run_of(named)?
        && portable(&manifest.settings.data.source) == *source
    {
        let data = whole_data_of_run(&manifest, &folder, model, None, &train::load_with_bar)?;
        return Ok((manifest.settings.data.source.clone(), data));
    }
    let at = match settings_of(model) {
        Some(settings) => settings.source()?,
        None => source.parse()?,
    };
    let data = train::load_with_bar(&at).with_context(|| {
        let source = printable(source, 200);
        format!("the model was trained on {source}; name the data to measure on with --data")
    })?;
    Ok((source.clone(), data))
}

/// The classes of its data that a model was trained on, if not all.
fn trained_on(model: &Description) -> Vec<String> {
    let settings = model.provenance.settings.as_ref();
    let classes = settings.and_then(|settings| settings["data"]["classes"].as_array());
    let labels = classes.into_iter().flatten().filter_map(|label| label.as_str());
    labels.map(str::to_owned).collect()
}
