//! Which parameters a person means.

use std::str::FromStr;

use fireclay::{Architecture, ParameterPath};
use regex::{Regex, RegexBuilder};

/// Names some of a network's parameters.
///
/// | text | parameters |
/// |---|---|
/// | `layers.1.weight` | that one |
/// | `layers.1` | all of that layer, and never those of `layers.10` |
/// | `layers.*.bias` | `*` stands for one part of a path, `**` for any number of them |
/// | `regex:layers\.[01]\..*` | those whose whole path the expression matches |
/// | `head` | the output layer |
/// | `body`, `all-but-head` | all but the output layer |
/// | `biases` | those of all linear layers; those of norms are `norms.*.bias` |
/// | `norms`, `adapters` | those of all layers |
/// | `first:2`, `last:2` | the layers at the input or the output, with their norms and adapters |
/// | `all` | every parameter |
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    All,
    Head,
    Body,
    Biases,
    Norms,
    Adapters,
    First(usize),
    Last(usize),
    Paths(Regex),
}

impl Pattern {
    /// Whether it names this parameter of a network with so many layers.
    fn names(&self, path: ParameterPath, layers: usize) -> bool {
        let layer = path.layer();
        match &self.kind {
            Kind::All => true,
            Kind::Head => layer == layers - 1,
            Kind::Body => layer != layers - 1,
            Kind::Biases => matches!(path, ParameterPath::Bias(_)),
            Kind::Norms => matches!(path, ParameterPath::Norm(..)),
            Kind::Adapters => matches!(path, ParameterPath::Adapter(..)),
            Kind::First(count) => layer < *count,
            Kind::Last(count) => layer.saturating_add(*count) >= layers,
            Kind::Paths(regex) => regex.is_match(&path.to_string()),
        }
    }

    /// Whether it is the word `biases`, which names none of a norm.
    pub fn is_biases(&self) -> bool {
        matches!(self.kind, Kind::Biases)
    }

    /// The parameters that it names.
    ///
    /// # Errors
    ///
    /// [`PatternError::Nothing`] if there is none.
    pub fn paths(&self, network: &Architecture) -> Result<Vec<ParameterPath>, PatternError> {
        let all = network.trainable().into_iter().map(|(path, _)| path);
        let found: Vec<ParameterPath> =
            all.clone().filter(|&path| self.names(path, network.layers())).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let paths: Vec<String> = all.map(|path| path.to_string()).collect();
        let nearest = fireclay::nearest(&self.text, paths.iter().map(String::as_str));
        let nearest = nearest.map(str::to_owned);
        Err(PatternError::Nothing { pattern: self.text.clone(), nearest, paths })
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let bad = |why: String| PatternError::Bad { pattern: text.to_owned(), why };
        let count = |number: &str| match number.parse() {
            Ok(0) | Err(_) => Err(bad("give a number of layers, such as first:2".to_owned())),
            Ok(count) => Ok(count),
        };
        let regex = |expression: &str| {
            // Small automata only: an expression may come from a settings file of a stranger.
            RegexBuilder::new(&format!("^(?:{expression})$"))
                .size_limit(1 << 20)
                .build()
                .map_err(|error| bad(error.to_string()))
        };
        let kind = match text {
            "" => return Err(bad("it is empty".to_owned())),
            "all" => Kind::All,
            "head" => Kind::Head,
            "body" | "all-but-head" => Kind::Body,
            "biases" => Kind::Biases,
            "norms" => Kind::Norms,
            "adapters" => Kind::Adapters,
            _ => match text.split_once(':') {
                Some(("first", number)) => Kind::First(count(number)?),
                Some(("last", number)) => Kind::Last(count(number)?),
                Some(("regex", expression)) => Kind::Paths(regex(expression)?),
                Some(_) => {
                    return Err(bad("only first:, last: and regex: have a colon".to_owned()));
                }
                None => Kind::Paths(regex(&glob(text))?),
            },
        };
        Ok(Self { text: text.to_owned(), kind })
    }
}

/// The expression of a path with `*` for a part and `**` for any number of them; what it names is
/// a parameter, or all that is below it.
fn glob(text: &str) -> String {
    let parts = text.split('.').map(|part| match part {
        "**" => ".*".to_owned(),
        part => {
            let pieces: Vec<String> = part.split('*').map(regex::escape).collect();
            pieces.join("[^.]*")
        }
    });
    let path: Vec<String> = parts.collect();
    format!(r"{}(?:\..*)?", path.join(r"\."))
}

/// Why a pattern names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is not a pattern.
    #[error("`{pattern}` is not a pattern: {why}")]
    Bad {
        /// The text.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// It names no parameter of the network.
    #[error(
        "`{pattern}` names no parameter{}; the network has {}",
        nearest.as_ref().map_or(String::new(), |n| format!(", did you mean `{n}`?")),
        paths.join(", ")
    )]
    Nothing {
        /// The pattern.
        pattern: String,
        /// The most similar path.
        nearest: Option<String>,
        /// Every path.
        paths: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use fireclay::{Lora, MlpConfig, Norm};

    fn network() -> Architecture {
        let lora =
            Lora { layers: vec![1], rank: 2, alpha: 4.0, dropout: 0.0, rank_stabilized: false };
        let config = MlpConfig { norm: Norm::Layer, ..MlpConfig::new([4], vec![3; 11], 2) };
        Architecture { lora: Some(lora), ..config.architecture().unwrap() }
    }

    fn paths(text: &str) -> Vec<String> {
        let paths = text.parse::<Pattern>().unwrap().paths(&network()).unwrap();
        paths.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_layer_is_not_its_namesake() {
        assert_eq!(paths("layers.1"), ["layers.1.weight", "layers.1.bias"]);
        assert_eq!(paths("layers.1.weight"), ["layers.1.weight"]);
        assert_eq!(paths("regex:layers\\.1\\..*"), ["layers.1.weight", "layers.1.bias"]);
        assert!("regex:layers\\.1".parse::<Pattern>().unwrap().paths(&network()).is_err());
        assert_eq!(paths("layers.1*").len(), 6, "1, 10 and 11");
    }

    #[test]
    fn words_and_globs() {
        assert_eq!(paths("head"), ["layers.11.weight", "layers.11.bias"]);
        assert_eq!(paths("biases").len(), 12);
        assert_eq!(paths("layers.*.bias"), paths("biases"));
        assert_eq!(paths("norms").len(), 22);
        assert_eq!(paths("adapters"), ["adapters.1.a", "adapters.1.b"]);
        let all = paths("all");
        assert_eq!(all.len(), 24 + 22 + 2);
        assert_eq!(paths("**"), all);
        assert_eq!(paths("body").len() + paths("head").len(), all.len());
        assert_eq!(paths("body"), paths("all-but-head"));
        assert_eq!(
            paths("first:1"),
            ["layers.0.weight", "layers.0.bias", "norms.0.weight", "norms.0.bias"]
        );
        assert_eq!(paths("last:1"), paths("head"));
        assert_eq!(paths("last:99"), all);
    }

    #[test]
    fn what_names_nothing_is_an_error_with_the_nearest() {
        let error = "layers.12".parse::<Pattern>().unwrap().paths(&network()).unwrap_err();
        assert!(matches!(&error, PatternError::Nothing { nearest: Some(_), .. }), "{error}");
        for bad in ["", "first:0", "first:x", "regex:(", "firs:1", "regex:(a{1000}){1000}"] {
            let error = bad.parse::<Pattern>().unwrap_err();
            assert!(matches!(error, PatternError::Bad { .. }), "{bad}: {error}");
        }
    }
}
