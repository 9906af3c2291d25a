//! Picture files whose rows are decoded one after the other and made smaller on the way, so that the
//! picture is never in memory as it was.

use std::io::Cursor;

use crate::PictureError;
use crate::container;
use crate::decode::{MOST_BYTES, check_size, factor, malformed};
use crate::pixels::{Flattening, Picture};

/// Decodes a PNG file, which lies on the side on which it is stored.
pub(crate) fn png(bytes: &[u8], most_side: usize) -> Result<Picture, PictureError> {
    // The header comes first, so that a size is judged before anything else is read.
    if let Some([width, height]) = container::size_of_png(bytes) {
        check_size(width, height, 0, bytes.len())?;
    }
    let limits = png::Limits { bytes: MOST_BYTES };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(no_png)?;
    let (width, height) = reader.info().size();
    let (width, height) = (width as usize, height as usize);
    let (colours, depth) = reader.output_color_type();
    let row_bytes = reader.output_line_size(width as u32).unwrap_or(usize::MAX);
    check_size(width, height, row_bytes.saturating_mul(height), bytes.len())?;
    let mut rows = PngRows {
        flattening: Flattening::new(width, height, factor(width, height, most_side)),
        samples: colours.samples(),
        is_wide: depth == png::BitDepth::Sixteen,
        narrow: Vec::new(),
    };
    if reader.info().interlaced {
        // Its rows come in seven passes, so that all of them are needed.
        let mut all = vec![0; row_bytes.saturating_mul(height)];
        reader.next_frame(&mut all).map_err(no_png)?;
        all.chunks_exact(row_bytes.max(1)).for_each(|row| rows.push(row));
    } else {
        for _ in 0..height {
            match reader.next_row().map_err(no_png)? {
                Some(row) => rows.push(row.data()),
                None => return Err(malformed("PNG", "its pixels end too early")),
            }
        }
    }
    // The checksum of the last chunk of pixels stands behind them, and is read only on the way on.
    reader.finish().map_err(no_png)?;
    Ok(rows.flattening.finish())
}

fn no_png(error: png::DecodingError) -> PictureError {
    malformed("PNG", error)
}

/// The rows of a PNG file as they are decoded.
struct PngRows {
    flattening: Flattening,
    /// Numbers of a pixel.
    samples: usize,
    /// Whether they have 16 bits.
    is_wide: bool,
    /// The row with 8 bits a number, kept for its room.
    narrow: Vec<u8>,
}

impl PngRows {
    fn push(&mut self, row: &[u8]) {
        if !self.is_wide {
            return self.flattening.push(row, self.samples);
        }
        self.narrow.clear();
        self.narrow.extend(row.as_chunks::<2>().0.iter().map(|&wide| eight_bits(wide)));
        self.flattening.push(&self.narrow, self.samples);
    }
}

/// The nearest of 8 bits to a number of 16, the high byte first.
fn eight_bits(wide: [u8; 2]) -> u8 {
    ((u32::from(u16::from_be_bytes(wide)) + 128) / 257) as u8
}

/// Decodes the first picture of a GIF file; around it, and where it is transparent, is paper.
pub(crate) fn gif(bytes: &[u8], most_side: usize) -> Result<Picture, PictureError> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    let mut decoder = options.read_info(bytes).map_err(no_gif)?;
    let (width, height) = (usize::from(decoder.width()), usize::from(decoder.height()));
    // Red, green, blue and alpha, one row at a time: what they would take limits their time.
    check_size(width, height, 4 * width * height, bytes.len())?;
    let Some(frame) = decoder.next_frame_info().map_err(no_gif)? else {
        return Err(malformed("GIF", "it has no picture"));
    };
    let [left, top, wide, high] =
        [frame.left, frame.top, frame.width, frame.height].map(usize::from);
    let transparent = frame.transparent;
    check_size(wide, high, 4 * wide * high, bytes.len())?;
    // A number a pixel; the rows may be interlaced, so that all of them are needed.
    let mut indices = vec![0; wide * high];
    decoder.read_into_buffer(&mut indices).map_err(no_gif)?;
    let palette = decoder.palette().map_err(no_gif)?;
    let mut flattening = Flattening::new(width, height, factor(width, height, most_side));
    let mut row = vec![[0; 4]; width];
    for y in 0..height {
        row.fill([0; 4]);
        let of_frame = y.checked_sub(top).and_then(|y| indices.chunks_exact(wide.max(1)).nth(y));
        for (pixel, &index) in row.iter_mut().skip(left).zip(of_frame.unwrap_or_default()) {
            *pixel = coloured(index, palette, transparent);
        }
        flattening.push(row.as_flattened(), 4);
    }
    Ok(flattening.finish())
}

fn no_gif(error: gif::DecodingError) -> PictureError {
    malformed("GIF", error)
}

/// Red, green, blue and alpha of an index into a palette; an index beyond it is transparent too.
fn coloured(index: u8, palette: &[u8], transparent: Option<u8>) -> [u8; 4] {
    match palette.get(3 * usize::from(index)..).and_then(<[u8]>::first_chunk) {
        Some(&[r, g, b]) if transparent != Some(index) => [r, g, b, 255],
        _ => [0; 4],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A grey picture of 4x4 in one chunk of pixels.
    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 4, 4);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[7; 16]).unwrap();
        writer.finish().unwrap();
        bytes
    }

    /// The last 12 bytes are the chunk that ends a file, and the 4 before them a checksum of pixels.
    #[test]
    fn a_png_that_is_damaged_or_cut_behind_its_pixels_is_refused() {
        let whole = written();
        assert!(png(&whole, 100).is_ok());
        for cut in 1..=16 {
            assert!(png(&whole[..whole.len() - cut], 100).is_err(), "{cut} bytes short");
        }
        let mut damaged = whole;
        let checksum = damaged.len() - 16;
        damaged[checksum] ^= 1;
        assert!(png(&damaged, 100).is_err());
    }
}
