//! Operators that are layers.

use super::super::constants::{Constant, Source};
use super::super::elementwise::{activation, casts_to_float, decimal};
use super::super::proto::Node;
use super::Chain;
use super::features::Spread;
use crate::error::shown;
use crate::{ElementType, Layer, Norm, Problem};
use fireclay_terminal::counted;

impl<'a> Chain<'a> {
    /// Reads a node that is a layer by itself; no other is touched.
    pub(super) fn layer(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        match node.operator() {
            "Gemm" => self.gemm(node, &[])?,
            "MatMul" => self.matmul(node)?,
            "Add" if self.bias(node)? => {}
            "Add" | "Sub" | "Mul" | "Div" if self.arithmetic(node)? => {}
            "PRelu" => self.prelu(node)?,
            "Flatten" => self.flatten(node)?,
            "Reshape" => self.reshape(node)?,
            "Squeeze" | "Unsqueeze" => self.squeeze(node)?,
            "Transpose" if self.transpose(node)? => {}
            "Dropout" => self.dropout(node)?,
            "BatchNormalization" => self.batch_norm(node)?,
            "LayerNormalization" => self.row_norm(node, Norm::Layer)?,
            "RMSNormalization" => self.row_norm(node, Norm::Rms)?,
            "Softmax" => self.softmax(node, "softmax")?,
            "LogSoftmax" => self.softmax(node, "log-softmax")?,
            _ if !self.other_layer(node)? => return Ok(false),
            _ => {}
        }
        self.advance(node)?;
        Ok(true)
    }

