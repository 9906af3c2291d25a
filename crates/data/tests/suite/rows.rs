//! Contracts of rows: batches, Burn's loader, splits and orders.

use std::collections::BTreeSet;

use burn::data::dataloader::DataLoaderBuilder;
use burn::tensor::Device;
use fireclay_data::{
    Batch, BatchTargets, DataError, Dataset, Features, Holdout, Row, RowBatcher, Targets, batches,
    permutation, split,
};
use fireclay_model::SparseRows;
use proptest::prelude::*;

fn labels(count: usize) -> Vec<String> {
    (0..count).map(|label| label.to_string()).collect()
}

/// One byte per row, its row number modulo 256; classes as given.
fn set(ids: &[u32], classes: usize) -> Dataset {
    let bytes = (0..ids.len()).map(|row| row as u8).collect();
    let targets = Targets::Classes { ids: ids.to_vec(), labels: labels(classes) };
    Dataset::new(vec![1], Features::Bytes(bytes), targets).unwrap()
}

fn floats(batch: &Batch) -> Vec<f32> {
    batch.inputs.clone().into_data().try_into_vec_as().unwrap()
}

fn ids(batch: &Batch) -> Vec<i64> {
    let BatchTargets::Classes(ids) = batch.targets.clone() else { panic!("{batch:?}") };
    ids.into_data().try_into_vec_as().unwrap()
}

fn values(batch: &Batch) -> Vec<f32> {
    let BatchTargets::Values(values) = batch.targets.clone() else { panic!("{batch:?}") };
    values.into_data().try_into_vec_as().unwrap()
}

#[test]
fn a_batch_gathers_rows_in_the_given_order() {
    let features = Features::Bytes(vec![0, 1, 2, 3, 254, 255]);
    let targets = Targets::Classes { ids: vec![2, 0, 1], labels: labels(3) };
    let set = Dataset::new(vec![1, 2], features, targets).unwrap();
    let batch = set.batch(&[2, 0, 2], &Device::flex());
    assert_eq!(batch.inputs.dims(), [3, 2]);
    assert_eq!(floats(&batch), [254.0, 255.0, 0.0, 1.0, 254.0, 255.0]);
    assert_eq!(ids(&batch), [1, 2, 1]);
}

#[test]
fn multi_labels_and_numbers_are_values() {
    let features = || Features::Floats(vec![0.5, -1.5]);
    let multi = Targets::MultiLabel { values: vec![1, 0, 1, 0, 1, 1], labels: labels(3) };
    let set = Dataset::new(vec![1], features(), multi).unwrap();
    let batch = set.batch(&[1], &Device::flex());
    assert_eq!((floats(&batch), values(&batch)), (vec![-1.5], vec![0.0, 1.0, 1.0]));

    let numbers = Targets::Values { values: vec![3.0, 4.0], names: labels(1) };
    let set = Dataset::new(vec![1], features(), numbers).unwrap();
    assert_eq!(values(&set.batch(&[1, 0], &Device::flex())), [4.0, 3.0]);
    let found = split(&set, Holdout::Count(1), true, 0);
    assert!(matches!(found, Err(DataError::NotClasses)));
}

#[test]
#[should_panic(expected = "out of range")]
fn an_index_out_of_range_panics() {
    set(&[0, 0], 1).batch(&[2], &Device::flex());
}

#[test]
fn burns_loader_gives_the_same_batches() {
    let set = set(&[0, 1, 2, 3, 4], 5);
    let loader = DataLoaderBuilder::<Row, Batch>::new(RowBatcher)
        .batch_size(2)
        .set_device(Device::flex())
        .build(set.clone());
    let found: Vec<Batch> = loader.iter().map(Result::unwrap).collect();
    let expected = batches(set.len(), 2, false)
        .map(|range| set.batch(&range.collect::<Vec<_>>(), &Device::flex()));
    assert_eq!(found.len(), 3);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((floats(found), ids(found)), (floats(&expected), ids(&expected)));
    }
}

#[test]
fn burns_loader_gives_values_too() {
    let targets = Targets::Values { values: vec![1.0, 2.0, 3.0, 4.0], names: labels(2) };
    let set = Dataset::new(vec![1], Features::Floats(vec![8.0, 9.0]), targets).unwrap();
    let loader = DataLoaderBuilder::<Row, Batch>::new(RowBatcher)
        .batch_size(2)
        .set_device(Device::flex())
        .build(set);
    let batch = loader.iter().next().unwrap().unwrap();
    assert_eq!((floats(&batch), values(&batch)), (vec![8.0, 9.0], vec![1.0, 2.0, 3.0, 4.0]));
}

#[test]
fn a_stratified_split_keeps_the_proportions() {
    let ids: Vec<u32> = (0..1_000).map(|row| u32::from(row % 10 == 0)).collect();
    let set = set(&ids, 2);
    let found = split(&set, Holdout::Fraction(0.2), true, 1).unwrap();
    let rare = found.validation.iter().filter(|&&row| ids[row] == 1).count();
    assert_eq!((found.validation.len(), rare), (200, 20));
}

