//! Ways out that a person can paste into a shell: `--map` for names that do not tell an order.

use std::cmp::Ordering;

use fireclay_formats::Tensor;
use fireclay_terminal::printable;

use super::super::ImportError;
use super::groups::Group;
use super::names::{Role, Word, firm_order, key};

/// The most layers that are numbered in a message.
pub(super) const MOST_SHOWN: usize = 6;

/// The most letters of such an example.
pub(super) const LONGEST: usize = 900;

/// A word as a shell takes it for one.
pub(super) fn quoted(word: &str) -> String {
    if !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:".contains(c)) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `--map` for a tensor, or for all whose names begin so.
pub(super) fn map(expression: &str, name: &str) -> String {
    let rule = format!("{expression}={name}");
    format!("--map '{}'", rule.replace('\'', r"'\''"))
}

/// `--map` for the tensors of a group, or those of some roles, so that they are called
/// `name.weight` and the like.
pub(super) fn renamed(group: &Group<'_>, roles: &[Role], name: &str) -> String {
    for end in ['.', '/'] {
        let start = format!("{}{end}", group.name);
        if !group.name.is_empty()
            && roles.is_empty()
            && group.tensors.values().all(|tensor| tensor.name.starts_with(&start))
        {
            return map(&format!("^{}", regex::escape(&start)), &format!("{name}."));
        }
    }
    let part = |(role, tensor): (&Role, &&Tensor)| {
        let part = match (role, group.word) {
            // Other words would tell how weights lie.
            (Role::Weight, Word::Own) => "w",
            (Role::Weight, Word::Kernel | Word::Coefs) => "kernel",
            (Role::Weight, _) => "weight",
            (Role::Bias, _) => "bias",
            (Role::Gamma, _) => "gamma",
            (Role::Beta, _) => "beta",
            (Role::Mean, _) => "running_mean",
            (Role::Variance, _) => "running_var",
        };
        map(&format!("^{}$", regex::escape(&tensor.name)), &format!("{name}.{part}"))
    };
    group
        .tensors
        .iter()
        .filter(|(role, _)| roles.is_empty() || roles.contains(role))
        .map(part)
        .collect::<Vec<_>>()
        .join(" ")
}

/// `--map` that numbers layers in this order, each with the norm that is called like it; none if
/// they are too many, their names do not tell this order, or some norm is called like no layer.
fn numbered(layers: &[&Group<'_>], others: &[&Group<'_>]) -> Option<String> {
    if layers.len() > MOST_SHOWN {
        return None;
    }
    if !layers
        .windows(2)
        .all(|pair| firm_order(&pair[0].pieces, &pair[1].pieces) == Some(Ordering::Less))
    {
        return None;
    }
    let mut named: Vec<(&Group<'_>, String)> = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        named.push((layer, format!("layers.{at}")));
        let own = others.iter().filter(|other| key(&other.pieces) == key(&layer.pieces));
        named.extend(own.map(|norm| (*norm, format!("norms.{at}"))));
    }
    let is_whole = named.len() == layers.len() + others.len();
    named.retain(|(group, name)| group.name != *name);
    let maps = named.iter().map(|(group, name)| renamed(group, &[], name));
    let example = maps.collect::<Vec<_>>().join(" ");
    let is_shown = example.len() <= LONGEST && printable(&example, LONGEST) == example;
    (is_shown && is_whole).then_some(example)
}

/// `--map` that calls slopes after their layers, of which some have them; none if these are too many.
pub(super) fn slopes(
    layers: &[&Group<'_>],
    others: &[&Group<'_>],
    slopes: &[Option<String>],
) -> Option<String> {
    let mut maps = Vec::new();
    for (layer, slope) in layers.iter().zip(slopes).filter(|(_, slope)| slope.is_some()) {
        let group = others.iter().find(|group| group.named(Role::Weight) == *slope)?;
        let name = format!("{}.prelu", layer.name);
        if group.name != name {
            maps.push(renamed(group, &[], &name));
        }
    }
    let example = maps.join(" ");
    let is_shown = example.len() <= LONGEST && printable(&example, LONGEST) == example;
    (is_shown && (1..=MOST_SHOWN).contains(&maps.len())).then_some(example)
}

/// `--map` for each layer with a place `N` for a person to fill in; for the first alone if they are too
/// many to show. No place is guessed: pasted as it is, it is refused.
fn open_places(dense: &[Group<'_>]) -> Option<String> {
    const COUNT: &str = "with each N the place of the layer, from 0";
    let of = |group: &Group<'_>| renamed(group, &[], "layers.N");
    let whole = dense.iter().map(of).collect::<Vec<_>>().join(" ");
    let example = if dense.len() <= MOST_SHOWN && whole.len() < LONGEST - COUNT.len() {
        format!("{whole}, {COUNT}")
    } else {
        format!("{} and so on, {COUNT}", of(dense.first()?))
    };
    (printable(&example, LONGEST) == example).then_some(example)
}

/// The same error with an example of the names that would tell the order.
pub(super) fn with_way(
    error: ImportError,
    dense: &[Group<'_>],
    others: &[Group<'_>],
) -> ImportError {
    let of = |names: &[String]| {
        let layers: Option<Vec<&Group<'_>>> =
            names.iter().map(|name| dense.iter().find(|group| group.name == *name)).collect();
        let norms: Vec<&Group<'_>> = others.iter().filter(|group| group.is_norm()).collect();
        numbered(&layers?, &norms)
    };
    match error {
        ImportError::Contradiction { by_name, found, is_of_file, .. } => {
            let is_whole = by_name.len() == dense.len();
            let example = of(&by_name).filter(|_| is_whole).map(|example| {
                format!("if the names are right, number them in their order: {example}")
            });
            let hint = example
                .or_else(|| {
                    Some(format!("number all layers in their order: {}", open_places(dense)?))
                })
                .unwrap_or_default();
            ImportError::Contradiction { by_name, found, is_of_file, hint }
        }
        ImportError::Ambiguous { layers, by_order, .. } => {
            // If names determined the order, it would not be asked for.
            let hint = open_places(dense).unwrap_or_default();
            ImportError::Ambiguous { layers, by_order, hint }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::inferred::groups::by_name;
    use fireclay_formats::Tensor;

    #[test]
    fn no_place_is_guessed() {
        let tensors: Vec<Tensor> = ["dec/kernel", "enc/kernel", "dense_2/kernel"]
            .map(|name| Tensor::zeros(name, vec![6, 6]))
            .into();
        let dense = by_name(&tensors.iter().collect::<Vec<_>>());
        let layers = dense.iter().map(|group| group.name.clone()).collect();
        let error = ImportError::Ambiguous { layers, by_order: false, hint: String::new() };
        let message = with_way(error, &dense, &[]).to_string();
        let maps = "--map '^dec/=layers.N.' --map '^enc/=layers.N.' --map '^dense_2/=layers.N.', with \
                    each N the place of the layer, from 0";
        assert!(message.contains(maps), "{message}");
    }

    #[test]
    fn examples_paste() {
        let of = |names: &[&str]| {
            let tensors: Vec<Tensor> = names
                .iter()
                .map(|&name| {
                    let is_matrix = name.contains('W') || name.ends_with("c.weight");
                    Tensor::zeros(name, vec![4; 1 + usize::from(is_matrix)])
                })
                .collect();
            let (dense, others): (Vec<_>, Vec<_>) =
                by_name(&tensors.iter().collect::<Vec<_>>()).into_iter().partition(Group::is_dense);
            let layers: Vec<&Group<'_>> = dense.iter().collect();
            numbered(&layers, &others.iter().collect::<Vec<_>>())
        };
        assert_eq!(
            of(&["a.fc.weight", "a.fc.bias", "b.fc.weight"]).unwrap(),
            r"--map '^a\.fc\.=layers.0.' --map '^b\.fc\.=layers.1.'"
        );
        assert_eq!(
            of(&["W1", "b1"]).unwrap(),
            "--map '^W1$=layers.0.w' --map '^b1$=layers.0.bias'"
        );
        assert_eq!(
            of(&["a.fc.weight", "a.bn.weight", "a.bn.running_var"]).unwrap(),
            r"--map '^a\.fc\.=layers.0.' --map '^a\.bn\.=norms.0.'"
        );
        // A rule that renames nothing is refused.
        assert_eq!(of(&["a0.fc.weight", "norms.0.weight", "norms.0.running_var"]).as_deref(), None);
        assert_eq!(
            of(&["fc0.fc.weight", "norms.0.weight", "norms.0.running_var"]).unwrap(),
            r"--map '^fc0\.fc\.=layers.0.'"
        );
        // `dense` may stand anywhere beside an encoder and a decoder.
        assert_eq!(of(&["enc.fc.weight", "dense.fc.weight", "dec.fc.weight"]), None);
        for none in [
            &["a.fc.weight", "x.bn.weight", "x.bn.running_var"][..],
            &["b.fc.weight", "a.fc.weight"],
            &["oak.fc.weight", "elm.fc.weight"],
        ] {
            assert_eq!(of(none), None, "{none:?}");
        }
        assert_eq!(of(&["it's.fc.weight"]).unwrap(), r"--map '^it'\''s\.fc\.=layers.0.'");
        assert_eq!(of(&["a\u{7}.fc.weight"]), None);
        assert_eq!((quoted("a.*").as_str(), quoted("a.b").as_str()), ("'a.*'", "a.b"));
    }
}
