//! Contract of the PyTorch reader: what `torch.save` wrote is read, whatever a pickle could do
//! beyond tensors is refused, and no size is believed.

mod crafted;
mod damaged;
mod saved;

use fireclay_formats::{
    Activation, Archive, Layer, Layout, Network, Norm, Problem, from_bytes, read,
};

use crate::support::golden;

fn opened(name: &str) -> Archive {
    let archive = read(golden("pytorch").join(name)).unwrap();
    assert_eq!(archive.network, None);
    archive
}

fn dense(weight: &str, bias: Option<&str>) -> Layer {
    let bias = bias.map(str::to_owned);
    Layer::Dense { weight: weight.to_owned(), bias, layout: Layout::OutIn }
}

fn activation(name: &str) -> Layer {
    Layer::Activation(Activation { name: name.to_owned(), constants: Default::default() })
}

fn network(layers: Vec<Layer>) -> Network {
    Network { input_shape: None, layers: [vec![Layer::Flatten], layers].concat() }
}

/// 784-32-10 of an `nn.Sequential`.
fn plain() -> Network {
    network(vec![
        dense("1.weight", Some("1.bias")),
        activation("relu"),
        dense("3.weight", Some("3.bias")),
    ])
}

/// 784-8-10 of a class.
fn small() -> Network {
    network(vec![
        dense("fc1.weight", Some("fc1.bias")),
        activation("relu"),
        dense("fc2.weight", Some("fc2.bias")),
    ])
}

fn norm(kind: Norm, of: &str) -> Layer {
    let name = |part: &str| Some(format!("{of}.{part}"));
    let statistic = |part: &str| if kind == Norm::Batch { name(part) } else { None };
    Layer::Norm {
        kind,
        scale: name("weight"),
        shift: name("bias"),
        mean: statistic("running_mean"),
        variance: statistic("running_var"),
        epsilon: 1e-5,
    }
}

fn rich() -> Network {
    network(vec![
        dense("1.weight", Some("1.bias")),
        norm(Norm::Batch, "2"),
        activation("relu"),
        Layer::Dropout(0.1),
        dense("5.weight", None),
        norm(Norm::Layer, "6"),
        activation("gelu"),
        dense("8.weight", Some("8.bias")),
    ])
}

fn names(archive: &Archive) -> Vec<&str> {
    archive.tensors.iter().map(|tensor| tensor.name.as_str()).collect()
}

/// The pickle in a file of PyTorch's, whose entry is the first and is stored.
fn pickle_of(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.windows(3).position(|at| at == b"\x80\x02c" || at == b"\x80\x02}").unwrap();
    let end = bytes.windows(3).position(|at| at == b".PK").unwrap();
    bytes[start..=end].to_vec()
}

#[track_caller]
fn expect_malformed(bytes: &[u8], message: &str) {
    let found = from_bytes(bytes);
    let Err(Problem::Malformed { what, .. }) = &found else { panic!("{found:?}") };
    assert!(what.contains(message), "{what}");
}

#[track_caller]
fn expect_refused(bytes: &[u8], message: &str) {
    let found = from_bytes(bytes);
    let Err(Problem::Refused { what, .. }) = &found else { panic!("{found:?}") };
    assert!(what.contains(message), "{what}");
}

#[track_caller]
fn expect_limit(bytes: &[u8], message: &str) {
    let found = from_bytes(bytes);
    let Err(Problem::Limit { what, .. }) = &found else { panic!("{found:?}") };
    assert!(what.contains(message), "{what}");
}

const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// A legacy file of this object, these names of storages, and what follows.
fn legacy(object: &[u8], keys: &[u8], rest: &[u8]) -> Vec<u8> {
    let version = b"\x80\x02M\xe9\x03.";
    let pickles = [&b"\x80\x02}."[..], b"\x80\x02", object, b".\x80\x02", keys, b"."];
    [MAGIC, version, &pickles.concat(), rest].concat()
}
