//! Tables: from a file of named columns to rows that a network sees, with everything that was fitted.

mod divide;
mod stream;

use std::path::{Path, PathBuf};

use fireclay_model::{InputSpec, Sounds};
use fireclay_tables::{
    Doubt, Reading, Schema, SplitRows, Table, TableError, TableOptions, TableTargets, TableTask,
    doubts, encode, fit, read, read_texts, rows_with_targets, targets_of, weights_of,
};

use crate::{DataError, Dataset, Holdout, Split, Targets, TrainTest};
use divide::{Parts, TestRows, divide};

/// A table in a file, and how its rows are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableSource {
    /// The file.
    pub path: PathBuf,
    /// True if it has labelled texts and no columns: a folder by label, or a text a line.
    pub is_texts: bool,
    /// The columns to learn, and the kinds of others.
    pub options: TableOptions,
    /// How rows are divided.
    pub division: Division,
    /// Bytes of memory within which the rows are read in blocks; all are in memory if absent.
    pub memory: Option<u64>,
    /// Input of an existing model, which encodes the rows; if absent, one is fitted to the training rows.
    pub input: Option<InputSpec>,
}

/// How the rows of a table are divided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Division {
    /// Rows held out for validation; [`Holdout::usual`] if absent.
    pub validation: Option<Holdout>,
    /// Takes rows of each class in proportion.
    pub is_stratified: bool,
    /// Fixes which rows are held out.
    pub seed: u64,
    /// The classes that are kept, if not all.
    pub classes: Vec<String>,
}

/// What is known of the table that rows are of.
#[derive(Clone, Debug, PartialEq)]
pub struct TableFacts {
    /// Its columns, and the part of each.
    pub schema: Schema,
    /// Number of its rows, with those of a file for the test.
    pub rows: usize,
    /// Rows that lack a target, or have one of another class, and are left out.
    pub left_out: usize,
    /// Places, from 1, of columns without a name, which are left out.
    pub unnamed: Vec<usize>,
    /// Which training rows validate.
    pub split: Split,
    /// What is doubtful about it.
    pub doubts: Vec<Doubt>,
    /// The features of the recordings that its rows are of, if they are.
    pub sounds: Option<Sounds>,
}

/// The reader of a file with rows.
type Read<'a> = &'a dyn Fn(&Path) -> Result<Reading, DataError>;
/// The function that makes some rows of a table, whose targets are these.
type Made<'a> = &'a dyn Fn(&Table, &[usize], Targets) -> Result<Dataset, DataError>;

/// A table that was read and divided, to be encoded.
pub struct DividedTable {
    table: Table,
    parts: Parts,
    targets: [Targets; 2],
    /// The weights of all rows, if there are some.
    weights: Option<Vec<f32>>,
    facts: TableFacts,
    /// The file, if it is a table and no texts or recordings.
    file: Option<PathBuf>,
    /// The file of the rows for the test, if they have one of their own, and the first of them.
    test_file: Option<(PathBuf, usize)>,
}

impl TableSource {
    /// A table in a file, without options.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Reads a file of the kind of this one.
    fn read(&self, path: &Path) -> Result<Reading, TableError> {
        let reading = if self.is_texts { read_texts(path) } else { read(path) }?;
        match &self.options.target_file {
            Some(file) if path == self.path => reading.with_targets(Path::new(file)),
            _ => Ok(reading),
        }
    }

    /// Reads the table, and divides its rows.
    ///
    /// # Errors
    ///
    /// [`DataError::Table`] for a file that holds no such table; those of a division that is not
    /// possible.
    pub fn divided(&self) -> Result<DividedTable, DataError> {
        let read: Read<'_> = &|path| self.read(path).map_err(DataError::table(path));
        let divided = self.divided_of(read, Schema::of)?;
        let file = (!self.is_texts).then(|| self.path.clone());
        Ok(DividedTable { file, ..divided })
    }

