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
use super::ways::{map, quoted};

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

/// Words that tell one of two networks whose names are else the same from the other.
const BESIDES: &[&str] = &[
    "module", "copy", "copies", "old", "prev", "previous", "best", "backup", "init", "initial",
    "slow", "orig",
];

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

impl Look {
    /// What a tensor looks like, by its name and shape.
    pub(super) fn of(name: &str, shape: &[usize]) -> Self {
        let pieces = pieces(name);
        let has = |words: &[&str]| pieces.iter().any(|piece| piece.is_one_of(words));
        let ends = |words: &[&str]| pieces.last().is_some_and(|last| last.is_one_of(words));
        let follow = |first: &str, second: &[&str]| follows(&pieces, first, second);
        let numbers: usize = shape.iter().product();
        if has(OPTIMIZER) || follow("exp", &["avg"]) {
            return Self::Optimizer;
        }
        if numbers == 1 && (ends(COUNTERS) || has(&["num"])) {
            return Self::Counter;
        }
        if is_of_outputs(&pieces, shape) {
            return Self::Outputs;
        }
        if has(COPIES) {
            return Self::Copy;
        }
        if has(GRADIENTS) {
            return Self::Gradient;
        }
        let is_row = shape.iter().filter(|&&size| size != 1).count() < 2;
        if has(&["loss", "criterion"])
            || is_row && (follow("class", &["weight", "weights"]) || follow("pos", &["weight"]))
        {
            return Self::Loss;
        }
        if has(METRICS) && is_row && !ends(&["weight", "bias", "kernel"]) {
            return Self::Metric;
        }
        Self::of_layer(&pieces, shape)
    }

