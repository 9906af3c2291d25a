//! Text that only this program prints.

use std::io;

use fireclay_terminal::{decimal, say, wrapped_at};
use serde::Serialize;

/// Prints a value as JSON, over many lines.
pub(crate) fn say_json(value: &impl Serialize) -> io::Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// A text in lines of at most 80 columns, two columns in, broken between words.
pub(crate) fn wrapped(text: &str) -> String {
    format!("  {}", wrapped_at(text, 2))
}

/// A measured value: a share in percent, any other number as [`decimal`] has it.
pub(crate) fn measured(value: f64, is_share: bool) -> String {
    if is_share { percent(value) } else { decimal(value) }
}

/// A share in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// A number as [`decimal`] has it, with its sign.
pub(crate) fn signed(number: f64) -> String {
    format!("{}{}", if number < 0.0 { "" } else { "+" }, decimal(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_always_there() {
        assert_eq!(signed(0.25), "+0.25000");
        assert_eq!(signed(-0.25), "-0.25000");
    }
}
