//! A network of which the file has tensors alone: their names and shapes tell what they are.

use std::collections::BTreeMap;

use fireclay::Norm;
use fireclay_formats as formats;
use fireclay_formats::{Archive, Layer, Layout, Network, Tensor, printable};

use super::error::several;
use super::{ImportError, Options};

/// What is added to a variance by norms of which a file has the tensors alone: PyTorch's default.
const EPSILON: f64 = 1e-5;

/// The most layers whose order is looked for by their shapes.
const MOST_TRIED: usize = 12;

/// What a tensor is within its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Weight,
    Bias,
    Mean,
    Variance,
}

/// The tensors that share all of their name but the end.
#[derive(Debug, Default)]
struct Group<'a> {
    name: String,
    tensors: BTreeMap<Role, &'a Tensor>,
}

impl Group<'_> {
    fn named(&self, role: Role) -> Option<String> {
        self.tensors.get(&role).map(|tensor| tensor.name.clone())
    }

    fn is_dense(&self) -> bool {
        self.tensors.get(&Role::Weight).is_some_and(|weight| weight.shape.len() == 2)
    }

    /// `[inputs, outputs]` of a dense layer, if its bias agrees.
    fn sizes(&self, layout: Layout) -> Option<[usize; 2]> {
        let [first, second] = self.tensors.get(&Role::Weight)?.shape[..] else { return None };
        let sizes = match layout {
            Layout::OutIn => [second, first],
            Layout::InOut => [first, second],
        };
        match self.tensors.get(&Role::Bias) {
            Some(bias) if bias.shape != [sizes[1]] => None,
            _ => Some(sizes),
        }
    }
}

