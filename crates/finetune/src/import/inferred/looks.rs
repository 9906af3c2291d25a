//! What tensors without a place look like, and what to do about them.
//!
//! To leave out a tensor that the network needs makes another network of it. Only what does
//! nothing at inference is advised to be left out.

use std::collections::HashSet;

use fireclay_formats::Tensor;
use fireclay_terminal::printable;

use super::super::ImportError;
use super::groups::vector;
use super::names::{Piece, is_called_norm, pieces};
use super::ways::map;

/// What a tensor looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Convolution,
    Attention,
    Recurrent,
    Gate,
    Embedding,
    Adapter,
    /// Weight norm, spectral norm, pruning: a weight in parts.
    Parts,
    /// A number in the place of a weight, with a scale.
    Quantised,
    Norm,
    /// Mean and deviation of the inputs.
    Statistics,
    /// A deviation without a mean.
    Deviation,
    /// Mean and deviation of the outputs, as those of a regression are.
    Outputs,
    /// The deviation of outputs that are means.
    Spread,
    Temperature,
    Slopes,
    Factor,
    Metric,
    Counter,
    Optimizer,
    Gradient,
    Mask,
    Centers,
    /// The weights of several layers in one array.
    Stacked,
    Copy,
    Loss,
    Unknown,
}

/// Words of copies that training keeps beside a network.
pub(super) const COPIES: &[&str] =
    &["ema", "teacher", "target", "swa", "averaged", "average", "avg", "shadow", "polyak"];

/// Words for what a network is trained to give.
const OUTPUTS: &[&str] =
    &["y", "target", "targets", "tgt", "label", "labels", "out", "output", "outputs", "response"];

const GRADIENTS: &[&str] = &["grad", "grads", "gradient", "gradients"];

const CENTERS: &[&str] =
    &["centers", "centres", "center", "centroids", "prototypes", "codebook", "memory"];

/// Words for the state of metrics.
const METRICS: &[&str] = &[
    "acc",
    "accuracy",
    "metric",
    "metrics",
    "f1",
    "auroc",
    "auc",
    "confmat",
    "precision",
    "recall",
    "mse",
    "mae",
];

const OPTIMIZER: &[&str] = &[
    "optimizer",
    "optimizers",
    "optim",
    "adam",
    "adamw",
    "sgd",
    "momentum",
    "velocity",
    "rmsprop",
    "scheduler",
];

const COUNTERS: &[&str] = &[
    "tracked",
    "count",
    "counter",
    "step",
    "steps",
    "iteration",
    "iterations",
    "epoch",
    "averaged",
];

/// The name of a tensor, in pieces.
struct Name(Vec<Piece>);

impl Name {
    /// Whether it has one of some words.
    fn has(&self, words: &[&str]) -> bool {
        self.0.iter().any(|piece| piece.is_one_of(words))
    }

    /// Whether it ends with one of some words.
    fn ends(&self, words: &[&str]) -> bool {
        self.0.last().is_some_and(|last| last.is_one_of(words))
    }

    /// Whether it has one of some words right behind another.
    fn has_pair(&self, first: &str, second: &[&str]) -> bool {
        self.0.windows(2).any(|pair| pair[0].is_one_of(&[first]) && pair[1].is_one_of(second))
    }

    /// Whether it is that of a mean or a deviation of outputs: `y_mean`, `target.std`,
    /// `y_scaler.scale`.
    fn is_of_outputs(&self) -> bool {
        let is_scaled = self.has(&["scaler", "scalers", "target", "targets"])
            && self.has(&["scale", "factor"])
            || self.has(&["min", "max", "mins", "maxs", "range", "offset", "shift", "loc"]);
        let is_statistic =
            self.has(&["mean", "means", "mu", "std", "sigma", "deviation", "stddev", "sd"])
                || self.ends(&["var", "variance"]);
        let is_of_norm =
            is_called_norm(&self.0) || self.has(&["running", "moving", "log", "logstd"]);
        self.has(OUTPUTS) && (is_scaled || is_statistic) && !is_of_norm
    }
}

/// How many sizes of a shape are not 1.
fn long_sizes(shape: &[usize]) -> usize {
    shape.iter().filter(|&&size| size != 1).count()
}

