//! The machine of a measurement.

use anyhow::Result;
use serde::Serialize;

use crate::process;

/// The machine and the program.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// Of today, in UTC: `2026-01-31`.
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) system: String,
    pub(crate) rustc: String,
    pub(crate) burn: String,
    pub(crate) build: String,
    pub(crate) features: String,
    pub(crate) commit: String,
}

/// Looks around.
pub(crate) fn describe(is_quick: bool) -> Result<Machine> {
    let processor = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let lock = std::fs::read_to_string(process::root().join("Cargo.lock"))?;
    let burn = lock.split("name = \"burn\"\nversion = \"").nth(1).and_then(|s| s.split('"').next());
    let build = if is_quick { "dev" } else { "release" };
    let dirty = if word("git status --porcelain")?.is_empty() { "" } else { ", and changes" };
    Ok(Machine {
        date: date(),
        processor: processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        system: std::env::consts::OS.to_owned(),
        rustc: word("rustc --version")?,
        burn: burn.unwrap_or("unknown").to_owned(),
        build: build.to_owned(),
        features: "the defaults of `train` and the backends".to_owned(),
        commit: format!("{}{dirty}", word("git rev-parse --short=12 HEAD")?),
    })
}

/// Returns the output of a command, without the end of its line.
fn word(line: &str) -> Result<String> {
    Ok(process::output(line)?.trim().to_owned())
}

/// Today's date, from the days since 1970 (Howard Hinnant, `chrono`-compatible low-level date
/// algorithms, `civil_from_days`).
fn date() -> String {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
