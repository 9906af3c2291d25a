//! Tables that do not fit memory: targets, a fit and rows, each in passes over the file.

use std::path::Path;
use std::sync::Arc;

use fireclay_model::InputSpec;
use fireclay_tables::{
    BlockFile, BlockRow, Cells, Column, Doubt, InputFit, Schema, SplitRows, Table, TableError,
    doubts, encode, fit, head, place, read, rows_with_targets, targets_of,
};

use super::divide::{Parts, TestRows, divide};
use super::{TableFacts, TableSource, named, of_lists, weighted, weights};
use crate::blocks::{BlockParts, BlockReader, RowsOnDisk};
use crate::{DataError, Dataset, Features, Split, Targets, TrainTest};

/// Rows by which the kinds of columns are inferred.
const HEAD: usize = 10_000;
/// The least and the most bytes of the file in a block: enough that a seek costs little, few enough
/// that many blocks are shuffled together.
const BLOCK: [usize; 2] = [1 << 12, 1 << 17];
/// Blocks that are to be shuffled together: the share that a group of them has of a sorted file is then
/// near to that of the whole, by a sixteenth of its spread.
const GROUP: u64 = 256;
/// Memory of the program itself, its network and its buffers, which no block may take.
const PROGRAM: u64 = 110 << 20;
/// Bytes that are kept of each row: its number, target, split and place in the order of an epoch.
const OF_A_ROW: u64 = 40;

/// Loads a table whose rows stay in the file, within `memory` bytes.
pub(super) fn load(source: &TableSource, memory: u64) -> Result<TrainTest, DataError> {
    let of_table = DataError::table(&source.path);
    if source.options.target_file.is_some() {
        return Err(of_table(TableError::TargetBlocks));
    }
    let largest = BlockFile::least_bytes(&source.path).map_err(&of_table)?;
    if 2 * largest > memory.saturating_sub(PROGRAM) {
        return Err(DataError::LargeGroups { bytes: largest, given: memory >> 20 });
    }
    let start = head(&source.path, HEAD).map_err(&of_table)?;
    let schema = Schema::of(&start.reading.table, &source.options).map_err(&of_table)?;
    let row_bytes = (start.bytes / start.reading.table.rows()).max(1);
    let all: Vec<usize> = (0..start.reading.table.rows()).collect();
    // As far as the first rows tell.
    let first = fit(&start.reading.table, &schema, &all, &all).map_err(&of_table)?;
    check_texts(&first)?;
    let width = first.width();
    let length = std::fs::metadata(&source.path).map_or(0, |metadata| metadata.len());
    let rows_per_block = rows_per_block(length, row_bytes, width, memory);
    log::info!("indexing {}", source.path.display());
    let test = TestRows::parse(&source.options)?;
    let (file, slim) = indexed(source, &schema, &test, rows_per_block).map_err(&of_table)?;
    let rows = rows_with_targets(&slim, schema.targets()).map_err(&of_table)?;
    let targets = targets_of(&slim, schema.targets(), schema.task(), &rows).map_err(&of_table)?;
    let (rows, targets) = source.of_classes(rows, targets, &schema)?;
    let parts = divide(&slim, &rows, &targets, file.rows(), &test, source)?;
    let weights = weights(&slim, &source.options, &parts).map_err(&of_table)?;
    drop(slim);
    let Fitted { input, kept } = fitted(&file, &schema, &parts, source).map_err(&of_table)?;
    check_texts(&input)?;
    let group = group(&file, &input, row_bytes, parts.validation.len(), memory)?;
    log::info!("{} blocks, {group} of them at a time", file.blocks());
    let blocks = TableBlocks { file: &file, input: &input, source };
    let learned = blocks.of(parts.of_learning(), group, parts.validation_places(), kept);
    let train = dataset(&input, learned, parts.targets(&targets, &rows, false))?;
    let train = weighted(train, weights.as_deref(), &parts.of_learning())?;
    let test = match test {
        TestRows::Own(_) | TestRows::Fold { .. } | TestRows::Values { .. } => {
            let blocks = blocks.of(parts.test.clone(), 1, Vec::new(), Vec::new());
            let test = dataset(&input, blocks, parts.targets(&targets, &rows, true))?;
            let test = weighted(test, weights.as_deref(), &parts.test)?;
            test.at_places(&source.path, parts.test.clone())
        }
        TestRows::File(path) => test_file(&path, &input, &schema, &targets)?,
    };
    let doubts = doubts_of(&start.reading.table, &schema).map_err(&of_table)?;
    let facts = TableFacts {
        rows: file.rows(),
        left_out: file.rows() - rows.len(),
        unnamed: start.reading.unnamed,
        split: Split::of(parts.learned(), parts.validation_places()),
        doubts,
        schema,
        sounds: None,
    };
    Ok(TrainTest { train, test, table: Some(Box::new(facts)) })
}

