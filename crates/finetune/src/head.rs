//! The output layer: kept, or made anew for other labels.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use fireclay::{Mlp, MlpConfig, Model, NamedTensor, Task};
use train::disk::{MOST_LABELS, read_text};

/// What the output layer is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// As it is.
    Keep,
    /// One output for each of the data's labels.
    Data,
    /// One output for each of the model's labels, and then for each that only the data has.
    Both,
    /// So many outputs, for as many labels of the data.
    Count(usize),
    /// One output for each line of a file.
    Labels(PathBuf),
}

impl FromStr for Head {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match (text, text.parse()) {
            ("keep", _) => Self::Keep,
            ("data", _) => Self::Data,
            ("both", _) => Self::Both,
            (_, Ok(count)) => Self::Count(count),
            (file, Err(_)) => Self::Labels(file.into()),
        })
    }
}

impl Head {
    /// The task of the tuned model, from that of the base and that of the data.
    ///
    /// # Errors
    ///
    /// A number that is not that of the data's labels, or a file that can not be read.
    pub fn task(&self, base: &Task, data: &Task) -> Result<Task> {
        match self {
            Self::Keep => Ok(base.clone()),
            Self::Data => Ok(data.clone()),
            Self::Both => match (base, data) {
                (Task::Classification { labels }, Task::Classification { labels: others }) => {
                    let new = others.iter().filter(|label| !labels.contains(label));
                    let labels = labels.iter().chain(new).cloned().collect();
                    Ok(Task::Classification { labels })
                }
                _ => bail!(
                    "--head both: the model is for {}, the data for {}",
                    base.kind(),
                    data.kind()
                ),
            },
            Self::Count(count) if *count == data.outputs() => Ok(data.clone()),
            Self::Count(count) => bail!(
                "--head {count}: the data has {} labels; give that number, or a file with the name \
                 of each output, one a line",
                data.outputs()
            ),
            Self::Labels(path) => {
                let labels = label_file(path).with_context(|| {
                    format!("--head takes keep, data, both, a number or a file: {}", path.display())
                })?;
                Ok(match data {
                    Task::Classification { .. } => Task::Classification { labels },
                    Task::MultiLabel { .. } => Task::MultiLabel { labels },
                    Task::Regression { .. } => Task::Regression { targets: labels },
                })
            }
        }
    }
}

/// The names in a file, one a line, each of which stands for one output.
pub(crate) fn label_file(path: &Path) -> Result<Vec<String>> {
    let text = read_text(path, MOST_LABELS)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let labels: Vec<String> = lines.map(str::to_owned).collect();
    if labels.is_empty() {
        bail!("there is no label");
    }
    match labels.iter().enumerate().find(|(i, label)| labels[..*i].contains(label)) {
        Some((_, label)) => bail!("the label {label} is there twice"),
        None => Ok(labels),
    }
}

/// A model with another output layer.
#[derive(Clone, Debug)]
pub struct Swapped {
    /// The model.
    pub model: Model,
    /// Labels whose rows of weights were kept.
    pub kept: Vec<String>,
    /// Whether the output layer is as it was.
    pub is_same: bool,
}

