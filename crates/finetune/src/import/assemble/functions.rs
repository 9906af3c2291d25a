//! Functions of a file with any constants, as Fireclay functions between two affine maps.

use std::collections::BTreeMap;

use fireclay::Activation;
use fireclay_formats as formats;

use super::super::ImportError;

/// A function of each number.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Function {
    /// A function that Fireclay has.
    Ours(Activation),
    /// `x` where positive, else `slope x`, each feature by its own slope: relu, leaky relu, PReLU.
    Bent(Vec<f64>),
}

impl Function {
    /// Whether it changes nothing.
    pub(super) fn is_identity(&self) -> bool {
        matches!(self, Self::Bent(slopes) if slopes.iter().all(|&slope| slope == 1.0))
    }

    /// Its value at a number of this feature, by the formula that defines it.
    pub(super) fn at(&self, feature: usize, x: f64) -> f64 {
        match self {
            Self::Bent(slopes) => {
                if x > 0.0 {
                    x
                } else {
                    slopes[feature] * x
                }
            }
            Self::Ours(activation) => value(*activation, x),
        }
    }
}

/// `b f(a x + c) + d`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resolved {
    /// `a` and `c`.
    pub(super) before: (f64, f64),
    /// `f`.
    pub(super) function: Function,
    /// `b` and `d`.
    pub(super) after: (f64, f64),
}

impl Resolved {
    /// Whether it is exactly one activation function of Fireclay.
    pub(super) fn is_plain(&self) -> bool {
        self.before == NOTHING && self.after == NOTHING
    }
}

const NOTHING: (f64, f64) = (1.0, 0.0);

/// A function of the file, of this many numbers.
pub(super) fn resolve(found: &formats::Activation, width: usize) -> Result<Resolved, ImportError> {
    let mut constants = Constants { of: &found.name, left: found.constants.clone() };
    let resolved = match found.name.as_str() {
        "identity" => bent(1.0, width),
        "relu" => relu(&mut constants, width)?,
        "leaky-relu" => bent(constants.take("slope", 0.01), width),
        "elu" => {
            constants.must_be("alpha", 1.0)?;
            ours(Activation::Elu)
        }
        // `alpha elu(x / alpha)`.
        "celu" => stretched(Activation::Elu, 1.0 / constants.positive("alpha", 1.0)?),
        "softplus" => {
            // Above it PyTorch takes `x` itself, which is the same to the last bit.
            constants.left.remove("threshold");
            stretched(Activation::Softplus, constants.positive("beta", 1.0)?)
        }
        "silu" => stretched(Activation::Silu, constants.positive("beta", 1.0)?),
        "hard-sigmoid" => {
            let (alpha, beta) = (constants.take("alpha", 1.0 / 6.0), constants.take("beta", 0.5));
            // `clamp(alpha x + beta, 0, 1)`, where ours is `clamp(x / 6 + 1/2, 0, 1)`.
            let before = (6.0 * alpha, 6.0 * beta - 3.0);
            Resolved { before: tidy(before), ..ours(Activation::HardSigmoid) }
        }
        "hard-tanh" => {
            let (min, max) = (constants.take("min", -1.0), constants.take("max", 1.0));
            clamp(&constants, min, max)?
        }
        name => ours(name.parse().map_err(|error: fireclay::UnknownName| {
            ImportError::unsupported(
                format!("the file has the activation {name}"),
                error.to_string(),
            )
        })?),
    };
    constants.must_be_empty()?;
    Ok(resolved)
}

/// What rounding alone keeps from being nothing.
fn tidy((factor, shift): (f64, f64)) -> (f64, f64) {
    if (factor - 1.0).abs() < 1e-12 && shift.abs() < 1e-12 { NOTHING } else { (factor, shift) }
}

fn ours(activation: Activation) -> Resolved {
    Resolved { before: NOTHING, function: Function::Ours(activation), after: NOTHING }
}

fn bent(slope: f64, width: usize) -> Resolved {
    Resolved { before: NOTHING, function: Function::Bent(vec![slope; width]), after: NOTHING }
}

/// `f(beta x) / beta`.
fn stretched(activation: Activation, beta: f64) -> Resolved {
    Resolved { before: (beta, 0.0), after: (1.0 / beta, 0.0), ..ours(activation) }
}

/// `min(max(x, min), max)`, where ours is that of -1 and 1.
fn clamp(constants: &Constants<'_>, min: f64, max: f64) -> Result<Resolved, ImportError> {
    let (middle, half) = (f64::midpoint(min, max), (max - min) / 2.0);
    if half > 0.0 && half.is_finite() {
        let (before, after) = ((1.0 / half, -middle / half), (half, middle));
        return Ok(Resolved { before, after, ..ours(Activation::HardTanh) });
    }
    Err(constants.refused(format!("min = {min} and max = {max}"), "min must be below max"))
}

/// The `ReLU` of Keras, which has three constants.
fn relu(constants: &mut Constants<'_>, width: usize) -> Result<Resolved, ImportError> {
    let slope = constants.take("negative_slope", 0.0);
    let slope = constants.take("slope", slope);
    let max = constants.take("max_value", f64::INFINITY);
    let max = constants.take("max", max);
    let threshold = constants.take("threshold", 0.0);
    if threshold != 0.0 {
        let why = "a function that jumps has no counterpart here";
        return Err(constants.refused(format!("threshold = {threshold}"), why));
    }
    if max.is_infinite() {
        return Ok(bent(slope, width));
    }
    if slope != 0.0 {
        let why = "here one of the two can be had, and not both";
        return Err(constants.refused(format!("slope = {slope} and max = {max}"), why));
    }
    if max.is_nan() || max <= 0.0 {
        return Err(constants.refused(format!("max = {max}"), "it must be above 0"));
    }
    let (before, after) = ((6.0 / max, 0.0), (max / 6.0, 0.0));
    Ok(Resolved { before, after, ..ours(Activation::Relu6) })
}

