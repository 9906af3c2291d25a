//! From the input of a graph to its output, layer by layer.

mod dense;
mod features;
mod function;
mod labels;
mod layer_norm;
mod layers;
mod meaning;
mod residual;
mod shapes;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::constants::{Constants, Source};
use super::elementwise::casts_to_float;
use super::proto::{Graph, Model, Node, ValueInfo};
use super::tensor::dtype;
use crate::error::shown;
use crate::{Archive, ElementType, Kind, Layer, Network, Problem, Tensor};
use fireclay_terminal::counted;
use labels::{LabelStart, Labels};
use meaning::Label;
use residual::OpenResidual;

/// Versions of the standard operators that are understood: before 7, `Add` and others wrote down how
/// their inputs fit together.
const OLDEST_OPSET: i64 = 7;

/// The most outputs that are tried one by one.
const MOST_TRIED: usize = 10;

const ONE_AFTER_THE_OTHER: &str = "only dense layers, batch and layer normalisation, scaling, dropout \
                                   and activations are read, one after the other or with residual \
                                   connections";

const DIVIDED: &str = "no layer divides a number by features; they may be divided by constants";

/// Reads the network of a model: its tensors, its layers, what its outputs mean, and what was left
/// out.
pub(super) fn read(model: &Model<'_>) -> Result<Archive, Problem> {
    if model.opset < OLDEST_OPSET {
        let what = format!("version {} of the standard operators", model.opset);
        let why = format!(
            "{OLDEST_OPSET} and later are understood; convert the model with \
             onnx.version_converter.convert_version(model, 17)"
        );
        return Err(Problem::refused(what, why));
    }
    let mut chain = Chain::new(model)?;
    chain.walk()?;
    let before = chain.check_outputs()?;
    let mut meaning = chain.meaning(model)?;
    for output in before.into_iter().filter(|&output| output != chain.value) {
        let (output, end) = (shown(output), shown(chain.value));
        meaning.notes.push(format!("left out: the output {output}, of which {end} is made"));
    }
    let network = Network { input_shape: chain.input_shape, layers: chain.layers };
    let tensors = chain.used.into_values().map(|(source, shape)| {
        let mut tensor = source.tensor.to_tensor(source.name)?;
        tensor.shape = shape;
        Ok(tensor)
    });
    let mut tensors: Vec<Tensor> = tensors.collect::<Result<_, Problem>>()?;
    tensors.extend(chain.made);
    Ok(Archive {
        network: Some(network),
        labels: meaning.labels,
        class_names: meaning.class_names,
        task: meaning.task,
        notes: meaning.notes,
        advice: None,
        ..Archive::new(Kind::Onnx, tensors)
    })
}

/// The size of each dimension of a sample where it is known.
type SampleShape = Vec<Option<usize>>;

