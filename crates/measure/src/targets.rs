//! The targets of data as a model counts them.

use fireclay::Task;
use fireclay_data::{DataError, Dataset, Targets, TrainTest};

/// The task that the targets of a data set set a network.
pub fn task_of(targets: &Targets) -> Task {
    match targets {
        Targets::Classes { labels, .. } => Task::classification(labels.clone()),
        Targets::MultiLabel { labels, .. } => Task::multi_label(labels.clone()),
        Targets::Values { names, .. } => Task::regression(names.clone()),
    }
}

/// The rows of some classes, or all if none are named.
///
/// # Errors
///
/// [`MatchError::NotClasses`] for data without classes, and [`MatchError::Data`] for a class that it
/// does not have, or that no row has.
pub fn only(data: TrainTest, classes: &[String]) -> Result<TrainTest, MatchError> {
    // Of a table, other rows were left out when it was read.
    if classes.is_empty() || data.table.is_some() {
        return Ok(data);
    }
    let found = task_of(data.train.targets());
    if !matches!(found, Task::Classification { .. }) {
        return Err(MatchError::NotClasses { found: found.kind() });
    }
    let TrainTest { train, test, .. } = data;
    Ok(TrainTest::new(train.only_classes(classes)?, test.only_classes(classes)?))
}

/// Data with the labels of a task, as [`matched`] has them.
///
/// # Errors
///
/// As [`matched`].
pub fn fitted_to(data: TrainTest, task: &Task) -> Result<TrainTest, MatchError> {
    let found = task_of(data.train.targets());
    if found.kind() == task.kind() && found.names() == task.names() {
        return Ok(data);
    }
    let (train, test) = (matched(&data.train, task)?, matched(&data.test, task)?);
    Ok(TrainTest { train, test, ..data })
}

/// Rows of a data set with their targets as a model counts them.
///
/// Labels and targets are matched by name. Where the names of one side are just numbers, which is
/// what a model has that came from a file without names, or data without names, they are places and
/// are matched by place, unless the other side has numbers too: the digit 5 is not the digit 0.
///
/// # Errors
///
/// [`MatchError`]: targets of another kind, or names that the model does not know.
pub fn matched(data: &Dataset, task: &Task) -> Result<Dataset, MatchError> {
    let found = task_of(data.targets());
    if found.kind() != task.kind() {
        return Err(MatchError::Task { found: found.kind(), expected: task.kind() });
    }
    if found.names() == task.names() {
        return Ok(data.clone());
    }
    let by_name = match task {
        Task::Classification { labels, .. } => data.relabelled(labels),
        _ => Err(DataError::LabelMismatch),
    };
    match by_name {
        Ok(data) => Ok(data),
        Err(_) if are_places(found.names(), task.names()) => Ok(renamed(data, task.names())?),
        Err(source @ DataError::UnknownLabel { .. }) => {
            Err(MatchError::Labels { source, advice: advice(found.names(), task.names()) })
        }
        Err(_) => Err(MatchError::Names {
            found: found.names().join(", "),
            expected: task.names().join(", "),
            advice: advice(found.names(), task.names()),
        }),
    }
}

/// Whether two lists of names are as long, and one is "0", "1", … and the other has no numbers at all.
pub fn are_places(names: &[String], others: &[String]) -> bool {
    names.len() == others.len() && (stand_for(names, others) || stand_for(others, names))
}

/// Whether some names are just numbers, and the others are none.
fn stand_for(numbers: &[String], names: &[String]) -> bool {
    are_numbers(numbers) && !names.iter().any(|name| name.parse::<i64>().is_ok())
}

/// Whether names are just "0", "1", …
pub fn are_numbers(names: &[String]) -> bool {
    names.iter().enumerate().all(|(i, name)| *name == i.to_string())
}

/// The same rows with other names of their targets, place by place.
fn renamed(data: &Dataset, names: &[String]) -> Result<Dataset, DataError> {
    let names = names.to_vec();
    let targets = match data.targets().clone() {
        Targets::Classes { ids, .. } => Targets::Classes { ids, labels: names },
        Targets::MultiLabel { values, .. } => Targets::MultiLabel { values, labels: names },
        Targets::Values { values, .. } => Targets::Values { values, names },
    };
    data.with_targets(targets)
}

