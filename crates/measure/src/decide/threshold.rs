//! The probability from which an answer is positive, chosen for a goal.

use fireclay::Task;
use fireclay_data::Targets;

use super::{Decided, Finding, ThresholdGoal};

/// The weight of rows above a threshold and of all rows, positive and other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Table {
    /// Positive rows above.
    hits: f64,
    /// Other rows above.
    alarms: f64,
    /// All positive rows.
    positives: f64,
    /// All other rows.
    negatives: f64,
}

impl ThresholdGoal {
    /// The worth of a threshold, the first number before the second; none if it does not meet the goal.
    fn worth(self, table: Table) -> Option<[f64; 2]> {
        let Table { hits, alarms, positives, negatives } = table;
        let precision = if hits > 0.0 { hits / (hits + alarms) } else { 0.0 };
        let recall = hits / positives;
        match self {
            Self::F1 => Some([2.0 * hits / (hits + alarms + positives), 0.0]),
            Self::Balanced => Some([(recall + 1.0 - alarms / negatives) / 2.0, 0.0]),
            Self::Precision(least) => (precision >= least).then_some([recall, precision]),
            Self::Recall(least) => (recall >= least).then_some([precision, recall]),
            Self::Cost(ratio) => Some([-(alarms + ratio * (positives - hits)), 0.0]),
        }
    }

    /// The number that the goal is about, for people.
    fn score(self, table: Table) -> f64 {
        let [first, second] = self.worth(table).unwrap_or_default();
        match self {
            Self::F1 | Self::Balanced => first,
            Self::Precision(_) | Self::Recall(_) => second,
            Self::Cost(_) => -first / (table.positives + table.negatives),
        }
    }
}

/// Chooses the threshold of the second of two classes, or of every label, by the probabilities that
/// prediction computes of calibrated logits. Where no threshold meets the goal it stays one half.
pub(super) fn choose(
    goal: ThresholdGoal,
    logits: &[f32],
    targets: &Targets,
    weights: &[f64],
    to: &mut Decided,
) {
    let labels = to.task.names().to_vec();
    let mut probabilities = logits.to_vec();
    for row in probabilities.chunks_exact_mut(labels.len()) {
        to.task.finish(row);
    }
    let (decision, chosen): (_, Vec<_>) = match (&mut to.task, targets) {
        (Task::Classification { decision, .. }, Targets::Classes { ids, .. }) => {
            let truth = ids.iter().map(|&id| id == 1);
            let rows = rows(column(&probabilities, 2, 1), truth, weights);
            (decision, vec![(labels[1].clone(), best(goal, rows))])
        }
        (Task::MultiLabel { decision, .. }, Targets::MultiLabel { values, .. }) => {
            let of_each = labels.iter().enumerate().map(|(at, label)| {
                let truth = column(values, labels.len(), at).map(|value| value == 1);
                let rows = rows(column(&probabilities, labels.len(), at), truth, weights);
                (label.clone(), best(goal, rows))
            });
            (decision, of_each.collect())
        }
        _ => return,
    };
    for (label, found) in chosen {
        let finding = match found {
            Some((threshold, table)) => {
                decision.thresholds.push(threshold);
                Finding::Threshold { label, goal, threshold, score: goal.score(table) }
            }
            None => {
                decision.thresholds.push(0.5);
                Finding::NoThreshold { label, goal }
            }
        };
        to.findings.push(finding);
    }
}

/// A column of numbers, `[rows, width]`.
fn column<T: Copy>(numbers: &[T], width: usize, at: usize) -> impl Iterator<Item = T> {
    numbers.iter().skip(at).step_by(width).copied()
}

/// A row of a label.
#[derive(Clone, Copy, Debug)]
pub(super) struct LabelRow {
    probability: f32,
    is_positive: bool,
    weight: f64,
}

/// Rows of a label, with their weights.
fn rows(
    probabilities: impl Iterator<Item = f32>,
    truths: impl Iterator<Item = bool>,
    weights: &[f64],
) -> Vec<LabelRow> {
    let rows = probabilities.zip(truths).zip(weights);
    rows.map(|((probability, is_positive), &weight)| LabelRow { probability, is_positive, weight })
        .collect()
}

/// The weight of the positive rows of some, and of the others.
fn weighed(rows: &[LabelRow]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    rows.iter().for_each(|row| sums[usize::from(!row.is_positive)] += row.weight);
    sums
}

