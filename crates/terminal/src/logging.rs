//! What a program and its libraries log while they work, on standard error.

use std::io::Write;
use std::time::Instant;

use clap::ArgAction;
use env_logger::Builder;
use log::{Level, LevelFilter, Record};

use crate::printable;

/// How the names of our own packages begin.
const OURS: [&str; 3] = ["fireclay", "finetune", "train"];

/// What warns of things that are no faults, such as that a letter is taken from another font; but
/// that no font has a letter is one.
const OTHERS: [(&str, LevelFilter); 3] = [
    ("fontdb", LevelFilter::Error),
    ("usvg", LevelFilter::Error),
    ("usvg::text::layout", LevelFilter::Warn),
];

/// The flags that say how much a program prints, for all of its commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Output")]
#[group(skip)]
pub struct Messages {
    /// Print only errors and requested output.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log files, devices and timings; -vv logs more.
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
}

impl Messages {
    /// Shows warnings from here on, more of Fireclay's for each `verbose`, and nothing but errors if
    /// `quiet`; or what `RUST_LOG` asks for, whatever the flags say.
    pub fn start_logging(self) {
        let began = Instant::now();
        let mut builder = Builder::new();
        match std::env::var("RUST_LOG") {
            Ok(filters) if !filters.is_empty() => {
                builder.parse_filters(&filters);
            }
            _ if self.quiet => {
                builder.filter_level(LevelFilter::Error);
            }
            _ => {
                builder.filter_level(LevelFilter::Warn);
                for (name, level) in OTHERS {
                    builder.filter_module(name, level);
                }
                for name in OURS {
                    builder.filter_module(name, level(self.verbose));
                }
            }
        }
        builder.format(move |out, record| {
            let head = head(record.level(), began.elapsed().as_secs_f64());
            writeln!(out, "{head}: {}", message(record))
        });
        // It is called once, so that there is no other to be in its way.
        let _ = builder.try_init();
    }
}

fn level(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

/// `warning`, or `info 0.412 s`: what is logged in passing has the seconds since the beginning.
fn head(level: Level, seconds: f64) -> String {
    let name = match level {
        Level::Error => return "error".to_owned(),
        Level::Warn => return "warning".to_owned(),
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    format!("{name} {seconds:.3} s")
}

/// The text, with the module that it is of unless that is ours.
fn message(record: &Record<'_>) -> String {
    const MOST: usize = 1000;
    let text = record.args().to_string();
    let lines: Vec<String> = text.lines().map(|line| printable(line, MOST)).collect();
    let text = lines.join("\n  ");
    let is_ours = OURS.iter().any(|name| record.target().starts_with(name));
    if is_ours { text } else { format!("{}: {text}", record.target()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_told_to_be_theirs_and_moves_no_cursor() {
        let said = |target: &str, text: &str| {
            message(&Record::builder().target(target).args(format_args!("{text}")).build())
        };
        assert_eq!(said("fireclay_data::load", "read a"), "read a");
        assert_eq!(said("wgpu_hal::vulkan", "lost\nall"), "wgpu_hal::vulkan: lost\n  all");
        assert_eq!(said("train", "a\u{1b}[2J"), "a\u{fffd}[2J");
    }
}
