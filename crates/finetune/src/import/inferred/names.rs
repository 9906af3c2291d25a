//! What names tell: the layer of a tensor, its part there, and which layer comes first.

use std::cmp::Ordering;

/// A number or a word, in small letters, of a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    Number(u64),
    Word(String),
}

impl Piece {
    fn of(text: &str) -> Self {
        // More digits than a number holds are a word.
        text.parse().map_or_else(|_| Self::Word(text.to_lowercase()), Self::Number)
    }

    /// Whether it is one of these words.
    pub(super) fn is_one_of(&self, words: &[&str]) -> bool {
        matches!(self, Self::Word(word) if words.contains(&word.as_str()))
    }
}

/// The words and numbers of a name: `blocks.0.fc1` and `Blocks_0/Fc_1` have the same.
pub(super) fn pieces(name: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut current = String::new();
    let mut before = ' ';
    for c in name.chars() {
        let is_next = !c.is_alphanumeric()
            || c.is_ascii_digit() != before.is_ascii_digit()
            || c.is_uppercase() && before.is_lowercase();
        if is_next && !current.is_empty() {
            pieces.push(Piece::of(&current));
            current.clear();
        }
        if c.is_alphanumeric() {
            current.push(c);
        }
        before = c;
    }
    if !current.is_empty() {
        pieces.push(Piece::of(&current));
    }
    pieces
}

/// Which of two names comes first by its numbers: `fc2` before `fc10`, `dense` before `dense_1`;
/// none where the names differ in a word before they differ in a number.
pub(super) fn order(a: &[Piece], b: &[Piece]) -> Option<Ordering> {
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((Piece::Number(a), Piece::Number(b))) => Some(a.cmp(b)),
        Some(_) => None,
        None => match (a.get(b.len()), b.get(a.len())) {
            (None, Some(Piece::Number(_))) => Some(Ordering::Less),
            (Some(Piece::Number(_)), None) => Some(Ordering::Greater),
            _ => None,
        },
    }
}

/// Words for what stands first, and for what stands last.
const FRONT: &[&str] = &[
    "in",
    "inp",
    "input",
    "inputs",
    "stem",
    "begin",
    "start",
    "front",
    "enc",
    "encode",
    "encoder",
    "embed",
    "embedder",
    "embedding",
    "bottom",
    "feature",
    "features",
    "backbone",
];
const BACK: &[&str] = &[
    "out",
    "outp",
    "output",
    "outputs",
    "head",
    "heads",
    "last",
    "final",
    "end",
    "tail",
    "dec",
    "decode",
    "decoder",
    "classifier",
    "classification",
    "cls",
    "clf",
    "logit",
    "logits",
    "predict",
    "prediction",
    "predictor",
    "readout",
    "regressor",
    "score",
    "scores",
    "top",
];

/// Words for what stands between both.
const MIDDLE: &[&str] = &["hid", "hidden", "hiddens", "mid", "middle", "body", "trunk"];

/// Words that count, of which the first stands at the front.
const COUNTED: [[&str; 2]; 9] = [
    ["first", "one"],
    ["second", "two"],
    ["third", "three"],
    ["fourth", "four"],
    ["fifth", "five"],
    ["sixth", "six"],
    ["seventh", "seven"],
    ["eighth", "eight"],
    ["ninth", "nine"],
];

/// Where a word says that something stands: at the front, at the back, or in between.
fn rank(piece: Option<&Piece>) -> usize {
    let Some(piece) = piece else { return COUNTED.len() + 1 };
    let counted = COUNTED.iter().position(|words| piece.is_one_of(words));
    match counted {
        Some(number) => number + 1,
        None if piece.is_one_of(FRONT) => 0,
        None if piece.is_one_of(BACK) => COUNTED.len() + 2,
        None => COUNTED.len() + 1,
    }
}

/// Which of two names comes first by its numbers, or by words such as `stem` and `head`, `encoder`
/// and `decoder`, `a` and `b`.
pub(super) fn told_order(a: &[Piece], b: &[Piece]) -> Option<Ordering> {
    if let Some(by_numbers) = order(a, b) {
        return Some(by_numbers);
    }
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(same), b.get(same));
    let by_words = rank(a).cmp(&rank(b));
    let by_letters = letter(a).zip(letter(b)).map_or(Ordering::Equal, |(a, b)| a.cmp(&b));
    Some(by_words.then(by_letters)).filter(|order| order.is_ne())
}

