//! `cargo xtask bench-checkpoints`: what checkpoints cost in time, and whether memory stays flat.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::process;

/// Measure the time and memory of checkpoints.
///
/// Default runs with and without checkpoints alternate, so that other work on the machine affects both
/// alike, and the medians are compared. Then a longer run, with a checkpoint every 100 steps, shows
/// whether its memory grows (Linux only). Nothing is asserted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of runs with and without checkpoints
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: usize,
}

/// Builds `train` and measures.
pub(crate) fn checkpoints(args: &Args) -> Result<ExitCode> {
    ensure!(args.rounds > 0, "--rounds is 0; give at least 1");
    process::run("cargo build -p train")?;
    let train = process::built("train")?;
    let folder = tempfile::tempdir()?;
    let mut times = [Vec::new(), Vec::new()];
    let paces = ["1epoch,60s", "never"];
    // The first run of a kind fills caches for all others.
    for round in 0..=args.rounds {
        for (times, pace) in times.iter_mut().zip(paces) {
            let name = format!("{}-{round}", times.len());
            let took = time(&train, folder.path(), pace, &name)?;
            if round > 0 {
                times.push(took);
            }
        }
    }
    println!("{:<28} {:>8} {:>8} {:>8}", "--checkpoint-every", "median", "least", "most");
    for (times, pace) in times.iter_mut().zip(paces) {
        times.sort();
        let [median, least, most] = [times[times.len() / 2], times[0], times[times.len() - 1]]
            .map(|time| format!("{:.3} s", time.as_secs_f64()));
        println!("{pace:<28} {median:>8} {least:>8} {most:>8}");
    }
    let [with, without] = times.map(|times| times[times.len() / 2].as_secs_f64());
    println!("checkpoints add {:.1} % to the median", 100.0 * (with / without - 1.0));
    if cfg!(target_os = "linux") {
        memory(&train, folder.path())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures a default run, from start to exit.
fn time(train: &Path, folder: &Path, pace: &str, name: &str) -> Result<Duration> {
    let line =
        format!("--quiet --name {pace}-{name} --checkpoint-every {pace}").replace(",60s-", "-");
    let start = Instant::now();
    let status = Command::new(train)
        .args(line.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "train {line} failed: {status}");
    Ok(start.elapsed())
}

/// Shows the memory of a run of 10,000 steps with a checkpoint every 100.
fn memory(train: &Path, folder: &Path) -> Result<()> {
    let line = "--quiet --name memory --epochs 6 --checkpoint-every 100steps";
    let mut child = Command::new(train)
        .args(line.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .spawn()?;
    let log = folder.join("runs/memory/metrics.jsonl");
    let mut samples = Vec::new();
    while child.try_wait()?.is_none() {
        if let (Some(step), Some(kib)) = (last_step(&log), process::resident(child.id())) {
            samples.push((step, kib));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let early = samples.iter().filter(|(step, _)| (1000..2000).contains(step));
    let early = early.map(|(_, kib)| *kib).max();
    let late = samples.iter().filter(|(step, _)| *step >= 9000).map(|(_, kib)| *kib).max();
    let (early, late) = early.zip(late).context("the run was too quick to be sampled")?;
    let growth = 100.0 * (late as f64 / early as f64 - 1.0);
    println!(
        "memory with a checkpoint every 100 steps: {} MiB at most in steps 1,000 to 2,000, {} MiB \
         from 9,000 to the end: {growth:+.1} %",
        early / 1024,
        late / 1024
    );
    Ok(())
}

/// The step of the last whole line of a log.
fn last_step(log: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(log).ok()?;
    let line = text.rsplit('\n').find(|line| line.ends_with('}'))?;
    serde_json::from_str::<serde_json::Value>(line).ok()?["step"].as_u64()
}
