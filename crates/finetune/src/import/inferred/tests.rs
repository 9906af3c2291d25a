//! What tensors of such names and shapes are read as.

use fireclay::NormPosition;
use fireclay_formats::Layer;

use super::super::{Layers, SaidLayer};
use super::*;

fn of(names: &[(&str, &[usize])], options: &Options) -> Result<Vec<Layer>, ImportError> {
    let tensor = |(name, shape): &(&str, &[usize])| Tensor::zeros(*name, shape.to_vec());
    let archive = Archive {
        kind: Kind::PyTorch,
        tensors: names.iter().map(tensor).collect(),
        network: None,
        layout: Some(Layout::OutIn),
        labels: None,
        class_names: Vec::new(),
        files: Vec::new(),
        task: None,
        notes: Vec::new(),
        advice: None,
    };
    network(&archive, true, options).map(|found| found.network.layers)
}

#[test]
fn the_slope_of_leaky_relu_is_said_or_told_or_asked_for() {
    let of = |kind, leaky_slope, activation| {
        let shapes: [(&str, &[usize]); 2] = match kind {
            Kind::PyTorch => [("0.weight", &[5, 6]), ("2.weight", &[4, 5])],
            _ => [("0.weight", &[6, 5]), ("2.weight", &[5, 4])],
        };
        let tensors = shapes.map(|(name, shape)| Tensor::zeros(name, shape.to_vec())).to_vec();
        let (network, labels) = (None, None);
        let (layout, task, notes) = (Some(Layout::OutIn), None, Vec::new());
        let (class_names, files) = (Vec::new(), Vec::new());
        let archive = Archive {
            kind,
            tensors,
            network,
            layout,
            labels,
            class_names,
            files,
            task,
            notes,
            advice: None,
        };
        let activation = vec![activation];
        let options = Options { activation, leaky_slope, ..Options::default() };
        super::network(&archive, true, &options)
    };
    use fireclay::Activation::{LeakyRelu, Relu};
    let said = of(Kind::KerasHdf5, Some(0.3), LeakyRelu).unwrap();
    let Layer::Activation(function) = &said.network.layers[1] else { panic!("{said:?}") };
    assert_eq!(function.constants, [("slope".to_owned(), 0.3)].into());
    assert!(said.notes.is_empty(), "{:?}", said.notes);
    let usual = of(Kind::PyTorch, None, LeakyRelu).unwrap();
    assert!(usual.notes[0].contains("0.01") && usual.notes[0].ends_with("--leaky-slope"));
    let asked = of(Kind::KerasHdf5, None, LeakyRelu).unwrap_err().to_string();
    assert!(asked.contains("--leaky-slope"), "{asked}");
    let useless = of(Kind::PyTorch, Some(0.3), Relu).unwrap_err().to_string();
    assert!(useless.contains("--leaky-slope has no effect"), "{useless}");
}

#[test]
fn slopes_of_prelu_stand_behind_their_layers() {
    let options = Options::default();
    let sequential: [(&str, &[usize]); 5] = [
        ("0.weight", &[5, 6]),
        ("1.weight", &[1]),
        ("2.weight", &[4, 5]),
        ("3.weight", &[1]),
        ("4.weight", &[3, 4]),
    ];
    let named: [(&str, &[usize]); 5] = [
        ("fc1.weight", &[5, 6]),
        ("fc2.weight", &[4, 5]),
        ("fc3.weight", &[3, 4]),
        ("prelu2.weight", &[4]),
        ("prelu1.weight", &[5]),
    ];
    for (names, slopes) in [(sequential, [1, 3]), (named, [4, 3])] {
        let layers = of(&names, &options).unwrap();
        for (step, slope) in [(1, slopes[0]), (3, slopes[1])] {
            let expected = Layer::Prelu { slope: names[slope].0.to_owned() };
            assert_eq!(layers[step], expected, "{layers:?}");
        }
        let said = Options { activation: vec![fireclay::Activation::Relu], ..options.clone() };
        let error = of(&names, &said).unwrap_err().to_string();
        assert!(error.contains("leave out --activation"), "{error}");
    }
    // A vector of no name is a scale without a shift as well: it has no place.
    let mut open = sequential;
    (open[1].1, open[3].1) = (&[5], &[4]);
    let relu = Options { activation: vec![fireclay::Activation::Relu], ..options.clone() };
    assert_eq!(of(&open, &relu).unwrap().len(), 5);
    assert!(of(&open, &options).is_err());
}

