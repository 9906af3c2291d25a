//! The program `train`.

use std::process::ExitCode;

use clap::Parser;
use train::{Args, run};

fn main() -> ExitCode {
    train::exit(run(Args::parse()))
}
