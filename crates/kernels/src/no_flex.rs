//! The stand-in for `flex` without the feature: fast bodies that serve nothing.

use std::sync::Arc;

use burn::tensor::{Int, Tensor};

use crate::{
    AdamStep, Epilogue, Outcome, Part, Rule, SgdStep, Smoothing, SparseBatch, StepBatch,
    TrainedBag, TrainedLayer,
};

/// A chain that cannot be made.
#[derive(Debug)]
pub(crate) enum AnyChain {}

impl AnyChain {
    pub(crate) fn new(_: &[TrainedLayer], _: Vec<TrainedBag>) -> Option<Self> {
        None
    }

    pub(crate) fn step(&mut self, _: &dyn Fn(Part, bool) -> Rule, _: &StepBatch<'_>) -> Outcome {
        match *self {}
    }

    pub(crate) fn bags(&self) -> Vec<TrainedBag> {
        match *self {}
    }

    pub(crate) fn layers(&self) -> Vec<TrainedLayer> {
        match *self {}
    }
}

pub(crate) fn dense(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    _: Epilogue,
) -> Result<Tensor<2>, Box<(Tensor<2>, Tensor<2>, Tensor<1>)>> {
    Err(Box::new((x, weight, bias)))
}

pub(crate) fn has_finite_sum(_: Tensor<1>) -> Option<bool> {
    None
}

pub(crate) fn bag(weight: Tensor<2>, _: &Arc<SparseBatch>) -> Result<Tensor<2>, Box<Tensor<2>>> {
    Err(Box::new(weight))
}

pub(crate) fn cross_entropy(
    logits: Tensor<2>,
    classes: Tensor<1, Int>,
    _: &Smoothing,
) -> Result<Tensor<1>, Box<(Tensor<2>, Tensor<1, Int>)>> {
    Err(Box::new((logits, classes)))
}

pub(crate) fn adam(
    tensors: [Tensor<1>; 4],
    _: &AdamStep,
) -> Result<[Tensor<1>; 3], Box<[Tensor<1>; 4]>> {
    Err(Box::new(tensors))
}

pub(crate) fn sgd(
    tensors: [Tensor<1>; 3],
    _: &SgdStep,
) -> Result<[Tensor<1>; 2], Box<[Tensor<1>; 3]>> {
    Err(Box::new(tensors))
}
