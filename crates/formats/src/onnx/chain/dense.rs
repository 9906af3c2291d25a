//! Products of samples and weights.

use fireclay_terminal::counted;

use super::super::constants::Constant;
use super::super::elementwise::{activation, decimal};
use super::super::proto::Node;
use super::Chain;
use super::features::Spread;
use crate::error::{shown, shown_shape};
use crate::{Activation, Layer, Layout, Problem};

/// A product of the samples and a matrix of weights.
struct Product<'a> {
    /// The matrix.
    constant: Constant<'a>,
    /// True if the weights come before the samples.
    is_left: bool,
    /// True if the samples are transposed first.
    turns_samples: bool,
    /// True if the weights are.
    turns_weights: bool,
}

/// The weights of a dense layer.
struct Weight {
    name: String,
    layout: Layout,
    inputs: usize,
    outputs: usize,
}

impl<'a> Chain<'a> {
    /// `Gemm`: `alpha A B + beta C`.
    pub(super) fn gemm(&mut self, node: &'a Node<'a>, more: &[&str]) -> Result<(), Problem> {
        node.has_only(&[&["alpha", "beta", "transA", "transB"], more].concat())?;
        // It takes nothing but two dimensions.
        self.sample.get_or_insert_with(|| vec![None]);
        if self.sample.as_ref().is_some_and(|sample| sample.len() != 1) {
            self.features(node)?;
        }
        let product = self.product(node, ["transA", "transB"])?;
        self.dense(node, product, node.float("alpha", 1.0)?)?;
        let beta = decimal(node.float("beta", 1.0)?);
        match node.inputs.get(2) {
            Some(&name) if !name.is_empty() && beta != 0.0 => self.gemm_bias(node, name, beta),
            _ => Ok(()),
        }
    }

    /// `FusedGemm` of ONNX Runtime: `Gemm` and an activation.
    pub(super) fn fused_gemm(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        let more = ["activation", "activation_alpha", "activation_beta", "activation_gamma"];
        self.gemm(node, &more)?;
        let name = String::from_utf8_lossy(node.text("activation", "")?).into_owned();
        let plain = ["Relu", "Tanh", "Sigmoid", "Softplus", "Softsign"];
        let function = match name.as_str() {
            "LeakyRelu" => Activation {
                name: "leaky-relu".to_owned(),
                constants: [("slope".to_owned(), decimal(node.float("activation_alpha", 0.01)?))]
                    .into(),
            },
            name if plain.contains(&name) => activation(&name.to_lowercase()),
            _ => {
                let why =
                    "it is not known; export the model without the optimisations of a runtime";
                return Err(node.refused(format!("the activation {}", shown(&name)), why));
            }
        };
        self.layers.push(Layer::Activation(function));
        Ok(())
    }

