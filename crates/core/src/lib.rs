//! Multilayer perceptrons on [Burn](burn): from a configuration to a trained model in one safe file.
//!
//! [`MlpConfig`] describes a network, of which [`Mlp::init`] builds one on a device; a [`Model`] is an
//! `Mlp` with its task, preprocessing and provenance, and is what a model file holds. What a model is
//! without a device is in [`fireclay_model`], which this crate hands on.
//!
//! ```no_run
//! use fireclay::{Backend, DeviceChoice, Model, Prediction};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Backend::Flex.device(DeviceChoice::Default)?;
//! let model = Model::load("runs/first/model.safetensors", &device)?;
//! let image = [0.0; 784]; // raw pixels, 0 to 255: the model knows how to scale them
//! if let Prediction::Class { label, probability, .. } = &model.predict(&[image])?[0] {
//!     assert!(!label.is_empty() && *probability > 0.0);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here names a backend except the [`Backend`] list: every other function takes a
//! [`Device`], and a test suite runs unchanged on each. Nothing here prints, reads a clock or has
//! a default device; the only files touched are model files; the only randomness comes from the
//! seed that is passed in.
//!
//! Why initial weights and dropout masks are drawn on the host, when a device could draw them
//! faster: so that every backend starts from, and continues with, the same bits, and the difference
//! between two backends is their arithmetic and nothing else.

mod activation;
mod backend;
mod dropout;
mod ensemble;
mod front;
mod input;
mod loaded;
mod lora;
mod loss;
mod mlp;
mod model;
mod norm;
mod parameter;
mod preprocessing;
mod targets;

pub use activation::activate;
pub use backend::{Backend, BackendError, DeviceChoice, FoundDevice};
pub use burn::tensor::Device;
pub use dropout::DropoutKey;
pub use fireclay_model::{
    self as host, Activation, Adapter, AdapterError, AdapterFileError, AdapterSide, Analyzer,
    Ancestor, Architecture, Average, BiasInitializer, Boolean, Category, CategoryEncoding, Centre,
    Channels, Checkpoint, Committee, ConfigError, Conformal, Date, DateFormat, DatePart, Decision,
    DecisionError, Dense, Description, Detail, Drawn, EncodedRows, Encoder, Ensemble, Field,
    FieldKind, FrameNormalization, FrontChoice, FrontParameter, FrontPart, HiddenLayer,
    Initializer, Ink, InputError, InputSpec, Intervals, IntervalsError, LEAKY_SLOPE, Lora,
    MelScale, MlpConfig, ModelFileError, ModelFileProblem, NORM_EPSILON, NamedTensor, NgramRange,
    Norm, NormPart, NormPosition, Number, NumberEncoding, NumberScaling, ParameterPath,
    Parametrization, PeriodicEmbedding, PictureShape, Pictures, PicturesError, Placement,
    Prediction, Predictor, Preprocessing, PreprocessingError, Provenance, RowError, Skip,
    SkipPosition, SoundColumns, Sounds, SoundsError, SparseRows, TargetScaling, TargetScalingError,
    Task, TaskError, TermPlaces, Text, TextBag, TextWeighting, UnknownName, UnknownParameter,
    UnlikelyBytes, Value, ValueProblem, Vocabulary, Weighting, check_positive, check_quantiles,
    check_row, first_largest, model_file, nearest,
};
pub use front::{FrontLayer, MemberScales, Scales, TouchedRows};
pub use input::NetworkInput;
pub use loaded::{LoadError, Loaded, ValuesError};
pub use lora::LowRank;
pub use loss::{CrossEntropy, Huber, Loss, LossError, Quantile};
pub use mlp::{Mlp, ParameterSource, unreadable};
pub use model::{Model, PredictError};
pub use norm::NormLayer;
pub use preprocessing::{prepare, scaling};
pub use targets::{TargetTensor, restored, standardized};
