//! From steps in any order to blocks of a linear layer, a norm and a function each: what is affine
//! goes into the linear layer beside it, which changes nothing but rounding.

use std::collections::BTreeSet;

use fireclay::Norm;

use super::super::ImportError;
use super::carry::carry;
use super::features::Seen;
use super::functions::Function;
use super::linear::{Diagonal, Linear};
use super::steps::{NormStep, Step};
use super::tensors::Tensors;

/// A linear layer and what stands behind it.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) linear: Linear,
    pub(super) norm: Option<NormStep>,
    /// None if there is none.
    pub(super) function: Option<Function>,
    /// The tensor of its slopes.
    pub(super) slopes: Option<String>,
    /// What stands behind the function and has not gone into the next layer yet.
    pub(super) after: Diagonal,
    pub(super) dropout: f64,
    /// Whether the block's input is added to what it makes of it.
    pub(super) skips: bool,
}

impl Block {
    fn new(linear: Linear) -> Self {
        let after = Diagonal::identity(linear.outputs);
        let (norm, function, slopes) = (None, None, None);
        Self { linear, norm, function, slopes, after, dropout: 0.0, skips: false }
    }

    /// A factor and a shift of each feature, behind all that is there.
    pub(super) fn and_then(&mut self, map: Diagonal) {
        if self.function.is_some() || self.skips {
            self.after.then(map);
        } else if let Some(norm) = &mut self.norm {
            norm.and_then(map);
        } else {
            self.linear.and_then(map);
        }
    }

    /// Puts a batch norm into the linear layer before it.
    ///
    /// # Errors
    ///
    /// A layer norm, which depends on all features of a sample at once.
    pub(super) fn fold_norm(&mut self, why: &str) -> Result<bool, ImportError> {
        let Some(norm) = self.norm.take() else { return Ok(false) };
        if norm.kind != Norm::Batch {
            return Err(ImportError::unsupported(
                format!("the file has {}, {why}", norm.name()),
                NO_FOLD,
            ));
        }
        self.linear.and_then(norm.into_diagonal());
        Ok(true)
    }
}

/// Why a layer norm stays where it is.
const NO_FOLD: &str = "a layer norm depends on all numbers of a sample and cannot be folded into \
                       weights; here it stands between a linear layer and its activation, in all \
                       hidden layers or in none";

/// What was done on the way, for a person to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Done {
    /// Batch norms went into weights.
    FoldedNorms,
    /// Factors and shifts went into weights.
    FoldedMaps,
    /// Two linear layers became one.
    Composed,
    /// A linear layer that changes nothing was put in.
    Added,
    /// A skip around a linear layer went into its weights.
    FoldedSkip,
    /// Units with slopes of their own became two each.
    Doubled,
    /// Units beside a hidden layer carry its input past it.
    Carried,
}

