//! Vectors of words as fastText, word2vec and GloVe write them: a word and its numbers a line.

use std::io::{self, BufRead, BufReader, Read};

use thiserror::Error;

use crate::decompress;

/// The most numbers of a vector.
const MOST_NUMBERS: usize = 1 << 14;
/// The most bytes of a line.
const MOST_OF_A_LINE: u64 = 1 << 20;

/// Why a file does not hold the vectors of words.
#[derive(Debug, Error)]
pub enum VectorsError {
    /// The stream cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It has no vector.
    #[error("it has no vector of a word")]
    Empty,
    /// A line does not end.
    #[error("line {line} has more than {MOST_OF_A_LINE} bytes; a line is a word and its numbers")]
    LongLine {
        /// The line, from 1.
        line: u64,
    },
    /// A line is not UTF-8.
    #[error("line {line} is not UTF-8; give vectors as text, such as a .vec file of fastText")]
    NotUtf8 {
        /// The line, from 1.
        line: u64,
    },
    /// A length that no vector has.
    #[error("its vectors have {found} numbers; from 1 to {MOST_NUMBERS} are read")]
    Width {
        /// Numbers of a vector.
        found: usize,
    },
    /// A line has too few numbers, or something else among them.
    #[error("line {line} is no word with {width} finite numbers behind it")]
    Line {
        /// The line, from 1.
        line: u64,
        /// Numbers of each vector.
        width: usize,
    },
}

/// The vectors of words in a stream, which are read one at a time.
pub struct WordVectors<'a> {
    lines: Box<dyn BufRead + 'a>,
    width: usize,
    /// The line that was read last.
    line: String,
    number: u64,
    /// True if that line is a vector that was not given yet.
    is_ahead: bool,
}

impl<'a> WordVectors<'a> {
    /// Begins to read a stream, which may be compressed. Its first line may have the number and the
    /// length of the vectors, of which only the length is believed.
    ///
    /// # Errors
    ///
    /// A [`VectorsError`] about the first line.
    pub fn begin(stream: impl BufRead + 'a) -> Result<Self, VectorsError> {
        let (_, contents) = decompress(stream)?;
        let lines: Box<dyn BufRead + 'a> = Box::new(BufReader::with_capacity(1 << 16, contents));
        let mut vectors = Self { lines, width: 0, line: String::new(), number: 0, is_ahead: true };
        if !vectors.read_line()? {
            return Err(VectorsError::Empty);
        }
        let fields: Vec<&str> = vectors.line.split_whitespace().collect();
        let is_heading =
            fields.len() == 2 && fields.iter().all(|field| field.parse::<u64>().is_ok());
        let found = if is_heading {
            fields[1].parse().unwrap_or(usize::MAX)
        } else {
            fields.len().saturating_sub(1)
        };
        if !(1..=MOST_NUMBERS).contains(&found) {
            return Err(VectorsError::Width { found });
        }
        vectors.width = found;
        vectors.is_ahead = !is_heading;
        Ok(vectors)
    }

    /// Numbers of each vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The next word and its vector, which is written into `into`; none after the last.
    ///
    /// # Errors
    ///
    /// A [`VectorsError`] that names the line.
    pub fn next_into(&mut self, into: &mut Vec<f32>) -> Result<Option<&str>, VectorsError> {
        if !std::mem::take(&mut self.is_ahead) && !self.read_line()? {
            return Ok(None);
        }
        let (line, width) = (self.number, self.width);
        let bad = || VectorsError::Line { line, width };
        into.clear();
        // A word may have spaces in it: the numbers are the last fields.
        let mut left = self.line.trim_end();
        for _ in 0..width {
            let (rest, number) = left.rsplit_once(char::is_whitespace).ok_or_else(bad)?;
            let number: Option<f32> = number.parse().ok();
            into.push(number.filter(|number| number.is_finite()).ok_or_else(bad)?);
            left = rest;
        }
        into.reverse();
        if left.is_empty() { Err(bad()) } else { Ok(Some(left)) }
    }

    /// Reads the next line that is not empty; false after the last.
    fn read_line(&mut self) -> Result<bool, VectorsError> {
        loop {
            let mut bytes = std::mem::take(&mut self.line).into_bytes();
            bytes.clear();
            let mut limited = self.lines.by_ref().take(MOST_OF_A_LINE + 1);
            if limited.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(false);
            }
            self.number += 1;
            let line = self.number;
            if bytes.len() as u64 > MOST_OF_A_LINE {
                return Err(VectorsError::LongLine { line });
            }
            self.line = String::from_utf8(bytes).map_err(|_| VectorsError::NotUtf8 { line })?;
            if !self.line.trim().is_empty() {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<(String, Vec<f32>)>, VectorsError> {
        let mut vectors = WordVectors::begin(text)?;
        let (mut found, mut numbers) = (Vec::new(), Vec::new());
        while let Some(word) = vectors.next_into(&mut numbers)?.map(str::to_owned) {
            found.push((word, numbers.clone()));
        }
        Ok(found)
    }

    #[test]
    fn files_of_fasttext_and_glove_are_read() {
        let expected =
            vec![("tea".to_owned(), vec![1.0, -0.5]), ("茶".to_owned(), vec![0.0, 2e-3])];
        for text in [
            "2 2\ntea 1 -0.5\n茶 0 2e-3 \n",
            "tea 1 -0.5\n茶 0 2e-3",
            "\ntea 1 -0.5\r\n\n茶 0 2e-3\r\n",
        ] {
            assert_eq!(all(text.as_bytes()).unwrap(), expected, "{text:?}");
        }
        let spaced = all(b"1 2\n. . 1 2\n").unwrap();
        assert_eq!(spaced, [(". .".to_owned(), vec![1.0, 2.0])]);
    }

    #[test]
    fn other_files_are_refused() {
        for (bytes, expected) in [
            (&b""[..], "no vector"),
            (b"tea\n", "0 numbers"),
            (b"9 18446744073709551615\n", "numbers; from 1"),
            (b"1000000000 20000\n", "20000 numbers"),
            (b"2 2\ntea 1\n", "line 2"),
            (b"tea 1 2\ncup 1 x\n", "line 2"),
            (b"tea 1 2\ncup 1 inf\n", "line 2"),
            (b"tea 1 2\n 3 4\n", "line 2"),
            (b"tea 1 2\n\xff 3 4\n", "line 2 is not UTF-8"),
        ] {
            let error = all(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let long = [b"tea".as_slice(), &vec![b' '; 2 << 20]].concat();
        assert!(matches!(all(&long), Err(VectorsError::LongLine { line: 1 })));
    }
}
