//! From a network and the tensors that it names to a Fireclay model, wherever the network came from.
//!
//! [`steps`] reads it as numbers, [`fold`] makes [`block`]s of them, the layers of the architecture,
//! [`features`] and [`meaning`] say what goes in and what comes out, and [`reference`](mod@reference)
//! measures what that changed.

mod block;
mod features;
mod fold;
mod functions;
mod linear;
mod meaning;
mod reference;
mod said;
mod steps;
mod tensors;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use fireclay::{
    Ancestor, Architecture, Device, InputSpec, Mlp, MlpConfig, Model, NormPart, ParameterPath,
    Preprocessing, Provenance, Task,
};
use fireclay_formats::{Archive, ElementType, Network};

use super::{ImportError, Imported, Options, TaskKind};
use block::Block;
use fold::{Blocks, Done, Output};
use linear::Diagonal;
use meaning::{labels, meaning, wanted};
use reference::Reference;
use steps::{NormStep, Reader, Step};
use tensors::Tensors;

/// Builds the model; the origin is left to the caller. `is_described` if the file itself describes
/// the network, and so says all of it.
pub(super) fn assemble(
    mut archive: Archive,
    network: &Network,
    is_described: bool,
    options: &Options,
    device: &Device,
) -> Result<Imported, ImportError> {
    said::check(network, is_described, options)?;
    let mut tensors = Tensors::new(std::mem::take(&mut archive.tensors), network);
    if !is_described {
        said::check_missing(network, &tensors, options)?;
    }
    let Some(inputs) = steps::inputs(&network.layers, &tensors)? else {
        return Err(ImportError::unsupported("the file describes no linear layer", "it has none"));
    };
    let steps = Reader::new(inputs, &tensors).steps(&network.layers)?;
    let folded = fold(&archive, &steps, inputs, options, &tensors)?;
    let reference = if folded.is_changed() {
        let compared = without_end(&steps, folded.output);
        let said = options.preprocessing.as_ref();
        Some(Reference::of(compared, said, &folded.input, &tensors)?)
    } else {
        None
    };
    drop(steps);
    let architecture = architecture(&folded, network.input_shape.as_deref())?;
    let outputs = architecture.outputs;
    let (names, of_names) = labels(&archive, options, outputs)?;
    let task = match folded.meaning.kind {
        TaskKind::MultiLabel => Task::multi_label(names),
        TaskKind::Regression => Task::regression(names),
        TaskKind::Classification => Task::classification(names),
    };
    let preprocessing = folded.preprocessing.clone();
    preprocessing.validate(architecture.inputs())?;
    let mut notes = archive.notes;
    notes.extend(folded.notes());
    notes.extend(of_names);
    if !folded.is_left {
        for name in &folded.input.from {
            tensors.went(name, "preprocessing".to_owned(), "of each feature".to_owned());
        }
    }
    let mlp = network_of(folded.blocks, &architecture, &mut tensors, device)?;
    let program = Provenance::PROGRAM.to_owned();
    let provenance = Provenance { program, ..Provenance::default() };
    let input = InputSpec::dense(&mlp.architecture().input_shape, preprocessing);
    let model = Model { mlp, task, input, provenance };
    if let Some(reference) = reference {
        let share = reference.difference(&model)?;
        notes.push(format!(
            "on random rows, outputs differ from those of the file's network in 64 bits by at most \
             {share:.1e} of the largest"
        ));
    }
    let placed = tensors.placed(is_described, options)?;
    Ok(Imported { model, origin: Ancestor::default(), is_native: false, placed, notes })
}

/// A Fireclay network, as numbers.
#[derive(Debug)]
struct Folded {
    blocks: Vec<Block>,
    output: Output,
    /// What the file does to features, of which `preprocessing` knows unless it `is_left` for the
    /// first layer.
    input: Diagonal,
    is_left: bool,
    /// Whether that tells how features were prepared.
    file_prepares: bool,
    preprocessing: Preprocessing,
    doubt: Option<String>,
    input_dropout: f64,
    meaning: meaning::Meaning,
    done: BTreeSet<Done>,
}

/// Folds steps into a Fireclay network.
fn fold(
    archive: &Archive,
    steps: &[Step],
    inputs: usize,
    options: &Options,
    tensors: &Tensors,
) -> Result<Folded, ImportError> {
    let wants_values = wanted(archive, options) == Some(TaskKind::Regression);
    let mut network = Blocks::new(inputs, tensors);
    for step in steps {
        network.push(step.clone())?;
    }
    let output = network.finish(wants_values)?;
    let input = network.input();
    let prepared = features::prepare(options.preprocessing.as_ref(), &input, network.prepares)?;
    for seen in &network.seen {
        seen.check(options.preprocessing.as_ref())?;
    }
    let is_left = prepared.left.is_some();
    if let Some(left) = prepared.left {
        network.before_first(left)?;
    }
    let Blocks { mut blocks, prepares: file_prepares, input_dropout, seen, done, .. } = network;
    let outputs = blocks.last().map_or(0, |last| last.linear.outputs);
    let meaning = meaning(archive, options, output, outputs)?;
    if let (true, Some(last)) = (meaning.is_binary, blocks.last_mut()) {
        last.linear = last.linear.after_zero(tensors)?;
    }
    let of_seen = seen.iter().find_map(|seen| seen.doubt(options.preprocessing.as_ref()));
    let (preprocessing, doubt) = (prepared.preprocessing, prepared.doubt.or(of_seen));
    Ok(Folded {
        blocks,
        output,
        input,
        is_left,
        file_prepares,
        preprocessing,
        doubt,
        input_dropout,
        meaning,
        done,
    })
}

