//! Groups: what they link to.

use crate::Problem;
use crate::bytes::Cursor;
use crate::error::{shown, shown_bytes};

use super::header::{LINK, LINK_INFO, SYMBOL_TABLE};
use super::{KIND, LONGEST_NAME, Object, Source, UNDEFINED};

/// A link to an object of the same file.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) address: u64,
}

/// The links of an object, none if it is no group.
pub(super) fn links(
    source: &Source<'_>,
    object: &Object<'_>,
    path: &str,
) -> Result<Vec<Link>, Problem> {
    let mut links = Vec::new();
    if let Some(table) = object.message(SYMBOL_TABLE) {
        let mut cursor = table.data("group")?;
        let (tree, heap) = (cursor.u64()?, cursor.u64()?);
        let names = local_heap(source, heap)?;
        leaves(source, tree, TreeKind::Group, &mut |_, child| {
            symbols(source, child, names, path, &mut links)
        })?;
    }
    if let Some(info) = object.message(LINK_INFO) {
        refuse_dense(info.data("group")?, 8, "group", path)?;
    }
    for message in object.messages.iter().filter(|message| message.kind == LINK) {
        links.push(link(message.data("link")?, path)?);
    }
    Ok(links)
}

/// Refuses links and attributes that lie in a fractal heap; `order` is the size of the highest
/// order of creation. IV.A.2.c, "The Link Info Message", and IV.A.2.v, "The Attribute Info Message".
pub(super) fn refuse_dense(
    mut cursor: Cursor<'_>,
    order: u64,
    what: &str,
    path: &str,
) -> Result<(), Problem> {
    cursor.u8()?;
    if cursor.u8()? & 1 != 0 {
        cursor.take(order)?;
    }
    if cursor.u64()? == UNDEFINED {
        return Ok(());
    }
    let what = format!("the {what} {}, which is stored in a fractal heap", shown(path));
    let why = "save it with h5py's default libver, or with fewer entries";
    Err(Problem::refused(what, why))
}

/// A tree of version 1. III.A.1, "Disk Format: Level 1A1 - Version 1 B-trees".
#[derive(Clone, Copy)]
pub(super) enum TreeKind {
    /// Of the symbols of a group.
    Group,
    /// Of the chunks of an array with this many dimensions, the bytes of an element among them.
    Chunks(u64),
}

/// Gives the key and the address of each leaf of a tree.
pub(super) fn leaves<'a>(
    source: &Source<'a>,
    address: u64,
    tree: TreeKind,
    each: &mut impl FnMut(Cursor<'a>, u64) -> Result<(), Problem>,
) -> Result<(), Problem> {
    node(source, address, tree, None, each)
}

/// As [`leaves`], of a node that must be at this level. Levels count down to the leaves, so that a
/// node is never within itself.
fn node<'a>(
    source: &Source<'a>,
    address: u64,
    tree: TreeKind,
    expected: Option<u8>,
    each: &mut impl FnMut(Cursor<'a>, u64) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let (kind, key_size) = match tree {
        TreeKind::Group => (0, 8),
        // The size, the filters left out, and an offset for each dimension.
        TreeKind::Chunks(dimensions) => (1, 8 + 8 * dimensions),
    };
    let mut cursor = source.signed(address, b"TREE", "B-tree")?;
    let (found, level, count) = (cursor.u8()?, cursor.u8()?, cursor.u16()?);
    if found != kind {
        let what = format!("the B-tree at byte {address} is of type {found}, not {kind}");
        return Err(cursor.malformed(what));
    }
    if let Some(expected) = expected
        && level != expected
    {
        let what = format!("the B-tree node at byte {address} is of level {level}, not {expected}");
        return Err(cursor.malformed(what));
    }
    // Its siblings are met from their parent.
    cursor.take(16)?;
    for _ in 0..count {
        source.budget.step()?;
        let key = Cursor::new(KIND, cursor.take(key_size)?);
        let child = cursor.u64()?;
        match level.checked_sub(1) {
            Some(below) => node(source, child, tree, Some(below), each)?,
            None => each(key, child)?,
        }
    }
    Ok(())
}

/// The names of a group's links. III.D, "Disk Format: Level 1D - Local Heaps".
fn local_heap<'a>(source: &Source<'a>, address: u64) -> Result<&'a [u8], Problem> {
    let mut cursor = source.signed(address, b"HEAP", "local heap")?;
    cursor.take(4)?;
    let (size, _, data) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
    source.block(data, size)
}

/// The links of a symbol table node. III.B, "Disk Format: Level 1B - Group Symbol Table Nodes".
fn symbols(
    source: &Source<'_>,
    address: u64,
    names: &[u8],
    path: &str,
    links: &mut Vec<Link>,
) -> Result<(), Problem> {
    let mut cursor = source.signed(address, b"SNOD", "symbol table node")?;
    cursor.take(2)?;
    for _ in 0..cursor.u16()? {
        source.budget.step()?;
        let (at, address, cache) = (cursor.u64()?, cursor.u64()?, cursor.u32()?);
        cursor.take(20)?;
        let mut heap = Cursor::new(KIND, names);
        heap.seek(at)?;
        let text = heap.take(heap.left().min(LONGEST_NAME + 1) as u64)?;
        let Some(end) = text.iter().position(|&byte| byte == 0) else {
            let what =
                format!("a name in {} does not end within {LONGEST_NAME} bytes", shown(path));
            return Err(Problem::malformed(KIND, what));
        };
        let name = name(&text[..end], path)?;
        // The type of what is kept with the entry: 2 is the text of a soft link.
        if cache == 2 {
            return Err(refuse_link("soft", &name, path));
        }
        links.push(Link { name, address });
    }
    Ok(())
}

/// A link of its own message. IV.A.2.g, "The Link Message".
fn link(mut cursor: Cursor<'_>, path: &str) -> Result<Link, Problem> {
    let version = cursor.u8()?;
    if version != 1 {
        return Err(
            cursor.malformed(format!("a link of {} has version {version}, not 1", shown(path)))
        );
    }
    let flags = cursor.u8()?;
    let kind = if flags & 8 != 0 { cursor.u8()? } else { 0 };
    if flags & 4 != 0 {
        cursor.u64()?;
    }
    if flags & 16 != 0 {
        cursor.u8()?;
    }
    let size = match flags & 3 {
        0 => cursor.u8()?.into(),
        1 => cursor.u16()?.into(),
        2 => cursor.u32()?.into(),
        _ => cursor.u64()?,
    };
    let name = name(cursor.take(size)?, path)?;
    match kind {
        0 => Ok(Link { name, address: cursor.u64()? }),
        1 => Err(refuse_link("soft", &name, path)),
        64 => Err(refuse_link("external", &name, path)),
        _ => Err(refuse_link("user-defined", &name, path)),
    }
}

/// A link's name, which is one part of a path.
fn name(bytes: &[u8], path: &str) -> Result<String, Problem> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| {
        let outside = ["", ".", ".."].contains(text);
        text.len() <= LONGEST_NAME && !outside && !text.contains('/') && !text.contains('\0')
    });
    text.map(str::to_owned).ok_or_else(|| {
        let name = shown_bytes(bytes, LONGEST_NAME);
        let what = format!("{name} in {} is no name of an object", shown(path));
        Problem::malformed(KIND, what)
    })
}

fn refuse_link(kind: &str, name: &str, path: &str) -> Problem {
    let why = "only objects of the file itself are read; copy the object to where the link is";
    let what = format!("{kind} link {} of {} in the HDF5 file", shown(name), shown(path));
    Problem::refused(what, why)
}