impl Look {
    /// What a tensor looks like, by its name and shape.
    pub(super) fn of(name: &str, shape: &[usize]) -> Self {
        let name = Name(pieces(name));
        let numbers: usize = shape.iter().product();
        let is_row = long_sizes(shape) < 2;
        if name.has(OPTIMIZER) || name.has_pair("exp", &["avg"]) {
            Self::Optimizer
        } else if numbers == 1 && (name.ends(COUNTERS) || name.has(&["num"])) {
            Self::Counter
        } else if vector(shape).is_some() && name.is_of_outputs() {
            Self::Outputs
        } else if name.has(COPIES) {
            Self::Copy
        } else if name.has(GRADIENTS) {
            Self::Gradient
        } else if name.has(&["loss", "criterion"])
            || is_row && name.has_pair("class", &["weight", "weights"])
            || is_row && name.has_pair("pos", &["weight"])
        {
            Self::Loss
        } else if name.has(METRICS) && is_row && !name.ends(&["weight", "bias", "kernel"]) {
            Self::Metric
        } else {
            Self::of_layer(&name, shape).unwrap_or_else(|| Self::of_numbers(&name, shape))
        }
    }

    /// The kind of layer that a tensor looks like a part of, if it is not a linear one.
    fn of_layer(name: &Name, shape: &[usize]) -> Option<Self> {
        let is_array = shape.len() > 2 && name.ends(&["weight", "kernel"]);
        Some(if name.has(&["lora", "dora"]) {
            Self::Adapter
        } else if name.has(&["packed", "scb", "qweight", "qzeros", "absmax"])
            || name.has_pair("zero", &["point"])
        {
            Self::Quantised
        } else if name.has_pair("weight", &["g", "v", "u", "orig", "original", "mask"])
            || name.has(&["parametrizations"])
        {
            Self::Parts
        } else if name.ends(&["mask", "masks"]) {
            Self::Mask
        } else if name.has(CENTERS) {
            Self::Centers
        } else if name.has(&["ih", "hh", "lstm", "gru", "rnn", "recurrent"]) {
            Self::Recurrent
        } else if name.has(&["attn", "attention", "qkv", "mha"])
            || name.has_pair("in", &["proj"])
            || name.has(&["q", "k", "v"]) && name.has(&["proj"])
        {
            Self::Attention
        } else if name.has(&["gate", "gates", "gated", "gating", "glu", "highway"]) {
            Self::Gate
        } else if name.has(&["embedding", "embeddings", "wte", "wpe", "embed"])
            && name.ends(&["weight"])
        {
            Self::Embedding
        } else if long_sizes(shape) > 2
            || is_array
            || name.has(&["conv", "convs", "conv1d", "conv2d", "convolution"])
        {
            Self::Convolution
        } else {
            return None;
        })
    }

    /// What a tensor looks like that stands before, behind or beside linear layers.
    fn of_numbers(name: &Name, shape: &[usize]) -> Self {
        let is_number = shape.iter().product::<usize>() == 1;
        let is_vector = vector(shape).is_some();
        let is_bound = is_vector && name.ends(&["min", "max", "mins", "maxs", "lb", "ub"]);
        if is_vector
            && (is_called_norm(&name.0) || name.has(&["running", "moving", "gamma", "beta"]))
        {
            Self::Norm
        } else if name.ends(&["logstd", "logsigma", "logvar"])
            || name.ends(&["std", "sigma", "var", "variance", "scale"]) && name.has(&["log"])
        {
            Self::Spread
        } else if name.has(&["scaler", "normalizer"]) || name.ends(&["mean", "mu"]) || is_bound {
            Self::Statistics
        } else if name.ends(&["std", "sigma", "deviation", "stddev", "var", "variance"]) {
            Self::Deviation
        } else if is_number && name.ends(&["temperature", "temp", "tau"]) {
            Self::Temperature
        } else if name.ends(&["scale", "scales", "gain", "factor", "multiplier"])
            || is_number && name.has(&["scale", "alpha"])
        {
            Self::Factor
        } else if is_vector && name.ends(&["weight"]) || name.has(&["prelu", "slope", "slopes"]) {
            Self::Slopes
        } else {
            Self::Unknown
        }
    }

    /// Whether no network with such tensors can be imported from tensors alone.
    fn is_no_perceptron(self) -> bool {
        matches!(
            self,
            Self::Convolution
                | Self::Attention
                | Self::Recurrent
                | Self::Gate
                | Self::Embedding
                | Self::Adapter
                | Self::Parts
                | Self::Quantised
                | Self::Stacked
        )
    }

    /// Whether it does nothing at inference.
    pub(super) fn is_idle(self) -> bool {
        self.is_beside() || matches!(self, Self::Copy | Self::Spread)
    }

    /// Whether it is no part of a network.
    fn is_beside(self) -> bool {
        matches!(self, Self::Counter | Self::Optimizer | Self::Gradient | Self::Loss | Self::Metric)
    }

