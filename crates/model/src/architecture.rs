//! A network, layer by layer.

use serde::{Deserialize, Serialize};

use crate::config::{finite, positive, rate, sizes};
use crate::{
    Activation, AdapterSide, Average, BiasInitializer, ConfigError, Ensemble, FrontPart,
    Initializer, LEAKY_SLOPE, Lora, MlpConfig, NORM_EPSILON, Norm, NormPart, ParameterPath, Task,
    named_enum,
};

/// A multilayer perceptron, layer by layer; [`MlpConfig`](crate::MlpConfig) is the short way to
/// describe one whose hidden layers are alike.
///
/// A row passes the front stage, part by part, and its learned scaling; then each member of an ensemble
/// multiplies it by scales of its own.
///
/// Hidden layer `i` reads `x` and computes, in this order and as far as it has them:
///
/// 1. its norm, if its position is the input;
/// 2. `x W + b`, with its adapter;
/// 3. its norm, before the activation; a skip connection is added before or after this norm;
/// 4. its activation;
/// 5. its norm, after the activation;
/// 6. dropout, in training;
/// 7. a skip connection that is added at the end.
///
/// The output layer is linear and gives logits or values, and that of an ensemble those of each member,
/// one after the other. With [`Parametrization::Ntk`] a linear map is `x W / sqrt(n) + b`, of `n`
/// inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// Shape of one sample, of any rank; it is flattened row by row. `[28, 28]` gives 784 inputs.
    pub input_shape: Vec<usize>,
    /// The parts of the front stage, in the order of the columns of a row; none if the first layer
    /// reads rows as they are.
    pub front: Vec<FrontPart>,
    /// True if each input of the first layer is multiplied by a learned scale, which starts at 1.
    pub scaling: bool,
    /// Members that share the hidden layers, if there are several.
    pub ensemble: Option<Ensemble>,
    /// Share of the inputs of the first layer set to zero in training, in `[0, 1)`.
    pub input_dropout: f64,
    /// The hidden layers, from input to output.
    pub hidden: Vec<HiddenLayer>,
    /// Number of outputs: classes, labels or regression targets.
    pub outputs: usize,
    /// True if the output layer adds a bias.
    pub output_bias: bool,
    /// What inputs of a linear layer are divided by.
    pub parametrization: Parametrization,
    /// Distribution of the initial weights.
    pub initializer: Initializer,
    /// Distribution of the initial biases.
    pub bias_initializer: BiasInitializer,
    /// True if the output layer starts at zero.
    pub zero_output: bool,
    /// Low-rank adapters beside some of the linear layers.
    pub lora: Option<Lora>,
    /// The short description that it was made of, if there was one.
    pub short: Short,
}

/// The short description that a network was made of: it can say what changes nothing, such as skip
/// connections where no two layers are equally wide, and is written as it was. It does not tell two
/// networks apart.
#[derive(Clone, Debug, Default)]
pub struct Short(pub(crate) Option<Box<MlpConfig>>);

impl PartialEq for Short {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A hidden layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HiddenLayer {
    /// Number of its outputs.
    pub width: usize,
    /// Its activation function.
    pub activation: Activation,
    /// The slope of [`Activation::LeakyRelu`] below 0.
    #[serde(skip_serializing_if = "is_default_slope")]
    pub leaky_slope: f64,
    /// True if each output has a learned share of the activation: `x + a (f(x) - x)`, where `a`
    /// starts at 1.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parametric: bool,
    /// Its normalisation.
    pub norm: Norm,
    /// Where it is normalised.
    #[serde(skip_serializing_if = "is_default_position")]
    pub norm_position: NormPosition,
    /// Added to a variance before its root is taken; above 0.
    #[serde(skip_serializing_if = "is_default_epsilon")]
    pub norm_epsilon: f64,
    /// Share of its outputs set to zero in training, in `[0, 1)`.
    pub dropout: f64,
    /// True if it adds a bias.
    #[serde(skip_serializing_if = "is_true")]
    pub bias: bool,
    /// The input of an earlier layer that is added to its outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<Skip>,
}

/// A skip connection: adds what a layer read to what this or a later layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// The number of hidden layers that it spans: 1 adds the input of this layer, 2 that of the one
    /// before it.
    pub span: usize,
    /// Where it is added.
    #[serde(default)]
    pub position: SkipPosition,
}

