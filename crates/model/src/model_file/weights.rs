//! The tensors of a file, handed out one by one to whoever builds the network.

use std::collections::BTreeMap;

use super::codec::{PackedTensor, RawTensor, Tensors};
use super::{ModelFileProblem, RUN_PREFIX, encoded};
use crate::predictor::integers::Integers;
use crate::predictor::packed::Packed;
use crate::{EncodedMatrix, Encoding, Model, NamedTensor, ParameterPath, nearest, transpose};

/// Bytes of the longest name that is suggested for a missing tensor.
const LONGEST_SUGGESTION: usize = 256;

/// The most names among which a similar one is looked for.
const MOST_SUGGESTIONS: usize = 1_000;

/// Weights on their way from a file into a network: each is taken once, and none may be left.
#[derive(Debug)]
pub struct Weights {
    left: BTreeMap<String, NamedTensor>,
    /// Matrices that have been packed while they were read.
    packed: BTreeMap<String, PackedTensor>,
    /// Tensors of other types than `F32`.
    raw: BTreeMap<String, RawTensor>,
    encodings: BTreeMap<ParameterPath, Encoding>,
    /// True if matrices have been turned while they were read.
    is_turned: bool,
    /// True if tensors of a run may be left.
    is_checkpoint: bool,
}

impl Weights {
    /// Of the weights of a model.
    pub fn of(model: Model) -> Self {
        let Model { weights, encoded, .. } = model;
        let tensors = Tensors { plain: weights, ..Tensors::default() };
        let mut all = Self::new(tensors, BTreeMap::new(), false, false);
        for (path, matrix) in encoded {
            all.encodings.insert(path, matrix.encoding());
            let (own, beside) = encoded::parts(path, matrix);
            all.raw.insert(own.name.clone(), own);
            all.left.extend(beside.map(|tensor| (tensor.name.clone(), tensor)));
        }
        all
    }

    pub(super) fn new(
        tensors: Tensors,
        encodings: BTreeMap<ParameterPath, Encoding>,
        is_turned: bool,
        is_checkpoint: bool,
    ) -> Self {
        let Tensors { plain, packed, raw } = tensors;
        let left = plain.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let packed = packed.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let raw = raw.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        Self { left, packed, raw, encodings, is_turned, is_checkpoint }
    }

    /// Takes the weights of linear layer `i` in panels of at most `widest` lanes.
    pub(crate) fn take_packed(
        &mut self,
        i: usize,
        sizes @ [inputs, outputs]: [usize; 2],
        widest: usize,
    ) -> Result<Packed, ModelFileProblem> {
        let path = ParameterPath::Weight(i);
        let Some(tensor) = self.packed.remove(&path.to_string()) else {
            let values = self.take(path, &[outputs, inputs])?;
            return Ok(Packed::new(&values, sizes, widest));
        };
        check_shape(&tensor.name, &tensor.shape, &[outputs, inputs])?;
        Ok(tensor.matrix)
    }

    /// Takes the values of a tensor, which a file has in the shape `expected`; a matrix that rows are
    /// multiplied with comes as it is used, `[inputs, outputs]`, and out of its encoding.
    ///
    /// # Errors
    ///
    /// There is no such tensor, or it has another shape or a wrong encoding.
    pub fn take(
        &mut self,
        path: ParameterPath,
        expected: &[usize],
    ) -> Result<Vec<f32>, ModelFileProblem> {
        if let Some(matrix) = self.take_encoded(path, expected)? {
            return Ok(transpose(&matrix.decode(), matrix.inputs));
        }
        let is_turned = self.is_turned;
        let NamedTensor { name, values, .. } = self.take_stored(path, expected)?;
        let count = expected.iter().product();
        if values.len() != count {
            return Err(ModelFileProblem::Count { name, found: values.len(), expected: count });
        }
        Ok(match *expected {
            [_, inputs] if path.is_linear() && !is_turned => transpose(&values, inputs),
            _ => values,
        })
    }

    /// Takes the weights of linear layer `i` as integers, if their encoding is one of integers.
    pub(crate) fn take_integers(
        &mut self,
        i: usize,
        [inputs, outputs]: [usize; 2],
    ) -> Result<Option<Integers>, ModelFileProblem> {
        let path = ParameterPath::Weight(i);
        let is_integer = matches!(
            self.encodings.get(&path),
            Some(Encoding::Int8 { .. } | Encoding::Int4 { .. })
        );
        if !is_integer {
            return Ok(None);
        }
        let matrix = self.take_encoded(path, &[outputs, inputs])?;
        Ok(matrix.as_ref().and_then(Integers::of))
    }

    /// The matrix at a path, if it has an encoding.
    pub(super) fn take_encoded(
        &mut self,
        path: ParameterPath,
        expected: &[usize],
    ) -> Result<Option<EncodedMatrix>, ModelFileProblem> {
        let encoding = self.encodings.get(&path).filter(|_| path.is_linear());
        let (Some(&encoding), &[outputs, inputs]) = (encoding, expected) else { return Ok(None) };
        self.encodings.remove(&path);
        let name = path.to_string();
        let Some(own) = self.raw.remove(&name) else { return Err(self.missing(&name)) };
        let shape = encoded::shape(encoding, outputs, inputs).unwrap_or_default();
        check_shape(&name, &own.shape, &shape)?;
        let kept = own.bytes.iter().map(|byte| byte.count_ones() as usize).sum();
        let beside = match encoded::beside(encoding, outputs, inputs, kept) {
            Some((suffix, shape)) => self.take_named(&format!("{name}{suffix}"), &shape)?.values,
            None => Vec::new(),
        };
        let matrix = encoded::matrix(encoding, outputs, inputs, own, beside);
        matrix.validate().map_err(|problem| ModelFileProblem::Encoding { path, problem })?;
        Ok(Some(matrix))
    }

    /// As [`take`](Self::take), as the file has it.
    pub(super) fn take_stored(
        &mut self,
        path: ParameterPath,
        expected: &[usize],
    ) -> Result<NamedTensor, ModelFileProblem> {
        self.take_named(&path.to_string(), expected)
    }

    fn take_named(
        &mut self,
        name: &str,
        expected: &[usize],
    ) -> Result<NamedTensor, ModelFileProblem> {
        let Some(tensor) = self.left.remove(name) else { return Err(self.missing(name)) };
        check_shape(name, &tensor.shape, expected)?;
        Ok(tensor)
    }

    /// Refuses tensors that were not taken, unless they are those of a run.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::UnusedTensor`].
    pub fn finish(self) -> Result<(), ModelFileProblem> {
        if let Some((&path, _)) = self.encodings.first_key_value() {
            return Err(ModelFileProblem::EncodedPath { path });
        }
        let is_checkpoint = self.is_checkpoint;
        let mut left =
            self.left.into_keys().chain(self.packed.into_keys()).chain(self.raw.into_keys());
        match left.find(|name| !(is_checkpoint && name.starts_with(RUN_PREFIX))) {
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

fn check_shape(name: &str, found: &[usize], expected: &[usize]) -> Result<(), ModelFileProblem> {
    if found == expected {
        return Ok(());
    }
    let (name, found, expected) = (name.to_owned(), found.to_vec(), expected.to_vec());
    Err(ModelFileProblem::Shape { name, found, expected })
}
