//! The order in which linear layers follow each other.
//!
//! Layers are edges between widths: an order in which each takes what the one before gives is a
//! trail over all of them, once each (Euler's). Where shapes leave one order, that is it. Where they
//! leave several, the numbers in names have to leave one, and where the file's own order says
//! something else, neither is believed.

use std::cmp::Ordering;

use fireclay_formats::Layout;
use fireclay_terminal::printable;

use super::super::ImportError;
use super::groups::Group;
use super::names::{Role, firm_order, is_told_before, order};
use super::ways::{LONGEST, quoted};

/// The most layers whose order is looked for by their shapes.
const MOST_TRIED: usize = 64;

/// The most layers of which each is compared with every other.
const MOST_COMPARED: usize = 512;

/// The most steps of a search.
const MOST_STEPS: usize = 2_000;

/// How orders are believed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Belief {
    /// Takes the order of the file.
    pub(super) by_order: bool,
    /// Whether the order of the file is another than that of an alphabet.
    pub(super) has_own_order: bool,
    /// Whether the tensors of each layer stand together, as a program writes them.
    pub(super) is_whole: bool,
    /// Whether names were given, and so are believed.
    pub(super) is_renamed: bool,
}

impl Belief {
    /// Whether the order of the file can be that of the layers.
    pub(super) fn can_order(self) -> bool {
        self.has_own_order && self.is_whole
    }

    /// Whether names have to agree with the order of the file.
    pub(super) fn file(self) -> bool {
        self.has_own_order && !self.is_renamed
    }
}

/// The most layers of which each is left out in turn.
const MOST_LEFT_OUT: usize = 16;

