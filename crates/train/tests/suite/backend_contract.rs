//! What every backend must do, held against `flex`.
//!
//! By default the backends that any machine has. `FIRECLAY_TEST_BACKEND=wgpu` points the same suite
//! at another one, and `FIRECLAY_TEST_DEVICE` at one of its devices.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use fireclay::{
    Activation, Backend, Checkpoint, CrossEntropy, DeviceChoice, DropoutKey, InputSpec, Loss, Mlp,
    MlpConfig, Model, Norm, Preprocessing, Provenance, TargetTensor, Task,
};
use fireclay_data::{Batch, BatchTargets, Dataset, Features as HostFeatures, RowSource, Targets};
use train::fit::fit;
use train::gradients::Gradients;
use train::job::Job;
use train::optimizer::{
    AdaGrad, Adam, AdamW, Lion, Muon, Optimizer, OptimizerConfig, RmsProp, Sgd,
};
use train::progress::Silent;
use train::state::State;

use crate::setup::{Setup, Take};

const BATCH: usize = 8;
const INPUTS: usize = 12;
const CLASSES: usize = 4;

fn flex() -> Device {
    Backend::Flex.device(DeviceChoice::Default).unwrap()
}

/// The devices under test.
fn devices() -> Vec<(String, Device)> {
    let backends = match std::env::var("FIRECLAY_TEST_BACKEND") {
        Ok(name) => vec![name.parse().unwrap()],
        Err(_) => {
            let on_cpu = [Backend::Flex, Backend::NdArray];
            on_cpu.into_iter().filter(|backend| backend.is_compiled()).collect()
        }
    };
    let choice =
        std::env::var("FIRECLAY_TEST_DEVICE").map_or(DeviceChoice::Default, |d| d.parse().unwrap());
    let open = |backend: Backend| (backend.to_string(), backend.device(choice).unwrap());
    backends.into_iter().map(open).collect()
}

/// Networks that between them have every kind of layer.
fn configs() -> Vec<MlpConfig> {
    let plain = MlpConfig::new([INPUTS], [9, 9], CLASSES);
    vec![
        MlpConfig { dropout: 0.25, input_dropout: 0.1, ..plain.clone() },
        MlpConfig {
            norm: Norm::Batch,
            activation: Activation::Gelu,
            residual: true,
            ..plain.clone()
        },
        MlpConfig { norm: Norm::Layer, activation: Activation::Elu, ..plain },
    ]
}

fn inputs(device: &Device) -> Tensor<2> {
    let values: Vec<f32> =
        (0..BATCH * INPUTS).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
    Tensor::from_data(TensorData::new(values, [BATCH, INPUTS]), device)
}

fn targets(device: &Device) -> TargetTensor {
    let classes: Vec<i32> = (0..BATCH).map(|i| (i * 3 % CLASSES) as i32).collect();
    TargetTensor::Classes(Tensor::<1, Int>::from_data(TensorData::new(classes, [BATCH]), device))
}

/// Outputs and gradients of one training pass.
fn pass(mlp: &mut Mlp, step: u64, device: &Device) -> (Tensor<2>, Gradients) {
    let outputs = mlp.forward_train(inputs(device), DropoutKey { seed: 4, step });
    let loss = Loss::CrossEntropy(CrossEntropy { label_smoothing: 0.1, class_weights: None });
    let gradients = Gradients::of(&loss.mean(outputs.clone(), &targets(device)), mlp);
    (outputs, gradients)
}

/// Logits after a few steps of an optimizer, and the network.
fn stepped(config: &MlpConfig, optimizer: &OptimizerConfig, steps: u64, device: &Device) -> Mlp {
    let device = device.clone().autodiff();
    let mut mlp = Mlp::init(config, 7, &device).unwrap().train();
    let mut optimizer = Optimizer::new(optimizer.clone(), &mlp);
    for step in 0..steps {
        let (_, mut gradients) = pass(&mut mlp, step, &device);
        gradients.clip_norm(1.0);
        mlp = optimizer.step(mlp, gradients, 1.0);
    }
    mlp.valid()
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

/// All parameters and statistics in one row.
fn parameters(mlp: &Mlp) -> Vec<f32> {
    mlp.tensors().unwrap().into_iter().flat_map(|tensor| tensor.values).collect()
}

#[track_caller]
fn assert_agree(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0f32, |size, value| size.max(value.abs()));
    let error = found.iter().zip(expected).fold(0.0f32, |e, (f, x)| e.max((f - x).abs()));
    assert!(error <= tolerance * size, "{what}: off by {error:e} of {size:e}");
    assert!(found.iter().all(|value| value.is_finite()), "{what}");
}