named_enum! {
    /// Where a hidden layer is normalised.
    #[derive(Default)]
    pub enum NormPosition as "position of a norm" {
        /// The input of the layer, before its linear map.
        Input = "input",
        /// Between the linear map and the activation.
        #[default]
        BeforeActivation = "before-activation",
        /// Behind the activation.
        AfterActivation = "after-activation",
    }
}

named_enum! {
    /// What the inputs of a linear layer are divided by.
    #[derive(Default)]
    pub enum Parametrization as "parametrization" {
        /// Nothing.
        #[default]
        Standard = "standard",
        /// The root of their number (Jacot et al. 2018, arXiv 1806.07572): steps of an optimizer
        /// have one size whatever the width.
        Ntk = "ntk",
    }
}

named_enum! {
    /// Where a skip connection is added.
    #[derive(Default)]
    pub enum SkipPosition as "position of a skip connection" {
        /// Right behind the linear map, before a norm that precedes the activation.
        BeforeNorm = "before-norm",
        /// Before the activation.
        BeforeActivation = "before-activation",
        /// To what the layer computes, at its end.
        #[default]
        Output = "output",
    }
}

fn is_default_slope(slope: &f64) -> bool {
    *slope == LEAKY_SLOPE
}

fn is_default_epsilon(epsilon: &f64) -> bool {
    *epsilon == NORM_EPSILON
}

fn is_default_position(position: &NormPosition) -> bool {
    *position == NormPosition::default()
}

fn is_true(value: &bool) -> bool {
    *value
}

impl Default for HiddenLayer {
    /// Relu and nothing else, of no width yet.
    fn default() -> Self {
        Self {
            width: 0,
            activation: Activation::default(),
            leaky_slope: LEAKY_SLOPE,
            parametric: false,
            norm: Norm::None,
            norm_position: NormPosition::default(),
            norm_epsilon: NORM_EPSILON,
            dropout: 0.0,
            bias: true,
            skip: None,
        }
    }
}

impl HiddenLayer {
    /// A relu layer of this width.
    pub fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Its activation function in words, with its slope if that is not the usual one.
    pub fn activation_in_words(&self) -> String {
        let kind = if self.parametric { "parametric " } else { "" };
        let name = format!("{kind}{}", self.activation);
        if self.activation == Activation::LeakyRelu && !is_default_slope(&self.leaky_slope) {
            return format!("{name} with slope {}", self.leaky_slope);
        }
        name
    }

    /// Returns true if it is normalised there.
    pub fn has_norm_at(&self, position: NormPosition) -> bool {
        self.norm != Norm::None && self.norm_position == position
    }

    /// The hidden layers that its skip connection spans, if it has one that is added there.
    pub fn skips_at(&self, position: SkipPosition) -> Option<usize> {
        self.skip.filter(|skip| skip.position == position).map(|skip| skip.span)
    }
}

impl Architecture {
    /// Number of inputs: the product of `input_shape`.
    pub fn inputs(&self) -> usize {
        self.input_shape.iter().product()
    }

    /// Linear layers: the hidden ones and the output layer.
    pub fn layers(&self) -> usize {
        self.hidden.len() + 1
    }

    /// The same network with the outputs of a task.
    #[must_use]
    pub fn for_task(mut self, task: &Task) -> Self {
        self.outputs = task.outputs();
        if let Some(ensemble) = &mut self.ensemble {
            ensemble.average = Average::of(task);
        }
        self
    }

    /// Numbers that the first layer reads of a row: what the front stage makes of it.
    pub fn front_width(&self) -> usize {
        if self.front.is_empty() {
            return self.inputs();
        }
        self.front.iter().map(FrontPart::width).fold(0, usize::saturating_add)
    }

    /// Members of the ensemble, or 1.
    pub fn members(&self) -> usize {
        self.ensemble.map_or(1, |ensemble| ensemble.members)
    }

