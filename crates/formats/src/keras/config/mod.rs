//! The configuration of a model: which layers it has, in which order.

mod functions;
mod graph;
mod steps;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::shown;
use crate::{Activation, Norm, Problem};

use super::KIND;
use steps::{Sample, Shape};

/// Models within models.
const MOST_DEPTH: usize = 8;

/// A model of layers, one after the other or with residual connections.
pub(super) struct Model {
    /// The shape of a sample, if the file has it.
    pub(super) input_shape: Option<Vec<usize>>,
    /// Its layers, and the models that stand in the place of one, in the order of the configuration,
    /// which is that of the weights.
    pub(super) children: Vec<Child>,
    /// The flow of a sample, in order.
    pub(super) flow: Vec<Flow>,
}

/// A layer of a model, or a model within it.
pub(super) struct Child {
    /// Its own name.
    pub(super) name: String,
    /// Its name after those of the models that it lies within, which its tensors' names begin with.
    pub(super) path: String,
    /// The content.
    pub(super) content: Content,
}

/// The content of a child of a model.
pub(super) enum Content {
    /// A layer, and what it does.
    Layer(Step),
    /// A model of this class, and its own children.
    Model(&'static str, Vec<Child>),
}

/// A part of a sample's flow.
pub(super) enum Flow {
    /// A layer: its path, and what it does.
    Layer(String, Step),
    /// A residual connection: what is added to the sample, or subtracted.
    Residual { flow: Vec<Self>, is_subtracted: bool },
}

/// The effect of a layer on a sample.
#[derive(Clone)]
pub(super) enum Step {
    Nothing,
    Flatten,
    Rescale { scale: f64, offset: f64 },
    Normalize { given: Option<Statistics>, each: bool },
    Dense { bias: bool, activation: Option<Activation> },
    Activation(Activation),
    Prelu,
    Norm { kind: Norm, scale: bool, shift: bool, epsilon: f64 },
    Dropout(f64),
}

/// Means and variances that stand in the configuration.
#[derive(Clone)]
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
        let mut sample = Sample { shape: None, old };
        let input_shape = input_shape(model, 0);
        let read = Reader { prefix: String::new(), depth: 0 }.read(model, &mut sample)?;
        let input_shape = input_shape.and_then(|shape| shape.into_iter().collect());
        Ok(Self { input_shape, children: read.children, flow: read.flow })
    }
}

/// The parts of a model that were read.
struct Read {
    class: &'static str,
    children: Vec<Child>,
    flow: Vec<Flow>,
}

/// Reads a model, which may lie within others.
struct Reader {
    /// The beginning of the paths of its layers.
    prefix: String,
    depth: usize,
}

impl Reader {
    fn read(&self, model: &Value, sample: &mut Sample) -> Result<Read, Problem> {
        let class = class(model, "the model")?;
        let config = &model["config"];
        // The first versions had the list of layers in its place.
        let list = if config.is_array() { config } else { &config["layers"] };
        let list = list.as_array().ok_or_else(|| malformed("the model has no list of layers"))?;
        let layers: Vec<_> = list.iter().map(Entry::of).collect::<Result<_, _>>()?;
        if sample.shape.is_none() {
            sample.shape = input_shape(model, self.depth);
        }
        let mut known = BTreeMap::new();
        let (class, flow) = match class {
            "Sequential" => {
                let mut flow = Vec::new();
                for (at, layer) in layers.iter().enumerate() {
                    flow.extend(self.call(at, layer, sample, &mut known)?);
                }
                ("sequential", flow)
            }
            "Functional" | "Model" => {
                let flow = self.functional(config, &layers, sample, &mut known)?;
                (if class == "Model" { "model" } else { "functional" }, flow)
            }
            class => {
                let what = format!("a Keras model of class {}", shown(class));
                let why = "what it computes is Python code, which is never run; build it as a \
                           Sequential or functional model, or export it to ONNX";
                return Err(Problem::refused(what, why));
            }
        };
        // Each layer is in the flow, so that each has its content.
        let children = layers.iter().zip(known.into_values()).map(|(layer, content)| Child {
            name: layer.name.to_owned(),
            path: self.path(layer),
            content,
        });
        Ok(Read { class, children: children.collect(), flow })
    }

