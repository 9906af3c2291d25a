//! Models without Burn: the architecture of a multilayer perceptron, its preprocessing, task and
//! weights, and the file that holds them.
//!
//! Nothing here prints, reads a clock or starts a thread unasked; the only files touched are model files, and
//! the only randomness comes from the seed that is passed in. The crate compiles for
//! `wasm32-unknown-unknown`.

mod activation;
mod adapter;
mod architecture;
mod committee;
mod config;
mod decision;
mod drawn;
mod encoding;
mod ensemble;
mod front;
mod initializer;
mod input;
mod intervals;
mod lora;
mod model;
pub mod model_file;
mod named;
mod parameter;
mod pictures;
mod prediction;
mod predictor;
mod preprocessing;
pub mod rng;
mod scaling;
mod sounds;
mod sparse;
mod strict;
mod task;
mod tensor;

pub use activation::Activation;
pub use adapter::{Adapter, AdapterError, AdapterFileError};
pub use architecture::{
    Architecture, HiddenLayer, NormPosition, Parametrization, Short, Skip, SkipPosition,
};
pub use committee::Committee;
pub use config::{ConfigError, LEAKY_SLOPE, MlpConfig, NORM_EPSILON, Norm};
pub use decision::{Decision, DecisionError, first_largest};
pub use drawn::Drawn;
pub use encoding::{EncodedMatrix, Encoding, EncodingError, Numbers, Scales};
pub use ensemble::{Average, Ensemble};
pub use front::{FrontChoice, FrontPart, PeriodicEmbedding, TextBag};
pub use initializer::{BiasInitializer, Initializer, initial_values};
pub use input::{
    Analyzer, BadNgramRange, Boolean, Category, CategoryEncoding, Date, DateFit, DateFormat,
    DatePart, Dense, Detail, Encoder, Field, FieldKind, Idf, InputError, InputSpec, NgramRange,
    Number, NumberEncoding, NumberFit, NumberScaling, TermPlaces, Text, TextEncoding,
    TextEncodingError, TextFit, TextWeighting, Value, ValueProblem, Vocabulary, Weighting,
};
pub use intervals::{Conformal, Intervals, IntervalsError, check_quantiles};
pub use lora::Lora;
pub use model::{Ancestor, Description, Model, Provenance};
pub use model_file::{Checkpoint, ModelFileError, ModelFileProblem};
pub use named::{UnknownName, nearest};
pub use parameter::{AdapterSide, FrontParameter, NormPart, ParameterPath, UnknownParameter};
pub use pictures::{Centre, Channels, Ink, PictureShape, Pictures, PicturesError, Placement};
pub use prediction::{Prediction, RowError, check_row};
pub use predictor::{Predictor, Session};
pub use preprocessing::{Preprocessing, PreprocessingError, UnlikelyBytes};
pub use scaling::{TargetScaling, TargetScalingError, check_positive};
pub use sounds::{FrameNormalization, MelScale, SoundColumns, Sounds, SoundsError};
pub use sparse::{EncodedRows, SparseRows};
pub use task::{Task, TaskError};
pub use tensor::{NamedTensor, transpose};
