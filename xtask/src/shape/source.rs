//! Counts over one source, by its tokens: a brace in a string or a comment counts for nothing.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use anyhow::Result;

use super::tokens::{Kind, Token, tokens};

/// Counts over a source; all but `length` and `test_modules` leave its tests out.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Source {
    /// All lines of the file.
    pub(super) length: usize,
    /// The same without its tests.
    pub(super) code_length: usize,
    /// Lines that are not blank.
    pub(super) lines: usize,
    /// Lines that hold nothing but a comment that is no documentation.
    pub(super) comments: usize,
    /// Lines of documentation.
    pub(super) docs: usize,
    /// Doc comments that begin with a clause where a noun or a verb should stand.
    pub(super) clauses: usize,
    /// Functions that have a body.
    pub(super) functions: Vec<Function>,
    /// Closures that a `let` names.
    pub(super) named_closures: usize,
    /// Matches with an arm for `true` or `false`.
    pub(super) bool_matches: usize,
    /// Calls of `unreachable!`.
    pub(super) unreachables: usize,
    /// Items and methods that are `pub` without a restriction.
    pub(super) public: usize,
    /// Modules of tests whose source is another file.
    pub(super) test_modules: Vec<String>,
}

/// A function, with its lines from `fn` to the closing brace.
#[derive(Debug, PartialEq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) length: usize,
}

/// Words after `pub` that begin an item; before the name of a field there is none.
const ITEMS: [&str; 10] =
    ["async", "const", "enum", "fn", "static", "struct", "trait", "type", "union", "unsafe"];
/// Words that begin a relative clause.
const CLAUSES: [&str; 3] = ["How", "What", "Whether"];

impl Source {
    /// Counts what is in a source.
    ///
    /// # Errors
    ///
    /// A bracket without its other.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut reader = Reader::default();
        reader.read(&tokens(text)?);
        reader.count_lines(text);
        Ok(reader.source)
    }
}

/// Walks through the tokens of a source, past its tests.
#[derive(Default)]
struct Reader {
    source: Source,
    /// The lines of each item that only tests have.
    tests: Vec<RangeInclusive<usize>>,
    /// Lines that begin within a literal: what looks like a comment there is text.
    inside_literals: BTreeSet<usize>,
}

