//! Operators that are layers.

use super::super::constants::{Constant, Source};
use super::super::elementwise::{activation, casts_to_float, decimal};
use super::super::proto::Node;
use super::Chain;
use crate::error::{shown, shown_shape};
use crate::{Dtype, Layer, Layout, Norm, Problem};

impl<'a> Chain<'a> {
    /// Reads a node that is a layer by itself; no other is touched.
    pub(super) fn layer(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        match node.operator() {
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.matmul(node)?,
            "Add" if self.bias(node)? => {}
            "Flatten" => self.flatten(node)?,
            "Reshape" => self.reshape(node)?,
            "Squeeze" | "Unsqueeze" => self.squeeze(node)?,
            "Dropout" => self.dropout(node)?,
            "BatchNormalization" => self.batch_norm(node)?,
            "LayerNormalization" => self.layer_norm(node)?,
            "Softmax" => self.softmax(node, "softmax")?,
            "LogSoftmax" => self.softmax(node, "log-softmax")?,
            _ => return Ok(false),
        }
        self.advance(node)?;
        Ok(true)
    }

    /// Reads a node that takes whole numbers: one that moves them, or makes them others.
    pub(super) fn of_whole(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        match node.operator() {
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => return self.layer(node),
            "Cast" if casts_to_float(node)? => self.is_whole = false,
            "Identity" => {}
            _ => return Ok(false),
        }
        self.advance(node)?;
        Ok(true)
    }

