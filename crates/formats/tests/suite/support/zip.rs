//! Zip archives byte by byte, so that they may be wrong.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// An entry, and what its headers say of it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) packed: Vec<u8>,
    pub(crate) size: u32,
    pub(crate) crc: u32,
    pub(crate) method: u16,
    pub(crate) flags: u16,
}

impl Entry {
    pub(crate) fn stored(name: &str, data: &[u8]) -> Self {
        let mut crc = Crc::new();
        crc.update(data);
        let size = u32::try_from(data.len()).unwrap();
        let name = name.as_bytes().to_vec();
        Self { name, packed: data.to_vec(), size, crc: crc.sum(), method: 0, flags: 0 }
    }

    pub(crate) fn deflated(name: &str, data: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        Self { packed: encoder.finish().unwrap(), method: 8, ..Self::stored(name, data) }
    }

    fn sizes(&self) -> Vec<u8> {
        let packed = u32::try_from(self.packed.len()).unwrap();
        let mut bytes = [self.crc, packed, self.size].map(u32::to_le_bytes).concat();
        bytes.extend(u16::try_from(self.name.len()).unwrap().to_le_bytes());
        bytes
    }

    fn local(&self) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04\x14\0".to_vec();
        bytes.extend([self.flags, self.method, 0, 0].map(u16::to_le_bytes).concat());
        bytes.extend(self.sizes());
        bytes.extend([0; 2]);
        [bytes, self.name.clone(), self.packed.clone()].concat()
    }

    fn central(&self, offset: u32) -> Vec<u8> {
        let mut bytes = b"PK\x01\x02\x14\0\x14\0".to_vec();
        bytes.extend([self.flags, self.method, 0, 0].map(u16::to_le_bytes).concat());
        bytes.extend(self.sizes());
        bytes.extend([0; 12]);
        bytes.extend(offset.to_le_bytes());
        [bytes, self.name.clone()].concat()
    }
}

/// An archive of these entries.
pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        directory.extend(entry.central(u32::try_from(bytes.len()).unwrap()));
        bytes.extend(entry.local());
    }
    let (start, size) = (bytes.len(), directory.len());
    bytes.extend(directory);
    bytes.extend(end(entries.len(), size, start));
    bytes
}

/// The record that ends an archive.
pub(crate) fn end(entries: usize, size: usize, start: usize) -> Vec<u8> {
    let mut bytes = b"PK\x05\x06\0\0\0\0".to_vec();
    bytes.extend([u16::try_from(entries).unwrap(); 2].map(u16::to_le_bytes).concat());
    bytes.extend([size, start].map(|size| u32::try_from(size).unwrap().to_le_bytes()).concat());
    bytes.extend([0; 2]);
    bytes
}
