//! Operators that change or return the shapes of samples.

use std::collections::BTreeSet;

use fireclay_terminal::counted;

use super::super::constants::{BATCH, Constant};
use super::super::proto::Node;
use super::{Chain, SampleShape};
use crate::error::shown_shape;
use crate::{Layer, Problem};

impl<'a> Chain<'a> {
    /// Returns the result of the node Shape for the value that has been reached, if the sizes are
    /// known.
    pub(super) fn sizes(&self, node: &Node<'_>) -> Result<Option<Vec<f64>>, Problem> {
        if self.columns {
            return Ok(None);
        }
        let sample = self.sample.iter().flatten().map(|size| size.map(|size| size as f64));
        let batch = self.batch.map_or(BATCH, |batch| batch as f64);
        let Some(sizes) = [Some(batch)].into_iter().chain(sample).collect::<Option<Vec<_>>>()
        else {
            return Ok(None);
        };
        let count = sizes.len();
        let start = node.int("start")?.and_then(|at| axis(at, count)).unwrap_or(0);
        let end = node.int("end")?.and_then(|at| axis(at, count)).unwrap_or(count);
        Ok(sizes.get(start..end).filter(|_| self.sample.is_some()).map(<[f64]>::to_vec))
    }

    /// `Flatten`: to two dimensions, of which the first counts the samples.
    pub(super) fn flatten(&mut self, node: &Node<'_>) -> Result<(), Problem> {
        node.has_only(&["axis"])?;
        if self.columns {
            self.features(node)?;
        }
        let dimensions = self.sample.as_ref().map(|sample| sample.len() + 1);
        let at = node.int("axis")?.unwrap_or(1);
        if at != 1 && dimensions.is_none_or(|dimensions| axis(at, dimensions) != Some(1)) {
            let what = format!("axis {at}");
            return Err(node.refused(what, "only the first dimension may count the samples"));
        }
        let size = self.sample.as_deref().and_then(size);
        self.reshape_to(vec![size]);
        Ok(())
    }

    /// `Reshape`, if it leaves the samples apart.
    pub(super) fn reshape(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["allowzero"])?;
        let target = self.constant(node, 1)?;
        let target = target.as_ref().and_then(Constant::list).unwrap_or_default();
        let keeps_zero = node.is_set("allowzero")?;
        if self.columns {
            return self.reshape_column(node, target);
        }
        // The last operator that skl2onnx writes for a regressor; it lists the targets of all samples
        // one after the other.
        let lists_targets = self.producer == "skl2onnx"
            && *target == [-1.0, 1.0]
            && node.outputs.iter().all(|output| self.outputs.contains(output))
            && matches!(self.layers.last(), Some(Layer::Dense { .. }));
        match self.reshaped(target, keeps_zero) {
            None if lists_targets => Ok(()),
            Some(sample) => {
                self.reshape_to(sample);
                Ok(())
            }
            None => {
                let from = self.sample.as_deref().map_or("unknown".to_owned(), shown_shape);
                let target = shown_target(target);
                let what = format!("a change of samples of shape {from} to {target}");
                let why = "it must keep the numbers of each sample together in their order, and the \
                           shapes must be known; use Flatten";
                Err(node.refused(what, why))
            }
        }
    }

    /// `Reshape` of the only sample from a column to a row.
    fn reshape_column(&mut self, node: &Node<'_>, target: &[f64]) -> Result<(), Problem> {
        let features = self.sample.as_deref().and_then(size).map_or(f64::NAN, |size| size as f64);
        let to_row = match *target {
            [first, second] => {
                (first == 1.0 && (second == -1.0 || second == features))
                    || (first == -1.0 && second == features)
            }
            _ => false,
        };
        if self.batch != Some(1) || !to_row {
            let what = format!("a change of samples in columns to {}", shown_target(target));
            return Err(node.refused(what, "only one sample may become a row; use Transpose"));
        }
        self.columns = false;
        Ok(())
    }

    /// `Transpose`, if it makes columns of rows or rows of columns, or moves only sizes of 1.
    pub(super) fn transpose(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        node.has_only(&["perm"])?;
        let Some(sample) = self.sample.clone() else { return Ok(false) };
        let count = sample.len() + 1;
        let perm: Vec<usize> = match node.ints("perm")? {
            Some(perm) => perm.iter().filter_map(|&at| usize::try_from(at).ok()).collect(),
            None => (0..count).rev().collect(),
        };
        let all: BTreeSet<_> = perm.iter().copied().collect();
        if perm.len() != count || !all.iter().copied().eq(0..count) {
            return Err(
                node.malformed(format!("perm {perm:?} for {}", counted(count as u64, "dimension")))
            );
        }
        if perm[..] == [1, 0] {
            self.columns = !self.columns;
            return Ok(true);
        }
        // With the samples in front: dimension `at` of the node is size `at`.
        let sizes = [&[None][..], &sample].concat();
        let mut moved = perm[1..].iter().filter(|&&at| sizes[at] != Some(1));
        if perm[0] != 0 || !moved.clone().is_sorted() || moved.any(|&at| at == 0) {
            return Ok(false);
        }
        self.sample = Some(perm[1..].iter().map(|&at| sizes[at]).collect());
        Ok(true)
    }

    /// The shape of a sample after `Reshape`, if its first number is that of the samples.
    fn reshaped(&self, target: &[f64], keeps_zero: bool) -> Option<SampleShape> {
        let (&first, rest) = target.split_first()?;
        let size = self.sample.as_deref().and_then(size);
        let same_batch = first.is_nan()
            || (first == 0.0 && !keeps_zero)
            || self.batch.is_some_and(|batch| batch as f64 == first);
        let mut sample = Vec::new();
        for (at, &wanted) in rest.iter().enumerate() {
            sample.push(match wanted {
                0.0 if !keeps_zero => Some((*self.sample.as_ref()?.get(at)?)?),
                -1.0 => None,
                wanted if wanted >= 1.0 && wanted <= f64::from(u32::MAX) => Some(wanted as usize),
                _ => return None,
            });
        }
        let open: Vec<_> = (0..sample.len()).filter(|&at| sample[at].is_none()).collect();
        match open[..] {
            [] if first == -1.0 || same_batch => {
                (size.is_some() && self::size(&sample) == size).then_some(sample)
            }
            [at] if same_batch => {
                sample[at] = Some(1);
                let others = self::size(&sample).filter(|&others| others > 0)?;
                match size {
                    Some(size) if size.is_multiple_of(others) => sample[at] = Some(size / others),
                    // Of rows it need not be known how long they are.
                    None if sample.len() == 1 => sample[at] = None,
                    _ => return None,
                }
                Some(sample)
            }
            _ => None,
        }
    }

    /// `Squeeze` and `Unsqueeze`, which remove and add dimensions of size 1.
    pub(super) fn squeeze(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["axes"])?;
        if self.columns {
            self.features(node)?;
        }
        let axes = match node.ints("axes")? {
            Some(axes) => Some(axes.to_vec()),
            None => self.constant(node, 1)?.and_then(|constant| {
                Some(constant.few?.into_iter().map(|axis| axis as i64).collect())
            }),
        };
        let squeezed = axes.clone().zip(self.sample.as_deref()).and_then(|(axes, sample)| {
            if node.operator() == "Squeeze" {
                squeezed(sample, &axes)
            } else {
                unsqueezed(sample, &axes)
            }
        });
        match squeezed {
            Some(sample) => {
                self.reshape_to(sample);
                Ok(())
            }
            None => {
                let from = self.sample.as_deref().map_or("unknown".to_owned(), shown_shape);
                let axes = axes.map_or("none".to_owned(), |axes| format!("{axes:?}"));
                let what = format!("the axes {axes} of samples of shape {from}");
                Err(node.refused(what, "only dimensions of size 1 of a sample may come and go"))
            }
        }
    }

    fn reshape_to(&mut self, sample: SampleShape) {
        let was_row = self.sample.as_ref().is_some_and(|sample| sample.len() == 1);
        if sample.len() == 1 && !was_row {
            self.layers.push(Layer::Flatten);
        }
        self.sample = Some(sample);
    }
}

