//! Values of a graph that do not depend on its input.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::KIND;
use super::proto::{Graph, Node};
use super::tensor::{MOST_DIMENSIONS, TensorProto};
use crate::error::shown;
use crate::{ElementType, Problem};

/// The most nodes that are looked at to compute one constant, and the most inputs of each.
const MOST_NODES: usize = 16;
const MOST_INPUTS: usize = 8;

/// The size of a batch in a shape, which is not known before there is a batch.
pub(super) const BATCH: f64 = f64::NAN;

/// A value that does not depend on the input of the graph.
#[derive(Clone, Debug)]
pub(super) struct Constant<'a> {
    /// The size of each dimension.
    pub(super) shape: Vec<usize>,
    /// Its numbers, if they are few; [`BATCH`] among them where it is part of a shape.
    pub(super) few: Option<Vec<f64>>,
    /// The tensor of the file that it is.
    pub(super) source: Option<Source<'a>>,
}

/// A tensor of the file, used as a constant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// Its place among the tensors of the file.
    pub(super) place: usize,
    /// Its name.
    pub(super) name: &'a str,
    /// The tensor.
    pub(super) tensor: &'a TensorProto<'a>,
    /// True if rows and columns have changed places.
    pub(super) transposed: bool,
}

/// The constants of a graph, each computed when it is asked for.
pub(super) struct Constants<'a> {
    graph: &'a Graph<'a>,
    makers: HashMap<&'a str, usize>,
    known: HashMap<&'a str, Constant<'a>>,
}

