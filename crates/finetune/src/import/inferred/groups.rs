//! Tensors that are one layer or one norm together.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

use fireclay_formats::{Layout, Tensor};
use fireclay_terminal::printable;

use super::super::ImportError;
use super::names::{
    Part, Piece, Role, SLOPES, Word, is_called_norm, is_told_before, numbers, order, part,
    part_beside, pieces, stem,
};
use super::ways::{MOST_SHOWN, renamed};

/// The tensors of one layer or norm.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    pub(super) name: String,
    pub(super) pieces: Vec<Piece>,
    /// How its weight is called.
    pub(super) word: Word,
    /// Place of its first tensor in the file.
    pub(super) place: usize,
    pub(super) tensors: BTreeMap<Role, &'a Tensor>,
}

impl<'a> Group<'a> {
    pub(super) fn new(name: &str, place: usize, tensors: BTreeMap<Role, &'a Tensor>) -> Self {
        Self { name: name.to_owned(), pieces: pieces(name), word: Word::Own, place, tensors }
    }

    pub(super) fn named(&self, role: Role) -> Option<String> {
        self.tensors.get(&role).map(|tensor| tensor.name.clone())
    }

    pub(super) fn is_dense(&self) -> bool {
        self.tensors.get(&Role::Weight).is_some_and(|weight| weight.shape.len() == 2)
    }

    /// Whether it may be a norm: vectors, among them a scale or a statistic. A scale alone may be
    /// many things, if it is not called a norm.
    pub(super) fn is_norm(&self) -> bool {
        let is_likely = self.tensors.len() > 1 || is_called_norm(&self.pieces);
        !self.is_dense()
            && is_likely
            && !self.is_scaler()
            && self.width().is_some()
            && self.tensors.keys().any(|role| !matches!(role, Role::Bias | Role::Beta))
    }

    /// Whether it is the mean and deviation of features or targets, as scikit-learn's scalers have
    /// them: by its name, or a scale that is neither called a norm's nor has a shift.
    fn is_scaler(&self) -> bool {
        const WORDS: &[&str] = &["scaler", "scalers", "standardizer", "standardiser"];
        let is_half = self.has(Role::Mean) != self.has(Role::Variance)
            || self.has_statistics() && self.has(Role::Gamma) && !self.has(Role::Beta);
        let is_called = self.is_called(WORDS);
        let is_of_norm = is_called_norm(&self.pieces)
            || self.tensors.keys().any(|role| {
                self.named(*role)
                    .is_some_and(|name| name.contains("running") || name.contains("moving"))
            })
            || self.named(Role::Gamma).is_some_and(|name| !name.ends_with("scale"));
        is_called || is_half && !is_of_norm
    }

    /// Whether it may be the slopes of PReLU: a weight of one number, or of several by its name.
    pub(super) fn is_slopes(&self) -> bool {
        self.is_weight_alone() && (self.width() == Some(1) || self.is_called_slopes())
    }

    /// Whether it is a vector called a weight, and nothing else.
    pub(super) fn is_weight_alone(&self) -> bool {
        self.tensors.keys().eq([&Role::Weight])
            && self.width().is_some()
            && !self.is_dense()
            && !is_called_norm(&self.pieces)
    }

    /// Whether its name has a word for slopes.
    pub(super) fn is_called_slopes(&self) -> bool {
        self.pieces.iter().any(|piece| piece.is_one_of(SLOPES))
    }

    /// Whether it has running statistics.
    pub(super) fn has_statistics(&self) -> bool {
        self.tensors.contains_key(&Role::Mean) || self.tensors.contains_key(&Role::Variance)
    }

    /// The length of all its vectors.
    pub(super) fn width(&self) -> Option<usize> {
        let mut lengths = self.tensors.values().map(|tensor| vector(&tensor.shape));
        let first = lengths.next()??;
        lengths.all(|length| length == Some(first)).then_some(first)
    }

    /// `[inputs, outputs]` of a dense layer, if its bias agrees.
    pub(super) fn sizes(&self, layout: Layout) -> Option<[usize; 2]> {
        let sizes = sizes(&self.tensors.get(&Role::Weight)?.shape, layout)?;
        match self.tensors.get(&Role::Bias) {
            Some(bias) if vector(&bias.shape) != Some(sizes[1]) => None,
            _ => Some(sizes),
        }
    }

    /// Whether it has a tensor of this role.
    pub(super) fn has(&self, role: Role) -> bool {
        self.tensors.contains_key(&role)
    }

    /// Whether its name has one of some words.
    pub(super) fn is_called(&self, words: &[&str]) -> bool {
        self.pieces.iter().any(|piece| piece.is_one_of(words))
    }

