//! Constants that meet samples: one number for all features, or one for each.

use super::super::constants::{Constant, Source};
use super::super::proto::Node;
use super::Chain;
use crate::error::{shown, shown_shape};
use crate::{ElementType, Layer, Problem, Tensor};
use fireclay_terminal::counted;

/// The most numbers that all tensors together may have that are computed here: the file holds them
/// neither as they are nor as often.
const MOST_MADE: usize = 1 << 22;

/// A constant, as it meets the features of samples.
#[derive(Clone, Debug)]
pub(super) enum Spread<'a> {
    /// One number for all features.
    One(f64),
    /// A number for each feature: this tensor of the file.
    Tensor(Source<'a>),
    /// A number for each feature, which no tensor of the file holds as it is.
    Made(Vec<f64>),
}

/// A change of each number of a constant.
type Change = fn(f64) -> f64;

impl<'a> Chain<'a> {
    /// Returns the constant for each feature of the samples that have been reached; none if it
    /// would change their shape, or differs from sample to sample.
    pub(super) fn spread(
        &mut self,
        constant: &Constant<'a>,
    ) -> Result<Option<Spread<'a>>, Problem> {
        self.see_columns(&constant.shape);
        let Some(full) = self.full_shape(&constant.shape) else { return Ok(None) };
        if constant.shape.iter().all(|&size| size == 1) {
            return Ok(numbers(constant)?.and_then(|all| all.first().copied()).map(Spread::One));
        }
        let count = full.iter().try_fold(1, |count: usize, &size| count.checked_mul(size));
        let Some(count) = count.filter(|&count| count > 0) else { return Ok(None) };
        if self.sample.as_deref() == Some(&[None]) {
            self.know_features(count);
        }
        let is_whole = constant.shape.iter().try_fold(1, |all: usize, &size| all.checked_mul(size))
            == Some(count);
        let is_row = constant.shape.iter().filter(|&&size| size != 1).count() < 2;
        match constant.source {
            // A row lies in the same order, transposed or not.
            Some(source) if source.transposed && !is_row => return Ok(None),
            Some(source) if is_whole => {
                return Ok(Some(Spread::Tensor(Source { transposed: false, ..source })));
            }
            _ => {}
        }
        self.pay(count)?;
        let Some(values) = numbers(constant)? else { return Ok(None) };
        let full_rank = full.len();
        let mut padded = vec![1; full_rank.saturating_sub(constant.shape.len())];
        padded.extend(&constant.shape[constant.shape.len().saturating_sub(full_rank)..]);
        Ok(Some(Spread::Made(broadcast(&values, &padded, &full))))
    }

    /// Takes samples for columns where a constant is one of as many numbers as there would be rows.
    fn see_columns(&mut self, shape: &[usize]) {
        if let (Some(batch @ 2..), &[first, 1], Some(&[Some(1) | None])) =
            (self.batch, shape, self.sample.as_deref())
            && first == batch
            && self.turn_untouched()
        {
            self.columns = true;
        }
    }

    /// The sizes of a sample, if a constant of this shape meets its features and changes neither its
    /// shape nor the number of samples.
    fn full_shape(&self, shape: &[usize]) -> Option<Vec<usize>> {
        let sample = self.sample.as_deref()?;
        if self.columns {
            // The last axis counts the samples.
            let (&[features], &[first, 1] | &[first @ 1]) = (sample, shape) else {
                return shape.is_empty().then_some(vec![1]);
            };
            return (first == 1 || features == Some(first)).then(|| vec![features.unwrap_or(1)]);
        }
        let extra = shape.len().saturating_sub(sample.len());
        let (batch, shape) = shape.split_at(extra);
        if extra > 1 || batch.iter().any(|&size| size != 1) {
            return None;
        }
        let behind = sample.len() - shape.len();
        let fits = std::iter::zip(&sample[behind..], shape).all(|(&known, &size)| {
            size == 1 || known == Some(size) || (known.is_none() && sample.len() == 1)
        });
        let sizes = sample.iter().enumerate().map(|(at, &known)| match known {
            Some(size) => Some(size),
            None if at >= behind => Some(shape[at - behind]),
            None => None,
        });
        // One number needs no shape to be known.
        if fits && shape.iter().all(|&size| size == 1) {
            return Some(sizes.map(|size| size.unwrap_or(1)).collect());
        }
        sizes.collect::<Option<Vec<_>>>().filter(|_| fits)
    }

    /// Remembers how many features the samples have, where that was open.
    pub(super) fn know_features(&mut self, features: usize) {
        if self.sample.as_deref() != Some(&[None]) {
            return;
        }
        self.sample = Some(vec![Some(features)]);
        for open in self.open.iter_mut().filter(|open| open.start == self.value) {
            open.sample = self.sample.clone();
        }
    }

    /// Takes this count of numbers from what may be computed.
    pub(super) fn pay(&mut self, count: usize) -> Result<(), Problem> {
        self.made_numbers = self.made_numbers.saturating_add(count);
        if self.made_numbers > MOST_MADE {
            let what = "the number of values that are computed from constants";
            let (found, most) = (self.made_numbers as u64, MOST_MADE as u64);
            return Err(Problem::Limit { what, found, most });
        }
        Ok(())
    }

    /// A tensor of numbers that were computed, and its name.
    pub(super) fn make(
        &mut self,
        node: &Node<'_>,
        what: &str,
        shape: Vec<usize>,
        values: &[f64],
    ) -> Result<String, Problem> {
        let output = node.outputs.first().copied().unwrap_or_default();
        let mut name = format!("{output}/{what}");
        while self.constants.is_known(&name) || self.made.iter().any(|made| made.name == name) {
            name.push('\'');
        }
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.made.push(Tensor::new(
            super::super::KIND,
            name.clone(),
            shape,
            ElementType::F64,
            bytes,
        )?);
        Ok(name)
    }

    /// The tensor of a number for each of `count` features, each changed by `change` if there is one.
    pub(super) fn row(
        &mut self,
        node: &Node<'_>,
        what: &str,
        spread: Spread<'a>,
        count: usize,
        change: Option<Change>,
    ) -> Result<String, Problem> {
        let values = match (spread, change) {
            (Spread::Tensor(source), None) => {
                return Ok(self.tensor(node, source, vec![count])?.to_owned());
            }
            (Spread::Tensor(source), Some(_)) => {
                self.pay(count)?;
                source.tensor.to_tensor(source.name)?.to_f64()?
            }
            (Spread::One(value), _) => {
                self.pay(count)?;
                vec![value; count]
            }
            (Spread::Made(values), _) => values,
        };
        let values: Vec<f64> = match change {
            Some(change) => values.into_iter().map(change).collect(),
            None => values,
        };
        if let Some(other) = values.iter().find(|value| !value.is_finite()) {
            return Err(node.refused(
                format!("a {what} of {other}"),
                "it must be a number; a feature that never changes cannot be divided by 0",
            ));
        }
        self.make(node, what, vec![count], &values)
    }

    /// `Add`, `Sub`, `Mul` and `Div` with a number for each feature.
    pub(super) fn arithmetic(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        let &[first, second] = &node.inputs[..] else { return Ok(false) };
        let is_first = first == self.value;
        let other = if is_first { second } else { first };
        let Some(constant) = self.constants.get(other)?.cloned() else { return Ok(false) };
        // One number for all may be a part of an activation.
        if constant.shape.iter().all(|&size| size == 1) {
            return Ok(false);
        }
        let Some(spread) = self.spread(&constant)? else { return Ok(false) };
        node.has_only(&[])?;
        let count = self.count(node)?;
        let (scale, offset) = match (node.operator(), is_first) {
            ("Add", _) => (None, Some(self.row(node, "offset", spread, count, None)?)),
            ("Sub", true) => (None, Some(self.row(node, "offset", spread, count, Some(|x| -x))?)),
            ("Sub", false) => {
                self.layers.push(Layer::Rescale { scale: -1.0, offset: 0.0 });
                (None, Some(self.row(node, "offset", spread, count, None)?))
            }
            ("Mul", _) => (Some(self.row(node, "scale", spread, count, None)?), None),
            ("Div", true) => {
                (Some(self.row(node, "scale", spread, count, Some(f64::recip))?), None)
            }
            _ => return Ok(false),
        };
        self.layers.push(Layer::Affine { scale, offset });
        Ok(true)
    }

    /// `Scaler` of the operators for classical machine learning: `(x - offset) scale`.
    pub(super) fn scaler(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["offset", "scale"])?;
        let offset = node.all_floats("offset")?.unwrap_or_else(|| vec![0.0]);
        let scale = node.all_floats("scale")?.unwrap_or_else(|| vec![1.0]);
        let most = offset.len().max(scale.len());
        let lengths = [offset.len(), scale.len()];
        if let Some([None]) = self.sample.as_deref()
            && most > 1
        {
            self.know_features(most);
        }
        let count = self.count(node)?;
        if lengths.iter().any(|&length| length != 1 && length != count) || self.columns {
            let what = format!(
                "{} and {} for samples of {}",
                counted(offset.len() as u64, "offset"),
                counted(scale.len() as u64, "factor"),
                counted(count as u64, "number")
            );
            return Err(node.malformed(what));
        }
        if let (&[offset], &[scale]) = (&offset[..], &scale[..]) {
            self.layers.push(Layer::Rescale { scale, offset: -offset * scale });
            return Ok(());
        }
        self.pay(2 * count)?;
        // One number is that of every feature.
        let factors: Vec<f64> = scale.iter().copied().cycle().take(count).collect();
        let offsets = offset.iter().cycle();
        let shifts = std::iter::zip(offsets, &factors).map(|(offset, scale)| -offset * scale);
        let shifts: Vec<f64> = shifts.collect();
        let scale = Some(self.row(node, "scale", Spread::Made(factors), count, None)?);
        let offset = Some(self.row(node, "offset", Spread::Made(shifts), count, None)?);
        self.layers.push(Layer::Affine { scale, offset });
        Ok(())
    }

    /// `PRelu`: `slope x` where x is negative.
    pub(super) fn prelu(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&[])?;
        let Some(constant) = self.constant(node, 1)? else {
            return Err(node.malformed("there are no slopes"));
        };
        let Some(spread) = self.spread(&constant)? else {
            return Err(self.not_spread(node, "slopes", &constant));
        };
        let count = if matches!(spread, Spread::One(_)) { 1 } else { self.count(node)? };
        let slope = self.row(node, "slope", spread, count, None)?;
        self.layers.push(Layer::Prelu { slope });
        Ok(())
    }

    /// Returns the number of features of a sample.
    pub(super) fn count(&self, node: &Node<'_>) -> Result<usize, Problem> {
        let sample = self.sample.as_deref().unwrap_or_default();
        let count = sample.iter().try_fold(1, |count: usize, &size| count.checked_mul(size?));
        count.filter(|_| self.sample.is_some()).ok_or_else(|| {
            node.refused(
                format!("samples of shape {}", shown_shape(sample)),
                "the graph does not say how many features they have; export it with the shape of \
                 its input",
            )
        })
    }

    /// The error of a constant that does not meet the features.
    pub(super) fn not_spread(
        &self,
        node: &Node<'_>,
        what: &str,
        constant: &Constant<'_>,
    ) -> Problem {
        let sample = self.sample.as_deref().map_or("an unknown shape".to_owned(), shown_shape);
        let side = if self.columns { "column" } else { "row" };
        node.refused(
            format!("{what} of shape {:?}", constant.shape),
            format!(
                "each sample is a {side} of {sample} here; there must be one number for all \
                 features or one for each, and the same for each sample"
            ),
        )
    }
}

