//! Which rows of a table train, validate and test.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use fireclay_tables::{Table, TableError, TableOptions, number};

use super::TableSource;
use crate::order::{generator, shuffled};
use crate::split::{TEST, VALIDATION, held_out};
use crate::{DataError, Holdout, Targets};

/// The rows of a table for each purpose, each in ascending order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parts {
    pub(super) train: Vec<usize>,
    pub(super) validation: Vec<usize>,
    pub(super) test: Vec<usize>,
}

/// The rows for the final test.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TestRows {
    /// Some of the table's own.
    Own(Holdout),
    /// Those of another file.
    File(PathBuf),
    /// Those with one of these values in a column.
    Values { column: String, values: Vec<String> },
    /// One of several folds, from 0, of which every row is in one.
    Fold { fold: usize, of: usize },
}

/// The share of rows for the test, if nobody says: scikit-learn's examples and most published splits
/// of tables have it.
const TEST_SHARE: f64 = 0.2;

impl TestRows {
    /// Reads what a person typed: a share, a number of rows, a file, or values of a column; or the fold
    /// of a cross-validation.
    pub(super) fn parse(options: &TableOptions) -> Result<Self, DataError> {
        if let Some(fold) = &options.fold {
            return Self::fold(fold).ok_or_else(|| DataError::BadFold { given: fold.clone() });
        }
        let Some(text) = options.test.as_deref() else {
            return Ok(Self::Own(Holdout::Fraction(TEST_SHARE)));
        };
        if let Ok(count) = text.parse::<usize>()
            && count > 0
        {
            return Ok(Self::Own(Holdout::Count(count)));
        }
        match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 => Ok(Self::Own(Holdout::Fraction(share))),
            Ok(_) => Err(DataError::BadTest { given: text.to_owned() }),
            Err(_) if Path::new(text).exists() => Ok(Self::File(text.into())),
            Err(_) => {
                Self::values(text).ok_or_else(|| DataError::BadTest { given: text.to_owned() })
            }
        }
    }

    /// Reads values of a column such as `split=test` or `speaker=ann,bob`.
    fn values(text: &str) -> Option<Self> {
        let (column, values) = text.split_once('=')?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        (!column.is_empty()).then(|| Self::Values { column: column.trim().to_owned(), values })
    }

    /// The column whose values choose the rows, if one does.
    pub(super) fn column(&self) -> Option<&String> {
        match self {
            Self::Values { column, .. } => Some(column),
            _ => None,
        }
    }
}

impl TestRows {
    /// Reads a fold such as `2/5`.
    fn fold(text: &str) -> Option<Self> {
        let (fold, of) = text.split_once('/')?;
        let (fold, of): (usize, usize) = (fold.parse().ok()?, of.parse().ok()?);
        (of >= 2 && (1..=of).contains(&fold)).then(|| Self::Fold { fold: fold - 1, of })
    }
}

impl Parts {
    /// The rows that training knows: those that train and those that validate.
    pub(super) fn of_learning(&self) -> Vec<usize> {
        let mut rows = [&self.train[..], &self.validation].concat();
        rows.sort_unstable();
        rows
    }

    /// Number of [`of_learning`](Self::of_learning).
    pub(super) fn learned(&self) -> usize {
        self.train.len() + self.validation.len()
    }

    /// The places of the validation rows among those of learning.
    pub(super) fn validation_places(&self) -> Vec<usize> {
        let rows = self.of_learning();
        let places = self.validation.iter().map(|row| rows.partition_point(|other| other < row));
        places.collect()
    }

    /// All rows.
    pub(super) fn all(&self) -> Vec<usize> {
        [self.of_learning(), self.test.clone()].concat()
    }

    /// The targets of the rows of learning, or of the test; `targets` are those of `rows`.
    pub(super) fn targets(&self, targets: &Targets, rows: &[usize], of_test: bool) -> Targets {
        let wanted = if of_test { self.test.clone() } else { self.of_learning() };
        let places = wanted.iter().map(|row| rows.partition_point(|other| other < row));
        targets.of_rows(&places.collect::<Vec<_>>())
    }
}

