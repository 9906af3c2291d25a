//! A network of which the file has tensors alone: their names and shapes tell what they are.
//!
//! What comes out is a [`Network`] in the words of the readers, as if the file had described it.
//! Evidence is what names, shapes and the order of the file tell. Where it leaves several networks,
//! or contradicts itself or a flag, the network is asked for and never guessed.

mod as_said;
mod chain;
mod copies;
mod functions;
mod groups;
mod left;
mod looks;
mod names;
mod norms;
mod paired;
#[cfg(test)]
mod property;
mod ranks;
mod said;
mod skips;
mod steps;
#[cfg(test)]
mod tests;
mod twins;
mod ways;

use fireclay_formats::{Archive, Kind, Layout, Network, Tensor};
use fireclay_terminal::printable;

use super::{ImportError, Options, may_be_unused};
use chain::{Belief, chain};
use functions::{refuse_without_room, unnamed_slopes};
use groups::{Group, by_name};
use names::{Role, Word};
use norms::Scene;
use ranks::by_rank;
use said::Said;
use steps::Parts;

pub(super) use groups::vector;
pub(super) use left::{Ends, unused};

/// What norms add to a variance unless something else was said: PyTorch's default, and Keras'.
const EPSILON: f64 = 1e-5;
const EPSILON_OF_KERAS: f64 = 1e-3;

/// What was inferred.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Inferred {
    pub(super) network: Network,
    /// What was taken for granted and a person should know.
    pub(super) notes: Vec<String>,
}

/// Finds layers and norms, in the words in which files describe networks.
///
/// `has_own_order` is whether the file's order, by [`has_own_order`], may be that of the layers.
///
/// # Errors
///
/// An [`ImportError`] that says what the file leaves open, or what contradicts what.
pub(super) fn network(
    archive: &Archive,
    has_own_order: bool,
    options: &Options,
) -> Result<Inferred, ImportError> {
    let tensors: Vec<&Tensor> = archive
        .tensors
        .iter()
        .filter(|tensor| {
            tensor.dtype.is_float()
                && !may_be_unused(&tensor.name, options)
                && !looks::is_beside(&tensor.name, &tensor.shape)
        })
        .collect();
    looks::refuse_strangers(&tensors)?;
    copies::refuse_copies(&tensors)?;
    looks::refuse_half_norms(&tensors)?;
    refuse_integers(archive, !tensors.iter().any(|tensor| tensor.shape.len() == 2), options)?;
    let (dense, others): (Vec<_>, Vec<_>) =
        by_name(&tensors).into_iter().partition(Group::is_dense);
    let belief = Belief {
        by_order: options.by_order,
        has_own_order: has_own_order && !groups::are_sorted_as_text(&dense),
        is_whole: groups::are_whole(&tensors),
        // Names that were given are believed, whatever the order of the file.
        is_renamed: !options.map.is_empty(),
    };
    groups::refuse_apart(&dense, &others)?;
    groups::refuse_halves(&others)?;
    twins::refuse(&dense)?;
    let (dense, order, layout) = ordered(archive, &tensors, dense, &others, belief, options)?;
    let layers: Vec<&Group<'_>> = order.into_iter().filter_map(|i| dense.get(i)).collect();
    let sizes: Vec<[usize; 2]> = layers.iter().filter_map(|group| group.sizes(layout)).collect();
    let inputs = sizes.first().map(|[inputs, _]| *inputs);
    let widths: Vec<usize> = inputs.into_iter().chain(sizes.iter().map(|[_, o]| *o)).collect();
    let (slopes, others): (Vec<_>, Vec<_>) =
        others.iter().partition::<Vec<&Group<'_>>, _>(|group| group.is_slopes());
    twins::refuse_beside(&layers, &widths)?;
    let mut said = said::said(&layers, &widths, options)?;
    refuse_without_room(&layers, &others, &said)?;
    let epsilon = epsilon(archive.kind, options);
    let scene =
        |norms, said| Scene { layers: &layers, widths: &widths, norms, said, belief, options };
    let says_rms = said::says_rms(options)?;
    // Of what is a weight alone, names do not tell that it is a norm.
    let norms: Vec<_> = others
        .iter()
        .copied()
        .filter(|group| group.is_norm() || says_rms && group.is_weight_alone())
        .collect();
    let norms = norms::place(&scene(norms, said::norms(options, epsilon)), epsilon)?;
    let vectors: Vec<_> = slopes.iter().chain(&others).copied().collect();
    let unnamed = if says_rms { None } else { unnamed_slopes(&layers, &widths, &vectors, &said) };
    let slopes = functions::slopes(&scene(slopes, None), options)?;
    let mut notes = Vec::new();
    notes.extend(add_skips(&mut said, &layers, &widths, &norms, options)?);
    let functions = functions::functions(&said, slopes, &layers, archive.kind, options)
        .map_err(|error| unnamed.iter().fold(error, |error, found| found.beside(error, &said)))?;
    if let Some(unnamed) = unnamed {
        return Err(unnamed.unsaid());
    }
    notes.extend(functions::assumed(&said, &functions));
    notes.extend(assumed_epsilon(&norms, epsilon, options));
    let parts = Parts { layers: &layers, layout, norms, functions, said: &said };
    let network = Network { input_shape: None, layers: parts.network()? };
    Ok(Inferred { network, notes })
}

