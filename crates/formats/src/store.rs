//! The bytes of a file: in memory, or on disk and read where they are needed.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use fireclay_files::{ReadAt, RegularFile, Stretch};
use flate2::bufread::DeflateDecoder;

use crate::Problem;

/// The bytes that a compressed file may always unpack to, and those up to which it may unpack to
/// [`MOST_EXPANSION`] times its own.
const ALWAYS_UNPACKED: u64 = 32 << 20;
const LEAST_UNPACKED: u64 = 128 << 20;

/// The most bytes that a small compressed file unpacks to, as a multiple of its own: numbers hardly
/// compress, but a network that is pruned to 1 % does to about a fiftieth.
const MOST_EXPANSION: u64 = 64;

/// The same of any file: a network that is pruned to 6 % compresses to about this.
const USUAL_EXPANSION: u64 = 16;

/// The most bytes that a compressed file of this size may unpack to.
pub(crate) fn most_unpacked(size: u64) -> u64 {
    let small = size.saturating_mul(MOST_EXPANSION).min(LEAST_UNPACKED);
    size.saturating_mul(USUAL_EXPANSION).max(small).max(ALWAYS_UNPACKED)
}

/// The most bytes that are kept of a file on disk, or unpacked, because they describe its tensors.
pub(crate) const MOST_KEPT: u64 = 32 << 20;

/// Bytes that are read at once of what is kept.
const PAGE: u64 = 16 << 10;

/// Bytes that are read at once of what is not kept.
const PIECE: usize = 64 << 10;

/// Deflate makes at most 258 bytes of two bits.
const MOST_DEFLATED: u64 = 1032;

/// A file.
enum Store {
    Memory(Vec<u8>),
    File { file: Arc<RegularFile>, pages: Box<[Page]>, kept: AtomicU64 },
}

/// The bytes that are kept from the beginning of a page on; none until some are asked for.
type Page = OnceLock<Box<Kept>>;

struct Kept {
    bytes: Box<[u8]>,
    /// More bytes from the same beginning, for something that reaches beyond these.
    longer: Page,
}

impl Store {
    fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { file, .. } => file.size(),
        }
    }

    fn source(&self) -> &dyn ReadAt {
        match self {
            Self::Memory(bytes) => bytes,
            Self::File { file, .. } => &**file,
        }
    }

    /// The bytes from `start` on, at least up to `end`, and where they begin; from now on they are
    /// kept. The file has as many.
    fn keep(&self, start: u64, end: u64) -> Result<(&[u8], u64), Problem> {
        let (file, pages, kept) = match self {
            Self::Memory(bytes) => return Ok((bytes, 0)),
            Self::File { .. } if start == end => return Ok((&[], start)),
            Self::File { file, pages, kept } => (file, pages, kept),
        };
        let beginning = start - start % PAGE;
        let needed = end - beginning;
        let Some(mut page) = pages.get((start / PAGE) as usize) else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        };
        let mut least = PAGE;
        loop {
            if let Some(found) = page.get() {
                if found.bytes.len() as u64 >= needed {
                    return Ok((&found.bytes, beginning));
                }
                // So that ever longer ones are few.
                least = 2 * found.bytes.len() as u64;
                page = &found.longer;
                continue;
            }
            let size = needed.next_multiple_of(PAGE).max(least).min(file.size() - beginning);
            let found = kept.fetch_add(size, Ordering::Relaxed).saturating_add(size);
            if found > MOST_KEPT {
                let what = "the size in bytes of what describes the tensors";
                return Err(Problem::Limit { what, found, most: MOST_KEPT });
            }
            let mut bytes = vec![0; size as usize].into_boxed_slice();
            file.read_exact_at(&mut bytes, beginning)?;
            let _ = page.set(Box::new(Kept { bytes, longer: Page::new() }));
        }
    }
}

/// A part of a file, none of which has to be in memory.
#[derive(Clone)]
pub(crate) struct Part {
    store: Arc<Store>,
    /// Where it is in the file.
    place: Range<u64>,
    /// Of what is deflated in that place, which bytes it is once unpacked.
    unpacked: Option<Range<u64>>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {:?}", self.place)
    }
}

impl From<Vec<u8>> for Part {
    fn from(bytes: Vec<u8>) -> Self {
        Self::whole(Store::Memory(bytes))
    }
}

impl From<Arc<RegularFile>> for Part {
    fn from(file: Arc<RegularFile>) -> Self {
        let pages = file.size().div_ceil(PAGE) as usize;
        let pages = (0..pages).map(|_| Page::new()).collect();
        Self::whole(Store::File { file, pages, kept: AtomicU64::new(0) })
    }
}

