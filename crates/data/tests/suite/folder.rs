//! Contract of `idx:FOLDER`.

use std::fs;
use std::io::Write;
use std::path::Path;

use fireclay_data::{DataError, Features, IdxError, LoadOptions, Source, Targets, TrainTest, load};
use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

fn images(rows: u8, side: u8) -> Vec<u8> {
    let header = [0, 0, 8, 3, 0, 0, 0, rows, 0, 0, 0, side, 0, 0, 0, side];
    [header.to_vec(), vec![rows; usize::from(rows) * usize::from(side).pow(2)]].concat()
}

fn labels(ids: &[u8]) -> Vec<u8> {
    [&[0, 0, 8, 1, 0, 0, 0, ids.len() as u8], ids].concat()
}

/// Three training rows and two test rows of 2x2 pixels.
fn files() -> [Vec<u8>; 4] {
    [images(3, 2), labels(&[0, 2, 1]), images(2, 2), labels(&[3, 0])]
}

fn folder(names: [&str; 4], files: &[Vec<u8>; 4]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in names.iter().zip(files) {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn load_folder(folder: &Path) -> Result<TrainTest, DataError> {
    load(&Source::Idx(folder.to_owned()), &LoadOptions::default(), &mut |_| panic!("no fetching"))
}

#[track_caller]
fn check_loaded(folder: &TempDir, expected_labels: &[&str]) {
    let sets = load_folder(folder.path()).unwrap();
    assert_eq!((sets.train.len(), sets.test.len()), (3, 2));
    assert_eq!(sets.train.shape(), [2, 2]);
    assert_eq!(sets.train.targets().labels(), expected_labels);
    assert!(matches!(sets.test.targets(), Targets::Classes { ids, .. } if ids == &[3, 0]));
}

fn error_with(change: impl Fn(&mut [Vec<u8>; 4])) -> DataError {
    let mut files = files();
    change(&mut files);
    load_folder(folder(NAMES, &files).path()).unwrap_err()
}

#[test]
fn accepted_names() {
    let numbers = ["0", "1", "2", "3"];
    check_loaded(&folder(NAMES, &files()), &numbers);
    let dotted = [
        "train-images.idx3-ubyte",
        "train-labels.idx1-ubyte",
        "t10k-images.idx3-ubyte",
        "t10k-labels.idx1-ubyte",
    ];
    check_loaded(&folder(dotted, &files()), &numbers);
    let test = [NAMES[0], NAMES[1], "test-images-idx3-ubyte", "test-labels.idx1-ubyte"];
    check_loaded(&folder(test, &files()), &numbers);
}

#[test]
fn compressed_files() {
    let gzip = |bytes: &Vec<u8>| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &Vec<u8>| {
        ruzstd::encoding::compress_to_vec(&**bytes, ruzstd::encoding::CompressionLevel::Fastest)
    };
    let [a, b, c, d] = files();
    let packed = [gzip(&a), zstd(&b), c, gzip(&d)];
    let names = [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.zst",
        NAMES[2],
        "t10k-labels-idx1-ubyte.gz",
    ];
    check_loaded(&folder(names, &packed), &["0", "1", "2", "3"]);
}

#[test]
fn labels_txt_names_the_classes() {
    let folder = folder(NAMES, &files());
    fs::write(folder.path().join("labels.txt"), "cat\ndog\r\n  cow \nhen\n\n").unwrap();
    check_loaded(&folder, &["cat", "dog", "cow", "hen"]);
    fs::write(folder.path().join("labels.txt"), "cat\n\ncow\nhen\n").unwrap();
    let found = load_folder(folder.path());
    assert!(matches!(found, Err(DataError::EmptyLabelLine { line: 2, .. })), "{found:?}");
    for text in ["", "cat\ndog\ncat\nhen\n"] {
        fs::write(folder.path().join("labels.txt"), text).unwrap();
        let Err(DataError::InFile { path, .. }) = load_folder(folder.path()) else { panic!() };
        assert!(path.ends_with("labels.txt"));
    }
}

#[test]
fn labels_without_a_name_are_refused() {
    let folder = folder(NAMES, &files());
    fs::write(folder.path().join("labels.txt"), "cat\ndog\ncow\n").unwrap();
    let Err(DataError::InFile { path, source }) = load_folder(folder.path()) else { panic!() };
    assert!(path.ends_with("t10k-labels-idx1-ubyte"));
    assert!(matches!(*source, DataError::ClassOutOfRange { row: 0, id: 3, classes: 3 }));
}

#[test]
fn a_missing_file_lists_what_was_looked_for_and_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train.csv"), "").unwrap();
    let error = load_folder(folder.path()).unwrap_err();
    let DataError::MissingFile { looked_for, found, .. } = &error else { panic!("{error:?}") };
    let expected = [
        "train-images-idx3-ubyte",
        "train-images.idx3-ubyte",
        "train-features-idx2-float",
        "train-features.idx2-float",
    ];
    assert_eq!(looked_for, &expected);
    assert_eq!(found, &["train.csv"]);
    assert!(error.to_string().contains("it contains train.csv"), "{error}");
    let absent = load_folder(&folder.path().join("absent"));
    assert!(matches!(absent, Err(DataError::Read { .. })), "{absent:?}");
}

#[test]
fn sets_that_do_not_fit_together_are_refused() {
    let error = error_with(|files| files[1] = labels(&[0, 1]));
    let DataError::CountMismatch { image_count: 3, label_count: 2, .. } = error else {
        panic!("{error:?}")
    };
    let error = error_with(|files| files[2] = images(2, 3));
    assert!(matches!(error, DataError::ShapeMismatch { .. }), "{error:?}");
}

#[test]
fn files_of_another_kind_are_refused() {
    let error = error_with(|files| files[0] = labels(&[1, 2, 3]));
    assert!(
        matches!(error, DataError::Idx { source: IdxError::NotImages { .. }, .. }),
        "{error:?}"
    );
    let error = error_with(|files| files[3] = images(2, 2));
    assert!(
        matches!(error, DataError::Idx { source: IdxError::NotLabels { .. }, .. }),
        "{error:?}"
    );
    let error = error_with(|files| files[1] = labels(&[]));
    assert!(matches!(error, DataError::Idx { source: IdxError::Empty { .. }, .. }), "{error:?}");
}

#[test]
fn a_byte_order_mark_is_not_part_of_a_label() {
    let folder = folder(NAMES, &files());
    fs::write(folder.path().join("labels.txt"), "\u{feff}cat\r\ndog\r\ncow\r\nhen\r\n").unwrap();
    check_loaded(&folder, &["cat", "dog", "cow", "hen"]);
    let wide: Vec<u8> = "\u{feff}cat\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(folder.path().join("labels.txt"), wide).unwrap();
    let error = with_causes(&load_folder(folder.path()).unwrap_err());
    assert!(error.contains("encoded as UTF-16; save it as UTF-8"), "{error}");
}

#[test]
fn each_file_may_lie_in_a_folder_of_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in NAMES.iter().zip(files()) {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join(name), bytes).unwrap();
    }
    check_loaded(&folder, &["0", "1", "2", "3"]);
    fs::remove_file(folder.path().join(NAMES[2]).join(NAMES[2])).unwrap();
    let found = load_folder(folder.path());
    assert!(
        matches!(&found, Err(DataError::NotAFile { path }) if path.ends_with(NAMES[2])),
        "{found:?}"
    );
}

