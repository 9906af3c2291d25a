//! What is doubtful about a table before anything is learned from it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use fireclay_terminal::{counted, names, printable};

use crate::kind::{Kind, Profile};
use crate::schema::{ColumnPart, PlannedColumn, Schema};
use crate::table::{Cells, Table};
use crate::targets::TableTargets;

/// The rows of each split.
#[derive(Clone, Copy, Debug)]
pub struct SplitRows<'a> {
    /// Rows that train.
    pub train: &'a [usize],
    /// Rows that validate.
    pub validation: &'a [usize],
    /// Rows for the final test.
    pub test: &'a [usize],
}

/// Something doubtful about a table; each says what to do about it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Doubt {
    /// Values are infinite.
    #[error(
        "column {} has {}; remove these rows, or leave it out with --drop",
        named(name),
        counted(*count as u64, "infinite value")
    )]
    Infinite {
        /// The column.
        name: String,
        /// Infinite values.
        count: usize,
    },
    /// A column is not used because of its kind.
    #[error("column {} is {}", named(name), unused(*kind))]
    Unused {
        /// The column.
        name: String,
        /// Its kind.
        kind: Kind,
    },
    /// Two features are the same.
    #[error(
        "columns {} and {} have the same values; leave one out with --drop",
        named(first),
        named(second)
    )]
    Duplicates {
        /// The first of them.
        first: String,
        /// The second.
        second: String,
    },
    /// A feature nearly is the target.
    #[error(
        "column {} nearly determines the target {}; if it is not known before the target is, leave it \
         out with --drop",
        named(name),
        named(target)
    )]
    Leak {
        /// The column.
        name: String,
        /// The target.
        target: String,
    },
    /// Most values of a column of texts are numbers.
    #[error(
        "column {} has {} and {}, such as {example:?}; mend these cells, or empty them",
        named(name),
        counted(*numbers as u64, "number"),
        counted(*words as u64, "other text")
    )]
    NumbersAsText {
        /// The column.
        name: String,
        /// Values that are numbers.
        numbers: usize,
        /// Values that are not.
        words: usize,
        /// One of them.
        example: String,
    },
    /// Numbers have commas or signs.
    #[error(
        "column {} has numbers such as {example:?}; write them with a decimal point and without other \
         signs",
        named(name)
    )]
    FormattedNumbers {
        /// The column.
        name: String,
        /// One of them.
        example: String,
    },
    /// Dates are written in several ways.
    #[error("column {} has dates in several formats; write all as in 2024-12-31", named(name))]
    MixedDates {
        /// The column.
        name: String,
    },
    /// Labels occur once.
    #[error("labels that occur once: {} ({}); no model can learn from one row", counted(*count as u64, "label"), names(labels, 5))]
    SingleLabels {
        /// How many there are.
        count: usize,
        /// The labels.
        labels: Vec<String>,
    },
    /// One label is much more frequent than another.
    #[error(
        "label {} has {} and label {} has {least}; consider --class-weights balanced",
        named(frequent),
        counted(*most as u64, "row"),
        named(rare)
    )]
    Imbalance {
        /// The most frequent label.
        frequent: String,
        /// Its rows.
        most: usize,
        /// The rarest label.
        rare: String,
        /// Its rows.
        least: usize,
    },
    /// Rows are in two splits.
    #[error(
        "{split} rows that are training rows too, features and target: {count} of {of}; remove repeated \
         rows, or keep them in one split with --group"
    )]
    Repeated {
        /// Rows that are.
        count: usize,
        /// Rows of the split.
        of: usize,
        /// The split.
        split: &'static str,
    },
}

fn named(name: &str) -> String {
    format!("`{}`", printable(name, 40))
}

fn unused(kind: Kind) -> &'static str {
    match kind {
        Kind::Identifier => {
            "different in each row, as identifiers are, and left out; to use it, name it with \
             --numeric or --categorical"
        }
        Kind::Constant => "the same in each row, and left out",
        Kind::Empty => "empty, and left out",
        _ => "text, and left out",
    }
}

