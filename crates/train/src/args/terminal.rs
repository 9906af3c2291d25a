//! A run in the terminal: what it prints, and the options that flags amount to.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use fireclay_data::{DataError, LoadOptions, Source, TrainTest, load};
use fireclay_terminal::{Program, Stdout, say, warn};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::LevelFilter;

use super::{OutputArgs, ResumingArgs};
use crate::disk::Disk;
use crate::progress::{Bar, Console, Dashboard, Display, Plain, Silent};
use crate::run::RunOptions;

/// The terminal as the console of a run.
#[derive(Clone, Copy, Debug)]
struct Terminal {
    /// Whether what a run says is printed.
    says: bool,
    /// Whether warnings are.
    warns: bool,
    has_dashboard: bool,
}

impl Console for Terminal {
    fn say(&self, text: &str) -> io::Result<()> {
        if self.says { say(text) } else { Ok(()) }
    }

    fn warn(&self, warning: &str) {
        if self.warns {
            warn(warning);
        }
    }

    fn display(&self) -> Box<dyn Display> {
        if !self.says {
            Box::new(Silent)
        } else if self.has_dashboard {
            Box::new(Dashboard::default())
        } else if io::stdout().is_terminal() && log::max_level() < LevelFilter::Info {
            Box::new(Bar::default())
        } else {
            // What is logged would be written across a bar.
            Box::new(Plain::new(Stdout))
        }
    }
}

impl OutputArgs {
    /// The options of a run, for a `program` that messages tell people to start again.
    ///
    /// # Errors
    ///
    /// A dashboard without a terminal.
    pub fn options(
        &self,
        resuming: &ResumingArgs,
        program: Program,
        disk: Disk,
    ) -> Result<RunOptions> {
        if self.tui && !io::stdout().is_terminal() {
            bail!("--tui needs a terminal, and the output goes to a pipe or a file");
        }
        // A dry run prints its settings alone.
        let says = !self.quiet && !self.dry_run;
        let terminal = Terminal { says, warns: !self.quiet, has_dashboard: self.tui };
        Ok(RunOptions {
            out: self.out.clone(),
            name: self.name.clone(),
            settings_folder: None,
            checkpoint_every: resuming.checkpoint_every.clone(),
            is_deterministic: resuming.deterministic,
            catches_signals: true,
            program: program.command().to_owned(),
            console: Arc::new(terminal),
            load: load_with_bar,
            disk,
        })
    }
}

impl super::SettingsArgs {
    /// The folder of the settings file, if it names the data.
    pub fn folder(&self, data: &super::DataArgs) -> Option<PathBuf> {
        let file = self.config.as_ref().filter(|_| data.source.is_none())?;
        Some(file.parent().map(PathBuf::from).unwrap_or_default())
    }
}

/// Loads a data set, with a bar if it has to be fetched.
///
/// # Errors
///
/// The data's.
pub fn load_with_bar(source: &Source) -> Result<TrainTest, DataError> {
    // Whoever wants to hear of errors alone wants no bar.
    let target = match log::max_level() {
        LevelFilter::Error => ProgressDrawTarget::hidden(),
        _ => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = ProgressStyle::with_template(
        "{msg} [{bar:30.cyan/blue}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
    );
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    let data = load(source, &LoadOptions::default(), &mut |progress| {
        bar.set_message(progress.file);
        bar.set_length(progress.total.unwrap_or(progress.done));
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    data
}
