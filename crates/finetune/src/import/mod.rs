//! From the file of any program to a [`Model`], and where each of its tensors went.
//!
//! What a file says is taken from it; what it does not say is asked for, never guessed. A file that
//! describes its network is read layer by layer; of one that holds tensors alone the network is
//! inferred from their names and shapes.

mod assemble;
mod error;
mod inferred;
mod integers;
mod layers;
mod reparameterized;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fireclay::{
    Activation, Adapter, AdapterError, Ancestor, Architecture, Device, InputSpec, Mlp, Model, Norm,
    NormPosition, Preprocessing, Provenance, Task, nearest,
};
use fireclay_files::{RegularFile, sha256};
use fireclay_formats::{Archive, Layout};
use fireclay_terminal::counted;
use regex::Regex;

use crate::pattern::{Glob, Pattern};

pub use error::ImportError;
pub use fireclay_formats::{not_a_model, not_an_adapter};
pub use layers::{Layers, LayersError, SaidLayer};

/// What a file does not say, and how its names are read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The key that the tensors are below, in a checkpoint, or the beginning of their names.
    pub key: Option<String>,
    /// Renames tensors before anything else: each expression is replaced everywhere in each name, and
    /// must change one. Names must stay different.
    pub map: Vec<(Regex, String)>,
    /// Takes layers in the order of the file where names and shapes do not tell their order.
    pub by_order: bool,
    /// Parameters, by their paths here, that may be missing: a layer then has no bias, and a norm is
    /// neutral. Each must name a parameter.
    pub allow_missing: Vec<Pattern>,
    /// Tensors of the file that may be left out. Each must name a tensor.
    pub allow_unused: Vec<Glob>,
    /// How weights lie.
    pub layout: Option<Layout>,
    /// The function after each hidden layer: one for all, or one for each.
    pub activation: Vec<Activation>,
    /// Each hidden layer in full, in place of the settings for all.
    pub layers: Option<Layers>,
    /// The normalisation of hidden layers.
    pub norm: Option<Norm>,
    /// Where norms stand: on one side of the activations, on the input, or both.
    pub norm_position: Vec<NormPosition>,
    /// What norms add to a variance.
    pub norm_epsilon: Option<f64>,
    /// What leaky-relu multiplies numbers below 0 by.
    pub leaky_slope: Option<f64>,
    /// Each hidden layer adds its input to its output, where both are equally wide.
    pub residual: bool,
    /// No layer adds its input, whatever names suggest.
    pub no_residual: bool,
    /// From raw features to what the network was given; what it does to them itself comes after.
    pub preprocessing: Option<Preprocessing>,
    /// What the outputs mean.
    pub task: Option<TaskKind>,
    /// Name of each output.
    pub labels: Option<Vec<String>>,
    /// The task of the data that the model is meant for: it tells what outputs mean, if there are as
    /// many and nothing else does.
    pub data: Option<Task>,
}

/// What outputs mean, without their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TaskKind {
    /// Exactly one label.
    Classification,
    /// Any number of labels.
    MultiLabel,
    /// Numbers.
    Regression,
}

impl TaskKind {
    /// The name in flags and messages.
    fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::MultiLabel => "multi-label",
            Self::Regression => "regression",
        }
    }
}

/// A model from a file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The model.
    pub model: Model,
    /// The file, for the provenance of the result: a digest of the model for a Fireclay file, of
    /// the bytes for any other.
    pub origin: Ancestor,
    /// Whether it is a Fireclay model.
    pub is_native: bool,
    /// The tensors of the file and what became of them.
    pub placed: Vec<Placed>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// A tensor of a file and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its name in the file.
    pub name: String,
    /// Its shape in the file.
    pub shape: Vec<usize>,
    /// Its type in the file.
    pub dtype: &'static str,
    /// Where it went.
    pub fate: Fate,
}

/// Where a tensor went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Into the network.
    Used {
        /// The path of the parameter.
        path: String,
        /// How its numbers were moved or changed: `as is`, `transposed`, `f64 to f32`.
        change: String,
    },
    /// Nowhere, and why.
    Skipped(String),
}

