//! What is trained of a network that was there before: which parameters, when and how fast.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use burn::tensor::activation::{self, log_softmax, sigmoid, softmax};
use fireclay::{
    Adapter, AdapterError, Architecture, Device, Mlp, Model, ModelFileError, ModelFileProblem,
    NetworkInput, Task, nearest, standardized,
};
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::manifest::{Manifest, sha256};
use crate::run_files::{ADAPTER, BASE, START, TEACHER};
use crate::settings::SettingsError;
use crate::verify::{Fault, missing};

/// How a network that was there before is trained on.
///
/// Everything is written out by parameter path, so that a settings file says exactly what moves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// Digest of the model that training starts from, which the run's folder holds.
    pub start: String,
    /// Pulls every trained parameter below the output layer towards its start: half this number
    /// times the squared distance is added to the loss (L2-SP, Li et al. 2018, arXiv 1802.01483).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub l2_sp: f64,
    /// Whether batch norms keep their running statistics, and use them in training too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_statistics: bool,
    /// Another model to learn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
    /// Rows of another data set among those that are trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// What the tuned model is compared with at the end of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// One after the other, each with a fresh optimizer; the last lasts to the end of the run.
    pub phases: Vec<Phase>,
}

/// A model that a tuned one is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// A fresh network of the same kind, trained on the same rows.
    Scratch,
}

/// Refuses a number for which a condition does not hold.
fn range(
    holds: bool,
    setting: &'static str,
    found: f64,
    expected: &'static str,
) -> Result<(), SettingsError> {
    let found = format!("{found:?}");
    if holds { Ok(()) } else { Err(SettingsError::OutOfRange { setting, found, expected }) }
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

/// A part of a run with its own trained parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// How many epochs it lasts; of the last phase this says nothing.
    pub epochs: u64,
    /// What the learning rate is multiplied by, for each path that is trained; all others are
    /// frozen: no step, no decay, no memory.
    pub rates: BTreeMap<String, f64>,
}

/// Learning from the outputs of a teacher (Hinton et al. 2015, arXiv 1503.02531).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// Digest of the teacher, which the run's folder holds.
    pub teacher: String,
    /// What logits are divided by before the softmax; above 0.
    pub temperature: f64,
    /// Share of the teacher in the loss, from 0 to 1.
    pub alpha: f64,
}

/// Rows of another data set, so that what it teaches is not forgotten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The data set, by name.
    pub source: String,
    /// Its rows, as a share of the training rows; with 0 only forgetting is measured.
    pub fraction: f64,
    /// The classes that are taken, if not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

impl Tuning {
    /// Checks everything against the network that is trained.
    ///
    /// # Errors
    ///
    /// A [`SettingsError`] for a phase without parameters or with unknown ones, or a number out of
    /// range.
    pub fn validate(&self, network: &Architecture) -> Result<(), SettingsError> {
        let l2_sp = self.l2_sp;
        range(l2_sp >= 0.0 && l2_sp.is_finite(), "tuning.l2_sp", l2_sp, "0 or above")?;
        if let Some(Distillation { temperature, alpha, .. }) = self.distillation {
            let is_positive = temperature > 0.0 && temperature.is_finite();
            range(is_positive, "tuning.distillation.temperature", temperature, "above 0")?;
            let is_share = (0.0..=1.0).contains(&alpha);
            range(is_share, "tuning.distillation.alpha", alpha, "from 0 to 1")?;
        }
        if let Some(Replay { fraction, .. }) = self.replay {
            let is_share = fraction >= 0.0 && fraction.is_finite();
            range(is_share, "tuning.replay.fraction", fraction, "0 or above")?;
        }
        let known: BTreeSet<String> =
            network.trainable().into_iter().map(|(path, _)| path.to_string()).collect();
        for (i, phase) in self.phases.iter().enumerate() {
            let is_last = i + 1 == self.phases.len();
            let lasts = phase.epochs > 0 || is_last;
            range(lasts, "tuning.phases.epochs", 0.0, "at least 1")?;
            range(
                !phase.rates.is_empty(),
                "tuning.phases.rates",
                0.0,
                "of at least one parameter",
            )?;
            for (path, &rate) in &phase.rates {
                if !known.contains(path) {
                    let near = nearest(path, known.iter().map(String::as_str)).map(str::to_owned);
                    return Err(SettingsError::Parameter { path: path.clone(), nearest: near });
                }
                range(rate > 0.0 && rate.is_finite(), "tuning.phases.rates", rate, "above 0")?;
            }
        }
        range(!self.phases.is_empty(), "tuning.phases", 0.0, "at least one")
    }

