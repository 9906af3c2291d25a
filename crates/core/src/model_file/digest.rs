//! The digest over all that a model file means.

use safetensors::tensor::SafeTensors;
use sha2::{Digest, Sha256};

use super::ModelFileProblem;

/// `sha256:` and the digest of the document and, in order of their names, of all tensors.
pub(super) fn digest<'a>(
    text: &str,
    tensors: impl Iterator<Item = (&'a str, &'a [usize], &'a [u8])>,
) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(text.as_bytes());
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_unstable_by_key(|(name, ..)| *name);
    for (name, shape, bytes) in tensors {
        field(name.as_bytes());
        let shape: Vec<u8> = shape.iter().flat_map(|&size| (size as u64).to_le_bytes()).collect();
        field(&shape);
        field(bytes);
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

pub(super) fn check_digest(
    found: Option<&String>,
    text: &str,
    tensors: &SafeTensors<'_>,
) -> Result<(), ModelFileProblem> {
    let all = tensors.tensors();
    let computed =
        digest(text, all.iter().map(|(name, view)| (name.as_str(), view.shape(), view.data())));
    match found {
        Some(found) if *found == computed => Ok(()),
        _ => Err(ModelFileProblem::Digest { found: found.cloned().unwrap_or_default(), computed }),
    }
}
