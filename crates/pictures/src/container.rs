//! What kind of file a picture is, and what its container says of it, before anything is unpacked.

use std::io::Read;

use fireclay_terminal::counted;

use crate::PictureError;

/// The kind of a picture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Portable Network Graphics.
    Png,
    /// JPEG, baseline or progressive.
    Jpeg,
    /// Windows bitmap.
    Bmp,
    /// Graphics Interchange Format.
    Gif,
    /// WebP.
    WebP,
    /// Tagged Image File Format.
    Tiff,
}

impl Kind {
    /// The name that people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
        }
    }

    /// Finds the kind by the first bytes of a file; none if they are of no picture that is read here.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(PNG) {
            return Some(Self::Png);
        }
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Some(Self::Tiff),
            // A table may begin with these letters, too: the reserved bytes and the header's size.
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, _, _, _, _, 12..=124, 0, 0, 0, ..] => {
                Some(Self::Bmp)
            }
            _ => None,
        }
    }

    /// Reads the bytes of a file of this kind, whose number may be known; of a PNG, those alone that it
    /// takes to draw it, for the rest may be of any size.
    ///
    /// # Errors
    ///
    /// [`PictureError::Stream`], and [`PictureError::LargeFile`].
    pub fn read(self, from: impl Read, length: Option<u64>) -> Result<Vec<u8>, PictureError> {
        let bytes = match self {
            Self::Png => needed_of_png(from)?,
            _ if length.is_some_and(|length| length > MOST_OF_A_FILE) => Vec::new(),
            _ => {
                let mut bytes = Vec::new();
                from.take(MOST_OF_A_FILE + 1).read_to_end(&mut bytes)?;
                bytes
            }
        };
        let is_known = self != Self::Png;
        let bytes_read = length.filter(|_| is_known).unwrap_or(bytes.len() as u64);
        if bytes_read > MOST_OF_A_FILE {
            return Err(PictureError::LargeFile { bytes: length });
        }
        Ok(bytes)
    }
}

/// The most bytes of a picture's file that are needed to draw it.
pub(crate) const MOST_OF_A_FILE: u64 = 128 << 20;
/// The most bytes of a chunk that says how a picture is looked at.
const MOST_OF_A_NOTE: u64 = 1 << 16;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What a container says of its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) kind: Kind,
    /// The tag of EXIF that says which way up a camera was held, where the decoder does not look.
    pub(crate) orientation: Option<u8>,
    /// `pages` or `pictures`, if there are more than the one that is read.
    pub(crate) is_first_of: Option<&'static str>,
    /// Whether it is what a camera saw before it made a picture of it.
    pub(crate) is_raw: bool,
    /// How many times the decoded pixels are in memory while it is decoded.
    pub(crate) copies: usize,
}

/// What the container says; nothing if it is none of those that are read.
pub(crate) fn of(bytes: &[u8]) -> Option<Container> {
    let kind = Kind::of(bytes)?;
    let mut found =
        Container { kind, orientation: None, is_first_of: None, is_raw: false, copies: 1 };
    match kind {
        Kind::Png => {
            // It may come behind the pixels, where the decoder does not look.
            found.orientation = chunk(bytes, b"eXIf").and_then(orientation);
            let frames = chunk(bytes, b"acTL").and_then(|data| be_word(data, 0)).unwrap_or(0);
            found.is_first_of = (frames > 1).then_some("pictures");
        }
        // All coefficients are kept, of two bytes for each, until the last scan.
        Kind::Jpeg if is_progressive(bytes) => found.copies = 3,
        Kind::Gif => {
            found.is_first_of = (gif_pictures(bytes) > 1).then_some("pictures");
        }
        // The flags of an extended file: animation is the second bit.
        Kind::WebP if bytes.get(12..16) == Some(b"VP8X") => {
            let is_animated = bytes.get(20).is_some_and(|flags| flags & 2 != 0);
            found.is_first_of = is_animated.then_some("pictures");
        }
        Kind::Tiff => {
            // A strip may be all of the picture.
            found.copies = 2;
            if let Some(directory) = Directory::of(bytes) {
                const REDUCED: u16 = 254;
                const DNG_VERSION: u16 = 0xC612;
                let is_reduced = directory.value(REDUCED).is_some_and(|value| value & 1 == 1);
                let is_canon = bytes.get(8..10) == Some(b"CR");
                found.is_raw = is_reduced || is_canon || directory.value(DNG_VERSION).is_some();
                found.is_first_of = directory.has_next().then_some("pages");
            }
        }
        _ => {}
    }
    Some(found)
}