/// The way from the input as far as it has been walked.
struct Chain<'a> {
    graph: &'a Graph<'a>,
    /// The version of the standard operators.
    opset: i64,
    /// The program that wrote the file.
    producer: &'a str,
    constants: Constants<'a>,
    /// The names of what comes out of the graph.
    outputs: HashSet<&'a str>,
    /// For each value the nodes that use it.
    users: HashMap<&'a str, Vec<usize>>,
    labels: Labels<'a>,
    /// The input of the graph.
    input: &'a str,
    /// The outputs of the graph that have been reached.
    passed: Vec<(&'a str, LabelStart)>,
    /// The value that has been reached.
    value: &'a str,
    /// Its shape without the batch, if the number of its dimensions is known.
    sample: Option<SampleShape>,
    /// The size of the batch, if that is fixed.
    batch: Option<usize>,
    /// True if samples are columns: the first dimension has the features, the last the batch.
    columns: bool,
    /// The shape of a sample that goes in, if it is known.
    input_shape: Option<Vec<usize>>,
    /// True if its numbers are whole, of which arithmetic would make whole ones again.
    is_whole: bool,
    layers: Vec<Layer>,
    /// The residual connections that the value lies within, the outermost first.
    open: Vec<OpenResidual<'a>>,
    /// The tensors of the layers by their places in the file, with the shapes that layers need.
    used: BTreeMap<usize, (Source<'a>, Vec<usize>)>,
    /// Tensors of the layers that the file does not hold as they are.
    made: Vec<Tensor>,
    /// The numbers in these, and those computed to find activations.
    made_numbers: usize,
    computed: usize,
    /// Tables of labels, by the constants that hold them.
    tables: HashMap<&'a str, Vec<Label>>,
    /// From label to label, by the values that such nodes make.
    encoders: HashMap<&'a str, BTreeMap<Label, Label>>,
    /// True if a constant with a number for each feature was met on the way to an activation.
    differs: bool,
}

impl<'a> Chain<'a> {
    fn new(model: &'a Model<'a>) -> Result<Self, Problem> {
        let graph = &model.graph;
        let constants = Constants::new(graph)?;
        let mut inputs = graph.inputs.iter().filter(|input| !constants.is_known(input.name));
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            let count = graph.inputs.iter().filter(|input| !constants.is_known(input.name)).count();
            let what = format!("a graph with {}", counted(count as u64, "input"));
            return Err(Problem::refused(what, "a network has one"));
        };
        let users = users(graph, &constants)?;
        let (batch, sample) = batch_and_sample(input)?;
        let is_whole = match dtype(input.element) {
            None if input.element == 0 => false,
            Some(dtype) if dtype != ElementType::Bool => !dtype.is_float(),
            _ => {
                let what = format!("the input {} of unusual numbers", shown(input.name));
                return Err(Problem::refused(what, "a network takes those of floating point"));
            }
        };
        let input_shape = sample.clone().and_then(|sample| sample.into_iter().collect());
        Ok(Self {
            graph,
            opset: model.opset,
            producer: model.producer,
            constants,
            outputs: graph.outputs.iter().map(|output| output.name).collect(),
            users,
            labels: Labels::default(),
            input: input.name,
            passed: Vec::new(),
            value: input.name,
            sample,
            batch,
            columns: false,
            input_shape,
            is_whole,
            layers: Vec::new(),
            open: Vec::new(),
            used: BTreeMap::new(),
            made: Vec::new(),
            made_numbers: 0,
            computed: 0,
            tables: HashMap::new(),
            encoders: HashMap::new(),
            differs: false,
        })
    }

    /// Walks to where nothing follows.
    fn walk(&mut self) -> Result<(), Problem> {
        loop {
            let users = self.users_of(self.value)?;
            if self.outputs.contains(self.value) {
                self.passed.push((self.value, self.start()));
            }
            let here = self.start();
            if let Some(start) = self.labels.starts.get_mut(self.value) {
                *start = Some(here);
            }
            let graph = self.graph;
            let understood = match users[..] {
                [] if self.close()? => true,
                [] => return self.all_closed(),
                [only] if self.is_whole => self.of_whole(&graph.nodes[only])?,
                [only] => self.layer(&graph.nodes[only])? || self.function()?,
                _ => {
                    !self.is_whole
                        && (self.function()?
                            || self.layer_norm_of_parts(&users)?
                            || self.begin(&users)?)
                }
            };
            if !understood {
                return Err(self.not_understood(&users));
            }
        }
    }

    /// Checks that nothing is computed beside the network but labels, and gives the outputs that are
    /// its own before functions at its end.
    fn check_outputs(&self) -> Result<Vec<&'a str>, Problem> {
        let before: Vec<&str> = self
            .passed
            .iter()
            .filter(|(_, start)| self.is_end(start))
            .map(|(value, _)| *value)
            .collect();
        let unreached = self.graph.outputs.iter().find(|output| {
            output.name != self.value
                && !self.labels.values.contains(output.name)
                && !before.contains(&output.name)
        });
        let what = match unreached {
            Some(other) if !self.is_made(other.name) => {
                let what = format!("no operator makes the output {}", shown(other.name));
                return Err(Problem::malformed(super::KIND, what));
            }
            // What makes it was not met on any way from the input.
            Some(other) if self.value == self.input => {
                let maker = self.constants.maker(other.name).map(|at| self.graph.nodes[at].shown());
                let what = maker.unwrap_or_else(|| format!("the output {}", shown(other.name)));
                return Err(Problem::refused(what, ONE_AFTER_THE_OTHER));
            }
            Some(other) => {
                let what = format!("the output {} beside {}", shown(other.name), shown(self.value));
                return Err(Problem::refused(what, self.one_output()));
            }
            None if self.graph.outputs.is_empty() => "a graph without outputs".to_owned(),
            None if self.layers.is_empty() => "a graph without layers".to_owned(),
            None => return Ok(before),
        };
        Err(Problem::refused(what, ONE_AFTER_THE_OTHER))
    }

    /// Returns true if some output of the graph alone needs only one of several users of a value.
    fn are_of_outputs(&self, users: &[usize]) -> bool {
        self.graph.outputs.iter().take(MOST_TRIED).any(|output| {
            let needed = needed(self.graph, &self.constants, vec![output.name]);
            users.iter().filter(|user| needed.contains(user)).count() == 1
        })
    }

    /// Describes how to make a graph with one output of one with several.
    fn one_output(&self) -> String {
        let all: Vec<_> =
            self.graph.outputs.iter().take(10).map(|output| shown(output.name)).collect();
        format!(
            "a network has one output, and the graph has {}; keep one, for example with \
             onnx.utils.extract_model(PATH, NEW_PATH, [{}], [{}])",
            all.join(", "),
            shown(self.input),
            all.first().map_or("", String::as_str)
        )
    }

    /// The value that has been reached as the place where labels may begin.
    fn start(&self) -> LabelStart {
        let is_row = self.sample.as_ref().is_some_and(|sample| sample.len() < 2);
        let is_plain = is_row && !self.columns && self.open.is_empty();
        LabelStart { layers: self.layers.len(), is_plain }
    }

    /// Returns true if nothing follows on a place but functions that keep the order of the outputs.
    fn is_end(&self, start: &LabelStart) -> bool {
        let mut after = self.layers.get(start.layers..).unwrap_or_default().iter();
        let keep_order = after.all(|layer| match layer {
            Layer::Activation(found) => {
                ["softmax", "log-softmax", "sigmoid"].contains(&found.name.as_str())
            }
            layer => matches!(layer, Layer::Dropout(_) | Layer::Flatten),
        });
        start.layers > 0 && start.is_plain && keep_order
    }

    /// Returns true if a value goes into the graph, or is made there.
    fn is_made(&self, value: &str) -> bool {
        let is_input = self.graph.inputs.iter().any(|input| input.name == value);
        is_input || self.constants.is_known(value) || self.constants.maker(value).is_some()
    }

    /// The nodes that use a value, but for those that only look at its shape or make labels of it.
    fn users_of(&mut self, value: &'a str) -> Result<Vec<usize>, Problem> {
        let mut others = Vec::new();
        let graph = self.graph;
        for index in self.users.get(value).cloned().unwrap_or_default() {
            let node = &graph.nodes[index];
            if node.operator() == "Shape" {
                if let (Some(sizes), Some(&output)) = (self.sizes(node)?, node.outputs.first()) {
                    self.constants.add_shape(output, sizes);
                }
            } else if self.labels.nodes.contains(&index)
                || self.is_open(index)
                || self.only_gives_its_type(node, value)?
            {
                continue;
            } else if self.labels.begin(index, value, graph, &self.users, &mut self.constants)? {
                self.labels.starts.insert(value, None);
            } else {
                others.push(index);
            }
        }
        Ok(others)
    }

    /// Returns true if `CastLike` takes nothing of a value of floating point but its type: another
    /// value of floating point, or a constant, stays as it is.
    fn only_gives_its_type(&mut self, node: &'a Node<'a>, value: &'a str) -> Result<bool, Problem> {
        const OF_TRUTH: [&str; 8] =
            ["And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"];
        let (&[first, like], &[output]) = (&node.inputs[..], &node.outputs[..]) else {
            return Ok(false);
        };
        let is_float = match self.constants.maker(value) {
            None => !self.is_whole,
            Some(maker) => match self.graph.nodes[maker].operator() {
                "Cast" => casts_to_float(&self.graph.nodes[maker])?,
                operator => !self.is_whole && !OF_TRUTH.contains(&operator),
            },
        };
        if node.operator() != "CastLike" || like != value || first == value || !is_float {
            return Ok(false);
        }
        self.constants.add_float(first, output)?;
        Ok(true)
    }

    /// Continues with the output of a node that has been understood.
    fn advance(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        let (output, others) = match node.outputs.split_first() {
            Some((&output, others)) if !output.is_empty() => (output, others),
            _ => return Err(node.malformed("there is no output")),
        };
        let used = others
            .iter()
            .find(|&&name| self.users.contains_key(name) || self.outputs.contains(name));
        if let Some(other) = used {
            let what = format!("the output {}", shown(other));
            return Err(node.refused(what, ONE_AFTER_THE_OTHER));
        }
        self.value = output;
        Ok(())
    }

    /// The error of a value that does not lead to one layer.
    fn not_understood(&self, users: &[usize]) -> Problem {
        let node = &self.graph.nodes[users[0]];
        if let [_, second, ..] = *users {
            let second = &self.graph.nodes[second];
            let what = format!(
                "value {}, which goes to {} and to {}",
                shown(self.value),
                node.shown(),
                second.shown()
            );
            let has_others = self.graph.outputs.len() > 1 && self.open.is_empty();
            return if has_others && self.are_of_outputs(users) {
                Problem::refused(what, self.one_output())
            } else {
                Problem::refused(what, ONE_AFTER_THE_OTHER)
            };
        }
        let is_first = node.inputs.first() == Some(&self.value);
        let why = match (node.operator(), node.classical_operator()) {
            _ if self.is_whole => {
                "whole numbers must first become numbers of floating point, by Cast"
            }
            ("", "") => {
                "only operators of the standard are read; export the model without the \
                 optimisations of a runtime"
            }
            ("", "Normalizer") => {
                "it divides each sample by its own norm, which no layer does; export the network \
                 without it and divide the samples before"
            }
            ("", _) => {
                "of operators for classical machine learning only Scaler before the network and \
                 labels at its end are read; export the network without what comes before and after"
            }
            ("Reciprocal", _) => DIVIDED,
            ("Div", _) if !is_first => DIVIDED,
            ("Add" | "Sub", _) => {
                "a value may meet a constant (one number for all features, or one for each), or be \
                 added to what a residual connection made of it"
            }
            ("Mul" | "Div", _) => {
                "a value may meet a constant only: one number for all features, or one for each"
            }
            ("DequantizeLinear" | "QuantizeLinear" | "DynamicQuantizeLinear", _) => {
                "numbers of few bits are not read; export the network before quantisation"
            }
            _ => ONE_AFTER_THE_OTHER,
        };
        Problem::refused(node.shown(), why)
    }
}

