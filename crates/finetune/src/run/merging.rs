//! `finetune merge`: an adapter in the weights of its base.

use anyhow::{Context, Result, bail};
use fireclay::{Adapter, AdapterError, Ancestor, Device, Model, ModelFileError, ModelFileProblem};
use fireclay_data::{Dataset, data_files};
use fireclay_files::Output;
use fireclay_terminal::{Exit, group, wrapped_at};
use train::load_with_bar;

use super::{cpu, descendant, fits, saved, say};
use crate::args::Merge;
use crate::import::{not_a_model, not_an_adapter};
use crate::score::{Difference, difference, random_rows};

/// Writes a base with an adapter as one plain model, if rounding leaves it what it was.
pub(super) fn run(args: &Merge) -> Result<Exit> {
    let mut inputs = data_files(args.data.as_deref());
    inputs.push(args.adapter.clone());
    inputs.extend(args.base.clone());
    let output = Output { path: &args.to, flag: "--to", inputs: &inputs, is_forced: args.force };
    output.check()?;
    let device = cpu()?;
    let tuned = tuned(args, &device)?;
    if tuned.mlp.architecture().lora.is_none() {
        bail!("{} has no adapters, so there is nothing to merge", args.adapter.display());
    }
    let mut merged = Model { mlp: tuned.mlp.clone().merged(), ..tuned.clone() };
    merged.provenance = descendant(
        Ancestor {
            digest: tuned.digest()?,
            program: tuned.provenance.program.clone(),
            data: tuned.provenance.data.clone(),
        },
        &tuned.provenance,
    );
    let (data, name) = match &args.data {
        Some(source) => {
            let data = measured_on(source, &tuned);
            let data = data.with_context(|| format!("--data {source}"))?;
            (data, format!("test samples of {source}"))
        }
        None => (random_rows(&tuned)?, "random rows".to_owned()),
    };
    let Difference { largest, agreeing, rows } = difference(&tuned, &merged, &data)?;
    let found = format!(
        "merged and unmerged, on {} {name}: largest difference of a logit {largest:.1e}, the same \
         answer for {} ({:.2} %)",
        group(rows as u64),
        group(agreeing as u64),
        100.0 * agreeing as f64 / rows as f64
    );
    say(args.quiet, &wrapped_at(&found, 0))?;
    // A difference that is no number is not within anything.
    let is_within = largest <= args.tolerance;
    if !is_within {
        let tolerance = args.tolerance;
        let refusal =
            format!("That is more than --tolerance {tolerance:e}, so nothing is written.");
        say(args.quiet, &refusal)?;
        return Ok(Exit::Unmet);
    }
    output.check()?;
    let digest = merged.save(&args.to)?;
    say(args.quiet, &saved(&args.to, &digest))?;
    Ok(Exit::Done)
}

/// The test samples of a data set that a model is measured on.
fn measured_on(source: &str, model: &Model) -> Result<Dataset> {
    let data = load_with_bar(&source.parse()?)?;
    fits(model, &data.test)?;
    // Outputs alone are compared, so that any targets will do.
    Ok(data.test)
}

/// The model with its adapters: a file that holds them, or a base and an adapter file.
fn tuned(args: &Merge, device: &Device) -> Result<Model> {
    let path = &args.adapter;
    let Some(base) = &args.base else {
        return Model::load(path, device).map_err(|error| match error.problem {
            ModelFileProblem::NoDocument => anyhow::anyhow!(
                "{} is not a whole model; name the base of the adapter with --base",
                path.display()
            ),
            _ => not_ours(error),
        });
    };
    let base = Model::load(base, device).map_err(not_ours)?;
    let adapter = Adapter::load(path).map_err(|error| match &error.problem {
        AdapterError::File(ModelFileProblem::Safetensors(_) | ModelFileProblem::NotAFile) => {
            not_an_adapter(path).map_or_else(|| error.into(), |what| anyhow::anyhow!(what))
        }
        _ => error.into(),
    })?;
    base.with_adapter(&adapter).with_context(|| path.display().to_string())
}

/// The error of a file that is no Fireclay model, by what it is.
fn not_ours(error: ModelFileError) -> anyhow::Error {
    use ModelFileProblem::{NoDocument, NotAFile, Safetensors};
    let is_foreign = matches!(error.problem, Safetensors(_) | NoDocument | NotAFile);
    match not_a_model(&error.path) {
        Some(what) if is_foreign => anyhow::anyhow!(what),
        _ => error.into(),
    }
}
