//! `fireclay inspect`: what is in a file.
//!
//! Nothing in the file is executed and no network is run: it is read by the same doors as
//! everything that comes from outside.

mod foreign;
mod numbers;
mod odd;
mod ours;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use fireclay_files::{ReadAt, RegularFile, sha256};
use fireclay_formats::{Problem, WHOLE};
use fireclay_predict::model_file;
use fireclay_terminal::{Exit, printable, say};
use serde::Serialize;
use serde_json::Value;

use self::numbers::Numbers;
use crate::model;
use crate::output::say_json;

const EXAMPLES: &str = "\
Examples:
  fireclay inspect runs/mnist-1                the model of a run
  fireclay inspect model.pt                    a PyTorch file; nothing is executed
  fireclay inspect weights.h5 --json
  fireclay inspect model.safetensors --strict  exit code 1 for any anomaly

Supported files: models, checkpoints and adapters of Fireclay, .pt, .pth, .safetensors, .keras, .h5,
.npz, .npy, .onnx and .bpk.
Anomalies: a wrong digest; NaN or infinite numbers; magnitudes above 10,000; matrices of zeros;
units whose incoming weights are all zero; tensors with the same numbers; content that Fireclay
refuses to read. For the folder of a run, also anything that contradicts its manifest.";

/// Inspect a file: tensors, network, origin and anomalies. Nothing in it is executed.
#[derive(Debug, clap::Args)]
#[command(
    about = "Inspect a file: tensors, network, origin, anomalies",
    after_help = EXAMPLES
)]
pub(crate) struct Args {
    /// Model file of any supported format, or the folder of a run.
    file: PathBuf,
    /// Show the tensors below this key of a checkpoint, or with this prefix of their names; `.` shows all.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Show all tensors [default: the first 40].
    #[arg(long)]
    all: bool,
    /// Exit with code 1 if there is an anomaly.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The most bytes of a refused file that are read for its digest.
const MOST_REFUSED: u64 = 64 << 20;

/// What is in a file.
#[derive(Debug, Default, Serialize)]
struct Found {
    file: String,
    bytes: u64,
    /// Not taken of a large file that is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// What it is, such as `Fireclay model` or `PyTorch file`.
    kind: String,
    /// Of our own files: the digest in the file, and whether its content has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Signature>,
    /// The network in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    /// Numbers in all tensors.
    numbers: u64,
    /// What our own files say of themselves, as they say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
    tensors: Vec<Numbers>,
    odd: Vec<String>,
    notes: Vec<String>,
}

/// A digest, and whether it is right.
#[derive(Debug, Serialize)]
struct Signature {
    found: String,
    /// Nothing if the file is too damaged to tell.
    is_valid: Option<bool>,
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    let path = model_file(&args.file)?;
    let name = path.display().to_string();
    let file = fireclay_formats::open(&path).with_context(|| name.clone())?;
    let mut found = Found { file: printable(&name, 200), bytes: file.size(), ..Found::default() };
    if args.key.is_some() && ours::read(&*file).is_some() {
        bail!("{}: this is a file of Fireclay, which is read whole; leave out --key", found.file);
    }
    let problem = look(&path, &file, args.key.as_deref(), &mut found);
    if problem.is_none() || file.size() <= MOST_REFUSED {
        found.sha256 = Some(sha256(&*file).context(name)?);
    }
    if let Some(problem) = &problem {
        found.odd.push(printable(&problem.to_string(), 1000));
    }
    found.odd.extend(model::faults(&args.file).iter().map(|fault| printable(fault, 1000)));
    found.numbers = found.tensors.iter().map(|tensor| tensor.count).sum();
    if args.json {
        say_json(&found)?;
    } else {
        say(&text::text(&found, args.all))?;
    }
    if problem.is_some() {
        bail!("{} cannot be read; the reason is listed above, under `odd`", found.file);
    }
    let is_odd = args.strict && !found.odd.is_empty();
    Ok(Exit::of_gate(!is_odd))
}

/// Reads the file; the problem, if it is one that nothing can be made of.
fn look(
    path: &Path,
    file: &Arc<RegularFile>,
    key: Option<&str>,
    found: &mut Found,
) -> Option<Problem> {
    if let Some(ours) = ours::read(&**file) {
        found.kind = ours.kind.name().to_owned();
        let problem = odd::check(&ours.tensors, found).err();
        ours.tell(found);
        return problem;
    }
    let read = match fireclay_formats::from_file(path, file, key) {
        // All of it can be looked at; a note says what there is to choose from.
        Err(Problem::Several { .. }) => fireclay_formats::from_file(path, file, Some(WHOLE)),
        read => read,
    };
    match read {
        Ok(archive) => {
            found.kind = format!("{} file", archive.kind.name());
            let problem = odd::check(&foreign::tensors(&archive), found).err();
            if let Err(part) = fireclay_formats::check_name(path) {
                found.odd.push(part.to_string());
            }
            foreign::tell(path, key, &archive, found);
            problem
        }
        Err(problem) => {
            found.kind = match &problem {
                Problem::Malformed { kind, .. } => format!("damaged {kind} file"),
                Problem::Refused { .. } | Problem::Foreign { .. } => "refused file".to_owned(),
                _ => "unknown file".to_owned(),
            };
            Some(problem)
        }
    }
}
