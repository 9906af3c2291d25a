//! Two models on the same rows: do they differ by more than chance?

use fireclay::{Loaded, Task};
use fireclay_data::{Dataset, Targets};
use serde::{Deserialize, Serialize};

use crate::bootstrap;
use crate::error::EvaluateError;
use crate::estimate::{Estimate, Weight};
use crate::evaluate::evaluate_weighted;
use crate::evaluation::{Evaluation, WorstRow};
use crate::options::Options;
use crate::outputs::outputs;
use crate::targets::{MatchError, are_places, matched};

/// What two models say of the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Rows compared on.
    pub rows: usize,
    /// The first model alone.
    pub first: Evaluation,
    /// The second model alone.
    pub second: Evaluation,
    /// Mean loss of the second minus that of the first, with the interval of the rows as pairs:
    /// one that does not hold 0 is a difference beyond chance.
    pub loss_difference: Estimate,
    /// The largest difference of any output: of logits, or of values in regression.
    pub largest_difference: f64,
    /// The share of rows of which both say the same; none in regression.
    pub agreement: Option<Estimate>,
    /// Whether one is right more often than the other; none in regression.
    pub mcnemar: Option<McNemar>,
    /// Rows of which they say something else, those with the greatest change of loss first; as many
    /// as [`Options::worst`].
    pub changed: Vec<ChangedRow>,
}

/// A row of which two models say something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangedRow {
    /// The row of the data set, from 0.
    pub row: usize,
    /// What it is.
    pub truth: String,
    /// What the first model says.
    pub first: String,
    /// What the second model says.
    pub second: String,
    /// Loss of the second minus that of the first.
    pub loss_difference: f64,
}

/// McNemar's test (1947) of two models on the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Rows that both tell right.
    pub both: usize,
    /// Rows that only the first tells right.
    pub only_first: usize,
    /// Rows that only the second tells right.
    pub only_second: usize,
    /// Rows that both tell wrong.
    pub neither: usize,
    /// How the probability was found.
    pub method: McNemarMethod,
    /// The probability of a difference at least as large, were both equally good.
    pub p_value: f64,
}

/// How a probability was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum McNemarMethod {
    /// The binomial distribution, for fewer than 25 rows that only one tells right.
    Exact,
    /// Chi-square with one degree of freedom and Edwards' (1948) correction for continuity.
    ChiSquare,
}

/// From so many discordant rows on, the distribution is as good as chi-square's.
const CHI_SQUARE_FROM: usize = 25;

/// McNemar's test of how often both, one and none of two models were right.
pub fn mcnemar(both: usize, only_first: usize, only_second: usize, neither: usize) -> McNemar {
    let discordant = only_first + only_second;
    let (method, p_value) = if discordant < CHI_SQUARE_FROM {
        (McNemarMethod::Exact, two_sided_binomial(only_first.min(only_second), discordant))
    } else {
        let apart = only_first.abs_diff(only_second) as f64;
        // A correction never makes a difference where there is none.
        let chi_square = (apart - 1.0).max(0.0).powi(2) / discordant as f64;
        (McNemarMethod::ChiSquare, libm::erfc((chi_square / 2.0).sqrt()))
    };
    McNemar { both, only_first, only_second, neither, method, p_value }
}

/// Twice the probability of at most `few` heads in `throws` throws of a coin, at most 1.
fn two_sided_binomial(few: usize, throws: usize) -> f64 {
    let mut ways = 1.0;
    let mut sum = 0.0;
    for heads in 0..=few {
        sum += ways;
        ways = ways * (throws - heads) as f64 / (heads + 1) as f64;
    }
    (2.0 * sum / 2f64.powi(throws as i32)).min(1.0)
}

/// Compares two models on all rows of a data set.
///
/// The rows are given as each model reads them, which differ where each has encodings of its own. The
/// models must have the same outputs by name; those of the second may be in another order. Losses and
/// agreement count rows as much as their weights say, if they have weights; McNemar's test counts rows.
///
/// # Errors
///
/// As [`evaluate`](crate::evaluate()), [`EvaluateError::OtherLabels`], and
/// [`EvaluateError::OtherRows`].
pub fn compare(
    first: &Loaded,
    second: &Loaded,
    data: [&Dataset; 2],
    options: &Options,
) -> Result<Comparison, EvaluateError> {
    let [data, of_second] = data;
    let (task, other) = (&first.description().task, &second.description().task);
    let order = order(task, other)?;
    let targets = matched(data, task)?.targets().clone();
    if *matched(of_second, task)?.targets() != targets {
        return Err(EvaluateError::OtherRows);
    }
    // Of quantiles the values alone, since the other model may have other quantiles or none.
    let a = task.values(outputs(first, data, options.batch_size)?);
    let b = other.values(outputs(second, of_second, options.batch_size)?);
    let b: Vec<f32> =
        b.chunks_exact(order.len()).flat_map(|row| order.iter().map(|&at| row[at])).collect();
    let tasks = [of_values(task.clone()), decided_as(task, other, &order)];
    compare_outputs(&tasks, &a, &b, &targets, data.weights(), options)
}

