//! Models, checkpoints and adapters of our own.

use std::io::Read;
use std::ops::Range;

use fireclay::{Adapter, AdapterError, ModelFileProblem, model_file};
use fireclay_files::{Dtype, Entry, Header, Limits, ReadAt, Stretch, count_values};
use fireclay_formats::{Layout, Problem};
use fireclay_terminal::printable;
use serde_json::Value;

use super::numbers::Stored;
use super::{Found, Signature};
use crate::inspect::text::network;

const DIGEST: &str = "fireclay_digest";
const MODEL: &str = "fireclay";
const ADAPTER: &str = "fireclay_adapter";
/// What the names of a checkpoint's own tensors begin with.
const OF_THE_RUN: &str = "run.";

/// How much a header may be: as much as that of a model file.
const LIMITS: Limits = Limits { bytes: 4 << 20, tensors: 50_000 };

/// The most values of a document that is shown: parsed, it is many times as large.
const MOST_VALUES: u64 = 500_000;

/// Numbers that are looked at at once.
const PIECE: usize = 8192;

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
pub(super) struct Ours<'a> {
    pub(super) kind: Kind,
    pub(super) tensors: Vec<Stored<'a>>,
    file: &'a dyn ReadAt,
    document: Value,
    digest: String,
}

/// Reads the header of a safetensors file that has our document in its metadata.
pub(super) fn read(file: &dyn ReadAt) -> Option<Ours<'_>> {
    let header = Header::read(file, LIMITS).ok()?;
    let mut metadata = header.metadata?;
    let (is_adapter, text) = match (metadata.remove(MODEL), metadata.remove(ADAPTER)) {
        (Some(text), _) => (false, text),
        (None, Some(text)) => (true, text),
        (None, None) => return None,
    };
    let is_short = count_values(&text, MOST_VALUES).is_ok_and(|count| count <= MOST_VALUES);
    let document =
        if is_short { serde_json::from_str(&text).unwrap_or_default() } else { Value::Null };
    let kind = match (is_adapter, document.get("run")) {
        (true, _) => Kind::Adapter,
        (false, Some(_)) => Kind::Checkpoint,
        (false, None) => Kind::Model,
    };
    let digest = metadata.remove(DIGEST).unwrap_or_default();
    let mut entries = header.tensors;
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let tensors = entries.into_iter().map(|entry| stored(file, entry)).collect();
    Some(Ours { kind, tensors, file, document, digest })
}

/// A tensor of the file; of another type than ours its numbers are not looked at.
fn stored(file: &dyn ReadAt, entry: Entry) -> Stored<'_> {
    let Entry { name, dtype, shape, place } = entry;
    let is_known = dtype == Dtype::F32;
    Stored {
        is_parameter: !name.starts_with(OF_THE_RUN),
        name,
        shape,
        dtype: if is_known { "f32" } else { "other" },
        is_float: is_known,
        layout: Layout::OutIn,
        pieces: Box::new(
            move |each| {
                if is_known { pieces(file, place.clone(), each) } else { Ok(()) }
            },
        ),
    }
}

/// Gives `each` the numbers in a place of a file.
fn pieces(
    file: &dyn ReadAt,
    place: Range<u64>,
    each: &mut dyn FnMut(&[f64]),
) -> Result<(), Problem> {
    let mut left = ((place.end - place.start) / 4) as usize;
    let mut stretch = Stretch::new(file, place);
    let (mut bytes, mut numbers) = (vec![0; 4 * PIECE], Vec::with_capacity(PIECE));
    while left > 0 {
        let count = left.min(PIECE);
        stretch.read_exact(&mut bytes[..4 * count])?;
        let words = bytes[..4 * count].as_chunks::<4>().0;
        numbers.clear();
        numbers.extend(words.iter().map(|&word| f64::from(f32::from_le_bytes(word))));
        each(&numbers);
        left -= count;
    }
    Ok(())
}

impl Ours<'_> {
    /// What the file says of itself, and whether it is right.
    pub(super) fn tell(self, found: &mut Found) {
        let problem = self.problem();
        let is_valid = match &problem {
            None => Some(true),
            Some(ModelFileProblem::Digest { .. }) => Some(false),
            Some(problem) => is_after_digest(problem).then_some(true),
        };
        if let Some(problem) = &problem {
            found.odd.insert(0, printable(&problem.to_string(), 400));
        }
        found.digest = Some(Signature { found: printable(&self.digest, 80), is_valid });
        // An architecture that cannot be is not counted: its sizes may not even multiply.
        found.network = match self.document["ensemble"].as_array() {
            Some(models) => of_models(models),
            None => model_file::network_of(&self.document).map(|found| network(&found)),
        };
        found.document = Some(self.document);
    }

    fn problem(&self) -> Option<ModelFileProblem> {
        if self.kind == Kind::Adapter {
            return match Adapter::check(self.file) {
                Err(AdapterError::File(problem)) => Some(problem),
                _ => None,
            };
        }
        model_file::check(self.file).err()
    }
}

/// The networks of an ensemble of models, each kind once.
fn of_models(models: &[Value]) -> Option<String> {
    let networks = models.iter().map(|document| Some(network(&model_file::network_of(document)?)));
    let mut networks = networks.collect::<Option<Vec<String>>>()?;
    networks.dedup();
    Some(format!("ensemble of {} models, each {}", models.len(), networks.join("; ")))
}

/// Whether the digest was found to be right before the problem was.
fn is_after_digest(problem: &ModelFileProblem) -> bool {
    matches!(
        problem,
        ModelFileProblem::Config(_)
            | ModelFileProblem::Input(_)
            | ModelFileProblem::Task(_)
            | ModelFileProblem::NotInVersion { .. }
            | ModelFileProblem::Outputs { .. }
            | ModelFileProblem::Member { .. }
            | ModelFileProblem::Average { .. }
            | ModelFileProblem::EncodedPath { .. }
            | ModelFileProblem::Encoding { .. }
            | ModelFileProblem::MissingTensor { .. }
            | ModelFileProblem::Shape { .. }
            | ModelFileProblem::Dtype { .. }
            | ModelFileProblem::UnusedTensor { .. }
    )
}
