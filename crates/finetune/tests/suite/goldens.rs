//! What real programs wrote is imported as they mean it: the same outputs on 1,000 images.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use finetune::import::{Fate, ImportError, Imported, Options, TaskKind, import};
use fireclay::{
    Activation, Backend, Device, DeviceChoice, HiddenLayer, MlpConfig, Norm, NormPosition,
    Prediction, Preprocessing, Task,
};
use fireclay_formats::Layout;

/// Rows of every golden.
const ROWS: usize = 1000;

fn device() -> Device {
    Backend::Flex.device(DeviceChoice::Default).unwrap()
}

/// A golden of the readers (`pytorch/plain.pt`) or of this package (`batch.pt`).
fn golden(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
    let readers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/tests/goldens").join(name);
    if own.exists() { own } else { readers }
}

/// The first 1,000 test images of MNIST, raw.
fn images() -> Vec<Vec<f32>> {
    let file = fs::File::open(golden("mnist-1000.gz")).unwrap();
    let mut pixels = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut pixels).unwrap();
    pixels.chunks(784).map(|image| image.iter().map(|&byte| f32::from(byte)).collect()).collect()
}

/// What a file does not say.
fn relu() -> Options {
    Options { activation: vec![Activation::Relu], ..logits() }
}

/// Outputs are logits of classes, which no file with linear outputs says.
fn logits() -> Options {
    Options { task: Some(TaskKind::Classification), ..scaled() }
}

fn scaled() -> Options {
    Options { preprocessing: Some(Preprocessing::PIXELS), ..Options::default() }
}

fn opened(name: &str, options: &Options) -> Result<Imported, ImportError> {
    import(&golden(name), options, &device())
}

/// Imports a file and compares it with what its program answered.
#[track_caller]
fn check(name: &str, options: &Options, logits: &str) -> Imported {
    let imported = opened(name, options).unwrap_or_else(|error| panic!("{name}: {error}"));
    let model = &imported.model;
    let images = images();
    let data = burn::tensor::TensorData::new(images.concat(), [ROWS, 784]);
    let raw = burn::Tensor::<2>::from_data(data, &device());
    let found = model.forward(raw).try_into_vec_as::<f32>().unwrap();
    let bytes = fs::read(golden(logits)).unwrap();
    let expected: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    let outputs = model.task.outputs();
    let best =
        |row: &[f32]| (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
    for (row, (found, expected)) in found.chunks(outputs).zip(expected.chunks(outputs)).enumerate()
    {
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{name}: row {row}: {a} {b}");
        }
        assert_eq!(best(found), best(expected), "{name}: row {row}");
    }
    for tensor in &imported.placed {
        let is_told = match &tensor.fate {
            Fate::Used { path, change } => !path.is_empty() && !change.is_empty(),
            Fate::Skipped(why) => !why.is_empty(),
        };
        assert!(is_told, "{name}: {tensor:?}");
    }
    imported
}

#[test]
fn state_dicts_of_pytorch() {
    for name in ["pytorch/plain.pt", "pytorch/legacy.pth", "pytorch/plain.safetensors"] {
        check(name, &relu(), "pytorch/plain.logits");
    }
    for name in ["pytorch/checkpoint.pt", "pytorch/legacy-checkpoint.pth", "pytorch/wrapped.pt"] {
        check(name, &relu(), "pytorch/small.logits");
    }
    let imported = check("pytorch/half.pt", &relu(), "pytorch/half.logits");
    let change = Fate::Used { path: "layers.0.weight".to_owned(), change: "f16 to f32".to_owned() };
    assert_eq!(imported.placed[0].fate, change);
    check("pytorch/bfloat16.pt", &relu(), "pytorch/bfloat16.logits");
}

