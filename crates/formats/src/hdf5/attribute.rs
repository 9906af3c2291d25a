//! Attributes: texts that belong to an object.

use std::collections::BTreeMap;

use fireclay_terminal::counted;

use crate::Problem;
use crate::bytes::Cursor;
use crate::error::{shown, shown_bytes};

use super::header::{ATTRIBUTE, ATTRIBUTE_INFO};
use super::types::{Type, count, shape};
use super::{KIND, Object, Source, group};

/// An attribute, of which only the name was looked at.
struct Attribute<'a> {
    datatype: Cursor<'a>,
    dataspace: Cursor<'a>,
    data: Cursor<'a>,
}

/// The texts of an attribute, in a row.
pub(super) fn texts(
    source: &Source<'_>,
    object: &Object<'_>,
    path: &str,
    name: &str,
) -> Result<Option<Vec<String>>, Problem> {
    let Some(mut attribute) = find(source, object, path, name)? else { return Ok(None) };
    let Some(shape) = shape(attribute.dataspace)? else { return Ok(Some(Vec::new())) };
    let count = count(&shape)?;
    let mut heaps = BTreeMap::new();
    // An empty list is written as one of numbers.
    let datatype = Type::read(attribute.datatype)?;
    let mut texts = Vec::new();
    for _ in 0..count {
        let text = match datatype {
            Type::Text { size } => attribute.data.take(size as u64)?,
            Type::FarText => far_text(source, &mut attribute.data, &mut heaps)?,
            other => {
                let what =
                    format!("attribute {name:?} of {} is {}, not text", shown(path), other.name());
                return Err(Problem::malformed(KIND, what));
            }
        };
        source.budget.step()?;
        source.budget.read(text.len() as u64)?;
        // Filled with zeros, or ended by one.
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_| {
            Problem::malformed(KIND, format!("attribute {name:?} of {} is not UTF-8", shown(path)))
        })?;
        texts.push(text.to_owned());
    }
    Ok(Some(texts))
}

fn find<'a>(
    source: &Source<'a>,
    object: &Object<'a>,
    path: &str,
    name: &str,
) -> Result<Option<Attribute<'a>>, Problem> {
    if let Some(info) = object.message(ATTRIBUTE_INFO) {
        group::refuse_dense(info.data("list of attributes")?, 2, "attributes of", path)?;
    }
    for message in object.messages.iter().filter(|message| message.kind == ATTRIBUTE) {
        source.budget.step()?;
        let (found, attribute) = attribute(message.data("attribute")?)?;
        if found == name.as_bytes() {
            return attribute.map(Some);
        }
    }
    Ok(None)
}

/// The name of an attribute, and the rest of it unless that is shared. IV.A.2.m, "The Attribute
/// Message".
type Named<'a> = (&'a [u8], Result<Attribute<'a>, Problem>);

fn attribute(mut cursor: Cursor<'_>) -> Result<Named<'_>, Problem> {
    let (version, flags) = (cursor.u8()?, cursor.u8()?);
    let sizes = [cursor.u16()?, cursor.u16()?, cursor.u16()?].map(u64::from);
    match version {
        1 | 2 => {}
        3 => {
            cursor.u8()?;
        }
        _ => return Err(cursor.malformed(format!("an attribute has version {version}"))),
    }
    let [name, datatype, dataspace] = sizes.map(|size| part(&mut cursor, version, size));
    let (name, datatype, dataspace) = (name?, datatype?, dataspace?);
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    // In version 1 the flags are reserved.
    if version > 1 && flags != 0 {
        let what = format!("attribute {} of a shared type", shown_bytes(name, 80));
        let why = "h5py's defaults do not share them; save the file again";
        return Ok((name, Err(Problem::refused(what, why))));
    }
    let cursors = [datatype, dataspace].map(|bytes| Cursor::new(KIND, bytes));
    let [datatype, dataspace] = cursors;
    Ok((name, Ok(Attribute { datatype, dataspace, data: cursor })))
}

fn part<'a>(cursor: &mut Cursor<'a>, version: u8, size: u64) -> Result<&'a [u8], Problem> {
    let part = cursor.take(size)?;
    // Version 1 fills each part to a multiple of 8.
    if version == 1 {
        cursor.take(size.next_multiple_of(8) - size)?;
    }
    Ok(part)
}

/// The objects of a global heap, by their numbers.
type Heap<'a> = BTreeMap<u16, &'a [u8]>;

/// A text of the global heap. IV.B, "Disk Format: Level 2B - Data Object Data Storage".
fn far_text<'a>(
    source: &Source<'a>,
    cursor: &mut Cursor<'_>,
    heaps: &mut BTreeMap<u64, Heap<'a>>,
) -> Result<&'a [u8], Problem> {
    let (size, address, index) = (cursor.u32()?, cursor.u64()?, cursor.u32()?);
    if size == 0 {
        return Ok(&[]);
    }
    let heap = match heaps.entry(address) {
        std::collections::btree_map::Entry::Occupied(heap) => heap.into_mut(),
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(global_heap(source, address)?)
        }
    };
    let object = u16::try_from(index).ok().and_then(|index| heap.get(&index));
    let text = object.and_then(|object| object.get(..usize::try_from(size).ok()?));
    text.ok_or_else(|| {
        let size = counted(size.into(), "byte");
        let what = format!("the heap at byte {address} has no object {index} of {size}");
        Problem::malformed(KIND, what)
    })
}

/// The objects of a heap. III.E, "Disk Format: Level 1E - Global Heap".
fn global_heap<'a>(source: &Source<'a>, address: u64) -> Result<Heap<'a>, Problem> {
    let mut cursor = source.signed(address, b"GCOL", "global heap")?;
    cursor.take(4)?;
    // The size is that of the whole collection.
    let Some(size) = cursor.u64()?.checked_sub(16) else {
        return Err(cursor.malformed(format!("the heap at byte {address} has no room for itself")));
    };
    let mut cursor = Cursor::new(KIND, cursor.take(size)?);
    let mut objects = Heap::new();
    while cursor.left() >= 16 {
        source.budget.step()?;
        let index = cursor.u16()?;
        cursor.take(6)?;
        let size = cursor.u64()?;
        // The rest is free.
        if index == 0 {
            break;
        }
        let object = cursor.take(size)?;
        cursor.take((size.next_multiple_of(8) - size).min(cursor.left() as u64))?;
        objects.insert(index, object);
    }
    Ok(objects)
}
