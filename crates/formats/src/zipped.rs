//! The entries of a zip archive, in which PyTorch, Keras and NumPy keep what they write.
//!
//! Of zip ([APPNOTE 6.3.10](https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT)) this takes
//! what these programs write: one archive, whose directory is the end of the file, of entries that
//! are stored or deflated. The crate `zip` looks for a directory in other places too, so that two
//! readers may see two archives, and keeps all that a directory says of an entry, however much that
//! is; neither is wanted for the files of strangers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use fireclay_terminal::counted;
use flate2::Crc;

use crate::Problem;
use crate::bytes::Cursor;
use crate::error::shown;
use crate::store::{MOST_KEPT, Part, most_unpacked};

/// The most entries of an archive.
const MOST_ENTRIES: u64 = 10_000;

/// The most bytes of the name of an entry.
const LONGEST_NAME: usize = 1000;

/// True if a fuzzer is at work, whose changes would never have the right checksum.
#[expect(unexpected_cfgs, reason = "cargo-fuzz sets it")]
const FUZZING: bool = cfg!(fuzzing);

/// The signatures of an entry at its bytes, of one in the directory, and of the directory's end.
const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END64: &[u8] = b"PK\x06\x06";
const LOCATOR64: &[u8] = b"PK\x06\x07";

/// Bytes of [`END`], of [`END64`] and of [`LOCATOR64`], their signatures included.
const END_LENGTH: usize = 22;
const END64_LENGTH: usize = 56;
const LOCATOR64_LENGTH: usize = 20;

/// A 32-bit size or offset that stands in the extra field of 64 bits instead.
const ELSEWHERE: u64 = 0xffff_ffff;

/// An archive whose directory has been read and found consistent.
#[derive(Debug)]
pub(crate) struct Zipped<'a> {
    kind: &'static str,
    file: &'a Part,
    names: Vec<&'a str>,
    entries: HashMap<&'a str, Entry>,
}

/// Where an entry is and how it is packed.
#[derive(Debug)]
struct Entry {
    /// From its own header on.
    place: Range<u64>,
    /// Its packed bytes.
    data: Range<u64>,
    deflated: bool,
    size: u64,
    crc: u32,
}

/// Returns true if these bytes begin as a zip archive does.
pub(crate) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCAL)
}

impl<'a> Zipped<'a> {
    /// Reads the directory of an archive; `kind` is what messages call the file.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] if it is cut off, contradicts itself, or has entries that overlap or
    /// share a name; [`Problem::Limit`] if it has more entries, or they more bytes, than is
    /// allowed; [`Problem::Refused`] for a name that leaves the archive, for encryption, and for a
    /// compression other than Deflate.
    pub(crate) fn open(kind: &'static str, file: &'a Part) -> Result<Self, Problem> {
        let directory = Directory::find(kind, file)?;
        if directory.entries > MOST_ENTRIES {
            let what = "the number of entries of the zip archive";
            return Err(Problem::Limit { what, found: directory.entries, most: MOST_ENTRIES });
        }
        let Range { start, end } = directory.place;
        let mut cursor = Cursor::over(kind, file).until(end);
        cursor.seek(start as u64)?;
        let before = Cursor::over(kind, file).until(start);
        let (mut names, mut entries) = (Vec::new(), HashMap::new());
        for _ in 0..directory.entries {
            let (name, entry) = read_entry(kind, &mut cursor, before.clone())?;
            names.push(name);
            if entries.insert(name, entry).is_some() {
                return Err(cursor.malformed(format!("two entries are called {}", shown(name))));
            }
        }
        if cursor.left() > 0 {
            return Err(cursor.malformed("its directory has bytes after the last entry"));
        }
        let zipped = Self { kind, file, names, entries };
        zipped.check_overlap()?;
        zipped.check_size()?;
        Ok(zipped)
    }

    /// The names of the entries, in the order of the directory.
    pub(crate) fn names(&self) -> &[&'a str] {
        &self.names
    }

    /// Bytes of the archive itself.
    pub(crate) fn size(&self) -> u64 {
        self.file.size()
    }

