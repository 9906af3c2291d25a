//! The arrays of a model: which layer and which variable each belongs to.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::shown;
use crate::hdf5::File;
use crate::{Norm, Problem, Tensor};
use fireclay_terminal::counted;

use super::KIND;
use super::config::{Child, Content, Model, Step};

/// Bytes of a tensor's name.
const LONGEST_NAME: usize = 1024;

/// The groups of a model's layers; the second is that of Keras 2.13 and before.
const LISTS: [&str; 2] = ["layers", "_layer_checkpoint_dependencies"];

/// An array: what it is to be called, and its path in the file.
pub(super) struct StoredArray {
    name: String,
    path: String,
}

/// Reads arrays as tensors.
pub(super) fn tensors(file: &File<'_>, stored: Vec<StoredArray>) -> Result<Vec<Tensor>, Problem> {
    let mut names = BTreeSet::new();
    let mut tensors = Vec::new();
    for StoredArray { name, path } in stored {
        if name.len() > LONGEST_NAME || name.contains(char::is_control) {
            return Err(malformed(format!("an array is called {}", shown(&name))));
        }
        let array = file.array(&path)?;
        if !names.insert(name.clone()) {
            return Err(malformed(format!("two arrays are called {}", shown(&name))));
        }
        tensors.push(Tensor::new(KIND, name, array.shape, array.dtype, array.bytes)?);
    }
    Ok(tensors)
}

/// Returns notes on arrays that are no part of the network.
pub(super) fn left_out(file: &File<'_>) -> Vec<String> {
    let parts =
        [("optimizer", "optimizer"), ("optimizer_weights", "optimizer"), ("metrics", "metrics")];
    let counts = parts
        .map(|(root, what)| (file.within(root).filter(|path| file.is_dataset(path)).count(), what));
    let found = counts.into_iter().filter(|&(count, _)| count > 0);
    found
        .map(|(count, what)| format!("left out: {} of the {what}", counted(count as u64, "array")))
        .collect()
}

/// The arrays of Keras 3's weights that a model's layers have.
///
/// Their groups are called by the layer's class and its number among those of its class, and the
/// arrays are numbered.
pub(super) fn of_model(file: &File<'_>, model: &Model) -> Result<Vec<StoredArray>, Problem> {
    let mut stored = Vec::new();
    of_children(file, &model.children, "", &mut stored)?;
    Ok(stored)
}

/// The arrays of the layers of a model whose group is `group`.
fn of_children(
    file: &File<'_>,
    children: &[Child],
    group: &str,
    stored: &mut Vec<StoredArray>,
) -> Result<(), Problem> {
    let mut roots = LISTS.map(|root| format!("{group}{root}")).into_iter();
    let root = roots.find(|root| file.object(root).is_some());
    let root = root.unwrap_or_else(|| format!("{group}layers"));
    let mut numbers = BTreeMap::new();
    for child in children {
        match &child.content {
            Content::Model(class, inner) => {
                let group = format!("{root}/{}/", numbered(&mut numbers, class));
                of_children(file, inner, &group, stored)?;
            }
            Content::Layer(step) => {
                let Some((class, variables)) = variables(step) else { continue };
                let group = format!("{root}/{}/vars", numbered(&mut numbers, class));
                stored.extend(of_layer(file, child, class, variables, &group)?);
            }
        }
    }
    Ok(())
}

/// The next name of a class: `dense`, `dense_1` and so on.
fn numbered(numbers: &mut BTreeMap<&'static str, u32>, class: &'static str) -> String {
    let number = numbers.entry(class).or_default();
    let name = if *number == 0 { class.to_owned() } else { format!("{class}_{number}") };
    *number += 1;
    name
}

/// The arrays of a layer whose group is `group`.
fn of_layer(
    file: &File<'_>,
    layer: &Child,
    class: &str,
    variables: Vec<&str>,
    group: &str,
) -> Result<Vec<StoredArray>, Problem> {
    let found = arrays(file, group).len();
    // A batch norm with renorm has more of them, behind these.
    let more = class == "batch_normalization" && found > variables.len();
    if found != variables.len() && !more {
        let (name, expected) = (shown(&layer.path), variables.len());
        let what = format!(
            "layer {name} has {} in {group}, and its configuration asks for {expected}",
            counted(found as u64, "array")
        );
        return Err(malformed(what));
    }
    let stored = variables.into_iter().enumerate().map(|(at, variable)| StoredArray {
        name: format!("{}/{variable}", layer.path),
        path: format!("{group}/{at}"),
    });
    Ok(stored.collect())
}

