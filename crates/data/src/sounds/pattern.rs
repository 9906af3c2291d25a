//! The parts of file names, such as the label and the speaker.

use crate::DataError;

/// A pattern of file names: named parts between fixed texts, such as `{label}_{speaker}_{index}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The text before the first part.
    start: String,
    /// Each part, with the text behind it; only the last may have none.
    parts: Vec<(String, String)>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, DataError> {
        let bad = DataError::BadPattern { given: text.to_owned() };
        let mut pieces = text.split('{');
        let start = pieces.next().unwrap_or_default().to_owned();
        let parts: Option<Vec<(String, String)>> = pieces
            .map(|piece| piece.split_once('}'))
            .map(|part| {
                let (name, behind) = part?;
                (!name.is_empty()).then(|| (name.to_owned(), behind.to_owned()))
            })
            .collect();
        let Some(parts) = parts.filter(|parts| !parts.is_empty()) else { return Err(bad) };
        let inner = &parts[..parts.len() - 1];
        let is_distinct =
            parts.iter().enumerate().all(|(at, part)| parts[..at].iter().all(|p| p.0 != part.0));
        if inner.iter().any(|(_, behind)| behind.is_empty()) || !is_distinct {
            return Err(bad);
        }
        Ok(Self { start, parts })
    }

    /// The names of the parts.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|(name, _)| name.as_str())
    }

    /// The parts of a name without its ending; none if it does not follow the pattern.
    pub(super) fn parts<'a>(&self, name: &'a str) -> Option<Vec<&'a str>> {
        let mut rest = name.strip_prefix(self.start.as_str())?;
        let mut found = Vec::new();
        for (at, (_, behind)) in self.parts.iter().enumerate() {
            let (part, after) = if at + 1 == self.parts.len() {
                (rest.strip_suffix(behind.as_str())?, "")
            } else {
                rest.split_once(behind.as_str())?
            };
            if part.is_empty() {
                return None;
            }
            found.push(part);
            rest = after;
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_between_fixed_texts() {
        let pattern = Pattern::parse("{label}_{speaker}_{index}").unwrap();
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["label", "speaker", "index"]);
        assert_eq!(pattern.parts("7_jackson_32"), Some(vec!["7", "jackson", "32"]));
        for other in ["7_jackson", "_jackson_1", "7__1", ""] {
            assert_eq!(pattern.parts(other), None, "{other}");
        }
        let pattern = Pattern::parse("take-{label}.clean").unwrap();
        assert_eq!(pattern.parts("take-a-b.clean"), Some(vec!["a-b"]));
        assert_eq!(pattern.parts("take-a-b"), None);
    }

    #[test]
    fn patterns_without_a_clear_meaning_are_refused() {
        for bad in ["", "label", "{}", "{a", "a}", "{a}{b}", "{a}_{a}"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
