//! Weights to begin with, and files that lie.

use fireclay_model::{Architecture, NamedTensor, initial_values, transpose};
use sha2::{Digest, Sha256};

/// The initial weights of a network, as a file has them.
pub(crate) fn initial_weights(architecture: &Architecture) -> Vec<NamedTensor> {
    let weights = architecture.tensors().into_iter().map(|(path, shape)| {
        let values = initial_values(architecture, 7, path);
        let values = match shape[..] {
            [outputs, _] => transpose(&values, outputs),
            _ => values,
        };
        NamedTensor { name: path.to_string(), shape, values }
    });
    weights.collect()
}

/// The file with another document, under a digest that is right.
pub(crate) fn forged(written: &[u8], change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let tensors = safetensors::SafeTensors::deserialize(written).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(written).unwrap();
    let document = &metadata.metadata().as_ref().unwrap()["fireclay"];
    let mut document: serde_json::Value = serde_json::from_str(document).unwrap();
    change(&mut document);
    let document = document.to_string();
    let mut digest = Sha256::new();
    let mut field = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    field(document.as_bytes());
    let mut all = tensors.tensors();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, view) in &all {
        field(name.as_bytes());
        field(
            &view.shape().iter().flat_map(|&size| (size as u64).to_le_bytes()).collect::<Vec<_>>(),
        );
        field(view.data());
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let metadata = [
        ("fireclay".to_owned(), document),
        ("fireclay_digest".to_owned(), format!("sha256:{digest}")),
        ("format".to_owned(), "pt".to_owned()),
    ];
    safetensors::serialize(all, Some(metadata.into_iter().collect())).unwrap()
}