    /// Whether rows of another data set are among those that are trained on.
    pub(crate) fn replays(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| replay.fraction > 0.0)
    }

    /// Epochs before the last phase: so many there are at the least.
    pub(crate) fn epochs_before_last(&self) -> u64 {
        let before = self.phases.split_last().map_or(&[][..], |(_, before)| before);
        before.iter().fold(0, |sum, phase| sum.saturating_add(phase.epochs))
    }

    /// The phase of an epoch, from 1, and whether that epoch is its first.
    pub(crate) fn phase(&self, epoch: u64) -> Option<(&Phase, bool)> {
        let mut first = 1;
        for (i, phase) in self.phases.iter().enumerate() {
            let end = phase.epochs.saturating_add(first);
            if epoch < end || i + 1 == self.phases.len() {
                return Some((phase, epoch == first));
            }
            first = end;
        }
        None
    }
}

/// The models that training starts from and learns from.
#[derive(Clone, Debug)]
pub struct Start {
    /// The network before the first step, with its task and preprocessing.
    pub model: Model,
    /// The teacher of a [`Distillation`].
    pub teacher: Option<Model>,
    /// The model as it was given, with its own output layer, if it is needed once more: adapters are
    /// trained on it, and forgetting is measured on it.
    pub base: Option<Model>,
}

impl Start {
    /// Reads the models of a run, whose files have been held to its manifest.
    ///
    /// # Errors
    ///
    /// A file that is missing, damaged, or not the one that the settings name.
    pub(crate) fn load(
        tuning: &Tuning,
        folder: &Path,
        device: &Device,
    ) -> Result<Self, StartError> {
        let model = signed_of_run(folder, START, &tuning.start, device)?;
        let teacher = tuning.distillation.as_ref();
        let teacher = teacher
            .map(|from| signed_of_run(folder, TEACHER, &from.teacher, device))
            .transpose()?;
        // Nothing that is trained depends on it; its digest is in the manifest alone.
        let has_base = model.mlp.architecture().lora.is_some() || tuning.replay.is_some();
        let base = has_base.then(|| of_run(folder, BASE, device)).transpose()?;
        Ok(Self { model, teacher, base })
    }

    /// The tuning with the digests of these models in it.
    pub(crate) fn signed(&self, mut tuning: Tuning) -> Result<Tuning, ModelFileProblem> {
        tuning.start = self.model.digest()?;
        if let (Some(distillation), Some(teacher)) = (&mut tuning.distillation, &self.teacher) {
            distillation.teacher = teacher.digest()?;
        }
        Ok(tuning)
    }

    /// Writes the models into the folder of a run, and their digests into its manifest.
    pub(crate) fn save(
        &self,
        folder: &Path,
        manifest: &mut Manifest,
        disk: &Disk,
    ) -> io::Result<()> {
        let models = [
            (START, Some(&self.model)),
            (BASE, self.base.as_ref()),
            (TEACHER, self.teacher.as_ref()),
        ];
        for (name, model) in models {
            let Some(model) = model else { continue };
            let (bytes, _) = model.to_bytes().map_err(io::Error::other)?;
            disk.write_whole(&folder.join(name), &bytes)?;
            manifest.files.insert(name.to_owned(), sha256(&bytes));
        }
        Ok(())
    }

    /// Writes what the adapters of a tuned model add to the base, if it has any, and its digest into
    /// the manifest.
    pub(crate) fn save_adapter(
        &self,
        tuned: &Model,
        folder: &Path,
        manifest: &mut Manifest,
        disk: &Disk,
    ) -> Result<(), StartError> {
        if let (Some(base), Some(_)) = (&self.base, &tuned.mlp.architecture().lora) {
            let adapter = Adapter::between(&base.to_host()?, &tuned.to_host()?)?.to_bytes()?;
            disk.write_whole(&folder.join(ADAPTER), &adapter)?;
            manifest.files.insert(ADAPTER.to_owned(), sha256(&adapter));
        }
        Ok(())
    }
}

