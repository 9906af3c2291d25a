//! Rows that stay on disk and are read in blocks, with a shuffle that needs a few of them at a time.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::DataError;
use crate::order::{generator, shuffled};

/// The features of rows that stay on disk.
///
/// Blocks of neighbouring rows are read as they are needed, and the blocks that follow are read while
/// these are worked on. Some rows, such as those for validation, are kept in memory.
#[derive(Clone)]
pub struct RowsOnDisk(Arc<Shared>);

/// What reads a block: `[rows, width]` row by row.
pub(crate) trait BlockReader: Send + Sync {
    /// # Errors
    ///
    /// A file that cannot be read, or has changed.
    fn read(&self, block: usize) -> Result<Vec<f32>, DataError>;
}

/// What blocks are made of.
pub(crate) struct BlockParts {
    /// What reads a block.
    pub(crate) reader: Box<dyn BlockReader>,
    /// Features of a row.
    pub(crate) width: usize,
    /// The first row of each block, and the number of rows.
    pub(crate) starts: Vec<usize>,
    /// Number of blocks that are shuffled together and in memory at once.
    pub(crate) group: usize,
    /// Rows that are kept in memory, in ascending order.
    pub(crate) kept: Vec<usize>,
    /// The features of the rows that are kept.
    pub(crate) kept_features: Vec<f32>,
    /// A digest that tells the contents of the file.
    pub(crate) digest: String,
}

struct Shared {
    parts: BlockParts,
    cache: Mutex<Cache>,
}

/// The blocks in memory, those on their way, and what comes after them.
struct Cache {
    blocks: HashMap<usize, Vec<f32>>,
    /// Blocks that a thread is reading.
    pending: Option<Pending>,
    /// Groups of blocks in the order in which they will be needed.
    plan: Vec<Vec<usize>>,
    failure: Option<Arc<DataError>>,
}

struct Pending {
    group: Vec<usize>,
    thread: JoinHandle<Result<HashMap<usize, Vec<f32>>, DataError>>,
}

impl RowsOnDisk {
    pub(crate) fn new(parts: BlockParts) -> Self {
        let plan = (0..parts.starts.len() - 1).map(|block| vec![block]).collect();
        let cache = Cache { blocks: HashMap::new(), pending: None, plan, failure: None };
        Self(Arc::new(Shared { parts, cache: Mutex::new(cache) }))
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.0.parts.starts.last().copied().unwrap_or_default()
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        self.0.parts.width
    }

    /// Number of groups of blocks, each shuffled as a whole.
    pub fn groups(&self) -> usize {
        (self.0.parts.starts.len() - 1).div_ceil(self.0.parts.group)
    }

    /// A digest that tells the contents of the file.
    pub(crate) fn digest(&self) -> &str {
        &self.0.parts.digest
    }

    /// Why rows could not be read, if that happened; they are zeros then.
    pub fn failure(&self) -> Option<Arc<DataError>> {
        self.cache().failure.clone()
    }

    /// Appends the features of some rows, in their order.
    ///
    /// # Panics
    ///
    /// If there is no such row: a mistake of the caller, as in slice indexing.
    pub fn gather(&self, rows: &[usize], values: &mut Vec<f32>) {
        let BlockParts { width, starts, kept, kept_features, .. } = &self.0.parts;
        let mut cache = self.cache();
        for &row in rows {
            assert!(row < self.rows(), "row {row} is out of range for {} rows", self.rows());
            if let Ok(place) = kept.binary_search(&row) {
                values.extend_from_slice(&kept_features[place * width..][..*width]);
                continue;
            }
            let block = starts.partition_point(|&start| start <= row) - 1;
            let start = (row - starts[block]) * width;
            self.ensure(&mut cache, block);
            match cache.blocks.get(&block).and_then(|block| block.get(start..start + width)) {
                Some(found) => values.extend_from_slice(found),
                None => values.resize(values.len() + width, 0.0),
            }
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // What a panic left behind is whole: blocks are replaced in one step.
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the group of a block, unless it is there, and begins to read the next.
    fn ensure(&self, cache: &mut Cache, block: usize) {
        if cache.blocks.contains_key(&block) || cache.failure.is_some() {
            return;
        }
        let place = cache.plan.iter().position(|group| group.contains(&block));
        let group = place.map_or_else(|| vec![block], |place| cache.plan[place].clone());
        // Freed before others take their place.
        cache.blocks.clear();
        let pending = cache.pending.take().filter(|pending| pending.group == group);
        let read = match pending {
            Some(pending) => pending.thread.join().unwrap_or(Err(DataError::Reader)),
            None => self.read(&group),
        };
        match read {
            Ok(blocks) => cache.blocks = blocks,
            Err(error) => cache.failure = Some(Arc::new(error)),
        }
        let next = place.and_then(|place| cache.plan.get(place + 1)).cloned();
        cache.pending = next.and_then(|group| {
            let (blocks, wanted) = (self.clone(), group.clone());
            let thread = std::thread::Builder::new().spawn(move || blocks.read(&wanted));
            // Without a thread, the group is read when it is needed.
            Some(Pending { group, thread: thread.ok()? })
        });
    }

    fn read(&self, group: &[usize]) -> Result<HashMap<usize, Vec<f32>>, DataError> {
        group.iter().map(|&block| Ok((block, self.0.parts.reader.read(block)?))).collect()
    }

    /// The training rows, in ascending order, in the random order of an epoch: blocks in random order,
    /// and the rows of each group of blocks in random order. With a single group this is the order of
    /// rows that are in memory.
    pub(crate) fn order(&self, train: &[usize], seed: u64, epoch: u64) -> Vec<usize> {
        let plan = self.plan(seed, epoch);
        let mut order = Vec::with_capacity(train.len());
        for (stream, group) in (0..).zip(&plan) {
            let rows: Vec<Range<usize>> = group.iter().map(|&b| self.rows_of(train, b)).collect();
            let places: Vec<usize> = rows.into_iter().flatten().collect();
            // Epochs are fewer than 2^32, and 0 is the stream of rows in memory.
            let mut rng = generator(seed, epoch | stream << 32);
            let shuffled = shuffled(places.len(), &mut rng).into_iter();
            order.extend(shuffled.map(|at| train[places[at as usize]]));
        }
        self.cache().plan = plan;
        order
    }

    /// Groups of blocks in the order of an epoch, each in ascending order.
    fn plan(&self, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
        let BlockParts { starts, group, .. } = &self.0.parts;
        let mut rng = generator(seed, BLOCK_ORDER | epoch);
        let blocks: Vec<usize> =
            shuffled(starts.len() - 1, &mut rng).into_iter().map(|block| block as usize).collect();
        let groups = blocks.chunks(*group).map(|group| {
            let mut group = group.to_vec();
            group.sort_unstable();
            group
        });
        groups.collect()
    }

    /// The places among the training rows of those in a block.
    fn rows_of(&self, train: &[usize], block: usize) -> Range<usize> {
        let starts = &self.0.parts.starts;
        let place = |start: usize| train.partition_point(|&row| row < start);
        place(starts[block])..place(starts[block + 1])
    }
}

/// Tells the order of blocks from that of rows.
const BLOCK_ORDER: u64 = 1 << 61;

impl fmt::Debug for RowsOnDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, width) = (self.rows(), self.width());
        f.debug_struct("RowsOnDisk")
            .field("rows", &rows)
            .field("width", &width)
            .finish_non_exhaustive()
    }
}