#[test]
fn one_slope_is_that_of_all_layers_if_that_was_said() {
    let names: [(&str, &[usize]); 4] = [
        ("fc1.weight", &[5, 6]),
        ("act.weight", &[1]),
        ("fc2.weight", &[4, 5]),
        ("fc3.weight", &[3, 4]),
    ];
    let asked = of(&names, &Options::default()).unwrap_err().to_string();
    assert!(asked.contains("say it with --activation leaky-relu if a PReLU"), "{asked}");
    let leaky = Options { activation: vec![fireclay::Activation::LeakyRelu], ..Options::default() };
    let slope = Layer::Prelu { slope: "act.weight".to_owned() };
    let layers = of(&names, &leaky).unwrap();
    assert_eq!((&layers[1], &layers[3]), (&slope, &slope));
    for options in [
        Options { leaky_slope: Some(0.1), ..leaky.clone() },
        Options { activation: vec![fireclay::Activation::Relu], ..Options::default() },
    ] {
        let layers = of(&names, &options);
        assert!(!layers.is_ok_and(|layers| layers.contains(&slope)));
    }
    // One that a number or a name tells to be that of one layer is not that of all.
    for name in ["act1.weight", "fc1.act.weight"] {
        let mut own = names;
        own[1].0 = name;
        assert!(!of(&own, &leaky).is_ok_and(|layers| layers.contains(&slope)), "{name}");
    }
}

#[test]
fn a_file_without_a_matrix_is_no_network() {
    let relu = Options { activation: vec![fireclay::Activation::Relu], ..Options::default() };
    let by_order = Options { by_order: true, ..relu.clone() };
    for options in [relu, by_order] {
        for names in [
            &[("0.weight", &[4, 1, 3, 3][..]), ("0.bias", &[4])][..],
            &[("a", &[4]), ("b", &[4])],
            &[("a", &[]), ("b", &[0, 0])],
            &[],
        ] {
            let error = of(names, &options).unwrap_err().to_string();
            assert!(!error.is_empty(), "{names:?}");
        }
    }
}

/// The tensors of a batch norm.
fn norm(name: &str, width: usize) -> Vec<(String, Vec<usize>)> {
    let parts = ["weight", "bias", "running_mean", "running_var"];
    parts.map(|part| (format!("{name}.{part}"), vec![width])).to_vec()
}

/// The tensors of a linear layer.
fn layer(name: &str, [inputs, outputs]: [usize; 2]) -> Vec<(String, Vec<usize>)> {
    let weight = (format!("{name}.weight"), vec![outputs, inputs]);
    vec![weight, (format!("{name}.bias"), vec![outputs])]
}

fn read(tensors: &[Vec<(String, Vec<usize>)>], options: &Options) -> Result<Vec<Layer>, String> {
    let tensors = tensors.concat();
    let tensors: Vec<(&str, &[usize])> =
        tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    of(&tensors, options).map_err(|error| error.to_string())
}

fn with_norm() -> Options {
    let (activation, norm) = (vec![fireclay::Activation::Relu], Some(fireclay::Norm::Batch));
    Options { activation, norm, ..Options::default() }
}

