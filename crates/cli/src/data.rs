//! `fireclay data`: which data sets there are, and what is in one.

use anyhow::{Result, bail};
use fireclay_data::{Dataset, EmnistSplit, Features, Source, Targets, TrainTest};
use fireclay_terminal::{Exit, group, printable, quoted_path, say, sizes, table};
use serde_json::{Value, json};

use crate::output::say_json;

const EXAMPLES: &str = "\
Examples:
  fireclay data list                       names, sizes and sources
  fireclay data show mnist                 rows, shape, classes and digests
  fireclay data fetch fashion-mnist        download now, for use offline
  fireclay data show idx:my-images --json";

/// List, show and download data sets.
#[derive(Debug, clap::Args)]
#[command(about = "List, show and download data sets", after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the named data sets.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show rows, shape, classes and digests of a data set, downloading it if necessary.
    Show {
        /// Name of the data set, as in --data of `train`.
        source: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Download a data set into the cache, and verify its published checksums.
    Fetch {
        /// Name of the data set, as in --data of `train`.
        source: String,
        #[arg(from_global)]
        quiet: bool,
    },
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    match &args.command {
        Command::List { json } => list(*json)?,
        Command::Show { source, json } => show(source, *json)?,
        Command::Fetch { source, quiet } => fetch(source, *quiet)?,
    }
    Ok(Exit::Done)
}

/// Classes, rows to train on, rows to test with, and what they are.
fn described(source: &Source) -> [&'static str; 4] {
    match source {
        Source::Mnist => ["10", "60,000", "10,000", "handwritten digits; built in"],
        Source::FashionMnist => ["10", "60,000", "10,000", "articles of clothing"],
        Source::Kmnist => ["10", "60,000", "10,000", "cursive Japanese characters"],
        Source::Emnist(split) => match split {
            EmnistSplit::Balanced => ["47", "112,800", "18,800", "digits and letters"],
            EmnistSplit::Letters => ["26", "124,800", "20,800", "letters, both cases as one"],
            EmnistSplit::Digits => ["10", "240,000", "40,000", "handwritten digits"],
            EmnistSplit::ByClass => ["62", "697,932", "116,323", "digits, capitals, small letters"],
            EmnistSplit::ByMerge => ["47", "697,932", "116,323", "the same, some cases as one"],
            EmnistSplit::Mnist => ["10", "60,000", "10,000", "handwritten digits"],
        },
        Source::Qmnist => ["10", "60,000", "60,000", "MNIST made again from its sources"],
        Source::Idx(_) => ["", "", "", "four IDX files in your folder"],
        Source::Table(_) => ["", "", "", "a table, such as rows.csv"],
    }
}

fn list(as_json: bool) -> Result<()> {
    let sources = Source::names().into_iter().map(|name| Ok((name.parse::<Source>()?, name)));
    let sources = sources.collect::<Result<Vec<_>>>()?;
    if as_json {
        let rows = sources.iter().map(|(source, name)| {
            let [classes, train, test, what] = described(source);
            let number = |text: &str| text.replace(',', "").parse::<u64>().ok();
            json!({
                "name": name, "classes": number(classes), "training": number(train),
                "test": number(test), "what": what,
            })
        });
        return Ok(say_json(&rows.collect::<Vec<_>>())?);
    }
    let mut rows =
        vec![["name", "classes", "training", "test", "what"].map(str::to_owned).to_vec()];
    rows.extend(sources.iter().map(|(source, name)| {
        let cells = described(source).into_iter().map(str::to_owned);
        std::iter::once(name.clone()).chain(cells).collect()
    }));
    Ok(say(&table(&rows))?)
}

fn fetch(name: &str, is_quiet: bool) -> Result<()> {
    let data = train::load_with_bar(&name.parse()?)?;
    if is_quiet {
        return Ok(());
    }
    let (train, test) = (group(data.train.len() as u64), group(data.test.len() as u64));
    Ok(say(&format!("{name} is here: {train} training and {test} test samples"))?)
}

fn show(name: &str, as_json: bool) -> Result<()> {
    let source: Source = name.parse()?;
    if let Source::Table(table) = &source {
        let path = quoted_path(&table.path);
        bail!(
            "a table has a target; show it with `fireclay train --data {path} --target COLUMN --check`"
        );
    }
    let TrainTest { train, test, .. } = train::load_with_bar(&source)?;
    if as_json {
        return Ok(say_json(&json!({
            "name": name,
            "shape": train.shape(),
            "features": kind(&train),
            "labels": train.targets().labels(),
            "training": summary(&train),
            "test": summary(&test),
        }))?);
    }
    let targets = match train.targets() {
        Targets::Classes { .. } => "classes",
        Targets::MultiLabel { .. } => "labels, any number a row",
        Targets::Values { .. } => "targets",
    };
    let heading = format!(
        "{name}: rows of {}, {}; {} {targets}",
        sizes(train.shape()),
        kind(&train),
        train.targets().labels().len(),
    );
    let head = [["", "training", "test"].map(str::to_owned).to_vec()];
    let rows = [["rows".to_owned(), group(train.len() as u64), group(test.len() as u64)].to_vec()];
    let (of_train, of_test) = (per_class(&train), per_class(&test));
    let classes = train
        .targets()
        .labels()
        .iter()
        .zip(of_train.iter().zip(&of_test))
        .map(|(label, (train, test))| vec![printable(label, 24), group(*train), group(*test)]);
    let rows: Vec<_> = head.into_iter().chain(rows).chain(classes).collect();
    let (rows, train, test) = (table(&rows), train.digest(), test.digest());
    Ok(say(&format!("{heading}\n{rows}training {train}\ntest     {test}"))?)
}

fn kind(data: &Dataset) -> &'static str {
    match data.features() {
        Features::Bytes(_) => "bytes",
        Features::Floats(_) | Features::Blocks(_) => "floats",
    }
}

fn summary(data: &Dataset) -> Value {
    json!({ "rows": data.len(), "per_class": per_class(data), "digest": data.digest() })
}

/// Rows of each class or label; nothing for regression.
fn per_class(data: &Dataset) -> Vec<u64> {
    let mut counts = vec![0; data.targets().labels().len()];
    match data.targets() {
        Targets::Classes { ids, .. } => ids.iter().for_each(|&id| counts[id as usize] += 1),
        Targets::MultiLabel { values, .. } => {
            for row in values.chunks_exact(counts.len()) {
                counts.iter_mut().zip(row).for_each(|(count, &value)| *count += u64::from(value));
            }
        }
        Targets::Values { .. } => counts.clear(),
    }
    counts
}
