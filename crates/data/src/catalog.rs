//! Published sets of four IDX files: where they are, what they sum to, what their classes are.

use crate::cache::{Cache, LoadOptions, Origin};
use crate::checksum::{Checksum, read_verified};
use crate::fetch::FetchProgress;
use crate::set::{IdxFile, TrainTest, classified, digits};
use crate::{DataError, Dataset};

/// A set of images and class labels, as published.
pub(crate) struct Published {
    origin: Origin,
    train: Files,
    test: Files,
    labels: fn() -> Vec<String>,
}

struct Files {
    rows: usize,
    images: PublishedFile,
    labels: PublishedFile,
}

struct PublishedFile {
    name: &'static str,
    checksum: Checksum,
}

pub(crate) const FASHION_MNIST: Published = Published {
    origin: Origin {
        folder: "fashion-mnist",
        // Of the Debian package dataset-fashion-mnist. Its gzip headers differ from the published
        // ones, its contents do not.
        shared_folder: Some("/usr/share/datasets/fashion-mnist"),
        mirrors: &[
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ],
    },
    train: Files {
        rows: 60_000,
        images: PublishedFile {
            name: "train-images-idx3-ubyte.gz",
            checksum: Checksum::Contents(
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
        },
        labels: PublishedFile {
            name: "train-labels-idx1-ubyte.gz",
            checksum: Checksum::Contents(
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
        },
    },
    test: Files {
        rows: 10_000,
        images: PublishedFile {
            name: "t10k-images-idx3-ubyte.gz",
            checksum: Checksum::Contents(
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
        },
        labels: PublishedFile {
            name: "t10k-labels-idx1-ubyte.gz",
            checksum: Checksum::Contents(
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        },
    },
    labels: || {
        #[rustfmt::skip]
        let labels = [
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ];
        labels.map(str::to_owned).into()
    },
};

/// "KMNIST Dataset" (created by CODH), adapted from "Kuzushiji Dataset" (created by NIJL and
/// others), doi:10.20676/00000341. The sums are those of the release of 5 February 2019.
pub(crate) const KMNIST: Published = Published {
    origin: Origin {
        folder: "kmnist",
        shared_folder: None,
        mirrors: &[
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ],
    },
    train: Files {
        rows: 60_000,
        images: PublishedFile {
            name: "train-images-idx3-ubyte.gz",
            checksum: Checksum::FileSha256(
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            ),
        },
        labels: PublishedFile {
            name: "train-labels-idx1-ubyte.gz",
            checksum: Checksum::FileSha256(
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            ),
        },
    },
    test: Files {
        rows: 10_000,
        images: PublishedFile {
            name: "t10k-images-idx3-ubyte.gz",
            checksum: Checksum::FileSha256(
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            ),
        },
        labels: PublishedFile {
            name: "t10k-labels-idx1-ubyte.gz",
            checksum: Checksum::FileSha256(
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            ),
        },
    },
    labels: || {
        #[rustfmt::skip]
        let labels = [
            "お (o)", "き (ki)", "す (su)", "つ (tsu)", "な (na)",
            "は (ha)", "ま (ma)", "や (ya)", "れ (re)", "を (wo)",
        ];
        labels.map(str::to_owned).into()
    },
};

/// Only MD5 sums are published.
pub(crate) const QMNIST: Published = Published {
    origin: Origin {
        folder: "qmnist",
        shared_folder: None,
        mirrors: &["https://raw.githubusercontent.com/facebookresearch/qmnist/master/"],
    },
    train: Files {
        rows: 60_000,
        images: PublishedFile {
            name: "qmnist-train-images-idx3-ubyte.gz",
            checksum: Checksum::FileMd5("ed72d4157d28c017586c42bc6afe6370"),
        },
        labels: PublishedFile {
            name: "qmnist-train-labels-idx2-int.gz",
            checksum: Checksum::FileMd5("0058f8dd561b90ffdd0f734c6a30e5e4"),
        },
    },
    test: Files {
        rows: 60_000,
        images: PublishedFile {
            name: "qmnist-test-images-idx3-ubyte.gz",
            checksum: Checksum::FileMd5("1394631089c404de565df7b7aeaf9412"),
        },
        labels: PublishedFile {
            name: "qmnist-test-labels-idx2-int.gz",
            checksum: Checksum::FileMd5("5b5b05890a5e13444e108efe57b788aa"),
        },
    },
    labels: digits,
};

/// Loads a published set from the cache, fetching what is missing.
pub(crate) fn load(
    set: &Published,
    options: &LoadOptions,
    progress: &mut dyn FnMut(FetchProgress),
) -> Result<TrainTest, DataError> {
    let mut cache = Cache::open(&set.origin, options, progress)?;
    Ok(TrainTest::new(
        load_files(&set.train, (set.labels)(), &mut cache)?,
        load_files(&set.test, (set.labels)(), &mut cache)?,
    ))
}

fn load_files(
    files: &Files,
    labels: Vec<String>,
    cache: &mut Cache<'_>,
) -> Result<Dataset, DataError> {
    let images = files.images.obtain(files.rows, cache)?;
    let (path, ids) = files.labels.obtain(files.rows, cache)?.into_class_ids()?;
    classified(images, &path, ids, labels)
}

impl PublishedFile {
    fn obtain(&self, rows: usize, cache: &mut Cache<'_>) -> Result<IdxFile, DataError> {
        cache.obtain(self.name, |path| {
            let part = IdxFile { path: path.to_owned(), idx: read_verified(path, self.checksum)? };
            match part.rows() {
                found if found == rows => Ok(part),
                found => Err(DataError::RowCount { path: part.path, expected: rows, found }),
            }
        })
    }
}
