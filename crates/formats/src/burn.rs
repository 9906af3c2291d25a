//! Burn's records, `.bpk`: a header of CBOR, and the numbers behind it, each tensor's at a multiple
//! of 256 bytes ([`burn-pack`](https://docs.rs/burn-pack/0.22.1/burn_pack/)).
//!
//! The crate `burn-pack` brings Burn's own types with it, and would let a header of 100 MB ask for
//! the same numbers 100,000 times.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::bytes::Cursor;
use crate::classes::of_metadata;
use crate::error::shown;
use crate::store::Part;
use crate::{Archive, ElementType, Kind, Problem, Tensor};

/// The kind of file, in messages.
const KIND: &str = "Burn";

/// The first bytes of a file: `BURN` as a number, the lowest byte first.
const MAGIC: &[u8] = b"NRUB";

/// The version of files that is read.
const VERSION: u16 = 1;

/// The place of each tensor is a multiple of this.
const ALIGNMENT: u64 = 256;

/// The most bytes of a header: about ten thousand tensors.
const MOST_HEADER: u64 = 1 << 20;

/// The most that a header may nest.
const MOST_DEPTH: usize = 16;

/// The most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;

/// The most items of a file's metadata that become notes.
const MOST_NOTES: usize = 20;

/// Returns true if bytes begin as a record does.
pub(crate) fn is_record(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads a record.
///
/// # Errors
///
/// [`Problem::Malformed`] if the header is not what it should be, or tensors overlap or reach
/// beyond the file; [`Problem::Limit`] for a header that is too large; [`Problem::Refused`] for
/// another version, and for quantised numbers.
pub(crate) fn read(file: &Part) -> Result<Archive, Problem> {
    let mut cursor = Cursor::over(KIND, file);
    cursor.take(MAGIC.len() as u64)?;
    let version = cursor.u16()?;
    if version != VERSION {
        let what = format!("it is of version {version}");
        let why = "only version 1 is read; save it again with Burn 0.22";
        return Err(Problem::refused(what, why));
    }
    let size = u64::from(cursor.u32()?);
    if size > MOST_HEADER {
        let what = "the size in bytes of the header";
        return Err(Problem::Limit { what, found: size, most: MOST_HEADER });
    }
    let header = cursor.take(size)?;
    let header: Header = ciborium::de::from_reader_with_recursion_limit(header, MOST_DEPTH)
        .map_err(|error| cursor.malformed(format!("its header is not valid: {}", reason(error))))?;
    // A file without tensors may end before the place where they would begin.
    let data = (cursor.position() as u64).next_multiple_of(ALIGNMENT);
    check_overlap(&header.tensors.0)?;
    let mut tensors = Vec::with_capacity(header.tensors.0.len());
    for (name, stored) in header.tensors.0 {
        tensors.push(stored.tensor(&mut cursor, data, name)?);
    }
    let items = header.metadata.iter().take(MOST_NOTES);
    let items = items.map(|(key, value)| (key.as_str(), value.as_str()));
    let (class_names, mut notes) = of_metadata(items);
    if header.scalars.is_some() {
        notes.push("left out: numbers that are no tensors".to_owned());
    }
    Ok(Archive { class_names, notes, ..Archive::new(Kind::Burn, tensors) })
}

/// Why CBOR cannot be read.
fn reason<E>(error: ciborium::de::Error<E>) -> String {
    use ciborium::de::Error;
    match error {
        Error::Io(_) => "it ends too early".to_owned(),
        Error::Syntax(at) => format!("it is not CBOR at byte {at}"),
        Error::Semantic(_, what) => shown(&what),
        Error::RecursionLimitExceeded => format!("it nests more than {MOST_DEPTH} deep"),
    }
}

/// Tensors that shared numbers could be more than the file.
fn check_overlap(tensors: &[(String, StoredTensor)]) -> Result<(), Problem> {
    let mut places: Vec<_> = tensors.iter().map(|(_, stored)| stored.data_offsets).collect();
    places.sort_unstable();
    if places.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err(Problem::malformed(KIND, "two tensors share bytes"));
    }
    Ok(())
}

