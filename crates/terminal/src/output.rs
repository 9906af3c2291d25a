//! Standard output and standard error.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};

/// Prints a text and a line break.
///
/// # Errors
///
/// That of standard output, unless whoever read it has gone: that is no reason to lose the work.
pub fn say(text: &str) -> io::Result<()> {
    say_to_reader(text).map(drop)
}

/// As [`say`]; whether anybody still reads.
///
/// # Errors
///
/// As [`say`].
pub fn say_to_reader(text: &str) -> io::Result<bool> {
    let mut stdout = Stdout;
    let written = stdout
        .write_all(format!("{}\n", text.trim_end_matches('\n')).as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Standard output, which its errors name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write(bytes).map_err(of_stdout)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().map_err(of_stdout)
    }
}

pub(crate) fn of_stdout(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("standard output cannot be written: {error}"))
}

/// Prints a warning on standard error.
pub fn warn(warning: impl Display) {
    to_stderr("warning", &warning.to_string());
}

/// Prints an error and its causes on standard error.
pub fn tell(error: &dyn Error) {
    to_stderr("error", &message(error));
}

/// The text of an error and of its causes, except of those that it repeats.
pub fn message(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

fn to_stderr(kind: &str, text: &str) {
    // A standard error that cannot be written to leaves nowhere to report that.
    let _ = writeln!(io::stderr(), "{kind}: {}", harmless(text));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_do_not_reach_the_terminal_as_commands() {
        assert_eq!(harmless("a\u{1b}]0;x\u{7}.png:\n\tno"), "a\\u{1b}]0;x\\u{7}.png:\n\tno");
    }

    #[test]
    fn a_cause_is_not_repeated() {
        #[derive(Debug)]
        struct Outer(&'static str, io::Error);
        impl Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.0)
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.1)
            }
        }
        let full = || io::Error::other("disk full");
        assert_eq!(message(&Outer("cannot save", full())), "cannot save: disk full");
        assert_eq!(message(&Outer("cannot save: disk full", full())), "cannot save: disk full");
    }
}