    /// What it looks like.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Convolution => "a convolution",
            Self::Attention => "attention",
            Self::Recurrent => "a recurrent layer",
            Self::Gate => "a gate, which multiplies the outputs of another layer",
            Self::Embedding => "an embedding",
            Self::Adapter => "a low-rank adapter",
            Self::Parts => "part of a weight (weight norm, spectral norm or pruning)",
            Self::Quantised => "part of a quantised weight",
            Self::Norm => "a norm",
            Self::Statistics => "a mean, a deviation or a bound of the inputs",
            Self::Outputs => "a mean, a deviation or a bound of the outputs",
            Self::Mask => "a mask of weights",
            Self::Gradient => "a gradient",
            Self::Centers => "centers or prototypes, as a loss or a radial layer has them",
            Self::Stacked => "the weights of several layers in one array",
            Self::Deviation => "a deviation of the inputs or of the outputs",
            Self::Spread => "the deviation of outputs that are means, as policies have it",
            Self::Temperature => "a temperature that outputs are divided by",
            Self::Slopes => "slopes of PReLU or the scale of a norm without a shift",
            Self::Factor => "a factor of inputs, of outputs or of a layer",
            Self::Metric => "the state of a metric",
            Self::Counter => "a counter",
            Self::Optimizer => "the state of an optimizer",
            Self::Copy => "a second copy of the network, such as an average of its weights",
            Self::Loss => "part of a loss",
            Self::Unknown => "nothing that is known",
        }
    }

    /// What to do about it.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Convolution
            | Self::Attention
            | Self::Recurrent
            | Self::Gate
            | Self::Embedding => {
                "only networks of linear layers, norms and activations are imported"
            }
            Self::Adapter => {
                "merge it into its base first, with merge_and_unload() of the library that made it"
            }
            Self::Parts => {
                "remove the parametrisation before saving, as \
                 torch.nn.utils.parametrize.remove_parametrizations does"
            }
            Self::Quantised => "save the network in floating point",
            Self::Norm => {
                "the network needs it: --norm and --norm-position say where norms stand, --map \
                 renames them"
            }
            Self::Statistics => {
                "the network needs it: if all its numbers are one, say it with --normalize and leave \
                 it out with --allow-unused; else export the network to ONNX"
            }
            Self::Outputs => {
                "the network needs it: before saving, multiply the deviation into the last weights \
                 and bias, and add the mean to that bias"
            }
            Self::Mask => {
                "multiply the weights by it before saving; then leave it out with --allow-unused"
            }
            Self::Gradient | Self::Metric | Self::Counter | Self::Optimizer | Self::Loss => {
                "it does nothing at inference"
            }
            Self::Centers => {
                "if only a loss uses them, leave them out with --allow-unused; else the network \
                 cannot be imported"
            }
            Self::Stacked => {
                "save each apart: for the array W and its bias b, numpy.savez with W1=W[0], b1=b[0] \
                 and so on"
            }
            Self::Deviation => {
                "if inputs are divided by it, the network needs it: export the network to ONNX; if \
                 only samples are drawn with it, leave it out with --allow-unused"
            }
            Self::Spread => "the means do not depend on it",
            Self::Temperature => {
                "the largest output stays the largest without it: divide the last weights and biases \
                 by it before saving, or leave it out with --allow-unused"
            }
            Self::Slopes => {
                "the network needs it: slopes have to be called prelu with the number of their layer, \
                 layer norms without a bias norm, with --map; of RMS norms say --norm rms; or export \
                 the network to ONNX"
            }
            Self::Factor => "the network needs it: multiply it into the weights before saving",
            Self::Copy => "leave out the copy that is not wanted",
            Self::Unknown => {
                "if the network computes its outputs without it, leave it out with --allow-unused; \
                 else rename it with --map"
            }
        }
    }
}

/// What a tensor looks like beside others: an array of matrices and one of as many biases are layers.
fn look(tensor: &Tensor, tensors: &[&Tensor]) -> Look {
    let look = Look::of(&tensor.name, &tensor.shape);
    let [layers, rows, columns] = *tensor.shape else { return look };
    let has_biases = tensors.iter().any(|other| {
        matches!(*other.shape, [n, width] if n == layers && (width == rows || width == columns))
    });
    if look == Look::Convolution && has_biases { Look::Stacked } else { look }
}

/// Refuses tensors that no perceptron has.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with the first of them and what it looks like.
pub(super) fn refuse_strangers(tensors: &[&Tensor]) -> Result<(), ImportError> {
    let names: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let is_stranger = |tensor: &&&Tensor| match look(tensor, tensors) {
        // An embedding has no bias, a layer of that name has.
        Look::Embedding => {
            let bias = tensor.name.strip_suffix("weight").map(|start| format!("{start}bias"));
            !bias.is_some_and(|bias| names.contains(bias.as_str()))
        }
        look => look.is_no_perceptron(),
    };
    let Some(tensor) = tensors.iter().find(is_stranger) else { return Ok(()) };
    let look = look(tensor, tensors);
    let (name, what) = (printable(&tensor.name, 60), look.what());
    Err(ImportError::unsupported(
        format!("{name} {:?} looks like {what}", tensor.shape),
        format!("{}; if it is a layer like the others, rename it with --map", look.advice()),
    ))
}