/// How much more frequent than the rarest a label is before that is doubtful.
const IMBALANCE: usize = 20;
/// Correlation with the target from which on a feature is doubtful.
const CORRELATION: f64 = 0.999;
/// Rows that a leak is looked for in: more would say the same.
const MOST_ROWS: usize = 20_000;
/// Rows from which on a perfect separation is no chance.
const FEWEST_ROWS: usize = 50;

/// Finds what is doubtful about a table, of which `targets` are those of the training rows.
pub fn doubts(
    table: &Table,
    schema: &Schema,
    splits: SplitRows<'_>,
    targets: &TableTargets,
) -> Vec<Doubt> {
    let mut found: Vec<Doubt> = schema.columns().iter().flat_map(of_column).collect();
    found.extend(duplicates(table, schema));
    found.extend(leaks(table, schema, splits.train, targets));
    found.extend(of_labels(targets));
    // Features that come from elsewhere are not known here.
    if schema.features().next().is_some() {
        found.extend(repeated(table, schema, splits));
    }
    found
}

fn of_column(column: &PlannedColumn) -> Vec<Doubt> {
    let PlannedColumn { profile, part } = column;
    let name = profile.name.clone();
    let mut found = Vec::new();
    if *part == ColumnPart::Dropped {
        return found;
    }
    if profile.infinite > 0 {
        found.push(Doubt::Infinite { name: name.clone(), count: profile.infinite });
    }
    let Profile { numbers, formatted, .. } = *profile;
    let words = profile.present() - numbers - profile.infinite;
    let is_text = !matches!(profile.kind, Kind::Number | Kind::Boolean | Kind::Date);
    let example = profile.first_word.as_ref().map(|(_, word)| printable(word, 40));
    match example {
        Some(example) if is_text && words > 0 && numbers + formatted > 9 * (words - formatted) => {
            found.push(if formatted == words {
                Doubt::FormattedNumbers { name: name.clone(), example }
            } else {
                Doubt::NumbersAsText { name: name.clone(), numbers, words, example }
            });
        }
        _ => {}
    }
    if profile.dates == profile.present() && profile.dates > 0 && profile.formats().is_empty() {
        found.push(Doubt::MixedDates { name: name.clone() });
    }
    if *part == ColumnPart::Unused {
        found.push(Doubt::Unused { name, kind: profile.kind });
    }
    found
}

/// Features with the same cells as one before them.
fn duplicates(table: &Table, schema: &Schema) -> Vec<Doubt> {
    let mut seen: HashMap<u64, Vec<(&str, &Cells)>> = HashMap::new();
    let mut found = Vec::new();
    for planned in schema.features() {
        let Ok(column) = planned.column(table) else { continue };
        let mut hasher = DefaultHasher::new();
        column.cells.iter().for_each(|cell| cell.text().hash(&mut hasher));
        let alike = seen.entry(hasher.finish()).or_default();
        let first = alike.iter().find(|(_, cells)| **cells == column.cells);
        if let Some((first, _)) = first {
            let (first, second) = ((*first).to_owned(), column.name.clone());
            found.push(Doubt::Duplicates { first, second });
        } else {
            alike.push((&column.name, &column.cells));
        }
    }
    found
}

/// Features that nearly determine the only target.
fn leaks(table: &Table, schema: &Schema, rows: &[usize], targets: &TableTargets) -> Vec<Doubt> {
    let [target] = schema.targets() else { return Vec::new() };
    let rows = &rows[..rows.len().min(MOST_ROWS)];
    if rows.len() < FEWEST_ROWS {
        return Vec::new();
    }
    let features = schema.features().filter_map(|planned| planned.column(table).ok());
    let leaking = features.filter(|column| {
        let numbers: Vec<Option<f64>> =
            rows.iter().map(|&row| column.cells.get(row).number()).collect();
        match targets {
            TableTargets::Values { values } => is_linear(&numbers, values),
            TableTargets::Classes { ids, .. } if numbers.iter().all(Option::is_some) => {
                separates(&numbers, ids)
            }
            TableTargets::Classes { ids, .. } => {
                let texts: Vec<_> = rows.iter().map(|&row| column.cells.get(row).text()).collect();
                determines(&texts, ids)
            }
            TableTargets::MultiLabel { .. } => false,
        }
    });
    leaking
        .map(|column| Doubt::Leak { name: column.name.clone(), target: target.clone() })
        .collect()
}

