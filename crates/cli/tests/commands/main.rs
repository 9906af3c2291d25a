//! The program as its users see it: every command, every error, in a folder of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod columns;
mod evaluate;
mod help;
mod inspect;
mod pictures;
mod predict;
#[allow(dead_code, reason = "shared with the tests of `train`")]
#[path = "../../../train/tests/support/program.rs"]
mod program;
mod regression;
mod report;
mod support;
mod training;
