//! Names of classes that stand beside weights in a checkpoint.

use std::collections::BTreeSet;

use super::pickle::{Id, Pickle, Value};
use crate::classes::{MOST_LISTS, is_key_of_classes};
use crate::names::label;

/// The most names, and the most of their bytes, that are read under one key.
const MOST_NAMES: usize = 32_768;
const MOST_BYTES: usize = 1 << 20;

/// The most entries that are looked at to find keys.
const MOST_ENTRIES: usize = 10_000;

/// The names that stand under a key.
pub(super) struct Names {
    /// The keys on the way to them, joined by dots.
    pub(super) key: String,
    /// The dictionary or list that they are.
    pub(super) id: Id,
    /// In the order of their indices, no two the same.
    pub(super) names: Vec<String>,
}

/// All names of classes in these dictionaries and in those that they have, such as `config`.
pub(super) fn of(pickle: &Pickle<'_>, dictionaries: &[Id]) -> Vec<Names> {
    let mut found: Vec<Names> = Vec::new();
    let mut looked_at = 0;
    let mut add = |above: &str, key: &str, id: Id| {
        looked_at += 1;
        let is_known = is_key_of_classes(key);
        if !is_known || found.len() == MOST_LISTS || found.iter().any(|names| names.id == id) {
            return looked_at < MOST_ENTRIES;
        }
        if let Some(names) = names(pickle, id) {
            found.push(Names { key: format!("{above}{key}"), id, names });
        }
        looked_at < MOST_ENTRIES
    };
    for &dictionary in dictionaries {
        for (key, value) in entries(pickle, dictionary) {
            if !add("", key, value) {
                return found;
            }
            for (inner, value) in entries(pickle, value) {
                if !add(&format!("{key}."), inner, value) {
                    return found;
                }
            }
        }
    }
    found
}

/// The entries of a dictionary whose keys are text.
fn entries<'p, 'a>(
    pickle: &'p Pickle<'a>,
    id: Id,
) -> impl Iterator<Item = (&'a str, Id)> + use<'p, 'a> {
    let entries = match pickle.get(id) {
        Value::Dict(entries) => entries.as_slice(),
        _ => &[],
    };
    let short = |key: &&str| key.len() <= 64;
    entries.iter().filter_map(move |&(key, value)| Some((pickle.text(key).filter(short)?, value)))
}

/// Names in the order of their indices, if a value is nothing but as many different ones.
fn names(pickle: &Pickle<'_>, id: Id) -> Option<Vec<String>> {
    let in_order: Vec<Id> = match pickle.get(id) {
        Value::List(items) | Value::Tuple(items) if items.len() <= MOST_NAMES => items.clone(),
        Value::Dict(entries) if entries.len() <= MOST_NAMES => by_index(pickle, entries)?,
        _ => return None,
    };
    let (mut names, mut bytes) = (BTreeSet::new(), 0);
    let mut all = Vec::with_capacity(in_order.len());
    for id in in_order {
        let name = match pickle.get(id) {
            Value::Text(text) if text.len() <= MOST_BYTES => label(text),
            Value::Int(number) => number.to_string(),
            Value::Flag(truth) => (if *truth { "True" } else { "False" }).to_owned(),
            Value::Float(number) if number.is_finite() => format!("{number:?}"),
            _ => return None,
        };
        bytes += name.len();
        if bytes > MOST_BYTES || name.is_empty() || !names.insert(name.clone()) {
            return None;
        }
        all.push(name);
    }
    (!all.is_empty()).then_some(all)
}

/// What a dictionary from index to name has, or that from name to index, in order. If it could be
/// either, it is from index to name unless its own values say that they are indices.
fn by_index(pickle: &Pickle<'_>, entries: &[(Id, Id)]) -> Option<Vec<Id>> {
    let keys_are_texts = entries.iter().all(|&(key, _)| pickle.text(key).is_some());
    let index = |id: Id| match pickle.get(id) {
        &Value::Int(number) => usize::try_from(number).ok(),
        // JSON has no other keys.
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    let from_name = keys_are_texts
        && entries.iter().all(|&(_, value)| matches!(pickle.get(value), Value::Int(_)));
    let mut in_order: Vec<Option<Id>> = vec![None; entries.len()];
    for &(key, value) in entries {
        let (at, name) = if from_name { (index(value)?, key) } else { (index(key)?, value) };
        let place = in_order.get_mut(at)?;
        if place.replace(name).is_some() {
            return None;
        }
    }
    in_order.into_iter().collect()
}
