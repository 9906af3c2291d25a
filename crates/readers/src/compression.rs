//! Plain, gzip or zstd: detected by the first bytes, decoded as a stream.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
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

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// A compressed stream that cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The stream ends in the middle.
    #[error("its {0} data ends too early: it was cut off. Copy or download the file again")]
    Cut(Compression),
    /// The stream is malformed, or contradicts its checksum.
    #[error("its {0} data is damaged; copy or download the file again")]
    Damaged(Compression),
    /// A zstd frame that refers further back than is kept in memory.
    #[error(
        "its zstd data needs a window of {needed} bytes, and at most {most} are kept; decompress the \
         file first, or compress it without --long"
    )]
    Window {
        /// Bytes that the frame asks for.
        needed: u64,
        /// Bytes that are kept.
        most: u64,
    },
    /// A zstd frame that was compressed with a dictionary.
    #[error("its zstd data needs a dictionary; decompress the file first")]
    Dictionary,
}

impl From<UnpackError> for io::Error {
    fn from(error: UnpackError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
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
/// The stream's; later, in an [`io::Error`], [`Inflated`] of a stream that unpacks to more than is
/// likely, and [`UnpackError`] of one that is cut off or damaged.
pub fn decompress<'a>(
    mut reader: impl BufRead + 'a,
) -> io::Result<(Compression, Box<dyn Read + 'a>)> {
    let mut start = Vec::with_capacity(4);
    reader.by_ref().take(4).read_to_end(&mut start)?;
    let compression = match start.as_slice() {
        [0x1F, 0x8B, ..] => Compression::Gzip,
        [0x28, 0xB5, 0x2F, 0xFD] | [0x50..=0x5F, 0x2A, 0x4D, 0x18] => Compression::Zstd,
        _ => Compression::Plain,
    };
    let whole = Cursor::new(start).chain(reader);
    let packed = Rc::new(Cell::new(0));
    let counted = Counted { source: whole, count: Rc::clone(&packed) };
    Ok((
        compression,
        match compression {
            Compression::Plain => Box::new(counted.source),
            Compression::Gzip => Box::new(Limited::new(Gzip(MultiGzDecoder::new(counted)), packed)),
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

/// A gzip stream of one or more members, whose checksums are compared.
struct Gzip<R>(MultiGzDecoder<R>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => UnpackError::Cut(Compression::Gzip).into(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                UnpackError::Damaged(Compression::Gzip).into()
            }
            _ => error,
        })
    }
}

/// A zstd stream of one or more frames, whose checksums are compared where they are present.
///
/// Skippable frames, which tools such as `pzstd` put between the others, are left out.
pub struct Zstd<R> {
    source: R,
    frame: FrameDecoder,
}

impl<R: BufRead> Zstd<R> {
    /// Begins to read a stream.
    pub fn new(source: R) -> Self {
        Self { source, frame: FrameDecoder::new() }
    }

    /// Starts the next frame with contents, if there is one.
    fn next_frame(&mut self) -> io::Result<bool> {
        let stored = self.frame.get_checksum_from_data();
        if stored.is_some() && stored != self.frame.get_calculated_checksum() {
            return Err(UnpackError::Damaged(Compression::Zstd).into());
        }
        while !self.source.fill_buf()?.is_empty() {
            match self.frame.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => self.skip(length.into())?,
                Err(error) => return Err(of_frame(error)),
            }
        }
        Ok(false)
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
        if skipped < length {
            return Err(UnpackError::Cut(Compression::Zstd).into());
        }
        Ok(())
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
                self.frame.decode_blocks(&mut self.source, one_block).map_err(of_frame)?;
            } else if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

/// The error of the decoder without its internals, or that of the stream below it.
fn of_frame(error: FrameDecoderError) -> io::Error {
    match error {
        FrameDecoderError::WindowSizeTooBig { requested, max } => {
            return UnpackError::Window { needed: requested, most: max }.into();
        }
        FrameDecoderError::DictNotProvided { .. } => return UnpackError::Dictionary.into(),
        _ => {}
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return UnpackError::Cut(Compression::Zstd).into();
            }
            Some(error) => return io::Error::new(error.kind(), error.to_string()),
            None => cause = error.source(),
        }
    }
    UnpackError::Damaged(Compression::Zstd).into()
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

    /// A text that does not repeat within a block, as `gzip` and as `zstd`.
    fn packed() -> [Vec<u8>; 2] {
        let text: String = (0..3000).map(|i| format!("{},", i * i % 1009)).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        [gzip.finish().unwrap(), zstd(text.as_bytes())]
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    /// What the stream itself is wrong with, if it is.
    fn fault(packed: &[u8]) -> Option<UnpackError> {
        let error = read(packed).1.err()?;
        Some(*error.get_ref().unwrap().downcast_ref::<UnpackError>().unwrap())
    }

    #[test]
    fn a_stream_that_is_cut_off_says_so() {
        for (packed, compression) in packed().iter().zip([Compression::Gzip, Compression::Zstd]) {
            assert_eq!(fault(packed), None);
            for length in (5..packed.len()).step_by(7) {
                let found = fault(&packed[..length]);
                assert_eq!(found, Some(UnpackError::Cut(compression)), "{length}");
            }
            let text = UnpackError::Cut(compression).to_string();
            assert!(text.contains(&format!("its {compression} data ends too early")), "{text}");
        }
    }

    #[test]
    fn a_damaged_stream_says_so_in_plain_words() {
        for packed in packed() {
            for at in (5..packed.len()).step_by(13) {
                let mut damaged = packed.clone();
                damaged[at] ^= 0xFF;
                // Some bytes, such as the time of a member, mean nothing to its contents.
                if let Err(error) = read(&damaged).1 {
                    let text = error.to_string();
                    assert!(text.starts_with("its gzip data") || text.starts_with("its zstd data"));
                    assert!(!text.contains(['{', '(', '"']), "{text}");
                }
            }
            let last = packed.len() - 1;
            let damaged = [&packed[..last], &[!packed[last]]].concat();
            assert!(matches!(fault(&damaged), Some(UnpackError::Damaged(_))));
        }
    }

    #[test]
    fn skippable_frames_of_zstd_are_left_out() {
        let skippable = |kind: u8, length: u32, held: usize| {
            [&[0x50 | kind, 0x2A, 0x4D, 0x18][..], &length.to_le_bytes(), &vec![7; held]].concat()
        };
        let parts = [skippable(0, 0, 0), zstd(b"1,2\n"), skippable(15, 300, 300), zstd(b"3,4\n")];
        let (whole, mut text) = (parts.concat(), String::new());
        let (compression, mut contents) = decompress(&*whole).unwrap();
        contents.read_to_string(&mut text).unwrap();
        assert_eq!((compression, &*text), (Compression::Zstd, "1,2\n3,4\n"));
        let cut = [&whole[..], &skippable(3, 9, 8)].concat();
        assert_eq!(fault(&cut), Some(UnpackError::Cut(Compression::Zstd)));
    }

    #[test]
    fn a_window_that_is_too_large_says_what_to_do() {
        // A frame header with a window of 2^(10 + 31) bytes and no contents size.
        let error = fault(&[0x28, 0xB5, 0x2F, 0xFD, 0, 0xF8]).unwrap();
        assert!(
            matches!(error, UnpackError::Window { needed, .. } if needed == 1 << 41),
            "{error}"
        );
    }
}
