//! The layers of a network with their parameters, from input to output.

use fireclay::{MlpConfig, Norm, Task};

/// A box of the diagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
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
pub(crate) fn layers(config: &MlpConfig, task: &Task) -> Vec<Layer> {
    let sizes = config.layer_sizes();
    let count = sizes.len();
    let mut all = vec![input(config)];
    all.extend(sizes.into_iter().enumerate().map(|(i, sizes)| {
        if i + 1 == count { output(config, task, i, sizes) } else { hidden(config, i, sizes) }
    }));
    all
}

fn input(config: &MlpConfig) -> Layer {
    let shape: Vec<String> = config.input_shape.iter().map(ToString::to_string).collect();
    let size = match shape.len() {
        1 => grouped(config.inputs()),
        _ => format!("{} = {}", shape.join(" × "), grouped(config.inputs())),
    };
    let parts = dropout(config.input_dropout).into_iter().collect();
    Layer { name: "input".to_owned(), size, parts, parameters: 0 }
}

fn hidden(config: &MlpConfig, i: usize, [inputs, outputs]: [usize; 2]) -> Layer {
    let mut layer = dense(config, i, [inputs, outputs]);
    if config.norm != Norm::None {
        layer.parts.push(format!("{} norm", config.norm));
        layer.parameters += 2 * outputs;
    }
    layer.parts.push(config.activation_in_words());
    layer.parts.extend(dropout(config.dropout));
    if config.residual && inputs == outputs {
        layer.parts.push("+ input".to_owned());
    }
    layer
}

fn output(config: &MlpConfig, task: &Task, i: usize, sizes: [usize; 2]) -> Layer {
    let mut layer = dense(config, i, sizes);
    match task {
        Task::Classification { .. } => layer.parts.push("softmax".to_owned()),
        Task::MultiLabel { .. } => layer.parts.push("sigmoid".to_owned()),
        Task::Regression { .. } => {}
    }
    layer
}

fn dense(config: &MlpConfig, i: usize, [inputs, outputs]: [usize; 2]) -> Layer {
    let mut parts = Vec::new();
    let mut parameters = inputs * outputs + outputs;
    if let Some(lora) = config.lora.as_ref().filter(|lora| lora.layers.contains(&i)) {
        parts.push(format!("adapter of rank {}", lora.rank));
        parameters += lora.rank * (inputs + outputs);
    }
    let size = format!("{} → {}", grouped(inputs), grouped(outputs));
    Layer { name: format!("layers.{i}"), size, parts, parameters }
}

fn dropout(rate: f64) -> Option<String> {
    (rate > 0.0).then(|| format!("dropout {rate}"))
}

/// A number with commas: `101,770`.
pub(crate) fn grouped(number: usize) -> String {
    train::group(number as u64)
}

#[cfg(test)]
mod tests {
    use fireclay::Lora;

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
                let all = layers(&config, &Task::numbered_classes(3));
                let sum: usize = all.iter().map(|layer| layer.parameters).sum();
                assert_eq!((all.len(), sum), (4, config.parameters()));
                assert_eq!(all[0].size, "4 × 4 = 16");
                assert_eq!(all[2].parts.last().unwrap(), "+ input");
                assert_eq!(all[3].parts.last().unwrap(), "softmax");
            }
        }
    }

    #[test]
    fn numbers_have_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
