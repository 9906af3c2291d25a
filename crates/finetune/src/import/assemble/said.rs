//! Whether what was said of a file fits the network that is in it.

use fireclay::{Activation, Norm, NormPart, ParameterPath};
use fireclay_formats as formats;
use fireclay_formats::{Layer, Network};

use super::super::{ImportError, Options};
use super::functions::{Function, resolve};
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
    if is_described && !options.activation.is_empty() {
        check_activations(&found, &options.activation)?;
    }
    let said = match options.norm {
        None => return Ok(()),
        Some(Norm::None) => None,
        Some(Norm::Batch) => Some(formats::Norm::Batch),
        Some(Norm::Layer) => Some(formats::Norm::Layer),
        Some(Norm::Rms) => Some(formats::Norm::Rms),
    };
    let other = found.norms.iter().copied().find(|&kind| Some(kind) != said);
    let what = match (said, other) {
        (Some(said), None) if found.norms.is_empty() => {
            format!("the file has no {}", in_words(said))
        }
        (_, None) => return Ok(()),
        (None, Some(_)) => "the file has norms".to_owned(),
        (Some(said), Some(other)) if found.norms.contains(&said) => {
            format!("the file also has a {}", in_words(other))
        }
        (Some(said), Some(other)) => {
            format!("the file has no {}, but a {}", in_words(said), in_words(other))
        }
    };
    let said = options.norm.unwrap_or_default();
    Err(ImportError::unsupported(what, format!("leave out --norm {said}")))
}

/// The name of a kind of norm in messages.
fn in_words(norm: formats::Norm) -> &'static str {
    match norm {
        formats::Norm::Batch => "batch norm",
        formats::Norm::Layer => "layer norm",
        formats::Norm::Rms => "RMS norm",
    }
}

/// Requires that `--activation` says of each hidden layer what the file has behind it.
fn check_activations(found: &Found<'_>, said: &[Activation]) -> Result<(), ImportError> {
    const WAY: &str = "leave out --activation";
    let hidden = found.linear.len().saturating_sub(1);
    if hidden == 0 || said.len() > 1 && said.len() != hidden {
        let count = match hidden {
            0 => "no hidden layer".to_owned(),
            1 => "one hidden layer".to_owned(),
            _ => format!("{hidden} hidden layers"),
        };
        let names =
            if said.len() == 1 { "one function" } else { &format!("{} functions", said.len()) };
        let what = format!("--activation names {names}, and the network of the file has {count}");
        return Err(ImportError::unsupported(what, WAY));
    }
    let said = said.iter().cycle();
    for ((weight, functions), &said) in found.linear.iter().take(hidden).zip(said) {
        let is_as_said = match functions[..] {
            [] => said == Activation::Identity,
            [only] => is_said(only, said),
            _ => false,
        };
        if !is_as_said {
            let names: Vec<&str> = functions.iter().copied().map(name_of).collect();
            let names =
                if names.is_empty() { "no activation".to_owned() } else { names.join(", ") };
            return Err(ImportError::unsupported(
                format!("the file has {names} behind {weight}, and --activation says {said}"),
                WAY,
            ));
        }
    }
    Ok(())
}

/// The name of a function in messages.
fn name_of(function: &Layer) -> &str {
    match function {
        Layer::Activation(function) => &function.name,
        _ => "PReLU",
    }
}

/// Whether a function of the file is this one, whatever the file calls it: a bounded relu may be relu6.
fn is_said(function: &Layer, said: Activation) -> bool {
    let Layer::Activation(found) = function else { return said == Activation::LeakyRelu };
    if found.name.parse::<Activation>() == Ok(said) {
        return true;
    }
    let Ok(resolved) = resolve(found, 1) else { return false };
    resolved.is_plain()
        && match resolved.function {
            Function::Ours(function) => function == said,
            Function::Bent(slopes) => said == bent(slopes.first().copied().unwrap_or_default()),
        }
}

/// The function that is bent at 0, by its slope below.
fn bent(slope: f64) -> Activation {
    if slope == 0.0 {
        Activation::Relu
    } else if slope == 1.0 {
        Activation::Identity
    } else {
        Activation::LeakyRelu
    }
}

/// What a network has.
#[derive(Debug, Default)]
struct Found<'n> {
    /// The weight of each linear layer, and the functions behind it that change anything.
    linear: Vec<(&'n str, Vec<&'n Layer>)>,
    /// The kinds of norms; fixed statistics of the input are none.
    norms: Vec<formats::Norm>,
}

