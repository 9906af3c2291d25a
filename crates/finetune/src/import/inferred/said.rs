//! What a person says of hidden layers: by flags for all of them, by a list of functions, or of each in
//! full with `--layers`.

use fireclay::{
    Activation, ConfigError, HiddenLayer, MlpConfig, Norm, NormPosition, Skip, SkipPosition,
};
use fireclay_terminal::{counted, printable};

use super::super::error::several;
use super::super::{ImportError, Layers, Options, SaidLayer, Subject};
use super::groups::Group;
use super::names::Role;
use super::norms::Slot;

/// What tensors do not tell of a hidden layer, as far as a person does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) activation: Option<Activation>,
    /// What leaky relu multiplies numbers below 0 by.
    pub(super) slope: Option<f64>,
    pub(super) skip: Option<Skip>,
    pub(super) dropout: f64,
}

/// A norm as `--layers` describes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SaidNorm {
    pub(super) layer: usize,
    pub(super) position: NormPosition,
    pub(super) kind: Norm,
    pub(super) epsilon: f64,
}

impl SaidNorm {
    /// Its place as far as layers go.
    pub(super) fn slot(&self) -> Slot {
        match (self.position, self.layer) {
            (NormPosition::Input, 0) => Slot::Input,
            (NormPosition::Input, layer) => Slot::Behind(layer - 1),
            (_, layer) => Slot::Behind(layer),
        }
    }
}

