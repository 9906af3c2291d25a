//! The output layer: kept, or replaced for other labels.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::tensor::TensorReadError;
use fireclay::{ConfigError, Mlp, Model, NamedTensor, TargetScaling, Task};
use fireclay_data::Dataset;
use fireclay_measure::task_of;
use fireclay_terminal::names;
use train::disk::{MOST_LABELS, read_text};

use crate::rescale::Rescaled;
use crate::score::{Losses, ScoreError, losses};

/// Labels that a message names, before it counts the rest.
pub(crate) const MOST_NAMES: usize = 12;

/// Why an output layer cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// Outputs of two kinds, or of several labels a row, cannot stand side by side.
    #[error(
        "the model is for {} of {}, and the data for {} of {}; only classes can be joined, so give \
         data with the targets of the model, or leave the flag out",
        model.kind(), names(model.names(), MOST_NAMES), data.kind(), names(data.names(), MOST_NAMES)
    )]
    Joined {
        /// The task of the model.
        model: Box<Task>,
        /// That of the data.
        data: Box<Task>,
    },
    /// The data has another number of labels.
    #[error(
        "--head {wanted}: the data has {found} {noun}{}; give that number, or a file with the name \
         of each output, one a line",
        if *found == 1 { "" } else { "s" }
    )]
    Count {
        /// Outputs that were asked for.
        wanted: usize,
        /// Labels of the data.
        found: usize,
        /// What they are called.
        noun: &'static str,
    },
    /// What was given is no word, no number and no file of labels.
    #[error("--head takes keep, data, both, a number or a file: {}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: LabelsError,
    },
}

/// Why a file has no labels.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It is empty.
    #[error("there is no label")]
    Empty,
    /// A label stands for two outputs.
    #[error("the label {0} is there twice")]
    Twice(String),
}

/// Why an output layer cannot be swapped.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// The network cannot be made.
    #[error(transparent)]
    Network(#[from] ConfigError),
    /// A tensor is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// A model cannot be measured.
    #[error(transparent)]
    Score(Box<ScoreError>),
    /// The device cannot be read.
    #[error("the device failed: {0}")]
    Device(#[from] TensorReadError),
}

impl From<ScoreError> for SwapError {
    fn from(error: ScoreError) -> Self {
        Self::Score(Box::new(error))
    }
}

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
    /// A number that is not that of the data's labels, or a file that cannot be read.
    pub fn task(&self, base: &Task, data: &Task) -> Result<Task, HeadError> {
        match self {
            Self::Keep => Ok(base.clone()),
            Self::Data => Ok(data.clone()),
            Self::Both => match (base, data) {
                _ if base.kind() == data.kind() && base.names() == data.names() => Ok(base.clone()),
                (
                    Task::Classification { labels, .. },
                    Task::Classification { labels: others, .. },
                ) => {
                    let new = others.iter().filter(|label| !labels.contains(label));
                    let labels = labels.iter().chain(new).cloned().collect();
                    Ok(Task::classification(labels))
                }
                _ => {
                    Err(HeadError::Joined { model: base.clone().into(), data: data.clone().into() })
                }
            },
            Self::Count(count) if *count == data.outputs() => Ok(data.clone()),
            Self::Count(count) => Err(HeadError::Count {
                wanted: *count,
                found: data.outputs(),
                noun: if matches!(data, Task::Regression { .. }) { "target" } else { "label" },
            }),
            Self::Labels(path) => {
                let labels = label_file(path)
                    .map_err(|source| HeadError::Labels { path: path.clone(), source })?;
                Ok(match data {
                    Task::Classification { .. } => Task::classification(labels),
                    Task::MultiLabel { .. } => Task::multi_label(labels),
                    Task::Regression { .. } => Task::regression(labels),
                })
            }
        }
    }
}

