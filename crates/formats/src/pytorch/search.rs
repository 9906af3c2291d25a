//! Where the tensors are in what a pickle built, and which of them are a network's.
//!
//! A checkpoint is a tree of dictionaries, lists and tuples. One that has tensors of its own, among
//! them a matrix of floats, may be the state of a network; the state of an optimizer, which has
//! matrices too, is known by its two keys and passed over.

use super::pickle::{ADVICE, Id, Pickle, Value};
use super::view::{View, is_tensor};
use crate::error::{Holding, limit};
use crate::names::below;
use crate::{Problem, WHOLE};

/// The most tensors of a state dictionary.
const MOST_TENSORS: u64 = 10_000;

/// The most values that are looked at for the tensors of one dictionary, in it and below.
const MOST_VISITED: u64 = 1_000_000;

/// The most collections in each other on the way to a tensor.
const DEEPEST: u64 = 64;

/// The most bytes of the name of a tensor, with the keys on the way to it.
const LONGEST_NAME: u64 = 1_000;

/// The most keys that are named.
const MOST_NAMED: usize = 10;

/// The most collections on the way to a network whose other items are named.
const LONGEST_WAY: usize = 16;

/// The key of an item of a collection.
#[derive(Clone, Copy)]
enum Key {
    Named(Id),
    At(usize),
}

/// A collection.
struct Place {
    id: Id,
    /// The place that it was first found in, and under what.
    above: Option<(usize, Key)>,
}

/// A place that has tensors of its own.
struct Holder {
    at: usize,
    tensors: usize,
    /// The shape of the first matrix of floats.
    matrix: Option<Vec<usize>>,
}

/// The tensors of a network, and where they were.
pub(super) struct Chosen {
    /// The keys on the way to them, joined by dots; none if they are all there is.
    pub(super) path: Option<String>,
    /// The collections on the way, the outermost first, and the item of each that was gone into.
    pub(super) way: Vec<(Id, Option<Id>)>,
    /// Tensors by their names.
    pub(super) tensors: Vec<(String, Id)>,
}

/// All collections, those that are nearer to the root first.
pub(super) struct Tree<'p, 'a> {
    pickle: &'p Pickle<'a>,
    places: Vec<Place>,
}

impl<'p, 'a> Tree<'p, 'a> {
    /// Finds all collections; each is visited once, however often it occurs.
    pub(super) fn of(pickle: &'p Pickle<'a>) -> Self {
        let mut places = vec![Place { id: pickle.root, above: None }];
        let mut is_found = vec![false; pickle.values.len()];
        is_found[pickle.root.0 as usize] = true;
        let mut at = 0;
        while let Some(place) = places.get(at) {
            for (key, id) in items(pickle, place.id) {
                let is_new = !std::mem::replace(&mut is_found[id.0 as usize], true);
                if is_new && is_collection(pickle.get(id)) {
                    places.push(Place { id, above: Some((at, key)) });
                }
            }
            at += 1;
        }
        Self { pickle, places }
    }

    /// The state of the network, or the tensors below a key.
    ///
    /// # Errors
    ///
    /// [`Problem::Refused`] if there is no tensor, [`Problem::Several`] if there are several
    /// networks, [`Problem::NoKey`] if nothing has that key.
    pub(super) fn choose(&self, key: Option<&str>) -> Result<Chosen, Problem> {
        let holders: Vec<_> = (0..self.places.len()).filter_map(|at| self.holder(at)).collect();
        if holders.is_empty() {
            return Err(self.no_tensor());
        }
        if let Some(key) = key {
            return self.below(key, &holders);
        }
        let networks: Vec<_> = holders.iter().filter(|holder| holder.matrix.is_some()).collect();
        match networks[..] {
            // Nothing to import, but something to look at.
            [] => match holders.iter().max_by_key(|holder| (holder.tensors, !holder.at)) {
                Some(holder) => self.chosen(holder.at),
                None => Err(self.no_tensor()),
            },
            [network] => self.chosen(network.at),
            _ => Err(Problem::Several {
                count: networks.len(),
                found: networks
                    .into_iter()
                    .take(MOST_NAMED)
                    .map(|each| self.holding(each))
                    .collect(),
            }),
        }
    }