fn dataset(input: &InputSpec, blocks: RowsOnDisk, targets: Targets) -> Result<Dataset, DataError> {
    let data = Dataset::new(vec![input.width()], Features::Blocks(blocks), targets)?;
    Ok(data.with_input(input.clone()))
}

/// The index of a file, and a table of the columns alone by which rows are divided and learned.
fn indexed(
    source: &TableSource,
    schema: &Schema,
    test: &TestRows,
    rows_per_block: usize,
) -> Result<(Arc<BlockFile>, Table), TableError> {
    let header = BlockFile::header_of(&source.path)?;
    let options = &source.options;
    let names = schema.targets().iter().chain(&options.group).chain(&options.time);
    let names = names.chain(&options.weight).chain(test.column());
    let mut names: Vec<&String> = names.collect();
    names.sort_unstable();
    names.dedup();
    let places = names.iter().map(|name| place(&header, name)).collect::<Result<Vec<_>, _>>()?;
    let mut columns = vec![Cells::Numbers(Vec::new()); places.len()];
    let file = BlockFile::index(&source.path, rows_per_block, |_, row| {
        let cells = places.iter().map(|&place| row.cell(place));
        columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        Ok(())
    })?;
    let columns = names.into_iter().zip(columns);
    let columns = columns.map(|(name, cells)| Column { name: name.clone(), cells });
    Ok((Arc::new(file), Table::new(columns.collect())?))
}

/// Refuses an input with texts, whose rows are not of one size.
fn check_texts(input: &InputSpec) -> Result<(), DataError> {
    if input.texts().next().is_some() { Err(DataError::TextInBlocks) } else { Ok(()) }
}

/// The rows of a block, of which the memory has room for many.
fn rows_per_block(length: u64, row_bytes: usize, width: usize, memory: u64) -> usize {
    let rows = length / row_bytes as u64;
    let free = memory.saturating_sub(PROGRAM + OF_A_ROW * rows);
    let at_once = free / (2 * of_a_row(width, row_bytes));
    let [least, most] = BLOCK.map(|bytes| (bytes / row_bytes).max(1));
    ((at_once / GROUP) as usize).clamp(least, most)
}

/// Bytes of a row of a block: it is read as text and encoded at once, and its room may have grown to
/// twice its size.
fn of_a_row(width: usize, row_bytes: usize) -> u64 {
    (2 * 4 * width + row_bytes) as u64
}

/// What is doubtful about the first rows.
fn doubts_of(table: &Table, schema: &Schema) -> Result<Vec<Doubt>, TableError> {
    let rows = rows_with_targets(table, schema.targets())?;
    let targets = targets_of(table, schema.targets(), schema.task(), &rows)?;
    let splits = SplitRows { train: &rows, validation: &[], test: &[] };
    Ok(doubts(table, schema, splits, &targets))
}

/// The rows of another file for the test, which is read whole.
fn test_file(
    path: &Path,
    input: &InputSpec,
    schema: &Schema,
    targets: &Targets,
) -> Result<Dataset, DataError> {
    let of_test = DataError::table(path);
    let table = read(path).map_err(&of_test)?.table;
    let rows = rows_with_targets(&table, schema.targets()).map_err(&of_test)?;
    let found = targets_of(&table, schema.targets(), schema.task(), &rows).map_err(&of_test)?;
    let encoded = encode(&table, input, &rows).map_err(&of_test)?;
    let found = of_lists(named(found, schema.targets()), schema.targets(), targets.labels())?;
    let data = Dataset::encoded(input, encoded, found)?.at_places(path, rows);
    match targets {
        Targets::Classes { labels, .. } => data.relabelled(labels),
        _ => Ok(data),
    }
}

/// What a pass over the training rows gives.
struct Fitted {
    input: InputSpec,
    /// The validation rows, encoded.
    kept: Vec<f32>,
}