    /// Its name and the shapes of its tensors, for messages.
    pub(super) fn described(&self) -> String {
        let weight = self.tensors.get(&Role::Weight).map(|weight| weight.shape.clone());
        let weight = weight.unwrap_or_default();
        let bias = self.tensors.get(&Role::Bias).map(|bias| format!(" with bias {:?}", bias.shape));
        format!("{} {weight:?}{}", printable(&self.name, 60), bias.unwrap_or_default())
    }
}

/// `[inputs, outputs]` of a weight.
pub(super) fn sizes(shape: &[usize], layout: Layout) -> Option<[usize; 2]> {
    let [first, second] = *shape else { return None };
    if first == 0 || second == 0 {
        return None;
    }
    Some(match layout {
        Layout::OutIn => [second, first],
        Layout::InOut => [first, second],
    })
}

/// The length of a vector, which may lie as a row or as a column: `[n]`, `[1, n]`, `[n, 1]`; a
/// number is a vector of one.
pub(in super::super) fn vector(shape: &[usize]) -> Option<usize> {
    match *shape {
        [] => Some(1),
        [length] | [1, length] | [length, 1] => Some(length),
        _ => None,
    }
}

/// Tensors by the layer that their names tell, in the order of the file.
pub(super) fn by_name<'a>(tensors: &[&'a Tensor]) -> Vec<Group<'a>> {
    let names: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut layers: Vec<(Group<'a>, Group<'a>)> = Vec::new();
    for (place, &tensor) in tensors.iter().enumerate() {
        let found = known(&tensor.name, &names);
        let Some(Part { layer, role, word }) = found else { continue };
        let index = *places.entry(layer.clone()).or_insert_with(|| {
            let group = Group::new(&layer, place, BTreeMap::new());
            layers.push((group.clone(), group));
            layers.len() - 1
        });
        let (linear, norm) = &mut layers[index];
        let is_linear = matches!(role, Role::Weight | Role::Bias);
        let group = if is_linear { linear } else { norm };
        if group.tensors.is_empty() {
            group.place = place;
        }
        if role == Role::Weight {
            group.word = word;
        }
        group.tensors.entry(role).or_insert(tensor);
    }
    layers.into_iter().flat_map(|(linear, norm)| parted(linear, norm)).collect()
}

/// Whether the tensors of each layer stand together, weight first, or all weights in a row and then
/// all biases, in the same order. What is not, was shuffled.
pub(super) fn are_whole(tensors: &[&Tensor]) -> bool {
    let names: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let parts = tensors.iter().filter_map(|tensor| known(&tensor.name, &names));
    let parts: Vec<(String, usize)> =
        parts.map(|part| (part.layer, usual_place(part.role))).collect();
    let mut seen = HashSet::new();
    let are_together = parts
        .chunk_by(|a, b| a.0 == b.0)
        .all(|group| seen.insert(&group[0].0) && group.is_sorted_by_key(|(_, role)| role));
    let rows: Vec<Vec<&String>> = parts
        .chunk_by(|a, b| a.1 == b.1)
        .map(|row| row.iter().map(|(layer, _)| layer).collect())
        .collect();
    are_together || rows.len() == 2 && rows[0] == rows[1]
}

/// What the name of a tensor tells, beside the names of the others.
fn known(name: &str, names: &HashSet<&str>) -> Option<Part> {
    part(name)
        .or_else(|| pair(name, names))
        .or_else(|| part_beside(name, |other| names.contains(other)))
}

/// `Wout` and `bout`: a weight and its bias, if the file has both.
fn pair(name: &str, names: &HashSet<&str>) -> Option<Part> {
    let start = name.rfind(['.', '/']).map_or(0, |at| at + 1);
    let (parent, end) = name.split_at_checked(start)?;
    let (role, rest, other) = match (end.strip_prefix('W'), end.strip_prefix('b')) {
        (Some(rest), _) => (Role::Weight, rest, 'b'),
        (_, Some(rest)) => (Role::Bias, rest, 'W'),
        _ => return None,
    };
    let has_other = names.contains(format!("{parent}{other}{rest}").as_str());
    has_other.then(|| Part { layer: format!("{parent}{rest}"), role, word: Word::Own })
}

