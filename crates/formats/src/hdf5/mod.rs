//! The part of HDF5 that Keras and h5py write, out of bytes in memory.
//!
//! Written after the HDF Group's "HDF5 File Format Specification Version 3.0"; its section is named
//! at each structure. There are libraries for it: the C library needs a compiler and follows links
//! to other files, and those in Rust are many times larger than what a file of weights needs. What
//! is not read here is refused by name.
//!
//! A hostile file can describe cycles, and more data than it holds by pointing to the same bytes
//! many times. Both end at the sums of a [`Budget`], which every structure and every byte of data
//! is paid from.

mod attribute;
mod data;
mod group;
mod header;
mod types;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::Cursor;
use crate::error::shown;
use crate::numbers::Numbers;
use crate::store::{Part, most_unpacked};
use crate::{ElementType, Problem};

use fireclay_terminal::counted;
use group::Link;
use header::Message;

/// The name in messages.
const KIND: &str = "HDF5";

/// The first bytes of every HDF5 file.
pub(crate) const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

/// The address of what is not there.
const UNDEFINED: u64 = u64::MAX;

/// Groups within groups.
const MOST_DEPTH: usize = 32;

/// Bytes of a link's name.
const LONGEST_NAME: usize = 1024;

/// True if a fuzzer is at work, whose changes would never have the right checksum.
#[expect(unexpected_cfgs, reason = "cargo-fuzz sets it")]
const FUZZING: bool = cfg!(fuzzing);

/// A file, all of whose groups were visited.
pub(crate) struct File<'a> {
    source: Source<'a>,
    objects: BTreeMap<String, Object<'a>>,
}

/// A group or a dataset.
pub(crate) struct Object<'a> {
    messages: Vec<Message<'a>>,
}

/// An array of numbers, the lowest byte of each first.
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: ElementType,
    pub(crate) bytes: Numbers,
}

impl<'a> File<'a> {
    /// Visits all groups.
    ///
    /// # Errors
    ///
    /// A [`Problem`] if the file is damaged, or if any link leads elsewhere than to an object of
    /// its own.
    pub(crate) fn open(file: &'a Part) -> Result<Self, Problem> {
        let budget = Budget::new(file.size());
        let source = Source { file, budget, pairs_are_bfloat16: Cell::new(false) };
        let root = superblock(&source)?;
        let mut walk =
            GroupWalk { source: &source, seen: BTreeSet::new(), objects: BTreeMap::new() };
        walk.visit(root, String::new())?;
        Ok(Self { objects: walk.objects, source })
    }

    /// The paths of all objects but the root, such as `layers/dense/vars`, in order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.objects.keys().map(String::as_str).filter(|path| !path.is_empty())
    }

    /// The object of a path; that of the root is empty.
    pub(crate) fn object(&self, path: &str) -> Option<&Object<'a>> {
        self.objects.get(path)
    }

    /// Returns true if the object of a path is a dataset.
    pub(crate) fn is_dataset(&self, path: &str) -> bool {
        self.object(path).is_some_and(|object| object.message(header::LAYOUT).is_some())
    }

    /// The paths of what lies in the group of this path, at any depth.
    pub(crate) fn within(&self, path: &str) -> impl Iterator<Item = &str> {
        let start = if path.is_empty() { String::new() } else { format!("{path}/") };
        let paths = self.objects.range(start.clone()..).map(|(path, _)| path.as_str());
        paths.take_while(move |path| path.starts_with(&start)).filter(|path| !path.is_empty())
    }

    /// Takes two bytes without a meaning for a number of type bfloat16: of the types that Keras has,
    /// it is the only one of two bytes that HDF5 lacks, and Keras' older kind of file does not name it.
    pub(crate) fn take_pairs_for_bfloat16(&self) {
        self.source.pairs_are_bfloat16.set(true);
    }

    /// The numbers of a dataset.
    ///
    /// # Errors
    ///
    /// A [`Problem`] if there is no such dataset, if it is damaged, and if its numbers are of a
    /// type or stored in a way that is not read.
    pub(crate) fn array(&self, path: &str) -> Result<Array, Problem> {
        data::read(&self.source, self.dataset(path)?, path)
    }

    /// The type of a dataset's numbers, and its shape.
    ///
    /// # Errors
    ///
    /// As [`Self::array`].
    pub(crate) fn described(&self, path: &str) -> Result<(ElementType, Vec<usize>), Problem> {
        data::described(&self.source, self.dataset(path)?, path)
    }

    fn dataset(&self, path: &str) -> Result<&Object<'a>, Problem> {
        self.object(path).filter(|_| self.is_dataset(path)).ok_or_else(|| {
            Problem::malformed(KIND, format!("there is no dataset {} in it", shown(path)))
        })
    }

    /// The text of an attribute, if the object of this path has it.
    ///
    /// # Errors
    ///
    /// A [`Problem`] if it is damaged, or is something else than one text.
    pub(crate) fn text(&self, path: &str, name: &str) -> Result<Option<String>, Problem> {
        let Some(mut texts) = self.texts(path, name)? else { return Ok(None) };
        match (texts.pop(), texts.len()) {
            (Some(text), 0) => Ok(Some(text)),
            _ => Err(Problem::malformed(
                KIND,
                format!("attribute {name:?} of {} is not one text", shown(path)),
            )),
        }
    }

    /// The texts of an attribute, if the object of this path has it.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub(crate) fn texts(&self, path: &str, name: &str) -> Result<Option<Vec<String>>, Problem> {
        match self.object(path) {
            Some(object) => attribute::texts(&self.source, object, path, name),
            None => Ok(None),
        }
    }
}

