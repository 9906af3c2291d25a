//! The tokens of a source, with their lines. A parser of others would bring features to packages that
//! Burn has too, and Burn would be compiled twice.

use anyhow::{Context, Result, ensure};

/// A word, a sign or a literal.
#[derive(Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind<'t>,
    /// The lines of its beginning and of its end.
    pub(super) line: usize,
    pub(super) last_line: usize,
    /// The place of the bracket that closes the one it is.
    pub(super) close: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind<'t> {
    /// A name, a keyword or a part of a number.
    Word(&'t str),
    Sign(char),
    Literal,
}

impl Token<'_> {
    pub(super) fn is_word(&self, words: &[&str]) -> bool {
        matches!(self.kind, Kind::Word(word) if words.contains(&word))
    }

    pub(super) fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

/// Takes a source apart.
///
/// # Errors
///
/// A bracket without its other.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut open = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (kind, length) = next(rest, first);
        let last_line = line + rest[..length].matches('\n').count();
        if let Some(kind) = kind {
            if let Kind::Sign('(' | '[' | '{') = kind {
                open.push(tokens.len());
            }
            if let Kind::Sign(')' | ']' | '}') = kind {
                let begin = open.pop().context("a bracket is not opened")?;
                tokens[begin].close = Some(tokens.len());
            }
            tokens.push(Token { kind, line, last_line, close: None });
        }
        (rest, line) = (&rest[length..], last_line);
    }
    ensure!(open.is_empty(), "a bracket is not closed");
    Ok(tokens)
}

/// The token that a text begins with, none for a blank or a comment, and its length.
fn next(text: &str, first: char) -> (Option<Kind<'_>>, usize) {
    if text.starts_with("//") {
        return (None, text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return (None, text.find("*/").map_or(text.len(), |end| end + 2));
    }
    if let Some(length) = literal_length(text) {
        return (Some(Kind::Literal), length);
    }
    if first.is_alphanumeric() || first == '_' {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        return (Some(Kind::Word(&text[..end])), end);
    }
    let kind = (!first.is_whitespace()).then_some(Kind::Sign(first));
    (kind, first.len_utf8())
}

/// The length of the string or the character that a text begins with.
fn literal_length(text: &str) -> Option<usize> {
    let after = text.trim_start_matches(['b', 'c', 'r', '#']);
    let mark = text.len() - after.len();
    let prefix = &text[..mark];
    let letters = prefix.trim_end_matches('#');
    let hashes = prefix.len() - letters.len();
    if after.starts_with('"') && ["r", "br", "cr"].contains(&letters) {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(mark + 1 + after[1..].find(&end)? + end.len());
    }
    if after.starts_with('"') && hashes == 0 && ["", "b", "c"].contains(&letters) {
        return Some(mark + quoted_length(after, '"')?);
    }
    if !after.starts_with('\'') || hashes > 0 || !["", "b"].contains(&letters) {
        return None;
    }
    // A quote, one character, a quote; anything else is a lifetime.
    let mut inside = after[1..].chars();
    match (inside.next()?, inside.next()) {
        ('\\', _) => Some(mark + quoted_length(after, '\'')?),
        (one, Some('\'')) => Some(mark + 2 + one.len_utf8()),
        _ => None,
    }
}

/// The length of a literal between two quotes, both included.
fn quoted_length(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !is_escaped {
            return Some(at + 1);
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literals(text: &str) -> usize {
        tokens(text).unwrap().iter().filter(|token| token.kind == Kind::Literal).count()
    }

    #[test]
    fn brackets_in_literals_and_comments_open_nothing() {
        for text in ["\"{\\\"{\"", "r#\"{\"{\"#", "b'{'", "'\\''", "'\"'", "c\"(\"", "br\"[\""] {
            assert_eq!(literals(text), 1, "{text}");
        }
        assert!(tokens("// {\n/* ( \n */").unwrap().is_empty());
    }

    #[test]
    fn lifetimes_and_raw_names_are_no_literals() {
        assert_eq!(literals("fn f<'a>(r#type: &'a str, b: u8) {}"), 0);
    }

    #[test]
    fn lines_and_closing_brackets_are_known() {
        let found = tokens("a\n(\n\"x\ny\")").unwrap();
        let lines: Vec<_> = found.iter().map(|token| (token.line, token.last_line)).collect();
        assert_eq!(lines, [(1, 1), (2, 2), (3, 4), (4, 4)]);
        assert_eq!(found[1].close, Some(3));
        assert!(tokens("(").is_err() && tokens(")").is_err());
    }
}