#[test]
fn initial_weights_are_the_same_bits() {
    for (name, device) in devices() {
        for config in configs() {
            let mlp = Mlp::init(&config, 7, &device).unwrap();
            assert_eq!(
                parameters(&mlp),
                parameters(&Mlp::init(&config, 7, &flex()).unwrap()),
                "{name}"
            );
        }
    }
}

#[test]
fn forward_and_gradients_agree() {
    for (name, device) in devices() {
        for config in configs() {
            let run = |device: &Device| {
                let device = device.clone().autodiff();
                let mut mlp = Mlp::init(&config, 7, &device).unwrap().train();
                let (outputs, mut gradients) = pass(&mut mlp, 3, &device);
                let paths = ["layers.0.weight", "layers.1.bias", "layers.2.weight"];
                let gradients = paths.map(|path| numbers(gradients.take(path).unwrap().numbers));
                let trained = numbers(outputs.without_autodiff());
                let inferred = numbers(mlp.valid().forward(inputs(&device.without_autodiff())));
                (trained, inferred, gradients.concat(), parameters(&mlp))
            };
            let (found, expected) = (run(&device), run(&flex()));
            assert_agree(&format!("{name}: outputs in training"), &found.0, &expected.0, 1e-5);
            assert_agree(&format!("{name}: outputs"), &found.1, &expected.1, 1e-5);
            assert_agree(&format!("{name}: gradients"), &found.2, &expected.2, 1e-5);
            assert_agree(&format!("{name}: statistics"), &found.3, &expected.3, 1e-5);
        }
    }
}

#[test]
fn every_optimizer_agrees() {
    let optimizers = [
        OptimizerConfig::Sgd(Sgd {
            momentum: 0.9,
            nesterov: true,
            weight_decay: 0.01,
            ..Sgd::default()
        }),
        OptimizerConfig::Adam(Adam::default()),
        OptimizerConfig::AdamW(AdamW::default()),
        OptimizerConfig::RmsProp(RmsProp { momentum: 0.5, centered: true, ..RmsProp::default() }),
        OptimizerConfig::AdaGrad(AdaGrad::default()),
        OptimizerConfig::Lion(Lion::default()),
        OptimizerConfig::Muon(Muon::default()),
    ];
    // Not the one with batch norm: the biases before it have gradients that are nothing but
    // rounding, and an optimizer that divides by their size makes steps of any sign of them.
    let config = &configs()[2];
    for (name, device) in devices() {
        for optimizer in &optimizers {
            let found = stepped(config, optimizer, 4, &device);
            let expected = stepped(config, optimizer, 4, &flex());
            let what = format!("{name}: {}", optimizer.name());
            let before = parameters(&Mlp::init(config, 7, &flex()).unwrap());
            assert_ne!(parameters(&expected), before, "{what} moves");
            assert_agree(&what, &parameters(&found), &parameters(&expected), 1e-4);
        }
    }
}

#[test]
fn a_model_moves_between_backends_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    for (name, device) in devices() {
        let path = folder.path().join(&name);
        let mlp = stepped(&configs()[1], &OptimizerConfig::default(), 2, &device);
        let task = Task::numbered_classes(CLASSES);
        let provenance = Provenance::default();
        let input = InputSpec::dense(&mlp.architecture().input_shape, Preprocessing::None);
        let model = Model { mlp, task, input, provenance };
        model.save(&path).unwrap();
        for target in [&device, &flex()] {
            let loaded = Model::load(&path, target).unwrap();
            assert_eq!(loaded.to_bytes().unwrap(), model.to_bytes().unwrap(), "{name}");
        }
        let rows: Vec<Vec<f32>> =
            numbers(inputs(&flex())).chunks(INPUTS).map(<[f32]>::to_vec).collect();
        let found = model.predict(&rows).unwrap();
        let expected = Model::load(&path, &flex()).unwrap().predict(&rows).unwrap();
        assert_eq!(found.len(), expected.len());
        let outputs =
            |device: &Device| numbers(Model::load(&path, device).unwrap().forward(inputs(device)));
        assert_agree(&format!("{name}: loaded"), &outputs(&device), &outputs(&flex()), 1e-5);
    }
}