/// Reads a model from a file of any kind that is known.
///
/// # Errors
///
/// An [`ImportError`]: the file is not whole or not understood, does not say something that has to
/// be known, or does not fit into a Fireclay network.
pub fn import(path: &Path, options: &Options, device: &Device) -> Result<Imported, ImportError> {
    let failed = |problem| fireclay_formats::FormatError { path: path.to_owned(), problem };
    let file = fireclay_formats::check_name(path)
        .and_then(|()| fireclay_formats::open(path))
        .map_err(failed)?;
    match Model::from_source(&*file, device) {
        Ok(model) => return native(model, options),
        Err(problem) if problem.may_be_foreign() => {}
        Err(problem) => {
            return Err(fireclay::ModelFileError { path: path.to_owned(), problem }.into());
        }
    }
    match Adapter::check(&*file) {
        Err(AdapterError::NotAnAdapter) => {}
        Err(AdapterError::File(problem)) if problem.may_be_foreign() => {}
        Ok(()) | Err(_) => return Err(ImportError::Adapter { path: path.to_owned() }),
    }
    let mut archive =
        fireclay_formats::from_file(path, &file, options.key.as_deref()).map_err(failed)?;
    let described = archive.network.take();
    let is_described = described.is_some();
    let network = match described {
        Some(network) => {
            describes(options)?;
            check_unused(&archive, options)?;
            network
        }
        None => {
            let has_own_order = inferred::has_own_order(&archive.tensors);
            rename(&mut archive, &options.map)?;
            reparameterized::restore(&mut archive)?;
            check_unused(&archive, options)?;
            let inferred = inferred::network(&archive, has_own_order, options)
                .map_err(|error| integers::explain(networks(error, &archive), &archive))?;
            archive.notes.extend(inferred.notes);
            inferred.network
        }
    };
    let kind = archive.kind.name();
    let files = std::mem::take(&mut archive.files);
    let built = assemble::assemble(archive, &network, is_described, options, device)?;
    let name =
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let hex = digest(&file, &files).map_err(failed)?;
    let with = if files.is_empty() { "" } else { " and the files of its numbers" };
    let origin = Ancestor {
        digest: format!("sha256:{hex}"),
        program: format!("{kind} file {name}{with}"),
        data: None,
    };
    Ok(Imported { origin, is_native: false, ..built })
}

/// The digest of a file, or of the digests of all if others hold numbers of its tensors.
fn digest(file: &RegularFile, others: &[PathBuf]) -> Result<String, fireclay_formats::Problem> {
    let mut digests = sha256(file)?;
    if others.is_empty() {
        return Ok(digests);
    }
    for other in others {
        digests += &sha256(&*fireclay_formats::open(other)?)?;
    }
    Ok(sha256(&digests.into_bytes())?)
}

/// The flag that names outputs, also those of a Fireclay model.
const LABELS: &str = "--labels";

/// A flag that says what a file does not.
#[derive(Clone, Copy, Debug)]
struct Flag {
    name: &'static str,
    is_given: bool,
    /// What it describes, if a file or another flag may describe that too.
    subject: Subject,
}

/// What a flag describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// Hidden layers, which a file that describes its network describes, and so does --layers.
    Layers,
    /// Their functions or their norms: a file that describes its network may leave them open, and
    /// --layers does not.
    LayersOfAnyFile,
    /// How tensors become layers, which a file that describes its network says.
    Tensors,
    /// What any file of another program may leave open.
    Other,
}

impl Options {
    /// The first flag that was given about one of these subjects.
    fn first_given(&self, subjects: &[Subject]) -> Option<&'static str> {
        let flag = self.flags().into_iter().find(|f| f.is_given && subjects.contains(&f.subject));
        flag.map(|flag| flag.name)
    }

    /// All flags, but for the data, which says what outputs mean only where nothing else does.
    fn flags(&self) -> [Flag; 17] {
        use Subject::{Layers, LayersOfAnyFile, Other, Tensors};
        [
            ("--activation", !self.activation.is_empty(), LayersOfAnyFile),
            ("--layers", self.layers.is_some(), Tensors),
            ("--norm", self.norm.is_some(), LayersOfAnyFile),
            ("--norm-position", !self.norm_position.is_empty(), Layers),
            ("--norm-epsilon", self.norm_epsilon.is_some(), Layers),
            ("--leaky-slope", self.leaky_slope.is_some(), Layers),
            ("--residual", self.residual, Layers),
            ("--no-residual", self.no_residual, Layers),
            ("--preprocessing", self.preprocessing.is_some(), Other),
            ("--layout", self.layout.is_some(), Tensors),
            ("--task", self.task.is_some(), Other),
            (LABELS, self.labels.is_some(), Other),
            ("--key", self.key.is_some(), Other),
            ("--map", !self.map.is_empty(), Tensors),
            ("--by-order", self.by_order, Tensors),
            ("--allow-missing", !self.allow_missing.is_empty(), Tensors),
            ("--allow-unused", !self.allow_unused.is_empty(), Other),
        ]
        .map(|(name, is_given, subject)| Flag { name, is_given, subject })
    }
}