/// The constants of a function that have not been understood yet.
struct Constants<'a> {
    of: &'a str,
    left: BTreeMap<String, f64>,
}

impl Constants<'_> {
    fn take(&mut self, name: &str, default: f64) -> f64 {
        self.left.remove(name).unwrap_or(default)
    }

    fn positive(&mut self, name: &str, default: f64) -> Result<f64, ImportError> {
        let value = self.take(name, default);
        if value > 0.0 && value.is_finite() {
            return Ok(value);
        }
        Err(self.refused(format!("{name} = {value}"), "it must be above 0"))
    }

    fn must_be(&mut self, name: &str, only: f64) -> Result<(), ImportError> {
        let value = self.take(name, only);
        if value == only {
            return Ok(());
        }
        Err(self.refused(format!("{name} = {value}"), format!("here it is {only}")))
    }

    fn must_be_empty(&self) -> Result<(), ImportError> {
        match self.left.iter().next() {
            None => Ok(()),
            Some((name, value)) => {
                let why = "here it has PyTorch's constants and no others";
                Err(self.refused(format!("{name} = {value}"), why))
            }
        }
    }

    fn refused(&self, what: String, why: impl Into<String>) -> ImportError {
        ImportError::unsupported(format!("the file has {} with {what}", self.of), why)
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn elu(x: f64, alpha: f64) -> f64 {
    if x > 0.0 { x } else { alpha * x.exp_m1() }
}

fn hard_sigmoid(x: f64) -> f64 {
    (x / 6.0 + 0.5).clamp(0.0, 1.0)
}

/// `f(x)` in `f64`.
fn value(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu => x.max(0.01 * x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Elu => elu(x, 1.0),
        Activation::Selu => 1.050_700_987_355_480_5 * elu(x, 1.673_263_242_354_377_2),
        Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Activation::GeluTanh => {
            let inner = std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Silu => x * sigmoid(x),
        Activation::Mish => x * softplus(x).tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Softplus => softplus(x),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::HardSigmoid => hard_sigmoid(x),
        Activation::HardSwish => x * hard_sigmoid(x),
        Activation::HardTanh => x.clamp(-1.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, constants: &[(&str, f64)]) -> Result<impl Fn(f64) -> f64 + use<>, String> {
        let constants = constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        let found = formats::Activation { name: name.to_owned(), constants };
        let Resolved { before, function, after } =
            resolve(&found, 1).map_err(|error| error.to_string())?;
        Ok(move |x| after.0 * function.at(0, before.0 * x + before.1) + after.1)
    }

    #[test]
    fn constants_become_affine_maps_around_functions_of_ours() {
        // Each by its definition in the documentation of PyTorch or Keras, at -2 and 3.
        type Case<'a> = (&'a str, &'a [(&'a str, f64)], [f64; 2]);
        let cases: [Case<'_>; 12] = [
            ("relu", &[("slope", 0.25)], [-0.5, 3.0]),
            ("relu", &[("max_value", 2.0)], [0.0, 2.0]),
            ("leaky-relu", &[], [-0.02, 3.0]),
            ("leaky-relu", &[("slope", 0.3)], [-0.6, 3.0]),
            ("celu", &[("alpha", 2.0)], [2.0 * (-1_f64).exp_m1(), 3.0]),
            (
                "softplus",
                &[("beta", 2.0)],
                [(-4_f64).exp().ln_1p() / 2.0, 6_f64.exp().ln_1p() / 2.0],
            ),
            ("silu", &[("beta", 2.0)], [-2.0 / (1.0 + 4_f64.exp()), 3.0 / (1.0 + (-6_f64).exp())]),
            ("hard-sigmoid", &[("alpha", 0.2), ("beta", 0.5)], [0.1, 1.0]),
            ("hard-sigmoid", &[("alpha", 1.0 / 6.0), ("beta", 0.5)], [1.0 / 6.0, 1.0]),
            ("hard-tanh", &[("min", -1.5), ("max", 0.5)], [-1.5, 0.5]),
            ("elu", &[("alpha", 1.0)], [(-2_f64).exp_m1(), 3.0]),
            ("identity", &[], [-2.0, 3.0]),
        ];
        for (name, constants, expected) in cases {
            let function = of(name, constants).unwrap();
            for (x, expected) in [-2.0, 3.0].into_iter().zip(expected) {
                assert!((function(x) - expected).abs() < 1e-12, "{name} {constants:?} at {x}");
            }
        }
    }

    #[test]
    fn what_has_no_counterpart_is_refused_by_name() {
        for (name, constant, value) in [
            ("relu", "threshold", 1.0),
            ("relu", "max", 0.0),
            ("elu", "alpha", 0.5),
            ("celu", "alpha", 0.0),
            ("softplus", "beta", -1.0),
            ("hard-tanh", "max", -2.0),
            ("tanh", "alpha", 2.0),
        ] {
            let error = of(name, &[(constant, value)]).err().unwrap();
            assert!(error.contains(name) && error.contains(constant), "{error}");
        }
        assert!(of("relu", &[("slope", 0.1), ("max", 6.0)]).is_err());
        assert!(of("swoosh", &[]).err().unwrap().contains("swoosh"));
    }
}
