//! Tensors that are left over: an error that says what to do about them.

use fireclay_terminal::printable;

use super::super::ImportError;
use super::groups::vector;
use super::looks::Look;
use super::names::pieces;
use super::ways::quoted;

/// The most tensors that an example leaves out.
const MOST_LEFT_OUT: usize = 4;

/// What tensors in use tell of both ends of the network.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Ends {
    /// Inputs and outputs.
    pub(in super::super) widths: Option<[usize; 2]>,
    /// The weights of the last layer, and whether they are `[inputs, outputs]`.
    pub(in super::super) weight: Option<(String, bool)>,
    /// Its bias.
    pub(in super::super) bias: Option<String>,
    /// Name and shape of every tensor in use.
    pub(in super::super) used: Vec<(String, Vec<usize>)>,
}

impl Ends {
    /// What a tensor looks like, by its length as well.
    fn look(&self, name: &str, shape: &[usize]) -> Look {
        let look = Look::of(name, shape);
        let is_of_end = matches!(look, Look::Statistics | Look::Deviation);
        match (self.widths, vector(shape)) {
            (Some([inputs, outputs]), Some(length))
                if is_of_end && length == outputs && length != inputs =>
            {
                Look::Outputs
            }
            _ => look,
        }
    }

    /// Lines of Python that put a mean and a deviation of the outputs into the last layer.
    fn lines(&self, of_outputs: &[&str]) -> Option<String> {
        let (weight, is_in_out) = self.weight.as_ref()?;
        let find = |words: &[&str]| {
            let mut found = of_outputs
                .iter()
                .filter(|name| pieces(name).iter().any(|piece| piece.is_one_of(words)));
            found.next().copied().filter(|_| found.next().is_none())
        };
        let mean = find(&["mean", "means", "mu"]);
        let deviation = find(&["std", "sigma", "scale", "deviation", "stddev", "sd"]);
        let named = mean.into_iter().chain(deviation).count();
        let names = [Some(weight.as_str()), self.bias.as_deref(), mean, deviation];
        let are_plain = names
            .into_iter()
            .flatten()
            .all(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:".contains(c)));
        if named == 0 || named != of_outputs.len() || mean == deviation || !are_plain {
            return None;
        }
        let bias = self.bias.clone();
        let mut lines = Vec::new();
        if let Some(name) = deviation {
            let rows = if *is_in_out { "d" } else { "d[:, None]" };
            lines.push(format!("d = s.pop(\"{name}\").reshape(-1)"));
            lines.push(format!("s[\"{weight}\"] = s[\"{weight}\"] * {rows}"));
            lines.extend(bias.as_ref().map(|bias| format!("s[\"{bias}\"] = s[\"{bias}\"] * d")));
        }
        if let Some(name) = mean {
            let bias = bias?;
            lines.push(format!("s[\"{bias}\"] = s[\"{bias}\"] + s.pop(\"{name}\").reshape(-1)"));
        }
        let lines = lines.join("; ");
        Some(format!("in Python, of the dictionary s of tensors: {lines}"))
    }
}

/// The error of tensors that have no place in the network. A file that `describes` its network
/// needs none of them.
pub(in super::super) fn unused(
    tensors: &[(&str, &[usize])],
    describes: bool,
    ends: &Ends,
) -> ImportError {
    let looks: Vec<(&str, Look)> =
        tensors.iter().map(|(name, shape)| (*name, looked(name, shape, tensors, ends))).collect();
    let looks = with_factors(looks);
    let needed = looks.iter().find(|(_, look)| !look.is_idle() && !describes);
    let advice = match (needed, looks.first()) {
        // A matrix may be the weights of a layer: advice to leave it out could do harm.
        (Some((name, Look::Unknown)), _) if is_matrix(name, tensors) => format!(
            "{} may be the weights of a layer: rename it with --map to a name that ends in weight, \
             and its bias likewise",
            printable(name, 60)
        ),
        // Numbered arrays of Keras.
        (Some((name, Look::Norm | Look::Unknown)), _) if name.contains("/vars/") => format!(
            "the class of {} is not told: rename its arrays with --map, of a layer norm to end in \
             /gamma and /beta, of a batch norm in /gamma, /beta, /moving_mean and /moving_variance",
            printable(name, 60)
        ),
        (Some((name, look)), _) => {
            let (what, todo) = (look.what(), look.advice());
            let of_outputs = looks.iter().filter(|(_, look)| *look == Look::Outputs);
            let lines = ends.lines(&of_outputs.map(|(name, _)| *name).collect::<Vec<_>>());
            let is_all = looks.iter().all(|(_, look)| look.is_idle() || *look == Look::Outputs);
            let lines = lines.filter(|_| is_all);
            let lines = lines.map_or_else(String::new, |lines| format!("; {lines}"));
            format!("{} looks like {what}: {todo}{lines}", printable(name, 60))
        }
        (None, Some((name, look))) => {
            let (what, todo) = (look.what(), look.advice());
            let why = if describes {
                "the network of the file does without them".to_owned()
            } else {
                format!("{} looks like {what}, and {todo}", printable(name, 60))
            };
            let flags: Vec<String> = looks
                .iter()
                .take(MOST_LEFT_OUT)
                .map(|(name, _)| format!("--allow-unused {}", quoted(name)))
                .collect();
            let rest = if looks.len() > MOST_LEFT_OUT { " and so on" } else { "" };
            format!("{why}: leave out such tensors with {}{rest}", flags.join(" "))
        }
        (None, None) => String::new(),
    };
    let names = tensors.iter().map(|&(name, _)| name.to_owned()).collect();
    ImportError::Unused { names, advice }
}

/// A factor beside a mean of the outputs is their deviation.
fn with_factors(mut looks: Vec<(&str, Look)>) -> Vec<(&str, Look)> {
    let has_outputs = looks.iter().any(|(_, look)| *look == Look::Outputs);
    for (_, look) in &mut looks {
        if has_outputs && *look == Look::Factor {
            *look = Look::Outputs;
        }
    }
    looks
}

fn is_matrix(name: &str, tensors: &[(&str, &[usize])]) -> bool {
    tensors.iter().any(|(other, shape)| *other == name && shape.len() == 2)
}

/// What a tensor looks like beside the others: `dW1` is the gradient of `W1`, and what has the name of
/// a copy is none if no matrix has.
fn looked(name: &str, shape: &[usize], tensors: &[(&str, &[usize])], ends: &Ends) -> Look {
    const CHANGES: [&str; 7] = ["d", "g", "v", "grad_", "delta_", "vel_", "dL_d"];
    if ends.used.iter().any(|(used, other)| {
        let start = name.strip_suffix(used.as_str());
        start.is_some_and(|start| CHANGES.contains(&start)) && other == shape
    }) {
        return Look::Gradient;
    }
    match ends.look(name, shape) {
        Look::Copy
            if !tensors
                .iter()
                .any(|(name, shape)| shape.len() == 2 && Look::of(name, shape) == Look::Copy) =>
        {
            Look::Unknown
        }
        look => look,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_network_needs_is_not_advised_to_be_left_out() {
        for (name, shape) in [
            ("conv.weight", vec![4, 1, 3, 3]),
            ("fc1.weight_g", vec![8, 1]),
            ("input_norm.weight", vec![784]),
            ("act.weight", vec![8]),
            ("mean", vec![784]),
        ] {
            let tensor = [(name, shape.as_slice())];
            let message = unused(&tensor, false, &Ends::default()).to_string();
            assert!(!message.contains(&format!("--allow-unused {name}")), "{message}");
            assert!(message.contains("looks like"), "{message}");
            // A file that describes its network has said that it is not needed.
            let message = unused(&tensor, true, &Ends::default()).to_string();
            assert!(message.ends_with(&format!("--allow-unused {name}")), "{message}");
        }
        let state = ("optimizer.m y", &[4_usize][..]);
        let message = unused(&[state], false, &Ends::default()).to_string();
        assert!(message.ends_with("--allow-unused 'optimizer.m y'"), "{message}");
        // The error names every tensor that is needed, wherever it stands.
        let conv = ("conv.weight", &[4_usize, 1, 3, 3][..]);
        assert!(
            unused(&[state, conv], false, &Ends::default()).to_string().contains("a convolution")
        );
    }

    #[test]
    fn statistics_of_the_outputs_go_into_the_last_layer() {
        let ends = Ends {
            widths: Some([6, 3]),
            weight: Some(("2.weight".to_owned(), false)),
            bias: Some("2.bias".to_owned()),
            used: Vec::new(),
        };
        for [mean, deviation] in [
            ["target_mean", "target_std"],
            ["target.mean", "target.std"],
            ["y_scaler.mean", "y_scaler.scale"],
            ["t_mean", "t_std"],
            ["y_mean", "y_scale"],
            ["mean", "std"],
        ] {
            let tensors = [(mean, &[3_usize][..]), (deviation, &[3])];
            let message = unused(&tensors, false, &ends).to_string();
            let lines = format!(
                "d = s.pop(\"{deviation}\").reshape(-1); s[\"2.weight\"] = s[\"2.weight\"] * d[:, \
                 None]; s[\"2.bias\"] = s[\"2.bias\"] * d; s[\"2.bias\"] = s[\"2.bias\"] + \
                 s.pop(\"{mean}\").reshape(-1)"
            );
            assert!(message.ends_with(&lines), "{message}");
            assert!(!message.contains("--allow-unused"), "{message}");
        }
        let of_inputs = [("mean", &[6_usize][..]), ("std", &[6])];
        assert!(unused(&of_inputs, false, &ends).to_string().contains("of the inputs"));
    }

    #[test]
    fn gradients_are_left_out() {
        let tensors = [("dW1", &[6_usize, 8][..]), ("db1", &[8])];
        let used = vec![("W1".to_owned(), vec![6, 8]), ("b1".to_owned(), vec![8])];
        let ends = Ends { used, ..Ends::default() };
        let message = unused(&tensors, false, &ends).to_string();
        assert!(message.ends_with("--allow-unused dW1 --allow-unused db1"), "{message}");
        let lone = unused(&tensors[..1], false, &Ends::default()).to_string();
        assert!(lone.contains("may be the weights of a layer"), "{lone}");
    }

    #[test]
    fn a_vector_alone_is_no_copy() {
        let average = [("average", &[3_usize][..])];
        let message = unused(&average, false, &Ends::default()).to_string();
        assert!(!message.contains("--allow-unused average"), "{message}");
        let copy = [("ema.0.weight", &[3_usize, 8][..]), ("ema.0.bias", &[3])];
        let message = unused(&copy, false, &Ends::default()).to_string();
        assert!(message.ends_with("--allow-unused ema.0.weight --allow-unused ema.0.bias"));
    }
}
