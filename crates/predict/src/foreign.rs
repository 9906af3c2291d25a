//! Files that are not read here, by name, with the way out.

use std::path::Path;

/// A file of a kind that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is {kind}; {remedy}")]
pub struct Foreign {
    /// What it is, such as `a PDF document`.
    pub kind: &'static str,
    /// What to do with it.
    pub remedy: &'static str,
}

impl Foreign {
    /// What a file is whose first bytes are these; nothing if it is not known.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        kind(bytes).map(|(kind, remedy)| Self { kind, remedy })
    }
}

/// What a file should be by its name, if that is no table.
pub(crate) fn promised(name: &Path) -> Option<&'static str> {
    let name = name.file_name()?.to_str()?.to_lowercase();
    const ENDS: [(&str, &str); 13] = [
        (".png", "a PNG picture"),
        (".jpg", "a JPEG picture"),
        (".jpeg", "a JPEG picture"),
        (".gif", "a GIF picture"),
        (".bmp", "a BMP picture"),
        (".webp", "a WebP picture"),
        (".tif", "a TIFF picture"),
        (".tiff", "a TIFF picture"),
        (".wav", "a WAV recording"),
        (".flac", "a FLAC recording"),
        (".npy", "an array of NumPy"),
        (".idx", "an IDX file"),
        ("-ubyte", "an IDX file"),
    ];
    ENDS.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, kind)| kind)
}

const CONVERT: &str = "save it as PNG or JPEG, with any viewer of pictures";
const DECOMPRESS: &str = "decompress it first";
const AS_WAV: &str = "save it as WAV or FLAC, with any editor of sounds";
const A_MODEL: &str = "it belongs in the place of the model, and the inputs behind it";

/// How files begin, what they are, and what to do with them.
const BEGINNINGS: [(&[u8], &str, &str); 39] = [
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", CONVERT),
    (b"\xff\x0a", "a JPEG XL picture", CONVERT),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", CONVERT),
    (b"\0\0\x01\0", "an icon", CONVERT),
    (b"%PDF", "a PDF document", "save its page as PNG"),
    (b"%!PS", "a PostScript document", "save its page as PNG"),
    (b"8BPS", "a Photoshop document", CONVERT),
    (b"gimp xcf", "a GIMP picture", "export it as PNG"),
    (b"qoif", "a QOI picture", CONVERT),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture", CONVERT),
    (b"#?RADIANCE", "a Radiance picture", CONVERT),
    (b"DDS ", "a DDS picture", CONVERT),
    (b"AT&TFORM", "a DjVu document", "save its page as PNG"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file", CONVERT),
    (b"IIRO", "a camera's raw file", CONVERT),
    (b"IIRS", "a camera's raw file", CONVERT),
    (b"IIU\0", "a camera's raw file", CONVERT),
    (b"P1\n", "a PNM picture", CONVERT),
    (b"P2\n", "a PNM picture", CONVERT),
    (b"P3\n", "a PNM picture", CONVERT),
    (b"P4\n", "a PNM picture", CONVERT),
    (b"P5\n", "a PNM picture", CONVERT),
    (b"P6\n", "a PNM picture", CONVERT),
    (b"ID3", "an MP3 recording", AS_WAV),
    (b"\xff\xfb", "an MP3 recording", AS_WAV),
    (b"\xff\xf3", "an MP3 recording", AS_WAV),
    (b"OggS", "an Ogg recording", AS_WAV),
    (b"FORM", "an AIFF recording", AS_WAV),
    (b"RF64", "a WAV recording of 64 bits", AS_WAV),
    (b"BZh", "a file compressed by bzip2", DECOMPRESS),
    (b"\xfd7zXZ\0", "a file compressed by xz", DECOMPRESS),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first; of a .npz take one array as .npy"),
    (b"\x89HDF", "an HDF5 file", "save its array with numpy.save"),
    (b"PAR1", "a Parquet file", "save it as CSV"),
    (b"{\\rtf", "a text document", "save a table as CSV"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file with `git lfs pull`"),
    (b"\x80\x04\x95", "a pickle", "save its array with numpy.save"),
];

/// What a file is, and what to do with it.
fn kind(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if let Some(brand) = bytes.get(8..12).filter(|_| bytes.get(4..8) == Some(b"ftyp")) {
        return Some(match brand {
            b"avif" | b"avis" => ("an AVIF picture", CONVERT),
            b"crx " => ("a camera's raw file", CONVERT),
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"mif1" | b"msf1" => {
                ("a HEIC picture", CONVERT)
            }
            b"M4A " | b"M4B " => ("an M4A recording", AS_WAV),
            _ => ("a video", "save a picture of it as PNG or JPEG"),
        });
    }
    if let Some((_, kind, remedy)) = BEGINNINGS.into_iter().find(|(b, ..)| bytes.starts_with(b)) {
        return Some((kind, remedy));
    }
    if bytes.get(8) == Some(&b'{') && bytes.get(3..8) == Some(&[0; 5]) {
        return Some(("a safetensors file", A_MODEL));
    }
    kind_of_text(bytes.get(..bytes.len().min(512))?)
}

/// What a text is that begins so, and what to do with it.
fn kind_of_text(start: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = String::from_utf8_lossy(start).trim_start_matches('\u{feff}').to_lowercase();
    let text = text.trim_start();
    if text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg")) {
        return Some(("an SVG drawing", "export it as PNG"));
    }
    if text.starts_with("<!doctype html") || text.starts_with("<html") {
        return Some(("a web page", "a download went wrong; fetch the file itself"));
    }
    if text.starts_with("<?xml") {
        return Some(("an XML document", "save a picture as PNG or JPEG, or a table as CSV"));
    }
    if text.starts_with('{') || text.starts_with('[') {
        return Some(("JSON", "write one row of numbers a line, as CSV"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_named_with_the_remedy() {
        for (bytes, words) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0"[..], "a HEIC picture; save it as PNG or JPEG"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF picture"),
            (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
            (b"%PDF-1.7", "a PDF document"),
            (b"OggS\0", "an Ogg recording; save it as WAV or FLAC"),
            (b"\0\0\0\x1cftypM4A \0\0", "an M4A recording"),
            (b"8BPS\0\x01", "a Photoshop document"),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns=", "an SVG drawing; export it as PNG"),
            (b"\xef\xbb\xbf<!DOCTYPE html>", "a web page"),
            (b"PK\x03\x04\x14", "take one array as .npy"),
            (b"\x50\x02\0\0\0\0\0\0{\"a\":", "a safetensors file"),
            (b"[1, 2]", "JSON"),
        ] {
            let named = Foreign::of(bytes).unwrap().to_string();
            assert!(named.contains(words), "{named}");
        }
        for bytes in [&b"1,2\n"[..], b"\0\0\x08\x03", b"", b"a;b\n1;2", b"\x93NUMPY"] {
            assert_eq!(Foreign::of(bytes), None);
        }
    }
}
