//! Every gradient against central differences, in f64.

use crate::support::{device, tensor, values};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use fireclay::{
    Activation, Architecture, Average, CrossEntropy, DropoutKey, Ensemble, FrontPart, HiddenLayer,
    Huber, Loss, Mlp, MlpConfig, Norm, NormPosition, Parametrization, Skip, SkipPosition,
    TargetTensor, activate,
};

const BATCH: usize = 6;
const INPUTS: usize = 4;
const OUTPUTS: usize = 3;

fn config(hidden: &[usize]) -> MlpConfig {
    MlpConfig::new([INPUTS], hidden, OUTPUTS)
}

/// Numbers that look random and stay the same: the fractional parts of multiples of the golden ratio.
fn spread(count: usize, low: f64, high: f64) -> Vec<f64> {
    (1..=count).map(|i| low + (high - low) * (i as f64 * 0.618_033_988_749_895).fract()).collect()
}

fn classes(device: &Device) -> TargetTensor {
    let classes: Vec<i64> = (0..BATCH).map(|i| (i % OUTPUTS) as i64).collect();
    TargetTensor::Classes(Tensor::<1, Int>::from_data(TensorData::new(classes, [BATCH]), device))
}

fn numbers(low: f64, high: f64, device: &Device) -> TargetTensor {
    TargetTensor::Values(tensor(spread(BATCH * OUTPUTS, low, high), [BATCH, OUTPUTS], device))
}

fn cross_entropy() -> Loss {
    Loss::CrossEntropy(CrossEntropy::default())
}

/// The gradient of the mean loss of one training pass, by each parameter, must agree with
/// `(L(w + h) - L(w - h)) / 2h` to a relative 1e-4. Numbers too small to be compared so are left
/// out, and most must not be.
#[track_caller]
fn check(name: &str, config: &MlpConfig, loss: &Loss, targets: impl Fn(&Device) -> TargetTensor) {
    check_network(name, &config.architecture().unwrap(), loss, targets);
}

fn check_network(
    name: &str,
    network: &Architecture,
    loss: &Loss,
    targets: impl Fn(&Device) -> TargetTensor,
) {
    let device = device().autodiff();
    let mlp = in_f64(Mlp::of(network, 3, &device).unwrap().train());
    let pass = |mlp: &Mlp| {
        let inputs = tensor(spread(BATCH * INPUTS, -2.0, 2.0), [BATCH, INPUTS], &device);
        let outputs = mlp.clone().forward_train(inputs, DropoutKey { seed: 1, step: 2 });
        let targets = targets(&device);
        match network.members() {
            1 => loss.mean(outputs, &targets),
            members => loss.rows_of_members(outputs, &targets, members).mean(),
        }
    };
    let found = gradients(&pass(&mlp), &mlp);
    assert_eq!(found.iter().map(Vec::len).sum::<usize>(), network.parameters(), "{name}");

    let h = 1e-5;
    let (mut compared, mut all) = (0, 0);
    for (parameter, gradient) in found.iter().enumerate() {
        for (index, &found) in gradient.iter().enumerate() {
            let at = |delta| values(pass(&nudged(mlp.clone(), parameter, index, delta)))[0];
            let expected = (at(h) - at(-h)) / (2.0 * h);
            all += 1;
            let size = f64::max(found.abs(), expected.abs());
            if size < 1e-6 {
                continue;
            }
            compared += 1;
            let error = (found - expected).abs() / size;
            assert!(error < 1e-4, "{name}: parameter {parameter}[{index}]: {found} != {expected}");
        }
    }
    assert!(compared * 2 > all, "{name}: only {compared} of {all} gradients are large enough");
}

#[test]
fn of_every_activation() {
    for &activation in Activation::ALL {
        let config = MlpConfig { activation, ..config(&[7, 6]) };
        check(activation.name(), &config, &cross_entropy(), classes);
    }
}

