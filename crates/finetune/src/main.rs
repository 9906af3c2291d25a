//! The program `finetune`.

use std::process::ExitCode;

use finetune::{Args, run};

fn main() -> ExitCode {
    train::call_it(train::Called { installed: "finetune", by_cargo: "cargo run -p finetune --" });
    train::exit(run(Args::from_command_line()))
}