impl<'a> Constants<'a> {
    /// The initializers of a graph.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] if two values have one name.
    pub(super) fn new(graph: &'a Graph<'a>) -> Result<Self, Problem> {
        let mut known = HashMap::new();
        for (place, tensor) in graph.initializers.iter().enumerate() {
            let constant = Constant::of(place, tensor.name, tensor);
            if known.insert(tensor.name, constant).is_some() {
                return Err(named_twice(tensor.name));
            }
        }
        let inputs: HashSet<_> = graph.inputs.iter().map(|input| input.name).collect();
        let mut makers = HashMap::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            for &output in node.outputs.iter().filter(|name| !name.is_empty()) {
                let before = makers.insert(output, index);
                if before.is_some() || known.contains_key(output) || inputs.contains(output) {
                    return Err(named_twice(output));
                }
            }
        }
        Ok(Self { graph, makers, known })
    }

    /// The node that makes a value, if one does.
    pub(super) fn maker(&self, name: &str) -> Option<usize> {
        self.makers.get(name).copied()
    }

    /// Returns true if a value is an initializer or has been computed already.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// Adds the shape of a value, or a part of it.
    pub(super) fn add_shape(&mut self, name: &'a str, sizes: Vec<f64>) {
        let constant = Constant { shape: vec![sizes.len()], few: Some(sizes), source: None };
        self.known.insert(name, constant);
    }

    /// Adds a constant, if it is one, as a value of floating point of another name.
    pub(super) fn add_float(&mut self, name: &'a str, output: &'a str) -> Result<(), Problem> {
        const FLOAT: i64 = 1;
        let made = self.get(name)?.and_then(|constant| cast(constant, FLOAT));
        self.known.extend(made.map(|made| (output, made)));
        Ok(())
    }

    /// A value, if it is a constant that can be computed.
    pub(super) fn get(&mut self, name: &'a str) -> Result<Option<&Constant<'a>>, Problem> {
        if !self.known.contains_key(name) {
            for index in self.nodes_before(name) {
                let node = &self.graph.nodes[index];
                let Some(constant) = self.compute(index, node)? else { break };
                if let Some(&output) = node.outputs.first() {
                    self.known.insert(output, constant);
                }
            }
        }
        Ok(self.known.get(name))
    }

    /// The nodes that a value is computed by, in the order of the graph; none if it depends on the
    /// input of the graph, or on more nodes than shapes and weights need.
    fn nodes_before(&self, name: &'a str) -> BTreeSet<usize> {
        let mut nodes = BTreeSet::new();
        let mut waiting = vec![name];
        while let Some(name) = waiting.pop() {
            if name.is_empty() || self.known.contains_key(name) {
                continue;
            }
            let Some(&maker) = self.makers.get(name) else { return BTreeSet::new() };
            if nodes.insert(maker) {
                let inputs = &self.graph.nodes[maker].inputs;
                if nodes.len() > MOST_NODES || inputs.len() > MOST_INPUTS {
                    return BTreeSet::new();
                }
                waiting.extend(inputs);
            }
        }
        nodes
    }

    /// Computes a node of constants, if it is one of those that shapes and weights pass through.
    fn compute(&self, index: usize, node: &'a Node<'a>) -> Result<Option<Constant<'a>>, Problem> {
        let input = |at: usize| node.inputs.get(at).and_then(|name| self.known.get(name));
        let first = input(0);
        Ok(match node.operator() {
            "Constant" => self.constant(index, node),
            "Identity" => first.cloned(),
            "Cast" => first.and_then(|first| cast(first, node.int("to").ok()??)),
            "Transpose" => {
                let perm = node.ints("perm")?;
                first.and_then(|first| transposed(first, perm))
            }
            "Unsqueeze" => {
                let axes = node.ints("axes")?.map(<[i64]>::to_vec);
                let axes = axes.or_else(|| input(1)?.whole());
                first.zip(axes).and_then(|(first, axes)| unsqueezed(first, &axes))
            }
            "Squeeze" => {
                let axes = node.ints("axes")?.map(<[i64]>::to_vec);
                let axes = axes.or_else(|| input(1)?.whole());
                first.and_then(|first| squeezed(first, axes.as_deref()))
            }
            "Reshape" if node.int("allowzero")?.unwrap_or(0) == 0 => {
                let target = input(1).and_then(Constant::whole);
                first.zip(target).and_then(|(first, target)| reshaped(first, &target))
            }
            "Slice" => {
                let all_known = (1..node.inputs.len()).all(|at| input(at).is_some());
                let [start, end, axes, steps] =
                    [1, 2, 3, 4].map(|at| input(at).and_then(Constant::whole));
                // Along the only dimension, and without leaving out any between the ends.
                let is_plain =
                    axes.is_none_or(|axes| axes == [0]) && steps.is_none_or(|steps| steps == [1]);
                match (first, start, end) {
                    (Some(first), Some(start), Some(end)) if all_known && is_plain => {
                        sliced(first, &start, &end)
                    }
                    _ => None,
                }
            }
            "Add" => of_two(first, input(1), |x, y| Some(x + y)),
            "Sub" => of_two(first, input(1), |x, y| Some(x - y)),
            "Mul" => of_two(first, input(1), |x, y| Some(x * y)),
            "Mod" if node.int("fmod")?.unwrap_or(0) == 0 => {
                of_two(first, input(1), |x, y| (x >= 0.0 && y >= 1.0).then(|| x % y))
            }
            "Gather" if node.int("axis")?.unwrap_or(0) == 0 => {
                first.zip(input(1)).and_then(|(from, indices)| gathered(from, indices))
            }
            "Concat" => {
                let parts = node.inputs.iter().map(|name| self.known.get(name)?.list());
                parts.collect::<Option<Vec<_>>>().and_then(|parts| joined(&parts))
            }
            _ => None,
        })
    }

    /// The value of the node Constant.
    fn constant(&self, index: usize, node: &'a Node<'a>) -> Option<Constant<'a>> {
        if let Some((shape, few)) = node.numbers() {
            return Some(Constant { shape, few: Some(few), source: None });
        }
        let name = node.outputs.first()?;
        let place = self.graph.initializers.len() + index;
        node.tensor().map(|tensor| Constant::of(place, name, tensor))
    }
}

impl<'a> Constant<'a> {
    fn of(place: usize, name: &'a str, tensor: &'a TensorProto<'a>) -> Self {
        let source = Source { place, name, tensor, transposed: false };
        Self { shape: tensor.shape.clone(), few: tensor.few.clone(), source: Some(source) }
    }

