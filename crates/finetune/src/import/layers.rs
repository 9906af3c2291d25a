//! The layers of a network of which a file has tensors alone, as somebody describes them in full.

use std::path::Path;

use fireclay::{Activation, HiddenLayer, MlpConfig, Norm};
use train::settings::{Partial, SettingsError};

/// The layers of a network of which the file has tensors alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Layers {
    /// The hidden layers, from input to output.
    pub hidden: Vec<SaidLayer>,
    /// Whether the output layer adds a bias.
    pub output_bias: bool,
}

/// A hidden layer as somebody described it.
#[derive(Clone, Debug, PartialEq)]
pub struct SaidLayer {
    /// All of it; of width 0 if that is left to the file.
    pub layer: HiddenLayer,
    /// Whether that has the number that its norm adds to a variance.
    pub says_epsilon: bool,
    /// Whether that has the slope of its leaky relu.
    pub says_slope: bool,
}

/// Why a file describes no layers.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    /// It cannot be read, or is no TOML.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It sets something else.
    #[error("the file sets {key}; give hidden layers alone, each as [[model.layers]]")]
    Other {
        /// What it sets.
        key: String,
    },
    /// A layer is not described as it should be.
    #[error("a layer of the file is not as in settings: {message}")]
    Bad {
        /// Why.
        message: String,
    },
    /// It says of a layer what has no effect there.
    #[error("{key} of layer {layer} of the file has no effect without {needed}; leave it out")]
    Idle {
        /// What it says.
        key: &'static str,
        /// The layer, counted from 1.
        layer: usize,
        /// What it would belong to.
        needed: &'static str,
    },
    /// It has no layer.
    #[error("the file describes no hidden layer; give each as [[model.layers]]")]
    None,
}

impl Layers {
    /// Reads `[[model.layers]]` as a settings file has it, and beside it `output_bias` alone; a width
    /// may be left out.
    ///
    /// # Errors
    ///
    /// A [`LayersError`]: the file cannot be read, says something else, or describes no layer.
    pub fn read(path: &Path) -> Result<Self, LayersError> {
        let Partial { table, .. } = Partial::file(path)?;
        let model = table.get("model").and_then(|model| model.as_table()).cloned();
        let model = model.unwrap_or_default();
        let of_others = table.keys().filter(|key| *key != "model").cloned();
        let of_model =
            model.keys().filter(|key| !["layers", "output_bias"].contains(&key.as_str()));
        if let Some(key) = of_others.chain(of_model.map(|key| format!("model.{key}"))).next() {
            return Err(LayersError::Other { key });
        }
        let says = |at: usize, key: &str| {
            let layer = model.get("layers").and_then(|layers| layers.get(at));
            layer.is_some_and(|layer| layer.get(key).is_some())
        };
        let config: MlpConfig = model
            .clone()
            .try_into()
            .map_err(|error| LayersError::Bad { message: format!("{error}").trim().to_owned() })?;
        if config.layers.is_empty() {
            return Err(LayersError::None);
        }
        for (at, layer) in config.layers.iter().enumerate() {
            let is_leaky = layer.activation == Activation::LeakyRelu;
            let has_norm = layer.norm != Norm::None;
            let idle = [
                ("leaky_slope", is_leaky, "activation = \"leaky-relu\""),
                ("norm_position", has_norm, "a norm"),
                ("norm_epsilon", has_norm, "a norm"),
            ];
            let idle = idle.into_iter().find(|(key, has_effect, _)| !has_effect && says(at, key));
            if let Some((key, _, needed)) = idle {
                return Err(LayersError::Idle { key, layer: at + 1, needed });
            }
        }
        let hidden = config.layers.into_iter().enumerate().map(|(at, layer)| SaidLayer {
            says_epsilon: says(at, "norm_epsilon"),
            says_slope: says(at, "leaky_slope"),
            layer,
        });
        Ok(Self { hidden: hidden.collect(), output_bias: config.output_bias })
    }
}

#[cfg(test)]
mod tests {
    use fireclay::NormPosition;

    use super::*;

    fn read(text: &str) -> Result<Layers, LayersError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Layers::read(file.path())
    }

    #[test]
    fn each_layer_is_a_record_as_in_a_settings_file() {
        let text = "[model]\noutput_bias = false\n[[model.layers]]\nactivation = \"gelu\"\n\
                    norm = \"layer\"\nnorm_position = \"input\"\nnorm_epsilon = 1e-6\n\
                    [[model.layers]]\nwidth = 3\nbias = false\n";
        let Layers { hidden, output_bias } = read(text).unwrap();
        assert!(!output_bias && hidden[0].says_epsilon && !hidden[1].says_epsilon);
        let first = &hidden[0].layer;
        let found = (first.activation, first.norm, first.norm_position, first.norm_epsilon);
        assert_eq!(found, (Activation::Gelu, Norm::Layer, NormPosition::Input, 1e-6));
        assert_eq!((first.width, hidden[1].layer.width, hidden[1].layer.bias), (0, 3, false));
        for (text, words) in [
            ("", "describes no hidden layer"),
            ("[data]\nsource = \"mnist\"", "the file sets data;"),
            ("[model]\nnorm = \"batch\"", "sets model.norm;"),
            ("[[model.layers]]\nbreadth = 3", "breadth"),
            ("[[model.layers]]\nactivation = \"rellu\"", "rellu"),
            (
                "[[model.layers]]\n[[model.layers]]\nleaky_slope = 0.3",
                "leaky_slope of layer 2 of the file has no effect without activation",
            ),
            ("[[model.layers]]\nnorm_epsilon = 0.1", "norm_epsilon of layer 1"),
            ("[[model.layers]]\nnorm_position = \"input\"", "norm_position of layer 1"),
            ("[[model.layers]", "TOML"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
