//! Files that tell little of their networks: what PyTorch and NumPy answer, or an error that names
//! the flag to say the rest with. Never another network.

use std::fs;
use std::path::{Path, PathBuf};

use finetune::import::{ImportError, Imported, Layers, Options, TaskKind, import};
use fireclay::{Activation, Backend, Device, DeviceChoice, Norm, NormPosition, Preprocessing};
use fireclay_formats::Layout;
use regex::Regex;

fn device() -> Device {
    Backend::Flex.device(DeviceChoice::Default).unwrap()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/inferred").join(name)
}

/// What no file says.
fn said() -> Options {
    Options {
        activation: vec![Activation::Relu],
        preprocessing: Some(Preprocessing::None),
        task: Some(TaskKind::Regression),
        ..Options::default()
    }
}

fn with_norm(positions: &[NormPosition]) -> Options {
    Options { norm: Some(Norm::Batch), norm_position: positions.to_vec(), ..said() }
}

fn opened(name: &str, options: &Options) -> Result<Imported, ImportError> {
    import(&golden(name), options, &device())
}

/// Imports a file and compares it with what its program answered to five rows of sines.
#[track_caller]
fn check(name: &str, options: &Options, logits: &str) {
    let imported = opened(name, options).unwrap_or_else(|error| panic!("{name}: {error}"));
    let inputs = imported.model.mlp.architecture().inputs();
    let rows: Vec<f32> = (0..5 * inputs).map(|i| (i as f64).sin() as f32).collect();
    let data = burn::tensor::TensorData::new(rows, [5, inputs]);
    let raw = burn::Tensor::<2>::from_data(data, &device());
    let found = imported.model.forward(raw).try_into_vec_as::<f32>().unwrap();
    let bytes = fs::read(golden(logits)).unwrap();
    let expected: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{name}: {found:?} {expected:?}");
    }
}

#[track_caller]
fn refused(name: &str, options: &Options, words: &str) {
    let error = opened(name, options).unwrap_err().to_string();
    assert!(error.contains(words), "{name}: {error}");
}

#[test]
fn norms_belong_to_the_layer_of_their_name() {
    refused("words.pt", &said(), "--norm batch and --norm-position before-activation (");
    check("words.pt", &with_norm(&[]), "words.logits");
    refused("words.pt", &Options { norm: Some(Norm::Layer), ..said() }, "say --norm batch");
}

#[test]
fn the_numbers_of_a_sequential_tell_where_norms_stand() {
    let (before, after) = (NormPosition::BeforeActivation, NormPosition::AfterActivation);
    let input = NormPosition::Input;
    check("after.pt", &with_norm(&[after]), "after.logits");
    let by_order = Options { by_order: true, ..with_norm(&[]) };
    for options in [with_norm(&[]), with_norm(&[before]), by_order] {
        refused("after.pt", &options, "--norm-position after-activation");
    }
    check("input.pt", &with_norm(&[input, before]), "input.logits");
    for options in [with_norm(&[]), with_norm(&[input, after])] {
        refused("input.pt", &options, "--norm-position input,before-activation");
    }
    refused("input.pt", &with_norm(&[before]), "add input to --norm-position");
}

#[test]
fn skip_connections_are_said_and_not_guessed() {
    let residual = Options { residual: true, ..said() };
    check("residual.pt", &residual, "residual.logits");
    let by_order = Options { by_order: true, ..said() };
    for options in [said(), by_order] {
        refused("residual.pt", &options, "--residual if each adds its input");
        refused("deep.pt", &options, "--no-residual if they do not");
    }
    refused("deep.pt", &residual, "passes one layer");
    // Where nothing hints at them, a note is what remains.
    let words = opened("words.pt", &with_norm(&[])).unwrap();
    assert!(words.notes.iter().any(|note| note.contains("--residual")), "{:?}", words.notes);
}

#[test]
fn numbers_against_the_order_of_the_file_are_asked_about() {
    let by_order = Options { by_order: true, ..said() };
    for options in [said(), by_order] {
        refused(
            "swapped.pt",
            &options,
            "fc1, fc2, fc3 by their names, and fc2, fc1, fc3 in the file",
        );
        let maps = r"--map '^fc1\.=layers.0.' --map '^fc2\.=layers.1.' --map '^fc3\.=layers.2.'";
        refused("swapped.pt", &options, maps);
    }
    let map = vec![(Regex::new("fc").unwrap(), "layers.".to_owned())];
    check("swapped.pt", &Options { map, ..said() }, "swapped.logits");
}

