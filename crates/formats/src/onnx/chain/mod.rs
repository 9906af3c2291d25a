//! From the input of a graph to its output, layer by layer.

mod labels;
mod layers;
mod shapes;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::constants::{Constant, Constants, Source};
use super::elementwise::{self, Function, PROBES};
use super::proto::{Graph, Model, Node, ValueInfo};
use super::tensor::dtype;
use crate::error::shown;
use crate::{Dtype, Layer, Network, Problem, Tensor};
use labels::Labels;

/// Versions of the standard operators that are understood: before 7, `Add` and others wrote down how
/// their inputs fit together.
const OLDEST_OPSET: i64 = 7;

/// The most operators that may make one activation.
const LONGEST_ACTIVATION: usize = 16;

const ONE_AFTER_THE_OTHER: &str = "only dense layers, batch and layer normalisation, dropout and \
                                   activations, one after the other, are read";

/// Reads the network of a model: its tensors, its layers, and what was left out.
pub(super) fn read(model: &Model<'_>) -> Result<(Vec<Tensor>, Network, Vec<String>), Problem> {
    if model.opset < OLDEST_OPSET {
        let what = format!("version {} of the standard operators", model.opset);
        let why = format!(
            "{OLDEST_OPSET} and later are understood; convert the model with \
             onnx.version_converter.convert_version(model, 17)"
        );
        return Err(Problem::refused(what, why));
    }
    let graph = &model.graph;
    let mut chain = Chain::new(graph)?;
    let input_shape = chain.sample.clone().and_then(|sample| sample.into_iter().collect());
    chain.walk()?;
    chain.check_outputs()?;
    let network = Network { input_shape, layers: chain.layers };
    let tensors = chain.used.into_values().map(|(source, shape)| {
        let mut tensor = source.tensor.to_tensor(source.name)?;
        tensor.shape = shape;
        Ok(tensor)
    });
    Ok((tensors.collect::<Result<_, Problem>>()?, network, chain.labels.notes()))
}

/// The size of each dimension of a sample where it is known.
type Sample = Vec<Option<usize>>;

/// The way from the input as far as it has been walked.
struct Chain<'a> {
    graph: &'a Graph<'a>,
    constants: Constants<'a>,
    /// The names of what comes out of the graph.
    outputs: HashSet<&'a str>,
    /// For each value the nodes that use it.
    users: HashMap<&'a str, Vec<usize>>,
    labels: Labels<'a>,
    /// The value that has been reached.
    value: &'a str,
    /// Its shape without the batch, if the number of its dimensions is known.
    sample: Option<Sample>,
    /// The size of the batch, if that is fixed.
    batch: Option<usize>,
    /// Whether its numbers are whole, of which arithmetic would make whole ones again.
    is_whole: bool,
    layers: Vec<Layer>,
    /// The tensors of the layers by their places in the file, with the shapes that layers need.
    used: BTreeMap<usize, (Source<'a>, Vec<usize>)>,
}

