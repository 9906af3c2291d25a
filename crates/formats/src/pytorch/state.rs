//! The state dictionary in what a pickle built.

use std::collections::HashSet;

use super::KIND;
use super::pickle::{ADVICE, Id, Pickle, Value};
use super::view::{View, is_tensor};
use crate::Problem;
use crate::error::shown;

/// Under which of these a checkpoint has the state dictionary; the first that it has is taken.
const PLACES: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// What `DataParallel` and `torch.compile` put before the names of what they wrap.
const WRAPPERS: [(&str, &str); 2] = [("module.", "DataParallel"), ("_orig_mod.", "torch.compile")];

/// How often a network may be wrapped.
const MOST_WRAPPED: usize = 4;

/// The most tensors of a state dictionary.
const MOST_TENSORS: u64 = 10_000;

/// How many things that were left out are named.
const MOST_NAMED: usize = 10;

/// The tensors of a network, and what else was there.
pub(super) struct State<'a> {
    /// The tensors, in the order of the dictionary.
    pub(super) views: Vec<View<'a>>,
    /// What a person might want to know.
    pub(super) notes: Vec<String>,
}

impl<'a> State<'a> {
    /// The state dictionary that a pickle is, or has.
    ///
    /// # Errors
    ///
    /// [`Problem::Refused`] if there is none, and what [`View::of`] says of a tensor.
    pub(super) fn of(pickle: &Pickle<'a>) -> Result<Self, Problem> {
        let Value::Dict(top) = pickle.root() else {
            let what = format!("it holds {}, not a dictionary", pickle.root().what());
            return Err(Problem::refused(what, ADVICE));
        };
        let mut notes = Vec::new();
        let within = |place| find(pickle, top, place).map(|entries| (place, entries));
        let entries = match PLACES.into_iter().find_map(within) {
            Some((place, entries)) => {
                notes.push(format!("the tensors are those under {place:?}"));
                let others = |&&(key, _): &&(Id, Id)| pickle.text(key) != Some(place);
                notes.extend(left_out(pickle, top.iter().filter(others)));
                entries
            }
            None => top,
        };
        let mut views = read_views(pickle, entries)?;
        let others = |(_, id): &&(Id, Id)| !is_tensor(pickle.get(*id));
        notes.extend(left_out(pickle, entries.iter().filter(others)));
        if views.is_empty() {
            let what = "its dictionary has no tensor, nor has one under ";
            return Err(Problem::refused(format!("{what}{}", PLACES.join(", ")), ADVICE));
        }
        notes.extend(unwrap(&mut views));
        Ok(Self { views, notes })
    }

    /// The names of the storages of all tensors; one that is shared more than once.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.views.iter().map(View::key)
    }
}

/// The dictionary of tensors under this name.
fn find<'p>(pickle: &'p Pickle<'_>, top: &[(Id, Id)], place: &str) -> Option<&'p [(Id, Id)]> {
    let (_, value) = top.iter().find(|&&(key, _)| pickle.text(key) == Some(place))?;
    match pickle.get(*value) {
        Value::Dict(entries) if entries.iter().any(|&(_, id)| is_tensor(pickle.get(id))) => {
            Some(entries)
        }
        _ => None,
    }
}

fn read_views<'a>(pickle: &Pickle<'a>, entries: &[(Id, Id)]) -> Result<Vec<View<'a>>, Problem> {
    let (mut views, mut names) = (Vec::new(), HashSet::new());
    for &(key, id) in entries {
        let value = pickle.get(id);
        if !is_tensor(value) {
            continue;
        }
        let Some(name) = pickle.text(key) else {
            let what = format!("a tensor is called by {}, not by text", pickle.get(key).what());
            return Err(Problem::malformed(KIND, what));
        };
        if !names.insert(name) {
            let what = format!("two tensors are called {}", shown(name));
            return Err(Problem::malformed(KIND, what));
        }
        let found = names.len() as u64;
        if found > MOST_TENSORS {
            let what = "the number of tensors";
            return Err(Problem::Limit { what, found, most: MOST_TENSORS });
        }
        views.push(View::of(pickle, name, value)?);
    }
    Ok(views)
}

/// A note on what is not a tensor of the network.
fn left_out<'e>(
    pickle: &Pickle<'_>,
    entries: impl Iterator<Item = &'e (Id, Id)>,
) -> Option<String> {
    let mut entries = entries.peekable();
    entries.peek()?;
    let name = |&(key, value): &(Id, Id)| {
        let key = pickle.text(key).map_or_else(|| pickle.get(key).what().to_owned(), shown);
        format!("{key} ({})", pickle.get(value).what())
    };
    let named: Vec<_> = entries.by_ref().take(MOST_NAMED).map(name).collect();
    let more = match entries.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("left out: {}{more}", named.join(", ")))
}

/// Takes away what a wrapper put before the names, if it is before all of them.
fn unwrap(views: &mut [View<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    let wraps = |views: &[View<'_>], (prefix, _): (&str, &str)| {
        let inside =
            |view: &View<'_>| view.name().strip_prefix(prefix).is_some_and(|name| !name.is_empty());
        views.iter().all(inside)
    };
    for _ in 0..MOST_WRAPPED {
        let Some((prefix, wrapper)) = WRAPPERS.into_iter().find(|&by| wraps(views, by)) else {
            break;
        };
        views.iter_mut().for_each(|view| view.shorten(prefix.len()));
        notes.push(format!("every name began with {prefix:?}, of {wrapper}, which was taken away"));
    }
    notes
}