/// The blocks of a network so far.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    pub(super) tensors: &'a Tensors,
    /// What stands before the first block.
    pub(super) input: Diagonal,
    /// Whether that tells how features were prepared.
    pub(super) prepares: bool,
    /// What batch norms among that have seen.
    pub(super) seen: Vec<Seen>,
    pub(super) input_dropout: f64,
    pub(super) blocks: Vec<Block>,
    pub(super) ends_in_softmax: bool,
    pub(super) done: BTreeSet<Done>,
    /// Whether skips are carried past hidden layers, and not left to the architecture.
    pub(super) carries: bool,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(width: usize, carries: bool, tensors: &'a Tensors) -> Self {
        Self {
            tensors,
            input: Diagonal::identity(width),
            prepares: false,
            seen: Vec::new(),
            input_dropout: 0.0,
            blocks: Vec::new(),
            ends_in_softmax: false,
            done: BTreeSet::new(),
            carries,
        }
    }

    /// Goes on with a step.
    pub(super) fn push(&mut self, step: Step) -> Result<(), ImportError> {
        if self.ends_in_softmax && !matches!(step, Step::Dropout(_)) {
            return Err(ImportError::unsupported(
                "the file goes on behind its softmax",
                "here softmax is the end of a network",
            ));
        }
        match step {
            Step::Linear(linear) => self.linear(linear),
            Step::Diagonal { map, prepares } => {
                self.diagonal(map, prepares);
                Ok(())
            }
            Step::Norm(norm) => self.norm(norm),
            Step::Function { function, from } => self.function(function, from),
            Step::Softmax => {
                self.ends_in_softmax = true;
                Ok(())
            }
            Step::Dropout(rate) => {
                let before = match self.blocks.last_mut() {
                    Some(block) => &mut block.dropout,
                    None => &mut self.input_dropout,
                };
                *before = before.max(rate);
                Ok(())
            }
            Step::Skip(inner) => self.skip(inner),
        }
    }

    fn diagonal(&mut self, map: Diagonal, prepares: bool) {
        match self.blocks.last_mut() {
            Some(block) => {
                if !map.is_identity() {
                    self.done.insert(Done::FoldedMaps);
                }
                block.and_then(map);
            }
            None => {
                self.input.then(map);
                self.prepares |= prepares;
            }
        }
    }

    /// What stands behind the last function goes into the layer that follows.
    pub(super) fn linear(&mut self, mut linear: Linear) -> Result<(), ImportError> {
        if let Some(last) = self.blocks.last_mut()
            && !last.after.is_identity()
        {
            let width = last.linear.outputs;
            let after = std::mem::replace(&mut last.after, Diagonal::identity(width));
            linear.after(after, self.tensors)?;
        }
        self.blocks.push(Block::new(linear));
        Ok(())
    }

    fn norm(&mut self, norm: NormStep) -> Result<(), ImportError> {
        let is_batch = norm.kind == Norm::Batch;
        let Some(last) = self.blocks.last_mut() else {
            if !is_batch {
                let what = format!("the file has {}, on its input", norm.name());
                return Err(ImportError::unsupported(what, NO_FOLD));
            }
            self.done.insert(Done::FoldedNorms);
            self.seen.push(Seen::of(&norm, &self.input));
            self.input.then(norm.into_diagonal());
            return Ok(());
        };
        let is_behind = last.function.is_some() || last.skips;
        if !is_batch && (is_behind || last.norm.as_ref().is_some_and(|n| n.kind == Norm::Layer)) {
            let place = if is_behind { "behind an activation" } else { "behind another" };
            let what = format!("the file has {}, {place}", norm.name());
            return Err(ImportError::unsupported(what, NO_FOLD));
        }
        if is_behind || is_batch && last.norm.is_some() {
            self.done.insert(Done::FoldedNorms);
            last.and_then(norm.into_diagonal());
            return Ok(());
        }
        if last.fold_norm("")? {
            self.done.insert(Done::FoldedNorms);
        }
        last.norm = Some(norm);
        Ok(())
    }

    fn function(&mut self, function: Function, from: Option<String>) -> Result<(), ImportError> {
        if function.is_identity() && from.is_none() {
            return Ok(());
        }
        // Nothing but a linear layer can have a function: one that changes nothing is put between.
        if self.blocks.last().is_none_or(|last| last.function.is_some() || last.skips) {
            self.add_identity()?;
        }
        if let Some(last) = self.blocks.last_mut() {
            (last.function, last.slopes) = (Some(function), from);
        }
        Ok(())
    }

    /// A linear layer that changes nothing, for what can only stand behind one, or before.
    pub(super) fn add_identity(&mut self) -> Result<(), ImportError> {
        let width = self.blocks.last().map_or(self.input.scale.len(), |last| last.linear.outputs);
        self.done.insert(Done::Added);
        self.linear(Linear::identity(width)?)
    }

    fn skip(&mut self, steps: Vec<Step>) -> Result<(), ImportError> {
        let width = self.blocks.last().map_or(self.input.scale.len(), |last| last.linear.outputs);
        let mut inner = Blocks::new(width, self.carries, self.tensors);
        for step in steps {
            inner.push(step)?;
        }
        if self.blocks.is_empty() {
            self.seen.extend(inner.seen.drain(..).map(|seen| seen.behind(&self.input)));
        }
        let is_affine = inner.blocks.iter().all(|block| block.function.is_none() && !block.skips);
        if is_affine && !inner.ends_in_softmax {
            self.done.append(&mut inner.done);
            return self.affine_skip(inner);
        }
        if self.carries && !inner.ends_in_softmax {
            self.done.insert(Done::Carried);
            return carry(self, inner);
        }
        self.done.append(&mut inner.done);
        let around = |what: &str| {
            ImportError::unsupported(
                format!("the file has a skip connection {what}"),
                "here a skip goes around one hidden layer: linear map, norm, activation and \
                 dropout, and nothing else; only of relu networks can another be imported",
            )
        };
        let is_plain = inner.input.is_identity() && !inner.ends_in_softmax;
        let (Some(mut block), true, true) = (inner.blocks.pop(), is_plain, inner.blocks.is_empty())
        else {
            return Err(around("around more than one linear layer, or around a norm before it"));
        };
        if !block.after.is_identity() || block.skips {
            return Err(around("around what stands behind an activation"));
        }
        match self.blocks.last() {
            Some(last) if last.function.is_none() && !last.skips => {
                return Err(around(
                    "from a linear layer without an activation, where here it is from a hidden layer",
                ));
            }
            Some(last) if !last.after.is_identity() => {
                return Err(around("from a norm or a factor behind an activation"));
            }
            _ => {}
        }
        block.skips = true;
        block.dropout = block.dropout.max(inner.input_dropout);
        self.blocks.push(block);
        Ok(())
    }

    /// `x + f(x)` of an affine `f` is affine.
    fn affine_skip(&mut self, inner: Blocks<'_>) -> Result<(), ImportError> {
        let tensors = self.tensors;
        let mut blocks = inner.blocks.into_iter();
        self.done.insert(Done::FoldedSkip);
        let Some(first) = blocks.next() else {
            let mut map = inner.input;
            map.scale.iter_mut().for_each(|scale| *scale += 1.0);
            // Of what stands before the first layer it cannot be told whether it prepares features.
            self.diagonal(map, false);
            return Ok(());
        };
        let mut whole = affine(first)?;
        whole.after(inner.input, tensors)?;
        for block in blocks {
            self.done.insert(Done::Composed);
            whole = whole.composed(&affine(block)?, tensors)?;
        }
        self.linear(whole.plus_input(tensors)?)
    }
}

/// The linear layer of a block without a function.
fn affine(mut block: Block) -> Result<Linear, ImportError> {
    block.fold_norm("without an activation behind it")?;
    Ok(block.linear)
}
