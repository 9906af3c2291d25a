//! The function behind each hidden layer, which tensors do not tell unless they are slopes of PReLU.

use std::collections::{BTreeMap, BTreeSet};

use fireclay::Activation;
use fireclay_formats as formats;
use fireclay_formats::{Kind, Layer};
use fireclay_terminal::printable;

use super::super::{ImportError, Options};
use super::chain::Belief;
use super::groups::{Group, vector};
use super::names::{self, Piece, Role, numbers, stem};
use super::norms::Scene;
use super::said::Said;
use super::ways;

/// The tensor of slopes behind each hidden layer, as far as there is one; none of any if they cannot be
/// known to be those of hidden layers.
///
/// # Errors
///
/// [`ImportError::Unsaid`] if one slope may be that of all layers.
pub(super) fn slopes(
    scene: &Scene<'_>,
    options: &Options,
) -> Result<Vec<Option<String>>, ImportError> {
    let hidden = scene.layers.len().saturating_sub(1);
    let one_by_one = options.layers.is_some() || options.activation.len() > 1;
    if let (&[one], false) = (&scene.norms[..], one_by_one)
        && let Some(shared) = shared_slope(one, scene.layers, options)?
    {
        return Ok(vec![Some(shared); hidden]);
    }
    let found = scene.slopes().unwrap_or_default();
    let is_enough = one_by_one || found.iter().all(Option::is_some);
    Ok(if is_enough && !found.is_empty() { found } else { vec![None; hidden] })
}

