//! From layers, norms, functions and skip connections to a network in the words of the readers.

use fireclay::{NormPosition, SkipPosition};
use fireclay_formats::{Layer, Layout};
use fireclay_terminal::printable;

use super::super::ImportError;
use super::groups::Group;
use super::names::Role;
use super::norms::Placed;
use super::said::Said;

/// What a network is made of.
pub(super) struct Parts<'a> {
    pub(super) layers: &'a [&'a Group<'a>],
    pub(super) layout: Layout,
    pub(super) norms: Placed,
    /// Of hidden layers.
    pub(super) functions: Vec<Layer>,
    /// Of hidden layers.
    pub(super) said: &'a [Said],
}

/// What has been put together, and the skip connections that have begun: the layer at whose end each is
/// added, and what stands before it.
#[derive(Default)]
struct Row {
    steps: Vec<Layer>,
    open: Vec<(usize, Vec<Layer>)>,
}

/// The most skip connections within each other, as in files that describe their network.
const MOST_NESTED: usize = 16;

impl Parts<'_> {
    /// The layers, one after the other.
    ///
    /// # Errors
    ///
    /// [`ImportError::Unsupported`] if two skip connections overlap, and neither is inside of the
    /// other, or if too many are within each other.
    pub(super) fn network(&self) -> Result<Vec<Layer>, ImportError> {
        let mut row = Row { steps: self.norms.input.iter().cloned().collect(), ..Row::default() };
        let ends = self.ends();
        for (index, group) in self.layers.iter().enumerate() {
            let Some(weight) = group.named(Role::Weight) else { continue };
            let (bias, layout) = (group.named(Role::Bias), self.layout);
            let of_layer = ends.get(index).map(Vec::as_slice).unwrap_or_default();
            // That of the last layer is around the others.
            for &end in of_layer.iter().rev() {
                row.open.push((end, std::mem::take(&mut row.steps)));
            }
            if row.open.len() > MOST_NESTED {
                return Err(ImportError::unsupported(
                    format!("more than {MOST_NESTED} skip connections are within each other"),
                    "such a network is not imported from tensors alone",
                ));
            }
            row.steps.extend(self.norm(index, NormPosition::Input));
            row.steps.push(Layer::Dense { weight, bias, layout });
            self.end(&mut row, index, SkipPosition::BeforeNorm)?;
            row.steps.extend(self.norm(index, NormPosition::BeforeActivation));
            self.end(&mut row, index, SkipPosition::BeforeActivation)?;
            row.steps.extend(self.functions.get(index).cloned());
            row.steps.extend(self.norm(index, NormPosition::AfterActivation));
            let dropout = self.said.get(index).map_or(0.0, |said| said.dropout);
            row.steps.extend((dropout > 0.0).then_some(Layer::Dropout(dropout)));
            self.end(&mut row, index, SkipPosition::Output)?;
        }
        Ok(row.steps)
    }

    fn norm(&self, layer: usize, position: NormPosition) -> Option<Layer> {
        let mut norms = self.norms.norms.iter();
        norms.find(|norm| (norm.0, norm.1) == (layer, position)).map(|(.., norm)| norm.clone())
    }

    /// For each hidden layer the layers at whose end a skip connection adds what it reads.
    fn ends(&self) -> Vec<Vec<usize>> {
        let mut ends = vec![Vec::new(); self.said.len()];
        for (end, said) in self.said.iter().enumerate() {
            let start = said.skip.and_then(|skip| (end + 1).checked_sub(skip.span));
            if let Some(of_start) = start.and_then(|start| ends.get_mut(start)) {
                of_start.push(end);
            }
        }
        ends
    }

    /// Ends the skip connection of a layer, if it has one that is added here.
    fn end(&self, row: &mut Row, layer: usize, at: SkipPosition) -> Result<(), ImportError> {
        let skip = self.said.get(layer).and_then(|said| said.skip);
        if skip.is_none_or(|skip| skip.position != at) {
            return Ok(());
        }
        match row.open.pop() {
            Some((end, before)) if end == layer => {
                let inner = std::mem::replace(&mut row.steps, before);
                row.steps.push(Layer::Residual(inner));
                Ok(())
            }
            other => {
                let name = |layer: usize| {
                    self.layers
                        .get(layer)
                        .map_or_else(String::new, |layer| printable(&layer.name, 60))
                };
                let end = other.map_or(layer, |(end, _)| end);
                Err(ImportError::unsupported(
                    format!(
                        "the skip connections of {} and {} overlap, and neither is inside of the other",
                        name(layer),
                        name(end)
                    ),
                    "such a network is not imported from tensors alone; export it to ONNX",
                ))
            }
        }
    }
}