impl<'a> Chain<'a> {
    fn new(graph: &'a Graph<'a>) -> Result<Self, Problem> {
        let constants = Constants::new(graph)?;
        let mut inputs = graph.inputs.iter().filter(|input| !constants.is_known(input.name));
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            let count = graph.inputs.iter().filter(|input| !constants.is_known(input.name)).count();
            let what = format!("a graph with {count} inputs");
            return Err(Problem::refused(what, "a network has one"));
        };
        let users = users(graph, &constants)?;
        let (batch, sample) = batch_and_sample(input)?;
        let is_whole = match dtype(input.element) {
            None if input.element == 0 => false,
            Some(dtype) if dtype != Dtype::Bool => !dtype.is_float(),
            _ => {
                let what = format!("the input {} of unusual numbers", shown(input.name));
                return Err(Problem::refused(what, "a network takes those of floating point"));
            }
        };
        Ok(Self {
            graph,
            constants,
            outputs: graph.outputs.iter().map(|output| output.name).collect(),
            users,
            labels: Labels::default(),
            value: input.name,
            sample,
            batch,
            is_whole,
            layers: Vec::new(),
            used: BTreeMap::new(),
        })
    }

    /// Walks to where nothing follows.
    fn walk(&mut self) -> Result<(), Problem> {
        loop {
            let users = self.users_of(self.value)?;
            let understood = match users[..] {
                [] => return Ok(()),
                [only] if self.is_whole => self.of_whole(&self.graph.nodes[only])?,
                [only] => self.layer(&self.graph.nodes[only])? || self.function()?,
                _ => !self.is_whole && self.function()?,
            };
            if !understood {
                return Err(self.not_understood(&users));
            }
        }
    }

    /// Checks that nothing is computed beside the network but labels.
    fn check_outputs(&self) -> Result<(), Problem> {
        let reached = |output: &&ValueInfo<'_>| {
            output.name == self.value || self.labels.values.contains(output.name)
        };
        let unreached = self.graph.outputs.iter().find(|output| !reached(output));
        let what = match unreached {
            Some(other) => format!("the output {} beside {}", shown(other.name), shown(self.value)),
            None if self.graph.outputs.is_empty() => "a graph without outputs".to_owned(),
            None if self.layers.is_empty() => "a graph without layers".to_owned(),
            None => return Ok(()),
        };
        Err(Problem::refused(what, ONE_AFTER_THE_OTHER))
    }

    /// The nodes that use a value, but for those that only look at its shape or make labels of it.
    fn users_of(&mut self, value: &'a str) -> Result<Vec<usize>, Problem> {
        let mut others = Vec::new();
        for index in self.users.get(value).cloned().unwrap_or_default() {
            let node = &self.graph.nodes[index];
            if node.operator() == "Shape" {
                if let (Some(sizes), Some(&output)) = (self.sizes(node)?, node.outputs.first()) {
                    self.constants.add_shape(output, sizes);
                }
            } else if node.operator() == "ArgMax"
                || node.classical_operator() == "ZipMap"
                || self.is_other_probability(node, value)?
            {
                self.labels.add(index, self.graph, &self.users)?;
            } else if !self.labels.nodes.contains(&index) {
                others.push(index);
            }
        }
        Ok(others)
    }

    /// Whether a node makes `1 - p` of the probability `p` of the second of two classes, which is then
    /// put before it, as skl2onnx does.
    fn is_other_probability(&mut self, node: &Node<'a>, p: &'a str) -> Result<bool, Problem> {
        let (&[one, subtracted], &[output]) = (&node.inputs[..], &node.outputs[..]) else {
            return Ok(false);
        };
        if node.operator() != "Sub" || subtracted != p {
            return Ok(false);
        }
        let Some(&[user]) = self.users.get(output).map(Vec::as_slice) else { return Ok(false) };
        let user = &self.graph.nodes[user];
        let both = user.operator() == "Concat" && user.inputs == [output, p];
        Ok(both && self.constants.get(one)?.and_then(Constant::scalar) == Some(1.0))
    }

    /// Goes on to the output of a node that has been understood.
    fn advance(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        let (output, others) = match node.outputs.split_first() {
            Some((&output, others)) if !output.is_empty() => (output, others),
            _ => return Err(node.malformed("there is no output")),
        };
        let in_use =
            |name: &&&str| self.users.contains_key(**name) || self.outputs.contains(**name);
        if let Some(other) = others.iter().find(in_use) {
            let what = format!("the output {}", shown(other));
            return Err(node.refused(what, ONE_AFTER_THE_OTHER));
        }
        self.value = output;
        Ok(())
    }

    /// The error of a value that does not go on to one layer.
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
            return Problem::refused(what, ONE_AFTER_THE_OTHER);
        }
        let why = match (node.operator(), node.classical_operator()) {
            _ if self.is_whole => {
                "whole numbers must first become numbers of floating point, by Cast"
            }
            ("", "") => {
                "only operators of the standard are read; export the model without the \
                 optimisations of a runtime"
            }
            ("", _) => {
                "of operators for classical machine learning only ZipMap and labels at the end are \
                 left out; export the network without what comes before and after it"
            }
            ("Add" | "Sub" | "Mul" | "Div", _) => {
                "only one number for all features is understood here, and a bias right after MatMul; \
                 if it is what is left of a batch normalisation, give the file that the training \
                 program itself saved, such as .keras or .pt"
            }
            ("DequantizeLinear" | "QuantizeLinear" | "DynamicQuantizeLinear", _) => {
                "numbers of few bits are not read; export the network before quantisation"
            }
            _ => ONE_AFTER_THE_OTHER,
        };
        Problem::refused(node.shown(), why)
    }
}

