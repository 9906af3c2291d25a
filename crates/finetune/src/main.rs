//! The program `finetune`.

use std::process::ExitCode;

use finetune::{Args, run};
use fireclay_terminal::Program;

fn main() -> ExitCode {
    train::call_it(Program { installed: "finetune", by_cargo: "cargo run -p finetune --" });
    fireclay_terminal::exit(run(Args::from_command_line()))
}
