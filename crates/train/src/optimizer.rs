//! Optimizers: their settings, their state, and one step of each.
//!
//! Every rule follows PyTorch's formula to the letter (`tests/suite/optimizers.rs` holds them to it); the
//! papers are cited where PyTorch has no such optimizer. The steps of Adam and SGD are single
//! operations of `fireclay-kernels`, the others are written here in plain tensor operations.
//! Weight decay is applied to weight matrices only, never to biases and norms.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use fireclay::{Architecture, Mlp, ParameterPath};
use fireclay_kernels::{self as kernels, AdamStep, Rule, SgdStep};
use serde::{Deserialize, Serialize};

use crate::gradients::{Gradients, Path};

/// Which optimizer to use and how; every number is written out, none is left to a library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum OptimizerConfig {
    /// Stochastic gradient descent, with momentum if wanted.
    Sgd(Sgd),
    /// Adam (Kingma and Ba 2015); weight decay is L2, added to the gradient.
    Adam(Adam),
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW(AdamW),
    /// RMSprop (Hinton 2012, lecture 6e).
    RmsProp(RmsProp),
    /// AdaGrad (Duchi et al. 2011).
    AdaGrad(AdaGrad),
    /// Lion (Chen et al. 2023).
    Lion(Lion),
    /// Muon (Jordan 2024) for the weight matrices of hidden layers, AdamW for everything else.
    Muon(Muon),
}

/// Declares the settings of one optimizer: public fields with defaults, unknown fields refused.
macro_rules! settings {
    ($(#[$meta:meta])* $Name:ident { $( $(#[$field_meta:meta])* $field:ident: $ty:ty = $default:expr, )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $Name { $( $(#[$field_meta])* pub $field: $ty, )+ }

        impl Default for $Name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }
    };
}

settings! {
    /// Defaults are PyTorch's, but for the rate, which is Keras'.
    Sgd {
        /// Step size; positive.
        learning_rate: f64 = 0.01,
        /// Share of the last step kept, in `[0, 1)`.
        momentum: f64 = 0.0,
        /// Share of the gradient left out of the momentum, in `[0, 1)`.
        dampening: f64 = 0.0,
        /// Looks ahead along the momentum (Nesterov 1983); needs momentum and no dampening.
        nesterov: bool = false,
        /// L2 penalty added to the gradient of weight matrices; not negative.
        weight_decay: f64 = 0.0,
    }
}

settings! {
    /// Defaults are Keras'; PyTorch's differ in `epsilon`, 1e-8.
    Adam {
        /// Step size; positive.
        learning_rate: f64 = 1e-3,
        /// Decay of the mean of gradients, in `[0, 1)`.
        beta1: f64 = 0.9,
        /// Decay of the mean of squared gradients, in `[0, 1)`.
        beta2: f64 = 0.999,
        /// Added to the root of the mean square; positive.
        epsilon: f64 = 1e-7,
        /// L2 penalty added to the gradient of weight matrices; not negative.
        weight_decay: f64 = 0.0,
    }
}

settings! {
    /// Defaults are PyTorch's.
    AdamW {
        /// Step size; positive.
        learning_rate: f64 = 1e-3,
        /// Decay of the mean of gradients, in `[0, 1)`.
        beta1: f64 = 0.9,
        /// Decay of the mean of squared gradients, in `[0, 1)`.
        beta2: f64 = 0.999,
        /// Added to the root of the mean square; positive.
        epsilon: f64 = 1e-8,
        /// Share of each weight, times the rate, taken off at each step; not negative.
        weight_decay: f64 = 1e-2,
    }
}

settings! {
    /// Defaults are PyTorch's.
    RmsProp {
        /// Step size; positive.
        learning_rate: f64 = 0.01,
        /// Decay of the mean of squared gradients, in `[0, 1)`.
        alpha: f64 = 0.99,
        /// Added to the root of the mean square; positive.
        epsilon: f64 = 1e-8,
        /// Share of the last step kept, in `[0, 1)`.
        momentum: f64 = 0.0,
        /// Divides by the deviation of gradients instead of their root mean square.
        centered: bool = false,
        /// L2 penalty added to the gradient of weight matrices; not negative.
        weight_decay: f64 = 0.0,
    }
}

