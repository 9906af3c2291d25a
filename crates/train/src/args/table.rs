//! The flags of a table.

use fireclay::{DateFormat, NumberEncoding};
use toml::Value;

use super::flags::Flags;
use crate::settings::Memory;

/// The columns of a table, and how its rows are divided.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Tables")]
pub struct TableArgs {
    /// Columns to learn.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub target: Vec<String>,
    /// Rows for the final test: a share, a number of rows, or another file [default: 0.2].
    #[arg(long, value_name = "SHARE|N|FILE")]
    pub test: Option<String>,
    /// Cross-validate: train a model for each of so many folds, and print the mean of the test metrics.
    #[arg(long, value_name = "N", conflicts_with_all = ["dry_run", "check", "resume", "repeat"])]
    pub folds: Option<usize>,
    /// Columns to read as numbers.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub numeric: Vec<String>,
    /// Columns to read as categories.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub categorical: Vec<String>,
    /// Column of ordered categories, such as size=small<medium<large; repeatable.
    #[arg(long, value_name = "COLUMN=ORDER")]
    pub ordered: Vec<String>,
    /// Columns to read as dates.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub date: Vec<String>,
    /// Format of all dates: year-month-day, day-month-year, month-day-year or compact [default: inferred].
    #[arg(long, value_name = "FORMAT")]
    pub date_format: Option<DateFormat>,
    /// Encoding of numbers: standardize, robust, quantile, min-max, piecewise-linear or none [default: standardize].
    #[arg(long, value_name = "HOW")]
    pub numbers: Option<NumberEncoding>,
    /// Most values of a one-hot category; one with more is embedded [default: 32].
    #[arg(long, value_name = "N")]
    pub one_hot: Option<u32>,
    /// Columns to read as sentences.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub text: Vec<String>,
    /// Columns to leave out.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub drop: Vec<String>,
    /// Column whose equal values stay in one split.
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<String>,
    /// Column of time: the latest rows are for the test, those before them for validation.
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// Read rows in blocks within this memory, such as 500MB [default: all rows in memory].
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Column of sample weights.
    #[arg(long, value_name = "COLUMN")]
    pub weight: Option<String>,
}

impl TableArgs {
    /// Adds these settings.
    pub fn add_to(&self, flags: &mut Flags) {
        flags.list("data.table.target", &self.target);
        flags.set("data.table.test", self.test.clone().map(Value::String));
        flags.list("data.table.numeric", &self.numeric);
        flags.list("data.table.categorical", &self.categorical);
        flags.list("data.table.ordered", &self.ordered);
        flags.list("data.table.date", &self.date);
        flags.text("data.table.date_format", self.date_format);
        flags.text("data.table.numbers", self.numbers);
        flags.count("data.table.one_hot", self.one_hot);
        flags.list("data.table.text", &self.text);
        flags.list("data.table.drop", &self.drop);
        flags.text("data.table.group", self.group.as_ref());
        flags.text("data.table.time", self.time.as_ref());
        flags.text("data.memory", self.memory);
        flags.text("data.table.weight", self.weight.as_ref());
    }
}
