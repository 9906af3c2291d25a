//! Model files and the input of a network.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

mod columns;
mod committee;
mod encoders;
mod layer_by_layer;
mod support;
mod texts;