settings! {
    /// Defaults are PyTorch's.
    AdaGrad {
        /// Step size; positive.
        learning_rate: f64 = 0.01,
        /// Added to the root of the sum of squares; positive.
        epsilon: f64 = 1e-10,
        /// Where the sum of squares starts; not negative.
        initial_accumulator: f64 = 0.0,
        /// L2 penalty added to the gradient of weight matrices; not negative.
        weight_decay: f64 = 0.0,
    }
}

settings! {
    /// Defaults are the paper's.
    Lion {
        /// Step size; positive. Three to ten times smaller than Adam's.
        learning_rate: f64 = 1e-4,
        /// Weight of the momentum in the direction of a step, in `[0, 1)`.
        beta1: f64 = 0.9,
        /// Decay of the momentum, in `[0, 1)`.
        beta2: f64 = 0.99,
        /// Share of each weight, times the rate, taken off at each step; not negative.
        weight_decay: f64 = 0.0,
    }
}

settings! {
    /// Defaults are PyTorch's, for Muon and for AdamW.
    Muon {
        /// Step size of hidden weight matrices; positive.
        learning_rate: f64 = 1e-3,
        /// Decay of the mean of gradients, in `[0, 1)`.
        momentum: f64 = 0.95,
        /// Looks ahead along the momentum.
        nesterov: bool = true,
        /// Newton-Schulz iterations that orthogonalise a step; at least 1.
        steps: usize = 5,
        /// Share of each weight, times the rate, taken off at each step; not negative.
        weight_decay: f64 = 0.1,
        /// Step size of AdamW for the output layer, biases and norms; positive.
        adam_learning_rate: f64 = 1e-3,
        /// AdamW's decay of the mean of gradients, in `[0, 1)`.
        beta1: f64 = 0.9,
        /// AdamW's decay of the mean of squared gradients, in `[0, 1)`.
        beta2: f64 = 0.999,
        /// AdamW's, added to the root of the mean square; positive.
        epsilon: f64 = 1e-8,
    }
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam(Adam::default())
    }
}

/// A setting of an optimizer that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("optimizer: {setting} is {found:?}; it must be {expected}")]
pub struct OptimizerError {
    /// The setting at fault.
    pub setting: &'static str,
    /// Its value.
    pub found: f64,
    /// The values allowed.
    pub expected: &'static str,
}

impl OptimizerConfig {
    /// Names of all optimizers.
    pub const NAMES: [&str; 7] = ["sgd", "adam", "adamw", "rmsprop", "adagrad", "lion", "muon"];