impl<'n> Found<'n> {
    fn walk(&mut self, layers: &'n [Layer]) {
        for layer in layers {
            match layer {
                Layer::Activation(function) if function.name == "identity" => {}
                Layer::Activation(_) | Layer::Prelu { .. } => {
                    if let Some((_, functions)) = self.linear.last_mut() {
                        functions.push(layer);
                    }
                }
                Layer::Norm { scale: None, shift: None, mean: Some(_), epsilon: 0.0, .. } => {}
                Layer::Norm { kind, .. } => self.norms.push(*kind),
                Layer::Dense { weight, .. } => self.linear.push((weight, Vec::new())),
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

#[cfg(test)]
mod tests {
    use fireclay::{Activation, Norm};
    use fireclay_formats as formats;
    use fireclay_formats::{Layer, Layout, Network};

    use super::super::super::Options;
    use super::check;

    fn dense(name: &str) -> Layer {
        Layer::Dense { weight: name.to_owned(), bias: None, layout: Layout::OutIn }
    }

    fn function(name: &str, constants: &[(&str, f64)]) -> Layer {
        let constants = constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        Layer::Activation(formats::Activation { name: name.to_owned(), constants })
    }

    fn norm(kind: formats::Norm) -> Layer {
        let (scale, shift, mean, variance) = (Some("s".to_owned()), None, None, None);
        Layer::Norm { kind, scale, shift, mean, variance, epsilon: 1e-5 }
    }

    /// What is wrong with `--activation` for a file of these layers; nothing if it fits.
    fn functions(layers: &[Layer], said: &str) -> String {
        let activation: Vec<Activation> =
            said.split(',').map(|name| name.parse().unwrap()).collect();
        let network = Network { input_shape: None, layers: layers.to_vec() };
        let options = Options { activation, ..Options::default() };
        check(&network, true, &options).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn functions_are_those_of_each_layer_in_their_order() {
        let residual =
            Layer::Residual(vec![dense("b"), function("relu", &[]), function("identity", &[])]);
        let layers =
            [dense("a"), function("tanh", &[]), residual, dense("c"), function("softmax", &[])];
        assert_eq!(functions(&layers, "tanh,relu"), "");
        for (said, words) in [
            ("relu,tanh", "the file has tanh behind a, and --activation says relu"),
            ("tanh", "the file has relu behind b, and --activation says tanh"),
            ("gelu", "has tanh behind a"),
            (
                "tanh,relu,relu",
                "names 3 functions, and the network of the file has 2 hidden layers",
            ),
            ("tanh,relu,identity,relu", "names 4 functions"),
        ] {
            let error = functions(&layers, said);
            assert!(error.contains(words) && error.ends_with("leave out --activation"), "{error}");
        }
        // One name is that of all hidden layers.
        let same =
            [dense("a"), function("tanh", &[]), dense("b"), function("tanh", &[]), dense("c")];
        assert_eq!(functions(&same, "tanh"), "");
        let bare = [dense("a"), dense("b"), function("tanh", &[]), dense("c")];
        assert_eq!(functions(&bare, "identity,tanh"), "");
        assert!(functions(&bare, "tanh").contains("has no activation behind a"));
        assert!(
            functions(&[dense("a"), function("tanh", &[])], "tanh").contains("no hidden layer")
        );
        let two = [dense("a"), function("tanh", &[]), function("relu", &[]), dense("b")];
        assert!(functions(&two, "tanh").contains("has tanh, relu behind a"));
    }

    #[test]
    fn functions_are_known_by_what_they_compute() {
        for (name, constants, said, fits) in [
            ("relu", &[("max_value", 6.0)][..], "relu6", true),
            ("relu", &[("max_value", 4.0)], "relu6", false),
            ("relu", &[("slope", 0.2)], "leaky-relu", true),
            ("celu", &[("alpha", 1.0)], "elu", true),
            ("celu", &[("alpha", 2.0)], "elu", false),
            ("leaky-relu", &[("slope", 0.3)], "leaky-relu", true),
            ("leaky-relu", &[("slope", 0.3)], "relu", false),
        ] {
            let layers = [dense("a"), function(name, constants), dense("b")];
            assert_eq!(functions(&layers, said).is_empty(), fits, "{name} {constants:?} {said}");
        }
        let prelu = [dense("a"), Layer::Prelu { slope: "p".to_owned() }, dense("b")];
        assert_eq!(functions(&prelu, "leaky-relu"), "");
        assert!(functions(&prelu, "relu").contains("has PReLU behind a"));
    }

    #[test]
    fn norms_are_all_of_the_kind_that_was_said() {
        let of = |norms: &[formats::Norm], said| {
            let layers = [dense("a")].into_iter().chain(norms.iter().copied().map(norm));
            let network = Network { input_shape: None, layers: layers.collect() };
            let options = Options { norm: Some(said), ..Options::default() };
            check(&network, true, &options)
                .err()
                .map_or_else(String::new, |error| error.to_string())
        };
        let (batch, layer) = (formats::Norm::Batch, formats::Norm::Layer);
        assert_eq!(of(&[batch, batch], Norm::Batch), "");
        assert_eq!(of(&[], Norm::None), "");
        for (norms, said, words) in [
            (&[][..], Norm::Rms, "the file has no RMS norm; leave out --norm rms"),
            (&[batch, layer], Norm::Batch, "also has a layer norm; leave out --norm batch"),
            (&[layer], Norm::Batch, "has no batch norm, but a layer norm"),
            (&[layer], Norm::None, "has norms; leave out --norm none"),
        ] {
            let error = of(norms, said);
            assert!(error.contains(words), "{error}");
        }
    }
}
