//! From blocks to a network of ours: all hidden layers alike but for their widths.

use fireclay::{Activation, Norm};

use super::super::ImportError;
use super::fold::{Block, Blocks, Done};
use super::functions::Function;

/// What is done to the last layer's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Identity,
    Softmax,
    Sigmoid,
}

/// What a network of ours needs besides weights.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) output: Output,
    pub(super) activation: Activation,
    pub(super) leaky_slope: Option<f64>,
    pub(super) norm: Norm,
    pub(super) norm_epsilon: Option<f64>,
    pub(super) dropout: f64,
    pub(super) is_residual: bool,
}

/// What the next issue of the architecture may lift, said wherever layers differ.
const ALIKE: &str = "here all hidden layers are alike but for their widths";

/// Makes all hidden layers alike, where that is exact.
///
/// # Errors
///
/// What differs and cannot be folded.
pub(super) fn finish(network: &mut Blocks<'_>, wants_values: bool) -> Result<Shape, ImportError> {
    let output = end(network, wants_values)?;
    compose(network)?;
    let is_residual = skips(network)?;
    // Before norms, which go into weights in front of leaky relus of different slopes.
    let (activation, leaky_slope) = functions(network)?;
    let (norm, norm_epsilon) = norms(network)?;
    let dropout = network.blocks.iter().map(|block| block.dropout).fold(0.0, f64::max);
    Ok(Shape { output, activation, leaky_slope, norm, norm_epsilon, dropout, is_residual })
}

fn hidden<'b>(network: &'b Blocks<'_>) -> &'b [Block] {
    network.blocks.split_last().map_or(&[], |(_, hidden)| hidden)
}

/// Lets the network end in a linear layer.
fn end(network: &mut Blocks<'_>, wants_values: bool) -> Result<Output, ImportError> {
    let Some(last) = network.blocks.last_mut() else {
        return Err(ImportError::unsupported("the file describes no linear layer", "it has none"));
    };
    let is_sigmoid = last.function == Some(Function::Ours(Activation::Sigmoid));
    let is_end = last.after.is_identity() && !last.skips && !network.ends_in_softmax;
    if is_sigmoid && is_end && !wants_values {
        last.function = None;
    }
    let is_sigmoid = is_sigmoid && is_end && !wants_values;
    if last.function.is_some() || last.skips {
        same_as_hidden(network)?;
        network.add_identity()?;
    }
    if let Some(last) = network.blocks.last_mut()
        && last.fold_norm("behind its last layer")?
    {
        network.done.insert(Done::FoldedNorms);
    }
    Ok(match (is_sigmoid, network.ends_in_softmax) {
        (true, _) => Output::Sigmoid,
        (false, true) => Output::Softmax,
        (false, false) => Output::Identity,
    })
}

/// Requires that a function behind the last layer is that of the hidden ones: then one more hidden
/// layer has it.
fn same_as_hidden(network: &Blocks<'_>) -> Result<(), ImportError> {
    let name = |block: &Block| block.function.as_ref().map(Function::name);
    let (Some(last), hidden) = (network.blocks.last(), hidden(network)) else { return Ok(()) };
    let differs = |block: &&Block| {
        let is_bent = |block: &Block| matches!(block.function, Some(Function::Bent(_)));
        block.function.is_some() && name(block) != name(last) && !(is_bent(block) && is_bent(last))
    };
    match hidden.iter().find(differs) {
        Some(other) => Err(ImportError::unsupported(
            format!(
                "the file has {} behind its last layer, {}, and {} behind {}",
                name(last).unwrap_or_default(),
                last.linear.name(),
                name(other).unwrap_or_default(),
                other.linear.name()
            ),
            "here the last layer is linear, with softmax or sigmoid by its task; another function \
             can stand there only if all hidden layers have it too",
        )),
        None => Ok(()),
    }
}

/// Makes one of two linear layers without a function between them, unless no layer has one.
fn compose(network: &mut Blocks<'_>) -> Result<(), ImportError> {
    if hidden(network).iter().all(|block| block.function.is_none() && !block.skips) {
        return Ok(());
    }
    compose_all(network)
}

/// Makes one of two linear layers without a function between them.
pub(super) fn compose_all(network: &mut Blocks<'_>) -> Result<(), ImportError> {
    let mut composed: Vec<Block> = Vec::new();
    for mut block in std::mem::take(&mut network.blocks) {
        if let Some(before) = composed.pop_if(|before| before.function.is_none() && !before.skips) {
            let (name, dropout) = (before.linear.name(), before.dropout);
            if block.skips {
                return Err(ImportError::unsupported(
                    format!("the file has a skip connection from {name}, which has no activation"),
                    "here a skip goes around one hidden layer",
                ));
            }
            let mut before = before;
            let why = "without an activation behind it, where other layers have one";
            if before.fold_norm(why)? {
                network.done.insert(Done::FoldedNorms);
            }
            block.linear = before.linear.composed(&block.linear, network.tensors)?;
            block.dropout = block.dropout.max(dropout);
            network.done.insert(Done::Composed);
        }
        composed.push(block);
    }
    network.blocks = composed;
    Ok(())
}

