//! Helpers of the targets.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::process;

use serde_json::json;
use sha2::{Digest, Sha256};

/// The greatest piece of memory that may be asked for: 64 MiB, the step in which IDX files are read.
const MOST_AT_ONCE: usize = 64 << 20;

/// The system's allocator, with a limit. libFuzzer's own, `-malloc_limit_mb`, needs a sanitizer.
struct Limited;

#[global_allocator]
static LIMITED: Limited = Limited;

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

fn check(size: usize) {
    if size > MOST_AT_ONCE {
        // Nothing that allocates: a panic would come back here.
        process::abort();
    }
}

/// More than the data of a tensor ever needs here; a line that claims more is a lie.
const MOST_BYTES: usize = 4096;

/// The model file that `text` describes, under a digest that is right.
///
/// A mutated file nearly always ends at the digest. This notation has none, so that what lies
/// behind the check is reached:
///
/// ```text
/// {"version":1, ...}          the document, one line
/// layers.0.weight F32 3 2     name, type and shape of a tensor, one line each
/// layers.0.bias F32 3
///                             an empty line, then the data
/// ```
///
/// Data that is missing is zero. A shape too large for [`MOST_BYTES`] gets none.
pub fn model_file(text: &[u8]) -> Option<Vec<u8>> {
    let (head, mut data) = split(text, b"\n\n")?;
    let mut lines = std::str::from_utf8(head).ok()?.lines();
    let document = lines.next().filter(|line| line.starts_with('{'))?;
    // By name, as the digest wants them. Of two of one name the last counts, and the hole that the
    // first leaves in the data makes a file that is refused.
    let mut tensors = BTreeMap::new();
    let mut payload = Vec::new();
    for line in lines {
        let mut words = line.split(' ');
        let (name, dtype) = (words.next()?, words.next()?);
        let shape: Vec<u64> = words.map(|size| size.parse().ok()).collect::<Option<_>>()?;
        let start = payload.len();
        let values = shape.iter().try_fold(1u64, |all, &size| all.checked_mul(size));
        let bytes =
            values.and_then(|values| usize::try_from(values.checked_mul(width(dtype))?).ok());
        let bytes = bytes.filter(|&bytes| bytes <= MOST_BYTES).unwrap_or(0);
        let (here, rest) = data.split_at(bytes.min(data.len()));
        payload.extend_from_slice(here);
        payload.resize(start + bytes, 0);
        data = rest;
        tensors.insert(name, (dtype, shape, start..start + bytes));
    }
    let mut hash = Sha256::new();
    add_field(&mut hash, document.as_bytes());
    for (name, (_, shape, range)) in &tensors {
        add_field(&mut hash, name.as_bytes());
        let sizes: Vec<u8> = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
        add_field(&mut hash, &sizes);
        add_field(&mut hash, &payload[range.clone()]);
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut header = json!({
        "__metadata__": {"fireclay": document, "fireclay_digest": format!("sha256:{hex}")}
    });
    for (name, (dtype, shape, range)) in tensors {
        header[name] = json!({
            "dtype": dtype, "shape": shape, "data_offsets": [range.start, range.end]
        });
    }
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.into_bytes());
    file.extend(payload);
    Some(file)
}

/// Adds a field of the digest, with its length before it.
fn add_field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn split<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let start = text.windows(at.len()).position(|window| window == at)?;
    Some((&text[..start], &text[start + at.len()..]))
}

/// Bytes of a value.
fn width(dtype: &str) -> u64 {
    match dtype {
        "F64" | "I64" | "U64" => 8,
        "F16" | "BF16" => 2,
        "I8" | "U8" | "BOOL" => 1,
        _ => 4,
    }
}
