//! The operators after a network, which turn its outputs into labels.
//!
//! Exporters write down the names of classes in many ways. They are not guessed from one of them: the
//! operators are computed for each class, and what comes out is the name of the class.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::super::constants::{Constant, Constants};
use super::super::proto::{Graph, Node, ValueInfo};
use super::super::tensor::dtype;
use crate::Problem;

/// The most operators behind a comparison that may make labels.
const MOST_BEHIND: usize = 64;

/// Nodes that make labels, or the probabilities of two classes, of the outputs.
#[derive(Default)]
pub(super) struct Labels<'a> {
    /// The first of them, in words.
    first: Option<String>,
    /// Their places in the graph.
    pub(super) nodes: BTreeSet<usize>,
    /// The values that they make.
    pub(super) values: HashSet<&'a str>,
    /// Those of them that are nothing but the largest of the outputs, and their places.
    pub(super) scores: HashSet<&'a str>,
    /// The values of the network that they are made of, and what is known of each when it is reached.
    pub(super) starts: BTreeMap<&'a str, Option<LabelStart>>,
}

/// Where labels begin.
pub(super) struct LabelStart {
    /// The number of layers before it.
    pub(super) layers: usize,
    /// True if samples are rows there, and no residual connection has begun.
    pub(super) is_plain: bool,
}

