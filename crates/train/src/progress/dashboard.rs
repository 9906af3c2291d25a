//! Burn's terminal dashboard.

use std::io::{self, Write};

use burn::train::Interrupter;
use burn::train::logger::TrainingProgressLogger;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::renderer::{MetricState, MetricsRenderer, MetricsRendererTraining};

use super::{Display, EpochReport, Progress, epoch_line};
use crate::job::Job;
use crate::metrics::Meter;
use crate::schedule::Length;

/// Shows the run in Burn's dashboard, which takes over the terminal until it is dropped.
///
/// The lines of the epochs are written when it is.
pub struct Dashboard {
    renderer: Option<TuiMetricsRendererWrapper>,
    interrupter: Interrupter,
    lines: Vec<String>,
    epochs: u64,
    samples: usize,
    is_training: bool,
}

impl Default for Dashboard {
    fn default() -> Self {
        let interrupter = Interrupter::new();
        let renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
        let renderer = Some(renderer);
        Self { renderer, interrupter, lines: Vec::new(), epochs: 0, samples: 0, is_training: false }
    }
}

impl Display for Dashboard {
    fn start(&mut self, job: &Job<'_>, length: Length, meter: &Meter) -> io::Result<()> {
        self.samples = job.samples_per_epoch();
        self.epochs = length.epochs;
        if let Some(renderer) = &mut self.renderer {
            meter.definitions().into_iter().for_each(|metric| renderer.register_metric(metric));
            renderer.start(length.epochs as usize, 1, Some(self.samples), Some("train"));
        }
        Ok(())
    }

    fn progress(&mut self, progress: &Progress<'_>) -> io::Result<()> {
        if let Some(renderer) = &mut self.renderer {
            if !self.is_training {
                renderer.start_split("train", self.samples);
                self.is_training = true;
            }
            progress.meter.states().into_iter().for_each(|state| renderer.update_train(state));
            renderer.update_split(progress.samples);
        }
        Ok(())
    }

    fn epoch(&mut self, report: &EpochReport) -> io::Result<()> {
        self.lines.push(epoch_line(report, self.epochs));
        self.is_training = false;
        if let Some(renderer) = &mut self.renderer {
            renderer.end_split();
            renderer.start_split("valid", 1);
            report.validation.states.iter().for_each(|state| renderer.update_valid(copy(state)));
            renderer.update_split(1);
            renderer.end_split();
            renderer.update_epoch(report.epoch as usize);
        }
        Ok(())
    }

    /// The dashboard has a key to end the run.
    fn wants_to_stop(&self) -> bool {
        self.interrupter.should_stop()
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        // Closes the dashboard, which gives the terminal back.
        self.renderer = None;
        let lines = self.lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        // There is nobody left to tell of a terminal that cannot be written to.
        let _ = io::stdout().write_all(lines.as_bytes());
    }
}

fn copy(state: &MetricState) -> MetricState {
    match state {
        MetricState::Generic(entry) => MetricState::Generic(entry.clone()),
        MetricState::Numeric(entry, value) => MetricState::Numeric(entry.clone(), value.clone()),
    }
}
