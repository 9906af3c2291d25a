//! What names tell of norms: the layer that each is called like.

use std::cmp::Ordering;

use super::groups::Group;
use super::names::{Piece, Role, key, numbers, order, stem};
use super::norms::{Scene, Slot};

/// What the numbers of a `Sequential` tell of the side of the activation that a norm stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
    /// A function may stand on either side.
    Open,
    /// There are no such numbers.
    Untold,
}

/// What the numbers in the name of a norm tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered {
    pub(super) slot: Slot,
    pub(super) side: Side,
    /// Whether it has the number of a layer, as `W1` and `gamma1`, and so is not numbered in a row
    /// with layers.
    pub(super) is_shared: bool,
}

/// What names tell of all norms.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Where each stands, behind the layer that it is called like.
    pub(super) slots: Vec<Slot>,
    /// Whether numbers in a row with layers tell it. Else each may stand before that layer as well.
    pub(super) is_exact: bool,
    /// Whether they were counted, and each might be that of another layer if some layer had none.
    pub(super) is_ranked: bool,
}

impl Scene<'_> {
    /// Places by names, if they tell one for each.
    pub(super) fn by_names(&self) -> Option<Told> {
        let by_numbers: Option<Vec<_>> =
            self.norms.iter().map(|group| self.by_numbers(group)).collect();
        // Numbers count steps or layers, and never both.
        let by_numbers =
            by_numbers.filter(|all| all.windows(2).all(|p| p[0].is_shared == p[1].is_shared));
        if let Some(places) = by_numbers {
            let is_exact = !places.iter().any(|place| place.is_shared);
            let slots = places.into_iter().map(|place| place.slot).collect();
            return Some(Told { slots, is_exact, is_ranked: false });
        }
        let by_keys = if self.are_counted() { None } else { self.by_keys() };
        let is_ranked = by_keys.is_none();
        let slots = by_keys.or_else(|| self.by_ranks())?;
        Some(Told { slots, is_exact: false, is_ranked })
    }

    /// Whether a program numbered norms by itself, apart from layers: Keras' `dense_3` and
    /// `batch_normalization_2`, Flax' `Dense_0` and `LayerNorm_0`.
    pub(super) fn are_counted(&self) -> bool {
        self.norms.iter().all(|group| is_called_by_class(group))
            && own_keys(&self.norms, Some(&self.norms)).iter().all(|key| stem(key).is_empty())
    }

    /// For each hidden layer the slopes of PReLU behind it, if there are any, and if names tell the
    /// layer of all.
    pub(super) fn slopes(&self) -> Option<Vec<Option<String>>> {
        let by_numbers: Option<Vec<Slot>> =
            self.norms.iter().map(|group| self.by_numbers(group).map(|place| place.slot)).collect();
        let slots = by_numbers.or_else(|| self.by_keys())?;
        let mut slopes = vec![None; self.layers.len().saturating_sub(1)];
        for (group, slot) in self.norms.iter().zip(slots) {
            let Slot::Behind(layer) = slot else { return None };
            let length = group.width()?;
            let fits = length == 1 || self.widths.get(layer + 1) == Some(&length);
            let place = slopes.get_mut(layer).filter(|place| fits && place.is_none())?;
            *place = Some(group.named(Role::Weight)?);
        }
        Some(slopes)
    }

    /// The place of a norm whose name differs from those of layers in numbers alone, and the side
    /// of the activation that the numbers tell.
    pub(super) fn by_numbers(&self, norm: &Group<'_>) -> Option<Numbered> {
        let (words, place) = (stem(&norm.pieces), numbers(&norm.pieces));
        let (leaf, level) = place.split_last()?;
        let mut before: Option<(usize, Vec<u64>)> = None;
        let mut behind: Option<(usize, Vec<u64>)> = None;
        for (index, layer) in self.layers.iter().enumerate() {
            let numbers = numbers(&layer.pieces);
            if stem(&layer.pieces) != words || numbers.len() != place.len() {
                continue;
            }
            let nearest = if numbers <= place { &mut before } else { &mut behind };
            let is_nearer = nearest.as_ref().is_none_or(|(_, other)| {
                if numbers <= place { *other < numbers } else { numbers < *other }
            });
            if is_nearer {
                *nearest = Some((index, numbers));
            }
        }
        if before.is_none() && behind.is_none() {
            return None;
        }
        let [gap_before, gap_behind] = [&before, &behind].map(|nearest| {
            let (last, rest) = nearest.as_ref()?.1.split_last()?;
            // Numbers between which others stand, if both are in the same container.
            (rest == level && last != leaf).then(|| last.abs_diff(*leaf) > 1)
        });
        let is_shared = before.as_ref().is_some_and(|(_, numbers)| *numbers == place);
        let side = match (gap_before, gap_behind) {
            // `W1` and `gamma1` have one number: it counts layers.
            _ if is_shared => Side::Untold,
            (None, None) => Side::Untold,
            (Some(false), Some(false)) => Side::Open,
            (Some(false), _) => Side::Before,
            (_, Some(false)) => Side::After,
            _ => Side::Open,
        };
        let slot = match (before, behind) {
            (Some((a, _)), Some((b, _))) if b != a + 1 => return None,
            (Some((layer, _)), _) => Slot::Behind(layer),
            (None, Some((0, _))) => Slot::Input,
            (None, Some((layer, _))) => Slot::Behind(layer - 1),
            (None, None) => return None,
        };
        Some(Numbered { slot, side, is_shared })
    }

    /// Places by what tells layers apart: `stem_norm` is that of `stem`, `bn1` of `fc1`.
    pub(super) fn by_keys(&self) -> Option<Vec<Slot>> {
        let (last, hidden) = self.layers.split_last()?;
        let all = [self.layers, &self.norms].concat();
        [None, Some(&all[..])].into_iter().find_map(|all| {
            let layers = [own_keys(hidden, all), own_keys(&[last], all)].concat();
            self.matched(&layers, &own_keys(&self.norms, all))
        })
    }

    /// The place of each norm behind the one layer of its key.
    fn matched(&self, layers: &[Vec<Piece>], norms: &[Vec<Piece>]) -> Option<Vec<Slot>> {
        let mut slots = Vec::new();
        for (norm, of_norm) in norms.iter().enumerate() {
            let mut same = (0..layers.len()).filter(|&layer| layers[layer] == *of_norm);
            match (same.next(), same.next()) {
                (Some(layer), None) => slots.push(Slot::Behind(layer)),
                // One that no layer is called like is that of the input, by its name or its number.
                (None, _) if self.is_of_input(norm) => slots.push(Slot::Input),
                _ => return None,
            }
        }
        Some(slots)
    }

    fn is_of_input(&self, norm: usize) -> bool {
        let words = ["input", "inputs", "in", "inp", "x", "features"];
        let pieces = &self.norms[norm].pieces;
        let is_called = pieces.iter().any(|piece| piece.is_one_of(&words));
        let is_number = key(pieces).iter().all(|piece| matches!(piece, Piece::Number(_)));
        let is_first = is_number
            && !self.norms.iter().any(|other| order(&other.pieces, pieces) == Some(Ordering::Less));
        let is_one_more = self.norms.len() == self.layers.len() && is_first;
        self.is_allowed(norm, Slot::Input) && (is_called || is_one_more)
    }

    /// The norms in the order of their numbers, if names differ in these alone, as those of hidden
    /// layers do.
    pub(super) fn ranked(&self) -> Option<Vec<usize>> {
        let (_, hidden) = self.layers.split_last()?;
        let mut ranked: Vec<usize> = (0..self.norms.len()).collect();
        ranked.sort_by(|&a, &b| self.norms[a].pieces.cmp(&self.norms[b].pieces));
        let norms: Vec<&Group<'_>> = ranked.iter().map(|&norm| self.norms[norm]).collect();
        if !are_numbered(hidden) || !are_numbered(&norms) {
            return None;
        }
        // Numbers of which some are those of layers, and others are not, count something else.
        let is_mixed = !self.are_counted()
            && hidden.len() > 1
            && norms.iter().any(|norm| {
                hidden.iter().any(|layer| numbers(&layer.pieces) == numbers(&norm.pieces))
            });
        (!is_mixed).then_some(ranked)
    }

    /// Places by counting: norms that differ in numbers alone, as many as hidden layers that do,
    /// or one more for the input.
    fn by_ranks(&self) -> Option<Vec<Slot>> {
        let (_, hidden) = self.layers.split_last()?;
        let ranked = self.ranked()?;
        // One more is that of the input, or that of the last layer.
        let first = *ranked.first()?;
        let last = *ranked.last()?;
        let (input, output) = (Slot::Input, Slot::Behind(hidden.len()));
        let is_of_input = self.is_allowed(first, input) && !self.is_allowed(last, output);
        let places: Vec<Slot> = if ranked.len() == hidden.len() + 1 && is_of_input {
            [input].into_iter().chain((0..hidden.len()).map(Slot::Behind)).collect()
        } else if ranked.len() == hidden.len() || ranked.len() == hidden.len() + 1 {
            (0..ranked.len()).map(Slot::Behind).collect()
        } else {
            return None;
        };
        (0..ranked.len())
            .map(|norm| places.get(ranked.iter().position(|&other| other == norm)?).copied())
            .collect()
    }
}

