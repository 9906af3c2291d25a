//! Names of tensors, which are paths.

use fireclay_terminal::{counted, names};

use crate::error::{Holding, shown};
use crate::{Archive, Problem, WHOLE};

/// The most beginnings of names that an error lists.
const MOST_NAMED: usize = 10;

/// Returns the rest of a name that begins with a key and a dot or a slash.
pub(crate) fn below<'n>(name: &'n str, key: &str) -> Option<&'n str> {
    let rest = name.strip_prefix(key)?.strip_prefix(['.', '/'])?;
    (!rest.is_empty()).then_some(rest)
}

/// The tensors of a file whose names begin with a key, by the rest of their names.
///
/// # Errors
///
/// [`Problem::Refused`] if the file describes its network, which is one; [`Problem::NoKey`] if no
/// name begins so.
pub(crate) fn choose(mut archive: Archive, key: &str) -> Result<Archive, Problem> {
    if archive.network.is_some() {
        let what = format!("the key {} of a file that describes its one network", shown(key));
        return Err(Problem::refused(what, "leave the key out"));
    }
    if key == WHOLE {
        return Ok(archive);
    }
    let all = archive.tensors.len();
    let beginnings = beginnings(&archive);
    archive.tensors.retain_mut(|tensor| match below(&tensor.name, key) {
        Some(name) => {
            tensor.name = name.to_owned();
            true
        }
        None => false,
    });
    let left = all - archive.tensors.len();
    if archive.tensors.is_empty() {
        return Err(Problem::NoKey { key: key.to_owned(), found: beginnings });
    }
    let note = format!("the tensors are those below {}; {left} others are left out", shown(key));
    archive.notes.push(note);
    Ok(archive)
}

/// The first parts of the names of tensors.
fn beginnings(archive: &Archive) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for tensor in &archive.tensors {
        let first = tensor.name.split(['.', '/']).next().unwrap_or_default();
        if first.len() < tensor.name.len() && !found.iter().any(|known| known == first) {
            found.push(first.to_owned());
        }
        if found.len() == MOST_NAMED {
            break;
        }
    }
    found
}

/// The first of some holdings in words, and how many more of `count` there are.
pub(crate) fn listed(found: &[Holding], count: usize) -> String {
    let words = found.iter().map(|holding| {
        let matrix = match &holding.matrix {
            Some(shape) => format!(", the first matrix {shape:?}"),
            None => String::new(),
        };
        let tensors = counted(holding.tensors as u64, "tensor");
        format!("{} ({tensors}{matrix})", shown(&holding.key))
    });
    several(words, count)
}

/// The first of some texts, and how many more there are.
pub(crate) fn several(texts: impl Iterator<Item = String>, count: usize) -> String {
    let first: Vec<String> = texts.take(MOST_NAMED).collect();
    match count - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// The first of some names of classes, in messages, and how many more there are.
pub(crate) fn first(classes: &[String]) -> String {
    names(classes, 12)
}

/// A name without what would not be shown of it.
pub(crate) fn label(name: &str) -> String {
    name.chars().filter(|char| !char.is_control()).collect()
}
