//! What is checked before a run writes anything, by a dry run too.

use std::io::{self, IsTerminal, Write};

use anyhow::{Result, bail};
use fireclay_terminal::Exit;

use super::{Ended, Run};
use crate::job::Job;
use crate::memory;
use crate::resume::Found;

impl Run {
    /// Everything that can be known before the first step and before any memory is taken.
    pub(super) fn check(&self, job: &Job<'_>, found: Option<&Found>) -> Result<()> {
        job.length()?;
        memory::check(&self.settings, self.split.train.len())?;
        if self.args.tui && !io::stdout().is_terminal() {
            bail!("--tui needs a terminal, and the output goes to a pipe or a file");
        }
        if let Some(Found::Repeat { manifest, .. }) = found {
            self.check_repeats(manifest)?;
        }
        Ok(())
    }

    /// Says what a run would warn of, and prints its settings.
    pub(super) fn dry_run(&self, job: &Job<'_>) -> Result<Ended> {
        self.warn(&self.warnings(job));
        write!(io::stdout(), "{}", self.settings.to_toml())?;
        Ok(Ended { code: Exit::Done, result: None })
    }
}