/// The best threshold of some rows, each with its probability and whether it is positive: halfway
/// between two probabilities, of equally good ones the highest. None if no threshold meets the goal, or
/// rows of one kind are all there are.
pub(super) fn best(goal: ThresholdGoal, mut rows: Vec<LabelRow>) -> Option<(f32, Table)> {
    let [positives, negatives] = weighed(&rows);
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    rows.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let mut table = Table { positives, negatives, ..Table::default() };
    let mut best: Option<([f64; 2], f32, Table)> = None;
    let mut groups = rows.chunk_by(|a, b| a.probability == b.probability).peekable();
    // Nothing is positive, which no probability of 1 allows.
    let most = rows[0].probability;
    if most < 1.0 {
        best = goal.worth(table).map(|worth| (worth, between(1.0, most), table));
    }
    while let Some(group) = groups.next() {
        let [hits, alarms] = weighed(group);
        table.hits += hits;
        table.alarms += alarms;
        let above = group[0].probability;
        let below = groups.peek().map_or(0.0, |next| next[0].probability);
        let worth = goal.worth(table);
        if let Some(worth) = worth.filter(|worth| best.is_none_or(|(most, ..)| *worth > most)) {
            best = Some((worth, between(above, below), table));
        }
    }
    best.map(|(_, threshold, table)| (threshold, table))
}

/// A threshold that the upper of two probabilities reaches, and the lower does not.
fn between(above: f32, below: f32) -> f32 {
    let middle = above.midpoint(below);
    if middle > below { middle } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of equal weight.
    fn equal(rows: &[(f32, bool)]) -> Vec<LabelRow> {
        let (probabilities, truths): (Vec<f32>, Vec<bool>) = rows.iter().copied().unzip();
        super::rows(probabilities.into_iter(), truths.into_iter(), &vec![1.0; rows.len()])
    }

    fn six() -> Vec<LabelRow> {
        let rows = [(0.9, true), (0.8, false), (0.7, true), (0.7, true), (0.4, false), (0.1, true)];
        equal(&rows)
    }

    #[test]
    fn a_row_of_weight_2_counts_as_two() {
        let twice = equal(&[(0.9, false), (0.9, false), (0.6, true), (0.3, false)]);
        let mut heavy = equal(&[(0.9, false), (0.6, true), (0.3, false)]);
        heavy[0].weight = 2.0;
        for goal in ["f1", "balanced", "precision=0.3", "cost=3"] {
            let goal: ThresholdGoal = goal.parse().unwrap();
            assert_eq!(best(goal, heavy.clone()), best(goal, twice.clone()), "{goal}");
        }
    }

    #[test]
    fn thresholds_lie_between_probabilities() {
        let found = |goal: &str| best(goal.parse().unwrap(), six()).map(|(threshold, _)| threshold);
        let near = |found: Option<f32>, expected: f32| (found.unwrap() - expected).abs() < 1e-6;
        // Down to 0.1: F1 of 8 / 10. Down to 0.9, and to 0.7 too: a balanced accuracy of 5 / 8.
        assert!(near(found("f1"), 0.05) && near(found("balanced"), 0.85));
        assert!(near(found("precision=0.9"), 0.85) && near(found("precision=0.7"), 0.55));
        assert!(near(found("recall=0.7"), 0.55) && near(found("recall=1"), 0.05));
        assert!(near(found("cost=0.1"), 0.85) && near(found("cost=100"), 0.05));
    }

    #[test]
    fn goals_out_of_reach_have_no_threshold() {
        let turned = equal(&[(0.9, false), (0.8, true), (0.1, false)]);
        assert_eq!(best(ThresholdGoal::Precision(0.6), turned), None);
        assert_eq!(best(ThresholdGoal::F1, equal(&[(0.9, true)])), None);
        assert_eq!(best(ThresholdGoal::F1, equal(&[(0.9, false)])), None);
    }

    #[test]
    fn neighbours_in_single_precision_are_told_apart() {
        let (low, high) = (0.5f32, 0.5f32.next_up());
        let (threshold, _) = best(ThresholdGoal::F1, equal(&[(high, true), (low, false)])).unwrap();
        assert!(high >= threshold && low < threshold);
    }
}
