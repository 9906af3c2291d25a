//! One optimizer step: fused where the network allows it, else by Burn's differentiation.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use fireclay::DropoutKey;

use crate::evaluate::batch;
use crate::fused::{Fused, Obstacle};
use crate::gradients::{Gradients, flat};
use crate::job::Job;
use crate::metrics::Observed;
use crate::schedule::Length;
use crate::settings::Annealed;
use crate::state::{RunProgress, State};

/// A state on its way through some steps.
pub(crate) struct Stepping<'a> {
    job: &'a Job<'a>,
    length: Length,
    state: State,
    /// Where the steps are one operation, or why they are not; the state may be behind it.
    pub(crate) fused: Result<Fused<'a>, Obstacle>,
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
        let at = state.progress.step;
        state.optimizer.set_decay(job.annealed(Annealed::WeightDecay, at, self.length));
        let observed = match &mut self.fused {
            Ok(fused) => {
                if !self.is_behind {
                    fused.release(state);
                }
                self.is_behind = true;
                fused.step(job, state, rows, factor)
            }
            Err(_) => {
                let dropout = job.annealed(Annealed::Dropout, at, self.length);
                let (mut gradients, observed) = gradients(job, state, rows, dropout);
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
            // By way of the state as it is after the step, which may be behind.
            self.state().average_weights();
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

/// The mean gradient of these rows, one batch of them at a time; `dropout` is what dropout rates are
/// multiplied by.
pub(crate) fn gradients(
    job: &Job<'_>,
    state: &mut State,
    rows: &[usize],
    dropout: f64,
) -> (Gradients, Observed) {
    let (weight, batch_size) = (job.weight(rows), job.training.batch_size);
    let first_pass = state.progress.step * job.training.accumulate as u64;
    let (first, others) = rows.split_at(rows.len().min(batch_size));
    let (mut sum, observed) = gradients_of_batch(job, state, first, weight, (first_pass, dropout));
    let mut parts = Vec::new();
    for (pass, rows) in (first_pass + 1..).zip(others.chunks(batch_size)) {
        let (gradients, observed) = gradients_of_batch(job, state, rows, weight, (pass, dropout));
        sum.accumulate(gradients);
        parts.push(observed);
    }
    (sum, observed.followed_by(parts))
}

/// The gradient of the summed losses of a batch, divided by `weight`; `pass` is the number of the
/// batch in the run, by which units are dropped, at rates times `dropout`.
fn gradients_of_batch(
    job: &Job<'_>,
    state: &mut State,
    rows: &[usize],
    weight: f64,
    (pass, dropout): (u64, f64),
) -> (Gradients, Observed) {
    let (mut raw, targets) = batch(&job.rows, rows);
    if let Some(augmented) = job.augmented(rows, state.progress.epochs + 1) {
        let augmented = TensorData::new(augmented, raw.columns.dims());
        raw.columns = Tensor::from_data(augmented, job.device);
    }
    let inputs = raw.clone().prepared(job.preprocessing);
    let key = DropoutKey { seed: job.seed, step: pass };
    let outputs = state.mlp.forward_train_with(inputs, key, dropout);
    let wanted = targets.clone().standardized(job.task);
    let members = state.mlp.architecture().members();
    let mut losses = job.loss.rows_of_members(outputs.clone(), &wanted, members);
    let outputs = state.mlp.averaged(outputs);
    if let Some(tuned) = &job.tuned {
        let weights = job.loss.row_weights(&losses, &targets);
        losses = tuned.with_teacher(losses, weights, &outputs, raw, job.task);
    }
    let weights = job.row_weights(rows);
    // Differentiating the loss of each row differentiates their sum.
    let weighted = match &weights {
        Some(weights) => losses.clone() * weights.clone().autodiff(),
        None => losses.clone(),
    };
    let shares = weighted.div_scalar(weight);
    let gradients = Gradients::of(&shares, &state.mlp);
    let observed = Observed { weights, ..Observed::new(losses, outputs, targets) };
    (gradients, observed.detached().restored(job.task))
}
