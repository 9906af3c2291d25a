//! What the outputs of a network mean: as the file tells, or as was said, which must not contradict
//! each other; never guessed.

use fireclay::Task;
use fireclay_formats as formats;
use fireclay_formats::Archive;
use fireclay_terminal::counted;

use super::super::{ImportError, Options, TaskKind};
use super::fold::Output;

/// What the outputs mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) kind: TaskKind,
    /// Whether one output stands for two classes: 0 is the logit of the first.
    pub(super) is_binary: bool,
    /// What a person should know of it.
    pub(super) note: Option<String>,
}

/// What the file tells beside its network.
pub(super) fn told(archive: &Archive) -> Option<TaskKind> {
    archive.task.map(|task| match task {
        formats::OutputKind::Classification => TaskKind::Classification,
        formats::OutputKind::MultiLabel => TaskKind::MultiLabel,
        formats::OutputKind::Regression => TaskKind::Regression,
    })
}

/// What was said, or else what the file tells beside its network.
pub(super) fn wanted(archive: &Archive, options: &Options) -> Option<TaskKind> {
    options.task.or(told(archive))
}

/// What so many outputs mean behind such an end.
///
/// # Errors
///
/// Nothing tells, or what tells contradicts.
pub(super) fn meaning(
    archive: &Archive,
    options: &Options,
    output: Output,
    outputs: usize,
) -> Result<Meaning, ImportError> {
    let told = told(archive);
    if output == Output::Softmax && outputs == 1 {
        return Err(ImportError::unsupported(
            "the file has softmax behind one output, which is always 1",
            "give the network as it was before softmax, or train it with a sigmoid",
        ));
    }
    // Classes are often learned with a squared error, or with a sigmoid for each.
    let is_of_classes = match (told, options.task) {
        (Some(TaskKind::MultiLabel), Some(TaskKind::Classification)) => output != Output::Softmax,
        (Some(TaskKind::Regression), Some(_)) if output == Output::Sigmoid => true,
        // One number that was compared with 0 and 1 is no logit: its border is not 0.
        (Some(TaskKind::Regression), Some(TaskKind::Classification)) => outputs > 1,
        _ => false,
    };
    if let (Some(told), Some(said)) = (told, options.task)
        && told != said
        && !is_of_classes
    {
        return Err(ImportError::unsupported(
            format!("the file is of {}, and --task says {}", told.name(), said.name()),
            "leave out --task",
        ));
    }
    let kind = match (options.task.or(told), output) {
        (Some(kind), _) => kind,
        (None, Output::Softmax) => TaskKind::Classification,
        (None, Output::Sigmoid) if outputs == 1 => TaskKind::Classification,
        (None, Output::Sigmoid) => TaskKind::MultiLabel,
        (None, Output::Identity) => of_logits(archive, options, outputs)?,
    };
    let end = match output {
        Output::Softmax => "softmax",
        Output::Sigmoid if outputs == 1 => "one sigmoid",
        Output::Sigmoid => "sigmoids",
        Output::Identity => "a linear layer",
    };
    let contradicts = match output {
        Output::Softmax => kind != TaskKind::Classification,
        Output::Sigmoid => kind == TaskKind::Regression,
        Output::Identity => false,
    };
    if contradicts {
        let who = if options.task.is_some() { "--task says" } else { "the file is of" };
        return Err(ImportError::unsupported(
            format!("the network in the file ends in {end}, and {who} {}", kind.name()),
            "leave out --task, or give the file that belongs to it",
        ));
    }
    let is_binary = kind == TaskKind::Classification && outputs == 1;
    let is_squared = told == Some(TaskKind::Regression);
    let who = if options.task.is_some() { "--task says" } else { "the labels of the file say" };
    Ok(Meaning { kind, is_binary, note: note(kind, output, outputs, is_squared, who) })
}