/// Of one name: a layer and a norm if there is a matrix (`W1`, `b1`, `gamma1`, `beta1`), else one
/// norm of all (`weight`, `bias`, `running_mean`; `scale`, `bias`).
fn parted<'a>(mut linear: Group<'a>, mut norm: Group<'a>) -> Vec<Group<'a>> {
    if norm.tensors.is_empty() {
        return vec![linear];
    }
    if linear.is_dense() {
        return vec![linear, norm];
    }
    norm.place = if linear.tensors.is_empty() { norm.place } else { norm.place.min(linear.place) };
    for (role, other) in [(Role::Weight, Role::Gamma), (Role::Bias, Role::Beta)] {
        if !norm.tensors.contains_key(&other)
            && let Some(tensor) = linear.tensors.remove(&role)
        {
            norm.tensors.insert(other, tensor);
        }
    }
    if linear.tensors.is_empty() { vec![norm] } else { vec![norm, linear] }
}

/// Whether the numbers in names tell of each tensor that it comes before the next.
pub(super) fn are_numbered(tensors: &[&Tensor]) -> bool {
    tensors
        .windows(2)
        .all(|pair| order(&pieces(&pair[0].name), &pieces(&pair[1].name)) == Some(Ordering::Less))
}

/// The place of a tensor among those of its layer.
fn usual_place(role: Role) -> usize {
    match role {
        Role::Weight | Role::Gamma => 0,
        Role::Bias | Role::Beta => 1,
        Role::Mean => 2,
        Role::Variance => 3,
    }
}

/// Whether the numbers or words in names tell of some tensor that it comes before an earlier one.
pub(super) fn are_against_names(tensors: &[&Tensor]) -> bool {
    let names: Vec<Vec<Piece>> = tensors.iter().map(|tensor| pieces(&tensor.name)).collect();
    names.iter().enumerate().any(|(at, a)| names[at + 1..].iter().any(|b| is_told_before(b, a)))
}

