//! Everything that training reads and does not change.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use fireclay::{Loss, Preprocessing, Sounds, Task};
use fireclay_data::{Dataset, RowSource, Split, Targets, batches, drawn};

use crate::fit::FitError;
use crate::gradients::flat;
use crate::metrics::Moment;
use crate::optimizer::OptimizerConfig;
use crate::schedule::{Length, Schedule};
use crate::settings::{Annealed, Sampling, TrainingSettings, class_counts};
use crate::state::State;
use crate::tuning::{Phase, Tuned};

/// Everything that training reads and does not change.
pub struct Job<'a> {
    /// The samples.
    pub rows: RowSource<'a>,
    /// Which of them train and which validate.
    pub split: &'a Split,
    /// What the outputs mean.
    pub task: &'a Task,
    /// From raw features to the network's input.
    pub preprocessing: &'a Preprocessing,
    /// What is made small.
    pub loss: &'a Loss,
    /// How the weights move.
    pub optimizer: &'a OptimizerConfig,
    /// How the learning rate changes.
    pub schedule: &'a Schedule,
    /// The loop's settings.
    pub training: &'a TrainingSettings,
    /// The network that was there before, and what is trained of it; otherwise all is.
    pub tuned: Option<Tuned<'a>>,
    /// The features of recordings that the rows have, if they are of recordings.
    pub sounds: Option<&'a Sounds>,
    /// Fixes the order of samples, the dropout masks and the augmentation.
    pub seed: u64,
    /// Where to compute; the loop alone turns differentiation on.
    pub device: &'a Device,
}

