//! Names of classes as texts that people and programs write beside a network.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::error::metadata_note;
use crate::names::label;

/// Keys that people keep the names of classes under: of a list, or a dictionary from index to name
/// or from name to index.
const KEYS: [&str; 17] = [
    "class_labels",
    "class_names",
    "class_to_idx",
    "class_to_index",
    "classes",
    "classnames",
    "id2label",
    "idx_to_class",
    "idx_to_label",
    "index_to_class",
    "label2id",
    "label_names",
    "label_to_id",
    "label_to_idx",
    "labels",
    "names",
    "target_names",
];

/// The most lists of names that are read of a file.
pub(crate) const MOST_LISTS: usize = 8;

/// The names of classes among what a file says of itself, each list by its key, and notes on the
/// rest.
pub(crate) fn of_metadata<'m>(
    items: impl Iterator<Item = (&'m str, &'m str)>,
) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let (mut lists, mut notes) = (Vec::new(), Vec::new());
    for (key, value) in items {
        let names = if is_key_of_classes(key) { listed(value) } else { None };
        match names.filter(|_| lists.len() < MOST_LISTS) {
            Some(names) => lists.push((key.to_owned(), names)),
            None => notes.push(metadata_note(key, value)),
        }
    }
    (lists, notes)
}

/// Returns true if names of classes usually stand under a key.
pub(crate) fn is_key_of_classes(key: &str) -> bool {
    KEYS.contains(&key.to_ascii_lowercase().as_str())
}

/// The names of a text, in the order of their indices, no two the same: a list or a dictionary as
/// JSON or Python write them, or names between commas, semicolons or ends of lines.
fn listed(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    let names = match serde_json::from_str(text).ok().or_else(|| of_python(text)) {
        Some(Value::Array(list)) => list.iter().map(name).collect::<Option<Vec<_>>>()?,
        Some(Value::Object(map)) => of_dictionary(&map)?,
        _ => separated(text)?,
    };
    let different: BTreeSet<&String> = names.iter().collect();
    let are_names = !names.is_empty() && names.iter().all(|name| !name.is_empty());
    (are_names && different.len() == names.len()).then_some(names)
}

fn name(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => Some(label(name)),
        Value::Number(number) => number.as_i64().map(|number| number.to_string()),
        Value::Bool(truth) => Some((if *truth { "True" } else { "False" }).to_owned()),
        _ => None,
    }
}

/// The names of a dictionary from index to name, or from name to index.
fn of_dictionary(map: &serde_json::Map<String, Value>) -> Option<Vec<String>> {
    let mut names = vec![String::new(); map.len()];
    let from_name = map.values().all(Value::is_u64);
    for (key, value) in map {
        let (at, name) = if from_name {
            (usize::try_from(value.as_u64()?).ok()?, label(key))
        } else {
            (key.parse().ok()?, name(value)?)
        };
        let place: &mut String = names.get_mut(at)?;
        if !place.is_empty() {
            return None;
        }
        *place = name;
    }
    Some(names)
}

/// A list or dictionary of texts and whole numbers as Python writes it, such as `{0: 'a', 1: 'b'}`.
fn of_python(text: &str) -> Option<Value> {
    let (mut json, mut rest) = (String::with_capacity(text.len() + 2), text);
    while let Some(first) = rest.chars().next() {
        match first {
            '\'' | '"' => {
                let (read, after) = of_quotes(&rest[1..], first)?;
                json += &Value::String(read).to_string();
                rest = after;
                continue;
            }
            '0'..='9' | '-' => {
                let end =
                    rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |at| at + 1);
                let (number, after) = rest.split_at(end);
                // Keys of JSON are texts.
                if after.trim_start().starts_with(':') {
                    json += &Value::String(number.to_owned()).to_string();
                } else {
                    json += number;
                }
                rest = after;
                continue;
            }
            '(' => json.push('['),
            ')' => json.push(']'),
            ',' if rest[1..].trim_start().starts_with([']', ')', '}']) => {}
            '[' | ']' | '{' | '}' | ':' | ',' | ' ' | '\n' | '\r' | '\t' => json.push(first),
            _ => return None,
        }
        rest = &rest[1..];
    }
    serde_json::from_str(&json).ok()
}

/// A text up to its closing quote, and what follows on that.
fn of_quotes(text: &str, quote: char) -> Option<(String, &str)> {
    let (mut read, mut characters) = (String::new(), text.chars());
    while let Some(next) = characters.next() {
        match next {
            '\\' => match characters.next()? {
                escaped @ ('\\' | '\'' | '"') => read.push(escaped),
                _ => return None,
            },
            next if next == quote => return Some((read, characters.as_str())),
            next => read.push(next),
        }
    }
    None
}

/// Names between ends of lines, or else semicolons or commas; two at least.
fn separated(text: &str) -> Option<Vec<String>> {
    if text.contains(['[', ']', '{', '}', '"', '\'']) {
        return None;
    }
    let separator = ['\n', ';', ','].into_iter().find(|&separator| text.contains(separator))?;
    Some(text.split(separator).map(|name| label(name.trim())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_usual_form() {
        for text in [
            r#"["c", "a", "b"]"#,
            r#"{"0": "c", "2": "b", "1": "a"}"#,
            r#"{"a": 1, "b": 2, "c": 0}"#,
            "['c', 'a', 'b']",
            "('c', \"a\", 'b',)",
            "{0: 'c', 1: 'a', 2: 'b'}",
            "{'a': 1, 'b': 2, 'c': 0}",
            "c,a,b",
            " c; a; b ",
            "c\na\r\nb\n",
        ] {
            assert_eq!(listed(text).unwrap_or_default(), ["c", "a", "b"], "{text}");
        }
        assert_eq!(listed("['it\\'s', 'b, c']").unwrap(), ["it's", "b, c"]);
        assert_eq!(listed("[1, -2]").unwrap(), ["1", "-2"]);
    }

    #[test]
    fn what_may_be_anything_else_is_no_list() {
        for text in [
            "",
            "cat",
            "c,,b",
            "a,a",
            "[]",
            "{}",
            "[['a'], 'b']",
            "{1: 'a', 2: 'b'}",
            "{'a': 0, 'b': 0}",
            "{0: 'a'",
            "['a', b]",
            "['a",
            "['\\x41']",
            "'a', 'b'",
            "{\"a\": 0.5, \"b\": 1}",
            "{18446744073709551616: 'a'}",
        ] {
            assert_eq!(listed(text), None, "{text}");
        }
    }
}