/// The letter that counts, of a word of one: `a` to `f`.
fn letter(piece: Option<&Piece>) -> Option<char> {
    match piece {
        Some(Piece::Word(word)) => word.chars().next().filter(|c| word.len() == 1 && *c <= 'f'),
        _ => None,
    }
}

/// Whether names tell of one thing that it comes before another.
pub(super) fn is_told_before(a: &[Piece], b: &[Piece]) -> bool {
    told_order(a, b) == Some(Ordering::Less)
}

/// Which of two names comes first by its numbers, or by words of which both tell a place. A word that
/// tells none, such as `dense` beside `decoder`, leaves it open.
pub(super) fn firm_order(a: &[Piece], b: &[Piece]) -> Option<Ordering> {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let next = [a.get(same), b.get(same)];
    let are_open = next.iter().any(|piece| {
        rank(*piece) == COUNTED.len() + 1 && !piece.is_some_and(|piece| piece.is_one_of(MIDDLE))
    });
    let are_letters =
        next.iter().all(|piece| matches!(piece, Some(Piece::Word(word)) if word.len() == 1));
    let is_firm = !are_open || are_letters;
    order(a, b).or_else(|| told_order(a, b).filter(|_| is_firm))
}

/// Whether a word says that something stands at the front or at the back of a network.
pub(super) fn is_of_an_end(piece: &Piece) -> bool {
    piece.is_one_of(FRONT) || piece.is_one_of(BACK)
}

/// A name without its numbers.
pub(super) fn stem(pieces: &[Piece]) -> Vec<&Piece> {
    pieces.iter().filter(|piece| matches!(piece, Piece::Word(_))).collect()
}

/// The numbers of a name.
pub(super) fn numbers(pieces: &[Piece]) -> Vec<u64> {
    pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Number(number) => Some(*number),
            Piece::Word(_) => None,
        })
        .collect()
}

/// Words for a linear layer of any place.
const LAYER: &[&str] = &[
    "fc", "fcs", "linear", "linears", "lin", "lins", "dense", "denses", "layer", "layers",
    "hidden", "hiddens", "affine", "params",
];

/// Words for a norm of any place.
const NORM: &[&str] = &[
    "norm",
    "norms",
    "bn",
    "bns",
    "ln",
    "lns",
    "batchnorm",
    "batchnorms",
    "layernorm",
    "layernorms",
    "normalization",
    "normalisation",
    "normalizations",
    "batch",
    "rms",
    "rmsnorm",
    "rmsnorms",
];

/// Words for slopes of PReLU, of any layer.
pub(super) const SLOPES: &[&str] = &["prelu", "prelus", "act", "acts", "activation", "activations"];

/// Whether a name has a word for norms.
pub(super) fn is_called_norm(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| piece.is_one_of(NORM))
}

/// What tells a layer, or its norm or slopes, from the others: its name without words for any of
/// them.
pub(super) fn key(pieces: &[Piece]) -> Vec<Piece> {
    pieces
        .iter()
        .filter(|piece| ![LAYER, NORM, SLOPES].iter().any(|words| piece.is_one_of(words)))
        .cloned()
        .collect()
}

/// What a tensor is within its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Weight,
    Bias,
    /// The scale of a norm, by a name that no weight of a layer has.
    Gamma,
    /// The shift of a norm, likewise.
    Beta,
    Mean,
    Variance,
}

/// How a weight is called, which can tell how it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// `weight`: PyTorch's, `[outputs, inputs]` there.
    Weight,
    /// `kernel`: that of Keras and Flax, `[inputs, outputs]`.
    Kernel,
    /// `coefs`: those of scikit-learn's perceptrons, `[inputs, outputs]`.
    Coefs,
    /// `coef`: that of scikit-learn's linear models, `[outputs, inputs]`.
    Coef,
    /// Anything else: `W`, `theta`.
    Own,
}

/// What the name of a tensor tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) layer: String,
    pub(super) role: Role,
    pub(super) word: Word,
}

