//! The flags of a table.

use std::path::PathBuf;

use fireclay::{DateFormat, NumberEncoding};
use fireclay_data::tables::TARGET;
use toml::Value;

use super::TextArgs;
use super::flags::Flags;
use crate::schema_file;
use crate::settings::{Memory, Partial, SettingsError};

/// The columns of a table, and how its rows are divided.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Tables")]
pub struct TableArgs {
    /// Target columns, which the model predicts; required for a new model of a table.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub target: Vec<String>,
    /// File of the targets of the rows, in one column, such as the labels of embeddings [default: the targets are columns of the table].
    #[arg(long, value_name = "FILE")]
    pub target_file: Option<String>,
    /// Schema of the columns, a TOML or JSON file: targets, kinds, orders and formats [default: inferred].
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// File to write the schema of the table to, as inferred, for use with --schema.
    #[arg(long, value_name = "FILE", requires = "check")]
    pub write_schema: Option<PathBuf>,
    /// Rows for the final test: a share, a number of rows, another file, or values of a column such as split=test [default: 0.2].
    #[arg(long, value_name = "SHARE|N|FILE|COLUMN=VALUES")]
    pub test: Option<String>,
    /// Cross-validate with this number of folds, and print the mean of each test metric.
    #[arg(long, value_name = "N", conflicts_with_all = ["dry_run", "check", "resume", "repeat"])]
    pub folds: Option<usize>,
    /// Keep the models of all folds of --folds as one ensemble, whose prediction is their mean.
    #[arg(long, requires = "folds")]
    pub ensemble: bool,
    /// Columns to read as numbers [default: inferred].
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub numeric: Vec<String>,
    /// Columns to read as truth values [default: inferred].
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub boolean: Vec<String>,
    /// Columns to read as categories [default: inferred].
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub categorical: Vec<String>,
    /// Column of ordered categories, such as size=small<medium<large; repeatable.
    #[arg(long, value_name = "COLUMN=ORDER")]
    pub ordered: Vec<String>,
    /// Columns to read as dates, each with or without a format of its own, such as born=day-month-year [default: inferred].
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub date: Vec<String>,
    /// Format of dates: year-month-day, day-month-year, month-day-year or compact [default: inferred].
    #[arg(long, value_name = "FORMAT")]
    pub date_format: Option<DateFormat>,
    /// Encoding of numeric columns: standardize, robust, quantile, min-max, piecewise-linear or none [default: standardize].
    #[arg(long, value_name = "HOW")]
    pub numbers: Option<NumberEncoding>,
    /// Largest number of values of a one-hot category; one with more gets a learned embedding [default: 32].
    #[arg(long, value_name = "N")]
    pub one_hot: Option<u32>,
    /// Columns to read as texts [default: inferred].
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub text: Vec<String>,
    /// Columns to leave out [default: none].
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub drop: Vec<String>,
    /// Column of groups: rows with equal values stay in one split [default: none].
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<String>,
    /// Column of time: the latest rows are for the test, those before them for validation [default: random splits].
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// Limit the memory of the process to this size, such as 500MB, and read rows in blocks from an uncompressed CSV, TSV, Parquet, NPY, NPZ or safetensors file [default: all rows in memory].
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Column of sample weights [default: 1 each].
    #[arg(long, value_name = "COLUMN")]
    pub weight: Option<String>,
    /// The terms of texts.
    #[command(flatten)]
    pub texts: TextArgs,
}

impl TableArgs {
    /// The settings that the schema file gives, if one is named.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is no schema.
    pub fn schema(&self) -> Result<Option<Partial>, SettingsError> {
        self.schema.as_deref().map(schema_file::read).transpose()
    }

    /// Adds these settings.
    pub fn add_to(&self, flags: &mut Flags) {
        let of_file = self.target_file.iter().map(|_| TARGET.to_owned()).collect();
        let target = if self.target.is_empty() { of_file } else { self.target.clone() };
        flags.list("data.table.target", &target);
        flags.text("data.table.target_file", self.target_file.as_ref());
        flags.set("data.table.test", self.test.clone().map(Value::String));
        flags.list("data.table.numeric", &self.numeric);
        flags.list("data.table.boolean", &self.boolean);
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
        self.texts.add_to(flags);
    }
}
