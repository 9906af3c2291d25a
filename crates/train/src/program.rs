//! The program `train`: from its flags to a run, and from the end of a run to an exit code.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fireclay::Backend;
use fireclay_files::Output;
use fireclay_terminal::{Exit, Program, quoted, quoted_path, say};

use crate::args::{Args, OutputArgs, Rate};
use crate::disk::Disk;
use crate::folds;
use crate::run::{Changes, Finished, Prepared, RunEnd};
use crate::schema_file;
use crate::table_text::in_full;

/// The program `train`, as messages tell people to start it.
const TRAIN: Program = Program { installed: "train", by_cargo: "cargo run -p train --" };

/// How a program ended that may have trained.
pub struct Ended {
    /// The exit code of the program.
    pub code: Exit,
    /// What came of the run, if there was one and it came to its end.
    pub result: Option<Finished>,
}

impl From<RunEnd> for Ended {
    fn from(end: RunEnd) -> Self {
        match end {
            RunEnd::Finished(finished) => {
                let is_as_before = finished.repeats != Some(false);
                Self { code: Exit::of_gate(is_as_before), result: Some(*finished) }
            }
            RunEnd::Interrupted { signal } => Self { code: Exit::Signal(signal), result: None },
        }
    }
}

/// Does what the command line asks for.
///
/// # Errors
///
/// Anything that keeps the run from its end; its message names what to do.
pub fn run(args: Args) -> Result<Exit> {
    run_on(args, Disk::default())
}

/// As [`run`], with the files of the run on this disk.
///
/// # Errors
///
/// As [`run`].
pub fn run_on(args: Args, disk: Disk) -> Result<Exit> {
    Ok(run_to_end(args, TRAIN, disk)?.code)
}

/// As [`run_on`], for a program of another name; and what came of the run, if there was one.
///
/// # Errors
///
/// As [`run`].
pub fn run_to_end(args: Args, program: Program, disk: Disk) -> Result<Ended> {
    if let Some((_, rate)) = Rate::of_groups(&args.lr).next() {
        let typed = quoted(&rate.typed);
        bail!("--lr {typed}: groups of parameters have rates of their own in `finetune`");
    }
    let is_new = args.resuming.resume.is_none() && args.resuming.repeat.is_none();
    if let Some(source) = args.replay_data.as_deref().filter(|_| is_new) {
        let source = quoted(source);
        bail!("--replay-data {source}: a new run replays other data in `finetune` alone");
    }
    if args.backend.list_backends {
        say(&backends())?;
        return Ok(Ended { code: Exit::Done, result: None });
    }
    let mut options = args.output.options(&args.resuming, program, disk)?;
    options.settings_folder = args.settings.folder(&args.data);
    if let Some(count) = args.table.folds {
        return folds::new(&args, options, count);
    }
    if let Some(folder) = folds::existing(&args) {
        return folds::resume(folder, options);
    }
    let prepared = match (&args.resuming.resume, &args.resuming.repeat) {
        (Some(run), _) => Prepared::resume(run, &args.changes()?, options)?,
        (None, Some(run)) => Prepared::repeat(run, &args.changes()?, options)?,
        (None, None) => Prepared::new(args.new_settings()?, options)?,
    };
    carry_out(prepared, &args.output, args.table.write_schema.as_deref())
}

impl Args {
    /// What a resumed or repeated run takes from the command line.
    fn changes(&self) -> Result<Changes> {
        let (data, replay_data) = (self.data.source.clone(), self.replay_data.clone());
        Ok(Changes { settings: self.parts()?, data, replay_data })
    }
}

/// Trains, or prints the settings in a dry run; a check of a table writes its schema to the file that is
/// named.
///
/// # Errors
///
/// Anything that keeps the run from its end.
pub fn carry_out(prepared: Prepared, output: &OutputArgs, schema: Option<&Path>) -> Result<Ended> {
    if output.check {
        let Some(table) = &prepared.data().table else {
            bail!("--check needs a table; give one with --data");
        };
        say(in_full(table).trim_end())?;
        if let Some(path) = schema {
            let inputs = [PathBuf::from(&prepared.settings().data.source)];
            Output { path, flag: "--write-schema", inputs: &inputs, is_forced: false }.check()?;
            let text = schema_file::text(table, &prepared.settings().data.table);
            prepared.options().disk.write_whole(path, text.as_bytes())?;
            say(&format!("Schema: {}", quoted_path(path)))?;
        }
        return Ok(Ended { code: Exit::Done, result: None });
    }
    if output.dry_run {
        let settings = prepared.check()?;
        say(&settings.spelled_out().to_toml())?;
        return Ok(Ended { code: Exit::Done, result: None });
    }
    let console = prepared.options().console.clone();
    let ended = Ended::from(prepared.run()?);
    if let Some(finished) = ended.result.as_ref().filter(|_| output.profile) {
        console.say(&format!("\n{}", finished.profile))?;
    }
    Ok(ended)
}

/// The table of `--list-backends`.
pub fn backends() -> String {
    let mut table = format!("{:<9} {:<12} devices\n", "backend", "compiled in");
    for &backend in Backend::ALL {
        let (compiled, devices) = if backend.is_compiled() {
            ("yes", names_of_devices(backend))
        } else {
            ("no", format!("build with --features {backend}"))
        };
        table += &format!("{backend:<9} {compiled:<12} {devices}\n");
    }
    table
}

fn names_of_devices(backend: Backend) -> String {
    let found = backend.devices();
    if found.is_empty() {
        return "none found".to_owned();
    }
    let names = found.iter().enumerate().map(|(i, device)| format!("{i}: {}", device.name));
    names.collect::<Vec<_>>().join(", ")
}
