//! `finetune import` and `finetune merge`: from one file to another.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fireclay::{
    Adapter, AdapterError, Ancestor, Backend, Channels, Device, DeviceChoice, Model,
    ModelFileError, ModelFileProblem, PictureShape, Pictures, Provenance, Task,
};
use fireclay_data::{Dataset, data_files};
use fireclay_files::{Output, read_regular};
use fireclay_measure::{fitted_to, task_of};
use fireclay_terminal::{Exit, digest_start, group, wrapped_at};
use train::load_with_bar;

use crate::args::{Import, Merge};
use crate::import::{Imported, import, not_a_model, not_an_adapter};
use crate::run::{is_ours, say};
use crate::score::{Difference, difference, random_rows, score_names, scores};
use crate::words;

/// Writes a file of another program as a Fireclay model.
pub(crate) fn run_import(args: &Import) -> Result<Exit> {
    let mut inputs = data_files(args.data.as_deref());
    inputs.push(args.file.clone());
    inputs.extend(args.reading.labels.clone());
    inputs.extend(beside(&args.file, &args.to));
    let output = Output { path: &args.to, flag: "--to", inputs: &inputs, is_forced: args.force };
    output.check()?;
    let device = cpu()?;
    let mut options = args.options()?;
    // --labels may rename the outputs of a Fireclay model; all else comes from the file.
    let names = if is_ours(&args.file) { options.labels.take() } else { None };
    let data = match &args.data {
        Some(source) => Some((source, load_with_bar(&source.parse()?)?)),
        None => None,
    };
    options.data = data.as_ref().map(|(_, data)| task_of(data.train.targets()));
    let imported = import(&args.file, &options, &device)?;
    let is_quiet = args.quiet;
    say(is_quiet, &words::placed(&imported))?;
    let Imported { mut model, origin, is_native, .. } = imported;
    if !is_native {
        model.provenance = descendant(origin, &Provenance::default());
    } else if let Some(names) = names {
        model.provenance = descendant(origin, &model.provenance);
        model.task = with_names(model.task, names)?;
    }
    let of_data = match &data {
        Some((source, data)) => train::pictures(&source.parse()?, &data.train),
        None => None,
    };
    // Before anything is written, so that a slip costs nothing.
    let measured = match data {
        Some((source, data)) => {
            fits(&model, data.train.width())?;
            let data = fitted_to(data, &model.task).with_context(|| format!("--data {source}"))?;
            Some((source, data.test))
        }
        None => None,
    };
    let shape = &model.mlp.architecture().input_shape;
    let of_data = of_data.filter(|pictures| pictures.validate(shape).is_ok());
    let pictures = pictures(args, model.input.pictures(), of_data)?;
    model.input = model.input.with_pictures(pictures);
    if let Some(pictures) = pictures {
        pictures.validate(shape).context("--ink and --placement")?;
    } else if PictureShape::of(shape).is_some_and(|shape| shape.channels == Channels::Grey) {
        say(is_quiet, &wrapped_at(UNSAID_PICTURES, 0))?;
    }
    output.check()?;
    let digest = model.save(&args.to)?;
    say(is_quiet, &saved(&args.to, &digest))?;
    if let Some((source, data)) = measured {
        let named = score_names(data.targets()).iter().zip(scores(&model, &data)?);
        let found: Vec<String> = named.map(|(name, score)| format!("{name} {score}")).collect();
        if found.is_empty() {
            return Ok(Exit::Done);
        }
        let rows = group(data.len() as u64);
        say(is_quiet, &format!("{source}: {rows} test samples, {}", found.join(", ")))?;
    }
    Ok(Exit::Done)
}

/// A task with names for its outputs, as many as it has.
fn with_names(task: Task, names: Vec<String>) -> Result<Task> {
    let (found, outputs) = (names.len(), task.outputs());
    if found != outputs {
        bail!("--labels has {found} lines, and the model {outputs} outputs; give one for each");
    }
    Ok(task.with_names(names))
}

/// What is done where nothing says what the training pictures look like.
const UNSAID_PICTURES: &str = "note: nothing says what the training pictures look like, so `predict` asks before it reads a \
                               picture; say it with --data, or with --ink and --placement";

/// What the training pictures look like: as the file, the flags or the data say, which must not
/// contradict each other.
fn pictures(
    args: &Import,
    of_file: Option<Pictures>,
    of_data: Option<Pictures>,
) -> Result<Option<Pictures>> {
    let (Some(ink), Some(placement)) = (args.ink, args.placement) else {
        return Ok(of_file.or(of_data));
    };
    let said = Pictures { ink, placement, ..of_data.unwrap_or(Pictures::MNIST) };
    for (other, whose) in [(of_file, "of the file"), (of_data, "of --data")] {
        if let Some(other) = other
            && (other.ink, other.placement) != (ink, placement)
        {
            bail!(
                "the pictures {whose} have {other}, and --ink and --placement say otherwise; leave \
                 one out"
            );
        }
    }
    Ok(of_file.or(Some(said)))
}

/// Writes a base with an adapter as one plain model, if rounding leaves it what it was.
pub(crate) fn run_merge(args: &Merge) -> Result<Exit> {
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

/// The file to write, if it lies beside the file to read and is named in that: it may hold the numbers
/// of an ONNX graph.
fn beside(file: &Path, to: &Path) -> Option<PathBuf> {
    /// Bytes of a graph without its numbers, at most.
    const MOST: u64 = 1 << 26;
    let folder = file.canonicalize().ok()?.parent()?.to_owned();
    let target = to.canonicalize().ok().filter(|target| target.starts_with(folder))?;
    let name = target.file_name()?.as_encoded_bytes().to_owned();
    let graph = read_regular(file, MOST).ok()?;
    graph.windows(name.len()).any(|window| window == name).then(|| to.to_owned())
}

/// The test samples of a data set that a model is measured on.
fn measured_on(source: &str, model: &Model) -> Result<Dataset> {
    let data = load_with_bar(&source.parse()?)?;
    fits(model, data.test.width())?;
    // Outputs alone are compared, so that any targets will do.
    Ok(data.test)
}

fn saved(path: &Path, digest: &str) -> String {
    format!("Saved in {} ({})", path.display(), digest_start(digest))
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

/// What is known of a model that was made of another.
pub(crate) fn descendant(parent: Ancestor, of_parent: &Provenance) -> Provenance {
    Provenance {
        program: Provenance::PROGRAM.to_owned(),
        parent: Some(parent.digest.clone()),
        ancestors: [vec![parent], of_parent.ancestors.clone()].concat(),
        ..Provenance::default()
    }
}

/// Checks that rows are as wide as a model takes them.
pub(crate) fn fits(model: &Model, width: usize) -> Result<()> {
    model.input.require_dense()?;
    let takes = model.features();
    if takes == width {
        return Ok(());
    }
    bail!("the model takes {takes} features, and the data has {width}")
}

fn cpu() -> Result<Device> {
    Ok(Backend::Flex.device(DeviceChoice::default())?)
}