/// Returns true if numbers and targets lie on a line, as far as there are numbers.
fn is_linear(numbers: &[Option<f64>], targets: &[f32]) -> bool {
    let pairs = numbers.iter().zip(targets);
    let pairs: Vec<(f64, f64)> =
        pairs.filter_map(|(number, &target)| Some(((*number)?, f64::from(target)))).collect();
    if pairs.len() < FEWEST_ROWS {
        return false;
    }
    let count = pairs.len() as f64;
    let mean = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    let mean = (mean.0 / count, mean.1 / count);
    let mut sums = [0.0; 3];
    for (x, y) in pairs {
        let (x, y) = (x - mean.0, y - mean.1);
        sums[0] += x * x;
        sums[1] += y * y;
        sums[2] += x * y;
    }
    sums[2].abs() >= CORRELATION * (sums[0] * sums[1]).sqrt() && sums[2] != 0.0
}

/// Returns true if the classes follow each other along the numbers without overlap.
fn separates(numbers: &[Option<f64>], ids: &[u32]) -> bool {
    let mut pairs: Vec<(f64, u32)> =
        numbers.iter().zip(ids).filter_map(|(number, &id)| Some(((*number)?, id))).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let classes = pairs.iter().map(|pair| pair.1).collect::<std::collections::BTreeSet<_>>().len();
    let overlaps = pairs.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1);
    let changes = pairs.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    classes > 1 && !overlaps && changes + 1 == classes
}

