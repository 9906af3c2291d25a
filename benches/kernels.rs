//! Each kernel's fast body on `flex` against the plain one, which defines it.

#[allow(dead_code, reason = "shared with the other benchmarks")]
mod support;

use burn::tensor::{Device, Int, Tensor, TensorData};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use fireclay_kernels::{
    AdamStep, Chain, ChosenRows, Epilogue, RawFeatures, Rule, Scaling, SgdStep, Smoothing,
    StepBatch, TrainedLayer, TrainedParameter, adam, cross_entropy, dense, plain, sgd,
};

const INPUTS: usize = 784;
const WIDTH: usize = 128;
const CLASSES: usize = 10;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let device = Device::flex();
    layers(&mut criterion, &device);
    losses(&mut criterion, &device);
    optimizers(&mut criterion, &device);
    chains(&mut criterion, &device);
    criterion.final_summary();
}

/// Numbers of either sign, none of them special.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919) % 1000) as f32 / 5000.0 - 0.1).collect()
}

fn tensor<const D: usize>(dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers(dims.iter().product()), dims), device)
}

fn case(group: &mut BenchmarkGroup<'_, WallTime>, what: &str, elements: usize, run: impl FnMut()) {
    group.throughput(Throughput::Elements(elements as u64));
    let mut run = run;
    group.bench_function(BenchmarkId::from_parameter(what), |bencher| bencher.iter(&mut run));
}

/// A dense layer with relu, there and back; throughput in samples.
fn layers(criterion: &mut Criterion, device: &Device) {
    let device = device.clone().autodiff();
    let weight = tensor([INPUTS, WIDTH], &device).require_grad();
    let bias = tensor([WIDTH], &device).require_grad();
    let mut group = support::group(criterion, "dense");
    for batch in support::BATCH_SIZES {
        let x = tensor([batch, INPUTS], &device);
        for (name, body) in [("fast", dense as fn(_, _, _, _) -> _), ("plain", plain::dense)] {
            case(&mut group, &format!("{name}/{batch}"), batch, || {
                let y: Tensor<2> = body(x.clone(), weight.clone(), bias.clone(), Epilogue::Relu);
                std::hint::black_box(y.backward());
            });
        }
    }
}

/// Softmax cross-entropy, there and back; throughput in samples.
fn losses(criterion: &mut Criterion, device: &Device) {
    let device = device.clone().autodiff();
    let smoothing = Smoothing::default();
    let mut group = support::group(criterion, "cross_entropy");
    for batch in support::BATCH_SIZES {
        let logits = tensor([batch, CLASSES], &device).require_grad();
        let ids: Vec<i32> = (0..batch).map(|i| (i % CLASSES) as i32).collect();
        let classes = Tensor::<1, Int>::from_data(TensorData::new(ids, [batch]), &device);
        let bodies =
            [("fast", cross_entropy as fn(_, _, &_) -> _), ("plain", plain::cross_entropy)];
        for (name, body) in bodies {
            case(&mut group, &format!("{name}/{batch}"), batch, || {
                let losses: Tensor<1> = body(logits.clone(), classes.clone(), &smoothing);
                std::hint::black_box(losses.backward());
            });
        }
    }
}

fn adam_step() -> AdamStep {
    let (rate, beta1, beta2, epsilon) = (1e-3, 0.9, 0.999, 1e-7);
    AdamStep { rate, beta1, beta2, epsilon, penalty: 0.0, shrinkage: 0.0, step: 10 }
}

/// One step of all weights of a layer; throughput in weights.
fn optimizers(criterion: &mut Criterion, device: &Device) {
    let count = INPUTS * WIDTH;
    let gradient = tensor([count], device);
    let mut group = support::group(criterion, "adam");
    for (name, body) in [("fast", adam as fn(_, _, _, _, &_) -> _), ("plain", plain::adam)] {
        let mut state = Some([(); 3].map(|()| tensor([count], device)));
        case(&mut group, name, count, || {
            if let Some([value, mean, square]) = state.take() {
                let stepped: [Tensor<1>; 3] =
                    body(value, gradient.clone(), mean, square, &adam_step());
                state = Some(stepped);
            }
        });
    }
    group.finish();
    let step = SgdStep { rate: 1e-3, momentum: 0.9, dampening: 0.0, nesterov: false, penalty: 0.0 };
    let mut group = support::group(criterion, "sgd");
    for (name, body) in [("fast", sgd as fn(_, _, _, &_) -> _), ("plain", plain::sgd)] {
        let mut state = Some([(); 2].map(|()| tensor([count], device)));
        case(&mut group, name, count, || {
            if let Some([value, velocity]) = state.take() {
                let stepped: [Tensor<1>; 2] = body(value, gradient.clone(), velocity, &step);
                state = Some(stepped);
            }
        });
    }
}

/// A parameter that has not been stepped yet.
fn parameter<const D: usize>(value: Tensor<D>, rule: Rule) -> TrainedParameter<D> {
    TrainedParameter { value, memory: Vec::new(), rule: Some(rule) }
}

/// A whole training step of the tutorial's network with Adam; throughput in samples.
fn chains(criterion: &mut Criterion, device: &Device) {
    let rule = Rule::Adam(adam_step());
    let layers = [(INPUTS, WIDTH, Epilogue::Relu), (WIDTH, CLASSES, Epilogue::None)];
    let layers: Vec<TrainedLayer> = layers
        .into_iter()
        .map(|(inputs, outputs, epilogue)| TrainedLayer {
            weight: parameter(tensor([inputs, outputs], device), rule),
            bias: parameter(tensor([outputs], device), rule),
            epilogue,
        })
        .collect();
    let bytes: Vec<u8> = (0..1024 * INPUTS).map(|i| (i % 251) as u8).collect();
    let smoothing = Smoothing::default();
    let mut group = support::group(criterion, "chain");
    for batch in support::BATCH_SIZES {
        let (indices, classes): (Vec<usize>, Vec<usize>) =
            (0..batch).map(|i| (i, i % CLASSES)).unzip();
        let samples = StepBatch {
            rows: ChosenRows {
                features: RawFeatures::Bytes(&bytes),
                width: INPUTS,
                indices: &indices,
                scaling: Scaling::Scale(1.0 / 255.0),
            },
            terms: &[],
            classes: &classes,
            smoothing: &smoothing,
            weights: None,
            divisor: batch as f64,
        };
        if let Some(mut chain) = Chain::new(&layers, Vec::new()) {
            case(&mut group, &format!("fast/{batch}"), batch, || {
                chain.step(|_, _| rule, &samples);
            });
        }
        let mut plain_layers = layers.clone();
        case(&mut group, &format!("plain/{batch}"), batch, || {
            let layers = std::mem::take(&mut plain_layers);
            plain_layers = plain::chain_step(layers, Vec::new(), &samples).0;
        });
    }
}
