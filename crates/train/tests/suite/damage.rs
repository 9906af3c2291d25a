//! Damaged files: every truncation and many flipped bits of a model file and a checkpoint.
//!
//! What the parser does not notice, the digest does.

use std::time::{Duration, Instant};

use fireclay::{Backend, Checkpoint, DeviceChoice, Mlp, Model, ModelFileProblem, Provenance};
use train::fit::fit;
use train::metrics::MetricChoice;
use train::optimizer::OptimizerConfig;
use train::progress::Silent;
use train::state::State;

use crate::setup::{Setup, Take};

/// The bytes of a small model file and of a checkpoint in the middle of an epoch.
fn files() -> [Vec<u8>; 2] {
    let mut setup = Setup::classes();
    setup.optimizer = OptimizerConfig::Adam(Default::default());
    setup.training.ema = Some(0.9);
    setup.training.metrics = vec![MetricChoice::Auroc];
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let job = setup.job(&device);
    let mut take = Take::at(3);
    let state = State::new(&job, Mlp::init(&setup.model, 1, &device).unwrap());
    let mlp = fit(&job, state, &mut Silent, &mut take).unwrap().mlp;
    let model = |mlp| Model {
        mlp,
        task: setup.task.clone(),
        input: setup.input(),
        provenance: Provenance::default(),
    };
    let checkpoint = take.taken.unwrap().into_checkpoint(model, "mark").unwrap();
    [model(mlp).to_bytes().unwrap().0, checkpoint.to_bytes().unwrap().0]
}

/// Reads a file in both ways, and sees that each is refused soon.
#[track_caller]
fn refused(bytes: &[u8], what: &str) -> ModelFileProblem {
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let start = Instant::now();
    let model = Model::from_bytes(bytes, &device);
    let checkpoint = Checkpoint::from_bytes(bytes);
    // Milliseconds in fact; the limit allows for a machine that does something else.
    assert!(start.elapsed() < Duration::from_secs(2), "{what}: {:?}", start.elapsed());
    assert!(checkpoint.is_err(), "{what}: the checkpoint is taken");
    model.err().unwrap_or_else(|| panic!("{what}: the model is taken"))
}

#[test]
fn whole_files_are_taken() {
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let [model, checkpoint] = files();
    Model::from_bytes(&model, &device).unwrap();
    Model::from_bytes(&checkpoint, &device).unwrap();
    assert!(matches!(Checkpoint::from_bytes(&model), Err(ModelFileProblem::NoRun)));
    let read = Checkpoint::from_bytes(&checkpoint).unwrap();
    assert_eq!(read.run()["record"], "mark");
    let (again, _) = read.to_bytes().unwrap();
    let again = Checkpoint::from_bytes(&again).unwrap();
    assert_eq!(again.tensors().count(), read.tensors().count());
}

#[test]
fn every_truncation_is_noticed() {
    for file in files() {
        for length in 0..file.len() {
            refused(&file[..length], &format!("the first {length} bytes"));
        }
        let mut longer = file.clone();
        longer.push(0);
        refused(&longer, "a byte too many");
    }
}

#[test]
fn ten_thousand_flipped_bits_are_noticed() {
    for file in files() {
        let bits = file.len() * 8;
        let mut digests = 0;
        for i in 0..10_000_usize {
            // A stride that is prime to most lengths visits bits all over the file.
            let bit = i.wrapping_mul(7_919) % bits;
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let problem = refused(&damaged, &format!("bit {bit}"));
            digests += usize::from(matches!(problem, ModelFileProblem::Digest { .. }));
        }
        // The rest are in the header, where the parser notices them.
        assert!(digests > 1_000, "the digest noticed {digests}");
    }
}
