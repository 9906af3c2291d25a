//! Helpers of the benchmarks: networks, batch sizes, devices and MNIST.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use fireclay::{Backend, BackendError, Device, DeviceChoice, MlpConfig};
use fireclay_data::{DataError, Dataset, LoadOptions, Source, load, permutation};

/// Samples of a batch: the tutorial's, and one that keeps the matrix kernels busy.
pub(crate) const BATCH_SIZES: [usize; 2] = [32, 1024];

/// The networks by name.
#[allow(dead_code, reason = "not every benchmark has a network")]
pub(crate) fn networks() -> [(&'static str, MlpConfig); 2] {
    [
        ("784-128-10", MlpConfig::new([28, 28], [128], 10)),
        ("784-1024-1024-10", MlpConfig::new([28, 28], [1024, 1024], 10)),
    ]
}

/// The backends for a CPU that are compiled in.
pub(crate) fn devices() -> Result<Vec<(Backend, Device)>, BackendError> {
    let backends = [Backend::Flex, Backend::NdArray].into_iter();
    let backends = backends.filter(|backend| backend.is_compiled());
    backends.map(|backend| Ok((backend, backend.device(DeviceChoice::Default)?))).collect()
}

/// The training samples of MNIST.
pub(crate) fn mnist() -> Result<Dataset, DataError> {
    Ok(load(&Source::Mnist, &LoadOptions::default(), &mut |_| {})?.train)
}

/// Places of a random batch, as an epoch would have it.
pub(crate) fn rows(data: &Dataset, count: usize) -> Vec<usize> {
    permutation(data.len(), 1, 1).into_iter().take(count).map(|row| row as usize).collect()
}

/// A group of benchmarks that count samples and end within seconds.
pub(crate) fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_secs(1));
    group.measurement_time(Duration::from_secs(3));
    group
}

/// Names the next benchmark of a group, and sets the number of samples of one iteration.
pub(crate) fn case(
    group: &mut BenchmarkGroup<'_, WallTime>,
    what: &str,
    backend: Backend,
    batch: usize,
) -> BenchmarkId {
    group.throughput(Throughput::Elements(batch as u64));
    BenchmarkId::new(format!("{what}/{backend}"), batch)
}