/// Why the models of a run cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file is gone.
    #[error(transparent)]
    Missing(#[from] Fault),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// A file holds another model.
    #[error("{} is not what this run started with: it is {found}, it was {recorded}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// Digest of its model.
        found: String,
        /// Digest that the settings have.
        recorded: String,
    },
    /// A model cannot be read from its device.
    #[error(transparent)]
    Model(#[from] ModelFileProblem),
    /// There is no adapter between the base and the tuned model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// A model in the folder of a run.
fn of_run(folder: &Path, name: &str, device: &Device) -> Result<Model, StartError> {
    if let Some(fault) = missing(folder, name) {
        return Err(fault.into());
    }
    Ok(Model::load(folder.join(name), device)?)
}

/// A model in the folder of a run, held to its digest.
fn signed_of_run(
    folder: &Path,
    name: &str,
    digest: &str,
    device: &Device,
) -> Result<Model, StartError> {
    let model = of_run(folder, name, device)?;
    let (path, found) = (folder.join(name), model.digest()?);
    if found != digest {
        return Err(StartError::Other { path, found, recorded: digest.to_owned() });
    }
    Ok(model)
}

/// What the loop reads of a start.
#[derive(Clone, Copy, Debug)]
pub struct Tuned<'a> {
    /// What is trained, when and how fast.
    pub tuning: &'a Tuning,
    /// The models.
    pub start: &'a Start,
}

impl Tuned<'_> {
    /// The network as an epoch, from 1, trains it.
    pub(crate) fn freeze(&self, mlp: Mlp, phase: &Phase) -> Mlp {
        mlp.train_only(|path| phase.rates.contains_key(path), self.tuning.keep_statistics)
    }

    /// The loss of each row, `[batch]`, with the teacher's part in it, which weighs what the row
    /// does; `raw` are the features of the batch.
    pub(crate) fn with_teacher(
        &self,
        losses: Tensor<1>,
        weights: Option<Tensor<1>>,
        outputs: &Tensor<2>,
        raw: NetworkInput,
        task: &Task,
    ) -> Tensor<1> {
        let (Some(settings), Some(teacher)) = (&self.tuning.distillation, &self.start.teacher)
        else {
            return losses;
        };
        // In the unit of the student's outputs, whatever the teacher's is.
        let wanted = standardized(task, teacher.forward(raw.without_autodiff())).autodiff();
        let soft = distance(task, outputs.clone(), wanted, settings.temperature);
        let soft = match weights {
            Some(weights) => soft * weights,
            None => soft,
        };
        losses.mul_scalar(1.0 - settings.alpha) + soft.mul_scalar(settings.alpha)
    }
}

/// How far outputs are from a teacher's, for each row: `[batch, outputs]` twice `→ [batch]`.
///
/// For classes `T² KL(softmax(teacher / T) ‖ softmax(outputs / T))`, where `T²` keeps the size of
/// the gradient; for labels the mean over the same of each by itself, and for values the mean squared
/// difference, as the losses of those tasks are means.
fn distance(task: &Task, outputs: Tensor<2>, teacher: Tensor<2>, temperature: f64) -> Tensor<1> {
    let (student, teacher) = match task {
        Task::Regression { .. } => {
            return (outputs - teacher).square().mean_dim(1).squeeze_dim::<1>(1);
        }
        _ => (outputs.div_scalar(temperature), teacher.div_scalar(temperature)),
    };
    let squared = temperature * temperature;
    let rows = match task {
        Task::Classification { .. } => {
            let log = log_softmax(teacher.clone(), 1);
            (softmax(teacher, 1) * (log - log_softmax(student, 1))).sum_dim(1)
        }
        _ => {
            // With p = sigmoid(teacher): p log(p / q) + (1 - p) log((1 - p) / (1 - q)), by way of
            // log sigmoid(z) = -softplus(-z), which does not overflow.
            let p = sigmoid(teacher.clone());
            let yes = softplus(student.clone().neg()) - softplus(teacher.clone().neg());
            let no = softplus(student) - softplus(teacher);
            (p.clone() * yes + p.neg().add_scalar(1.0) * no).mean_dim(1)
        }
    };
    rows.squeeze_dim::<1>(1).mul_scalar(squared)
}

fn softplus(z: Tensor<2>) -> Tensor<2> {
    activation::softplus(z, 1.0)
}

