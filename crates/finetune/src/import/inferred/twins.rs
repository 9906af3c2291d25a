//! Several networks of one make in a file, such as the two critics of a policy.

use std::collections::BTreeMap;

use fireclay_terminal::printable;

use super::super::ImportError;
use super::super::error::several;
use super::groups::Group;
use super::names::{Piece, Role, is_of_an_end, pieces};
use super::skips::common;
use super::ways::quoted;

/// The layers of each network, by what the names of these begin with.
type Twins<'g> = BTreeMap<&'g [Piece], Vec<&'g Group<'g>>>;

/// Refuses layers that are those of several networks: names that begin with one of several words or
/// numbers, and are the same behind it, with weights of the same shapes.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with how to take one.
pub(super) fn refuse(dense: &[Group<'_>]) -> Result<(), ImportError> {
    let layers: Vec<&Group<'_>> = dense.iter().collect();
    let common = common(&layers);
    let Some(twins) = [1, 2].into_iter().find_map(|length| alike(&layers, common, length)) else {
        return Ok(());
    };
    Err(several_networks(&twins, common, "of one make"))
}

/// Refuses layers in their order, with the width before and behind each, that are those of several
/// networks of which each takes as many inputs as the first: such as an actor and a critic.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with how to take one.
pub(super) fn refuse_beside(layers: &[&Group<'_>], widths: &[usize]) -> Result<(), ImportError> {
    let common = common(layers);
    for length in [1, 2] {
        let mut twins: Twins<'_> = BTreeMap::new();
        let (mut start, mut count, mut are_networks) = (0, 0, true);
        let own = common..common + length;
        for row in layers.chunk_by(|a, b| a.pieces.get(own.clone()) == b.pieces.get(own.clone())) {
            let of_row = row.first().and_then(|layer| layer.pieces.get(own.clone()));
            let is_named = of_row.is_some_and(|own| !own.iter().any(is_of_an_end));
            are_networks &= is_named && row.len() > 1 && widths.get(start) == widths.first();
            twins.entry(of_row.unwrap_or_default()).or_default().extend(row);
            start += row.len();
            count += 1;
        }
        if are_networks && count > 1 && twins.len() == count {
            return Err(several_networks(&twins, common, "that take as many inputs"));
        }
    }
    Ok(())
}

/// The error that tells several networks, and how to take one.
fn several_networks(twins: &Twins<'_>, common: usize, what: &str) -> ImportError {
    let mut starts: Vec<(usize, String)> = twins
        .iter()
        .filter_map(|(own, layers)| {
            let first = layers.first()?;
            Some((first.place, start(&first.name, common + own.len())?))
        })
        .collect();
    starts.sort();
    let starts: Vec<String> = starts.into_iter().map(|(_, start)| start).collect();
    let shown: Vec<String> =
        starts.iter().map(|start| start.trim_end_matches(['.', '/', '_']).to_owned()).collect();
    let ways: Vec<String> = starts.iter().take(4).map(|start| way(start, &starts)).collect();
    ImportError::unsupported(
        format!("the file has {} networks {what}: {}", twins.len(), several(&shown)),
        format!(
            "take one, with {}; if they are one network, number its layers in one row with --map",
            ways.join(" or ")
        ),
    )
}

/// Name of a layer, and the shapes of its tensors.
type Make = (Vec<Piece>, Vec<(Role, Vec<usize>)>);

/// The names of layers behind so many pieces, and the shapes of their tensors, sorted.
fn make(layers: &[&Group<'_>], behind: usize) -> Vec<Make> {
    let mut make: Vec<_> = layers
        .iter()
        .map(|layer| {
            let shapes = layer.tensors.iter().map(|(role, tensor)| (*role, tensor.shape.clone()));
            (layer.pieces[behind..].to_vec(), shapes.collect())
        })
        .collect();
    make.sort();
    make
}

/// The layers by so many pieces of their names behind what all begin with, if each has several, and
/// all have the same.
fn alike<'g>(layers: &[&'g Group<'g>], common: usize, length: usize) -> Option<Twins<'g>> {
    let mut twins: Twins<'g> = BTreeMap::new();
    for &layer in layers {
        let own = layer.pieces.get(common..common + length)?;
        // An encoder and a decoder are one network.
        if own.iter().any(is_of_an_end) {
            return None;
        }
        twins.entry(own).or_default().push(layer);
    }
    let mut makes = twins.values().map(|layers| make(layers, common + length));
    let first = makes.next()?;
    let is_network = first.len() > 1 && first.iter().all(|(rest, _)| !rest.is_empty());
    let is_same = twins.len() > 1 && makes.all(|make| make == first);
    (is_network && is_same).then_some(twins)
}

/// What a name begins with, of so many pieces, with the letter behind it that ends them.
fn start(name: &str, length: usize) -> Option<String> {
    let ends = name.char_indices().map(|(at, _)| at).skip(1);
    let at = ends.filter(|&at| pieces(&name[..at]).len() == length).last()?;
    let rest = name.get(at..)?;
    let end = rest.chars().next().filter(|c| !c.is_alphanumeric()).map_or(0, char::len_utf8);
    name.get(..at + end).map(str::to_owned)
}

/// The flags that leave one of several networks.
fn way(start: &str, starts: &[String]) -> String {
    if let Some(key) = start.strip_suffix(['.', '/']) {
        return format!("--key {}", quoted(&printable(key, 100)));
    }
    let others = starts.iter().filter(|other| *other != start);
    others
        .map(|other| format!("--allow-unused {}", quoted(&printable(&format!("{other}*"), 100))))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::inferred::groups::by_name;
    use fireclay_formats::Tensor;

    fn refused(layers: &[(&str, [usize; 2])]) -> Option<String> {
        let tensors: Vec<Tensor> = layers
            .iter()
            .map(|(name, shape)| Tensor::zeros(format!("{name}.weight"), shape.to_vec()))
            .collect();
        let groups = by_name(&tensors.iter().collect::<Vec<_>>());
        refuse(&groups).err().map(|error| error.to_string())
    }

    #[test]
    fn networks_of_one_make_are_not_run_one_after_the_other() {
        let (a, b) = ([8, 6], [6, 8]);
        for ([one, two], ways) in [
            (["nets.0.", "nets.1."], "--key nets.0 or --key nets.1"),
            (["critic1.", "critic2."], "--key critic1 or --key critic2"),
            (["model.q1.", "model.q2."], "--key model.q1 or --key model.q2"),
            (["f.", "g."], "--key f or --key g"),
            (["a1.net.", "b2.net."], "a1, b2; take one, with --key a1 or --key b2"),
            (["q1_", "q2_"], "--allow-unused 'q2_*' or --allow-unused 'q1_*'"),
        ] {
            let names = [one, one, two, two].map(str::to_owned);
            let [w, x, y, z] = [
                names[0].clone() + "fc0",
                names[1].clone() + "fc2",
                names[2].clone() + "fc0",
                names[3].clone() + "fc2",
            ];
            let message = refused(&[(&w, a), (&x, b), (&y, a), (&z, b)]).unwrap_or_default();
            assert!(message.contains(ways), "{one}: {message}");
        }
        for one in [
            [("net.0", a), ("net.2", b), ("net.4", a), ("net.6", b)],
            [
                ("encoder.0", [8, 8]),
                ("encoder.2", [8, 8]),
                ("decoder.0", [8, 8]),
                ("decoder.2", [8, 8]),
            ],
            [("stem", a), ("blocks.0.fc1", [8, 8]), ("blocks.0.fc2", [8, 8]), ("head", b)],
            [("net.0.0", a), ("net.0.2", b), ("net.1.0", [9, 6]), ("net.1.2", [6, 9])],
            [("l1.fc", [8, 8]), ("l2.fc", [8, 8]), ("l3.fc", [8, 8]), ("l4.fc", [8, 8])],
        ] {
            assert_eq!(refused(&one), None, "{one:?}");
        }
    }

    #[test]
    fn networks_that_take_the_same_inputs_are_not_run_one_after_the_other() {
        let refused = |layers: &[(&str, [usize; 2])]| {
            let tensors: Vec<Tensor> = layers
                .iter()
                .map(|(name, [inputs, outputs])| {
                    Tensor::zeros(format!("{name}.weight"), vec![*outputs, *inputs])
                })
                .collect();
            let groups = by_name(&tensors.iter().collect::<Vec<_>>());
            let inputs = layers.first().map(|(_, [inputs, _])| *inputs);
            let outputs = layers.iter().map(|(_, [_, outputs])| *outputs);
            let widths: Vec<usize> = inputs.into_iter().chain(outputs).collect();
            let error = refuse_beside(&groups.iter().collect::<Vec<_>>(), &widths).err();
            error.map(|error| error.to_string())
        };
        let two = [
            ("actor.0", [4, 32]),
            ("actor.2", [32, 4]),
            ("critic.0", [4, 64]),
            ("critic.2", [64, 1]),
        ];
        let message = refused(&two).unwrap_or_default();
        assert!(message.contains("--key actor or --key critic"), "{message}");
        for one in [
            [("a.0", [4, 32]), ("a.2", [32, 5]), ("b.0", [5, 64]), ("b.2", [64, 1])],
            [
                ("encoder.0", [4, 8]),
                ("encoder.2", [8, 4]),
                ("decoder.0", [4, 9]),
                ("decoder.2", [9, 4]),
            ],
            [("blocks.0.0", [4, 8]), ("blocks.0.2", [8, 4]), ("mid", [4, 4]), ("head", [4, 1])],
            [("net.0", [4, 4]), ("net.2", [4, 4]), ("net.4", [4, 4]), ("net.6", [4, 1])],
        ] {
            assert_eq!(refused(&one), None, "{one:?}");
        }
    }
}
