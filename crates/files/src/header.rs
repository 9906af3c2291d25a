//! The header of a safetensors file: a length, and as many bytes of JSON.
//!
//! The library wants the whole file in memory, and makes a tree and a table of all entries before
//! anybody can count them. Here entries are counted as they are met.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::{Dtype, ReadAt};

/// The key of what a file says of itself.
const METADATA: &str = "__metadata__";

/// Bytes before the JSON: its length.
const LENGTH: u64 = 8;

/// The most items that a file may say of itself.
const MOST_ITEMS: usize = 10_000;

/// The largest header that is read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes of JSON.
    pub bytes: u64,
    /// The most tensors.
    pub tensors: usize,
}

/// The metadata of a safetensors file and the places of its tensors, which fill the rest of it one
/// after the other.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// The file's metadata, if it has such an entry.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Its tensors, in the order of their bytes; those without any by name.
    pub tensors: Vec<Entry>,
}

/// The file's description of a tensor.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The type of its numbers.
    pub dtype: Dtype,
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// Where its bytes are in the file, as many as type and shape say.
    pub place: Range<u64>,
}

/// Why a header cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The file system says no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is shorter than the eight bytes that it begins with.
    #[error("it ends at byte {size}, within the length of a header")]
    TooShort {
        /// Bytes of the file.
        size: u64,
    },
    /// It begins otherwise than such a file does.
    #[error("no header follows its first eight bytes")]
    NoHeader,
    /// The header would reach beyond the end of the file.
    #[error("its header would have {length} bytes, and {left} are left")]
    Length {
        /// Bytes that the header would have.
        length: u64,
        /// Bytes of the file behind the length.
        left: u64,
    },
    /// More than is allowed of something.
    #[error("{what} is {found}; at most {most} is read")]
    Limit {
        /// The quantity that is counted.
        what: &'static str,
        /// The amount found, or one more than is allowed.
        found: u64,
        /// The amount allowed.
        most: u64,
    },
    /// It is not the JSON that it should be.
    #[error("its header is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// A tensor does not have as many bytes as it should, or not where the one before it ends.
    #[error("tensor {name:?} does not fill its place, bytes {start} to {end} of the data")]
    Place {
        /// The tensor, or the beginning of its name.
        name: String,
        /// Where it begins, according to the header.
        start: usize,
        /// Where it ends, according to the header.
        end: usize,
    },
    /// The tensors are not all of the data.
    #[error("its tensors have {found} bytes, and {left} follow the header")]
    Data {
        /// Bytes of all tensors.
        found: u64,
        /// Bytes behind the header.
        left: u64,
    },
}

impl Header {
    /// Reads the header of a file.
    ///
    /// # Errors
    ///
    /// A [`HeaderError`]: the limits are looked at before memory is taken.
    pub fn read(file: &dyn ReadAt, limits: Limits) -> Result<Self, HeaderError> {
        let size = file.size();
        let left = size.checked_sub(LENGTH).ok_or(HeaderError::TooShort { size })?;
        let mut length = [0; LENGTH as usize];
        file.read_exact_at(&mut length, 0)?;
        let length = u64::from_le_bytes(length);
        let mut first = [0; 1];
        if left > 0 {
            file.read_exact_at(&mut first, LENGTH)?;
        }
        // Not as JSON would have it, but as every writer does: nothing else looks like it.
        if first != *b"{" {
            return Err(HeaderError::NoHeader);
        }
        if length > limits.bytes {
            let what = "the size in bytes of the header";
            return Err(HeaderError::Limit { what, found: length, most: limits.bytes });
        }
        if length > left {
            return Err(HeaderError::Length { length, left });
        }
        let mut json = vec![0; length as usize];
        file.read_exact_at(&mut json, LENGTH)?;
        let mut stated = Stated { limits, ..Stated::default() };
        let mut deserializer = serde_json::Deserializer::from_slice(&json);
        let parsed = deserializer.deserialize_map(&mut stated).and_then(|()| deserializer.end());
        if let Some(what) = stated.beyond {
            let most = if what == TENSORS { limits.tensors } else { MOST_ITEMS } as u64;
            return Err(HeaderError::Limit { what, found: most + 1, most });
        }
        parsed?;
        stated.placed(LENGTH + length, size)
    }
}

