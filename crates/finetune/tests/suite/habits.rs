//! Small files of odd but honest habits, from the reader to the prediction: what onnxruntime and Keras
//! answered, and the names that they give their classes.

use std::fs;
use std::path::{Path, PathBuf};

use finetune::import::{ImportError, Imported, Options, TaskKind, import};
use fireclay::{Backend, DeviceChoice, Prediction, Preprocessing, Task};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/tests/goldens").join(name)
}

fn numbers(name: &str) -> Vec<f32> {
    let bytes = fs::read(golden(name)).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

fn opened(name: &str, task: Option<TaskKind>) -> Result<Imported, ImportError> {
    let options = Options { preprocessing: Some(Preprocessing::None), task, ..Options::default() };
    import(&golden(name), &options, &Backend::Flex.device(DeviceChoice::Default).unwrap())
}

/// Imports a file of rows of four numbers and compares its answers with a golden, of which two
/// classes have the probability of the second alone.
#[track_caller]
fn check(program: &str, name: &str, answers: &str, task: Option<TaskKind>) -> Task {
    let imported = opened(&format!("{program}/small/{name}"), task).unwrap();
    let rows: Vec<Vec<f32>> =
        numbers(&format!("{program}/small/rows.f32")).chunks(4).map(<[f32]>::to_vec).collect();
    let expected = numbers(&format!("{program}/small/{answers}.f32"));
    let outputs = expected.len() / rows.len();
    let found: Vec<f32> = imported
        .model
        .predict(&rows)
        .unwrap()
        .into_iter()
        .flat_map(|prediction| match prediction {
            Prediction::Class { distribution, .. } => {
                distribution[distribution.len() - outputs..].to_vec()
            }
            Prediction::Labels { probabilities, .. } => probabilities,
            Prediction::Values { values, .. } => values,
        })
        .collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() <= 2e-5 * b.abs().max(1.0), "{name}: {a} {b}");
    }
    imported.model.task
}

#[test]
fn the_digest_changes_with_the_file_of_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("beside.onnx");
    let numbers = folder.path().join("beside.onnx.data");
    fs::copy(golden("onnx/small/beside.onnx"), &path).unwrap();
    fs::copy(golden("onnx/small/beside.onnx.data"), &numbers).unwrap();
    let task = Some(TaskKind::Regression);
    let options = Options { preprocessing: Some(Preprocessing::None), task, ..Options::default() };
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let origin = || import(&path, &options, &device).unwrap().origin;
    let before = origin();
    assert_eq!(origin(), before);
    assert_eq!(before.program, "ONNX file beside.onnx and the files of its numbers");
    let mut bytes = fs::read(&numbers).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&numbers, bytes).unwrap();
    assert_ne!(origin().digest, before.digest);
}

#[test]
fn classes_of_onnx_keep_their_names() {
    for (name, expected) in [
        ("gaps", &["-5", "5", "15"][..]),
        ("texts", &["elm", "größe", "oak"]),
        ("two", &["-1", "7"]),
        ("doubles", &["0", "1", "2"]),
        ("truth", &["0", "1"]),
    ] {
        let task = check("onnx", &format!("{name}.onnx"), name, None);
        assert_eq!(task.names(), expected, "{name}");
    }
    for (name, expected) in [
        ("gathered", &["a", "b", "c"][..]),
        ("encoded", &["a", "b", "c"]),
        ("from-one", &["1", "2", "3"]),
        ("threshold", &["3", "8"]),
        ("logit", &["out", "in"]),
    ] {
        let imported = opened(&format!("onnx/small/{name}.onnx"), None).unwrap();
        assert_eq!(imported.model.task.names(), expected, "{name}");
        assert!(matches!(imported.model.task, Task::Classification { .. }), "{name}");
    }
    // Names beside the network do not tell one label from several.
    let named = |task| opened("onnx/small/named.onnx", task);
    assert!(matches!(named(None), Err(ImportError::Unsaid { .. })));
    for task in [TaskKind::Classification, TaskKind::MultiLabel] {
        assert_eq!(named(Some(task)).unwrap().model.task.names(), ["a", "b", "c"]);
    }
}

#[test]
fn scikit_learn_says_what_outputs_mean() {
    assert!(matches!(check("onnx", "many.onnx", "many", None), Task::MultiLabel { .. }));
    let several = Some(TaskKind::MultiLabel);
    for (name, said) in [("maps", None), ("plain", None), ("columns", several), ("maps", several)] {
        let task = check("onnx", &format!("several-{name}.onnx"), "several", said);
        assert!(matches!(task, Task::MultiLabel { .. }), "{name}");
    }
    for name in ["regressor", "regressors"] {
        let task = check("onnx", &format!("{name}.onnx"), name, None);
        assert!(matches!(task, Task::Regression { .. }), "{name}");
    }
}

#[test]
fn numbers_that_are_folded() {
    let numbers = Some(TaskKind::Regression);
    for kind in ["", "-script", "-runtime"] {
        check("onnx", &format!("scaled{kind}.onnx"), "scaled", numbers);
        check("onnx", &format!("unflat{kind}.onnx"), "unflat", numbers);
    }
    for name in ["shifted", "bias-scalar", "bias-one", "bias-one-by-one"] {
        check("onnx", &format!("{name}.onnx"), name, numbers);
    }
    check("onnx", "beside.onnx", "scaled", numbers);
    for name in ["turned", "column", "column-shifted"] {
        check("onnx", &format!("{name}.onnx"), name, None);
    }
}

#[test]
fn losses_of_keras_say_what_outputs_mean() {
    for name in ["logit.keras", "logit.h5"] {
        let task = check("keras", name, "logit", None);
        assert_eq!(task.names().len(), 2, "{name}");
    }
    assert!(matches!(check("keras", "brain.h5", "brain", None), Task::Regression { .. }));
}

#[test]
fn networks_of_which_each_layer_is_another() {
    for name in ["nested.keras", "nested.h5", "keras1.h5", "residual.keras", "residual.h5"] {
        let answers = name.split('.').next().unwrap();
        check("keras", name, answers, Some(TaskKind::Classification));
    }
    check("keras", "twice.keras", "twice", Some(TaskKind::Regression));
    for name in ["residual", "slopes", "norms"] {
        for kind in ["", "-script", "-runtime"] {
            check("onnx", &format!("{name}{kind}.onnx"), name, Some(TaskKind::Regression));
        }
    }
    check("onnx", "keras-residual.onnx", "keras-residual", None);
    let error = opened("keras/small/functions.keras", Some(TaskKind::Regression)).unwrap_err();
    assert!(error.to_string().contains("elu with alpha = 0.5, behind dense"), "{error}");
}