#[test]
fn norms_of_pytorch() {
    for (name, norm) in [("batch", Norm::Batch), ("layer", Norm::Layer)] {
        let file = format!("{name}.pt");
        let told = Options { activation: vec![Activation::Tanh], ..logits() };
        let error = opened(&file, &told).unwrap_err();
        assert!(error.to_string().contains(&format!("--norm {norm}")), "{error}");
        let told = Options { norm: Some(norm), ..told };
        let imported = check(&file, &told, &format!("{name}.logits"));
        assert_eq!(MlpConfig::from(imported.model.mlp.architecture()).norm, norm);
    }
}

#[test]
fn models_of_keras() {
    check("keras/plain.keras", &logits(), "keras/plain.logits");
    check("keras/plain.h5", &logits(), "keras/plain.logits");
    for name in ["keras/plain.weights.h5", "keras/plain-weights.h5"] {
        let error = opened(name, &logits()).unwrap_err();
        assert!(matches!(error, ImportError::Unsaid { .. }), "{error}");
        let imported = check(name, &relu(), "keras/plain.logits");
        let change =
            Fate::Used { path: "layers.0.weight".to_owned(), change: "transposed".to_owned() };
        assert_eq!(imported.placed[0].fate, change);
    }
    // It says everything: activations, norms with Keras' epsilon, dropout, how pixels are scaled.
    let imported = check("norms.keras", &Options::default(), "norms.logits");
    for layer in &imported.model.mlp.architecture().hidden {
        assert_eq!((layer.activation, layer.norm), (Activation::Gelu, Norm::Batch));
        assert!((layer.norm_epsilon - 1e-3).abs() < 1e-9 && !layer.bias);
        assert!((layer.dropout - 0.1).abs() < 1e-9);
    }
    assert!(matches!(imported.model.task, Task::Classification { .. }));
    // Fixed statistics of each feature are preprocessing.
    let told = Options { task: Some(TaskKind::Classification), ..Options::default() };
    let imported = check("normalization.keras", &told, "normalization.logits");
    assert!(matches!(imported.model.input.preprocessing(), Preprocessing::Standardize { .. }));
    let imported = check("keras/adapted.keras", &logits(), "keras/adapted.logits");
    assert!(matches!(imported.model.input.preprocessing(), Preprocessing::Normalize { .. }));
    let error = opened("keras/rich.keras", &logits()).unwrap_err().to_string();
    assert!(error.starts_with("the file has elu with alpha = 0.7, behind dense"), "{error}");
}

#[test]
fn networks_of_which_each_layer_is_another() {
    for name in ["keras/functional.keras", "keras/functional.h5"] {
        let imported = opened(name, &scaled()).unwrap();
        check_probabilities(&imported, "keras/functional.logits", |distribution| {
            distribution.to_vec()
        });
        let network = imported.model.mlp.architecture();
        let found: Vec<_> =
            network.hidden.iter().map(|layer| (layer.activation, layer.norm)).collect();
        let expected = [
            (Activation::Tanh, Norm::Layer),
            (Activation::Selu, Norm::Layer),
            (Activation::LeakyRelu, Norm::Batch),
            (Activation::Mish, Norm::None),
        ];
        assert_eq!(found, expected, "{name}");
        let [_, second, third, _] = &network.hidden[..] else { unreachable!() };
        // Dropout stands behind this norm, and the slope is its own.
        assert_eq!((second.dropout, second.norm_position), (0.2, NormPosition::AfterActivation));
        assert_eq!((third.leaky_slope, second.norm_epsilon), (0.25, 1e-3));
    }
    for name in ["onnx/rich.onnx", "onnx/rich-17.onnx", "onnx/rich-dynamo.onnx"] {
        let imported = check(name, &logits(), "onnx/rich.logits");
        let [first, second] = &imported.model.mlp.architecture().hidden[..] else {
            unreachable!("{name}")
        };
        // One of the two exporters folds batch norms itself.
        let norm = if name.contains("dynamo") { Norm::None } else { Norm::Batch };
        assert_eq!((first.activation, first.norm), (Activation::Gelu, norm), "{name}");
        assert_eq!((second.activation, second.norm), (Activation::Silu, Norm::Layer), "{name}");
        assert!(first.bias && !second.bias, "{name}");
    }
}

