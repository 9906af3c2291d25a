//! `metrics.jsonl` of a run as curves.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use train::disk::{MOST_LOG, read_text};
use train::metrics::MetricChoice;
use train::run_files::METRICS;

use crate::error::ReportError;

/// A line of the log.
#[derive(Debug, Deserialize)]
pub(crate) struct Line {
    pub(crate) split: String,
    pub(crate) span: String,
    epoch: u64,
    pub(crate) step: u64,
    /// Numbers by name; none where one is not finite.
    #[serde(flatten)]
    pub(crate) values: BTreeMap<String, Option<f64>>,
}

impl Line {
    /// The same numbers, with metrics of older runs under the names that they have today.
    fn with_names_of_today(mut self) -> Self {
        let values = self.values.into_iter().map(|(name, value)| {
            let metric = name.parse::<MetricChoice>();
            (metric.map_or(name, |metric| metric.to_string()), value)
        });
        self.values = values.collect();
        self
    }
}

/// What was measured in a run: its `metrics.jsonl`.
#[derive(Debug)]
pub struct Log {
    lines: Vec<Line>,
}

/// A number over the epochs of a run: `(epochs trained, number)`; those that are not finite are
/// left out.
pub type Curve = Vec<(f64, f64)>;

/// The number with a name, in its three forms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// In training, every few steps.
    pub steps: Curve,
    /// In training, whole epochs.
    pub training: Curve,
    /// On the validation rows, after each epoch.
    pub validation: Curve,
}

impl Log {
    /// Reads the log of a run in this folder; of a run that has none yet, an empty one.
    ///
    /// # Errors
    ///
    /// [`ReportError::Read`], and [`ReportError::Log`] for a line that is not a measurement.
    pub fn load(folder: &Path) -> Result<Self, ReportError> {
        let path = folder.join(METRICS);
        let text = match read_text(&path, MOST_LOG) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ReportError::Read { path, source }),
        };
        Self::parse(&text).map_err(|(line, source)| ReportError::Log { path, line, source })
    }

    /// Names of everything that was measured, such as `loss`, sorted.
    pub fn names(&self) -> Vec<&str> {
        let names: BTreeSet<&str> =
            self.lines.iter().flat_map(|line| line.values.keys().map(String::as_str)).collect();
        names.into_iter().collect()
    }

    /// Reads the text of a log; a last line without its end is one that was being written.
    ///
    /// # Errors
    ///
    /// The number of the first line, from 1, that is none, and why.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, serde_json::Error)> {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let lines = lines.map(|(i, line)| match serde_json::from_str::<Line>(line) {
            Ok(line) => Ok(line.with_names_of_today()),
            Err(error) => Err((i + 1, error)),
        });
        Ok(Self { lines: lines.collect::<Result<_, _>>()? })
    }

    /// The measurements, in the order in which they were taken.
    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The last step that was measured.
    pub fn last_step(&self) -> u64 {
        self.lines.iter().map(|line| line.step).max().unwrap_or(0)
    }

    /// Optimizer steps of an epoch, as the first whole one had; 0 before its end.
    pub fn steps_per_epoch(&self) -> u64 {
        let whole = self.lines.iter().find(|line| line.span == "epoch" && line.epoch > 0);
        whole.map_or(0, |line| line.step / line.epoch)
    }

    /// The number with a name over the epochs.
    pub fn curves(&self, name: &str) -> Curves {
        Curves {
            steps: self.curve("training", "steps", name),
            training: self.curve("training", "epoch", name),
            validation: self.curve("validation", "epoch", name),
        }
    }

    fn curve(&self, split: &str, span: &str, name: &str) -> Curve {
        let per_epoch = self.steps_per_epoch().max(1) as f64;
        let lines = self.lines.iter().filter(|line| line.split == split && line.span == span);
        let points = lines.filter_map(|line| {
            let value = line.values.get(name).copied().flatten()?;
            Some((line.step as f64 / per_epoch, value))
        });
        points.collect()
    }
}

/// At most `most` points: means of equally many neighbours each.
pub(crate) fn thinned(curve: &[(f64, f64)], most: usize) -> Curve {
    let group = curve.len().div_ceil(most.max(1)).max(1);
    curve.chunks(group).map(mean).collect()
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    (sum.0 / n, sum.1 / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"{"split":"training","span":"steps","epoch":1,"step":5,"loss":2.0,"learning-rate":0.1}
{"split":"training","span":"steps","epoch":1,"step":10,"loss":null,"learning-rate":0.1}
{"split":"training","span":"epoch","epoch":1,"step":10,"loss":1.5}
{"split":"validation","span":"epoch","epoch":1,"step":10,"loss":1.25}
{"split":"training","span":"steps","epoch":2,"step":15,"lo"#;

    #[test]
    fn metrics_of_older_runs_have_the_names_of_today() {
        let text = r#"{"split":"test","span":"epoch","epoch":1,"step":1,"f-1":0.5,"speed":1}"#;
        let log = Log::parse(&format!("{text}\n")).unwrap();
        assert_eq!(log.names(), ["macro-f1", "speed"]);
    }

    #[test]
    fn a_log_becomes_curves_over_epochs() {
        let log = Log::parse(LOG).unwrap();
        let loss = log.curves("loss");
        assert_eq!(loss.steps, [(0.5, 2.0)]);
        assert_eq!((loss.training, loss.validation), (vec![(1.0, 1.5)], vec![(1.0, 1.25)]));
        assert_eq!(log.curves("learning-rate").steps.len(), 2);
        assert_eq!((log.last_step(), log.steps_per_epoch()), (10, 10));
        assert_eq!(log.names(), ["learning-rate", "loss"]);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let damaged = LOG.replacen("\"step\":10", "\"step\":ten", 1);
        assert!(matches!(Log::parse(&damaged), Err((2, _))));
        assert_eq!(Log::parse("").unwrap().last_step(), 0);
    }

    #[test]
    fn long_curves_are_thinned() {
        let curve: Curve = (0..10).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        assert_eq!(
            thinned(&curve, 5),
            [(0.5, 0.5), (2.5, 0.5), (4.5, 0.5), (6.5, 0.5), (8.5, 0.5)]
        );
        assert_eq!(thinned(&curve, 10), curve);
    }
}
