//! Burn's terminal dashboard.

use std::io;

use burn::train::Interrupter;
use burn::train::logger::TrainingProgressLogger;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::renderer::{MetricState, MetricsRenderer, MetricsRendererTraining};

use super::{EpochReport, Observer, Progress};
use crate::fit::Job;
use crate::metrics::Meter;
use crate::schedule::Length;

/// Shows the run in Burn's dashboard, which takes over the terminal until it is dropped.
pub struct Dashboard {
    renderer: TuiMetricsRendererWrapper,
    interrupter: Interrupter,
    samples: usize,
    is_training: bool,
}

impl Default for Dashboard {
    fn default() -> Self {
        let interrupter = Interrupter::new();
        let renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
        Self { renderer, interrupter, samples: 0, is_training: false }
    }
}

impl Dashboard {
    /// The dashboard's own "stop" key ends the run.
    fn check(&self) -> io::Result<()> {
        if self.interrupter.should_stop() {
            return Err(io::Error::other("stopped from the dashboard"));
        }
        Ok(())
    }
}

impl Observer for Dashboard {
    fn start(&mut self, job: &Job<'_>, length: Length, meter: &Meter) -> io::Result<()> {
        self.samples = job.samples_per_epoch();
        meter.definitions().into_iter().for_each(|metric| self.renderer.register_metric(metric));
        self.renderer.start(length.epochs as usize, 1, Some(self.samples), Some("train"));
        Ok(())
    }

    fn progress(&mut self, progress: &Progress<'_>) -> io::Result<()> {
        if !self.is_training {
            self.renderer.start_split("train", self.samples);
            self.is_training = true;
        }
        progress.meter.states().into_iter().for_each(|state| self.renderer.update_train(state));
        self.renderer.update_split(progress.samples);
        self.check()
    }

    fn epoch(&mut self, report: &EpochReport) -> io::Result<()> {
        self.renderer.end_split();
        self.is_training = false;
        self.renderer.start_split("valid", 1);
        report.validation.states.iter().for_each(|state| self.renderer.update_valid(copy(state)));
        self.renderer.update_split(1);
        self.renderer.end_split();
        self.renderer.update_epoch(report.epoch as usize);
        self.check()
    }
}

fn copy(state: &MetricState) -> MetricState {
    match state {
        MetricState::Generic(entry) => MetricState::Generic(entry.clone()),
        MetricState::Numeric(entry, value) => MetricState::Numeric(entry.clone(), value.clone()),
    }
}