/// Adds the skip connections of all hidden layers, unless each layer is described, and says what a
/// person should know of them.
fn add_skips(
    said: &mut [Said],
    layers: &[&Group<'_>],
    widths: &[usize],
    norms: &norms::Placed,
    options: &Options,
) -> Result<Option<String>, ImportError> {
    if options.layers.is_some() {
        skips::refuse_beside(layers, "so by another name with --map")?;
        return Ok(None);
    }
    let (residual, note) = skips::skips(layers, widths, options)?;
    if residual && !norms.is_plain() {
        return Err(ImportError::unsupported(
            "the norms of the file do not stand between a layer and its activation",
            "with --residual, each hidden layer is x + activation(norm(x W + b)); describe others \
             with --layers",
        ));
    }
    if residual {
        said::with_skips(said, widths);
    }
    Ok(note.map(str::to_owned))
}

/// What norms add to a variance, if it was taken for granted.
fn assumed_epsilon(norms: &norms::Placed, epsilon: f64, options: &Options) -> Option<String> {
    let (is_open, way) = match &options.layers {
        Some(said) => (
            norms
                .norms
                .iter()
                .any(|(layer, ..)| said.hidden.get(*layer).is_some_and(|said| !said.says_epsilon)),
            "its norm_epsilon in the file of --layers",
        ),
        None => {
            let has_norms = norms.input.is_some() || !norms.norms.is_empty();
            (has_norms && options.norm_epsilon.is_none(), "--norm-epsilon")
        }
    };
    is_open.then(|| {
        format!(
            "norms are taken with {epsilon:e} added to the variance; say another number with {way}"
        )
    })
}

/// Refuses weights that are integers: those called weights, and any if there are `no_others`.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with the first of them.
fn refuse_integers(
    archive: &Archive,
    no_others: bool,
    options: &Options,
) -> Result<(), ImportError> {
    let Some(tensor) = archive.tensors.iter().find(|tensor| {
        tensor.shape.len() == 2
            && !tensor.dtype.is_float()
            && (no_others || is_called_weight(tensor))
            && !may_be_unused(&tensor.name, options)
    }) else {
        return Ok(());
    };
    let (name, shape) = (printable(&tensor.name, 60), &tensor.shape);
    Err(ImportError::unsupported(
        format!("the matrix {name} {shape:?} holds integers ({})", tensor.dtype.name()),
        "save weights in floating point, as the network computes with them",
    ))
}

fn epsilon(kind: Kind, options: &Options) -> f64 {
    let usual = match kind {
        Kind::Keras | Kind::KerasHdf5 => EPSILON_OF_KERAS,
        _ => EPSILON,
    };
    options.norm_epsilon.unwrap_or(usual)
}

/// Whether the order of tensors can be that in which a program made them, and is not an alphabet:
/// that of their names, or of their types and then their names as in safetensors.
pub(super) fn has_own_order(tensors: &[Tensor]) -> bool {
    let by_name = tensors.is_sorted_by(|a, b| a.name <= b.name);
    let by_type = tensors.is_sorted_by(|a, b| {
        (std::cmp::Reverse(a.dtype.size()), &a.name) <= (std::cmp::Reverse(b.dtype.size()), &b.name)
    });
    !by_name && !by_type
}

/// Linear layers, the order in which they follow each other, and how their weights lie.
fn ordered<'a>(
    archive: &Archive,
    tensors: &[&'a Tensor],
    dense: Vec<Group<'a>>,
    others: &[Group<'a>],
    belief: Belief,
    options: &Options,
) -> Result<(Vec<Group<'a>>, Vec<usize>, Layout), ImportError> {
    let layouts = match options.layout.or_else(|| layout(archive, &dense)) {
        Some(layout) => vec![layout],
        None => vec![Layout::OutIn, Layout::InOut],
    };
    if dense.is_empty() {
        refuse_all_left_out(archive, options)?;
        let has_matrix = tensors.iter().any(|tensor| tensor.shape.len() == 2);
        if !options.by_order || !has_matrix {
            return Err(ImportError::NoLayers { tensors: archive.tensors.len(), has_matrix });
        }
        return unnamed(tensors, &layouts, belief);
    }
    groups::refuse_augmented(&dense, &layouts)?;
    let mut chains = Vec::new();
    let mut failures = Vec::new();
    for layout in layouts {
        match chain(&dense, layout, belief) {
            Ok(order) => chains.push((layout, order)),
            Err(error) => {
                let error = chain::with_heads(error, &dense, layout, belief);
                failures.push(ways::with_way(error, &dense, others));
            }
        }
    }
    // Layers of which the order is open follow each other all the same.
    let open =
        failures.iter().filter(|error| !matches!(error, ImportError::NoChain { .. })).count();
    match (chains.len() + open, chains.pop(), failures.pop()) {
        (2.., ..) => Err(ImportError::layout_unsaid()),
        (1, Some((layout, order)), _) => Ok((dense, order, layout)),
        (_, _, Some(error)) if !matches!(error, ImportError::NoChain { .. }) => Err(error),
        (_, _, Some(error)) => Err(failures.pop().unwrap_or(error)),
        (_, _, None) => {
            Err(ImportError::NoLayers { tensors: archive.tensors.len(), has_matrix: true })
        }
    }
}

/// Whether the name of a tensor says that it is a weight.
fn is_called_weight(tensor: &Tensor) -> bool {
    names::part(&tensor.name).is_some_and(|part| part.role == Role::Weight)
}

/// Refuses flags that leave out the weights of every layer.
fn refuse_all_left_out(archive: &Archive, options: &Options) -> Result<(), ImportError> {
    let Some(tensor) = archive.tensors.iter().find(|tensor| {
        tensor.shape.len() == 2
            && tensor.dtype.is_float()
            && is_called_weight(tensor)
            && may_be_unused(&tensor.name, options)
    }) else {
        return Ok(());
    };
    Err(ImportError::unsupported(
        format!(
            "--allow-unused leaves out the weights of every layer, such as {}",
            printable(&tensor.name, 60)
        ),
        "name tensors alone that the network does without",
    ))
}

/// Layers of tensors whose names tell nothing but an order, which is that of the file.
fn unnamed<'a>(
    tensors: &[&'a Tensor],
    layouts: &[Layout],
    belief: Belief,
) -> Result<(Vec<Group<'a>>, Vec<usize>, Layout), ImportError> {
    let mut tensors = tensors.to_vec();
    if !belief.has_own_order {
        // Sorted as text, `x10` comes before `x2`.
        tensors.sort_by_cached_key(|tensor| names::pieces(&tensor.name));
    }
    let (dense, layout) = by_rank(&tensors, layouts)?;
    // Neither an alphabet nor numbers that are mixed up are an order.
    let is_told = belief.has_own_order && !groups::are_against_names(&tensors);
    if dense.len() > 1 && !is_told && !groups::are_numbered(&tensors) {
        return Err(chain::no_order());
    }
    let order = (0..dense.len()).collect();
    Ok((dense, order, layout))
}

/// How weights lie, if the file tells it or the program is known by its names.
fn layout(archive: &Archive, dense: &[Group<'_>]) -> Option<Layout> {
    let of = |group: &Group<'_>| match (group.word, archive.kind) {
        (_, Kind::Keras | Kind::KerasHdf5) => Some(Layout::InOut),
        (Word::Kernel, Kind::PyTorch) => None,
        (Word::Kernel | Word::Coefs, _) => Some(Layout::InOut),
        (Word::Coef, _) => Some(Layout::OutIn),
        (Word::Weight, _) => archive.layout,
        (Word::Own, _) => None,
    };
    let mut layouts = dense.iter().map(of);
    let first = layouts.next().flatten()?;
    layouts.all(|layout| layout == Some(first)).then_some(first)
}
