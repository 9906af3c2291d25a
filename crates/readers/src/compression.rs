//! Plain, gzip or zstd: detected by the first bytes, decoded as a stream.

use std::cell::Cell;
use std::io::{self, BufRead, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The compression of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// None.
    Plain,
    /// One or more members of gzip.
    Gzip,
    /// One or more frames of zstd.
    Zstd,
}

/// The most bytes that a compressed file of any size may unpack to.
const MOST_UNPACKED: u64 = 8 << 20;
/// The largest ratio of a file's contents to its compressed bytes above that; MNIST's are five
/// times as large, and nothing but equal pictures comes near a hundred.
const MOST_RATIO: u64 = 100;

/// The most bytes of text for which that ratio holds, and the one above them: to read numbers takes ten
/// times as long as to unpack them, and tables of 0 and 1 come to thirty times their compressed bytes.
const MOST_OF_A_SMALL_TEXT: u64 = 32 << 20;
const MOST_RATIO_OF_TEXT: u64 = 32;

/// As [`is_likely`], of text.
fn is_likely_text(unpacked: u64, packed: u64) -> bool {
    let most = packed.saturating_mul(MOST_RATIO_OF_TEXT).max(MOST_OF_A_SMALL_TEXT);
    is_likely(unpacked, packed) && unpacked <= most
}

/// Returns true if contents that begin with this byte are text: arrays and pictures begin with none
/// of these, the first of the mark of the byte order included.
fn begins_text(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'~' | 0xEF)
}

/// Returns true if `packed` compressed bytes are likely to hold `unpacked`.
pub(crate) fn is_likely(unpacked: u64, packed: u64) -> bool {
    unpacked <= MOST_UNPACKED.max(packed.saturating_mul(MOST_RATIO))
}

/// A compressed stream has become larger than its bytes are likely to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its first {packed} compressed bytes hold {unpacked}, more than is likely; if that is right, \
     decompress the file first"
)]
pub struct Inflated {
    /// Bytes that were taken.
    pub packed: u64,
    /// Bytes that they unpacked to.
    pub unpacked: u64,
}

/// Reads through the compression of a stream in one pass, which its first bytes show.
/// File names are not asked: a download may have been decompressed on the way and kept its name.
///
/// # Errors
///
/// The stream's; later, of a stream that unpacks to more than is likely, [`Inflated`] in an
/// [`io::Error`].
pub fn decompress<'a>(
    mut reader: impl BufRead + 'a,
) -> io::Result<(Compression, Box<dyn Read + 'a>)> {
    let mut start = Vec::with_capacity(4);
    reader.by_ref().take(4).read_to_end(&mut start)?;
    let compression = match start.as_slice() {
        [0x1F, 0x8B, ..] => Compression::Gzip,
        [0x28, 0xB5, 0x2F, 0xFD] => Compression::Zstd,
        _ => Compression::Plain,
    };
    let whole = Cursor::new(start).chain(reader);
    let packed = Rc::new(Cell::new(0));
    let counted = Counted { source: whole, count: Rc::clone(&packed) };
    Ok((
        compression,
        match compression {
            Compression::Plain => Box::new(counted.source),
            Compression::Gzip => Box::new(Limited::new(MultiGzDecoder::new(counted), packed)),
            Compression::Zstd => Box::new(Limited::new(Zstd::new(counted), packed)),
        },
    ))
}

/// A stream whose bytes are counted as they are taken.
struct Counted<R> {
    source: R,
    count: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = self.source.read(buffer)?;
        self.count.set(self.count.get() + taken as u64);
        Ok(taken)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, taken: usize) {
        self.source.consume(taken);
        self.count.set(self.count.get() + taken as u64);
    }
}

/// The contents of a compressed stream, as far as they are likely.
struct Limited<R> {
    contents: R,
    unpacked: u64,
    packed: Rc<Cell<u64>>,
    is_text: bool,
}