impl<'a> Object<'a> {
    /// The first message of this type.
    fn message(&self, kind: u16) -> Option<&Message<'a>> {
        self.messages.iter().find(|message| message.kind == kind)
    }

    /// The data of the message of this type, which must be there.
    fn required(&self, kind: u16, what: &str, path: &str) -> Result<Cursor<'a>, Problem> {
        match self.message(kind) {
            Some(message) => message.data(what),
            None => Err(Problem::malformed(KIND, format!("{} has no {what}", shown(path)))),
        }
    }
}

/// The bytes of a file, and what reading them may still cost.
struct Source<'a> {
    file: &'a Part,
    budget: Budget,
    /// True if two bytes without a meaning are a number of type bfloat16.
    pairs_are_bfloat16: Cell<bool>,
}

impl<'a> Source<'a> {
    /// At an address.
    fn at(&self, address: u64) -> Result<Cursor<'a>, Problem> {
        let mut cursor = Cursor::over(KIND, self.file);
        cursor.seek(address)?;
        Ok(cursor)
    }

    /// The bytes of a block.
    fn block(&self, address: u64, size: u64) -> Result<&'a [u8], Problem> {
        self.at(address)?.take(size)
    }

    /// After a signature that must be there.
    fn signed(&self, address: u64, signature: &[u8; 4], what: &str) -> Result<Cursor<'a>, Problem> {
        let mut cursor = self.at(address)?;
        let found: [u8; 4] = cursor.array()?;
        if found == *signature {
            self.budget.step()?;
            return Ok(cursor);
        }
        let (found, expected) = (found.escape_ascii(), signature.escape_ascii());
        let what =
            format!("a {what} should be at byte {address}; it begins with {expected}, not {found}");
        Err(Problem::malformed(KIND, what))
    }
}

/// The remaining cost that reading a file may have.
struct Budget {
    steps: Cell<u64>,
    names: Cell<u64>,
    stored: Cell<u64>,
    made: Cell<u64>,
    size: u64,
}

impl Budget {
    /// Structures of any kind. A network of a thousand arrays has some ten thousand.
    const STEPS: u64 = 400_000;
    /// Bytes of the paths of all objects.
    const NAMES: u64 = 8 << 20;

    fn new(size: u64) -> Self {
        Self {
            steps: Cell::new(Self::STEPS),
            names: Cell::new(Self::NAMES),
            stored: Cell::new(Self::stored(size)),
            made: Cell::new(Self::made(size)),
            size,
        }
    }

    /// Bytes of data and texts that are stored. Arrays do not overlap; texts may be read twice.
    fn stored(size: u64) -> u64 {
        size.saturating_mul(2)
    }

    /// Bytes that each filter makes of chunks, and of the arrays made of them: three of each byte
    /// for shuffled and deflated ones.
    fn made(size: u64) -> u64 {
        most_unpacked(size).saturating_mul(3)
    }

    /// One more structure is looked at.
    fn step(&self) -> Result<(), Problem> {
        pay(&self.steps, 1, "the number of structures of the HDF5 file", Self::STEPS)
    }

    fn name(&self, bytes: usize) -> Result<(), Problem> {
        let what = "the number of bytes of all paths of the HDF5 file";
        pay(&self.names, bytes as u64, what, Self::NAMES)
    }

