//! Statistics of given outputs, and models measured on data.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

mod evaluate;
mod statistics;