    /// Its numbers, if they are few and whole, in one dimension or none.
    fn whole(&self) -> Option<Vec<i64>> {
        let few = self.few.as_ref().filter(|_| self.shape.len() < 2)?;
        few.iter().map(|few| (few.trunc() == *few).then_some(*few as i64)).collect()
    }

    /// The same numbers, in the same order, in another shape.
    fn with_shape(&self, shape: Vec<usize>) -> Option<Self> {
        let in_order = self.source.is_none_or(|source| !source.transposed);
        let is_row = self.shape.iter().filter(|&&size| size != 1).count() < 2;
        let same = product(&shape) == product(&self.shape);
        // In order again: those of a row are in the same, whichever way it lies.
        let source = self.source.map(|source| Source { transposed: false, ..source });
        (same && (in_order || is_row) && shape.len() <= MOST_DIMENSIONS).then(|| Self {
            shape,
            few: self.few.clone(),
            source,
        })
    }

    /// Its numbers, if they are few and of one dimension.
    pub(super) fn list(&self) -> Option<&[f64]> {
        self.few.as_deref().filter(|_| self.shape.len() == 1)
    }

    /// Its number, if it is only one.
    pub(super) fn scalar(&self) -> Option<f64> {
        match self.few.as_deref() {
            Some(&[number]) if !number.is_nan() => Some(number),
            _ => None,
        }
    }
}

fn named_twice(name: &str) -> Problem {
    Problem::malformed(KIND, format!("two values have the name {}", shown(name)))
}

/// `Cast` to `TensorProto.DataType`, if it changes no number but by rounding.
fn cast<'a>(constant: &Constant<'a>, to: i64) -> Option<Constant<'a>> {
    let few = constant.few.as_deref();
    let is_same = match to {
        1 | 11 => true,
        6 | 7 => few.is_some_and(|few| {
            few.iter().all(|number| number.is_nan() || number.trunc() == *number)
        }),
        _ => false,
    };
    is_same.then(|| Constant {
        shape: constant.shape.clone(),
        few: few.map(|few| match to {
            1 => few.iter().map(|&number| f64::from(number as f32)).collect(),
            _ => few.to_vec(),
        }),
        source: constant
            .source
            .filter(|source| source.tensor.dtype.is_some_and(ElementType::is_float)),
    })
}

/// `Unsqueeze`: dimensions of size 1 at these places of the result.
fn unsqueezed<'a>(constant: &Constant<'a>, axes: &[i64]) -> Option<Constant<'a>> {
    let count = constant.shape.len() + axes.len();
    let places: BTreeSet<_> = axes.iter().filter_map(|&axis| place(axis, count)).collect();
    if places.len() != axes.len() {
        return None;
    }
    let mut old = constant.shape.iter().copied();
    let shape = (0..count).map(|at| if places.contains(&at) { 1 } else { old.next().unwrap_or(1) });
    constant.with_shape(shape.collect())
}

/// `Squeeze`: without these dimensions of size 1, or without all.
fn squeezed<'a>(constant: &Constant<'a>, axes: Option<&[i64]>) -> Option<Constant<'a>> {
    let count = constant.shape.len();
    let places: Option<Vec<_>> = match axes {
        Some(axes) => axes.iter().map(|&axis| place(axis, count)).collect(),
        None => Some((0..count).filter(|&at| constant.shape[at] == 1).collect()),
    };
    let places = places.filter(|places| places.iter().all(|&at| constant.shape[at] == 1))?;
    let kept = (0..count).filter(|at| !places.contains(at)).map(|at| constant.shape[at]);
    constant.with_shape(kept.collect())
}

