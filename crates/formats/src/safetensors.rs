//! Safetensors: a header of JSON, and the numbers behind it.
//!
//! The crate `safetensors` reads it and checks that the tensors fill the file, one after the other.

use std::collections::HashSet;
use std::fmt;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype as Stored;
use serde::Deserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};

use crate::bytes::Cursor;
use crate::error::{metadata_note, shown};
use crate::{Archive, Dtype, Kind, Layout, Problem, Tensor};

/// The kind of file, in messages.
const KIND: &str = "safetensors";

/// The most bytes of a header: about ten thousand tensors. Parsed, it is up to 50 times as large.
const MOST_HEADER: u64 = 1 << 20;

/// The most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;

/// How many items that a file says of itself become notes.
const MOST_NOTES: usize = 20;

/// Whether bytes begin as such a file does: the size of the header, and `{`.
pub(crate) fn is_safetensors(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, _, _, 0, 0, 0, b'{', ..])
}

/// Reads a safetensors file.
///
/// # Errors
///
/// [`Problem::Malformed`] if the header is not what it should be or the tensors do not fill the
/// file, [`Problem::Limit`] for a header or a shape that is too large, [`Problem::Refused`] for
/// numbers of a type that is not known.
pub(crate) fn read(bytes: &[u8]) -> Result<Archive, Problem> {
    let mut cursor = Cursor::new(KIND, bytes);
    let size = cursor.u64()?;
    if size > MOST_HEADER {
        let what = "the size in bytes of the header";
        return Err(Problem::Limit { what, found: size, most: MOST_HEADER });
    }
    let invalid =
        |what: &str| Problem::malformed(KIND, format!("its header is not valid: {}", shown(what)));
    let mut header = serde_json::Deserializer::from_slice(cursor.take(size)?);
    header.deserialize_map(DistinctKeys).map_err(|error| invalid(&error.to_string()))?;
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| invalid(&error.to_string()))?;
    let mut infos: Vec<_> = metadata.tensors().into_iter().collect();
    infos.sort_unstable_by(|(a, of_a), (b, of_b)| {
        (of_a.data_offsets, a).cmp(&(of_b.data_offsets, b))
    });
    let mut tensors = Vec::with_capacity(infos.len());
    for (name, info) in infos {
        let (start, end) = info.data_offsets;
        let numbers = cursor.take((end - start) as u64)?;
        if info.shape.len() > MOST_DIMENSIONS {
            let (found, most) = (info.shape.len() as u64, MOST_DIMENSIONS as u64);
            let what = "the number of dimensions of a tensor";
            return Err(Problem::Limit { what, found, most });
        }
        let dtype = dtype(&name, info.dtype)?;
        tensors.push(Tensor::new(KIND, name, info.shape.clone(), dtype, numbers.to_vec())?);
    }
    let said = metadata.metadata().as_ref();
    let is_torch = said.and_then(|said| said.get("format")).is_some_and(|format| format == "pt");
    let mut items: Vec<_> = said.into_iter().flatten().collect();
    items.sort_unstable();
    let notes = items.iter().take(MOST_NOTES).map(|(key, value)| metadata_note(key, value));
    Ok(Archive {
        layout: is_torch.then_some(Layout::OutIn),
        notes: notes.collect(),
        ..Archive::new(Kind::Safetensors, tensors)
    })
}

fn dtype(name: &str, stored: Stored) -> Result<Dtype, Problem> {
    Ok(match stored {
        Stored::F64 => Dtype::F64,
        Stored::F32 => Dtype::F32,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::Bf16,
        Stored::I64 => Dtype::I64,
        Stored::I32 => Dtype::I32,
        Stored::I16 => Dtype::I16,
        Stored::I8 => Dtype::I8,
        Stored::U64 => Dtype::U64,
        Stored::U32 => Dtype::U32,
        Stored::U16 => Dtype::U16,
        Stored::U8 => Dtype::U8,
        Stored::BOOL => Dtype::Bool,
        other => {
            let what = format!("the tensor {} is of type {other}", shown(name));
            let why = "only real numbers of 8 bits and more are read; convert it to F32";
            return Err(Problem::refused(what, why));
        }
    })
}

/// Looks at the keys alone: of two that are the same, the crate would silently take the last.
struct DistinctKeys;

impl<'de> Visitor<'de> for DistinctKeys {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some((key, IgnoredAny)) = map.next_entry::<String, _>()? {
            if keys.contains(&key) {
                return Err(Error::custom(format_args!("{key} is there twice")));
            }
            keys.insert(key);
        }
        Ok(())
    }
}
