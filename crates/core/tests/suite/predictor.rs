//! The forward pass on the host is that of Burn's operations, and always the same.

use std::num::NonZero;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use fireclay::{
    Activation, Architecture, Average, Ensemble, FrontPart, HiddenLayer, InputSpec, Lora, Mlp,
    MlpConfig, Model, NamedTensor, Norm, NormPosition, Parametrization, Prediction, Predictor,
    Preprocessing, Provenance, Skip, SkipPosition, Task,
};
use proptest::prelude::*;

/// Numbers in `[-1, 1)` that depend on a seed alone.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

/// Rows of which a share is zero.
fn rows(seed: u64, count: usize, zeros: f32) -> Vec<f32> {
    let kept = numbers(seed ^ 1, count).into_iter().map(|x| (x + 1.0) / 2.0 >= zeros);
    numbers(seed, count).into_iter().zip(kept).map(|(x, kept)| if kept { x } else { 0.0 }).collect()
}

/// A network none of whose parameters is zero or one.
fn model(network: &Architecture, preprocessing: Preprocessing, seed: u64) -> Model {
    let drawn = Mlp::of(network, seed, &Device::flex()).unwrap();
    let tensors: Vec<NamedTensor> = drawn.tensors().unwrap();
    let mlp = Mlp::from_tensors(network, &Device::flex(), |name, shape| {
        let count = shape.iter().product();
        let at = tensors.iter().position(|tensor| tensor.name == name).unwrap();
        let noise = numbers(seed + at as u64, count);
        let is_positive =
            name.ends_with("running_var") || name.starts_with("norms") && name.ends_with("weight");
        let values = tensors[at].values.iter().zip(noise);
        Ok::<_, ()>(if is_positive {
            values.map(|(_, noise)| 1.0 + noise / 2.0).collect()
        } else {
            values.map(|(value, noise)| value + noise / 10.0).collect()
        })
    });
    let task = Task::numbered_classes(network.outputs);
    let provenance = Provenance::default();
    let input = InputSpec::dense(&network.input_shape, preprocessing);
    Model { mlp: mlp.unwrap(), task, input, provenance }
}

fn by_burn(model: &Model, rows: &[f32]) -> Vec<f32> {
    let shape = [rows.len() / model.features(), model.features()];
    let rows = Tensor::from_data(TensorData::new(rows.to_vec(), shape), &model.device());
    model.forward(rows).try_into_vec_as::<f32>().unwrap()
}

/// Outputs in double precision.
fn truth(model: &Model, rows: &[f32]) -> Vec<f64> {
    struct Double;
    impl ModuleMapper for Double {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|old| {
                let (device, shape) = (old.device(), old.dims());
                let values = old.try_into_vec_as::<f64>().unwrap();
                Tensor::from_data(TensorData::new(values, shape), (&device, DType::F64))
            })
        }
    }
    let model = Model { mlp: model.mlp.clone().map(&mut Double), ..model.clone() };
    let shape = [rows.len() / model.features(), model.features()];
    let rows: Vec<f64> = rows.iter().map(|&x| f64::from(x)).collect();
    let rows = Tensor::from_data(TensorData::new(rows, shape), (&model.device(), DType::F64));
    model.forward(rows).try_into_vec_as::<f64>().unwrap()
}

