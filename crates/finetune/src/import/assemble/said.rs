//! Whether what was said of a file fits the network that is in it.

use fireclay::{Activation, Norm, NormPart, ParameterPath};
use fireclay_formats as formats;
use fireclay_formats::{Layer, Network};

use super::super::{ImportError, Options};
use super::tensors::Tensors;
use crate::pattern::Pattern;

/// Refuses what contradicts the network.
pub(super) fn check(
    network: &Network,
    is_described: bool,
    options: &Options,
) -> Result<(), ImportError> {
    let mut found = Found::default();
    found.walk(&network.layers);
    if is_described && found.linear > 1 {
        options.activation.iter().try_for_each(|&said| check_activation(&found, said))?;
    }
    let has = |kind: formats::Norm| found.norms.contains(&kind);
    let (batch, layer) = (has(formats::Norm::Batch), has(formats::Norm::Layer));
    let rms = has(formats::Norm::Rms);
    let (what, why) = match options.norm {
        Some(Norm::Batch) if !batch => ("the file has no batch norm", "leave out --norm batch"),
        Some(Norm::Layer) if !layer => ("the file has no layer norm", "leave out --norm layer"),
        Some(Norm::Rms) if !rms => ("the file has no RMS norm", "leave out --norm rms"),
        Some(Norm::None) if batch || layer || rms => {
            ("the file has norms", "leave out --norm none")
        }
        _ => return Ok(()),
    };
    Err(ImportError::unsupported(what, why))
}

fn check_activation(found: &Found<'_>, said: Activation) -> Result<(), ImportError> {
    let is_said = |name: &&str| name.parse::<Activation>() == Ok(said);
    if found.functions.iter().any(is_said) {
        return Ok(());
    }
    let others = match found.functions.as_slice() {
        [] => "no activation".to_owned(),
        [first, ..] => format!("the activation {first}"),
    };
    Err(ImportError::unsupported(
        format!("the file has {others}, and --activation says {said}"),
        "leave out --activation",
    ))
}

/// What a network has.
#[derive(Debug, Default)]
struct Found<'n> {
    functions: Vec<&'n str>,
    norms: Vec<formats::Norm>,
    linear: usize,
}

impl<'n> Found<'n> {
    fn walk(&mut self, layers: &'n [Layer]) {
        for layer in layers {
            match layer {
                Layer::Activation(activation) => self.functions.push(&activation.name),
                Layer::Prelu { .. } => self.functions.push("PReLU"),
                Layer::Norm { kind, .. } => self.norms.push(*kind),
                Layer::Dense { .. } => self.linear += 1,
                Layer::Residual(inner) => self.walk(inner),
                Layer::Flatten
                | Layer::Rescale { .. }
                | Layer::Affine { .. }
                | Layer::Dropout(_) => {}
            }
        }
    }
}

/// Of a network that was inferred from tensors alone: requires that each parameter without a tensor
/// was said to be missing, by its path as it is before anything is folded.
pub(super) fn check_missing(
    network: &Network,
    tensors: &Tensors,
    options: &Options,
) -> Result<(), ImportError> {
    let mut found = Parameters::default();
    found.list(&network.layers);
    let layers = found.linear;
    // A batch norm computes nothing without its statistics: these are never missing.
    let allowed: Vec<ParameterPath> =
        found.all.iter().map(|(path, _)| *path).filter(|path| path.is_trainable()).collect();
    for pattern in &options.allow_missing {
        if !allowed.iter().any(|&path| pattern.names(path, layers)) {
            let names: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            let names = names.iter().map(String::as_str);
            let what = "parameter of the network";
            return Err(ImportError::names_nothing("--allow-missing", pattern, what, names));
        }
    }
    let mut missing = Vec::new();
    for (path, is_there) in found.all.iter().filter(|(_, is_there)| *is_there != Some(true)) {
        let names = |pattern: &&Pattern| path.is_trainable() && pattern.names(*path, layers);
        // What says that linear layers have no biases says nothing of norms.
        let is_of_norms = |pattern: &Pattern| {
            let mut named = allowed.iter().filter(|&&path| pattern.names(path, layers));
            named.all(|path| matches!(path, ParameterPath::Norm(..)))
        };
        let mut said = options.allow_missing.iter().filter(names);
        match is_there {
            Some(_) if is_said_missing(*path, options) => {}
            None if !said.any(is_of_norms) => {
                return Err(ImportError::Unsaid {
                    what: "whether its norms without a bias are layer norms".to_owned(),
                    flag:
                        "--allow-missing 'norms.*.bias' if they subtract the mean, or with --norm \
                           rms if they do not"
                            .to_owned(),
                });
            }
            Some(_) if said.next().is_none() => missing.push(path.to_string()),
            _ => {}
        }
    }
    let Some((first, rest)) = missing.split_first() else { return Ok(()) };
    Err(match tensors.missing(first) {
        ImportError::Missing { path, nearest, .. } => {
            ImportError::Missing { path, others: rest.to_vec(), nearest }
        }
        error => error,
    })
}

/// Whether `--layers` says that a layer has no such bias.
fn is_said_missing(path: ParameterPath, options: &Options) -> bool {
    let (ParameterPath::Bias(layer), Some(said)) = (path, &options.layers) else { return false };
    !said.hidden.get(layer).map_or(said.output_bias, |said| said.layer.bias)
}

/// The parameters of a network, each with whether it has a tensor; none of the bias of a layer norm
/// that lacks it, and so may be no layer norm.
#[derive(Debug, Default)]
struct Parameters {
    all: Vec<(ParameterPath, Option<bool>)>,
    /// Linear layers so far.
    linear: usize,
}

impl Parameters {
    fn list(&mut self, layers: &[Layer]) {
        for layer in layers {
            match layer {
                Layer::Dense { bias, .. } => {
                    self.all.push((ParameterPath::Weight(self.linear), Some(true)));
                    self.all.push((ParameterPath::Bias(self.linear), Some(bias.is_some())));
                    self.linear += 1;
                }
                Layer::Norm { kind, scale, shift, mean, variance, .. } => {
                    let norm = self.linear.saturating_sub(1);
                    let is_batch = *kind == formats::Norm::Batch;
                    let shift = (is_batch || shift.is_some()).then_some(shift.is_some());
                    self.add(norm, NormPart::Weight, Some(scale.is_some()));
                    if *kind != formats::Norm::Rms {
                        self.add(norm, NormPart::Bias, shift);
                    }
                    if is_batch {
                        self.add(norm, NormPart::RunningMean, Some(mean.is_some()));
                        self.add(norm, NormPart::RunningVar, Some(variance.is_some()));
                    }
                }
                Layer::Residual(inner) => self.list(inner),
                _ => {}
            }
        }
    }

    fn add(&mut self, norm: usize, part: NormPart, is_there: Option<bool>) {
        self.all.push((ParameterPath::Norm(norm, part), is_there));
    }
}
