//! The program `finetune`.

use std::process::ExitCode;

use finetune::{Args, run};

fn main() -> ExitCode {
    train::exit(run(Args::from_command_line()))
}