#[test]
fn of_every_kind_of_layer() {
    for &norm in Norm::ALL {
        for residual in [false, true] {
            let activation = Activation::Tanh;
            let config = MlpConfig { norm, residual, activation, ..config(&[5, 5, 4]) };
            check(&format!("{norm}, residual {residual}"), &config, &cross_entropy(), classes);
        }
    }
    for (name, network) in layer_by_layer() {
        check_network(name, &network, &cross_entropy(), classes);
    }
    for (name, config) in entered() {
        check(name, &config, &cross_entropy(), classes);
    }
    check("no hidden layer", &config(&[]), &cross_entropy(), classes);
    let config = MlpConfig { dropout: 0.3, input_dropout: 0.1, ..config(&[16]) };
    check("dropout", &config, &cross_entropy(), classes);
}

/// Networks with something before their first layer, or that divide its inputs.
fn entered() -> Vec<(&'static str, MlpConfig)> {
    let activation = Activation::Tanh;
    let plain = MlpConfig { activation, ..config(&[5]) };
    let periodic = FrontPart::Periodic { columns: 2, frequencies: 3, width: 3, sigma: 0.5 };
    let front = vec![
        FrontPart::Pass { columns: 1 },
        FrontPart::Embedding { levels: 2, width: 3 },
        periodic,
    ];
    let ensemble = Some(Ensemble { members: 3, average: Average::Softmax });
    vec![
        ("front stage", MlpConfig { front: front.clone(), ..plain.clone() }),
        ("scaling", MlpConfig { scaling: true, ..plain.clone() }),
        ("ntk", MlpConfig { parametrization: Parametrization::Ntk, ..plain.clone() }),
        ("parametric", MlpConfig { parametric: true, ..plain.clone() }),
        ("ensemble", MlpConfig { ensemble, front, scaling: true, ..plain }),
    ]
}

#[test]
fn of_every_loss() {
    let config = MlpConfig { activation: Activation::Tanh, ..config(&[5]) };
    let weighted = CrossEntropy { label_smoothing: 0.1, class_weights: Some(vec![0.5, 1.0, 2.5]) };
    check("smoothed and weighted", &config, &Loss::CrossEntropy(weighted), classes);
    let labels = |device: &Device| {
        let labels = (0..BATCH * OUTPUTS).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
        TargetTensor::Values(tensor(labels, [BATCH, OUTPUTS], device))
    };
    check("binary cross-entropy", &config, &Loss::BinaryCrossEntropy, labels);
    check("mse", &config, &Loss::Mse, |d| numbers(-2.0, 2.0, d));
    check("mae", &config, &Loss::Mae, |d| numbers(-2.0, 2.0, d));
    check("huber", &config, &Loss::Huber(Huber { delta: 0.7 }), |d| numbers(-2.0, 2.0, d));
}

/// Neither a value nor a gradient may overflow on the way, however large the numbers are.
#[test]
fn stay_finite_far_out() {
    let device = device().autodiff();
    let far = vec![-1e4, -88.0, -1e-30, 0.0, 1e-30, 88.0, 1e4, 1e4];
    for &activation in Activation::ALL {
        let x =
            Tensor::<2>::from_data(TensorData::new(far.clone(), [2, 4]), &device).require_grad();
        let y = activate(activation, x.clone());
        let gradient = x.grad(&y.clone().sum().backward()).unwrap();
        assert!(values(y).iter().all(|v| v.is_finite()), "{activation}");
        assert!(values(gradient).iter().all(|v| v.is_finite()), "gradient of {activation}");
    }
    let classes = TargetTensor::Classes(Tensor::from_data([0, 3], &device));
    let labels = || Tensor::from_data([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]], &device);
    let losses = [
        (cross_entropy(), classes.clone()),
        (Loss::CrossEntropy(CrossEntropy { label_smoothing: 0.1, class_weights: None }), classes),
        (Loss::BinaryCrossEntropy, TargetTensor::Values(labels())),
        (Loss::Mse, TargetTensor::Values(labels())),
        (Loss::Mae, TargetTensor::Values(labels())),
        (Loss::Huber(Huber::default()), TargetTensor::Values(labels())),
    ];
    for (loss, targets) in losses {
        let x =
            Tensor::<2>::from_data(TensorData::new(far.clone(), [2, 4]), &device).require_grad();
        let y = loss.mean(x.clone(), &targets);
        let gradient = x.grad(&y.backward()).unwrap();
        assert!(values(y)[0].is_finite(), "{}", loss.name());
        assert!(values(gradient).iter().all(|v| v.is_finite()), "gradient of {}", loss.name());
    }
}

