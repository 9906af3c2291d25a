//! ONNX: a graph of operators in the wire format of Protocol Buffers.
//!
//! Read are graphs that compute one layer after the other: [`chain`] walks from the input to the
//! output, and what it meets that is no layer is refused by name. Nothing is executed but a few
//! functions of one number, at numbers chosen here, to see which activation they are. The numbers of
//! tensors may lie in files beside the model, within its folder.

mod chain;
mod constants;
mod elementwise;
mod external;
mod proto;
mod tensor;
mod wire;

use std::collections::BTreeSet;
use std::path::Path;

use crate::store::Part;
use crate::{Archive, Problem};
use external::Beside;
use proto::Model;
use wire::Message;

/// The kind of file, in messages.
const KIND: &str = "ONNX";

/// The most fields that are looked at to see whether a file is a model; graphs have fewer.
const MOST_FIELDS: usize = 200_000;

/// Returns true if this looks like a model: it begins like one, or is nothing but fields, among
/// them a graph with a node. The format has no magic number, so ask this last.
pub(crate) fn is_model(file: &Part) -> Result<bool, Problem> {
    // Every exporter writes first the version of the format, then a text or the graph.
    let begins =
        matches!(file.beginning()?, [0x08, 1..0x80, 0x12 | 0x1a | 0x22 | 0x32 | 0x3a | 0x42, ..]);
    Ok(begins || has_node(file).is_ok_and(|has| has))
}

/// The numbers of the fields that a file consists of as a message, or those of the first field of
/// this number as a message within it; none if it is no message.
pub(crate) fn fields(file: &Part, of: Option<u64>) -> Option<BTreeSet<u64>> {
    let mut message = Message::whole("message", file);
    if let Some(number) = of {
        let (mut fields, mut looked_at) = (message.fields().ok()?, 0);
        message = loop {
            looked_at += 1;
            match fields.read().ok()?? {
                field if field.number == number => break field.message("message").ok()?,
                _ if looked_at == MOST_FIELDS => return None,
                _ => {}
            }
        };
    }
    let (mut fields, mut found) = (message.fields().ok()?, BTreeSet::new());
    for _ in 0..MOST_FIELDS {
        match fields.read().ok()? {
            Some(field) => found.insert(field.number),
            None => return Some(found),
        };
    }
    None
}

fn has_node(file: &Part) -> Result<bool, Problem> {
    let (mut found, mut looked_at) = (false, 0);
    let mut fields = Message::whole("ModelProto", file).fields()?;
    while let Some(field) = fields.read()? {
        looked_at += 1;
        if looked_at > MOST_FIELDS {
            return Ok(false);
        }
        if field.number == 7 {
            let mut graph = field.message("GraphProto")?.fields()?;
            while let Some(field) = graph.read()? {
                looked_at += 1;
                if looked_at > MOST_FIELDS {
                    return Ok(false);
                }
                found |= field.number == 1 && field.message("NodeProto").is_ok();
            }
        }
    }
    Ok(found)
}

/// Reads a model.
///
/// # Errors
///
/// [`Problem::Malformed`] if it is cut off or not what the standard says, [`Problem::Limit`] for
/// graphs that are too large, [`Problem::Refused`] for operators and arrangements of them that are
/// not understood, and for numbers in files that are not within the folder of `path`.
pub(crate) fn read(file: &Part, path: Option<&Path>) -> Result<Archive, Problem> {
    let beside = Beside::of(path);
    let archive = chain::read(&Model::read(file, &beside)?)?;
    Ok(Archive { files: beside.paths(), ..archive })
}