impl Reader {
    fn read(&mut self, tokens: &[Token<'_>]) {
        let mut at = 0;
        while at < tokens.len() {
            let token = &tokens[at];
            if let Some(end) = end_of_tests(tokens, at) {
                let item = &tokens[at..=end];
                self.tests.push(token.line..=tokens[end].last_line);
                let name = item.iter().position(|token| token.is_word(&["mod"]));
                if let Some(Kind::Word(name)) = name.map(|name| item[name + 1].kind)
                    && tokens[end].is_sign(';')
                {
                    self.source.test_modules.push(name.to_owned());
                }
                at = end;
            } else if let Kind::Word(word) = token.kind {
                self.read_word(word, tokens, at);
            } else if token.kind == Kind::Literal {
                self.inside_literals.extend(token.line + 1..=token.last_line);
            }
            at += 1;
        }
    }

    /// Counts what the word at a place begins, by the tokens after it.
    fn read_word(&mut self, word: &str, tokens: &[Token<'_>], at: usize) {
        let Some(next) = tokens.get(at + 1) else { return };
        match word {
            "fn" => {
                if let (Kind::Word(name), Some(body)) = (next.kind, first_body(tokens, at + 2)) {
                    let line = tokens[at].line;
                    let length = tokens[body.end].last_line - line + 1;
                    let name = name.to_owned();
                    self.source.functions.push(Function { name, line, length });
                }
            }
            "let" => {
                self.source.named_closures += usize::from(is_named_closure(tokens, at + 1));
            }
            "match" => {
                let body = first_body(tokens, at + 1);
                let is_bool =
                    body.is_some_and(|body| has_arm_for_bool(&tokens[..body.end], body.start + 1));
                self.source.bool_matches += usize::from(is_bool);
            }
            "pub" => self.source.public += usize::from(next.is_word(&ITEMS)),
            "unreachable" => self.source.unreachables += usize::from(next.is_sign('!')),
            _ => {}
        }
    }

    /// Counts lines by what they begin with.
    fn count_lines(&mut self, text: &str) {
        let mut was_doc = false;
        for (number, line) in (1..).zip(text.lines()) {
            self.source.length += 1;
            let line = line.trim_start();
            if self.tests.iter().any(|lines| lines.contains(&number)) {
                continue;
            }
            self.source.code_length += 1;
            if line.is_empty() {
                continue;
            }
            self.source.lines += 1;
            let is_comment = line.starts_with("//") && !self.inside_literals.contains(&number);
            let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
            let doc = doc.filter(|_| is_comment);
            self.source.docs += usize::from(doc.is_some());
            self.source.comments += usize::from(is_comment && doc.is_none());
            let begins = doc.filter(|_| !was_doc).and_then(|doc| doc.split_whitespace().next());
            let is_clause = begins.is_some_and(|word| CLAUSES.contains(&word));
            self.source.clauses += usize::from(is_clause);
            was_doc = doc.is_some();
        }
    }
}

/// The places of some tokens, each group of brackets by its first alone.
fn outer<'t>(tokens: &'t [Token<'_>], from: usize) -> impl Iterator<Item = usize> + use<'t> {
    std::iter::successors(Some(from), |&at| Some(tokens.get(at)?.close.unwrap_or(at) + 1))
        .take_while(|&at| at < tokens.len())
}

/// The end of the item that begins with `#[cfg(test)]` or `#[cfg(all(test, ..))]` at a place.
fn end_of_tests(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let [hash, open, cfg, condition, first, ..] = tokens.get(at..)? else { return None };
    if !hash.is_sign('#') || !open.is_sign('[') || !cfg.is_word(&["cfg"]) {
        return None;
    }
    let condition = &tokens[at + 4..condition.close?];
    let is_all = first.is_word(&["all"]) && condition.iter().any(|token| token.is_word(&["test"]));
    let is_test = first.is_word(&["test"]) && condition.len() == 1;
    if !is_all && !is_test {
        return None;
    }
    let end = end_of_item(tokens, open.close? + 1)?;
    Some(tokens[end].close.unwrap_or(end))
}

/// The place of the token that an item ends with: the brace of its body or a semicolon.
fn end_of_item(tokens: &[Token<'_>], from: usize) -> Option<usize> {
    outer(tokens, from).find(|&at| tokens[at].is_sign(';') || tokens[at].is_sign('{'))
}

/// The places of the braces of the first body, if no semicolon comes before it.
fn first_body(tokens: &[Token<'_>], from: usize) -> Option<Range<usize>> {
    let start = end_of_item(tokens, from)?;
    Some(start..tokens[start].close?)
}

/// Returns true if the tokens after a `let` are `name = |..|`, with a type or `move` or without.
fn is_named_closure(tokens: &[Token<'_>], from: usize) -> bool {
    let equals = outer(tokens, from).find(|&at| tokens[at].is_sign('=') || tokens[at].is_sign(';'));
    let Some(equals) = equals else { return false };
    let name = tokens[from..equals].iter().find(|token| !token.is_word(&["mut"]));
    let value = tokens[equals + 1..].iter().find(|token| !token.is_word(&["move"]));
    name.is_some_and(|name| matches!(name.kind, Kind::Word(_)))
        && value.is_some_and(|first| first.is_sign('|'))
}

/// Returns true if an arm of a match is `true =>` or `false =>`.
fn has_arm_for_bool(tokens: &[Token<'_>], from: usize) -> bool {
    outer(tokens, from).any(|at| {
        let is_arrow = matches!(&tokens[at + 1..], [a, b, ..] if a.is_sign('=') && b.is_sign('>'));
        is_arrow && tokens[at].is_word(&["true", "false"])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Source {
        Source::read(text).unwrap()
    }

    #[test]
    fn a_function_ends_at_its_own_brace() {
        let source = read(
            "fn one() -> usize {\n    // }\n    let s = \"}\";\n    '}'.len_utf8()\n}\n\
             trait T {\n    fn none(&self);\n    fn two(f: fn(u8)) {}\n}\n",
        );
        let functions = source.functions.iter().map(|f| (f.name.as_str(), f.line, f.length));
        assert_eq!(functions.collect::<Vec<_>>(), [("one", 1, 5), ("two", 8, 1)]);
    }

    #[test]
    fn tests_are_left_out_and_what_follows_them_is_not() {
        let source = read(
            "#[cfg(test)]\nmod tests {\n    fn a() {\n    }\n}\n\n#[cfg(all(test, unix))]\nuse b;\n\
             #[cfg(test)]\nmod elsewhere;\n#[cfg(not(test))]\nfn kept() {}\n",
        );
        assert_eq!((source.length, source.code_length, source.lines), (12, 3, 2));
        assert_eq!(source.test_modules, ["elsewhere"]);
        assert_eq!(source.functions.len(), 1);
    }

    #[test]
    fn comments_and_docs_are_told_apart_and_text_is_neither() {
        let source = read(
            "//! Of a file.\n// Why.\n/// Of an item,\n/// What it is.\nconst A: &str = \"\n// text\n\
             /// text\n\";\n",
        );
        assert_eq!((source.lines, source.comments, source.docs), (8, 1, 3));
        assert_eq!(source.clauses, 0, "a clause may stand inside");
    }

    #[test]
    fn doc_comments_that_begin_with_a_clause_are_counted() {
        let source = read("/// What it is.\nstruct A;\n/// Whatever it is.\nstruct B;\n");
        assert_eq!(source.clauses, 1);
    }

    #[test]
    fn closures_count_where_a_let_names_them() {
        let source = read(
            "fn f() {\n let a = |x| x;\n let mut b = move || 1;\n let c: fn(u8) = |x| ();\n\
             let d = v.map(|x| x);\n let e = 1 | 2;\n let (g, h) = (|x| x, 1);\n f(|x| { let i = 1; });\n}",
        );
        assert_eq!(source.named_closures, 3);
    }

    #[test]
    fn matches_on_a_bool_and_unreachable_count_inside_macros_too() {
        let source = read(
            "fn f() { m! { match a { true => 1, false => unreachable!() } }\n\
             match b { Some(true) => 1, (true, false) => 2, _ => unreachable } }",
        );
        assert_eq!((source.bool_matches, source.unreachables), (1, 1));
    }

    #[test]
    fn public_items_have_no_restriction_and_are_no_fields() {
        let source = read(
            "pub fn a() {}\npub(crate) fn b() {}\npub struct C { pub d: u8 }\npub use e;\n\
             impl C { pub const fn f() {} }",
        );
        assert_eq!(source.public, 3);
    }

    #[test]
    fn what_is_no_rust_is_an_error() {
        assert!(Source::read("fn f( {").is_err());
    }
}