#[test]
fn networks_of_scikit_learn() {
    let imported = opened("numpy/digits.npz", &logits()).unwrap();
    let Task::Classification { labels, .. } = &imported.model.task else { unreachable!() };
    assert_eq!(labels.len(), 10);
    check_probabilities(&imported, "numpy/digits.logits", |distribution| distribution.to_vec());
    // One sigmoid becomes two classes, and their names are the file's.
    let imported = opened("numpy/binary.npz", &logits()).unwrap();
    assert_eq!(imported.model.task.names(), ["even", "odd"]);
    check_probabilities(&imported, "numpy/binary.logits", |distribution| vec![distribution[1]]);
}

/// As `check`, of files whose golden is probabilities.
fn check_probabilities(imported: &Imported, golden_name: &str, of: impl Fn(&[f32]) -> Vec<f32>) {
    let bytes = fs::read(golden(golden_name)).unwrap();
    let expected: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
    let predictions = imported.model.predict(&images()).unwrap();
    let found: Vec<f32> = predictions
        .iter()
        .flat_map(|prediction| match prediction {
            Prediction::Class { distribution, .. } => of(distribution),
            other => unreachable!("{other:?}"),
        })
        .collect();
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{golden_name}: {a} {b}");
    }
}

#[test]
fn graphs_of_onnx() {
    for name in ["onnx/plain.onnx", "onnx/plain-script.onnx"] {
        let imported = check(name, &logits(), "onnx/plain.logits");
        assert_eq!(MlpConfig::from(imported.model.mlp.architecture()).activation, Activation::Relu);
    }
    for name in ["onnx/view.onnx", "onnx/view-fixed.onnx"] {
        // It scales pixels further itself, and its golden is logarithms of probabilities.
        let imported = opened(name, &logits()).unwrap();
        check_probabilities(&imported, "onnx/view.logits", |distribution| {
            distribution.iter().map(|p| p.ln()).collect()
        });
    }
    for name in ["onnx/sklearn.onnx", "onnx/sklearn-zipmap.onnx"] {
        let imported = opened(name, &logits()).unwrap();
        check_probabilities(&imported, "onnx/sklearn.logits", |distribution| distribution.to_vec());
    }
}