impl<R> Limited<R> {
    fn new(contents: R, packed: Rc<Cell<u64>>) -> Self {
        Self { contents, unpacked: 0, packed, is_text: false }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.contents.read(buffer)?;
        if self.unpacked == 0 {
            self.is_text = buffer[..count].first().copied().is_some_and(begins_text);
        }
        self.unpacked += count as u64;
        let (packed, unpacked) = (self.packed.get(), self.unpacked);
        let is_likely = if self.is_text { is_likely_text } else { is_likely };
        if !is_likely(unpacked, packed) {
            let error = Inflated { packed, unpacked };
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(count)
    }
}

/// A zstd stream of one or more frames, whose checksums are compared where they are present.
pub struct Zstd<R> {
    source: R,
    frame: FrameDecoder,
}

impl<R: BufRead> Zstd<R> {
    /// Begins to read a stream.
    pub fn new(source: R) -> Self {
        Self { source, frame: FrameDecoder::new() }
    }

    /// Starts the next frame, if there is one.
    fn next_frame(&mut self) -> io::Result<bool> {
        let stored = self.frame.get_checksum_from_data();
        if stored.is_some() && stored != self.frame.get_calculated_checksum() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "zstd checksum mismatch"));
        }
        if self.source.fill_buf()?.is_empty() {
            return Ok(false);
        }
        self.frame.reset(&mut self.source).map_err(io::Error::other)?;
        Ok(true)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.frame.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if !self.frame.is_finished() {
                let one_block = BlockDecodingStrategy::UptoBlocks(1);
                self.frame.decode_blocks(&mut self.source, one_block).map_err(io::Error::other)?;
            } else if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// The bytes that can be read, and the error behind them.
    fn read(packed: &[u8]) -> (u64, io::Result<u64>) {
        let (_, mut contents) = decompress(packed).unwrap();
        let mut count = 0;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match contents.read(&mut buffer) {
                Ok(0) => return (count, Ok(count)),
                Ok(more) => count += more as u64,
                Err(error) => return (count, Err(error)),
            }
        }
    }

    fn gzip(size: usize, byte: impl Fn(usize) -> u8) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let block: Vec<u8> = (0..1 << 20).map(byte).collect();
        for _ in 0..size >> 20 {
            gzip.write_all(&block).unwrap();
        }
        gzip.finish().unwrap()
    }

    #[test]
    fn few_bytes_do_not_unpack_to_many() {
        let zeros = gzip(12 << 20, |_| 0);
        let zstd = ruzstd::encoding::compress_to_vec(
            &vec![0; 12 << 20][..],
            ruzstd::encoding::CompressionLevel::Fastest,
        );
        for packed in [&zeros[..], &zstd] {
            let (count, found) = read(packed);
            let error = found.unwrap_err();
            assert!(count <= MOST_UNPACKED, "{count}");
            let Inflated { packed, unpacked } =
                *error.get_ref().unwrap().downcast_ref::<Inflated>().unwrap();
            assert!(unpacked > MOST_UNPACKED && packed < 1 << 20, "{error}");
        }
        assert_eq!(read(&gzip(7 << 20, |_| 0)).1.unwrap(), 7 << 20);
        // Less equal: a hundredth, which numbers as text may come to.
        let text = gzip(12 << 20, |i| if i % 97 == 0 { ((i * 7919) >> 5) as u8 } else { b'0' });
        assert!(text.len() * 100 > 12 << 20, "{}", text.len());
        assert_eq!(read(&text).1.unwrap(), 12 << 20);
    }

    #[test]
    fn much_text_does_not_come_of_few_bytes() {
        // Between 32 and 100 times as large.
        let like = |start: u8| {
            gzip(40 << 20, |i| if i % 97 == 1 { ((i * 7919) >> 5) as u8 } else { start })
        };
        let (text, bytes) = (like(b'0'), like(0));
        for packed in [&text, &bytes] {
            let ratio = (40 << 20) / packed.len();
            assert!((33..100).contains(&ratio), "{ratio}");
        }
        let (count, found) = read(&text);
        assert!(found.is_err() && count <= MOST_OF_A_SMALL_TEXT, "{count}");
        assert_eq!(read(&bytes).1.unwrap(), 40 << 20);
    }
}
