//! Pickles that no program would write, put together from their instructions.

use super::zip::{Entry, archive};

/// An archive of this pickle, without its first and last instruction, and one storage of bytes.
pub(crate) fn file(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    let pickle = [b"\x80\x02", pickle, b"."].concat();
    archive(&[Entry::stored("a/data.pkl", &pickle), Entry::stored("a/data/0", storage)])
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [b"X", &u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat()
}

pub(crate) fn int(number: i64) -> Vec<u8> {
    [b"\x8a\x08", &number.to_le_bytes()[..]].concat()
}

pub(crate) fn global(name: &str) -> Vec<u8> {
    let (module, name) = name.rsplit_once('.').unwrap();
    format!("c{module}\n{name}\n").into_bytes()
}

pub(crate) fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

pub(crate) fn ints(numbers: &[i64]) -> Vec<u8> {
    tuple(&numbers.iter().map(|&number| int(number)).collect::<Vec<_>>())
}

pub(crate) fn call(name: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
    [global(name), tuple(arguments), b"R".to_vec()].concat()
}

pub(crate) fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<_> =
        items.iter().map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"}(", &items.concat()[..], b"u"].concat()
}

pub(crate) fn storage(class: &str, numbers: i64) -> Vec<u8> {
    let name = [text("storage"), global(class), text("0"), text("cpu"), int(numbers)];
    [tuple(&name), b"Q".to_vec()].concat()
}

pub(crate) fn floats(numbers: i64) -> Vec<u8> {
    storage("torch.FloatStorage", numbers)
}

pub(crate) const REBUILD: &str = "torch._utils._rebuild_tensor_v2";
pub(crate) const NONE: &[u8] = b"N";
pub(crate) const NO_GRADIENT: &[u8] = b"\x89";

/// A tensor of `f32`.
pub(crate) fn view(numbers: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let rest = [NO_GRADIENT.to_vec(), NONE.to_vec()];
    let place = [floats(numbers), int(offset), ints(shape), ints(strides)];
    call(REBUILD, &[&place[..], &rest[..]].concat())
}
