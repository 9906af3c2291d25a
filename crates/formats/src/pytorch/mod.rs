//! Files of `torch.save`: a pickle, and the storages that its tensors are views of.
//!
//! Since PyTorch 1.6 it is a zip archive of `data.pkl`, `data/0`, `data/1` and so on. Before, and
//! with `_use_new_zipfile_serialization=False`, it is five pickles one after the other (a magic
//! number, a version, the machine, the object, the names of its storages) and then the storages
//! ([`torch/serialization.py`](https://github.com/pytorch/pytorch/blob/v2.9.0/torch/serialization.py)).

mod labels;
mod machine;
mod names;
mod pickle;
mod search;
mod state;
mod view;

use std::collections::HashMap;

use self::pickle::{Pickle, Value};
use self::state::State;
use self::view::Storage;
use crate::bytes::Cursor;
use crate::error::{shown, shown_bytes};
use crate::store::Part;
use crate::zipped::Zipped;
use crate::{Archive, Kind, Problem, foreign};
use fireclay_terminal::counted;

/// The kind of file, in messages.
const KIND: &str = "PyTorch";

/// The most bytes of all tensors, as a multiple of those of the file: tensors may share a storage.
const MOST_SHARING: u64 = 16;

/// The bytes that all tensors may have in the smallest file.
const LEAST_LIMIT: u64 = 16 << 20;

/// The magic number that a legacy file begins with, as the end of its pickle.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The version of legacy files.
const VERSION: u64 = 1001;

/// The pickle's name in an archive.
const PICKLE: &str = "data.pkl";

/// Returns true if an archive is one of PyTorch.
pub(crate) fn is_in(zipped: &Zipped<'_>) -> bool {
    zipped.names().iter().any(|name| folder(name).is_some())
}

/// Returns true if bytes begin as a legacy file, or any other pickle, does.
pub(crate) fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

/// The folder of all entries, if this is the pickle's name; files of PyTorch have one.
fn folder(name: &str) -> Option<&str> {
    name.strip_suffix(PICKLE).filter(|folder| folder.is_empty() || folder.ends_with('/'))
}

/// Reads an archive of PyTorch.
///
/// # Errors
///
/// [`Problem::Refused`] if its pickle is more than tensors and plain data; [`Problem::Malformed`]
/// and [`Problem::Limit`] if the file is not as PyTorch writes it.
pub(crate) fn read_zip(zipped: &Zipped<'_>, key: Option<&str>) -> Result<Archive, Problem> {
    let mut folders = zipped.names().iter().filter_map(|name| folder(name));
    let (Some(folder), None) = (folders.next(), folders.next()) else {
        return Err(Problem::malformed(KIND, format!("it has no {PICKLE}, or several")));
    };
    if zipped.names().iter().any(|name| name.strip_prefix(folder) == Some("constants.pkl")) {
        let what = "it is a program of TorchScript, from torch.jit.save";
        let why = "it comes with its own code; if you trust it, save its tensors in Python: \
                   torch.save(torch.jit.load(FILE).state_dict(), \"model.pt\")";
        return Err(Problem::refused(what, why));
    }
    let bytes = zipped.read(&format!("{folder}{PICKLE}"))?;
    let mut cursor = Cursor::new(KIND, &bytes);
    let pickle = machine::load(&mut cursor)?;
    expect_end(&cursor)?;
    let state = State::of(&pickle, key)?;
    let mut storages = HashMap::new();
    for key in state.keys() {
        if !storages.contains_key(key) {
            storages.insert(key, zipped.part(&format!("{folder}data/{key}"))?);
        }
    }
    archive(state, &storages, is_big_endian(zipped, folder)?, zipped.size())
}

/// Returns true if the numbers have their highest byte first; without a mark, they do not.
fn is_big_endian(zipped: &Zipped<'_>, folder: &str) -> Result<bool, Problem> {
    let name = format!("{folder}byteorder");
    if !zipped.names().contains(&name.as_str()) {
        return Ok(false);
    }
    match &*zipped.read(&name)? {
        b"little" => Ok(false),
        b"big" => Ok(true),
        other => {
            let order = shown_bytes(other, 16);
            Err(Problem::malformed(KIND, format!("its byteorder is {order}, not little or big")))
        }
    }
}

