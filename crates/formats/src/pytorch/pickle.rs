//! Pickles, as data.
//!
//! A pickle is a program that a machine with a stack runs to build an object
//! ([`pickletools`](https://github.com/python/cpython/blob/3.13/Lib/pickletools.py) explains each
//! instruction). Python's machine lets it call any function there is. This one knows only the
//! instructions that build plain data, has a short list of names that may occur, and calls nothing:
//! a call becomes a [`Value::Call`], which says what was to be called with what.
//!
//! Values refer to each other by number, so that one that is used a thousand times is there once,
//! one that contains itself is harmless, and nesting costs no stack, however deep.

use std::borrow::Cow;

use super::names::Global;

/// A number of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(pub(super) u32);

/// A value that a pickle builds.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// `None`.
    None,
    /// Yes or no.
    Flag(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// A number of floating point.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dictionary, in the order it was filled.
    Dict(Vec<(Id, Id)>),
    /// A name of the list.
    Global(Global),
    /// The result of a call of this name, which makes a tensor, with this tuple.
    Call(Global, Id),
    /// A storage that is kept outside the pickle under this tuple.
    Outside(Id),
    /// Data that no tensor needs, in words.
    Other(&'static str),
}

impl Value<'_> {
    /// In words, for messages.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Value::None => "nothing",
            Value::Flag(_) => "a flag",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::Global(_) => "a name",
            Value::Call(..) => "a tensor",
            Value::Outside(_) => "a storage",
            Value::Other(what) => what,
        }
    }
}

/// The values that a pickle has built.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    /// All values.
    pub(super) values: Vec<Value<'a>>,
    /// That of the whole pickle.
    pub(super) root: Id,
}

impl<'a> Pickle<'a> {
    /// The value of the whole pickle.
    pub(super) fn root(&self) -> &Value<'a> {
        self.get(self.root)
    }

    /// A value.
    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// The items of a tuple.
    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the name of a key of a dictionary: a text, or an integer.
    pub(super) fn key(&self, id: Id) -> Option<Cow<'a, str>> {
        match self.get(id) {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Int(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        }
    }

    /// Text.
    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A tuple of integers that count something.
    pub(super) fn counts(&self, id: Id) -> Option<Vec<usize>> {
        let counts = self.tuple(id)?.iter().map(|&id| usize::try_from(self.count(id)?).ok());
        counts.collect()
    }

    /// An integer that counts something.
    pub(super) fn count(&self, id: Id) -> Option<u64> {
        match self.get(id) {
            &Value::Int(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }
}

/// The remedy for a file that is refused.
pub(super) const ADVICE: &str = "only dictionaries of tensors and plain data are read, and nothing \
    is executed. If you trust the file, load it in Python and save its tensors alone: \
    torch.save(model.state_dict(), path)";
