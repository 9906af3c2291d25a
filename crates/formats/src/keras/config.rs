//! The configuration of a model: which layers it has, in which order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::error::{shown, shown_shape};
use crate::{Activation, Norm, Problem};

use super::KIND;

/// A model that is one layer after the other.
pub(super) struct Model {
    /// The shape of a sample, if it is said.
    pub(super) input_shape: Option<Vec<usize>>,
    /// In the order of the configuration, which is that of the weights.
    pub(super) layers: Vec<Configured>,
    /// Indices of the layers, in the order in which a sample passes them.
    pub(super) order: Vec<usize>,
}

/// A layer.
pub(super) struct Configured {
    pub(super) name: String,
    pub(super) step: Step,
}

/// What a layer does to a sample.
pub(super) enum Step {
    Nothing,
    Flatten,
    Rescale { scale: f64, offset: f64 },
    Normalize { given: Option<Statistics>, each: bool },
    Dense { bias: bool, activation: Option<Activation> },
    Activation(Activation),
    Norm { kind: Norm, scale: bool, shift: bool, epsilon: f64 },
    Dropout(f64),
}

/// Means and variances that stand in the configuration.
pub(super) struct Statistics {
    pub(super) mean: Vec<f64>,
    pub(super) variance: Vec<f64>,
}

/// The version of Keras that metadata speaks of.
pub(super) fn version(metadata: &Value) -> Option<String> {
    let version = metadata.get("keras_version")?.as_str()?;
    Some(version.chars().filter(|char| !char.is_control()).take(32).collect())
}

impl Model {
    /// The model of a configuration; `old` if a Keras before 3 wrote it.
    pub(super) fn of(model: &Value, old: bool) -> Result<Self, Problem> {
        let class = class(model, "the model")?;
        let config = &model["config"];
        // The first versions had the list of layers in its place.
        let list = if config.is_array() { config } else { &config["layers"] };
        let list = list.as_array().ok_or_else(|| malformed("the model has no list of layers"))?;
        let layers: Vec<_> = list.iter().map(Entry::of).collect::<Result<_, _>>()?;
        let order = match class {
            "Sequential" => (0..layers.len()).collect(),
            "Functional" | "Model" => chain(config, &layers)?,
            class => {
                let what = format!("a Keras model of class {}", shown(class));
                let why = "what it computes is Python code, which is never run; build it as a \
                           Sequential or functional model, or export it to ONNX";
                return Err(Problem::refused(what, why));
            }
        };
        let mut sample = Sample { shape: input_shape(config, model, &layers), old };
        let input_shape = sample.shape.clone().and_then(|shape| shape.into_iter().collect());
        let mut steps = BTreeMap::new();
        for &at in &order {
            steps.insert(at, sample.step(&layers[at])?);
        }
        // Both orders have each layer once, so that each has its step.
        let layers = layers.iter().zip(steps.into_values());
        let layers =
            layers.map(|(entry, step)| Configured { name: entry.name.to_owned(), step }).collect();
        Ok(Self { input_shape, layers, order })
    }
}

/// An entry of the list of layers.
struct Entry<'v> {
    name: &'v str,
    class: &'v str,
    config: &'v Value,
    nodes: &'v Value,
}

impl<'v> Entry<'v> {
    fn of(value: &'v Value) -> Result<Self, Problem> {
        let class = class(value, "a layer")?;
        let config = &value["config"];
        let name = config["name"].as_str().or(value["name"].as_str());
        let name = name.ok_or_else(|| malformed(format!("a {} has no name", shown(class))))?;
        if name.is_empty() || name.len() > 256 || name.contains(char::is_control) {
            return Err(malformed(format!("a layer is called {}", shown(name))));
        }
        Ok(Self { name, class, config, nodes: &value["inbound_nodes"] })
    }

    /// How messages call it.
    fn called(&self) -> String {
        format!("layer {} of class {}", shown(self.name), shown(self.class))
    }

    fn refused(&self, what: &str, why: &str) -> Problem {
        Problem::refused(format!("{} {what}", self.called()), why)
    }

    fn malformed(&self, what: &str) -> Problem {
        malformed(format!("{} {what}", self.called()))
    }

    /// A number, or `default` if it is not there.
    fn number(&self, key: &str, default: f64) -> Result<f64, Problem> {
        match &self.config[key] {
            Value::Null => Ok(default),
            value => value.as_f64().filter(|value| value.is_finite()).ok_or_else(|| {
                let why = "only one number for all features is read";
                self.refused(&format!("whose {key} is not a number"), why)
            }),
        }
    }

    /// Yes or no, or `default` if it is not there.
    fn flag(&self, key: &str, default: bool) -> Result<bool, Problem> {
        match &self.config[key] {
            Value::Null => Ok(default),
            value => value
                .as_bool()
                .ok_or_else(|| self.malformed(&format!("has a {key} that is not true or false"))),
        }
    }
}

