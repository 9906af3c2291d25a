//! Parquet files of texts and numbers without missing values, in plain pages with Snappy.

use std::io::{self, Write};

/// The values of a column in some rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Texts.
    Texts(Vec<String>),
    /// Whole numbers.
    Integers(Vec<i64>),
    /// Numbers in single precision.
    Numbers(Vec<f32>),
}

/// Writes a Parquet file, some rows at a time.
pub struct ParquetWriter<W> {
    out: W,
    place: u64,
    names: Vec<String>,
    /// Rows that are not written.
    pending: Vec<Values>,
    groups: Vec<Group>,
}

/// Rows of a group: enough that their description takes next to nothing.
const ROWS: usize = 1 << 17;

/// A group of rows that has been written.
struct Group {
    rows: usize,
    chunks: Vec<Chunk>,
}

/// A column of a group.
struct Chunk {
    kind: &'static Kind,
    place: u64,
    unpacked: usize,
    packed: usize,
}

/// The numbers of a type in the format: its physical type, and true if it is text.
struct Kind {
    physical: i64,
    is_text: bool,
}

const TEXT: Kind = Kind { physical: 6, is_text: true };
const INTEGER: Kind = Kind { physical: 2, is_text: false };
const NUMBER: Kind = Kind { physical: 4, is_text: false };

impl<W: Write> ParquetWriter<W> {
    /// Begins a file with columns of these names.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn begin(mut out: W, names: Vec<String>) -> io::Result<Self> {
        out.write_all(super::MARK)?;
        let place = super::MARK.len() as u64;
        Ok(Self { out, place, names, pending: Vec::new(), groups: Vec::new() })
    }

    /// Writes further rows: as many values of each column, each time of the same type.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write(&mut self, columns: Vec<Values>) -> io::Result<()> {
        if self.pending.is_empty() {
            self.pending = columns;
        } else {
            for (column, more) in self.pending.iter_mut().zip(columns) {
                column.append(more)?;
            }
        }
        if self.pending.first().is_some_and(|column| column.len() >= ROWS) {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes the rest and the footer.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<()> {
        // Without rows the columns have no types; texts are as good as any.
        if self.groups.is_empty() && self.pending.is_empty() {
            self.pending = vec![Values::Texts(Vec::new()); self.names.len()];
        }
        if !self.pending.is_empty() {
            self.flush()?;
        }
        let footer = self.footer();
        self.out.write_all(&footer)?;
        self.out.write_all(&(footer.len() as u32).to_le_bytes())?;
        self.out.write_all(super::MARK)?;
        self.out.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let columns = std::mem::take(&mut self.pending);
        let rows = columns.first().map_or(0, Values::len);
        let mut chunks = Vec::new();
        for column in &columns {
            let (kind, plain) = column.plain();
            let packed =
                snap::raw::Encoder::new().compress_vec(&plain).map_err(io::Error::other)?;
            let header = page_header(plain.len(), packed.len(), rows);
            self.out.write_all(&header)?;
            self.out.write_all(&packed)?;
            let (unpacked, packed) = (header.len() + plain.len(), header.len() + packed.len());
            chunks.push(Chunk { kind, place: self.place, unpacked, packed });
            self.place += packed as u64;
        }
        self.groups.push(Group { rows, chunks });
        Ok(())
    }

    fn footer(&self) -> Vec<u8> {
        let mut footer = Struct::default();
        footer.integer(1, 1);
        let kinds = self.groups.first().into_iter().flat_map(|group| &group.chunks);
        let columns = self.names.iter().zip(kinds.map(|chunk| chunk.kind));
        let mut root = Struct::default();
        root.bytes(4, b"schema");
        root.integer(5, self.names.len() as i64);
        let schema = [root].into_iter().chain(columns.map(|(name, kind)| element(name, kind)));
        footer.list(2, schema.map(Struct::end));
        footer.size(3, self.groups.iter().map(|group| group.rows as u64).sum());
        footer.list(4, self.groups.iter().map(|group| self.group(group).end()));
        footer.bytes(6, concat!("fireclay ", env!("CARGO_PKG_VERSION")).as_bytes());
        footer.end()
    }

    fn group(&self, Group { rows, chunks }: &Group) -> Struct {
        let mut group = Struct::default();
        let columns = self.names.iter().zip(chunks).map(|(name, chunk)| {
            let mut described = Struct::default();
            described.integer(1, chunk.kind.physical);
            // Plain, and the levels that a reader may expect.
            described.integers(2, &[0, 3]);
            described.texts(3, &[name]);
            described.integer(4, 1);
            described.size(5, *rows as u64);
            described.size(6, chunk.unpacked as u64);
            described.size(7, chunk.packed as u64);
            described.size(9, chunk.place);
            let mut column = Struct::default();
            column.size(2, chunk.place);
            column.inner(3, described);
            column.end()
        });
        group.list(1, columns);
        group.size(2, chunks.iter().map(|chunk| chunk.unpacked as u64).sum());
        group.size(3, *rows as u64);
        group
    }
}

