//! The loop, the run folder, and the program as its users see it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

mod backend_contract;
mod beginning;
mod choices;
mod cli;
mod damage;
mod faults;
mod fit;
#[cfg(unix)]
mod going_on;
mod learning;
mod library;
mod moved;
mod optimizers;
mod program;
mod refused;
mod regression;
mod repeating;
mod resume;
mod runs;
mod setup;
mod texts;
