//! Picture files to pixels.

use std::cell::Cell;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use fireclay_terminal::printable;
use image::codecs::bmp::BmpDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageError, ImageResult, Limits};

use crate::PictureError;
use crate::container::{self, Container, Kind};
use crate::pixels::{Picture, Pixels};
use crate::scanlines;

/// The longest side that is read, in pixels.
pub(crate) const MOST_SIDE: usize = 16_384;
/// The most pixels that are read.
pub(crate) const MOST_PIXELS: usize = 64 << 20;
/// The most memory that decoding a file of any size takes, in bytes.
pub(crate) const MOST_BYTES: usize = 64 << 20;
/// How many times as many bytes there may be above that: more are of pictures of one colour, or made
/// to fill the memory.
pub(crate) const MOST_RATIO: usize = 50;

/// Decodes a picture file, which may come from a stranger, the way up it is meant to be looked at.
/// Pictures of more than `most_side` are made smaller by a whole number.
pub(crate) fn decode(bytes: &[u8], most_side: usize) -> Result<Picture, PictureError> {
    let Some(container) = container::of(bytes) else {
        return Err(malformed("", "it does not begin as one"));
    };
    if container.is_raw {
        return Err(PictureError::Raw);
    }
    let name = container.kind.name();
    if container.kind == Kind::Jpeg
        && let Some(what) = container::unread(Kind::Jpeg, bytes)
    {
        return Err(PictureError::Unread { kind: name, what });
    }
    let decoded = caught(|| decoded(bytes, &container, most_side));
    let mut picture = decoded.ok_or_else(|| malformed(name, "the decoder gave up on it"))??;
    picture.done.extend(container.is_first_of.map(|all| format!("the first of its {all}")));
    Ok(picture)
}

thread_local! {
    static IS_DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder; nothing if it panics. Those used here are written in safe Rust but for their vector
/// instructions, and a damaged file may still trip one of their assertions.
fn caught<T>(decode: impl FnOnce() -> T) -> Option<T> {
    let before = IS_DECODING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    IS_DECODING.set(before);
    result.ok()
}

/// Keeps quiet about panics of decoders, which are errors of [`crate::row`] whether they are printed or
/// not. All other panics go to the hook that is set now. For programs, before they decode anything.
pub fn silence_decoders() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_DECODING.get() {
                hook(panic);
            }
        }));
    });
}

pub(crate) fn malformed(kind: &'static str, what: impl std::fmt::Display) -> PictureError {
    PictureError::Malformed { kind, what: printable(&what.to_string(), 200) }
}

fn decoded(bytes: &[u8], container: &Container, most_side: usize) -> Result<Picture, PictureError> {
    let from = Cursor::new(bytes);
    let (pixels, orientation) = match container.kind {
        Kind::Png => {
            let picture = scanlines::png(bytes, most_side)?;
            return Ok(picture.turned(container.orientation.unwrap_or(1)));
        }
        Kind::Gif => return scanlines::gif(bytes, most_side),
        Kind::Jpeg => pixels(JpegDecoder::new(from), bytes, container)?,
        Kind::Bmp => pixels(BmpDecoder::new(from), bytes, container)?,
        Kind::WebP => pixels(WebPDecoder::new(from), bytes, container)?,
        Kind::Tiff => pixels(TiffDecoder::new(from), bytes, container)?,
    };
    Ok(pixels.flattened(factor(pixels.width, pixels.height, most_side)).turned(orientation))
}

/// How many times smaller a picture has to become to have sides of at most `most_side`.
pub(crate) fn factor(width: usize, height: usize, most_side: usize) -> usize {
    width.max(height).div_ceil(most_side.max(1))
}

/// What a decoder says of a file: it is damaged, or holds what is not read here.
fn failed(kind: Kind, bytes: &[u8], error: ImageError) -> PictureError {
    match error {
        ImageError::Unsupported(_) => {
            unread(kind, bytes, &format!("what its decoder does not know ({error})"))
        }
        error => malformed(kind.name(), error),
    }
}

/// Pixels that are not read: what the container says of them, or else these words.
fn unread(kind: Kind, bytes: &[u8], words: &str) -> PictureError {
    let said = container::unread(kind, bytes);
    let what = said.unwrap_or_else(|| printable(words, 200));
    PictureError::Unread { kind: kind.name(), what }
}

