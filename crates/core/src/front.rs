//! What precedes the first layer: the front stage, and scales that are learned.

use std::f64::consts::TAU;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use fireclay_kernels::{SparseBatch, bag};
use fireclay_model::{FrontParameter, FrontPart};

use crate::mlp::ParameterSource;
use crate::parameter::parameter;
use crate::{Activation, Architecture, ParameterPath, activate};

/// A part of the front stage; which parameters it has depends on its kind.
#[derive(Module, Debug)]
pub struct FrontLayer {
    /// Vectors of levels, `[levels, width]`, or of terms, `[terms, width]`, or the linear maps of all
    /// columns, `[columns · (width - 1), frequencies]`.
    pub weight: Option<Param<Tensor<2>>>,
    /// Biases of those maps, `[columns, width - 1]`, or of a bag, `[1, width]`.
    pub bias: Option<Param<Tensor<2>>>,
    /// `[columns, frequencies]`.
    pub frequency: Option<Param<Tensor<2>>>,
    /// `[columns, frequencies]`.
    pub phase: Option<Param<Tensor<2>>>,
}

/// The vectors of the terms that a training batch has, by which it is differentiated in place of those of
/// all terms.
#[derive(Clone, Debug)]
pub struct TouchedRows {
    /// Path of the vectors of all terms.
    pub path: ParameterPath,
    /// Their rows, rising.
    pub rows: Arc<[u32]>,
    /// These rows, `[rows, width]`, a leaf of the autodiff graph.
    pub weight: Tensor<2>,
}

/// A learned factor of each number, `[width]`.
#[derive(Module, Debug)]
pub struct Scales {
    /// The factors.
    pub weight: Param<Tensor<1>>,
}

/// Learned factors of each number for each member of an ensemble, `[members, width]`.
#[derive(Module, Debug)]
pub struct MemberScales {
    /// The factors.
    pub weight: Param<Tensor<2>>,
}

impl FrontLayer {
    /// The parts of a network's front stage.
    pub(crate) fn all<E>(
        network: &Architecture,
        device: &Device,
        take: &mut ParameterSource<'_, E>,
    ) -> Result<Vec<Self>, E> {
        let parts = network.front.iter().enumerate();
        parts.map(|(i, part)| Self::new(i, part, device, take)).collect()
    }

    fn new<E>(
        i: usize,
        part: &FrontPart,
        device: &Device,
        take: &mut ParameterSource<'_, E>,
    ) -> Result<Self, E> {
        let mut layer = Self { weight: None, bias: None, frequency: None, phase: None };
        for (path, shape) in part.parameters(i) {
            let values = take(path, &shape)?;
            // All but the last axis as rows.
            let columns = shape.last().copied().unwrap_or(1);
            let rows = values.len() / columns;
            if let ParameterPath::Front(_, kind) = path {
                let data = TensorData::new(values, [rows, columns]);
                *layer.parameter_mut(kind) = Some(parameter(data, device));
            }
        }
        Ok(layer)
    }

    fn parameter_mut(&mut self, kind: FrontParameter) -> &mut Option<Param<Tensor<2>>> {
        match kind {
            FrontParameter::Weight => &mut self.weight,
            FrontParameter::Bias => &mut self.bias,
            FrontParameter::Frequency => &mut self.frequency,
            FrontParameter::Phase => &mut self.phase,
        }
    }

    /// One of its parameters, if its kind has it.
    pub(crate) fn parameter(&self, kind: FrontParameter) -> Option<Tensor<2>> {
        let parameter = match kind {
            FrontParameter::Weight => &self.weight,
            FrontParameter::Bias => &self.bias,
            FrontParameter::Frequency => &self.frequency,
            FrontParameter::Phase => &self.phase,
        };
        parameter.as_ref().map(Param::val)
    }

    /// `[batch, columns] → [batch, width]`.
    pub(crate) fn forward(&self, part: &FrontPart, x: Tensor<2>) -> Tensor<2> {
        match (part, self.parameter(FrontParameter::Weight)) {
            (FrontPart::Embedding { levels, .. }, Some(vectors)) => embed(x, *levels, vectors),
            (FrontPart::Periodic { width, .. }, Some(weight)) => self.periodic(*width, weight, x),
            _ => x,
        }
    }

    /// `activation(sum of value_j · weight[place_j] + bias)` of a bag, which is part `i`:
    /// `[rows, width]`.
    ///
    /// With a place for them, the vectors of terms become leaves of the graph only where a row has the
    /// term, if they are trained.
    pub(crate) fn bag(
        &self,
        i: usize,
        activation: Activation,
        mut rows: SparseBatch,
        touched: Option<&mut Vec<TouchedRows>>,
    ) -> Option<Tensor<2>> {
        let weight = self.parameter(FrontParameter::Weight)?;
        let bias = self.parameter(FrontParameter::Bias)?;
        let sums = match touched.filter(|_| weight.is_require_grad()) {
            // Without a term there is nothing to differentiate by.
            Some(_) if rows.places.is_empty() => {
                bag(weight.without_autodiff(), &Arc::new(rows)).autodiff()
            }
            Some(touched) => {
                let terms: Arc<[u32]> = rows.renumber().into();
                let places = terms.iter().map(|&term| term as i32).collect::<Vec<_>>();
                let places = TensorData::new(places, [terms.len()]);
                let weight = weight.without_autodiff();
                let places = Tensor::<1, Int>::from_data(places, &weight.device());
                let weight = weight.select(0, places).autodiff().require_grad();
                let path = ParameterPath::Front(i, FrontParameter::Weight);
                touched.push(TouchedRows { path, rows: terms, weight: weight.clone() });
                bag(weight, &Arc::new(rows))
            }
            None => bag(weight, &Arc::new(rows)),
        };
        Some(activate(activation, sums + bias))
    }

    /// `[A cos(2π (w x) + b) + c, x]` of each column.
    fn periodic(&self, width: usize, weight: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
        let [batch, columns] = x.dims();
        let [_, frequencies] = weight.dims();
        let x = x.reshape([batch, columns, 1]);
        let mut angle = x.clone();
        if let Some(frequency) = self.parameter(FrontParameter::Frequency) {
            angle = (angle * frequency.unsqueeze::<3>()).mul_scalar(TAU);
        }
        if let Some(phase) = self.parameter(FrontParameter::Phase) {
            angle = angle + phase.unsqueeze::<3>();
        }
        // A product for each column: `[columns, batch, frequencies]`.
        let maps = weight.reshape([columns, width - 1, frequencies]).swap_dims(1, 2);
        let mut y = angle.cos().swap_dims(0, 1).matmul(maps).swap_dims(0, 1);
        if let Some(bias) = self.parameter(FrontParameter::Bias) {
            y = y + bias.unsqueeze::<3>();
        }
        Tensor::cat(vec![y, x], 2).reshape([batch, columns * width])
    }
}

/// The vector of each level, `[batch, 1] → [batch, width]`; that of level 0 for what is no level.
fn embed(x: Tensor<2>, levels: usize, vectors: Tensor<2>) -> Tensor<2> {
    let [batch, _] = x.dims();
    let is_level = x.clone().greater_equal_elem(0.0).bool_and(x.clone().lower_elem(levels as f64));
    let level = x.mask_fill(is_level.bool_not(), 0.0).int();
    vectors.select(0, level.reshape([batch]))
}
