//! Tensors that are one layer or one norm together.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

use fireclay_formats::{Layout, Tensor};
use fireclay_terminal::printable;

use super::super::ImportError;
use super::names::{
    Part, Piece, Role, SLOPES, Word, is_called_norm, numbers, order, part, part_beside, pieces,
    stem, told_order,
};
use super::ways::{MOST_SHOWN, renamed};

/// The most tensors of a file without names that tell anything; a network has two a layer.
const MOST_UNNAMED: usize = 256;

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
    fn new(name: &str, place: usize, tensors: BTreeMap<Role, &'a Tensor>) -> Self {
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
        let is_of_norm = |role: &Role| !matches!(role, Role::Bias | Role::Beta);
        let is_likely = self.tensors.len() > 1 || is_called_norm(&self.pieces);
        !self.is_dense()
            && is_likely
            && !self.is_scaler()
            && self.width().is_some()
            && self.tensors.keys().any(is_of_norm)
    }

    /// Whether it is the mean and deviation of features or targets, as scikit-learn's scalers have
    /// them: by its name, or a scale that is neither called a norm's nor has a shift.
    fn is_scaler(&self) -> bool {
        const WORDS: &[&str] = &["scaler", "scalers", "standardizer", "standardiser"];
        let is_running = |role: &Role| {
            self.named(*role)
                .is_some_and(|name| name.contains("running") || name.contains("moving"))
        };
        let has = |role: Role| self.tensors.contains_key(&role);
        let is_half = has(Role::Mean) != has(Role::Variance)
            || self.has_statistics() && has(Role::Gamma) && !has(Role::Beta);
        let is_called = self.pieces.iter().any(|piece| piece.is_one_of(WORDS));
        let is_of_norm = is_called_norm(&self.pieces)
            || self.tensors.keys().any(is_running)
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

    /// Its name and the shapes of its tensors, for messages.
    pub(super) fn described(&self) -> String {
        let shape = |role: Role| self.tensors.get(&role).map(|tensor| &tensor.shape);
        let weight = shape(Role::Weight).cloned().unwrap_or_default();
        let bias = shape(Role::Bias).map(|bias| format!(" with bias {bias:?}"));
        format!("{} {weight:?}{}", printable(&self.name, 60), bias.unwrap_or_default())
    }
}