    /// Returns the beginning of the names of a layer's tensors.
    fn path(&self, layer: &Entry<'_>) -> String {
        format!("{}{}", self.prefix, layer.name)
    }

    /// Returns the flow through a call of layer `at`, which is then known.
    fn call(
        &self,
        at: usize,
        layer: &Entry<'_>,
        sample: &mut Sample,
        known: &mut BTreeMap<usize, Content>,
    ) -> Result<Vec<Flow>, Problem> {
        if !layer.is_model() {
            let step = sample.step(layer)?;
            known.insert(at, Content::Layer(step.clone()));
            return Ok(vec![Flow::Layer(self.path(layer), step)]);
        }
        if self.depth == MOST_DEPTH {
            let what = "the depth of models within the Keras model";
            let most = MOST_DEPTH as u64;
            return Err(Problem::Limit { what, found: most + 1, most });
        }
        let inner = Self { prefix: format!("{}/", self.path(layer)), depth: self.depth + 1 };
        let Read { class, children, flow } = inner.read(layer.value, sample)?;
        known.insert(at, Content::Model(class, children));
        Ok(flow)
    }
}

/// An entry of the list of layers.
struct Entry<'v> {
    value: &'v Value,
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
        // Keras 1 gave a model within a model no name of its own.
        let name = name.or(config.is_array().then_some("sequential"));
        let name = name.ok_or_else(|| malformed(format!("a {} has no name", shown(class))))?;
        if name.is_empty() || name.len() > 256 || name.contains(char::is_control) {
            return Err(malformed(format!("a layer is called {}", shown(name))));
        }
        Ok(Self { value, name, class, config, nodes: &value["inbound_nodes"] })
    }

    /// Returns true if it is a model that stands in the place of a layer.
    fn is_model(&self) -> bool {
        ["Sequential", "Functional", "Model"].contains(&self.class)
    }

    /// Returns its name in messages.
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
        match unwrapped(&self.config[key]) {
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

/// A value without the wrapping that Keras puts around what was an array or a tensor in Python.
fn unwrapped(value: &Value) -> &Value {
    let inner = if value["type"] == "ndarray" {
        &value["value"]
    } else if value["class_name"] == "__numpy__" || value["class_name"] == "__tensor__" {
        &value["config"]["value"]
    } else {
        value
    };
    match inner.as_array().map(Vec::as_slice) {
        Some([only]) => only,
        _ => inner,
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

/// The shape of the samples that a model takes, if the file has it.
fn input_shape(model: &Value, depth: usize) -> Option<Shape> {
    let config = &model["config"];
    let layers = if config.is_array() { config } else { &config["layers"] }.as_array()?;
    let input = layers.iter().find(|layer| layer["class_name"] == "InputLayer");
    let input = input.or(layers.first())?;
    let shapes = [
        &input["config"]["batch_shape"],
        &input["config"]["batch_input_shape"],
        &config["build_input_shape"],
        &model["build_config"]["input_shape"],
    ];
    if let Some(shape) = shapes.iter().find_map(|shape| shape.as_array()) {
        let (_batch, shape) = shape.split_first()?;
        return Some(shape.iter().map(size).collect());
    }
    // Keras 1 had the features alone.
    if let Some(features) = size(&input["config"]["input_dim"]) {
        return Some(vec![Some(features)]);
    }
    (depth < MOST_DEPTH).then(|| input_shape(input, depth + 1))?
}

/// A size of a shape; none where it is not given.
fn size(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

fn malformed(what: impl Into<String>) -> Problem {
    Problem::malformed(KIND, what)
}
