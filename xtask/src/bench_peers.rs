//! `cargo xtask bench-peers`: Fireclay beside Keras, PyTorch, JAX and scikit-learn.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bench_backends::machine;
use crate::numbers::{Spread, Table, grouped, markdown, row, write_page};
use crate::process;

/// Compare training speed with Keras, PyTorch, JAX and scikit-learn, and fill in docs/benchmarks.md.
///
/// Every program trains the same networks on the same data, in interleaved rounds, each in its own
/// process. The first run downloads about 8 GB for benches/peers/requirements.txt and makes an
/// optimised build, which takes a quarter of an hour. Three rounds take half an hour; run nothing else
/// meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of rounds
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Programs to compare with
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = PEERS, default_value = "jax,torch,keras,sklearn")]
    peers: Vec<String>,
    /// Existing virtual environment
    #[arg(long, value_name = "FOLDER")]
    venv: Option<PathBuf>,
    /// Folder with built `train` and `probe`; skips the build
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Print the tables without writing them to docs/benchmarks.md
    #[arg(long)]
    no_page: bool,
}

const PEERS: [&str; 4] = ["jax", "torch", "keras", "sklearn"];
/// Hidden widths and batch size.
const CASES: [(&str, u32); 4] = [("128", 32), ("128", 128), ("128", 1024), ("2048,2048", 256)];
const OURS: &str = "fireclay";

/// The results of every program, over the rounds.
#[derive(Default)]
struct Measured {
    /// By case and program.
    training: BTreeMap<(usize, String), Vec<Value>>,
    /// Seconds of a whole run, by program.
    whole: BTreeMap<String, Vec<Value>>,
    limits: Vec<Value>,
    /// Ours on one thread, batches of 1,024.
    alone: Vec<Value>,
}

/// Measures, prints, and fills in the page.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let folder = process::target()?.join("bench-peers");
    std::fs::create_dir_all(&folder)?;
    let programs = match &args.programs {
        Some(programs) => programs.clone(),
        None => {
            process::run("cargo build --release -p benches -p train --bins")?;
            process::built_as("train", true)?.parent().context("a folder")?.to_owned()
        }
    };
    println!("installing the peers; the first time this downloads some gigabytes");
    let requirements = "benches/peers/requirements.txt";
    let python = process::python(args.venv.as_deref(), &folder, requirements)?;
    let data = folder.join("data");
    let [train, probe] = ["train", "probe"]
        .map(|name| programs.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)));
    let bench = Bench { args, python, data, train, probe };
    process::document(&bench.probe, &["export", &bench.data.display().to_string()], &[])?;
    let measured = bench.measure()?;
    let text = report(&measured, args)?;
    println!("\n{text}");
    if !args.no_page {
        write_page("peers", &text)?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Bench<'a> {
    args: &'a Args,
    python: PathBuf,
    data: PathBuf,
    train: PathBuf,
    probe: PathBuf,
}

