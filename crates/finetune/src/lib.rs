//! Fine-tuning: start from what people already have, train exactly what they name.
//!
//! [`import()`](import::import) makes a model of the file of any program and says where each tensor
//! went; [`head::swap`] gives it other outputs; a [`Plan`](plan::Plan) says which parameters are
//! trained, when and how fast; an [`Adapter`](fireclay::Adapter) is what was added to a base. The loop
//! is that of `train`, checkpoints and exact resume included: this crate has none of its own.

mod args;
pub mod head;
pub mod import;
pub mod pattern;
mod places;
pub mod plan;
pub mod rescale;
mod run;
mod score;

pub use args::Args;
pub use run::{run, run_to_end};
