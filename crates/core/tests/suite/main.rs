//! The public interface of the crate: the network, its losses and its model file.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

mod gradients;
mod lora;
mod losses;
mod model_file;
mod predict;
mod predictor;
mod preprocessing;
mod pytorch;
mod support;
