//! The program `finetune`.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use finetune::{Args, run};

fn main() -> ExitCode {
    let matches = fireclay_terminal::matches(Args::command());
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    fireclay_terminal::exit(run(args))
}
