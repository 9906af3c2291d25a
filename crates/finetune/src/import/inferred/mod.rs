//! A network of which the file has tensors alone: their names and shapes tell what they are.
//!
//! What comes out is a [`Network`] in the words of the readers, as if the file had described it.
//! Evidence is what names, shapes and the order of the file tell. Where it leaves several networks,
//! or contradicts itself or a flag, the network is asked for and never guessed.

mod chain;
mod groups;
mod left;
mod looks;
mod names;
mod norms;
mod paired;
#[cfg(test)]
mod property;
mod skips;
#[cfg(test)]
mod tests;
mod twins;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use fireclay_formats as formats;
use fireclay_formats::{Archive, Kind, Layer, Layout, Network, Tensor, printable};

use super::{ImportError, Options, may_be_unused};
use chain::{Belief, chain};
use groups::{Group, by_name, by_rank};
use names::{Piece, Role, Word, numbers, stem};
use norms::{Placed, Scene, Slot};

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
    let is_wanted = |tensor: &&Tensor| {
        tensor.dtype.is_float()
            && !may_be_unused(&tensor.name, options)
            && !looks::is_beside(&tensor.name, &tensor.shape)
    };
    let tensors: Vec<&Tensor> = archive.tensors.iter().filter(is_wanted).collect();
    looks::refuse_strangers(&tensors)?;
    looks::refuse_copies(&tensors)?;
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
    norms::refuse_halves(&others)?;
    twins::refuse(&dense)?;
    let (dense, order, layout) = ordered(archive, &tensors, dense, &others, belief, options)?;
    let layers: Vec<&Group<'_>> = order.into_iter().filter_map(|i| dense.get(i)).collect();
    let sizes: Vec<[usize; 2]> = layers.iter().filter_map(|group| group.sizes(layout)).collect();
    let inputs = sizes.first().map(|[inputs, _]| *inputs);
    let widths: Vec<usize> = inputs.into_iter().chain(sizes.iter().map(|[_, o]| *o)).collect();
    let scene = |norms: Vec<_>| Scene { layers: &layers, widths: &widths, norms, belief, options };
    let (slopes, others): (Vec<_>, Vec<_>) =
        others.iter().partition::<Vec<&Group<'_>>, _>(|group| group.is_slopes());
    twins::refuse_beside(&layers, &widths)?;
    refuse_without_room(&layers, &others, options)?;
    let norms = others.iter().copied().filter(|group| group.is_norm()).collect();
    let norms = norms::place(&scene(norms), epsilon(archive.kind, options))?;
    let slopes = match &slopes[..] {
        [] => None,
        [one] => shared_slope(one, &layers, options)?.or_else(|| scene(slopes).slopes()),
        _ => scene(slopes).slopes(),
    };
    let (residual, note) = skips::skips(&layers, &widths, options)?;
    if residual && (norms.is_after || norms.is_against_names) {
        return Err(ImportError::unsupported(
            "the norms of the file do not stand between a layer and its activation",
            "with --residual here, each hidden layer is x + activation(norm(x W + b))",
        ));
    }
    let functions = activations(&layers, slopes, options)
        .map_err(|error| slopes_unnamed(error, &layers, &widths, &others))?;
    check_slope(archive.kind, &functions, options)?;
    let has_norms = !norms.norms.is_empty();
    let layers = Steps { layers: &layers, widths: &widths, layout, norms, residual, functions };
    let network = Network { input_shape: None, layers: layers.all() };
    let mut notes: Vec<String> = note.into_iter().map(str::to_owned).collect();
    notes.extend(assumed(&network, has_norms, epsilon(archive.kind, options), options));
    Ok(Inferred { network, notes })
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
    let is_weight = |tensor: &&Tensor| {
        let is_called = names::part(&tensor.name).is_some_and(|part| part.role == Role::Weight);
        tensor.shape.len() == 2
            && !tensor.dtype.is_float()
            && (is_called || no_others)
            && !may_be_unused(&tensor.name, options)
    };
    let Some(tensor) = archive.tensors.iter().find(is_weight) else { return Ok(()) };
    let (name, shape) = (printable(&tensor.name, 60), &tensor.shape);
    Err(ImportError::unsupported(
        format!("the matrix {name} {shape:?} holds integers ({})", tensor.dtype.name()),
        "save weights in floating point, as the network computes with them",
    ))
}

