//! The tensors of a file, and what became of each.

use std::collections::{BTreeMap, BTreeSet};

use fireclay::nearest;
use fireclay_formats::{ElementType, Layer, Network, Tensor};

use super::super::{Fate, ImportError, Options, Placed, inferred, may_be_unused};

/// The tensors of a file. One that the network does not name is let go at once, any other when its
/// numbers have been taken for the last time.
#[derive(Debug)]
pub(super) struct Tensors {
    /// Name, shape and type of each, in the order of the file.
    listed: Vec<(String, Vec<usize>, ElementType)>,
    held: BTreeMap<String, Tensor>,
    fates: BTreeMap<String, (String, String)>,
}

impl Tensors {
    pub(super) fn new(tensors: Vec<Tensor>, network: &Network) -> Self {
        let mut named = BTreeSet::new();
        names(&network.layers, &mut named);
        let listed = tensors
            .iter()
            .map(|tensor| (tensor.name.clone(), tensor.shape.clone(), tensor.dtype))
            .collect();
        let needed = tensors.into_iter().filter(|tensor| named.contains(tensor.name.as_str()));
        let held = needed.map(|tensor| (tensor.name.clone(), tensor)).collect();
        Self { listed, held, fates: BTreeMap::new() }
    }

    /// A tensor by name.
    pub(super) fn named(&self, name: &str) -> Result<&Tensor, ImportError> {
        self.held.get(name).ok_or_else(|| self.missing(name))
    }

    /// The error of a parameter, or tensor, that is not in the file.
    pub(super) fn missing(&self, path: &str) -> ImportError {
        let left = self.listed.iter().map(|(name, ..)| name.as_str());
        let left = left.filter(|name| !self.held.contains_key(*name));
        let near = nearest(path, left).map(str::to_owned);
        ImportError::Missing { path: path.to_owned(), others: Vec::new(), nearest: near }
    }

    /// The numbers of a vector of this length, all finite; `path` is where they go.
    pub(super) fn vector(
        &self,
        name: &str,
        length: usize,
        path: &str,
    ) -> Result<Vec<f64>, ImportError> {
        let tensor = self.named(name)?;
        if inferred::vector(&tensor.shape) != Some(length) {
            return Err(ImportError::Shape {
                name: name.to_owned(),
                found: tensor.shape.clone(),
                path: path.to_owned(),
                expected: vec![length],
            });
        }
        finite(name, tensor.to_f64()?)
    }

    /// As [`vector`](Self::vector), and one number may stand for all.
    pub(super) fn broad_vector(
        &self,
        name: &str,
        length: usize,
        path: &str,
    ) -> Result<Vec<f64>, ImportError> {
        let tensor = self.named(name)?;
        if tensor.shape.iter().all(|&size| size == 1) {
            let one = finite(name, tensor.to_f64()?)?;
            return Ok(vec![one.first().copied().unwrap_or_default(); length]);
        }
        self.vector(name, length, path)
    }

    /// Gives `each` every number of a matrix, with its row and column, without holding all of them.
    pub(super) fn each(
        &self,
        name: &str,
        columns: usize,
        mut each: impl FnMut(usize, usize, f64),
    ) -> Result<(), ImportError> {
        let (mut row, mut column, mut is_finite) = (0, 0, true);
        self.named(name)?.pieces(|piece| {
            for &value in piece {
                is_finite &= value.is_finite();
                each(row, column, value);
                column += 1;
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
            }
        })?;
        if is_finite { Ok(()) } else { Err(ImportError::NotFinite { name: name.to_owned() }) }
    }

    /// Says where a tensor went.
    pub(super) fn went(&mut self, name: &str, path: String, change: String) {
        match self.fates.get_mut(name) {
            None => {
                self.fates.insert(name.to_owned(), (path, change));
            }
            // A tensor that is used twice.
            Some((paths, _)) if !paths.split(", ").any(|other| other == path) => {
                *paths += &format!(", {path}");
            }
            Some(_) => {}
        }
    }

    /// Lets go of the numbers of a tensor.
    pub(super) fn release(&mut self, name: &str) {
        self.held.remove(name);
    }

    /// Whether it is a variance of which Keras uses a copy that is nowhere 0.
    fn is_floored(&self, name: &str) -> bool {
        let layer = name.strip_suffix("/variance");
        let copy = layer.map(|layer| format!("{layer}/floored_variance"));
        copy.is_some_and(|copy| self.fates.contains_key(copy.as_str()))
    }

