//! One step of the training loop on a batch that lies on the device: preprocessing, forward, loss,
//! backward, and Adam.

mod support;

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::Tensor;
use criterion::Criterion;
use fireclay::{CrossEntropy, Device, DropoutKey, Loss, Mlp, Preprocessing, TargetTensor, prepare};
use fireclay_data::BatchTargets;
use train::gradients::Gradients;
use train::optimizer::{Optimizer, OptimizerConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let data = support::mnist()?;
    let mut group = support::group(&mut criterion, "training_step");
    for (backend, device) in support::devices()? {
        let autodiff = device.clone().autodiff();
        for (name, network) in support::networks() {
            let mlp = Mlp::init(&network, 1, &device)?.train();
            for batch in support::BATCH_SIZES {
                let samples = data.batch(&support::rows(&data, batch), &autodiff);
                let BatchTargets::Classes(classes) = samples.targets else {
                    return Err("MNIST has classes".into());
                };
                let targets = TargetTensor::Classes(classes);
                let id = support::case(&mut group, name, backend, batch);
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|steps| {
                        train(mlp.clone(), &samples.inputs, &targets, steps, &device)
                    });
                });
            }
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// Measures training for some steps on one batch.
fn train(
    mut mlp: Mlp,
    inputs: &Tensor<2>,
    targets: &TargetTensor,
    steps: u64,
    device: &Device,
) -> Duration {
    let loss = Loss::CrossEntropy(CrossEntropy::default());
    let mut optimizer = Optimizer::new(OptimizerConfig::default(), &mlp);
    let start = Instant::now();
    for step in 0..steps {
        let inputs = prepare(&Preprocessing::PIXELS, inputs.clone());
        let outputs = mlp.forward_train(inputs, DropoutKey { seed: 1, step });
        let gradients = Gradients::of(&loss.mean(outputs, targets), &mlp);
        mlp = optimizer.step(mlp, gradients, 1.0);
    }
    // Some devices compute behind the program's back; a failing one would fail the next step too.
    let _ = device.sync();
    start.elapsed()
}
