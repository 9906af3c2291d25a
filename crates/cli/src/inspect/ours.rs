//! Models, checkpoints and adapters of our own.

use fireclay::{Adapter, AdapterError, MlpConfig, Model, ModelFileProblem};
use fireclay_formats::Layout;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;

use super::numbers::Stored;
use super::{Found, Signature};
use crate::inspect::text::network;
use crate::model::Where;
use crate::output::printable;

const DIGEST: &str = "fireclay_digest";
const MODEL: &str = "fireclay";
const ADAPTER: &str = "fireclay_adapter";
/// What the names of a checkpoint's own tensors begin with.
const OF_THE_RUN: &str = "run.";

/// The most bytes of a header: parsed, it is many times as large.
const MOST_HEADER: u64 = 16 << 20;

/// A kind of file of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Checkpoint,
    Adapter,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Model => "Fireclay model",
            Self::Checkpoint => "Fireclay checkpoint",
            Self::Adapter => "Fireclay adapter",
        }
    }
}

/// A file of our own, as far as it can be read.
pub(super) struct Ours {
    pub(super) kind: Kind,
    pub(super) tensors: Vec<Stored>,
    document: Value,
    digest: String,
}

/// Reads a safetensors file that has our document in its metadata.
pub(super) fn read(bytes: &[u8]) -> Option<Ours> {
    let header = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
    if header > MOST_HEADER {
        return None;
    }
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let metadata = header.metadata().as_ref()?;
    let (is_adapter, text) = match (metadata.get(MODEL), metadata.get(ADAPTER)) {
        (Some(text), _) => (false, text),
        (None, Some(text)) => (true, text),
        (None, None) => return None,
    };
    let document: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let kind = match (is_adapter, document.get("run")) {
        (true, _) => Kind::Adapter,
        (false, Some(_)) => Kind::Checkpoint,
        (false, None) => Kind::Model,
    };
    let digest = metadata.get(DIGEST).cloned().unwrap_or_default();
    Some(Ours { kind, tensors: tensors(bytes), document, digest })
}

/// The tensors of the file; none if it is cut off.
fn tensors(bytes: &[u8]) -> Vec<Stored> {
    let Ok(file) = SafeTensors::deserialize(bytes) else { return Vec::new() };
    let mut views = file.tensors();
    views.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let stored = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let is_known = view.dtype() == Dtype::F32;
        let (words, _) = view.data().as_chunks::<4>();
        let value = |&word: &[u8; 4]| f64::from(f32::from_le_bytes(word));
        Stored {
            is_parameter: !name.starts_with(OF_THE_RUN),
            name,
            shape: view.shape().to_vec(),
            dtype: if is_known { "f32" } else { "other" },
            is_float: is_known,
            layout: Layout::OutIn,
            values: if is_known { words.iter().map(value).collect() } else { Vec::new() },
        }
    };
    views.into_iter().map(stored).collect()
}

impl Ours {
    /// What the file says of itself, and whether it is right.
    pub(super) fn tell(self, bytes: &[u8], found: &mut Found) {
        let problem = self.problem(bytes);
        let is_valid = match &problem {
            None => Some(true),
            Some(ModelFileProblem::Digest { .. }) => Some(false),
            Some(problem) => is_after_digest(problem).then_some(true),
        };
        if let Some(problem) = &problem {
            found.odd.insert(0, printable(&problem.to_string(), 400));
        }
        found.digest = Some(Signature { found: printable(&self.digest, 80), is_valid });
        let architecture = self.document.get("architecture").cloned().unwrap_or_default();
        let config = serde_json::from_value::<MlpConfig>(architecture);
        // An architecture that can not be is not counted: its sizes may not even multiply.
        found.network = config.ok().filter(|c| c.validate().is_ok()).map(|c| network(&c));
        found.document = Some(self.document);
    }

    fn problem(&self, bytes: &[u8]) -> Option<ModelFileProblem> {
        if self.kind == Kind::Adapter {
            return match Adapter::from_bytes(bytes) {
                Err(AdapterError::File(problem)) => Some(problem),
                _ => None,
            };
        }
        let device = Where::default().device().ok()?;
        Model::from_bytes(bytes, &device).err()
    }
}

/// Whether the digest was found to be right before the problem was.
fn is_after_digest(problem: &ModelFileProblem) -> bool {
    matches!(
        problem,
        ModelFileProblem::Config(_)
            | ModelFileProblem::Preprocessing(_)
            | ModelFileProblem::Pictures(_)
            | ModelFileProblem::Outputs { .. }
            | ModelFileProblem::MissingTensor { .. }
            | ModelFileProblem::Shape { .. }
            | ModelFileProblem::Dtype { .. }
            | ModelFileProblem::UnusedTensor { .. }
    )
}