/// Refuses flags that say what a file which describes its network says itself.
fn describes(options: &Options) -> Result<(), ImportError> {
    match options.first_given(&[Subject::Layers, Subject::Tensors]) {
        Some(flag) => Err(ImportError::unsupported(
            "the file describes its network",
            format!("leave out {flag}"),
        )),
        None => Ok(()),
    }
}

/// An error of layers that do not follow each other, or in no order that is known, for a file whose
/// names begin with those of several networks.
fn networks(error: ImportError, archive: &Archive) -> ImportError {
    let mut matrices: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for tensor in archive.tensors.iter().filter(|tensor| tensor.shape.len() == 2) {
        let (first, _) = tensor.name.split_once(['.', '/']).unwrap_or_default();
        matrices.entry(first).or_default().push(format!("{} {:?}", tensor.name, tensor.shape));
    }
    let are_several = matrices.len() > 1
        && matrices.iter().all(|(first, names)| names.len() > 1 && first.parse::<u64>().is_err());
    let in_order = match error {
        ImportError::Ambiguous { by_order: true, .. } => {
            ", take the order of the file with --by-order"
        }
        _ => ", number their layers in one row with --map",
    };
    match error {
        ImportError::NoChain { .. } | ImportError::Ambiguous { .. } if are_several => {
            let keys: Vec<String> = matrices.keys().map(|first| format!("--key {first}")).collect();
            ImportError::NoChain {
                found: matrices.into_values().flatten().collect(),
                hint: format!(
                    "if these are several networks, take one: {}; if they are one{in_order}",
                    keys.join(", ")
                ),
            }
        }
        error => error,
    }
}

/// Imports a Fireclay model, which describes itself; its outputs may get other names.
fn native(mut model: Model, options: &Options) -> Result<Imported, ImportError> {
    if let Some(flag) = options.flags().into_iter().find(|f| f.is_given && f.name != LABELS) {
        let flag = flag.name;
        return Err(ImportError::unsupported(
            "this is a Fireclay model, which already describes its network",
            format!("leave out {flag}"),
        ));
    }
    let digest = model.digest()?;
    if let Some(names) = &options.labels {
        let (found, outputs) = (names.len(), model.task.outputs());
        if found != outputs {
            let found = counted(found as u64, "line");
            let outputs = counted(outputs as u64, "output");
            let what = format!("{LABELS} has {found}, and the model {outputs}");
            return Err(ImportError::unsupported(what, "give one for each"));
        }
        model.task = model.task.with_names(names.clone());
    }
    let placed = model.mlp.architecture().tensors().into_iter().map(|(path, shape)| Placed {
        fate: Fate::Used { path: path.to_string(), change: "as is".to_owned() },
        name: path.to_string(),
        shape,
        dtype: "f32",
    });
    let Provenance { program, data, .. } = model.provenance.clone();
    let placed: Vec<Placed> = placed.collect();
    Ok(Imported {
        placed,
        origin: Ancestor { digest, program, data },
        model,
        is_native: true,
        notes: Vec::new(),
    })
}

/// The model with the same parameters and another description of them, which they must fit.
pub(crate) fn rebuilt(model: Model, network: &Architecture) -> Result<Model, ImportError> {
    if model.mlp.architecture() == network {
        return Ok(model);
    }
    let tensors = model.to_host()?.weights;
    let mlp = Mlp::from_tensors(network, &model.device(), |name, shape| {
        let found = tensors.iter().find(|tensor| tensor.name == name && tensor.shape == shape);
        found.map(|tensor| tensor.values.clone()).ok_or_else(|| ImportError::Missing {
            path: name.to_owned(),
            others: Vec::new(),
            nearest: None,
        })
    })?;
    let shape = &network.input_shape;
    let pictures = model.input.pictures().filter(|pictures| pictures.validate(shape).is_ok());
    let input = InputSpec::dense(shape, model.input.preprocessing().clone());
    Ok(Model { mlp, input: input.with_pictures(pictures), ..model })
}

