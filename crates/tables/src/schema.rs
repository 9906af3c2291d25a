//! The part that each column of a table takes in learning.

use fireclay_model::{Boolean, DateFormat, NumberEncoding, TextEncoding};

use crate::kind::{Kind, Profile};
use crate::options::{Others, TableOptions, TableTask};
use crate::table::{Column, Table};
use crate::{TableError, targets};

/// The columns of a table: what each holds, and the part that it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    columns: Vec<PlannedColumn>,
    task: TableTask,
    targets: Vec<String>,
    numbers: NumberEncoding,
    one_hot: usize,
    texts: TextEncoding,
}

/// A column, and the part that it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedColumn {
    /// What its cells have in common; the kind is the one it is used as.
    pub profile: Profile,
    /// Its part.
    pub part: ColumnPart,
}

/// The part that a column takes in learning.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnPart {
    /// The network sees it.
    Feature,
    /// The network sees the parts of its dates, which are written so.
    Date(DateFormat),
    /// The network sees it as numbers in the order of these categories.
    Ordered(Vec<String>),
    /// It is learned.
    Target,
    /// Its equal values are never in two splits; the network does not see it.
    Group,
    /// Each row counts as much as it says; the network does not see it.
    Weight,
    /// It is left out as it was asked.
    Dropped,
    /// It is left out because of its kind.
    Unused,
}

/// The most different values of a category that is one-hot by default: as wide as the smallest layers.
const ONE_HOT: usize = 32;

impl ColumnPart {
    /// Returns true if the network sees the column.
    pub fn is_feature(&self) -> bool {
        matches!(self, Self::Feature | Self::Ordered(_) | Self::Date(_))
    }
}

impl Schema {
    /// Infers the kind of each column, and gives each its part.
    ///
    /// # Errors
    ///
    /// A column that is not there, or is named twice; targets whose task is not clear.
    pub fn of(table: &Table, options: &TableOptions) -> Result<Self, TableError> {
        let schema = Self::planned(table, options)?;
        if schema.features().next().is_none() {
            return Err(TableError::NoFeatures);
        }
        Ok(schema)
    }

