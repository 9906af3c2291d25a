//! A small model, and runs that tune it.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Parser;
use fireclay::{Checkpoint, Model};

use crate::program::{DIGITS, Place, Run};

/// A place with a trained model, `base.safetensors`, that knows the digits 0 to 4.
pub(crate) fn place() -> Place {
    place_with("--hidden 12,8 --classes 0,1,2,3,4")
}

pub(crate) fn place_with(network: &str) -> Place {
    let place = Place::new();
    train(&place, &format!("--name base --epochs 30 --lr 0.01 {network}"));
    std::fs::copy(place.path("runs/base/model.safetensors"), place.path("base.safetensors"))
        .unwrap();
    place
}

/// Runs `train` in this process.
pub(crate) fn train(place: &Place, line: &str) {
    let (data, out) = (place.path("digits"), place.path("runs"));
    let line = format!(
        "train -q --data idx:{} --validation 10 --out {} {line}",
        data.display(),
        out.display()
    );
    train::run(train::Args::parse_from(line.split_whitespace())).unwrap();
}

pub(crate) fn tensors(model: &Model) -> BTreeMap<String, Vec<u32>> {
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    model.mlp.tensors().unwrap().into_iter().map(|t| (t.name, bits(t.values))).collect()
}

/// Fine-tunes the base on all ten digits.
pub(crate) fn tuned(place: &Place, name: &str, line: &str) -> (Run, String) {
    let line = format!("{DIGITS} --from base.safetensors --name {name} --lr 0.01 {line}");
    let outcome = place.train(&line).succeeded();
    (place.run(name), outcome.stdout)
}

/// Which tensors differ between start and result.
pub(crate) fn moved(run: &Run) -> Vec<String> {
    let (before, after) =
        (tensors(&run.model("start.safetensors")), tensors(&run.model("model.safetensors")));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    before.keys().filter(|name| before[*name] != after[*name]).cloned().collect()
}

/// Names of what the optimizer remembers in the last checkpoint.
pub(crate) fn remembered(run: &Run) -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(run.path.join("checkpoints"))
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    let checkpoint = Checkpoint::load(files.last().unwrap()).unwrap();
    let names = checkpoint.tensors().filter_map(|(name, _)| name.strip_prefix("optimizer."));
    names.map(str::to_owned).collect()
}

pub(crate) fn read(path: &Path) -> Model {
    let device = fireclay::Backend::Flex.device(fireclay::DeviceChoice::Default).unwrap();
    Model::load(path, &device).unwrap()
}