/// The numbers of a golden, `f32` with the lowest byte first.
fn numbers(name: &str) -> Vec<f32> {
    let bytes = fs::read(golden(name)).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

/// What was said of files of numbers without preprocessing.
fn numbers_of_features() -> Options {
    Options {
        task: Some(TaskKind::Regression),
        preprocessing: Some(Preprocessing::None),
        ..Options::default()
    }
}

/// Holds the outputs of a model on some rows to those of the program that its file is of.
#[track_caller]
fn answers(imported: &Imported, rows: &[f32], expected: &str) {
    let inputs = imported.model.features();
    let data = burn::tensor::TensorData::new(rows.to_vec(), [rows.len() / inputs, inputs]);
    let raw = burn::Tensor::<2>::from_data(data, &device());
    let found = imported.model.forward(raw).try_into_vec_as::<f32>().unwrap();
    let numbers = numbers(expected);
    let largest = numbers.iter().fold(1.0_f32, |most, x| most.max(x.abs()));
    assert_eq!(found.len(), numbers.len(), "{expected}");
    for (a, b) in found.iter().zip(&numbers) {
        assert!((a - b).abs() <= 1e-5 * largest, "{expected}: {a} {b}");
    }
}

/// The hidden layers of a network, each in a few words.
fn described(imported: &Imported) -> Vec<String> {
    let one = |layer: &HiddenLayer| {
        let mut words = vec![layer.width.to_string(), layer.activation.to_string()];
        if layer.norm != Norm::None {
            words.push(format!("{} {}", layer.norm, layer.norm_position));
        }
        words.extend(layer.skip.map(|skip| format!("skip {} {}", skip.span, skip.position)));
        words.extend((!layer.bias).then(|| "no bias".to_owned()));
        words.join(", ")
    };
    imported.model.mlp.architecture().hidden.iter().map(one).collect()
}

#[test]
fn what_stays_or_is_folded_answers_as_pytorch_does() {
    let rows = numbers("folded/rows.f32");
    let of = |name: &str| {
        let imported = opened(&format!("folded/{name}.onnx"), &numbers_of_features()).unwrap();
        answers(&imported, &rows, &format!("folded/{name}.f32"));
        imported
    };
    let has_note =
        |imported: &Imported, note: &str| imported.notes.iter().any(|found| found.contains(note));
    let norms = of("norms");
    // Three norms about two layers: that behind the first activation is folded.
    assert_eq!(described(&norms), ["6, tanh, batch input", "5, tanh, batch before-activation"]);
    assert!(has_note(&norms, "batch norms without room"), "{:?}", norms.notes);
    let slopes = of("slopes");
    assert_eq!(described(&slopes), ["12, relu", "5, leaky-relu"]);
    assert!(has_note(&slopes, "hidden layers are 12, 5 wide"), "{:?}", slopes.notes);
    let block = [
        "5, relu, batch before-activation",
        "6, relu, batch before-activation, skip 2 before-activation",
    ];
    let blocks = of("blocks");
    assert_eq!(described(&blocks), [&["6, relu"][..], &block, &block].concat());
}

#[test]
fn a_file_that_scales_pixels_itself_is_not_given_scaled_ones() {
    // `norms.keras` begins with Rescaling(1/255).
    let error = opened("norms.keras", &scaled()).unwrap_err();
    assert!(matches!(error, ImportError::TwicePrepared { .. }), "{error}");
    let said = "become 0 to 0.003922; leave out --preprocessing scale";
    assert!(error.to_string().ends_with(said), "{error}");
    let normalize =
        Some(Preprocessing::Normalize { scale: 1.0 / 255.0, mean: 0.1307, deviation: 0.3081 });
    let told = Options { preprocessing: normalize, ..Options::default() };
    let error = opened("norms.keras", &told).unwrap_err();
    assert!(error.to_string().ends_with("leave out --normalize"), "{error}");
}

#[test]
fn order_alone_is_only_taken_when_told() {
    let told = Options { activation: vec![Activation::Tanh], ..logits() };
    let error = opened("numpy/unnamed.npz", &told).unwrap_err();
    assert!(matches!(error, ImportError::NoLayers { .. }), "{error}");
    let told = Options { by_order: true, ..told };
    let imported = opened("numpy/unnamed.npz", &told).unwrap();
    assert_eq!(MlpConfig::from(imported.model.mlp.architecture()).hidden, [8, 6]);
    let named = opened("numpy/binary.npz", &logits()).unwrap();
    let tensors = |imported: &Imported| imported.model.mlp.tensors().unwrap()[..4].to_vec();
    assert_eq!(tensors(&imported), tensors(&named));
}

#[test]
fn a_record_of_burn() {
    check("burn/plain.bpk", &relu(), "burn/plain.logits");
}

#[test]
fn what_a_file_does_not_say_is_asked_for() {
    let unsaid = |options: &Options| match opened("pytorch/plain.pt", options).unwrap_err() {
        ImportError::Unsaid { flag, .. } => flag,
        error => panic!("{error}"),
    };
    assert!(unsaid(&logits()).contains("--activation"));
    let told = Options { activation: vec![Activation::Relu], ..Options::default() };
    assert!(unsaid(&told).contains("--preprocessing"));
    // Contradictions are errors too.
    let told = Options { norm: Some(Norm::Batch), ..relu() };
    assert!(matches!(opened("pytorch/plain.pt", &told), Err(ImportError::Unsupported { .. })));
    let told = Options { layout: Some(Layout::InOut), ..relu() };
    assert!(matches!(opened("pytorch/plain.pt", &told), Err(ImportError::NoChain { .. })));
    let told = Options { activation: vec![Activation::Tanh], ..logits() };
    assert!(matches!(opened("keras/plain.keras", &told), Err(ImportError::Unsupported { .. })));
    let map = vec![(regex::Regex::new("1").unwrap(), "9".to_owned())];
    for name in ["keras/plain.keras", "keras/plain.h5", "onnx/plain.onnx"] {
        let any = || vec!["*".parse().unwrap()];
        let unused = vec!["*".parse().unwrap()];
        for (options, words) in [
            (Options { map: map.clone(), ..logits() }, "leave out --map"),
            (Options { allow_missing: any(), ..logits() }, "leave out --allow-missing"),
            (
                Options { allow_unused: unused, ..logits() },
                "--allow-unused * names no tensor that the network of the file does without",
            ),
        ] {
            let error = opened(name, &options).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
    }
    let told = Options { labels: Some(vec!["a".to_owned()]), ..relu() };
    assert!(matches!(opened("pytorch/plain.pt", &told), Err(ImportError::Unsupported { .. })));
    let told = Options { task: Some(TaskKind::Regression), ..relu() };
    let imported = opened("pytorch/plain.pt", &told).unwrap();
    assert!(matches!(imported.model.task, Task::Regression { .. }));
}

#[test]
fn tensors_are_renamed_missed_and_left_out_only_as_told() {
    let rename = |from: &str, to: &str| {
        let map = vec![(regex::Regex::new(from).unwrap(), to.to_owned())];
        opened("pytorch/plain.pt", &Options { map, ..relu() })
    };
    // A name that says nothing leaves a tensor over, and its place empty.
    let error = rename(r"^1\.bias$", "something").unwrap_err();
    assert!(
        matches!(&error, ImportError::Missing { path, .. } if path == "layers.0.bias"),
        "{error}"
    );
    let error = rename(r"^1\.(.*)$", "first.${1}s").unwrap_err();
    assert!(matches!(&error, ImportError::Missing { .. } | ImportError::Unused { .. }), "{error}");
    let error = rename(r"^\d\.", "net.").unwrap_err();
    assert!(
        matches!(&error, ImportError::SameName { name, .. } if name == "net.weight"),
        "{error}"
    );
    let renamed = rename(r"^(\d)\.", "net.layer$1.").unwrap();
    assert_eq!(renamed.placed[0].name, "net.layer1.weight");
    let map = vec![(regex::Regex::new(r"^1\.bias$").unwrap(), "something".to_owned())];
    let options = Options { map, allow_missing: vec!["*.bias".parse().unwrap()], ..relu() };
    let error = opened("pytorch/plain.pt", &options).unwrap_err();
    assert!(
        matches!(&error, ImportError::Unused { names, .. } if names == &["something"]),
        "{error}"
    );
    let options = Options { allow_unused: vec!["some*".parse().unwrap()], ..options };
    let imported = opened("pytorch/plain.pt", &options).unwrap();
    // Rules that name nothing are slips.
    for (options, rule) in [
        (
            Options { allow_unused: vec!["optimizer.*".parse().unwrap()], ..relu() },
            "--allow-unused",
        ),
        (Options { allow_missing: vec!["1.bias".parse().unwrap()], ..relu() }, "--allow-missing"),
        (
            Options { map: vec![(regex::Regex::new("no").unwrap(), String::new())], ..relu() },
            "--map",
        ),
    ] {
        let error = opened("pytorch/plain.pt", &options).unwrap_err();
        assert!(
            matches!(&error, ImportError::NamesNothing { flag, .. } if *flag == rule),
            "{error}"
        );
    }
    let network = imported.model.mlp.architecture();
    assert!(!network.has_bias(0) && network.has_bias(1));
}
