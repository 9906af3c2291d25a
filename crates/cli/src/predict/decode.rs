//! Picture files to pixels.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use zune_core::options::DecoderOptions;
use zune_core::result::DecodingResult;
use zune_jpeg::JpegDecoder;
use zune_png::PngDecoder;

/// The longest side that is read, in pixels.
const MOST_SIDE: usize = 16_384;
/// The most pixels that are read; decoded, they take at most 4 bytes each, and as much on the way.
const MOST_PIXELS: usize = 64 << 20;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// The pixels of a picture, the way up that it is meant to be looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pixels {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// 1 grey, 2 grey and alpha, 3 colours, 4 colours and alpha.
    pub(crate) channels: usize,
    /// Row by row, the channels of a pixel together.
    pub(crate) values: Vec<u8>,
}

/// Why a picture can not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    /// The decoder says no.
    #[error("not a whole {kind} picture: {what}")]
    Malformed { kind: &'static str, what: String },
    /// It would take too much memory.
    #[error(
        "the picture is {width}x{height}; at most {MOST_SIDE} pixels a side and {MOST_PIXELS} in all \
         are read"
    )]
    TooLarge { width: usize, height: usize },
    /// There is nothing to see.
    #[error("the picture shows nothing that stands out from its background")]
    Blank,
    /// The network does not read pictures.
    #[error(
        "the model reads rows of shape {shape}, which is not that of a picture; give it IDX, NPY or \
         CSV"
    )]
    NoPicture { shape: String },
}

/// Whether bytes begin as a picture does that is read here.
pub(crate) fn is_picture(bytes: &[u8]) -> bool {
    bytes.starts_with(PNG) || bytes.starts_with(JPEG)
}

/// Decodes a PNG or JPEG file, which may come from a stranger.
pub(crate) fn decode(bytes: &[u8]) -> Result<Pixels, PictureError> {
    let kind = if bytes.starts_with(PNG) { "PNG" } else { "JPEG" };
    let decoded = quietly(|| match kind {
        "PNG" => png(bytes),
        _ => jpeg(bytes),
    });
    decoded.unwrap_or_else(|| Err(malformed(kind, "the decoder gave up on it")))
}

/// Runs a decoder. Those used here are written in safe Rust but for their vector instructions, and a
/// damaged file may still trip one of their assertions.
fn quietly<T>(decode: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(decode));
    std::panic::set_hook(hook);
    result.ok()
}

fn malformed(kind: &'static str, what: impl std::fmt::Display) -> PictureError {
    let what = crate::output::printable(&what.to_string(), 200);
    PictureError::Malformed { kind, what }
}

fn check_size(width: usize, height: usize) -> Result<(), PictureError> {
    let pixels = width.saturating_mul(height);
    if width > MOST_SIDE || height > MOST_SIDE || pixels > MOST_PIXELS {
        return Err(PictureError::TooLarge { width, height });
    }
    Ok(())
}

fn options() -> DecoderOptions {
    // The sides are checked here, for a message of our own.
    DecoderOptions::default()
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .set_strict_mode(false)
        .png_set_strip_to_8bit(true)
        .png_set_confirm_crc(true)
        .png_set_decode_animated(false)
}

fn png(bytes: &[u8]) -> Result<Pixels, PictureError> {
    // The header comes first in every PNG file, so that a size is judged before anything is read.
    if let Some([width, height]) = png_size(bytes) {
        check_size(width, height)?;
    }
    let mut decoder = PngDecoder::new_with_options(Cursor::new(bytes), options());
    let fail = |error| malformed("PNG", format!("{error:?}"));
    decoder.decode_headers().map_err(fail)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| malformed("PNG", "no header"))?;
    check_size(width, height)?;
    let values = match decoder.decode().map_err(fail)? {
        DecodingResult::U8(values) => values,
        _ => return Err(malformed("PNG", "its numbers are not bytes")),
    };
    pixels("PNG", width, height, values)
}

fn png_size(bytes: &[u8]) -> Option<[usize; 2]> {
    let word = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?) as usize);
    Some([word(16)?, word(20)?])
}

fn jpeg(bytes: &[u8]) -> Result<Pixels, PictureError> {
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options());
    let fail = |error| malformed("JPEG", format!("{error:?}"));
    decoder.decode_headers().map_err(fail)?;
    let info = decoder.info().ok_or_else(|| malformed("JPEG", "no header"))?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    check_size(width, height)?;
    let values = decoder.decode().map_err(fail)?;
    let orientation = decoder.exif().and_then(|exif| orientation(exif)).unwrap_or(1);
    Ok(pixels("JPEG", width, height, values)?.turned(orientation))
}

fn pixels(
    kind: &'static str,
    width: usize,
    height: usize,
    values: Vec<u8>,
) -> Result<Pixels, PictureError> {
    let area = width * height;
    match values.len().checked_div(area) {
        Some(channels @ 1..=4) if values.len() == area * channels => {
            Ok(Pixels { width, height, channels, values })
        }
        _ => Err(malformed(kind, format!("{} bytes for {width}x{height} pixels", values.len()))),
    }
}

