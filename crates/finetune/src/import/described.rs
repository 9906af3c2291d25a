//! A network that its file describes.

use fireclay::{Activation, Norm};
use fireclay_formats as formats;
use fireclay_formats::{Layer, Network};

use super::{Dense, ImportError, NormTensors, Output, Sketch};

/// What stands between two linear layers.
#[derive(Debug, Default)]
struct Between<'a> {
    norm: Option<(Norm, f64, NormTensors)>,
    activation: Option<&'a formats::Activation>,
    dropout: Option<f64>,
}

/// Reads a network layer by layer.
pub(super) fn sketch(network: &Network) -> Result<Sketch, ImportError> {
    let mut sketch = Sketch { input_shape: network.input_shape.clone(), ..Sketch::default() };
    let mut between: Vec<Between<'_>> = Vec::new();
    for layer in &network.layers {
        let current = between.last_mut();
        match (layer, current) {
            (Layer::Flatten, _) => {}
            (Layer::Dense { weight, bias, layout }, _) => {
                let dense = Dense { weight: weight.clone(), bias: bias.clone(), layout: *layout };
                sketch.layers.push(dense);
                between.push(Between::default());
            }
            (Layer::Rescale { scale, offset }, None) if sketch.standardize.is_none() => {
                let (factor, shift) = sketch.affine.unwrap_or((1.0, 0.0));
                sketch.affine = Some((factor * scale, shift * scale + offset));
            }
            (Layer::Dropout(rate), None) => sketch.input_dropout = *rate,
            (Layer::Dropout(rate), Some(current)) => current.dropout = Some(*rate),
            (Layer::Activation(found), Some(current)) if current.activation.is_none() => {
                current.activation = Some(found);
            }
            (Layer::Norm { kind, scale, shift, mean, variance, epsilon }, Some(current))
                if current.activation.is_none() && current.norm.is_none() =>
            {
                let kind = match kind {
                    formats::Norm::Batch => Norm::Batch,
                    formats::Norm::Layer => Norm::Layer,
                };
                let tensors = NormTensors {
                    scale: scale.clone(),
                    shift: shift.clone(),
                    mean: mean.clone(),
                    variance: variance.clone(),
                };
                current.norm = Some((kind, *epsilon, tensors));
            }
            // Keras' `Normalization`: fixed statistics of each feature.
            (
                Layer::Norm {
                    kind: formats::Norm::Batch,
                    scale: None,
                    shift: None,
                    mean: Some(mean),
                    variance: Some(variance),
                    epsilon: 0.0,
                },
                None,
            ) if sketch.standardize.is_none() => {
                sketch.standardize = Some([mean.clone(), variance.clone()]);
            }
            (Layer::Norm { .. }, _) => {
                return Err(ImportError::unsupported(
                    "the file has a norm behind an activation, or before the first layer",
                    "here norms stand between the linear map and the activation",
                ));
            }
            (other, _) => {
                return Err(ImportError::unsupported(
                    format!("the file has {other:?} where no such layer can stand"),
                    "a network is linear maps, each with a norm, an activation and dropout behind it",
                ));
            }
        }
    }
    let Some(last) = between.pop() else {
        return Err(ImportError::unsupported("the file describes no linear layer", "it has none"));
    };
    sketch.output = Some(output(&last)?);
    hidden(&mut sketch, &between)?;
    Ok(sketch)
}

/// What is done to the last layer's outputs.
fn output(last: &Between<'_>) -> Result<Output, ImportError> {
    if last.norm.is_some() {
        return Err(ImportError::unsupported(
            "the file has a norm behind its last layer",
            "here the last layer is linear",
        ));
    }
    match last.activation.map(|found| found.name.as_str()) {
        None | Some("identity") => Ok(Output::Identity),
        Some("softmax" | "log-softmax") => Ok(Output::Softmax),
        Some("sigmoid") => Ok(Output::Sigmoid),
        Some(other) => Err(ImportError::unsupported(
            format!("the file has {other} behind its last layer"),
            "here the last layer is linear, with softmax or sigmoid by its task",
        )),
    }
}