impl Part {
    fn whole(store: Store) -> Self {
        let place = 0..store.size();
        Self { store: Arc::new(store), place, unpacked: None }
    }

    /// Returns its size in bytes, unpacked.
    pub(crate) fn size(&self) -> u64 {
        let Range { start, end } = self.unpacked.as_ref().unwrap_or(&self.place);
        end - start
    }

    /// A part of it, if it has these bytes.
    pub(crate) fn part(&self, range: Range<u64>) -> Option<Self> {
        if range.start > range.end || range.end > self.size() {
            return None;
        }
        Some(match &self.unpacked {
            Some(unpacked) => Self { unpacked: Some(within(unpacked, &range)), ..self.clone() },
            None => Self { place: within(&self.place, &range), ..self.clone() },
        })
    }

    /// Returns the part that these deflated bytes unpack to, which claim to have `size` bytes.
    pub(crate) fn inflated(&self, size: u64) -> Self {
        Self { unpacked: Some(0..size), ..self.clone() }
    }

    /// Its first bytes, at most as many as a page, to see what it is.
    pub(crate) fn beginning(&self) -> Result<&[u8], Problem> {
        self.keep(0..self.size().min(PAGE / 4))
    }

    /// Some of its bytes, which are kept as long as the file is.
    ///
    /// # Errors
    ///
    /// The file system's, and [`Problem::Limit`] if too much of the file is kept. What is deflated,
    /// or is not there, is not kept.
    pub(crate) fn keep(&self, range: Range<u64>) -> Result<&[u8], Problem> {
        let (bytes, at) = self.window(range.clone())?;
        let (from, to) = (range.start - at, range.end - at);
        Ok(bytes.get(from as usize..to as usize).unwrap_or_default())
    }

    /// As [`Self::keep`], with what is kept around them, and where that begins.
    pub(crate) fn window(&self, range: Range<u64>) -> Result<(&[u8], u64), Problem> {
        let (start, end) = (self.place.start + range.start, self.place.start + range.end);
        if range.start > range.end || end > self.place.end || self.unpacked.is_some() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let (bytes, at) = self.store.keep(start, end)?;
        // Of what lies before and behind this part nothing is seen.
        let before = self.place.start.saturating_sub(at);
        let behind = (self.place.end - at).min(bytes.len() as u64);
        let bytes = bytes.get(before as usize..behind as usize).unwrap_or_default();
        Ok((bytes, (at + before) - self.place.start))
    }

    /// The same bytes, in memory if they are deflated; `most` is how many that may be.
    pub(crate) fn in_memory(self, what: &'static str, most: u64) -> Result<Self, Problem> {
        if self.unpacked.is_none() {
            return Ok(self);
        }
        let found = self.size();
        if found > most {
            return Err(Problem::Limit { what, found, most });
        }
        Ok(Self::from(self.read()?))
    }

    /// All its bytes.
    ///
    /// # Errors
    ///
    /// The file system's; `InvalidData` if they do not unpack to as many as they should be.
    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let size = usize::try_from(self.size()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.check_expansion()?;
        bytes.try_reserve_exact(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut reader = self.reader();
        reader.by_ref().take(self.size()).read_to_end(&mut bytes)?;
        if bytes.len() == size { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Gives `each` all its bytes in pieces, each but the last of a multiple of 8 bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub(crate) fn pieces(&self, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.check_expansion()?;
        let mut reader = self.reader();
        let mut piece = vec![0; PIECE];
        let mut left = self.size();
        while left > 0 {
            let count = left.min(PIECE as u64) as usize;
            reader.read_exact(&mut piece[..count])?;
            each(&piece[..count]);
            left -= count as u64;
        }
        Ok(())
    }

    fn reader(&self) -> Box<dyn Read + '_> {
        let stretch = Stretch::new(self.store.source(), self.place.clone());
        let Some(unpacked) = &self.unpacked else { return Box::new(stretch) };
        let buffered = io::BufReader::with_capacity(PIECE, stretch);
        Box::new(Skipped { left: unpacked.start, reader: DeflateDecoder::new(buffered) })
    }

    /// The bytes that deflated ones unpack to, counted and given to `each` in pieces, of which there
    /// may be no more than `most`; and how many deflated ones that took.
    pub(crate) fn inflate(&self, most: u64, each: &mut dyn FnMut(&[u8])) -> io::Result<(u64, u64)> {
        let stretch = Stretch::new(self.store.source(), self.place.clone());
        let mut decoder = DeflateDecoder::new(io::BufReader::with_capacity(PIECE, stretch));
        let mut piece = vec![0; PIECE];
        let mut count = 0;
        while count <= most {
            let read = decoder.read(&mut piece)?;
            if read == 0 {
                break;
            }
            each(&piece[..read]);
            count += read as u64;
        }
        Ok((count, decoder.total_in()))
    }

    /// Checks that so few deflated bytes can unpack to the size that is claimed.
    fn check_expansion(&self) -> io::Result<()> {
        match &self.unpacked {
            Some(unpacked) if !self.may_inflate(unpacked.end) => {
                Err(io::ErrorKind::InvalidData.into())
            }
            _ => Ok(()),
        }
    }

    /// Returns true if these bytes may be deflated ones of as many as `size`.
    pub(crate) fn may_inflate(&self, size: u64) -> bool {
        size / MOST_DEFLATED <= self.place.end - self.place.start
    }
}

impl ReadAt for Part {
    fn size(&self) -> u64 {
        self.size()
    }

    /// Of deflated bytes none can be read so.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = self.place.start.saturating_add(offset);
        let end = start.saturating_add(buffer.len() as u64);
        if self.unpacked.is_some() || end > self.place.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.store.source().read_exact_at(buffer, start)
    }
}

/// A reader whose first bytes are left out.
struct Skipped<R> {
    left: u64,
    reader: R,
}

impl<R: Read> Read for Skipped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left > 0 {
            let left = std::mem::take(&mut self.left);
            io::copy(&mut self.reader.by_ref().take(left), &mut io::sink())?;
        }
        self.reader.read(buffer)
    }
}