    /// The bytes of an entry that describes something, unpacked and compared with their checksum.
    ///
    /// # Errors
    ///
    /// As [`Self::part`], and [`Problem::Limit`] if there are more than such an entry has.
    pub(crate) fn read(&self, name: &str) -> Result<Cow<'a, [u8]>, Problem> {
        let part = self.part(name)?;
        let (what, found) = ("the size in bytes of an entry that is no tensor", part.size());
        if found > MOST_KEPT {
            return Err(Problem::Limit { what, found, most: MOST_KEPT });
        }
        match self.entries.get(name) {
            Some(entry) if !entry.deflated => {
                Ok(Cow::Borrowed(self.file.keep(entry.data.clone())?))
            }
            _ => Ok(Cow::Owned(part.read()?)),
        }
    }

    /// An entry, which is compared with its checksum and not kept in memory.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] if there is no such entry, or it is not as its header says.
    pub(crate) fn part(&self, name: &str) -> Result<Part, Problem> {
        let entry = self.entries.get(name).ok_or_else(|| self.malformed(name, "is missing"))?;
        let part = self.file.part(entry.data.clone());
        let part = part.ok_or_else(|| self.malformed(name, "is beyond its end"))?;
        let mut crc = Crc::new();
        let part = if entry.deflated {
            check_inflated(&part, entry.size, &mut crc)
                .map_err(|what| self.malformed(name, &what))?;
            part.inflated(entry.size)
        } else {
            part.pieces(&mut |piece| crc.update(piece))?;
            part
        };
        if crc.sum() == entry.crc || FUZZING {
            Ok(part)
        } else {
            Err(self.malformed(name, "does not have its checksum: it is damaged"))
        }
    }

    fn malformed(&self, name: &str, what: &str) -> Problem {
        let what = format!("the entry {} of the zip archive {what}", shown(name));
        Problem::malformed(self.kind, what)
    }

    /// An entry inside another would be unpacked more often than its bytes are paid for.
    fn check_overlap(&self) -> Result<(), Problem> {
        let mut places: Vec<_> = self.entries.values().map(|entry| entry.place.clone()).collect();
        places.sort_unstable_by_key(|place| place.start);
        if places.windows(2).any(|pair| pair[0].end > pair[1].start) {
            return Err(Problem::malformed(self.kind, "two entries share bytes"));
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), Problem> {
        let found = self.entries.values().fold(0, |sum: u64, entry| sum.saturating_add(entry.size));
        let most = most_unpacked(self.file.size());
        if found <= most {
            return Ok(());
        }
        let is_numpy = self.names.iter().any(|name| name.ends_with(".npy"));
        let how = if is_numpy {
            "with numpy.savez and not numpy.savez_compressed"
        } else {
            "with zip -0, or with the program that it comes from"
        };
        Err(Problem::Unpacked { found, most, how })
    }
}

/// Where the directory is, and how many entries it has.
struct Directory {
    place: Range<usize>,
    entries: u64,
}

impl Directory {
    /// Finds the directory by the record that ends the file.
    fn find(kind: &'static str, file: &Part) -> Result<Self, Problem> {
        let Some((end, mut cursor)) = before(kind, file, file.size() as usize, END_LENGTH, END)?
        else {
            let what = "the record that ends a zip archive is not its last 22 bytes: it was cut off, \
                        or something was added to it";
            return Err(Problem::malformed(kind, what));
        };
        let disks = (cursor.u16()?, cursor.u16()?);
        let (here, entries) = (u64::from(cursor.u16()?), u64::from(cursor.u16()?));
        let (size, start) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
        let comment = cursor.u16()?;
        if disks != (0, 0) || here != entries || comment != 0 {
            let what = "it is one of several volumes, or has a comment";
            return Err(Problem::malformed(kind, what));
        }
        let Some(end64) = End64::find(kind, file, end)? else {
            return Self::of(kind, size, start, entries, end);
        };
        if agrees(entries, 0xffff, end64.entries)
            && agrees(size, ELSEWHERE, end64.size)
            && agrees(start, ELSEWHERE, end64.start)
        {
            return Self::of(kind, end64.size, end64.start, end64.entries, end64.at);
        }
        Err(Problem::malformed(kind, "the two records at its end do not agree"))
    }

    /// The directory, which must end where the record at `end` begins.
    fn of(
        kind: &'static str,
        size: u64,
        start: u64,
        entries: u64,
        end: usize,
    ) -> Result<Self, Problem> {
        match usize::try_from(start) {
            Ok(from) if start.checked_add(size) == Some(end as u64) => {
                Ok(Self { place: from..end, entries })
            }
            _ => {
                let what = format!(
                    "its directory of {} at byte {start} should end at byte {end}",
                    counted(size, "byte")
                );
                Err(Problem::malformed(kind, what))
            }
        }
    }
}

