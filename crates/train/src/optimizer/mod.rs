//! Optimizers: their settings, their state, and one step of each.
//!
//! Every rule follows PyTorch's formula to the letter (`tests/suite/optimizers.rs` holds them to it); the
//! papers are cited where PyTorch has no such optimizer. The steps of Adam and SGD are single
//! operations of `fireclay-kernels`, the others are written here in plain tensor operations.
//! Weight decay is applied to weight matrices only, never to biases and norms.

mod ada_grad;
mod adam;
mod lion;
mod muon;
mod parameter;
mod range;
mod rms_prop;
mod sgd;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{IndexingUpdateOp, Tensor};
use fireclay::{Architecture, Mlp, ParameterPath};
use fireclay_kernels::Rule;
use serde::{Deserialize, Serialize};

use crate::gradients::{Gradient, Gradients, Path, ids};
use parameter::Parameter;
use range::positive;

pub use ada_grad::AdaGrad;
pub use adam::{Adam, AdamW};
pub use lion::Lion;
pub use muon::Muon;
pub use range::OptimizerError;
pub use rms_prop::RmsProp;
pub use sgd::Sgd;

/// Declares the optimizers, each by its settings and its name in files, flags and messages.
macro_rules! optimizers {
    ($( $(#[$meta:meta])* $Rule:ident = $name:literal, )+) => {
        /// Which optimizer to use and how; every number is written out, none is left to a library.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name")]
        pub enum OptimizerConfig {
            $( $(#[$meta])* #[serde(rename = $name)] $Rule($Rule), )+
        }

        impl OptimizerConfig {
            /// Names of all optimizers.
            pub const NAMES: [&str; [$($name),+].len()] = [$($name),+];

            /// The name in files, flags and messages.
            pub fn name(&self) -> &'static str {
                match self {
                    $( Self::$Rule(_) => $name, )+
                }
            }

            fn rule(&self) -> &dyn UpdateRule {
                match self {
                    $( Self::$Rule(rule) => rule, )+
                }
            }
        }
    };
}

optimizers! {
    /// Stochastic gradient descent, with momentum if wanted.
    Sgd = "sgd",
    /// Adam (Kingma and Ba 2015); weight decay is L2, added to the gradient.
    Adam = "adam",
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW = "adamw",
    /// RMSprop (Hinton 2012, lecture 6e).
    RmsProp = "rmsprop",
    /// AdaGrad (Duchi et al. 2011).
    AdaGrad = "adagrad",
    /// Lion (Chen et al. 2023).
    Lion = "lion",
    /// Muon (Jordan 2024) for the weight matrices of hidden layers, AdamW for everything else.
    Muon = "muon",
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
use settings;

/// What a step knows beside its parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// What the learning rate is multiplied by.
    pub(crate) factor: f64,
    /// Steps taken, this one included.
    pub(crate) step: u64,
    /// What weight decay is multiplied by.
    pub(crate) decay: f64,
}

/// The update rule of an optimizer.
trait UpdateRule {
    /// The base learning rate.
    fn learning_rate(&self) -> f64;

    /// The base learning rate of what is no weight matrix of a hidden layer.
    fn other_learning_rate(&self) -> f64 {
        self.learning_rate()
    }

    /// Checks every setting but the learning rate.
    fn validate(&self) -> Result<(), OptimizerError>;

    /// The value of a parameter after its step; `memory` is empty the first time.
    fn step(&self, at: Parameter, memory: &mut Vec<Tensor<1>>, now: Now) -> Tensor<1>;

    /// The number that memory starts with.
    fn initial_memory(&self) -> f64 {
        0.0
    }

    /// The rule as an operation of `fireclay-kernels`, if it is one.
    fn kernel(&self) -> Option<Box<dyn KernelRule>> {
        None
    }
}

/// An update rule that is an operation of `fireclay-kernels`.
pub(crate) trait KernelRule {
    /// The operation, of a parameter with weight decay (a weight matrix) or without; `is_first` says
    /// that nothing is remembered of it yet.
    fn rule(&self, decays: bool, is_first: bool, now: Now) -> Rule;
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam(Adam::default())
    }
}

impl OptimizerConfig {
    /// The base learning rate, which the schedule multiplies.
    pub fn learning_rate(&self) -> f64 {
        self.rule().learning_rate()
    }

    /// The base learning rate of one parameter of a network, by its path: Muon steps hidden weight
    /// matrices at its own, and everything else at AdamW's.
    pub fn learning_rate_of(&self, path: ParameterPath, network: &Architecture) -> f64 {
        let is_hidden_matrix = match path {
            ParameterPath::Weight(layer) => layer < network.hidden.len(),
            ParameterPath::Adapter(..) => true,
            _ => false,
        };
        let rule = self.rule();
        if is_hidden_matrix { rule.learning_rate() } else { rule.other_learning_rate() }
    }

    /// The update rule as an operation of `fireclay-kernels`, if it is one.
    pub(crate) fn kernel(&self) -> Option<Box<dyn KernelRule>> {
        self.rule().kernel()
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), OptimizerError> {
        positive("learning_rate", self.learning_rate())?;
        self.rule().validate()
    }
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
    /// What weight decay is multiplied by.
    decay: f64,
}

impl Optimizer {
    /// An optimizer for `mlp` that has not stepped yet.
    pub fn new(config: OptimizerConfig, mlp: &Mlp) -> Self {
        let head = ParameterPath::Weight(mlp.layers.len() - 1).to_string();
        let (memory, rates) = (BTreeMap::new(), BTreeMap::new());
        Self { config, head, steps: 0, memory, rates, decay: 1.0 }
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

    /// Sets what weight decay is multiplied by.
    pub(crate) fn set_decay(&mut self, decay: f64) {
        self.decay = decay;
    }

    /// What weight decay is multiplied by.
    pub(crate) fn decay(&self) -> f64 {
        self.decay
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

    /// Counts a step that is taken elsewhere, by [`KernelRule`] and with [`memory_mut`](Self::memory_mut).
    pub(crate) fn count_step(&mut self) {
        self.steps += 1;
    }

    /// To take out and put back what is remembered of each parameter, by its path.
    pub(crate) fn memory_mut(&mut self) -> &mut BTreeMap<String, Vec<Tensor<1>>> {
        &mut self.memory
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
            let value = tensor.without_autodiff();
            let moved = match gradient {
                Gradient { numbers, rows: None } => {
                    let value = value.reshape([-1]);
                    let at = Parameter::new(value, numbers, &dims);
                    self.moved(&path, at, &mut memory).reshape(dims)
                }
                Gradient { numbers, rows: Some(rows) } => {
                    let value = value.reshape([dims[0] as i64, -1]);
                    self.moved_rows(&path, (value, numbers), &rows, &mut memory).reshape(dims)
                }
            };
            // What has a gradient is trained, and stays so.
            moved.autodiff().require_grad()
        });
        self.optimizer.memory.insert(path, memory);
        param
    }
}

impl Stepper<'_> {
    /// A flattened value after its step by a gradient.
    fn moved(&self, path: &str, at: Parameter, memory: &mut Vec<Tensor<1>>) -> Tensor<1> {
        let place = path.parse::<ParameterPath>().ok();
        let decays = place.is_some_and(ParameterPath::decays);
        let is_hidden_matrix =
            place.is_some_and(ParameterPath::is_linear) && path != self.optimizer.head;
        let at = Parameter { decays, is_hidden_matrix, ..at };
        let factor = self.factor * self.optimizer.rate_of(path);
        let Optimizer { steps: step, decay, .. } = *self.optimizer;
        self.optimizer.config.rule().step(at, memory, Now { factor, step, decay })
    }

    /// A value, `[rows, width]`, after a step of some of its rows, and of what is remembered of them;
    /// the others stay as they are.
    fn moved_rows(
        &self,
        path: &str,
        (value, gradient): (Tensor<2>, Tensor<1>),
        rows: &[u32],
        memory: &mut Vec<Tensor<1>>,
    ) -> Tensor<2> {
        let [all, width] = value.dims();
        let places = ids(rows, &value.device());
        let some = value.clone().select(0, places.clone()).reshape([-1]);
        let mut of_rows: Vec<_> = memory
            .iter()
            .map(|part| part.clone().reshape([all, width]).select(0, places.clone()).reshape([-1]))
            .collect();
        let at = Parameter { is_sparse: true, ..Parameter::new(some, gradient, &[all, width]) };
        let moved = self.moved(path, at, &mut of_rows);
        if memory.is_empty() {
            let initial = self.optimizer.config.rule().initial_memory();
            memory.resize_with(of_rows.len(), || {
                Tensor::full([all * width], initial, (&value.device(), value.dtype()))
            });
        }
        for (part, some) in memory.iter_mut().zip(of_rows) {
            // In place: nothing else holds it then.
            let whole = std::mem::replace(part, Tensor::empty([0], &value.device()));
            let whole = whole.reshape([all, width]);
            let some = some.reshape([rows.len(), width]);
            *part = whole.select_assign(0, places.clone(), some, ASSIGN).reshape([-1]);
        }
        value.select_assign(0, places, moved.reshape([rows.len(), width]), ASSIGN)
    }
}

const ASSIGN: IndexingUpdateOp = IndexingUpdateOp::Assign;