/// Divides `rows` of a table, whose targets are `targets`; those from `first` on are of the file for
/// the test, if there is one.
pub(super) fn divide(
    table: &Table,
    rows: &[usize],
    targets: &Targets,
    first: usize,
    test: &TestRows,
    source: &TableSource,
) -> Result<Parts, DataError> {
    let chooser = Chooser::new(table, rows, targets, source)?;
    let (known, test) = match test {
        TestRows::File(_) => {
            let (known, test): (Vec<usize>, Vec<usize>) =
                (0..rows.len()).partition(|&place| rows[place] < first);
            (known, test)
        }
        TestRows::Values { column, values } => {
            with_values(table, rows, column, values, &source.path)?
        }
        TestRows::Fold { fold, of } => chooser.fold(rows.len(), *fold, *of)?,
        TestRows::Own(holdout) => chooser.hold_out((0..rows.len()).collect(), *holdout, TEST)?,
    };
    // Rows of another file may be elsewhere than in this table.
    if known.is_empty() {
        return Err(DataError::NoRows);
    }
    let holdout = source.division.validation.unwrap_or_else(|| Holdout::usual(known.len()));
    let (train, validation) = chooser.hold_out(known, holdout, VALIDATION)?;
    let of_table = |places: Vec<usize>| places.into_iter().map(|place| rows[place]).collect();
    Ok(Parts { train: of_table(train), validation: of_table(validation), test: of_table(test) })
}

/// The places of the rows that have none of these values in a column, and of those that have one.
fn with_values(
    table: &Table,
    rows: &[usize],
    column: &str,
    values: &[String],
    path: &Path,
) -> Result<(Vec<usize>, Vec<usize>), DataError> {
    let cells = &table.column(column).map_err(DataError::table(path))?.cells;
    let (test, known): (Vec<usize>, Vec<usize>) = (0..rows.len())
        .partition(|&place| values.iter().any(|value| *value == cells.get(rows[place]).text()));
    if test.is_empty() || known.is_empty() {
        let (column, values) = (column.to_owned(), values.to_vec());
        return Err(DataError::TestValues { column, values, found: test.len(), rows: rows.len() });
    }
    Ok((known, test))
}

/// How rows are chosen, by their places among those that have a target.
enum Chooser<'a> {
    /// At random.
    Random { seed: u64 },
    /// At random, of each class in proportion.
    Stratified { ids: &'a [u32], classes: usize, seed: u64 },
    /// Groups at random, by the group of each row.
    Groups { groups: Vec<u32>, seed: u64 },
    /// The latest, by the rank of each row in time.
    Latest { ranks: Vec<usize> },
}

impl<'a> Chooser<'a> {
    fn new(
        table: &Table,
        rows: &[usize],
        targets: &'a Targets,
        source: &TableSource,
    ) -> Result<Self, DataError> {
        let seed = source.division.seed;
        let of_table = DataError::table(&source.path);
        let (group, time) = (source.options.group.as_deref(), source.options.time.as_deref());
        match (group, time, source.division.is_stratified, targets) {
            (Some(_), Some(_), ..) => {
                Err(DataError::TwoDivisions { first: "--group", second: "--time" })
            }
            (Some(_), _, true, _) => {
                Err(DataError::TwoDivisions { first: "--group", second: "--stratified" })
            }
            (_, Some(_), true, _) => {
                Err(DataError::TwoDivisions { first: "--time", second: "--stratified" })
            }
            (Some(group), None, ..) => {
                Ok(Self::Groups { groups: groups(table, group, rows).map_err(&of_table)?, seed })
            }
            (None, Some(time), ..) => {
                Ok(Self::Latest { ranks: ranks(table, time, rows).map_err(&of_table)? })
            }
            (None, None, true, Targets::Classes { ids, labels }) => {
                Ok(Self::Stratified { ids, classes: labels.len(), seed })
            }
            (None, None, true, _) => Err(DataError::NotClasses),
            (None, None, false, _) => Ok(Self::Random { seed }),
        }
    }

    /// The places that are kept and those that are held out, each in ascending order.
    fn hold_out(
        &self,
        places: Vec<usize>,
        holdout: Holdout,
        stream: u64,
    ) -> Result<(Vec<usize>, Vec<usize>), DataError> {
        let count = holdout.rows(places.len())?;
        let chosen: Vec<usize> = match self {
            Self::Random { seed } => {
                held_out(places.len(), holdout, None, &mut generator(*seed, stream))?
            }
            Self::Stratified { ids, classes, seed } => {
                let ids: Vec<u32> = places.iter().map(|&place| ids[place]).collect();
                let strata = Some((&ids[..], *classes));
                held_out(places.len(), holdout, strata, &mut generator(*seed, stream))?
            }
            Self::Groups { groups, seed } => {
                let groups: Vec<u32> = places.iter().map(|&place| groups[place]).collect();
                whole_groups(&groups, count, *seed, stream)?
            }
            Self::Latest { ranks } => {
                let mut order: Vec<usize> = (0..places.len()).collect();
                order.sort_by_key(|&at| ranks[places[at]]);
                order.split_off(places.len() - count)
            }
        };
        let mut is_held = vec![false; places.len()];
        chosen.into_iter().for_each(|at| is_held[at] = true);
        let (mut kept, mut held) = (Vec::new(), Vec::new());
        for (place, is_held) in places.into_iter().zip(is_held) {
            if is_held { held.push(place) } else { kept.push(place) }
        }
        Ok((kept, held))
    }
}

