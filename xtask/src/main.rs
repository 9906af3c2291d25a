//! The chores of the workspace, started with `cargo xtask`.
//!
//! It starts processes and reads what they leave: it depends on no member, so it builds in seconds.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod arrows;
mod bench;
mod bench_backends;
mod bench_blocks;
mod bench_latency;
mod bench_peers;
mod bench_tables;
mod bench_tuning;
mod book;
mod check;
mod crash;
mod docs;
mod features;
mod numbers;
mod process;
mod prose;
mod shape;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Run the checks, benchmarks and tests of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    BenchBackends(bench_backends::Args),
    BenchBlocks(bench_blocks::Args),
    BenchCheckpoints(bench::Args),
    BenchLatency(bench_latency::Args),
    BenchPeers(bench_peers::Args),
    BenchTables(bench_tables::Args),
    BenchTuning(bench_tuning::Args),
    Book(book::Args),
    Check(check::Args),
    Crash(crash::Args),
    Shape(shape::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Not anyhow's own form, which adds a backtrace where the environment asks for one.
            eprintln!("error: {error}");
            error.chain().skip(1).for_each(|cause| eprintln!("caused by: {cause}"));
            // 1 is for what `crash` and `bench-backends` found; a check that fails is an error.
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::BenchBackends(args) => bench_backends::run(&args),
        Command::BenchBlocks(args) => bench_blocks::run(&args),
        Command::BenchCheckpoints(args) => bench::checkpoints(&args),
        Command::BenchLatency(args) => bench_latency::run(&args),
        Command::BenchPeers(args) => bench_peers::run(&args),
        Command::BenchTables(args) => bench_tables::run(&args),
        Command::BenchTuning(args) => bench_tuning::run(&args),
        Command::Book(args) => book::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Crash(args) => crash::run(&args),
        Command::Shape(args) => shape::run(&args).map(|()| ExitCode::SUCCESS),
    }
}