/// What a person says of each hidden layer, but for its norm; `widths` are the inputs and the width
/// behind each layer.
///
/// # Errors
///
/// [`ImportError::Unsupported`] if that is of more or fewer layers than there are, or of others.
pub(super) fn said(
    layers: &[&Group<'_>],
    widths: &[usize],
    options: &Options,
) -> Result<Vec<Said>, ImportError> {
    let hidden = layers.len().saturating_sub(1);
    if let Some(said) = &options.layers {
        return in_full(said, layers, widths, options);
    }
    let functions = &options.activation;
    if functions.len() > 1 && functions.len() != hidden {
        return Err(ImportError::unsupported(
            format!(
                "--activation names {} functions, and the network has {}",
                functions.len(),
                listed(layers)
            ),
            "give one for all hidden layers, or one for each in this order",
        ));
    }
    Ok((0..hidden)
        .map(|layer| Said {
            activation: functions.get(layer).or(functions.first()).copied(),
            slope: options.leaky_slope,
            skip: None,
            dropout: 0.0,
        })
        .collect())
}

/// The skip connections of `--residual`: each hidden layer that is as wide as the one before adds its
/// input.
pub(super) fn with_skips(said: &mut [Said], widths: &[usize]) {
    for (layer, said) in said.iter_mut().enumerate() {
        let is_square = widths.get(layer) == widths.get(layer + 1);
        said.skip = is_square.then_some(Skip { span: 1, position: SkipPosition::Output });
    }
}

/// The hidden layers and how many they are, in messages.
fn listed(layers: &[&Group<'_>]) -> String {
    let hidden = layers.len().saturating_sub(1);
    let names: Vec<String> = layers.iter().take(hidden).map(|layer| layer.name.clone()).collect();
    let noun = if hidden == 1 { "hidden layer" } else { "hidden layers" };
    match hidden {
        0 => "no hidden layer".to_owned(),
        _ => format!("{hidden} {noun}: {}", several(&names)),
    }
}

/// What `--layers` says, held to the layers of the file.
fn in_full(
    said: &Layers,
    layers: &[&Group<'_>],
    widths: &[usize],
    options: &Options,
) -> Result<Vec<Said>, ImportError> {
    if let Some(flag) = options.first_given(&[Subject::Layers, Subject::LayersOfAnyFile]) {
        return Err(ImportError::unsupported(
            format!("{flag} has no effect: --layers describes each hidden layer in full"),
            format!("leave out {flag}"),
        ));
    }
    if said.hidden.len() + 1 != layers.len() {
        let count = said.hidden.len();
        let noun = if count == 1 { "hidden layer" } else { "hidden layers" };
        return Err(ImportError::unsupported(
            format!("--layers describes {count} {noun}, and the network has {}", listed(layers)),
            "describe each hidden layer, in this order",
        ));
    }
    let has_biases = said.hidden.iter().map(|said| said.layer.bias).chain([said.output_bias]);
    for (layer, has_bias) in layers.iter().zip(has_biases) {
        if let (false, Some(bias)) = (has_bias, layer.named(Role::Bias)) {
            let (name, bias) = (printable(&layer.name, 60), printable(&bias, 60));
            return Err(ImportError::unsupported(
                format!("--layers says that {name} has no bias, and the file has {bias}"),
                "remove that from the file of --layers, or leave the tensor out with --allow-unused",
            ));
        }
    }
    check_widths(said, layers, widths)?;
    Ok(said
        .hidden
        .iter()
        .map(|SaidLayer { layer, says_slope, .. }| Said {
            activation: Some(layer.activation),
            slope: says_slope.then_some(layer.leaky_slope),
            skip: layer.skip,
            dropout: layer.dropout,
        })
        .collect())
}

/// Requires that hidden layers are as wide as described, and that their skip connections add as many
/// numbers as there are.
fn check_widths(said: &Layers, layers: &[&Group<'_>], widths: &[usize]) -> Result<(), ImportError> {
    let mut hidden: Vec<HiddenLayer> = Vec::new();
    for ((SaidLayer { layer, .. }, group), &width) in
        said.hidden.iter().zip(layers).zip(widths.get(1..).unwrap_or_default())
    {
        if ![0, width].contains(&layer.width) {
            let name = printable(&group.name, 60);
            return Err(ImportError::unsupported(
                format!(
                    "--layers gives {name} a width of {}, and it has {}",
                    layer.width,
                    counted(width as u64, "output")
                ),
                "give each layer its width in the file, or leave it out",
            ));
        }
        hidden.push(HiddenLayer { width, ..layer.clone() });
    }
    let inputs = widths.first().copied().unwrap_or_default();
    let outputs = widths.last().copied().unwrap_or_default();
    let network = MlpConfig { layers: hidden, ..MlpConfig::new([inputs], [], outputs) };
    network.architecture().map(|_| ()).map_err(|error: ConfigError| {
        let what = format!("--layers describes an impossible network: {error}");
        ImportError::unsupported(what, "correct the file of --layers")
    })
}

/// The norms of `--layers`, if that was given; `usual` is added to a variance where it does not say
/// what.
pub(super) fn norms(options: &Options, usual: f64) -> Option<Vec<SaidNorm>> {
    let said = options.layers.as_ref()?;
    let norms = said.hidden.iter().enumerate().map(|(layer, said)| SaidNorm {
        layer,
        position: said.layer.norm_position,
        kind: said.layer.norm,
        epsilon: if said.says_epsilon { said.layer.norm_epsilon } else { usual },
    });
    Some(norms.filter(|norm| norm.kind != Norm::None).collect())
}

/// Whether a person says that there are RMS norms.
///
/// # Errors
///
/// [`ImportError::Unsaid`] if they do not say what is added to the mean square: programs differ.
pub(super) fn says_rms(options: &Options) -> Result<bool, ImportError> {
    let (says_rms, is_open, flag) = match &options.layers {
        Some(said) => {
            let mut norms =
                said.hidden.iter().filter(|said| said.layer.norm == Norm::Rms).peekable();
            (
                norms.peek().is_some(),
                norms.any(|said| !said.says_epsilon),
                "norm_epsilon of each in the file of --layers: 1.1920929e-7 as PyTorch has it by \
                 default, 1e-6 as Keras, or another",
            )
        }
        None => (
            options.norm == Some(Norm::Rms),
            options.norm == Some(Norm::Rms) && options.norm_epsilon.is_none(),
            "--norm-epsilon: 1.1920929e-7 as PyTorch has it by default, 1e-6 as Keras, or another",
        ),
    };
    if is_open {
        return Err(ImportError::Unsaid {
            what: "what its RMS norms add to the mean square".to_owned(),
            flag: flag.to_owned(),
        });
    }
    Ok(says_rms)
}
