use super::*;

fn classes(ids: &[u32], labels: usize) -> Dataset {
    let labels = (0..labels).map(|label| label.to_string()).collect();
    let features = Features::Floats((0..ids.len()).map(|row| row as f32 * 20.0).collect());
    Dataset::new(vec![1], features, Targets::Classes { ids: ids.to_vec(), labels }).unwrap()
}

#[test]
fn classes_without_rows_are_named_and_one_class_is_nothing_to_learn() {
    let data = classes(&[0, 0, 2, 2, 0, 0], 4);
    let labels = |labels: &[&str]| labels.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
    let of_targets = |data: &Dataset, train: &[usize], validation: &[usize]| {
        let split = Split { train: train.to_vec(), validation: validation.to_vec() };
        super::of_targets(data, &split, false)
    };
    let labels = labels(&["1", "3"]);
    let absent = Warning::ClassesWithoutRows { labels, is_tuned: false };
    assert_eq!(of_targets(&data, &[0, 2], &[]), std::slice::from_ref(&absent));
    let one = Warning::ValidationOfOneClass { label: "0".to_owned() };
    assert_eq!(of_targets(&data, &[0, 2], &[4, 5]), [absent.clone(), one]);
    let few = Warning::FewValidationRows { rows: 1, classes: 2 };
    assert_eq!(of_targets(&data, &[0, 2], &[3]), [absent, few]);
    let one = Warning::OneClass { label: "0".to_owned() };
    assert_eq!(of_targets(&data, &[0, 1, 4], &[5]), [one]);
    assert_eq!(of_targets(&classes(&[0, 1, 1, 0], 2), &[0, 1], &[2, 3]), []);
}

#[test]
fn a_few_rows_that_choose_the_epoch_are_counted() {
    let last = TrainingSettings::default();
    let best = TrainingSettings { keep: crate::settings::Keep::Best, ..last.clone() };
    assert_eq!(super::of_choice(&last, 12), None);
    assert_eq!(super::of_choice(&best, 12), Some(Warning::FewRowsToChooseBy { rows: 12 }));
    assert_eq!([0, 20].map(|rows| super::of_choice(&best, rows)), [None, None]);
}

#[test]
fn a_target_that_never_changes_is_named() {
    let features = Features::Floats(vec![1.0, 2.0, 3.0]);
    let names = vec!["a".to_owned(), "b".to_owned()];
    let values = vec![1.0, 5.0, 2.0, 5.0, 3.0, 4.0];
    let targets = Targets::Values { values, names };
    let data = Dataset::new(vec![1], features, targets).unwrap();
    let constant = Warning::ConstantTargets { names: vec!["b".to_owned()] };
    let of_rows =
        |train: Vec<usize>| of_targets(&data, &Split { train, validation: Vec::new() }, false);
    assert_eq!(of_rows(vec![0, 1]), [constant]);
    assert_eq!(of_rows(vec![0, 1, 2]), []);
}

#[test]
fn features_that_are_no_bytes_are_not_divided_by_255_without_a_word() {
    let pixels = Preprocessing::PIXELS;
    let normalize = Preprocessing::Normalize { scale: 1.0 / 255.0, mean: 0.13, deviation: 0.31 };
    let targets = |rows| Targets::Classes { ids: vec![0; rows], labels: vec!["0".to_owned()] };
    let floats = |values: &[f32]| {
        let features = Features::Floats(values.to_vec());
        Dataset::new(vec![1], features, targets(values.len())).unwrap()
    };
    let bytes = |values: &[u8]| {
        let features = Features::Bytes(values.to_vec());
        Dataset::new(vec![1], features, targets(values.len())).unwrap()
    };
    for preprocessing in [&pixels, &normalize] {
        let of = |data: &Dataset| of_scale(preprocessing, data);
        let divided_twice = Some(UnlikelyBytes::DividedTwice.into());
        assert_eq!(of(&floats(&[0.0, 0.5, 1.0])), divided_twice);
        assert_eq!(of(&bytes(&[0, 1, 1])), divided_twice);
        assert_eq!(of(&floats(&[0.0, 255.0])), None);
        assert_eq!(of(&bytes(&[0, 2])), None);
        let beyond = UnlikelyBytes::BeyondBytes { least: 0.0, most: 65535.0 };
        assert_eq!(of(&floats(&[0.0, 65535.0])), Some(beyond.into()));
    }
    assert_eq!(of_scale(&Preprocessing::None, &floats(&[0.0, 1.0])), None);
    let standardize = Preprocessing::Standardize { mean: vec![0.0], deviation: vec![1.0] };
    assert_eq!(of_scale(&standardize, &floats(&[0.0, 1.0])), None);
}