/// The names in a file, one a line, each of which stands for one output.
pub(crate) fn label_file(path: &Path) -> Result<Vec<String>, LabelsError> {
    let text = read_text(path, MOST_LABELS)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let labels: Vec<String> = lines.map(str::to_owned).collect();
    if labels.is_empty() {
        return Err(LabelsError::Empty);
    }
    match labels.iter().enumerate().find(|(i, label)| labels[..*i].contains(label)) {
        Some((_, label)) => Err(LabelsError::Twice(label.clone())),
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
    /// Whether it starts at zero.
    pub is_zero: bool,
    /// Why weights were left that might have been kept.
    pub left: Option<Losses>,
    /// Targets whose outputs are kept with another scaling.
    pub rescaled: Vec<Rescaled>,
}

impl Swapped {
    /// What the start is called in a table beside what came of it.
    pub(crate) fn name_of_start(&self) -> &'static str {
        if !self.is_same {
            "start, new head"
        } else if self.rescaled.is_empty() {
            "start"
        } else {
            "start, new scaling"
        }
    }
}

/// How outputs get their weights.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// Whether a label that the model has already, by name, keeps its own.
    pub are_kept: bool,
    /// Whether they are trained: an output layer that never moves has to be drawn.
    pub are_trained: bool,
    /// What weights are drawn from.
    pub seed: u64,
}

/// Gives a model the output layer of a task.
///
/// Outputs that are kept keep the scaling of their target, since their weights were trained for it; new
/// ones have that of the task.
///
/// A layer of which no output is kept starts at zero if it is trained. So its first outputs say
/// nothing, whatever comes from below, and the first gradients leave the layers below as they are:
/// they only move as the output layer learns what to ask of them. Beside outputs that are kept new
/// ones are drawn, as in a fresh network.
///
/// # Errors
///
/// A model with adapters, or a device that cannot be read.
pub fn swap(model: &Model, task: Task, weights: Weights) -> Result<Swapped, SwapError> {
    let Weights { are_kept, are_trained, seed } = weights;
    let old = model.mlp.architecture();
    let same_kind = means_the_same(&task, &model.task);
    if same_kind && task.names() == model.task.names() && are_kept {
        let kept = task.names().to_vec();
        let (left, rescaled) = (None, Vec::new());
        let model = model.clone();
        return Ok(Swapped { model, kept, is_same: true, is_zero: false, left, rescaled });
    }
    let network = old.clone().for_task(&task);
    let device = model.device();
    let drawn = Mlp::of(&network, seed, &device)?.tensors()?;
    let had = model.mlp.tensors()?;
    let head = format!("layers.{}.", model.mlp.layers.len() - 1);
    let known = if are_kept && same_kind { model.task.names() } else { &[] };
    let sources: Vec<Option<usize>> =
        task.names().iter().map(|label| known.iter().position(|old| old == label)).collect();
    let starts_at_zero = are_trained && sources.iter().all(Option::is_none);
    let mlp = Mlp::from_tensors(&network, &device, |name, _| {
        if !name.starts_with(&head) {
            return values(&had, name);
        }
        let (mut new, old) = (values(&drawn, name)?, values(&had, name)?);
        if starts_at_zero {
            new.fill(0.0);
        }
        // Each member of an ensemble has all outputs.
        let members = network.members();
        let width = new.len() / (sources.len() * members);
        let (new_rows, old_rows) = (sources.len() * width, old.len() / members);
        for (new, old) in new.chunks_mut(new_rows).zip(old.chunks(old_rows)) {
            for (row, source) in new.chunks_mut(width).zip(&sources) {
                if let Some(source) = source {
                    row.copy_from_slice(&old[source * width..][..width]);
                }
            }
        }
        Ok(new)
    })?;
    let names = task.names().iter().zip(&sources);
    let kept: Vec<String> =
        names.filter(|(_, source)| source.is_some()).map(|(name, _)| name.clone()).collect();
    let task = with_scaling(task.clone(), &model.task, &sources);
    let model = Model { mlp, task, ..model.clone() };
    let (is_zero, left, rescaled) = (starts_at_zero, None, Vec::new());
    Ok(Swapped { model, kept, is_same: false, is_zero, left, rescaled })
}

/// Whether outputs of the same name are the same thing in two tasks: the digit 3 is no number 3, and a
/// quantile or a logarithm is no value.
fn means_the_same(task: &Task, old: &Task) -> bool {
    let quantiles = |task: &Task| task.intervals().map(|intervals| intervals.quantiles.clone());
    let is_as_logarithmic =
        task.scaling().is_none() || task.is_logarithmic() == old.is_logarithmic();
    task.kind() == old.kind() && quantiles(task) == quantiles(old) && is_as_logarithmic
}

