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
pub(super) struct ClassNames {
    /// The keys on the way to them, joined by dots.
    pub(super) key: String,
    /// The dictionary or list that they are.
    pub(super) id: Id,
    /// In the order of their indices, no two the same.
    pub(super) names: Vec<String>,
}

/// All names of classes in these dictionaries and in those that they have, such as `config`.
pub(super) fn of(pickle: &Pickle<'_>, dictionaries: &[Id]) -> Vec<ClassNames> {
    let all = dictionaries.iter().flat_map(|&dictionary| entries(pickle, dictionary));
    let all = all.flat_map(|(key, value)| {
        let inner = entries(pickle, value).map(move |(inner, value)| (Some(key), inner, value));
        std::iter::once((None, key, value)).chain(inner)
    });
    let mut found: Vec<ClassNames> = Vec::new();
    for (above, key, id) in all.take(MOST_ENTRIES) {
        if !is_key_of_classes(key)
            || found.len() == MOST_LISTS
            || found.iter().any(|names| names.id == id)
        {
            continue;
        }
        if let Some(names) = names(pickle, id) {
            let key = above.map_or(key.to_owned(), |above| format!("{above}.{key}"));
            found.push(ClassNames { key, id, names });
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
    entries.iter().filter_map(move |&(key, value)| {
        let key = pickle.text(key).filter(|key| key.len() <= 64)?;
        Some((key, value))
    })
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

/// Returns the names of a dictionary from index to name, or from name to index, in order. If it
/// could be either, it is from index to name unless its own values say that they are indices.
fn by_index(pickle: &Pickle<'_>, entries: &[(Id, Id)]) -> Option<Vec<Id>> {
    let keys_are_texts = entries.iter().all(|&(key, _)| pickle.text(key).is_some());
    let from_name = keys_are_texts
        && entries.iter().all(|&(_, value)| matches!(pickle.get(value), Value::Int(_)));
    let mut in_order: Vec<Option<Id>> = vec![None; entries.len()];
    for &(key, value) in entries {
        let (at, name) = if from_name { (value, key) } else { (key, value) };
        let at = index(pickle, at)?;
        let place = in_order.get_mut(at)?;
        if place.replace(name).is_some() {
            return None;
        }
    }
    in_order.into_iter().collect()
}

fn index(pickle: &Pickle<'_>, id: Id) -> Option<usize> {
    match pickle.get(id) {
        &Value::Int(number) => usize::try_from(number).ok(),
        // JSON has no other keys.
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}
