//! What inputs and outputs mean.

use fireclay::{Device, Preprocessing, Task};
use fireclay_formats as formats;
use fireclay_formats::{Archive, Kind, Layer, Layout, Network};

use super::super::super::{ImportError, Imported, Options, TaskKind};
use super::super::assemble;
use super::made::{BATCH, Made, Random, numbers};

/// A network of one layer with so many outputs and such an end, imported.
fn one_layer(
    outputs: usize,
    end: Option<&str>,
    of_file: impl FnOnce(&mut Archive),
    options: &Options,
) -> Result<Imported, ImportError> {
    let mut made = Made::new(1, 3);
    made.dense(outputs);
    if let Some(end) = end {
        made.function(end);
    }
    let mut archive = Archive {
        kind: Kind::Onnx,
        tensors: made.tensors,
        network: None,
        layout: None,
        labels: None,
        class_names: Vec::new(),
        files: Vec::new(),
        task: None,
        notes: Vec::new(),
        advice: None,
    };
    of_file(&mut archive);
    let network = Network { input_shape: None, layers: made.layers };
    let options = Options { preprocessing: Some(Preprocessing::None), ..options.clone() };
    assemble(archive, &network, true, &options, &Device::flex())
}

fn nothing(_: &mut Archive) {}

#[test]
fn sigmoids_are_labels_and_one_alone_is_two_classes() {
    let of = |outputs, end, task: Option<TaskKind>| {
        one_layer(outputs, end, nothing, &Options { task, ..Options::default() })
    };
    use TaskKind::{Classification, MultiLabel, Regression};
    let labels = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let classes = Task::numbered_classes;
    let (sigmoid, softmax) = (Some("sigmoid"), Some("softmax"));
    for (outputs, end, said, expected) in [
        (1, sigmoid, None, classes(2)),
        (1, sigmoid, Some(Classification), classes(2)),
        (1, sigmoid, Some(MultiLabel), Task::multi_label(labels(&["0"]))),
        (2, sigmoid, None, Task::multi_label(labels(&["0", "1"]))),
        // Ten sigmoids for one digit of ten: the greatest is the class.
        (10, sigmoid, Some(Classification), classes(10)),
        (2, softmax, None, classes(2)),
        (2, Some("log-softmax"), None, classes(2)),
        (1, None, Some(Regression), Task::regression(labels(&["0"]))),
        (1, None, Some(Classification), classes(2)),
        (3, None, Some(Classification), classes(3)),
        (1, sigmoid, Some(Regression), Task::regression(labels(&["0"]))),
    ] {
        let found = of(outputs, end, said).unwrap().model.task;
        assert_eq!(found, expected, "{outputs} {end:?} {said:?}");
    }
    // A note names what tells: the flag only where it was given.
    let of_classes =
        |archive: &mut Archive| archive.task = Some(formats::OutputKind::Classification);
    for (task, words) in
        [(None, "as the labels of the file say"), (Some(Classification), "as --task says")]
    {
        let options = Options { task, ..Options::default() };
        let notes = one_layer(10, sigmoid, of_classes, &options).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains(words)), "{notes:?}");
    }
    for (outputs, end, said, words) in [
        (2, softmax, MultiLabel, "ends in softmax, and --task says multi-label"),
        (2, softmax, Regression, "ends in softmax, and --task says regression"),
        (1, softmax, Classification, "softmax behind one output, which is always 1"),
    ] {
        let error = of(outputs, end, Some(said)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn linear_outputs_may_mean_anything_unless_something_tells() {
    let unsaid = |outputs, of_file: &dyn Fn(&mut Archive), options: &Options| match one_layer(
        outputs, None, of_file, options,
    ) {
        Err(ImportError::Unsaid { flag, .. }) => assert!(flag.starts_with("--task"), "{flag}"),
        other => panic!("{:?}", other.map(|imported| imported.model.task)),
    };
    let options = Options::default();
    let names = |count: usize| Some((0..count).map(|name| format!("n{name}")).collect());
    let of_data = |data| Options { data: Some(data), ..Options::default() };
    let digits = of_data(Task::numbered_classes(10));
    unsaid(1, &nothing, &options);
    unsaid(2, &nothing, &options);
    // Data of another number of classes tells nothing, and one number may be a regression of two.
    unsaid(5, &nothing, &digits);
    unsaid(1, &nothing, &of_data(Task::numbered_classes(2)));
    // One class alone would always be right.
    unsaid(1, &|archive| archive.labels = names(1), &options);
    let of = |outputs, of_file: &dyn Fn(&mut Archive), options: &Options| {
        one_layer(outputs, None, of_file, options).unwrap().model.task
    };
    assert_eq!(of(10, &nothing, &digits), Task::numbered_classes(10));
    let values = Task::regression(vec!["y".to_owned()]);
    assert_eq!(of(1, &nothing, &of_data(values)).kind(), "regression");
    let said = Options { labels: names(3), ..Options::default() };
    assert_eq!(of(3, &nothing, &said).names(), ["n0", "n1", "n2"]);
    let labelled = of(1, &|archive| archive.labels = names(2), &options);
    assert_eq!(labelled, Task::classification(names(2).unwrap()));
    for (task, kind) in [
        (formats::OutputKind::Regression, "regression"),
        (formats::OutputKind::Classification, "classification"),
        (formats::OutputKind::MultiLabel, "multi-label"),
    ] {
        assert_eq!(of(1, &|archive| archive.task = Some(task), &options).kind(), kind);
    }
    // What the file tells is not overruled, but where one of several outputs is meant.
    let said = |task| Options { task: Some(task), ..Options::default() };
    let of_numbers = |archive: &mut Archive| archive.task = Some(formats::OutputKind::Regression);
    for (outputs, task) in [(1, TaskKind::Classification), (2, TaskKind::MultiLabel)] {
        let error = one_layer(outputs, None, of_numbers, &said(task)).unwrap_err();
        assert!(error.to_string().contains("is of regression, and --task says"), "{error}");
    }
    let one_of_two = one_layer(2, None, of_numbers, &said(TaskKind::Classification)).unwrap();
    assert_eq!(one_of_two.model.task, Task::numbered_classes(2));
    let told = |note: &String| note.ends_with("a softmax, which it was not trained for");
    assert!(one_of_two.notes.iter().any(told), "{:?}", one_of_two.notes);
    let of_labels = |archive: &mut Archive| archive.task = Some(formats::OutputKind::MultiLabel);
    let classes = said(TaskKind::Classification);
    assert!(one_layer(2, Some("sigmoid"), of_labels, &classes).is_ok());
    // A squared error is also used on classes, which sigmoids at the end show.
    let one_of_two = one_layer(2, Some("sigmoid"), of_numbers, &classes).unwrap();
    assert_eq!(one_of_two.model.task, Task::numbered_classes(2));
}

#[test]
fn one_logit_is_the_second_of_two_classes() {
    let options = Options { task: Some(TaskKind::Classification), ..numbers() };
    let mut made = Made::new(7, 3);
    made.dense(1);
    let imported = made.imported(&options).unwrap();
    let row = [0.5_f32, -1.0, 2.0];
    let logit = made.outputs(&row.map(f64::from))[0];
    let found = imported.model.predict(&[row]).unwrap();
    let fireclay::Prediction::Class { distribution, .. } = &found[0] else { panic!("{found:?}") };
    assert!((f64::from(distribution[1]) - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6);
}

#[test]
fn labels_of_the_file_are_taken_as_they_are() {
    let labels = ["a, b", "c"];
    let named = |archive: &mut Archive| archive.labels = Some(labels.map(str::to_owned).to_vec());
    let options = Options::default();
    let of = |outputs, end, options: &Options| {
        one_layer(outputs, Some(end), named, options).map(|imported| imported.model.task)
    };
    assert_eq!(of(2, "softmax", &options).unwrap().names(), labels);
    // Of one sigmoid there are two classes.
    assert_eq!(of(1, "sigmoid", &options).unwrap().names(), labels);
    let error = of(3, "softmax", &options).unwrap_err().to_string();
    assert!(error.contains("the file has 2 names, and the network 3 outputs"), "{error}");
    let said = Options { labels: Some(vec!["x".to_owned(); 3]), ..options };
    assert_eq!(of(3, "softmax", &said).unwrap().names(), ["x", "x", "x"]);
}

#[test]
fn names_beside_the_weights_are_taken_if_they_fit() {
    type Lists<'a> = &'a [(&'a str, &'a [&'a str])];
    let of = |lists: Lists<'_>, labels: Option<Vec<String>>| {
        let named = |archive: &mut Archive| {
            let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let list = |(key, of): &(&str, &[&str])| ((*key).to_owned(), names(of));
            archive.class_names = lists.iter().map(list).collect();
        };
        let options = Options { labels, ..Options::default() };
        one_layer(2, Some("softmax"), named, &options)
    };
    let both = [("classes", &["a", "b"][..]), ("class_to_idx", &["a", "b"])];
    let imported = of(&both, None).unwrap();
    assert_eq!(imported.model.task.names(), ["a", "b"]);
    let note = "the outputs are named as under \"classes\"".to_owned();
    assert!(imported.notes.contains(&note), "{:?}", imported.notes);
    let imported = of(&[("labels", &["a", "b", "c"]), both[1]], None).unwrap();
    assert_eq!(imported.model.task.names(), ["a", "b"]);
    let note = "left out: 3 names under \"labels\"; the network has 2 outputs".to_owned();
    assert!(imported.notes.contains(&note), "{:?}", imported.notes);
    assert_eq!(of(&[("labels", &["a"])], None).unwrap().model.task.names(), ["0", "1"]);
    let contradicting = [both[0], ("names", &["b", "a"])];
    let error = of(&contradicting, None).unwrap_err().to_string();
    assert!(error.contains("a, b under \"classes\" and b, a under \"names\""), "{error}");
    let said = of(&contradicting, Some(vec!["x".to_owned(), "y".to_owned()])).unwrap();
    assert_eq!(said.model.task.names(), ["x", "y"]);
}

#[test]
fn names_of_the_network_and_beside_it_must_agree() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let of = |beside: &[&str], options: &Options| {
        let named = |archive: &mut Archive| {
            archive.labels = Some(names(&["c", "a"]));
            archive.class_names = vec![("classes".to_owned(), names(beside))];
        };
        one_layer(2, Some("softmax"), named, options)
    };
    let options = Options::default();
    let error = of(&["x", "y"], &options).unwrap_err().to_string();
    assert!(error.contains("c, a in its network and x, y under \"classes\""), "{error}");
    for beside in [&["c", "a"][..], &["x", "y", "z"]] {
        assert_eq!(of(beside, &options).unwrap().model.task.names(), ["c", "a"]);
    }
    let said = Options { labels: Some(names(&["p", "q"])), ..options };
    assert_eq!(of(&["x", "y"], &said).unwrap().model.task.names(), ["p", "q"]);
}

#[test]
fn what_stands_before_the_first_layer_is_preprocessing() {
    let unsaid = Options { preprocessing: None, ..numbers() };
    // A factor of each feature tells how features were prepared.
    let mut made = Made::new(1, 3);
    made.tensor(&[3], |random| random.number().abs() + 0.5);
    made.layers.push(Layer::Affine { scale: Some("t0".to_owned()), offset: None });
    made.dense(2);
    let imported = made.imported(&unsaid).unwrap();
    made.compare(&imported);
    assert!(matches!(imported.model.input.preprocessing(), Preprocessing::Standardize { .. }));
    // A batch norm does not.
    let mut norm = Made::new(2, 3);
    norm.norm(BATCH).dense(2);
    assert!(matches!(norm.imported(&unsaid), Err(ImportError::Unsaid { .. })));
    norm.check();
    // It tells what features it has seen, which are not bytes divided by 255.
    let mut bytes = Made::new(4, 3);
    let mean = Some(bytes.tensor(&[3], |_| 33.0));
    let variance = Some(bytes.tensor(&[3], |_| 78.0 * 78.0));
    let (scale, shift, kind) = (None, None, formats::Norm::Batch);
    bytes.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon: 1e-3 });
    bytes.dense(2);
    let scaled = Options { preprocessing: Some(Preprocessing::PIXELS), ..numbers() };
    let error = bytes.imported(&scaled).unwrap_err();
    assert!(matches!(error, ImportError::SeenOtherwise { .. }), "{error}");
    bytes.check();
    // Fixed statistics, as Keras' Normalization has them, do.
    let mut fixed = Made::new(3, 3);
    let mean = Some(fixed.vector());
    let variance = Some(fixed.tensor(&[3], |random| random.number().abs() + 0.1));
    let (scale, shift, kind) = (None, None, formats::Norm::Batch);
    fixed.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon: 0.0 });
    fixed.dense(2);
    let imported = fixed.imported(&unsaid).unwrap();
    fixed.compare(&imported);
    assert!(matches!(imported.model.input.preprocessing(), Preprocessing::Standardize { .. }));
}

