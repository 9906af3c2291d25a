//! The state dictionary in what a pickle built.

use std::collections::HashSet;

use super::KIND;
use super::labels;
use super::pickle::{Id, Pickle, Value};
use super::search::{Chosen, Tree};
use super::view::{View, is_tensor};
use crate::error::shown;
use crate::names::{first, several};
use crate::{Problem, WHOLE};

/// Parts of names that stand for a wrapper around a module, anywhere in the name.
const INNER: [(&str, &str); 3] = [
    ("_orig_mod", "torch.compile"),
    ("_fsdp_wrapped_module", "FullyShardedDataParallel"),
    ("_checkpoint_wrapped_module", "activation checkpointing"),
];

/// The prefix that `DataParallel`, `DistributedDataParallel` and `AveragedModel` give to all names.
const OUTER: &str = "module.";

/// The times that a network may be wrapped by one of those.
const MOST_WRAPPED: usize = 4;

/// The counter that an `AveragedModel` has beside its module.
const AVERAGED: &str = "n_averaged";

/// The tensors of a network, and what else was there.
pub(super) struct State<'a> {
    /// The tensors, in the order of the dictionary.
    pub(super) views: Vec<View<'a>>,
    /// Names of classes, each list by the keys on the way to it.
    pub(super) class_names: Vec<(String, Vec<String>)>,
    /// Notes for a person.
    pub(super) notes: Vec<String>,
}

impl<'a> State<'a> {
    /// The state dictionary that a pickle is, or has, or what it has under a key.
    ///
    /// # Errors
    ///
    /// What [`Tree::choose`] says, and what [`View::of`] says of a tensor.
    pub(super) fn of(pickle: &Pickle<'a>, key: Option<&str>) -> Result<Self, Problem> {
        let Chosen { path, way, tensors } = Tree::of(pickle).choose(key)?;
        let mut notes = Vec::new();
        if let Some(path) = path.filter(|path| path != WHOLE) {
            notes.push(format!("the tensors are those under {}", shown(&path)));
        }
        let mut dictionaries: Vec<Id> = way.iter().map(|&(id, _)| id).collect();
        if !dictionaries.contains(&pickle.root) {
            dictionaries.push(pickle.root);
        }
        let found = labels::of(pickle, &dictionaries);
        notes.extend(way.iter().filter_map(|&(id, into)| left_out(pickle, id, into, &found)));
        notes.extend(
            found.iter().map(|names| {
                format!("{} names classes: {}", shown(&names.key), first(&names.names))
            }),
        );
        let mut views = read_views(pickle, tensors)?;
        notes.extend(unwrap(&mut views)?);
        let class_names = found.into_iter().map(|found| (found.key, found.names)).collect();
        Ok(Self { views, class_names, notes })
    }

    /// The names of the storages of all tensors; one that is shared more than once.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.views.iter().map(View::key)
    }
}

fn read_views<'a>(
    pickle: &Pickle<'a>,
    tensors: Vec<(String, Id)>,
) -> Result<Vec<View<'a>>, Problem> {
    let views = tensors.into_iter().map(|(name, id)| View::of(pickle, name, pickle.get(id)));
    let views = views.collect::<Result<Vec<_>, _>>()?;
    match first_twice(&views) {
        Some(name) => {
            let what = format!("two tensors are called {}", shown(name));
            Err(Problem::malformed(KIND, what))
        }
        None => Ok(views),
    }
}

fn first_twice<'v>(views: &'v [View<'_>]) -> Option<&'v str> {
    let mut names = HashSet::new();
    views.iter().map(View::name).find(|name| !names.insert(*name))
}

/// A note on what a collection has besides tensors, what was gone `into` and names of classes.
fn left_out(
    pickle: &Pickle<'_>,
    id: Id,
    into: Option<Id>,
    named: &[labels::ClassNames],
) -> Option<String> {
    let Value::Dict(entries) = pickle.get(id) else { return None };
    let left = entries.iter().filter(|&&(_, value)| match into {
        Some(into) => value != into,
        None => !is_tensor(pickle.get(value)),
    });
    let left = left.filter(|&&(_, value)| named.iter().all(|names| names.id != value));
    let left: Vec<_> = left.collect();
    let words = left.iter().map(|&&(key, value)| {
        let key = pickle.text(key).map_or_else(|| pickle.get(key).what().to_owned(), shown);
        format!("{key} ({})", pickle.get(value).what())
    });
    (!left.is_empty()).then(|| format!("left out: {}", several(words, left.len())))
}

/// Takes away what wrappers put into the names: the names that only they give wherever they are, and
/// `module.` if it is before all of them.
fn unwrap(views: &mut Vec<View<'_>>) -> Result<Vec<String>, Problem> {
    let mut notes = Vec::new();
    for (part, wrapper) in INNER {
        let mut is_there = false;
        for view in views.iter_mut() {
            let parts: Vec<&str> = view.name().split('.').collect();
            let kept: Vec<&str> = parts.iter().copied().filter(|kept| *kept != part).collect();
            if kept.len() < parts.len() && !kept.is_empty() {
                let name = kept.join(".");
                view.rename(name);
                is_there = true;
            }
        }
        if is_there {
            notes.push(format!("names had \"{part}.\", of {wrapper}, which was taken away"));
        }
    }
    if let Some(note) = unwrap_average(views) {
        notes.push(note);
    }
    for _ in 0..MOST_WRAPPED {
        if views.is_empty() || views.iter().any(|view| inside(view).is_none()) {
            break;
        }
        for view in views.iter_mut() {
            let name = inside(view).unwrap_or_default().to_owned();
            view.rename(name);
        }
        notes.push(format!(
            "every name began with {OUTER:?}, of DataParallel, which was taken away"
        ));
    }
    match first_twice(views) {
        Some(name) => {
            let what = format!("two tensors are called {} once what wraps them", shown(name));
            Err(Problem::malformed(KIND, format!("{what} is taken away")))
        }
        None => Ok(notes),
    }
}

fn inside<'v>(view: &'v View<'_>) -> Option<&'v str> {
    view.name().strip_prefix(OUTER).filter(|name| !name.is_empty())
}

/// Leaves out the counter of an `AveragedModel`, the only name that is not in its module.
fn unwrap_average(views: &mut Vec<View<'_>>) -> Option<String> {
    let others = views.iter().filter(|view| view.name() != AVERAGED);
    let is_average = views.len() > 1 && others.clone().count() + 1 == views.len();
    if !is_average || !others.clone().all(|view| inside(view).is_some()) {
        return None;
    }
    views.retain(|view| view.name() != AVERAGED);
    Some(format!("left out: {AVERAGED:?}, the counter of an AveragedModel"))
}