/// Fits the input to the training rows, unless one is given, and keeps the validation rows.
fn fitted(
    file: &BlockFile,
    schema: &Schema,
    parts: &Parts,
    source: &TableSource,
) -> Result<Fitted, TableError> {
    let mut fit = InputFit::new(schema);
    let names: Vec<String> = match &source.input {
        Some(input) => input.fields().iter().map(|field| field.name.clone()).collect(),
        None => schema.features().map(|column| column.profile.name.clone()).collect(),
    };
    let places =
        names.iter().map(|name| place(file.header(), name)).collect::<Result<Vec<_>, _>>()?;
    let mut kept = vec![Cells::Numbers(Vec::new()); names.len()];
    let (mut train, mut validation) = (Cursor::new(&parts.train), Cursor::new(&parts.validation));
    let mut test = Cursor::new(&parts.test);
    let mut add = |row: usize, cells: BlockRow<'_>| {
        let is_training = train.passes(row);
        let is_validation = validation.passes(row);
        if source.input.is_none() && (is_training || is_validation || test.passes(row)) {
            for (field, &place) in fit.fields_mut().iter_mut().zip(&places) {
                let cell = cells.cell(place);
                if is_training { field.add(cell) } else { field.note(cell) }
            }
        }
        if is_validation {
            let cells = places.iter().map(|&place| cells.cell(place));
            kept.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        }
        Ok(())
    };
    log::info!("fitting the input to {} of {} rows", parts.train.len(), file.rows());
    (0..file.blocks()).try_for_each(|block| file.read_block(block, &mut add))?;
    let input = match &source.input {
        Some(input) => input.clone(),
        None => fit.finish()?,
    };
    log::info!("fitted the input, {} numbers a row", input.width());
    if parts.validation.is_empty() {
        return Ok(Fitted { input, kept: Vec::new() });
    }
    let columns = names.into_iter().zip(kept);
    let columns = columns.map(|(name, cells)| Column { name, cells });
    let table = Table::new(columns.collect())?;
    let all: Vec<usize> = (0..table.rows()).collect();
    let kept = encode(&table, &input, &all)?.dense;
    Ok(Fitted { input, kept })
}

/// Some ascending rows, looked for in the order of the file.
struct Cursor<'a> {
    rows: &'a [usize],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(rows: &'a [usize]) -> Self {
        Self { rows, at: 0 }
    }

    /// Returns true if this row, which comes after those before, is one of them.
    fn passes(&mut self, row: usize) -> bool {
        let is_here = self.rows.get(self.at) == Some(&row);
        self.at += usize::from(is_here);
        is_here
    }
}

/// Blocks that fit the memory twice: those in work, and those that are read meanwhile.
fn group(
    file: &BlockFile,
    input: &InputSpec,
    row_bytes: usize,
    kept: usize,
    memory: u64,
) -> Result<usize, DataError> {
    let encoded = (4 * input.width()) as u64;
    let rows = file.largest_block() as u64;
    let block = rows * of_a_row(input.width(), row_bytes);
    let fixed = PROGRAM + OF_A_ROW * file.rows() as u64 + encoded * kept as u64;
    let fits = memory.saturating_sub(fixed) / (2 * block);
    if fits == 0 {
        let needed = (fixed + 2 * block) >> 20;
        return Err(DataError::LittleMemory { given: memory >> 20, needed: needed + 1 });
    }
    Ok((fits as usize).min(file.blocks()))
}

/// What blocks of a table are read and encoded with.
struct TableBlocks<'a> {
    file: &'a Arc<BlockFile>,
    input: &'a InputSpec,
    source: &'a TableSource,
}

impl TableBlocks<'_> {
    /// Some rows of the file in ascending order, of which those at the places `kept` are in memory.
    fn of(
        &self,
        rows: Vec<usize>,
        group: usize,
        kept: Vec<usize>,
        kept_features: Vec<f32>,
    ) -> RowsOnDisk {
        let file = self.file;
        let starts = file.starts().iter();
        let starts = starts.map(|&first| rows.partition_point(|&row| row < first)).collect();
        let digest = format!("{} {} rows", file.digest(), rows.len());
        let rows = rows.into_iter().map(|row| row as u32).collect();
        let (input, path) = (self.input.clone(), self.source.path.clone());
        let reader = TableReader { file: Arc::clone(file), input, rows, path };
        RowsOnDisk::new(BlockParts {
            width: self.input.width(),
            reader: Box::new(reader),
            starts,
            group,
            kept,
            kept_features,
            digest,
        })
    }
}

/// Reads and encodes blocks of a table.
struct TableReader {
    file: Arc<BlockFile>,
    input: InputSpec,
    /// The rows of the file that are wanted; at most as many as there are numbers of rows in an order.
    rows: Vec<u32>,
    path: std::path::PathBuf,
}

impl BlockReader for TableReader {
    fn read(&self, block: usize) -> Result<Vec<f32>, DataError> {
        let first = self.file.starts()[block];
        let mut at = self.rows.partition_point(|&row| (row as usize) < first);
        let encoded = self.file.encode_block(block, &self.input, |row| {
            let is_here = self.rows.get(at).is_some_and(|&wanted| wanted as usize == row);
            at += usize::from(is_here);
            is_here
        });
        Ok(encoded.map_err(DataError::table(&self.path))?.dense)
    }
}