impl PartialEq for RowsOnDisk {
    /// The same rows of the same file.
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.0.parts, &other.0.parts);
        ours.digest == theirs.digest && ours.starts == theirs.starts && ours.width == theirs.width
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::permutation;

    /// Rows of two numbers that count up.
    struct Counting {
        starts: Vec<usize>,
        broken: Option<usize>,
    }

    impl BlockReader for Counting {
        fn read(&self, block: usize) -> Result<Vec<f32>, DataError> {
            if self.broken == Some(block) {
                return Err(DataError::NoRows);
            }
            let rows = self.starts[block]..self.starts[block + 1];
            Ok(rows.flat_map(|row| [row as f32, -(row as f32)]).collect())
        }
    }

    fn blocks(group: usize, broken: Option<usize>) -> RowsOnDisk {
        let starts: Vec<usize> = (0..=10).map(|block| 10 * block).collect();
        let reader = Box::new(Counting { starts: starts.clone(), broken });
        RowsOnDisk::new(BlockParts {
            reader,
            width: 2,
            starts,
            group,
            kept: vec![7, 93],
            kept_features: vec![7.0, -7.0, 93.0, -93.0],
            digest: String::new(),
        })
    }

    fn gathered(blocks: &RowsOnDisk, rows: &[usize]) -> Vec<f32> {
        let mut values = Vec::new();
        blocks.gather(rows, &mut values);
        values.chunks(2).map(|row| row[0]).collect()
    }

    #[test]
    fn rows_are_the_same_in_any_order() {
        let blocks = blocks(3, None);
        for rows in [vec![0, 99, 7, 50, 93, 0], (0..100).collect(), vec![]] {
            let expected: Vec<f32> = rows.iter().map(|&row| row as f32).collect();
            assert_eq!(gathered(&blocks, &rows), expected);
        }
        assert!(blocks.failure().is_none());
    }

    #[test]
    fn one_group_has_the_order_of_rows_in_memory() {
        let train: Vec<usize> = (0..100).filter(|row| row % 7 != 0).collect();
        let expected = permutation(train.len(), 5, 3).into_iter().map(|at| train[at as usize]);
        assert!(blocks(10, None).order(&train, 5, 3).into_iter().eq(expected));
    }

    #[test]
    fn an_order_visits_every_row_once_a_group_at_a_time() {
        let train: Vec<usize> = (0..100).filter(|row| row % 7 != 0).collect();
        let blocks = blocks(2, None);
        let order = blocks.order(&train, 1, 1);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, train);
        assert_eq!(blocks.groups(), 5);
        let groups: Vec<usize> = order.iter().map(|row| row / 10).collect();
        for part in groups.chunk_by(|a, b| a == b) {
            assert!(part.len() < 10, "rows of two blocks are mixed: {groups:?}");
        }
        assert_eq!(order, blocks.order(&train, 1, 1));
        assert_ne!(order, blocks.order(&train, 1, 2));
        assert_eq!(gathered(&blocks, &order), order.iter().map(|&r| r as f32).collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be_read_is_told_once_it_is_needed() {
        let blocks = blocks(1, Some(4));
        assert_eq!(gathered(&blocks, &[35]), [35.0]);
        assert!(blocks.failure().is_none());
        assert_eq!(gathered(&blocks, &[45]), [0.0]);
        assert!(matches!(blocks.failure().as_deref(), Some(DataError::NoRows)));
    }
}
