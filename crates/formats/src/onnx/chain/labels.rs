//! What comes after a network: its outputs made into labels.

use std::collections::{HashMap, HashSet};

use super::super::proto::Graph;
use crate::Problem;

/// Nodes that make labels, or the probabilities of two classes, of the outputs.
#[derive(Default)]
pub(super) struct Labels<'a> {
    /// The first of them, in words.
    first: Option<String>,
    /// Their places in the graph.
    pub(super) nodes: HashSet<usize>,
    /// What they make.
    pub(super) values: HashSet<&'a str>,
}

impl<'a> Labels<'a> {
    /// What may make labels, and what may follow on them.
    const OPERATORS: [&'static str; 9] = [
        "ArgMax",
        "Cast",
        "Concat",
        "Gather",
        "Identity",
        "Reshape",
        "Squeeze",
        "Sub",
        "Unsqueeze",
    ];
    const CLASSICAL: [&'static str; 3] = ["ArrayFeatureExtractor", "LabelEncoder", "ZipMap"];

    /// Adds a node and all that follows on it.
    pub(super) fn add(
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
            if !Self::OPERATORS.contains(&node.operator())
                && !Self::CLASSICAL.contains(&node.classical_operator())
            {
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

    /// A note on what was left out, if anything was.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |first| {
            let count = self.nodes.len();
            format!("left out: {count} operators that make labels of the outputs, from {first} on")
        };
        self.first.as_ref().map(note).into_iter().collect()
    }
}
