//! Inference: preprocessing and the forward pass of one batch that lies on the device.

mod support;

use criterion::Criterion;
use fireclay::{Mlp, Preprocessing, prepare};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let data = support::mnist()?;
    let mut group = support::group(&mut criterion, "forward");
    for (backend, device) in support::devices()? {
        for (name, network) in support::networks() {
            let mlp = Mlp::init(&network, 1, &device)?;
            for batch in support::BATCH_SIZES {
                let inputs = data.batch(&support::rows(&data, batch), &device).inputs;
                let id = support::case(&mut group, name, backend, batch);
                group.bench_function(id, |bencher| {
                    bencher.iter(|| mlp.forward(prepare(&Preprocessing::PIXELS, inputs.clone())));
                });
            }
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