    /// Reads a node of another standard that is a layer by itself.
    fn other_layer(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        match (node.classical_operator(), node.runtime_operator()) {
            ("Scaler", _) => self.scaler(node)?,
            (_, "FusedGemm") => self.fused_gemm(node)?,
            (_, "FusedMatMul") => self.fused_matmul(node)?,
            (_, "BiasGelu") => self.biased_gelu(node, "gelu")?,
            (_, "FastGelu") => self.biased_gelu(node, "gelu-tanh")?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads a node that takes whole numbers: one that moves them, or makes them others.
    pub(super) fn of_whole(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        match (node.operator(), node.classical_operator()) {
            ("Flatten" | "Reshape" | "Squeeze" | "Unsqueeze", _) => return self.layer(node),
            ("Cast", _) if casts_to_float(node)? => self.is_whole = false,
            ("Identity", _) => {}
            (_, "Scaler") => {
                self.scaler(node)?;
                self.is_whole = false;
            }
            _ => return Ok(false),
        }
        self.advance(node)?;
        Ok(true)
    }

    /// `Dropout`: the share is an attribute before version 12, an input since.
    fn dropout(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["ratio", "seed"])?;
        let share = match self.constant(node, 1)? {
            Some(share) => share.scalar().map(|share| share as f32),
            None => Some(node.float("ratio", 0.5)?),
        };
        let Some(share) = share.filter(|share| (0.0..1.0).contains(share)) else {
            return Err(node.malformed("the share to drop is no number from 0 to 1"));
        };
        let training = self.constant(node, 2)?;
        if training.is_some_and(|training| training.scalar() != Some(0.0)) {
            return Err(node.refused("training_mode", EXPORT_FOR_INFERENCE));
        }
        self.layers.push(Layer::Dropout(decimal(share)));
        Ok(())
    }

    /// `BatchNormalization`.
    fn batch_norm(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["epsilon", "momentum", "spatial", "training_mode"])?;
        if node.int("training_mode")?.unwrap_or(0) != 0 || node.int("spatial")?.unwrap_or(1) != 1 {
            return Err(node.refused("training_mode or spatial", EXPORT_FOR_INFERENCE));
        }
        let scale = self.norm_vector(node, 1, "factors")?;
        let shift = self.norm_vector(node, 2, "offsets")?;
        let mean = self.norm_vector(node, 3, "means")?;
        let variance = self.norm_vector(node, 4, "variances")?;
        if scale.is_none() || shift.is_none() || mean.is_none() || variance.is_none() {
            return Err(node.malformed("factors, offsets, means or variances are missing"));
        }
        let epsilon = decimal(node.float("epsilon", 1e-5)?);
        let kind = Norm::Batch;
        self.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon });
        Ok(())
    }

    /// `LayerNormalization`, and `RMSNormalization`, which has no offsets.
    fn row_norm(&mut self, node: &'a Node<'a>, kind: Norm) -> Result<(), Problem> {
        node.has_only(&["axis", "epsilon", "stash_type"])?;
        self.features(node)?;
        self.check_axis(node, -1)?;
        let scale = self.norm_vector(node, 1, "factors")?;
        if scale.is_none() {
            return Err(node.malformed("the factors are missing"));
        }
        let shift = if kind == Norm::Rms { None } else { self.norm_vector(node, 2, "offsets")? };
        let epsilon = decimal(node.float("epsilon", 1e-5)?);
        let (mean, variance) = (None, None);
        self.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon });
        Ok(())
    }

    /// `Softmax` and `LogSoftmax`.
    fn softmax(&mut self, node: &Node<'_>, name: &str) -> Result<(), Problem> {
        node.has_only(&["axis"])?;
        if self.sample.is_none() {
            self.features(node)?;
        }
        // Before version 13, all dimensions from the axis on are taken together.
        self.check_axis(node, if self.opset < 13 { 1 } else { -1 })?;
        self.layers.push(Layer::Activation(activation(name)));
        Ok(())
    }

    /// Requires that the axis of a node is the one that all features lie along.
    fn check_axis(&self, node: &Node<'_>, usual: i64) -> Result<(), Problem> {
        let axis = node.int("axis")?.unwrap_or(usual);
        let sample = self.sample.as_deref().unwrap_or(&[None]);
        let count = sample.len() + 1;
        let place = if axis < 0 { axis.saturating_add(count as i64) } else { axis };
        let is_features = if self.columns {
            place == 0 && self.opset >= 13
        } else {
            usize::try_from(place).is_ok_and(|place| {
                let has_last =
                    ["LayerNormalization", "RMSNormalization"].contains(&node.operator());
                // Before version 13, all dimensions from the axis on are taken together.
                let takes_rest = self.opset < 13 && !has_last;
                let others = if takes_rest { 1..place } else { 1..count };
                let mut others = others.filter(|&at| at != place);
                place > 0 && place < count && others.all(|at| sample[at - 1] == Some(1))
            })
        };
        if is_features {
            return Ok(());
        }
        Err(node.refused(format!("axis {axis}"), "it must be that of the features"))
    }

    /// A vector of a normalisation, if it is there.
    fn norm_vector(
        &mut self,
        node: &'a Node<'a>,
        at: usize,
        what: &str,
    ) -> Result<Option<String>, Problem> {
        if let Some((number, features)) = self.expanded(node, at)? {
            return Ok(Some(self.row(node, what, Spread::One(number), features, None)?));
        }
        let Some(constant) = self.constant(node, at)? else { return Ok(None) };
        let features = match self.features(node)? {
            Some(features) => features,
            None => constant.shape.iter().product(),
        };
        self.know_features(features);
        Ok(Some(self.vector(node, what, &constant, features)?.to_owned()))
    }

    /// The number that `Expand` repeats for each feature of the samples that a layer or RMS norm
    /// takes, and how many these are: PyTorch writes so the factors of norms that have none.
    fn expanded(&mut self, node: &Node<'a>, at: usize) -> Result<Option<(f64, usize)>, Problem> {
        let is_norm = ["LayerNormalization", "RMSNormalization"].contains(&node.operator());
        let maker = node.inputs.get(at).and_then(|name| self.constants.maker(name));
        let (true, Some(maker), Some(&[Some(features)])) = (is_norm, maker, self.sample.as_deref())
        else {
            return Ok(None);
        };
        let maker = &self.graph.nodes[maker];
        let ("Expand", &[number, shape]) = (maker.operator(), &maker.inputs[..]) else {
            return Ok(None);
        };
        let number = self.constants.get(number)?.and_then(Constant::scalar);
        let shape = self.constants.get(shape)?.and_then(|shape| shape.list().map(<[f64]>::to_vec));
        let batch = self.batch.map(|batch| batch as f64);
        let is_whole = match shape.as_deref() {
            Some(&[columns]) => columns == features as f64,
            Some(&[rows, columns]) => {
                let is_batch = rows.is_nan() || Some(rows) == batch || rows == 1.0;
                is_batch && columns == features as f64
            }
            _ => false,
        };
        Ok(number.filter(|_| is_whole).map(|number| (number, features)))
    }

    /// Input `at` of a node, if there is one.
    pub(super) fn constant(
        &mut self,
        node: &'a Node<'a>,
        at: usize,
    ) -> Result<Option<Constant<'a>>, Problem> {
        let data_is_first = node.inputs.first() == Some(&self.value);
        let name = match node.inputs.get(at) {
            Some(&name) if !name.is_empty() => name,
            _ => return Ok(None),
        };
        match self.constants.get(name)? {
            Some(constant) if data_is_first => Ok(Some(constant.clone())),
            _ => Err(not_constant(node, name)),
        }
    }

    /// A constant of `length` numbers, as a tensor of one dimension. One of more than two would give
    /// its own to the result, and put the features on another axis.
    fn vector(
        &mut self,
        node: &Node<'_>,
        what: &str,
        constant: &Constant<'a>,
        length: usize,
    ) -> Result<&'a str, Problem> {
        let leading = constant.shape.len().saturating_sub(1);
        let is_row = constant.shape[..leading].iter().all(|&size| size == 1);
        match constant.source {
            Some(source) if is_row && leading < 2 && constant.shape.last() == Some(&length) => {
                self.tensor(node, source, vec![length])
            }
            _ => Err(node.refused(
                format!("{what} of shape {:?}", constant.shape),
                format!(
                    "they must be a tensor of {} in one dimension, or in two of which the first is 1",
                    counted(length as u64, "number")
                ),
            )),
        }
    }

    /// Remembers that a layer needs a tensor in this shape, and gives its name.
    pub(super) fn tensor(
        &mut self,
        node: &Node<'_>,
        source: Source<'a>,
        shape: Vec<usize>,
    ) -> Result<&'a str, Problem> {
        if !source.tensor.dtype.is_some_and(ElementType::is_float) {
            let kind = source.tensor.dtype.map_or("another type", ElementType::name);
            let what = format!("the tensor {} of {kind}", shown(source.name));
            return Err(
                node.refused(what, "it must be of floating point; export before quantisation")
            );
        }
        let (_, before) = self.used.entry(source.place).or_insert((source, shape.clone()));
        if *before != shape {
            let what = format!("the tensor {} in two shapes", shown(source.name));
            return Err(node.refused(what, "one that is used twice must be used alike"));
        }
        Ok(source.name)
    }
}

/// The error of an input that must be a constant and is none.
pub(super) fn not_constant(node: &Node<'_>, name: &str) -> Problem {
    node.refused(
        format!("the input {}", shown(name)),
        "all but the samples must be constants; if it is computed from constants, simplify the \
         model first, for example with onnxslim or onnxsim",
    )
}

const EXPORT_FOR_INFERENCE: &str =
    "it must be as in inference; export the model after model.eval()";