/// The network with its parameters in f64.
fn in_f64(mlp: Mlp) -> Mlp {
    mlp.map(&mut Map(|_: usize, values: Vec<f64>| values, 0))
}

/// The network with `delta` added to one number of its `parameter`-th trainable parameter.
fn nudged(mlp: Mlp, parameter: usize, index: usize, delta: f64) -> Mlp {
    let nudge = |at: usize, mut values: Vec<f64>| {
        if at == parameter {
            values[index] += delta;
        }
        values
    };
    mlp.map(&mut Map(nudge, 0))
}

/// Gradients of `loss` by the trainable parameters of `mlp`, in their order.
fn gradients(loss: &Tensor<1>, mlp: &Mlp) -> Vec<Vec<f64>> {
    let mut collect = Collect(loss.backward(), Vec::new());
    mlp.visit(&mut collect);
    collect.1
}

/// Rewrites each trainable parameter, in f64; the rest is only cast.
struct Map<F>(F, usize);

impl<F: Fn(usize, Vec<f64>) -> Vec<f64>> ModuleMapper for Map<F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let is_trained = param.val().is_require_grad();
        let at = self.1;
        self.1 += usize::from(is_trained);
        param.map(|old| {
            let (device, shape) = (old.device(), old.dims());
            let old = values(old);
            let new = if is_trained { (self.0)(at, old) } else { old };
            tensor(new, shape, &device).set_require_grad(is_trained)
        })
    }
}

struct Collect(burn::tensor::Gradients, Vec<Vec<f64>>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad_remove(&mut self.0) {
            self.1.push(values(gradient));
        }
    }
}

/// Networks whose layers differ.
fn layer_by_layer() -> Vec<(&'static str, Architecture)> {
    let layer = |width| HiddenLayer { activation: Activation::Tanh, ..HiddenLayer::new(width) };
    let norm = |norm, norm_position| HiddenLayer { norm, norm_position, ..layer(5) };
    let skip = |span, position| HiddenLayer { skip: Some(Skip { span, position }), ..layer(5) };
    let gelu = HiddenLayer { activation: Activation::Gelu, bias: false, ..HiddenLayer::new(6) };
    let residual_block = |position| {
        let linear = HiddenLayer { activation: Activation::Identity, ..skip(2, position) };
        vec![layer(5), layer(7), linear]
    };
    let before = HiddenLayer {
        norm: Norm::Layer,
        ..residual_block(SkipPosition::BeforeNorm).swap_remove(2)
    };
    let networks = [
        ("different layers, without biases", vec![gelu, layer(4)]),
        (
            "norms on the input",
            vec![norm(Norm::Layer, NormPosition::Input), norm(Norm::Batch, NormPosition::Input)],
        ),
        (
            "norms behind the activation",
            vec![
                norm(Norm::Batch, NormPosition::AfterActivation),
                norm(Norm::Layer, NormPosition::AfterActivation),
            ],
        ),
        ("a skip over two layers", residual_block(SkipPosition::Output)),
        ("a skip before the activation", residual_block(SkipPosition::BeforeActivation)),
        ("a skip before the norm", vec![layer(5), layer(7), before]),
        (
            "skips over one",
            vec![layer(5), skip(1, SkipPosition::BeforeActivation), skip(1, SkipPosition::Output)],
        ),
    ];
    let base = config(&[]).architecture().unwrap();
    let of = |(name, hidden)| (name, Architecture { hidden, output_bias: false, ..base.clone() });
    networks.map(of).to_vec()
}
