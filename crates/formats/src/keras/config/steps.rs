//! The effect of each layer on a sample.

use serde_json::Value;

use super::{Entry, Statistics, Step, size, unwrapped};
use crate::error::{shown, shown_shape};
use crate::{Norm, Problem};

/// The size of each dimension where it is known.
pub(super) type Shape = Vec<Option<usize>>;

/// The known properties of a sample on its way.
pub(super) struct Sample {
    /// None if nothing says it, not even how many dimensions there are.
    pub(super) shape: Option<Shape>,
    /// True if a Keras before 3 wrote the file.
    pub(super) old: bool,
}

impl Sample {
    /// Returns the step of a layer, and changes the sample's shape to the one it leads to.
    pub(super) fn step(&mut self, layer: &Entry<'_>) -> Result<Step, Problem> {
        Ok(match layer.class {
            // What these do, they do in training alone.
            "InputLayer"
            | "ActivityRegularization"
            | "GaussianNoise"
            | "GaussianDropout"
            | "AlphaDropout"
            | "Identity" => Step::Nothing,
            "Flatten" => {
                self.must_keep_order(layer)?;
                self.flatten();
                Step::Flatten
            }
            "Reshape" => self.reshape(layer)?,
            "PReLU" => {
                self.must_be_flat(layer)?;
                Step::Prelu
            }
            "Rescaling" => {
                let (scale, offset) = (layer.number("scale", 1.0)?, layer.number("offset", 0.0)?);
                Step::Rescale { scale, offset }
            }
            "Normalization" => self.normalization(layer)?,
            "Dense" => self.dense(layer)?,
            // The first two are names of TensorFlow 1 and 2; the third differs in training alone.
            "BatchNormalizationV1"
            | "BatchNormalizationV2"
            | "SyncBatchNormalization"
            | "BatchNormalization" => self.norm(layer, Norm::Batch)?,
            "LayerNormalization" => {
                if layer.flag("rms_scaling", false)? {
                    let why = "it is no layer norm; use rms_scaling=False";
                    return Err(layer.refused("with rms_scaling", why));
                }
                self.norm(layer, Norm::Layer)?
            }
            "RMSNormalization" => {
                self.must_be_flat(layer)?;
                self.must_be_last(layer)?;
                let epsilon = layer.number("epsilon", 1e-6)?;
                Step::Norm { kind: Norm::Rms, scale: true, shift: false, epsilon }
            }
            "Dropout" => {
                // The name of Keras 1.
                let rate = layer.number("p", 0.0)?;
                let rate = layer.number("rate", rate)?;
                if !(0.0..1.0).contains(&rate) {
                    return Err(layer.malformed(&format!("has a rate of {rate}")));
                }
                Step::Dropout(rate)
            }
            "Activation" => match self.function(layer, &layer.config["activation"])? {
                Some(activation) => Step::Activation(activation),
                None => Step::Nothing,
            },
            "Negative" => Step::Rescale { scale: -1.0, offset: 0.0 },
            class if class.starts_with("SpatialDropout") => Step::Nothing,
            _ => match self.function_layer(layer)? {
                Some(activation) => Step::Activation(activation),
                None => return Err(unknown(layer)),
            },
        })
    }

    fn flatten(&mut self) {
        let size = self.shape.as_ref().and_then(|shape| {
            shape.iter().try_fold(1_usize, |size, &next| size.checked_mul(next?))
        });
        self.shape = Some(vec![size]);
    }

    /// `Reshape`, which keeps the numbers of a sample in their order.
    fn reshape(&mut self, layer: &Entry<'_>) -> Result<Step, Problem> {
        // That of keras.ops has the samples first.
        let of_operation = match layer.config["newshape"].as_array().map(Vec::as_slice) {
            Some([samples, shape @ ..]) if samples == -1 => Some(shape),
            _ => None,
        };
        let target = layer.config["target_shape"].as_array().map(Vec::as_slice);
        let target = target.or(of_operation).unwrap_or_default();
        if target.len() == 1 {
            self.flatten();
            return Ok(Step::Flatten);
        }
        let shape: Vec<Option<usize>> = target.iter().map(size).collect();
        if shape.contains(&None) || shape.is_empty() {
            return Err(layer.refused("to dimensions that are not given", ONLY_FLAT));
        }
        self.shape = Some(shape);
        Ok(Step::Nothing)
    }

    fn dense(&mut self, layer: &Entry<'_>) -> Result<Step, Problem> {
        self.must_be_flat(layer)?;
        let quantised = layer.config["dtype"]["class_name"].as_str();
        if quantised.is_some_and(|class| class.contains("Quantized")) {
            let why = "its weights are no plain numbers; save the model before it is quantized";
            return Err(layer.refused("that is quantized", why));
        }
        // The name of Keras 1.
        let names = ["units", "output_dim"].map(|key| &layer.config[key]);
        let units = names
            .iter()
            .find_map(|value| value.as_u64())
            .and_then(|units| usize::try_from(units).ok());
        let units = units.ok_or_else(|| layer.malformed("has no number of units"))?;
        let activation = self.function(layer, &layer.config["activation"])?;
        match self.shape.as_mut().and_then(|shape| shape.last_mut()) {
            Some(last) => *last = Some(units),
            None => self.shape = Some(vec![Some(units)]),
        }
        let bias = layer.flag("bias", true)?;
        Ok(Step::Dense { bias: layer.flag("use_bias", bias)?, activation })
    }