#[test]
fn norms_before_slopes_that_differ_go_into_weights() {
    let norm = Options { activation: vec![], ..with_norm(&[]) };
    let biases = "layers.0.bias, layers.1.bias, layers.2.bias are not in the file; if that is as it \
                  should be, add --allow-missing 'layers.*.bias'";
    refused("bent.pt", &norm, biases);
    let options = Options { allow_missing: vec!["layers.*.bias".parse().unwrap()], ..norm.clone() };
    check("bent.pt", &options, "bent.logits");
    let statistics =
        Options { allow_missing: vec!["norms.0.running_var".parse().unwrap()], ..norm };
    refused("bent.pt", &statistics, "--allow-missing norms.0.running_var names no parameter");
}

#[test]
fn slopes_of_prelu_are_the_function_of_their_layer() {
    check("prelu.pt", &Options { activation: vec![], ..said() }, "prelu.logits");
    refused("prelu.pt", &said(), "leave out --activation");
}

#[test]
fn norms_before_their_layers_are_asked_for_where_widths_allow_them() {
    let (before, after) = (NormPosition::BeforeActivation, NormPosition::AfterActivation);
    let input = NormPosition::Input;
    let by_order = Options { by_order: true, ..with_norm(&[]) };
    for options in [said(), with_norm(&[]), by_order] {
        refused(
            "before.pt",
            &options,
            "--norm-position input,after-activation (each before a layer)",
        );
    }
    check("before.pt", &with_norm(&[input, after]), "before.logits");
    check("before.pt", &Options { by_order: true, ..with_norm(&[input, after]) }, "before.logits");
    refused("before.pt", &with_norm(&[input]), "number layers and norms in one row");
    // Every other place can be said too.
    for position in [&[before][..], &[after], &[input, before]] {
        assert!(opened("before.pt", &with_norm(position)).is_ok(), "{position:?}");
    }
}

#[test]
fn slopes_of_all_layers_and_of_each_unit() {
    refused("shared.pt", &Options { activation: vec![], ..said() }, "--activation leaky-relu");
    let leaky = Options { activation: vec![Activation::LeakyRelu], ..said() };
    check("shared.pt", &leaky, "shared.logits");
    let asked = r"--map '^net\.1\.=net.0.prelu.' --map '^net\.3\.=net.2.prelu.'";
    let open = Options { activation: vec![], ..said() };
    refused("slopes.pt", &open, asked);
    let map = [(r"^net\.1\.", "net.0.prelu."), (r"^net\.3\.", "net.2.prelu.")];
    let map = map.map(|(from, to)| (Regex::new(from).unwrap(), to.to_owned())).to_vec();
    check("slopes.pt", &Options { map, ..open }, "slopes.logits");
}

/// Hidden layers in full.
fn in_full(text: &str) -> Options {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    Options { activation: vec![], layers: Some(Layers::read(file.path()).unwrap()), ..said() }
}

#[test]
fn norms_without_tensors_are_described_and_never_left_out() {
    let missing = |options: &Options, patterns: &[&str]| {
        let allow_missing = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        Options { allow_missing, ..options.clone() }
    };
    let layer = Options { norm: Some(Norm::Layer), ..said() };
    for options in [layer.clone(), missing(&layer, &["norms"])] {
        let error = opened("bare.pt", &options).unwrap_err().to_string();
        assert!(error.contains("described with --layers, and --allow-missing norms"), "{error}");
        assert!(error.ends_with("leave out --norm layer only if the network has no norms"));
    }
    let batch = Options { norm: Some(Norm::Batch), ..said() };
    refused("bare.pt", &batch, "those of a batch norm are never missing");
    let one = in_full("[[model.layers]]\nactivation = \"gelu\"\nnorm = \"layer\"\n");
    refused("bare.pt", &one, "without a scale and a shift add --allow-missing norms.0,");
    refused("bare.pt", &missing(&one, &["*"]), "add --allow-missing norms.0,");
    refused("bare.pt", &missing(&one, &["norms.1"]), "add --allow-missing norms.0,");
    for pattern in ["norms", "norms.0", "norms.0.*"] {
        check("bare.pt", &missing(&one, &[pattern]), "bare.logits");
    }
    check("bare.pt", &missing(&one, &["norms.0.weight", "norms.0.bias"]), "bare.logits");
    let batch = in_full("[[model.layers]]\nactivation = \"gelu\"\nnorm = \"batch\"\n");
    refused("bare.pt", &missing(&batch, &["norms"]), "a batch norm has running statistics");
    let two = in_full(
        "[[model.layers]]\nactivation = \"gelu\"\nnorm = \"layer\"\n[[model.layers]]\n\
         activation = \"gelu\"\nnorm = \"layer\"\nnorm_position = \"after-activation\"\n",
    );
    check("bare-some.pt", &missing(&two, &["norms.1"]), "bare-some.logits");
    refused("bare-some.pt", &two, "add --allow-missing norms.");
    refused("bare-some.pt", &missing(&two, &["norms"]), "--allow-missing names 2 of them");
    // That of the other layer has tensors.
    assert!(opened("bare-some.pt", &missing(&two, &["norms.0"])).is_err());
}

