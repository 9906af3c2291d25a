//! `cargo xtask bench-tuning`: how accurate a model gets by each way of fine-tuning.

mod pairs;
mod sets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::numbers::{between_marks, grouped, markdown};
use crate::process;
use pairs::{Pair, Side};

/// Compare strategies of fine-tuning by accuracy, and fill in docs/fine-tuning.md.
///
/// A model is trained on the first task of a pair and tuned to the second by every strategy, with all
/// rows and with few, for each seed. A fresh network trains on the same rows. The table compares the
/// test accuracy on the second task. Pairs come from the bundled MNIST, from Fashion-MNIST if present,
/// and from --pair. Three seeds take a quarter of an hour on an idle machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pairs of tasks: halves, others, writers, turned, fashion, and those of --pair [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pairs: Vec<String>,
    /// Further pair: a name, and the folders of IDX files of the old and the new task
    #[arg(long, value_name = "NAME=FOLDER,FOLDER")]
    pair: Vec<Own>,
    /// Folder of Fashion-MNIST; without it, its pair is skipped
    #[arg(long, value_name = "FOLDER", default_value = "/usr/share/datasets/fashion-mnist")]
    fashion: PathBuf,
    /// Strategies [default: those of the page]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = STRATEGIES.map(|strategy| strategy.name))]
    strategies: Vec<String>,
    /// Rows of the new task and epochs, each as ROWS:EPOCHS
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "1000:20,100:50,all:5,1000:5"
    )]
    sizes: Vec<Size>,
    /// Number of seeds, from 1
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Measure less: one seed, 1,000 rows, 5 epochs, two pairs
    #[arg(long)]
    quick: bool,
    /// Built `fireclay`; skips the build
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Print the table without writing it to docs/fine-tuning.md
    #[arg(long)]
    no_page: bool,
}

/// A way to get from one task to another.
struct Strategy {
    name: &'static str,
    /// Of `fireclay`.
    command: &'static str,
    flags: &'static str,
    /// True if it is in the table of the page.
    is_on_page: bool,
}

const fn tuned(name: &'static str, flags: &'static str) -> Strategy {
    Strategy { name, command: "finetune", flags, is_on_page: true }
}

const fn fresh(name: &'static str, flags: &'static str) -> Strategy {
    Strategy { name, command: "train", flags, is_on_page: true }
}

const fn also(name: &'static str, flags: &'static str) -> Strategy {
    Strategy { is_on_page: false, ..tuned(name, flags) }
}

const STRATEGIES: [Strategy; 10] = [
    tuned("default", ""),
    tuned("full-slow", "--strategy full --lr 1e-3 --schedule constant"),
    tuned("lp-ft-slow", "--strategy lp-ft --lr 1e-3 --schedule constant"),
    fresh("scratch", "--lr 3e-3 --schedule cosine"),
    fresh("scratch-slow", "--lr 1e-3 --schedule constant"),
    also("lp-ft", "--strategy lp-ft"),
    also("thaw", "--unfreeze-every 1epoch"),
    also("gentle", "--lr 1e-3"),
    also("probe", "--strategy probe"),
    also("lora", "--lora rank=32"),
];

/// The number of rows to learn from, none for all, and of repetitions.
#[derive(Clone, Debug)]
struct Size {
    rows: Option<usize>,
    epochs: u32,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(rows, epochs)| {
            let rows = if rows == "all" { None } else { Some(rows.parse().ok()?) };
            Some(Self { rows, epochs: epochs.parse().ok()? })
        });
        parsed.ok_or_else(|| "give ROWS:EPOCHS, such as 1000:20 or all:5".to_owned())
    }
}

/// A pair of folders.
#[derive(Clone, Debug)]
struct Own {
    name: String,
    folders: [PathBuf; 2],
}

impl FromStr for Own {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('=').and_then(|(name, folders)| {
            let (old, new) = folders.split_once(',')?;
            Some(Self { name: name.to_owned(), folders: [old.into(), new.into()] })
        });
        parsed.ok_or_else(|| "give NAME=FOLDER,FOLDER".to_owned())
    }
}