    /// What a tensor looks like that is part of a network.
    fn of_layer(pieces: &[Piece], shape: &[usize]) -> Self {
        let has = |words: &[&str]| pieces.iter().any(|piece| piece.is_one_of(words));
        let ends = |words: &[&str]| pieces.last().is_some_and(|last| last.is_one_of(words));
        let follow = |first: &str, second: &[&str]| follows(pieces, first, second);
        let numbers: usize = shape.iter().product();
        let is_vector = vector(shape).is_some();
        if has(&["lora", "dora"]) {
            return Self::Adapter;
        }
        if has(&["packed", "scb", "qweight", "qzeros", "absmax"]) || follow("zero", &["point"]) {
            return Self::Quantised;
        }
        if follow("weight", &["g", "v", "u", "orig", "original", "mask"])
            || has(&["parametrizations"])
        {
            return Self::Parts;
        }
        if ends(&["mask", "masks"]) {
            return Self::Mask;
        }
        if has(CENTERS) {
            return Self::Centers;
        }
        if has(&["ih", "hh", "lstm", "gru", "rnn", "recurrent"]) {
            return Self::Recurrent;
        }
        if has(&["attn", "attention", "qkv", "mha"])
            || follow("in", &["proj"])
            || has(&["q", "k", "v"]) && has(&["proj"])
        {
            return Self::Attention;
        }
        if has(&["gate", "gates", "gated", "gating", "glu", "highway"]) {
            return Self::Gate;
        }
        if has(&["embedding", "embeddings", "wte", "wpe", "embed"]) && ends(&["weight"]) {
            return Self::Embedding;
        }
        if shape.iter().filter(|&&size| size != 1).count() > 2
            || shape.len() > 2 && ends(&["weight", "kernel"])
            || has(&["conv", "convs", "conv1d", "conv2d", "convolution"])
        {
            return Self::Convolution;
        }
        if is_vector && (is_called_norm(pieces) || has(&["running", "moving", "gamma", "beta"])) {
            return Self::Norm;
        }
        if ends(&["logstd", "logsigma", "logvar"])
            || ends(&["std", "sigma", "var", "variance", "scale"]) && has(&["log"])
        {
            return Self::Spread;
        }
        let is_bound = is_vector && ends(&["min", "max", "mins", "maxs", "lb", "ub"]);
        if has(&["scaler", "normalizer"]) || ends(&["mean", "mu"]) || is_bound {
            return Self::Statistics;
        }
        if ends(&["std", "sigma", "deviation", "stddev", "var", "variance"]) {
            return Self::Deviation;
        }
        if numbers == 1 && ends(&["temperature", "temp", "tau"]) {
            return Self::Temperature;
        }
        if ends(&["scale", "scales", "gain", "factor", "multiplier"])
            || numbers == 1 && has(&["scale", "alpha"])
        {
            return Self::Factor;
        }
        if is_vector && ends(&["weight"]) || has(&["prelu", "slope", "slopes"]) {
            return Self::Slopes;
        }
        Self::Unknown
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

    /// What it looks like, and what to do.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        const NOT_ONE: &str = "only networks of linear layers, norms and activations are imported";
        match self {
            Self::Convolution => ("a convolution", NOT_ONE),
            Self::Attention => ("attention", NOT_ONE),
            Self::Recurrent => ("a recurrent layer", NOT_ONE),
            Self::Gate => ("a gate, which multiplies the outputs of another layer", NOT_ONE),
            Self::Embedding => ("an embedding", NOT_ONE),
            Self::Adapter => (
                "a low-rank adapter",
                "merge it into its base first, with merge_and_unload() of the library that made it",
            ),
            Self::Parts => (
                "part of a weight (weight norm, spectral norm or pruning)",
                "remove the parametrisation before saving, as \
                 torch.nn.utils.parametrize.remove_parametrizations does",
            ),
            Self::Quantised => ("part of a quantised weight", "save the network in floating point"),
            Self::Norm => (
                "a norm",
                "the network needs it: --norm and --norm-position say where norms stand, --map \
                 renames them",
            ),
            Self::Statistics => (
                "a mean, a deviation or a bound of the inputs",
                "the network needs it: if all its numbers are one, say it with --normalize and leave \
                 it out with --allow-unused; else export the network to ONNX",
            ),
            Self::Outputs => (
                "a mean, a deviation or a bound of the outputs",
                "the network needs it: before saving, multiply the deviation into the last weights \
                 and bias, and add the mean to that bias",
            ),
            Self::Mask => (
                "a mask of weights",
                "multiply the weights by it before saving; then leave it out with --allow-unused",
            ),
            Self::Gradient => ("a gradient", "it does nothing at inference"),
            Self::Centers => (
                "centers or prototypes, as a loss or a radial layer has them",
                "if only a loss uses them, leave them out with --allow-unused; else the network \
                 cannot be imported",
            ),
            Self::Stacked => (
                "the weights of several layers in one array",
                "save each apart: for the array W and its bias b, numpy.savez with W1=W[0], b1=b[0] \
                 and so on",
            ),
            Self::Deviation => (
                "a deviation of the inputs or of the outputs",
                "if inputs are divided by it, the network needs it: export the network to ONNX; if \
                 only samples are drawn with it, leave it out with --allow-unused",
            ),
            Self::Spread => (
                "the deviation of outputs that are means, as policies have it",
                "the means do not depend on it",
            ),
            Self::Temperature => (
                "a temperature that outputs are divided by",
                "the largest output stays the largest without it: divide the last weights and biases \
                 by it before saving, or leave it out with --allow-unused",
            ),
            Self::Slopes => (
                "slopes of PReLU or the scale of a norm without a shift",
                "the network needs it: slopes have to be called prelu with the number of their layer, \
                 layer norms without a bias norm, with --map; of RMS norms say --norm rms; or export \
                 the network to ONNX",
            ),
            Self::Factor => (
                "a factor of inputs, of outputs or of a layer",
                "the network needs it: multiply it into the weights before saving",
            ),
            Self::Metric => ("the state of a metric", "it does nothing at inference"),
            Self::Counter => ("a counter", "it does nothing at inference"),
            Self::Optimizer => ("the state of an optimizer", "it does nothing at inference"),
            Self::Copy => (
                "a second copy of the network, such as an average of its weights",
                "leave out the copy that is not wanted",
            ),
            Self::Loss => ("part of a loss", "it does nothing at inference"),
            Self::Unknown => (
                "nothing that is known",
                "if the network computes its outputs without it, leave it out with --allow-unused; \
                 else rename it with --map",
            ),
        }
    }
}

