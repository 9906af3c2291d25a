//! Texts beside tables: a text a line, with or without its label, and folders of text files by class.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use fireclay_readers::decompress;

use crate::read::Reading;
use crate::table::{Cells, Column, Table, Texts};
use crate::{TableError, TableOptions, TableTask};

/// The column of labels.
const LABEL: &str = "label";
/// The column of texts.
const TEXT: &str = "text";
/// The beginning of a label in fastText's files.
const FASTTEXT: &str = "__label__";
/// The most bytes of a line or of a file of a folder.
const MOST_OF_A_TEXT: u64 = 16 << 20;

/// Texts, one a line.
pub(crate) struct TextLines {
    lines: Box<dyn BufRead>,
    bytes: Vec<u8>,
    /// Lines that have been read.
    read: u64,
}

impl TextLines {
    pub(crate) fn new(lines: impl BufRead + 'static) -> Self {
        Self { lines: Box::new(lines), bytes: Vec::new(), read: 0 }
    }

    /// The next line without its end, and its number from 1; none after the last.
    fn next_line(&mut self) -> Result<Option<(u64, &str)>, TableError> {
        self.bytes.clear();
        let mut limited = self.lines.by_ref().take(MOST_OF_A_TEXT + 1);
        if limited.read_until(b'\n', &mut self.bytes)? == 0 {
            return Ok(None);
        }
        self.read += 1;
        let line = self.read;
        if self.bytes.len() as u64 > MOST_OF_A_TEXT {
            return Err(TableError::LongLine { line, most: MOST_OF_A_TEXT });
        }
        let bytes = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        // Only the first may begin with a mark of the byte order.
        let mark = bytes.strip_prefix("\u{feff}".as_bytes()).filter(|_| line == 1);
        let text = std::str::from_utf8(mark.unwrap_or(bytes));
        text.map(|text| Some((line, text))).map_err(|_| TableError::NotUtf8 { line })
    }

    /// The next texts, at most so many; an empty line is an empty text.
    pub(crate) fn next_texts(&mut self, most: usize) -> Result<Texts, TableError> {
        let mut texts = Texts::default();
        while texts.len() < most
            && let Some((_, text)) = self.next_line()?
        {
            texts.push(text);
        }
        Ok(texts)
    }
}

impl TableOptions {
    /// The same options for a table of [`read_texts`]: its labels are learned, as classes, from its
    /// texts.
    pub fn complete_for_texts(&mut self) {
        if self.target.is_empty() {
            self.target = vec![LABEL.to_owned()];
        }
        self.task.get_or_insert(TableTask::Classification);
        self.text = vec![TEXT.to_owned()];
    }
}

/// Reads labelled texts to a table of a column `label` and a column `text`.
///
/// A folder has a folder of text files for each label. A file, which may be compressed, has a text a
/// line, as `__label__x text` (fastText) or as text, tab and label; empty lines are left out.
///
/// # Errors
///
/// A [`TableError`] in a file; one without labels.
pub fn read_texts(path: &Path) -> Result<Reading, TableError> {
    let in_file = |source| TableError::InFile { path: path.to_owned(), source: Box::new(source) };
    let is_folder = std::fs::metadata(path).map_err(|error| in_file(error.into()))?.is_dir();
    let rows = if is_folder { of_folder(path)? } else { of_lines(path).map_err(in_file)? };
    let [labels, texts] = rows;
    if labels.is_empty() {
        return Err(in_file(TableError::NoRows));
    }
    let column = |name: &str, texts| Column { name: name.to_owned(), cells: Cells::Texts(texts) };
    let table = Table::new(vec![column(LABEL, labels), column(TEXT, texts)])?;
    Ok(Reading { table, unnamed: Vec::new() })
}

/// The labels and texts of the lines of a file.
fn of_lines(path: &Path) -> Result<[Texts; 2], TableError> {
    let (_, contents) = decompress(BufReader::new(File::open(path)?))?;
    let mut lines = TextLines::new(BufReader::with_capacity(1 << 16, contents));
    let [mut labels, mut texts] = [Texts::default(), Texts::default()];
    while let Some((number, line)) = lines.next_line()? {
        if !line.trim().is_empty() {
            let (label, text) = split(line).ok_or(TableError::NoLabel { line: number })?;
            labels.push(label);
            texts.push(text);
        }
    }
    Ok([labels, texts])
}