/// A range that is counted from the beginning of another.
fn within(outer: &Range<u64>, range: &Range<u64>) -> Range<u64> {
    outer.start + range.start..outer.start + range.end
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> Part {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(RegularFile::open(file.path()).unwrap()).into()
    }

    #[test]
    fn a_file_is_read_as_bytes_are() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let (memory, disk) = (Part::from(bytes.clone()), file(&bytes));
        for range in [0..0, 0..10, 16_380..16_390, 5..70_000, 6..99_000, 99_990..100_000] {
            let expected = &bytes[range.start as usize..range.end as usize];
            assert_eq!(memory.keep(range.clone()).unwrap(), expected);
            assert_eq!(disk.keep(range.clone()).unwrap(), expected, "{range:?}");
            let part = disk.part(range).unwrap();
            assert_eq!(part.read().unwrap(), expected);
            assert_eq!(part.keep(0..part.size()).unwrap(), expected);
            assert_eq!(part.part(0..part.size() + 1).map(|part| part.size()), None);
            assert!(part.keep(0..part.size() + 1).is_err());
        }
        let mut pieces = Vec::new();
        disk.pieces(&mut |piece| pieces.extend_from_slice(piece)).unwrap();
        assert_eq!(pieces, bytes);
    }

    #[test]
    fn not_much_is_kept() {
        let part = file(&vec![0; 2 * MOST_KEPT as usize]);
        assert!(part.keep(0..MOST_KEPT / 2).is_ok());
        let most = part.keep(0..MOST_KEPT);
        assert!(matches!(most, Err(Problem::Limit { most: MOST_KEPT, .. })));
    }

    #[test]
    fn honest_files_unpack_to_what_their_networks_have() {
        // 784-4096-4096-10 as numpy.savez_compressed writes it: pruned to 1 %, and of 1 and -1.
        for (size, unpacked) in [(1_402_000, 80_151_336), (4_761_000, 80_151_336)] {
            assert!(most_unpacked(size) >= unpacked, "{size}");
        }
        let most =
            [(1000, 32 << 20), (1 << 21, 128 << 20), (1 << 23, 128 << 20), (1 << 30, 16 << 30)];
        for (size, most) in most {
            assert_eq!(most_unpacked(size), most, "{size}");
        }
    }

    #[test]
    fn deflated_bytes_are_unpacked_from_any_place() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i / 7 % 256) as u8).collect();
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
        encoder.write_all(&bytes).unwrap();
        let part = file(&encoder.finish().unwrap()).inflated(200_000);
        assert_eq!(part.read().unwrap(), bytes);
        let within = part.part(70_000..150_000).unwrap().part(3..79_000).unwrap();
        assert_eq!(within.read().unwrap(), bytes[70_003..149_000]);
        assert!(part.keep(0..1).is_err());
        let longer = Part { unpacked: Some(0..200_001), ..part.clone() };
        assert!(longer.read().is_err() && longer.pieces(&mut |_| ()).is_err());
        let bomb = Part { unpacked: Some(0..1 << 40), ..part.clone() };
        assert_eq!(bomb.read().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(matches!(part.in_memory("it", 1000), Err(Problem::Limit { most: 1000, .. })));
    }
}
