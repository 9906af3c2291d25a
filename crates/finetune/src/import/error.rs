//! Why a file does not become a model.

use std::path::PathBuf;

use fireclay::{ConfigError, ModelFileError, ModelFileProblem, PreprocessingError};
use fireclay_formats::{FormatError, Problem};
use fireclay_terminal::{counted, listed, printable, quoted_path};

/// Why a file does not become a model. Names from the file are made harmless and short.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file of another program that cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The numbers of a tensor that can no longer be read.
    #[error(transparent)]
    Numbers(#[from] Problem),
    /// A Fireclay model file that cannot be read.
    #[error(transparent)]
    Model(#[from] ModelFileError),
    /// A Fireclay adapter file.
    #[error(
        "{0}: this is an adapter, which is nothing without its base; make one model of both first, \
         with finetune merge --base FILE --adapter {1} --to FILE",
        path.display(), quoted_path(path)
    )]
    Adapter {
        /// The file.
        path: PathBuf,
    },
    /// The model that was made cannot be used.
    #[error(transparent)]
    Problem(#[from] ModelFileProblem),
    /// The network would be impossible.
    #[error("the network in the file is impossible: {0}")]
    Config(#[from] ConfigError),
    /// The preprocessing does not fit.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
    /// Something that the file does not say has to be said.
    #[error("the file does not say {}; say it with {flag}", sentence(what))]
    Unsaid {
        /// What has to be known.
        what: String,
        /// How to say it.
        flag: String,
    },
    /// A flag prepares features that the network of the file prepares itself.
    #[error(
        "the network in the file prepares features itself, and with {flag} bytes from 0 to 255 would \
         become {} to {}; leave out {flag}",
        short(*low),
        short(*high)
    )]
    TwicePrepared {
        /// The flag.
        flag: &'static str,
        /// What a feature would be of a byte of 0.
        low: f64,
        /// What it would be of a byte of 255.
        high: f64,
    },
    /// A batch norm on the input has seen other features than a flag makes of bytes.
    #[error(
        "{} on the input has seen features with a mean of {} and a deviation of {}, and with {flag} \
         bytes from 0 to 255 become {} to {}; say how they were prepared: --preprocessing none, \
         --preprocessing scale or --normalize MEAN,DEVIATION",
        sentence(norm),
        short(*mean),
        short(*deviation),
        short(*low),
        short(*high)
    )]
    SeenOtherwise {
        /// The norm.
        norm: String,
        /// The flag.
        flag: &'static str,
        /// The mean of a feature, as the norm has seen it.
        mean: f64,
        /// Its deviation, as the norm has seen it.
        deviation: f64,
        /// What that feature would be of a byte of 0 or 255, the lower of both.
        low: f64,
        /// The higher of both.
        high: f64,
    },
    /// Neither names nor shapes determine the order of the layers.
    #[error(
        "names and shapes do not tell the order of the layers {}; number them with --map{}{}",
        several(layers),
        if hint.is_empty() { String::new() } else { format!(", such as {}", printable(hint, 900)) },
        if *by_order { ", or take the order of the file with --by-order" } else { "" }
    )]
    Ambiguous {
        /// The layers, as far as names tell in their order.
        layers: Vec<String>,
        /// Whether the file may have them in their order.
        by_order: bool,
        /// An example of names that tell it.
        hint: String,
    },
    /// Names tell one order of the layers, and the file or shapes another.
    #[error(
        "the layers are {} by their names, and {} {}{}",
        sentence(&several(by_name)),
        sentence(&several(found)),
        if *is_of_file { "in the file" } else { "by their shapes" },
        if hint.is_empty() {
            "; number them in their order with --map".to_owned()
        } else {
            format!("; {}", printable(hint, 900))
        }
    )]
    Contradiction {
        /// The layers by their names.
        by_name: Vec<String>,
        /// The layers in the other order.
        found: Vec<String>,
        /// Whether that is the order of the file.
        is_of_file: bool,
        /// What to do.
        hint: String,
    },
    /// Nothing determines which norm belongs to which layer.
    #[error(
        "it is open which layer each of the norms {} belongs to: {}; number layers and norms in one \
         row with --map, such as net.0 (a layer) and net.1 (its norm){}{}",
        sentence(&several(norms)),
        sentence(why),
        if *by_layers { ", or describe each layer with --layers" } else { "" },
        if *by_order {
            ", or add --by-order if each stands behind the layer before it in the file"
        } else {
            ""
        }
    )]
    Unpaired {
        /// The norms, in the order of the file.
        norms: Vec<String>,
        /// Why.
        why: String,
        /// Whether the file may have them in their order.
        by_order: bool,
        /// Whether layers were not described one by one, which may tell it.
        by_layers: bool,
    },
    /// The layers do not follow each other.
    #[error("the weights do not make a chain of layers: {}; {hint}", several(found))]
    NoChain {
        /// Each weight and its shape.
        found: Vec<String>,
        /// What may help.
        hint: String,
    },
    /// There is no layer at all.
    #[error(
        "the file has no weight matrix: it has {}, none of two dimensions{}",
        counted(*.tensors as u64, "tensor"),
        if *has_matrix {
            " and a name like weight, kernel or W1; rename them with --map, or take the order of the \
             file with --by-order"
        } else {
            ""
        }
    )]
    NoLayers {
        /// Tensors in the file.
        tensors: usize,
        /// Whether one has two dimensions, under another name.
        has_matrix: bool,
    },
    /// A parameter that the network needs is not in the file.
    #[error(
        "{}{} not in the file{}; if that is as it should be, add {}",
        several(&[std::slice::from_ref(path), others].concat()),
        if others.is_empty() { " is" } else { " are" },
        nearest.as_ref().map_or(String::new(), |n| format!(", which has a {} that is not used", shown(n))),
        allowed(path, others)
    )]
    Missing {
        /// The path of the parameter.
        path: String,
        /// Paths of others that are not there either.
        others: Vec<String>,
        /// A tensor of the file with a similar name and no place.
        nearest: Option<String>,
    },
    /// Tensors of the file have no place in the network.
    #[error(
        "the file has tensors without a place in the network: {}; {}",
        sentence(&several(names)),
        sentence(advice)
    )]
    Unused {
        /// Their names.
        names: Vec<String>,
        /// What they look like, and what to do.
        advice: String,
    },
    /// `--map` makes the names of two tensors equal.
    #[error(
        "--map calls both {} and {} {}; a name is that of one tensor",
        shown(&originals[0]),
        shown(&originals[1]),
        shown(name)
    )]
    SameName {
        /// The name of both.
        name: String,
        /// Their names in the file.
        originals: [String; 2],
    },
    /// A rule that names nothing, and so does nothing.
    #[error(
        "{flag} {rule} names no {what}{}",
        nearest.as_ref().map_or(String::new(), |n| format!("; there is {}", shown(n)))
    )]
    NamesNothing {
        /// The flag that it was given by.
        flag: &'static str,
        /// The rule, as it was given.
        rule: String,
        /// What it should name.
        what: &'static str,
        /// What has a similar name.
        nearest: Option<String>,
    },
    /// A tensor has another shape than its place.
    #[error("tensor {} is {found:?}, and its place {path} needs {expected:?}", shown(name))]
    Shape {
        /// Its name in the file.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The path of the parameter.
        path: String,
        /// The shape of the parameter, as the file should have it.
        expected: Vec<usize>,
    },
    /// A number that is not finite.
    #[error(
        "tensor {} has a number that is not finite, so nothing can be learned from it",
        shown(name)
    )]
    NotFinite {
        /// Its name in the file.
        name: String,
    },
    /// A network that Fireclay cannot hold as a multilayer perceptron.
    #[error("{}; {}", sentence(what), sentence(why))]
    Unsupported {
        /// What was found.
        what: String,
        /// Why it cannot be, and what to do.
        why: String,
    },
}

