//! Text that people read in a terminal: tables, lists, numbers, names from files, messages and exit
//! codes.
//!
//! Names and texts from files may hold characters that move a cursor or turn the direction of
//! writing: [`printable`] and [`quoted_path`] make them harmless.

#[cfg(feature = "command-line")]
mod command_line;
mod exit;
mod list;
#[cfg(feature = "command-line")]
mod logging;
mod number;
mod output;
mod printable;
mod program;
mod shell;
mod table;
mod wrap;

#[cfg(feature = "command-line")]
pub use command_line::matches;
pub use exit::{Exit, exit};
pub use list::{listed, names, sizes};
#[cfg(feature = "command-line")]
pub use logging::Messages;
pub use number::{counted, decimal, duration, group, short, thousands};
pub use output::{Stdout, message, say, say_to_reader, tell, warn};
pub use printable::{digest_start, is_visible, printable};
pub use program::Program;
pub use shell::{hint_of_runs, quoted, quoted_path};
pub use table::table;
pub use wrap::wrapped_at;
