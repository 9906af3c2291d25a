//! Random networks under random names, in random order: what is inferred is the network that was
//! made, or nothing is. Never another.

mod names;
mod random;
mod truth;

use std::collections::BTreeMap;

use fireclay::{Activation, HiddenLayer, Norm, NormPosition};
use fireclay_formats::{Archive, Kind, Layer, Layout, Tensor};

use super::super::{Layers, Options, SaidLayer};
use super::tests::empty;
use super::{EPSILON, EPSILON_OF_KERAS, has_own_order, network};
use names::{Namer, Names, Scheme, made, tensors};
use random::Random;
use truth::{Module, Truth};

/// Networks that are tried.
const CASES: u64 = 8_000;

/// The order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Made,
    Modules,
    Tensors,
    Sorted,
    /// Modules as text, `fc10` before `fc2`.
    Text,
    /// From the last module to the first.
    Backwards,
}

/// What a file is, and in which order.
fn file(random: &mut Random, namer: &Namer<'_>) -> (Kind, Order) {
    let kind = match namer.scheme {
        Scheme::Keras => Kind::KerasHdf5,
        Scheme::Handmade | Scheme::Theta => random.one(&[Kind::NumPy, Kind::PyTorch]),
        _ if namer.mixed.is_some() => Kind::PyTorch,
        _ => random.one(&[Kind::PyTorch, Kind::PyTorch, Kind::Safetensors, Kind::NumPy]),
    };
    let order = match namer.scheme {
        // What is mixed up agrees with a shuffled file by chance, and with an alphabet.
        Scheme::Chaos => Order::Made,
        _ if namer.mixed.is_some() => Order::Made,
        _ if kind == Kind::Safetensors => Order::Sorted,
        _ => random.one(&[
            Order::Made,
            Order::Made,
            Order::Made,
            Order::Modules,
            Order::Tensors,
            Order::Sorted,
            Order::Text,
            Order::Backwards,
        ]),
    };
    (kind, order)
}

/// The tensors of modules in an order of the file.
fn in_order(random: &mut Random, mut modules: Vec<Vec<Tensor>>, order: Order) -> Vec<Tensor> {
    match order {
        Order::Modules => random.shuffle(&mut modules),
        Order::Text => modules.sort_by(|a, b| a[0].name.cmp(&b[0].name)),
        Order::Backwards => modules.reverse(),
        Order::Made | Order::Tensors | Order::Sorted => {}
    }
    let mut tensors = modules.concat();
    match order {
        Order::Tensors => random.shuffle(&mut tensors),
        Order::Sorted => tensors.sort_by(|a, b| a.name.cmp(&b.name)),
        Order::Made | Order::Modules | Order::Text | Order::Backwards => {}
    }
    tensors
}

