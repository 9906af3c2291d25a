//! What is checked before a run writes anything.

use anyhow::Result;

use super::Run;
use super::found::Found;
use crate::job::Job;
use crate::memory;

impl Run {
    /// Checks everything that can be known before the first step and before any memory is taken.
    pub(super) fn check(&self, job: &Job<'_>, found: Option<&Found>) -> Result<()> {
        job.length()?;
        memory::check(&self.settings, self.split.train.len())?;
        if let Some(Found::Repeat { manifest, .. }) = found {
            self.check_repeats(manifest)?;
        }
        Ok(())
    }
}
