//! All of them, on different numbers of threads.

use burn::tensor::DType;
use fireclay_kernels::{Epilogue, Smoothing, adam, cross_entropy, dense, sgd};
use rayon::ThreadPoolBuilder;

use super::Layout;
use super::cross_entropy::Classification;
use super::dense::{Layer, Pass};
use super::optimizers::{ADAM, SGD, Training};
use crate::support::Random;

/// The bits of every body, of sizes that are worth several threads.
fn everything() -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    for epilogue in [Epilogue::None, Epilogue::Relu] {
        let layer = Layer::new([400, 200, 150], DType::F32, epilogue);
        let numbers = layer.numbers(&mut Random(12));
        let Pass { y, gradients } = layer.on_graph(dense, &numbers);
        seen.push(y);
        seen.extend(gradients.into_iter().flatten());
    }
    let smoothing = Smoothing { share: 0.1, class_weights: None };
    let (batch, count, most, dtype, layout) = (400, 100, 10.0, DType::F32, Layout::Rows);
    let case = Classification { batch, count, most, smoothing, dtype, layout };
    seen.extend(case.on_graph(cross_entropy, &case.numbers(&mut Random(13))));
    let training = Training::new((3 << 17) + 5, 1, DType::F32, &mut Random(14));
    seen.extend(training.adam(adam, &ADAM));
    seen.extend(training.sgd(sgd, &SGD));
    seen.into_iter().map(|data| data.as_bytes().to_vec()).collect()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let alone = pool(1).install(everything);
    assert_eq!(alone.len(), 2 * 4 + 2 + 3 + 2);
    for threads in [2, 3, 8] {
        // Not `assert_eq`, which would print a million bytes.
        let is_same = pool(threads).install(everything) == alone;
        assert!(is_same, "{threads} threads");
    }
}
