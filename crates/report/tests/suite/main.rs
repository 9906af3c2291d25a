//! The statistics and the page of a report.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests and their helpers"
)]

mod evaluate;
mod page;
mod statistics;
