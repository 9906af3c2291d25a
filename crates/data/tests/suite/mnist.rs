//! Contract of the bundled MNIST: the published counts, labels, sums and statistics.

use std::sync::LazyLock;

use fireclay_data::{Dataset, Features, LoadOptions, Source, Targets, TrainTest, load};

static MNIST: LazyLock<TrainTest> = LazyLock::new(|| {
    load(&Source::Mnist, &LoadOptions::default(), &mut |_| panic!("nothing to fetch")).unwrap()
});

fn pixel_sum(set: &Dataset) -> u64 {
    let Features::Bytes(pixels) = set.features() else { panic!("pixels are bytes") };
    pixels.iter().map(|&pixel| u64::from(pixel)).sum()
}

fn ids(set: &Dataset) -> &[u32] {
    let Targets::Classes { ids, .. } = set.targets() else { panic!("targets are classes") };
    ids
}

#[test]
fn counts_and_shapes() {
    assert_eq!((MNIST.train.len(), MNIST.test.len()), (60_000, 10_000));
    assert_eq!(
        (MNIST.train.shape(), MNIST.test.shape()),
        ([28, 28].as_slice(), [28, 28].as_slice())
    );
    let mut counts = [0; 10];
    ids(&MNIST.train).iter().for_each(|&id| counts[id as usize] += 1);
    assert_eq!(counts, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
}

#[test]
fn first_test_labels() {
    assert_eq!(ids(&MNIST.test)[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    assert_eq!(MNIST.test.targets().labels()[7], "7");
}

#[test]
fn pixel_sums() {
    assert_eq!(pixel_sum(&MNIST.train), 1_567_298_545);
    assert_eq!(pixel_sum(&MNIST.test), 264_923_200);
}

#[test]
fn pixel_statistics() {
    let check = |set: &Dataset, mean: f32, std: f32| {
        let rows: Vec<usize> = (0..set.len()).collect();
        let found = set.global_mean_and_std(&rows);
        assert!((found.0 / 255.0 - mean).abs() < 1e-6, "{found:?}");
        assert!((found.1 / 255.0 - std).abs() < 1e-6, "{found:?}");
    };
    check(&MNIST.train, 0.130_660, 0.308_108);
    check(&MNIST.test, 0.132_515, 0.310_480);
}

#[test]
fn constant_pixels_have_no_deviation() {
    let rows: Vec<usize> = (0..MNIST.train.len()).collect();
    let (_, std) = MNIST.train.mean_and_std(&rows);
    assert_eq!(std.iter().filter(|&&std| std == 0.0).count(), 67);
}