    /// The name in files, flags and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sgd(_) => "sgd",
            Self::Adam(_) => "adam",
            Self::AdamW(_) => "adamw",
            Self::RmsProp(_) => "rmsprop",
            Self::AdaGrad(_) => "adagrad",
            Self::Lion(_) => "lion",
            Self::Muon(_) => "muon",
        }
    }

    /// The base learning rate, which the schedule multiplies.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Sgd(o) => o.learning_rate,
            Self::Adam(o) => o.learning_rate,
            Self::AdamW(o) => o.learning_rate,
            Self::RmsProp(o) => o.learning_rate,
            Self::AdaGrad(o) => o.learning_rate,
            Self::Lion(o) => o.learning_rate,
            Self::Muon(o) => o.learning_rate,
        }
    }

    /// The base learning rate of one parameter of a network, by its path: Muon steps hidden weight
    /// matrices at its own, and everything else at AdamW's.
    pub fn learning_rate_of(&self, path: ParameterPath, network: &Architecture) -> f64 {
        let is_hidden_matrix = match path {
            ParameterPath::Weight(layer) => layer < network.hidden.len(),
            ParameterPath::Adapter(..) => true,
            ParameterPath::Bias(_) | ParameterPath::Norm(..) => false,
        };
        match self {
            Self::Muon(o) if !is_hidden_matrix => o.adam_learning_rate,
            _ => self.learning_rate(),
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), OptimizerError> {
        positive("learning_rate", self.learning_rate())?;
        match self {
            Self::Sgd(o) => {
                share("momentum", o.momentum)?;
                share("dampening", o.dampening)?;
                if o.nesterov && o.momentum == 0.0 {
                    let expected = "above 0 for nesterov";
                    return Err(OptimizerError { setting: "momentum", found: 0.0, expected });
                }
                if o.nesterov && o.dampening != 0.0 {
                    let expected = "0 for nesterov";
                    return Err(OptimizerError {
                        setting: "dampening",
                        found: o.dampening,
                        expected,
                    });
                }
                not_negative("weight_decay", o.weight_decay)
            }
            Self::Adam(Adam { beta1, beta2, epsilon, weight_decay, .. })
            | Self::AdamW(AdamW { beta1, beta2, epsilon, weight_decay, .. }) => {
                adam_settings(*beta1, *beta2, *epsilon)?;
                not_negative("weight_decay", *weight_decay)
            }
            Self::RmsProp(o) => {
                share("alpha", o.alpha)?;
                positive("epsilon", o.epsilon)?;
                share("momentum", o.momentum)?;
                not_negative("weight_decay", o.weight_decay)
            }
            Self::AdaGrad(o) => {
                positive("epsilon", o.epsilon)?;
                not_negative("initial_accumulator", o.initial_accumulator)?;
                not_negative("weight_decay", o.weight_decay)
            }
            Self::Lion(o) => {
                share("beta1", o.beta1)?;
                share("beta2", o.beta2)?;
                not_negative("weight_decay", o.weight_decay)
            }
            Self::Muon(o) => {
                positive("adam_learning_rate", o.adam_learning_rate)?;
                share("momentum", o.momentum)?;
                positive("steps", o.steps as f64)?;
                adam_settings(o.beta1, o.beta2, o.epsilon)?;
                not_negative("weight_decay", o.weight_decay)
            }
        }
    }
}

fn adam_settings(beta1: f64, beta2: f64, epsilon: f64) -> Result<(), OptimizerError> {
    share("beta1", beta1)?;
    share("beta2", beta2)?;
    positive("epsilon", epsilon)
}

fn positive(setting: &'static str, found: f64) -> Result<(), OptimizerError> {
    require(found.is_finite() && found > 0.0, setting, found, "above 0")
}

fn not_negative(setting: &'static str, found: f64) -> Result<(), OptimizerError> {
    require(found.is_finite() && found >= 0.0, setting, found, "0 or above")
}

fn share(setting: &'static str, found: f64) -> Result<(), OptimizerError> {
    require((0.0..1.0).contains(&found), setting, found, "at least 0 and below 1")
}

fn require(
    holds: bool,
    setting: &'static str,
    found: f64,
    expected: &'static str,
) -> Result<(), OptimizerError> {
    if holds { Ok(()) } else { Err(OptimizerError { setting, found, expected }) }
}

/// An optimizer at work: its settings and, for each parameter, what it remembers.
#[derive(Clone, Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    /// Path of the output layer's weights, which Muon leaves to AdamW.
    head: String,
    steps: u64,
    memory: BTreeMap<String, Vec<Tensor<1>>>,
    /// What the learning rate of each path is multiplied by; 1 for those that are not here.
    rates: BTreeMap<String, f64>,
}

impl Optimizer {
    /// An optimizer for `mlp` that has not stepped yet.
    pub fn new(config: OptimizerConfig, mlp: &Mlp) -> Self {
        let head = ParameterPath::Weight(mlp.layers.len() - 1).to_string();
        Self { config, head, steps: 0, memory: BTreeMap::new(), rates: BTreeMap::new() }
    }

    /// Forgets everything: the next step is the first again.
    pub(crate) fn restart(&mut self) {
        self.steps = 0;
        self.memory.clear();
    }

    /// Sets what the learning rate of each path is multiplied by.
    pub(crate) fn set_rates(&mut self, rates: BTreeMap<String, f64>) {
        self.rates = rates;
    }

