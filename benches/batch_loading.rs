//! Batches: gathering random rows on the host and putting them on the device.

mod support;

use criterion::Criterion;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let data = support::mnist()?;
    let mut group = support::group(&mut criterion, "batch_loading");
    for (backend, device) in support::devices()? {
        for batch in support::BATCH_SIZES {
            let rows = support::rows(&data, batch);
            let id = support::case(&mut group, "mnist", backend, batch);
            group.bench_function(id, |bencher| bencher.iter(|| data.batch(&rows, &device)));
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