/// Whether a tensor is no part of a network: a counter, the state of an optimizer, a loss or a metric.
pub(super) fn is_beside(name: &str, shape: &[usize]) -> bool {
    Look::of(name, shape).is_beside()
}

/// Refuses a batch norm of Keras whose one array may be a scale or a shift.
///
/// # Errors
///
/// [`ImportError::Unsaid`] with the names that say it.
pub(super) fn refuse_half_norms(tensors: &[&Tensor]) -> Result<(), ImportError> {
    let names: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let half = tensors.iter().find_map(|tensor| {
        let layer = tensor.name.strip_suffix("/vars/0")?;
        names.contains(format!("{layer}/moving_mean").as_str()).then_some(layer)
    });
    let Some(layer) = half else { return Ok(()) };
    let map =
        |part: &str| map(&format!("^{}/vars/0$", regex::escape(layer)), &format!("{layer}/{part}"));
    Err(ImportError::Unsaid {
        what: format!(
            "whether {}, which has three arrays, has a scale or a shift",
            printable(layer, 60)
        ),
        flag: format!("{} (center=False) or {} (scale=False)", map("gamma"), map("beta")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_look_like_what_they_are() {
        for (name, shape, look) in [
            ("features.0.weight", vec![4, 1, 3, 3], Look::Convolution),
            ("conv1.bias", vec![4], Look::Convolution),
            ("conv.weight", vec![4, 4, 1], Look::Convolution),
            ("encoder.self_attn.in_proj_weight", vec![12, 4], Look::Attention),
            ("q_proj.weight", vec![4, 4], Look::Attention),
            ("rnn.weight_ih_l0", vec![16, 4], Look::Recurrent),
            ("embedding.weight", vec![100, 8], Look::Embedding),
            ("gate.weight", vec![8, 8], Look::Gate),
            ("fc1.lora_A.weight", vec![2, 8], Look::Adapter),
            ("fc1.weight_g", vec![8, 1], Look::Parts),
            ("fc1.parametrizations.weight.original0", vec![8, 1], Look::Parts),
            ("fc1.zero_point", vec![8], Look::Quantised),
            ("input_norm.weight", vec![784], Look::Norm),
            ("bn1.running_mean", vec![8], Look::Norm),
            ("mean", vec![784], Look::Statistics),
            ("std", vec![1, 784], Look::Deviation),
            ("log_std", vec![3], Look::Spread),
            ("policy.log_sigma", vec![3], Look::Spread),
            ("log_std.weight", vec![3, 8], Look::Unknown),
            ("temperature", vec![], Look::Temperature),
            ("out_scale", vec![3], Look::Factor),
            ("train_acc.tp", vec![3], Look::Metric),
            ("class.weight", vec![10, 8], Look::Unknown),
            ("class_weight", vec![10], Look::Loss),
            ("target_mean", vec![3], Look::Outputs),
            ("target.std", vec![3], Look::Outputs),
            ("target_scale", vec![3], Look::Outputs),
            ("y_max", vec![3], Look::Outputs),
            ("x_max", vec![6], Look::Statistics),
            ("input_var", vec![6], Look::Deviation),
            ("y_mu", vec![], Look::Outputs),
            ("std_y", vec![3], Look::Outputs),
            ("y_scaler.scale", vec![3], Look::Outputs),
            ("target_net.bn.running_mean", vec![3], Look::Copy),
            ("x_scaler.scale", vec![3], Look::Statistics),
            ("0.mask", vec![8, 6], Look::Mask),
            ("fc1.weight_mask", vec![8, 6], Look::Parts),
            ("fc1.weight.grad", vec![8, 6], Look::Gradient),
            ("centers", vec![3, 8], Look::Centers),
            ("normalizer.mean", vec![], Look::Statistics),
            ("act.weight", vec![1], Look::Slopes),
            ("logit_scale", vec![], Look::Factor),
            ("bn.num_batches_tracked", vec![], Look::Counter),
            ("n_averaged", vec![], Look::Counter),
            ("optimizer.0.exp_avg", vec![8, 8], Look::Optimizer),
            ("ema.fc1.weight", vec![8, 8], Look::Copy),
            ("criterion.weight", vec![10], Look::Loss),
            ("something", vec![3], Look::Unknown),
            ("fc1.weight", vec![8, 4], Look::Unknown),
            ("fc1.bias", vec![8], Look::Unknown),
        ] {
            assert_eq!(Look::of(name, &shape), look, "{name} {shape:?}");
        }
    }
}