/// Returns true if each text is of one class, and texts recur.
fn determines(texts: &[std::borrow::Cow<'_, str>], ids: &[u32]) -> bool {
    let mut classes: HashMap<&str, u32> = HashMap::new();
    for (text, &id) in texts.iter().zip(ids) {
        if *classes.entry(text).or_insert(id) != id {
            return false;
        }
    }
    let distinct = classes.values().collect::<std::collections::BTreeSet<_>>().len();
    distinct > 1 && classes.len() * 10 <= texts.len()
}

/// Labels that are too rare.
fn of_labels(targets: &TableTargets) -> Vec<Doubt> {
    let TableTargets::Classes { ids, labels } = targets else { return Vec::new() };
    let mut counts = vec![0; labels.len()];
    ids.iter().for_each(|&id| counts[id as usize] += 1);
    let single = labels.iter().zip(&counts).filter(|(_, count)| **count == 1);
    let single: Vec<String> = single.map(|(label, _)| label.clone()).collect();
    let mut found = Vec::new();
    if !single.is_empty() {
        found.push(Doubt::SingleLabels { count: single.len(), labels: single });
    }
    let present = labels.iter().zip(&counts).filter(|(_, count)| **count > 0);
    let (most, least) =
        (present.clone().max_by_key(|pair| pair.1), present.min_by_key(|pair| pair.1));
    if let (Some((frequent, &most)), Some((rare, &least))) = (most, least)
        && most >= IMBALANCE * least
    {
        let (frequent, rare) = (frequent.clone(), rare.clone());
        found.push(Doubt::Imbalance { frequent, most, rare, least });
    }
    found
}

/// Rows of validation and test that are training rows too.
fn repeated(table: &Table, schema: &Schema, splits: SplitRows<'_>) -> Vec<Doubt> {
    let is_seen =
        |column: &&PlannedColumn| column.part.is_feature() || column.part == ColumnPart::Target;
    let columns = schema.columns().iter().filter(is_seen).filter_map(|c| c.column(table).ok());
    let cells: Vec<&Cells> = columns.map(|column| &column.cells).collect();
    let known: std::collections::HashSet<u64> =
        splits.train.iter().map(|&row| row_hash(&cells, row)).collect();
    let parts = [("validation", splits.validation), ("test", splits.test)];
    let counted = parts.into_iter().map(|(split, rows)| {
        let count = rows.iter().filter(|&&row| known.contains(&row_hash(&cells, row))).count();
        Doubt::Repeated { count, of: rows.len(), split }
    });
    counted.filter(|doubt| !matches!(doubt, Doubt::Repeated { count: 0, .. })).collect()
}

fn row_hash(columns: &[&Cells], row: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    columns.iter().for_each(|cells| cells.get(row).text().hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TableOptions;
    use crate::read::from_bytes;
    use crate::targets::targets_of;

    /// The doubts about a table of 60 rows, the last third for validation and test.
    fn found(heading: &str, row: impl Fn(usize) -> String, target: &str) -> Vec<String> {
        let rows: String = (0..60).map(|i| row(i) + "\n").collect();
        let table = from_bytes(format!("{heading}\n{rows}").as_bytes()).unwrap().table;
        let options = TableOptions { target: vec![target.to_owned()], ..TableOptions::default() };
        let schema = Schema::of(&table, &options).unwrap();
        let all: Vec<usize> = (0..60).collect();
        let splits = SplitRows { train: &all[..52], validation: &all[52..56], test: &all[56..] };
        let targets = targets_of(&table, schema.targets(), schema.task(), splits.train).unwrap();
        doubts(&table, &schema, splits, &targets).iter().map(ToString::to_string).collect()
    }

    fn one(found: &[String], expected: &str) {
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }

    #[test]
    fn a_sound_table_has_none() {
        let row =
            |i: usize| format!("{},{},{}", (i * 7919) % 101, ["x", "y"][i % 2], (i * 31) % 47);
        assert_eq!(found("a,b,t", row, "t"), Vec::<String>::new());
    }

    #[test]
    fn columns_are_named_with_a_remedy() {
        let y = |i: usize| (i * 31) % 47;
        let x = |i: usize| (i * 7919) % 101;
        one(
            &found("a,b,t", |i| format!("{},inf,{}", x(i), y(i)), "t")[..1],
            "`b` has 60 infinite values",
        );
        one(
            &found("a,b,t", |i| format!("{},7,{}", x(i), y(i)), "t"),
            "`b` is the same in each row",
        );
        one(&found("a,b,t", |i| format!("{},u{i},{}", x(i), y(i)), "t"), "as identifiers are");
        let same = |i| format!("{},{},{}", x(i), x(i), y(i));
        one(&found("a,b,t", same, "t"), "`a` and `b` have the same values");
        let leak = |i| format!("{},{},{}", x(i), 3 * y(i) + 1, y(i));
        one(&found("a,b,t", leak, "t"), "`b` nearly determines the target `t`");
        let words = |i| {
            format!(
                "{},{},{}",
                x(i),
                if i == 9 { "none".to_owned() } else { (i % 30).to_string() },
                y(i)
            )
        };
        one(&found("a,b,t", words, "t"), "`b` has 59 numbers and 1 other text, such as \"none\"");
        let comma = |i| format!("{},\"{},5\",{}", x(i), i % 30, y(i));
        one(&found("a,b,t", comma, "t"), "`b` has numbers such as \"0,5\"");
        let mixed = |i: usize| {
            format!("{},{},{}", x(i), ["2024-01-02", "1/2/2024", "2024-02-03"][i % 3], y(i))
        };
        one(&found("a,b,t", mixed, "t"), "`b` has dates in several formats");
    }

    #[test]
    fn labels_and_rows_are_counted() {
        let x = |i: usize| (i * 7919) % 101;
        let single =
            |i: usize| format!("{},{}", x(i), if i == 3 { "c" } else { ["a", "b"][i % 2] });
        let about = found("a,t", single, "t");
        assert!(about.iter().any(|doubt| doubt.contains("occur once: 1 label (c)")), "{about:?}");
        assert!(about.iter().any(|doubt| doubt.contains("--class-weights balanced")), "{about:?}");
        let again = |i: usize| format!("{},{}", x(i % 52), ["a", "b"][i % 2]);
        let about = found("a,t", again, "t");
        assert!(
            about.iter().any(|doubt| doubt
                .starts_with("test rows that are training rows too, features and target: 4 of 4")),
            "{about:?}"
        );
        let separated = |i: usize| format!("{},{}", i * i, if i < 30 { "low" } else { "high" });
        one(&found("a,t", separated, "t"), "`a` nearly determines");
    }
}