impl ImportError {
    /// It is not known how weights lie.
    pub(super) fn layout_unsaid() -> Self {
        Self::Unsaid {
            what: "whether weights are [outputs, inputs] or [inputs, outputs], and both fit".into(),
            flag: "--layout out-in or --layout in-out".into(),
        }
    }

    /// A rule that names none of these.
    pub(super) fn names_nothing<'n>(
        flag: &'static str,
        rule: &impl ToString,
        what: &'static str,
        names: impl Iterator<Item = &'n str>,
    ) -> Self {
        let rule = rule.to_string();
        let nearest = fireclay::nearest(&rule, names).map(str::to_owned);
        Self::NamesNothing { flag, rule, what, nearest }
    }

    pub(super) fn unsupported(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), why: why.into() }
    }
}

/// The flags that allow parameters to be missing: one for the biases of all layers if several lack
/// theirs and nothing else is missing.
fn allowed(path: &str, others: &[String]) -> String {
    let all = [path].into_iter().chain(others.iter().map(String::as_str));
    let are_biases = all.clone().all(|path| path.starts_with("layers.") && path.ends_with(".bias"));
    if !others.is_empty() && are_biases {
        return "--allow-missing 'layers.*.bias'".to_owned();
    }
    all.take(12)
        .map(|path| format!("--allow-missing {}", shown(path)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A number to four digits.
fn short(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}

/// A name.
fn shown(name: &str) -> String {
    printable(name, 100)
}

/// A text with names in it.
fn sentence(text: &str) -> String {
    printable(text, 600)
}

/// The first of some names, and how many more there are.
pub(super) fn several(names: &[String]) -> String {
    listed(names, 12, |name| shown(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error of each kind whose names are these.
    fn errors(names: &[String], name: &str) -> Vec<ImportError> {
        let name = || name.to_owned();
        vec![
            ImportError::Unsaid { what: name(), flag: "--norm batch".to_owned() },
            ImportError::Ambiguous { layers: names.to_vec(), by_order: true, hint: name() },
            ImportError::Contradiction {
                by_name: names.to_vec(),
                found: names.to_vec(),
                is_of_file: true,
                hint: name(),
            },
            ImportError::Unpaired {
                norms: names.to_vec(),
                why: name(),
                by_order: true,
                by_layers: true,
            },
            ImportError::NoChain { found: names.to_vec(), hint: String::new() },
            ImportError::Missing { path: name(), others: vec![name()], nearest: Some(name()) },
            ImportError::Unused { names: names.to_vec(), advice: name() },
            ImportError::SameName { name: name(), originals: [name(), name()] },
            ImportError::NamesNothing {
                flag: "--allow-unused",
                rule: "x".to_owned(),
                what: "tensor of the file",
                nearest: Some(name()),
            },
            ImportError::Shape {
                name: name(),
                found: vec![1],
                path: "layers.0.bias".to_owned(),
                expected: vec![2],
            },
            ImportError::NotFinite { name: name() },
            ImportError::TwicePrepared { flag: "--normalize", low: 0.0, high: 1.0 / 255.0 },
            ImportError::SeenOtherwise {
                norm: name(),
                flag: "--normalize",
                mean: 33.0,
                deviation: 78.0,
                low: 0.0,
                high: 1.0,
            },
            ImportError::unsupported(name(), name()),
        ]
    }

    #[test]
    fn names_in_messages_are_short_and_of_one_line() {
        let hostile = "\u{1b}]0;owned\u{7}\n\u{202e}".repeat(10_000);
        for error in errors(&vec![hostile.clone(); 10_000], &hostile) {
            let message = error.to_string();
            assert!(message.chars().count() < 2500, "{}", message.len());
            assert!(!message.contains(['\u{1b}', '\u{7}', '\n', '\u{202e}']), "{message}");
        }
    }

    #[test]
    fn missing_parameters_come_with_the_flags_that_accept_them() {
        let missing = |others: &[&str]| {
            let others = others.iter().map(ToString::to_string).collect();
            ImportError::Missing { path: "layers.0.bias".to_owned(), others, nearest: None }
                .to_string()
        };
        for (others, flags) in [
            (
                &[][..],
                "layers.0.bias is not in the file; if that is as it should be, add \
                       --allow-missing layers.0.bias",
            ),
            (
                &["layers.2.bias"],
                "layers.0.bias, layers.2.bias are not in the file; if that is as \
                                  it should be, add --allow-missing 'layers.*.bias'",
            ),
            (
                &["norms.0.bias"],
                "layers.0.bias, norms.0.bias are not in the file; if that is as it \
                                 should be, add --allow-missing layers.0.bias --allow-missing \
                                 norms.0.bias",
            ),
        ] {
            assert_eq!(missing(others), flags);
        }
        let few = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            (several(&few), several(&vec!["n".to_owned(); 14]).len()),
            ("a, b".to_owned(), 45)
        );
    }
}