/// Gives a model the output layer of a task: a label that the model has already, by name, keeps its
/// weights unless `fresh`; all others are drawn from `seed`.
///
/// # Errors
///
/// A model with adapters, or a device that can not be read.
pub fn swap(model: &Model, task: Task, fresh: bool, seed: u64) -> Result<Swapped> {
    let old = model.mlp.config();
    if task == model.task && !fresh {
        let kept = task.names().to_vec();
        return Ok(Swapped { model: model.clone(), kept, is_same: true });
    }
    let config = MlpConfig { outputs: task.outputs(), ..old.clone() };
    let device = model.device();
    let drawn = config.init(seed, &device)?.tensors()?;
    let had = model.mlp.tensors()?;
    let head = format!("layers.{}.", model.mlp.layers.len() - 1);
    // Of another kind of task a name is another thing: the digit 3 is no number 3.
    let same_kind = task.kind() == model.task.kind();
    let place = |label: &String| model.task.names().iter().position(|old| old == label);
    let sources: Vec<Option<usize>> = task
        .names()
        .iter()
        .map(|label| if fresh || !same_kind { None } else { place(label) })
        .collect();
    let mlp = Mlp::from_tensors(&config, &device, |name, _| {
        let find = |all: &[NamedTensor]| {
            let found = all.iter().find(|tensor| tensor.name == name);
            found.map(|t| t.values.clone()).with_context(|| format!("{name} is missing"))
        };
        if !name.starts_with(&head) {
            return find(&had);
        }
        let (mut new, old) = (find(&drawn)?, find(&had)?);
        let width = new.len() / sources.len();
        for (row, source) in new.chunks_mut(width).zip(&sources) {
            if let Some(source) = source {
                row.copy_from_slice(&old[source * width..][..width]);
            }
        }
        Ok::<_, anyhow::Error>(new)
    })?;
    let names = task.names().iter().zip(&sources);
    let kept = names.filter(|(_, source)| source.is_some()).map(|(name, _)| name.clone()).collect();
    Ok(Swapped { model: Model { mlp, task, ..model.clone() }, kept, is_same: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fireclay::{Device, Preprocessing, Provenance};

    fn labels(names: &[&str]) -> Task {
        Task::Classification { labels: names.iter().map(|&name| name.to_owned()).collect() }
    }

    fn model(names: &[&str]) -> Model {
        let config = MlpConfig::new([4], [3], names.len());
        Model {
            mlp: config.init(7, &Device::flex()).unwrap(),
            task: labels(names),
            preprocessing: Preprocessing::None,
            provenance: Provenance::default(),
        }
    }

    fn rows(model: &Model) -> Vec<Vec<f32>> {
        let tensors = model.mlp.tensors().unwrap();
        let weight = tensors.iter().find(|t| t.name == "layers.1.weight").unwrap();
        weight.values.chunks(3).map(<[f32]>::to_vec).collect()
    }

    #[test]
    fn labels_that_both_have_keep_their_weights() {
        let before = model(&["a", "b", "c"]);
        let swapped = swap(&before, labels(&["c", "x", "a"]), false, 9).unwrap();
        let (old, new) = (rows(&before), rows(&swapped.model));
        assert_eq!((&new[0], &new[2]), (&old[2], &old[0]));
        assert!(!old.contains(&new[1]));
        assert_eq!(swapped.kept, ["c", "a"]);
        let body = |model: &Model| model.mlp.tensors().unwrap()[..2].to_vec();
        assert_eq!(body(&before), body(&swapped.model));
        let fresh = swap(&before, labels(&["c", "x", "a"]), true, 9).unwrap();
        assert!(fresh.kept.is_empty() && rows(&fresh.model).iter().all(|row| !old.contains(row)));
    }

    #[test]
    fn the_same_labels_keep_everything() {
        let before = model(&["a", "b"]);
        let swapped = swap(&before, labels(&["a", "b"]), false, 9).unwrap();
        assert!(swapped.is_same);
        assert_eq!(rows(&before), rows(&swapped.model));
    }

    #[test]
    fn another_kind_of_task_shares_no_outputs() {
        let before = model(&["a", "b"]);
        let task = Task::Regression { targets: vec!["a".to_owned()] };
        let swapped = swap(&before, task.clone(), false, 9).unwrap();
        assert!(swapped.kept.is_empty());
        assert_eq!((swapped.model.task, rows(&before).len()), (task, 2));
    }

    #[test]
    fn a_head_is_a_word_a_number_or_a_file() {
        let (base, data) = (labels(&["a"]), labels(&["x", "y"]));
        let task = |text: &str| text.parse::<Head>().unwrap().task(&base, &data);
        assert_eq!(task("keep").unwrap(), base);
        assert_eq!(task("data").unwrap(), data);
        assert_eq!(task("both").unwrap(), labels(&["a", "x", "y"]));
        assert_eq!(task("2").unwrap(), data);
        assert!(task("3").unwrap_err().to_string().contains("2 labels"));
        assert!(task("no-such-file").is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "p\n q \n\n").unwrap();
        assert_eq!(task(file.path().to_str().unwrap()).unwrap(), labels(&["p", "q"]));
        std::fs::write(file.path(), "p\np\n").unwrap();
        assert!(
            format!("{:#}", task(file.path().to_str().unwrap()).unwrap_err()).contains("twice")
        );
    }
}
