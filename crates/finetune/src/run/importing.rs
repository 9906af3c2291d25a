//! `finetune import`: a file of another program as a Fireclay model.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fireclay::{Channels, Model, PictureShape, Pictures, Provenance};
use fireclay_data::{Dataset, data_files};
use fireclay_files::{Output, read_regular};
use fireclay_measure::{fitted_to, task_of};
use fireclay_terminal::{Exit, counted, wrapped_at};
use train::load_with_bar;

use super::{cpu, descendant, fits, saved, say, text};
use crate::args::Import;
use crate::import::{Imported, import};
use crate::score::{score_names, scores};

/// Writes a file of another program as a Fireclay model.
pub(super) fn run(args: &Import) -> Result<Exit> {
    let mut inputs = data_files(args.data.as_deref());
    inputs.push(args.file.clone());
    inputs.extend(args.reading.labels.clone());
    inputs.extend(beside(&args.file, &args.to));
    let output = Output { path: &args.to, flag: "--to", inputs: &inputs, is_forced: args.force };
    output.check()?;
    let mut options = args.reading.options()?;
    let data = match &args.data {
        Some(source) => Some((source, load_with_bar(&source.parse()?)?)),
        None => None,
    };
    options.data = data.as_ref().map(|(_, data)| task_of(data.train.targets()));
    let imported = import(&args.file, &options, &cpu()?)?;
    say(args.quiet, &text::placed(&imported))?;
    let Imported { mut model, origin, is_native, .. } = imported;
    if !is_native {
        model.provenance = descendant(origin, &Provenance::default());
    } else if options.labels.is_some() {
        model.provenance = descendant(origin, &model.provenance);
    }
    let of_data = match &data {
        Some((source, data)) => train::pictures(&source.parse()?, &data.train),
        None => None,
    };
    // Before anything is written, so that a slip costs nothing.
    let measured = match data {
        Some((source, data)) => {
            fits(&model, &data.train)?;
            let data = fitted_to(data, &model.task).with_context(|| format!("--data {source}"))?;
            Some((source, data.test))
        }
        None => None,
    };
    add_pictures(&mut model, args, of_data)?;
    output.check()?;
    let digest = model.save(&args.to)?;
    say(args.quiet, &saved(&args.to, &digest))?;
    if let Some((source, data)) = measured {
        say(args.quiet, &score(&model, source, &data)?)?;
    }
    Ok(Exit::Done)
}

/// Adds what the training pictures look like, or says that nobody knows.
fn add_pictures(model: &mut Model, args: &Import, of_data: Option<Pictures>) -> Result<()> {
    let shape = model.mlp.architecture().input_shape.clone();
    let of_data = of_data.filter(|pictures| pictures.validate(&shape).is_ok());
    let pictures = pictures(args, model.input.pictures(), of_data)?;
    model.input = model.input.clone().with_pictures(pictures);
    if let Some(pictures) = pictures {
        pictures.validate(&shape).context("--ink and --placement")?;
    } else if PictureShape::of(&shape).is_some_and(|shape| shape.channels == Channels::Grey) {
        say(args.quiet, &wrapped_at(UNSAID_PICTURES, 0))?;
    }
    Ok(())
}

/// How good a model is on the test samples of a data set; empty of several labels a row.
fn score(model: &Model, source: &str, test: &Dataset) -> Result<String> {
    let named = score_names(test.targets()).iter().zip(scores(model, test)?);
    let found: Vec<String> = named.map(|(name, score)| format!("{name} {score}")).collect();
    if found.is_empty() {
        return Ok(String::new());
    }
    let rows = counted(test.len() as u64, "test sample");
    Ok(format!("{source}: {rows}, {}", found.join(", ")))
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