/// Where a record of this length begins that ends at `end`, if it has this signature; and a cursor
/// behind that.
fn before<'a>(
    kind: &'static str,
    file: &'a Part,
    end: usize,
    length: usize,
    signature: &[u8],
) -> Result<Option<(usize, Cursor<'a>)>, Problem> {
    let Some(at) = end.checked_sub(length) else { return Ok(None) };
    let mut cursor = Cursor::over(kind, file).until(end);
    cursor.seek(at as u64)?;
    let is_there = cursor.take(signature.len() as u64)? == signature;
    Ok(is_there.then_some((at, cursor)))
}

/// The content of the record of 64 bits, and its place.
struct End64 {
    at: usize,
    entries: u64,
    size: u64,
    start: u64,
}

impl End64 {
    /// The record, if one stands before the other at `end`.
    fn find(kind: &'static str, file: &Part, end: usize) -> Result<Option<Self>, Problem> {
        let found = before(kind, file, end, LOCATOR64_LENGTH, LOCATOR64)?;
        let Some((locator, mut cursor)) = found else { return Ok(None) };
        let (disk, offset, disks) = (cursor.u32()?, cursor.u64()?, cursor.u32()?);
        let found = before(kind, file, locator, END64_LENGTH, END64)?;
        let found = found.filter(|&(at, _)| at as u64 == offset);
        let (Some((at, mut cursor)), 0, 0 | 1) = (found, disk, disks) else {
            return Err(cursor.malformed("its record of 64-bit sizes is not where it should be"));
        };
        cursor.take(12)?; // the size of this record, and versions
        let disks = (cursor.u32()?, cursor.u32()?);
        let (here, entries) = (cursor.u64()?, cursor.u64()?);
        let (size, start) = (cursor.u64()?, cursor.u64()?);
        if disks != (0, 0) || here != entries {
            return Err(cursor.malformed("it is one of several volumes"));
        }
        Ok(Some(Self { at, entries, size, start }))
    }
}

/// Reads an entry of the directory, and its own header in `before`, the bytes before the directory.
fn read_entry<'a>(
    kind: &'static str,
    cursor: &mut Cursor<'a>,
    before: Cursor<'a>,
) -> Result<(&'a str, Entry), Problem> {
    signature(cursor, CENTRAL)?;
    cursor.take(4)?; // versions
    let (flags, method) = (cursor.u16()?, cursor.u16()?);
    cursor.take(4)?; // time and date
    let crc = cursor.u32()?;
    let (packed, size) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
    let (name, extra, comment) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
    cursor.take(8)?; // disk and attributes
    let offset = u64::from(cursor.u32()?);
    let name = entry_name(kind, cursor.take(u64::from(name))?)?;
    let extra = cursor.take(u64::from(extra))?;
    cursor.take(u64::from(comment))?;
    let [size, packed, offset] = sizes64(kind, extra, [size, packed, offset])?;
    let deflated = deflated(name, flags, method)?;
    if !deflated && packed != size {
        return Err(contradiction(cursor, name));
    }
    let header = Local { flags, method, crc, packed, size };
    let (place, data) = header.find(before, offset, name)?;
    Ok((name, Entry { place, data, deflated, size, crc }))
}

/// The facts of the directory that the header before an entry's bytes must repeat.
struct Local {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
}

impl Local {
    /// The bytes of the entry at `offset`, with and without its header.
    fn find(
        &self,
        mut cursor: Cursor<'_>,
        offset: u64,
        name: &str,
    ) -> Result<(Range<u64>, Range<u64>), Problem> {
        cursor.seek(offset)?;
        let start = cursor.position() as u64;
        signature(&mut cursor, LOCAL)?;
        cursor.take(2)?; // version
        let (flags, method) = (cursor.u16()?, cursor.u16()?);
        cursor.take(4)?; // time and date
        let crc = cursor.u32()?;
        let (packed, size) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
        let (name_length, extra) = (cursor.u16()?, cursor.u16()?);
        let called = cursor.take(u64::from(name_length))?;
        cursor.take(u64::from(extra))?;
        // A program that did not know them yet writes them after the bytes, where they are only a
        // repetition of the directory.
        let known = self.flags & 8 == 0;
        if called != name.as_bytes()
            || (flags, method) != (self.flags, self.method)
            || (known && crc != self.crc)
            || (known && !agrees(packed, ELSEWHERE, self.packed))
            || (known && !agrees(size, ELSEWHERE, self.size))
        {
            return Err(contradiction(&cursor, name));
        }
        let from = cursor.position() as u64;
        cursor.skip(self.packed)?;
        let end = cursor.position() as u64;
        Ok((start..end, from..end))
    }
}