impl Chooser<'_> {
    /// The places that are in no fold but others, and those in this one, each in ascending order: every
    /// place is in one fold, and folds differ by one row, or one group, at most. Of classes and of
    /// time, a fold has its share.
    fn fold(
        &self,
        count: usize,
        fold: usize,
        of: usize,
    ) -> Result<(Vec<usize>, Vec<usize>), DataError> {
        let units = match self {
            Self::Groups { groups, .. } => groups.iter().max().map_or(0, |&last| last as usize + 1),
            _ => count,
        };
        if units < of {
            return Err(DataError::EmptyFold { of });
        }
        let is_in_fold = match self {
            Self::Random { seed } | Self::Stratified { seed, .. } => {
                let order = shuffled(count, &mut generator(*seed, TEST));
                let mut order: Vec<usize> = order.into_iter().map(|place| place as usize).collect();
                if let Self::Stratified { ids, .. } = self {
                    order.sort_by_key(|&place| ids[place]);
                }
                dealt(&order, fold, of)
            }
            Self::Groups { groups, seed } => {
                let order = shuffled(units, &mut generator(*seed, TEST));
                let order: Vec<usize> = order.into_iter().map(|group| group as usize).collect();
                let taken = dealt(&order, fold, of);
                groups.iter().map(|&group| taken[group as usize]).collect()
            }
            Self::Latest { .. } => {
                return Err(DataError::TwoDivisions { first: "--time", second: "--folds" });
            }
        };
        let (held, kept): (Vec<usize>, Vec<usize>) =
            (0..count).partition(|&place| is_in_fold[place]);
        Ok((kept, held))
    }
}

/// Which places get to a fold when all are dealt out in this order.
fn dealt(order: &[usize], fold: usize, of: usize) -> Vec<bool> {
    let mut is_in_fold = vec![false; order.len()];
    order.iter().skip(fold).step_by(of).for_each(|&place| is_in_fold[place] = true);
    is_in_fold
}

/// Whole groups in random order, until there are at least `count` rows; one group is left at least.
fn whole_groups(
    groups: &[u32],
    count: usize,
    seed: u64,
    stream: u64,
) -> Result<Vec<usize>, DataError> {
    let mut sizes: HashMap<u32, usize> = HashMap::new();
    groups.iter().for_each(|&group| *sizes.entry(group).or_default() += 1);
    let mut distinct: Vec<u32> = sizes.keys().copied().collect();
    distinct.sort_unstable();
    if distinct.len() < 2 && count > 0 {
        return Err(DataError::OneGroup);
    }
    let order = shuffled(distinct.len(), &mut generator(seed, stream));
    let (mut taken, mut rows) = (std::collections::HashSet::new(), 0);
    for &at in order.iter().take(distinct.len() - 1) {
        if rows >= count {
            break;
        }
        let group = distinct[at as usize];
        rows += sizes[&group];
        taken.insert(group);
    }
    Ok((0..groups.len()).filter(|&row| taken.contains(&groups[row])).collect())
}

/// The group of each row: rows with an equal cell have the same, and no value is a group too.
fn groups(table: &Table, column: &str, rows: &[usize]) -> Result<Vec<u32>, TableError> {
    let cells = &table.column(column)?.cells;
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let groups = rows.iter().map(|&row| {
        let next = numbers.len() as u32;
        *numbers.entry(cells.get(row).text().into_owned()).or_insert(next)
    });
    Ok(groups.collect())
}

/// The place of each row in time, by numbers, or else by texts, which ISO 8601 writes in their order;
/// equal ones keep the order of the file.
fn ranks(table: &Table, column: &str, rows: &[usize]) -> Result<Vec<usize>, TableError> {
    let cells = &table.column(column)?.cells;
    if let Some(&row) = rows.iter().find(|&&row| cells.get(row).is_missing()) {
        return Err(TableError::NoTime { name: column.to_owned(), row: row + 1 });
    }
    let texts: Vec<String> = rows.iter().map(|&row| cells.get(row).text().into_owned()).collect();
    let numbers: Option<Vec<f64>> = texts.iter().map(|text| number(text)).collect();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    match numbers {
        Some(numbers) => order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b])),
        None => order.sort_by(|&a, &b| texts[a].cmp(&texts[b])),
    }
    let mut ranks = vec![0; rows.len()];
    order.into_iter().enumerate().for_each(|(rank, at)| ranks[at] = rank);
    Ok(ranks)
}