/// The slope behind every hidden layer, if the file has one that may be that of all.
///
/// # Errors
///
/// [`ImportError::Unsaid`] if it was not said that all have it.
fn shared_slope(
    slope: &Group<'_>,
    layers: &[&Group<'_>],
    options: &Options,
) -> Result<Option<String>, ImportError> {
    let hidden = layers.len().saturating_sub(1);
    // With a number in a row with those of layers, or the name of one, it is that of one layer.
    let is_own = layers.iter().any(|layer| {
        stem(&layer.pieces) == stem(&slope.pieces) || names::key(&layer.pieces) == slope.pieces
    });
    let is_counted = !numbers(&slope.pieces).is_empty();
    if hidden == 1 && slope.is_called_slopes() && options.activation.is_empty() {
        let fits = slope.width() == Some(1)
            || layers
                .first()
                .and_then(|layer| layer.tensors.get(&Role::Bias))
                .is_some_and(|bias| vector(&bias.shape) == slope.width());
        return Ok(slope.named(Role::Weight).filter(|_| fits));
    }
    if hidden < 2 || slope.width() != Some(1) || is_counted || is_own {
        return Ok(None);
    }
    let Some(name) = slope.named(Role::Weight) else { return Ok(None) };
    match options.activation.first() {
        Some(Activation::LeakyRelu) if options.leaky_slope.is_none() => Ok(Some(name)),
        None => Err(ImportError::Unsaid {
            what: format!("whether the one slope {} is that of all layers", printable(&name, 60)),
            flag: "--activation leaky-relu if a PReLU of this slope follows every hidden layer; \
                   otherwise say the function of each with --activation relu,leaky-relu"
                .to_owned(),
        }),
        Some(_) => Ok(None),
    }
}

/// Vectors behind layers that may be slopes of PReLU, whose names do not tell it.
pub(super) struct Unnamed {
    /// What the names of all slopes may be instead.
    maps: String,
    /// One of them.
    first: String,
    /// Whether each hidden layer has slopes.
    are_all: bool,
}

/// Finds vectors that may be slopes of PReLU behind layers of which leaky-relu was said, or nothing,
/// and some of which names do not tell what they are.
pub(super) fn unnamed_slopes(
    layers: &[&Group<'_>],
    widths: &[usize],
    others: &[&Group<'_>],
    said: &[Said],
) -> Option<Unnamed> {
    let vectors: Vec<_> = others.iter().copied().filter(|group| group.is_weight_alone()).collect();
    let first = vectors.iter().find(|group| !group.is_slopes())?.named(Role::Weight)?;
    let (belief, options) = (Belief::default(), &Options::default());
    let scene = Scene { layers, widths, norms: vectors, said: None, belief, options };
    let found = scene.slopes()?;
    if !said.iter().zip(&found).all(|(said, slope)| {
        let is_open = matches!(said.activation, None | Some(Activation::LeakyRelu));
        slope.is_none() || is_open && said.slope.is_none()
    }) {
        return None;
    }
    let maps = ways::slopes(layers, others, &found)?;
    Some(Unnamed { maps, first, are_all: found.iter().all(Option::is_some) })
}

impl Unnamed {
    /// The error that no function is known, with the names of slopes.
    pub(super) fn beside(&self, error: ImportError, said: &[Said]) -> ImportError {
        let ImportError::Unsaid { what, flag } = error else { return error };
        if said.iter().all(|said| said.activation.is_some()) {
            return ImportError::Unsaid { what, flag };
        }
        let list =
            if self.are_all { "" } else { "a list that has leaky-relu of their layers and " };
        let flag = format!(
            "{flag}; if the vectors behind them are slopes of PReLU, and not scales of RMS norms, \
             with {list}{}",
            self.maps
        );
        ImportError::Unsaid { what, flag }
    }

    /// Asks what they are.
    pub(super) fn unsaid(&self) -> ImportError {
        ImportError::Unsaid {
            what: format!("what the vector {} is", printable(&self.first, 60)),
            flag: format!(
                "{} if it and its like are slopes of PReLU; of scales of RMS norms say --norm rms",
                self.maps
            ),
        }
    }
}

/// Whether leaky-relu is among these functions.
fn is_leaky(functions: &[Layer]) -> bool {
    functions
        .iter()
        .any(|layer| matches!(layer, Layer::Activation(function) if function.name == "leaky-relu"))
}

/// The function behind each hidden layer, of which some have slopes.
///
/// # Errors
///
/// [`ImportError::Unsaid`] if it is not known, or the slope of a leaky relu, where programs differ in
/// their default; [`ImportError::Unsupported`] if what was said contradicts the slopes of the file, or
/// has no effect.
pub(super) fn functions(
    said: &[Said],
    slopes: Vec<Option<String>>,
    layers: &[&Group<'_>],
    kind: Kind,
    options: &Options,
) -> Result<Vec<Layer>, ImportError> {
    let mut functions = Vec::new();
    for ((said, slope), layer) in said.iter().zip(slopes).zip(layers) {
        functions.push(function(said, slope, layer, options)?);
    }
    let is_keras = matches!(kind, Kind::Keras | Kind::KerasHdf5);
    let is_open = said
        .iter()
        .zip(&functions)
        .any(|(said, function)| said.slope.is_none() && is_leaky(std::slice::from_ref(function)));
    if options.leaky_slope.is_some() && !is_leaky(&functions) {
        return Err(ImportError::unsupported(
            "--leaky-slope has no effect: the network has no leaky-relu",
            "add --activation leaky-relu, or remove it",
        ));
    }
    // Keras' layer has 0.3, its function 0.2, and PyTorch 0.01.
    if is_keras && is_open {
        let flag = match options.layers {
            Some(_) => "leaky_slope = 0.3 of each in the file of --layers, or another",
            None => "--leaky-slope 0.3, or another",
        };
        return Err(ImportError::Unsaid {
            what: "the slope of leaky-relu".to_owned(),
            flag: flag.to_owned(),
        });
    }
    Ok(functions)
}

/// The function behind one hidden layer.
fn function(
    said: &Said,
    slope: Option<String>,
    layer: &Group<'_>,
    options: &Options,
) -> Result<Layer, ImportError> {
    let is_leaky = said.activation == Some(Activation::LeakyRelu);
    let activation = match (said.activation, slope) {
        (None, Some(slope)) => return Ok(Layer::Prelu { slope }),
        (Some(_), Some(slope)) if is_leaky && said.slope.is_none() => {
            return Ok(Layer::Prelu { slope });
        }
        (Some(said), Some(slope)) => {
            let (slope, name) = (printable(&slope, 60), printable(&layer.name, 60));
            let (flag, why) = match (&options.layers, options.activation.len()) {
                (Some(_), _) => ("--layers", "say leaky-relu of that layer, without a slope"),
                (None, 0 | 1) => ("--activation", "leave out --activation"),
                _ => ("--activation", "say leaky-relu of that layer, and leave out --leaky-slope"),
            };
            return Err(ImportError::unsupported(
                format!(
                    "the file has slopes of PReLU, {slope} behind {name}, and {flag} says {said}"
                ),
                why,
            ));
        }
        (Some(said), None) => said,
        (None, None) => {
            return Err(ImportError::Unsaid {
                what: "which function follows its hidden layers".to_owned(),
                flag: "--activation relu, or another, or one for each: --activation relu,tanh"
                    .to_owned(),
            });
        }
    };
    let slope = said.slope.filter(|_| is_leaky).map(|slope| ("slope".to_owned(), slope));
    let constants = slope.into_iter().collect();
    Ok(Layer::Activation(formats::Activation { name: activation.name().to_owned(), constants }))
}

/// The constants of functions that tensors do not tell and that were taken for granted.
pub(super) fn assumed(said: &[Said], functions: &[Layer]) -> Vec<String> {
    let mut notes = Vec::new();
    if said
        .iter()
        .zip(functions)
        .any(|(said, function)| said.slope.is_none() && is_leaky(std::slice::from_ref(function)))
    {
        notes.push(
            "leaky-relu is taken with the slope 0.01, PyTorch's default; say another with \
             --leaky-slope"
                .to_owned(),
        );
    }
    if said.iter().any(|said| said.activation == Some(Activation::Elu)) {
        notes.push("elu is taken with alpha 1, the usual one; no other can be imported".to_owned());
    }
    notes
}

/// Refuses layers without a function between them, where numbers tell that others have one.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with the two layers.
pub(super) fn refuse_without_room(
    layers: &[&Group<'_>],
    others: &[&Group<'_>],
    said: &[Said],
) -> Result<(), ImportError> {
    let Some(layer) = without_room(layers, others).into_iter().find(|layer| {
        said.get(*layer).is_none_or(|said| said.activation != Some(Activation::Identity))
    }) else {
        return Ok(());
    };
    let [before, behind] = [layer, layer + 1].map(|layer| {
        layers.get(layer).map_or_else(String::new, |layer| printable(&layer.name, 60))
    });
    Err(ImportError::unsupported(
        format!(
            "the numbers leave no room for a function between {before} and {behind}, and room \
             elsewhere"
        ),
        "if none follows that layer, say identity of it with --activation relu,identity; if one \
         does, number the layers with --map",
    ))
}

/// Layers with nothing but norms between their numbers and those of the next, in a container that has
/// steps without tensors.
fn without_room(layers: &[&Group<'_>], others: &[&Group<'_>]) -> Vec<usize> {
    let mut rows: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    let all = layers.iter().map(|layer| &layer.pieces);
    // A vector that is called a weight may be the slopes of a function.
    let taken = others.iter().filter(|other| !other.is_weight_alone()).map(|other| &other.pieces);
    for (row, number) in all.chain(taken).filter_map(|pieces| container(pieces)) {
        rows.entry(row).or_default().insert(number);
    }
    let pairs = layers.windows(2).enumerate().filter(|(_, pair)| {
        let [Some((row, a)), Some((other, b))] = [pair[0], pair[1]].map(|l| container(&l.pieces))
        else {
            return false;
        };
        row == other && rows.get(&row).is_some_and(|numbers| has_no_room(numbers, a, b))
    });
    pairs.map(|(layer, _)| layer).collect()
}

/// Words and outer numbers of a container of layers.
type Container = (Vec<Piece>, Vec<u64>);

/// The container of a layer, and its number there.
fn container(pieces: &[Piece]) -> Option<(Container, u64)> {
    let (last, level) = numbers(pieces).split_last().map(|(l, r)| (*l, r.to_vec()))?;
    let words: Vec<Piece> = stem(pieces).into_iter().cloned().collect();
    Some(((words, level), last))
}

/// Whether there is a number for every step from one to another, in a row that has gaps elsewhere.
fn has_no_room(numbers: &BTreeSet<u64>, a: u64, b: u64) -> bool {
    let span = numbers.last().zip(numbers.first()).map_or(0, |(last, first)| last - first);
    // At most as many numbers as the row has are compared.
    let has_gaps = span >= numbers.len() as u64;
    has_gaps && a < b && numbers.range(a..b).count() as u64 == b - a
}
