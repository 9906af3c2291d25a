//! The findings, and their tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::machine::Machine;
use super::{LOGITS, LOSS};
use crate::numbers::{Spread, Table, grouped, markdown, row};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) agreement: Vec<Agreement>,
    pub(crate) training: Vec<Training>,
    pub(crate) inference: Vec<Inference>,
}

/// The agreement of a backend with the reference on one network.
#[derive(Debug, Serialize)]
pub(crate) struct Agreement {
    pub(crate) backend: String,
    pub(crate) device: Option<String>,
    pub(crate) shape: String,
    pub(crate) verdict: Verdict,
    /// Farthest logit, before training.
    pub(crate) logits: Option<f64>,
    /// Rows whose class is another one, where the reference is sure.
    pub(crate) other_classes: Option<usize>,
    /// The distance of the loss after training, relative to it; not measured on the wide network.
    pub(crate) loss: Option<f64>,
    /// Why it could not be compared.
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Agrees,
    Wrong,
    CannotStart,
}

/// The time of training steps.
#[derive(Debug, Serialize)]
pub(crate) struct Training {
    pub(crate) shape: String,
    pub(crate) batch: u32,
    pub(crate) backend: String,
    /// Of the first step: kernels are compiled and tuned in it.
    pub(crate) cold_s: Spread,
    pub(crate) step_us: Spread,
    pub(crate) samples_per_s: Spread,
}

/// The time of predictions.
#[derive(Debug, Serialize)]
pub(crate) struct Inference {
    pub(crate) shape: String,
    pub(crate) batch: u32,
    pub(crate) backend: String,
    pub(crate) p50_us: Spread,
    pub(crate) p99_us: Spread,
    pub(crate) samples_per_s: Spread,
}

impl Agreement {
    /// Of what a backend and the reference came to.
    pub(crate) fn of(backend: &str, shape: &str, found: &Value, reference: &Value) -> Result<Self> {
        let (logits, expected) = (logits(found)?, logits(reference)?);
        let mut farthest = 0.0_f64;
        let mut other_classes = 0;
        for (row, expected) in logits.iter().zip(&expected) {
            for (z, expected) in row.iter().zip(expected) {
                // A NaN must not be lost in a comparison.
                let off = (z - expected).abs();
                farthest = if off <= farthest { farthest } else { off };
            }
            let class = largest(expected);
            // Within the tolerance, either class is right.
            let is_sure = expected
                .iter()
                .enumerate()
                .all(|(i, &z)| i == class || expected[class] - z > 2.0 * LOGITS);
            other_classes += usize::from(is_sure && largest(row) != class);
        }
        let loss = reference["loss"].as_f64().map(|expected| {
            let loss = found["loss"].as_f64().unwrap_or(f64::NAN);
            (loss - expected).abs() / expected.abs().max(1e-12)
        });
        let agrees = logits.len() == expected.len()
            && farthest <= LOGITS
            && other_classes == 0
            && loss.is_none_or(|off| off <= LOSS);
        Ok(Self {
            backend: backend.to_owned(),
            device: found["device"].as_str().map(str::to_owned),
            shape: shape.to_owned(),
            verdict: if agrees { Verdict::Agrees } else { Verdict::Wrong },
            logits: Some(farthest),
            other_classes: Some(other_classes),
            loss,
            reason: None,
        })
    }

    /// Of a backend that computed nothing.
    pub(crate) fn none(backend: &str, shape: &str, reason: &str) -> Self {
        Self {
            backend: backend.to_owned(),
            device: None,
            shape: shape.to_owned(),
            verdict: Verdict::CannotStart,
            logits: None,
            other_classes: None,
            loss: None,
            reason: Some(reason.to_owned()),
        }
    }

    /// The same in words.
    pub(crate) fn sentence(&self) -> String {
        if let Some(reason) = &self.reason {
            return format!("cannot start: {}", reason.replace('\n', "; "));
        }
        let verdict = if self.verdict == Verdict::Agrees { "agrees" } else { "WRONG" };
        let mut text = format!(
            "{verdict}; logits within {:.1e}, {} other classes",
            self.logits.unwrap_or(f64::NAN),
            self.other_classes.unwrap_or(0)
        );
        if let Some(loss) = self.loss {
            let _ = write!(text, ", loss after 100 steps within {loss:.1e}");
        }
        text
    }
}

const AGREEMENT: &str = "Agreement";

/// The logits in what the probe printed.
fn logits(document: &Value) -> Result<Vec<Vec<f64>>> {
    let rows = document["logits"].as_array().context("the probe printed no logits")?;
    rows.iter().map(numbers).collect::<Option<_>>().context("logits are rows of numbers")
}

/// A row of numbers. One that is not finite is `null` in JSON.
fn numbers(row: &Value) -> Option<Vec<f64>> {
    let numbers = row.as_array()?.iter();
    Some(numbers.map(|number| number.as_f64().unwrap_or(f64::NAN)).collect())
}

fn largest(row: &[f64]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0)
}

