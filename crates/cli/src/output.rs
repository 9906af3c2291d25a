//! What is printed, and how.

use std::io::{self, Write};

use anyhow::Result;
pub(crate) use fireclay_formats::printable;
use serde::Serialize;
pub(crate) use train::{table, wrapped_at};

/// Prints a text and a line break.
///
/// # Errors
///
/// That of standard output, unless whoever read it has gone.
pub(crate) fn say(text: &str) -> Result<()> {
    say_to_reader(text).map(drop)
}

/// As [`say`]; whether anybody still reads.
pub(crate) fn say_to_reader(text: &str) -> Result<bool> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Prints a value as JSON, over many lines.
pub(crate) fn say_json(value: &impl Serialize) -> Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// A text in lines of at most 80 columns, two columns in, broken between words.
pub(crate) fn wrapped(text: &str) -> String {
    format!("  {}", wrapped_at(text, 2))
}

/// A number with five decimals, or with five digits and an exponent where decimals would show too
/// little of it.
pub(crate) fn decimal(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        format!("{number:.5}")
    } else {
        format!("{number:.4e}")
    }
}

/// As [`decimal`], with its sign.
pub(crate) fn signed(number: f64) -> String {
    format!("{}{}", if number < 0.0 { "" } else { "+" }, decimal(number))
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
    fn small_and_large_numbers_keep_their_digits() {
        for (number, text) in [
            (0.0, "0.00000"),
            (0.123_456_7, "0.12346"),
            (-7.6e-6, "-7.6000e-6"),
            (1.5e9, "1.5000e9"),
        ] {
            assert_eq!(decimal(number), text);
        }
        assert_eq!(signed(0.25), "+0.25000");
        assert_eq!(signed(-0.25), "-0.25000");
    }
}
