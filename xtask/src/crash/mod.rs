//! `cargo xtask crash`: kills `train` again and again and looks at what is left.
//!
//! Nothing here uses the program's own readers: a fault in one would hide the damage it causes.

mod document;
mod harness;
mod place;
mod tally;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::process;
use harness::Harness;
use place::Place;

/// Kill `train` at random instants, resume it, and check every file.
///
/// A small run is first trained without interruption. Then the same run is killed (SIGKILL) at a
/// random instant, resumed and killed again, until it finishes after some 20 to 40 kills; further runs
/// follow until all kills are dealt. Half of the kills come at any instant, the others just after a
/// write: the start of a run, a checkpoint, the model at the end.
///
/// After each kill, an independent reader checks every file of the run folder. Each checkpoint must be
/// whole, down to its digest. The log must be a beginning of the uninterrupted run's. Every other file
/// must be whole or absent, and only a later checkpoint may replace one on disk. At the end, model and
/// log must equal those of the uninterrupted run, byte for byte.
///
/// The exit code is 0 if all of this held, and else 1; the folder is then kept.
///
/// After the build, `cargo xtask crash --kills 40` takes about 20 seconds, and `--kills 300` 90.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of kills
    #[arg(long, value_name = "N", default_value_t = 40)]
    kills: usize,

    /// Seed of the kill instants; their place in a run still depends on the machine
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Approximate length of the uninterrupted run
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    seconds_per_run: u32,

    /// Keep the run folders even without a finding
    #[arg(long)]
    keep: bool,
}

/// Kills runs until the kills are dealt, and prints what was found.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !cfg!(unix) {
        bail!("`cargo xtask crash` runs on Unix only: elsewhere there is no SIGKILL");
    }
    ensure!(args.kills > 0, "--kills must be at least 1");
    process::run("cargo build --locked -p train")?;
    let began = Instant::now();
    let folder = tempfile::Builder::new().prefix("fireclay-crash-").tempdir()?;
    let place = Place::new(folder.path())?;
    let mut harness = Harness::new(place, args)?;
    println!(
        "undisturbed: {} epochs, {} steps, {:.1} s, of which {:.3} s before the first step",
        harness.epochs,
        harness.whole.last_step(),
        harness.whole.took.as_secs_f64(),
        harness.start_up.as_secs_f64()
    );
    while harness.kills_left() > 0 {
        harness.cut_a_run_through()?;
    }
    let tally = harness.tally;
    tally.print(began.elapsed());
    if args.keep || !tally.faults.is_empty() {
        println!("the runs are kept in {}", folder.keep().display());
    }
    Ok(if tally.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
