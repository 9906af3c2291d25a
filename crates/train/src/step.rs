//! One optimizer step: fused where the network allows it, else by Burn's differentiation.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use fireclay::{DropoutKey, prepare};

use crate::evaluate::batch;
use crate::fused::Fused;
use crate::gradients::{Gradients, flat};
use crate::job::Job;
use crate::metrics::Observed;
use crate::schedule::Length;
use crate::state::{RunProgress, State};

/// A state on its way through some steps.
pub(crate) struct Stepping<'a> {
    job: &'a Job<'a>,
    length: Length,
    state: State,
    /// Where the steps are one operation, or why they are not; the state may be behind it.
    pub(crate) fused: Result<Fused, String>,
    is_behind: bool,
    /// Where the weights are pulled to, by path.
    anchors: BTreeMap<String, Tensor<1>>,
}

impl<'a> Stepping<'a> {
    pub(crate) fn new(job: &'a Job<'a>, length: Length, state: State) -> Self {
        let fused = Fused::new(job, &state);
        Self { job, length, state, fused, is_behind: false, anchors: job.anchors() }
    }

    /// One optimizer step on these rows: forward, loss, backward, update.
    pub(crate) fn step(&mut self, rows: &[usize]) -> Observed {
        let Self { job, state, .. } = self;
        let factor = job.factor(state, self.length);
        let observed = match &mut self.fused {
            Ok(fused) => {
                self.is_behind = true;
                fused.step(job, state, rows, factor)
            }
            Err(_) => {
                let (mut gradients, observed) = gradients(job, state, rows);
                if let Some(tuned) = job.tuned.filter(|_| !self.anchors.is_empty()) {
                    gradients.pull(&flat(&state.mlp), &self.anchors, tuned.tuning.l2_sp);
                }
                if let Some(most) = job.training.clip_norm {
                    gradients.clip_norm(most);
                }
                state.mlp = state.optimizer.step(state.mlp.take(), gradients, factor);
                observed
            }
        };
        self.state.progress.step += 1;
        if self.state.average.is_some() {
            let State { mlp, average: Some(average), .. } = self.state() else {
                unreachable!("there is an average")
            };
            average.update(mlp);
        }
        observed
    }

    pub(crate) fn progress(&self) -> RunProgress {
        self.state.progress
    }

    /// The state after the last step.
    pub(crate) fn state(&mut self) -> &mut State {
        if let (Ok(fused), true) = (&self.fused, self.is_behind) {
            fused.settle(&mut self.state);
            self.is_behind = false;
        }
        &mut self.state
    }

    pub(crate) fn into_state(mut self) -> State {
        self.state();
        self.state
    }
}

/// The mean gradient of these rows, one batch of them at a time.
pub(crate) fn gradients(job: &Job<'_>, state: &mut State, rows: &[usize]) -> (Gradients, Observed) {
    let weight = job.weight(rows);
    let mut sum = Gradients::default();
    let mut parts = Vec::new();
    for (part, rows) in rows.chunks(job.training.batch_size).enumerate() {
        let (raw, targets) = batch(&job.rows, rows);
        let inputs = prepare(job.preprocessing, raw.clone());
        let pass = state.progress.step * job.training.accumulate as u64 + part as u64;
        let outputs = state.mlp.forward_train(inputs, DropoutKey { seed: job.seed, step: pass });
        let wanted = targets.clone().standardized(job.task);
        let mut losses = job.loss.rows(outputs.clone(), &wanted);
        if let Some(tuned) = &job.tuned {
            let weights = job.loss.row_weights(&losses, &targets);
            losses = tuned.with_teacher(losses, weights, &outputs, raw, job.task);
        }
        // Differentiating the loss of each row differentiates their sum.
        let shares = losses.clone().div_scalar(weight);
        sum.accumulate(Gradients::of(&shares, &state.mlp));
        parts.push(Observed { losses, outputs, targets }.detached().restored(job.task));
    }
    let observed = Observed::joined(parts).unwrap_or_else(|| unreachable!("a step has rows"));
    (sum, observed)
}