impl Folded {
    /// Whether the model may compute anything in another way than the file.
    fn is_changed(&self) -> bool {
        !self.done.is_empty()
            || !self.input.is_identity()
            || self.blocks.iter().any(|block| {
                !block.linear.is_as_in_file()
                    || block.skip.is_some()
                    || block.norm.as_ref().is_some_and(|(_, norm)| !norm.beside.is_empty())
            })
    }

    /// What a person should know of it.
    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.done.iter().map(|done| self.said(*done)).collect();
        if self.file_prepares {
            let whole = features::in_words(&self.preprocessing);
            notes.push(format!("the file prepares features itself; all in all: {whole}"));
        }
        notes.extend(self.doubt.clone());
        notes.extend(self.meaning.note.clone());
        notes
    }

    fn said(&self, done: Done) -> String {
        let widths: Vec<String> =
            self.blocks.iter().map(|block| block.linear.outputs.to_string()).collect();
        let hidden = widths[..widths.len().saturating_sub(1)].join(", ");
        match done {
            Done::FoldedNorms => "batch norms without room beside a layer are folded into the \
                                  weights, which is exact; fine-tuning has no norms there"
                .to_owned(),
            Done::FoldedMaps => {
                "factors and shifts between layers are folded into the layers beside them"
                    .to_owned()
            }
            Done::Added => "a linear layer that changes nothing was added, for a norm, a function \
                            or a skip connection without room beside another"
                .to_owned(),
            Done::Doubled => format!(
                "units with slopes of their own became two relu units each, which is exact: hidden \
                 layers are {hidden} wide"
            ),
            Done::NoDropout => "the dropout behind the last layer is left out; it changes no \
                                prediction"
                .to_owned(),
        }
    }
}

/// The steps but for the sigmoid at their end.
fn without_end(steps: &[Step], output: Output) -> &[Step] {
    let last = steps.iter().rposition(|step| matches!(step, Step::Function { .. }));
    match last {
        Some(last) if output == Output::Sigmoid => &steps[..last],
        _ => steps,
    }
}

/// The network's description.
fn architecture(
    folded: &Folded,
    input_shape: Option<&[usize]>,
) -> Result<Architecture, ImportError> {
    let inputs = folded.input.scale.len();
    let shape = input_shape
        .filter(|shape| shape.iter().try_fold(1_usize, |a, &b| a.checked_mul(b)) == Some(inputs));
    let shape = shape.map_or_else(|| vec![inputs], <[usize]>::to_vec);
    let Some((last, hidden)) = folded.blocks.split_last() else {
        return Err(ImportError::unsupported("the file describes no linear layer", "it has none"));
    };
    let config = MlpConfig {
        layers: hidden.iter().map(Block::described).collect(),
        input_dropout: folded.input_dropout,
        output_bias: last.linear.has_bias(),
        ..MlpConfig::new(shape, [], last.linear.outputs)
    };
    Ok(config.architecture()?)
}

/// Builds the network, layer by layer, and lets go of tensors on the way.
fn network_of(
    blocks: Vec<Block>,
    network: &Architecture,
    tensors: &mut Tensors,
    device: &Device,
) -> Result<Mlp, ImportError> {
    let sources: Vec<Vec<String>> = blocks.iter().map(|block| block.linear.sources()).collect();
    let mut norms = Vec::new();
    let mut layers = Vec::new();
    for (index, block) in blocks.into_iter().enumerate() {
        norms.push(block.norm.map(|(_, norm)| norm));
        layers.push(Some(block.linear));
        if let Some(slopes) = block.slopes {
            let path = "architecture".to_owned();
            tensors.went(&slopes, path, format!("the slope behind layers.{index}"));
        }
    }
    let mut bias = Vec::new();
    Mlp::build(network, device, &mut |path, _| {
        let index = path.layer();
        match path {
            ParameterPath::Norm(_, part) => {
                let norm = norms.get(index).and_then(Option::as_ref);
                let norm = norm.ok_or_else(|| tensors.missing(&path.to_string()))?;
                return Ok(norm_values(norm, part, path, tensors));
            }
            ParameterPath::Bias(_) => return Ok(std::mem::take(&mut bias)),
            // No other program's network has a front stage or members.
            _ => {}
        }
        let layer = layers.get_mut(index).and_then(Option::take);
        let layer = layer.ok_or_else(|| tensors.missing(&path.to_string()))?;
        let [weight, of_layer] = layer.finished(index, tensors)?;
        bias = of_layer;
        for name in &sources[index] {
            if !sources[index + 1..].iter().flatten().any(|later| later == name) {
                tensors.release(name);
            }
        }
        Ok(weight)
    })
}

/// The numbers of a part of a norm; remembers where its tensors went.
fn norm_values(
    norm: &NormStep,
    part: NormPart,
    path: ParameterPath,
    tensors: &mut Tensors,
) -> Vec<f32> {
    let (place, values) = match part {
        NormPart::Weight => (0, &norm.scale),
        NormPart::Bias => (1, &norm.shift),
        NormPart::RunningMean => (2, &norm.mean),
        NormPart::RunningVar => (3, &norm.variance),
    };
    if let Some(name) = &norm.names[place] {
        let mut how = Vec::new();
        if let Ok(tensor) = tensors.named(name)
            && tensor.dtype != ElementType::F32
        {
            how.push(format!("{} to f32", tensor.dtype.name()));
        }
        if place < 2 && !norm.beside.is_empty() {
            how.push("with what was folded in".to_owned());
        }
        let how = if how.is_empty() { "as is".to_owned() } else { how.join(", ") };
        tensors.went(name, path.to_string(), how);
    }
    for name in &norm.beside {
        tensors.went(name, format!("norms.{}", path.layer()), "folded in".to_owned());
    }
    values.iter().map(|&value| value as f32).collect()
}