/// Renames tensors; each rule must change a name, and names must stay different.
fn rename(archive: &mut Archive, map: &[(Regex, String)]) -> Result<(), ImportError> {
    let mut names: Vec<String> = archive.tensors.iter().map(|tensor| tensor.name.clone()).collect();
    for (expression, replacement) in map {
        let renamed: Vec<String> = names
            .iter()
            .map(|name| expression.replace_all(name, replacement).into_owned())
            .collect();
        if renamed == names {
            let rule = format!("{expression}={replacement}");
            let nearest = nearest(expression.as_str(), names.iter().map(String::as_str));
            let nearest = nearest.map(str::to_owned);
            let what = "tensor that it would rename";
            return Err(ImportError::NamesNothing { flag: "--map", rule, what, nearest });
        }
        names = renamed;
    }
    let mut originals = BTreeMap::new();
    for (tensor, name) in archive.tensors.iter().zip(&names) {
        if let Some(first) = originals.insert(name, &tensor.name) {
            let originals = [first.clone(), tensor.name.clone()];
            return Err(ImportError::SameName { name: name.clone(), originals });
        }
    }
    archive.tensors.iter_mut().zip(names).for_each(|(tensor, name)| tensor.name = name);
    Ok(())
}

/// Requires that each pattern of tensors that may be left out names one.
fn check_unused(archive: &Archive, options: &Options) -> Result<(), ImportError> {
    let names = archive.tensors.iter().map(|tensor| tensor.name.as_str());
    match options.allow_unused.iter().find(|glob| !names.clone().any(|name| glob.names(name))) {
        Some(glob) => Err(ImportError::names_nothing(
            "--allow-unused",
            glob,
            "tensor of the file",
            names.clone(),
        )),
        None => Ok(()),
    }
}

/// Whether a tensor may be left out.
fn may_be_unused(name: &str, options: &Options) -> bool {
    options.allow_unused.iter().any(|glob| glob.names(name))
}

#[cfg(test)]
mod tests {
    use fireclay::MlpConfig;

    use super::*;
    use fireclay_formats::{Kind, Tensor};

    fn archive(names: &[&str]) -> Archive {
        Archive {
            kind: Kind::PyTorch,
            tensors: names.iter().map(|&name| Tensor::zeros(name, vec![1])).collect(),
            network: None,
            layout: None,
            labels: None,
            class_names: Vec::new(),
            files: Vec::new(),
            task: None,
            notes: Vec::new(),
            advice: None,
        }
    }