    /// The same, by a reader of files and a plan of columns.
    pub(crate) fn divided_of(
        &self,
        read: Read<'_>,
        plan: fn(&Table, &TableOptions) -> Result<Schema, TableError>,
    ) -> Result<DividedTable, DataError> {
        let of_table = DataError::table(&self.path);
        let options = &self.options;
        let reading = read(&self.path)?;
        let mut table = reading.table;
        let schema = plan(&table, options).map_err(&of_table)?;
        let first = table.rows();
        let test = TestRows::parse(options)?;
        let mut test_file = None;
        if let TestRows::File(path) = &test {
            test_file = Some((path.clone(), first));
            let of_test = DataError::table(path);
            table.append(&read(path)?.table).map_err(&of_test)?;
        }
        let rows = rows_with_targets(&table, schema.targets()).map_err(&of_table)?;
        let targets = targets_of(&table, schema.targets(), schema.task(), &rows);
        let (rows, targets) = self.of_classes(rows, targets.map_err(&of_table)?, &schema)?;
        let left_out = table.rows() - rows.len();
        let parts = divide(&table, &rows, &targets, first, &test, self)?;
        let splits =
            SplitRows { train: &parts.train, validation: &parts.validation, test: &parts.test };
        let of_training = targets_of(&table, schema.targets(), schema.task(), &parts.train);
        let doubts = doubts(&table, &schema, splits, &of_training.map_err(&of_table)?);
        let split = Split::of(parts.learned(), parts.validation_places());
        let targets = [parts.targets(&targets, &rows, false), parts.targets(&targets, &rows, true)];
        let facts = TableFacts {
            rows: table.rows(),
            schema,
            left_out,
            unnamed: reading.unnamed,
            split,
            doubts,
            sounds: None,
        };
        let weights = weights(&table, options, &parts).map_err(&of_table)?;
        Ok(DividedTable { table, parts, targets, weights, facts, file: None, test_file })
    }

    /// The rows of the classes that are kept, with their targets.
    fn of_classes(
        &self,
        rows: Vec<usize>,
        targets: TableTargets,
        schema: &Schema,
    ) -> Result<(Vec<usize>, Targets), DataError> {
        let targets = named(targets, schema.targets());
        let classes = &self.division.classes;
        if classes.is_empty() {
            return Ok((rows, targets));
        }
        let (places, targets) = targets.only_classes(classes)?;
        Ok((places.into_iter().map(|place| rows[place]).collect(), targets))
    }
}

impl DividedTable {
    /// Returns what is known of the table.
    pub fn facts(&self) -> &TableFacts {
        &self.facts
    }

    /// The kind of prediction.
    pub fn task(&self) -> TableTask {
        self.facts.schema.task()
    }