    /// Every tensor and what became of it; of a file that describes its network, or does not.
    pub(super) fn placed(
        &self,
        is_described: bool,
        options: &Options,
    ) -> Result<Vec<Placed>, ImportError> {
        let mut unused = Vec::new();
        let mut placed = Vec::new();
        for (name, shape, dtype) in &self.listed {
            let fate = match self.fates.get(name) {
                Some((path, change)) => Fate::Used { path: path.clone(), change: change.clone() },
                None if self.is_floored(name) => {
                    Fate::Skipped("its floored copy is used, as Keras does".to_owned())
                }
                None if name.ends_with("num_batches_tracked") || name.ends_with("/count") => {
                    Fate::Skipped("a counter, which nothing here depends on".to_owned())
                }
                None if may_be_unused(name, options) => {
                    Fate::Skipped("left out, as --allow-unused says".to_owned())
                }
                None => {
                    unused.push((name.as_str(), shape.as_slice()));
                    Fate::Skipped(String::new())
                }
            };
            let (name, shape, dtype) = (name.clone(), shape.clone(), dtype.name());
            placed.push(Placed { name, shape, dtype, fate });
        }
        if unused.is_empty() {
            if is_described {
                check_left_out(&placed, options)?;
            }
            return Ok(placed);
        }
        Err(inferred::unused(&unused, is_described, &self.ends(&placed)))
    }

    /// Both ends of the network, by where tensors went.
    fn ends(&self, placed: &[Placed]) -> inferred::Ends {
        let went = |placed: &Placed| match &placed.fate {
            Fate::Used { path, change } => Some((path.clone(), change.contains("transposed"))),
            Fate::Skipped(_) => None,
        };
        let of = |wanted: &str| {
            placed.iter().find_map(|tensor| {
                let (path, is_transposed) = went(tensor)?;
                (path == wanted).then(|| (tensor.name.clone(), tensor.shape.clone(), is_transposed))
            })
        };
        let last = (0..placed.len()).rev().find(|at| of(&format!("layers.{at}.weight")).is_some());
        let last = last.unwrap_or_default();
        let weight = of(&format!("layers.{last}.weight"));
        let size = |(_, shape, is_transposed): &(String, Vec<usize>, bool), is_output: bool| {
            shape.get(usize::from(is_output == *is_transposed)).copied()
        };
        let inputs = of("layers.0.weight").and_then(|first| size(&first, false));
        let outputs = weight.as_ref().and_then(|last| size(last, true));
        inferred::Ends {
            widths: inputs.zip(outputs).map(|(inputs, outputs)| [inputs, outputs]),
            weight: weight.map(|(name, _, is_transposed)| (name, is_transposed)),
            bias: of(&format!("layers.{last}.bias")).map(|(name, ..)| name),
            used: placed
                .iter()
                .filter(|tensor| matches!(tensor.fate, Fate::Used { .. }))
                .map(|tensor| (tensor.name.clone(), tensor.shape.clone()))
                .collect(),
        }
    }
}

/// Requires that each pattern of tensors that may be left out names one that the network of the file
/// does without.
fn check_left_out(placed: &[Placed], options: &Options) -> Result<(), ImportError> {
    let left = placed.iter().filter(|placed| matches!(placed.fate, Fate::Skipped(_)));
    let left = left.map(|placed| placed.name.as_str());
    match options.allow_unused.iter().find(|glob| !left.clone().any(|name| glob.names(name))) {
        Some(glob) => Err(ImportError::names_nothing(
            "--allow-unused",
            glob,
            "tensor that the network of the file does without",
            left.clone(),
        )),
        None => Ok(()),
    }
}

fn finite(name: &str, values: Vec<f64>) -> Result<Vec<f64>, ImportError> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    Err(ImportError::NotFinite { name: name.to_owned() })
}

/// The names of all tensors of some layers.
fn names<'n>(layers: &'n [Layer], all: &mut BTreeSet<&'n str>) {
    for layer in layers {
        let of_layer: [Option<&String>; 4] = match layer {
            Layer::Affine { scale, offset } => [scale.as_ref(), offset.as_ref(), None, None],
            Layer::Dense { weight, bias, .. } => [Some(weight), bias.as_ref(), None, None],
            Layer::Norm { scale, shift, mean, variance, .. } => {
                [scale.as_ref(), shift.as_ref(), mean.as_ref(), variance.as_ref()]
            }
            Layer::Prelu { slope } => [Some(slope), None, None, None],
            Layer::Residual(inner) => {
                names(inner, all);
                [None; 4]
            }
            Layer::Flatten | Layer::Rescale { .. } | Layer::Activation(_) | Layer::Dropout(_) => {
                [None; 4]
            }
        };
        all.extend(of_layer.into_iter().flatten().map(String::as_str));
    }
}