/// Whether layers are sorted as text, where that is not the order of their numbers: 1, 10, 2.
pub(super) fn are_sorted_as_text(layers: &[Group<'_>]) -> bool {
    layers.is_sorted_by(|a, b| a.name <= b.name)
        && layers
            .windows(2)
            .any(|pair| order(&pair[0].pieces, &pair[1].pieces) == Some(Ordering::Greater))
}

/// Refuses a batch norm that has one of its two statistics.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with the name of the norm.
pub(super) fn refuse_halves(others: &[Group<'_>]) -> Result<(), ImportError> {
    let mut halves = others
        .iter()
        .filter(|group| group.is_norm() && group.has(Role::Mean) != group.has(Role::Variance));
    let Some(group) = halves.next() else { return Ok(()) };
    let (found, lost) =
        if group.has(Role::Mean) { ("mean", "variance") } else { ("variance", "mean") };
    Err(ImportError::unsupported(
        format!("the norm {} has a {found} and no {lost}", printable(&group.name, 60)),
        "a batch norm needs both; save it whole, or rename the tensors with --map",
    ))
}

/// Refuses weights that hold their biases: each takes one input more than the layer before gives.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with how to take them apart.
pub(super) fn refuse_augmented(
    layers: &[Group<'_>],
    layouts: &[Layout],
) -> Result<(), ImportError> {
    let mut sorted: Vec<&Group<'_>> = layers.iter().collect();
    sorted.sort_by_key(|group| &group.pieces);
    let are_numbered =
        sorted.windows(2).all(|pair| is_told_before(&pair[0].pieces, &pair[1].pieces));
    if !are_numbered {
        sorted.sort_by_key(|group| group.place);
    }
    let has_bias = layers.iter().any(|group| group.tensors.contains_key(&Role::Bias));
    let augmented = layouts.iter().copied().find(|&layout| is_chain(&sorted, layout, 1));
    let is_plain = has_bias || layouts.iter().any(|&layout| is_chain(&sorted, layout, 0));
    let (Some(layout), [first, second, ..], false) = (augmented, &sorted[..], is_plain) else {
        return Ok(());
    };
    let name = first.named(Role::Weight).unwrap_or_default();
    let name = printable(&name, 60);
    let [a, b] = [first, second].map(|group| {
        let weight = group.tensors.get(&Role::Weight);
        weight.map_or_else(String::new, |weight| with_shape(weight))
    });
    let (line, weights, bias) = match layout {
        Layout::OutIn => ("column", "[:, 1:]", "[:, 0]"),
        Layout::InOut => ("row", "[1:]", "[0]"),
    };
    Err(ImportError::unsupported(
        format!(
            "each weight takes one input more than the layer before gives, such as {a} and {b}: \
             they seem to hold their biases, in the first or the last {line}"
        ),
        format!(
            "save them apart: for the first {line}, numpy.savez with W1={name}{weights}, \
             b1={name}{bias} and so on for each"
        ),
    ))
}

/// Whether each layer takes so many inputs more than the one before gives.
fn is_chain(layers: &[&Group<'_>], layout: Layout, more: usize) -> bool {
    let sizes: Option<Vec<[usize; 2]>> = layers.iter().map(|group| group.sizes(layout)).collect();
    sizes.is_some_and(|sizes| sizes.windows(2).all(|pair| pair[1][0] == pair[0][1] + more))
}

/// The name and the shape of a tensor, for messages.
pub(super) fn with_shape(tensor: &Tensor) -> String {
    format!("{} {:?}", printable(&tensor.name, 60), tensor.shape)
}

/// Refuses biases whose numbers are not those of the weights: weights from 1 on, biases from 0.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with names that pair them.
pub(super) fn refuse_apart(layers: &[Group<'_>], others: &[Group<'_>]) -> Result<(), ImportError> {
    let alone: Vec<&Group<'_>> =
        others.iter().filter(|group| group.tensors.keys().eq([&Role::Bias])).collect();
    let mut biases: Vec<&Group<'_>> = layers
        .iter()
        .filter(|group| group.tensors.contains_key(&Role::Bias))
        .chain(alone.iter().copied())
        .collect();
    let mut weights: Vec<&Group<'_>> = layers.iter().collect();
    let Some(first) = alone.first() else { return Ok(()) };
    let are_alike = weights.iter().chain(&biases).all(|group| {
        stem(&group.pieces) == stem(&first.pieces) && numbers(&group.pieces).len() == 1
    });
    if weights.len() != biases.len() || !are_alike {
        return Ok(());
    }
    weights.sort_by_key(|group| numbers(&group.pieces));
    biases.sort_by_key(|group| numbers(&group.pieces));
    let pairs = weights.iter().zip(&biases).enumerate().take(MOST_SHOWN).map(|(at, (w, b))| {
        let name = format!("layers.{at}");
        format!("{} {}", renamed(w, &[Role::Weight], &name), renamed(b, &[Role::Bias], &name))
    });
    let pairs = printable(&pairs.collect::<Vec<_>>().join(" "), 900);
    let all = if weights.len() > MOST_SHOWN { " and so on" } else { "" };
    let [weight, bias] = [(&weights, Role::Weight), (&biases, Role::Bias)].map(|(groups, role)| {
        let name = groups.first().and_then(|group| group.named(role)).unwrap_or_default();
        printable(&name, 60)
    });
    Err(ImportError::unsupported(
        format!(
            "weights and biases are numbered apart: the first weight is {weight}, and the first \
             bias {bias}"
        ),
        format!("if they belong together in their order, rename them: {pairs}{all}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffled_file_is_told_from_one_that_a_program_wrote() {
        let are_whole = |names: &[&str]| {
            let tensors: Vec<Tensor> =
                names.iter().map(|&name| Tensor::zeros(name, vec![2])).collect();
            super::are_whole(&tensors.iter().collect::<Vec<_>>())
        };
        assert!(are_whole(&["a.weight", "a.bias", "n.weight", "n.bias", "n.running_mean"]));
        assert!(are_whole(&["W1", "W2", "b1", "b2"]) && are_whole(&["b.weight", "a.weight"]));
        assert!(are_whole(&["arr_0", "arr_1"]));
        for shuffled in [
            &["a.weight", "b.weight", "a.bias", "b.bias", "c.weight"][..],
            &["a.bias", "a.weight", "b.weight", "b.bias"],
            &["W1", "W2", "b2", "b1"],
        ] {
            assert!(!are_whole(shuffled), "{shuffled:?}");
        }
    }

    #[test]
    fn a_norm_of_hand_made_names_is_apart_from_its_layer() {
        let tensors: Vec<Tensor> = [
            ("Wout", vec![2, 4]),
            ("bout", vec![2, 1]),
            ("but", vec![2]),
            ("W1", vec![4, 7]),
            ("b1", vec![1, 4]),
            ("gamma1", vec![1, 4]),
            ("beta1", vec![1, 4]),
            ("bn.weight", vec![4]),
            ("bn.bias", vec![4]),
            ("bn.running_mean", vec![4]),
            ("params/LayerNorm_0/scale", vec![4]),
            ("params/LayerNorm_0/bias", vec![4]),
        ]
        .map(|(name, shape)| Tensor::zeros(name, shape))
        .into();
        let groups = by_name(&tensors.iter().collect::<Vec<_>>());
        let of: Vec<_> = groups
            .iter()
            .map(|group| (group.is_dense(), group.is_norm(), group.tensors.len()))
            .collect();
        let norm = |count| (false, true, count);
        let layer = (true, false, 2);
        assert_eq!(of, [layer, layer, norm(2), norm(3), norm(2)]);
    }
}