/// The numbers of a constant.
fn numbers(constant: &Constant<'_>) -> Result<Option<Vec<f64>>, Problem> {
    match (&constant.few, constant.source) {
        (Some(few), _) => Ok(Some(few.clone()).filter(|few| few.iter().all(|few| !few.is_nan()))),
        (None, Some(source)) => match source.tensor.dtype {
            Some(dtype) if dtype.is_float() => {
                Ok(Some(source.tensor.to_tensor(source.name)?.to_f64()?))
            }
            _ => {
                let what = format!("the tensor {} of whole numbers", shown(source.name));
                Err(Problem::refused(what, "it must be of floating point"))
            }
        },
        (None, None) => Ok(None),
    }
}

/// Numbers of a shape, each as often as a larger shape asks for; both have the same dimensions.
fn broadcast(values: &[f64], from: &[usize], to: &[usize]) -> Vec<f64> {
    let count = to.iter().product();
    let mut spread = Vec::new();
    for at in 0..count {
        let (mut rest, mut place, mut step) = (at, 0, 1);
        for (&small, &large) in std::iter::zip(from, to).rev() {
            if small > 1 {
                place += rest % large * step;
            }
            rest /= large;
            step *= small;
        }
        spread.extend(values.get(place));
    }
    spread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_rows_and_columns_are_spread() {
        assert_eq!(broadcast(&[1.0, 2.0], &[1, 2], &[2, 2]), [1.0, 2.0, 1.0, 2.0]);
        assert_eq!(broadcast(&[1.0, 2.0], &[2, 1], &[2, 2]), [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(broadcast(&[1.0], &[1, 1], &[2, 1]), [1.0, 1.0]);
        assert_eq!(broadcast(&[1.0, 2.0, 3.0], &[3], &[3]), [1.0, 2.0, 3.0]);
    }
}
