//! Adapters: what they compute, what stays, and what comes off.

use burn::module::Module;
use burn::tensor::Tensor;
use fireclay::{Device, DropoutKey, Lora, Mlp, MlpConfig, Norm};

fn device() -> Device {
    Device::flex()
}

fn lora(layers: &[usize]) -> Lora {
    Lora { layers: layers.to_vec(), rank: 2, alpha: 6.0, dropout: 0.0, rank_stabilized: false }
}

fn network() -> Mlp {
    let config = MlpConfig { norm: Norm::Batch, dropout: 0.5, ..MlpConfig::new([5], [7, 6], 3) };
    Mlp::init(&config, 1, &device()).unwrap()
}

fn inputs() -> Tensor<2> {
    let values: Vec<f32> = (0..20).map(|i| (i as f32 * 0.37).sin()).collect();
    Tensor::from_data(burn::tensor::TensorData::new(values, [4, 5]), &device())
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

/// The network with adapters that are not zero any more.
fn adapted(base: &Mlp, lora: Lora) -> Mlp {
    let fresh = base.clone().with_adapters(lora, 3).unwrap();
    let tensors = fresh.tensors().unwrap();
    Mlp::from_tensors(fresh.architecture(), &device(), |name, _| {
        let values = tensors.iter().find(|tensor| tensor.name == name).unwrap().values.clone();
        let moved = |(i, value): (usize, f32)| value + (i as f32 + 1.0) / 20.0;
        let is_b = name.starts_with("adapters.") && name.ends_with(".b");
        Ok::<_, ()>(if is_b { values.into_iter().enumerate().map(moved).collect() } else { values })
    })
    .unwrap()
}

#[test]
fn a_fresh_adapter_changes_nothing_and_comes_off_without_a_trace() {
    let base = network();
    let fresh = base.clone().with_adapters(lora(&[0, 2]), 3).unwrap();
    assert_eq!(values(fresh.forward(inputs())), values(base.forward(inputs())));
    let moved = adapted(&base, lora(&[0, 2]));
    assert_ne!(values(moved.forward(inputs())), values(base.forward(inputs())));
    assert_eq!(moved.without_adapters().tensors().unwrap(), base.tensors().unwrap());
    // The same seed gives the same bits.
    let again = base.clone().with_adapters(lora(&[0, 2]), 3).unwrap();
    assert_eq!(again.tensors().unwrap(), fresh.tensors().unwrap());
}

#[test]
fn the_low_rank_path_is_the_dense_product() {
    let base = network();
    for rank_stabilized in [false, true] {
        let moved = adapted(&base, Lora { rank_stabilized, ..lora(&[1]) });
        // By hand: W + s A B, with s = 6 / 2, or 6 / sqrt(2).
        let scale = if rank_stabilized { 6.0 / 2f32.sqrt() } else { 3.0 };
        let tensors = moved.tensors().unwrap();
        let named = |name: &str| &tensors.iter().find(|t| t.name == name).unwrap().values;
        let (a, b) = (named("adapters.1.a"), named("adapters.1.b"));
        let merged = Mlp::from_tensors(base.architecture(), &device(), |name, _| {
            let mut values = named(name).clone();
            if name == "layers.1.weight" {
                for (o, row) in values.chunks_mut(7).enumerate() {
                    for (i, weight) in row.iter_mut().enumerate() {
                        *weight += scale * (0..2).map(|r| b[o * 2 + r] * a[r * 7 + i]).sum::<f32>();
                    }
                }
            }
            Ok::<_, ()>(values)
        })
        .unwrap();
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        let expected = values(merged.forward(inputs()));
        assert!(near(&values(moved.forward(inputs())), &expected));
        let plain = moved.merged();
        assert!(plain.architecture().lora.is_none());
        assert!(near(&values(plain.forward(inputs())), &expected));
    }
}

#[test]
fn frozen_layers_have_no_dropout_and_their_norms_stay() {
    let key = DropoutKey { seed: 1, step: 1 };
    let device = device().autodiff();
    let inputs = || Tensor::from_data(inputs().into_data(), &device);
    let trained =
        |mlp: Mlp, prefix: &'static str| mlp.train_only(|path| path.starts_with(prefix), false);
    // With the head alone there is nothing random left, and the norms use their statistics.
    let mut head = trained(network().train(), "layers.2.");
    let before = head.tensors().unwrap();
    let out = head.forward_train(inputs(), key);
    assert_eq!(values(out.clone().without_autodiff()), values(network().forward(self::inputs())));
    assert_eq!(head.tensors().unwrap(), before);
    // Only what is trained has a gradient.
    let mut gradients = out.sum().backward();
    assert!(head.layers[2].weight.val().grad_remove(&mut gradients).is_some());
    assert!(head.layers[0].weight.val().grad_remove(&mut gradients).is_none());
    assert!(head.norms[0].as_ref().unwrap().weight.val().grad_remove(&mut gradients).is_none());
    // A trained norm moves its statistics, unless they are to be kept.
    let moved = |mut mlp: Mlp| {
        let before = mlp.tensors().unwrap();
        let _ = mlp.forward_train(inputs(), key);
        let after = mlp.tensors().unwrap();
        before
            .into_iter()
            .zip(after)
            .filter(|(a, b)| a != b)
            .map(|(a, _)| a.name)
            .collect::<Vec<_>>()
    };
    let names = moved(trained(network().train(), "norms.1."));
    assert_eq!(names, ["norms.1.running_mean", "norms.1.running_var"]);
    assert!(moved(network().train().train_only(|_| true, true)).is_empty());
    assert_eq!(moved(network().train().train_only(|_| true, false)).len(), 4);
}
