//! `sounds:FOLDER` and `sounds:TABLE`: recordings with their labels, as rows of features.

mod listing;
mod pattern;

use std::fs::File;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use fireclay_model::Sounds;
use fireclay_sounds::{Extractor, Recording, SoundError, SoundOptions};
use fireclay_tables::{Schema, Table, TableTask, rows_with_targets, targets_of};

use crate::table::named;
use crate::{DataError, Dataset, Features, TableSource, TrainTest};

pub(crate) use listing::files;
use listing::listed;

/// The column of recordings, and that of their labels, unless others are named.
const FILE: &str = "file";
const LABEL: &str = "label";

/// Recordings in a folder, or in the files that a table names, and their features.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SoundSource {
    /// The folder or table, its targets, and how its rows are divided.
    pub table: TableSource,
    /// The names of the files, and the features.
    pub options: SoundOptions,
    /// The features of an existing model; those of the options if absent.
    pub sounds: Option<Sounds>,
}

impl SoundSource {
    /// Recordings at a path, without options.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { table: TableSource::new(path), ..Self::default() }
    }

    /// The same at another path.
    #[must_use]
    pub fn at(&self, path: PathBuf) -> Self {
        let table = TableSource { path, ..self.table.clone() };
        Self { table, ..self.clone() }
    }

    /// The folder or table as a source of rows, whose target is the label unless another is named.
    fn labelled(&self) -> TableSource {
        let mut table = self.table.clone();
        if table.options.target.is_empty() {
            table.options.target = vec![LABEL.to_owned()];
            table.options.task.get_or_insert(TableTask::Classification);
        }
        table
    }

    /// The features of some recordings: those of the model, or as the options say.
    fn sounds(&self, table: &Table) -> Result<Sounds, DataError> {
        if let Some(sounds) = self.sounds {
            return Ok(sounds);
        }
        let fewest = match self.options.rate {
            Some(rate) => rate,
            None => {
                let rates = paths(table)?.into_iter().map(|path| Ok(opened(&path)?.rate()));
                let rates = rates.collect::<Result<Vec<_>, DataError>>()?;
                rates.into_iter().min().unwrap_or(1)
            }
        };
        Ok(self.options.sounds(fewest))
    }
}

/// Loads recordings, with the features that the options say, or those of a model.
pub(crate) fn load(source: &SoundSource) -> Result<TrainTest, DataError> {
    let divided = source
        .labelled()
        .divided_of(&|path| listed(path, source.options.pattern.as_deref()), Schema::of_targets)?;
    let sounds = source.sounds(divided.table())?;
    let extractor = Extractor::new(sounds).map_err(|error| DataError::Features(error.into()))?;
    let data = divided.with_rows(&|table, rows, targets| {
        let features = Features::Floats(features(&paths(table)?, rows, &extractor)?);
        Dataset::new(sounds.shape().to_vec(), features, targets)
    })?;
    Ok(data.with_sounds(sounds))
}

/// Loads all recordings for a model of this task, which has its features in the source.
///
/// # Errors
///
/// As [`crate::load`]; a target that is not one of the task.
pub fn load_all_sounds(source: &SoundSource, task: TableTask) -> Result<Dataset, DataError> {
    let TableSource { path, options, .. } = source.labelled();
    let of_table = DataError::table(&path);
    let table = listed(&path, source.options.pattern.as_deref())?.table;
    let rows = rows_with_targets(&table, &options.target).map_err(&of_table)?;
    let targets = targets_of(&table, &options.target, task, &rows).map_err(&of_table)?;
    let sounds = source.sounds(&table)?;
    let extractor = Extractor::new(sounds).map_err(|error| DataError::Features(error.into()))?;
    let values = features(&paths(&table)?, &rows, &extractor)?;
    let targets = named(targets, &options.target);
    Dataset::new(sounds.shape().to_vec(), Features::Floats(values), targets)
}

/// The files of all rows.
fn paths(table: &Table) -> Result<Vec<PathBuf>, DataError> {
    let column = table.column(FILE).map_err(DataError::table(Path::new(FILE)))?;
    Ok(column.cells.iter().map(|cell| PathBuf::from(cell.text().as_ref())).collect())
}

fn opened(path: &Path) -> Result<Recording<File>, DataError> {
    let file = File::open(path).map_err(DataError::read(path))?;
    Recording::open(file).map_err(DataError::sound(path))
}

/// The features of some rows, one row behind the other; threads divide them, and change no number.
fn features(
    paths: &[PathBuf],
    rows: &[usize],
    extractor: &Extractor,
) -> Result<Vec<f32>, DataError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let shares = rows.chunks(rows.len().div_ceil(threads).max(1));
    let found: Vec<Result<Vec<f32>, DataError>> = thread::scope(|scope| {
        let working: Vec<_> =
            shares.map(|share| scope.spawn(move || of_share(paths, share, extractor))).collect();
        working.into_iter().map(|thread| thread.join().unwrap_or(Err(DataError::Reader))).collect()
    });
    Ok(found.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

fn of_share(
    paths: &[PathBuf],
    rows: &[usize],
    extractor: &Extractor,
) -> Result<Vec<f32>, DataError> {
    let [bands, columns] = extractor.sounds().shape();
    let mut values = Vec::with_capacity(rows.len() * bands * columns);
    for &row in rows {
        let path = &paths[row];
        let samples = opened(path)?.samples(extractor.sounds().rate);
        let row = samples.and_then(|samples| extractor.features(&samples));
        values.extend(row.map_err(DataError::sound(path))?);
    }
    Ok(values)
}

impl DataError {
    /// Tells the recording that an error is about.
    fn sound(path: &Path) -> impl Fn(SoundError) -> Self {
        move |source| Self::Sound { path: path.to_owned(), source: Box::new(source) }
    }
}