const STATISTICS: [(&str, Role); 6] = [
    ("running_mean", Role::Mean),
    ("moving_mean", Role::Mean),
    ("running_variance", Role::Variance),
    ("moving_variance", Role::Variance),
    ("running_var", Role::Variance),
    ("moving_var", Role::Variance),
];

/// What follows `weight_` or `bias_` in names that are no layer's: of weight and spectral norm, of
/// pruning, of recurrent layers, of attention, of quantised layers.
const NO_LAYER: [&str; 11] =
    ["g", "v", "u", "orig", "original", "mask", "ih", "hh", "k", "packed", "scale"];

/// The layer that a tensor belongs to and what it is there, by the names that programs and people
/// use: `fc1.weight`, `dense/kernel:0`, `coefs_0`, `W1`, `b_h`, `fc1_w`.
pub(super) fn part(name: &str) -> Option<Part> {
    let name = name.strip_suffix(":0").unwrap_or(name);
    let (parent, end) = match name.rfind(['.', '/']) {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => ("", name),
    };
    let small = end.to_ascii_lowercase();
    for (suffix, role) in STATISTICS {
        let in_front = small.strip_suffix(suffix).map(|rest| &end[..rest.len()]);
        let behind = small.strip_prefix(suffix).map(|rest| &end[end.len() - rest.len()..]);
        if let Some(rest) = in_front.or(behind) {
            return Some(Part { layer: joined(parent, rest), role, word: Word::Own });
        }
    }
    let tokens = tokens(end);
    let (first, last) = (*tokens.first()?, *tokens.last()?);
    if tokens.len() == 1 {
        let (role, word) = role(first).or_else(|| lone(first).filter(|_| !parent.is_empty()))?;
        // Flax keeps statistics in a tree of their own, of the same names.
        let parent = match parent.strip_prefix("batch_stats") {
            Some(rest) => format!("params{rest}"),
            None => parent.to_owned(),
        };
        return Some(Part { layer: parent, role, word });
    }
    if first.len() > 1
        && role(first).is_some()
        && tokens
            .get(1)
            .is_some_and(|token| NO_LAYER.contains(&token.to_ascii_lowercase().as_str()))
    {
        return None;
    }
    let in_front = match (role(first), role(last)) {
        (Some(_), None) => true,
        (None, Some(_)) => false,
        (Some(_), Some(_)) if first.len() > 1 && last.len() == 1 => true,
        (Some(_), Some(_)) if first.len() == 1 && last.len() > 1 => false,
        _ => return None,
    };
    let (token, rest) = if in_front {
        (first, &end[first.len()..])
    } else {
        (last, &end[..end.len() - last.len()])
    };
    let (role, word) = role(token)?;
    Some(Part { layer: joined(parent, rest), role, word })
}

/// What a word within the last part of a name tells beside other tensors, of which `is_there` tells
/// whether the file has one of a name: `mean_0` beside `var_0`, `bn_scale` beside `bn_offset`, and
/// `bn_gamma_0` and `layer_weight_0` by themselves.
pub(super) fn part_beside(name: &str, is_there: impl Fn(&str) -> bool) -> Option<Part> {
    let start = name.rfind(['.', '/']).map_or(0, |at| at + 1);
    let (parent, end) = name.split_at_checked(start)?;
    let tokens = tokens(end);
    for (at, token) in tokens.iter().enumerate() {
        let (role, others): (Role, &[&str]) = match *token {
            "mean" => (Role::Mean, &["var", "variance"]),
            "var" | "variance" => (Role::Variance, &["mean"]),
            "scale" => (Role::Gamma, &["offset", "shift"]),
            "offset" | "shift" => (Role::Beta, &["scale"]),
            "gamma" => (Role::Gamma, &[]),
            "beta" => (Role::Beta, &[]),
            "weight" => (Role::Weight, &[]),
            "bias" => (Role::Bias, &[]),
            _ => continue,
        };
        let place = token.as_ptr() as usize - end.as_ptr() as usize;
        let (before, after) = (&end[..place], &end[place + token.len()..]);
        let behind = tokens.get(at + 1..).unwrap_or_default();
        let is_counted = !behind.is_empty()
            && behind.iter().all(|token| token.bytes().all(|byte| byte.is_ascii_digit()));
        let rest = format!("{before}_{after}");
        let is_of_norm = is_called_norm(&pieces(&rest));
        let is_told = if others.is_empty() {
            is_counted
        } else {
            (is_counted || is_of_norm)
                && others.iter().any(|word| is_there(&format!("{parent}{before}{word}{after}")))
        };
        if is_told {
            let parts = [before, after].map(|part| part.trim_matches(['_', '-', ' ']));
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            let parent = parent.trim_end_matches(['.', '/']);
            let word = if role == Role::Weight { Word::Weight } else { Word::Own };
            return Some(Part { layer: joined(parent, &parts.join("_")), role, word });
        }
    }
    None
}