#[test]
fn slopes_in_a_sequential_are_named_by_what_the_error_says() {
    use Activation::{LeakyRelu, Relu, Tanh};
    let list = |activation: &[Activation]| Options { activation: activation.to_vec(), ..said() };
    let maps = r"--map '^1\.=0.prelu.' --map '^5\.=4.prelu.'";
    let leaky = list(&[LeakyRelu, Tanh, LeakyRelu]);
    refused("mixed-slopes.pt", &leaky, maps);
    refused("mixed-slopes.pt", &list(&[]), maps);
    let map = [(r"^1\.", "0.prelu."), (r"^5\.", "4.prelu.")];
    let map = map.map(|(from, to)| (Regex::new(from).unwrap(), to.to_owned())).to_vec();
    check("mixed-slopes.pt", &Options { map: map.clone(), ..leaky }, "mixed-slopes.logits");
    // Another function contradicts the slopes, with these names or without.
    let other = list(&[Relu, Tanh, LeakyRelu]);
    refused("mixed-slopes.pt", &other, "slopes of PReLU, 1.weight behind 0");
    let other = Options { map, ..other };
    refused("mixed-slopes.pt", &other, "slopes of PReLU, 0.prelu.weight behind 0");
}

#[test]
fn weights_of_a_class_of_keras_are_called_by_their_attributes() {
    let name = "attributes.weights.h5";
    refused(name, &said(), "--map '^bn/vars/0$=bn/beta' (scale=False)");
    let map = vec![(Regex::new("^bn/vars/0$").unwrap(), "bn/beta".to_owned())];
    let position = vec![NormPosition::BeforeActivation];
    let options = Options { map, norm: Some(Norm::Batch), norm_position: position, ..said() };
    refused(name, &options, "--allow-missing norms.0.weight");
    let allow_missing = vec!["norms.0.weight".parse().unwrap()];
    let options = Options { allow_missing, ..options };
    check(name, &options, "attributes.logits");
    let placed = opened(name, &options).unwrap().placed;
    let names: Vec<&str> = placed.iter().map(|tensor| tensor.name.as_str()).collect();
    assert!(names.contains(&"crown/kernel") && names.contains(&"extra/gamma"), "{names:?}");
    // Attributes are stored by the alphabet.
    refused(name, &Options { by_order: true, ..options }, "in the order of the file, each must");
    for norm in [None, Some(Norm::Layer)] {
        refused("group.weights.h5", &Options { norm, ..said() }, "looks like a group norm");
    }
}

#[test]
fn networks_made_by_hand_in_numpy() {
    let map = ["W(.)=layer$1.weight", "b(.)=layer$1.bias"].map(|rule| {
        let (from, to) = rule.split_once('=').unwrap();
        (Regex::new(from).unwrap(), to.to_owned())
    });
    for (name, layout) in [("column.npz", Layout::OutIn), ("row.npz", Layout::InOut)] {
        check(name, &said(), "numpy.logits");
        check(name, &Options { by_order: true, ..said() }, "numpy.logits");
        check(name, &Options { map: map.to_vec(), ..said() }, "numpy.logits");
        check(name, &Options { layout: Some(layout), ..said() }, "numpy.logits");
    }
    let wrong = Options { layout: Some(Layout::InOut), ..said() };
    refused("column.npz", &wrong, "--layout may help");
}
