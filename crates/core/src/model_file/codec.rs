//! The bytes of our files: safetensors with a document and a digest in its metadata.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;

use super::ModelFileProblem;
use super::digest::{check_digest, digest};
use crate::NamedTensor;

/// Key of the digest in the file's metadata.
const DIGEST_KEY: &str = "fireclay_digest";
/// Key by which other libraries recognise the layout, and its value.
const FORMAT_KEY: &str = "format";
const FORMAT: &str = "pt";

/// The bytes of a safetensors file with a document under `key` in its metadata, the same for the
/// same content, and the digest in it.
///
/// # Errors
///
/// [`ModelFileProblem::Document`] if the header can not be written as JSON.
pub fn pack(
    key: &str,
    document: &str,
    tensors: &[NamedTensor],
) -> Result<(Vec<u8>, String), ModelFileProblem> {
    let bytes = |tensor: &NamedTensor| -> Vec<u8> {
        tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    };
    let data: Vec<(&NamedTensor, Vec<u8>)> =
        tensors.iter().map(|tensor| (tensor, bytes(tensor))).collect();
    let fields = data.iter().map(|(t, bytes)| (t.name.as_str(), &t.shape[..], &bytes[..]));
    let digest = digest(document, fields);
    Ok((serialize(key, document, &digest, &data)?, digest))
}

/// Reads what [`pack`] wrote: the document by `read`, whose error comes before any about the
/// tensors, and the tensors in the order of the file.
///
/// # Errors
///
/// A [`ModelFileProblem`]; [`NoDocument`](ModelFileProblem::NoDocument) if there is none under `key`.
pub fn unpack<T>(
    key: &str,
    bytes: &[u8],
    read: impl FnOnce(&str) -> Result<T, ModelFileProblem>,
) -> Result<(T, Vec<NamedTensor>), ModelFileProblem> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let metadata = header.metadata().as_ref();
    let text = metadata.and_then(|map| map.get(key)).ok_or(ModelFileProblem::NoDocument)?;
    let document = read(text)?;
    check_metadata(key, metadata.into_iter().flatten())?;
    let tensors = SafeTensors::deserialize(bytes)?;
    check_digest(metadata.and_then(|map| map.get(DIGEST_KEY)), text, &tensors)?;
    // The library gives them in no order. Those without data lie in one place: by name, too.
    let infos = header.tensors();
    let mut names: Vec<&String> = infos.keys().collect();
    names.sort_unstable_by_key(|name| (infos[*name].data_offsets, *name));
    let tensors = names.into_iter().map(|name| self::read(name, &tensors.tensor(name)?));
    Ok((document, tensors.collect::<Result<_, _>>()?))
}

/// One entry of a safetensors header.
#[derive(Serialize)]
#[serde(untagged)]
enum HeaderEntry<'a> {
    Metadata(BTreeMap<&'a str, &'a str>),
    Tensor { dtype: &'static str, shape: &'a [usize], data_offsets: [usize; 2] },
}

/// The safetensors file of these tensors. Written here because the library's writer orders the
/// metadata at random, and one model must always give one file.
fn serialize(
    key: &str,
    text: &str,
    digest: &str,
    tensors: &[(&NamedTensor, Vec<u8>)],
) -> Result<Vec<u8>, serde_json::Error> {
    let metadata = BTreeMap::from([(key, text), (DIGEST_KEY, digest), (FORMAT_KEY, FORMAT)]);
    let mut header = BTreeMap::from([("__metadata__", HeaderEntry::Metadata(metadata))]);
    let mut end = 0;
    for (tensor, bytes) in tensors {
        let data_offsets = [end, end + bytes.len()];
        let entry = HeaderEntry::Tensor { dtype: "F32", shape: &tensor.shape, data_offsets };
        header.insert(&tensor.name, entry);
        end += bytes.len();
    }
    let mut json = serde_json::to_vec(&header)?;
    // Readers may map the file: data starts at a multiple of 8.
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json);
    tensors.iter().for_each(|(_, bytes)| file.extend_from_slice(bytes));
    Ok(file)
}

/// The digest does not cover these, so each must be one that a writer writes.
fn check_metadata<'a>(
    document: &str,
    metadata: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<(), ModelFileProblem> {
    for (key, value) in metadata {
        match key.as_str() {
            DIGEST_KEY => {}
            key if key == document => {}
            FORMAT_KEY if value == FORMAT => {}
            _ => {
                let (key, value) = (key.clone(), value.chars().take(40).collect());
                return Err(ModelFileProblem::Metadata { key, value });
            }
        }
    }
    Ok(())
}

/// A tensor of the file, copied.
fn read(name: &str, view: &TensorView<'_>) -> Result<NamedTensor, ModelFileProblem> {
    if view.dtype() != Dtype::F32 {
        let found = view.dtype().to_string();
        return Err(ModelFileProblem::Dtype { name: name.to_owned(), found });
    }
    let (words, _) = view.data().as_chunks::<4>();
    let values = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
    Ok(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), values })
}
