//! A writer of files that no program writes.

const UNDEFINED: u64 = u64::MAX;

/// A file of version 0, into which anything may be put.
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; 96] }
    }

    /// Adds bytes and says where they are.
    pub(super) fn put(&mut self, bytes: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.bytes.len() as u64;
        self.bytes.extend(bytes);
        at
    }

    /// An object header.
    pub(super) fn object(&mut self, messages: &[(u16, Vec<u8>)]) -> u64 {
        let block = messages_of(messages);
        let count = u16::try_from(messages.len()).unwrap();
        let size = u32::try_from(block.len()).unwrap();
        let header =
            join(&[&[1, 0], &count.to_le_bytes(), &[1, 0, 0, 0], &size.to_le_bytes(), &[0; 4]]);
        self.put(&[header, block].concat())
    }

    /// A group by a symbol table in one node.
    pub(super) fn group(&mut self, links: &[(&str, u64)]) -> u64 {
        let message = self.table(links);
        self.object(&[message])
    }

    pub(super) fn table(&mut self, links: &[(&str, u64)]) -> (u16, Vec<u8>) {
        let (mut names, mut symbols) = (vec![0; 8], Vec::new());
        for (name, address) in links {
            symbols.extend(join(&[&words(&[names.len() as u64, *address]), &[0; 24]]));
            names.extend(name.as_bytes());
            names.push(0);
        }
        let count = u16::try_from(links.len()).unwrap().to_le_bytes();
        let symbols = self.put(&join(&[b"SNOD\x01\0", &count, &symbols]));
        let tree = self.put(&tree(0, 0, &[(0, symbols)]));
        let heap = self.heap(&names);
        (0x11, words(&[tree, heap]))
    }

    pub(super) fn heap(&mut self, names: &[u8]) -> u64 {
        let data = self.put(names);
        self.put(&join(&[b"HEAP\0\0\0\0", &words(&[names.len() as u64, UNDEFINED, data])]))
    }

    /// The file with this root group.
    pub(super) fn finish(mut self, root: u64) -> Vec<u8> {
        let end = self.bytes.len() as u64;
        let start = join(&[
            b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0\0\0\0\0",
            &words(&[0, UNDEFINED, end, UNDEFINED, 0, root]),
        ]);
        self.bytes[..start.len()].copy_from_slice(&start);
        self.bytes
    }

    /// The file with these objects as the arrays of a layer.
    pub(super) fn arrays(mut self, arrays: &[u64]) -> Vec<u8> {
        let names: Vec<_> = (0..arrays.len()).map(|at| at.to_string()).collect();
        let links: Vec<_> = names.iter().map(String::as_str).zip(arrays.iter().copied()).collect();
        let vars = self.group(&links);
        let dense = self.group(&[("vars", vars)]);
        let layers = self.group(&[("dense", dense)]);
        let root = self.group(&[("layers", layers)]);
        self.finish(root)
    }
}

pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(super) fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(super) fn messages_of(messages: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (kind, data) in messages {
        let size = u16::try_from(data.len().next_multiple_of(8)).unwrap();
        block.extend(join(&[&kind.to_le_bytes(), &size.to_le_bytes(), &[0; 4], data]));
        block.resize(block.len().next_multiple_of(8), 0);
    }
    block
}

/// A node of a group's tree.
pub(super) fn tree(kind: u8, level: u8, entries: &[(u64, u64)]) -> Vec<u8> {
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let mut node = join(&[b"TREE", &[kind, level], &count, &words(&[UNDEFINED; 2])]);
    entries.iter().for_each(|&(key, child)| node.extend(words(&[key, child])));
    node
}

pub(super) fn floats() -> (u16, Vec<u8>) {
    let mut message = vec![0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23];
    message.extend(127_u32.to_le_bytes());
    (3, message)
}

pub(super) fn space(shape: &[u64]) -> (u16, Vec<u8>) {
    let rank = u8::try_from(shape.len()).unwrap();
    (1, join(&[&[1, rank, 0, 0, 0, 0, 0, 0], &words(shape)]))
}

pub(super) fn contiguous(address: u64, size: u64) -> (u16, Vec<u8>) {
    (8, join(&[&[3, 1], &words(&[address, size])]))
}

/// Chunks of this shape, by the tree at this address.
pub(super) fn chunked(tree: u64, chunk: &[u32]) -> (u16, Vec<u8>) {
    let dimensions = u8::try_from(chunk.len() + 1).unwrap();
    let mut message = join(&[&[3, 2, dimensions], &words(&[tree])]);
    chunk.iter().chain(&[4]).for_each(|size| message.extend(size.to_le_bytes()));
    (8, message)
}

/// A tree of chunks of one dimension: their size, where they begin, and their address.
pub(super) fn chunks(entries: &[(u32, u64, u64)]) -> Vec<u8> {
    let mut node = tree(1, 0, &[]);
    node[6..8].copy_from_slice(&u16::try_from(entries.len()).unwrap().to_le_bytes());
    for &(size, start, address) in entries {
        node.extend(join(&[&size.to_le_bytes(), &[0; 4], &words(&[start, 0, address])]));
    }
    node
}

/// A file with one array of this shape and layout.
pub(super) fn array(writer: Writer, shape: &[u64], layout: (u16, Vec<u8>)) -> Vec<u8> {
    with(writer, &[space(shape), floats(), layout])
}

pub(super) fn with(mut writer: Writer, messages: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let array = writer.object(messages);
    writer.arrays(&[array])
}