    /// Returns the tensors of a place itself, if it has some.
    fn holder(&self, at: usize) -> Option<Holder> {
        let values = items(self.pickle, self.places[at].id);
        let tensors: Vec<_> =
            values.map(|(_, id)| self.pickle.get(id)).filter(|value| is_tensor(value)).collect();
        if tensors.is_empty() {
            return None;
        }
        let views = tensors.iter().map(|&value| View::of(self.pickle, String::new(), value));
        let matrix = views.filter_map(Result::ok).find(View::is_matrix);
        let matrix = matrix.map(|view| view.shape().to_vec());
        Some(Holder { at, tensors: tensors.len(), matrix })
    }

    /// Returns the choice that it offers.
    fn holding(&self, holder: &Holder) -> Holding {
        let Holder { at, tensors, ref matrix } = *holder;
        Holding { key: self.path(at), tensors, matrix: matrix.clone() }
    }

    fn chosen(&self, at: usize) -> Result<Chosen, Problem> {
        let mut way = vec![(self.places[at].id, None)];
        let mut place = &self.places[at];
        while let Some((above, _)) = place.above {
            if way.len() == LONGEST_WAY {
                break;
            }
            way.push((self.places[above].id, Some(place.id)));
            place = &self.places[above];
        }
        way.reverse();
        let path = (at > 0).then(|| self.path(at));
        Ok(Chosen { path, way, tensors: self.tensors(self.places[at].id, None)? })
    }

    /// The tensors below a key: by all keys on the way to them; else those of the only place that has
    /// this as its last key; else those of the only network that has names which begin so.
    fn below(&self, key: &str, holders: &[Holder]) -> Result<Chosen, Problem> {
        let only = (key != WHOLE).then_some(key);
        let tensors = self.tensors(self.pickle.root, only)?;
        if !tensors.is_empty() {
            return Ok(Chosen { path: Some(key.to_owned()), way: Vec::new(), tensors });
        }
        let called = (0..self.places.len()).filter(|&at| {
            let last = self.places[at].above.map(|(_, last)| last);
            last.and_then(|last| self.name(last)).is_some_and(|name| name == key)
        });
        let networks = holders.iter().filter(|holder| holder.matrix.is_some());
        let found = match self.only_one(called, None)? {
            Some(found) => Some(found),
            None => self.only_one(networks.map(|network| network.at), only)?,
        };
        found.ok_or_else(|| {
            let found = holders.iter().take(MOST_NAMED).map(|holder| self.path(holder.at));
            Problem::NoKey { key: key.to_owned(), found: found.collect() }
        })
    }

    /// The tensors of the only one of these places that has any, `only` below a key; of a few.
    fn only_one(
        &self,
        places: impl Iterator<Item = usize>,
        only: Option<&str>,
    ) -> Result<Option<Chosen>, Problem> {
        let mut chosen = None;
        for at in places.take(MOST_NAMED) {
            let tensors = self.tensors(self.places[at].id, only)?;
            if tensors.is_empty() {
                continue;
            }
            if chosen.is_some() {
                return Ok(None);
            }
            let path = match only {
                Some(key) if at > 0 => format!("{}.{key}", self.path(at)),
                Some(key) => key.to_owned(),
                None => self.path(at),
            };
            chosen = Some(Chosen { path: Some(path), way: Vec::new(), tensors });
        }
        Ok(chosen)
    }

    /// The tensors in a collection and in those that it has, by the keys on the way; `only` those
    /// below a key, by the rest of their names.
    fn tensors(&self, id: Id, only: Option<&str>) -> Result<Vec<(String, Id)>, Problem> {
        let mut walk =
            Walk { tree: self, only, name: String::new(), depth: 0, visited: 0, found: Vec::new() };
        walk.enter(id)?;
        Ok(walk.found)
    }

