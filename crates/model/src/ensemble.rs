//! Ensembles within one network: members that share their hidden layers.

use serde::{Deserialize, Serialize};

use crate::{Task, named_enum};

/// Members that share all hidden layers (TabM-mini, Gorishniy et al. 2025, arXiv 2410.24210).
///
/// Each member scales the input of the first layer by numbers of its own, and has an output layer of
/// its own. Training minimises the mean of the members' losses; the network's output is the average
/// of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ensemble {
    /// Number of members; at least 1.
    pub members: usize,
    /// What is averaged, which the task decides.
    #[serde(default)]
    pub average: Average,
}

named_enum! {
    /// What is averaged over the members of an ensemble.
    #[derive(Default)]
    pub enum Average as "average of members" {
        /// The outputs.
        #[default]
        Outputs = "outputs",
        /// The probabilities of classes that exclude each other; the output is their logarithm.
        Softmax = "softmax",
        /// The probability of each label; the output is its logit.
        Sigmoid = "sigmoid",
    }
}

impl Average {
    /// The average for a task: that of its probabilities, or of its values.
    pub fn of(task: &Task) -> Self {
        match task {
            Task::Classification { .. } => Self::Softmax,
            Task::MultiLabel { .. } => Self::Sigmoid,
            Task::Regression { .. } => Self::Outputs,
        }
    }

    /// The output for a row of the outputs of its members, `[members, outputs]`; logits of classes are
    /// replaced by log-probabilities on the way.
    pub(crate) fn combine(self, members: &mut [f32], outputs: &mut [f32]) {
        let width = outputs.len();
        let count = members.len() / width;
        if self == Self::Softmax {
            members.chunks_exact_mut(width).for_each(log_softmax);
        }
        for (at, output) in outputs.iter_mut().enumerate() {
            let column = members.iter().skip(at).step_by(width).map(|&z| f64::from(z));
            *output = match self {
                Self::Outputs => column.sum::<f64>() / count as f64,
                Self::Softmax => log_mean_exp(column, count),
                Self::Sigmoid => {
                    let no = log_mean_exp(column.clone().map(|z| log_sigmoid(-z)), count);
                    log_mean_exp(column.map(log_sigmoid), count) - no
                }
            } as f32;
        }
    }
}

/// `log(mean(exp(x)))`, with the largest taken away first so that nothing overflows.
fn log_mean_exp(x: impl Iterator<Item = f64> + Clone, count: usize) -> f64 {
    let largest = x.clone().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return largest;
    }
    largest + libm::log(x.map(|x| libm::exp(x - largest)).sum::<f64>() / count as f64)
}

/// `log(1 / (1 + exp(-z)))`.
fn log_sigmoid(z: f64) -> f64 {
    z.min(0.0) - libm::log1p(libm::exp(-z.abs()))
}

fn log_softmax(logits: &mut [f32]) {
    let numbers = logits.iter().map(|&z| f64::from(z));
    let sum = log_mean_exp(numbers, 1);
    logits.iter_mut().for_each(|z| *z = (f64::from(*z) - sum) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probabilities of two members: 0.8 and 0.2, 0.5 and 0.5; their means are 0.65 and 0.35.
    #[test]
    fn probabilities_are_averaged_and_not_logits() {
        let logit = |p: f32| (p / (1.0 - p)).ln();
        let mut members = [0.8f32.ln() + 3.0, 0.2f32.ln() + 3.0, 0.5f32.ln(), 0.5f32.ln()];
        let mut outputs = [0.0; 2];
        Average::Softmax.combine(&mut members, &mut outputs);
        assert!((outputs[0].exp() - 0.65).abs() < 1e-6 && (outputs[1].exp() - 0.35).abs() < 1e-6);
        let mut members = [logit(0.9), logit(0.5), logit(0.1), logit(0.5)];
        Average::Sigmoid.combine(&mut members, &mut outputs);
        assert!(outputs.iter().all(|z| z.abs() < 1e-6), "{outputs:?}");
        let mut members = [1.0, 2.0, 3.0, 6.0];
        Average::Outputs.combine(&mut members, &mut outputs);
        assert_eq!(outputs, [2.0, 4.0]);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let mut outputs = [0.0; 2];
        Average::Softmax.combine(&mut [1e4, -1e4, 1e4, -1e4], &mut outputs);
        assert!(outputs[0].abs() < 1e-3 && outputs[1] == -2e4, "{outputs:?}");
        Average::Sigmoid.combine(&mut [300.0, -300.0, 300.0, -300.0], &mut outputs);
        assert!((outputs[0] - 300.0).abs() < 1e-3 && (outputs[1] + 300.0).abs() < 1e-3);
    }
}