/// What tells groups apart: their keys; with `all` without words that all of `all` have, or all of
/// several groups.
fn own_keys(groups: &[&Group<'_>], all: Option<&[&Group<'_>]>) -> Vec<Vec<Piece>> {
    let own = groups.iter().map(|group| {
        let key = key(&group.pieces).into_iter();
        key.filter(|piece| !all.is_some_and(|all| is_common(piece, groups, all))).collect()
    });
    own.collect()
}

/// Whether some groups, or all, have a word in common.
fn is_common(word: &Piece, groups: &[&Group<'_>], all: &[&Group<'_>]) -> bool {
    let is_of_groups = groups.len() > 1 && groups.iter().all(|group| group.pieces.contains(word));
    matches!(word, Piece::Word(_))
        && (is_of_groups || all.iter().all(|group| group.pieces.contains(word)))
}

/// Whether a norm is called by its class, such as `batch_norm`.
fn is_called_by_class(group: &Group<'_>) -> bool {
    let words = stem(&group.pieces);
    let end = words.get(words.len().saturating_sub(2)..).unwrap_or_default();
    matches!(end, [a, b] if a.is_one_of(&["batch", "layer"])
        && b.is_one_of(&["norm", "normalization", "normalisation"]))
}

/// Whether names differ in numbers alone, and tell of each group that it comes before the next.
fn are_numbered(groups: &[&Group<'_>]) -> bool {
    groups.windows(2).all(|pair| {
        let (a, b) = (&pair[0].pieces, &pair[1].pieces);
        stem(a) == stem(b) && order(a, b) == Some(Ordering::Less)
    })
}
