//! The chores of the workspace, started with `cargo xtask`.
//!
//! It only starts processes and reads text: it depends on no member, so it builds in seconds.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod arrows;
mod check;
mod docs;
mod features;
mod process;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The chores of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not anyhow's own form, which adds a backtrace where the environment asks for one.
            eprintln!("error: {error}");
            error.chain().skip(1).for_each(|cause| eprintln!("caused by: {cause}"));
            // 1 would mean a gate the user set; a check that fails is an error.
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Check(args) => check::run(&args),
    }
}