/// One case; how it was called, whether its layers differ, and whether it was imported.
fn case(seed: u64) -> (Scheme, Order, bool, bool) {
    let mut random = Random(seed);
    let mut truth = Truth::random(&mut random);
    let namer = Namer::random(&mut random, &truth);
    let (scheme, prefix) = (namer.scheme, namer.prefix);
    let (kind, order) = file(&mut random, &namer);
    let mut modules = made(&mut random, &truth, scheme);
    if namer.mixed.is_some() {
        modules.sort_by_key(|module| match module {
            Module::InputNorm => 0,
            Module::Linear(at) => 2 * at + 1,
            Module::Norm(at) => 2 * at + 2,
        });
    }
    let names: BTreeMap<Module, Names> =
        modules.iter().map(|&module| (module, namer.names(module))).collect();
    match kind {
        Kind::PyTorch if !matches!(scheme, Scheme::Handmade | Scheme::Theta) => {
            truth.layout = Layout::OutIn;
        }
        Kind::KerasHdf5 => truth.layout = Layout::InOut,
        _ => {}
    }
    let groups = modules.iter();
    let groups =
        groups.map(|&module| tensors(&mut random, &truth, &names[&module], module, scheme));
    let groups = groups.collect();
    let tensors = in_order(&mut random, groups, order);
    let options = said(&mut random, &truth, scheme, order);
    let layout = match kind {
        Kind::PyTorch => Some(Layout::OutIn),
        Kind::KerasHdf5 => Some(Layout::InOut),
        _ => None,
    };
    let archive = Archive { tensors, ..empty(kind, layout) };
    let epsilon = if kind == Kind::KerasHdf5 { EPSILON_OF_KERAS } else { EPSILON };
    let expected = match &truth.each {
        // The biases are in the weights: there is no network of such tensors.
        _ if scheme == Scheme::Theta => Vec::new(),
        Some(each) => truth.layers_of_each(each, &names, epsilon).unwrap_or_default(),
        None => truth.layers(&names, epsilon),
    };
    let found = network(&archive, has_own_order(&archive.tensors), &options);
    let is_imported = match found {
        // What has no place is an error of its own.
        Ok(found) if uses(&found.network.layers) < archive.tensors.len() => false,
        Ok(found) => {
            assert_eq!(
                found.network.layers, expected,
                "seed {seed}: {kind:?} {scheme:?} {prefix} {order:?} {truth:?} {options:?}\n{:?}",
                archive.tensors
            );
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    };
    (scheme, order, truth.each.is_some(), is_imported)
}

/// How many tensors layers are made of.
fn uses(layers: &[Layer]) -> usize {
    let count = |layer: &Layer| match layer {
        Layer::Dense { bias, .. } => 1 + usize::from(bias.is_some()),
        Layer::Norm { scale, shift, mean, variance, .. } => {
            [scale, shift, mean, variance].into_iter().flatten().count()
        }
        Layer::Residual(inner) => uses(inner),
        _ => 0,
    };
    layers.iter().map(count).sum()
}

/// What a person who knows the network says of it, who may leave out what names tell.
fn said(random: &mut Random, truth: &Truth, scheme: Scheme, order: Order) -> Options {
    let (before, after) = (NormPosition::BeforeActivation, NormPosition::AfterActivation);
    let tells = matches!(scheme, Scheme::Sequential { .. } | Scheme::Nested);
    let mut norm_position = truth.positions.clone();
    let may_be_silent = tells || truth.positions == [before];
    if may_be_silent && random.chance(50) {
        norm_position = vec![];
    }
    let Truth { norm, residual, layout, .. } = *truth;
    // A slip that the numbers contradict.
    if matches!(scheme, Scheme::Sequential { dropout: false, .. })
        && truth.has_norms()
        && random.chance(10)
    {
        norm_position = vec![if truth.is_after() { before } else { after }];
        if truth.has_input_norm() {
            norm_position.push(NormPosition::Input);
        }
    }
    // A file order that is not the order of the layers is refused if names contradict it.
    let tells_order = !matches!(scheme, Scheme::Unrelated | Scheme::Words | Scheme::Chaos);
    let is_backwards = order == Order::Backwards && tells_order;
    // A shuffled file taken in its order gets a note: four modules hardly look whole by chance.
    let is_seen = order == Order::Tensors
        && truth.hidden() > 2
        && truth.biases.iter().all(|has_bias| *has_bias);
    let by_order = (order == Order::Made || is_backwards || is_seen) && random.chance(30);
    let layout = random.chance(50).then_some(layout);
    if let Some(each) = &truth.each
        && truth.hidden() > 0
    {
        let is_plain = |layer: &HiddenLayer| {
            layer.norm == Norm::None && layer.skip.is_none() && layer.dropout == 0.0
        };
        if each.iter().all(is_plain) {
            let activation = each.iter().map(|layer| layer.activation).collect();
            return Options {
                activation,
                by_order,
                layout,
                no_residual: true,
                ..Options::default()
            };
        }
        let mut said = |layer: &HiddenLayer| SaidLayer {
            layer: HiddenLayer { width: random.one(&[0, layer.width]), ..layer.clone() },
            says_epsilon: layer.norm == Norm::Rms,
            says_slope: false,
        };
        let hidden = each.iter().map(&mut said).collect();
        let layers = Layers { hidden, output_bias: truth.biases[truth.hidden()] };
        return Options { layers: Some(layers), by_order, layout, ..Options::default() };
    }
    Options {
        activation: vec![Activation::Relu],
        norm,
        norm_position,
        residual,
        no_residual: !residual && random.chance(60),
        by_order,
        layout,
        ..Options::default()
    }
}

#[test]
fn a_network_is_the_one_that_was_made_or_none() {
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for seed in 0..CASES {
        let (scheme, order, differs, is_imported) = case(seed);
        let scheme = match scheme {
            Scheme::Sequential { .. } => "Sequential".to_owned(),
            scheme => format!("{scheme:?}"),
        };
        let each = if differs { " each" } else { "" };
        let count = counts.entry(format!("{scheme} {order:?}{each}")).or_default();
        count[0] += usize::from(is_imported);
        count[1] += 1;
    }
    // Names that tell, in the order in which programs write them, are enough.
    for (scheme, least) in [
        ("Sequential Made", 70),
        ("Numbered Made", 65),
        ("Lists Made", 60),
        ("Words Made", 50),
        ("Blocks Made", 55),
        ("Nested Made", 55),
        ("Keras Made", 70),
        ("Handmade Made", 60),
        ("Pairs Made", 55),
        ("Told Made", 40),
        ("Sequential Made each", 70),
        ("Numbered Made each", 70),
        ("Lists Made each", 60),
        ("Words Made each", 45),
        ("Blocks Made each", 60),
        ("Nested Made each", 60),
        ("Keras Made each", 60),
    ] {
        let [imported, all] = counts[scheme];
        assert!(imported * 100 >= all * least, "{scheme}: {imported} of {all} in {counts:?}");
    }
}