#[test]
fn a_norm_between_two_layers_leaves_no_room_for_a_function() {
    let first = |name: &str| layer(name, [6, 8]);
    let square = |name: &str| layer(name, [8, 8]);
    let last = |name: &str| layer(name, [8, 3]);
    let norm = |name: &str| norm(name, 8);
    let options = with_norm();
    for (tensors, between) in [
        (vec![first("0"), norm("1"), square("3"), norm("4"), last("5")], "3 and 5"),
        (vec![first("0"), norm("1"), square("4"), norm("5"), last("6")], "4 and 6"),
        (vec![first("0"), norm("1"), square("2"), last("4")], "0 and 2"),
        (vec![first("0"), square("2"), norm("3"), square("4"), last("6")], "2 and 4"),
        (vec![first("net.0"), norm("net.2"), square("net.3"), norm("net.4"), last("net.5")], "3"),
    ] {
        let position = [NormPosition::BeforeActivation, NormPosition::AfterActivation];
        for position in position.map(|one| vec![one]).into_iter().chain([vec![]]) {
            let options = Options { norm_position: position, ..options.clone() };
            let error = read(&tensors, &options).unwrap_err();
            assert!(error.contains("leave no room for a function between"), "{error}");
            assert!(error.contains(between), "{error}");
        }
        // Without a function anywhere there is nothing to be in doubt about.
        let linear =
            Options { activation: vec![fireclay::Activation::Identity], ..options.clone() };
        let error = read(&tensors, &linear).err().unwrap_or_default();
        assert!(!error.contains("no room"), "{error}");
    }
    let roomy = [first("0"), norm("1"), square("3"), norm("4"), last("6")];
    assert_eq!(read(&roomy, &options).unwrap().len(), 7);
    // Where no number is free, functions are not counted.
    let full = [first("0"), norm("1"), square("2"), norm("3"), last("4")];
    let position = vec![NormPosition::BeforeActivation];
    assert_eq!(read(&full, &Options { norm_position: position, ..options }).unwrap().len(), 7);
}

#[test]
fn the_order_of_the_file_places_norms_that_stand_behind_their_layers() {
    let layers = [layer("l1", [6, 8]), layer("l2", [8, 8]), layer("out", [8, 3])];
    let norms = [norm("norm_a", 8), norm("norm_b", 8)];
    let [l1, l2, out] = layers;
    let [a, b] = norms;
    let by_order = Options { by_order: true, ..with_norm() };
    let behind = [l1.clone(), a.clone(), l2.clone(), b.clone(), out.clone()];
    assert!(read(&behind, &with_norm()).unwrap_err().contains("or add --by-order"));
    assert_eq!(read(&behind, &by_order).unwrap().len(), 7);
    for apart in [
        [a.clone(), b.clone(), l1.clone(), l2.clone(), out.clone()],
        [l1.clone(), l2.clone(), out.clone(), a.clone(), b.clone()],
        [l1.clone(), l2.clone(), a.clone(), b.clone(), out.clone()],
    ] {
        let error = read(&apart, &with_norm()).unwrap_err();
        assert!(!error.contains("--by-order"), "{error}");
        let error = read(&apart, &by_order).unwrap_err();
        assert!(error.contains("it is open which layer"), "{error}");
    }
}