/// For each value the nodes that use it.
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
            if users.last() != Some(&index) {
                users.push(index);
            }
        }
    }
    Ok(users)
}

fn batch_and_sample(input: &ValueInfo<'_>) -> Result<(Option<usize>, Option<Sample>), Problem> {
    let Some(shape) = &input.shape else { return Ok((None, None)) };
    match shape.split_first() {
        Some((&batch, sample)) if !sample.is_empty() => Ok((batch, Some(sample.to_vec()))),
        _ => {
            let count = shape.len();
            let what = format!("the input {} of {count} dimensions", shown(input.name));
            let why = "the first must count the samples; export the network for a batch";
            Err(Problem::refused(what, why))
        }
    }
}

/// Functions of one number.
impl<'a> Chain<'a> {
    /// Reads the longest function that is known, of one operator or of many.
    fn function(&mut self) -> Result<bool, Problem> {
        let start = self.value;
        let mut values = vec![(start, PROBES.to_vec())];
        let mut users = vec![self.users_of(start)?];
        let mut waiting: BTreeSet<_> = users.concat().into_iter().collect();
        let mut done = BTreeSet::new();
        let mut longest = None;
        while let Some(index) = waiting.pop_first().filter(|_| done.len() < LONGEST_ACTIVATION) {
            let node = &self.graph.nodes[index];
            let Some(inputs) = self.inputs_at_probes(node, &values)? else { break };
            let &[output] = &node.outputs[..] else { break };
            let Some(results) = elementwise::apply(node, &inputs)? else { break };
            done.insert(index);
            // Whether what was computed before is not needed any more.
            if users.iter().flatten().all(|user| done.contains(user)) {
                let alone = (done.len() == 1).then_some((node, &inputs[..]));
                if let Some(function) = elementwise::recognise(&results, alone)? {
                    longest = Some((function, output));
                }
            }
            if self.outputs.contains(output) {
                break;
            }
            let of_output = self.users_of(output)?;
            waiting.extend(&of_output);
            users.push(of_output);
            values.push((output, results));
        }
        let Some((function, output)) = longest else { return Ok(false) };
        match function {
            Function::Affine { scale: 1.0, offset: 0.0 } => {}
            Function::Affine { scale, offset } => {
                self.layers.push(Layer::Rescale { scale, offset });
            }
            Function::Activation(activation) => self.layers.push(Layer::Activation(activation)),
        }
        self.value = output;
        Ok(true)
    }

    /// The inputs of a node at [`PROBES`], if each is among `values` or one number.
    fn inputs_at_probes(
        &mut self,
        node: &Node<'a>,
        values: &[(&'a str, Vec<f64>)],
    ) -> Result<Option<Vec<Option<Vec<f64>>>>, Problem> {
        let dimensions = self.sample.as_ref().map_or(1, |sample| sample.len() + 1);
        let mut inputs = Vec::new();
        // No operator here has more than three.
        if node.inputs.len() > 3 {
            return Ok(None);
        }
        for &name in &node.inputs {
            if let Some((_, values)) = values.iter().find(|(value, _)| *value == name) {
                inputs.push(Some(values.clone()));
            } else if name.is_empty() {
                inputs.push(None);
            } else {
                let constant = self.constants.get(name)?;
                // A constant of more dimensions would give its own to the result.
                let fits = |constant: &&Constant<'_>| constant.shape.len() <= dimensions;
                match constant.filter(fits).and_then(Constant::scalar) {
                    Some(number) => inputs.push(Some(vec![number; PROBES.len()])),
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(inputs))
    }
}
