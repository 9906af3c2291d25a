//! Compressed bytes whose unpacked size is known.

use std::io::Read;

use fireclay_readers::Zstd;
use flate2::read::MultiGzDecoder;

/// Unpacks Snappy without its frames; none unless it has this size.
pub(super) fn snappy(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    if snap::raw::decompress_len(packed).ok()? != size {
        return None;
    }
    snap::raw::Decoder::new().decompress_vec(packed).ok()
}

/// Unpacks a block of LZ4; none unless it has this size.
pub(super) fn lz4_block(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut unpacked = vec![0; size];
    let found = lz4_flex::block::decompress_into(packed, &mut unpacked).ok()?;
    (found == size).then_some(unpacked)
}

/// Unpacks gzip; none unless it has this size.
pub(super) fn gzip(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    whole(MultiGzDecoder::new(packed), size)
}

/// Unpacks zstd; none unless it has this size.
pub(super) fn zstd(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    whole(Zstd::new(packed), size)
}

/// All bytes of a stream, of which memory is taken as they come.
fn whole(stream: impl Read, size: usize) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    stream.take(size as u64 + 1).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() == size).then_some(unpacked)
}