#[test]
fn sizes_and_numbers_are_checked() {
    let mut empty = Made::new(1, 4);
    empty.refused("no linear layer");
    empty.tensor(&[0, 1 << 40], Random::number);
    let (bias, layout) = (None, Layout::OutIn);
    empty.layers.push(Layer::Dense { weight: "t0".to_owned(), bias, layout });
    empty.refused("neither of them 0");
    // A layer that changes nothing would have 2^26 numbers.
    let mut wide = Made::new(2, 1);
    wide.dense(1 << 13).function("relu").function("tanh").dense(1);
    wide.refused("much larger than what is in the file");
    let mut negative = Made::new(3, 4);
    negative.dense(2).function("relu").dense(2);
    let (mean, variance) = (Some(negative.vector()), Some(negative.tensor(&[2], |_| -1.0)));
    let (scale, shift, kind) = (None, None, formats::Norm::Batch);
    negative.layers.push(Layer::Norm { kind, scale, shift, mean, variance, epsilon: 1e-3 });
    negative.refused("variance of -1");
    let mut infinite = Made::new(4, 4);
    infinite.tensor(&[2, 4], |_| f64::INFINITY);
    infinite.layers.push(Layer::Dense { weight: "t0".to_owned(), bias: None, layout });
    assert!(matches!(infinite.imported(&numbers()), Err(ImportError::NotFinite { .. })));
}
