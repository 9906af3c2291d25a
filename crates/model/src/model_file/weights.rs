//! The tensors of a file, handed out one by one to whoever builds the network.

use std::collections::BTreeMap;

use super::{ModelFileProblem, RUN_PREFIX};
use crate::{NamedTensor, ParameterPath, nearest, transpose};

/// Bytes of the longest name that is suggested for a missing tensor.
const LONGEST_SUGGESTION: usize = 256;

/// The most names among which a similar one is looked for.
const MOST_SUGGESTIONS: usize = 1_000;

/// Weights on their way from a file into a network: each is taken once, and none may be left.
#[derive(Debug)]
pub struct Weights {
    left: BTreeMap<String, NamedTensor>,
    /// Whether matrices have been turned while they were read.
    is_turned: bool,
    /// Whether tensors of a run may be left.
    is_checkpoint: bool,
}

impl Weights {
    /// Of tensors that are laid out as a file has them.
    pub fn of(tensors: Vec<NamedTensor>) -> Self {
        Self::new(tensors, false, false)
    }

    pub(super) fn new(tensors: Vec<NamedTensor>, is_turned: bool, is_checkpoint: bool) -> Self {
        let left = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        Self { left, is_turned, is_checkpoint }
    }

    /// Takes the values of a tensor, which a file has in the shape `expected`; a matrix comes as it is
    /// used, `[inputs, outputs]`.
    ///
    /// # Errors
    ///
    /// There is no such tensor, or it has another shape.
    pub fn take(
        &mut self,
        path: ParameterPath,
        expected: &[usize],
    ) -> Result<Vec<f32>, ModelFileProblem> {
        let is_turned = self.is_turned;
        let NamedTensor { values, .. } = self.take_stored(path, expected)?;
        Ok(match *expected {
            [_, inputs] if !is_turned => transpose(&values, inputs),
            _ => values,
        })
    }

    /// As [`take`](Self::take), as the file has it.
    pub(super) fn take_stored(
        &mut self,
        path: ParameterPath,
        expected: &[usize],
    ) -> Result<NamedTensor, ModelFileProblem> {
        let name = path.to_string();
        let Some(tensor) = self.left.remove(&name) else { return Err(self.missing(&name)) };
        if tensor.shape == expected {
            return Ok(tensor);
        }
        Err(ModelFileProblem::Shape {
            name: tensor.name,
            found: tensor.shape,
            expected: expected.to_vec(),
        })
    }

    /// Refuses tensors that were not taken, unless they are those of a run.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::UnusedTensor`].
    pub fn finish(self) -> Result<(), ModelFileProblem> {
        let is_of_run = |name: &str| self.is_checkpoint && name.starts_with(RUN_PREFIX);
        match self.left.into_keys().find(|name| !is_of_run(name)) {
            Some(name) => Err(ModelFileProblem::UnusedTensor { name }),
            None => Ok(()),
        }
    }

    fn missing(&self, name: &str) -> ModelFileProblem {
        // Comparing words takes memory for each pair of their letters.
        let candidates = self.left.keys().map(String::as_str);
        let candidates = candidates.filter(|name| name.len() <= LONGEST_SUGGESTION);
        let nearest = nearest(name, candidates.take(MOST_SUGGESTIONS)).map(str::to_owned);
        ModelFileProblem::MissingTensor { name: name.to_owned(), nearest }
    }
}