    /// The same for rows whose features come from elsewhere: no column is a feature.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn of_targets(table: &Table, options: &TableOptions) -> Result<Self, TableError> {
        let mut schema = Self::planned(table, options)?;
        let features = schema.columns.iter_mut().filter(|column| column.part.is_feature());
        features.for_each(|column| column.part = ColumnPart::Dropped);
        Ok(schema)
    }

    fn planned(table: &Table, options: &TableOptions) -> Result<Self, TableError> {
        let named = check_options(table, options)?;
        check_cells(table, options)?;
        let profiles: Vec<Profile> = table.columns().iter().map(Profile::of).collect();
        let targets = options.target.clone();
        let of_targets = targets
            .iter()
            .filter_map(|target| profiles.iter().find(|profile| profile.name == *target));
        let task = targets::task(&of_targets.collect::<Vec<_>>(), options.task)?;
        let columns = profiles.into_iter().map(|profile| {
            let is_other = !named.contains(&profile.name);
            match options.others {
                Others::Drop if is_other => {
                    Ok(PlannedColumn { profile, part: ColumnPart::Dropped })
                }
                Others::Refuse if is_other => Err(TableError::NotInSchema { name: profile.name }),
                _ => planned(profile, options),
            }
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let numbers = options.numbers.unwrap_or_default();
        let one_hot = options.one_hot.unwrap_or(ONE_HOT);
        let texts = options.texts.clone().unwrap_or_default();
        texts.validate()?;
        Ok(Self { columns, task, targets, numbers, one_hot, texts })
    }

    /// All columns, in the order of the file.
    pub fn columns(&self) -> &[PlannedColumn] {
        &self.columns
    }

    /// The columns that the network sees, in the order of the file.
    pub fn features(&self) -> impl Iterator<Item = &PlannedColumn> {
        self.columns.iter().filter(|column| column.part.is_feature())
    }

    /// The most different values of a category that is one-hot.
    pub(crate) fn one_hot(&self) -> usize {
        self.one_hot
    }

    /// The encoding of texts.
    pub(crate) fn texts(&self) -> &TextEncoding {
        &self.texts
    }

    /// The encoding of numbers.
    pub(crate) fn numbers(&self) -> NumberEncoding {
        self.numbers
    }

    /// The kind of prediction.
    pub fn task(&self) -> TableTask {
        self.task
    }

    /// The names of the target columns.
    pub fn targets(&self) -> &[String] {
        &self.targets
    }
}

/// Checks that every column that a person names is there, and is named for one part; returns them.
fn check_options(table: &Table, options: &TableOptions) -> Result<Vec<String>, TableError> {
    if options.target.is_empty() {
        return Err(TableError::NoTarget { columns: table.names() });
    }
    let group: Vec<String> = options.group.iter().cloned().collect();
    let weight: Vec<String> = options.weight.iter().cloned().collect();
    let ordered = options.ordered.iter().map(|given| Ok(order(given)?.0));
    let ordered = ordered.collect::<Result<Vec<String>, TableError>>()?;
    let dates: Vec<String> = options.date.iter().map(|given| dated(given).0.to_owned()).collect();
    let parts: [(&'static str, &[String]); 10] = [
        ("--target", &options.target),
        ("--numeric", &options.numeric),
        ("--boolean", &options.boolean),
        ("--categorical", &options.categorical),
        ("--date", &dates),
        ("--text", &options.text),
        ("--ordered", &ordered),
        ("--drop", &options.drop),
        ("--group", &group),
        ("--weight", &weight),
    ];
    let mut seen: Vec<(&str, &'static str)> = Vec::new();
    for (flag, names) in parts {
        for name in names {
            table.column(name)?;
            if let Some((_, first)) = seen.iter().find(|(other, _)| other == name) {
                return Err(TableError::TwoKinds { name: name.clone(), first, second: flag });
            }
            seen.push((name, flag));
        }
    }
    options.time.iter().try_for_each(|name| table.column(name).map(drop))?;
    let named = parts.iter().flat_map(|(_, names)| names.iter()).chain(&options.time);
    Ok(named.cloned().collect())
}

/// Checks that the cells of columns with truth values, or with an order, are such.
fn check_cells(table: &Table, options: &TableOptions) -> Result<(), TableError> {
    for name in &options.boolean {
        if let Some((row, found)) = first_cell(table, name, |cell| Boolean::parse(cell).is_none())?
        {
            return Err(TableError::NotABoolean { name: name.clone(), row, found });
        }
    }
    for given in &options.ordered {
        let (name, order) = order(given)?;
        let is_elsewhere = |cell: &str| !order.iter().any(|value| value == cell);
        if let Some((row, found)) = first_cell(table, &name, is_elsewhere)? {
            return Err(TableError::NotInOrder { name, row, found });
        }
    }
    Ok(())
}

/// The first value of a column with a property, and its row from 1.
fn first_cell(
    table: &Table,
    name: &str,
    has: impl Fn(&str) -> bool,
) -> Result<Option<(usize, String)>, TableError> {
    let cells = table.column(name)?.cells.iter();
    let texts = cells.map(|cell| (!cell.is_missing()).then(|| cell.text().trim().to_owned()));
    let found = texts.enumerate().find(|(_, text)| text.as_deref().is_some_and(&has));
    Ok(found.map(|(row, text)| (row + 1, text.unwrap_or_default())))
}

/// The column of `column` or `column=format`, and the format.
fn dated(given: &str) -> (&str, Option<DateFormat>) {
    let split = given.rsplit_once('=');
    let found = split.and_then(|(name, format)| Some((name, format.parse().ok()?)));
    found.map_or((given, None), |(name, format)| (name, Some(format)))
}

/// The column and the categories of `column=low<middle<high`.
fn order(given: &str) -> Result<(String, Vec<String>), TableError> {
    let (name, values) =
        given.split_once('=').ok_or_else(|| TableError::BadOrder { given: given.to_owned() })?;
    let values: Vec<String> = values.split('<').map(|value| value.trim().to_owned()).collect();
    let is_distinct = values.iter().enumerate().all(|(i, value)| !values[..i].contains(value));
    if values.len() < 2 || !is_distinct || values.iter().any(String::is_empty) {
        return Err(TableError::BadOrder { given: given.to_owned() });
    }
    Ok((name.trim().to_owned(), values))
}

fn planned(mut profile: Profile, options: &TableOptions) -> Result<PlannedColumn, TableError> {
    let name = &profile.name;
    for given in &options.ordered {
        let (column, values) = order(given)?;
        if column == *name {
            profile.kind = Kind::Category;
            return Ok(PlannedColumn { profile, part: ColumnPart::Ordered(values) });
        }
    }
    let date = options.date.iter().map(|given| dated(given)).find(|(column, _)| column == name);
    let forced = [
        (&options.numeric, Kind::Number),
        (&options.boolean, Kind::Boolean),
        (&options.categorical, Kind::Category),
        (&options.text, Kind::Text),
    ];
    let forced = forced.into_iter().find(|(names, _)| names.contains(name));
    let forced = forced.map(|(_, kind)| kind).or(date.map(|_| Kind::Date));
    let format = date.and_then(|(_, format)| format).or(options.date_format);
    let part = if options.target.contains(name) {
        ColumnPart::Target
    } else if options.group.as_ref() == Some(name) {
        ColumnPart::Group
    } else if options.weight.as_ref() == Some(name) {
        ColumnPart::Weight
    } else if options.drop.contains(name) {
        ColumnPart::Dropped
    } else if let Some(kind) = forced {
        check_numeric(&profile, kind)?;
        profile.kind = kind;
        feature(&profile, format, options)?
    } else if profile.kind.is_feature() {
        feature(&profile, format, options)?
    } else {
        ColumnPart::Unused
    };
    Ok(PlannedColumn { profile, part })
}

/// The part of a column that is not left out, by its kind.
fn feature(
    profile: &Profile,
    format: Option<DateFormat>,
    options: &TableOptions,
) -> Result<ColumnPart, TableError> {
    match profile.kind {
        Kind::Date => date_format(profile, format).map(ColumnPart::Date),
        Kind::Text if options.texts.is_none() => Ok(ColumnPart::Unused),
        kind if kind.is_feature() => Ok(ColumnPart::Feature),
        _ => Ok(ColumnPart::Unused),
    }
}

/// How the dates of a column are written: the format that is given, or else the only one in which all
/// can be read.
fn date_format(profile: &Profile, given: Option<DateFormat>) -> Result<DateFormat, TableError> {
    let formats = profile.formats();
    match (given, &formats[..]) {
        (Some(given), formats) if formats.contains(&given) || given == DateFormat::Compact => {
            Ok(given)
        }
        (None, [only]) => Ok(*only),
        (given, _) => Err(TableError::UnclearDates {
            name: profile.name.clone(),
            example: profile.examples.first().cloned().unwrap_or_default(),
            given,
        }),
    }
}

/// Refuses words in a column of `--numeric`.
fn check_numeric(profile: &Profile, kind: Kind) -> Result<(), TableError> {
    match (&profile.first_word, kind) {
        (Some((row, found)), Kind::Number) => Err(TableError::NotANumber {
            name: profile.name.clone(),
            row: row + 1,
            found: found.clone(),
            is_target: false,
        }),
        _ => Ok(()),
    }
}

impl PlannedColumn {
    /// The column of the table.
    pub(crate) fn column<'a>(&self, table: &'a Table) -> Result<&'a Column, TableError> {
        table.column(&self.profile.name)
    }
}