/// A chunk of a PNG file.
struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
}

/// The data of the first whole chunk of this name.
fn chunk<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    chunks(bytes).find(|chunk| chunk.name == *name).map(|chunk| chunk.data)
}

/// The chunks that are whole.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut at = PNG.len();
    std::iter::from_fn(move || {
        let length = be_word(bytes, at)? as usize;
        let end = at.checked_add(length)?.checked_add(12)?;
        let whole = bytes.get(at..end)?;
        at = end;
        let name = *whole.get(4..)?.first_chunk::<4>()?;
        Some(Chunk { name, data: &whole[8..8 + length] })
    })
}

/// A PNG file with the chunks alone that it takes to draw it, and small ones that say how it is looked at:
/// comments, profiles and thumbnails may unpack to any size. A chunk that is cut off is left to the
/// decoder to complain about.
fn needed_of_png(mut from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut needed = Vec::new();
    from.by_ref().take(PNG.len() as u64).read_to_end(&mut needed)?;
    loop {
        let mut head = Vec::new();
        from.by_ref().take(8).read_to_end(&mut head)?;
        let (Some(length), Some(name)) = (be_word(&head, 0), head.get(4..8)) else {
            needed.extend(head);
            return Ok(needed);
        };
        // With its checksum.
        let length = u64::from(length) + 4;
        let is_note = name == b"eXIf" || name == b"acTL";
        let is_needed = name[0].is_ascii_uppercase()
            || name == b"tRNS"
            || (is_note && length <= MOST_OF_A_NOTE);
        let is_end = name == b"IEND";
        if is_needed {
            needed.extend(head);
            let room = (MOST_OF_A_FILE + 1).saturating_sub(needed.len() as u64);
            from.by_ref().take(length.min(room)).read_to_end(&mut needed)?;
        } else {
            std::io::copy(&mut from.by_ref().take(length), &mut std::io::sink())?;
        }
        if is_end || needed.len() as u64 > MOST_OF_A_FILE {
            return Ok(needed);
        }
    }
}

/// Width and height of a PNG file, as its header says.
pub(crate) fn size_of_png(bytes: &[u8]) -> Option<[usize; 2]> {
    Some([be_word(bytes, 16)? as usize, be_word(bytes, 20)? as usize])
}

/// Whether a JPEG file has its picture in several scans, each finer than the last.
fn is_progressive(bytes: &[u8]) -> bool {
    matches!(jpeg_frame(bytes), Some(0xC2 | 0xC6 | 0xCA | 0xCE))
}

/// The marker of a JPEG file's frame, which says how its picture is coded.
fn jpeg_frame(bytes: &[u8]) -> Option<u8> {
    let mut at = 2;
    while let (Some(0xFF), Some(&marker)) = (bytes.get(at), bytes.get(at + 1)) {
        match marker {
            // Any number of fill bytes stands before a marker.
            0xFF => at += 1,
            // Tables, and what is reserved, have numbers among those of frames.
            0xC4 | 0xC8 | 0xCC => at += jpeg_segment(bytes, at)?,
            0xC0..=0xCF => return Some(marker),
            // The first scan.
            0xDA => return None,
            _ => at += jpeg_segment(bytes, at)?,
        }
    }
    None
}

/// The bytes of a segment with its marker.
fn jpeg_segment(bytes: &[u8], at: usize) -> Option<usize> {
    let length = *bytes.get(at + 2..)?.first_chunk::<2>()?;
    Some(2 + usize::from(u16::from_be_bytes(length)))
}

/// What a whole file holds that is not read here, as far as its container says it.
pub(crate) fn unread(kind: Kind, bytes: &[u8]) -> Option<String> {
    match kind {
        Kind::Jpeg => match jpeg_frame(bytes)? {
            0xC0..=0xC2 => None,
            0xC3 => Some("pixels of lossless JPEG".to_owned()),
            0xC9..=0xCB => Some("pixels in arithmetic coding".to_owned()),
            _ => Some("pixels of hierarchical JPEG".to_owned()),
        },
        Kind::Tiff => unread_of_tiff(&Directory::of(bytes)?),
        _ => None,
    }
}