fn threads(count: usize) -> NonZero<usize> {
    NonZero::new(count).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Compares with Burn; rows alone, in blocks and on threads are held to one another to the bit.
fn check(model: &Model, rows: &[f32]) {
    let predictor = Predictor::new(model.to_host().unwrap()).unwrap();
    let found = predictor.outputs(rows, threads(1)).unwrap();
    // Norms of numbers that hardly differ make much of rounding, here as there.
    let (by_burn, truth) = (by_burn(model, rows), truth(model, rows));
    let apart = |found: &[f32]| {
        let apart = found.iter().zip(&truth).map(|(found, x)| (f64::from(*found) - x).abs());
        apart.fold(0.0, f64::max)
    };
    let largest = truth.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
    let most = (1e-5 * largest).max(4.0 * apart(&by_burn));
    assert!(apart(&found) <= most, "{} {most} {:?}", apart(&found), model.mlp.architecture());
    let mut session = predictor.session();
    let alone: Vec<f32> = rows
        .chunks_exact(model.features())
        .flat_map(|row| session.outputs(row).unwrap().to_vec())
        .collect();
    assert_eq!(bits(&alone), bits(&found));
    for count in [2, 5] {
        assert_eq!(bits(&predictor.outputs(rows, threads(count)).unwrap()), bits(&found));
    }
    let odd: Vec<f32> = rows
        .chunks(model.features() * 7)
        .flat_map(|rows| predictor.outputs(rows, threads(1)).unwrap())
        .collect();
    assert_eq!(bits(&odd), bits(&found));
}

/// Choices for a hidden layer; those that cannot be are dropped when the network is put together.
#[derive(Clone, Debug)]
struct Choice {
    layer: HiddenLayer,
    span: usize,
    position: usize,
}

fn choices() -> impl Strategy<Value = Choice> {
    let norm = prop_oneof![Just(Norm::None), Just(Norm::Batch), Just(Norm::Layer), Just(Norm::Rms)];
    let kinds = (0..Activation::ALL.len(), norm, 0usize..3);
    // Few widths, so that skip connections fit.
    let width = prop_oneof![Just(1usize), Just(17), Just(40), Just(70)];
    (width, kinds, any::<bool>(), 0usize..4, 0usize..3).prop_map(
        |(width, (activation, norm, norm_position), bias, span, position)| Choice {
            layer: HiddenLayer {
                activation: Activation::ALL[activation],
                leaky_slope: 0.2,
                norm,
                norm_position: NormPosition::ALL[norm_position],
                bias,
                ..HiddenLayer::new(width)
            },
            span,
            position,
        },
    )
}

fn architectures() -> impl Strategy<Value = Architecture> {
    let sizes = (prop_oneof![Just(17usize), 1usize..90], 1usize..20, any::<bool>());
    let lora = proptest::option::of((1usize..4, 0usize..5, any::<bool>()));
    (sizes, proptest::collection::vec(choices(), 0..5), lora).prop_map(
        |((inputs, outputs, output_bias), choices, lora)| {
            let lora = lora.map(|(rank, layer, rank_stabilized)| Lora {
                layers: vec![layer.min(choices.len())],
                rank,
                alpha: 1.5,
                dropout: 0.0,
                rank_stabilized,
            });
            let base = MlpConfig::new([inputs], [], outputs).architecture().unwrap();
            let hidden = choices.iter().map(|choice| choice.layer.clone()).collect();
            let mut network = Architecture { hidden, output_bias, lora, ..base };
            for (i, choice) in choices.iter().enumerate() {
                let position = SkipPosition::ALL[choice.position];
                let skip = (choice.span > 0).then_some(Skip { span: choice.span, position });
                network.hidden[i].skip = skip;
                if network.validate().is_err() {
                    network.hidden[i].skip = None;
                }
                // Of one number it leaves the sign, which rounding decides near 0.
                if network.hidden[i].norm == Norm::Rms && network.norm_width(i) == Some(1) {
                    network.hidden[i].norm = Norm::Layer;
                }
            }
            network
        },
    )
}

/// Parts of a front stage that may be; their columns are those of the rows.
fn fronts() -> impl Strategy<Value = Vec<FrontPart>> {
    let part = prop_oneof![
        (1usize..9).prop_map(|columns| FrontPart::Pass { columns }),
        (1usize..9, 1usize..5).prop_map(|(levels, width)| FrontPart::Embedding { levels, width }),
        (1usize..4, 1usize..6, 2usize..5).prop_map(|(columns, frequencies, width)| {
            FrontPart::Periodic { columns, frequencies, width, sigma: 0.1 }
        }),
    ];
    proptest::collection::vec(part, 1..5)
}

/// A network with what precedes its first layer, and rows for it: with levels, and others.
fn entered(
    mut network: Architecture,
    front: Vec<FrontPart>,
    members: Option<usize>,
    seed: u64,
) -> (Architecture, Vec<f32>) {
    let columns = front.iter().map(FrontPart::columns).sum();
    network.input_shape = vec![columns];
    network.front = front;
    network.ensemble = members.map(|members| Ensemble { members, average: Average::Softmax });
    for layer in &mut network.hidden {
        layer.skip = layer.skip.filter(|skip| skip.span == 1);
    }
    for i in 0..network.hidden.len() {
        if network.validate().is_err() {
            network.hidden[i].skip = None;
        }
    }
    let mut rows = rows(seed, 41 * columns, 0.2);
    for row in rows.chunks_exact_mut(columns) {
        let mut first = 0;
        for part in &network.front {
            if let FrontPart::Embedding { levels, .. } = part {
                // From -2 to two levels too many.
                row[first] =
                    (row[first] * (*levels as f32 + 4.0) / 2.0).round() + *levels as f32 / 2.0;
            }
            first += part.columns();
        }
    }
    (network, rows)
}

fn preprocessings() -> impl Strategy<Value = usize> {
    0usize..4
}

fn preprocessing(kind: usize, features: usize) -> Preprocessing {
    match kind {
        0 => Preprocessing::None,
        1 => Preprocessing::Scale { scale: 0.3 },
        2 => Preprocessing::Normalize { scale: 0.5, mean: 0.2, deviation: 0.7 },
        _ => {
            let mean = numbers(3, features);
            let deviation = mean.iter().map(|x| if *x < -0.9 { 0.0 } else { x.abs() + 0.5 });
            Preprocessing::Standardize { deviation: deviation.collect(), mean }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_network_predicts_what_burn_does(
        network in architectures(),
        kind in preprocessings(),
        seed in 0u64..1_000_000,
        count in 1usize..80,
        zeros in 0.0f32..1.0,
    ) {
        let model = model(&network, preprocessing(kind, network.inputs()), seed);
        check(&model, &rows(seed, count * network.inputs(), zeros));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn every_front_stage_and_ensemble_predicts_what_burn_does(
        network in architectures(),
        front in fronts(),
        members in proptest::option::of(1usize..40),
        (scaling, is_ntk, parametric) in any::<(bool, bool, bool)>(),
        seed in 0u64..1_000_000,
    ) {
        let (mut network, rows) = entered(network, front, members, seed);
        network.scaling = scaling;
        if is_ntk {
            network.parametrization = Parametrization::Ntk;
        }
        network.hidden.iter_mut().for_each(|layer| layer.parametric = parametric);
        check(&model(&network, Preprocessing::None, seed), &rows);
    }
}

/// Two members of a linear classifier, whose probabilities are known.
#[test]
fn members_are_averaged_and_their_spread_is_told() {
    let ensemble = Some(Ensemble { members: 2, average: Average::Softmax });
    let config = MlpConfig { ensemble, ..MlpConfig::new([1], [], 2) };
    let network = config.architecture().unwrap();
    // The logits of class 0 are x and -3 x, those of class 1 are 0.
    let mlp = Mlp::from_tensors(&network, &Device::flex(), |name, _| {
        Ok::<_, ()>(match name {
            "members.weight" => vec![1.0, -1.0],
            "layers.0.weight" => vec![1.0, 0.0, 3.0, 0.0],
            _ => vec![0.0; 4],
        })
    });
    let model = Model { mlp: mlp.unwrap(), ..model(&network, Preprocessing::None, 1) };
    let predictor = Predictor::new(model.to_host().unwrap()).unwrap();
    let share = |z: f32| 1.0 / (1.0 + (-z).exp());
    let (one, other) = (share(0.5), share(-1.5));
    let Prediction::Class { distribution, .. } = &predictor.predict(&[[0.5]]).unwrap()[0] else {
        panic!("a classifier predicts a class")
    };
    assert!((distribution[0] - (one + other) / 2.0).abs() < 1e-6, "{distribution:?}");
    let spread = predictor.spread(&[[0.5]]).unwrap().unwrap();
    assert!(spread.iter().all(|found| (found - (one - other) / 2.0).abs() < 1e-6), "{spread:?}");
    let plain =
        self::model(&MlpConfig::new([1], [], 2).architecture().unwrap(), Preprocessing::None, 1);
    let plain = Predictor::new(plain.to_host().unwrap()).unwrap();
    assert_eq!(plain.spread(&[[0.5]]).unwrap(), None);
}

#[test]
fn wide_layers_in_sparse_and_dense_blocks_agree() {
    for (hidden, zeros) in [(vec![300, 100], 0.8), (vec![128], 0.0), (vec![513, 513], 0.4)] {
        let config = MlpConfig { residual: true, ..MlpConfig::new([28, 28], hidden, 10) };
        let model = model(&config.architecture().unwrap(), Preprocessing::None, 3);
        check(&model, &rows(5, 100 * 784, zeros));
    }
}

#[test]
fn what_is_not_finite_in_the_weights_reaches_the_outputs() {
    let config = MlpConfig::new([3], [], 2).architecture().unwrap();
    let mlp = Mlp::from_tensors(&config, &Device::flex(), |name, shape| {
        let mut values = vec![1.0; shape.iter().product()];
        if name.ends_with("weight") {
            values[0] = f32::INFINITY;
        }
        Ok::<_, ()>(values)
    });
    let base = model(&config, Preprocessing::None, 1);
    let model = Model { mlp: mlp.unwrap(), ..base };
    let predictor = Predictor::new(model.to_host().unwrap()).unwrap();
    let outputs = predictor.outputs(&[0.0, 1.0, 1.0], threads(1)).unwrap();
    assert!(outputs[0].is_nan(), "zero times infinity is no number");
    assert_eq!(outputs[1], 3.0);
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    use fireclay::RowError;
    let model = model(&MlpConfig::new([3], [4], 2).architecture().unwrap(), Preprocessing::None, 1);
    let predictor = Predictor::new(model.to_host().unwrap()).unwrap();
    let found = predictor.outputs(&[0.0; 7], threads(1)).unwrap_err();
    assert_eq!(found, RowError::Width { row: 2, found: 1, expected: 3 });
    let found = predictor.session().predict(&[0.0, f32::INFINITY, 0.0]).unwrap_err();
    assert!(matches!(found, RowError::NotFinite { row: 0, feature: 1, .. }));
    assert!(predictor.outputs(&[], threads(3)).unwrap().is_empty());
    assert!(predictor.predict(&Vec::<Vec<f32>>::new()).unwrap().is_empty());
}
