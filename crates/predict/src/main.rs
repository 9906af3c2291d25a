//! The program `fireclay-predict`: predictions on the host, without the program that trains.

use std::error::Error;
use std::process::ExitCode;

use clap::{Args, Command, FromArgMatches};
use fireclay_predict::load;
use fireclay_predict::program::{self, PredictArgs};
use fireclay_terminal::{Exit, Messages, exit, matches};

fn main() -> ExitCode {
    exit(run())
}

fn command() -> Command {
    let command = Command::new("fireclay-predict").version(env!("CARGO_PKG_VERSION"));
    let command = Messages::augment_args(PredictArgs::augment_args(command));
    command
        .about("Predict pictures, recordings, arrays and tables with a Fireclay model")
        .after_help(program::examples("fireclay-predict"))
        .max_term_width(100)
}

fn run() -> Result<Exit, Box<dyn Error>> {
    let matches = matches(command());
    Messages::from_arg_matches(&matches)?.start_logging();
    let args = PredictArgs::from_arg_matches(&matches)?;
    let model = load(&args.model, args.adapter.as_deref())?;
    program::run(&args, &model)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }
}
