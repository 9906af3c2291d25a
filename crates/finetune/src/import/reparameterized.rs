//! Weights that PyTorch keeps in parts: with weight norm, with spectral norm, or pruned.
//!
//! Such a layer computes its weight again at each step, and a file has what it is computed from, by
//! the names of the hooks of `torch.nn.utils` or of its parametrizations. Here the weight itself is
//! computed, as the layer does in evaluation.

use std::collections::{BTreeMap, BTreeSet};

use fireclay_formats::{Archive, Tensor};

use super::ImportError;
use super::error::several;

/// What a tensor is of the weight that is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// The lengths of weight norm.
    Length,
    /// The directions of weight norm, or the right singular vector of spectral norm.
    Right,
    /// The left singular vector of spectral norm.
    Left,
    /// The weight before it is divided or pruned.
    Original,
    /// What is left by pruning.
    Mask,
    /// Something else of a parametrization.
    Other,
}

/// How a weight is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    WeightNorm,
    SpectralNorm,
    Pruned,
}

impl Form {
    fn of(parts: &BTreeMap<Part, usize>) -> Option<Self> {
        use Part::{Left, Length, Mask, Original, Right};
        Some(match parts.keys().copied().collect::<Vec<_>>()[..] {
            [Length, Right] => Self::WeightNorm,
            [Right, Left, Original] => Self::SpectralNorm,
            [Original, Mask] => Self::Pruned,
            _ => return None,
        })
    }

    /// Note about the weights that were computed so.
    fn note(self, names: &[String]) -> String {
        let names = several(names);
        match self {
            Self::WeightNorm => {
                format!("weight norm is computed into {names}: directions times lengths")
            }
            Self::SpectralNorm => format!(
                "spectral norm is computed into {names}: weights over their largest singular value, \
                 by the vectors in the file, as in evaluation"
            ),
            Self::Pruned => format!("pruning is computed into {names}: weights times their mask"),
        }
    }
}

/// Puts weights in the place of the parts that they are made of.
///
/// # Errors
///
/// [`ImportError::Unsupported`] for parts that make no weight, or one that is not known, and for
/// low-rank adapters, which look like layers.
pub(super) fn restore(archive: &mut Archive) -> Result<(), ImportError> {
    refuse_adapters(&archive.tensors)?;
    let weights = weights(&archive.tensors)?;
    if weights.is_empty() {
        return Ok(());
    }
    let mut made: BTreeMap<usize, Tensor> = BTreeMap::new();
    let mut gone = BTreeSet::new();
    let mut names: BTreeMap<Form, Vec<String>> = BTreeMap::new();
    for (name, parts) in &weights {
        let form = Form::of(parts).ok_or_else(|| unknown(name, parts, &archive.tensors))?;
        if archive.tensors.iter().any(|tensor| tensor.name == *name) {
            let what = format!("the file has {name}, and what it would be computed from too");
            return Err(ImportError::unsupported(what, "leave one of them out of the file"));
        }
        let weight = plain(form, name, parts, &archive.tensors)?;
        made.insert(parts.values().copied().min().unwrap_or_default(), weight);
        gone.extend(parts.values().copied());
        names.entry(form).or_default().push(name.clone());
    }
    let tensors = std::mem::take(&mut archive.tensors).into_iter().enumerate();
    archive.tensors = tensors
        .filter_map(|(at, tensor)| match made.remove(&at) {
            Some(weight) => Some(weight),
            None => (!gone.contains(&at)).then_some(tensor),
        })
        .collect();
    archive.notes.extend(names.iter().map(|(form, names)| form.note(names)));
    Ok(())
}

/// The parts of each weight that is not in the file itself, by its name; each part is the number of
/// a tensor.
fn weights(tensors: &[Tensor]) -> Result<BTreeMap<String, BTreeMap<Part, usize>>, ImportError> {
    let mut weights: BTreeMap<String, BTreeMap<Part, usize>> = BTreeMap::new();
    for (at, tensor) in tensors.iter().enumerate() {
        let Some((name, part)) = part(&tensor.name) else { continue };
        let before = weights.entry(name.clone()).or_default().insert(part, at);
        if before.is_some() && part != Part::Other {
            let what = format!("the file has the parts of {name} in two ways");
            return Err(ImportError::unsupported(what, "leave one of them out of the file"));
        }
    }
    Ok(weights)
}

