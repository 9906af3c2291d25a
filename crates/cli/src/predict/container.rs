//! What kind of file a picture is, and what its container says of it, before anything is unpacked.

/// Kinds of picture files that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Png,
    Jpeg,
    Bmp,
    Gif,
    WebP,
    Tiff,
}

impl Kind {
    /// As people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
        }
    }

    fn of(bytes: &[u8]) -> Option<Self> {
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
}

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
}

/// Whether bytes begin as a picture does that is read here.
pub(crate) fn is_picture(bytes: &[u8]) -> bool {
    Kind::of(bytes).is_some()
}

/// What the container says; nothing if it is none of those that are read.
pub(crate) fn of(bytes: &[u8]) -> Option<Container> {
    let kind = Kind::of(bytes)?;
    let mut found = Container { kind, orientation: None, is_first_of: None, is_raw: false };
    match kind {
        Kind::Png => {
            let chunk = |name: &[u8; 4]| chunks(bytes).find(|chunk| chunk.name == *name);
            // It may come behind the pixels, where the decoder does not look.
            found.orientation = chunk(b"eXIf").and_then(|exif| orientation(exif.data));
            let frames = chunk(b"acTL").and_then(|chunk| be_word(chunk.data, 0)).unwrap_or(0);
            found.is_first_of = (frames > 1).then_some("pictures");
        }
        Kind::Gif => found.is_first_of = (gif_pictures(bytes) > 1).then_some("pictures"),
        // The flags of an extended file: animation is the second bit.
        Kind::WebP if bytes.get(12..16) == Some(b"VP8X") => {
            let is_animated = bytes.get(20).is_some_and(|flags| flags & 2 != 0);
            found.is_first_of = is_animated.then_some("pictures");
        }
        Kind::Tiff => {
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
    /// All of it, with its length and its checksum.
    whole: &'a [u8],
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
        Some(Chunk { name, data: &whole[8..8 + length], whole })
    })
}

/// The file with the chunks alone that it takes to draw it: comments, profiles and thumbnails may
/// unpack to any size. A chunk that is cut off is left to the decoder to complain about.
pub(crate) fn needed_of_png(bytes: &[u8]) -> Vec<u8> {
    let mut needed = PNG.to_vec();
    let mut end = PNG.len();
    for Chunk { name, whole, .. } in chunks(bytes) {
        end += whole.len();
        let is_critical = name[0].is_ascii_uppercase();
        if is_critical || &name == b"tRNS" {
            needed.extend_from_slice(whole);
        }
    }
    needed.extend_from_slice(bytes.get(end..).unwrap_or_default());
    needed
}

/// Width and height, as its header says.
pub(crate) fn size_of_png(bytes: &[u8]) -> Option<[usize; 2]> {
    Some([be_word(bytes, 16)? as usize, be_word(bytes, 20)? as usize])
}

/// The pictures of a GIF file, two at the most.
fn gif_pictures(bytes: &[u8]) -> usize {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 13 + bytes.get(10).map_or(0, |&flags| table(flags));
    let mut count = 0;
    while count < 2 {
        match bytes.get(at) {
            Some(0x21) => at += 2,
            Some(0x2C) => {
                count += 1;
                at += 11 + bytes.get(at + 9).map_or(0, |&flags| table(flags));
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

    /// The value of a tag, if it is one of 2 or 4 bytes, or its first 4.
    fn value(&self, tag: u16) -> Option<u32> {
        const SHORT: u16 = 3;
        let entries = (0..usize::from(self.entries)).map(|i| self.start + 12 * i);
        let at = entries.into_iter().find(|&at| self.half(at) == Some(tag))?;
        if self.half(at + 2)? == SHORT {
            self.half(at + 8).map(u32::from)
        } else {
            self.word(at + 8)
        }
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
            assert!(!is_picture(bytes), "{bytes:?}");
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
                assert!(needed_of_png(&bytes).len() <= bytes.len() + PNG.len());
            }
        }
    }
}