/// The slope behind each of several hidden layers, if the file has one that may be that of all.
///
/// # Errors
///
/// [`ImportError::Unsaid`] if it was not said that all have it.
fn shared_slope(
    slope: &Group<'_>,
    layers: &[&Group<'_>],
    options: &Options,
) -> Result<Option<Vec<String>>, ImportError> {
    let hidden = layers.len().saturating_sub(1);
    // With a number in a row with those of layers, or the name of one, it is that of one layer.
    let is_own = |layer: &&Group<'_>| {
        stem(&layer.pieces) == stem(&slope.pieces) || names::key(&layer.pieces) == slope.pieces
    };
    let is_counted = !numbers(&slope.pieces).is_empty();
    if hidden == 1 && slope.is_called_slopes() && options.activation.is_none() {
        let fits = slope.width() == Some(1)
            || layers
                .first()
                .and_then(|layer| layer.tensors.get(&Role::Bias))
                .is_some_and(|bias| vector(&bias.shape) == slope.width());
        return Ok(slope.named(Role::Weight).filter(|_| fits).map(|name| vec![name]));
    }
    if hidden < 2 || slope.width() != Some(1) || is_counted || layers.iter().any(is_own) {
        return Ok(None);
    }
    let Some(name) = slope.named(Role::Weight) else { return Ok(None) };
    match options.activation {
        Some(fireclay::Activation::LeakyRelu) if options.leaky_slope.is_none() => {
            Ok(Some(vec![name; hidden]))
        }
        None => Err(ImportError::Unsaid {
            what: format!("whether the one slope {} is that of all layers", printable(&name, 60)),
            flag: "--activation leaky-relu if a PReLU of this slope follows every hidden layer; \
                   otherwise export the network to ONNX"
                .to_owned(),
        }),
        Some(_) => Ok(None),
    }
}

