//! Training of multilayer perceptrons: the loop and everything around it.
//!
//! [`fit::fit`] is the loop, readable from top to bottom; [`Settings`](settings::Settings) is what a
//! run is determined by. The program `train` is [`run`] with the [`Args`] it was given.
//!
//! Why a loop of our own and not Burn's `Learner`: the same command must give the same bits
//! whatever happens in between, so every random choice is a function of the seed and the step, the
//! whole state is one value, and nothing waits for a scalar that it does not need. The metrics are
//! Burn's, and so is the dashboard.
#![recursion_limit = "256"]

mod args;
pub mod checkpoints;
pub mod disk;
mod divergence;
pub mod ema;
pub mod evaluate;
pub mod fit;
mod fused;
pub mod gradients;
pub mod job;
pub mod manifest;
pub mod memory;
pub mod metrics;
pub mod optimizer;
mod pictures;
pub mod place;
pub mod profile;
pub mod progress;
pub mod record;
mod resume;
mod run;
pub mod run_files;
pub mod run_folder;
pub mod schedule;
pub mod settings;
pub mod signals;
pub mod state;
mod step;
pub mod tuning;
pub mod verify;
pub mod warnings;
mod words;

pub use args::{Args, Rate};
pub use pictures::pictures;
pub use run::{Ended, Finished, Prepared, load_with_bar, run, run_on, run_to_end};
pub use words::{call_it, program};