/// Whether it is a mean or a deviation of outputs, by its name: `y_mean`, `target.std`,
/// `y_scaler.scale`.
fn is_of_outputs(pieces: &[Piece], shape: &[usize]) -> bool {
    let has = |words: &[&str]| pieces.iter().any(|piece| piece.is_one_of(words));
    let is_scaled = has(&["scaler", "scalers", "target", "targets"]) && has(&["scale", "factor"])
        || has(&["min", "max", "mins", "maxs", "range", "offset", "shift", "loc"]);
    let is_statistic = has(&["mean", "means", "mu", "std", "sigma", "deviation", "stddev", "sd"])
        || pieces.last().is_some_and(|last| last.is_one_of(&["var", "variance"]));
    let is_of_norm = is_called_norm(pieces) || has(&["running", "moving", "log", "logstd"]);
    vector(shape).is_some() && has(OUTPUTS) && (is_scaled || is_statistic) && !is_of_norm
}

/// Whether a name has one of some words behind another.
fn follows(pieces: &[Piece], first: &str, second: &[&str]) -> bool {
    pieces.windows(2).any(|pair| pair[0].is_one_of(&[first]) && pair[1].is_one_of(second))
}

/// What a tensor looks like beside others: an array of matrices and one of as many biases are layers.
fn look(tensor: &Tensor, tensors: &[&Tensor]) -> Look {
    let look = Look::of(&tensor.name, &tensor.shape);
    let [layers, rows, columns] = *tensor.shape else { return look };
    let is_bias = |other: &&Tensor| matches!(*other.shape, [n, width] if n == layers && (width == rows || width == columns));
    if look == Look::Convolution && tensors.iter().any(is_bias) { Look::Stacked } else { look }
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
    let (what, todo) = look(tensor, tensors).words();
    Err(ImportError::unsupported(
        format!("{} {:?} looks like {what}", printable(&tensor.name, 60), tensor.shape),
        format!("{todo}; if it is a layer like the others, rename it with --map"),
    ))
}

/// Whether a tensor is no part of a network: a counter, the state of an optimizer, a loss or a metric.
pub(super) fn is_beside(name: &str, shape: &[usize]) -> bool {
    Look::of(name, shape).is_beside()
}

/// What a name has within it that the other has not, if the rest of both is the same.
fn more<'a>(short: &Tensor, long: &'a Tensor) -> Option<&'a str> {
    let (short_name, long_name) = (short.name.as_str(), long.name.as_str());
    let more = long_name.len().checked_sub(short_name.len()).filter(|more| *more > 0)?;
    let same = short_name.bytes().zip(long_name.bytes()).take_while(|(a, b)| a == b).count();
    let is_rest_same = long_name.get(same + more..) == short_name.get(same..);
    long_name.get(same..same + more).filter(|_| is_rest_same && short.shape == long.shape)
}

/// Refuses a batch norm of Keras of which it is not told whether it has a scale or a shift.
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

/// What stands in some names and not in others that are else the same: `_ema`, `module.`.
fn infix(matrices: &[&Tensor]) -> Option<String> {
    let names: HashSet<&str> = matrices.iter().map(|tensor| tensor.name.as_str()).collect();
    let first = matrices.iter().min_by_key(|tensor| tensor.name.len())?;
    let is_word = |infix: &&str| {
        pieces(infix).iter().any(|piece| piece.is_one_of(COPIES) || piece.is_one_of(BESIDES))
    };
    let mut found = matrices.iter().filter_map(|tensor| more(first, tensor)).filter(is_word);
    let parts_all = |infix: &&str| {
        let (with, without): (Vec<&str>, Vec<&str>) =
            names.iter().copied().partition(|name| name.contains(*infix));
        let is_copy = |name: &&str| names.contains(name.replacen(*infix, "", 1).as_str());
        with.len() == without.len() && with.iter().all(is_copy)
    };
    found.find(parts_all).map(str::to_owned)
}