    fn name(&self, key: Key) -> Option<std::borrow::Cow<'a, str>> {
        match key {
            Key::Named(id) => self.pickle.key(id),
            Key::At(at) => Some(at.to_string().into()),
        }
    }

    /// The keys on the way to a place, joined by dots; of a way that is too long, its end.
    fn path(&self, at: usize) -> String {
        let (mut keys, mut length) = (Vec::new(), 0);
        let mut place = &self.places[at];
        while let Some((above, key)) = place.above {
            let key = self.name(key).unwrap_or("?".into());
            length += key.len() as u64 + 1;
            if length > LONGEST_NAME {
                keys.push("…".into());
                break;
            }
            keys.push(key);
            place = &self.places[above];
        }
        if keys.is_empty() {
            return WHOLE.to_owned();
        }
        keys.reverse();
        keys.join(".")
    }

    fn no_tensor(&self) -> Problem {
        let root = self.pickle.root();
        if !is_collection(root) {
            let what = format!("it holds {}, not a dictionary of tensors", root.what());
            return Problem::refused(what, ADVICE);
        }
        let mut values = self.pickle.values.iter();
        if values.any(|value| matches!(value, Value::Other(super::names::ARRAY))) {
            let why = "save them with numpy.savez(path, **arrays), or as tensors, with \
                       torch.from_numpy(array)";
            return Problem::refused("it has arrays of NumPy and no tensor", why);
        }
        Problem::refused(format!("there is no tensor in {}", root.what()), ADVICE)
    }
}

/// On the way through a collection and all that are in it.
struct Walk<'t, 'p, 'a> {
    tree: &'t Tree<'p, 'a>,
    only: Option<&'t str>,
    /// The keys on the way to here, joined by dots.
    name: String,
    depth: u64,
    visited: u64,
    found: Vec<(String, Id)>,
}

impl Walk<'_, '_, '_> {
    fn enter(&mut self, id: Id) -> Result<(), Problem> {
        self.depth += 1;
        limit("the number of collections in each other", self.depth, DEEPEST)?;
        let pickle = self.tree.pickle;
        // All are looked at, even if none is gone into.
        self.visited += 1 + length(pickle.get(id)) as u64;
        limit("the number of values in collections", self.visited, MOST_VISITED)?;
        for (key, id) in items(pickle, id) {
            let value = pickle.get(id);
            if !is_tensor(value) && !is_collection(value) {
                continue;
            }
            let Some(key) = self.tree.name(key) else { continue };
            let before = self.name.len();
            if before > 0 {
                self.name.push('.');
            }
            self.name.push_str(&key);
            if is_tensor(value) {
                self.take(id)?;
            } else {
                self.enter(id)?;
            }
            self.name.truncate(before);
        }
        self.depth -= 1;
        Ok(())
    }

    fn take(&mut self, id: Id) -> Result<(), Problem> {
        limit("the number of bytes of a tensor's name", self.name.len() as u64, LONGEST_NAME)?;
        let name = match self.only {
            Some(key) => below(&self.name, key),
            None => Some(self.name.as_str()),
        };
        if let Some(name) = name {
            limit("the number of tensors", self.found.len() as u64 + 1, MOST_TENSORS)?;
            self.found.push((name.to_owned(), id));
        }
        Ok(())
    }
}

fn is_collection(value: &Value<'_>) -> bool {
    matches!(value, Value::Dict(_) | Value::List(_) | Value::Tuple(_))
}

/// Returns the number of items of a collection.
fn length(value: &Value<'_>) -> usize {
    match value {
        Value::Dict(entries) => entries.len(),
        Value::List(items) | Value::Tuple(items) => items.len(),
        _ => 0,
    }
}

/// The items of a collection, but of none that is the state of an optimizer.
fn items<'p>(pickle: &'p Pickle<'_>, id: Id) -> Box<dyn Iterator<Item = (Key, Id)> + 'p> {
    match pickle.get(id) {
        Value::Dict(entries) if is_optimizer(pickle, entries) => Box::new(std::iter::empty()),
        Value::Dict(entries) => {
            Box::new(entries.iter().map(|&(key, value)| (Key::Named(key), value)))
        }
        Value::List(items) | Value::Tuple(items) => {
            Box::new(items.iter().enumerate().map(|(at, &item)| (Key::At(at), item)))
        }
        _ => Box::new(std::iter::empty()),
    }
}

/// Every optimizer of PyTorch has its state so.
fn is_optimizer(pickle: &Pickle<'_>, entries: &[(Id, Id)]) -> bool {
    let mut keys = ["param_groups", "state"].into_iter();
    keys.all(|name| entries.iter().any(|&(key, _)| pickle.text(key) == Some(name)))
}