/// Builds the program, measures, prints, and fills in the page.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => {
            process::run("cargo build -p fireclay-cli")?;
            process::built("fireclay")?
        }
    };
    let bench = Bench { program, folder: tempfile::tempdir()? };
    let names: Vec<&str> = match (&args.pairs[..], args.quick) {
        ([], true) => vec!["halves", "turned"],
        (names, _) => names.iter().map(String::as_str).collect(),
    };
    let mut pairs = pairs::bundled(&args.fashion)?;
    for own in &args.pair {
        pairs.push(Pair::of_folders(&own.name, &own.folders)?);
    }
    for name in &names {
        ensure!(pairs.iter().any(|pair| pair.name == *name), "there is no pair `{name}`");
    }
    pairs.retain(|pair| names.is_empty() || names.contains(&pair.name.as_str()));
    let strategies: Vec<&Strategy> = STRATEGIES
        .iter()
        .filter(|strategy| match &args.strategies[..] {
            [] => strategy.is_on_page,
            names => names.iter().any(|name| name == strategy.name),
        })
        .collect();
    let quick = [Size { rows: Some(1000), epochs: 5 }];
    let (sizes, seeds) = if args.quick { (&quick[..], 1) } else { (&args.sizes[..], args.seeds) };
    let mut lines = Vec::new();
    // Pair by pair for each size: what is stopped early has every pair.
    for (i, size) in sizes.iter().enumerate() {
        for (k, pair) in pairs.iter().enumerate() {
            let most = pair.new.rows();
            if size.rows.is_some_and(|rows| rows + VALIDATION > most) {
                println!("{}, {}: it has {most}", pair.name, words(size));
                continue;
            }
            let line = line(pair, size, &bench.measure(pair, size, &strategies, seeds)?);
            println!("| {} |", line.join(" | "));
            lines.push(((k, i), line));
        }
    }
    lines.sort_by_key(|(place, _)| *place);
    let lines = lines.into_iter().map(|(_, line)| line);
    let text = markdown(&[heading(&strategies)].into_iter().chain(lines).collect::<Vec<_>>());
    println!("\n{text}");
    let is_whole = args.pairs.is_empty() && args.strategies.is_empty() && !args.quick;
    if is_whole && !args.no_page {
        let page = process::root().join("docs/fine-tuning.md");
        let old = std::fs::read_to_string(&page)?;
        std::fs::write(&page, between_marks(&old, "tuning", &text)?)?;
        println!("wrote {}", page.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Samples held out where rows are drawn.
const VALIDATION: usize = 100;

struct Bench {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Bench {
    /// The accuracies of each strategy, one for each seed.
    fn measure(
        &self,
        pair: &Pair,
        size: &Size,
        strategies: &[&Strategy],
        seeds: u64,
    ) -> Result<Vec<Vec<f64>>> {
        let mut found = vec![Vec::new(); strategies.len()];
        for seed in 1..=seeds {
            let base = self.base(pair, seed)?;
            let data = self.folder.path().join("data");
            let (rows, validation) = match size.rows {
                Some(rows) => (rows + VALIDATION, VALIDATION.to_string()),
                None => (usize::MAX, "0.1".to_owned()),
            };
            pair.new.drawn(rows, seed).write(&data)?;
            for (strategy, found) in strategies.iter().zip(&mut found) {
                let from = match strategy.command {
                    "finetune" => format!("--from {}", base.display()),
                    _ => String::new(),
                };
                let line = format!(
                    "{} {from} --validation {validation} --epochs {} {}",
                    strategy.command, size.epochs, strategy.flags
                );
                let folder = self.run(&line, &data, &pair.new, seed, "tuned")?;
                found.push(accuracy(&folder)?);
                std::fs::remove_dir_all(folder)?;
            }
        }
        Ok(found)
    }

    /// The model that learned the old task.
    fn base(&self, pair: &Pair, seed: u64) -> Result<PathBuf> {
        let name = format!("{}-{seed}", pair.name);
        let folder = self.folder.path().join("runs").join(&name);
        if !folder.exists() {
            let data = self.folder.path().join("data");
            pair.old.drawn(usize::MAX, seed).write(&data)?;
            // About as many steps whatever the number of rows.
            let epochs = if pair.old.rows() < 10_000 { 20 } else { 5 };
            let line = format!("train --validation 0.1 --epochs {epochs}");
            self.run(&line, &data, &pair.old, seed, &name)?;
        }
        Ok(folder.join("model.safetensors"))
    }

    /// Runs `fireclay`; the answer is the folder of the run.
    fn run(&self, line: &str, data: &Path, side: &Side, seed: u64, name: &str) -> Result<PathBuf> {
        let out = self.folder.path().join("runs");
        let mut words = vec![self.program.display().to_string()];
        words.extend(line.split_whitespace().map(str::to_owned));
        if !side.classes.is_empty() {
            let classes: Vec<String> = side.classes.iter().map(ToString::to_string).collect();
            words.extend(["--classes".to_owned(), classes.join(",")]);
        }
        let fixed = [
            ("--data", format!("idx:{}", data.display())),
            ("--out", out.display().to_string()),
            ("--name", name.to_owned()),
            ("--seed", seed.to_string()),
            ("--checkpoint-every", "never".to_owned()),
        ];
        words.extend(fixed.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
        words.push("--quiet".to_owned());
        process::run_quietly(&words)?;
        Ok(out.join(name))
    }
}

/// The accuracy on the test samples, in per cent.
fn accuracy(folder: &Path) -> Result<f64> {
    let log = std::fs::read_to_string(folder.join("metrics.jsonl"))?;
    let last: Value = serde_json::from_str(log.lines().last().context("an empty log")?)?;
    ensure!(last["split"] == "test", "the log does not end with the test: {last}");
    Ok(100.0 * last["accuracy"].as_f64().context("no accuracy")?)
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn words(size: &Size) -> String {
    let rows = size.rows.map_or("all".to_owned(), |rows| grouped(rows as f64));
    format!("{rows} rows, {} epochs", size.epochs)
}

fn heading(strategies: &[&Strategy]) -> Vec<String> {
    let names = strategies.iter().map(|strategy| format!("`{}`", strategy.name));
    ["pair".to_owned(), "rows, epochs".to_owned()].into_iter().chain(names).collect()
}

/// A row of the table: the mean of each strategy and its worst seed; the best mean of all is bold.
fn line(pair: &Pair, size: &Size, found: &[Vec<f64>]) -> Vec<String> {
    let best = found.iter().map(|found| mean(found)).fold(f64::NEG_INFINITY, f64::max);
    let cells = found.iter().map(|found| {
        let (mean, worst) = (mean(found), found.iter().copied().fold(f64::INFINITY, f64::min));
        let mark = if mean == best { "**" } else { "" };
        format!("{mark}{mean:.2}{mark} ({worst:.2})")
    });
    let rows = match size.rows {
        Some(rows) => grouped(rows as f64),
        None => format!("all {}", grouped(pair.new.rows() as f64)),
    };
    [pair.words.clone(), format!("{rows}, {}", size.epochs)].into_iter().chain(cells).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_folders_are_read_as_typed() {
        let size: Size = "1000:20".parse().unwrap();
        assert_eq!((size.rows, size.epochs), (Some(1000), 20));
        assert_eq!("all:5".parse::<Size>().unwrap().rows, None);
        let own: Own = "speakers=a/x,b".parse().unwrap();
        assert_eq!((own.name.as_str(), &own.folders[1]), ("speakers", &PathBuf::from("b")));
        for bad in ["5", "all", "x:1", "1:"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert!("a,b".parse::<Own>().is_err() && "x=a".parse::<Own>().is_err());
    }

    #[test]
    fn the_log_has_the_accuracy_in_its_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let test = "{\"split\":\"test\",\"accuracy\":0.5}";
        std::fs::write(&path, format!("{{\"split\":\"validation\"}}\n{test}\n")).unwrap();
        assert_eq!(accuracy(folder.path()).unwrap(), 50.0);
        std::fs::write(&path, "{\"split\":\"validation\",\"accuracy\":0.5}\n").unwrap();
        assert!(accuracy(folder.path()).is_err());
    }
}
