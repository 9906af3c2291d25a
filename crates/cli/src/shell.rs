//! What a shell and `man` know of the program.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap_complete::{Shell, generate};

use crate::app;
use crate::output::say;

const INSTALL: &str = "\
Examples:
  fireclay completions bash > ~/.local/share/bash-completion/completions/fireclay
  fireclay completions zsh > ~/.zfunc/_fireclay
  fireclay completions fish > ~/.config/fish/completions/fireclay.fish
  fireclay completions powershell >> $PROFILE";

/// Write the script that completes commands and flags in a shell.
#[derive(Debug, clap::Args)]
#[command(about = "Write the script that completes commands in a shell", after_help = INSTALL)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

const READ: &str = "\
Example:
  fireclay man ~/.local/share/man/man1 && man fireclay-train";

/// Write a manual page for each command.
#[derive(Debug, clap::Args)]
#[command(about = "Write a manual page for each command", after_help = READ)]
pub(crate) struct Man {
    /// The folder to write them to; made if it is not there.
    folder: PathBuf,
    #[arg(from_global)]
    quiet: bool,
}

pub(crate) fn complete(args: &Completions) -> Result<ExitCode> {
    // Into memory first: the generator panics if its writer fails.
    let mut script = Vec::new();
    generate(args.shell, &mut app::command(), "fireclay", &mut script);
    say(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn write_pages(args: &Man) -> Result<ExitCode> {
    let folder = &args.folder;
    let named = || format!("the manual pages can not be written to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(named)?;
    clap_mangen::generate_to(app::command(), folder).with_context(named)?;
    if !args.quiet {
        say(&format!("Manual pages are in {}", folder.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