/// What a person should know of what the outputs mean, as `who` has it.
fn note(
    kind: TaskKind,
    output: Output,
    outputs: usize,
    is_squared: bool,
    who: &str,
) -> Option<String> {
    let text = match (kind, output, outputs) {
        (TaskKind::Classification, Output::Sigmoid, 1) => {
            "one sigmoid output is read as two classes, the second its own"
        }
        (TaskKind::Classification, Output::Identity, 1) => {
            "the one output is read as the logit of the second of two classes: above 0 it is the \
             second"
        }
        (TaskKind::Classification, Output::Sigmoid, _) => {
            return Some(format!(
                "each output of the file has a sigmoid of its own; here the greatest is the class, \
                 as {who}, and probabilities are those of a softmax, which differ"
            ));
        }
        (TaskKind::Classification, Output::Identity, _) if is_squared => {
            return Some(format!(
                "the outputs of the file were compared with numbers; here the greatest is the \
                 class, as {who}, and probabilities are those of a softmax, which it was not \
                 trained for"
            ));
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// Outputs without a function behind them may be anything.
fn of_logits(
    archive: &Archive,
    options: &Options,
    outputs: usize,
) -> Result<TaskKind, ImportError> {
    let names = options.labels.as_ref().or(archive.labels.as_ref());
    // One name for one output is that of a number as well as that of a class.
    if names.is_some_and(|names| names.len() > 1 || outputs > 1) {
        return Ok(TaskKind::Classification);
    }
    let of_data = options.data.as_ref().filter(|task| task.outputs() == outputs);
    match of_data {
        Some(Task::Classification { .. }) if outputs > 1 => return Ok(TaskKind::Classification),
        Some(Task::MultiLabel { .. }) => return Ok(TaskKind::MultiLabel),
        Some(Task::Regression { .. }) => return Ok(TaskKind::Regression),
        _ => {}
    }
    let (what, classes) = match outputs {
        1 => ("its one output means", "two classes, by its sign"),
        _ => ("its outputs mean", "one class for each output"),
    };
    Err(ImportError::Unsaid {
        what: format!("what {what}"),
        flag: format!(
            "--task regression (numbers), --task classification ({classes}) or --task multi-label"
        ),
    })
}

/// The name of each output: as was said, as the file has it, or its number; and a note on names that
/// stand beside the weights.
///
/// # Errors
///
/// There are not as many as outputs, or the file has two lists that contradict each other.
pub(super) fn labels(
    archive: &Archive,
    options: &Options,
    outputs: usize,
) -> Result<(Vec<String>, Vec<String>), ImportError> {
    let (who, labels) = match (&options.labels, &archive.labels) {
        (Some(said), _) => ("--labels", said),
        (None, Some(found)) => {
            contradicted(archive, found)?;
            ("the file", found)
        }
        (None, None) => {
            let (beside, notes) = beside(archive, outputs)?;
            let labels = match beside {
                Some(names) => names.to_vec(),
                None => (0..outputs).map(|output| output.to_string()).collect(),
            };
            return Ok((labels, notes));
        }
    };
    if labels.len() != outputs {
        let names = counted(labels.len() as u64, "name");
        let outputs = counted(outputs as u64, "output");
        let what = format!("{who} has {names}, and the network {outputs}");
        return Err(ImportError::unsupported(what, "give one name for each with --labels"));
    }
    Ok((labels.clone(), Vec::new()))
}

/// Requires that names beside the weights, if they are as many, are those that the network itself
/// gives to its outputs.
fn contradicted(archive: &Archive, found: &[String]) -> Result<(), ImportError> {
    match archive.class_names.iter().find(|(_, names)| names.len() == found.len() && names != found)
    {
        None => Ok(()),
        Some((key, names)) => Err(ImportError::unsupported(
            format!(
                "the file names the outputs {} in its network and {} under {}",
                some(found),
                some(names),
                printable_key(key)
            ),
            "give one name for each output with --labels",
        )),
    }
}

/// Of the names that stand beside the weights those that are as many as the outputs, and what a
/// person should know of all.
fn beside(
    archive: &Archive,
    outputs: usize,
) -> Result<(Option<&[String]>, Vec<String>), ImportError> {
    let mut taken: Option<&(String, Vec<String>)> = None;
    let mut notes = Vec::new();
    for found in &archive.class_names {
        let (key, names) = found;
        match taken {
            _ if names.len() != outputs => notes.push(format!(
                "left out: {} under {}; the network has {}",
                counted(names.len() as u64, "name"),
                printable_key(key),
                counted(outputs as u64, "output")
            )),
            Some((first, other)) if other != names => {
                return Err(ImportError::unsupported(
                    format!(
                        "the file names the outputs {} under {} and {} under {}",
                        some(other),
                        printable_key(first),
                        some(names),
                        printable_key(key)
                    ),
                    "give one name for each output with --labels",
                ));
            }
            Some(_) => {}
            None => {
                let key = printable_key(key);
                notes.push(format!("the outputs are named as under {key}"));
                taken = Some(found);
            }
        }
    }
    Ok((taken.map(|(_, names)| names.as_slice()), notes))
}

/// The key of names in a file, as text in quotes.
fn printable_key(key: &str) -> String {
    format!("\"{}\"", fireclay_terminal::printable(key, 80))
}

/// The first of some names.
fn some(names: &[String]) -> String {
    const MOST: usize = 3;
    let first: Vec<_> =
        names.iter().take(MOST).map(|name| fireclay_terminal::printable(name, 40)).collect();
    let more = if names.len() > MOST { ", ..." } else { "" };
    format!("{}{more}", first.join(", "))
}