/// The file's description of its tensors and of itself.
#[derive(serde::Deserialize)]
struct Header {
    tensors: Tensors,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    scalars: Option<IgnoredAny>,
}

/// Tensors by name, in the order of the file.
struct Tensors(Vec<(String, StoredTensor)>);

/// The file's description of a tensor.
#[derive(serde::Deserialize)]
struct StoredTensor {
    dtype: Type,
    shape: Shape,
    /// Where its bytes are, counted from the first tensor's place.
    data_offsets: (u64, u64),
}

impl StoredTensor {
    fn tensor(self, cursor: &mut Cursor<'_>, data: u64, name: String) -> Result<Tensor, Problem> {
        let dtype = self.dtype.known(&name)?;
        let (start, end) = self.data_offsets;
        let (Some(place), Some(size)) = (data.checked_add(start), end.checked_sub(start)) else {
            let what = format!("the tensor {} is from byte {start} to {end}", shown(&name));
            return Err(cursor.malformed(what));
        };
        cursor.seek(place)?;
        Tensor::new(KIND, name, self.shape.0, dtype, cursor.part(size)?)
    }
}

impl<'de> Deserialize<'de> for Tensors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TensorsVisitor)
    }
}

struct TensorsVisitor;

impl<'de> Visitor<'de> for TensorsVisitor {
    type Value = Tensors;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tensors, A::Error> {
        let (mut tensors, mut names) = (Vec::new(), HashSet::new());
        while let Some((name, stored)) = map.next_entry::<String, StoredTensor>()? {
            if !names.insert(name.clone()) {
                return Err(Error::custom(format_args!("{name} is there twice")));
            }
            tensors.push((name, stored));
        }
        Ok(Tensors(tensors))
    }
}

/// The sizes of a tensor, not too many of them.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MOST_DIMENSIONS} sizes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sizes: A) -> Result<Shape, A::Error> {
        let mut shape = Vec::new();
        while let Some(size) = sizes.next_element::<usize>()? {
            if shape.len() == MOST_DIMENSIONS {
                return Err(Error::invalid_length(MOST_DIMENSIONS + 1, &self));
            }
            shape.push(size);
        }
        Ok(Shape(shape))
    }
}

/// A type of numbers as Burn calls it: a name, or a name and how it is stored.
struct Type {
    name: String,
    /// The type in which truth values are stored.
    store: Option<String>,
}

impl Type {
    fn known(&self, tensor: &str) -> Result<ElementType, Problem> {
        Ok(match (self.name.as_str(), self.store.as_deref()) {
            ("F64", None) => ElementType::F64,
            // Burn's `Flex32` is one that may be computed with fewer bits.
            ("F32" | "Flex32", None) => ElementType::F32,
            ("F16", None) => ElementType::F16,
            ("BF16", None) => ElementType::Bf16,
            ("I64", None) => ElementType::I64,
            ("I32", None) => ElementType::I32,
            ("I16", None) => ElementType::I16,
            ("I8", None) => ElementType::I8,
            ("U64", None) => ElementType::U64,
            ("U32", None) => ElementType::U32,
            ("U16", None) => ElementType::U16,
            ("U8", None) => ElementType::U8,
            ("Bool", None) => ElementType::Bool,
            ("Bool", Some("Native" | "U8")) => ElementType::Bool,
            (name, _) => {
                let what = format!("the tensor {} is of type {}", shown(tensor), shown(name));
                let why = "only plain numbers are read; save the record before quantising it";
                return Err(Problem::refused(what, why));
            }
        })
    }
}

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TypeVisitor)
    }
}

struct TypeVisitor;

impl<'de> Visitor<'de> for TypeVisitor {
    type Value = Type;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a type of numbers")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Type, E> {
        Ok(Type { name: name.to_owned(), store: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Type, A::Error> {
        let name: String = map.next_key()?.ok_or_else(|| Error::custom("a type without a name"))?;
        let store = if name == "Bool" {
            Some(map.next_value()?)
        } else {
            map.next_value::<IgnoredAny>()?;
            None
        };
        match map.next_key::<IgnoredAny>()? {
            None => Ok(Type { name, store }),
            Some(_) => Err(Error::custom("a type with two names")),
        }
    }
}