/// The class of a layer or model, which must be Keras' own.
fn class<'v>(value: &'v Value, what: &str) -> Result<&'v str, Problem> {
    let class = value["class_name"].as_str();
    let class = class.ok_or_else(|| malformed(format!("{what} has no class")))?;
    let module = match value.get("module") {
        // Files of Keras 1 and 2 do not say.
        None => true,
        Some(module) => module.as_str().is_some_and(|module| {
            ["keras", "tf_keras", "tensorflow"].contains(&module.split('.').next().unwrap_or(""))
        }),
    };
    let registered = &value["registered_name"];
    if module && (registered.is_null() || registered == class) {
        return Ok(class);
    }
    let what = format!("{what} of class {}, which is not Keras' own", shown(class));
    Err(Problem::refused(what, "it is Python code, which is never run; use Keras' layers"))
}

/// The order of a functional model, if it is a chain.
fn chain(config: &Value, layers: &[Entry<'_>]) -> Result<Vec<usize>, Problem> {
    let [input, output] = ["input_layers", "output_layers"].map(|key| end(&config[key], key));
    let (input, output) = (input?, output?);
    let mut indices = BTreeMap::new();
    for (at, layer) in layers.iter().enumerate() {
        if indices.insert(layer.name, at).is_some() {
            return Err(malformed(format!("two layers are called {}", shown(layer.name))));
        }
    }
    // By the layer that a sample comes from.
    let mut followers = BTreeMap::new();
    for (at, layer) in layers.iter().enumerate() {
        let Some(before) = before(layer)? else { continue };
        if followers.insert(before, at).is_some() {
            return Err(branches(&format!("two layers follow {}", shown(before))));
        }
    }
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = indices.get(input).copied();
    while let Some(at) = next {
        if !seen.insert(at) {
            return Err(malformed(format!("{} follows itself", layers[at].called())));
        }
        order.push(at);
        next = followers.get(layers[at].name).copied();
    }
    match order.last() {
        Some(&last) if layers[last].name == output && order.len() == layers.len() => Ok(order),
        _ => Err(branches("not all layers lie on one way from the input to the output")),
    }
}

fn branches(what: &str) -> Problem {
    let why = "only chains are read, in which each layer has one input and one follower";
    Problem::refused(format!("a functional Keras model: {what}"), why)
}

/// The name of the only input or output.
fn end<'v>(value: &'v Value, key: &str) -> Result<&'v str, Problem> {
    // Keras 3 writes the only one without a list around it.
    let only = match value.as_array().map(Vec::as_slice) {
        Some([only]) => only,
        _ => value,
    };
    only[0].as_str().ok_or_else(|| branches(&format!("its {key} are not one layer")))
}

/// The name of the layer before, if there is one.
fn before<'v>(layer: &Entry<'v>) -> Result<Option<&'v str>, Problem> {
    let nodes = layer.nodes.as_array().map(Vec::as_slice).unwrap_or_default();
    let node = match nodes {
        [] => return Ok(None),
        [node] => node,
        _ => return Err(branches(&format!("{} is used twice", layer.called()))),
    };
    let (history, options) = match node {
        // Keras 3: {"args": [{"config": {"keras_history": [name, 0, 0]}}], "kwargs": {}}
        Value::Object(_) => {
            let inputs = node["args"].as_array().map(Vec::as_slice).unwrap_or_default();
            match inputs {
                [input] => (&input["config"]["keras_history"], &node["kwargs"]),
                _ => return Err(branches(&format!("{} has several inputs", layer.called()))),
            }
        }
        // Before: [[name, 0, 0, {}]]
        _ => match node.as_array().map(Vec::as_slice).unwrap_or_default() {
            [input] => (input, &input[3]),
            _ => return Err(branches(&format!("{} has several inputs", layer.called()))),
        },
    };
    let idle = |value: &Value| value.is_null() || value == false;
    if !options.as_object().is_none_or(|options| options.values().all(idle)) {
        let why = "only layers called with their input alone are read";
        return Err(layer.refused("is called with options", why));
    }
    match (history[0].as_str(), history[1].as_u64(), history[2].as_u64()) {
        (Some(name), Some(0), Some(0)) => Ok(Some(name)),
        _ => Err(branches(&format!("{} has no single input", layer.called()))),
    }
}