/// Whether a teacher's outputs can be learned from by a model of this task.
pub fn is_teacher_of(teacher: &Model, task: &Task) -> bool {
    teacher.task.kind() == task.kind()
        && teacher.task.names() == task.names()
        && teacher.task.outputs() == task.outputs()
}

#[cfg(test)]
mod tests {
    use fireclay::MlpConfig;

    use super::*;

    fn tuning(phases: &[(u64, &[&str])]) -> Tuning {
        let rates = |paths: &[&str]| paths.iter().map(|&path| (path.to_owned(), 1.0)).collect();
        let phase = |&(epochs, paths): &(u64, &[&str])| Phase { epochs, rates: rates(paths) };
        Tuning { phases: phases.iter().map(phase).collect(), ..Tuning::default() }
    }

    #[test]
    fn phases_follow_each_other_and_the_last_lasts() {
        let tuning = tuning(&[(2, &["a"]), (1, &["b"]), (0, &["c"])]);
        let at = |epoch| {
            let (phase, is_first) = tuning.phase(epoch).unwrap();
            (phase.rates.keys().next().unwrap().as_str(), is_first)
        };
        let found: Vec<_> = (1..=6).map(at).collect();
        let expected =
            [("a", true), ("a", false), ("b", true), ("c", true), ("c", false), ("c", false)];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unknown_parameter_is_named_with_the_nearest() {
        let model = MlpConfig::new([4], [3], 2).architecture().unwrap();
        assert!(tuning(&[(0, &["layers.1.bias"])]).validate(&model).is_ok());
        let error = tuning(&[(0, &["layers.1.biass"])]).validate(&model).unwrap_err().to_string();
        assert!(error.contains("layers.1.biass") && error.contains("`layers.1.bias`"), "{error}");
        for bad in [
            tuning(&[]),
            tuning(&[(1, &[])]),
            tuning(&[(0, &["layers.0.bias"]), (1, &["layers.1.bias"])]),
        ] {
            assert!(bad.validate(&model).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_teacher_is_matched_where_outputs_are_its_own() {
        let device = Device::flex();
        let same = Tensor::<2>::from_floats([[2.0, -1.0, 0.5], [90.0, -90.0, 0.0]], &device);
        let other = Tensor::<2>::from_floats([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]], &device);
        let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        for task in [
            Task::classification(names.clone()),
            Task::multi_label(names.clone()),
            Task::regression(names.clone()),
        ] {
            let of = |outputs: &Tensor<2>| {
                let rows = distance(&task, outputs.clone(), same.clone(), 2.0);
                rows.try_into_vec_as::<f32>().unwrap()
            };
            assert!(of(&same).iter().all(|d| d.abs() < 1e-5), "{task:?}: {:?}", of(&same));
            assert!(of(&other).iter().all(|&d| d > 0.0 && d.is_finite()), "{task:?}");
        }
        // By hand: T² Σ p log(p / q) of the first row at T = 2.
        let p = softmax_of(&[1.0, -0.5, 0.25]);
        let q = softmax_of(&[0.5, 0.0, 0.25]);
        let by_hand: f64 = p.iter().zip(&q).map(|(p, q)| 4.0 * p * (p / q).ln()).sum();
        let task = Task::classification(names);
        let found = distance(&task, other, same, 2.0).try_into_vec_as::<f32>().unwrap()[0];
        assert!((f64::from(found) - by_hand).abs() < 1e-6, "{found} {by_hand}");
    }

    fn softmax_of(logits: &[f64]) -> Vec<f64> {
        let sum: f64 = logits.iter().map(|z| z.exp()).sum();
        logits.iter().map(|z| z.exp() / sum).collect()
    }

    #[test]
    fn a_teacher_has_the_same_labels() {
        let device = Device::flex();
        let model = |labels: usize| Model {
            mlp: Mlp::init(&MlpConfig::new([2], [], labels), 1, &device).unwrap(),
            task: Task::numbered_classes(labels),
            input: fireclay::InputSpec::dense(&[2], fireclay::Preprocessing::None),
            provenance: fireclay::Provenance::default(),
        };
        assert!(is_teacher_of(&model(3), &Task::numbered_classes(3)));
        assert!(!is_teacher_of(&model(3), &Task::numbered_classes(4)));
    }
}
