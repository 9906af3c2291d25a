//! Tables of named columns, from files to typed cells in memory.
//!
//! [`read`] reads a file: CSV with any usual separator, or JSON Lines, plain or compressed.
//! [`Profile::of`] infers the kind of each column from its cells.
//! [`value`] turns a cell into the value of a field of a model, for training and prediction alike.
//!
//! This crate fits nothing, splits nothing and prints nothing.

mod block_file;
mod blocks;
mod columnar;
mod csv_rows;
mod doubt;
mod encode;
mod error;
mod json_lines;
mod kind;
mod options;
mod read;
mod schema;
mod table;
mod targets;
mod texts;
mod value;

pub use block_file::{BlockFile, BlockRow, place};
pub use blocks::{Block, Blocks};
pub use columnar::{ParquetWriter, Values};
pub use doubt::{Doubt, SplitRows, doubts};
pub use encode::{FieldFit, InputFit, as_taken, encode, fit};
pub use error::TableError;
pub use kind::{Kind, Profile};
pub use options::{Others, TableOptions, TableTask};
pub use read::{Head, Reading, TARGET, head, is_called_table, raw_rows, read, stem};
pub use schema::{ColumnPart, PlannedColumn, Schema};
pub use table::{Cell, Cells, Column, MISSING, Table, Texts, is_missing, number};
pub use targets::{TableTargets, rows_with_targets, targets_of, task, weights_of};
pub use texts::read_texts;
pub use value::{knows, name_of, value};