/// What hidden layers have in common, which must be everything.
fn hidden(sketch: &mut Sketch, between: &[Between<'_>]) -> Result<(), ImportError> {
    let Some(first) = between.first() else {
        // Without a hidden layer there is nothing that could differ.
        sketch.activation = Some(Activation::default());
        return Ok(());
    };
    let differ = |what: &str| {
        ImportError::unsupported(
            format!("the hidden layers of the file differ in their {what}"),
            "here all hidden layers are alike but for their widths",
        )
    };
    let name =
        |layer: &Between<'_>| layer.activation.map_or("identity", |found| &found.name).to_owned();
    if between.iter().any(|layer| name(layer) != name(first)) {
        return Err(differ("activation"));
    }
    sketch.activation = Some(activation(first.activation)?);
    for layer in between {
        activation(layer.activation)?;
    }
    // Dropout says nothing of what the network computes: one rate can stand for those of a file.
    let rates: Vec<f64> = between.iter().map(|layer| layer.dropout.unwrap_or(0.0)).collect();
    sketch.dropout = rates.iter().copied().fold(0.0, f64::max);
    let kinds: Vec<Option<(Norm, f64)>> =
        between.iter().map(|layer| layer.norm.as_ref().map(|(kind, e, _)| (*kind, *e))).collect();
    if kinds.iter().any(|kind| *kind != kinds[0]) {
        return Err(differ("normalisation"));
    }
    if let Some((kind, epsilon)) = kinds[0] {
        (sketch.norm, sketch.norm_epsilon) = (Some(kind), Some(epsilon));
        let norms = between.iter().filter_map(|layer| layer.norm.as_ref());
        sketch.norms = norms.map(|(_, _, tensors)| tensors.clone()).collect();
    } else {
        sketch.norm = Some(Norm::None);
    }
    Ok(())
}

/// One of our activations, with our constants.
fn activation(found: Option<&formats::Activation>) -> Result<Activation, ImportError> {
    let Some(found) = found else { return Ok(Activation::Identity) };
    if let Some((constant, value)) = found.constants.iter().next() {
        return Err(ImportError::unsupported(
            format!("the file has {} with {constant} = {value}", found.name),
            "here it has PyTorch's constants and no others",
        ));
    }
    found.name.parse().map_err(|error: fireclay::UnknownName| {
        ImportError::unsupported(
            format!("the file has the activation {}", found.name),
            error.to_string(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fireclay_formats::Layout;

    fn dense(name: &str) -> Layer {
        let (weight, bias) = (format!("{name}/kernel"), Some(format!("{name}/bias")));
        Layer::Dense { weight, bias, layout: Layout::InOut }
    }

    fn function(name: &str) -> Layer {
        Layer::Activation(formats::Activation { name: name.to_owned(), constants: [].into() })
    }

    fn batch_norm() -> Layer {
        Layer::Norm {
            kind: formats::Norm::Batch,
            scale: None,
            shift: Some("s".to_owned()),
            mean: Some("m".to_owned()),
            variance: Some("v".to_owned()),
            epsilon: 1e-3,
        }
    }

    fn read(layers: Vec<Layer>) -> Result<Sketch, ImportError> {
        sketch(&Network { input_shape: None, layers })
    }

    #[test]
    fn a_rich_network_is_read_layer_by_layer() {
        let layers = vec![
            Layer::Rescale { scale: 0.5, offset: 0.0 },
            Layer::Rescale { scale: 2.0, offset: -1.0 },
            Layer::Flatten,
            Layer::Dropout(0.1),
            dense("a"),
            batch_norm(),
            function("gelu"),
            Layer::Dropout(0.2),
            dense("b"),
            batch_norm(),
            function("gelu"),
            dense("c"),
            function("softmax"),
        ];
        let sketch = read(layers).unwrap();
        assert_eq!(sketch.layers.len(), 3);
        assert_eq!(sketch.activation, Some(Activation::Gelu));
        assert_eq!((sketch.norm, sketch.norm_epsilon), (Some(Norm::Batch), Some(1e-3)));
        assert_eq!((sketch.input_dropout, sketch.dropout), (0.1, 0.2));
        assert_eq!(sketch.output, Some(Output::Softmax));
        assert_eq!(sketch.affine, Some((1.0, -1.0)));
    }

    #[test]
    fn fixed_statistics_before_the_first_layer_are_preprocessing() {
        let mut normalization = batch_norm();
        if let Layer::Norm { shift, epsilon, .. } = &mut normalization {
            (*shift, *epsilon) = (None, 0.0);
        }
        let sketch = read(vec![normalization.clone(), dense("a")]).unwrap();
        assert_eq!(sketch.standardize, Some(["m".to_owned(), "v".to_owned()]));
        assert!(read(vec![normalization.clone(), normalization, dense("a")]).is_err());
    }

    #[test]
    fn what_is_no_network_of_ours_is_refused() {
        let leaky = formats::Activation {
            name: "leaky-relu".to_owned(),
            constants: [("slope".to_owned(), 0.3)].into(),
        };
        for (layers, words) in [
            (vec![], "no linear layer"),
            (vec![batch_norm(), dense("a")], "norm behind"),
            (vec![dense("a"), function("relu"), batch_norm(), dense("b")], "norm behind"),
            (vec![dense("a"), batch_norm(), dense("b"), dense("c")], "normalisation"),
            (vec![dense("a"), function("relu"), dense("b"), dense("c")], "activation"),
            (vec![dense("a"), function("relu"), function("tanh"), dense("b")], "where no such"),
            (vec![dense("a"), function("relu")], "behind its last layer"),
            (vec![dense("a"), function("swoosh"), dense("b")], "swoosh"),
            (vec![dense("a"), Layer::Activation(leaky), dense("b")], "slope = 0.3"),
            (vec![dense("a"), Layer::Rescale { scale: 2.0, offset: 0.0 }], "where no such"),
        ] {
            let error = read(layers).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