/// The numbers of a tensor.
pub(crate) fn values(all: &[NamedTensor], name: &str) -> Result<Vec<f32>, SwapError> {
    let found = all.iter().find(|tensor| tensor.name == name);
    found.map(|t| t.values.clone()).ok_or_else(|| SwapError::Missing(name.to_owned()))
}

/// A regression with the scaling of the old one for each target that comes from there, by its place,
/// and with its own for the others; other tasks as they are.
fn with_scaling(task: Task, old: &Task, sources: &[Option<usize>]) -> Task {
    let (new, before) = (task.scaling().cloned(), old.scaling().cloned());
    let Task::Regression { targets, intervals, .. } = task else { return task };
    // Without a scaling an output is in the unit of its target.
    let numbers = sources.iter().enumerate().map(|(i, source)| {
        let (scaling, place) = source.map_or((&new, i), |place| (&before, place));
        scaling.as_ref().map_or((0.0, 1.0), |s| (s.mean[place], s.deviation[place]))
    });
    let (mean, deviation) = numbers.unzip();
    let is_scaled = sources.iter().any(|source| match source {
        Some(_) => before.is_some(),
        None => new.is_some(),
    });
    let kept = sources.iter().any(Option::is_some);
    let logarithm = if kept { before } else { new }.is_some_and(|scaling| scaling.logarithm);
    let scaling = is_scaled.then_some(TargetScaling { mean, deviation, logarithm });
    Task::Regression { targets, scaling, intervals }
}

/// How well a model does what the labels promise that it has in common with the data: its loss on
/// the data's rows of these labels, and that of outputs of zero. None if there is nothing to tell.
///
/// # Errors
///
/// A device that cannot be read.
pub(crate) fn known(model: &Model, data: &Dataset) -> Result<Option<Losses>, SwapError> {
    let found = task_of(data.targets());
    let names = model.task.names();
    let kept: Vec<String> =
        found.names().iter().filter(|label| names.contains(label)).cloned().collect();
    let weights = Weights { are_kept: true, are_trained: false, seed: 0 };
    let (task, data) = match found {
        _ if found.kind() != model.task.kind() => return Ok(None),
        // Among one label there is nothing to choose.
        Task::Classification { .. } if kept.len() < 2 => return Ok(None),
        Task::Classification { .. } => {
            let rows = data.only_classes(&kept).map_err(ScoreError::from)?;
            (Task::classification(kept), rows)
        }
        // Rows cannot be chosen by their labels.
        _ if kept.len() < found.outputs() => return Ok(None),
        whole => (whole, data.clone()),
    };
    Ok(Some(losses(&swap(model, task, weights)?.model, &data)?))
}

#[cfg(test)]
mod tests {
    use fireclay::MlpConfig;

    use super::*;
    use fireclay::{Device, InputSpec, Preprocessing, Provenance};
    use fireclay_data::{Features, Targets};

    const KEPT: Weights = Weights { are_kept: true, are_trained: true, seed: 9 };
    const DRAWN: Weights = Weights { are_kept: false, are_trained: false, seed: 9 };

    fn labels(names: &[&str]) -> Task {
        Task::classification(names.iter().map(|&name| name.to_owned()).collect())
    }