/// The target of `Reshape` in messages, with `?` for the size of the batch.
fn shown_target(target: &[f64]) -> String {
    let sizes =
        target.iter().map(|size| if size.is_nan() { "?".to_owned() } else { size.to_string() });
    format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
}

/// Dimension `at` of `count`; negative ones count from the end.
fn axis(at: i64, count: usize) -> Option<usize> {
    let at = if at < 0 { at.checked_add(i64::try_from(count).ok()?)? } else { at };
    usize::try_from(at).ok().filter(|&at| at <= count)
}

/// Returns the number of values of a sample, if it is known.
fn size(sample: &[Option<usize>]) -> Option<usize> {
    sample.iter().try_fold(1, |product: usize, &size| product.checked_mul(size?))
}

/// The sample without these dimensions, of which each must have size 1; 0 is the batch.
fn squeezed(sample: &[Option<usize>], axes: &[i64]) -> Option<SampleShape> {
    let axes = axes.iter().map(|&at| axis(at, sample.len() + 1)).collect::<Option<Vec<_>>>()?;
    let fits = axes.iter().all(|&at| at > 0 && sample.get(at - 1) == Some(&Some(1)));
    let kept = (1..=sample.len()).filter(|at| !axes.contains(at)).map(|at| sample[at - 1]);
    (!axes.is_empty() && fits).then(|| kept.collect())
}

/// The sample with dimensions of size 1 added at these places; 0 is the batch.
fn unsqueezed(sample: &[Option<usize>], axes: &[i64]) -> Option<SampleShape> {
    let count = sample.len() + 1 + axes.len();
    let axes = axes.iter().map(|&at| axis(at, count)).collect::<Option<BTreeSet<_>>>()?;
    if axes.iter().any(|&at| at == 0 || at >= count) || axes.len() + sample.len() + 1 != count {
        return None;
    }
    let mut old = sample.iter().copied();
    let sizes =
        (1..count).map(|at| if axes.contains(&at) { Some(1) } else { old.next().flatten() });
    Some(sizes.collect())
}