/// Reads a file of PyTorch before 1.6.
///
/// # Errors
///
/// As for [`read_zip`]; a pickle that is no file of PyTorch is [`Problem::Foreign`].
pub(crate) fn read_legacy(file: &Part, key: Option<&str>) -> Result<Archive, Problem> {
    let beginning = file.beginning()?;
    let Some(body) = after_magic(beginning) else {
        return Err(foreign::pickle(foreign::searched(file)?).into());
    };
    let mut cursor = Cursor::over(KIND, file);
    cursor.seek((beginning.len() - body.len()) as u64)?;
    let version = machine::load(&mut cursor)?;
    match version.root() {
        Value::Int(version) if u64::try_from(*version) == Ok(VERSION) => {}
        _ => return Err(cursor.malformed(format!("its version is not {VERSION}"))),
    }
    machine::load(&mut cursor)?; // the machine it was written on; storages are the same on all
    let pickle = machine::load(&mut cursor)?;
    let keys = machine::load(&mut cursor)?;
    let storages = legacy_storages(&mut cursor, &pickle, &keys)?;
    expect_end(&cursor)?;
    archive(State::of(&pickle, key)?, &storages, false, file.size())
}

/// Returns the bytes after the pickle of the magic number.
fn after_magic(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [0x80, 2..=5, rest @ ..] if rest.starts_with(MAGIC) => rest.strip_prefix(MAGIC),
        // From protocol 4 on a pickle may begin with its length.
        [0x80, 4 | 5, 0x95, _, _, _, _, _, _, _, _, rest @ ..] => rest.strip_prefix(MAGIC),
        _ => None,
    }
}

/// The storages behind the pickles: each a count of numbers, and the numbers.
fn legacy_storages<'a>(
    cursor: &mut Cursor<'a>,
    pickle: &Pickle<'a>,
    keys: &Pickle<'a>,
) -> Result<HashMap<&'a str, Part>, Problem> {
    let mut widths = HashMap::new();
    for value in &pickle.values {
        if let Value::Outside(id) = value {
            let storage = Storage::of(pickle, *id)
                .ok_or_else(|| cursor.malformed("it refers to something that is no storage"))?;
            let (key, width) = (storage.key, storage.width);
            if widths.insert(key, width).is_some_and(|other| other != width) {
                let what = format!("the storage {} is of two types", shown(storage.key));
                return Err(cursor.malformed(what));
            }
        }
    }
    let Value::List(ids) = keys.root() else {
        return Err(cursor.malformed("the names of its storages are not a list"));
    };
    let mut storages = HashMap::new();
    for &id in ids {
        let key = keys.text(id).and_then(|key| Some((key, *widths.get(key)?)));
        let Some((key, width)) = key else {
            return Err(cursor.malformed("it has a storage that no tensor refers to"));
        };
        let size = cursor.u64()?.checked_mul(width);
        // Such a count is beyond the file in any case, which is then what the message says.
        let bytes = cursor.part(size.unwrap_or(u64::MAX))?;
        if storages.insert(key, bytes).is_some() {
            return Err(cursor.malformed(format!("the storage {} is there twice", shown(key))));
        }
    }
    Ok(storages)
}

fn expect_end(cursor: &Cursor<'_>) -> Result<(), Problem> {
    match cursor.left() {
        0 => Ok(()),
        left => {
            Err(cursor
                .malformed(format!("its end is followed by {}", counted(left as u64, "byte"))))
        }
    }
}

/// Takes the tensors out of their storages; `length` is that of the file.
fn archive(
    state: State<'_>,
    storages: &HashMap<&str, Part>,
    reversed: bool,
    length: u64,
) -> Result<Archive, Problem> {
    let sizes = state.views.iter().map(|view| view.size().unwrap_or(usize::MAX) as u64);
    let found = sizes.fold(0, u64::saturating_add);
    let most = length.saturating_mul(MOST_SHARING).max(LEAST_LIMIT);
    if found > most {
        return Err(Problem::Limit { what: "the size in bytes of all tensors", found, most });
    }
    let mut tensors = Vec::with_capacity(state.views.len());
    for view in &state.views {
        let Some(storage) = storages.get(view.key()) else {
            let what = format!("the storage {} is missing", shown(view.key()));
            return Err(Problem::malformed(KIND, what));
        };
        tensors.push(view.tensor(storage, reversed)?);
    }
    let State { notes, class_names, .. } = state;
    Ok(Archive { class_names, notes, ..Archive::new(Kind::PyTorch, tensors) })
}
