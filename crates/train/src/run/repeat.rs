//! A finished run done once more: whether it can come to the same, and whether it did.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use anyhow::{Result, bail};
use fireclay::Model;
use fireclay_files::read_regular;
use fireclay_terminal::wrapped_at;
use serde_json::Value;

use super::Run;
use crate::manifest::Manifest;
use crate::run_files::MODEL;
use crate::settings::Settings;
use crate::verify::document;

/// Message about a model that is bit for bit the same.
const IDENTICAL: &str = "The model is identical to that of the run that was repeated.";

impl Run {
    /// Makes sure that doing a run once more can come to the same.
    pub(super) fn check_repeats(&self, original: &Manifest) -> Result<()> {
        self.check_data(original)?;
        let Settings { schedule, training, .. } = &self.settings;
        let was_shorter =
            original.sessions.iter().any(|s| (1..training.epochs).contains(&s.epochs));
        if was_shorter && schedule.knows_the_end() {
            bail!(
                "the run was given more epochs on its way, and its schedule, {}, had other rates \
                 before: it cannot be repeated in one go",
                schedule.name()
            );
        }
        if was_shorter && !training.anneal.is_empty() {
            bail!(
                "the run was given more epochs on its way, and its settings annealed over fewer \
                 before: it cannot be repeated in one go"
            );
        }
        Ok(())
    }

    /// Says whether a repeated run came to the same model: the one that the run recorded, and the
    /// one that is in its folder now.
    pub(super) fn compare(
        &self,
        original: &Path,
        manifest: &Manifest,
        model: &Model,
        bytes: &[u8],
        digest: &str,
    ) -> Result<bool> {
        let Some(result) = &manifest.result else { return Ok(true) };
        let path = original.join(MODEL);
        let file = read_regular(&path, u64::MAX);
        let is_in_file = file.as_ref().is_ok_and(|file| file == bytes);
        let is_gone = file.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let is_recorded = result.model == digest;
        let (is_same, said) = match (is_recorded, file) {
            (true, Ok(_)) if is_in_file => (true, IDENTICAL.to_owned()),
            (true, Ok(_)) => (
                false,
                format!(
                    "The model is the one that manifest.json of the run has, but DIFFERS from the \
                     file {}: that file was replaced since the run.",
                    path.display()
                ),
            ),
            (true, Err(_)) if is_gone => (
                true,
                format!(
                    "{IDENTICAL} Its own file, {}, is gone: copy this one there.",
                    path.display()
                ),
            ),
            (true, Err(error)) => (
                false,
                format!(
                    "The model is the one that manifest.json of the run has, but cannot be \
                     compared with its file: {}: {error}.",
                    path.display()
                ),
            ),
            (false, Ok(_)) if is_in_file => (
                false,
                format!(
                    "The model is the one in {}, but DIFFERS from the one that manifest.json of \
                     the run has, which is {}: one of the two was changed since the run.",
                    path.display(),
                    result.model
                ),
            ),
            (false, _) => match self.in_other_words(&path, &result.model, model) {
                Some(said) => (true, said),
                None => (
                    false,
                    format!(
                        "The model DIFFERS from that of the run that was repeated, which is {}.",
                        result.model
                    ),
                ),
            },
        };
        self.say(&wrapped_at(&said, 0))?;
        Ok(is_same)
    }

    /// Message about a run whose model has the same weights, task and preprocessing, and whose
    /// file says other things of it: an older version wrote less, or another version number.
    fn in_other_words(&self, path: &Path, recorded: &str, model: &Model) -> Option<String> {
        let old = Model::load(path, &self.device).ok()?;
        let is_recorded = crate::verify::metadata(path).ok()?.digest.as_deref() == Some(recorded);
        let predicts_the_same =
            old.task == model.task && old.input.preprocessing() == model.input.preprocessing();
        if !is_recorded || !predicts_the_same || !has_same_bits(&old, model)? {
            return None;
        }
        let new = model.to_bytes().ok()?.0;
        let (old, new) = (document(path)?, document_in(&new)?);
        let mut differing = BTreeSet::new();
        differences("", &old, &new, &mut differing);
        let differing: Vec<String> = differing.into_iter().collect();
        Some(format!(
            "The weights are identical to those of the run that was repeated. What the file says \
             beside them differs in {}, as between versions of the program.",
            differing.join(", ")
        ))
    }
}

/// Whether all tensors of two models are the same, bit for bit.
fn has_same_bits(old: &Model, new: &Model) -> Option<bool> {
    let (old, new) = (old.mlp.tensors().ok()?, new.mlp.tensors().ok()?);
    let are_same = old.len() == new.len()
        && old.iter().zip(&new).all(|(old, new)| {
            old.name == new.name
                && old.shape == new.shape
                && old.values.iter().map(|x| x.to_bits()).eq(new.values.iter().map(|x| x.to_bits()))
        });
    Some(are_same)
}

/// The document in the bytes of a model file.
fn document_in(bytes: &[u8]) -> Option<Value> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: Value = serde_json::from_slice(header).ok()?;
    serde_json::from_str(header["__metadata__"]["fireclay"].as_str()?).ok()
}

/// The paths of everything that differs between two documents.
fn differences(at: &str, old: &Value, new: &Value, found: &mut BTreeSet<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().chain(new.keys()) {
                let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                let [old, new] = [old, new].map(|object| object.get(key).unwrap_or(&Value::Null));
                differences(&path, old, new, found);
            }
        }
        (old, new) if old != new => {
            found.insert(at.to_owned());
        }
        _ => {}
    }
}