#[test]
fn labels_may_be_integers_and_qmnists() {
    let ints = |columns: u8, ids: &[u32]| {
        let mut bytes = vec![0, 0, 12, if columns > 1 { 2 } else { 1 }, 0, 0, 0, ids.len() as u8];
        if columns > 1 {
            bytes.extend([0, 0, 0, columns]);
        }
        for id in ids {
            bytes.extend(id.to_be_bytes());
            bytes.extend(vec![9; 4 * (usize::from(columns) - 1)]);
        }
        bytes
    };
    for columns in [1, 8] {
        let [a, _, c, _] = files();
        let files = [a, ints(columns, &[0, 2, 1]), c, ints(columns, &[3, 0])];
        check_loaded(&folder(NAMES, &files), &["0", "1", "2", "3"]);
    }
    let error = error_with(|files| files[1] = ints(3, &[0, 2, 1]));
    let text = with_causes(&error);
    assert!(text.contains("it holds 32-bit integers of shape [3, 3], and labels are"), "{text}");
    // Classes are counted up to the largest, which must not take the memory.
    let error = error_with(|files| files[1] = ints(1, &[0, u32::MAX / 2, 1]));
    assert!(matches!(error, DataError::TooManyClasses { found: 2_147_483_647, .. }), "{error:?}");
}

#[test]
fn files_that_were_exchanged_are_named() {
    let text = with_causes(&error_with(|files| files[0] = files[1].clone()));
    assert!(text.contains("it holds unsigned bytes of shape [3], and images are"), "{text}");
    assert!(text.ends_with("this looks like a file of labels"), "{text}");
    let text = with_causes(&error_with(|files| files[1] = files[0].clone()));
    assert!(text.contains("it holds unsigned bytes of shape [3, 2, 2], and labels are"), "{text}");
    let text = with_causes(&error_with(|files| files[0] = b"PK\x03\x04".to_vec()));
    assert!(text.contains("this is a ZIP archive: unpack it first"), "{text}");
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// An IDX file of floats: `0x0D`, or `0x0E` of double precision.
fn floats(shape: &[u8], values: &[f32], is_double: bool) -> Vec<u8> {
    let mut bytes = vec![0, 0, if is_double { 0x0E } else { 0x0D }, shape.len() as u8];
    shape.iter().for_each(|&size| bytes.extend([0, 0, 0, size]));
    for &value in values {
        if is_double {
            bytes.extend(f64::from(value).to_be_bytes());
        } else {
            bytes.extend(value.to_be_bytes());
        }
    }
    bytes
}

/// Three training rows and two test rows of two features and of two targets.
fn numbers() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("train-features-idx2-float", floats(&[3, 2], &[0.5, 1.0, -2.0, 3.0, 1e6, 0.0], false)),
        ("train-targets-idx2-float", floats(&[3, 2], &[1.5, -1.0, 2.5, 0.0, 1e-3, 7.0], true)),
        ("test-features.idx2-float", floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0], true)),
        ("t10k-targets-idx2-float", floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0], false)),
    ]
}

