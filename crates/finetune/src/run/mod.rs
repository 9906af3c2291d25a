//! From the command line to a tuned model, a converted or a merged one.

mod adapters;
mod forgetting;
mod importing;
mod merging;
mod text;
mod tune;

use std::io;
use std::path::Path;

use anyhow::{Result, bail};
use fireclay::model_file::is_model_file;
use fireclay::{Ancestor, Backend, Device, DeviceChoice, Model, Provenance};
use fireclay_data::Dataset;
use fireclay_terminal::{Exit, Program, counted, digest_start};
use train::{Ended, backends};

use crate::args::{Args, Command};

/// The program `finetune`, as messages tell people to start it.
const FINETUNE: Program = Program { installed: "finetune", by_cargo: "cargo run -p finetune --" };

/// Does what the command line asks for.
///
/// # Errors
///
/// Anything that keeps it from its end; the message names what to do.
pub fn run(args: Args) -> Result<Exit> {
    Ok(run_to_end(args, FINETUNE)?.code)
}

/// As [`run`], for a program of another name; and what came of the run, if there was one.
///
/// # Errors
///
/// As [`run`].
pub fn run_to_end(args: Args, program: Program) -> Result<Ended> {
    let code = match &args.command {
        Some(Command::Import(import)) => importing::run(import)?,
        Some(Command::Merge(merge)) => merging::run(merge)?,
        None if args.backend.list_backends => {
            say(false, &backends())?;
            Exit::Done
        }
        None => return train(&args, program),
    };
    Ok(Ended { code, result: None })
}

fn train(args: &Args, program: Program) -> Result<Ended> {
    match (&args.resuming.resume, &args.resuming.repeat) {
        (Some(run), _) => tune::resume(args, run, program),
        (None, Some(run)) => tune::repeat(args, run, program),
        (None, None) => tune::tune(args, program),
    }
}

/// Whether a file is one of Fireclay, whole or not.
fn is_ours(path: &Path) -> bool {
    fireclay_formats::open(path).is_ok_and(|file| is_model_file(&*file))
}

/// What is known of a model that was made of another.
fn descendant(parent: Ancestor, of_parent: &Provenance) -> Provenance {
    Provenance {
        program: Provenance::PROGRAM.to_owned(),
        parent: Some(parent.digest.clone()),
        ancestors: [vec![parent], of_parent.ancestors.clone()].concat(),
        ..Provenance::default()
    }
}

/// Checks that rows are as wide as a model takes them, and those of a table encoded for it.
fn fits(model: &Model, data: &Dataset) -> Result<()> {
    match data.input() {
        Some(input) if *input != model.input => {
            bail!(
                "the model takes rows without names, or other columns than the table has; give data like that \
             it was trained on with --data"
            )
        }
        Some(_) => {}
        None => drop(model.input.require_dense()?),
    }
    let (takes, width) = (model.features(), data.width());
    if takes == width {
        return Ok(());
    }
    bail!("the model takes {}, and the data has {width}", counted(takes as u64, "feature"))
}

fn cpu() -> Result<Device> {
    Ok(Backend::Flex.device(DeviceChoice::default())?)
}

fn saved(path: &Path, digest: &str) -> String {
    format!("Saved in {} ({})", path.display(), digest_start(digest))
}

/// Prints a text and a line break, unless there is nothing to be said.
fn say(is_quiet: bool, text: &str) -> io::Result<()> {
    if is_quiet || text.is_empty() { Ok(()) } else { fireclay_terminal::say(text) }
}
