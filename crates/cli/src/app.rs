//! The commands, and which code each of them is.

use anyhow::{Result, ensure};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches};
use fireclay_terminal::{Exit, Messages, Program, say};
use train::Ended;
use train::disk::Disk;

use crate::{backends, compare, data, evaluate, inspect, predict, report, shell};

const ABOUT: &str = "Train, fine-tune, evaluate and use multilayer perceptrons";

const EXAMPLES: &str = "\
Examples:
  fireclay train                            train a network on MNIST
  fireclay evaluate runs/mnist-1            metrics with confidence intervals
  fireclay predict runs/mnist-1 digit.png   predict a picture
  fireclay inspect model.pt                 contents of a file
  fireclay compare runs/mnist-1 runs/mnist-2
  fireclay finetune --from model.pt --activation relu --preprocessing scale
  fireclay data show fashion-mnist          rows, classes and digests
  fireclay backends                         backends and devices

Exit codes: 0 done, 1 a gate such as --min-accuracy was not met or a repeated
run ended with another model, 2 error, 130 Ctrl-C, 143 SIGTERM.
The environment variable RUST_LOG=fireclay=debug,wgpu=info selects log messages
and overrides -q and -v.
`fireclay COMMAND --help` has details and examples.";

/// `train` and `finetune` as commands of this program, which a run tells people to type.
const TRAIN: Program =
    Program { installed: "fireclay train", by_cargo: "cargo run -p fireclay-cli -- train" };
const FINETUNE: Program =
    Program { installed: "fireclay finetune", by_cargo: "cargo run -p fireclay-cli -- finetune" };

/// The whole program.
pub(crate) fn command() -> Command {
    Messages::augment_args(Command::new("fireclay"))
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .subcommand(train())
        .subcommand(finetune())
        .subcommand(of::<evaluate::Args>("evaluate"))
        .subcommand(of::<predict::Args>("predict"))
        .subcommand(of::<inspect::Args>("inspect"))
        .subcommand(of::<compare::Args>("compare"))
        .subcommand(of::<report::Args>("report"))
        .subcommand(of::<data::Args>("data"))
        .subcommand(of::<backends::Args>("backends"))
        .subcommand(of::<shell::Completions>("completions"))
        .subcommand(of::<shell::Man>("man"))
}

/// Does what the command line asks for.
pub(crate) fn run() -> Result<Exit> {
    let matches = fireclay_terminal::matches(command());
    parsed::<Messages>(innermost(&matches)).start_logging();
    match matches.subcommand() {
        Some(("train", matches)) => {
            let args: train::Args = parsed(matches);
            check_display(args.output.tui, matches)?;
            and_report(train::run_to_end(args, TRAIN, Disk::default())?, matches)
        }
        Some(("finetune", matches)) => {
            let args: finetune::Args = parsed(matches);
            check_display(args.output.tui, matches)?;
            and_report(finetune::run_to_end(args, FINETUNE)?, matches)
        }
        Some(("evaluate", matches)) => evaluate::run(&parsed(matches)),
        Some(("predict", matches)) => predict::run(&parsed(matches)),
        Some(("inspect", matches)) => inspect::run(&parsed(matches)),
        Some(("compare", matches)) => compare::run(&parsed(matches)),
        Some(("report", matches)) => report::run(&parsed(matches)),
        Some(("data", matches)) => data::run(&parsed(matches)),
        Some(("backends", matches)) => backends::run(&parsed(matches)),
        Some(("completions", matches)) => shell::complete(&parsed(matches)),
        Some(("man", matches)) => shell::write_pages(&parsed(matches)),
        // A command is required, and there are no others.
        _ => Ok(Exit::Error),
    }
}

const NO_REPORT: &str = "no_report";
const TENSORBOARD: &str = "tensorboard";

/// The command that was chosen, which has what was typed before it and behind it.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| innermost(inner))
}

/// Refuses to write what is logged across the dashboard.
fn check_display(is_dashboard: bool, matches: &ArgMatches) -> Result<()> {
    ensure!(
        !is_dashboard || parsed::<Messages>(matches).verbose == 0,
        "--tui and --verbose cannot be combined: both write to the terminal. Remove one"
    );
    Ok(())
}

/// Writes what was asked for of a run that has come to its end: its page, its event file.
fn and_report(ended: Ended, matches: &ArgMatches) -> Result<Exit> {
    let Some(finished) = ended.result else { return Ok(ended.code) };
    let is_quiet = parsed::<Messages>(matches).quiet;
    if !matches.get_flag(NO_REPORT) {
        let page = report::of_finished(&finished.folder, &finished.model.device())?;
        if let Some(page) = page.filter(|_| !is_quiet) {
            say(&format!("Report: {}", page.display()))?;
        }
    }
    if matches.get_flag(TENSORBOARD) {
        let events = report::write_events(&finished.folder)?;
        if !is_quiet {
            say(&format!("TensorBoard events: {}", events.display()))?;
        }
    }
    Ok(ended.code)
}

/// The arguments of a command; clap has checked that they are there.
fn parsed<T: FromArgMatches>(matches: &ArgMatches) -> T {
    T::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
}

fn of<T: Args>(name: &'static str) -> Command {
    T::augment_args(Command::new(name))
}

fn train() -> Command {
    let command = train::Args::command().about("Train a network").long_about(
        "Train a multilayer perceptron.\n\nWithout arguments, this trains a network with one hidden \
         layer (784-128-10, relu, Adam, 5 epochs) on the bundled MNIST. Settings come from the \
         defaults, then --recipe, then --config, then flags, then --set; later ones override \
         earlier ones.",
    );
    renamed(with_report(command), "train")
}

/// The flags that [`and_report`] looks at.
fn with_report(command: Command) -> Command {
    let no_report = Arg::new(NO_REPORT)
        .long("no-report")
        .action(ArgAction::SetTrue)
        .help("Skip report.html at the end of the run")
        .help_heading("Output");
    let tensorboard = Arg::new(TENSORBOARD)
        .long("tensorboard")
        .action(ArgAction::SetTrue)
        .help("Write a TensorBoard event file at the end of the run")
        .help_heading("Output");
    command.arg(no_report).arg(tensorboard)
}

fn finetune() -> Command {
    let command = finetune::Args::command()
        .about("Fine-tune an existing model of Fireclay or another program");
    renamed(with_report(command), "finetune")
}

/// A program as a command of this one: its examples begin with the name of this one.
fn renamed(command: Command, name: &'static str) -> Command {
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples = examples.replace(&format!("\n  {name} "), &format!("\n  fireclay {name} "));
    command.name(name).version(env!("CARGO_PKG_VERSION")).after_help(examples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn examples_of_other_programs_begin_with_our_name() {
        for command in [train(), finetune()] {
            let help = command.get_after_help().unwrap().to_string();
            let name = command.get_name();
            assert!(help.contains(&format!("\n  fireclay {name} --")), "{help}");
            assert!(!help.contains(&format!("\n  {name} ")), "{help}");
        }
    }
}
