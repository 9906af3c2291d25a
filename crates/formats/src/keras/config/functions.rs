//! The functions of layers, by their names and by the layers that are nothing else.

use serde_json::Value;

use super::steps::{Sample, unknown};
use super::{Entry, class};
use crate::error::shown;
use crate::{Activation, Problem};

impl Sample {
    /// The function of a layer that is nothing else.
    pub(super) fn function_layer(&self, layer: &Entry<'_>) -> Result<Option<Activation>, Problem> {
        let activation = match layer.class {
            "ReLU" => {
                let slope = layer.number("negative_slope", 0.0)?;
                let limit = layer.number("max_value", f64::INFINITY)?;
                let threshold = layer.number("threshold", 0.0)?;
                match (slope == 0.0, limit == f64::INFINITY) {
                    _ if threshold != 0.0 => None,
                    (true, true) => Some(plain("relu")),
                    (true, _) if limit == 6.0 => Some(plain("relu6")),
                    (true, _) if limit > 0.0 => {
                        Some(with("hard-tanh", &[("max", decimal(limit)), ("min", 0.0)]))
                    }
                    (false, true) => Some(leaky(slope)),
                    _ => None,
                }
            }
            "LeakyReLU" => {
                // The name of Keras 2.
                let alpha = layer.number("alpha", 0.3)?;
                let slope = layer.number("negative_slope", alpha)?;
                Some(leaky(slope))
            }
            "ELU" | "Elu" => Some(unless_usual("elu", "alpha", layer.number("alpha", 1.0)?, 1.0)),
            // The operations of keras.ops.
            name @ ("Relu" | "Relu6" | "Sigmoid" | "Tanh" | "Silu" | "Selu" | "Softplus"
            | "Softsign" | "Mish") => Some(plain(&name.to_lowercase())),
            "LeakyRelu" => Some(leaky(layer.number("negative_slope", 0.2)?)),
            "Gelu" if layer.flag("approximate", true)? => Some(plain("gelu-tanh")),
            "Gelu" => Some(plain("gelu")),
            "HardSigmoid" => Some(plain("hard-sigmoid")),
            "HardSilu" => Some(plain("hard-swish")),
            "HardTanh" => Some(plain("hard-tanh")),
            "Clip" => clipped(layer.number("x_min", f64::NAN)?, layer.number("x_max", f64::NAN)?),
            // The same of Keras 2: `nn.relu` or `math.tanh`.
            "TFOpLambda" => {
                let name = layer.config["function"].as_str().unwrap_or_default();
                let known = [
                    "relu", "relu6", "sigmoid", "tanh", "silu", "selu", "elu", "gelu", "softplus",
                    "softsign",
                ];
                match name.rsplit('.').next() {
                    Some(name) if known.contains(&name) => Some(plain(name)),
                    _ => return Ok(None),
                }
            }
            "Softmax" => {
                self.must_be_flat(layer)?;
                self.must_be_last(layer)?;
                Some(plain("softmax"))
            }
            _ => return Ok(None),
        };
        activation.map(Some).ok_or_else(|| {
            let why = "no threshold is read, and no slope together with a limit";
            layer.refused("with such constants", why)
        })
    }

    /// The function of a name, or of a layer in its place.
    pub(super) fn function(
        &self,
        layer: &Entry<'_>,
        value: &Value,
    ) -> Result<Option<Activation>, Problem> {
        let name = match value {
            Value::Null => return Ok(None),
            Value::String(name) => name.as_str(),
            value => {
                let what = format!("the function of {}", layer.called());
                // A function by its name, which must be Keras' own.
                if value["class_name"] == "function" {
                    let module = value["module"].as_str().unwrap_or("keras");
                    let is_own = module.split('.').next() == Some("keras");
                    if is_own && value["config"].is_string() {
                        return self.function(layer, &value["config"]);
                    }
                }
                let class = class(value, &what)?;
                let inner = Entry {
                    value,
                    name: layer.name,
                    class,
                    config: &value["config"],
                    nodes: &Value::Null,
                };
                return match self.function_layer(&inner)? {
                    Some(activation) => Ok(Some(activation)),
                    None => Err(unknown(&inner)),
                };
            }
        };
        let same = ["relu", "relu6", "elu", "selu", "gelu", "silu", "mish", "sigmoid", "tanh"];
        Ok(Some(match name {
            "linear" => return Ok(None),
            "softmax" | "log_softmax" => {
                self.must_be_flat(layer)?;
                plain(if name == "softmax" { "softmax" } else { "log-softmax" })
            }
            "swish" => plain("silu"),
            "softplus" | "softsign" => plain(name),
            "hard_silu" | "hard_swish" => plain("hard-swish"),
            "hard_tanh" => plain("hard-tanh"),
            "leaky_relu" => leaky(0.2),
            // Another line before Keras 3.
            "hard_sigmoid" if self.old => with("hard-sigmoid", &[("alpha", 0.2), ("beta", 0.5)]),
            "hard_sigmoid" => plain("hard-sigmoid"),
            name if same.contains(&name) => plain(name),
            // Functions of each number, with Keras' default constants.
            "celu" | "exponential" | "hard_shrink" | "log_sigmoid" | "soft_shrink"
            | "sparse_plus" | "sparse_sigmoid" | "squareplus" | "tanh_shrink" => plain(name),
            name => {
                let why = "it is no function of each number, or not Keras' own; use one of those";
                return Err(layer.refused(&format!("with the function {}", shown(name)), why));
            }
        }))
    }
}

/// Returns the function that keeps each number between two.
fn clipped(min: f64, max: f64) -> Option<Activation> {
    match (min, max) {
        (0.0, 6.0) => Some(plain("relu6")),
        (-1.0, 1.0) => Some(plain("hard-tanh")),
        _ if min < max => Some(with("hard-tanh", &[("max", decimal(max)), ("min", decimal(min))])),
        _ => None,
    }
}

pub(super) fn plain(name: &str) -> Activation {
    with(name, &[])
}

fn with(name: &str, constants: &[(&str, f64)]) -> Activation {
    let constants = constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    Activation { name: name.to_owned(), constants }
}

fn leaky(slope: f64) -> Activation {
    unless_usual("leaky-relu", "slope", slope, 0.01)
}

/// A function with one constant, which is left out where it is that of PyTorch.
fn unless_usual(name: &str, constant: &str, value: f64, usual: f64) -> Activation {
    // Keras 2 writes constants as they are in 32 bits.
    if value as f32 == usual as f32 {
        plain(name)
    } else {
        with(name, &[(constant, decimal(value))])
    }
}

/// A number as the decimal it was before it was rounded to 32 bits, if it was.
fn decimal(value: f64) -> f64 {
    if f64::from(value as f32) == value {
        (value as f32).to_string().parse().unwrap_or(value)
    } else {
        value
    }
}