    /// `[inputs, outputs]` of linear layer `i`; the output layer of an ensemble has the outputs of all
    /// members.
    pub fn sizes(&self, i: usize) -> [usize; 2] {
        let before = i.checked_sub(1).and_then(|i| self.hidden.get(i));
        let inputs = before.map_or_else(|| self.front_width(), |layer| layer.width);
        let layer = self.hidden.get(i);
        [inputs, layer.map_or_else(|| self.outputs * self.members(), |layer| layer.width)]
    }

    /// What the inputs of linear layer `i` are multiplied by.
    pub fn input_factor(&self, i: usize) -> f64 {
        match self.parametrization {
            Parametrization::Standard => 1.0,
            Parametrization::Ntk => 1.0 / (self.sizes(i)[0] as f64).sqrt(),
        }
    }

    /// [`sizes`](Self::sizes) of each linear layer, from input to output.
    pub fn layer_sizes(&self) -> Vec<[usize; 2]> {
        (0..self.layers()).map(|i| self.sizes(i)).collect()
    }

    /// Returns true if linear layer `i` adds a bias.
    pub fn has_bias(&self, i: usize) -> bool {
        self.hidden.get(i).map_or(self.output_bias, |layer| layer.bias)
    }

    /// Features that the norm of hidden layer `i` normalises, if it has one.
    pub fn norm_width(&self, i: usize) -> Option<usize> {
        let layer = self.hidden.get(i).filter(|layer| layer.norm != Norm::None)?;
        let [inputs, outputs] = self.sizes(i);
        Some(if layer.norm_position == NormPosition::Input { inputs } else { outputs })
    }

    /// The adapters, if linear layer `i` has one.
    pub fn adapter(&self, i: usize) -> Option<&Lora> {
        self.lora.as_ref().filter(|lora| lora.layers.binary_search(&i).is_ok())
    }

    /// Widths from input to output, such as `784-128-10`, and the activations between them.
    pub fn in_words(&self) -> String {
        let mut text = match self.inputs() {
            0 => "text".to_owned(),
            inputs => inputs.to_string(),
        };
        if !self.front.is_empty() {
            text += &format!("→{}", self.front_width());
        }
        for layer in &self.hidden {
            text += &format!("-{}", layer.width);
        }
        text += &format!("-{}", self.outputs);
        let mut activations: Vec<String> =
            self.hidden.iter().map(HiddenLayer::activation_in_words).collect();
        activations.dedup();
        match &activations[..] {
            [] => {}
            [only] => text += &format!(" {only}"),
            several => text += &format!(" ({})", several.join(", ")),
        }
        let layers = self.hidden.len();
        for norm in Norm::ALL.iter().copied().filter(|&norm| norm != Norm::None) {
            match self.hidden.iter().filter(|layer| layer.norm == norm).count() {
                0 => {}
                count if count == layers => text += &format!(", {norm} norm"),
                count => text += &format!(", {norm} norm in {count} of {layers} layers"),
            }
        }
        match self.hidden.iter().filter(|layer| layer.skip.is_some()).count() {
            0 => {}
            1 => text += ", 1 skip connection",
            count => text += &format!(", {count} skip connections"),
        }
        if self.scaling {
            text += ", scaling";
        }
        if self.parametrization == Parametrization::Ntk {
            text += ", NTK";
        }
        match self.members() {
            1 => text,
            members => format!("{text}, {members} members"),
        }
    }

    /// For each hidden layer, whether a skip connection begins where it reads.
    pub fn skip_starts(&self) -> Vec<bool> {
        let mut starts = vec![false; self.hidden.len()];
        for (i, layer) in self.hidden.iter().enumerate() {
            let start = layer.skip.and_then(|skip| (i + 1).checked_sub(skip.span));
            if let Some(start) = start.and_then(|start| starts.get_mut(start)) {
                *start = true;
            }
        }
        starts
    }

    /// Path and PyTorch's shape of each tensor of the network, in the order of its file.
    pub fn tensors(&self) -> Vec<(ParameterPath, Vec<usize>)> {
        let count = self.layers();
        let mut all = Vec::new();
        (0..count).for_each(|i| self.add_linear(i, &mut all));
        (0..count).for_each(|i| self.add_norm(i, &mut all));
        (0..count).for_each(|i| self.add_adapter(i, &mut all));
        (0..count).for_each(|i| self.add_activation(i, &mut all));
        self.add_front(&mut all);
        all
    }