/// In every way for every kind of data: fewer bytes than an integer has, more, floats.
#[test]
fn every_way_to_a_device_gives_the_same_batches() {
    let names = |count: usize| (0..count).map(|i| format!("t{i}")).collect::<Vec<_>>();
    let bytes = |width: usize| HostFeatures::Bytes((0..=255).cycle().take(6 * width).collect());
    let floats = HostFeatures::Floats((0..12).map(|i| i as f32 / 7.0 - 0.5).collect());
    let classes = Targets::Classes { ids: vec![0, 1, 2, 2, 1, 0], labels: names(3) };
    let multi = Targets::MultiLabel { values: [0, 1, 1].repeat(4), labels: names(2) };
    let values = Targets::Values { values: vec![0.5; 6], names: names(1) };
    let sets = [
        Dataset::new(vec![3], bytes(3), classes.clone()),
        Dataset::new(vec![4], bytes(4), multi),
        Dataset::new(vec![113], bytes(113), values),
        Dataset::new(vec![2], floats, classes),
    ];
    let order = [5, 0, 3, 3, 1];
    for (name, device) in devices() {
        for set in &sets {
            let set = set.as_ref().unwrap();
            let rows = RowSource::on_device(set, &device);
            assert!(rows.in_words().is_some_and(|words| words.starts_with("selected")));
            assert_eq!(content(rows.batch(&order)), content(set.batch(&order, &flex())), "{name}");
        }
    }
}

fn content(batch: Batch) -> (Vec<f32>, [usize; 2], Vec<f32>) {
    let targets = match batch.targets {
        BatchTargets::Classes(ids) => numbers(ids.float()),
        BatchTargets::Values(values) => numbers(values),
    };
    let dims = batch.inputs.dims();
    (numbers(batch.inputs), dims, targets)
}

#[test]
fn a_run_with_data_on_the_device_is_the_run_without() {
    for (name, device) in devices() {
        let mut setup = Setup::classes();
        setup.model.dropout = 0.25;
        let trained = |rows: RowSource<'_>| {
            let is_there = rows.in_words().is_some();
            let job = Job { rows, ..setup.job(&device) };
            let state = State::new(&job, Mlp::init(&setup.model, 1, &device).unwrap());
            let fitted = fit(&job, state, &mut Silent, &mut Silent).unwrap();
            assert_eq!(fitted.profile.batches.is_some(), is_there);
            parameters(&fitted.mlp)
        };
        let found = trained(RowSource::on_device(&setup.data, &device));
        let expected = trained(RowSource::gathered(&setup.data, &device));
        if device == flex() {
            assert_eq!(found, expected);
        }
        assert_agree(&format!("{name}: with data on the device"), &found, &expected, 1e-5);
    }
}

/// On a CPU to the bit; a GPU may compute the last digits in another way the next time.
#[test]
fn a_run_goes_on_from_a_checkpoint() {
    for (name, device) in devices() {
        let mut setup = Setup::classes();
        setup.optimizer = OptimizerConfig::Adam(Adam::default());
        setup.training.ema = Some(0.9);
        setup.training.epochs = 2;
        let job = setup.job(&device);
        let fresh = || State::new(&job, Mlp::init(&setup.model, 1, &device).unwrap());
        let trained = |state, take: &mut Take| fit(&job, state, &mut Silent, take).unwrap().mlp;
        let expected = trained(fresh(), &mut Take::at(u64::MAX));

        let mut take = Take::at(7);
        trained(fresh(), &mut take);
        let model = |mlp| Model {
            mlp,
            task: setup.task.clone(),
            input: setup.input(),
            provenance: Provenance::default(),
        };
        let checkpoint = take.taken.unwrap().into_checkpoint(model, ()).unwrap();
        let (bytes, _) = checkpoint.to_bytes().unwrap();
        let state = State::restore(&job, Checkpoint::from_bytes(&bytes).unwrap()).unwrap();
        let found = trained(state, &mut Take::at(u64::MAX));
        let (found, expected) = (parameters(&found), parameters(&expected));
        if device == flex() {
            assert_eq!(found, expected);
        }
        assert_agree(&format!("{name}: gone on"), &found, &expected, 1e-5);
    }
}