#[test]
fn a_mean_and_a_scale_are_no_norm() {
    let layers = [layer("0", [6, 8]), layer("2", [8, 3])].concat();
    for (names, width) in [
        (&["x_scaler.mean", "x_scaler.scale"][..], 6),
        (&["x_scaler.mean", "x_scaler.var", "x_scaler.scale"], 6),
        (&["x.mean", "x.scale"], 6),
        (&["x.mean", "x.var", "x.scale"], 6),
        (&["y_scaler.mean", "y_scaler.scale"], 3),
    ] {
        let scaler = names.iter().map(|name| ((*name).to_owned(), vec![width])).collect();
        let options = Options { norm_position: vec![NormPosition::Input], ..with_norm() };
        let error = read(&[layers.clone(), scaler], &options).unwrap_err();
        assert!(error.contains("the file has no tensors of norms"), "{names:?}: {error}");
    }
    for (lost, words) in [
        ("running_var", "the norm 1 has a mean and no variance"),
        ("running_mean", "the norm 1 has a variance and no mean"),
    ] {
        let mut norm = norm("1", 8);
        norm.retain(|(name, _)| !name.ends_with(lost));
        let error = read(&[layers.clone(), norm], &with_norm()).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn weights_that_are_integers_are_told_from_none() {
    let floats = layer("0", [6, 8]);
    for names in [["0.weight", "0.bias"], ["a", "b"]] {
        let mut tensors: Vec<Tensor> = names
            .iter()
            .zip(&floats)
            .map(|(name, (_, shape))| Tensor::zeros(*name, shape.clone()))
            .collect();
        tensors[0].dtype = fireclay_formats::ElementType::I64;
        let (kind, layout) = (Kind::PyTorch, Some(Layout::OutIn));
        let archive = Archive { tensors, ..empty(kind, layout) };
        let error = network(&archive, true, &Options::default()).unwrap_err().to_string();
        assert!(error.contains("[8, 6] holds integers (i64)"), "{error}");
    }
}

pub(super) fn empty(kind: Kind, layout: Option<Layout>) -> Archive {
    Archive {
        kind,
        tensors: Vec::new(),
        network: None,
        layout,
        labels: None,
        class_names: Vec::new(),
        files: Vec::new(),
        task: None,
        notes: Vec::new(),
        advice: None,
    }
}

/// Hidden layers as `--layers` has them.
fn in_full(hidden: &[fireclay::HiddenLayer]) -> Options {
    let said = |layer: &fireclay::HiddenLayer| SaidLayer {
        layer: layer.clone(),
        says_epsilon: false,
        says_slope: false,
    };
    let layers = Layers { hidden: hidden.iter().map(said).collect(), output_bias: true };
    Options { layers: Some(layers), ..Options::default() }
}

#[test]
fn functions_are_as_many_as_hidden_layers_or_one() {
    use fireclay::Activation::{Gelu, Identity, LeakyRelu, Relu, Tanh};
    let names: [(&str, &[usize]); 4] = [
        ("fc1.weight", &[5, 6]),
        ("fc2.weight", &[4, 5]),
        ("prelu2.weight", &[4]),
        ("fc3.weight", &[3, 4]),
    ];
    let of = |activation: &[fireclay::Activation], count: usize| {
        let options = Options { activation: activation.to_vec(), ..Options::default() };
        let kept: Vec<_> = names.iter().copied().filter(|(_, s)| s.len() >= count).collect();
        of(&kept, &options).map_err(|error| error.to_string())
    };
    let layers = of(&[Gelu, Tanh], 2).unwrap();
    let found: Vec<&str> = layers
        .iter()
        .filter_map(|layer| match layer {
            Layer::Activation(function) => Some(function.name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(found, ["gelu", "tanh"]);
    for wrong in [&[Relu, Gelu, Tanh][..], &[Relu; 5]] {
        let error = of(wrong, 2).unwrap_err();
        let said = format!(
            "--activation names {} functions, and the network has 2 hidden layers: fc1, fc2",
            wrong.len()
        );
        assert!(error.starts_with(&said), "{error}");
    }
    // Slopes are those of the layer that they are called like, and of no other function.
    let layers = of(&[Relu, LeakyRelu], 1).unwrap();
    assert_eq!(layers[3], Layer::Prelu { slope: "prelu2.weight".to_owned() });
    let error = of(&[LeakyRelu, Relu], 1).unwrap_err();
    assert!(error.contains("prelu2.weight behind fc2, and --activation says relu"), "{error}");
    assert!(of(&[], 1).unwrap_err().contains("which function follows"));
    // Nothing between two layers where there is room between others.
    let full: [(&str, &[usize]); 4] = [
        ("0.weight", &[5, 6]),
        ("1.weight", &[5, 5]),
        ("3.weight", &[4, 5]),
        ("5.weight", &[3, 4]),
    ];
    let said = |activation: &[fireclay::Activation]| {
        super::tests::of(&full, &Options { activation: activation.to_vec(), ..Options::default() })
    };
    assert!(said(&[Identity, Relu, Relu]).is_ok());
    let error = said(&[Relu, Relu, Identity]).unwrap_err().to_string();
    assert!(error.contains("no room for a function between 0 and 1"), "{error}");
}

#[test]
fn layers_in_full_are_held_to_the_file() {
    use fireclay::{Activation, HiddenLayer, Norm, NormPosition, Skip, SkipPosition};
    let names: [(&str, &[usize]); 8] = [
        ("fc1.weight", &[5, 6]),
        ("fc1.bias", &[5]),
        ("fc2.weight", &[5, 5]),
        ("fc2.bias", &[5]),
        ("fc2_norm.weight", &[5]),
        ("fc2_norm.bias", &[5]),
        ("fc3.weight", &[3, 5]),
        ("fc3.bias", &[3]),
    ];
    let plain = HiddenLayer { activation: Activation::Tanh, ..HiddenLayer::new(5) };
    let normed = HiddenLayer {
        norm: Norm::Layer,
        norm_position: NormPosition::Input,
        skip: Some(Skip { span: 1, position: SkipPosition::Output }),
        ..HiddenLayer::new(0)
    };
    let layers = of(&names, &in_full(&[plain.clone(), normed.clone()])).unwrap();
    let [.., Layer::Residual(inner), Layer::Dense { .. }] = &layers[..] else {
        panic!("{layers:?}")
    };
    assert!(matches!(inner[..], [Layer::Norm { .. }, Layer::Dense { .. }, _]), "{inner:?}");
    let two = [&names[..4], &[("fc1_norm.weight", &[5][..]), ("fc1_norm.bias", &[5])], &names[4..]];
    let flag = Options { norm: Some(Norm::Layer), ..in_full(&[plain.clone(), normed.clone()]) };
    let skip = |span| Some(Skip { span, position: SkipPosition::Output });
    let without = HiddenLayer { bias: false, ..plain.clone() };
    let wide = HiddenLayer { width: 4, ..plain.clone() };
    let batch = HiddenLayer { norm: Norm::Batch, ..normed.clone() };
    let far = HiddenLayer { skip: skip(3), ..normed.clone() };
    let other = HiddenLayer { skip: skip(2), ..normed.clone() };
    for (names, options, words) in [
        (&names[..], flag, "leave out --norm"),
        (
            &names,
            in_full(std::slice::from_ref(&plain)),
            "describes 1 hidden layer, and the network has 2",
        ),
        (
            &names,
            in_full(&[wide, normed.clone()]),
            "--layers gives fc1 a width of 4, and it has 5 outputs",
        ),
        (&names, in_full(&[without, normed.clone()]), "fc1 has no bias, and the file has fc1.bias"),
        (&names, in_full(&[plain.clone(), batch]), "the batch norm fc2_norm has no running"),
        (&names, in_full(&[plain.clone(), far]), "--layers describes an impossible network"),
        (&names, in_full(&[plain.clone(), other]), "--layers describes an impossible network"),
        (
            &names,
            in_full(&[plain.clone(), plain.clone()]),
            "describes 0 norms, and the file has tensors of 1: fc2_norm; say each norm",
        ),
        (&two.concat(), in_full(&[plain, normed]), "the file has tensors of 2: fc1_norm, fc2_norm"),
    ] {
        let error = super::tests::of(names, &options).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn a_layer_norm_that_is_called_a_batch_norm_is_renamed() {
    use fireclay::{HiddenLayer, Norm};
    let names: [(&str, &[usize]); 4] = [
        ("fc1.weight", &[5, 6]),
        ("bn1.weight", &[5]),
        ("bn1.bias", &[5]),
        ("fc2.weight", &[3, 5]),
    ];
    let normed = HiddenLayer { norm: Norm::Layer, bias: false, ..HiddenLayer::new(5) };
    let relu = vec![fireclay::Activation::Relu];
    let flags = Options { norm: Some(Norm::Layer), activation: relu, ..Options::default() };
    for (options, flag) in [(in_full(&[normed]), "--layers"), (flags, "--norm")] {
        let error = of(&names, &options).unwrap_err().to_string();
        let words = format!("no running statistics, and {flag} says layer");
        assert!(error.contains(&words), "{error}");
        assert!(error.ends_with(r"rename it: --map '^bn1\.=norm1.'"), "{error}");
        let renamed = names.map(|(name, shape)| match name.strip_prefix("bn1.") {
            Some(part) => (format!("norm1.{part}"), shape),
            None => (name.to_owned(), shape),
        });
        let renamed: Vec<_> = renamed.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
        assert!(of(&renamed, &options).is_ok(), "{flag}");
    }
}

#[test]
fn one_of_two_outputs_is_kept() {
    let relu = vec![fireclay::Activation::Relu];
    let options = Options { activation: relu, ..Options::default() };
    let names: [(&str, &[usize]); 6] = [
        ("b1.weight", &[6, 6]),
        ("b2.weight", &[6, 6]),
        ("mean.weight", &[3, 6]),
        ("mean.bias", &[3]),
        ("logvar.weight", &[3, 6]),
        ("logvar.bias", &[3]),
    ];
    let error = of(&names, &options).unwrap_err().to_string();
    let ways = "if mean and logvar are two outputs of one network, keep one: --allow-unused \
                logvar.weight --allow-unused logvar.bias or --allow-unused mean.weight \
                --allow-unused mean.bias";
    assert!(error.ends_with(ways), "{error}");
    let allow_unused = ["logvar.weight", "logvar.bias"].map(|name| name.parse().unwrap()).to_vec();
    assert!(of(&names, &Options { allow_unused, ..options.clone() }).is_ok());
    // Layers of other inputs are no outputs of the same network.
    let names: [(&str, &[usize]); 3] =
        [("a.weight", &[6, 6]), ("b.weight", &[3, 6]), ("c.weight", &[4, 7])];
    let error = of(&names, &options).unwrap_err().to_string();
    assert!(error.contains("each must take as many inputs"), "{error}");
    // Nothing is left of a network without its weights.
    let allow_unused = vec!["*".parse().unwrap()];
    let error = of(&names, &Options { allow_unused, ..options }).unwrap_err().to_string();
    assert!(error.contains("leaves out the weights of every layer, such as a.weight"), "{error}");
}

#[test]
fn skip_connections_that_overlap_are_refused_by_name() {
    use fireclay::{HiddenLayer, Skip};
    let names: [(&str, &[usize]); 4] = [
        ("fc1.weight", &[5, 5]),
        ("fc2.weight", &[5, 5]),
        ("fc3.weight", &[5, 5]),
        ("fc4.weight", &[3, 5]),
    ];
    let layer = |span: Option<usize>| HiddenLayer {
        skip: span.map(|span| Skip { span, position: Default::default() }),
        ..HiddenLayer::new(5)
    };
    assert!(of(&names, &in_full(&[layer(None), layer(Some(2)), layer(Some(3))])).is_ok());
    let error = of(&names, &in_full(&[layer(None), layer(Some(2)), layer(Some(2))])).unwrap_err();
    assert!(error.to_string().contains("of fc2 and fc3 overlap"), "{error}");
    // Each around all before it: more than a reader follows.
    let names: Vec<String> = (0..=20).map(|layer| format!("fc{layer}.weight")).collect();
    let deep: Vec<(&str, &[usize])> =
        names.iter().map(|name| (name.as_str(), &[5, 5][..])).collect();
    let all: Vec<HiddenLayer> = (1..=20).map(|span| layer(Some(span))).collect();
    assert!(of(&deep[..9], &in_full(&all[..8])).is_ok());
    let error = of(&deep, &in_full(&all)).unwrap_err().to_string();
    assert!(error.contains("more than 16 skip connections"), "{error}");
    // A linear map beside others is no layer among them.
    let names: [(&str, &[usize]); 3] =
        [("fc1.weight", &[5, 5]), ("shortcut.weight", &[4, 5]), ("fc2.weight", &[3, 4])];
    let options = in_full(&[HiddenLayer::new(5), HiddenLayer::new(4)]);
    let error = of(&names, &options).unwrap_err().to_string();
    assert!(error.contains("shortcut looks like the linear map"), "{error}");
}