#[test]
fn features_far_from_zero_want_a_preprocessing() {
    let of = |features: Features, preprocessing: &Preprocessing| {
        let targets = Targets::Classes { ids: vec![0; 2], labels: vec!["0".to_owned()] };
        of_raw(preprocessing, &Dataset::new(vec![1], features, targets).unwrap())
    };
    let none = &Preprocessing::None;
    let scale = Warning::NotScaled { least: 0.0, most: 255.0, better: "scale" };
    assert_eq!(of(Features::Bytes(vec![0, 255]), none), Some(scale));
    assert_eq!(of(Features::Bytes(vec![0, 16]), none), None);
    let standardize = Warning::NotScaled { least: -400.0, most: 1.0, better: "standardize" };
    assert_eq!(of(Features::Floats(vec![-400.0, 1.0]), none), Some(standardize));
    assert_eq!(of(Features::Floats(vec![-3.0, 3.0]), none), None);
    assert_eq!(of(Features::Bytes(vec![0, 255]), &Preprocessing::PIXELS), None);
}

#[test]
fn test_rows_that_are_trained_on_are_counted() {
    let data = |values: Vec<f32>| {
        let ids = vec![0; values.len()];
        let targets = Targets::Classes { ids, labels: vec!["0".to_owned()] };
        Dataset::new(vec![1], Features::Floats(values), targets).unwrap()
    };
    let (train, rows) = (data(vec![1.0, 2.0, 3.0]), [0, 1]);
    let found = of_test_rows(&train, &rows, &data(vec![1.0, 3.0, 4.0]));
    assert_eq!(found, Some(Warning::TestRowsTrainedOn { rows: 1, of: 3 }));
    // A few are alike in published sets.
    let few = (0..20).map(|i| i as f32 + 2.0).collect();
    assert_eq!(of_test_rows(&train, &rows, &data(few)), None);
}

#[test]
fn what_acts_on_hidden_layers_needs_some() {
    let linear = MlpConfig { norm: Norm::Batch, dropout: 0.5, ..MlpConfig::new([4], [], 2) };
    let flags = vec!["--dropout", "--norm"];
    assert_eq!(of_hidden_layers(&linear, false), Some(Warning::NoHiddenLayers { flags }));
    let flags = vec!["--dropout"];
    assert_eq!(of_hidden_layers(&linear, true), Some(Warning::NoHiddenLayers { flags }));
    let residual = MlpConfig { residual: true, ..MlpConfig::new([4], [3, 2], 2) };
    assert_eq!(of_hidden_layers(&residual, false), Some(Warning::NoResidual));
    let residual = MlpConfig { hidden: vec![3, 3], ..residual };
    assert_eq!(of_hidden_layers(&residual, false), None);
    assert_eq!(of_hidden_layers(&MlpConfig::new([4], [], 2), false), None);
}

#[test]
fn labels_move_no_cursor_and_a_message_stays_short() {
    let labels: Vec<String> = (0..100).map(|i| format!("a\u{1b}[2J{i}")).collect();
    let said = Warning::ClassesWithoutRows { labels, is_tuned: false }.to_string();
    assert!(said.contains("and 90 more") && !said.contains('\u{1b}'), "{said}");
}
