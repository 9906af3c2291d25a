//! Import of strangers' files, and the program as its users see it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

mod adapters;
mod goldens;
mod habits;
mod inferred;
mod layers;
mod pages;
#[allow(dead_code, reason = "shared with the tests of `train`")]
#[path = "../../../train/tests/suite/program.rs"]
mod program;
mod refused;
mod reparameterized;
mod strategy;
mod tuned;
mod tuning;
