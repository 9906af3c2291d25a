//! The digest over all that a model file means.

use fireclay_files::hex;
use sha2::{Digest as _, Sha256};

/// The digest of a document and, in order of their names, of all tensors, as far as they were given.
pub(super) struct Digest(Sha256);

impl Digest {
    /// Of the document alone.
    pub(super) fn of(document: &str) -> Self {
        let mut digest = Self(Sha256::new());
        digest.field(document.as_bytes());
        digest
    }

    /// Adds a tensor, whose bytes follow by [`update`](Self::update): as many as are announced here.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize], bytes: u64) {
        self.field(name.as_bytes());
        let shape: Vec<u8> = shape.iter().flat_map(|&size| (size as u64).to_le_bytes()).collect();
        self.field(&shape);
        self.0.update(bytes.to_le_bytes());
    }

    /// Adds bytes of the last tensor.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn field(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// `sha256:` and the digest.
    pub(super) fn finish(self) -> String {
        format!("sha256:{}", hex(&self.0.finalize()))
    }
}