/// What to do about names that do not fit.
fn advice(found: &[String], expected: &[String]) -> &'static str {
    if found.len() == expected.len() {
        "; if they mean the same in this order, name the model's outputs with `finetune import MODEL \
         --to NEW --labels FILE`"
    } else {
        ""
    }
}

/// Why the targets of data are not the outputs of a model.
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    /// The targets are of another kind than the model's outputs.
    #[error("{}", differing_tasks(expected, found))]
    Task {
        /// The kind of the data.
        found: &'static str,
        /// The kind of the model.
        expected: &'static str,
    },
    /// A label of the data is none of the model's.
    #[error("the labels of the data are not those of the model{advice}")]
    Labels {
        /// The label.
        source: DataError,
        /// What to do about it.
        advice: &'static str,
    },
    /// The targets of the data are not the model's outputs.
    #[error("the data has the targets {found}; the model's are {expected}{advice}")]
    Names {
        /// Names in the data.
        found: String,
        /// Names in the model.
        expected: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// Rows are to be chosen by class, and have none.
    #[error(
        "rows are chosen by class, and the data is for {found}; leave out the names of classes (--classes)"
    )]
    NotClasses {
        /// The kind of the data.
        found: &'static str,
    },
    /// The rows cannot have these targets.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// What is wrong with data of another kind of task than the model's, and what can be done.
fn differing_tasks(model: &str, data: &str) -> String {
    let problem = format!("the model is for {model}, and the data for {data}");
    match (model, data) {
        ("multi-label" | "regression", "classification") => format!(
            "{problem}; if the model was imported and the greatest of its outputs is the class, \
             import its file again with --task classification"
        ),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use fireclay_data::Features;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn set(targets: Targets) -> Dataset {
        Dataset::new(vec![1], Features::Bytes(vec![0, 1]), targets).unwrap()
    }

    fn classes(labels: &[&str]) -> Dataset {
        set(Targets::Classes { ids: vec![1, 0], labels: names(labels) })
    }

    #[test]
    fn mere_numbers_are_places_of_names_on_either_side() {
        let named = Task::classification(names(&["elm", "oak"]));
        let numbered = Task::numbered_classes(2);
        for (data, task) in [(classes(&["0", "1"]), &named), (classes(&["elm", "oak"]), &numbered)]
        {
            let found = matched(&data, task).unwrap();
            let expected = Targets::Classes { ids: vec![1, 0], labels: task.names().to_vec() };
            assert_eq!(found.targets(), &expected);
        }
        // By name before by place.
        let turned = matched(&classes(&["oak", "elm"]), &named).unwrap();
        assert!(matches!(turned.targets(), Targets::Classes { ids, .. } if ids == &[0, 1]));
        let values =
            |name: &str| set(Targets::Values { values: vec![3.0, 4.0], names: names(&[name]) });
        for (data, task) in [("0", "strength"), ("strength", "0")] {
            let found = matched(&values(data), &Task::regression(names(&[task]))).unwrap();
            assert_eq!(found.targets(), values(task).targets());
        }
        let several =
            set(Targets::MultiLabel { values: vec![1, 0, 0, 1], labels: names(&["0", "1"]) });
        let task = Task::multi_label(names(&["cat", "dog"]));
        assert_eq!(matched(&several, &task).unwrap().targets().labels(), ["cat", "dog"]);
    }

    #[test]
    fn other_numbers_and_other_names_are_refused_with_a_way_out() {
        let numbered = Task::numbered_classes(2);
        for labels in [["5", "6"], ["0", "x"]] {
            let error = matched(&classes(&labels), &numbered).unwrap_err();
            assert!(error.to_string().contains("--labels FILE"), "{error}");
        }
        let longer = matched(&classes(&["a", "b", "c"]), &numbered).unwrap_err();
        assert!(matches!(longer, MatchError::Labels { advice: "", .. }));
        let values = set(Targets::Values { values: vec![3.0, 4.0], names: names(&["psi"]) });
        let error = matched(&values, &Task::regression(names(&["mpa"]))).unwrap_err();
        assert!(error.to_string().contains("the targets psi; the model's are mpa"), "{error}");
        assert!(matches!(matched(&values, &numbered), Err(MatchError::Task { .. })));
    }
}
