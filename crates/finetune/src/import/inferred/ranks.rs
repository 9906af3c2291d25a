//! Layers of tensors whose names tell nothing, by their order in the file.

use std::collections::{BTreeMap, HashMap};

use fireclay_formats::{Layout, Tensor};

use super::super::ImportError;
use super::groups::{Group, sizes, vector, with_shape};
use super::names::Role;

/// The most tensors of a file without names that tell anything; a network has two a layer.
const MOST_UNNAMED: usize = 256;

/// A layer of a file without names: its weight and its bias, as places in the file.
type Ranked = (usize, Option<usize>);

/// The layer of a weight and its bias.
fn of_rank<'a>(tensors: &[&'a Tensor], (weight, bias): Ranked) -> Group<'a> {
    let mut parts: BTreeMap<Role, &'a Tensor> = [(Role::Weight, tensors[weight])].into();
    parts.extend(bias.map(|bias| (Role::Bias, tensors[bias])));
    Group::new(&tensors[weight].name, weight, parts)
}

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
    match &found[..] {
        [] => Err(ImportError::NoChain {
            found: tensors.iter().map(|tensor| with_shape(tensor)).collect(),
            hint:
                "in the order of the file, each weight must take what the one before gives, with \
                   its bias behind it; name the tensors with --map"
                    .to_owned(),
        }),
        [(ranked, layout)] => {
            Ok((ranked.iter().map(|ranked| of_rank(tensors, *ranked)).collect(), *layout))
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
}
