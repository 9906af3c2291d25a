//! Choices that a person spells: one list of names serves files, flags and messages.

/// A word that names none of the choices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{found}`;{} choose one of: {}", did_you_mean(nearest), choices.join(", "))]
pub struct UnknownName {
    /// The thing to choose, such as `activation`.
    pub kind: &'static str,
    /// The word that was given.
    pub found: String,
    /// Every word that would have been accepted.
    pub choices: Vec<&'static str>,
    /// The choice closest to what was given, when one is close enough to be a slip.
    pub nearest: Option<&'static str>,
}

impl UnknownName {
    /// Of a word and the choices that it is none of.
    pub fn new(kind: &'static str, found: &str, choices: Vec<&'static str>) -> Self {
        let nearest = nearest(found, choices.iter().copied());
        Self { kind, found: found.to_owned(), choices, nearest }
    }
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" did you mean `{name}`? Or"))
}

/// The candidate most similar to `word`, if any is similar enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .filter_map(|name| Some((similarity(word, name)?, name)))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// Returns the similarity of two words, from 0 to 1, if they are alike at all: sharing their
/// beginning, or a few slips of the finger apart.
fn similarity(a: &str, b: &str) -> Option<f64> {
    let beginning = strsim::jaro_winkler(a, b);
    let slips = strsim::normalized_damerau_levenshtein(a, b);
    (beginning > 0.75 || slips > 0.6).then_some(beginning.max(slips))
}

/// Declares an enum whose variants are chosen by name: `ALL`, `name`, `FromStr`, `Display`, serde.
///
/// The crate that uses it depends on `serde`.
#[macro_export]
macro_rules! named_enum {
    (
        $(#[$meta:meta])*
        pub enum $Name:ident as $kind:literal {
            $( $(#[$variant_meta:meta])* $Variant:ident = $text:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $Name {
            $( $(#[$variant_meta])* #[serde(rename = $text)] $Variant, )+
        }

        impl $Name {
            /// Every choice, in the order in which they are listed to people.
            pub const ALL: &'static [Self] = &[$( Self::$Variant ),+];

            /// The name in files, flags and messages.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$Variant => $text ),+ }
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $Name {
            type Err = $crate::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|choice| choice.name() == text).ok_or_else(|| {
                    let choices = Self::ALL.iter().map(|choice| choice.name()).collect();
                    $crate::UnknownName::new($kind, text, choices)
                })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::Activation;

    #[test]
    fn every_name_reads_back_and_a_slip_is_answered_with_the_nearest() {
        for &activation in Activation::ALL {
            assert_eq!(activation.name().parse(), Ok(activation));
            assert_eq!(serde_json::to_value(activation).unwrap(), activation.name());
        }
        let error = "sigmod".parse::<Activation>().unwrap_err();
        assert_eq!(error.nearest, Some("sigmoid"));
        assert!(
            error
                .to_string()
                .starts_with("unknown activation `sigmod`; did you mean `sigmoid`? Or choose")
        );
        assert_eq!("zzz".parse::<Activation>().unwrap_err().nearest, None);
    }
}