    /// What the learning rate of a path is multiplied by.
    pub(crate) fn rate_of(&self, path: &str) -> f64 {
        self.rates.get(path).copied().unwrap_or(1.0)
    }

    /// An optimizer that has taken `steps` steps and remembers these tensors of each path.
    pub(crate) fn resumed(
        config: OptimizerConfig,
        mlp: &Mlp,
        steps: u64,
        memory: BTreeMap<String, Vec<Tensor<1>>>,
    ) -> Self {
        Self { steps, memory, ..Self::new(config, mlp) }
    }

    /// Steps taken.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// What is remembered of each parameter, by its path.
    pub(crate) fn memory(&self) -> &BTreeMap<String, Vec<Tensor<1>>> {
        &self.memory
    }

    /// Moves every parameter that has a gradient, with the learning rate times `factor`.
    ///
    /// A parameter without a gradient is left as it is: no step, no decay, no memory.
    pub fn step(&mut self, mlp: Mlp, gradients: Gradients, factor: f64) -> Mlp {
        self.steps += 1;
        mlp.map(&mut Stepper { optimizer: self, gradients, factor, path: Path::default() })
    }

    /// Counts a step that is taken elsewhere, by [`rule`](Self::rule) and with [`memory_mut`](Self::memory_mut).
    pub(crate) fn count_step(&mut self) {
        self.steps += 1;
    }

    /// To take out and put back what is remembered of each parameter, by its path.
    pub(crate) fn memory_mut(&mut self) -> &mut BTreeMap<String, Vec<Tensor<1>>> {
        &mut self.memory
    }

    /// The step as an operation of `fireclay-kernels`, if it is one, of a parameter with weight decay
    /// (a weight matrix) or without; `is_first` says that nothing is remembered of it yet.
    pub(crate) fn rule(&self, decays: bool, is_first: bool, factor: f64) -> Option<Rule> {
        let rate = self.config.learning_rate() * factor;
        let decay = |decay| if decays { decay } else { 0.0 };
        Some(match &self.config {
            OptimizerConfig::Sgd(o) => Rule::Sgd(SgdStep {
                rate,
                momentum: o.momentum,
                // PyTorch's first step takes the gradient undampened.
                dampening: if is_first { 0.0 } else { o.dampening },
                nesterov: o.nesterov,
                penalty: decay(o.weight_decay),
            }),
            OptimizerConfig::Adam(o) => Rule::Adam(AdamStep {
                penalty: decay(o.weight_decay),
                ..self.adam_step(rate, [o.beta1, o.beta2, o.epsilon])
            }),
            OptimizerConfig::AdamW(o) => Rule::Adam(AdamStep {
                shrinkage: rate * decay(o.weight_decay),
                ..self.adam_step(rate, [o.beta1, o.beta2, o.epsilon])
            }),
            _ => return None,
        })
    }

    fn adam_step(&self, rate: f64, [beta1, beta2, epsilon]: [f64; 3]) -> AdamStep {
        let (penalty, shrinkage, step) = (0.0, 0.0, self.steps);
        AdamStep { rate, beta1, beta2, epsilon, penalty, shrinkage, step }
    }

    /// One parameter's step; `memory` is empty the first time.
    fn update(
        &self,
        path: &str,
        at: Parameter,
        memory: &mut Vec<Tensor<1>>,
        factor: f64,
    ) -> Tensor<1> {
        match self.rule(at.is_matrix(), memory.is_empty(), factor) {
            Some(Rule::Adam(step)) => return adam(at, memory, &step),
            Some(Rule::Sgd(step)) => return sgd(at, memory, &step),
            None => {}
        }
        let rate = self.config.learning_rate() * factor;
        match &self.config {
            OptimizerConfig::RmsProp(o) => rms_prop(o, at, memory, rate),
            OptimizerConfig::AdaGrad(o) => ada_grad(o, at, memory, rate),
            OptimizerConfig::Lion(o) => lion(o, at, memory, rate),
            OptimizerConfig::Muon(o) if at.is_matrix() && path != self.head => {
                muon(o, at, memory, rate)
            }
            OptimizerConfig::Muon(o) => {
                let rate = o.adam_learning_rate * factor;
                let shrinkage = rate * at.decay(o.weight_decay);
                let step = self.adam_step(rate, [o.beta1, o.beta2, o.epsilon]);
                adam(at, memory, &AdamStep { shrinkage, ..step })
            }
            OptimizerConfig::Sgd(_) | OptimizerConfig::Adam(_) | OptimizerConfig::AdamW(_) => {
                unreachable!("a rule of the kernels")
            }
        }
    }
}

