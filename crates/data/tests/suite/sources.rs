//! Contract of fetched sets where there is no right file to be had, and of one that Debian packages.

use std::fs;
use std::path::Path;

use fireclay_data::{Attempt, DataError, LoadOptions, Source, Targets, TrainTest, load};

use crate::server::{Server, ok, status};

fn load_from(source: &str, cache: &Path, mirrors: &[&Server]) -> Result<TrainTest, DataError> {
    let options = LoadOptions {
        cache_folder: Some(cache.to_owned()),
        mirrors: Some(mirrors.iter().map(|mirror| mirror.url()).collect()),
    };
    load(&source.parse::<Source>().unwrap(), &options, &mut |_| {})
}

fn attempts(found: Result<TrainTest, DataError>) -> Vec<Attempt> {
    let Err(DataError::Unavailable { attempts, .. }) = found else { panic!("{found:?}") };
    attempts
}

#[test]
fn every_mirror_is_asked_for_the_published_name() {
    let cases = [
        ("kmnist", "/train-images-idx3-ubyte.gz"),
        ("qmnist", "/qmnist-train-images-idx3-ubyte.gz"),
        ("emnist-letters", "/gzip.zip"),
    ];
    for (source, path) in cases {
        let cache = tempfile::tempdir().unwrap();
        let mirrors = [Server::start(|_, _| status(404)), Server::start(|_, _| status(403))];
        let found = attempts(load_from(source, cache.path(), &[&mirrors[0], &mirrors[1]]));
        let reasons: Vec<_> = found.iter().map(|attempt| attempt.reason.as_str()).collect();
        let expected =
            ["the server answered with status 404", "the server answered with status 403"];
        assert_eq!(reasons, expected);
        assert_eq!(found[1].address, format!("{}{path}", mirrors[1].url()));
        assert_eq!(mirrors[0].requests(), [path]);
    }
}

#[test]
fn bytes_that_are_not_the_published_ones_are_not_kept() {
    for source in ["kmnist", "qmnist", "emnist-digits"] {
        let cache = tempfile::tempdir().unwrap();
        let mirror = Server::start(|_, _| ok(b"<html>moved</html>"));
        let found = attempts(load_from(source, cache.path(), &[&mirror]));
        assert_eq!(found.len(), 1, "{found:?}");
        let folder = fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{source}");
    }
}

#[test]
fn a_wrong_file_put_in_by_hand_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let path = cache.path().join("kmnist/train-images-idx3-ubyte");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Well-formed, but of one row.
    fs::write(&path, [0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5]).unwrap();
    let found = attempts(load_from("kmnist", cache.path(), &[]));
    assert_eq!(found[0].address, path.display().to_string());
    assert!(found[0].reason.contains("1 row, the published file has 60000"), "{found:?}");
}

#[test]
fn debians_fashion_mnist_is_found_without_a_network() {
    if !Path::new("/usr/share/datasets/fashion-mnist").is_dir() {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let sets = load_from("fashion-mnist", cache.path(), &[]).unwrap();
    assert_eq!((sets.train.len(), sets.test.len()), (60_000, 10_000));
    let Targets::Classes { ids, labels } = sets.test.targets() else { panic!("classes") };
    assert_eq!(ids[..10], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]);
    assert_eq!(labels[9], "Ankle boot");
    let rows: Vec<usize> = (0..sets.train.len()).collect();
    let (mean, std) = sets.train.global_mean_and_std(&rows);
    assert!((mean / 255.0 - 0.286_041).abs() < 1e-6 && (std / 255.0 - 0.353_024).abs() < 1e-6);
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "nothing was fetched");
}