const TENSORS: &str = "the number of tensors";
const ITEMS: &str = "the number of items of the metadata";

/// The statements of a header, as far as it has been read.
#[derive(Default)]
struct Stated {
    limits: Limits,
    metadata: Option<BTreeMap<String, String>>,
    tensors: Vec<(String, TensorInfo)>,
    /// The quantity of which there is too much.
    beyond: Option<&'static str>,
}

/// The statements of a header about a tensor.
#[derive(Deserialize)]
struct TensorInfo {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl Default for Limits {
    /// A header of a megabyte, of some ten thousand tensors.
    fn default() -> Self {
        Self { bytes: 1 << 20, tensors: 10_000 }
    }
}

impl Stated {
    /// The header, if each tensor begins where the one before ends, has as many bytes as it should,
    /// and the last one ends the file.
    fn placed(mut self, data: u64, size: u64) -> Result<Header, HeaderError> {
        self.tensors.sort_unstable_by(|(a, of_a), (b, of_b)| {
            (of_a.data_offsets, a).cmp(&(of_b.data_offsets, b))
        });
        let mut tensors = Vec::with_capacity(self.tensors.len());
        let mut at = 0;
        for (name, info) in self.tensors {
            let (start, end) = info.data_offsets;
            let count = info.shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
            let bits = count.and_then(|count| count.checked_mul(info.dtype.bits()));
            let bytes = bits.filter(|bits| bits.is_multiple_of(8)).map(|bits| bits / 8);
            if start != at || end < start || bytes != Some(end - start) {
                let name = name.chars().take(80).collect();
                return Err(HeaderError::Place { name, start, end });
            }
            at = end;
            let place = data.saturating_add(start as u64)..data.saturating_add(end as u64);
            tensors.push(Entry { name, dtype: info.dtype, shape: info.shape, place });
        }
        let (found, left) = (at as u64, size.saturating_sub(data));
        if found == left {
            Ok(Header { metadata: self.metadata, tensors })
        } else {
            Err(HeaderError::Data { found, left })
        }
    }
}

impl<'de> Visitor<'de> for &mut Stated {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                if self.metadata.is_some() {
                    return Err(twice(&name));
                }
                let mut items = Items::default();
                let read = map.next_value_seed(&mut items);
                if items.is_beyond {
                    self.beyond = Some(ITEMS);
                }
                read?;
                self.metadata = items.items;
                continue;
            }
            if self.tensors.len() == self.limits.tensors {
                self.beyond = Some(TENSORS);
                return Err(A::Error::custom(TENSORS));
            }
            let info = map.next_value::<TensorInfo>()?;
            if !names.insert(name.clone()) {
                return Err(twice(&name));
            }
            self.tensors.push((name, info));
        }
        Ok(())
    }
}

/// The error of a name that occurs a second time.
fn twice<E: serde::de::Error>(name: &str) -> E {
    let name: String = name.chars().take(80).collect();
    E::custom(format_args!("{name} is there twice"))
}

/// The metadata of a file, not too much of it and nothing twice; `null` is nothing.
#[derive(Default)]
struct Items {
    items: Option<BTreeMap<String, String>>,
    is_beyond: bool,
}

impl<'de> DeserializeSeed<'de> for &mut Items {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Items {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata: texts by name")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut items = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if items.len() == MOST_ITEMS {
                self.is_beyond = true;
                return Err(A::Error::custom(ITEMS));
            }
            if items.contains_key(&key) {
                return Err(twice(&key));
            }
            items.insert(key, value);
        }
        self.items = Some(items);
        Ok(())
    }
}