    /// `Gemm`: `alpha A B + beta C`.
    fn gemm(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["alpha", "beta", "transA", "transB"])?;
        // It takes nothing but two dimensions.
        self.sample.get_or_insert_with(|| vec![None]);
        let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
        let bias = self.constant(node, 2)?;
        if alpha != 1.0 || (beta != 1.0 && bias.is_some()) {
            let what = format!("factors alpha = {alpha} and beta = {beta}");
            return Err(
                node.refused(what, "they must be 1; multiply the weights and biases by them")
            );
        }
        if node.int("transA")?.unwrap_or(0) != 0 {
            return Err(node.refused("transA", "samples must be rows; export the model again"));
        }
        let transposed = node.int("transB")?.unwrap_or(0) != 0;
        let weight = self.weight(node, transposed)?;
        self.dense(node, weight, bias)
    }

    /// `MatMul`: `A B`.
    fn matmul(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&[])?;
        let weight = self.weight(node, false)?;
        self.dense(node, weight, None)
    }

    /// The weights of a dense layer, the second input of a node.
    fn weight(&mut self, node: &'a Node<'a>, transposed: bool) -> Result<Weight<'a>, Problem> {
        let Some(constant) = self.constant(node, 1)? else {
            return Err(node.malformed("there are no weights"));
        };
        let (&[rows, columns], Some(source)) = (&constant.shape[..], constant.source) else {
            let what = format!("weights of shape {:?}", constant.shape);
            return Err(node.refused(what, "they must be a matrix"));
        };
        let (inputs, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
        let layout = if transposed == source.transposed { Layout::InOut } else { Layout::OutIn };
        let name = self.tensor(node, source, source.tensor.shape.clone())?;
        Ok(Weight { name, layout, inputs, outputs })
    }

    fn dense(
        &mut self,
        node: &'a Node<'a>,
        weight: Weight<'a>,
        bias: Option<Constant<'a>>,
    ) -> Result<(), Problem> {
        let features = self.features(node)?;
        let empty = weight.inputs == 0 || weight.outputs == 0;
        if empty || features.is_some_and(|features| features != weight.inputs) {
            let (inputs, outputs) = (weight.inputs, weight.outputs);
            let features = features.map_or("some".to_owned(), |features| features.to_string());
            return Err(node.malformed(format!(
                "weights from {inputs} to {outputs} numbers for samples of {features} numbers"
            )));
        }
        let bias = match bias {
            Some(bias) => Some(self.vector(node, "biases", &bias, weight.outputs)?.to_owned()),
            None => None,
        };
        let Weight { name, layout, outputs, .. } = weight;
        self.layers.push(Layer::Dense { weight: name.to_owned(), bias, layout });
        self.sample = Some(vec![Some(outputs)]);
        Ok(())
    }

    /// `Add` right after a dense layer without bias: a constant of as many numbers as that has
    /// outputs is its bias.
    fn bias(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        let (Some(Layer::Dense { bias: None, .. }), Some([Some(outputs)])) =
            (self.layers.last(), self.sample.as_deref())
        else {
            return Ok(false);
        };
        let outputs = *outputs;
        let (&[first, second], value) = (&node.inputs[..], self.value) else { return Ok(false) };
        let other = if first == value { second } else { first };
        let constant = match self.constants.get(other)? {
            Some(constant) if constant.shape.iter().product::<usize>() == outputs => {
                constant.clone()
            }
            _ => return Ok(false),
        };
        if constant.source.is_none() {
            return Ok(false);
        }
        node.has_only(&[])?;
        let name = self.vector(node, "biases", &constant, outputs)?;
        if let Some(Layer::Dense { bias, .. }) = self.layers.last_mut() {
            *bias = Some(name.to_owned());
        }
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

    /// `LayerNormalization`.
    fn layer_norm(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["axis", "epsilon", "stash_type"])?;
        self.check_axis(node)?;
        let scale = self.norm_vector(node, 1, "factors")?;
        if scale.is_none() {
            return Err(node.malformed("the factors are missing"));
        }
        let shift = self.norm_vector(node, 2, "offsets")?;
        let epsilon = decimal(node.float("epsilon", 1e-5)?);
        let (mean, variance) = (None, None);
        let kind = Norm::Layer;
        self.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon });
        Ok(())
    }

    /// `Softmax` and `LogSoftmax`.
    fn softmax(&mut self, node: &Node<'_>, name: &str) -> Result<(), Problem> {
        node.has_only(&["axis"])?;
        self.check_axis(node)?;
        self.features(node)?;
        self.layers.push(Layer::Activation(activation(name)));
        Ok(())
    }

    /// Of rows, the features are the last dimension of two.
    fn check_axis(&self, node: &Node<'_>) -> Result<(), Problem> {
        match node.int("axis")? {
            None | Some(1 | -1) => Ok(()),
            Some(axis) => {
                Err(node.refused(format!("axis {axis}"), "it must be that of the features"))
            }
        }
    }

    /// A vector of a normalisation, if it is there.
    fn norm_vector(
        &mut self,
        node: &'a Node<'a>,
        at: usize,
        what: &str,
    ) -> Result<Option<String>, Problem> {
        let Some(constant) = self.constant(node, at)? else { return Ok(None) };
        let features = match self.features(node)? {
            Some(features) => features,
            None => constant.shape.iter().product(),
        };
        self.sample = Some(vec![Some(features)]);
        Ok(Some(self.vector(node, what, &constant, features)?.to_owned()))
    }

    /// The length of the rows that have been reached, if that is known.
    fn features(&self, node: &Node<'_>) -> Result<Option<usize>, Problem> {
        match self.sample.as_deref() {
            Some(&[features]) => Ok(features),
            Some(sample) => Err(node.refused(
                format!("samples of shape {}", shown_shape(sample)),
                "they must be rows of numbers; add Flatten before",
            )),
            None => Err(node.refused(
                "samples of unknown shape",
                "the graph does not say that they are rows; export it with the shape of its input",
            )),
        }
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
            _ => Err(node.refused(
                format!("the input {}", shown(name)),
                "all but the first must be constants; if it is computed from constants, simplify \
                 the model first, for example with onnxslim or onnxsim",
            )),
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
                    "they must be a tensor of {length} numbers in one dimension, or in two of which \
                     the first is 1"
                ),
            )),
        }
    }

    /// Remembers that a layer needs a tensor in this shape, and gives its name.
    fn tensor(
        &mut self,
        node: &Node<'_>,
        source: Source<'a>,
        shape: Vec<usize>,
    ) -> Result<&'a str, Problem> {
        if !source.tensor.dtype.is_some_and(Dtype::is_float) {
            let kind = source.tensor.dtype.map_or("another type", Dtype::name);
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

const EXPORT_FOR_INFERENCE: &str =
    "it must be as in inference; export the model after model.eval()";

/// The weights of a dense layer.
struct Weight<'a> {
    name: &'a str,
    layout: Layout,
    inputs: usize,
    outputs: usize,
}