/// A regression that predicts values and nothing around them; other tasks as they are.
fn of_values(task: Task) -> Task {
    match task {
        Task::Regression { targets, scaling, .. } => {
            Task::regression(targets).with_scaling(scaling)
        }
        task => task,
    }
}

/// The first task, with the thresholds of the other by the places of its labels.
fn decided_as(task: &Task, other: &Task, order: &[usize]) -> Task {
    let mut task = of_values(task.clone());
    match (&mut task, other) {
        (Task::Classification { decision, .. }, Task::Classification { decision: other, .. }) => {
            decision.thresholds.clone_from(&other.thresholds);
            // The probability of the first of two classes is what the second's is short of 1.
            if order == [1, 0] {
                decision.thresholds.iter_mut().for_each(|threshold| *threshold = 1.0 - *threshold);
            }
        }
        (Task::MultiLabel { decision, .. }, Task::MultiLabel { decision: other, .. }) => {
            let has_some = !other.thresholds.is_empty();
            let moved = order.iter().filter(|_| has_some).map(|&at| other.thresholds[at]);
            decision.thresholds = moved.collect();
        }
        _ => {}
    }
    task
}

/// For each output of a task, its place in the other.
fn order(task: &Task, other: &Task) -> Result<Vec<usize>, EvaluateError> {
    if task.kind() != other.kind() {
        return Err(MatchError::Task { found: other.kind(), expected: task.kind() }.into());
    }
    if are_places(other.names(), task.names()) {
        return Ok((0..task.names().len()).collect());
    }
    let places = task.names().iter().map(|name| other.names().iter().position(|o| o == name));
    let order: Option<Vec<usize>> = places.collect();
    order.filter(|order| order.len() == other.names().len()).ok_or_else(|| {
        EvaluateError::OtherLabels {
            found: other.names().join(", "),
            expected: task.names().join(", "),
        }
    })
}

/// Compares given outputs, `[rows, outputs]` each, of two tasks with the same outputs.
fn compare_outputs(
    tasks: &[Task; 2],
    a: &[f32],
    b: &[f32],
    targets: &Targets,
    weights: Option<&[f32]>,
    options: &Options,
) -> Result<Comparison, EvaluateError> {
    let every_row = Options { worst: usize::MAX, ..options.clone() };
    let mut first = evaluate_weighted(&tasks[0], a, targets, weights, &every_row)?;
    let mut second = evaluate_weighted(&tasks[1], b, targets, weights, &every_row)?;
    let pairs: Vec<Pair> = rows_in_order(&first).into_iter().zip(rows_in_order(&second)).collect();
    first.worst.truncate(options.worst);
    second.worst.truncate(options.worst);

    let weights: Vec<f64> = match weights {
        Some(weights) => weights.iter().map(|&weight| f64::from(weight)).collect(),
        None => vec![1.0; pairs.len()],
    };
    let apart: Vec<f64> = pairs.iter().map(|(a, b)| b.loss - a.loss).collect();
    let loss_difference = bootstrap::estimates(pairs.len(), options.draws(), |drawn| {
        let rows = || drawn.iter().map(|&row| row as usize);
        let all: f64 = rows().map(|row| weights[row]).sum();
        vec![rows().map(|row| weights[row] * apart[row]).sum::<f64>() / all]
    })[0];
    let says_things = !matches!(tasks[0], Task::Regression { .. });
    let (mut same, mut all) = (Weight::default(), Weight::default());
    for ((a, b), &weight) in pairs.iter().zip(&weights) {
        all.add(weight);
        if a.predicted == b.predicted {
            same.add(weight);
        }
    }
    Ok(Comparison {
        rows: pairs.len(),
        first,
        second,
        loss_difference,
        largest_difference: largest_difference(a, b),
        agreement: says_things.then(|| Estimate::of_share(same.share_of(all), all.rows())),
        mcnemar: says_things.then(|| mcnemar_of(&pairs)),
        changed: changed(&pairs, options.worst),
    })
}

/// What two models say of a row.
type Pair = (WorstRow, WorstRow);

/// All rows of an evaluation that lists every one.
fn rows_in_order(evaluation: &Evaluation) -> Vec<WorstRow> {
    let mut rows = evaluation.worst.clone();
    rows.sort_by_key(|row| row.row);
    rows
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    let apart = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    apart.fold(0.0, f64::max)
}

