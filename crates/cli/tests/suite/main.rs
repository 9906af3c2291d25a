//! The program as its users see it: every command, every error, in a folder of its own.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

mod agreement;
mod blocks;
mod both;
mod columns;
mod decision;
mod evaluate;
mod help;
mod inspect;
#[cfg(target_os = "linux")]
mod limits;
mod pages;
mod pictures;
mod predict;
#[allow(dead_code, reason = "shared with the tests of `train`")]
#[path = "../../../train/tests/suite/program.rs"]
mod program;
mod recipes;
mod regression;
mod report;
mod runs;
mod sounds;
mod support;
mod tables;
mod training;
