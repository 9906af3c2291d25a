//! What is printed, and how.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
pub(crate) use train::{table, wrapped_at};

/// Prints a text and a line break.
///
/// # Errors
///
/// That of standard output, unless whoever read it has gone.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a value as JSON, over many lines.
pub(crate) fn say_json(value: &impl Serialize) -> Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// A text from a file as it may be shown: of one line, without anything that moves a terminal's
/// cursor or turns the direction of writing, and not longer than `most` characters.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let shown: String =
        text.chars().take(most).map(|c| if is_plain(c) { c } else { '\u{fffd}' }).collect();
    if text.chars().nth(most).is_some() { shown + "…" } else { shown }
}

fn is_plain(c: char) -> bool {
    let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !turns
}

/// A text in lines of at most 80 columns, two columns in, broken between words.
pub(crate) fn wrapped(text: &str) -> String {
    format!("  {}", wrapped_at(text, 2))
}

/// A shape, such as `28x28`.
pub(crate) fn sizes(shape: &[usize]) -> String {
    match shape {
        [] => "-".to_owned(),
        shape => shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x"),
    }
}

/// The first of some names, and how many more there are.
pub(crate) fn listed(names: &[String], most: usize) -> String {
    let shown: Vec<String> = names.iter().take(most).map(|name| printable(name, 40)).collect();
    match names.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_can_not_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\nc", 80), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(printable("\u{202e}gnp", 80), "\u{fffd}gnp");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("äöü", 3), "äöü");
    }
}