impl<'a> Labels<'a> {
    /// The operators that may make labels, or follow on them.
    const OPERATORS: [&'static str; 22] = [
        "Add",
        "ArgMax",
        "Cast",
        "Concat",
        "Flatten",
        "Gather",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "Less",
        "LessOrEqual",
        "Mul",
        "Not",
        "ReduceMax",
        "Reshape",
        "Round",
        "Slice",
        "Squeeze",
        "Sub",
        "TopK",
        "Unsqueeze",
        "Where",
    ];
    const CLASSICAL: [&'static str; 4] =
        ["ArrayFeatureExtractor", "Binarizer", "LabelEncoder", "ZipMap"];

    /// Takes a node that uses a value of the network, and all that follows on it, if they make labels.
    pub(super) fn begin(
        &mut self,
        index: usize,
        value: &'a str,
        graph: &'a Graph<'a>,
        users: &HashMap<&'a str, Vec<usize>>,
        constants: &mut Constants<'a>,
    ) -> Result<bool, Problem> {
        let node = &graph.nodes[index];
        let begins = match (node.operator(), node.classical_operator()) {
            _ if is_certain(node) => true,
            ("ReduceMax" | "TopK", _) => self.are_scores(index, graph, users),
            ("Sub", _) if is_other_probability(node, value, graph, users, constants)? => true,
            ("Slice", _) => {
                let mut beside =
                    users.get(value).into_iter().flatten().map(|&user| &graph.nodes[user]);
                let has_label =
                    beside.any(|node| is_certain(node) || node.classical_operator() == "Binarizer");
                has_label && behind(index, graph, users).is_some()
            }
            (
                "Cast" | "Gather" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Round",
                _,
            )
            | (_, "ArrayFeatureExtractor" | "Binarizer") => {
                ends_in_labels(behind(index, graph, users), graph)
            }
            _ => false,
        };
        if begins {
            self.add(index, graph, users)?;
        }
        Ok(begins)
    }

    /// Returns true if a node picks the largest outputs, and what follows only changes how they
    /// lie; then they are remembered.
    fn are_scores(
        &mut self,
        index: usize,
        graph: &'a Graph<'a>,
        users: &HashMap<&'a str, Vec<usize>>,
    ) -> bool {
        const LYING: [&str; 7] =
            ["Cast", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"];
        let Some(nodes) = behind(index, graph, users) else { return false };
        let mut others = nodes.iter().filter(|&&at| at != index);
        if !others.all(|&at| LYING.contains(&graph.nodes[at].operator())) {
            return false;
        }
        self.scores.extend(nodes.iter().flat_map(|&at| &graph.nodes[at].outputs));
        true
    }

    /// Adds a node and all that follows on it.
    fn add(
        &mut self,
        index: usize,
        graph: &'a Graph<'a>,
        users: &HashMap<&'a str, Vec<usize>>,
    ) -> Result<(), Problem> {
        let mut waiting = vec![index];
        while let Some(index) = waiting.pop() {
            if !self.nodes.insert(index) {
                continue;
            }
            let node = &graph.nodes[index];
            if !Self::knows(node) {
                return Err(node.refused("labels", "they are only understood at the end"));
            }
            self.first.get_or_insert_with(|| node.shown());
            for &output in &node.outputs {
                self.values.insert(output);
                waiting.extend(users.get(output).into_iter().flatten());
            }
        }
        Ok(())
    }

    /// Returns true if a node may make labels.
    fn knows(node: &Node<'_>) -> bool {
        Self::OPERATORS.contains(&node.operator())
            || Self::CLASSICAL.contains(&node.classical_operator())
    }

    /// A note on what was left out, if anything was.
    pub(super) fn notes(&self) -> Vec<String> {
        let Some(first) = &self.first else { return Vec::new() };
        let count = self.nodes.len();
        vec![if count == 1 {
            format!("left out: {first}, which makes labels or scores of the outputs")
        } else {
            format!("left out: {count} operators that make labels of the outputs, from {first} on")
        }]
    }
}

/// Returns true if an output holds labels: whole numbers, truth values or texts.
pub(super) fn holds_labels(output: &ValueInfo<'_>) -> bool {
    output.element != 0 && !dtype(output.element).is_some_and(|dtype| dtype.is_float())
}

/// A node and all that follows on it, if these are few and all may make labels.
fn behind(
    index: usize,
    graph: &Graph<'_>,
    users: &HashMap<&str, Vec<usize>>,
) -> Option<BTreeSet<usize>> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![index];
    while let Some(index) = waiting.pop() {
        if !found.insert(index) {
            continue;
        }
        let node = &graph.nodes[index];
        if found.len() > MOST_BEHIND || !Labels::knows(node) {
            return None;
        }
        waiting.extend(node.outputs.iter().filter_map(|output| users.get(output)).flatten());
    }
    Some(found)
}

/// Returns true if nodes make outputs of the graph, and nothing but labels.
fn ends_in_labels(nodes: Option<BTreeSet<usize>>, graph: &Graph<'_>) -> bool {
    let Some(nodes) = nodes else { return false };
    let made: HashSet<_> = nodes.iter().flat_map(|&at| &graph.nodes[at].outputs).collect();
    let mut ends = graph.outputs.iter().filter(|output| made.contains(&output.name)).peekable();
    ends.peek().is_some() && ends.all(holds_labels)
}

/// Returns true if a node makes `1 - p` of the probability `p` of the second of two classes, which
/// is then put before it, as skl2onnx does.
fn is_other_probability<'a>(
    node: &Node<'a>,
    p: &'a str,
    graph: &Graph<'a>,
    users: &HashMap<&'a str, Vec<usize>>,
    constants: &mut Constants<'a>,
) -> Result<bool, Problem> {
    let (&[one, subtracted], &[output]) = (&node.inputs[..], &node.outputs[..]) else {
        return Ok(false);
    };
    let Some(&[user]) = users.get(output).map(Vec::as_slice) else { return Ok(false) };
    let user = &graph.nodes[user];
    let both = user.operator() == "Concat" && user.inputs == [output, p];
    let is_one = constants.get(one)?.and_then(Constant::scalar) == Some(1.0);
    Ok(both && subtracted == p && is_one)
}

/// Returns true if an operator makes labels in every network.
fn is_certain(node: &Node<'_>) -> bool {
    node.operator() == "ArgMax" || node.classical_operator() == "ZipMap"
}
