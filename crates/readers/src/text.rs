//! Text that a person wrote, with whatever editor: lists of labels, settings, tables.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use thiserror::Error;

/// The most bytes of a text that is read as a whole; far more than any list of labels or settings.
const MOST_BYTES: u64 = 4 << 20;

/// Marks of the byte order, longest first, and the encodings that they belong to.
const MARKS: [(&[u8], &str); 4] = [
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// Why bytes are not a text that can be read.
#[derive(Debug, Error)]
pub enum TextError {
    /// The file system says no.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// It is a folder.
    #[error("it is a folder; name the file in it")]
    Folder,
    /// It is far longer than such a text can be.
    #[error("it has more than {most} bytes, so it is not a text of this kind")]
    TooLong {
        /// The most bytes that are read.
        most: u64,
    },
    /// It is a text in another encoding.
    #[error("it is encoded as {found}; save it as UTF-8")]
    Encoding {
        /// The encoding that its first bytes name.
        found: &'static str,
    },
    /// Its lines end as those of old Macs.
    #[error("its lines end with CR alone; end them with LF, as with `tr '\\r' '\\n' <OLD >NEW`")]
    LoneCr,
    /// It is no text in UTF-8.
    #[error("line {line} is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// The line, counted from 1.
        line: usize,
    },
}

/// Reads a file as text, without a byte order mark.
///
/// # Errors
///
/// A [`TextError`]; for a file without an end too, once it is longer than any text of a person.
pub fn read_text(path: &Path) -> Result<String, TextError> {
    if std::fs::metadata(path)?.is_dir() {
        return Err(TextError::Folder);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(TextError::TooLong { most: MOST_BYTES });
    }
    decode_text(&bytes).map(str::to_owned)
}

/// Takes bytes as text in UTF-8, without the byte order mark that some editors begin it with.
///
/// # Errors
///
/// [`TextError::Encoding`], [`TextError::NotUtf8`] and [`TextError::LoneCr`].
///
/// ```
/// use fireclay_readers::decode_text;
///
/// assert_eq!(decode_text("\u{feff}cat".as_bytes())?, "cat");
/// assert!(decode_text(b"\xff\xfec\0a\0t\0").is_err());
/// # Ok::<(), fireclay_readers::TextError>(())
/// ```
pub fn decode_text(bytes: &[u8]) -> Result<&str, TextError> {
    if let Some((_, found)) = MARKS.into_iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Err(TextError::Encoding { found });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        TextError::NotUtf8 { line: before.iter().filter(|&&byte| byte == b'\n').count() + 1 }
    })?;
    // Without a mark, every second byte of Latin letters is 0.
    if matches!(bytes, [0, letter, ..] | [letter, 0, ..] if *letter != 0) {
        return Err(TextError::Encoding { found: "UTF-16" });
    }
    if has_lone_cr(bytes) {
        return Err(TextError::LoneCr);
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Returns true if a CR stands between letters of one line.
fn has_lone_cr(bytes: &[u8]) -> bool {
    bytes.contains(&b'\r')
        && bytes.windows(2).any(|pair| pair[0] == b'\r' && !matches!(pair[1], b'\n' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_not_part_of_the_text() {
        assert_eq!(decode_text(b"\xef\xbb\xbfa\r\nb").unwrap(), "a\r\nb");
        assert_eq!(decode_text("ä".as_bytes()).unwrap(), "ä");
        assert_eq!(decode_text(b"").unwrap(), "");
        assert_eq!(decode_text(b"a\r\r\nb\r").unwrap(), "a\r\r\nb\r");
    }

    #[test]
    fn other_encodings_are_named() {
        for (bytes, expected) in [
            (&b"\xff\xfea\0"[..], "it is encoded as UTF-16; save it as UTF-8"),
            (b"\xfe\xff\0a", "it is encoded as UTF-16; save it as UTF-8"),
            (b"a\0b\0", "it is encoded as UTF-16; save it as UTF-8"),
            (b"\0a\0b", "it is encoded as UTF-16; save it as UTF-8"),
            (b"\xff\xfe\0\0a\0\0\0", "it is encoded as UTF-32; save it as UTF-8"),
            (b"a\nb\nM\xfcll\n", "line 3 is not UTF-8; save the file as UTF-8"),
            (
                b"a\rb\r",
                "its lines end with CR alone; end them with LF, as with `tr '\\r' '\\n' <OLD >NEW`",
            ),
        ] {
            assert_eq!(decode_text(bytes).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_text(folder.path()), Err(TextError::Folder)));
        #[cfg(unix)]
        assert!(matches!(read_text(Path::new("/dev/zero")), Err(TextError::TooLong { .. })));
    }
}