    /// As [`tensors`](Self::tensors), of the parameters that can be trained, from input to output.
    pub fn trainable(&self) -> Vec<(ParameterPath, Vec<usize>)> {
        let mut all = Vec::new();
        self.add_front(&mut all);
        for i in 0..self.layers() {
            self.add_linear(i, &mut all);
            self.add_adapter(i, &mut all);
            self.add_norm(i, &mut all);
            self.add_activation(i, &mut all);
        }
        all.retain(|(path, _)| path.is_trainable());
        all
    }

    /// What precedes the first layer.
    fn add_front(&self, all: &mut Vec<(ParameterPath, Vec<usize>)>) {
        all.extend(self.front.iter().enumerate().flat_map(|(i, part)| part.parameters(i)));
        let [inputs, _] = self.sizes(0);
        if self.scaling {
            all.push((ParameterPath::Scaling, vec![inputs]));
        }
        if let Some(Ensemble { members, .. }) = self.ensemble {
            all.push((ParameterPath::Members, vec![members, inputs]));
        }
    }

    fn add_activation(&self, i: usize, all: &mut Vec<(ParameterPath, Vec<usize>)>) {
        if let Some(layer) = self.hidden.get(i).filter(|layer| layer.parametric) {
            all.push((ParameterPath::Activation(i), vec![layer.width]));
        }
    }

    fn add_linear(&self, i: usize, all: &mut Vec<(ParameterPath, Vec<usize>)>) {
        let [inputs, outputs] = self.sizes(i);
        all.push((ParameterPath::Weight(i), vec![outputs, inputs]));
        if self.has_bias(i) {
            all.push((ParameterPath::Bias(i), vec![outputs]));
        }
    }

    fn add_norm(&self, i: usize, all: &mut Vec<(ParameterPath, Vec<usize>)>) {
        let Some(width) = self.norm_width(i) else { return };
        let parts: &[NormPart] = match self.hidden[i].norm {
            Norm::None => &[],
            Norm::Rms => &[NormPart::Weight],
            Norm::Layer => &[NormPart::Weight, NormPart::Bias],
            Norm::Batch => {
                &[NormPart::Weight, NormPart::Bias, NormPart::RunningMean, NormPart::RunningVar]
            }
        };
        all.extend(parts.iter().map(|&part| (ParameterPath::Norm(i, part), vec![width])));
    }

    fn add_adapter(&self, i: usize, all: &mut Vec<(ParameterPath, Vec<usize>)>) {
        let Some(lora) = self.adapter(i) else { return };
        let [inputs, outputs] = self.sizes(i);
        all.push((ParameterPath::Adapter(i, AdapterSide::A), vec![lora.rank, inputs]));
        all.push((ParameterPath::Adapter(i, AdapterSide::B), vec![outputs, lora.rank]));
    }

    /// Number of parameters: weights, biases, the scales and shifts of norms, and adapters.
    pub fn parameters(&self) -> usize {
        self.trainable().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Returns true if any hidden layer has this norm.
    pub fn has_norm(&self, norm: Norm) -> bool {
        self.hidden.iter().any(|layer| layer.norm == norm)
    }

    /// Asks for the memory of all parameters in one piece: a network that does not fit is an error
    /// here, and would end the process later.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoMemory`].
    pub fn check_memory(&self) -> Result<(), ConfigError> {
        let bytes = self.parameters() * size_of::<f32>();
        Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| ConfigError::NoMemory { bytes })
    }