/// Finds layers and norms, in the words in which files describe networks.
pub(super) fn network(archive: &Archive, options: &Options) -> Result<Network, ImportError> {
    let groups = match groups(archive) {
        groups if groups.iter().any(Group::is_dense) => groups,
        _ if options.by_order => by_rank(archive),
        _ => return Err(ImportError::NoLayers { tensors: archive.tensors.len() }),
    };
    let (dense, others): (Vec<_>, Vec<_>) = groups.into_iter().partition(Group::is_dense);
    let layouts = match options.layout.or(archive.layout) {
        Some(layout) => vec![layout],
        None => vec![Layout::OutIn, Layout::InOut],
    };
    let mut chains = Vec::new();
    let mut failure = None;
    for layout in layouts {
        match chain(&dense, layout, options.by_order) {
            Ok(order) => chains.push((layout, order)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let (layout, order) = match (chains.len(), failure) {
        (2.., _) => {
            return Err(ImportError::Unsaid {
                what: "whether weights are [outputs, inputs] or [inputs, outputs], and both fit"
                    .into(),
                flag: "--layout out-in or --layout in-out".into(),
            });
        }
        (1, _) => chains.remove(0),
        (_, Some(error)) => return Err(error),
        (_, None) => return Err(ImportError::NoLayers { tensors: archive.tensors.len() }),
    };
    let layers: Vec<&Group<'_>> = order.into_iter().map(|i| &dense[i]).collect();
    if layers.is_empty() {
        return Err(ImportError::NoLayers { tensors: archive.tensors.len() });
    }
    let norms = norms(&layers, layout, others, options)?;
    let function = match options.activation {
        Some(activation) => Some(Layer::Activation(formats::Activation {
            name: activation.name().to_owned(),
            constants: BTreeMap::new(),
        })),
        None if layers.len() == 1 => None,
        None => {
            return Err(ImportError::Unsaid {
                what: "which function follows its hidden layers".to_owned(),
                flag: "--activation relu, or another".to_owned(),
            });
        }
    };
    let mut steps = Vec::new();
    for (index, group) in layers.iter().enumerate() {
        let Some(weight) = group.named(Role::Weight) else { continue };
        steps.push(Layer::Dense { weight, bias: group.named(Role::Bias), layout });
        if index + 1 < layers.len() {
            steps.extend(norms.get(index).cloned());
            steps.extend(function.clone());
        }
    }
    Ok(Network { input_shape: None, layers: steps })
}

/// Norms: as many as hidden layers, in the order of their names, each as wide as its layer.
fn norms(
    layers: &[&Group<'_>],
    layout: Layout,
    others: Vec<Group<'_>>,
    options: &Options,
) -> Result<Vec<Layer>, ImportError> {
    let is_norm = |group: &Group<'_>| {
        let mut shapes = group.tensors.values().map(|tensor| &tensor.shape);
        shapes.all(|shape| shape.len() == 1)
            && group.tensors.len() > usize::from(!group.tensors.contains_key(&Role::Weight))
    };
    let mut found: Vec<Group<'_>> = others.into_iter().filter(is_norm).collect();
    found.sort_by_key(|group| natural(&group.name));
    let hidden = &layers[..layers.len().saturating_sub(1)];
    let widths = hidden.iter().filter_map(|group| group.sizes(layout).map(|[_, outputs]| outputs));
    let fits = found.len() == hidden.len()
        && found
            .iter()
            .zip(widths)
            .all(|(norm, width)| norm.tensors.values().all(|tensor| tensor.shape == [width]));
    if found.is_empty() || !fits {
        // Those that do not fit are left over, and told of as such.
        return Ok(Vec::new());
    }
    let has_statistics = found.iter().any(|group| group.tensors.contains_key(&Role::Mean));
    let kind = if has_statistics { Norm::Batch } else { Norm::Layer };
    if options.norm != Some(kind) {
        let names: Vec<String> = found.iter().map(|group| group.name.clone()).collect();
        return Err(ImportError::Unsaid {
            what: format!(
                "where its norms stand ({}); here they stand between the linear map and the \
                 activation, with 1e-5 added to the variance",
                several(&names)
            ),
            flag: format!("--norm {kind}, if that is so in yours"),
        });
    }
    let kind = if has_statistics { formats::Norm::Batch } else { formats::Norm::Layer };
    let norm = |group: &Group<'_>| Layer::Norm {
        kind,
        scale: group.named(Role::Weight),
        shift: group.named(Role::Bias),
        mean: group.named(Role::Mean),
        variance: group.named(Role::Variance),
        epsilon: EPSILON,
    };
    Ok(found.iter().map(norm).collect())
}

/// Tensors by all of their name but its end, in the order of the file.
fn groups(archive: &Archive) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut put = |name: &str, role, tensor| {
        let place = *places.entry(name.to_owned()).or_insert_with(|| {
            groups.push(Group { name: name.to_owned(), ..Group::default() });
            groups.len() - 1
        });
        groups[place].tensors.entry(role).or_insert(tensor);
    };
    for tensor in archive.tensors.iter().filter(|tensor| tensor.dtype.is_float()) {
        if let Some((name, role)) = role(&tensor.name) {
            put(&name, role, tensor);
        }
    }
    groups
}

/// The layer that a tensor belongs to and what it is there, by the names that programs use.
fn role(name: &str) -> Option<(String, Role)> {
    let (layer, end) = name.rsplit_once(['.', '/']).unwrap_or(("", name));
    let role = match end.strip_suffix(":0").unwrap_or(end) {
        "weight" | "kernel" | "gamma" | "w" | "W" => Role::Weight,
        "bias" | "beta" | "b" => Role::Bias,
        "running_mean" | "moving_mean" => Role::Mean,
        "running_var" | "moving_variance" => Role::Variance,
        end => {
            // scikit-learn: coefs_0 and intercepts_0.
            let digits = end.len() - end.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            let (stem, number) = end.split_at(end.len() - digits);
            let role = match stem.trim_end_matches('_') {
                "coefs" | "coef" if digits > 0 => Role::Weight,
                "intercepts" | "intercept" if digits > 0 => Role::Bias,
                _ => return None,
            };
            return Some((format!("{layer}{number}"), role));
        }
    };
    Some((layer.to_owned(), role))
}

/// Every matrix is a weight, and the first vectors that fit are its bias: by the order of the file
/// alone.
fn by_rank(archive: &Archive) -> Vec<Group<'_>> {
    let floats = || archive.tensors.iter().filter(|tensor| tensor.dtype.is_float());
    let mut vectors: Vec<&Tensor> = floats().filter(|tensor| tensor.shape.len() == 1).collect();
    let matrices = floats().filter(|tensor| tensor.shape.len() == 2);
    matrices
        .map(|matrix| {
            let mut group = Group { name: matrix.name.clone(), tensors: BTreeMap::new() };
            group.tensors.insert(Role::Weight, matrix);
            if let Some(at) = vectors.iter().position(|bias| matrix.shape.contains(&bias.shape[0]))
            {
                group.tensors.insert(Role::Bias, vectors.remove(at));
            }
            group
        })
        .collect()
}

/// The order in which dense layers follow each other.
fn chain(dense: &[Group<'_>], layout: Layout, by_order: bool) -> Result<Vec<usize>, ImportError> {
    let describe = |group: &Group<'_>| {
        let shape = group.tensors.get(&Role::Weight).map_or(Vec::new(), |w| w.shape.clone());
        let bias =
            group.tensors.get(&Role::Bias).map(|bias| format!(" with bias {:?}", bias.shape));
        format!("{} {shape:?}{}", printable(&group.name, 60), bias.unwrap_or_default())
    };
    let no_chain = |hint: &str| ImportError::NoChain {
        found: dense.iter().map(describe).collect(),
        hint: hint.to_owned(),
    };
    let sizes: Option<Vec<[usize; 2]>> = dense.iter().map(|group| group.sizes(layout)).collect();
    let Some(sizes) = sizes else {
        return Err(no_chain("a bias is as long as its layer has outputs; --layout may help"));
    };
    let follows = |order: &[usize]| order.windows(2).all(|p| sizes[p[0]][1] == sizes[p[1]][0]);
    let in_file: Vec<usize> = (0..dense.len()).collect();
    if by_order {
        let problem =
            || no_chain("in the order of the file, each must take what the one before gives");
        return if follows(&in_file) { Ok(in_file) } else { Err(problem()) };
    }
    let mut by_name = in_file.clone();
    by_name.sort_by_key(|&i| natural(&dense[i].name));
    let stems: Vec<String> = dense.iter().map(|group| stem(&group.name)).collect();
    let are_numbered = stems.iter().all(|stem| *stem == stems[0]);
    if are_numbered && follows(&by_name) {
        return Ok(by_name);
    }
    if dense.len() > MOST_TRIED {
        return Err(no_chain("with so many, their names must be numbered; rename them with --map"));
    }
    let mut found = Vec::new();
    orders(&sizes, &mut Vec::new(), &mut found);
    match found.len() {
        0 => Err(no_chain("each must take as many inputs as the one before has outputs")),
        1 => Ok(found.remove(0)),
        _ => Err(ImportError::Ambiguous {
            layers: dense.iter().map(|group| group.name.clone()).collect(),
        }),
    }
}

