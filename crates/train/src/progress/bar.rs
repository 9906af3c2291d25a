//! A progress bar, for terminals.

use std::io::{self, Write};

use fireclay_terminal::{Stdout, duration, thousands};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Display, EpochReport, Progress, epoch_line, list};
use crate::job::Job;
use crate::metrics::Meter;
use crate::schedule::Length;

/// Draws a bar for the whole run with the numbers of the epoch under way, above which the line of each epoch stays.
pub struct Bar {
    bar: ProgressBar,
    length: Length,
    samples: usize,
}

impl Default for Bar {
    fn default() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            length: Length { steps_per_epoch: 1, epochs: 1 },
            samples: 0,
        }
    }
}

impl Display for Bar {
    fn start(&mut self, job: &Job<'_>, length: Length, _meter: &Meter) -> io::Result<()> {
        self.length = length;
        self.samples = job.samples_per_epoch();
        let style = ProgressStyle::with_template("{prefix} [{bar:10.cyan/blue}] {wide_msg}");
        let style = style.map_err(io::Error::other)?.progress_chars("=> ");
        self.bar =
            ProgressBar::with_draw_target(Some(length.steps()), ProgressDrawTarget::stdout());
        self.bar.set_style(style);
        Ok(())
    }

    fn progress(&mut self, progress: &Progress<'_>) -> io::Result<()> {
        let Progress { epoch, samples, speed, meter, .. } = progress;
        let left = (self.length.epochs - epoch) as f64 * self.samples as f64
            + (self.samples - samples) as f64;
        let message = format!(
            "{}  {}/s  {} left",
            list(&meter.so_far()),
            thousands(*speed),
            duration(left / speed),
        );
        self.bar.set_prefix(format!("epoch {epoch}/{}", self.length.epochs));
        self.bar.set_position(progress.step);
        self.bar.set_message(message);
        Ok(())
    }

    fn epoch(&mut self, report: &EpochReport) -> io::Result<()> {
        let line = epoch_line(report, self.length.epochs);
        self.bar.suspend(|| writeln!(Stdout, "{line}"))
    }

    fn wants_to_stop(&self) -> bool {
        false
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
