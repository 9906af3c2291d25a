//! The wire format of [Protocol Buffers]: fields one after the other, each a number, a type and a
//! value.
//!
//! A library would make objects of a whole message before anybody can count them, and so more than a
//! hundred bytes of memory of each two that a stranger wrote. Here nothing is made: the fields of a
//! message are looked at where they lie.
//!
//! [Protocol Buffers]: https://protobuf.dev/programming-guides/encoding/

use super::KIND;
use crate::Problem;
use crate::bytes::Cursor;
use crate::store::Part;

/// A message: a part of the file that holds fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    name: &'static str,
    file: &'a Part,
    /// Where it is in the file.
    start: usize,
    end: usize,
}

/// The remaining fields of a message.
pub(super) struct Fields<'a> {
    message: &'static str,
    cursor: Cursor<'a>,
    file: &'a Part,
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// The number that the schema gives it.
    pub(super) number: u64,
    message: &'static str,
    file: &'a Part,
    at: usize,
    end: usize,
    value: WireValue,
}

#[derive(Clone, Copy, Debug)]
enum WireValue {
    /// Seven bits a byte, the lowest first.
    Varint(u64),
    Eight([u8; 8]),
    /// This many bytes, up to the end of the field.
    Bytes(usize),
    Four([u8; 4]),
}

impl<'a> Message<'a> {
    /// The whole file as one message of type `name`.
    pub(super) fn whole(name: &'static str, file: &'a Part) -> Self {
        Self { name, file, start: 0, end: usize::try_from(file.size()).unwrap_or(usize::MAX) }
    }

    /// Its fields, from the first.
    pub(super) fn fields(self) -> Result<Fields<'a>, Problem> {
        let mut cursor = Cursor::over(KIND, self.file).until(self.end);
        cursor.seek(self.start as u64)?;
        Ok(Fields { message: self.name, cursor, file: self.file })
    }

    /// Key and value of a `StringStringEntryProto`.
    pub(super) fn pair(self) -> Result<(&'a str, &'a str), Problem> {
        let (mut key, mut value) = ("", "");
        let mut fields = self.fields()?;
        while let Some(field) = fields.read()? {
            match field.number {
                1 => key = field.text()?,
                2 => value = field.text()?,
                _ => {}
            }
        }
        Ok((key, value))
    }
}

impl<'a> Fields<'a> {
    /// The next field, if there is one.
    pub(super) fn read(&mut self) -> Result<Option<Field<'a>>, Problem> {
        if self.cursor.left() == 0 {
            return Ok(None);
        }
        let at = self.cursor.position();
        let key = varint(&mut self.cursor)?;
        let value = match key & 7 {
            0 => WireValue::Varint(varint(&mut self.cursor)?),
            1 => WireValue::Eight(self.cursor.array()?),
            2 => {
                let length = varint(&mut self.cursor)?;
                self.cursor.skip(length)?;
                WireValue::Bytes(length as usize)
            }
            5 => WireValue::Four(self.cursor.array()?),
            other => {
                let what = format!("a field of {} at byte {at} has type {other}", self.message);
                return Err(Problem::malformed(KIND, what));
            }
        };
        let end = self.cursor.position();
        let (message, file) = (self.message, self.file);
        Ok(Some(Field { number: key >> 3, message, file, at, end, value }))
    }
}

impl<'a> Field<'a> {
    /// The field as a message of type `name`.
    pub(super) fn message(self, name: &'static str) -> Result<Message<'a>, Problem> {
        match self.value {
            WireValue::Bytes(size) => {
                let (file, end) = (self.file, self.end);
                Ok(Message { name, file, start: end - size, end })
            }
            _ => Err(self.unexpected("bytes")),
        }
    }

    /// The field as bytes.
    pub(super) fn bytes(self) -> Result<&'a [u8], Problem> {
        match self.value {
            WireValue::Bytes(size) => self.file.keep((self.end - size) as u64..self.end as u64),
            _ => Err(self.unexpected("bytes")),
        }
    }

    /// The field as bytes that are left where they are.
    pub(super) fn part(self) -> Result<Part, Problem> {
        let part = match self.value {
            WireValue::Bytes(size) => self.file.part((self.end - size) as u64..self.end as u64),
            _ => None,
        };
        part.ok_or_else(|| self.unexpected("bytes"))
    }

