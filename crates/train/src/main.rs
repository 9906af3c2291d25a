//! The program `train`.

use std::process::ExitCode;

use clap::Parser;
use train::{Args, run};

fn main() -> ExitCode {
    run(Args::parse()).unwrap_or_else(|error| {
        #[expect(
            clippy::print_stderr,
            reason = "a program tells its error to the person who ran it"
        )]
        {
            eprintln!("error: {error:#}");
        }
        ExitCode::from(2)
    })
}