/// The error of layers that do not follow each other, for a network of two outputs: each of two layers
/// can be its last if the other is left out.
pub(super) fn with_heads(
    error: ImportError,
    dense: &[Group<'_>],
    layout: Layout,
    belief: Belief,
) -> ImportError {
    let ImportError::NoChain { found, hint } = error else { return error };
    let mut heads: Vec<&Group<'_>> = Vec::new();
    if (3..=MOST_LEFT_OUT).contains(&dense.len()) {
        for (at, head) in dense.iter().enumerate() {
            let rest = [&dense[..at], &dense[at + 1..]].concat();
            let last = chain(&rest, layout, belief).ok().and_then(|order| order.last().copied());
            let last = last.and_then(|last| rest.get(last)?.sizes(layout));
            let sizes = last.zip(head.sizes(layout));
            let is_beside = sizes.is_some_and(|([inputs, _], [of_head, _])| inputs == of_head);
            heads.extend(is_beside.then_some(head));
        }
    }
    let [first, second] = heads[..] else { return ImportError::NoChain { found, hint } };
    let ways = [second, first].map(left_out).join(" or ");
    let names = [first, second].map(|head| printable(&head.name, 60)).join(" and ");
    let hint = if printable(&ways, LONGEST) == ways {
        format!("if {names} are two outputs of one network, keep one: {ways}")
    } else {
        format!("if {names} are two outputs of one network, leave one out with --allow-unused")
    };
    ImportError::NoChain { found, hint }
}

/// The flags that leave out the tensors of a layer.
fn left_out(group: &Group<'_>) -> String {
    group
        .tensors
        .values()
        .map(|tensor| format!("--allow-unused {}", quoted(&tensor.name)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The order of layers.
///
/// # Errors
///
/// [`ImportError::NoChain`] if they do not follow each other, [`ImportError::Ambiguous`] if neither
/// shapes nor names leave one order, [`ImportError::Contradiction`] if the file's order is another.
pub(super) fn chain(
    dense: &[Group<'_>],
    layout: Layout,
    belief: Belief,
) -> Result<Vec<usize>, ImportError> {
    let sizes: Option<Vec<[usize; 2]>> = dense.iter().map(|group| group.sizes(layout)).collect();
    let Some(sizes) = sizes else {
        let hint = "a bias is as long as its layer has outputs; --layout may help";
        return Err(no_chain(dense, hint));
    };
    let in_file: Vec<usize> = (0..dense.len()).collect();
    let trails = Trails { sizes: &sizes, dense };
    if belief.by_order {
        if !trails.follow(&in_file) {
            let hint = "in the order of the file, each must take what the one before gives";
            return Err(no_chain(dense, hint));
        }
        // An alphabet is no order, unless it is that of the numbers, or the only one.
        let is_only = belief.can_order()
            || trails.is_in_order(&in_file)
            || dense.len() <= MOST_TRIED && trails.first_two(false).len() == 1;
        if !is_only {
            return Err(no_order());
        }
        if trails.is_against_names(&in_file) && !trails.is_only(&in_file) {
            return Err(contradiction(dense, &trails.by_names(), &in_file));
        }
        return Ok(in_file);
    }
    let mut by_name = in_file.clone();
    by_name.sort_by(|&a, &b| dense[a].pieces.cmp(&dense[b].pieces));
    let is_numbered = trails.follow(&by_name) && trails.is_in_order(&by_name);
    if is_numbered && (by_name == in_file || !belief.file()) {
        return Ok(by_name);
    }
    if dense.len() > MOST_TRIED {
        if is_numbered {
            return Err(contradiction(dense, &by_name, &in_file));
        }
        let hint = "with so many, their names must be numbered; rename them with --map";
        return Err(no_chain(dense, hint));
    }
    match &mut trails.first_two(false)[..] {
        [] if trails.euler(&vec![true; dense.len()], None) => {
            Err(trails.ambiguous(belief.can_order() && !trails.is_against_names(&in_file)))
        }
        [] => Err(no_chain(dense, "each must take as many inputs as the one before has outputs")),
        // Numbers or words that tell another order, and no file that agrees: the weights may lie the
        // other way, or hold their biases.
        [only]
            if trails.is_against_names(only)
                && !(belief.file() && *only == in_file && trails.have_biases()) =>
        {
            Err(contradiction(dense, &trails.by_names(), only))
        }
        [only] => Ok(std::mem::take(only)),
        _ => match &mut trails.first_two(true)[..] {
            [only] if !belief.file() || trails.is_as_in_file(only) => Ok(std::mem::take(only)),
            [only] => Err(contradiction(dense, only, &in_file)),
            _ => {
                let is_told = belief.can_order() && trails.follow(&in_file);
                Err(trails.ambiguous(is_told && !trails.is_against_names(&in_file)))
            }
        },
    }
}

/// `--by-order` where the order of the file is that of an alphabet, or of a shuffle.
pub(super) fn no_order() -> ImportError {
    ImportError::unsupported(
        "the order of the file says nothing: its tensors are sorted by name, or those of a layer \
         stand apart",
        "leave out --by-order and number the layers with --map",
    )
}

fn no_chain(dense: &[Group<'_>], hint: &str) -> ImportError {
    let found = dense.iter().map(Group::described).collect();
    ImportError::NoChain { found, hint: hint.to_owned() }
}

/// Names tell one order, and another was found.
fn contradiction(dense: &[Group<'_>], by_name: &[usize], found: &[usize]) -> ImportError {
    // Where names do not tell the order of all, two of them tell what they do.
    let are_all_told = by_name.windows(2).all(|pair| {
        firm_order(&dense[pair[0]].pieces, &dense[pair[1]].pieces) == Some(Ordering::Less)
    });
    let mut pairs = found.iter().enumerate().filter_map(|(at, &b)| {
        let mut later = found[at + 1..].iter();
        let against = later.find(|&&a| is_told_before(&dense[a].pieces, &dense[b].pieces));
        against.map(|&a| [a, b])
    });
    let told = if are_all_told { None } else { pairs.next() };
    let is_of_file = found.is_sorted();
    let (by_name, found) = match told {
        Some([a, b]) => (vec![a, b], vec![b, a]),
        None => (by_name.to_vec(), found.to_vec()),
    };
    let [by_name, found] = [by_name, found]
        .map(|order| order.into_iter().map(|index| dense[index].name.clone()).collect());
    ImportError::Contradiction { is_of_file, by_name, found, hint: String::new() }
}

/// The orders in which layers can follow each other.
struct Trails<'a> {
    sizes: &'a [[usize; 2]],
    dense: &'a [Group<'a>],
}

impl Trails<'_> {
    /// Whether each takes what the one before gives.
    fn follow(&self, order: &[usize]) -> bool {
        order.windows(2).all(|pair| self.sizes[pair[0]][1] == self.sizes[pair[1]][0])
    }

    /// Whether the numbers in names tell of each that it comes before the next.
    fn is_in_order(&self, order: &[usize]) -> bool {
        order.windows(2).all(|pair| self.is_before(pair[0], pair[1]))
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        order(&self.dense[a].pieces, &self.dense[b].pieces) == Some(Ordering::Less)
    }

    /// Whether this is the one order that shapes leave, and biases tell how weights lie.
    fn is_only(&self, order: &[usize]) -> bool {
        self.have_biases() && order.len() <= MOST_TRIED && self.first_two(false) == [order]
    }

    /// Whether each has a bias. Without, weights that lie the other way follow each other backwards.
    fn have_biases(&self) -> bool {
        self.dense.iter().all(|group| group.tensors.contains_key(&Role::Bias))
    }

    /// Whether numbers or words in names tell of some that it comes before one that is earlier here.
    fn is_against_names(&self, order: &[usize]) -> bool {
        if order.len() > MOST_COMPARED {
            return order.windows(2).any(|pair| self.is_told_before(pair[1], pair[0]));
        }
        let mut layers = order.iter().enumerate();
        layers.any(|(at, &a)| order[at + 1..].iter().any(|&b| self.is_told_before(b, a)))
    }

    /// Whether names tell of a layer that it comes before another.
    fn is_told_before(&self, a: usize, b: usize) -> bool {
        is_told_before(&self.dense[a].pieces, &self.dense[b].pieces)
    }

    fn ambiguous(&self, by_order: bool) -> ImportError {
        let layers = self.by_names().into_iter().map(|index| self.dense[index].name.clone());
        ImportError::Ambiguous { layers: layers.collect(), by_order, hint: String::new() }
    }

    /// The order that names tell, and else that of the file.
    fn by_names(&self) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.dense.len()).collect();
        if left.len() > MOST_COMPARED {
            left.sort_by(|&a, &b| self.dense[a].pieces.cmp(&self.dense[b].pieces));
            return left;
        }
        let mut found = Vec::new();
        while !left.is_empty() {
            let next = left
                .iter()
                .position(|&a| !left.iter().any(|&b| self.is_told_before(b, a)))
                .unwrap_or_default();
            found.push(left.remove(next));
        }
        found
    }

    /// Whether some order of the layers that are left begins at a width.
    fn euler(&self, left: &[bool], at: Option<usize>) -> bool {
        let edges: Vec<[usize; 2]> =
            self.sizes.iter().zip(left).filter(|(_, left)| **left).map(|(size, _)| *size).collect();
        let Some(first) = edges.first() else { return true };
        let mut widths: Vec<usize> = edges.concat();
        widths.sort_unstable();
        widths.dedup();
        let mut surplus = vec![0_i64; widths.len()];
        let mut joined: Vec<usize> = (0..widths.len()).collect();
        for edge in &edges {
            let [inputs, outputs] = edge.map(|width| place(&widths, width));
            surplus[inputs] += 1;
            surplus[outputs] -= 1;
            let (a, b) = (root(&joined, inputs), root(&joined, outputs));
            joined[a] = b;
        }
        let one = root(&joined, place(&widths, first[0]));
        let is_joined = (0..widths.len()).all(|width| root(&joined, width) == one);
        let mut starts = (0..widths.len()).filter(|&width| surplus[width] != 0);
        let balanced = match (starts.next(), starts.next(), starts.next()) {
            (None, ..) => at.is_none_or(|at| widths.binary_search(&at).is_ok()),
            (Some(a), Some(b), None) if surplus[a].abs() == 1 && surplus[b].abs() == 1 => {
                let start = if surplus[a] == 1 { a } else { b };
                at.is_none_or(|at| widths[start] == at)
            }
            _ => false,
        };
        is_joined && balanced
    }

    /// The layers that can come next.
    fn next(&self, left: &mut [bool], at: Option<usize>, numbered: bool) -> Vec<usize> {
        let mut found = Vec::new();
        for next in 0..left.len() {
            if !left[next] || at.is_some_and(|at| self.sizes[next][0] != at) {
                continue;
            }
            if numbered && (0..left.len()).any(|other| left[other] && self.is_before(other, next)) {
                continue;
            }
            left[next] = false;
            if self.euler(left, Some(self.sizes[next][1])) {
                found.push(next);
            }
            left[next] = true;
        }
        found
    }

    /// The first two orders, of those that numbers in names allow if `numbered`; none as well if
    /// the search would be too long.
    fn first_two(&self, numbered: bool) -> Vec<Vec<usize>> {
        let mut left = vec![true; self.sizes.len()];
        let mut found = Vec::new();
        let mut steps = MOST_STEPS;
        if self.euler(&left, None) {
            self.search(&mut left, &mut Vec::new(), numbered, &mut steps, &mut found);
        }
        if steps == 0 { Vec::new() } else { found }
    }

    fn search(
        &self,
        left: &mut [bool],
        begun: &mut Vec<usize>,
        numbered: bool,
        steps: &mut usize,
        found: &mut Vec<Vec<usize>>,
    ) {
        if begun.len() == left.len() {
            found.push(begun.clone());
        }
        let at = begun.last().map(|&last| self.sizes[last][1]);
        for next in self.next(left, at, numbered) {
            if found.len() >= 2 || *steps == 0 {
                return;
            }
            *steps -= 1;
            left[next] = false;
            begun.push(next);
            self.search(left, begun, numbered, steps, found);
            begun.pop();
            left[next] = true;
        }
    }

    /// Whether the file has layers in this order, but for those at both ends whose place only
    /// shapes show.
    fn is_as_in_file(&self, order: &[usize]) -> bool {
        let front = self.forced(order);
        let reversed: Vec<[usize; 2]> = self.sizes.iter().map(|&[i, o]| [o, i]).collect();
        let backwards = Trails { sizes: &reversed, dense: self.dense };
        let back: Vec<usize> = order.iter().rev().copied().collect();
        let end = order.len() - backwards.forced(&back);
        order.get(front..end).is_none_or(|open| open.is_sorted())
    }

    /// How many layers at the front can have no other place.
    fn forced(&self, order: &[usize]) -> usize {
        let mut left = vec![true; self.sizes.len()];
        let mut at = None;
        for (count, &layer) in order.iter().enumerate() {
            if self.next(&mut left, at, false).len() > 1 {
                return count;
            }
            left[layer] = false;
            at = Some(self.sizes[layer][1]);
        }
        order.len()
    }
}

/// The place of a width among all, which are sorted.
fn place(widths: &[usize], width: usize) -> usize {
    widths.binary_search(&width).unwrap_or_default()
}

/// The width that stands for all that are joined with one.
fn root(joined: &[usize], mut width: usize) -> usize {
    while joined[width] != width {
        width = joined[width];
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::inferred::groups::by_name;
    use fireclay_formats::Tensor;

    fn belief(by_order: bool, has_own_order: bool) -> Belief {
        Belief { by_order, has_own_order, is_whole: true, is_renamed: false }
    }

    #[track_caller]
    fn read(layers: &[(&str, [usize; 2])], belief: Belief) -> Result<Vec<usize>, ImportError> {
        let tensor = |(name, shape): &(&str, [usize; 2])| {
            Tensor::zeros(format!("{name}.weight"), shape.to_vec())
        };
        let tensors: Vec<Tensor> = layers.iter().map(tensor).collect();
        chain(&by_name(&tensors.iter().collect::<Vec<_>>()), Layout::InOut, belief)
    }

    const SQUARE: [usize; 2] = [4, 4];

    #[test]
    fn numbered_names_tell_the_order() {
        for (layers, expected) in [
            (vec![("fc10", SQUARE), ("fc2", SQUARE), ("fc1", SQUARE)], vec![2, 1, 0]),
            (vec![("dense_1", SQUARE), ("dense", SQUARE)], vec![1, 0]),
            (
                vec![("blocks.1.fc1", SQUARE), ("blocks.0.fc2", SQUARE), ("blocks.0.fc1", SQUARE)],
                vec![2, 1, 0],
            ),
            // What has no number stands where shapes allow it.
            (
                vec![
                    ("blocks.1", SQUARE),
                    ("blocks.0", SQUARE),
                    ("head", [4, 2]),
                    ("stem", [9, 4]),
                ],
                vec![3, 1, 0, 2],
            ),
            (
                vec![
                    ("enc.1", SQUARE),
                    ("enc.0", SQUARE),
                    ("mid", [4, 3]),
                    ("dec.1", [3, 3]),
                    ("dec.0", [3, 3]),
                ],
                vec![1, 0, 2, 4, 3],
            ),
        ] {
            assert_eq!(read(&layers, belief(false, false)).unwrap(), expected, "{layers:?}");
            let error = read(&layers, belief(false, true)).unwrap_err();
            assert!(matches!(error, ImportError::Contradiction { .. }), "{layers:?}: {error}");
            let sorted: Vec<_> = expected.iter().map(|&index| layers[index]).collect();
            let found = read(&sorted, belief(false, true)).unwrap();
            assert_eq!(found, (0..layers.len()).collect::<Vec<_>>());
        }
        // Names that were given are believed.
        let renamed = Belief { is_renamed: true, ..belief(false, true) };
        assert_eq!(read(&[("fc2", SQUARE), ("fc1", SQUARE)], renamed).unwrap(), [1, 0]);
        // The head may be made before the others.
        let layers = [("head", [4, 2]), ("fc1", SQUARE), ("fc2", SQUARE)];
        assert_eq!(read(&layers, belief(false, true)).unwrap(), [1, 2, 0]);
    }

    #[test]
    fn shapes_tell_the_order_where_they_leave_one() {
        let layers = [("head", [3, 2]), ("body", [5, 3])];
        assert_eq!(read(&layers, belief(false, true)).unwrap(), [1, 0]);
        // Names that contradict the shapes: the weights may lie the other way.
        for layers in [
            [("fc1", [3, 2]), ("fc2", [5, 3])],
            [("fc2", [5, 3]), ("fc1", [3, 2])],
            [("inp", [3, 2]), ("out", [5, 3])],
        ] {
            for by_order in [false, true] {
                let error = read(&layers, belief(by_order, true)).unwrap_err();
                let is_chain = layers[0].1[1] == layers[1].1[0];
                let is_against = matches!(error, ImportError::Contradiction { .. });
                assert!(is_against || by_order && !is_chain, "{layers:?}: {error}");
            }
        }
        // Where biases tell how they lie, and the file agrees, shapes are believed.
        let tensors = [("fc2", [5, 3]), ("fc1", [3, 2])].map(|(name, shape)| {
            let weight = Tensor::zeros(format!("{name}.weight"), shape.to_vec());
            [weight, Tensor::zeros(format!("{name}.bias"), vec![shape[1]])]
        });
        let tensors = tensors.concat();
        let groups = by_name(&tensors.iter().collect::<Vec<_>>());
        for (belief, is_read) in [(belief(false, true), true), (belief(false, false), false)] {
            assert_eq!(chain(&groups, Layout::InOut, belief).is_ok(), is_read);
        }
        let never = read(&[("a", [4, 3]), ("b", [5, 6])], belief(false, true));
        assert!(matches!(never, Err(ImportError::NoChain { .. })));
    }

    #[test]
    fn what_neither_names_nor_shapes_tell_is_asked_for() {
        for (layers, in_file) in [
            (vec![("tall", SQUARE), ("nose", SQUARE)], true),
            (vec![("tail", SQUARE), ("nose", SQUARE)], false),
            // Two ways around: 4 to 6 to 4 to 8 to 4.
            (vec![("a", [4, 6]), ("b", [6, 4]), ("c", [4, 8]), ("d", [8, 4])], true),
            (
                vec![("pre.1", SQUARE), ("pre.2", SQUARE), ("mid.1", SQUARE), ("mid.2", SQUARE)],
                true,
            ),
            // Numbers that the shapes contradict tell nothing of the others.
            (vec![("fc1", [4, 2]), ("fc2", SQUARE), ("fc3", SQUARE)], false),
        ] {
            let error = read(&layers, belief(false, true)).unwrap_err();
            let ImportError::Ambiguous { by_order, .. } = error else { unreachable!("{error}") };
            assert_eq!(by_order, in_file, "{layers:?}");
            if in_file {
                let all: Vec<usize> = (0..layers.len()).collect();
                assert_eq!(read(&layers, belief(true, true)).unwrap(), all);
                // An alphabet is no order.
                let shuffled = Belief { is_whole: false, ..belief(true, true) };
                for belief in [belief(true, false), shuffled] {
                    let error = read(&layers, belief).unwrap_err();
                    assert!(error.to_string().contains("leave out --by-order"), "{error}");
                }
            }
        }
        let broken = read(&[("a", [4, 3]), ("b", [2, 4])], belief(true, true));
        assert!(matches!(broken, Err(ImportError::NoChain { .. })));
    }

    #[test]
    fn the_order_of_a_file_is_not_taken_against_names() {
        for layers in [
            ["out", "hid", "inp"],
            ["head", "body", "stem"],
            ["last", "mid", "first"],
            ["decoder.0", "encoder.0", "encoder.1"],
            ["fc3", "fc2", "fc1"],
            ["theta3", "theta2", "theta1"],
        ] {
            let squares = layers.map(|name| (name, SQUARE));
            let error = read(&squares, belief(true, true)).unwrap_err();
            let ImportError::Contradiction { by_name, found, is_of_file, .. } = error else {
                unreachable!("{error}")
            };
            assert_eq!(found, layers);
            assert!(is_of_file && by_name != layers);
            // In the order of the names it is taken.
            let sorted: Vec<_> = by_name.iter().map(|name| (name.as_str(), SQUARE)).collect();
            assert_eq!(read(&sorted, belief(true, true)).unwrap(), [0, 1, 2]);
        }
        // Where no name tells its own place, the error shows two names that order each other.
        for (layers, told) in
            [(["fc1", "out", "fc2"], ["fc2", "out"]), (["out", "enc", "dec"], ["enc", "out"])]
        {
            let error = read(&layers.map(|name| (name, SQUARE)), belief(true, true)).unwrap_err();
            let ImportError::Contradiction { by_name, mut found, .. } = error else {
                unreachable!("{error}")
            };
            found.reverse();
            assert_eq!((by_name.as_slice(), &found), (&told.map(str::to_owned)[..], &by_name));
        }
    }

    #[test]
    fn a_search_ends() {
        let names: Vec<String> =
            (0..64).map(|i| format!("{}{i}", char::from(b'a' + i % 7))).collect();
        let squares: Vec<_> = names.iter().map(|name| (name.as_str(), SQUARE)).collect();
        assert!(matches!(read(&squares, belief(false, true)), Err(ImportError::Ambiguous { .. })));
        let mut apart = squares.clone();
        apart[30].1 = [5, 6];
        assert!(matches!(read(&apart, belief(false, true)), Err(ImportError::NoChain { .. })));
        let names: Vec<String> = (0..2000).map(|i| format!("fc{i}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), SQUARE)).collect();
        assert_eq!(read(&many, belief(false, true)).unwrap().len(), 2000);
    }
}