/// The pixels, and the tag of EXIF that says which way up a camera was held.
fn pixels(
    decoder: ImageResult<impl ImageDecoder>,
    bytes: &[u8],
    container: &Container,
) -> Result<(Pixels, u8), PictureError> {
    let kind = container.kind;
    let mut decoder = decoder.map_err(|error| failed(kind, bytes, error))?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    let decoded = usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX);
    let memory = decoded.saturating_mul(container.copies);
    check_size(width, height, memory, bytes.len())?;
    let limited = decoder.set_limits(limits(memory.saturating_add(MOST_BYTES)));
    limited.map_err(|error| failed(kind, bytes, error))?;
    let orientation = match container.orientation {
        Some(orientation) => orientation,
        // A tag that cannot be read says nothing of the pixels.
        None => decoder.orientation().map_or(1, image::metadata::Orientation::to_exif),
    };
    let image = DynamicImage::from_decoder(decoder).map_err(|error| failed(kind, bytes, error))?;
    let (channels, values) = match image {
        DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => (2, image.into_raw()),
        DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
        DynamicImage::ImageRgba8(image) => (4, image.into_raw()),
        image @ DynamicImage::ImageLuma16(_) => (1, image.into_luma8().into_raw()),
        image @ DynamicImage::ImageLumaA16(_) => (2, image.into_luma_alpha8().into_raw()),
        image @ DynamicImage::ImageRgb16(_) => (3, image.into_rgb8().into_raw()),
        image @ DynamicImage::ImageRgba16(_) => (4, image.into_rgba8().into_raw()),
        _ => return Err(unread(kind, bytes, "numbers that are not of 8 or 16 bits")),
    };
    Ok((Pixels { width, height, channels, values }, orientation))
}

/// Refuses a picture of this size whose decoded pixels take so many bytes, from a file of so many.
pub(crate) fn check_size(
    width: usize,
    height: usize,
    decoded: usize,
    bytes: usize,
) -> Result<(), PictureError> {
    let pixels = width.saturating_mul(height);
    if width > MOST_SIDE || height > MOST_SIDE || pixels > MOST_PIXELS {
        return Err(PictureError::TooLarge { width, height });
    }
    if decoded > MOST_BYTES.max(bytes.saturating_mul(MOST_RATIO)) {
        return Err(PictureError::Inflated { width, height, bytes });
    }
    Ok(())
}

