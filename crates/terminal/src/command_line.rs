//! Command lines, and plain words for what is wrong with one.

use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal, Write};

use clap::{ArgMatches, Command};

use crate::output::of_stdout;
use crate::{Exit, tell};

/// Parses the command line of this process. Help and errors end the process, with clap's exit codes.
pub fn matches(command: Command) -> ArgMatches {
    matches_from(command, std::env::args_os()).unwrap_or_else(|error| end(&error))
}

/// As [`matches()`], of these words.
fn matches_from(
    command: Command,
    words: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, clap::Error> {
    with_negative_numbers(command).try_get_matches_from(words)
}

/// Every flag that takes a value takes `-1` for one, so that the error is about the number.
fn with_negative_numbers(command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| {
        let takes_value = arg.get_action().takes_values() && !arg.is_positional();
        if takes_value { arg.allow_negative_numbers(true) } else { arg }
    });
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, with_negative_numbers))
}

fn end(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        end_of_help(error);
    }
    let has_colour = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let text = error.render();
    let text = if has_colour { text.ansi().to_string() } else { text.to_string() };
    // A standard error that cannot be written to leaves nowhere to report that.
    let _ = write!(std::io::stderr(), "{}", in_words(&text));
    std::process::exit(error.exit_code());
}

/// Prints help or a version, and ends the process: with an error if standard output does not take it.
fn end_of_help(help: &clap::Error) -> ! {
    let printed = help.print().and_then(|()| std::io::stdout().flush());
    let exit = match printed {
        // Whoever read it has gone.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            tell(&of_stdout(error));
            Exit::Error
        }
        _ => Exit::Done,
    };
    std::process::exit(exit.code().into())
}

/// Phrases of Rust's library about numbers, and plainer ones.
const WORDS: [(&str, &str); 7] = [
    ("invalid digit found in string", "it is not a whole number"),
    ("number too large to fit in target type", "it is too large"),
    ("number too small to fit in target type", "it is too small"),
    ("cannot parse integer from empty string", "it is empty; give a whole number"),
    ("invalid float literal", "it is not a number"),
    ("cannot parse float from empty string", "it is empty; give a number"),
    (" is not in ", " is out of range; the range is "),
];

fn in_words(text: &str) -> String {
    let text =
        WORDS.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
    text.replace("..=", " to ")
        .replace("18446744073709551615", "2^64 - 1")
        .replace("4294967295", "2^32 - 1")
}

#[cfg(test)]
mod tests {
    use clap::{Arg, value_parser};

    use super::*;

    #[test]
    fn numbers_that_cannot_be_are_refused_in_words() {
        let command = || {
            let rows = Arg::new("rows").long("rows").value_parser(value_parser!(u32).range(1..));
            let inner = Command::new("inner").arg(rows);
            Command::new("outer").subcommand(inner)
        };
        let said = |value: &str| {
            let words = ["outer", "inner", "--rows", value].map(OsString::from);
            in_words(&matches_from(command(), words).unwrap_err().to_string())
        };
        assert!(said("x").contains("it is not a whole number"), "{}", said("x"));
        let negative = said("-1");
        assert!(negative.contains("-1 is out of range; the range is 1 to 2^32 - 1"), "{negative}");
        assert!(!negative.contains("to pass"), "{negative}");
        assert!(said("99999999999999999999").contains("it is too large"));
        assert!(said("").contains("it is empty"));
        let words = ["outer", "inner", "--rows", "7"].map(OsString::from);
        assert!(matches_from(command(), words).is_ok());
    }
}