    #[test]
    fn rules_for_names_rename_something_and_keep_names_apart() {
        let renamed = |rules: &[(&str, &str)]| {
            let rule = |&(from, to): &(&str, &str)| (Regex::new(from).unwrap(), to.to_owned());
            let map: Vec<_> = rules.iter().map(rule).collect();
            let mut archive = archive(&["enc.0.weight", "ema.0.weight"]);
            rename(&mut archive, &map)?;
            Ok(archive.tensors.into_iter().map(|tensor| tensor.name).collect::<Vec<_>>())
        };
        assert_eq!(renamed(&[]).unwrap(), ["enc.0.weight", "ema.0.weight"]);
        let swapped = [("enc", "x"), ("ema", "enc"), ("x", "ema")];
        assert_eq!(renamed(&swapped).unwrap(), ["ema.0.weight", "enc.0.weight"]);
        let error: ImportError = renamed(&[("e(nc|ma)", "layers")]).unwrap_err();
        let said = "--map calls both enc.0.weight and ema.0.weight layers.0.weight";
        assert!(error.to_string().starts_with(said), "{error}");
        for (rule, said) in [
            (("encoder", "layers"), "--map encoder=layers names no tensor that it would rename"),
            (("enc.0.weights", "a"), "; there is enc.0.weight"),
            (("enc", "enc"), "--map enc=enc names no tensor"),
        ] {
            let error: ImportError = renamed(&[("ema", "b"), rule]).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    fn model(seed: u64) -> Model {
        Model {
            mlp: Mlp::init(&MlpConfig::new([2], [3], 2), seed, &Device::flex()).unwrap(),
            task: fireclay::Task::numbered_classes(2),
            input: InputSpec::dense(&[2], Preprocessing::None),
            provenance: Provenance::default(),
        }
    }

    #[test]
    fn several_networks_in_one_file_are_told_apart_by_a_key() {
        let ambiguous =
            || ImportError::Ambiguous { layers: Vec::new(), by_order: true, hint: String::new() };
        let of = |names: &[&str]| {
            let mut archive = archive(names);
            archive.tensors = names.iter().map(|&name| Tensor::zeros(name, vec![2, 2])).collect();
            networks(ambiguous(), &archive).to_string()
        };
        let two = of(&["actor.0.weight", "actor.2.weight", "critic.0.weight", "critic.2.weight"]);
        assert!(two.contains("take one: --key actor, --key critic;"), "{two}");
        assert!(two.ends_with("with --by-order"), "{two}");
        // One network, whose layers have names or numbers of their own.
        for names in [
            ["body.weight", "tail.weight", "head.weight", "end.weight"],
            ["0.a.weight", "0.b.weight", "1.a.weight", "1.b.weight"],
            ["net.0.weight", "net.1.weight", "net.2.weight", "net.3.weight"],
        ] {
            assert_eq!(of(&names), ambiguous().to_string());
        }
    }

    #[test]
    fn an_adapter_is_told_to_need_its_base() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter.safetensors");
        let host = |seed| model(seed).to_host().unwrap();
        let mut bytes = Adapter::between(&host(1), &host(2)).unwrap().to_bytes().unwrap();
        // Whole, and damaged.
        for _ in 0..2 {
            std::fs::write(&path, &bytes).unwrap();
            let error = import(&path, &Options::default(), &Device::flex()).unwrap_err();
            let merge =
                format!("finetune merge --base FILE --adapter {} --to FILE", path.display());
            assert!(error.to_string().contains(&merge), "{error}");
            *bytes.last_mut().unwrap() ^= 1;
        }
    }

    #[test]
    fn a_model_of_ours_needs_nothing_said() {
        let model = model(1);
        assert!(native(model.clone(), &Options::default()).unwrap().is_native);
        for (options, flag) in [
            (Options { key: Some("model".to_owned()), ..Options::default() }, "--key"),
            (Options { by_order: true, ..Options::default() }, "--by-order"),
            (
                Options { allow_missing: vec!["*".parse().unwrap()], ..Options::default() },
                "--allow-missing",
            ),
            (
                Options { allow_unused: vec!["*".parse().unwrap()], ..Options::default() },
                "--allow-unused",
            ),
            (Options { task: Some(TaskKind::Regression), ..Options::default() }, "--task"),
        ] {
            let error = native(model.clone(), &options).unwrap_err().to_string();
            assert!(error.ends_with(&format!("leave out {flag}")), "{error}");
        }
        // Names of outputs may be others than in the file, as many as there are.
        let labels = |names: &[&str]| {
            let labels = Some(names.iter().map(|&name| name.to_owned()).collect());
            native(model.clone(), &Options { labels, ..Options::default() })
        };
        let renamed = labels(&["no", "yes"]).unwrap();
        assert_eq!(renamed.model.task.names(), ["no", "yes"]);
        assert_eq!(renamed.origin.digest, model.digest().unwrap());
        let error = labels(&["no"]).unwrap_err().to_string();
        assert_eq!(error, "--labels has 1 line, and the model 2 outputs; give one for each");
    }

    #[test]
    fn patterns_name_something() {
        let check = |globs: &[&str]| {
            let allow_unused = globs.iter().map(|glob| glob.parse().unwrap()).collect();
            let options = Options { allow_unused, ..Options::default() };
            check_unused(&archive(&["layers.0.bias", "layers.1.bias"]), &options)
        };
        assert!(check(&[]).is_ok() && check(&["*.bias", "layers.0.bias"]).is_ok());
        let error = check(&["*.bias", "layers.0.biass"]).unwrap_err().to_string();
        let said =
            "--allow-unused layers.0.biass names no tensor of the file; there is layers.0.bias";
        assert_eq!(error, said);
    }
}