/// Runs of letters and of digits; none where the name begins or ends with something else.
fn tokens(end: &str) -> Vec<&str> {
    let end = end.trim_end_matches('_');
    let mut tokens = Vec::new();
    let mut rest = end;
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let length = rest
            .find(|c: char| !c.is_alphanumeric() || c.is_ascii_digit() != is_digit)
            .unwrap_or(rest.len());
        if length == 0 {
            if tokens.is_empty() {
                return tokens;
            }
            rest = &rest[first.len_utf8()..];
            continue;
        }
        tokens.push(&rest[..length]);
        rest = &rest[length..];
    }
    tokens
}

fn joined(parent: &str, rest: &str) -> String {
    let rest = rest.trim_matches(['_', '-', ' ']);
    match (parent, rest) {
        ("", rest) => rest.to_owned(),
        (parent, "") => parent.to_owned(),
        (parent, rest) => format!("{parent}.{rest}"),
    }
}

/// The role that a word of a name tells.
fn role(word: &str) -> Option<(Role, Word)> {
    Some(match word.to_ascii_lowercase().as_str() {
        "weight" | "weights" => (Role::Weight, Word::Weight),
        "kernel" | "kernels" => (Role::Weight, Word::Kernel),
        "coefs" => (Role::Weight, Word::Coefs),
        "coef" => (Role::Weight, Word::Coef),
        "w" | "wt" | "theta" | "matrix" => (Role::Weight, Word::Own),
        "bias" | "biases" | "b" | "intercept" | "intercepts" => (Role::Bias, Word::Own),
        "gamma" => (Role::Gamma, Word::Own),
        "beta" => (Role::Beta, Word::Own),
        _ => return None,
    })
}

