//! From steps in any order to blocks: a linear layer each, with the norm, function, dropout and skip
//! connection beside it. Where the architecture has no room for a step, it goes into the weights beside
//! it if it is affine, and else behind a linear layer that changes nothing; both are exact but for
//! rounding.

use std::collections::BTreeSet;

use fireclay::{Activation, Norm, NormPosition, Skip, SkipPosition};

use super::super::ImportError;
use super::block::Block;
use super::features::Seen;
use super::functions::Function;
use super::linear::{Diagonal, Linear};
use super::steps::{NormStep, Step};
use super::tensors::Tensors;

/// What was done on the way, for a person to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Done {
    /// Batch norms went into weights.
    FoldedNorms,
    /// Factors and shifts went into weights.
    FoldedMaps,
    /// A linear layer that changes nothing was put in.
    Added,
    /// Units with slopes of their own became two each.
    Doubled,
    /// There is no dropout behind the last layer.
    NoDropout,
}

/// What is done to the last layer's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Identity,
    Softmax,
    Sigmoid,
}

/// What stands before the next linear layer and had no room beside the one before, in this order.
/// A norm waits alone.
#[derive(Debug)]
struct Waiting {
    /// The slopes of numbers that come as `relu(x)` and, where there is one, `relu(-x)` behind it, and
    /// the tensor of slopes.
    halves: Option<(Vec<Option<f64>>, Option<String>)>,
    map: Diagonal,
    norm: Option<NormStep>,
    /// Of the next block: dropout at the beginning of a skip connection.
    dropout: f64,
}

impl Waiting {
    fn nothing(width: usize) -> Self {
        Self { halves: None, map: Diagonal::identity(width), norm: None, dropout: 0.0 }
    }

    fn is_empty(&self) -> bool {
        self.halves.is_none() && self.map.is_identity() && self.norm.is_none()
    }
}

