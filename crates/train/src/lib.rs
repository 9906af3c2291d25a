//! Training of multilayer perceptrons: the loop and everything around it.
//!
//! [`fit::fit`] is the loop, readable from top to bottom; [`Settings`](settings::Settings) is what a
//! run is determined by, and [`RunOptions`] is what it is carried out with. A program calls it by
//! [`Prepared`]:
//!
//! ```no_run
//! use train::settings::{Keep, Settings};
//! use train::{Prepared, RunEnd, RunOptions};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut settings = Settings::default(); // the tutorial on MNIST
//! settings.training.epochs = 2;
//! settings.training.keep = Keep::Best;
//! let options = RunOptions { out: "models".into(), ..RunOptions::default() };
//! let RunEnd::Finished(run) = Prepared::new(settings, options)?.run()? else {
//!     return Ok(()); // nothing asks this run to stop
//! };
//! println!("{:?} in {}", run.test.get("accuracy"), run.folder.display());
//! # Ok(())
//! # }
//! ```
//!
//! Such a run prints nothing, catches no signal, and keeps no state outside of its folder; a
//! [`Console`](progress::Console) hears what it does. The program `train` is [`run()`] with the
//! [`Args`] it was given.
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
mod folds;
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
mod program;
pub mod progress;
pub mod record;
mod run;
pub mod run_files;
pub mod run_folder;
pub mod schedule;
mod schema_file;
pub mod settings;
pub mod signals;
pub mod state;
mod step;
mod table_text;
pub mod tuning;
mod vectors;
pub mod verify;
pub mod warnings;

pub use args::{
    Args, AugmentArgs, BackendArgs, DataArgs, DecisionArgs, Flags, NetworkArgs, OptimizationArgs,
    OutputArgs, Rate, ResumingArgs, SettingsArgs, SoundArgs, TableArgs, TextArgs, TrainingArgs,
    activation_values, load_with_bar, norm_values,
};
pub use pictures::pictures;
pub use program::{Ended, backends, carry_out, run, run_on, run_to_end};
pub use run::{Changes, Finished, Prepared, RunEnd, RunOptions};