    fn model(names: &[&str]) -> Model {
        let config = MlpConfig::new([4], [3], names.len());
        Model {
            mlp: Mlp::init(&config, 7, &Device::flex()).unwrap(),
            task: labels(names),
            input: InputSpec::dense(&[2], Preprocessing::None),
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
        let swapped = swap(&before, labels(&["c", "x", "a"]), KEPT).unwrap();
        let (old, new) = (rows(&before), rows(&swapped.model));
        assert_eq!((&new[0], &new[2]), (&old[2], &old[0]));
        assert!(!old.contains(&new[1]));
        assert_eq!(swapped.kept, ["c", "a"]);
        let body = |model: &Model| model.mlp.tensors().unwrap()[..2].to_vec();
        assert_eq!(body(&before), body(&swapped.model));
        let fresh = swap(&before, labels(&["c", "x", "a"]), DRAWN).unwrap();
        assert!(fresh.kept.is_empty() && rows(&fresh.model).iter().all(|row| !old.contains(row)));
    }

    #[test]
    fn a_layer_without_ancestors_starts_at_zero_if_it_is_trained() {
        let before = model(&["a", "b"]);
        let swapped = swap(&before, labels(&["x", "y", "z"]), KEPT).unwrap();
        assert!(swapped.is_zero && rows(&swapped.model).concat().iter().all(|&w| w == 0.0));
        // One that never moves would let no gradient through.
        let frozen = Weights { are_trained: false, ..KEPT };
        let swapped = swap(&before, labels(&["x", "y", "z"]), frozen).unwrap();
        assert!(!swapped.is_zero && rows(&swapped.model).iter().all(|row| row != &[0.0; 3]));
        // Beside outputs that are kept, new ones are drawn.
        let swapped = swap(&before, labels(&["a", "x"]), KEPT).unwrap();
        assert!(!swapped.is_zero && rows(&swapped.model)[1] != [0.0; 3]);
    }

    /// Outputs are linear in one feature here, so that losses are known by hand.
    #[test]
    fn what_a_model_knows_of_its_labels_is_measured_on_rows_of_these_alone() {
        let device = Device::flex();
        let config = MlpConfig::new([1], [], 3).architecture().unwrap();
        let mlp = Mlp::from_tensors(&config, &device, |name, _| {
            Ok::<_, SwapError>(match name {
                "layers.0.weight" => vec![2.0, -2.0, 9.0],
                _ => vec![0.0; 3],
            })
        });
        let input = InputSpec::dense(&[1], Preprocessing::None);
        let mlp = mlp.unwrap();
        let model = Model { mlp, input, task: labels(&["a", "b", "c"]), ..model(&["a"]) };
        let data = |names: &[&str], ids: &[u32], features: &[f32]| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            let targets = Targets::Classes { ids: ids.to_vec(), labels: names };
            Dataset::new(vec![1], Features::Floats(features.to_vec()), targets).unwrap()
        };
        let softplus = |x: f64| x.exp().ln_1p();
        // The row of `new` counts nowhere, and neither does the model's `c`.
        let right = data(&["b", "new", "a"], &[0, 1, 2], &[-1.0, 5.0, 1.0]);
        let found = known(&model, &right).unwrap().unwrap();
        assert!((found.model - softplus(-4.0)).abs() < 1e-6, "{found:?}");
        assert!((found.zero - 2.0_f64.ln()).abs() < 1e-6, "{found:?}");
        let wrong = data(&["b", "new", "a"], &[0, 1, 2], &[1.0, 5.0, -1.0]);
        let found = known(&model, &wrong).unwrap().unwrap();
        assert!((found.model - softplus(4.0)).abs() < 1e-6, "{found:?}");
        assert!(known(&model, &data(&["a", "x"], &[0, 1], &[1.0, 1.0])).unwrap().is_none());
    }

    #[test]
    fn the_same_labels_keep_everything() {
        let before = model(&["a", "b"]);
        let swapped = swap(&before, labels(&["a", "b"]), KEPT).unwrap();
        assert!(swapped.is_same);
        assert_eq!(rows(&before), rows(&swapped.model));
    }

    #[test]
    fn another_kind_of_task_shares_no_outputs() {
        let before = model(&["a", "b"]);
        let task = Task::regression(vec!["a".to_owned()]);
        let swapped = swap(&before, task.clone(), KEPT).unwrap();
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
        let values = Task::regression(vec!["y".to_owned()]);
        let others = Task::regression(vec!["z".to_owned()]);
        // With the same outputs there is nothing to join.
        assert_eq!(Head::Both.task(&values, &values).unwrap(), values);
        for (text, base, data, words) in [
            ("5", &values, &values, "--head 5: the data has 1 target;"),
            (
                "both",
                &base,
                &values,
                "is for classification of a, and the data for regression of y",
            ),
            ("both", &values, &others, "regression of y, and the data for regression of z; only"),
        ] {
            let error = text.parse::<Head>().unwrap().task(base, data).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(task("no-such-file").is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "p\n q \n\n").unwrap();
        assert_eq!(task(file.path().to_str().unwrap()).unwrap(), labels(&["p", "q"]));
        std::fs::write(file.path(), "p\np\n").unwrap();
        assert!(
            fireclay_terminal::message(&task(file.path().to_str().unwrap()).unwrap_err())
                .contains("twice")
        );
    }
}