/// The tag of EXIF that says which way up a camera was held, 1 to 8.
fn orientation(exif: &[u8]) -> Option<u16> {
    const ORIENTATION: u16 = 0x0112;
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let is_little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let half = |at: usize| {
        let bytes = *exif.get(at..)?.first_chunk::<2>()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let bytes = *exif.get(4..)?.first_chunk::<4>()?;
    let word = if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
    let start = usize::try_from(word).ok()?.checked_add(2)?;
    let entries = half(start - 2)?;
    (0..usize::from(entries))
        .filter_map(|i| start.checked_add(12 * i))
        .find(|&at| half(at) == Some(ORIENTATION))
        .and_then(|at| half(at + 8))
}

impl Pixels {
    /// As it is meant to be looked at, for a camera that was held in this way.
    fn turned(self, orientation: u16) -> Self {
        let Self { width, height, channels, .. } = self;
        let [wide, high] = if orientation >= 5 { [height, width] } else { [width, height] };
        // Where the pixel at column x of row y of the result comes from.
        let from = |x: usize, y: usize| match orientation {
            2 => [width - 1 - x, y],
            3 => [width - 1 - x, height - 1 - y],
            4 => [x, height - 1 - y],
            5 => [y, x],
            6 => [y, height - 1 - x],
            7 => [width - 1 - y, height - 1 - x],
            8 => [width - 1 - y, x],
            _ => [x, y],
        };
        if !(2..=8).contains(&orientation) {
            return self;
        }
        let mut values = Vec::with_capacity(self.values.len());
        for y in 0..high {
            for x in 0..wide {
                let [x, y] = from(x, y);
                let at = (y * width + x) * channels;
                values.extend_from_slice(&self.values[at..at + channels]);
            }
        }
        Self { width: wide, height: high, channels, values }
    }

    /// The colours of each pixel, as 3 bytes; what is transparent is paper, white or black,
    /// whichever stands out from what was drawn.
    pub(crate) fn rgb(&self) -> Vec<[u8; 3]> {
        let pixel = |p: &[u8]| match *p {
            [grey] => ([grey; 3], 255),
            [grey, alpha] => ([grey; 3], alpha),
            [r, g, b] => ([r, g, b], 255),
            [r, g, b, alpha] => ([r, g, b], alpha),
            _ => ([0; 3], 255),
        };
        let pixels = || self.values.chunks_exact(self.channels).map(pixel);
        let (mut drawn, mut opaque) = (0_u64, 0_u64);
        for (rgb, alpha) in pixels() {
            drawn += u64::from(luma(rgb)) * u64::from(alpha);
            opaque += u64::from(alpha);
        }
        let paper: u32 = if drawn * 2 > opaque * 255 { 0 } else { 255 };
        let over = |(rgb, alpha): ([u8; 3], u8)| {
            let alpha = u32::from(alpha);
            rgb.map(|c| ((u32::from(c) * alpha + paper * (255 - alpha) + 127) / 255) as u8)
        };
        pixels().map(over).collect()
    }
}

/// Brightness of a colour, Rec. ITU-R BT.709; exact for greys.
pub(crate) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((2126 * u32::from(r) + 7152 * u32::from(g) + 722 * u32::from(b) + 5000) / 10_000) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_stay_what_they_are() {
        for grey in 0..=255 {
            assert_eq!(luma([grey; 3]), grey);
        }
    }

    #[test]
    fn a_picture_is_turned_the_way_up_it_was_meant() {
        // 1 2 3
        // 4 5 6
        let stored = || Pixels { width: 3, height: 2, channels: 1, values: vec![1, 2, 3, 4, 5, 6] };
        for (orientation, width, values) in [
            (1, 3, [1, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (3, 3, [6, 5, 4, 3, 2, 1]),
            (4, 3, [4, 5, 6, 1, 2, 3]),
            (5, 2, [1, 4, 2, 5, 3, 6]),
            (6, 2, [4, 1, 5, 2, 6, 3]),
            (7, 2, [6, 3, 5, 2, 4, 1]),
            (8, 2, [3, 6, 2, 5, 1, 4]),
            (99, 3, [1, 2, 3, 4, 5, 6]),
        ] {
            let turned = stored().turned(orientation);
            assert_eq!((turned.width, &turned.values[..]), (width, &values[..]), "{orientation}");
        }
    }

    #[test]
    fn the_orientation_is_found_in_either_order_of_bytes() {
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let big = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!(orientation(little), Some(6));
        assert_eq!(orientation(big), Some(8));
        assert_eq!(orientation(&little[..12]), None);
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), None);
        assert_eq!(orientation(b""), None);
    }

    #[test]
    fn what_is_transparent_is_paper() {
        let pixels = |values| Pixels { width: 2, height: 1, channels: 2, values };
        assert_eq!(pixels(vec![0, 255, 0, 0]).rgb(), [[0; 3], [255; 3]]);
        assert_eq!(pixels(vec![255, 255, 0, 0]).rgb(), [[255; 3], [0; 3]]);
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let mut bytes = PNG.to_vec();
        bytes.extend(b"\0\0\0\x0dIHDR\0\x01\0\0\0\x01\0\0\x08\0\0\0\0");
        let found = decode(&bytes);
        assert!(matches!(found, Err(PictureError::TooLarge { width: 65_536, .. })), "{found:?}");
    }

    #[test]
    fn damaged_pictures_are_read_or_refused() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/pictures");
        for name in ["0-black-on-white.png", "9-palette.png", "9-sixteen-bits.png", "6-turned.jpg"]
        {
            let whole = std::fs::read(folder.join(name)).unwrap();
            assert!(decode(&whole).is_ok(), "{name}");
            // Random numbers of Knuth's generator (MMIX): which bytes, and what they become.
            let mut state = 1_u64;
            for _ in 0..300 {
                let mut bytes = whole.clone();
                for _ in 0..3 {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let at = (state >> 33) as usize % bytes.len();
                    bytes[at] = (state >> 24) as u8;
                }
                if let Ok(pixels) = decode(&bytes) {
                    let area = pixels.width * pixels.height;
                    assert_eq!(pixels.values.len(), area * pixels.channels, "{name}");
                }
            }
            for end in (8..whole.len()).step_by(97) {
                let _ = decode(&whole[..end]);
            }
        }
    }
}