/// A column in the schema.
fn element(name: &str, kind: &Kind) -> Struct {
    let mut element = Struct::default();
    element.integer(1, kind.physical);
    element.integer(3, 0);
    element.bytes(4, name.as_bytes());
    if kind.is_text {
        element.integer(6, 0);
        let mut logical = Struct::default();
        logical.inner(1, Struct::default());
        element.inner(10, logical);
    }
    element
}

fn page_header(unpacked: usize, packed: usize, rows: usize) -> Vec<u8> {
    let mut header = Struct::default();
    header.integer(1, 0);
    header.integer(2, unpacked as i64);
    header.integer(3, packed as i64);
    let mut data = Struct::default();
    data.integer(1, rows as i64);
    data.integer(2, 0);
    data.integer(3, 3);
    data.integer(4, 3);
    header.inner(5, data);
    header.end()
}

impl Values {
    /// Number of values.
    fn len(&self) -> usize {
        match self {
            Self::Texts(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Numbers(values) => values.len(),
        }
    }

    /// Adds the values of another column of the same type.
    fn append(&mut self, more: Self) -> io::Result<()> {
        match (self, more) {
            (Self::Texts(values), Self::Texts(more)) => values.extend(more),
            (Self::Integers(values), Self::Integers(more)) => values.extend(more),
            (Self::Numbers(values), Self::Numbers(more)) => values.extend(more),
            _ => return Err(io::Error::other("a column has two types")),
        }
        Ok(())
    }

    /// Its type, and its values one behind the other.
    fn plain(&self) -> (&'static Kind, Vec<u8>) {
        match self {
            Self::Texts(values) => {
                let texts = values.iter().flat_map(|text| {
                    [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
                });
                (&TEXT, texts.collect())
            }
            Self::Integers(values) => {
                (&INTEGER, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Numbers(values) => {
                (&NUMBER, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
        }
    }
}

/// A struct in Thrift's compact protocol, whose fields are added in rising order.
#[derive(Default)]
struct Struct {
    bytes: Vec<u8>,
    last: u8,
}

impl Struct {
    fn field(&mut self, number: u8, kind: u8) {
        // Fields are fewer than sixteen apart.
        self.bytes.push((number - self.last) << 4 | kind);
        self.last = number;
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 128 {
            self.bytes.push(value as u8 | 128);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn zigzag(&mut self, value: i64) {
        self.varint((value << 1 ^ value >> 63) as u64);
    }

    /// An integer of 32 bits.
    fn integer(&mut self, number: u8, value: i64) {
        self.field(number, 5);
        self.zigzag(value);
    }

    /// An integer of 64 bits: a size or a place in the file.
    fn size(&mut self, number: u8, value: u64) {
        self.field(number, 6);
        self.zigzag(value as i64);
    }

    fn bytes(&mut self, number: u8, bytes: &[u8]) {
        self.field(number, 8);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn inner(&mut self, number: u8, inner: Self) {
        self.field(number, 12);
        self.bytes.extend(inner.end());
    }

    fn list_head(&mut self, number: u8, kind: u8, count: usize) {
        self.field(number, 9);
        if count < 15 {
            self.bytes.push((count as u8) << 4 | kind);
        } else {
            self.bytes.push(0xf0 | kind);
            self.varint(count as u64);
        }
    }

    fn list(&mut self, number: u8, structs: impl Iterator<Item = Vec<u8>>) {
        let structs: Vec<Vec<u8>> = structs.collect();
        self.list_head(number, 12, structs.len());
        self.bytes.extend(structs.concat());
    }

    fn integers(&mut self, number: u8, values: &[i64]) {
        self.list_head(number, 5, values.len());
        values.iter().for_each(|&value| self.zigzag(value));
    }

    fn texts(&mut self, number: u8, texts: &[&String]) {
        self.list_head(number, 8, texts.len());
        for text in texts {
            self.varint(text.len() as u64);
            self.bytes.extend_from_slice(text.as_bytes());
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}
