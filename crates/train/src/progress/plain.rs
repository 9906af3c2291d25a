//! Plain lines, for pipes and files.

use std::io::{self, Write};

use super::{Display, EpochReport, Progress, epoch_line};
use crate::job::Job;
use crate::metrics::Meter;
use crate::schedule::Length;

/// Writes a line per epoch.
pub struct Plain<W> {
    out: W,
    epochs: u64,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, epochs: 0 }
    }
}

impl<W: Write> Display for Plain<W> {
    fn start(&mut self, _job: &Job<'_>, length: Length, _meter: &Meter) -> io::Result<()> {
        self.epochs = length.epochs;
        Ok(())
    }

    fn progress(&mut self, _progress: &Progress<'_>) -> io::Result<()> {
        Ok(())
    }

    fn epoch(&mut self, report: &EpochReport) -> io::Result<()> {
        let line = writeln!(self.out, "{}", epoch_line(report, self.epochs));
        match line.and_then(|()| self.out.flush()) {
            // Whoever read the lines has gone; that is no reason to lose the run.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    fn wants_to_stop(&self) -> bool {
        false
    }
}