impl Job<'_> {
    /// The samples on the host.
    pub fn data(&self) -> &Dataset {
        self.rows.data()
    }

    /// How long the run is.
    ///
    /// # Errors
    ///
    /// [`FitError::NoBatch`] if an epoch has no step.
    pub fn length(&self) -> Result<Length, FitError> {
        let steps = self.steps_per_epoch();
        if steps == 0 {
            return Err(FitError::NoBatch {
                rows: self.split.train.len(),
                batch: self.training.batch_size,
            });
        }
        Ok(Length { steps_per_epoch: steps, epochs: self.training.epochs })
    }

    /// The epoch that comes next, from 1; none if the run is at its end.
    pub(crate) fn next_epoch(&self, state: &State) -> Option<u64> {
        let done = state.progress.epochs;
        let since = self.tuned.map_or(0, |tuned| tuned.tuning.epochs_before_last());
        let is_exhausted = state.best.is_exhausted(self.training, done, since);
        let goes_on = done < self.training.epochs && !is_exhausted;
        goes_on.then_some(done + 1)
    }

    /// Whether training that resumes from this state has nothing to do.
    pub fn is_at_its_end(&self, state: &State) -> bool {
        self.next_epoch(state).is_none()
    }

    pub(crate) fn rows_per_step(&self) -> usize {
        self.training.batch_size * self.training.accumulate
    }

    /// The places in an epoch's order that each step takes.
    pub(crate) fn steps(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let (rows, batch) = (self.split.train.len(), self.training.batch_size);
        let short = if self.training.drop_last { rows % batch } else { 0 };
        batches(rows - short, self.rows_per_step(), false)
    }

    /// The features of some rows as an epoch, from 1, changes them, `[rows, width]` row by row; none if
    /// nothing is changed.
    pub(crate) fn augmented(&self, rows: &[usize], epoch: u64) -> Option<Vec<f32>> {
        let augment = &self.training.augment;
        let sounds = self.sounds.filter(|_| !augment.is_none())?;
        let mut values = Vec::with_capacity(rows.len() * self.data().width());
        for &row in rows {
            let mut features = self.data().numbers(row..row + 1);
            augment.apply(&mut features, sounds, self.seed, epoch, row as u64);
            values.extend(features);
        }
        Some(values)
    }

    /// Optimizer steps of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.steps().count() as u64
    }

    /// Samples that an epoch trains on.
    pub fn samples_per_epoch(&self) -> usize {
        self.steps().map(|range| range.len()).sum()
    }

    /// The rows of the training split in the order of an epoch, from 1.
    pub(crate) fn order(&self, epoch: u64) -> Vec<usize> {
        let train = &self.split.train;
        if self.training.sampling.is_shuffle() {
            return self.data().order(train, self.seed, epoch);
        }
        drawn(&self.shares(), self.seed, epoch).into_iter().map(|i| train[i as usize]).collect()
    }

    /// The numbers in proportion to which the training rows are drawn.
    fn shares(&self) -> Vec<f64> {
        let train = &self.split.train;
        match (self.training.sampling, self.data().targets(), self.data().weights()) {
            (Sampling::Weighted, _, Some(weights)) => {
                train.iter().map(|&row| f64::from(weights[row])).collect()
            }
            (Sampling::Balanced, Targets::Classes { ids, labels }, _) => {
                let counts = class_counts(ids, labels.len(), train);
                train.iter().map(|&row| 1.0 / counts[ids[row] as usize] as f64).collect()
            }
            _ => vec![1.0; train.len()],
        }
    }

    /// The weights of some rows in the loss of training; none if they are drawn by their weights, or
    /// have none.
    pub(crate) fn weights_of(&self, rows: &[usize]) -> Option<Vec<f32>> {
        let is_drawn = self.training.sampling == Sampling::Weighted;
        let weights = self.data().weights().filter(|_| !is_drawn)?;
        Some(rows.iter().map(|&row| weights[row]).collect())
    }

    /// The same on the device, `[rows]`.
    pub(crate) fn row_weights(&self, rows: &[usize]) -> Option<Tensor<1>> {
        let weights = TensorData::new(self.weights_of(rows)?, [rows.len()]);
        Some(Tensor::from_data(weights, self.device))
    }

    /// What is trained in an epoch, from 1, if not everything, and whether it is the first so.
    pub(crate) fn phase(&self, epoch: u64) -> Option<(&Phase, bool)> {
        self.tuned?.tuning.phase(epoch)
    }

    /// The start of every parameter below the output layer, if weights are pulled there.
    pub(crate) fn anchors(&self) -> BTreeMap<String, Tensor<1>> {
        let pulled = self.tuned.filter(|tuned| tuned.tuning.l2_sp > 0.0);
        let Some(Tuned { start, .. }) = pulled else { return BTreeMap::new() };
        let head = format!("layers.{}.", start.model.mlp.layers.len() - 1);
        let mut anchors = flat(&start.model.mlp);
        anchors.retain(|path, _| !path.starts_with(&head));
        anchors
    }

    /// What the summed losses of these rows are divided by.
    pub(crate) fn weight(&self, rows: &[usize]) -> f64 {
        let of_class = |row: usize| match self.data().targets() {
            Targets::Classes { ids, .. } => self.loss.class_weight(ids[row] as usize),
            _ => 1.0,
        };
        let Some(weights) = self.weights_of(rows) else {
            return rows.iter().map(|&row| of_class(row)).sum();
        };
        let rows = rows.iter().zip(weights);
        let sum: f64 = rows.map(|(&row, weight)| of_class(row) * f64::from(weight)).sum();
        // Of rows that all weigh nothing, the summed losses are 0.
        if sum > 0.0 { sum } else { 1.0 }
    }

    /// What the base learning rate is multiplied by at the next step.
    pub(crate) fn factor(&self, state: &State, length: Length) -> f64 {
        self.schedule.factor(state.progress.step, length) * state.rate_factor()
    }

    /// What a setting is multiplied by at a step, from 0: 1, unless it falls in the second half of the
    /// run.
    pub(crate) fn annealed(&self, what: Annealed, step: u64, length: Length) -> f64 {
        let falls = self.training.anneal.contains(&what);
        if falls { Schedule::FlatCos.factor(step, length) } else { 1.0 }
    }

    pub(crate) fn moment(&self, state: &State, epoch: u64, length: Length) -> Moment {
        let step = (state.progress.step - (epoch - 1) * length.steps_per_epoch) as usize;
        let steps = length.steps_per_epoch as usize;
        let last = state.progress.step.saturating_sub(1);
        let factor = self.schedule.factor(last, length) * state.rate_factor();
        Moment { step, steps, learning_rate: self.optimizer.learning_rate() * factor }
    }
}