/// The weight of these parts.
fn plain(
    form: Form,
    name: &str,
    parts: &BTreeMap<Part, usize>,
    tensors: &[Tensor],
) -> Result<Tensor, ImportError> {
    let [length, original, left, right, mask] =
        [Part::Length, Part::Original, Part::Left, Part::Right, Part::Mask]
            .map(|part| parts.get(&part).map(|&at| &tensors[at]));
    match (form, length, original, left, right, mask) {
        (Form::WeightNorm, Some(length), _, _, Some(right), _) => weight_norm(name, length, right),
        (Form::SpectralNorm, _, Some(original), Some(left), Some(right), _) => {
            spectral_norm(name, original, left, right)
        }
        (Form::Pruned, _, Some(original), .., Some(mask)) => pruned(name, original, mask),
        _ => Err(unknown(name, parts, tensors)),
    }
}

/// The weight that a tensor is a part of, and which.
fn part(name: &str) -> Option<(String, Part)> {
    const PARAMETRIZED: &str = "parametrizations.";
    let mut found = name.match_indices(PARAMETRIZED);
    if let Some((at, _)) = found.find(|(at, _)| *at == 0 || name.as_bytes()[at - 1] == b'.') {
        let (parameter, rest) = name[at + PARAMETRIZED.len()..].split_once('.')?;
        let part = match rest {
            "original0" => Part::Length,
            "original1" => Part::Right,
            "original" => Part::Original,
            "0._u" => Part::Left,
            "0._v" => Part::Right,
            _ => Part::Other,
        };
        return Some((format!("{}{parameter}", &name[..at]), part));
    }
    let (_, last) = name.rsplit_once(['.', '/']).unwrap_or(("", name));
    let (parameter, end) = last.rsplit_once('_')?;
    let part = match end {
        "g" => Part::Length,
        "v" => Part::Right,
        "u" => Part::Left,
        "orig" => Part::Original,
        "mask" => Part::Mask,
        _ => return None,
    };
    let is_parameter = matches!(parameter, "weight" | "bias");
    is_parameter.then(|| (name[..name.len() - end.len() - 1].to_owned(), part))
}

/// The error of parts that make no weight that is known.
fn unknown(name: &str, parts: &BTreeMap<Part, usize>, tensors: &[Tensor]) -> ImportError {
    let found: Vec<String> = parts.values().map(|&at| tensors[at].name.clone()).collect();
    let is_parametrized = found.iter().any(|name| name.contains("parametrizations."));
    let instead = if is_parametrized {
        "save it plain in Python, after torch.nn.utils.parametrize.remove_parametrizations(module, \
         \"weight\")"
    } else {
        "save it plain in Python, after remove_weight_norm, remove_spectral_norm or prune.remove of \
         torch.nn.utils"
    };
    let what = format!(
        "{name} is to be computed from {}, which are not the parts of weight norm, spectral norm or \
         pruning",
        several(&found)
    );
    ImportError::unsupported(what, instead)
}

/// Refuses the adapters of other programs: two small matrices that follow each other as layers do.
fn refuse_adapters(tensors: &[Tensor]) -> Result<(), ImportError> {
    match tensors.iter().find(|tensor| {
        tensor.name.split('.').any(|part| {
            ["lora_", "hada_", "lokr_", "ia3_", "oft_", "vera_"]
                .iter()
                .any(|start| part.starts_with(start))
        })
    }) {
        Some(tensor) => Err(ImportError::unsupported(
            format!("{} is of an adapter, such as those of PEFT", tensor.name),
            "merge it into its base first, in Python: model.merge_and_unload()",
        )),
        None => Ok(()),
    }
}

/// Rows and columns of a matrix.
fn matrix(name: &str, of: &Tensor) -> Result<[usize; 2], ImportError> {
    match of.shape[..] {
        [rows, columns] => Ok([rows, columns]),
        _ => Err(misshapen(name, &[of])),
    }
}

