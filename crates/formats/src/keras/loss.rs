//! The meaning of outputs by the loss that a model was compiled with.

use serde_json::Value;

use crate::{Activation, Layer, Network, OutputKind, Tensor};

/// A loss, as far as it shows the meaning of outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    /// One class of several.
    Categorical,
    /// Each output is a label of its own, or the second of two classes if it is the only one.
    Binary { of_logits: bool },
    /// Numbers.
    Numbers,
}

/// Returns the meaning of the outputs, if the loss shows it. The only output that is a logit gets
/// its sigmoid, which Keras leaves to the loss.
pub(super) fn task(
    loss: &Value,
    network: &mut Network,
    tensors: &[Tensor],
    notes: &mut Vec<String>,
) -> Option<OutputKind> {
    let loss = named(loss)?;
    let outputs = outputs(&network.layers, tensors)?;
    let end = match network.layers.last() {
        Some(Layer::Activation(found)) => found.name.as_str(),
        _ => "linear",
    };
    match (end, loss) {
        // Shares of 1 are those of classes, whatever they were compared with.
        ("softmax" | "log-softmax", _) | (_, Loss::Categorical) => Some(OutputKind::Classification),
        ("sigmoid", Loss::Binary { .. }) | ("linear", Loss::Binary { of_logits: true })
            if outputs > 1 =>
        {
            Some(OutputKind::MultiLabel)
        }
        ("sigmoid", Loss::Binary { .. }) => Some(OutputKind::Classification),
        ("linear", Loss::Binary { of_logits: true }) => {
            let sigmoid = Activation { name: "sigmoid".to_owned(), constants: [].into() };
            network.layers.push(Layer::Activation(sigmoid));
            notes.push(
                "the loss takes the only output for a logit, that of the second class".into(),
            );
            Some(OutputKind::Classification)
        }
        (_, Loss::Numbers) => Some(OutputKind::Regression),
        _ => None,
    }
}

/// Returns the number of outputs of the layers.
fn outputs(layers: &[Layer], tensors: &[Tensor]) -> Option<usize> {
    layers.iter().rev().find_map(|layer| match layer {
        Layer::Dense { weight, .. } => {
            tensors.iter().find(|tensor| tensor.name == *weight)?.shape.last().copied()
        }
        Layer::Residual(inner) => outputs(inner, tensors),
        _ => None,
    })
}

/// The loss of a configuration: a name, an object with a class, or a list or object of one.
fn named(loss: &Value) -> Option<Loss> {
    let (name, of_logits) = match loss {
        Value::String(name) => (name.as_str(), false),
        Value::Array(losses) => match &losses[..] {
            [only] => return named(only),
            _ => return None,
        },
        Value::Object(object) => match (&loss["class_name"], &loss["config"]) {
            // A function by its name.
            (Value::String(class), Value::String(name)) if class == "function" => {
                (name.as_str(), false)
            }
            (Value::String(class), config) => (class.as_str(), config["from_logits"] == true),
            _ => match object.values().collect::<Vec<_>>()[..] {
                [only] => return named(only),
                _ => return None,
            },
        },
        _ => return None,
    };
    // As a function and as a class: binary_crossentropy and BinaryCrossentropy.
    let name: String = name.chars().filter(|&c| c != '_').collect();
    Some(match name.to_ascii_lowercase().as_str() {
        "categoricalcrossentropy"
        | "sparsecategoricalcrossentropy"
        | "categoricalfocalcrossentropy"
        | "categoricalhinge" => Loss::Categorical,
        "binarycrossentropy" | "binaryfocalcrossentropy" => Loss::Binary { of_logits },
        "meansquarederror"
        | "mse"
        | "meanabsoluteerror"
        | "mae"
        | "huber"
        | "huberloss"
        | "logcosh"
        | "meanabsolutepercentageerror"
        | "mape"
        | "meansquaredlogarithmicerror"
        | "msle"
        | "poisson" => Loss::Numbers,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn losses_by_name_class_list_and_object() {
        let binary = |of_logits| Some(Loss::Binary { of_logits });
        for (loss, expected) in [
            (json!("mse"), Some(Loss::Numbers)),
            (json!(["mean_absolute_error"]), Some(Loss::Numbers)),
            (json!({"out": "sparse_categorical_crossentropy"}), Some(Loss::Categorical)),
            (json!({"class_name": "function", "config": "binary_crossentropy"}), binary(false)),
            (
                json!({"class_name": "BinaryCrossentropy", "config": {"from_logits": true}}),
                binary(true),
            ),
            (json!({"class_name": "Huber", "config": {}}), Some(Loss::Numbers)),
            (json!(["mse", "mse"]), None),
            (json!({"a": "mse", "b": "mse"}), None),
            (json!("my_loss"), None),
            (json!(null), None),
        ] {
            assert_eq!(named(&loss), expected, "{loss}");
        }
    }
}
