//! Functions of one number at a time, recognised by what they compute.
//!
//! Exporters write many activations as several operators, and each in its own way. Instead of knowing
//! every way, the operators are computed at a few numbers, and compared with the activations there.

use std::collections::BTreeMap;

use super::proto::Node;
use crate::{Activation, Problem};

/// Where functions are compared: close around the places where they bend, and far out, so that a
/// bound such as 500 is seen. Farther out a bound stands for none, as the largest number does, and
/// the difference of two numbers would have no digits left.
pub(super) const PROBES: [f64; 59] = [
    0.0, 1.0, -1.0, 1e-3, -1e-3, 0.1, -0.1, 0.25, -0.25, 0.5, -0.5, 0.75, -0.75, 0.99, -0.99, 1.01,
    -1.01, 1.5, -1.5, 2.0, -2.0, 2.49, -2.49, 2.51, -2.51, 2.99, -2.99, 3.01, -3.01, 4.0, -4.0,
    5.0, -5.0, 5.99, -5.99, 6.01, -6.01, 8.0, -8.0, 12.0, -12.0, 19.0, -19.0, 21.0, -21.0, 60.0,
    -60.0, 300.0, -300.0, 1e3, -1e3, 1e4, -1e4, 1e6, -1e6, 1e9, -1e9, 1e12, -1e12,
];

/// Up to here `exp(2 x)` is a number of 64 bits.
const LARGEST_EXPONENT: f64 = 300.0;

/// Numbers of 32 bits in the operators allow for no more.
const TOLERANCE: f64 = 1e-6;

/// A node, and what it takes at [`PROBES`].
pub(super) type Alone<'n, 'a> = Option<(&'n Node<'a>, &'n [Option<Vec<f64>>])>;

/// A function that was recognised.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Function {
    /// `scale x + offset`.
    Affine {
        /// The factor.
        scale: f64,
        /// The offset.
        offset: f64,
    },
    /// An activation.
    Activation(Activation),
}

/// An activation without constants.
pub(super) fn activation(name: &str) -> Activation {
    Activation { name: name.to_owned(), constants: BTreeMap::new() }
}