/// Refuses two copies of one network, of which only one can be meant.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with how to leave out either.
pub(super) fn refuse_copies(tensors: &[&Tensor]) -> Result<(), ImportError> {
    let what = "the file has the network twice, once as a copy such as an average of its weights";
    let matrices: Vec<&Tensor> =
        tensors.iter().copied().filter(|tensor| tensor.shape.len() == 2).collect();
    if let Some(infix) = infix(&matrices) {
        let is_start = |tensor: &&&Tensor| tensor.name.starts_with(&infix);
        let key = infix
            .strip_suffix(['.', '/'])
            .filter(|_| matrices.iter().filter(is_start).count() * 2 == matrices.len());
        let copy = quoted(&format!("*{infix}*"));
        let other = match key {
            Some(key) => format!("; --key {} takes the copy", quoted(key)),
            None => String::new(),
        };
        let advice = format!("keep one: --allow-unused {copy} leaves out the copy{other}");
        return Err(ImportError::unsupported(what, advice));
    }
    let is_copy = |tensor: &&&Tensor| Look::of(&tensor.name, &tensor.shape) == Look::Copy;
    let (copies, rest): (Vec<&Tensor>, Vec<&Tensor>) =
        tensors.iter().copied().partition(|tensor| is_copy(&tensor));
    let shapes = |tensors: &[&Tensor]| {
        let matrices = tensors.iter().filter(|tensor| tensor.shape.len() == 2);
        let mut shapes: Vec<Vec<usize>> = matrices.map(|tensor| tensor.shape.clone()).collect();
        shapes.sort();
        shapes
    };
    if copies.is_empty() || shapes(&copies).is_empty() || shapes(&copies) != shapes(&rest) {
        return Ok(());
    }
    let advice = match (pattern(&copies, &rest), pattern(&rest, &copies)) {
        (Some(copy), Some(other)) => format!(
            "keep one: --allow-unused {} leaves out the copy, --allow-unused {} the other",
            quoted(&copy),
            quoted(&other)
        ),
        (Some(one), None) | (None, Some(one)) => {
            format!("leave out these with --allow-unused {}, or the others", quoted(&one))
        }
        (None, None) => "leave out one of them with --allow-unused".to_owned(),
    };
    Err(ImportError::unsupported(what, advice))
}

/// A pattern for what the names of some tensors begin with, and those of no others.
fn pattern(of: &[&Tensor], others: &[&Tensor]) -> Option<String> {
    let first = of.first().map(|tensor| tensor.name.as_str()).unwrap_or_default();
    let is_shared = |length: &usize| {
        first.get(..*length).is_some_and(|start| {
            of.iter().all(|tensor| tensor.name.starts_with(start))
                && !others.iter().any(|tensor| tensor.name.starts_with(start))
        })
    };
    (1..first.len()).rev().find(is_shared).map(|length| format!("{}*", &first[..length]))
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

    #[test]
    fn of_two_copies_of_a_network_one_is_chosen() {
        let named = |names: &[&str]| -> Vec<Tensor> {
            names.iter().map(|&name| Tensor::zeros(name, vec![4, 4])).collect()
        };
        let tensors =
            named(&["model.fc1.weight", "ema.fc1.weight", "model.fc2.weight", "ema.fc2.weight"]);
        let error = refuse_copies(&tensors.iter().collect::<Vec<_>>()).unwrap_err().to_string();
        assert!(error.contains("--allow-unused 'ema.fc*' leaves out the copy"), "{error}");
        for (affix, advice) in [
            ("ema.", "--allow-unused '*ema.*' leaves out the copy; --key ema takes the copy"),
            ("module.", "--allow-unused '*module.*' leaves out the copy; --key module takes"),
            ("target_", "--allow-unused '*target_*' leaves out the copy"),
        ] {
            let names =
                ["fc1.weight", "fc2.weight"].map(|name| [name.into(), affix.to_owned() + name]);
            let names = names.concat();
            let tensors = named(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let error = refuse_copies(&tensors.iter().collect::<Vec<_>>()).unwrap_err().to_string();
            assert!(error.contains(advice), "{error}");
        }
        let tensors = named(&["a.weight", "a.weight_ema", "b.weight", "b.weight_ema"]);
        let error = refuse_copies(&tensors.iter().collect::<Vec<_>>()).unwrap_err().to_string();
        assert!(error.ends_with("--allow-unused '*_ema*' leaves out the copy"), "{error}");
        // Layers that are called alike are no copies.
        for names in [["fc.weight", "fc1.weight"], ["fc.weight", "fc_out.weight"]] {
            let tensors = named(&names);
            assert!(refuse_copies(&tensors.iter().collect::<Vec<_>>()).is_ok(), "{names:?}");
        }
        let tensors = named(&["model.fc1.weight", "model.fc2.weight", "ema_decay"]);
        assert!(refuse_copies(&tensors.iter().collect::<Vec<_>>()).is_ok());
    }
}