/// `[inputs, outputs]` of a weight.
fn sizes(shape: &[usize], layout: Layout) -> Option<[usize; 2]> {
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
    let read = |tensor: &&Tensor| {
        let part = known(&tensor.name, &names)?;
        let role = match part.role {
            Role::Weight | Role::Gamma => 0,
            Role::Bias | Role::Beta => 1,
            Role::Mean => 2,
            Role::Variance => 3,
        };
        Some((part.layer, role))
    };
    let parts: Vec<(String, usize)> = tensors.iter().filter_map(read).collect();
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

/// Whether the numbers or words in names tell of some tensor that it comes before an earlier one.
pub(super) fn are_against_names(tensors: &[&Tensor]) -> bool {
    let names: Vec<Vec<Piece>> = tensors.iter().map(|tensor| pieces(&tensor.name)).collect();
    let later = |at: usize| names.get(at + 1..).unwrap_or_default();
    let is_after = |a: &[Piece], b: &[Piece]| told_order(a, b) == Some(Ordering::Greater);
    names.iter().enumerate().any(|(at, a)| later(at).iter().any(|b| is_after(a, b)))
}

/// Whether layers are sorted as text, where that is not the order of their numbers: 1, 10, 2.
pub(super) fn are_sorted_as_text(layers: &[Group<'_>]) -> bool {
    let is_back =
        |a: &Group<'_>, b: &Group<'_>| order(&a.pieces, &b.pieces) == Some(Ordering::Greater);
    layers.is_sorted_by(|a, b| a.name <= b.name)
        && layers.windows(2).any(|pair| is_back(&pair[0], &pair[1]))
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
    let are_numbered = |row: &[&Group<'_>]| {
        row.windows(2)
            .all(|pair| told_order(&pair[0].pieces, &pair[1].pieces) == Some(Ordering::Less))
    };
    if !are_numbered(&sorted) {
        sorted.sort_by_key(|group| group.place);
    }
    let has_bias = layers.iter().any(|group| group.tensors.contains_key(&Role::Bias));
    // Whether each takes so many inputs more than the layer before gives.
    let is_chain = |layout: Layout, more: usize| {
        let sizes: Option<Vec<[usize; 2]>> =
            sorted.iter().map(|group| group.sizes(layout)).collect();
        sizes.is_some_and(|sizes| sizes.windows(2).all(|pair| pair[1][0] == pair[0][1] + more))
    };
    let augmented = layouts.iter().copied().find(|&layout| is_chain(layout, 1));
    let is_plain = has_bias || layouts.iter().any(|&layout| is_chain(layout, 0));
    let (Some(layout), [first, second, ..], false) = (augmented, &sorted[..], is_plain) else {
        return Ok(());
    };
    let name = first.named(Role::Weight).unwrap_or_default();
    let name = printable(&name, 60);
    let shape = |group: &Group<'_>| {
        let weight = group.tensors.get(&Role::Weight);
        weight.map(|weight| format!("{} {:?}", printable(&weight.name, 60), weight.shape))
    };
    let [a, b] = [first, second].map(|group| shape(group).unwrap_or_default());
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

/// Refuses biases whose numbers are not those of the weights: weights from 1 on, biases from 0.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with names that pair them.
pub(super) fn refuse_apart(layers: &[Group<'_>], others: &[Group<'_>]) -> Result<(), ImportError> {
    let is_bias = |group: &&Group<'_>| group.tensors.keys().eq([&Role::Bias]);
    let alone: Vec<&Group<'_>> = others.iter().filter(is_bias).collect();
    let with_bias = |group: &&Group<'_>| group.tensors.contains_key(&Role::Bias);
    let mut biases: Vec<&Group<'_>> =
        layers.iter().filter(with_bias).chain(alone.iter().copied()).collect();
    let mut weights: Vec<&Group<'_>> = layers.iter().collect();
    let is_alike = |group: &&Group<'_>| {
        alone.first().is_some_and(|bias| {
            stem(&group.pieces) == stem(&bias.pieces) && numbers(&group.pieces).len() == 1
        })
    };
    if alone.is_empty() || weights.len() != biases.len() || !biases.iter().all(is_alike) {
        return Ok(());
    }
    if !weights.iter().all(is_alike) {
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
    let first = |groups: &[&Group<'_>], role| {
        groups.first().and_then(|group| group.named(role)).unwrap_or_default()
    };
    Err(ImportError::unsupported(
        format!(
            "weights and biases are numbered apart: the first weight is {}, and the first bias {}",
            printable(&first(&weights, Role::Weight), 60),
            printable(&first(&biases, Role::Bias), 60)
        ),
        format!("if they belong together in their order, rename them: {pairs}{all}"),
    ))
}

/// A layer of a file without names: its weight and its bias, as places in the file.
type Ranked = (usize, Option<usize>);

/// The layers of tensors whose names tell nothing, by their order in the file: each weight with its
/// bias behind it, or all weights and then all biases.
///
/// # Errors
///
/// An [`ImportError`] if the tensors cannot be read so, or can in several ways.
pub(super) fn by_rank<'a>(
    tensors: &[&'a Tensor],
    layouts: &[Layout],
) -> Result<(Vec<Group<'a>>, Layout), ImportError> {
    if tensors.len() > MOST_UNNAMED {
        return Err(ImportError::unsupported(
            format!("the file has {} tensors whose names say nothing", tensors.len()),
            format!("at most {MOST_UNNAMED} are taken by their order; name them with --map"),
        ));
    }
    let mut found: Vec<(Vec<Ranked>, Layout)> = Vec::new();
    for &layout in layouts {
        let shapes: Vec<&[usize]> = tensors.iter().map(|tensor| &tensor.shape[..]).collect();
        for ranked in [interleaved(&shapes, layout), one_after_the_other(&shapes, layout)].concat()
        {
            if !found.contains(&(ranked.clone(), layout)) {
                found.push((ranked, layout));
            }
        }
    }
    let shapes = || -> Vec<String> {
        let of = |t: &&Tensor| format!("{} {:?}", printable(&t.name, 60), t.shape);
        tensors.iter().map(of).collect()
    };
    match &found[..] {
        [] => Err(ImportError::NoChain {
            found: shapes(),
            hint:
                "in the order of the file, each weight must take what the one before gives, with \
                   its bias behind it; name the tensors with --map"
                    .to_owned(),
        }),
        [(ranked, layout)] => {
            let group = |&(weight, bias): &Ranked| {
                let weight_of = tensors[weight];
                let mut parts: BTreeMap<Role, &'a Tensor> = [(Role::Weight, weight_of)].into();
                parts.extend(bias.map(|bias| (Role::Bias, tensors[bias])));
                Group::new(&weight_of.name, weight, parts)
            };
            Ok((ranked.iter().map(group).collect(), *layout))
        }
        [(first, _), rest @ ..] if rest.iter().all(|(ranked, _)| ranked == first) => {
            Err(ImportError::layout_unsaid())
        }
        _ => Err(ImportError::unsupported(
            "the tensors of the file can be read as layers in several ways",
            "name them with --map, such as --map '^arr_0$=fc1.weight'",
        )),
    }
}

/// Each weight with its bias behind it, if it has one: the first two ways.
fn interleaved(shapes: &[&[usize]], layout: Layout) -> Vec<Vec<Ranked>> {
    // Ways to read the tensors from a place on, behind a layer of so many outputs (0 for none), of
    // which the bias may follow. Counted from the end, two at most.
    let mut ways: HashMap<(usize, usize, bool), u8> = HashMap::new();
    let outputs: Vec<usize> =
        shapes.iter().map(|shape| sizes(shape, layout).map_or(0, |[_, o]| o)).collect();
    for at in (0..=shapes.len()).rev() {
        for &before in outputs.iter().chain([&0]) {
            for may_be_bias in [false, true] {
                let next = steps(shapes, at, before, may_be_bias, layout);
                let count = if at == shapes.len() {
                    1
                } else {
                    next.iter().map(|step| ways.get(step).copied().unwrap_or(0)).sum::<u8>().min(2)
                };
                ways.insert((at, before, may_be_bias), count);
            }
        }
    }
    let mut found = vec![((0, 0, false), Vec::new())];
    let mut whole: Vec<Vec<Ranked>> = Vec::new();
    while let Some((state, read)) = found.pop() {
        let (at, before, may_be_bias) = state;
        if at == shapes.len() {
            whole.push(read);
            continue;
        }
        for step in steps(shapes, at, before, may_be_bias, layout) {
            if ways.get(&step).copied().unwrap_or(0) == 0 || whole.len() >= 2 {
                continue;
            }
            let mut read: Vec<Ranked> = read.clone();
            match read.last_mut() {
                Some(last) if !step.2 => last.1 = Some(at),
                _ => read.push((at, None)),
            }
            found.push((step, read));
        }
    }
    whole.retain(|read| !read.is_empty());
    whole
}

/// What the tensor at a place can be: a weight that takes what came before, or a bias as long.
fn steps(
    shapes: &[&[usize]],
    at: usize,
    before: usize,
    may_be_bias: bool,
    layout: Layout,
) -> Vec<(usize, usize, bool)> {
    let Some(shape) = shapes.get(at) else { return Vec::new() };
    let mut steps = Vec::new();
    if let Some([inputs, outputs]) = sizes(shape, layout)
        && (before == 0 || inputs == before)
    {
        steps.push((at + 1, outputs, true));
    }
    if may_be_bias && vector(shape) == Some(before) {
        steps.push((at + 1, before, false));
    }
    steps
}

/// All weights, and then all biases: as many, each as long as its layer has outputs.
fn one_after_the_other(shapes: &[&[usize]], layout: Layout) -> Vec<Vec<Ranked>> {
    let half = shapes.len() / 2;
    if half < 2 || shapes.len() % 2 == 1 {
        return Vec::new();
    }
    let mut before = 0;
    for (weight, bias) in shapes[..half].iter().zip(&shapes[half..]) {
        match sizes(weight, layout) {
            Some([inputs, outputs])
                if (before == 0 || inputs == before) && vector(bias) == Some(outputs) =>
            {
                before = outputs;
            }
            _ => return Vec::new(),
        }
    }
    vec![(0..half).map(|layer| (layer, Some(half + layer))).collect()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(shapes: &[&[usize]], layouts: &[Layout]) -> Result<(Vec<Ranked>, Layout), String> {
        let tensors: Vec<Tensor> = shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| Tensor::zeros(i.to_string(), shape.to_vec()))
            .collect();
        let tensors: Vec<&Tensor> = tensors.iter().collect();
        let (groups, layout) = by_rank(&tensors, layouts).map_err(|error| error.to_string())?;
        let place = |group: &Group<'_>, role| Some(group.named(role)?.parse::<usize>().unwrap());
        let of =
            |group: &Group<'_>| (place(group, Role::Weight).unwrap(), place(group, Role::Bias));
        Ok((groups.iter().map(of).collect(), layout))
    }

    const BOTH: [Layout; 2] = [Layout::OutIn, Layout::InOut];

    #[test]
    fn tensors_without_names_are_layers_if_they_can_be_read_in_one_way() {
        let two = vec![(0, Some(1)), (2, Some(3))];
        for (shapes, expected) in [
            (vec![&[7, 4][..], &[4], &[4, 3], &[3]], (two.clone(), Layout::InOut)),
            (vec![&[4, 7], &[4], &[3, 4], &[3]], (two.clone(), Layout::OutIn)),
            // Biases as rows and as columns; one output, whose bias may be a number.
            (vec![&[7, 4], &[4], &[4, 1], &[]], (two.clone(), Layout::InOut)),
            (vec![&[7, 4], &[1, 4], &[4, 3], &[1, 3]], (two.clone(), Layout::InOut)),
            (vec![&[4, 7], &[4, 1], &[3, 4], &[3, 1]], (two.clone(), Layout::OutIn)),
            (vec![&[7, 4], &[1, 4], &[4, 1], &[1]], (two.clone(), Layout::InOut)),
            (vec![&[4, 7], &[3, 4], &[4], &[3]], (vec![(0, Some(2)), (1, Some(3))], Layout::OutIn)),
            (vec![&[4, 7], &[3, 4]], (vec![(0, None), (1, None)], Layout::OutIn)),
            (vec![&[4, 7], &[3, 4], &[3]], (vec![(0, None), (1, Some(2))], Layout::OutIn)),
        ] {
            assert_eq!(ranked(&shapes, &BOTH).unwrap(), expected, "{shapes:?}");
        }
        // Squares lie either way.
        for shapes in [vec![&[4, 4][..], &[4], &[4, 4], &[4]], vec![&[5, 4]], vec![&[4, 4]]] {
            let error = ranked(&shapes, &BOTH).unwrap_err();
            assert!(error.contains("--layout"), "{shapes:?}: {error}");
            assert!(ranked(&shapes, &BOTH[..1]).is_ok());
        }
        // [4, 1] and [1, 4] are a layer each, or a layer and its bias.
        let several = ranked(&[&[4, 1], &[1, 4], &[4, 1], &[1, 4]], &BOTH[..1]).unwrap_err();
        assert!(several.contains("--map"), "{several}");
        for shapes in [vec![], vec![&[4][..]], vec![&[4, 7], &[5, 3]], vec![&[4, 7], &[4], &[4]]] {
            assert!(ranked(&shapes, &BOTH).unwrap_err().contains("chain"), "{shapes:?}");
        }
        let ones = vec![&[1, 1][..]; 255];
        assert!(ranked(&ones, &BOTH).is_err());
    }

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