/// The first two orders in which all layers follow each other.
fn orders(sizes: &[[usize; 2]], begun: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
    if begun.len() == sizes.len() {
        found.push(begun.clone());
    }
    for next in 0..sizes.len() {
        let follows = begun.last().is_none_or(|&last| sizes[last][1] == sizes[next][0]);
        if found.len() < 2 && follows && !begun.contains(&next) {
            begun.push(next);
            orders(sizes, begun, found);
            begun.pop();
        }
    }
}

/// A name without its numbers, so that `fc1` and `fc2`, or `dense` and `dense_1`, are the same.
fn stem(name: &str) -> String {
    let parts = name.split(['.', '/']).map(|part| {
        let part: String = part.chars().filter(|c| !c.is_ascii_digit()).collect();
        part.trim_end_matches('_').to_owned()
    });
    // A part that is nothing but a number stays as an empty one.
    parts.collect::<Vec<_>>().join(".")
}

/// A key that sorts numbers in names by their value.
fn natural(name: &str) -> Vec<(u8, u64, String)> {
    let mut key = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let is_number = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        key.push(match piece.parse() {
            Ok(number) if is_number => (0, number, String::new()),
            _ => (1, 0, piece.trim_end_matches('_').to_owned()),
        });
        rest = after;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(layers: &[(&str, [usize; 2])], by_order: bool) -> Result<Vec<usize>, ImportError> {
        let tensors: Vec<Tensor> = layers.iter().map(|(name, shape)| tensor(name, shape)).collect();
        let groups: Vec<Group<'_>> = tensors
            .iter()
            .map(|tensor| Group {
                name: tensor.name.clone(),
                tensors: [(Role::Weight, tensor)].into(),
            })
            .collect();
        chain(&groups, Layout::InOut, by_order)
    }

    fn tensor(name: &str, shape: &[usize]) -> Tensor {
        Tensor::zeros(name, shape.to_vec())
    }

    #[test]
    fn numbered_names_tell_the_order() {
        let square = [4, 4];
        assert_eq!(
            order(&[("fc10", square), ("fc2", square), ("fc1", square)], false).unwrap(),
            [2, 1, 0]
        );
        assert_eq!(order(&[("dense_1", square), ("dense", square)], false).unwrap(), [1, 0]);
        assert_eq!(order(&[("net.0", square), ("net.2", square)], false).unwrap(), [0, 1]);
    }

    #[test]
    fn shapes_tell_the_order_where_names_do_not() {
        let layers = [("head", [3, 2]), ("body", [5, 3])];
        assert_eq!(order(&layers, false).unwrap(), [1, 0]);
        // Numbers that contradict the shapes are no order.
        assert_eq!(order(&[("fc1", [3, 2]), ("fc2", [5, 3])], false).unwrap(), [1, 0]);
    }

    #[test]
    fn order_alone_is_only_taken_when_told() {
        let layers = [("tail", [4, 4]), ("nose", [4, 4])];
        assert!(matches!(order(&layers, false), Err(ImportError::Ambiguous { .. })));
        assert_eq!(order(&layers, true).unwrap(), [0, 1]);
        let broken = order(&[("a", [4, 3]), ("b", [2, 4])], true);
        assert!(matches!(broken, Err(ImportError::NoChain { .. })));
        let never = order(&[("a", [4, 3]), ("b", [5, 6])], false);
        assert!(matches!(never, Err(ImportError::NoChain { .. })));
    }

    #[test]
    fn roles_are_told_by_the_names_that_programs_use() {
        for (name, layer, expected) in [
            ("layers.0.weight", "layers.0", Role::Weight),
            ("dense_1/kernel:0", "dense_1", Role::Weight),
            ("dense/bias", "dense", Role::Bias),
            ("bn.running_var", "bn", Role::Variance),
            ("batch_normalization/moving_mean", "batch_normalization", Role::Mean),
            ("coefs_2", "2", Role::Weight),
            ("intercepts_2", "2", Role::Bias),
            ("weight", "", Role::Weight),
        ] {
            assert_eq!(role(name), Some((layer.to_owned(), expected)), "{name}");
        }
        for name in ["bn.num_batches_tracked", "arr_0", "coefs", "step"] {
            assert_eq!(role(name), None, "{name}");
        }
    }
}
