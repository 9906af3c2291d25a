//! Files of other programs: goldens that they wrote, habits, and damage.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

mod burn;
mod checkpoints;
mod foreign;
mod hdf5;
mod keras;
mod keras_habits;
mod numpy;
mod onnx;
mod onnx_habits;
mod pytorch;
mod safetensors;
mod support;
mod zipped;
