//! What a shell and `man` know of the program.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap_complete::{Shell, generate};
use fireclay::model_file::write_whole;
use fireclay_files::Output;
use fireclay_terminal::{Exit, say};

use crate::app;

const INSTALL: &str = "\
Examples:
  fireclay completions bash > ~/.local/share/bash-completion/completions/fireclay
  fireclay completions zsh > ~/.zfunc/_fireclay
  fireclay completions fish > ~/.config/fish/completions/fireclay.fish
  fireclay completions powershell >> $PROFILE";

/// Print a shell completion script.
#[derive(Debug, clap::Args)]
#[command(about = "Print a shell completion script", after_help = INSTALL)]
pub(crate) struct Completions {
    /// Shell.
    shell: Shell,
}

const READ: &str = "\
Example:
  fireclay man ~/.local/share/man/man1 && man fireclay-train";

/// Write a manual page for each command.
#[derive(Debug, clap::Args)]
#[command(about = "Write a manual page for each command", after_help = READ)]
pub(crate) struct Man {
    /// Folder to write the pages to; created if it does not exist.
    folder: PathBuf,
    /// Overwrite existing files that are not manual pages of fireclay.
    #[arg(long)]
    force: bool,
    #[arg(from_global)]
    quiet: bool,
}

pub(crate) fn complete(args: &Completions) -> Result<Exit> {
    // Into memory first: the generator panics if its writer fails.
    let mut script = Vec::new();
    generate(args.shell, &mut app::command(), "fireclay", &mut script);
    say(&String::from_utf8(script)?)?;
    Ok(Exit::Done)
}

pub(crate) fn write_pages(args: &Man) -> Result<Exit> {
    let folder = &args.folder;
    let pages = pages().with_context(|| not_written(folder))?;
    std::fs::create_dir_all(folder).with_context(|| not_written(folder))?;
    // All before any is written.
    for (name, _) in &pages {
        let path = folder.join(name);
        let is_forced = args.force || is_page(&path);
        Output { path: &path, flag: "FOLDER", inputs: &[], is_forced }.check()?;
    }
    for (name, bytes) in &pages {
        write_whole(&folder.join(name), bytes).with_context(|| not_written(folder))?;
    }
    if !args.quiet {
        say(&format!("Manual pages are in {}", folder.display()))?;
    }
    Ok(Exit::Done)
}

fn not_written(folder: &Path) -> String {
    format!("the manual pages cannot be written to {}", folder.display())
}

/// The manual pages with their names.
fn pages() -> Result<Vec<(OsString, Vec<u8>)>> {
    // The generator writes files alone, and over whatever is there.
    let folder = tempfile::tempdir()?;
    clap_mangen::generate_to(app::command(), folder.path())?;
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(folder.path())? {
        let entry = entry?;
        pages.push((entry.file_name(), std::fs::read(entry.path())?));
    }
    pages.sort();
    Ok(pages)
}

/// Whether a file is a manual page that this program wrote, of this version or another.
fn is_page(path: &Path) -> bool {
    let mut start = Vec::new();
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let file = is_file.then(|| std::fs::File::open(path).ok()).flatten();
    let read = file.map(|file| file.take(1 << 10).read_to_end(&mut start));
    read.is_some() && String::from_utf8_lossy(&start).contains(".TH fireclay")
}