/// Keeps norms if all hidden layers have them, and folds them if not.
fn norms(network: &mut Blocks<'_>) -> Result<(Norm, Option<f64>), ImportError> {
    let hidden = hidden(network);
    let kinds: Vec<Option<(Norm, f64)>> = hidden
        .iter()
        .map(|block| block.norm.as_ref().map(|norm| (norm.kind, norm.epsilon)))
        .collect();
    let Some(&first) = kinds.first() else { return Ok((Norm::None, None)) };
    if kinds.iter().all(|kind| *kind == first) {
        return Ok(first.map_or((Norm::None, None), |(kind, epsilon)| (kind, Some(epsilon))));
    }
    let epsilons = kinds.iter().flatten().map(|(_, epsilon)| epsilon);
    let all_layer = kinds.iter().all(|kind| matches!(kind, Some((Norm::Layer, _))));
    if all_layer {
        let listed: Vec<String> = epsilons.map(ToString::to_string).collect();
        return Err(ImportError::unsupported(
            format!("the layer norms of the file add {} to the variance", listed.join(" and ")),
            ALIKE,
        ));
    }
    for block in &mut network.blocks {
        let name = block.linear.name();
        if block.fold_norm(&format!("behind {name}, and not behind every hidden layer"))? {
            network.done.insert(Done::FoldedNorms);
        }
    }
    Ok((Norm::None, None))
}

/// Whether hidden layers add their inputs: all that are as wide as the one before, or none.
fn skips(network: &Blocks<'_>) -> Result<bool, ImportError> {
    let hidden = hidden(network);
    if hidden.iter().all(|block| !block.skips) {
        return Ok(false);
    }
    match hidden.iter().find(|block| !block.skips && block.linear.inputs == block.linear.outputs) {
        None => Ok(true),
        Some(block) => Err(ImportError::unsupported(
            format!(
                "the file has skip connections, and none around {}, which has as many outputs as \
                 inputs",
                block.linear.name()
            ),
            "here all hidden layers as wide as the layer before add their input, or none",
        )),
    }
}

/// The function of all hidden layers.
fn functions(network: &mut Blocks<'_>) -> Result<(Activation, Option<f64>), ImportError> {
    let hidden = hidden(network);
    let Some(first) = hidden.first() else {
        // Without a hidden layer there is nothing that could differ.
        return Ok((Activation::default(), None));
    };
    let mut slopes = Vec::new();
    for block in hidden {
        let same = block.function == first.function;
        match (&block.function, &first.function) {
            (None, None) => {}
            (Some(Function::Ours(_)), _) if same => {}
            (Some(Function::Bent(found)), Some(Function::Bent(_))) => slopes.push(found.clone()),
            (found, other) => {
                let name = |function: &Option<Function>| {
                    function.as_ref().map_or_else(|| "no activation".to_owned(), Function::name)
                };
                return Err(ImportError::unsupported(
                    format!(
                        "the hidden layers of the file differ in their activation: {} behind {}, {} \
                         behind {}",
                        name(other),
                        first.linear.name(),
                        name(found),
                        block.linear.name()
                    ),
                    ALIKE,
                ));
            }
        }
    }
    match &first.function {
        None => Ok((Activation::Identity, None)),
        Some(Function::Ours(activation)) => Ok((*activation, None)),
        Some(Function::Bent(_)) => bent(network, &slopes),
    }
}

/// relu or leaky relu of all hidden layers; where slopes differ, each unit with one becomes two.
fn bent(
    network: &mut Blocks<'_>,
    slopes: &[Vec<f64>],
) -> Result<(Activation, Option<f64>), ImportError> {
    let one = slopes.first().and_then(|slopes| slopes.first()).copied().unwrap_or_default();
    if slopes.iter().flatten().all(|&slope| slope == one) {
        return Ok(if one == 0.0 {
            (Activation::Relu, None)
        } else if one == 1.0 {
            (Activation::Identity, None)
        } else {
            (Activation::LeakyRelu, Some(one))
        });
    }
    if let Some(block) = hidden(network).iter().find(|block| block.skips) {
        return Err(ImportError::unsupported(
            format!(
                "the file has a skip connection around {}, and leaky relus of different slopes",
                block.linear.name()
            ),
            "here they have one slope, or no layer adds its input",
        ));
    }
    network.done.insert(Done::Doubled);
    for (at, slopes) in slopes.iter().enumerate() {
        let [this, next] = &mut network.blocks[at..at + 2] else { break };
        if this.fold_norm("in front of leaky relus of different slopes")? {
            network.done.insert(Done::FoldedNorms);
        }
        let halves: Vec<Option<f64>> =
            slopes.iter().map(|&slope| (slope != 0.0).then_some(slope)).collect();
        let is_doubled: Vec<bool> = halves.iter().map(Option::is_some).collect();
        this.linear = this.linear.with_negatives(&is_doubled, network.tensors)?;
        next.linear = next.linear.of_halves(&halves, this.slopes.take(), network.tensors)?;
    }
    Ok((Activation::Relu, None))
}
