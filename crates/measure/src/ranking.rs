//! Scores of an order of rows: AUROC and average precision.

use serde::{Deserialize, Serialize};

use crate::bootstrap::{self, Draws};
use crate::estimate::Estimate;

/// Scores of the order of rows by their probabilities, whatever the threshold.
///
/// Of two classes those of the second, as in scikit-learn; of several classes each against the rest, and
/// of labels each, the plain average of those that some rows have and some do not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// Area under the receiver operating characteristic: the probability that a row of the label scores
    /// higher than one of the others, where equal scores count one half (Hanley and McNeil 1982).
    pub auroc: Estimate,
    /// Average precision: the precision at each score of a row of the label, averaged.
    pub average_precision: Estimate,
}

/// The rows of a label in the order of its scores.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// From the highest score.
    order: Vec<u32>,
    /// Of each place in the order, whether its row is of the label.
    is_positive: Vec<bool>,
    /// Of each place in the order, whether the next has another score.
    is_last: Vec<bool>,
}

impl Ranked {
    /// Puts rows in order; none if all are of the label, or no row is.
    pub fn new(scores: &[f64], truth: impl Fn(usize) -> bool) -> Option<Self> {
        let positives = (0..scores.len()).filter(|&row| truth(row)).count();
        if positives == 0 || positives == scores.len() {
            return None;
        }
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| {
            scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b))
        });
        let is_positive = order.iter().map(|&row| truth(row as usize)).collect();
        let is_last =
            order.windows(2).map(|pair| scores[pair[0] as usize] != scores[pair[1] as usize]);
        let is_last = is_last.chain([true]).collect();
        Some(Self { order, is_positive, is_last })
    }

    /// AUROC and average precision of rows that weigh so much each; none if only rows of one kind weigh
    /// anything.
    ///
    /// As scikit-learn's `roc_auc_score` and `average_precision_score`.
    pub fn scores(&self, weights: &[f64]) -> Option<[f64; 2]> {
        let (mut hits, mut others) = (0.0, 0.0);
        let (mut area, mut precisions) = (0.0, 0.0);
        // Rows of equal scores are between two thresholds together.
        let mut here = [0.0; 2];
        let places = self.order.iter().zip(&self.is_positive).zip(&self.is_last);
        for ((&row, &is_positive), &is_last) in places {
            here[usize::from(is_positive)] += weights[row as usize];
            if !is_last {
                continue;
            }
            let [new_others, new_hits] = std::mem::take(&mut here);
            area += new_others * (hits + new_hits / 2.0);
            hits += new_hits;
            others += new_others;
            if new_hits > 0.0 {
                precisions += new_hits * (hits / (hits + others));
            }
        }
        (hits > 0.0 && others > 0.0).then(|| [area / (hits * others), precisions / hits])
    }
}

/// Places of all labels that are looked at for an interval; of more there are fewer draws.
const MOST_PLACES: usize = 2_000_000_000;
/// The fewest draws of an interval.
const FEWEST_DRAWS: usize = 100;

/// The average scores of labels over so many rows; none without a label that some rows have.
pub(crate) fn ranking(labels: &[Ranked], weights: &[f64], draws: Draws) -> Option<Ranking> {
    let rows = weights.len();
    if average(labels, weights)[0].is_nan() {
        return None;
    }
    let affordable = (MOST_PLACES / (rows * labels.len())).max(FEWEST_DRAWS);
    let draws = Draws { resamples: draws.resamples.min(affordable), ..draws };
    let mut sums = vec![0.0; rows];
    let found = bootstrap::estimates(rows, draws, |drawn| {
        sums.fill(0.0);
        drawn.iter().for_each(|&row| sums[row as usize] += weights[row as usize]);
        average(labels, &sums).to_vec()
    });
    Some(Ranking { auroc: found[0], average_precision: found[1] })
}

/// The plain average over the labels that have scores, of rows that weigh so much; NaN if none has.
pub fn average(labels: &[Ranked], weights: &[f64]) -> [f64; 2] {
    let (mut sums, mut known) = ([0.0; 2], 0.0);
    for scores in labels.iter().filter_map(|label| label.scores(weights)) {
        sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score);
        known += 1.0;
    }
    sums.map(|sum| sum / known)
}

/// The rows of each class in the order of its odds, from logits, `[rows, classes]`: of two classes those
/// of the second alone.
pub fn of_classes(logits: &[f32], ids: &[u32], classes: usize) -> Vec<Ranked> {
    let first = usize::from(classes == 2);
    let classes_of = first..classes;
    let ranked = classes_of.filter_map(|class| {
        let scores: Vec<f64> =
            logits.chunks_exact(classes).map(|logits| log_odds(logits, class)).collect();
        Ranked::new(&scores, |row| ids[row] as usize == class)
    });
    ranked.collect()
}

/// The rows of each label in the order of its logits, `[rows, labels]`; `values` are 0 or 1.
pub fn of_labels(logits: &[f32], values: &[u8], labels: usize) -> Vec<Ranked> {
    let ranked = (0..labels).filter_map(|label| {
        let scores: Vec<f64> =
            logits.iter().skip(label).step_by(labels).map(|&z| f64::from(z)).collect();
        Ranked::new(&scores, |row| values[row * labels + label] == 1)
    });
    ranked.collect()
}

/// The logarithm of the odds of a class, which orders rows as its probability does, and tells apart
/// those that round to 1.
fn log_odds(logits: &[f32], class: usize) -> f64 {
    let others = logits.iter().enumerate().filter(|(at, _)| *at != class).map(|(_, &z)| z);
    let most = f64::from(others.clone().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = others.map(|z| (f64::from(z) - most).exp()).sum();
    f64::from(logits[class]) - most - sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_count_one_half() {
        let truth = [true, false, true, false];
        let ranked = |scores: &[f64]| Ranked::new(scores, |row| truth[row]).unwrap();
        assert_eq!(ranked(&[0.5; 4]).scores(&[1.0; 4]), Some([0.5, 0.5]));
        assert_eq!(ranked(&[0.9, 0.1, 0.8, 0.2]).scores(&[1.0; 4]), Some([1.0, 1.0]));
        // sklearn: roc_auc_score([1, 0, 1, 0], [3, 2, 2, 1]) and average_precision_score.
        let [auroc, precision] = ranked(&[3.0, 2.0, 2.0, 1.0]).scores(&[1.0; 4]).unwrap();
        assert!((auroc - 0.875).abs() < 1e-15 && (precision - 5.0 / 6.0).abs() < 1e-15);
    }

    #[test]
    fn rows_of_one_kind_have_no_order() {
        assert!(Ranked::new(&[1.0, 2.0], |_| true).is_none());
        let ranked = Ranked::new(&[1.0, 2.0], |row| row == 0).unwrap();
        assert_eq!(ranked.scores(&[2.0, 0.0]), None);
        assert!(average(&[ranked], &[0.0, 2.0])[0].is_nan());
    }

    #[test]
    fn odds_of_sure_classes_differ() {
        let [sure, surer] = [[0.0, 40.0, 1.0], [0.0, 50.0, 1.0]].map(|z| log_odds(&z, 1));
        assert!(surer - sure > 9.9, "{sure} {surer}");
        assert!((log_odds(&[1.0, 3.0], 1) - 2.0).abs() < 1e-15);
    }
}
