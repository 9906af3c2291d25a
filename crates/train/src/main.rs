//! The program `train`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use train::{Args, run};

fn main() -> ExitCode {
    run(Args::parse()).unwrap_or_else(|error| {
        // There is nobody left to tell of a standard error that can not be written to.
        let _ = writeln!(std::io::stderr(), "error: {}", message(&error));
        ExitCode::from(2)
    })
}

/// The error and its causes, but for those whose words have been said.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.contains(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}