/// The error that no function is known, with names for vectors that may be slopes of PReLU.
fn slopes_unnamed(
    error: ImportError,
    layers: &[&Group<'_>],
    widths: &[usize],
    others: &[&Group<'_>],
) -> ImportError {
    let ImportError::Unsaid { what, flag } = error else { return error };
    let vectors = others.iter().copied().filter(|group| group.is_weight_alone()).collect();
    let (belief, options) = (Belief::default(), &Options::default());
    let scene = Scene { layers, widths, norms: vectors, belief, options };
    let hint = scene.slopes().and_then(|slopes| ways::slopes(layers, others, &slopes));
    let flag = match hint {
        Some(maps) => format!(
            "{flag}; if the vectors behind them are slopes of PReLU, and not scales of RMS norms, \
             with {maps}"
        ),
        None => flag,
    };
    ImportError::Unsaid { what, flag }
}

/// Whether leaky-relu is among these functions.
fn is_leaky(functions: &[Layer]) -> bool {
    functions
        .iter()
        .any(|layer| matches!(layer, Layer::Activation(function) if function.name == "leaky-relu"))
}

/// Requires a slope where programs differ in their default, and refuses one without use.
fn check_slope(kind: Kind, functions: &[Layer], options: &Options) -> Result<(), ImportError> {
    let is_leaky = is_leaky(functions);
    match options.leaky_slope {
        Some(_) if !is_leaky => Err(ImportError::unsupported(
            "--leaky-slope has no effect: the network has no leaky-relu",
            "add --activation leaky-relu, or remove it",
        )),
        // Keras' layer has 0.3, its function 0.2, and PyTorch 0.01.
        None if is_leaky && matches!(kind, Kind::Keras | Kind::KerasHdf5) => {
            Err(ImportError::Unsaid {
                what: "the slope of leaky-relu".to_owned(),
                flag: "--leaky-slope 0.3, or another".to_owned(),
            })
        }
        _ => Ok(()),
    }
}

/// The constants that tensors do not tell and that were taken for granted.
fn assumed(network: &Network, has_norms: bool, epsilon: f64, options: &Options) -> Vec<String> {
    let mut notes = Vec::new();
    if options.leaky_slope.is_none() && is_leaky(&network.layers) {
        notes.push(
            "leaky-relu is taken with the slope 0.01, PyTorch's default; say another with \
             --leaky-slope"
                .to_owned(),
        );
    }
    let has_elu = options.activation == Some(fireclay::Activation::Elu) && network.layers.len() > 1;
    if has_elu {
        notes.push("elu is taken with alpha 1, the usual one; no other can be imported".to_owned());
    }
    if has_norms && options.norm_epsilon.is_none() {
        notes.push(format!(
            "norms are taken with {epsilon:e} added to the variance; say another number with \
             --norm-epsilon"
        ));
    }
    notes
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
            Err(error) => failures.push(ways::with_way(error, &dense, others)),
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

/// The function behind each hidden layer.
fn activations(
    layers: &[&Group<'_>],
    slopes: Option<Vec<String>>,
    options: &Options,
) -> Result<Vec<Layer>, ImportError> {
    let hidden = layers.len().saturating_sub(1);
    let activation = match (options.activation, slopes) {
        _ if hidden == 0 => return Ok(Vec::new()),
        (None, Some(slopes)) => {
            return Ok(slopes.into_iter().map(|slope| Layer::Prelu { slope }).collect());
        }
        (Some(fireclay::Activation::LeakyRelu), Some(slopes)) if options.leaky_slope.is_none() => {
            return Ok(slopes.into_iter().map(|slope| Layer::Prelu { slope }).collect());
        }
        (Some(said), Some(_)) => {
            return Err(ImportError::unsupported(
                format!("the file has slopes of PReLU, and --activation says {said}"),
                "leave out --activation",
            ));
        }
        (Some(said), None) => said,
        (None, None) => {
            return Err(ImportError::Unsaid {
                what: "which function follows its hidden layers".to_owned(),
                flag: "--activation relu, or another".to_owned(),
            });
        }
    };
    let slope = options.leaky_slope.map(|slope| ("slope".to_owned(), slope));
    let constants = slope.into_iter().collect();
    let function =
        Layer::Activation(formats::Activation { name: activation.name().to_owned(), constants });
    Ok(vec![function; hidden])
}

/// Refuses layers without a function between them, where numbers tell that others have one.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with the two layers.
fn refuse_without_room(
    layers: &[&Group<'_>],
    others: &[&Group<'_>],
    options: &Options,
) -> Result<(), ImportError> {
    if options.activation == Some(fireclay::Activation::Identity) {
        return Ok(());
    }
    let Some([a, b]) = without_room(layers, others) else { return Ok(()) };
    Err(ImportError::unsupported(
        format!(
            "the numbers leave no room for a function between {} and {}, and room elsewhere",
            printable(&a.name, 60),
            printable(&b.name, 60)
        ),
        "here a function follows every hidden layer; if one does, number them with --map",
    ))
}

/// Two layers with nothing but norms between their numbers, in a container that has steps without
/// tensors.
fn without_room<'g>(layers: &[&'g Group<'g>], others: &[&Group<'_>]) -> Option<[&'g Group<'g>; 2]> {
    let container = |pieces: &[Piece]| {
        let (last, level) = numbers(pieces).split_last().map(|(l, r)| (*l, r.to_vec()))?;
        let words: Vec<Piece> = stem(pieces).into_iter().cloned().collect();
        Some(((words, level), last))
    };
    let mut rows: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    let all = layers.iter().map(|layer| &layer.pieces);
    // A vector that is called a weight may be the slopes of a function.
    let taken = others.iter().filter(|other| !other.is_weight_alone()).map(|other| &other.pieces);
    for (row, number) in all.chain(taken).filter_map(|pieces| container(pieces)) {
        rows.entry(row).or_default().insert(number);
    }
    let pair = layers.windows(2).find(|pair| {
        let (Some((row, a)), Some((other, b))) =
            (container(&pair[0].pieces), container(&pair[1].pieces))
        else {
            return false;
        };
        let has_gaps = rows.get(&row).is_some_and(|numbers| {
            let span = numbers.last().zip(numbers.first()).map_or(0, |(last, first)| last - first);
            span >= numbers.len() as u64
        });
        // At most as many numbers as the row has are compared.
        let is_full =
            |numbers: &BTreeSet<u64>| a < b && numbers.range(a..b).count() as u64 == b - a;
        row == other && has_gaps && rows.get(&row).is_some_and(is_full)
    })?;
    Some([pair[0], pair[1]])
}

/// What a network is made of.
struct Steps<'a> {
    layers: &'a [&'a Group<'a>],
    widths: &'a [usize],
    layout: Layout,
    norms: Placed,
    residual: bool,
    functions: Vec<Layer>,
}

impl Steps<'_> {
    /// The layers, one after the other.
    fn all(&self) -> Vec<Layer> {
        let mut steps: Vec<Layer> = self.norm(Slot::Input).into_iter().collect();
        for (index, group) in self.layers.iter().enumerate() {
            let Some(weight) = group.named(Role::Weight) else { continue };
            let (bias, layout) = (group.named(Role::Bias), self.layout);
            let mut step = vec![Layer::Dense { weight, bias, layout }];
            let is_hidden = index + 1 < self.layers.len();
            let function = self.functions.get(index).cloned();
            let norm = self.norm(Slot::Behind(index));
            let (before, after) = if self.norms.is_after { (None, norm) } else { (norm, None) };
            step.extend(before.into_iter().chain(function).chain(after));
            if self.residual && is_hidden && self.widths[index] == self.widths[index + 1] {
                step = vec![Layer::Residual(step)];
            }
            steps.extend(step);
        }
        steps
    }

    fn norm(&self, slot: Slot) -> Option<Layer> {
        let norm = self.norms.norms.iter().find(|(other, _)| *other == slot);
        norm.map(|(_, layer)| layer.clone())
    }
}