fn misshapen(name: &str, parts: &[&Tensor]) -> ImportError {
    let shapes: Vec<String> =
        parts.iter().map(|part| format!("{} {:?}", part.name, part.shape)).collect();
    ImportError::unsupported(
        format!("{name} cannot be computed from {}", several(&shapes)),
        "the weights of a layer have two dimensions, and their parts fit them",
    )
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `v (g / |v|)`, the norm over each dimension in which there is one length: each output by itself,
/// each input, or all together.
fn weight_norm(name: &str, lengths: &Tensor, v: &Tensor) -> Result<Tensor, ImportError> {
    let [rows, columns] = matrix(name, v)?;
    let of_all = rows == 1 || columns == 1;
    let (by_row, by_column) = match lengths.shape[..] {
        [] => (false, false),
        [1, 1] if of_all => (false, false),
        [found, 1] if found == rows => (true, false),
        [1, found] if found == columns => (false, true),
        _ => return Err(misshapen(name, &[lengths, v])),
    };
    let place = |at: usize| match (by_row, by_column) {
        (true, _) => at / columns,
        (_, true) => at % columns,
        _ => 0,
    };
    let lengths = lengths.to_f64()?;
    let mut squares = vec![0.0; lengths.len()];
    let mut at = 0;
    v.pieces(|piece| {
        for value in piece {
            squares[place(at)] += value * value;
            at += 1;
        }
    })?;
    let factors: Vec<f64> = lengths.iter().zip(&squares).map(|(g, sum)| g / sum.sqrt()).collect();
    scaled(name, v, |at| factors[place(at)])
}

/// `W / (u W v)`, the rows of `W` being those of its first dimension or of its second, as the lengths
/// of the vectors say.
fn spectral_norm(
    name: &str,
    original: &Tensor,
    left: &Tensor,
    right: &Tensor,
) -> Result<Tensor, ImportError> {
    let [rows, columns] = matrix(name, original)?;
    let (u, v) = (left.to_f64()?, right.to_f64()?);
    let lengths = [&left.shape[..], &right.shape[..]];
    let is_over_rows = lengths == [[rows], [columns]];
    if !is_over_rows && lengths != [[columns], [rows]] {
        return Err(misshapen(name, &[original, left, right]));
    }
    // `u W` and `W u`, which tell both apart where the matrix is square.
    let (mut by_rows, mut by_columns) = (vec![0.0; columns], vec![0.0; rows]);
    let mut at = 0;
    original.pieces(|piece| {
        for value in piece {
            let (row, column) = (at / columns, at % columns);
            by_rows[column] += u.get(row).map_or(0.0, |u| u * value);
            by_columns[row] += u.get(column).map_or(0.0, |u| u * value);
            at += 1;
        }
    })?;
    let sigma = if rows == columns {
        // The last step that trained it made the right vector of the left one.
        let [likeness_of_rows, likeness_of_columns] =
            [&by_rows, &by_columns].map(|other| dot(other, &v) / dot(other, other).sqrt());
        if likeness_of_columns > likeness_of_rows {
            return Err(ImportError::unsupported(
                format!("the vectors of {name} do not fit its rows, but its columns"),
                "spectral norm over the columns of a square matrix cannot be distinguished from a mistake; \
                 save it plain in Python, after torch.nn.utils.remove_spectral_norm(module)",
            ));
        }
        dot(&by_rows, &v)
    } else if is_over_rows {
        dot(&by_rows, &v)
    } else {
        dot(&by_columns, &v)
    };
    scaled(name, original, |_| 1.0 / sigma)
}

/// The weights that were kept, and zeros.
fn pruned(name: &str, original: &Tensor, mask: &Tensor) -> Result<Tensor, ImportError> {
    if original.shape != mask.shape {
        return Err(misshapen(name, &[original, mask]));
    }
    let mask = mask.to_f64()?;
    scaled(name, original, |at| mask[at])
}

/// A tensor times a factor for each place, by another name.
fn scaled(name: &str, of: &Tensor, factor: impl Fn(usize) -> f64) -> Result<Tensor, ImportError> {
    let mut values = Vec::with_capacity(of.count());
    of.pieces(|piece| {
        for value in piece {
            let at = values.len();
            values.push((value * factor(at)) as f32);
        }
    })?;
    Ok(Tensor::from_f32(name, of.shape.clone(), &values)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fireclay_formats::Kind;

    fn archive(tensors: &[(&str, &[usize])]) -> Archive {
        let tensors = tensors.iter().map(|(name, shape)| {
            // No two numbers are alike, so that a wrong place is seen.
            let count = shape.iter().product::<usize>();
            let values: Vec<f32> = (0..count).map(|at| 1.0 + at as f32 * 0.5).collect();
            Tensor::from_f32(*name, shape.to_vec(), &values).unwrap()
        });
        Archive {
            kind: Kind::PyTorch,
            tensors: tensors.collect(),
            network: None,
            layout: None,
            labels: None,
            class_names: Vec::new(),
            files: Vec::new(),
            task: None,
            notes: Vec::new(),
            advice: None,
        }
    }

    fn refused(tensors: &[(&str, &[usize])], words: &str) {
        let mut archive = archive(tensors);
        let error = restore(&mut archive).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn names_of_parts() {
        for (name, weight, expected) in [
            ("fc.weight_g", "fc.weight", Part::Length),
            ("weight_v", "weight", Part::Right),
            ("a/weight_orig", "a/weight", Part::Original),
            ("fc.parametrizations.weight.original0", "fc.weight", Part::Length),
            ("parametrizations.weight.0._u", "weight", Part::Left),
            ("a.parametrizations.weight.1._u", "a.weight", Part::Other),
            ("fc.bias_mask", "fc.bias", Part::Mask),
        ] {
            assert_eq!(part(name), Some((weight.to_owned(), expected)), "{name}");
        }
        for name in ["weight", "fc.weight", "fc.running_v", "fc.u", "myparametrizations.weight.a_b"]
        {
            assert_eq!(part(name), None, "{name}");
        }
    }

    #[test]
    fn nothing_is_done_to_plain_weights() {
        let mut plain = archive(&[("fc.weight", &[2, 3]), ("fc.bias", &[2])]);
        let before = plain.clone();
        restore(&mut plain).unwrap();
        assert_eq!(plain, before);
    }

    /// 3 and 4 are 5 long.
    #[test]
    fn lengths_are_those_that_the_file_says() {
        let tensor = |name: &str, shape: &[usize], values: &[f32]| {
            Tensor::from_f32(name, shape.to_vec(), values).unwrap()
        };
        let v = tensor("v", &[2, 2], &[3.0, 4.0, 6.0, 8.0]);
        for (shape, lengths, expected) in [
            (&[2, 1][..], &[5.0, 20.0][..], [3.0, 4.0, 12.0, 16.0]),
            (&[1, 2], &[45_f32.sqrt(), 2.0 * 80_f32.sqrt()], [3.0, 8.0, 6.0, 16.0]),
            (&[], &[125_f32.sqrt()], [3.0, 4.0, 6.0, 8.0]),
        ] {
            let found = weight_norm("w", &tensor("g", shape, lengths), &v).unwrap();
            for (found, expected) in found.to_f32().unwrap().iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{shape:?}: {found} {expected}");
            }
        }
    }

    #[test]
    fn parts_that_make_no_weight() {
        let v: (&str, &[usize]) = ("fc.weight_v", &[2, 3]);
        refused(&[v], "fc.weight is to be computed from fc.weight_v");
        refused(&[("fc.weight_g", &[2, 1])], "remove_weight_norm");
        refused(&[v, ("fc.weight_g", &[2, 3])], "cannot be computed from fc.weight_g [2, 3]");
        refused(&[v, ("fc.weight_g", &[1, 1])], "cannot be computed");
        refused(&[v, ("fc.weight_g", &[2])], "cannot be computed");
        refused(&[v, ("fc.weight_g", &[3, 1])], "cannot be computed");
        refused(&[v, ("fc.weight_g", &[2, 1]), ("fc.weight", &[2, 3])], "has fc.weight, and what");
        let twice = ("fc.parametrizations.weight.original1", &[2, 3][..]);
        refused(&[v, twice], "has the parts of fc.weight in two ways");
        let conv: (&str, &[usize]) = ("c.weight_v", &[2, 3, 3, 3]);
        refused(&[conv, ("c.weight_g", &[2, 1, 1, 1])], "have two dimensions");
        let orig: (&str, &[usize]) = ("fc.weight_orig", &[2, 3]);
        refused(&[orig], "which are not the parts of");
        refused(&[orig, ("fc.weight_u", &[2])], "which are not the parts of");
        let wrong = [orig, ("fc.weight_u", &[2]), ("fc.weight_v", &[2])];
        refused(&wrong, "cannot be computed");
        refused(&[orig, ("fc.weight_mask", &[3, 2])], "cannot be computed");
        // An orthogonal weight, and two parametrizations of one weight.
        let original: (&str, &[usize]) = ("fc.parametrizations.weight.original", &[2, 2]);
        refused(&[original], "remove_parametrizations");
        let base = ("fc.parametrizations.weight.0.base", &[2, 2][..]);
        refused(&[original, base], "remove_parametrizations");
        let second = [
            original,
            ("fc.parametrizations.weight.1._u", &[2]),
            ("fc.parametrizations.weight.1._v", &[2]),
        ];
        refused(&second, "remove_parametrizations");
    }

    #[test]
    fn adapters_are_no_layers() {
        for name in ["base.fc.lora_A.weight", "fc.lora_down.weight", "fc.hada_w1_a"] {
            refused(&[(name, &[2, 3])], "model.merge_and_unload()");
        }
    }
}