    fn read(&self, bytes: u64) -> Result<(), Problem> {
        let what = "the number of bytes that arrays of the HDF5 file share";
        pay(&self.stored, bytes, what, Self::stored(self.size))
    }

    fn make(&self, bytes: u64) -> Result<(), Problem> {
        pay(&self.made, bytes, "", Self::made(self.size)).map_err(|problem| match problem {
            Problem::Limit { found, most, .. } => {
                let how = "with h5py without compression, or with h5repack -f NONE";
                Problem::Unpacked { found: found / 3, most: most / 3, how }
            }
            other => other,
        })
    }
}

fn pay(purse: &Cell<u64>, cost: u64, what: &'static str, most: u64) -> Result<(), Problem> {
    match purse.get().checked_sub(cost) {
        Some(left) => {
            purse.set(left);
            Ok(())
        }
        None => {
            let found = (most - purse.get()).saturating_add(cost);
            Err(Problem::Limit { what, found, most })
        }
    }
}

/// The address of the root group. II.A, "Disk Format: Level 0A - Format Signature and Superblock".
fn superblock(source: &Source<'_>) -> Result<u64, Problem> {
    let mut cursor = source.at(0)?;
    if cursor.take(SIGNATURE.len() as u64)? != SIGNATURE {
        return Err(cursor.malformed("it does not begin with the signature of HDF5"));
    }
    let version = cursor.u8()?;
    let (base, end, root) = match version {
        0 | 1 => {
            cursor.take(4)?;
            sizes(&mut cursor)?;
            cursor.take(if version == 0 { 9 } else { 13 })?;
            let (base, _, end) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
            if cursor.u64()? != UNDEFINED {
                let why = "its arrays may lie in other files; save it as one file";
                return Err(Problem::refused("an HDF5 file with a driver block", why));
            }
            cursor.u64()?;
            (base, end, cursor.u64()?)
        }
        2 | 3 => {
            sizes(&mut cursor)?;
            cursor.u8()?;
            let (base, _, end, root) = (cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?);
            header::check(source, 0, 44)?;
            (base, end, root)
        }
        version => {
            let what = format!("its superblock has version {version}; 0 to 3 are known");
            return Err(cursor.malformed(what));
        }
    };
    if base != 0 {
        let why = "h5py writes addresses that begin with the file; save it again";
        return Err(Problem::refused(format!("an HDF5 file that begins at byte {base}"), why));
    }
    let present = source.file.size();
    if end > present {
        let end = counted(end, "byte");
        return Err(cursor.malformed(format!("its size is {end}, of which {present} are here")));
    }
    Ok(root)
}

/// The sizes of addresses and lengths, for which nobody writes anything but 8 bytes.
fn sizes(cursor: &mut Cursor<'_>) -> Result<(), Problem> {
    match (cursor.u8()?, cursor.u8()?) {
        (8, 8) => Ok(()),
        (offsets, lengths) => {
            let lengths = counted(lengths.into(), "byte");
            let what = format!("an HDF5 file with addresses of {offsets} and lengths of {lengths}");
            Err(Problem::refused(what, "only 8 are read, which is what h5py writes; save it again"))
        }
    }
}

/// A visit to all groups.
struct GroupWalk<'s, 'a> {
    source: &'s Source<'a>,
    seen: BTreeSet<u64>,
    objects: BTreeMap<String, Object<'a>>,
}

impl GroupWalk<'_, '_> {
    fn visit(&mut self, address: u64, path: String) -> Result<(), Problem> {
        if !self.seen.insert(address) {
            let why = "it may be its own ancestor; save each array under one name";
            return Err(Problem::refused(
                format!("a second link to one object, {}", shown(&path)),
                why,
            ));
        }
        let messages = header::messages(self.source, address)?;
        let object = Object { messages };
        let links = group::links(self.source, &object, &path)?;
        self.objects.insert(path.clone(), object);
        for Link { name, address } in links {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            if path.split('/').count() > MOST_DEPTH {
                let found = MOST_DEPTH as u64 + 1;
                let what = "the depth of groups in the HDF5 file";
                return Err(Problem::Limit { what, found, most: MOST_DEPTH as u64 });
            }
            self.source.budget.name(path.len())?;
            if self.objects.contains_key(&path) {
                return Err(Problem::malformed(
                    KIND,
                    format!("two objects are named {}", shown(&path)),
                ));
            }
            self.visit(address, path)?;
        }
        Ok(())
    }
}