impl Bench<'_> {
    fn measure(&self) -> Result<Measured> {
        let mut all = Measured::default();
        for round in 1..=self.args.rounds {
            println!("round {round} of {}", self.args.rounds);
            all.limits.push(self.peer("limits", "128", 32, &[])?);
            for (case, (hidden, batch)) in CASES.into_iter().enumerate() {
                let ours = self.ours(hidden, batch, &[])?;
                all.training.entry((case, OURS.to_owned())).or_default().push(ours);
                for peer in &self.args.peers {
                    // Large steps take long, and are the same at every row.
                    let few: &[&str] =
                        if hidden == "128" { &[] } else { &["--rows", "11008", "--epochs", "2"] };
                    let found = self.peer(peer, hidden, batch, few)?;
                    all.training.entry((case, peer.clone())).or_default().push(found);
                }
                let peers = self.args.peers.iter().map(String::as_str);
                let rates = [OURS].into_iter().chain(peers).map(|name| {
                    let rate = &all.training[&(case, name.to_owned())];
                    let rate = rate.last().and_then(|found| found["samples_per_s"].as_f64());
                    format!("{name} {}", grouped(rate.unwrap_or(f64::NAN)))
                });
                let rates: Vec<String> = rates.collect();
                println!("  784-{hidden}-10, {batch}: {}", rates.join(", "));
            }
            all.alone.push(self.ours("128", 1024, &[("RAYON_NUM_THREADS", "1")])?);
            for name in [OURS, "keras", "jax"] {
                if name == OURS || self.args.peers.iter().any(|peer| peer == name) {
                    all.whole.entry(name.to_owned()).or_default().push(self.whole(name)?);
                }
            }
        }
        Ok(all)
    }

    fn ours(&self, hidden: &str, batch: u32, variables: &[(&str, &str)]) -> Result<Value> {
        let shape = if hidden == "128" { "tutorial" } else { "wide" };
        let batch = batch.to_string();
        let words = ["train", "--shape", shape, "--batch", &batch, "--seconds", "3"];
        process::document(&self.probe, &words, variables)
    }

    fn peer(&self, peer: &str, hidden: &str, batch: u32, more: &[&str]) -> Result<Value> {
        let program = process::root().join("benches/peers/peer.py").display().to_string();
        let (data, batch) = (self.data.display().to_string(), batch.to_string());
        let words = [&program, peer, &data, "--hidden", hidden, "--batch", &batch];
        let words = [&words, more].concat();
        process::document(&self.python, &words, &[]).with_context(|| format!("{peer} failed"))
    }

    /// Seconds and memory of the tutorial, from the start of the process to its end.
    fn whole(&self, name: &str) -> Result<Value> {
        let folder = tempfile::tempdir()?;
        let (program, words) = if name == OURS {
            (&self.train, "--quiet --name whole".to_owned())
        } else {
            let peer = process::root().join("benches/peers/peer.py");
            (&self.python, format!("{} {name} {} --whole", peer.display(), self.data.display()))
        };
        let start = Instant::now();
        let mut child = process::command(&program.display().to_string())
            .args(words.split_whitespace())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut most = 0;
        let status = loop {
            most = process::peak_memory(child.id()).unwrap_or(0).max(most);
            if let Some(status) = child.try_wait()? {
                break status;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let seconds = start.elapsed().as_secs_f64();
        ensure!(status.success(), "{name} failed: {status}");
        Ok(json!({ "seconds": seconds, "peak_mib": most as f64 / 1024.0 }))
    }
}

/// The tables, as they stand on the page.
fn report(all: &Measured, args: &Args) -> Result<String> {
    let m = machine::describe(false)?;
    let (speeds, against_best) = speeds(all, args)?;
    Ok(format!(
        "{}, {} cores, {}, {}. {} rounds, medians. Higher is better; in brackets least and most.\n\n{}\n{}",
        m.processor,
        m.cores,
        m.date,
        m.rustc,
        args.rounds,
        markdown(&speeds),
        markdown(&targets(all, &against_best)?)
    ))
}

/// Samples a second of a program in a case.
fn rate(all: &Measured, case: usize, name: &str) -> Result<Spread> {
    Spread::of(&all.training[&(case, name.to_owned())], "samples_per_s")
}

/// The table of speeds, and in each case how many times as fast Fireclay is as the best peer.
fn speeds(all: &Measured, args: &Args) -> Result<(Table, Vec<Option<f64>>)> {
    let mut table = vec![row(&["network", "batch", "program", "samples/s", "Fireclay is"])];
    let mut against_best = Vec::new();
    for (case, (hidden, batch)) in CASES.into_iter().enumerate() {
        let ours = rate(all, case, OURS)?;
        let mut best: Option<f64> = None;
        for name in [OURS].into_iter().chain(args.peers.iter().map(String::as_str)) {
            let Spread { median, least, most } = rate(all, case, name)?;
            let version = all.training[&(case, name.to_owned())][0]["version"].as_str();
            let ratio = format!("{:.2} times as fast", ours.median / median);
            table.push(row(&[
                &format!("784-{}-10", hidden.replace(',', "-")),
                &batch.to_string(),
                &format!("{name} {}", version.unwrap_or_default()),
                &format!("{} ({}..{})", grouped(median), grouped(least), grouped(most)),
                if name == OURS { "" } else { &ratio },
            ]));
            if name != OURS {
                best = Some(best.map_or(median, |best| best.max(median)));
            }
        }
        against_best.push(best.map(|best| ours.median / best));
    }
    Ok((table, against_best))
}

fn median(values: &[Value], field: &str) -> Result<f64> {
    Ok(Spread::of(values, field)?.median)
}

/// A ratio in a cell.
fn times(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// Returns how many times as long as Fireclay a program takes for a whole run.
fn whole_run(all: &Measured, name: &str, ours: f64) -> Result<String> {
    let Some(found) = all.whole.get(name) else { return Ok(times(None)) };
    Ok(times(Some(median(found, "seconds")? / ours)))
}

/// The table of targets.
fn targets(all: &Measured, against_best: &[Option<f64>]) -> Result<Table> {
    let step = 1e6 * 32.0 / rate(all, 0, OURS)?.median;
    let floor = median(&all.limits, "forward_us")?
        + median(&all.limits, "weights_us")?
        + median(&all.limits, "adam_us")?;
    // Two products by the first layer's weights, three by the second's: nobody needs the first's
    // gradient by its inputs.
    let operations = f64::from(2 * (2 * 784 * 128 + 3 * 128 * 10));
    let large = rate(all, 2, OURS)?.median;
    let share = large * operations / 1e9 / median(&all.limits, "gflops")?;
    let scaling = large / median(&all.alone, "samples_per_s")?;
    let ours = Spread::of(&all.whole[OURS], "seconds")?.median;
    let memory = Spread::of(&all.whole[OURS], "peak_mib")?.most;
    let mut table = vec![row(&["", "asked", "measured"])];
    for (case, (hidden, batch)) in CASES.into_iter().enumerate() {
        let asked = if hidden == "128" { "1.4" } else { "1.1" };
        let name = format!("784-{}-10, batches of {batch}: best peer", hidden.replace(',', "-"));
        table.push(row(&[&name, asked, &times(against_best[case])]));
    }
    let over = format!(
        "batches of 32: step ({step:.0} µs) over what it cannot do without ({floor:.0} µs)"
    );
    let peak = "batches of 1,024: share of the peak of single-precision products";
    let scaled = "batches of 1,024: all threads over one";
    table.push(row(&[&over, "at most 1.5", &format!("{:.2}", step / floor)]));
    table.push(row(&[peak, "60 %", &format!("{:.0} %", 100.0 * share)]));
    table.push(row(&[scaled, "1.7", &format!("{scaling:.2}")]));
    let keras = format!("whole default run ({ours:.2} s): Keras");
    table.push(row(&[&keras, "12", &whole_run(all, "keras", ours)?]));
    table.push(row(&["whole default run: JAX", "2", &whole_run(all, "jax", ours)?]));
    let memory = format!("{:.0} MB", memory * 1.048_576);
    table.push(row(&["memory of the default run at its peak", "under 200 MB", &memory]));
    Ok(table)
}