/// The class and the variables of a step, in the order in which they are saved.
fn variables(step: &Step) -> Option<(&'static str, Vec<&'static str>)> {
    Some(match step {
        Step::Dense { bias, .. } => ("dense", chosen(&[(true, "kernel"), (*bias, "bias")])),
        Step::Norm { kind: Norm::Layer, scale, shift, .. } => {
            ("layer_normalization", chosen(&[(*scale, "gamma"), (*shift, "beta")]))
        }
        Step::Norm { kind: Norm::Rms, .. } => ("rms_normalization", vec!["gamma"]),
        Step::Norm { kind: Norm::Batch, scale, shift, .. } => {
            let moving = [(true, "moving_mean"), (true, "moving_variance")];
            let all = [&[(*scale, "gamma"), (*shift, "beta")], &moving[..]].concat();
            ("batch_normalization", chosen(&all))
        }
        Step::Prelu => ("p_re_lu", vec!["alpha"]),
        Step::Normalize { given, .. } => {
            let adapted = given.is_none();
            let all = ["mean", "variance", "count"].map(|name| (adapted, name));
            ("normalization", chosen(&all))
        }
        _ => return None,
    })
}

/// The names beside a `true`.
fn chosen(flags: &[(bool, &'static str)]) -> Vec<&'static str> {
    flags.iter().filter(|(is_there, _)| *is_there).map(|&(_, name)| name).collect()
}

/// The arrays of Keras 3's weights without a model: every group `vars` but those of an optimizer.
///
/// Layers of a model that lists them are called as it calls them. Attributes of a model's class are
/// stored by the alphabet, which is no order of layers: their arrays are sorted by name, and so are
/// all where the class has some. Those, and what has a variable that cannot be named, are called by
/// their paths.
pub(super) fn of_paths(file: &File<'_>) -> Result<Vec<StoredArray>, Problem> {
    let mut groups: Vec<&str> = file
        .paths()
        .filter(|path| path.ends_with("/vars") && !file.is_dataset(path))
        .filter(|path| !["optimizer/", "metrics/"].iter().any(|root| path.starts_with(root)))
        .filter(|path| !path.ends_with("/seed_generator/vars"))
        .filter(|path| !arrays(file, path).is_empty())
        .collect();
    groups.sort_by_key(|path| natural(path));
    let mut layers = Vec::new();
    for group in groups {
        layers.push((group, arrays(file, group), guess(file, group)?));
    }
    let have_attributes = layers
        .iter()
        .any(|(group, ..)| !LISTS.iter().any(|list| group.starts_with(&format!("{list}/"))));
    let are_told =
        layers.iter().all(|(_, arrays, names)| arrays.len() == names.len() && !names.contains(&""));
    let mut taken = BTreeSet::new();
    let mut stored = Vec::new();
    for (group, arrays, variables) in layers {
        let path = group.trim_end_matches("/vars");
        let name = if have_attributes || !are_told {
            path.to_owned()
        } else {
            // Names are unique in one model, but not in a model within a model.
            Some(layer_name(file, group)?)
                .filter(|n| !taken.contains(n))
                .unwrap_or(group.to_owned())
        };
        for (at, array) in arrays.into_iter().enumerate() {
            let name = match variables.get(at) {
                Some(&variable) if !variable.is_empty() => format!("{name}/{variable}"),
                _ => format!("{path}/vars/{at}"),
            };
            stored.push(StoredArray { name, path: array });
        }
        taken.insert(name);
    }
    if have_attributes {
        stored.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(stored)
}

/// The arrays of a group that are called 0, 1, 2 and so on.
fn arrays(file: &File<'_>, group: &str) -> Vec<String> {
    let paths = (0..).map(|at| format!("{group}/{at}"));
    paths.take_while(|path| file.is_dataset(path)).collect()
}

/// Returns the name of the layer of a group: as its model calls it if that is written down, and
/// else by its path.
fn layer_name(file: &File<'_>, group: &str) -> Result<String, Problem> {
    let path = group.trim_end_matches("/vars");
    let mut parts: Vec<&str> = path.split('/').filter(|part| !LISTS.contains(part)).collect();
    let name = file.text(group, "name")?.filter(|name| {
        !name.is_empty()
            && name.len() <= 256
            && !name.contains(|c: char| c.is_control() || c == '/')
    });
    if let (Some(last), Some(name)) = (parts.last_mut(), &name) {
        *last = name;
    }
    Ok(parts.join("/"))
}

/// The variables of a layer by its class or its attribute's name, their number and their shapes, as
/// far as these show them: none or an empty name for the others.
///
/// Any group of a matrix and a row as long as its columns is a dense layer, and any of four rows of
/// one length a batch norm.
fn guess(file: &File<'_>, group: &str) -> Result<&'static [&'static str], Problem> {
    const NORM: &[&str] = &["gamma", "beta"];
    const STATISTICS: &[&str] = &["moving_mean", "moving_variance"];
    let class = group.trim_end_matches("/vars").rsplit('/').next().unwrap_or_default();
    let class = class.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    let paths = arrays(file, group);
    let mut shapes = Vec::new();
    for path in &paths {
        let (dtype, shape) = file.described(path)?;
        // The second array of a quantized layer can be its scales.
        if !dtype.is_float() && class != "normalization" {
            return Ok(&[]);
        }
        shapes.push(shape);
    }
    let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
    Ok(match shapes[..] {
        [_] | [_, _] if class == "dense" => &["kernel", "bias"][..shapes.len()],
        [[_, columns], [row]] if columns == row && class != "einsum_dense" => &["kernel", "bias"],
        [[a], [b], [c], [d]] if a == b && b == c && c == d => {
            &["gamma", "beta", "moving_mean", "moving_variance"]
        }
        // Either the scale or the shift was left out.
        [[a], [b], [c]] if a == b && b == c => &["", "moving_mean", "moving_variance"],
        [[a], [b]] if a == b && is_called(class, &["batch_normalization", "bn", "batchnorm"]) => {
            STATISTICS
        }
        [[a], [b]] if a == b && is_called(class, &["layer_normalization", "ln", "layernorm"]) => {
            NORM
        }
        [[a], [b]] if a == b && is_called(class, &["group_normalization", "gn", "groupnorm"]) => {
            NORM
        }
        [[_]] if is_called(class, &["rms_normalization", "rms", "rmsnorm"]) => &["gamma"],
        [[_]] if class == "p_re_lu" => &["alpha"],
        [_, _, _] if class == "normalization" => &["mean", "variance", "count"],
        _ => &[],
    })
}

/// Returns true if one of these words is a class, or a part of it between `_`.
fn is_called(class: &str, words: &[&str]) -> bool {
    class.split('_').any(|part| words.contains(&part)) || words.contains(&class)
}

/// A path so cut that `dense_10` comes after `dense_9`.
fn natural(path: &str) -> Vec<(String, u64)> {
    let parts = path.split('/').map(|part| {
        let class = part.trim_end_matches(|c: char| c.is_ascii_digit());
        (class.trim_end_matches('_').to_owned(), part[class.len()..].parse().unwrap_or(0))
    });
    parts.collect()
}

/// Returns true if weights are of the kind of Keras 1 and 2, with lists of names.
pub(super) fn is_legacy(file: &File<'_>) -> Result<bool, Problem> {
    Ok(names(file, "", "layer_names")?.is_some())
}

/// The version of Keras that wrote them.
pub(super) fn legacy_version(file: &File<'_>, root: &str) -> Result<Option<String>, Problem> {
    let version = match file.text(root, "keras_version")? {
        Some(version) => Some(version),
        None => file.text("", "keras_version")?,
    };
    Ok(version.map(|version| version.chars().filter(|c| !c.is_control()).take(32).collect()))
}

/// The arrays of weights with lists of names; those of models within the model, if that is known, by
/// the layers that they belong to.
pub(super) fn legacy(
    file: &File<'_>,
    root: &str,
    model: Option<&Model>,
) -> Result<Vec<StoredArray>, Problem> {
    let mut layers = names(file, root, "layer_names")?
        .ok_or_else(|| malformed(format!("{} has no list of layers", shown(root))))?;
    file.take_pairs_for_bfloat16();
    // Variables of no layer.
    let top = "top_level_model_weights".to_owned();
    if file.object(&join(root, &top)).is_some() {
        layers.push(top);
    }
    let mut stored = Vec::new();
    for layer in layers {
        let group = join(root, &layer);
        let weights = names(file, &group, "weight_names")?
            .ok_or_else(|| malformed(format!("layer {} has no list of weights", shown(&layer))))?;
        let children = model.map(|model| &model.children[..]).unwrap_or_default();
        let inner = children.iter().find_map(|child| match &child.content {
            Content::Model(_, inner) if child.name == layer => Some(leaves(inner)),
            _ => None,
        });
        for weight in &weights {
            let name = match inner.as_deref().and_then(|leaves| of_leaf(weight, leaves)) {
                Some(name) => name,
                None => legacy_name(&layer, weight, &weights),
            };
            stored.push(StoredArray { name, path: join(&group, weight) });
        }
    }
    Ok(stored)
}

fn join(root: &str, name: &str) -> String {
    if root.is_empty() { name.to_owned() } else { format!("{root}/{name}") }
}

/// Returns the name of a weight of a layer.
fn legacy_name(layer: &str, weight: &str, weights: &[String]) -> String {
    let name = variable(layer, weight);
    // A layer with layers in it can have several kernels.
    if weights.iter().filter(|other| variable(layer, other) == name).count() == 1 {
        format!("{layer}/{name}")
    } else {
        format!("{layer}/{weight}")
    }
}

/// The variable of a weight of a layer, such as `dense/kernel:0`, or `dense_1_W` before Keras 2.
fn variable(layer: &str, weight: &str) -> String {
    let last = weight.rsplit('/').next().unwrap_or_default();
    let last = last.split(':').next().unwrap_or_default();
    let old = last.strip_prefix(layer).and_then(|rest| rest.strip_prefix('_'));
    let old = old.and_then(|variable| {
        Some(match variable {
            "W" => "kernel",
            "b" => "bias",
            "running_mean" => "moving_mean",
            // In spite of its name.
            "running_std" => "moving_variance",
            "alphas" => "alpha",
            "gamma" | "beta" => variable,
            _ => return None,
        })
    });
    old.unwrap_or(last).to_owned()
}

/// The layers of a model and of all models within it.
fn leaves(children: &[Child]) -> Vec<&Child> {
    let mut found = Vec::new();
    for child in children {
        match &child.content {
            Content::Model(_, inner) => found.extend(leaves(inner)),
            Content::Layer(_) => found.push(child),
        }
    }
    found
}

/// Returns the name of a weight of one of these layers, if only one fits: that whose own name,
/// after those of the models that it lies within, is before the variable.
fn of_leaf(weight: &str, leaves: &[&Child]) -> Option<String> {
    let parts: Vec<&str> = weight.split('/').collect();
    let (last, before) = parts.split_last()?;
    let mut found: Vec<&&Child> = leaves
        .iter()
        .filter(|leaf| match before.last() {
            Some(&layer) => layer == leaf.name,
            None => variable(&leaf.name, last) != last.split(':').next().unwrap_or_default(),
        })
        .collect();
    if found.len() > 1 {
        let way = before.join("/");
        found.retain(|leaf| leaf.path == way || leaf.path.ends_with(&format!("/{way}")));
    }
    match found[..] {
        [leaf] => Some(format!("{}/{}", leaf.path, variable(&leaf.name, weight))),
        _ => None,
    }
}

/// A list of names, which Keras cuts in several attributes if it is long.
fn names(file: &File<'_>, path: &str, name: &str) -> Result<Option<Vec<String>>, Problem> {
    if let Some(names) = file.texts(path, name)? {
        return Ok(Some(names));
    }
    let Some(mut names) = file.texts(path, &format!("{name}0"))? else { return Ok(None) };
    for part in 1.. {
        match file.texts(path, &format!("{name}{part}"))? {
            Some(more) => names.extend(more),
            None => break,
        }
    }
    Ok(Some(names))
}

fn malformed(what: impl Into<String>) -> Problem {
    Problem::malformed(KIND, what)
}
