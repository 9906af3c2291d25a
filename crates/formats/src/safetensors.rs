//! Safetensors: a header of JSON, and the numbers behind it.
//!
//! The tensors fill the file, one after the other.

use fireclay_files::{Dtype, Entry, Header, HeaderError, Limits};

use crate::classes::of_metadata;
use crate::error::shown;
use crate::store::Part;
use crate::{Archive, ElementType, Kind, Layout, Problem, Tensor};

/// The kind of file, in messages.
const KIND: &str = "safetensors";

/// A header of about ten thousand tensors. Parsed, it is many times as large.
const LIMITS: Limits = Limits { bytes: 1 << 20, tensors: 10_000 };

/// The most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;

/// The most items of a file's metadata that become notes.
const MOST_NOTES: usize = 20;

/// Returns true if bytes begin as such a file does: the size of the header, and `{`.
pub(crate) fn is_safetensors(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, _, _, 0, 0, 0, b'{', ..])
}

/// Reads a safetensors file.
///
/// # Errors
///
/// [`Problem::Malformed`] if the header is not what it should be or the tensors do not fill the
/// file, [`Problem::Limit`] for a header or a shape that is too large, [`Problem::Refused`] for
/// numbers of a type that is not known.
pub(crate) fn read(file: &Part) -> Result<Archive, Problem> {
    let header = Header::read(file, LIMITS).map_err(problem)?;
    let mut tensors = Vec::with_capacity(header.tensors.len());
    for Entry { name, dtype: stored, shape, place } in header.tensors {
        if shape.len() > MOST_DIMENSIONS {
            let (found, most) = (shape.len() as u64, MOST_DIMENSIONS as u64);
            let what = "the number of dimensions of a tensor";
            return Err(Problem::Limit { what, found, most });
        }
        let dtype = dtype(&name, stored)?;
        let numbers = file.part(place);
        let numbers = numbers.ok_or_else(|| Problem::malformed(KIND, "it ends too early"))?;
        tensors.push(Tensor::new(KIND, name, shape, dtype, numbers)?);
    }
    let said = header.metadata.unwrap_or_default();
    let is_torch = said.get("format").is_some_and(|format| format == "pt");
    let items = said.iter().take(MOST_NOTES).map(|(key, value)| (key.as_str(), value.as_str()));
    let (class_names, notes) = of_metadata(items);
    Ok(Archive {
        layout: is_torch.then_some(Layout::OutIn),
        class_names,
        notes,
        advice: None,
        ..Archive::new(Kind::Safetensors, tensors)
    })
}

/// Turns the problem of a header into that of any kind of file.
fn problem(error: HeaderError) -> Problem {
    match error {
        HeaderError::Io(error) => Problem::Io(error),
        HeaderError::Limit { what, found, most } => Problem::Limit { what, found, most },
        HeaderError::Json(error) => Problem::malformed(
            KIND,
            format!("its header is not valid: {}", shown(&error.to_string())),
        ),
        other => Problem::malformed(KIND, format!("its header is not valid: {other}")),
    }
}

fn dtype(name: &str, stored: Dtype) -> Result<ElementType, Problem> {
    Ok(match stored {
        Dtype::F64 => ElementType::F64,
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::Bf16,
        Dtype::I64 => ElementType::I64,
        Dtype::I32 => ElementType::I32,
        Dtype::I16 => ElementType::I16,
        Dtype::I8 => ElementType::I8,
        Dtype::U64 => ElementType::U64,
        Dtype::U32 => ElementType::U32,
        Dtype::U16 => ElementType::U16,
        Dtype::U8 => ElementType::U8,
        Dtype::BOOL => ElementType::Bool,
        other => {
            let what = format!("the tensor {} is of type {other}", shown(name));
            let why = "only real numbers of 8 bits and more are read; convert it to F32";
            return Err(Problem::refused(what, why));
        }
    })
}
