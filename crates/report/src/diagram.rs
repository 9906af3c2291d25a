//! The layers of a network with their parameters, from input to output.

use fireclay::{
    Architecture, FrontPart, HiddenLayer, NormPosition, ParameterPath, SkipPosition, Task,
};

/// A box of the diagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiagramLayer {
    /// What it is.
    pub(crate) name: String,
    /// Its size.
    pub(crate) size: String,
    /// What else it does, in order.
    pub(crate) parts: Vec<String>,
    /// Parameters in it.
    pub(crate) parameters: usize,
}

/// The boxes of a network.
pub(crate) fn layers(network: &Architecture, task: &Task) -> Vec<DiagramLayer> {
    let mut all = vec![input(network)];
    all.extend(network.hidden.iter().enumerate().map(|(i, layer)| hidden(network, i, layer)));
    all.push(output(network, task));
    all
}

fn input(network: &Architecture) -> DiagramLayer {
    let shape: Vec<String> = network.input_shape.iter().map(ToString::to_string).collect();
    let size = match shape.len() {
        1 => grouped(network.inputs()),
        _ => format!("{} = {}", shape.join(" × "), grouped(network.inputs())),
    };
    let mut parts: Vec<String> = network.front.iter().map(in_words).collect();
    if network.scaling {
        parts.push("scaling".to_owned());
    }
    if let Some(ensemble) = network.ensemble {
        parts.push(format!("scales of {} members", ensemble.members));
    }
    parts.extend(dropout(network.input_dropout));
    let before = network.trainable().into_iter().filter(|(path, _)| {
        matches!(path, ParameterPath::Front(..) | ParameterPath::Scaling | ParameterPath::Members)
    });
    let parameters = before.map(|(_, shape)| shape.iter().product::<usize>()).sum();
    DiagramLayer { name: "input".to_owned(), size, parts, parameters }
}

/// A part of the front stage.
fn in_words(part: &FrontPart) -> String {
    match part {
        FrontPart::Pass { columns } => format!("{columns} as they are"),
        FrontPart::Embedding { levels, width } => format!("embedding {levels} → {width}"),
        FrontPart::Periodic { columns, width, .. } => {
            format!("periodic {columns} → {}", columns * width)
        }
        FrontPart::Bag { terms, width, activation } => {
            format!("bag {} → {width} {activation}", grouped(*terms))
        }
    }
}

fn hidden(network: &Architecture, i: usize, layer: &HiddenLayer) -> DiagramLayer {
    let mut shown = dense(network, i);
    let mut parts = Vec::new();
    parts.extend(norm(layer, NormPosition::Input));
    parts.append(&mut shown.parts);
    parts.extend(skip(layer, i, SkipPosition::BeforeNorm));
    parts.extend(norm(layer, NormPosition::BeforeActivation));
    parts.extend(skip(layer, i, SkipPosition::BeforeActivation));
    parts.push(layer.activation_in_words());
    parts.extend(norm(layer, NormPosition::AfterActivation));
    parts.extend(dropout(layer.dropout));
    parts.extend(skip(layer, i, SkipPosition::Output));
    shown.parameters += network.norm_width(i).map_or(0, |width| 2 * width);
    shown.parameters += if layer.parametric { layer.width } else { 0 };
    DiagramLayer { parts, ..shown }
}

fn norm(layer: &HiddenLayer, position: NormPosition) -> Option<String> {
    layer.has_norm_at(position).then(|| format!("{} norm", layer.norm))
}

/// The skip connection that ends at a position of hidden layer `i`.
fn skip(layer: &HiddenLayer, i: usize, position: SkipPosition) -> Option<String> {
    match layer.skips_at(position)? {
        1 => Some("+ input".to_owned()),
        span => Some(format!("+ input of layers.{}", i + 1 - span)),
    }
}

fn output(network: &Architecture, task: &Task) -> DiagramLayer {
    let mut layer = dense(network, network.hidden.len());
    match task {
        Task::Classification { .. } => layer.parts.push("softmax".to_owned()),
        Task::MultiLabel { .. } => layer.parts.push("sigmoid".to_owned()),
        Task::Regression { .. } => {}
    }
    layer
}

fn dense(network: &Architecture, i: usize) -> DiagramLayer {
    let [inputs, outputs] = network.sizes(i);
    let mut parts = Vec::new();
    let mut parameters = inputs * outputs;
    if network.has_bias(i) {
        parameters += outputs;
    } else {
        parts.push("no bias".to_owned());
    }
    if let Some(lora) = network.adapter(i) {
        parts.push(format!("adapter of rank {}", lora.rank));
        parameters += lora.rank * (inputs + outputs);
    }
    let size = format!("{} → {}", grouped(inputs), grouped(outputs));
    DiagramLayer { name: format!("layers.{i}"), size, parts, parameters }
}

fn dropout(rate: f64) -> Option<String> {
    (rate > 0.0).then(|| format!("dropout {rate}"))
}

/// A number with commas: `101,770`.
pub(crate) fn grouped(number: usize) -> String {
    fireclay_terminal::group(number as u64)
}

#[cfg(test)]
mod tests {
    use fireclay::{Average, Ensemble, Lora, MlpConfig, Norm};

    use super::*;

    #[test]
    fn the_parameters_are_those_of_the_network() {
        for norm in [Norm::None, Norm::Batch] {
            for lora in [
                None,
                Some(Lora {
                    rank: 2,
                    layers: vec![0, 2],
                    alpha: 4.0,
                    dropout: 0.0,
                    rank_stabilized: false,
                }),
            ] {
                let config = MlpConfig {
                    norm,
                    lora,
                    dropout: 0.5,
                    input_dropout: 0.25,
                    residual: true,
                    ..MlpConfig::new([4, 4], [8, 8], 3)
                };
                let network = config.architecture().unwrap();
                let all = layers(&network, &Task::numbered_classes(3));
                let sum: usize = all.iter().map(|layer| layer.parameters).sum();
                assert_eq!((all.len(), sum), (4, network.parameters()));
                assert_eq!(all[0].size, "4 × 4 = 16");
                assert_eq!(all[2].parts.last().unwrap(), "+ input");
                assert_eq!(all[3].parts.last().unwrap(), "softmax");
            }
        }
    }

    #[test]
    fn what_precedes_the_first_layer_is_counted_with_the_input() {
        let periodic = FrontPart::Periodic { columns: 2, frequencies: 3, width: 4, sigma: 0.1 };
        let config = MlpConfig {
            front: vec![FrontPart::Embedding { levels: 5, width: 2 }, periodic],
            scaling: true,
            parametric: true,
            ensemble: Some(Ensemble { members: 3, average: Average::Softmax }),
            ..MlpConfig::new([3], [8, 8], 3)
        };
        let network = config.architecture().unwrap();
        let all = layers(&network, &Task::numbered_classes(3));
        let sum: usize = all.iter().map(|layer| layer.parameters).sum();
        assert_eq!(sum, network.parameters());
        let parts = ["embedding 5 → 2", "periodic 2 → 8", "scaling", "scales of 3 members"];
        assert_eq!(all[0].parts, parts);
    }

    #[test]
    fn numbers_have_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