/// For each value the nodes that use it; nodes that no output of the graph depends on do not count.
///
/// # Errors
///
/// [`Problem::Malformed`] if a node uses a value that is made after it or nowhere: then there may be
/// a circle.
fn users<'a>(
    graph: &'a Graph<'a>,
    constants: &Constants<'a>,
) -> Result<HashMap<&'a str, Vec<usize>>, Problem> {
    let inputs: HashSet<_> = graph.inputs.iter().map(|input| input.name).collect();
    let mut users: HashMap<_, Vec<_>> = HashMap::new();
    let outputs = graph.outputs.iter().map(|output| output.name).collect();
    let needed = needed(graph, constants, outputs);
    for (index, node) in graph.nodes.iter().enumerate() {
        for &name in node.inputs.iter().filter(|name| !name.is_empty()) {
            let made = match constants.maker(name) {
                Some(maker) => maker < index,
                None => constants.is_known(name) || inputs.contains(name),
            };
            if !made {
                let what = format!("the value {} is not made by a node before", shown(name));
                return Err(node.malformed(what));
            }
            let users = users.entry(name).or_default();
            if needed.contains(&index) && users.last() != Some(&index) {
                users.push(index);
            }
        }
    }
    Ok(users)
}

/// The nodes that some values of the graph depend on.
fn needed<'a>(
    graph: &Graph<'a>,
    constants: &Constants<'a>,
    mut waiting: Vec<&'a str>,
) -> HashSet<usize> {
    let mut needed = HashSet::new();
    while let Some(name) = waiting.pop() {
        if let Some(maker) = constants.maker(name).filter(|&maker| needed.insert(maker)) {
            waiting.extend(&graph.nodes[maker].inputs);
        }
    }
    needed
}

fn batch_and_sample(
    input: &ValueInfo<'_>,
) -> Result<(Option<usize>, Option<SampleShape>), Problem> {
    let Some(shape) = &input.shape else { return Ok((None, None)) };
    match shape.split_first() {
        Some((&batch, sample)) if !sample.is_empty() => Ok((batch, Some(sample.to_vec()))),
        _ => {
            let dimensions = counted(shape.len() as u64, "dimension");
            let what = format!("the input {} of {dimensions}", shown(input.name));
            let why = "the first must count the samples; export the network for a batch";
            Err(Problem::refused(what, why))
        }
    }
}