/// Counts the values in a JSON text, those within others and the names of fields included, without
/// making any of them; beyond `most` it stops. What takes more memory than a number counts for more:
/// a list as 4, an object as 20.
///
/// # Errors
///
/// That of a text that is not JSON, or nests too deep.
pub fn count_values(text: &str, most: u64) -> Result<u64, serde_json::Error> {
    let mut count = Count { found: 0, most };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let counted = count.deserialize(&mut deserializer);
    if count.found > most {
        return Ok(count.found);
    }
    counted?;
    deserializer.end()?;
    Ok(count.found)
}

struct Count {
    found: u64,
    most: u64,
}

impl Count {
    fn one<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.add(1)
    }

    fn add<E: serde::de::Error>(&mut self, count: u64) -> Result<(), E> {
        self.found += count;
        if self.found > self.most { Err(E::custom("too many values")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Count {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Count {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.one()
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.one()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.one()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.one()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.one()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.one()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.add(4)?;
        while items.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.add(20)?;
        while map.next_key_seed(&mut *self)?.is_some() {
            map.next_value_seed(&mut *self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes: 1000, tensors: 3 };

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn tensor(name: &str, start: usize, end: usize) -> String {
        let size = end - start;
        format!(r#""{name}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}"#)
    }

    fn read(tensors: &[String], data: usize) -> Result<Header, HeaderError> {
        Header::read(&file(&format!("{{{}}}", tensors.join(",")), &vec![0; data]), LIMITS)
    }

    #[test]
    fn tensors_come_in_the_order_of_their_bytes() {
        let header = read(&[tensor("b", 2, 3), tensor("a", 0, 2), tensor("c", 0, 0)], 3).unwrap();
        let names: Vec<_> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["c", "a", "b"]);
        let [first, .., last] = &header.tensors[..] else { panic!("{header:?}") };
        assert_eq!(last.place.end - first.place.start, 3);
        assert!(header.metadata.is_none());
    }

    #[test]
    fn each_way_to_be_wrong_has_its_own_error() {
        let of = |tensors: &[String], data| read(tensors, data).unwrap_err();
        assert!(matches!(of(&[tensor("a", 0, 2)], 3), HeaderError::Data { found: 2, left: 3 }));
        assert!(matches!(of(&[tensor("a", 1, 2)], 2), HeaderError::Place { start: 1, .. }));
        let shared = [tensor("a", 0, 2), tensor("b", 1, 2)];
        assert!(matches!(of(&shared, 2), HeaderError::Place { .. }));
        let twice = of(&[tensor("a", 0, 1), tensor("a", 1, 2)], 2).to_string();
        assert!(twice.contains("a is there twice"), "{twice}");
        let many: Vec<_> = (0..4).map(|i| tensor(&i.to_string(), i, i + 1)).collect();
        assert!(matches!(of(&many, 4), HeaderError::Limit { what: TENSORS, found: 4, most: 3 }));
        assert!(matches!(
            Header::read(&vec![0; 7], LIMITS),
            Err(HeaderError::TooShort { size: 7 })
        ));
        let of_file = |header: &str| Header::read(&file(header, b""), LIMITS).unwrap_err();
        assert!(matches!(
            of_file(&format!("{{{}", " ".repeat(1000))),
            HeaderError::Limit { found: 1001, .. }
        ));
        for header in ["", "[]", " {}"] {
            assert!(matches!(of_file(header), HeaderError::NoHeader), "{header}");
        }
        for header in ["{", "{}x", r#"{"__metadata__":{"a":"","a":""}}"#] {
            assert!(matches!(of_file(header), HeaderError::Json(_)), "{header}");
        }
        let mut cut = file("{}", b"");
        cut.pop();
        assert!(matches!(Header::read(&cut, LIMITS), Err(HeaderError::Length { .. })));
    }

    #[test]
    fn values_are_counted_as_far_as_needed() {
        let count = |text, most| count_values(text, most).ok();
        assert_eq!(count(r#"{"a":[1,2.5,-3,null,true],"b":"c"}"#, 100), Some(32));
        assert_eq!(count("[1,2,3,4", 5), Some(6), "the rest is not looked at");
        assert_eq!(count("[1,2", 100), None);
        assert_eq!(count("1 2", 100), None);
    }
}
