//! Whether hidden layers add their input to their output, which tensors alone do not tell.

use std::collections::BTreeSet;

use fireclay_terminal::printable;

use super::super::{ImportError, Options};
use super::groups::Group;
use super::names::{Piece, stem};

/// Words in the names of layers beside which something else leads to the output.
const SKIPPING: &[&str] = &[
    "res",
    "resid",
    "residual",
    "residuals",
    "resnet",
    "resblock",
    "resblocks",
    "skip",
    "skips",
    "block",
    "blocks",
    "fn",
    "sublayer",
    "sublayers",
    "inner",
    "branch",
];

/// Words for a linear map beside others.
const BESIDE: &[&str] = &["shortcut", "shortcuts", "downsample", "skip", "skips"];

/// The answer where neither the file nor an option gives one.
const NOTE: &str = "hidden layers of equal width are taken without skip connections: if the network \
                    adds a layer's input to its output, import it again with --residual";

/// Whether each hidden layer adds its input, where it is as wide, and what a person should know.
///
/// # Errors
///
/// [`ImportError::Unsaid`] if names hint at it and nothing was said; [`ImportError::Unsupported`]
/// for skip connections that a network cannot have here.
pub(super) fn skips(
    layers: &[&Group<'_>],
    widths: &[usize],
    options: &Options,
) -> Result<(bool, Option<&'static str>), ImportError> {
    let (_, hidden) = layers.split_last().unzip();
    let hidden = hidden.unwrap_or_default();
    let squares: Vec<usize> =
        (0..hidden.len()).filter(|layer| widths.get(*layer) == widths.get(*layer + 1)).collect();
    if !options.no_residual {
        refuse_beside(layers, "--no-residual")?;
    }
    let deep = several_to_a_block(layers);
    if options.residual {
        return said(layers, &squares, deep).map(|()| (true, None));
    }
    if options.no_residual {
        return Ok((false, None));
    }
    // Some layer is as wide as one before, so that what went in there can be added.
    let hidden_widths = widths.get(..widths.len().saturating_sub(1)).unwrap_or_default();
    let different: BTreeSet<usize> = hidden_widths.iter().copied().collect();
    let returns = different.len() < hidden_widths.len();
    let hint = hidden.iter().find(|layer| is_called(layer, SKIPPING));
    let hint = hint.or_else(|| nested(hidden)).copied().filter(|_| returns);
    match hint.or_else(|| returning(layers, widths)) {
        Some(layer) => Err(ImportError::Unsaid {
            what: format!(
                "whether its hidden layers add their input to their output, as the name {} suggests",
                printable(&layer.name, 60)
            ),
            flag: match deep {
                Some(_) => {
                    "--no-residual if they do not; if a block of several layers adds its input, \
                            describe each layer with --layers"
                        .to_owned()
                }
                None => "--residual if each adds its input behind its activation, or --no-residual"
                    .to_owned(),
            },
        }),
        _ => Ok((false, (!squares.is_empty()).then_some(NOTE))),
    }
}

/// Refuses a linear map beside the others, by its name.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with the name, and the flag that calls it a layer like the others.
pub(super) fn refuse_beside(layers: &[&Group<'_>], flag: &str) -> Result<(), ImportError> {
    let Some(layer) = layers.iter().find(|layer| is_called(layer, BESIDE)) else { return Ok(()) };
    Err(ImportError::unsupported(
        format!("{} looks like the linear map of a skip connection", printable(&layer.name, 60)),
        format!(
            "here skip connections add a layer's input as it is; if it is a layer like the others, \
             say {flag}"
        ),
    ))
}

/// Whether `--residual` can be so.
fn said(
    layers: &[&Group<'_>],
    squares: &[usize],
    deep: Option<&Group<'_>>,
) -> Result<(), ImportError> {
    let Some((&first, rest)) = squares.split_first() else {
        return Err(ImportError::unsupported(
            "no hidden layer of the file has as many outputs as inputs",
            "such a layer cannot add its input; leave out --residual",
        ));
    };
    if let Some(layer) = deep {
        return Err(ImportError::unsupported(
            format!("{} is in a block of several layers", printable(&layer.name, 60)),
            "--residual passes one layer: x + f(x W + b); of x + W2 f(W1 x) describe each layer with \
             --layers, with skip = { span = 2 }",
        ));
    }
    // Of `inp` and `blocks.0`, both square, only the second may have a skip connection.
    let hinted = squares.iter().filter(|&&layer| is_called(layers[layer], SKIPPING)).count();
    let is_mixed = hinted > 0 && hinted < squares.len();
    let have_one_name =
        rest.iter().all(|&layer| stem(&layers[layer].pieces) == stem(&layers[first].pieces));
    if is_mixed || hinted > 0 && !have_one_name {
        return Err(ImportError::unsupported(
            "names tell some hidden layers of equal width from others",
            "with --residual all hidden layers of equal width add their input; else describe each with \
             --layers",
        ));
    }
    Ok(())
}

fn is_called(layer: &Group<'_>, words: &[&str]) -> bool {
    layer.pieces.iter().any(|piece| piece.is_one_of(words))
}

/// The block of a layer, if its name has one: `blocks.0` of `blocks.0.fc1`, behind what all names
/// begin with.
fn block<'a>(layer: &'a Group<'_>, common: usize) -> Option<&'a [Piece]> {
    let own = layer.pieces.get(common..)?;
    let number = own.iter().position(|piece| matches!(piece, Piece::Number(_)))?;
    (number + 1 < own.len()).then(|| &own[..=number])
}

/// How many pieces the names of all layers begin with.
pub(super) fn common(layers: &[&Group<'_>]) -> usize {
    let Some(first) = layers.first() else { return 0 };
    first
        .pieces
        .iter()
        .enumerate()
        .map_while(|(at, piece)| {
            layers.iter().all(|layer| layer.pieces.get(at) == Some(piece)).then_some(())
        })
        .count()
}

/// A layer of a block that has several, `blocks.0.fc2` beside `blocks.0.fc1`.
fn several_to_a_block<'g>(layers: &[&'g Group<'g>]) -> Option<&'g Group<'g>> {
    let common = common(layers);
    let second = layers.windows(2).find(|pair| {
        let [first, second] = [pair[0], pair[1]].map(|layer| block(layer, common));
        first.is_some() && first == second
    })?;
    Some(second[1])
}

/// A layer in a block of layers that gives as many numbers as it takes.
fn returning<'g>(layers: &[&'g Group<'g>], widths: &[usize]) -> Option<&'g Group<'g>> {
    let common = common(layers);
    let hidden = layers.get(..layers.len().saturating_sub(1))?;
    // `0.0`, `1.0` and `2`: each hidden layer is the first step of a container of its own, which has
    // no name. That is a layer and its function.
    let are_first_steps = hidden.iter().all(|layer| {
        let numbers = layer.pieces.get(common..).unwrap_or_default();
        matches!(numbers, [Piece::Number(_), Piece::Number(_)])
    });
    let are_single = hidden.windows(2).all(|pair| block(pair[0], common) != block(pair[1], common));
    if are_single && are_first_steps {
        return None;
    }
    let mut start = 0;
    for group in hidden.chunk_by(|a, b| block(a, common) == block(b, common)) {
        let end = start + group.len();
        let is_block = group.first().is_some_and(|layer| block(layer, common).is_some());
        if is_block && widths.get(start) == widths.get(end) {
            return group.first().copied();
        }
        start = end;
    }
    None
}

/// A layer that stands deeper than the one before or behind it in their row: `net.2.0` beside
/// `net.0`.
fn nested<'a, 'g>(hidden: &'a [&'g Group<'g>]) -> Option<&'a &'g Group<'g>> {
    let pair = hidden.windows(2).find(|pair| {
        let (a, b) = (&pair[0].pieces, &pair[1].pieces);
        let differ = a.iter().zip(b).find(|(a, b)| a != b);
        matches!(differ, Some((Piece::Number(_), Piece::Number(_)))) && a.len() != b.len()
    })?;
    pair.iter().max_by_key(|layer| layer.pieces.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::inferred::groups::by_name;
    use fireclay_formats::Tensor;

    fn decide(
        names: &[&str],
        widths: &[usize],
        residual: bool,
        no_residual: bool,
    ) -> Result<(bool, bool), String> {
        let shape = |at: usize| vec![widths[at + 1], widths[at]];
        let tensors: Vec<Tensor> = names
            .iter()
            .enumerate()
            .map(|(at, name)| Tensor::zeros(format!("{name}.weight"), shape(at)))
            .collect();
        let groups = by_name(&tensors.iter().collect::<Vec<_>>());
        let layers: Vec<&Group<'_>> = groups.iter().collect();
        let options = Options { residual, no_residual, ..Options::default() };
        let decided = skips(&layers, widths, &options);
        decided.map(|(skips, note)| (skips, note.is_some())).map_err(|error| error.to_string())
    }

    #[test]
    fn names_that_hint_at_skip_connections_ask_for_them() {
        let widths = [7, 4, 4, 4, 2];
        for names in [
            ["inp", "blocks.0", "blocks.1", "head"],
            ["fc1", "res1", "res2", "fc2"],
            ["net.0", "net.2.0", "net.4.0", "net.6"],
            ["net.0", "net.2.fn", "net.4.fn", "net.6"],
            ["inp", "blocks.0.fc1", "blocks.0.fc2", "head"],
            ["inp", "mid.0.0", "mid.0.2", "head"],
            ["layers.0.fc", "layers.1.fc", "layers.2.fc", "head"],
            ["net.0.0", "net.1.0", "net.1.2", "net.2"],
        ] {
            let error = decide(&names, &widths, false, false).unwrap_err();
            assert!(error.contains("--no-residual"), "{names:?}: {error}");
            assert_eq!(decide(&names, &widths, false, true), Ok((false, false)), "{names:?}");
        }
        // Without equal widths nothing can be added.
        let names = ["blocks.0", "blocks.1", "blocks.2", "head"];
        assert_eq!(decide(&names, &[7, 6, 5, 4, 2], false, false), Ok((false, false)));
        let names = ["net.0.0.0", "net.0.1.0", "net.0.2.0", "net.0.3"];
        assert_eq!(decide(&names, &[7, 6, 5, 4, 2], false, false), Ok((false, false)));
        // Where nothing hints at them, they may still be there.
        for names in [
            ["fc1", "fc2", "fc3", "head"],
            ["net.0", "net.2", "net.4", "net.6"],
            ["0.0", "1.0", "2.0", "3"],
        ] {
            assert_eq!(decide(&names, &widths, false, false), Ok((false, true)), "{names:?}");
            assert_eq!(decide(&names, &widths, true, false), Ok((true, false)), "{names:?}");
        }
        assert_eq!(
            decide(&["dense", "dense_1", "dense_2"], &[4, 4, 4, 2], false, false),
            Ok((false, true))
        );
        assert_eq!(decide(&["fc1", "fc2"], &[7, 4, 2], false, false), Ok((false, false)));
    }

    #[test]
    fn skip_connections_that_cannot_be_are_refused() {
        let equal = [7, 4, 4, 4, 2];
        for (names, widths, words) in [
            (["a.0", "a.2", "a.4", "a.6"], [7, 6, 5, 4, 2], "as many outputs as inputs"),
            (["inp", "blocks.0.fc1", "blocks.0.fc2", "head"], equal, "passes one layer"),
            (["inp", "blocks.0", "blocks.1", "head"], [4, 4, 4, 4, 2], "names tell some"),
            (["inp", "fc", "shortcut", "head"], equal, "looks like the linear map"),
        ] {
            let error = decide(&names, &widths, true, false).unwrap_err();
            assert!(error.contains(words), "{names:?}: {error}");
        }
        let names = ["inp", "blocks.0", "blocks.1", "head"];
        assert_eq!(decide(&names, &equal, true, false), Ok((true, false)));
    }
}
