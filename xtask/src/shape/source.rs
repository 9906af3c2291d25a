//! Counts over one source, by its tokens: a brace in a string or a comment counts for nothing.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

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
    /// If it is no Rust.
    pub(super) fn read(text: &str) -> Result<Self> {
        let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{error}"))?;
        let mut reader = Reader::default();
        reader.read(tokens);
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
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = &tokens[..];
        while let [first, after @ ..] = rest {
            rest = after;
            match first {
                TokenTree::Punct(punct) if punct.as_char() == '#' && is_for_tests(after) => {
                    let end = end_of_item(&after[1..]);
                    let last = after.get(end + 1).unwrap_or(first);
                    if is_sign(last, ';')
                        && let Some(at) = after.iter().position(|word| is_word(word, &["mod"]))
                        && at < end
                    {
                        self.source.test_modules.push(after[at + 1].to_string());
                    }
                    self.tests.push(first.span().start().line..=last.span().end().line);
                    rest = after.get(end + 2..).unwrap_or_default();
                }
                TokenTree::Ident(word) => {
                    self.read_word(&word.to_string(), first.span().start().line, after);
                }
                TokenTree::Group(group) => self.read(group.stream()),
                TokenTree::Literal(literal) => {
                    let span = literal.span();
                    self.inside_literals.extend(span.start().line + 1..=span.end().line);
                }
                TokenTree::Punct(_) => {}
            }
        }
    }

    /// Counts what a word begins, by the tokens after it.
    fn read_word(&mut self, word: &str, line: usize, after: &[TokenTree]) {
        match word {
            "fn" => {
                if let [TokenTree::Ident(name), rest @ ..] = after
                    && let Some(body) = first_body(rest)
                {
                    let length = body.span_close().end().line - line + 1;
                    let name = name.to_string();
                    self.source.functions.push(Function { name, line, length });
                }
            }
            "let" => self.source.named_closures += usize::from(is_named_closure(after)),
            "match" => {
                let body = first_body(after);
                self.source.bool_matches += usize::from(body.is_some_and(has_arm_for_bool));
            }
            "pub" => {
                let is_item = after.first().is_some_and(|next| is_word(next, &ITEMS));
                self.source.public += usize::from(is_item);
            }
            "unreachable" => {
                let is_call = after.first().is_some_and(|next| is_sign(next, '!'));
                self.source.unreachables += usize::from(is_call);
            }
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

/// Returns true if the tokens after a `#` are `[cfg(test)]`, or `[cfg(all(test, ..))]`.
fn is_for_tests(after: &[TokenTree]) -> bool {
    let Some(TokenTree::Group(attribute)) = after.first() else { return false };
    let attribute: Vec<TokenTree> = attribute.stream().into_iter().collect();
    let [cfg, TokenTree::Group(condition)] = &attribute[..] else { return false };
    if !is_word(cfg, &["cfg"]) {
        return false;
    }
    let condition: Vec<TokenTree> = condition.stream().into_iter().collect();
    match &condition[..] {
        [all, TokenTree::Group(parts)] if is_word(all, &["all"]) => {
            parts.stream().into_iter().any(|part| is_word(&part, &["test"]))
        }
        [only] => is_word(only, &["test"]),
        _ => false,
    }
}

/// The place of the token that an item ends with: its body or a semicolon.
fn end_of_item(tokens: &[TokenTree]) -> usize {
    let end = tokens.iter().position(|token| is_sign(token, ';') || as_body(token).is_some());
    end.unwrap_or(tokens.len())
}

/// The first group in braces, if no semicolon comes before it.
fn first_body(tokens: &[TokenTree]) -> Option<&Group> {
    tokens.get(end_of_item(tokens)).and_then(as_body)
}

fn as_body(token: &TokenTree) -> Option<&Group> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group),
        _ => None,
    }
}

/// Returns true if the tokens after a `let` are `name = |..|`, with a type or `move` or without.
fn is_named_closure(after: &[TokenTree]) -> bool {
    let Some(equals) = after.iter().position(|token| is_sign(token, '=') || is_sign(token, ';'))
    else {
        return false;
    };
    let is_name = after[..equals].iter().find(|token| !is_word(token, &["mut"]));
    let value = after[equals + 1..].iter().find(|token| !is_word(token, &["move"]));
    matches!(is_name, Some(TokenTree::Ident(_))) && value.is_some_and(|first| is_sign(first, '|'))
}

/// Returns true if an arm of a match is `true =>` or `false =>`.
fn has_arm_for_bool(body: &Group) -> bool {
    let tokens: Vec<TokenTree> = body.stream().into_iter().collect();
    tokens
        .windows(3)
        .any(|t| is_word(&t[0], &["true", "false"]) && is_sign(&t[1], '=') && is_sign(&t[2], '>'))
}

fn is_word(token: &TokenTree, words: &[&str]) -> bool {
    matches!(token, TokenTree::Ident(word) if words.iter().any(|known| word == known))
}

fn is_sign(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == sign)
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