    /// Fits the encoding of each feature to the training rows alone.
    ///
    /// # Errors
    ///
    /// A feature without a value in any training row.
    pub fn fit(&self, path: &Path) -> Result<InputSpec, DataError> {
        let of_table = DataError::table(path);
        let Self { table, parts, facts, .. } = self;
        fit(table, &facts.schema, &parts.train, &parts.all()).map_err(&of_table)
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Encodes all rows.
    ///
    /// # Errors
    ///
    /// A value that is not one of its column, with its row; a column that the input takes and the
    /// table lacks.
    pub fn encoded(self, input: &InputSpec, path: &Path) -> Result<TrainTest, DataError> {
        let of_table = DataError::table(path);
        self.with_rows(&|table, rows, targets| {
            Dataset::encoded(input, encode(table, input, rows).map_err(&of_table)?, targets)
        })
    }

    /// All rows as a function makes them of the table.
    pub(crate) fn with_rows(self, made: Made<'_>) -> Result<TrainTest, DataError> {
        let Self { table, parts, targets: [learned, test], weights, facts, file, test_file } = self;
        let rows = |rows: &[usize], targets| {
            weighted(made(&table, rows, targets)?, weights.as_deref(), rows)
        };
        let mut train = rows(&parts.of_learning(), learned)?;
        let mut test = rows(&parts.test, test)?;
        if let Some(file) = &file {
            train = train.at_places(file, parts.of_learning());
            let (file, first) =
                test_file.as_ref().map_or((file, 0), |(file, first)| (file, *first));
            test = test.at_places(file, parts.test.iter().map(|row| row - first).collect());
        }
        Ok(TrainTest { train, test, table: Some(Box::new(facts)) })
    }
}

/// The weights of all rows of a table; rows that are left out may lack one, and have none.
fn weights(
    table: &Table,
    options: &TableOptions,
    parts: &Parts,
) -> Result<Option<Vec<f32>>, TableError> {
    let Some(name) = &options.weight else { return Ok(None) };
    let rows = parts.all();
    let mut weights = vec![0.0; table.rows()];
    let found = weights_of(table, name, &rows)?;
    rows.into_iter().zip(found).for_each(|(row, weight)| weights[row] = weight);
    Ok(Some(weights))
}

/// Rows with their weights, if there are some.
fn weighted(data: Dataset, weights: Option<&[f32]>, rows: &[usize]) -> Result<Dataset, DataError> {
    match weights {
        Some(weights) => data.with_weights(rows.iter().map(|&row| weights[row]).collect()),
        None => Ok(data),
    }
}

/// The targets of a table with the names of their columns, or of their classes.
pub(crate) fn named(targets: TableTargets, names: &[String]) -> Targets {
    let names = names.to_vec();
    match targets {
        TableTargets::Classes { ids, labels } => Targets::Classes { ids, labels },
        TableTargets::MultiLabel { values, labels } => {
            Targets::MultiLabel { values, labels: labels.unwrap_or(names) }
        }
        TableTargets::Values { values } => Targets::Values { values, names },
    }
}

/// Targets with these labels, if they are those of a column of lists, which may lack some.
fn of_lists(targets: Targets, names: &[String], labels: &[String]) -> Result<Targets, DataError> {
    match &targets {
        Targets::MultiLabel { labels: found, .. } if found != names => targets.spread_over(labels),
        _ => Ok(targets),
    }
}

/// Loads a table, with encodings fitted to its training rows.
pub(crate) fn load(source: &TableSource) -> Result<TrainTest, DataError> {
    if let Some(memory) = source.memory {
        return stream::load(source, memory);
    }
    let divided = source.divided()?;
    let input = match &source.input {
        Some(input) => input.clone(),
        None => divided.fit(&source.path)?,
    };
    divided.encoded(&input, &source.path)
}

/// Loads all rows of a table for a model that takes this input, and has this task with these labels or targets. Rows have weights if
/// the options name a column of weights and the table has it.
///
/// # Errors
///
/// As [`TableSource::divided`] and [`DividedTable::encoded`].
pub fn load_whole(
    source: &TableSource,
    input: &InputSpec,
    task: TableTask,
    names_of_task: &[String],
) -> Result<Dataset, DataError> {
    let of_table = DataError::table(&source.path);
    let table = source.read(&source.path).map_err(&of_table)?.table;
    let names = &source.options.target;
    let rows = rows_with_targets(&table, names).map_err(&of_table)?;
    let targets = targets_of(&table, names, task, &rows).map_err(&of_table)?;
    let targets = of_lists(named(targets, names), names, names_of_task)?;
    let encoded = encode(&table, input, &rows).map_err(&of_table)?;
    let data = Dataset::encoded(input, encoded, targets)?;
    let data = match source.options.weight.as_ref().filter(|name| table.column(name).is_ok()) {
        Some(name) => data.with_weights(weights_of(&table, name, &rows).map_err(&of_table)?)?,
        None => data,
    };
    Ok(if source.is_texts { data } else { data.at_places(&source.path, rows) })
}