    /// `MatMul`: `A B`.
    pub(super) fn matmul(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&[])?;
        let product = self.product(node, ["", ""])?;
        self.dense(node, product, 1.0)
    }

    /// `FusedMatMul` of ONNX Runtime: `alpha A B`.
    pub(super) fn fused_matmul(&mut self, node: &'a Node<'a>) -> Result<(), Problem> {
        node.has_only(&["alpha", "transA", "transB", "transBatchA", "transBatchB"])?;
        if node.is_set("transBatchA")? || node.is_set("transBatchB")? {
            return Err(node.refused("transBatchA or transBatchB", "samples must stay apart"));
        }
        let product = self.product(node, ["transA", "transB"])?;
        self.dense(node, product, node.float("alpha", 1.0)?)
    }

    /// The product of a node whose inputs are turned by these attributes, if they have names.
    fn product(&mut self, node: &'a Node<'a>, turns: [&str; 2]) -> Result<Product<'a>, Problem> {
        let (first, second) = match node.inputs[..] {
            [first, second, ..] => (first, second),
            _ => return Err(node.malformed("there are no weights")),
        };
        let is_left = first != self.value;
        let other = if is_left { first } else { second };
        let Some(constant) = self.constants.get(other)?.cloned().filter(|_| first != second) else {
            return Err(super::layers::not_constant(node, other));
        };
        // An operator that turns nothing has no attribute to ask for.
        let [turns_first, turns_second] =
            turns.map(|name| if name.is_empty() { Ok(false) } else { node.is_set(name) });
        let (turns_first, turns_second) = (turns_first?, turns_second?);
        let (turns_weights, turns_samples) =
            if is_left { (turns_first, turns_second) } else { (turns_second, turns_first) };
        Ok(Product { constant, is_left, turns_samples, turns_weights })
    }

    /// Adds a dense layer without a bias.
    fn dense(
        &mut self,
        node: &'a Node<'a>,
        product: Product<'a>,
        alpha: f32,
    ) -> Result<(), Problem> {
        let Product { is_left, turns_samples, .. } = product;
        let weight = self.weight(node, product)?;
        let place = self.feature_axis(node, is_left, turns_samples)?;
        if let Some([None]) = self.sample.as_deref() {
            self.know_features(weight.inputs);
        }
        let features = self.sample.as_ref().and_then(|sample| sample.get(place).copied().flatten());
        let Weight { name, layout, inputs, outputs } = weight;
        if inputs == 0 || outputs == 0 || features.is_some_and(|features| features != inputs) {
            let of = features.map(|count| format!(" of {}", counted(count as u64, "number")));
            return Err(node.malformed(format!(
                "weights from {inputs} to {} for samples{}",
                counted(outputs as u64, "number"),
                of.unwrap_or_default()
            )));
        }
        let is_flat = self.sample.as_ref().is_some_and(|sample| sample.len() == 1);
        if !is_flat && !self.layers.contains(&Layer::Flatten) {
            self.layers.push(Layer::Flatten);
        }
        match decimal(alpha) {
            1.0 => {}
            alpha if alpha != 0.0 && alpha.is_finite() => {
                self.layers.push(Layer::Rescale { scale: alpha, offset: 0.0 });
            }
            alpha => {
                let why = "it must be a number other than 0; multiply the weights by it";
                return Err(node.refused(format!("the factor alpha = {alpha}"), why));
            }
        }
        self.layers.push(Layer::Dense { weight: name, bias: None, layout });
        if let Some(size) = self.sample.as_mut().and_then(|sample| sample.get_mut(place)) {
            *size = Some(outputs);
        }
        Ok(())
    }

    /// The weights of a product.
    fn weight(&mut self, node: &'a Node<'a>, product: Product<'a>) -> Result<Weight, Problem> {
        let Product { constant, is_left, turns_weights, .. } = product;
        let &[rows, columns] = &constant.shape[..] else {
            let what = format!("weights of shape {:?}", constant.shape);
            return Err(node.refused(what, "they must be a matrix"));
        };
        let (before, after) = if turns_weights { (columns, rows) } else { (rows, columns) };
        let (inputs, outputs) = if is_left { (after, before) } else { (before, after) };
        let is_transposed = constant.source.is_some_and(|source| source.transposed);
        let is_turned = turns_weights != is_transposed;
        let layout = if is_turned == is_left { Layout::InOut } else { Layout::OutIn };
        let stored = if is_transposed { vec![columns, rows] } else { vec![rows, columns] };
        let name = match (constant.source, &constant.few) {
            (Some(source), _) => self.tensor(node, source, stored)?.to_owned(),
            (None, Some(few)) => self.make(node, "weights", stored, few)?,
            (None, None) => return Err(node.refused("weights", "they must be a tensor")),
        };
        Ok(Weight { name, layout, inputs, outputs })
    }

    /// Which dimension of a sample the weights take; turns the samples if they have to be.
    fn feature_axis(
        &mut self,
        node: &Node<'_>,
        is_left: bool,
        turns_samples: bool,
    ) -> Result<usize, Problem> {
        let Some(sample) = self.sample.clone() else { return self.features(node).map(|_| 0) };
        if is_left && !self.columns && !turns_samples && sample.len() > 1 {
            // Each sample is a column, or several of which each is one.
            let (&last, rest) = sample.split_last().unwrap_or((&None, &[]));
            let (&_features, leading) = rest.split_last().unwrap_or((&None, &[]));
            if last == Some(1) && leading.iter().all(|&size| size == Some(1)) {
                return Ok(rest.len() - 1);
            }
            return self.features(node).map(|_| 0);
        }
        if sample.len() > 1 {
            let leading = &sample[..sample.len() - 1];
            if !turns_samples && !is_left && leading.iter().all(|&size| size == Some(1)) {
                return Ok(leading.len());
            }
            return self.features(node).map(|_| 0);
        }
        // Of `x W` the features must be last, of `W x` they must be first.
        let are_columns = self.columns != turns_samples;
        if are_columns != is_left && !self.turn_untouched() {
            let side = if self.columns { "columns" } else { "rows" };
            let why = "weights on the right multiply rows, and those on the left columns";
            return Err(node.refused(format!("samples in {side}"), why));
        }
        self.columns = is_left;
        Ok(0)
    }

    /// Takes the first dimension for the features and the last for the batch, if nothing has been
    /// read yet that knew them the other way round.
    pub(super) fn turn_untouched(&mut self) -> bool {
        let is_untouched = self.layers.iter().all(|layer| matches!(layer, Layer::Rescale { .. }));
        match (self.batch, self.sample.as_deref()) {
            (Some(features), Some(&[batch]))
                if is_untouched && self.open.is_empty() && !self.columns =>
            {
                self.sample = Some(vec![Some(features)]);
                self.batch = batch;
                self.input_shape = Some(vec![features]);
                true
            }
            _ => false,
        }
    }

    /// The bias of `Gemm`.
    fn gemm_bias(&mut self, node: &'a Node<'a>, name: &'a str, beta: f64) -> Result<(), Problem> {
        let Some(constant) = self.constants.get(name)?.cloned() else {
            return Err(super::layers::not_constant(node, name));
        };
        let Some(spread) = self.spread(&constant)? else {
            return Err(self.not_spread(node, "biases", &constant));
        };
        self.add_bias(node, spread, beta)
    }

    /// Gives the last dense layer its bias.
    fn add_bias(
        &mut self,
        node: &'a Node<'a>,
        spread: Spread<'a>,
        factor: f64,
    ) -> Result<(), Problem> {
        let outputs = self.count(node)?;
        let spread = match (spread, factor) {
            (Spread::One(value), _) => Spread::One(value * factor),
            (spread, 1.0) => spread,
            (Spread::Made(values), _) => {
                Spread::Made(values.into_iter().map(|value| value * factor).collect())
            }
            (Spread::Tensor(source), _) => {
                self.pay(outputs)?;
                let values = source.tensor.to_tensor(source.name)?.to_f64()?;
                Spread::Made(values.into_iter().map(|value| value * factor).collect())
            }
        };
        let name = match spread {
            Spread::One(0.0) => return Ok(()),
            spread => self.row(node, "bias", spread, outputs, None)?,
        };
        if let Some(Layer::Dense { bias, .. }) = self.layers.last_mut() {
            *bias = Some(name);
        }
        Ok(())
    }

    /// `Add` right after a dense layer without bias: a constant of as many numbers as that has
    /// outputs is its bias.
    pub(super) fn bias(&mut self, node: &'a Node<'a>) -> Result<bool, Problem> {
        let &[first, second] = &node.inputs[..] else { return Ok(false) };
        let other = if first == self.value { second } else { first };
        let has_room = matches!(self.layers.last(), Some(Layer::Dense { bias: None, .. }));
        let Some(constant) = self.constants.get(other)?.cloned().filter(|_| has_room) else {
            return Ok(false);
        };
        let outputs = self.count(node)?;
        if constant.shape.iter().product::<usize>() != outputs {
            return Ok(false);
        }
        node.has_only(&[])?;
        match (self.spread(&constant)?, constant.source) {
            // One output has one number, which stays the tensor that it is.
            (Some(Spread::One(_)), Some(source)) => {
                self.add_bias(node, Spread::Tensor(source), 1.0)?;
            }
            (Some(spread), _) => self.add_bias(node, spread, 1.0)?,
            (None, _) => return Err(self.not_spread(node, "biases", &constant)),
        }
        Ok(true)
    }

    /// `BiasGelu` and `FastGelu` of ONNX Runtime: a bias, if there is one, and the activation.
    pub(super) fn biased_gelu(&mut self, node: &'a Node<'a>, name: &str) -> Result<(), Problem> {
        node.has_only(&[])?;
        if let Some(constant) = self.constant(node, 1)? {
            let Some(spread) = self.spread(&constant)? else {
                return Err(self.not_spread(node, "biases", &constant));
            };
            if matches!(self.layers.last(), Some(Layer::Dense { bias: None, .. })) {
                self.add_bias(node, spread, 1.0)?;
            } else {
                let count = self.count(node)?;
                let offset = Some(self.row(node, "offset", spread, count, None)?);
                self.layers.push(Layer::Affine { scale: None, offset });
            }
        }
        self.layers.push(Layer::Activation(activation(name)));
        Ok(())
    }

    /// The length of the rows that have been reached, if that is known.
    pub(super) fn features(&self, node: &Node<'_>) -> Result<Option<usize>, Problem> {
        match self.sample.as_deref() {
            Some(&[features]) if !self.columns => Ok(features),
            Some(_) if self.columns => {
                Err(node.refused("samples in columns", "they must be rows; add Transpose before"))
            }
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
}