fn of_files(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

#[test]
fn numbers_are_a_regression() {
    let folder = of_files(&numbers());
    let data = load_folder(folder.path()).unwrap();
    let expected = vec![0.5, 1.0, -2.0, 3.0, 1e6, 0.0];
    assert_eq!(data.train.features(), &Features::Floats(expected));
    let names = ["0", "1"].map(String::from).to_vec();
    let values = vec![1.5, -1.0, 2.5, 0.0, 1e-3, 7.0];
    assert_eq!(data.train.targets(), &Targets::Values { values, names });
    fs::write(folder.path().join("labels.txt"), "price\nslope\n").unwrap();
    let data = load_folder(folder.path()).unwrap();
    assert_eq!(data.test.targets().labels(), ["price", "slope"]);
    // One target may be a list, and rows may be pictures, or have classes.
    let [images, classes, test_images, test_classes] = files();
    let one = |values: &[f32]| floats(&[values.len() as u8], values, false);
    let folder = of_files(&[
        (NAMES[0], images),
        ("train-targets-idx1-float", one(&[0.5, 1.5, 2.5])),
        (NAMES[2], test_images),
        ("t10k-targets-idx1-float", one(&[0.5, 1.5])),
    ]);
    let data = load_folder(folder.path()).unwrap();
    assert_eq!(
        (data.train.shape(), data.train.targets().labels()),
        (&[2, 2][..], &["0".to_owned()][..])
    );
    let [rows, _, test_rows, _] = &numbers()[..] else { panic!() };
    let files = [rows.clone(), (NAMES[1], classes), test_rows.clone(), (NAMES[3], test_classes)];
    let data = load_folder(of_files(&files).path()).unwrap();
    assert!(matches!(data.train.features(), Features::Floats(_)));
    assert!(matches!(data.train.targets(), Targets::Classes { .. }));
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let with = |at: usize, bytes: Vec<u8>| {
        let mut files = numbers();
        files[at].1 = bytes;
        load_folder(of_files(&files).path()).unwrap_err()
    };
    let error = with(1, floats(&[3, 3], &[0.0; 9], false));
    assert!(matches!(error, DataError::TargetColumns { found: 2, expected: 3, .. }), "{error}");
    let error = with(1, floats(&[2, 2], &[0.0; 4], false));
    assert!(matches!(error, DataError::CountMismatch { .. }), "{error}");
    let error = with(1, floats(&[3, 1, 2], &[0.0; 6], false));
    assert!(matches!(error, DataError::Idx { source: IdxError::NotTargets { .. }, .. }), "{error}");
    let error = with(1, labels(&[0, 1, 2]));
    assert!(matches!(error, DataError::MixedTargets { .. }), "{error}");
    let error = with(0, floats(&[3], &[0.0; 3], false));
    assert!(
        matches!(error, DataError::Idx { source: IdxError::NotFeatures { .. }, .. }),
        "{error}"
    );
    let error = with(2, floats(&[2, 3], &[0.0; 6], false));
    assert!(matches!(error, DataError::ShapeMismatch { .. }), "{error}");
    for bad in [f32::NAN, f32::INFINITY] {
        let error = with(1, floats(&[3, 2], &[0.0, 0.0, 0.0, bad, 0.0, 0.0], true));
        let DataError::InFile { source, .. } = error else { panic!("{error}") };
        let is_named =
            matches!(*source, DataError::NotFinite { role: "target", row: 1, column: 1, .. });
        assert!(is_named, "{source}");
    }
    let short = floats(&[3, 2], &[0.0; 5], false);
    assert!(matches!(with(1, short), DataError::Idx { source: IdxError::Truncated { .. }, .. }));
    let mut files = numbers();
    files.push((NAMES[1], labels(&[0, 1, 2])));
    let error = load_folder(of_files(&files).path()).unwrap_err();
    assert!(matches!(error, DataError::TwoFiles { .. }), "{error}");
    assert!(error.to_string().contains("leave the other out"), "{error}");
}