/// The role that a word tells which is all of the last part of a name.
fn lone(word: &str) -> Option<(Role, Word)> {
    Some(match word.to_ascii_lowercase().as_str() {
        "scale" => (Role::Gamma, Word::Own),
        "offset" => (Role::Beta, Word::Own),
        "mean" => (Role::Mean, Word::Own),
        "var" | "variance" => (Role::Variance, Word::Own),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_by_the_names_that_programs_and_people_use() {
        for (name, layer, expected) in [
            ("layers.0.weight", "layers.0", Role::Weight),
            ("dense_1/kernel:0", "dense_1", Role::Weight),
            ("dense/bias", "dense", Role::Bias),
            ("bn.running_var", "bn", Role::Variance),
            ("batch_normalization/moving_mean", "batch_normalization", Role::Mean),
            ("bn1_running_mean", "bn1", Role::Mean),
            ("running_var_2", "2", Role::Variance),
            ("batch_stats/BatchNorm_0/mean", "params/BatchNorm_0", Role::Mean),
            ("params/LayerNorm_0/scale", "params/LayerNorm_0", Role::Gamma),
            ("coefs_2", "2", Role::Weight),
            ("intercepts_2", "2", Role::Bias),
            ("coef_", "", Role::Weight),
            ("weight", "", Role::Weight),
            ("W1", "1", Role::Weight),
            ("b1", "1", Role::Bias),
            ("w_0", "0", Role::Weight),
            ("weight1", "1", Role::Weight),
            ("W_h", "h", Role::Weight),
            ("b_h", "h", Role::Bias),
            ("fc1_w", "fc1", Role::Weight),
            ("fc1_bias", "fc1", Role::Bias),
            ("net.theta2", "net.2", Role::Weight),
            ("biases_0", "0", Role::Bias),
            ("weight_b", "b", Role::Weight),
            ("gamma1", "1", Role::Gamma),
        ] {
            let found = part(name).map(|part| (part.layer, part.role));
            assert_eq!(found, Some((layer.to_owned(), expected)), "{name}");
        }
        for name in [
            "bn.num_batches_tracked",
            "arr_0",
            "step",
            "mean",
            "fc1.weight_g",
            "fc.weight_orig",
            "rnn.weight_ih_l0",
            "exp_avg",
            "b1_w",
            "",
            "_",
            "a._",
            "é",
        ] {
            assert_eq!(part(name), None, "{name}");
        }
    }

    #[test]
    fn roles_beside_other_tensors() {
        for (name, other, layer, role) in [
            ("mean_0", "var_0", "0", Role::Mean),
            ("var0", "mean0", "0", Role::Variance),
            ("net/variance_1", "net/mean_1", "net.1", Role::Variance),
            ("bn_mean", "bn_var", "bn", Role::Mean),
            ("bn0_var", "bn0_mean", "bn0", Role::Variance),
            ("scale_2", "offset_2", "2", Role::Gamma),
            ("norm_shift", "norm_scale", "norm", Role::Beta),
            ("bn_gamma_0", "", "bn_0", Role::Gamma),
            ("layer_weight_3", "", "layer_3", Role::Weight),
        ] {
            let found = part_beside(name, |wanted| wanted == other);
            let found = found.map(|part| (part.layer, part.role));
            assert_eq!(found, Some((layer.to_owned(), role)), "{name}");
        }
        // Statistics of the inputs, and what has no other.
        for name in ["x_mean", "mean", "mean_0", "scale", "out_scale", "log_std", "gamma"] {
            let beside = |wanted: &str| wanted == "x_var" || wanted == "out_offset";
            assert_eq!(part_beside(name, beside), None, "{name}");
        }
    }

    #[test]
    fn numbers_in_names_are_an_order_and_words_are_none() {
        let of = |a: &str, b: &str| order(&pieces(a), &pieces(b));
        for (a, b) in [
            ("fc2", "fc10"),
            ("dense", "dense_1"),
            ("blocks.0.fc2", "blocks.1.fc1"),
            ("blocks.0.fc1", "blocks.0.fc2"),
            ("mlp.0.0", "mlp.0.1"),
            ("net.0", "net.2.fc"),
            ("layers_2_dense", "layers_10_dense"),
        ] {
            assert_eq!(of(a, b), Some(Ordering::Less), "{a} {b}");
            assert_eq!(of(b, a), Some(Ordering::Greater), "{a} {b}");
        }
        for (a, b) in [("stem", "body"), ("enc.1", "dec.0"), ("fc", "fc_out"), ("fc1", "head")] {
            assert_eq!(of(a, b), None, "{a} {b}");
        }
    }

    #[test]
    fn words_tell_an_order_that_nothing_may_contradict() {
        let of = |a: &str, b: &str| told_order(&pieces(a), &pieces(b));
        for (a, b) in [
            ("inp", "hid"),
            ("hid", "out"),
            ("stem", "body"),
            ("body", "head"),
            ("first", "last"),
            ("first", "second"),
            ("encoder.2", "decoder.0"),
            ("fc1", "fc_out"),
            ("fc", "fc_out"),
            ("fc_in", "fc"),
            ("layer_a", "layer_b"),
            ("fc2", "fc10"),
        ] {
            assert_eq!(of(a, b), Some(Ordering::Less), "{a} {b}");
            assert_eq!(of(b, a), Some(Ordering::Greater), "{a} {b}");
        }
        for (a, b) in [("apple", "pear"), ("w_h", "w_x"), ("body.out", "trunk.inp")] {
            assert_eq!(of(a, b), None, "{a} {b}");
        }
    }

    #[test]
    fn a_norm_has_the_key_of_its_layer() {
        for (layer, norm) in [
            ("fc1", "bn1"),
            ("stem", "stem_norm"),
            ("stem", "bn_stem"),
            ("stem.linear", "stem.norm"),
            ("layers.0", "norms.0"),
            ("dense_1", "batch_normalization_1"),
            ("params/Dense_0", "params/LayerNorm_0"),
            ("net.blocks.3.fc", "net.blocks.3.ln"),
        ] {
            assert_eq!(key(&pieces(layer)), key(&pieces(norm)), "{layer} {norm}");
        }
        assert_ne!(key(&pieces("stem")), key(&pieces("body_norm")));
    }
}