    /// Returns true if it has anything that version 2 of the model file has no field for.
    pub(crate) fn needs_version_3(&self) -> bool {
        !self.front.is_empty()
            || self.scaling
            || self.ensemble.is_some()
            || self.parametrization != Parametrization::Standard
            || self.bias_initializer != BiasInitializer::Zeros
            || self.zero_output
            || self.hidden.iter().any(|layer| layer.parametric)
    }

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the first field at fault and why.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.input_shape.is_empty() {
            return Err(ConfigError::NoInputShape);
        }
        // A network that takes texts alone has no columns.
        let is_text =
            self.input_shape == [0] && self.front.iter().any(|part| part.terms().is_some());
        if !is_text {
            sizes("input_shape", &self.input_shape)?;
        }
        sizes("outputs", &[self.outputs])?;
        if let Some(Ensemble { members, .. }) = self.ensemble {
            sizes("ensemble.members", &[members])?;
        }
        self.front.iter().enumerate().try_for_each(|(i, part)| part.validate(i))?;
        let widths: Vec<usize> = self.hidden.iter().map(|layer| layer.width).collect();
        sizes("hidden", &widths)?;
        rate("input_dropout", self.input_dropout)?;
        for layer in &self.hidden {
            rate("dropout", layer.dropout)?;
            positive("norm_epsilon", layer.norm_epsilon)?;
            finite("leaky_slope", layer.leaky_slope)?;
        }
        self.check_adapters()?;
        self.check_total()?;
        self.check_front()?;
        (0..self.hidden.len()).try_for_each(|i| self.check_skip(i))
    }

    /// A skip connection begins within the network, and adds as many numbers as there are.
    fn check_skip(&self, layer: usize) -> Result<(), ConfigError> {
        let HiddenLayer { width, skip: Some(skip), .. } = self.hidden[layer] else { return Ok(()) };
        let first = (layer + 1).checked_sub(skip.span).filter(|_| skip.span > 0);
        let first = first.ok_or(ConfigError::SkipSpan { layer, span: skip.span })?;
        let [found, _] = self.sizes(first);
        if found == width {
            return Ok(());
        }
        Err(ConfigError::SkipWidth { layer, span: skip.span, found, expected: width })
    }

    /// The parts of a front stage share the columns of a row among themselves.
    fn check_front(&self) -> Result<(), ConfigError> {
        if self.front.is_empty() {
            return Ok(());
        }
        let columns = self.front.iter().map(FrontPart::columns);
        let (found, expected) = (columns.fold(0, usize::saturating_add), self.inputs());
        if found == expected { Ok(()) } else { Err(ConfigError::FrontColumns { found, expected }) }
    }

    fn check_adapters(&self) -> Result<(), ConfigError> {
        let Some(lora) = &self.lora else { return Ok(()) };
        positive("lora.alpha", lora.alpha)?;
        rate("lora.dropout", lora.dropout)?;
        sizes("lora.rank", &[lora.rank])?;
        let layers = self.layers();
        let rises = lora.layers.is_sorted_by(|a, b| a < b);
        let exist = lora.layers.last().is_some_and(|&last| last < layers);
        if rises && exist {
            Ok(())
        } else {
            Err(ConfigError::AdapterLayers { found: lora.layers.clone(), layers })
        }
    }

    /// Refuses a network whose size does not fit the address space, before anything is allocated.
    fn check_total(&self) -> Result<(), ConfigError> {
        let bytes = self.most_numbers().and_then(|count| count.checked_mul(size_of::<f32>()));
        match bytes {
            Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
            _ => Err(ConfigError::TooLarge),
        }
    }

    /// At least as many numbers as the network has, if they can be counted.
    fn most_numbers(&self) -> Option<usize> {
        let inputs = self.input_shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b))?;
        let mut total = 0usize;
        for part in &self.front {
            total = total.checked_add(part.count()?)?.checked_add(part.width())?;
        }
        // That of the front stage is then no larger than what was counted.
        let first = if self.front.is_empty() { inputs } else { self.front_width() };
        total = total.checked_add(first.checked_mul(self.members().checked_add(1)?)?)?;
        let mut widths = vec![first];
        widths.extend(self.hidden.iter().map(|layer| layer.width));
        widths.push(self.outputs.checked_mul(self.members())?);
        let rank = self.lora.as_ref().map_or(0, |lora| lora.rank);
        widths.windows(2).try_fold(total, |total, pair| {
            // As if every layer had a norm of its inputs and its outputs, a parametric activation, and
            // an adapter.
            let weights = pair[0].checked_add(6)?.checked_mul(pair[1])?;
            let norms = pair[0].checked_mul(4)?;
            let adapter = pair[0].checked_add(pair[1])?.checked_mul(rank)?;
            total.checked_add(weights)?.checked_add(norms)?.checked_add(adapter)
        })
    }
}