proptest! {
    #[test]
    fn a_permutation_has_every_row_once(n in 0_usize..500, seed: u64, epoch: u64) {
        let order = permutation(n, seed, epoch);
        prop_assert_eq!(&order, &permutation(n, seed, epoch));
        let mut sorted = order;
        sorted.sort_unstable();
        prop_assert!(sorted.into_iter().eq(0..n as u32));
    }

    #[test]
    fn epochs_and_seeds_give_other_orders(seed: u64, epoch in 0..u64::MAX) {
        let order = permutation(100, seed, epoch);
        prop_assert_ne!(&order, &permutation(100, seed, epoch + 1));
        prop_assert_ne!(&order, &permutation(100, seed.wrapping_add(1), epoch));
    }

    #[test]
    fn batches_cover_every_row_once(n in 0_usize..500, size in 1_usize..80, drop_last: bool) {
        let found: Vec<_> = batches(n, size, drop_last).collect();
        let covered = if drop_last { n - n % size } else { n };
        prop_assert!(found.iter().cloned().flatten().eq(0..covered));
        let full = found.len().saturating_sub(usize::from(!drop_last));
        prop_assert!(found[..full].iter().all(|range| range.len() == size));
        prop_assert!(found.iter().all(|range| !range.is_empty()));
    }

    #[test]
    fn a_split_is_a_partition_of_exact_size(
        ids in prop::collection::vec(0_u32..5, 2..300),
        part in 0.0..1.0_f64,
        stratified: bool,
        seed: u64,
    ) {
        let count = ((ids.len() - 1) as f64 * part) as usize;
        let found = split(&set(&ids, 5), Holdout::Count(count), stratified, seed).unwrap();
        prop_assert_eq!(found.validation.len(), count);
        prop_assert!(found.train.is_sorted() && found.validation.is_sorted());
        let all: BTreeSet<_> = found.train.iter().chain(&found.validation).copied().collect();
        prop_assert!(all.into_iter().eq(0..ids.len()));
        prop_assert_eq!(found.train.len() + count, ids.len());
        if stratified {
            for class in 0..5 {
                let of_class = |rows: &[usize]| rows.iter().filter(|&&row| ids[row] == class).count();
                let (held, total) = (of_class(&found.validation), of_class(&found.train));
                let exact = (held + total) as f64 * count as f64 / ids.len() as f64;
                prop_assert!((held as f64 - exact).abs() < 1.0, "{} {}", held, exact);
            }
        }
    }
}

/// Three rows of texts alone: terms 1 and 4, none, and term 4.
fn texts() -> Dataset {
    let mut rows = SparseRows::default();
    rows.push([(1, 0.5), (4, 2.0)]);
    rows.push([]);
    rows.push([(4, 1.0)]);
    let targets = Targets::Classes { ids: vec![0, 1, 1], labels: vec!["a".into(), "b".into()] };
    Dataset::with_terms(vec![0], Features::Floats(Vec::new()), vec![rows], targets).unwrap()
}

#[test]
fn terms_go_with_their_rows() {
    let data = texts();
    assert_eq!((data.len(), data.width()), (3, 0));
    let some = data.only_rows(&[2, 0]).unwrap();
    assert_eq!(some.terms()[0].row(0), (&[4][..], &[1.0][..]));
    assert_eq!(some.terms()[0].row(1), (&[1, 4][..], &[0.5, 2.0][..]));
    let both = data.followed_by(&some, &[1]).unwrap();
    assert_eq!(both.terms()[0].row(3), (&[1, 4][..], &[0.5, 2.0][..]));
    let of_class = data.only_classes(&["b".to_owned()]).unwrap();
    assert_eq!(of_class.terms()[0].row(1), (&[4][..], &[1.0][..]));
    let batch = data.batch(&[1, 2], &Device::flex());
    assert_eq!(batch.inputs.dims(), [2, 0]);
    assert_eq!(batch.terms, data.terms_of(&[1, 2]));
    assert_eq!(data.encoded_rows(1..3).sparse, batch.terms);
}

#[test]
fn terms_tell_data_sets_and_rows_apart() {
    let data = texts();
    assert_eq!(data.digest(), texts().digest());
    assert_ne!(data.digest(), data.only_rows(&[0, 2, 1]).unwrap().digest());
    assert_eq!(data.repeated_in(&[0, 1, 2], &data), 3);
    let others = data.only_rows(&[2]).unwrap();
    assert_eq!(data.repeated_in(&[0, 1], &others), 0);
}

#[test]
fn terms_that_do_not_fit_are_refused() {
    let rows = |row: &[(u32, f32)]| {
        let mut rows = SparseRows::default();
        rows.push(row.iter().copied());
        rows
    };
    let good = rows(&[(1, 1.0), (2, 1.0)]);
    let mut two = good.clone();
    two.push([]);
    for bad in
        [rows(&[(2, 1.0), (1, 1.0)]), rows(&[(1, 1.0), (1, 1.0)]), rows(&[(1, f32::NAN)]), two]
    {
        let targets = Targets::Values { values: vec![1.0], names: vec!["y".into()] };
        let features = Features::Floats(vec![1.0]);
        let found = Dataset::with_terms(vec![1], features, vec![good.clone(), bad], targets);
        assert!(matches!(found, Err(DataError::Terms { text: 1 })));
    }
    let targets = Targets::Values { values: vec![1.0], names: vec!["y".into()] };
    let none = Dataset::with_terms(vec![0], Features::Floats(vec![]), Vec::new(), targets);
    assert!(matches!(none, Err(DataError::BadShape { .. })));
}
