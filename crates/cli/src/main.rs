//! The program `fireclay`: one command for each thing that can be done with a network.
//!
//! Each command is the code of the crate that owns it; `predict` and `inspect` live here.

mod app;
mod backends;
mod compare;
mod data;
mod evaluate;
mod inspect;
mod model;
mod output;
mod predict;
mod report;
mod rows;
mod shell;

use std::process::ExitCode;

fn main() -> ExitCode {
    fireclay_terminal::exit(app::run())
}
