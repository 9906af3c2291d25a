//! Plain, gzip or zstd: told by the first bytes, decoded as a stream.

use std::io::{self, BufRead, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

/// Reads through the compression of `reader`, which its first bytes tell.
/// File names are not asked: a download may have been decompressed on the way and kept its name.
pub(crate) fn decompress<'a>(
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
    Ok((
        compression,
        match compression {
            Compression::Plain => Box::new(whole),
            Compression::Gzip => Box::new(MultiGzDecoder::new(whole)),
            Compression::Zstd => Box::new(Zstd::new(whole)),
        },
    ))
}

/// Reads through the compression of a stream in one pass, which its first bytes tell: plain, gzip or
/// zstd. Says whether it is plain.
///
/// # Errors
///
/// The stream's.
pub fn decompressed<'a>(reader: impl BufRead + 'a) -> io::Result<(bool, Box<dyn Read + 'a>)> {
    let (compression, contents) = decompress(reader)?;
    Ok((compression == Compression::Plain, contents))
}

/// A zstd stream of one or more frames, whose checksums are compared where they are present.
pub(crate) struct Zstd<R> {
    source: R,
    frame: FrameDecoder,
}

impl<R: BufRead> Zstd<R> {
    pub(crate) fn new(source: R) -> Self {
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