/// `Reshape`, whose 0 stands for the size that was, and -1 for what is left.
fn reshaped<'a>(constant: &Constant<'a>, target: &[i64]) -> Option<Constant<'a>> {
    let mut shape = Vec::new();
    for (at, &size) in target.iter().enumerate() {
        shape.push(match size {
            0 => *constant.shape.get(at)?,
            -1 => 1,
            size => usize::try_from(size).ok()?,
        });
    }
    let open: Vec<_> = (0..target.len()).filter(|&at| target[at] == -1).collect();
    if let [at] = open[..] {
        let (all, others) = (product(&constant.shape)?, product(&shape)?);
        shape[at] = all.checked_div(others)?;
    }
    (open.len() < 2).then(|| constant.with_shape(shape))?
}

fn product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1, |all: usize, &size| all.checked_mul(size))
}

/// Dimension `axis` of `count`; negative ones count from the end.
fn place(axis: i64, count: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(i64::try_from(count).ok()?)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < count)
}

/// `Slice` of the only dimension.
fn sliced<'a>(constant: &Constant<'a>, start: &[i64], end: &[i64]) -> Option<Constant<'a>> {
    let list = constant.list()?;
    let (&[start], &[end]) = (start, end) else { return None };
    let few = list.get(clamped(start, list.len())..clamped(end, list.len()))?.to_vec();
    Some(Constant { shape: vec![few.len()], few: Some(few), source: None })
}

/// A place of `Slice`, where a negative one counts from the end, and one outside is the nearest.
fn clamped(at: i64, count: usize) -> usize {
    if at < 0 {
        usize::try_from(at.saturating_add(count as i64)).unwrap_or(0)
    } else {
        usize::try_from(at).unwrap_or(count).min(count)
    }
}

/// Applies a function to two lists of one length, or to a list and one number.
fn of_two<'a>(
    first: Option<&Constant<'a>>,
    second: Option<&Constant<'a>>,
    function: impl Fn(f64, f64) -> Option<f64>,
) -> Option<Constant<'a>> {
    let (first, second) = (first?, second?);
    let (x, y) = (first.few.as_deref()?, second.few.as_deref()?);
    let (short, long) =
        if first.shape.len() < second.shape.len() { (first, second) } else { (second, first) };
    let fits = short.shape == long.shape || short.shape.iter().all(|&size| size == 1);
    if !fits || x.is_empty() || y.is_empty() {
        return None;
    }
    let count = x.len().max(y.len());
    let each = (0..count).map(|at| function(x[at % x.len()], y[at % y.len()]));
    Some(Constant {
        shape: long.shape.clone(),
        few: Some(each.collect::<Option<_>>()?),
        source: None,
    })
}

/// `Transpose`.
fn transposed<'a>(constant: &Constant<'a>, perm: Option<&[i64]>) -> Option<Constant<'a>> {
    let &[rows, columns] = constant.shape.as_slice() else { return None };
    let source = constant.source?;
    (perm.is_none_or(|perm| perm == [1, 0])).then(|| Constant {
        shape: vec![columns, rows],
        few: constant.few.clone().filter(|_| rows == 1 || columns == 1),
        source: Some(Source { transposed: !source.transposed, ..source }),
    })
}

/// `Concat`, of no more than there may be dimensions: a list of lists of lists grows fast.
fn joined<'a>(parts: &[&[f64]]) -> Option<Constant<'a>> {
    let count = parts.iter().map(|part| part.len()).sum();
    (count <= MOST_DIMENSIONS).then(|| Constant {
        shape: vec![count],
        few: Some(parts.concat()),
        source: None,
    })
}

/// `Gather` along the only dimension.
fn gathered<'a>(from: &Constant<'a>, indices: &Constant<'a>) -> Option<Constant<'a>> {
    let from = from.list()?;
    let few = indices.few.as_ref().filter(|_| indices.shape.len() < 2)?;
    let few = few.iter().map(|&index| {
        let index = if index < 0.0 { index + from.len() as f64 } else { index };
        let is_whole = index >= 0.0 && index.trunc() == index;
        from.get(is_whole.then_some(index as usize)?).copied()
    });
    let few = few.collect::<Option<Vec<_>>>()?;
    Some(Constant { shape: indices.shape.clone(), few: Some(few), source: None })
}