/// The shape of a sample, if it is said.
fn input_shape(config: &Value, model: &Value, layers: &[Entry<'_>]) -> Option<Shape> {
    let input = layers.iter().find(|layer| layer.class == "InputLayer").or(layers.first())?;
    let shapes = [
        &input.config["batch_shape"],
        &input.config["batch_input_shape"],
        &config["build_input_shape"],
        &model["build_config"]["input_shape"],
    ];
    let (_batch, shape) = shapes.iter().find_map(|shape| shape.as_array())?.split_first()?;
    let size = |size: &Value| usize::try_from(size.as_u64()?).ok();
    Some(shape.iter().map(size).collect())
}

/// The size of each dimension where it is known.
type Shape = Vec<Option<usize>>;

/// What is known of a sample on its way.
struct Sample {
    /// None if nothing says it, not even how many dimensions there are.
    shape: Option<Shape>,
    old: bool,
}

impl Sample {
    /// What a layer does, and to what shape it leads.
    fn step(&mut self, layer: &Entry<'_>) -> Result<Step, Problem> {
        Ok(match layer.class {
            "InputLayer" => Step::Nothing,
            "Flatten" => {
                self.must_keep_order(layer)?;
                self.flatten();
                Step::Flatten
            }
            "Reshape" => {
                let target = layer.config["target_shape"].as_array().map_or(0, Vec::len);
                if target != 1 {
                    return Err(layer.refused("to several dimensions", ONLY_FLAT));
                }
                self.flatten();
                Step::Flatten
            }
            "Rescaling" => {
                let (scale, offset) = (layer.number("scale", 1.0)?, layer.number("offset", 0.0)?);
                Step::Rescale { scale, offset }
            }
            "Normalization" => self.normalization(layer)?,
            "Dense" => self.dense(layer)?,
            "BatchNormalization" => self.norm(layer, Norm::Batch)?,
            "LayerNormalization" => {
                if layer.flag("rms_scaling", false)? {
                    let why = "it is no layer norm; use rms_scaling=False";
                    return Err(layer.refused("with rms_scaling", why));
                }
                self.norm(layer, Norm::Layer)?
            }
            "Dropout" => {
                let rate = layer.number("rate", 0.0)?;
                if !(0.0..1.0).contains(&rate) {
                    return Err(layer.malformed(&format!("has a rate of {rate}")));
                }
                Step::Dropout(rate)
            }
            "Activation" => match self.function(layer, &layer.config["activation"])? {
                Some(activation) => Step::Activation(activation),
                None => Step::Nothing,
            },
            _ => match self.function_layer(layer)? {
                Some(activation) => Step::Activation(activation),
                None => return Err(unknown(layer)),
            },
        })
    }

    fn flatten(&mut self) {
        let size = self.shape.as_ref().and_then(|shape| {
            shape.iter().try_fold(1_usize, |size, &next| size.checked_mul(next?))
        });
        self.shape = Some(vec![size]);
    }

    fn dense(&mut self, layer: &Entry<'_>) -> Result<Step, Problem> {
        self.must_be_flat(layer)?;
        let quantised = layer.config["dtype"]["class_name"].as_str();
        if quantised.is_some_and(|class| class.contains("Quantized")) {
            let why = "its weights are no plain numbers; save the model before it is quantized";
            return Err(layer.refused("that is quantized", why));
        }
        let units = layer.config["units"].as_u64().and_then(|units| usize::try_from(units).ok());
        let units = units.ok_or_else(|| layer.malformed("has no number of units"))?;
        let activation = self.function(layer, &layer.config["activation"])?;
        self.shape = Some(vec![Some(units)]);
        Ok(Step::Dense { bias: layer.flag("use_bias", true)?, activation })
    }

    fn norm(&self, layer: &Entry<'_>, kind: Norm) -> Result<Step, Problem> {
        self.must_be_flat(layer)?;
        self.must_be_last(layer)?;
        Ok(Step::Norm {
            kind,
            scale: layer.flag("scale", true)?,
            shift: layer.flag("center", true)?,
            epsilon: layer.number("epsilon", 1e-3)?,
        })
    }

    fn normalization(&self, layer: &Entry<'_>) -> Result<Step, Problem> {
        if layer.flag("invert", false)? {
            return Err(layer.refused("that inverts", "only normalising is read"));
        }
        let all = layer.config["axis"].as_array().is_some_and(Vec::is_empty);
        let given = match (&layer.config["mean"], &layer.config["variance"]) {
            (Value::Null, Value::Null) => None,
            (mean, variance) => {
                let [mean, variance] = [mean, variance].map(|value| {
                    numbers(value).ok_or_else(|| {
                        layer.malformed("has a mean or variance that is no list of numbers")
                    })
                });
                let (mean, variance) = (mean?, variance?);
                if mean.len() != variance.len() {
                    return Err(layer.malformed("has a mean and a variance of different sizes"));
                }
                Some(Statistics { mean, variance })
            }
        };
        let one = given.as_ref().is_some_and(|given| given.mean.len() == 1);
        let each = !all && !one;
        if each {
            self.must_be_flat(layer)?;
            self.must_be_last(layer)?;
        }
        Ok(Step::Normalize { given, each })
    }

    /// Refuses `channels_first` of several dimensions: Keras moves the first to the end before it
    /// flattens, and so puts the numbers in another order.
    fn must_keep_order(&self, layer: &Entry<'_>) -> Result<(), Problem> {
        match (&layer.config["data_format"], self.shape.as_deref()) {
            (Value::Null, _) | (_, Some([] | [_])) => Ok(()),
            (format, _) if format == "channels_last" => Ok(()),
            (format, _) => {
                let format = shown(format.as_str().unwrap_or_default());
                let why = "it changes the order of the numbers; make it with channels_last, and \
                           its inputs to match";
                Err(layer.refused(&format!("with data_format {format}"), why))
            }
        }
    }

    /// Refuses what would be done to each row of a sample.
    fn must_be_flat(&self, layer: &Entry<'_>) -> Result<(), Problem> {
        match self.shape.as_deref() {
            None | Some([_]) => Ok(()),
            Some(shape) => {
                let what = format!("on samples of shape {}", shown_shape(shape));
                Err(layer.refused(&what, ONLY_FLAT))
            }
        }
    }

    /// Refuses all axes but that of the features.
    fn must_be_last(&self, layer: &Entry<'_>) -> Result<(), Problem> {
        let axis = match &layer.config["axis"] {
            Value::Array(axes) if axes.len() == 1 => &axes[0],
            axis => axis,
        };
        match axis {
            Value::Null => Ok(()),
            axis if axis == -1 || axis == 1 => Ok(()),
            axis => {
                let axis = shown(&axis.to_string());
                Err(layer.refused(&format!("along axis {axis}"), "only the last axis is read"))
            }
        }
    }

    /// The function of a layer that is nothing else.
    fn function_layer(&self, layer: &Entry<'_>) -> Result<Option<Activation>, Problem> {
        let activation = match layer.class {
            "ReLU" => {
                let slope = layer.number("negative_slope", 0.0)?;
                let limit = layer.number("max_value", f64::INFINITY)?;
                let threshold = layer.number("threshold", 0.0)?;
                match (slope == 0.0, limit == f64::INFINITY, limit == 6.0) {
                    _ if threshold != 0.0 => None,
                    (true, true, _) => Some(plain("relu")),
                    (true, _, true) => Some(plain("relu6")),
                    (false, true, _) => Some(leaky(slope)),
                    _ => None,
                }
            }
            "LeakyReLU" => {
                // The name of Keras 2.
                let alpha = layer.number("alpha", 0.3)?;
                let slope = layer.number("negative_slope", alpha)?;
                Some(leaky(slope))
            }
            "ELU" => Some(unless_usual("elu", "alpha", layer.number("alpha", 1.0)?, 1.0)),
            "Softmax" => {
                self.must_be_flat(layer)?;
                self.must_be_last(layer)?;
                Some(plain("softmax"))
            }
            _ => return Ok(None),
        };
        activation.map(Some).ok_or_else(|| {
            let why = "only relu, relu6 and leaky relu are read: no threshold, a limit of none or \
                       6, and no slope with a limit";
            layer.refused("with such constants", why)
        })
    }

    /// The function of a name, or of a layer in its place.
    fn function(&self, layer: &Entry<'_>, value: &Value) -> Result<Option<Activation>, Problem> {
        let name = match value {
            Value::Null => return Ok(None),
            Value::String(name) => name.as_str(),
            value => {
                let what = format!("the function of {}", layer.called());
                let class = class(value, &what)?;
                let inner = Entry {
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

const ONLY_FLAT: &str = "only layers on one row of numbers are read; put a Flatten before it";

fn plain(name: &str) -> Activation {
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
    if value as f32 == usual as f32 { plain(name) } else { with(name, &[(constant, value)]) }
}

/// A layer that is not read.
fn unknown(layer: &Entry<'_>) -> Problem {
    let why = match layer.class {
        "Lambda" | "function" | "__lambda__" => {
            "it is Python code, which is never run; use Keras' layers and functions"
        }
        "Sequential" | "Functional" | "Model" => {
            "models within models are not read; add its layers to the outer one"
        }
        _ => {
            "only Dense, Flatten, Reshape, Rescaling, Normalization, BatchNormalization, \
             LayerNormalization, Dropout, Activation, ReLU, LeakyReLU, ELU and Softmax are read; \
             save weights only (model.save_weights) to read the arrays without the network"
        }
    };
    layer.refused("is in the model", why)
}

/// Numbers in a row, however deep they are nested.
fn numbers(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::Array(values) => {
            let parts: Option<Vec<_>> = values.iter().map(numbers).collect();
            parts.map(|parts| parts.concat())
        }
        value => Some(vec![value.as_f64()?]),
    }
}

fn malformed(what: impl Into<String>) -> Problem {
    Problem::malformed(KIND, what)
}