fn mcnemar_of(pairs: &[Pair]) -> McNemar {
    // In the order of the arguments: both, only the first, only the second, neither.
    let mut counts = [0; 4];
    for (a, b) in pairs {
        counts[2 * usize::from(!a.is_right) + usize::from(!b.is_right)] += 1;
    }
    let [both, only_first, only_second, neither] = counts;
    mcnemar(both, only_first, only_second, neither)
}

fn changed(pairs: &[Pair], most: usize) -> Vec<ChangedRow> {
    let mut changed: Vec<ChangedRow> = pairs
        .iter()
        .filter(|(a, b)| a.predicted != b.predicted)
        .map(|(a, b)| ChangedRow {
            row: a.row,
            truth: a.truth.clone(),
            first: a.predicted.clone(),
            second: b.predicted.clone(),
            loss_difference: b.loss - a.loss,
        })
        .collect();
    changed.sort_by(|a, b| {
        let [a_size, b_size] = [a, b].map(|row| row.loss_difference.abs());
        b_size.total_cmp(&a_size).then(a.row.cmp(&b.row))
    });
    changed.truncate(most);
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_the_second_may_be_in_another_order() {
        let task = |labels: &[&str]| {
            Task::classification(labels.iter().map(ToString::to_string).collect())
        };
        let found = order(&task(&["a", "b", "c"]), &task(&["c", "a", "b"]));
        assert_eq!(found.unwrap(), [1, 2, 0]);
        let other = order(&task(&["a", "b"]), &task(&["a", "c"]));
        assert!(matches!(other, Err(EvaluateError::OtherLabels { .. })));
        let more = order(&task(&["a", "b"]), &task(&["a", "b", "c"]));
        assert!(matches!(more, Err(EvaluateError::OtherLabels { .. })));
    }

    #[test]
    fn what_changed_is_counted() {
        let task = Task::numbered_classes(2);
        let targets = Targets::Classes { ids: vec![0, 0, 1, 1], labels: task.names().to_vec() };
        let a = [2.0, 0.0, 2.0, 0.0, 2.0, 0.0, 0.0, 1.0];
        let b = [2.0, 0.0, 0.0, 3.0, 0.0, 1.0, 0.0, 1.0];
        let found =
            compare_outputs(&[task.clone(), task], &a, &b, &targets, None, &Options::default())
                .unwrap();
        let test = found.mcnemar.unwrap();
        let table = (test.both, test.only_first, test.only_second, test.neither);
        assert_eq!((table, test.p_value), ((2, 1, 1, 0), 1.0));
        assert_eq!(found.agreement.unwrap().value, 0.5);
        assert_eq!(found.largest_difference, 3.0);
        let rows: Vec<usize> = found.changed.iter().map(|row| row.row).collect();
        assert_eq!(rows, [1, 2]);
        assert!(found.changed[0].loss_difference > 0.0 && found.changed[1].loss_difference < 0.0);
    }

    #[test]
    fn a_row_of_weight_2_counts_as_two() {
        let task = Task::numbered_classes(2);
        let tasks = [task.clone(), task.clone()];
        let (a, b) = ([2.0, 0.0, 2.0, 0.0], [2.0, 0.5, 0.0, 3.0]);
        let targets = |ids| Targets::Classes { ids, labels: task.names().to_vec() };
        let options = Options::of_numbers();
        let weights = Some(&[1.0, 2.0][..]);
        let weighted =
            compare_outputs(&tasks, &a, &b, &targets(vec![0, 0]), weights, &options).unwrap();
        let (a, b) = ([&a[..], &a[2..]].concat(), [&b[..], &b[2..]].concat());
        let twice =
            compare_outputs(&tasks, &a, &b, &targets(vec![0, 0, 0]), None, &options).unwrap();
        let numbers = [&weighted, &twice].map(|found| {
            let agreement = found.agreement.unwrap().value;
            [found.loss_difference.value, agreement, found.first.loss.value]
        });
        for (a, b) in numbers[0].iter().zip(numbers[1]) {
            assert!((a - b).abs() < 1e-12, "{numbers:?}");
        }
    }

    #[test]
    fn a_model_does_not_differ_from_itself() {
        let task = Task::regression(vec!["y".to_owned()]);
        let targets = Targets::Values { values: vec![1.0, 2.0], names: task.names().to_vec() };
        let found = compare_outputs(
            &[task.clone(), task],
            &[1.5, 2.5],
            &[1.5, 2.5],
            &targets,
            None,
            &Options::default(),
        )
        .unwrap();
        let Estimate { value, low, high, .. } = found.loss_difference;
        assert_eq!((value, low, high, found.largest_difference), (0.0, 0.0, 0.0, 0.0));
        assert!(found.changed.is_empty() && found.mcnemar.is_none());
    }
}