impl Report {
    /// The tables for a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (title, table) in self.tables() {
            let widths: Vec<usize> = (0..table[0].len())
                .map(|column| {
                    table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
                })
                .collect();
            let _ = writeln!(text, "{title}");
            for row in &table {
                let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, &width))| {
                    let is_text = i < 3 || row.len() == i + 1 && title == AGREEMENT;
                    if is_text { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                });
                let line = cells.collect::<Vec<_>>().join("  ");
                let _ = writeln!(text, "  {}", line.trim_end());
            }
            let _ = writeln!(text);
        }
        text
    }

    /// The same for a page, with the picture.
    pub(crate) fn markdown(&self, picture: &str) -> String {
        let m = &self.machine;
        let mut text = format!(
            "# Backends, {}\n\n{}, {} cores, {}; {}, Burn {}, {} build, features: {}; commit {}.\n\n\
             ![samples a second]({picture})\n",
            m.date, m.processor, m.cores, m.system, m.rustc, m.burn, m.build, m.features, m.commit
        );
        for (title, table) in self.tables() {
            let _ = writeln!(text, "\n## {title}\n");
            text += &markdown(&table);
        }
        text
    }

    /// The tables that have rows, with their titles.
    fn tables(&self) -> Vec<(String, Table)> {
        let build = &self.machine.build;
        [
            (AGREEMENT.to_owned(), self.agreement_table()),
            (format!("Training, {build} build"), self.training_table()),
            (format!("Inference, {build} build"), self.inference_table()),
        ]
        .into_iter()
        .filter(|(_, table)| table.len() > 1)
        .collect()
    }

    fn agreement_table(&self) -> Table {
        let mut table = vec![row(&["network", "backend", "device", "against f64"])];
        table.extend(self.agreement.iter().map(|found| {
            let device = found.device.as_deref().unwrap_or("-");
            row(&[&found.shape, &found.backend, device, &found.sentence()])
        }));
        table
    }

    fn training_table(&self) -> Table {
        let mut table = vec![row(&[
            "network",
            "batch",
            "backend",
            "samples/s",
            "least..most",
            "of the first",
            "step, µs",
            "first step, s",
            "epoch, s",
        ])];
        table.extend(self.training.iter().map(|t| {
            let first = self.first(&t.shape, t.batch);
            let ratio =
                first.map_or("-".to_owned(), |f| format!("{:.2}", t.samples_per_s.median / f));
            row(&[
                &t.shape,
                &t.batch.to_string(),
                &t.backend,
                &grouped(t.samples_per_s.median),
                &format!("{}..{}", grouped(t.samples_per_s.least), grouped(t.samples_per_s.most)),
                &ratio,
                &grouped(t.step_us.median),
                &format!("{:.3}", t.cold_s.median),
                &format!("{:.3}", 55_000.0 / t.samples_per_s.median),
            ])
        }));
        table
    }

    fn inference_table(&self) -> Table {
        let mut table = vec![row(&[
            "network",
            "batch",
            "backend",
            "rows/s",
            "least..most",
            "p50, µs",
            "p99, µs",
        ])];
        table.extend(self.inference.iter().map(|i| {
            row(&[
                &i.shape,
                &i.batch.to_string(),
                &i.backend,
                &grouped(i.samples_per_s.median),
                &format!("{}..{}", grouped(i.samples_per_s.least), grouped(i.samples_per_s.most)),
                &grouped(i.p50_us.median),
                &grouped(i.p99_us.median),
            ])
        }));
        table
    }

    /// The rate of the first backend that was named.
    fn first(&self, shape: &str, batch: u32) -> Option<f64> {
        let first = &self.agreement.first()?.backend;
        let mut of_first = self.training.iter().filter(|t| &t.backend == first);
        let found = of_first.find(|t| t.shape == shape && t.batch == batch)?;
        Some(found.samples_per_s.median)
    }

    /// The fastest of the backends that agree, case by case.
    pub(crate) fn recommendation(&self) -> String {
        let mut best: BTreeMap<(&str, u32), &Training> = BTreeMap::new();
        for t in &self.training {
            let place = best.entry((&t.shape, t.batch)).or_insert(t);
            if t.samples_per_s.median > place.samples_per_s.median {
                *place = t;
            }
        }
        let mut text = String::from("Train with:\n");
        for ((shape, batch), t) in best {
            let _ = writeln!(text, "  {shape:<9} batches of {batch:<6} --backend {}", t.backend);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compared(logits: Value, loss: f64) -> Agreement {
        let reference = json!({ "logits": [[0.0, 1.0], [2.0, 2.000_01]], "loss": 0.5 });
        Agreement::of("b", "s", &json!({ "logits": logits, "loss": loss }), &reference).unwrap()
    }

    #[test]
    fn what_is_off_is_wrong() {
        let right = compared(json!([[0.0, 1.000_05], [2.0, 2.000_01]]), 0.5001);
        assert_eq!(right.verdict, Verdict::Agrees);
        // Where the reference is not sure, either class will do.
        let unsure = compared(json!([[0.0, 1.0], [2.000_02, 2.000_01]]), 0.5);
        assert_eq!(unsure.verdict, Verdict::Agrees);
        for (logits, loss) in [
            (json!([[0.0, 1.001], [2.0, 2.000_01]]), 0.5),
            (json!([[null, 1.0], [2.0, 2.000_01]]), 0.5),
            (json!([[0.0, 1.0]]), 0.5),
            (json!([[0.0, 1.0], [2.0, 2.000_01]]), 0.501),
            (json!([[0.0, 1.0], [2.0, 2.000_01]]), f64::NAN),
        ] {
            assert_eq!(compared(logits.clone(), loss).verdict, Verdict::Wrong, "{logits} {loss}");
        }
    }
}
