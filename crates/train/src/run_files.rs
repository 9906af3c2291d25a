//! Names of the files in the folder of a run.

pub use fireclay_files::run::{ADAPTER, CONFIG, MANIFEST, MODEL};

/// The lock of the process that works on the run.
pub(crate) const LOCK: &str = ".lock";
/// Measurements, a JSON object a line.
pub const METRICS: &str = "metrics.jsonl";
/// The model that training starts from.
pub const START: &str = "start.safetensors";
/// The teacher of a distillation.
pub const TEACHER: &str = "teacher.safetensors";
/// The base of a fine-tuning, as it was given.
pub const BASE: &str = "base.safetensors";
/// The last good network of a run whose loss stopped being a number.
pub(crate) const LAST_GOOD: &str = "last-good.safetensors";
/// The folder of the checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";
/// The report, as `fireclay train` writes it.
pub const REPORT: &str = "report.html";

/// The files that a run writes and reads again, beside its checkpoints.
pub(crate) const FILES: [&str; 10] =
    [LOCK, CONFIG, MANIFEST, METRICS, MODEL, START, TEACHER, BASE, ADAPTER, LAST_GOOD];
/// What the folds of a cross-validation came to, in the folder of their runs.
pub const FOLDS: &str = "folds.json";
