//! Which parameters, or tensors of a file, a person means: one language for both.

use std::fmt;
use std::str::FromStr;

use fireclay::{Architecture, ParameterPath};
use regex::{Regex, RegexBuilder};

/// Names of parameters, or of tensors of a file.
///
/// | text | names |
/// |---|---|
/// | `layers.1.weight` | that one |
/// | `layers.1` | that one and all below it, behind a `.` or a `/`; never `layers.10` |
/// | `layers.*.bias`, `*.bias` | `*` stands for any text, of one part or of several |
/// | `regex:layers\.[01]\..*` | those that the expression matches as a whole |
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    names: Regex,
}

impl Glob {
    /// Whether it names this one.
    pub fn names(&self, name: &str) -> bool {
        self.names.is_match(name)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Glob {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::bad(text, "it is empty"));
        }
        let expression = match text.strip_prefix("regex:") {
            Some(expression) => format!("^(?:{expression})$"),
            None => {
                let pieces: Vec<String> = text.split('*').map(regex::escape).collect();
                format!(r"(?s)^{}(?:[./].*)?$", pieces.join(".*"))
            }
        };
        // Small automata only: an expression may come from a settings file of a stranger.
        let names = RegexBuilder::new(&expression).size_limit(1 << 20).build();
        let names = names.map_err(|error| PatternError::bad(text, error.to_string()))?;
        Ok(Self { text: text.to_owned(), names })
    }
}

/// Names some of a network's parameters: by their paths, as a [`Glob`], or by a word.
///
/// | word | parameters |
/// |---|---|
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
    Paths(Glob),
}

impl Pattern {
    /// Whether it names this parameter of a network with so many linear layers.
    pub fn names(&self, path: ParameterPath, layers: usize) -> bool {
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
            Kind::Paths(glob) => glob.names(&path.to_string()),
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

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let kind = match text {
            "all" => Kind::All,
            "head" => Kind::Head,
            "body" | "all-but-head" => Kind::Body,
            "biases" => Kind::Biases,
            "norms" => Kind::Norms,
            "adapters" => Kind::Adapters,
            _ => match text.split_once(':') {
                Some(("first", number)) => Kind::First(count(text, number)?),
                Some(("last", number)) => Kind::Last(count(text, number)?),
                Some(("regex", _)) | None => Kind::Paths(text.parse()?),
                Some(_) => {
                    let why = "only first:, last: and regex: have a colon";
                    return Err(PatternError::bad(text, why));
                }
            },
        };
        Ok(Self { text: text.to_owned(), kind })
    }
}

/// The number of layers in a pattern.
fn count(pattern: &str, number: &str) -> Result<usize, PatternError> {
    match number.parse() {
        Ok(0) | Err(_) => {
            Err(PatternError::bad(pattern, "give a number of layers, such as first:2"))
        }
        Ok(count) => Ok(count),
    }
}

impl PatternError {
    fn bad(pattern: &str, why: impl Into<String>) -> Self {
        Self::Bad { pattern: pattern.to_owned(), why: why.into() }
    }
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
    fn a_star_stands_for_any_text_and_a_name_for_what_is_below_it() {
        let named = |name: &str, glob: &str| glob.parse::<Glob>().unwrap().names(name);
        for (name, glob) in [
            ("a.b", "a.b"),
            ("a.b", "*"),
            ("a.b", "**"),
            ("a.b", "a*"),
            ("a.b", "*b"),
            ("a.b.c", "a.*"),
            ("a.b.c", "*.c"),
            ("optim.0.step", "optim*step"),
            ("optim.0.step", "optim"),
            ("dense/kernel:0", "dense/kernel:0"),
            ("dense/kernel:0", "dense"),
            ("x\ny", "x*"),
            ("x", "x*"),
            ("layers.0.weight", r"regex:layers\.\d.*"),
        ] {
            assert!(named(name, glob), "{name} {glob}");
        }
        for (name, glob) in [
            ("a.bc", "a.b"),
            ("ab", "*a"),
            ("ab", "a"),
            ("a", "a*a"),
            ("a.b", "a+b"),
            ("layers.0.weight", r"regex:layers\.\d"),
        ] {
            assert!(!named(name, glob), "{name} {glob}");
        }
        assert!("".parse::<Glob>().is_err() && "regex:(".parse::<Glob>().is_err());
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
        assert_eq!((paths("*"), paths("**")), (all.clone(), all.clone()));
        assert_eq!(paths("*.bias").len(), 12 + 11);
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