fn contradiction(cursor: &Cursor<'_>, name: &str) -> Problem {
    let what = format!(
        "what the zip archive's directory says of {} and what stands before its bytes do not agree",
        shown(name)
    );
    cursor.malformed(what)
}

fn signature(cursor: &mut Cursor<'_>, expected: &[u8]) -> Result<(), Problem> {
    let at = cursor.position();
    if cursor.take(expected.len() as u64)? == expected {
        return Ok(());
    }
    Err(cursor.malformed(format!("no entry of the zip archive begins at byte {at}")))
}

/// A name that says a place inside the archive.
fn entry_name<'a>(kind: &'static str, name: &'a [u8]) -> Result<&'a str, Problem> {
    if name.len() > LONGEST_NAME {
        let (what, found) = ("the size in bytes of the name of an entry", name.len() as u64);
        return Err(Problem::Limit { what, found, most: LONGEST_NAME as u64 });
    }
    let Ok(name) = std::str::from_utf8(name) else {
        return Err(Problem::malformed(kind, "the name of an entry is not UTF-8"));
    };
    let outside = name.is_empty()
        || name.starts_with('/')
        || name.contains('\\')
        || name.chars().any(char::is_control)
        || name.split('/').any(|part| part == "..");
    if outside {
        let what = format!("an entry of the zip archive is called {}", shown(name));
        return Err(Problem::refused(what, "it is no place inside the archive"));
    }
    Ok(name)
}

/// Size, packed size and offset, with those that are [`ELSEWHERE`] from the extra field.
fn sizes64(kind: &'static str, extra: &[u8], mut sizes: [u64; 3]) -> Result<[u64; 3], Problem> {
    if !sizes.contains(&ELSEWHERE) {
        return Ok(sizes);
    }
    let mut fields = Cursor::new(kind, extra);
    while fields.left() > 0 {
        let (id, length) = (fields.u16()?, fields.u16()?);
        let mut field = Cursor::new(kind, fields.take(u64::from(length))?);
        if id == 1 {
            for size in sizes.iter_mut().filter(|size| **size == ELSEWHERE) {
                *size = field.u64()?;
            }
            return Ok(sizes);
        }
    }
    Err(fields.malformed("an entry has 64-bit sizes and does not say which"))
}

/// Returns true if a size is what the record of 64 bits says, or says by `most` that it stands
/// there.
fn agrees(small: u64, most: u64, large: u64) -> bool {
    small == most || small == large
}

/// Returns true if an entry is deflated, false if it is stored.
fn deflated(name: &str, flags: u16, method: u16) -> Result<bool, Problem> {
    // Bit 0: encrypted; bit 5: a patch of another file; bit 6: strongly encrypted; bit 13: masked.
    let what = match method {
        _ if flags & 0x2061 != 0 => "is encrypted or a patch".to_owned(),
        0 => return Ok(false),
        8 => return Ok(true),
        _ => format!("is compressed by method {method}"),
    };
    let why = "entries are stored or deflated and not encrypted; write the file again with the \
               program it comes from";
    Err(Problem::refused(format!("the entry {} {what}", shown(name)), why))
}

/// Unpacks exactly `size` bytes, which are summed and not kept.
fn check_inflated(packed: &Part, size: u64, crc: &mut Crc) -> Result<(), String> {
    if !packed.may_inflate(size) {
        return Err(format!("cannot unpack to {}", counted(size, "byte")));
    }
    let unpacked = packed.inflate(size, &mut |piece| crc.update(piece));
    match unpacked.map_err(|error| format!("cannot be unpacked: {error}"))? {
        (found, taken) if found == size && taken == packed.size() => Ok(()),
        _ => Err(format!("does not unpack to the {} that its header says", counted(size, "byte"))),
    }
}
