//! A training loop of your own: XOR, with Burn's Adam and nothing above the core crate.
//!
//! An [`Mlp`](fireclay::Mlp) is a Burn module like any other, so everything that Burn does with
//! modules can be done with it.
//! Run it with `cargo run -p fireclay --example own_loop`.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::Tensor;
use fireclay::{
    Activation, Backend, DeviceChoice, DropoutKey, InputSpec, Loss, Mlp, MlpConfig, Model,
    Prediction, Preprocessing, Provenance, TargetTensor, Task,
};

const CASES: [[f32; 2]; 4] = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
const ANSWERS: [[f32; 1]; 4] = [[0.0], [1.0], [1.0], [0.0]];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Backend::Flex.device(DeviceChoice::Default)?;
    let config = MlpConfig { activation: Activation::Tanh, ..MlpConfig::new([2], [8], 1) };

    // Tensors made on an autodiff device remember where they came from; `train` does the same for
    // the parameters.
    let autodiff = device.clone().autodiff();
    let inputs = Tensor::<2>::from_data(CASES, &autodiff);
    let targets = TargetTensor::Values(Tensor::from_data(ANSWERS, &autodiff));
    let mut mlp = Mlp::init(&config, 1, &device)?.train();
    let mut adam = AdamConfig::new().init();
    for step in 0..300 {
        // The key names the dropout masks of a step; this network has none.
        let logits = mlp.forward_train(inputs.clone(), DropoutKey { seed: 1, step });
        let loss = Loss::BinaryCrossEntropy.mean(logits, &targets);
        let gradients = GradientsParams::from_grads(loss.backward(), &mlp);
        mlp = adam.step(0.05, mlp, gradients);
    }

    // What the outputs mean makes a network a model, which predicts, saves and loads.
    let model = Model {
        mlp: mlp.valid(),
        task: Task::multi_label(vec!["different".to_owned()]),
        input: InputSpec::dense(&[4], Preprocessing::None),
        provenance: Provenance::default(),
    };
    for ((case, [answer]), prediction) in CASES.iter().zip(ANSWERS).zip(model.predict(&CASES)?) {
        let Prediction::Labels { labels, probabilities } = prediction else {
            return Err("a multi-label model predicts labels".into());
        };
        println!("{case:?}  different with probability {:.3}", probabilities[0]);
        assert_eq!(labels.is_empty(), answer == 0.0, "{case:?} was not learnt");
    }
    Ok(())
}
