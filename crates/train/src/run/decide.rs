//! Decisions of a finished network, chosen on the validation samples.

use anyhow::{Context, Result};
use fireclay_measure::Decided;

use super::Run;
use crate::evaluate::outputs;
use crate::fit::Fitted;
use crate::job::Job;

impl Run {
    /// The task of the finished network, with what the settings have chosen on the validation samples.
    pub(super) fn decide(&self, job: &Job<'_>, fitted: &Fitted) -> Result<Decided> {
        let goals = &self.settings.decision;
        if goals.is_default() {
            return Ok(self.undecided());
        }
        let rows = &self.split.validation;
        let outputs = outputs(job, &fitted.mlp, rows)?;
        let targets = self.data.train.targets().of_rows(rows);
        let weights = self.data.train.weights();
        let weights = weights.map(|all| rows.iter().map(|&row| all[row]).collect::<Vec<f32>>());
        let decided = goals
            .decide(&self.task, &outputs, &targets, weights.as_deref())
            .context("nothing can be chosen on the validation samples")?;
        for finding in &decided.findings {
            if finding.is_failure() {
                self.options.console.warn(&finding.to_string());
            } else {
                self.say(&finding.to_string())?;
            }
        }
        Ok(decided)
    }

    /// The task as it is trained, for which nothing is chosen.
    pub(super) fn undecided(&self) -> Decided {
        Decided { task: self.task.clone(), findings: Vec::new() }
    }
}