/// A number as the decimal it was before it was rounded to 32 bits, such as 0.2.
pub(super) fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// A function with its name.
type Known = (&'static str, fn(f64) -> f64);

/// The functions that are recognised.
const KNOWN: &[Known] = &[
    ("relu", relu),
    ("leaky-relu", |x| if x < 0.0 { 0.01 * x } else { x }),
    ("relu6", |x| x.clamp(0.0, 6.0)),
    ("elu", |x| if x < 0.0 { x.exp_m1() } else { x }),
    ("selu", |x| selu(x, SELU_ALPHA, SELU_GAMMA)),
    ("gelu", gelu),
    ("gelu-tanh", gelu_tanh),
    ("silu", |x| x * sigmoid(x)),
    ("mish", mish),
    ("sigmoid", sigmoid),
    ("tanh", f64::tanh),
    ("softplus", softplus),
    ("softsign", softsign),
    ("hard-sigmoid", |x| hard_sigmoid(x, 1.0 / 6.0, 0.5)),
    ("hard-swish", hard_swish),
    ("hard-tanh", |x| x.clamp(-1.0, 1.0)),
];

/// Constants of [Klambauer et al. 2017](https://arxiv.org/abs/1706.02515).
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_GAMMA: f64 = 1.050_700_987_355_480_5;

fn relu(x: f64) -> f64 {
    larger(x, 0.0)
}

/// The larger of two; what is no number stays none, unlike that of the standard library.
fn larger(x: f64, y: f64) -> f64 {
    if y.is_nan() {
        y
    } else if x.is_nan() {
        x
    } else {
        x.max(y)
    }
}

fn smaller(x: f64, y: f64) -> f64 {
    -larger(-x, -y)
}

fn truth(truth: bool) -> f64 {
    f64::from(u8::from(truth))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn softsign(x: f64) -> f64 {
    x / (1.0 + x.abs())
}

fn selu(x: f64, alpha: f64, gamma: f64) -> f64 {
    gamma * if x < 0.0 { alpha * x.exp_m1() } else { x }
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

fn gelu_tanh(x: f64) -> f64 {
    let factor = (2.0 / std::f64::consts::PI).sqrt();
    0.5 * x * (1.0 + (factor * (x + 0.044_715 * x * x * x)).tanh())
}

fn mish(x: f64) -> f64 {
    x * softplus(x).tanh()
}

fn hard_sigmoid(x: f64, alpha: f64, beta: f64) -> f64 {
    (alpha * x + beta).clamp(0.0, 1.0)
}

fn hard_swish(x: f64) -> f64 {
    x * hard_sigmoid(x, 1.0 / 6.0, 0.5)
}

/// Which function has these values at [`PROBES`]; `node` if it is one operator alone.
///
/// # Errors
///
/// [`Problem::Malformed`] if an attribute of the node is not what it should be.
pub(super) fn recognise(values: &[f64], node: Alone<'_, '_>) -> Result<Option<Function>, Problem> {
    for &(name, function) in KNOWN {
        if agree(values, function, TOLERANCE) {
            return Ok(Some(Function::Activation(activation(name))));
        }
    }
    if let Some(affine) = affine(values) {
        return Ok(Some(affine));
    }
    let Some((node, inputs)) = node else { return Ok(None) };
    Ok(match node.operator() {
        "LeakyRelu" => named("leaky-relu", &[("slope", decimal(node.float("alpha", 0.01)?))]),
        "Celu" => named("celu", &[("alpha", decimal(node.float("alpha", 1.0)?))]),
        "Elu" => named("elu", &[("alpha", decimal(node.float("alpha", 1.0)?))]),
        "HardSigmoid" => named(
            "hard-sigmoid",
            &[
                ("alpha", decimal(node.float("alpha", 0.2)?)),
                ("beta", decimal(node.float("beta", 0.5)?)),
            ],
        ),
        "Clip" => bounds(node, inputs)?
            .filter(|(min, max)| min.is_finite() && max.is_finite() && min < max)
            .and_then(|(min, max)| named("hard-tanh", &[("min", min), ("max", max)])),
        _ => None,
    })
}

/// A function that differs by feature: `scale f(x) + offset`, or `x` where that is positive and else
/// `scale x`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Each {
    /// `f`, if it is not `x` itself.
    pub(super) activation: Option<Activation>,
    /// True if it is the second of the two.
    pub(super) is_prelu: bool,
    /// The number of each feature.
    pub(super) scales: Vec<f64>,
    /// The number of each feature.
    pub(super) offsets: Vec<f64>,
}

/// Which function has these values at [`PROBES`], feature by feature.
///
/// # Errors
///
/// None; as [`recognise`] could have.
pub(super) fn recognise_each(
    values: &[f64],
    _alone: Alone<'_, '_>,
) -> Result<Option<Each>, Problem> {
    let features: Vec<&[f64]> = values.chunks_exact(PROBES.len()).collect();
    // PROBES[2] is -1.
    let slopes: Vec<f64> = features.iter().map(|values| -values[2]).collect();
    let is_prelu = std::iter::zip(&features, &slopes)
        .all(|(values, slope)| agree(values, |x| if x < 0.0 { slope * x } else { x }, TOLERANCE));
    if is_prelu {
        let offsets = vec![0.0; slopes.len()];
        return Ok(Some(Each { activation: None, is_prelu, scales: slopes, offsets }));
    }
    let candidates =
        [("identity", (|x| x) as fn(f64) -> f64)].into_iter().chain(KNOWN.iter().copied());
    for (name, function) in candidates {
        // PROBES[0] is 0 and PROBES[9] is 0.5, at which no function here is alike.
        let (low, high) = (function(PROBES[0]), function(PROBES[9]));
        let lines = features.iter().map(|values| {
            let scale = (values[9] - values[0]) / (high - low);
            (scale, values[0] - scale * low)
        });
        let lines: Vec<(f64, f64)> = lines.collect();
        let all = std::iter::zip(&features, &lines).all(|(values, &(scale, offset))| {
            // Rounding of f64 is all that a line can differ by.
            let least = if name == "identity" { 1e-12 } else { TOLERANCE };
            let tolerance = least * (scale.abs() + offset.abs()).max(1.0);
            scale.is_finite() && agree(values, |x| scale * function(x) + offset, tolerance)
        });
        if all && !features.is_empty() {
            let (scales, offsets) = lines.into_iter().unzip();
            let activation = (name != "identity").then(|| activation(name));
            return Ok(Some(Each { activation, is_prelu: false, scales, offsets }));
        }
    }
    Ok(None)
}

/// An activation with constants.
fn named(name: &str, constants: &[(&str, f64)]) -> Option<Function> {
    let constants = constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    Some(Function::Activation(Activation { name: name.to_owned(), constants }))
}

fn agree(values: &[f64], function: impl Fn(f64) -> f64, tolerance: f64) -> bool {
    values.len() == PROBES.len()
        && std::iter::zip(PROBES, values).all(|(x, &y)| {
            let expected = function(x);
            // An exponential on the way, as in `log(1 + exp(x))`, hides what is meant there.
            let is_hidden = x.abs() > LARGEST_EXPONENT && !y.is_finite();
            // Written so that a value that is no number disagrees elsewhere.
            is_hidden || (y - expected).abs() <= tolerance * expected.abs().max(1.0)
        })
}

fn affine(values: &[f64]) -> Option<Function> {
    let &[offset, at_one, ..] = values else { return None };
    let scale = at_one - offset;
    // Rounding of f64 is all that these can differ by.
    let tolerance = 1e-12 * (scale.abs() + offset.abs()).max(f64::MIN_POSITIVE);
    let straight = std::iter::zip(PROBES, values)
        .all(|(x, &y)| (y - (scale * x + offset)).abs() <= tolerance * (1.0 + x.abs()));
    (straight && scale != 0.0 && scale.is_finite() && offset.is_finite())
        .then_some(Function::Affine { scale, offset })
}

/// Computes an operator, if it is one of those that take each number by itself.
///
/// # Errors
///
/// [`Problem`] if an attribute of the node is not known or not what it should be.
pub(super) fn apply(
    node: &Node<'_>,
    inputs: &[Option<Vec<f64>>],
) -> Result<Option<Vec<f64>>, Problem> {
    let Some(operation) = operation(node, inputs)? else { return Ok(None) };
    let [first, second, third] = [0, 1, 2].map(|at| inputs.get(at).and_then(Option::as_deref));
    let Some(first) = first else { return Ok(None) };
    Ok(match operation {
        Operation::One(function) => Some(first.iter().map(|&x| function(x)).collect()),
        Operation::Two(function) => second
            .filter(|_| inputs.len() == 2)
            .map(|second| std::iter::zip(first, second).map(|(&x, &y)| function(x, y)).collect()),
        Operation::Where => second.zip(third).map(|(yes, no)| {
            let choices = std::iter::zip(first, std::iter::zip(yes, no));
            choices.map(|(&c, (&yes, &no))| if c != 0.0 { yes } else { no }).collect()
        }),
    })
}

enum Operation {
    One(Box<dyn Fn(f64) -> f64>),
    Two(fn(f64, f64) -> f64),
    Where,
}

/// The operation of a node, if it takes each number by itself.
fn operation(node: &Node<'_>, inputs: &[Option<Vec<f64>>]) -> Result<Option<Operation>, Problem> {
    let operation = match without_constants(node.operator()) {
        Some(function) => Some(one(function)),
        None => with_constants(node, inputs)?.or_else(|| arithmetic(node.operator(), inputs.len())),
    };
    if operation.is_some() {
        node.has_only(known_attributes(node))?;
    }
    Ok(operation)
}

/// The attributes that are read of an operator, or that change nothing here.
fn known_attributes(node: &Node<'_>) -> &'static [&'static str] {
    match node.operator() {
        "Cast" => &["to", "saturate", "round_mode"],
        "LeakyRelu" | "Celu" | "Elu" | "Swish" => &["alpha"],
        "Selu" => &["alpha", "gamma"],
        "HardSigmoid" => &["alpha", "beta"],
        "Gelu" => &["approximate"],
        "Clip" => &["min", "max"],
        _ if node.runtime_operator() == "QuickGelu" => &["alpha"],
        _ => &[],
    }
}

/// Operators of one number that have no constants.
fn without_constants(operator: &str) -> Option<fn(f64) -> f64> {
    Some(match operator {
        "Identity" => |x| x,
        "Abs" => f64::abs,
        "Neg" => |x| -x,
        "Exp" => f64::exp,
        "Log" => f64::ln,
        "Sqrt" => f64::sqrt,
        "Reciprocal" => f64::recip,
        "Erf" => libm::erf,
        // The standard has no such operator, but tf2onnx writes it for Keras' gelu.
        "Erfc" => libm::erfc,
        "Relu" => relu,
        "Sigmoid" => sigmoid,
        "Tanh" => f64::tanh,
        "Softplus" => softplus,
        "Softsign" => softsign,
        "HardSwish" => hard_swish,
        "Mish" => mish,
        _ => return None,
    })
}

/// Operators of one number whose attributes or inputs are its constants.
fn with_constants(
    node: &Node<'_>,
    inputs: &[Option<Vec<f64>>],
) -> Result<Option<Operation>, Problem> {
    Ok(Some(match (node.operator(), node.runtime_operator()) {
        ("CastLike", _) => Operation::Two(|x, _| x),
        ("Cast", _) if casts_to_float(node)? => one(|x| x),
        ("Swish", _) => swish(number(node, "alpha", 1.0)?),
        ("LeakyRelu", _) => {
            let slope = number(node, "alpha", 0.01)?;
            one(move |x| if x < 0.0 { slope * x } else { x })
        }
        ("Elu", _) => {
            let alpha = number(node, "alpha", 1.0)?;
            one(move |x| if x < 0.0 { alpha * x.exp_m1() } else { x })
        }
        ("Celu", _) => {
            let alpha = number(node, "alpha", 1.0)?;
            one(move |x| if x < 0.0 { alpha * (x / alpha).exp_m1() } else { x })
        }
        ("Selu", _) => {
            let alpha = number(node, "alpha", SELU_ALPHA as f32)?;
            let gamma = number(node, "gamma", SELU_GAMMA as f32)?;
            one(move |x| selu(x, alpha, gamma))
        }
        ("HardSigmoid", _) => {
            let (alpha, beta) = (number(node, "alpha", 0.2)?, number(node, "beta", 0.5)?);
            one(move |x| hard_sigmoid(x, alpha, beta))
        }
        ("Gelu", _) => match node.text("approximate", "none")? {
            b"none" => one(gelu),
            b"tanh" => one(gelu_tanh),
            _ => return Ok(None),
        },
        ("Clip", _) => match bounds(node, inputs)? {
            Some((min, max)) => one(move |x| smaller(larger(x, min), max)),
            None => return Ok(None),
        },
        (_, "Gelu") => one(gelu),
        (_, "QuickGelu") => swish(number(node, "alpha", 1.702)?),
        _ => return Ok(None),
    }))
}

fn one(function: impl Fn(f64) -> f64 + 'static) -> Operation {
    Operation::One(Box::new(function))
}

fn swish(alpha: f64) -> Operation {
    one(move |x| x * sigmoid(alpha * x))
}

/// An attribute that is a number.
fn number(node: &Node<'_>, name: &str, default: f32) -> Result<f64, Problem> {
    node.float(name, default).map(f64::from)
}

/// Returns the operation of an operator that takes several numbers.
fn arithmetic(operator: &str, inputs: usize) -> Option<Operation> {
    Some(match operator {
        "Add" => Operation::Two(|x, y| x + y),
        "Sub" => Operation::Two(|x, y| x - y),
        "Mul" => Operation::Two(|x, y| x * y),
        "Div" => Operation::Two(|x, y| x / y),
        "Pow" => Operation::Two(f64::powf),
        "Min" => Operation::Two(smaller),
        "Max" => Operation::Two(larger),
        "Greater" => Operation::Two(|x, y| truth(x > y)),
        "GreaterOrEqual" => Operation::Two(|x, y| truth(x >= y)),
        "Less" => Operation::Two(|x, y| truth(x < y)),
        "LessOrEqual" => Operation::Two(|x, y| truth(x <= y)),
        "Sum" if inputs == 2 => Operation::Two(|x, y| x + y),
        "Where" => Operation::Where,
        _ => return None,
    })
}

/// Returns true if the node Cast changes numbers by rounding only.
pub(super) fn casts_to_float(node: &Node<'_>) -> Result<bool, Problem> {
    Ok(matches!(node.int("to")?, Some(1 | 10 | 11 | 16)))
}

/// The bounds of the node Clip, if they are constant: attributes before version 11, inputs since.
fn bounds(node: &Node<'_>, inputs: &[Option<Vec<f64>>]) -> Result<Option<(f64, f64)>, Problem> {
    let min = bound(node, inputs.get(1), "min", f32::NEG_INFINITY)?;
    Ok(min.zip(bound(node, inputs.get(2), "max", f32::INFINITY)?))
}

/// One bound: an input that is one number everywhere, or an attribute.
fn bound(
    node: &Node<'_>,
    input: Option<&Option<Vec<f64>>>,
    name: &str,
    absent: f32,
) -> Result<Option<f64>, Problem> {
    match input {
        Some(Some(values)) => {
            Ok(values.first().copied().filter(|first| values.iter().all(|value| value == first)))
        }
        _ => number(node, name, absent).map(Some),
    }
}
