//! Residual connections: a value that is added to what layers make of it.

use super::{Chain, ONE_AFTER_THE_OTHER, SampleShape};
use crate::error::{shown, shown_shape};
use crate::{Layer, Problem};

/// The most residual connections within each other.
const MOST_NESTED: usize = 16;

/// A residual connection that has begun and not ended.
pub(super) struct OpenResidual<'a> {
    /// The value that goes both ways.
    pub(super) start: &'a str,
    /// The shape of its samples.
    pub(super) sample: Option<SampleShape>,
    columns: bool,
    /// The node that adds both.
    node: usize,
    /// The value that is added.
    other: &'a str,
    /// True if it is subtracted instead.
    is_subtracted: bool,
    /// The factor of the whole.
    scale: f64,
    /// The layers before.
    layers: Vec<Layer>,
}

impl<'a> Chain<'a> {
    /// Returns true if a node is the end of a residual connection that has begun.
    pub(super) fn is_open(&self, node: usize) -> bool {
        self.open.iter().any(|open| open.node == node)
    }

    /// Begins the outermost residual connection of the value that has been reached, if there is one.
    pub(super) fn begin(&mut self, users: &[usize]) -> Result<bool, Problem> {
        let graph = self.graph;
        for &index in users.iter().rev() {
            let node = &graph.nodes[index];
            let &[first, second] = &node.inputs[..] else { continue };
            let (is_subtracted, scale) = match node.operator() {
                "Add" | "Sum" => (false, 1.0),
                "Mean" => (false, 0.5),
                "Sub" if first == self.value => (true, 1.0),
                // f(x) - x is -(x - f(x)).
                "Sub" => (true, -1.0),
                _ => continue,
            };
            let other = if first == self.value { second } else { first };
            if first == second || self.constants.get(other)?.is_some() {
                continue;
            }
            if self.open.len() == MOST_NESTED {
                let (what, most) = ("the depth of residual connections", MOST_NESTED as u64);
                return Err(Problem::Limit { what, found: most + 1, most });
            }
            node.has_only(&[])?;
            self.open.push(OpenResidual {
                start: self.value,
                sample: self.sample.clone(),
                columns: self.columns,
                node: index,
                other,
                is_subtracted,
                scale,
                layers: std::mem::take(&mut self.layers),
            });
            return Ok(true);
        }
        Ok(false)
    }

    /// Ends the innermost residual connection, if the value that has been reached is what it adds.
    pub(super) fn close(&mut self) -> Result<bool, Problem> {
        let Some(open) = self.open.pop_if(|open| open.other == self.value) else {
            return Ok(false);
        };
        let graph = self.graph;
        let node = &graph.nodes[open.node];
        if self.sample.is_none() || self.sample != open.sample || self.columns != open.columns {
            let [before, after] = [&open.sample, &self.sample]
                .map(|sample| sample.as_deref().map_or("unknown".to_owned(), shown_shape));
            let what = format!("the sum of samples of shape {before} and of shape {after}");
            let why = "both sides of a residual connection must have one known shape";
            return Err(node.refused(what, why));
        }
        let mut branch = std::mem::replace(&mut self.layers, open.layers);
        if open.is_subtracted {
            branch.push(Layer::Rescale { scale: -1.0, offset: 0.0 });
        }
        self.layers.push(Layer::Residual(branch));
        if open.scale != 1.0 {
            self.layers.push(Layer::Rescale { scale: open.scale, offset: 0.0 });
        }
        self.advance(node)?;
        Ok(true)
    }

    /// Requires that no residual connection is left open.
    pub(super) fn all_closed(&self) -> Result<(), Problem> {
        let Some(open) = self.open.last() else { return Ok(()) };
        let what = format!(
            "{}, which adds {} and {}",
            self.graph.nodes[open.node].shown(),
            shown(open.start),
            shown(open.other)
        );
        Err(Problem::refused(what, ONE_AFTER_THE_OTHER))
    }
}