/// The first of these that is not usual: the kind of the numbers, how many bits they have, what the
/// colours are, and how all is compressed (TIFF 6.0, sections 8, 16, 19 and 23).
fn unread_of_tiff(directory: &Directory<'_>) -> Option<String> {
    const BITS: u16 = 258;
    const COMPRESSION: u16 = 259;
    const COLOURS: u16 = 262;
    const FORMAT: u16 = 339;
    let bits = directory.value(BITS).unwrap_or(1);
    let size = counted(bits.into(), "bit");
    match directory.value(FORMAT) {
        Some(2) => return Some(format!("signed whole numbers of {size}")),
        Some(3) => return Some(format!("floating-point numbers of {size}")),
        _ => {}
    }
    if ![1, 8, 16].contains(&bits) {
        return Some(format!("numbers of {size}"));
    }
    match directory.value(COLOURS) {
        Some(6) => return Some("colours as YCbCr".to_owned()),
        Some(8..=10) => return Some("colours as L*a*b*".to_owned()),
        Some(colours @ 11..) => return Some(format!("colours of kind {colours}")),
        _ => {}
    }
    directory.value(COMPRESSION).map(|kind| format!("pixels in compression {kind}"))
}

/// Bytes of the table of colours that these flags of a GIF file announce.
fn gif_table(flags: &u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// The pictures of a GIF file, two at the most.
fn gif_pictures(bytes: &[u8]) -> usize {
    let mut at = 13 + bytes.get(10).map_or(0, gif_table);
    let mut count = 0;
    while count < 2 {
        match bytes.get(at) {
            Some(0x21) => at += 2,
            Some(0x2C) => {
                count += 1;
                at += 11 + bytes.get(at + 9).map_or(0, gif_table);
            }
            _ => break,
        }
        // Blocks with their length before them, the last one empty.
        while let Some(&length) = bytes.get(at) {
            at += 1 + usize::from(length);
            if length == 0 {
                break;
            }
        }
    }
    count
}

fn be_word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?))
}

/// The first directory of a TIFF file, or of EXIF, which is one.
struct Directory<'a> {
    bytes: &'a [u8],
    is_little: bool,
    /// Where its entries begin, of 12 bytes each.
    start: usize,
    entries: u16,
}

impl<'a> Directory<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let is_little = match bytes.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let mut found = Self { bytes, is_little, start: 0, entries: 0 };
        let at = usize::try_from(found.word(4)?).ok()?;
        found.entries = found.half(at)?;
        found.start = at.checked_add(2)?;
        Some(found)
    }

    fn half(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk::<2>()?;
        Some(if self.is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk::<4>()?;
        Some(if self.is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// The value of a tag, if it is of 2 or 4 bytes, or the first of several.
    fn value(&self, tag: u16) -> Option<u32> {
        const SHORT: u16 = 3;
        let entries = (0..usize::from(self.entries)).map(|i| self.start + 12 * i);
        let at = entries.into_iter().find(|&at| self.half(at) == Some(tag))?;
        let (is_short, count) = (self.half(at + 2)? == SHORT, self.word(at + 4)?);
        // More than 4 bytes stand elsewhere, and their place here.
        let is_here = count <= if is_short { 2 } else { 1 };
        let place = if is_here { at + 8 } else { usize::try_from(self.word(at + 8)?).ok()? };
        if is_short { self.half(place).map(u32::from) } else { self.word(place) }
    }

    fn has_next(&self) -> bool {
        self.word(self.start + 12 * usize::from(self.entries)).is_some_and(|next| next != 0)
    }
}

/// The tag of EXIF that says which way up a camera was held, 1 to 8.
fn orientation(exif: &[u8]) -> Option<u8> {
    const ORIENTATION: u16 = 0x0112;
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let value = Directory::of(exif)?.value(ORIENTATION)?;
    u8::try_from(value).ok().filter(|value| (1..=8).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn tables_and_arrays_are_no_pictures() {
        for bytes in [&b"BMI,age\n1,2\n"[..], b"MM,II\n", b"\0\0\x08\x03", b"GIF,1\n", b"RIFF", b""]
        {
            assert!(Kind::of(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn no_bytes_hang_or_panic() {
        // Knuth's generator (MMIX).
        let mut state = 7_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        for start in [PNG, b"GIF89a", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"RIFF0000WEBPVP8X"] {
            for length in 0..200 {
                let bytes: Vec<u8> =
                    start.iter().copied().chain((0..length).map(|_| next())).collect();
                let _ = of(&bytes);
                assert!(needed_of_png(&bytes[..]).unwrap().len() <= bytes.len());
            }
        }
    }
}