    /// The field as text.
    pub(super) fn text(self) -> Result<&'a str, Problem> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.unexpected("text"))
    }

    /// The field as a whole number.
    pub(super) fn int(self) -> Result<i64, Problem> {
        match self.value {
            WireValue::Varint(value) => Ok(value.cast_signed()),
            _ => Err(self.unexpected("a whole number")),
        }
    }

    /// The field as a number of 32 bits.
    pub(super) fn float(self) -> Result<f32, Problem> {
        match self.value {
            WireValue::Four(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(self.unexpected("a number of 32 bits")),
        }
    }

    /// The bytes of numbers of `size` bytes, one or many.
    pub(super) fn fixed(self, size: usize) -> Result<Part, Problem> {
        let bytes = match self.value {
            WireValue::Bytes(_) => self.part()?,
            WireValue::Four(bytes) => bytes.to_vec().into(),
            WireValue::Eight(bytes) => bytes.to_vec().into(),
            WireValue::Varint(_) => {
                return Err(self.unexpected(&format!("numbers of {size} bytes")));
            }
        };
        if bytes.size().is_multiple_of(size as u64) {
            Ok(bytes)
        } else {
            Err(self.unexpected(&format!("numbers of {size} bytes")))
        }
    }

    /// Gives `each` the whole numbers of the field, one or many.
    pub(super) fn ints(
        self,
        mut each: impl FnMut(i64) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        match self.value {
            WireValue::Varint(value) => each(value.cast_signed()),
            WireValue::Bytes(_) => {
                // Numbers may be many: they are read in pieces, which may end within one.
                let (mut rest, mut result) = (Vec::new(), Ok(()));
                self.part()?.pieces(&mut |piece| {
                    rest.extend_from_slice(piece);
                    let end = rest.iter().rposition(|&byte| byte < 0x80).map_or(0, |at| at + 1);
                    let mut cursor = Cursor::new(KIND, &rest[..end]);
                    while result.is_ok() && cursor.left() > 0 {
                        result = varint(&mut cursor).and_then(|value| each(value.cast_signed()));
                    }
                    // What is longer than any number is none.
                    if rest.len() - end > LONGEST_VARINT && result.is_ok() {
                        result = varint(&mut Cursor::new(KIND, &rest[end..])).map(drop);
                    }
                    rest.drain(..end);
                })?;
                result?;
                let mut cursor = Cursor::new(KIND, &rest);
                while cursor.left() > 0 {
                    each(varint(&mut cursor)?.cast_signed())?;
                }
                Ok(())
            }
            _ => Err(self.unexpected("whole numbers")),
        }
    }

    /// Counts the whole numbers of the field, without looking at them.
    pub(super) fn count_ints(self) -> Result<usize, Problem> {
        match self.value {
            WireValue::Varint(_) => Ok(1),
            WireValue::Bytes(_) => {
                let mut count = 0;
                self.part()?.pieces(&mut |piece| {
                    count += piece.iter().filter(|&&byte| byte < 0x80).count();
                })?;
                Ok(count)
            }
            _ => Err(self.unexpected("whole numbers")),
        }
    }

    /// The error of a field that is not what the schema says.
    fn unexpected(&self, expected: &str) -> Problem {
        let found = match self.value {
            WireValue::Varint(_) => "a whole number",
            WireValue::Eight(_) => "8 bytes",
            WireValue::Four(_) => "4 bytes",
            WireValue::Bytes(_) => "bytes",
        };
        let Self { number, message, at, .. } = self;
        let what = format!(
            "field {number} of {message} at byte {at} is {found}, and {expected} is expected"
        );
        Problem::malformed(KIND, what)
    }
}

/// Bytes of the longest number.
const LONGEST_VARINT: usize = 10;

fn varint(cursor: &mut Cursor<'_>) -> Result<u64, Problem> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = u64::from(cursor.u8()?);
        let bits = byte & 0x7f;
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(cursor.malformed(format!("the number before byte {} is too long", cursor.position())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of these bytes, which lives as long as the test.
    fn file(bytes: &[u8]) -> &'static Part {
        Box::leak(Box::new(bytes.to_vec().into()))
    }

    fn first(bytes: &[u8]) -> Result<Field<'static>, Problem> {
        Message::whole("Test", file(bytes)).fields()?.read().map(Option::unwrap)
    }

    #[test]
    fn fields_of_every_type() {
        assert_eq!(first(&[0x08, 0x96, 0x01]).unwrap().int().unwrap(), 150);
        let minus_one = [0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert_eq!(first(&minus_one).unwrap().int().unwrap(), -1);
        assert_eq!(first(b"\x12\x07testing").unwrap().text().unwrap(), "testing");
        assert_eq!(first(&[0x1d, 0, 0, 0x80, 0x3f]).unwrap().float().unwrap(), 1.0);
        assert_eq!(
            first(&[0x21, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap().fixed(8).unwrap().read().unwrap()[7],
            8
        );
        let mut ints = Vec::new();
        let packed = first(&[0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05]).unwrap();
        let keep = |value| {
            ints.push(value);
            Ok(())
        };
        packed.ints(keep).unwrap();
        assert_eq!(ints, [3, 270, 86942]);
    }

    #[test]
    fn places_are_places_in_the_file() {
        let file = [0x0a, 4, 0x12, 2, 0x08, 0x80];
        let outer = first(&file).unwrap().message("Outer").unwrap();
        let inner = outer.fields().unwrap().read().unwrap().unwrap().message("Inner").unwrap();
        let error = inner.fields().unwrap().read().unwrap_err().to_string();
        assert!(error.contains("at byte 6, with 0 left"), "{error}");
    }

    #[test]
    fn what_is_no_field() {
        for bytes in [
            &[0x80][..],                                             // a key without end
            &[0x08],                                                 // no value
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], // more than 64 bits
            &[0x08, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 0],
            &[0x0a, 3, 1, 2],                                           // cut off
            &[0x0a, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0], // longer than memory
            &[0x0b, 0x0c],                                              // a group
            &[0x0f],                                                    // no type
            &[0x0d, 0, 0, 0],
            &[0x09, 0, 0, 0, 0],
        ] {
            let found = first(bytes);
            assert!(matches!(found, Err(Problem::Malformed { kind: "ONNX", .. })), "{found:?}");
        }
    }

    #[test]
    fn what_is_not_what_it_should_be() {
        let number = first(&[0x08, 1]).unwrap();
        assert!(number.text().is_err() && number.float().is_err() && number.fixed(4).is_err());
        let bytes = first(&[0x0a, 3, 0xff, 0xff, 0xff]).unwrap();
        assert!(bytes.text().is_err() && bytes.int().is_err() && bytes.fixed(4).is_err());
        assert!(bytes.ints(|_| Ok(())).is_err());
        let four = first(&[0x0d, 0, 0, 0, 0]).unwrap();
        assert!(four.ints(|_| Ok(())).is_err() && four.message("Test").is_err());
        let error = four.bytes().unwrap_err().to_string();
        assert!(error.contains("field 1 of Test at byte 0 is 4 bytes, and bytes is expected"));
    }
}
