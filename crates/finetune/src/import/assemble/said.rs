//! Whether what was said of a file fits the network that is in it.

use fireclay::{Activation, Norm};
use fireclay_formats as formats;
use fireclay_formats::{Layer, Network};

use super::super::{ImportError, Options, each_names, is_named};
use super::tensors::Tensors;

/// Refuses what contradicts the network.
pub(super) fn check(
    network: &Network,
    is_described: bool,
    options: &Options,
) -> Result<(), ImportError> {
    let mut found = Found::default();
    found.walk(&network.layers);
    if let (Some(said), true) = (options.activation, is_described && found.linear > 1) {
        check_activation(&found, said)?;
    }
    let has = |kind: formats::Norm| found.norms.contains(&kind);
    let (batch, layer) = (has(formats::Norm::Batch), has(formats::Norm::Layer));
    let (what, why) = match options.norm {
        Some(Norm::Batch) if !batch => ("the file has no batch norm", "leave out --norm batch"),
        Some(Norm::Layer) if !layer => ("the file has no layer norm", "leave out --norm layer"),
        Some(Norm::None) if batch || layer => ("the file has norms", "leave out --norm none"),
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
    let mut parameters = Vec::new();
    list(&network.layers, &mut parameters);
    // A batch norm computes nothing without its statistics: these are never missing.
    let is_statistic = |path: &str| path.contains(".running_");
    let names = parameters.iter().map(|(path, _)| path.as_str()).filter(|path| !is_statistic(path));
    each_names("--allow-missing", &options.allow_missing, "parameter of the network", names)?;
    let has_batch_norms = parameters.iter().any(|(path, _)| path.ends_with(".running_var"));
    let mut missing = Vec::new();
    for (path, is_there) in &parameters {
        let is_open = path.starts_with("norms.") && path.ends_with(".bias") && !has_batch_norms;
        // What says that linear layers have no biases says nothing of norms.
        let says = |pattern: &&String| !is_open || pattern.starts_with("norms");
        let said: Vec<String> = options.allow_missing.iter().filter(says).cloned().collect();
        if *is_there || is_named(path, &said) {
            continue;
        }
        if is_open {
            return Err(ImportError::Unsaid {
                what: "whether its norms without a bias are layer norms".to_owned(),
                flag:
                    "--allow-missing 'norms.*.bias' if they subtract the mean; RMS norms do not, \
                       and are not imported"
                        .to_owned(),
            });
        }
        missing.push(path.clone());
    }
    let Some((first, rest)) = missing.split_first() else { return Ok(()) };
    Err(match tensors.missing(first) {
        ImportError::Missing { path, nearest, .. } => {
            ImportError::Missing { path, others: rest.to_vec(), nearest }
        }
        error => error,
    })
}

/// The path of each parameter, and whether it has a tensor.
fn list(layers: &[Layer], all: &mut Vec<(String, bool)>) {
    for layer in layers {
        let is_layer = |path: &str| path.starts_with("layers.") && path.ends_with(".weight");
        let linear = all.iter().filter(|(path, _)| is_layer(path)).count();
        match layer {
            Layer::Dense { bias, .. } => {
                all.push((format!("layers.{linear}.weight"), true));
                all.push((format!("layers.{linear}.bias"), bias.is_some()));
            }
            Layer::Norm { kind, scale, shift, mean, variance, .. } => {
                let norm = linear.saturating_sub(1);
                all.push((format!("norms.{norm}.weight"), scale.is_some()));
                all.push((format!("norms.{norm}.bias"), shift.is_some()));
                if *kind == formats::Norm::Batch {
                    all.push((format!("norms.{norm}.running_mean"), mean.is_some()));
                    all.push((format!("norms.{norm}.running_var"), variance.is_some()));
                }
            }
            Layer::Residual(inner) => list(inner, all),
            _ => {}
        }
    }
}
