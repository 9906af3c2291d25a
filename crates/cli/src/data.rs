//! `fireclay data`: which data sets there are, and what is in one.

use anyhow::{Result, bail};
use fireclay_data::{Dataset, EmnistSplit, Features, Source, Targets, TrainTest};
use fireclay_terminal::{Exit, group, printable, quoted_path, row, say, sizes, table};
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

/// Classes, training rows and test rows of a published data set, and a description.
fn described(source: &Source) -> (Option<[u64; 3]>, &'static str) {
    match source {
        Source::Mnist => (Some([10, 60_000, 10_000]), "handwritten digits; built in"),
        Source::FashionMnist => (Some([10, 60_000, 10_000]), "articles of clothing"),
        Source::Kmnist => (Some([10, 60_000, 10_000]), "cursive Japanese characters"),
        Source::Emnist(EmnistSplit::Balanced) => {
            (Some([47, 112_800, 18_800]), "digits and letters")
        }
        Source::Emnist(EmnistSplit::Letters) => {
            (Some([26, 124_800, 20_800]), "letters, both cases as one")
        }
        Source::Emnist(EmnistSplit::Digits) => (Some([10, 240_000, 40_000]), "handwritten digits"),
        Source::Emnist(EmnistSplit::ByClass) => {
            (Some([62, 697_932, 116_323]), "digits, capitals, small letters")
        }
        Source::Emnist(EmnistSplit::ByMerge) => {
            (Some([47, 697_932, 116_323]), "the same, some cases as one")
        }
        Source::Emnist(EmnistSplit::Mnist) => (Some([10, 60_000, 10_000]), "handwritten digits"),
        Source::Qmnist => (Some([10, 60_000, 60_000]), "MNIST made again from its sources"),
        Source::Idx(_) => (None, "four IDX files in your folder"),
        Source::Table(_) => (None, "a table, such as rows.csv"),
        Source::Sounds(_) => (None, "recordings in your folder"),
    }
}

fn list(as_json: bool) -> Result<()> {
    let sources = Source::names().into_iter().map(|name| Ok((name.parse::<Source>()?, name)));
    let sources = sources.collect::<Result<Vec<_>>>()?;
    if as_json {
        let rows = sources.iter().map(|(source, name)| {
            let (sizes, what) = described(source);
            let [classes, train, test] = sizes.map_or([None; 3], |sizes| sizes.map(Some));
            json!({
                "name": name, "classes": classes, "training": train, "test": test, "what": what,
            })
        });
        return Ok(say_json(&rows.collect::<Vec<_>>())?);
    }
    let mut rows = vec![row!["name", "classes", "training", "test", "what"]];
    rows.extend(sources.iter().map(|(source, name)| {
        let (sizes, what) = described(source);
        let [classes, train, test] = sizes.map_or_else(Default::default, |sizes| sizes.map(group));
        vec![name.clone(), classes, train, test, what.to_owned()]
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