/// The blocks of a network so far.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    tensors: &'a Tensors,
    /// How many numbers a sample has here.
    width: usize,
    /// What is done to features before the first layer or norm, once there is one.
    input: Option<Diagonal>,
    /// Whether that tells how features were prepared.
    pub(super) prepares: bool,
    /// What batch norms before the first layer have seen.
    pub(super) seen: Vec<Seen>,
    pub(super) input_dropout: f64,
    pub(super) blocks: Vec<Block>,
    waiting: Waiting,
    /// Blocks below this one are finished: a skip connection begins behind them.
    floor: usize,
    ends_in_softmax: bool,
    pub(super) done: BTreeSet<Done>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(width: usize, tensors: &'a Tensors) -> Self {
        Self {
            tensors,
            width,
            input: None,
            prepares: false,
            seen: Vec::new(),
            input_dropout: 0.0,
            blocks: Vec::new(),
            waiting: Waiting::nothing(width),
            floor: 0,
            ends_in_softmax: false,
            done: BTreeSet::new(),
        }
    }

    /// What is done to features before the first layer.
    pub(super) fn input(&self) -> Diagonal {
        self.input.clone().unwrap_or_else(|| self.waiting.map.clone())
    }

    /// Continues with a step.
    pub(super) fn push(&mut self, step: Step) -> Result<(), ImportError> {
        if self.ends_in_softmax && !matches!(step, Step::Dropout(_)) {
            return Err(ImportError::unsupported(
                "the network continues after its softmax",
                "here softmax is the end of a network",
            ));
        }
        match step {
            Step::Linear(linear) => self.linear(linear)?,
            Step::Diagonal { map, prepares } => self.diagonal(map, prepares)?,
            Step::Norm(norm) => self.norm(norm)?,
            Step::Function { function, from } => self.function(function, from)?,
            Step::Softmax => self.ends_in_softmax = true,
            Step::Dropout(rate) => {
                let before = match self.blocks.get_mut(self.floor..).and_then(<[_]>::last_mut) {
                    Some(block) => &mut block.dropout,
                    None if self.floor > 0 => &mut self.waiting.dropout,
                    None => &mut self.input_dropout,
                };
                *before = before.max(rate);
            }
            Step::Skip(inner) => self.skip(inner)?,
        }
        Ok(())
    }

    /// The last block, if nothing waits behind it and no skip connection begins there.
    fn open(&mut self) -> Option<&mut Block> {
        if !self.waiting.is_empty() {
            return None;
        }
        self.blocks.get_mut(self.floor..).and_then(<[_]>::last_mut)
    }

    /// What stands before the first layer so far is done to features.
    fn begin(&mut self) {
        if self.input.is_none() {
            let nothing = Diagonal::identity(self.width);
            self.input = Some(std::mem::replace(&mut self.waiting.map, nothing));
        }
    }

    /// What waits goes into the layer that follows.
    fn linear(&mut self, mut linear: Linear) -> Result<(), ImportError> {
        self.begin();
        let nothing = Waiting::nothing(linear.outputs);
        let Waiting { halves, map, norm, dropout } = std::mem::replace(&mut self.waiting, nothing);
        if !map.is_identity() {
            linear.after(map, self.tensors)?;
        }
        if let Some((slopes, from)) = halves {
            linear = linear.of_halves(&slopes, from, self.tensors)?;
        }
        self.width = linear.outputs;
        let norm = norm.map(|norm| (NormPosition::Input, norm));
        self.blocks.push(Block { norm, dropout, ..Block::new(linear) });
        Ok(())
    }

    /// A linear layer that changes nothing, for what can only stand beside one.
    fn add_identity(&mut self) -> Result<(), ImportError> {
        self.done.insert(Done::Added);
        self.linear(Linear::identity(self.width)?)
    }

    fn diagonal(&mut self, map: Diagonal, prepares: bool) -> Result<(), ImportError> {
        if self.input.is_none() {
            self.prepares |= prepares;
        } else if !map.is_identity() {
            self.done.insert(Done::FoldedMaps);
        }
        self.put(map)
    }

    /// A factor and a shift of each feature, where there is room for them.
    fn put(&mut self, map: Diagonal) -> Result<(), ImportError> {
        let left = match self.open() {
            Some(last) => last.diagonal(map),
            None => Some(map),
        };
        let Some(map) = left else { return Ok(()) };
        match &mut self.waiting.norm {
            Some(norm) if norm.takes(&map) => norm.and_then(map),
            Some(_) => {
                self.add_identity()?;
                return self.put(map);
            }
            None => self.waiting.map.then(map),
        }
        Ok(())
    }

    fn norm(&mut self, norm: NormStep) -> Result<(), ImportError> {
        let is_batch = norm.kind == Norm::Batch;
        if self.blocks.is_empty() {
            self.see(&norm);
        }
        self.begin();
        let tensors = self.tensors;
        if let Some(last) = self.open() {
            let (left, is_folded) = last.put_norm(norm, tensors)?;
            self.done.extend(is_folded.then_some(Done::FoldedNorms));
            self.waiting.norm = left;
        } else if self.waiting.is_empty() {
            self.waiting.norm = Some(norm);
        } else if is_batch {
            self.done.insert(Done::FoldedNorms);
            return self.put(norm.into_diagonal());
        } else {
            self.add_identity()?;
            return self.norm(norm);
        }
        Ok(())
    }

    /// Remembers what a batch norm on the input has seen.
    fn see(&mut self, norm: &NormStep) {
        let mut before = self.input.clone().unwrap_or_else(|| Diagonal::identity(self.width));
        before.then(self.waiting.map.clone());
        match &self.waiting.norm {
            Some(waiting) if waiting.kind == Norm::Batch => {
                before.then(waiting.clone().into_diagonal());
            }
            // What any other norm makes of features is no line.
            Some(_) => return,
            None => {}
        }
        if norm.kind == Norm::Batch {
            self.seen.push(Seen::of(norm, &before));
        }
    }

    fn function(&mut self, function: Function, from: Option<String>) -> Result<(), ImportError> {
        if function.is_identity() && from.is_none() {
            return Ok(());
        }
        if !self.open().is_some_and(|last| last.has_room_for_function()) {
            self.add_identity()?;
        }
        let (activation, slope) = match function {
            Function::Ours(activation) => (activation, 0.0),
            Function::Bent(slopes) => match slopes.split_first() {
                Some((&first, rest)) if rest.iter().any(|&slope| slope != first) => {
                    return self.doubled(&slopes, from);
                }
                Some((&0.0, _)) | None => (Activation::Relu, 0.0),
                Some((&1.0, _)) => (Activation::Identity, 0.0),
                Some((&slope, _)) => (Activation::LeakyRelu, slope),
            },
        };
        if let Some(last) = self.blocks.last_mut() {
            last.set_function(activation, slope);
            last.slopes = from;
        }
        Ok(())
    }

    /// Behind the last block a slope for each unit: each that has one becomes two units of relu.
    fn doubled(&mut self, slopes: &[f64], from: Option<String>) -> Result<(), ImportError> {
        let tensors = self.tensors;
        if let Some(last) = self.blocks.last_mut()
            && last.skip.is_none()
            && !is_plain(last)
            && last.fold_norm(tensors)?
        {
            self.done.insert(Done::FoldedNorms);
        }
        if !self.blocks.last().is_some_and(is_plain) {
            self.add_identity()?;
        }
        let halves: Vec<Option<f64>> =
            slopes.iter().map(|&slope| (slope != 0.0).then_some(slope)).collect();
        let is_doubled: Vec<bool> = halves.iter().map(Option::is_some).collect();
        if let Some(last) = self.blocks.last_mut() {
            last.linear = last.linear.with_negatives(&is_doubled, tensors)?;
            last.set_function(Activation::Relu, 0.0);
        }
        self.waiting.halves = Some((halves, from));
        self.done.insert(Done::Doubled);
        Ok(())
    }

    /// `x + f(x)`: `x` is what the first layer of `f` reads, added to what the last one gives.
    fn skip(&mut self, steps: Vec<Step>) -> Result<(), ImportError> {
        self.begin();
        if !self.waiting.is_empty() {
            self.add_identity()?;
        }
        let start = self.blocks.len();
        self.floor = start;
        for step in steps {
            self.push(step)?;
        }
        if self.ends_in_softmax {
            return Err(ImportError::unsupported(
                format!("the file has a softmax inside of a skip connection{}", self.place()),
                "here softmax is the end of a network",
            ));
        }
        if self.open().is_none_or(|last| last.skip.is_some()) {
            self.add_identity()?;
        }
        let span = self.blocks.len() - start;
        if let Some(last) = self.blocks.last_mut() {
            last.skip = Some(Skip { span, position: SkipPosition::Output });
        }
        Ok(())
    }

    /// Where this is, in messages.
    fn place(&self) -> String {
        let last = self.blocks.last();
        last.map_or_else(String::new, |last| format!(", behind {}", last.linear.name()))
    }

    /// Lets the network end in a linear layer and says what is done to its outputs; a sigmoid is left
    /// in the network if its outputs are values.
    pub(super) fn finish(&mut self, wants_values: bool) -> Result<Output, ImportError> {
        let is_softmax = self.ends_in_softmax;
        let is_sigmoid =
            !is_softmax && !wants_values && self.open().is_some_and(|last| ends_in_sigmoid(last));
        if let (true, Some(last)) = (is_sigmoid, self.blocks.last_mut()) {
            last.activation = None;
        }
        if self.open().is_none_or(|last| last.activation.is_some() || last.skip.is_some()) {
            self.add_identity()?;
        }
        self.end_without_norm()?;
        if let Some(last) = self.blocks.last()
            && last.dropout > 0.0
        {
            self.done.insert(Done::NoDropout);
        }
        Ok(match (is_sigmoid, is_softmax) {
            (true, _) => Output::Sigmoid,
            (false, true) => Output::Softmax,
            (false, false) => Output::Identity,
        })
    }

    /// The output layer has no norm: a batch norm goes into its weights, and any other stands beside
    /// a layer that changes nothing.
    fn end_without_norm(&mut self) -> Result<(), ImportError> {
        let Some(last) = self.blocks.last_mut() else { return Ok(()) };
        if last.fold_norm(self.tensors)? {
            self.done.insert(Done::FoldedNorms);
        }
        match last.norm.take() {
            None => {}
            Some((NormPosition::Input, norm)) => {
                let identity = Linear::identity(last.linear.inputs)?;
                let norm = Some((NormPosition::Input, norm));
                let before = Block { norm, ..Block::new(identity) };
                self.blocks.insert(self.blocks.len() - 1, before);
                self.done.insert(Done::Added);
            }
            norm => {
                last.norm = norm;
                self.add_identity()?;
            }
        }
        Ok(())
    }

    /// Puts what no preprocessing can do to features before the first layer.
    pub(super) fn before_first(&mut self, map: Diagonal) -> Result<(), ImportError> {
        self.done.insert(Done::FoldedMaps);
        let is_skipped = self
            .blocks
            .iter()
            .enumerate()
            .any(|(at, block)| block.skip.is_some_and(|s| s.span == at + 1));
        if is_skipped
            || self
                .blocks
                .first()
                .is_some_and(|block| matches!(block.norm, Some((NormPosition::Input, _))))
        {
            let identity = Linear::identity(map.scale.len())?;
            self.blocks.insert(0, Block::new(identity));
            self.done.insert(Done::Added);
        }
        match self.blocks.first_mut() {
            Some(first) => first.linear.after(map, self.tensors),
            None => Ok(()),
        }
    }
}

/// Whether a block has no skip connection, and no norm behind its layer.
fn is_plain(block: &Block) -> bool {
    let is_behind = block.norm.as_ref().is_some_and(|(at, _)| *at != NormPosition::Input);
    block.skip.is_none() && !is_behind
}

/// Whether the last thing that a block does is a sigmoid.
fn ends_in_sigmoid(block: &Block) -> bool {
    let is_last = block.norm.as_ref().is_none_or(|(at, _)| *at != NormPosition::AfterActivation);
    let function = block.activation.map(|(function, _)| function);
    function == Some(Activation::Sigmoid) && is_last && !block.ends_in_skip()
}
