//! The documents that a run leaves, read by hand as docs/model-file.md specifies them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The steps of the whole lines of a log. That of the test is of the weights that were kept, and
/// may be smaller than those before it.
pub(super) fn logged_steps(metrics: &[u8]) -> BTreeSet<u64> {
    let end = metrics.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    let lines = metrics[..end].split(|&byte| byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok()?["step"].as_u64()).collect()
}

/// The step of a checkpoint by its document.
pub(super) fn step_of(document: &Value) -> Option<u64> {
    document["run"]["state"]["progress"]["step"].as_u64()
}

/// Reads a file as docs/model-file.md specifies it; returns its document if all of it is there.
pub(super) fn whole_document(bytes: &[u8]) -> Result<Value> {
    let (length, rest) = bytes.split_first_chunk().context("it has less than 8 bytes")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let (header, data) = rest.split_at_checked(length).context("its header is cut off")?;
    let mut header: BTreeMap<String, Value> =
        serde_json::from_slice(header).context("its header is no JSON")?;
    let metadata = header.remove("__metadata__").context("it has no metadata")?;
    let document = metadata["fireclay"].as_str().context("it has no document")?;
    let mut covered = Vec::new();
    let mut hash = Sha256::new();
    add_field(&mut hash, document.as_bytes());
    // In the order of the bytes of the names, as the map is.
    for (name, tensor) in &header {
        let shape = numbers(&tensor["shape"]).context("a shape is no list of numbers")?;
        let offsets = numbers(&tensor["data_offsets"]).context("offsets are no numbers")?;
        let [begin, end] = offsets[..] else { bail!("{name} has {} offsets", offsets.len()) };
        let (from, to) = (usize::try_from(begin)?, usize::try_from(end)?);
        let values = data.get(from..to).with_context(|| format!("{name} is cut off"))?;
        ensure!(tensor["dtype"] == "F32", "{name} is no F32");
        let size = shape.iter().try_fold(4_u64, |size, &axis| size.checked_mul(axis));
        ensure!(size == Some(end - begin), "{name} has {} bytes", end - begin);
        covered.push((from, to));
        add_field(&mut hash, name.as_bytes());
        add_field(&mut hash, &shape.iter().flat_map(|axis| axis.to_le_bytes()).collect::<Vec<_>>());
        add_field(&mut hash, values);
    }
    covered.sort_unstable();
    let end = covered.iter().try_fold(0, |end, &(from, to)| (from == end).then_some(to));
    ensure!(end == Some(data.len()), "its tensors do not cover its data");
    let digest = format!("sha256:{}", hexadecimal(&hash.finalize()));
    ensure!(metadata["fireclay_digest"] == digest.as_str(), "its digest is not {digest}");
    serde_json::from_str(document).context("its document is no JSON")
}

/// Adds a field of the digest, with its length before it.
fn add_field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn numbers(value: &Value) -> Option<Vec<u64>> {
    value.as_array()?.iter().map(Value::as_u64).collect()
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file by hand: two tensors, listed in another order than their data is in.
    fn tiny(digest: &str) -> Vec<u8> {
        let header = format!(
            r#"{{"__metadata__":{{"fireclay":"{{\"version\":1}}","fireclay_digest":"{digest}"}},"a":{{"dtype":"F32","shape":[1],"data_offsets":[8,12]}},"b":{{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}}}  "#
        );
        let data = [1.5_f32, -2.0, 0.25].map(f32::to_le_bytes).concat();
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
    }

    /// By Python's hashlib.
    const DIGEST: &str = "sha256:ae311d28f3da27a5eb07170ad1293e98ebdef2d97049d20e1d8d1b16a27f7916";

    #[test]
    fn a_whole_file_passes() {
        let document = whole_document(&tiny(DIGEST)).unwrap();
        assert_eq!(document["version"], 1);
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_found() {
        let whole = tiny(DIGEST);
        for length in 0..whole.len() {
            assert!(whole_document(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(whole_document(&[&whole[..], b"x"].concat()).is_err(), "a byte too many");
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            assert!(whole_document(&flipped).is_err(), "byte {place}");
        }
    }

    #[test]
    fn the_steps_of_a_log_are_those_of_its_whole_lines() {
        assert_eq!(logged_steps(b""), BTreeSet::new());
        assert_eq!(logged_steps(b"{\"step\":7}"), BTreeSet::new());
        let log = b"{\"step\":7}\n{\"step\":14}\n{\"step\":7}\n{\"step\":2";
        assert_eq!(logged_steps(log), BTreeSet::from([7, 14]));
    }
}