/// Limits of a decoder that takes no more memory than this.
fn limits(bytes: usize) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(bytes as u64);
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    use image::{ImageEncoder, ImageFormat};

    const ARROW: [u8; 12] = [10, 200, 30, 40, 250, 60, 70, 80, 90, 100, 110, 120];

    /// A picture of 3x4 in a file of this kind, with this chunk of EXIF if the kind has a place for it.
    fn file(kind: ImageFormat, exif: Option<Vec<u8>>) -> Vec<u8> {
        let rgb: Vec<u8> = ARROW.iter().flat_map(|&grey| [grey; 3]).collect();
        let mut bytes = Cursor::new(Vec::new());
        let colour = image::ExtendedColorType::Rgb8;
        match (kind, exif) {
            (ImageFormat::Png, Some(exif)) => {
                let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
                encoder.set_exif_metadata(exif).unwrap();
                encoder.write_image(&rgb, 3, 4, colour).unwrap();
            }
            (ImageFormat::WebP, Some(exif)) => {
                let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut bytes);
                encoder.set_exif_metadata(exif).unwrap();
                encoder.write_image(&rgb, 3, 4, colour).unwrap();
            }
            (kind, _) => {
                image::write_buffer_with_format(&mut bytes, &rgb, 3, 4, colour, kind).unwrap();
            }
        }
        bytes.into_inner()
    }

    fn exif(orientation: u8) -> Vec<u8> {
        let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        exif
    }

    /// A file as it is read from a disk.
    fn read(bytes: &[u8]) -> Picture {
        let bytes = container::Kind::of(bytes).unwrap().read(bytes, None).unwrap();
        decode(&bytes, 1200).unwrap()
    }

    fn greys(picture: &Picture) -> Vec<u8> {
        picture.pixels.iter().map(|pixel| pixel[0]).collect()
    }

    #[test]
    fn every_kind_of_file_has_the_same_pixels() {
        use ImageFormat::{Bmp, Gif, Png, Tiff, WebP};
        for kind in [Png, Bmp, Gif, Tiff, WebP] {
            let found = decode(&file(kind, None), 1200).unwrap();
            assert_eq!((found.width, found.height), (3, 4), "{kind:?}");
            assert_eq!(greys(&found), ARROW, "{kind:?}");
            assert!(found.done.is_empty(), "{kind:?} {:?}", found.done);
        }
        let found = decode(&file(ImageFormat::Jpeg, None), 1200).unwrap();
        assert_eq!((found.width, found.height), (3, 4));
    }

    #[test]
    fn the_tag_of_a_camera_turns_png_and_webp_too() {
        let turned = [100, 70, 40, 10, 110, 80, 250, 200, 120, 90, 60, 30];
        for kind in [ImageFormat::Png, ImageFormat::WebP] {
            let found = decode(&file(kind, Some(exif(6))), 1200).unwrap();
            assert_eq!((found.width, greys(&found)), (4, turned.to_vec()), "{kind:?}");
            let found = decode(&file(kind, Some(exif(1))), 1200).unwrap();
            assert_eq!((found.width, greys(&found)), (3, ARROW.to_vec()), "{kind:?}");
        }
        // Behind the pixels, where PNG allows it, too.
        let png = file(ImageFormat::Png, Some(exif(6)));
        let at = png.windows(4).position(|name| name == b"eXIf").unwrap() - 4;
        let length = 12 + exif(6).len();
        let end = png.len() - 12;
        let late =
            [&png[..at], &png[at + length..end], &png[at..at + length], &png[end..]].concat();
        assert_eq!(greys(&read(&late)), turned);
        // TIFF has the tag in its own directory, which the encoder does not write.
        let mut tiff = file(ImageFormat::Tiff, None);
        let start = u32::from_le_bytes(*tiff[4..].first_chunk().unwrap()) as usize + 2;
        let entries = u16::from_le_bytes([tiff[start - 2], tiff[start - 1]]) as usize;
        // Of the tags that say nothing of the pixels, the resolution becomes the orientation.
        let place = (0..entries).map(|i| start + 12 * i).find(|&at| tiff[at..at + 2] == [0x1A, 1]);
        let at = place.unwrap();
        tiff[at..at + 12].copy_from_slice(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0");
        assert_eq!(greys(&decode(&tiff, 1200).unwrap()), turned);
    }

    #[test]
    fn comments_that_unpack_to_anything_are_left_packed() {
        let png = file(ImageFormat::Png, None);
        let end = png.len() - 12;
        // A comment of 64 MiB of zeros would take as much memory; here it is not even well-formed.
        let comment = b"\0\0\0\x08zTXtA\0\0nonse\0\0\0\0".to_vec();
        let thumbnail = [b"\0\x10\0\0eXIf".to_vec(), vec![7; (1 << 20) + 4]].concat();
        for (at, chunk) in [(33, &comment), (end, &comment), (33, &thumbnail), (end, &thumbnail)] {
            let file = [&png[..at], chunk, &png[at..]].concat();
            let kept = container::Kind::Png.read(&file[..], None).unwrap();
            assert_eq!(kept, png);
            assert_eq!(greys(&read(&file)), ARROW, "{at}");
        }
    }

    #[test]
    fn the_first_of_several_pictures_is_read_and_said_to_be() {
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
        for shade in [50, 200] {
            let frame = image::RgbaImage::from_pixel(6, 5, image::Rgba([shade, shade, shade, 255]));
            encoder.encode_frame(image::Frame::new(frame)).unwrap();
        }
        drop(encoder);
        let found = decode(&bytes, 1200).unwrap();
        assert_eq!(
            (greys(&found), found.done),
            (vec![50; 30], vec!["the first of its pictures".to_owned()])
        );
    }

    #[test]
    fn pixels_that_are_not_read_are_named() {
        let mut float = Cursor::new(Vec::new());
        let pixels: image::Rgb32FImage = image::ImageBuffer::from_pixel(4, 4, image::Rgb([0.5; 3]));
        pixels.write_to(&mut float, ImageFormat::Tiff).unwrap();
        let mut jpeg = file(ImageFormat::Jpeg, None);
        let frame = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
        jpeg[frame + 1] = 0xC9;
        for (bytes, words) in [
            (float.into_inner(), "the TIFF picture holds floating-point numbers of 32 bits;"),
            (jpeg, "the JPEG picture holds pixels in arithmetic coding;"),
        ] {
            let error = decode(&bytes, 1200).unwrap_err().to_string();
            assert!(error.contains(words) && error.ends_with("so save it as PNG"), "{error}");
        }
    }

    #[test]
    fn interlaced_rows_and_wide_numbers_have_the_same_pixels() {
        let values: Vec<u16> = ARROW.iter().map(|&grey| u16::from(grey) * 257 + 128).collect();
        let wide = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(3, 4, values).unwrap();
        let mut bytes = Cursor::new(Vec::new());
        wide.write_to(&mut bytes, ImageFormat::Png).unwrap();
        // 128 of 65,535 more than the grey of 8 bits is the last number that is nearest to it.
        assert_eq!(greys(&decode(&bytes.into_inner(), 1200).unwrap()), ARROW);
        // By the seven passes of PNG, section 8.1; Pillow reads ARROW from it.
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x04\x08\0\0\0\x01\x19A\xeaM\0\0\0\x1eIDATx\x01\x01\x13\0\xec\xff\0\n\0\x1e\0FZ\0\xc8\0P\0(\xfa<\0dnx!\x15\x04\x89{\xeb\xa0D\0\0\0\0IEND\xaeB`\x82";
        assert_eq!(greys(&decode(png, 1200).unwrap()), ARROW);
        // GIF 89a, appendix E: every eighth row, from the fifth every eighth, from the third every
        // fourth, and the rest.
        let rows = [0, 2, 1, 3].map(|y| &ARROW[3 * y..3 * y + 3]).concat();
        let palette: Vec<u8> = (0..=255).flat_map(|grey| [grey; 3]).collect();
        let mut frame = gif::Frame::from_indexed_pixels(3, 4, rows, Some(60));
        (frame.interlaced, frame.left, frame.top) = (true, 1, 2);
        let mut bytes = Vec::new();
        let mut encoder = gif::Encoder::new(&mut bytes, 5, 6, &palette).unwrap();
        encoder.write_frame(&frame).unwrap();
        drop(encoder);
        let mut expected = [255; 30];
        for (i, grey) in ARROW.into_iter().enumerate().filter(|(_, grey)| *grey != 60) {
            expected[5 * (2 + i / 3) + 1 + i % 3] = grey;
        }
        assert_eq!(greys(&decode(&bytes, 1200).unwrap()), expected);
    }

    #[test]
    fn few_bytes_hold_no_large_picture() {
        assert!(check_size(16_000, 4_000, 3 * 64_000_000, 60_000).is_err());
        assert!(check_size(16_000, 4_000, 64_000_000, 60_000).is_ok());
        // Cameras: 48 megapixels in 6 MB as JPEG, 24 in 30 MB as PNG.
        assert!(check_size(8_000, 6_000, 3 * 48_000_000, 6_000_000).is_ok());
        assert!(check_size(6_000, 4_000, 3 * 24_000_000, 30_000_000).is_ok());
        assert!(check_size(8_000, 6_000, 3 * 48_000_000, 1_000_000).is_err());
        assert!(check_size(20_000, 10, 200_000, 60_000).is_err());
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        bytes.extend(b"\0\0\0\x0dIHDR\0\x01\0\0\0\x01\0\0\x08\0\0\0\0");
        let found = decode(&bytes, 1200);
        assert!(matches!(found, Err(PictureError::TooLarge { width: 65_536, .. })), "{found:?}");
    }

    #[test]
    fn damaged_pictures_are_read_or_refused() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/pictures");
        for name in ["0-black-on-white.png", "9-palette.png", "9-sixteen-bits.png", "6-turned.jpg"]
        {
            let whole = std::fs::read(folder.join(name)).unwrap();
            assert!(decode(&whole, 1200).is_ok(), "{name}");
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
                if let Ok(picture) = decode(&bytes, 1200) {
                    assert_eq!(picture.pixels.len(), picture.width * picture.height, "{name}");
                }
            }
            for end in (8..whole.len()).step_by(97) {
                let _ = decode(&whole[..end], 1200);
            }
        }
    }
}