/// Walks over the parameters and steps each.
struct Stepper<'a> {
    optimizer: &'a mut Optimizer,
    gradients: Gradients,
    factor: f64,
    path: Path,
}

impl ModuleMapper for Stepper<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.to_string();
        let Some(gradient) = self.gradients.take(&path) else { return param };
        let mut memory = self.optimizer.memory.remove(&path).unwrap_or_default();
        let param = param.map(|tensor| {
            let dims = tensor.dims();
            let value = tensor.without_autodiff().reshape([-1]);
            let at = Parameter { value, gradient, dims: dims.to_vec() };
            let factor = self.factor * self.optimizer.rate_of(&path);
            let moved = self.optimizer.update(&path, at, &mut memory, factor);
            // What has a gradient is trained, and stays so.
            moved.reshape(dims).autodiff().require_grad()
        });
        self.optimizer.memory.insert(path, memory);
        param
    }
}

/// A parameter on its way through an update rule, flattened.
struct Parameter {
    value: Tensor<1>,
    gradient: Tensor<1>,
    dims: Vec<usize>,
}

impl Parameter {
    fn is_matrix(&self) -> bool {
        self.dims.len() == 2
    }

    /// The weight decay of this parameter: none but for a weight matrix.
    fn decay(&self, decay: f64) -> f64 {
        if self.is_matrix() { decay } else { 0.0 }
    }

    /// Adds the gradient of `decay / 2 · |w|²` for a weight matrix.
    fn penalised(mut self, decay: f64) -> Self {
        let decay = self.decay(decay);
        if decay != 0.0 {
            self.gradient = self.gradient + self.value.clone().mul_scalar(decay);
        }
        self
    }

    /// Takes `rate · decay` off a weight matrix, whatever its gradient.
    fn decayed(mut self, decay: f64, rate: f64) -> Self {
        let decay = self.decay(decay);
        if decay != 0.0 {
            self.value = self.value.mul_scalar(1.0 - rate * decay);
        }
        self
    }

    /// The `index`-th remembered tensor, taken out of `memory`; `initial` the first time.
    fn recall(&self, memory: &mut Vec<Tensor<1>>, index: usize, initial: f64) -> Tensor<1> {
        if memory.len() <= index {
            memory.push(self.gradient.full_like(initial));
        }
        // A placeholder keeps the place; the caller's tensor is then the only one of its storage,
        // so that the update can reuse it.
        let placeholder = Tensor::empty([0], &self.gradient.device());
        std::mem::replace(&mut memory[index], placeholder)
    }
}

/// `kept · old + (1 - kept) · new`.
fn blend(old: Tensor<1>, new: Tensor<1>, kept: f64) -> Tensor<1> {
    old.mul_scalar(kept) + new.mul_scalar(1.0 - kept)
}

fn sgd(at: Parameter, memory: &mut Vec<Tensor<1>>, step: &SgdStep) -> Tensor<1> {
    if step.momentum == 0.0 {
        let at = at.penalised(step.penalty);
        return at.value - at.gradient.mul_scalar(step.rate);
    }
    let velocity = memory.pop().unwrap_or_else(|| at.gradient.zeros_like());
    let [value, velocity] = kernels::sgd(at.value, at.gradient, velocity, step);
    memory.push(velocity);
    value
}

fn adam(at: Parameter, memory: &mut Vec<Tensor<1>>, step: &AdamStep) -> Tensor<1> {
    let mut remembered = std::mem::take(memory).into_iter();
    let mut recall = || remembered.next().unwrap_or_else(|| at.gradient.zeros_like());
    let (mean, square) = (recall(), recall());
    let [value, mean, square] = kernels::adam(at.value, at.gradient, mean, square, step);
    *memory = vec![mean, square];
    value
}

