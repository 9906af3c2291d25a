//! From layers, norms, functions and skip connections to a network in the words of the readers.

use fireclay::{NormPosition, SkipPosition};
use fireclay_formats::{Layer, Layout, printable};

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

impl Parts<'_> {
    /// The layers, one after the other.
    ///
    /// # Errors
    ///
    /// [`ImportError::Unsupported`] if two skip connections overlap, and neither is inside of the other.
    pub(super) fn network(&self) -> Result<Vec<Layer>, ImportError> {
        let mut row = Row { steps: self.norms.input.iter().cloned().collect(), ..Row::default() };
        for (index, group) in self.layers.iter().enumerate() {
            let Some(weight) = group.named(Role::Weight) else { continue };
            let (bias, layout) = (group.named(Role::Bias), self.layout);
            self.begin(&mut row, index);
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

    /// Begins the skip connections that take what a layer reads, that of the last layer first.
    fn begin(&self, row: &mut Row, layer: usize) {
        for (end, said) in self.said.iter().enumerate().skip(layer).rev() {
            if said.skip.is_some_and(|skip| layer + skip.span == end + 1) {
                row.open.push((end, std::mem::take(&mut row.steps)));
            }
        }
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