/// The label and the text of a line.
fn split(line: &str) -> Option<(&str, &str)> {
    let (label, text) = match line.strip_prefix(FASTTEXT) {
        Some(rest) => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        None => line.rsplit_once('\t').map(|(text, label)| (label.trim(), text))?,
    };
    let is_single = !text.trim_start().starts_with(FASTTEXT);
    (is_single && !label.is_empty()).then_some((label, text))
}

/// The labels and texts of the files of a folder: those of each folder in it, in the order of names.
fn of_folder(folder: &Path) -> Result<[Texts; 2], TableError> {
    let [mut labels, mut texts] = [Texts::default(), Texts::default()];
    for class in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let name = class.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for file in entries(&class)?.into_iter().filter(|path| path.is_file()) {
            let text = text_of(&file).map_err(|source| TableError::InFile {
                path: file.clone(),
                source: Box::new(source),
            })?;
            labels.push(&name);
            texts.push(&text);
        }
    }
    Ok([labels, texts])
}

/// What is in a folder, in the order of names, without hidden files.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, TableError> {
    let paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<std::io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| !path.file_name().unwrap_or_default().as_encoded_bytes().starts_with(b"."));
    paths.sort_unstable();
    Ok(paths)
}

/// The text of a file.
fn text_of(path: &Path) -> Result<String, TableError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_OF_A_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_OF_A_TEXT {
        return Err(TableError::LongLine { line: 1, most: MOST_OF_A_TEXT });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count() as u64;
        TableError::NotUtf8 { line }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use fireclay_terminal::message;

    use super::*;

    fn rows(reading: &Reading) -> Vec<(String, String)> {
        let [labels, texts] =
            ["label", "text"].map(|name| &reading.table.column(name).unwrap().cells);
        let rows = labels.iter().zip(texts.iter());
        rows.map(|(label, text)| (label.text().into_owned(), text.text().into_owned())).collect()
    }

    fn read_bytes(bytes: &[u8]) -> Result<Reading, TableError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.txt");
        std::fs::write(&path, bytes).unwrap();
        read_texts(&path)
    }

    fn pair(label: &str, text: &str) -> (String, String) {
        (label.to_owned(), text.to_owned())
    }

    #[test]
    fn lines_have_labels_of_fasttext_or_behind_a_tab() {
        let expected = [pair("good", "fresh, \"hot\" tea"), pair("bad", "cold")];
        for text in [
            "__label__good fresh, \"hot\" tea\n__label__bad cold",
            "\u{feff}fresh, \"hot\" tea\tgood\r\n\r\ncold\tbad\r\n",
        ] {
            assert_eq!(rows(&read_bytes(text.as_bytes()).unwrap()), expected);
        }
        let tab = read_bytes(b"a\tb\tgood\n").unwrap();
        assert_eq!(rows(&tab), [pair("good", "a\tb")]);
    }

    #[test]
    fn folders_have_a_folder_of_files_for_each_label() {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [("good/1.txt", "fresh\ntea"), ("bad/1.txt", ""), ("bad/0.txt", "cold")]
        {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::write(folder.path().join("readme.txt"), "no label").unwrap();
        let expected = [pair("bad", "cold"), pair("bad", ""), pair("good", "fresh\ntea")];
        assert_eq!(rows(&read_texts(folder.path()).unwrap()), expected);
        std::fs::write(folder.path().join("good/2.txt"), b"a\n\xff").unwrap();
        let error = message(&read_texts(folder.path()).unwrap_err());
        assert!(error.contains("2.txt") && error.contains("line 2 is not UTF-8"), "{error}");
    }

    #[test]
    fn lines_without_a_label_and_other_bytes_are_refused() {
        for (bytes, expected) in [
            (&b"good tea\n"[..], "line 1 has no label"),
            (b"a\tgood\nb\t\n", "line 2 has no label"),
            (b"__label__a __label__b tea\n", "line 1 has no label"),
            (b"a\tgood\n\xff\xfe\tbad\n", "line 2 is not UTF-8"),
            (b"", "no rows"),
        ] {
            let error = message(&read_bytes(bytes).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
        let long = [&vec![b'a'; 17 << 20][..], b"\tgood\n"].concat();
        let error = message(&read_bytes(&long).unwrap_err());
        assert!(error.contains("more than 16777216 bytes"), "{error}");
    }
}
