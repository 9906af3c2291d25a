//! Picture files of another program, as the rows of a model that was trained on MNIST.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests and their helpers")]

use std::fs;
use std::path::Path;

use fireclay_model::{
    Description, Drawn, InputSpec, MlpConfig, Pictures, Preprocessing, Provenance, Task,
};
use fireclay_pictures::{Fit, Kind, Options, PictureError, Row, row};

/// A model of pictures of this shape.
fn model(shape: &[usize], pictures: Option<Pictures>) -> Description {
    Description {
        architecture: MlpConfig::new(shape.to_vec(), [4], 10).architecture().unwrap(),
        task: Task::numbered_classes(10),
        input: InputSpec::dense(shape, Preprocessing::PIXELS).with_pictures(pictures),
        provenance: Provenance::default(),
    }
}

/// The bytes of every golden picture, with its name.
fn goldens() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/pictures");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        found.push((name, fs::read(entry.path()).unwrap()));
    }
    assert_eq!(found.len(), 13);
    found
}

/// The row of a file as it is read from a stream of unknown length.
fn of(bytes: &[u8], model: &Description, options: Options) -> Result<Row, PictureError> {
    let kind = Kind::of(bytes).unwrap();
    row(kind.read(bytes, None)?, model, options)
}

#[test]
fn every_picture_becomes_one_like_those_of_mnist() {
    let model = model(&[28, 28], Some(Pictures::MNIST));
    for (name, bytes) in goldens() {
        let Row { features, done } = of(&bytes, &model, Options::default()).unwrap();
        assert_eq!(features.len(), 784, "{name}");
        assert!(features.iter().all(|value| (0.0..=255.0).contains(value)), "{name}");
        assert_eq!(features[0], 0.0, "{name}: ink is bright on black");
        let drawn = Drawn::of(features.iter().map(|&v| f64::from(v)), 28).unwrap();
        assert!(drawn.is_of_side(20, [28, 28]), "{name}: {drawn:?}");
        assert!(drawn.is_centred(fireclay_model::Centre::Mass, [28, 28]), "{name}: {drawn:?}");
        assert!(done.iter().any(|done| done.contains("scaled to 20")), "{name}: {done:?}");
    }
}

#[test]
fn a_model_that_says_nothing_of_pictures_asks_for_it() {
    let silent = model(&[28, 28], None);
    let (_, bytes) = goldens().remove(0);
    let unsaid = of(&bytes, &silent, Options::default());
    assert!(matches!(unsaid, Err(PictureError::Unsaid { .. })), "{unsaid:?}");
    let resized = Options { fit: Fit::Resize, ..Options::default() };
    assert_eq!(of(&bytes, &silent, resized).unwrap().features.len(), 784);
    // An older file names its data and does not describe it.
    let mut of_mnist = silent;
    of_mnist.provenance.data = Some("mnist".to_owned());
    let known = model(&[28, 28], Some(Pictures::MNIST));
    assert_eq!(
        of(&bytes, &of_mnist, Options::default()).unwrap(),
        of(&bytes, &known, Options::default()).unwrap()
    );
    let flat = of(&bytes, &model(&[13], None), Options::default());
    assert!(matches!(flat, Err(PictureError::NoPicture { .. })), "{flat:?}");
}

/// A server decodes on many threads, and a damaged file may trip an assertion of a decoder.
#[test]
fn pictures_are_read_on_many_threads() {
    let model = model(&[28, 28], Some(Pictures::MNIST));
    // The small ones alone, which are quick to convert.
    let mut goldens = goldens();
    goldens.retain(|(_, bytes)| bytes.len() < 1000);
    assert_eq!(goldens.len(), 4);
    let expected: Vec<Row> =
        goldens.iter().map(|(_, bytes)| of(bytes, &model, Options::default()).unwrap()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for ((name, bytes), expected) in goldens.iter().zip(&expected) {
                    let cut = of(&bytes[..bytes.len() / 2], &model, Options::default());
                    assert!(cut.is_err(), "{name}");
                    assert_eq!(of(bytes, &model, Options::default()).unwrap(), *expected, "{name}");
                }
            });
        }
    });
}
