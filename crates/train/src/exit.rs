//! How a program ends.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;

/// The exit code of a program that came to `result`; an error is printed on standard error.
pub fn exit(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        tell(&error);
        ExitCode::from(2)
    })
}

/// Tells of an error on standard error, for programs that have other things to do behind it.
pub fn tell(error: &anyhow::Error) {
    // There is nobody left to tell of a standard error that cannot be written to.
    let _ = writeln!(std::io::stderr(), "error: {}", harmless(&message(error)));
}

/// The text without what a terminal would obey: names of files can hold any character.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            harmless.extend(c.escape_default());
        } else {
            harmless.push(c);
        }
    }
    harmless
}

/// The error and its causes, but for those whose words have been said.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.contains(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_files_do_not_reach_the_terminal_as_commands() {
        assert_eq!(super::harmless("a\u{1b}]0;x\u{7}.png:\n\tno"), "a\\u{1b}]0;x\\u{7}.png:\n\tno");
    }
}
