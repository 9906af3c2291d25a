//! What a file is that was given in the place of one of Fireclay's own.

use std::path::Path;

use fireclay_terminal::quoted_path;

use crate::{FormatError, Problem, read};

/// Names the kind of a file that is not a Fireclay model, and the way out; `None` if the kind is unknown.
pub fn not_a_model(path: &Path) -> Option<String> {
    let pasted = quoted_path(path);
    let instead = format!(
        "; make one of it with `fireclay finetune import {pasted} --to imported.safetensors`"
    );
    told(path, "a model", &instead)
}

/// Names the kind of a file that is not a Fireclay adapter; `None` if the kind is unknown.
pub fn not_an_adapter(path: &Path) -> Option<String> {
    told(path, "an adapter", "")
}

fn told(path: &Path, wanted: &str, instead: &str) -> Option<String> {
    match read(path) {
        Ok(archive) => {
            let (path, kind) = (path.display(), archive.kind.name());
            Some(format!("{path} is a {kind} file, not {wanted} of Fireclay{instead}"))
        }
        // Ours are safetensors files too, and the door says more of a damaged one.
        Err(FormatError { problem: Problem::Malformed { kind: "safetensors", .. }, .. }) => None,
        Err(error) => Some(error.to_string()),
    }
}
