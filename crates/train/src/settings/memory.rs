//! An amount of memory.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount of memory, written as `500MB` or `2GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory(u64);

const MEGABYTE: u64 = 1 << 20;

impl Memory {
    /// The amount in bytes; a megabyte is 2^20 of them.
    pub fn bytes(self) -> u64 {
        self.0.saturating_mul(MEGABYTE)
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let (number, unit) = match (upper.strip_suffix("GB"), upper.strip_suffix("MB")) {
            (Some(number), _) => (number, 1024),
            (None, Some(number)) => (number, 1),
            (None, None) => ("", 1),
        };
        let amount = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        let amount = amount.filter(|&amount| amount > 0);
        amount
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no amount of memory; type 500MB or 2GB"))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}MB", self.0)
    }
}

impl TryFrom<String> for Memory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        memory.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_a_unit() {
        assert_eq!("500MB".parse::<Memory>().unwrap().bytes(), 500 << 20);
        assert_eq!("2 gb".parse::<Memory>().unwrap().to_string(), "2048MB");
        for wrong in ["", "500", "MB", "-1MB", "0MB", "1.5GB", "99999999999999999999GB"] {
            assert!(wrong.parse::<Memory>().is_err(), "{wrong}");
        }
    }
}