    fn norm(&self, layer: &Entry<'_>, kind: Norm) -> Result<Step, Problem> {
        self.must_be_flat(layer)?;
        self.must_be_last(layer)?;
        if layer.number("mode", 0.0)? != 0.0 {
            let why = "it normalises otherwise than by the statistics of training";
            return Err(layer.refused("with another mode than 0", why));
        }
        Ok(Step::Norm {
            kind,
            scale: layer.flag("scale", true)?,
            shift: layer.flag("center", true)?,
            epsilon: layer.number("epsilon", 1e-3)?,
        })
    }

    fn normalization(&self, layer: &Entry<'_>) -> Result<Step, Problem> {
        if layer.flag("invert", false)? {
            return Err(layer.refused("that inverts", "only normalising is read"));
        }
        let all = layer.config["axis"].as_array().is_some_and(Vec::is_empty);
        let given = match (&layer.config["mean"], &layer.config["variance"]) {
            (Value::Null, Value::Null) => None,
            (mean, variance) => {
                let [mean, variance] = [mean, variance].map(|value| {
                    numbers(value).ok_or_else(|| {
                        layer.malformed("has a mean or variance that is no list of numbers")
                    })
                });
                let (mean, variance) = (mean?, variance?);
                if mean.len() != variance.len() {
                    return Err(layer.malformed("has a mean and a variance of different sizes"));
                }
                Some(Statistics { mean, variance })
            }
        };
        let one = given.as_ref().is_some_and(|given| given.mean.len() == 1);
        let each = !all && !one;
        if each {
            self.must_be_flat(layer)?;
            self.must_be_last(layer)?;
        }
        Ok(Step::Normalize { given, each })
    }

    /// Refuses `channels_first` of several dimensions: Keras moves the first to the end before it
    /// flattens, and so puts the numbers in another order.
    fn must_keep_order(&self, layer: &Entry<'_>) -> Result<(), Problem> {
        match (&layer.config["data_format"], self.shape.as_deref()) {
            (Value::Null, _) | (_, Some([] | [_])) => Ok(()),
            (format, _) if format == "channels_last" => Ok(()),
            (format, _) => {
                let format = shown(format.as_str().unwrap_or_default());
                let why = "it changes the order of the numbers; make it with channels_last, and \
                           its inputs to match";
                Err(layer.refused(&format!("with data_format {format}"), why))
            }
        }
    }

    /// Refuses what would be done to each of several rows of a sample.
    pub(super) fn must_be_flat(&self, layer: &Entry<'_>) -> Result<(), Problem> {
        match self.shape.as_deref() {
            None => Ok(()),
            Some([leading @ .., _]) if leading.iter().all(|&size| size == Some(1)) => Ok(()),
            Some(shape) => {
                let what = format!("on samples of shape {}", shown_shape(shape));
                Err(layer.refused(&what, ONLY_FLAT))
            }
        }
    }

    /// Refuses all axes but that of the features.
    pub(super) fn must_be_last(&self, layer: &Entry<'_>) -> Result<(), Problem> {
        let axis = match &layer.config["axis"] {
            Value::Array(axes) if axes.len() == 1 => &axes[0],
            axis => axis,
        };
        match axis {
            Value::Null => Ok(()),
            axis if axis == -1 => Ok(()),
            axis if *axis == self.shape.as_ref().map_or(1, Vec::len) => Ok(()),
            axis => {
                let axis = shown(&axis.to_string());
                Err(layer.refused(&format!("along axis {axis}"), "only the last axis is read"))
            }
        }
    }
}

const ONLY_FLAT: &str = "only layers on one row of numbers are read; put a Flatten before it";

/// A layer that is not read.
pub(super) fn unknown(layer: &Entry<'_>) -> Problem {
    let why = match layer.class {
        "GroupNormalization" | "UnitNormalization" | "SpectralNormalization" => {
            "of normalisations only Normalization, BatchNormalization, LayerNormalization and \
             RMSNormalization are read; train the network with one of those"
        }
        "Lambda" | "function" | "__lambda__" => {
            "it is Python code, which is never run; use Keras' layers and functions"
        }
        _ => {
            "only Dense, Flatten, Reshape, Rescaling, Normalization, BatchNormalization, \
             LayerNormalization, RMSNormalization, Dropout and noise, Add, Activation, ReLU, LeakyReLU, PReLU, ELU and \
             Softmax are read; its weights alone would not tell what it computes, so build the network \
             without this layer"
        }
    };
    layer.refused("is in the model", why)
}

/// Numbers in a row, however deep they are nested.
fn numbers(value: &Value) -> Option<Vec<f64>> {
    match unwrapped(value) {
        Value::Array(values) => {
            let parts: Option<Vec<_>> = values.iter().map(numbers).collect();
            parts.map(|parts| parts.concat())
        }
        value => Some(vec![value.as_f64()?]),
    }
}