fn rms_prop(o: &RmsProp, at: Parameter, memory: &mut Vec<Tensor<1>>, rate: f64) -> Tensor<1> {
    let at = at.penalised(o.weight_decay);
    let square = blend(at.recall(memory, 0, 0.0), at.gradient.clone().square(), o.alpha);
    memory[0] = square.clone();
    let variance = if o.centered {
        let mean = blend(at.recall(memory, 1, 0.0), at.gradient.clone(), o.alpha);
        memory[1] = mean.clone();
        // Rounding can leave less than nothing where gradients hardly vary.
        (square - mean.square()).clamp_min(0.0)
    } else {
        square
    };
    let direction = at.gradient.clone() / variance.sqrt().add_scalar(o.epsilon);
    if o.momentum == 0.0 {
        return at.value - direction.mul_scalar(rate);
    }
    let index = 1 + usize::from(o.centered);
    let velocity = at.recall(memory, index, 0.0).mul_scalar(o.momentum) + direction;
    memory[index] = velocity.clone();
    at.value - velocity.mul_scalar(rate)
}

fn ada_grad(o: &AdaGrad, at: Parameter, memory: &mut Vec<Tensor<1>>, rate: f64) -> Tensor<1> {
    let at = at.penalised(o.weight_decay);
    let sum = at.recall(memory, 0, o.initial_accumulator) + at.gradient.clone().square();
    memory[0] = sum.clone();
    at.value - (at.gradient / sum.sqrt().add_scalar(o.epsilon)).mul_scalar(rate)
}

/// Algorithm 2 of Chen et al. 2023.
fn lion(o: &Lion, at: Parameter, memory: &mut Vec<Tensor<1>>, rate: f64) -> Tensor<1> {
    let at = at.decayed(o.weight_decay, rate);
    let momentum = at.recall(memory, 0, 0.0);
    let direction = blend(momentum.clone(), at.gradient.clone(), o.beta1).sign();
    memory[0] = blend(momentum, at.gradient, o.beta2);
    at.value - direction.mul_scalar(rate)
}

fn muon(o: &Muon, at: Parameter, memory: &mut Vec<Tensor<1>>, rate: f64) -> Tensor<1> {
    let at = at.decayed(o.weight_decay, rate);
    let momentum = blend(at.recall(memory, 0, 0.0), at.gradient.clone(), o.momentum);
    memory[0] = momentum.clone();
    let direction = if o.nesterov { blend(momentum, at.gradient, o.momentum) } else { momentum };
    let (inputs, outputs) = (at.dims[0], at.dims[1]);
    // A step has the same size whatever the shape (Jordan 2024).
    let rate = rate * (outputs as f64 / inputs as f64).max(1.0).sqrt();
    let orthogonal = orthogonalise(direction.reshape([inputs, outputs]), o.steps);
    at.value - orthogonal.reshape([-1]).mul_scalar(rate)
}

/// Brings all singular values of a matrix near 1, by the quintic Newton-Schulz iteration whose
/// coefficients Jordan (2024) chose for its slope at zero.
fn orthogonalise(matrix: Tensor<2>, steps: usize) -> Tensor<2> {
    const A: f64 = 3.4445;
    const B: f64 = -4.7750;
    const C: f64 = 2.0315;
    let [rows, columns] = matrix.dims();
    let wide = if rows > columns { matrix.transpose() } else { matrix };
    let norm = wide.clone().square().sum().sqrt().clamp_min(1e-7);
    let mut x = wide / norm.unsqueeze::<2>();
    for _ in 0..steps {
        let gram = x.clone().matmul(x.clone().transpose());
        let polynomial = gram.clone().mul_scalar(B) + gram.clone().matmul(gram).mul_scalar(C);
        x = x.clone().mul_scalar(A) + polynomial.matmul(x);
    }
    if rows > columns { x.transpose() } else { x }
}
