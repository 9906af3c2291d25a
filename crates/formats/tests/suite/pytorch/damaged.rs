//! Legacy files, and files that are damaged at random.

use std::fs;

use fireclay_formats::{Problem, from_bytes};
use proptest::prelude::*;

use super::{MAGIC, expect_malformed, legacy};
use crate::support::golden;
use crate::support::pickle::{
    REBUILD, dict, file, floats, global, int, ints, storage, text, tuple, view,
};

#[test]
fn legacy_files_that_are_not_well_formed() {
    let object = dict(&[("w", view(1, 0, &[1], &[1]))]);
    let keys = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| text(name)).collect();
        [b"](", &names.concat()[..], b"e"].concat()
    };
    let one = [&1_u64.to_le_bytes()[..], &1_f32.to_le_bytes()].concat();
    let whole = legacy(&object, &keys(&["0"]), &one);
    assert_eq!(from_bytes(&whole).unwrap().tensors[0].to_f64().unwrap(), [1.0]);
    for end in 2..whole.len() {
        let found = from_bytes(&whole[..end]);
        if end < MAGIC.len() {
            assert!(matches!(found, Err(Problem::Foreign { .. })), "{end}: {found:?}");
        } else {
            assert!(matches!(found, Err(Problem::Malformed { .. })), "{end}: {found:?}");
        }
    }
    expect_malformed(&[&whole[..], b"x"].concat(), "its end is followed by 1 byte");
    expect_malformed(&[MAGIC, b"\x80\x02K\x01."].concat(), "its version is not 1001");
    expect_malformed(&[MAGIC, b"\x80\x02}."].concat(), "its version is not 1001");
    expect_malformed(&legacy(&object, b"}", b""), "are not a list");
    expect_malformed(&legacy(&object, &keys(&["1"]), &one), "no tensor refers to");
    expect_malformed(&legacy(&object, b"]K\0a", &one), "no tensor refers to");
    let twice = legacy(&object, &keys(&["0", "0"]), &one.repeat(2));
    expect_malformed(&twice, r#"the storage "0" is there twice"#);
    expect_malformed(&legacy(&object, b"]", b""), r#"the storage "0" is missing"#);
    let empty = legacy(&object, &keys(&["0"]), &[0; 8]);
    expect_malformed(&empty, "has 0 bytes, not 4");
    for count in [2, 1 << 40, u64::MAX] {
        let lie = [&count.to_le_bytes()[..], &[0; 4]].concat();
        expect_malformed(&legacy(&object, &keys(&["0"]), &lie), "bytes are expected at byte");
    }
    let two = dict(&[("w", view(1, 0, &[1], &[1])), ("x", storage("torch.LongStorage", 1))]);
    expect_malformed(&legacy(&two, &keys(&["0"]), &one), "is of two types");
    let module = [tuple(&[text("module"), int(1), int(1), int(1)]), b"Q".to_vec()].concat();
    expect_malformed(&legacy(&module, &keys(&[]), b""), "something that is no storage");
}

#[test]
fn cut_off_anywhere() {
    for name in ["types.pt", "no-tensors.pt"] {
        let whole = fs::read(golden("pytorch").join(name)).unwrap();
        for end in 0..whole.len() {
            assert!(from_bytes(&whole[..end]).is_err(), "{name} {end}");
        }
    }
    let whole = fs::read(golden("pytorch/legacy-checkpoint.pth")).unwrap();
    for end in (0..whole.len()).step_by(31) {
        assert!(from_bytes(&whole[..end]).is_err(), "{end}");
    }
}

/// Instructions that do something more often than random bytes would.
fn almost_pickles() -> impl Strategy<Value = Vec<u8>> {
    let one = view(1, 0, &[1], &[1]);
    let piece = prop_oneof![
        Just(one),
        Just(dict(&[])),
        Just(text("w")),
        Just(floats(1)),
        Just(ints(&[1])),
        Just(global(REBUILD)),
        Just(b"q\0".to_vec()),
        Just(b"h\0".to_vec()),
        prop::sample::select(b"()]}tesuRQbN\x85\x86\x87\x90\x94.".to_vec()).prop_map(|at| vec![at]),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_pickles_never_panic(pickle in almost_pickles(), rest in any::<[u8; 16]>()) {
        let _ = from_bytes(&file(&pickle, &rest[..4]));
        let _ = from_bytes(&legacy(&pickle, b"]X\x01\0\0\x000a", &rest));
    }

    #[test]
    fn one_damaged_byte_never_panics(at in any::<prop::sample::Index>(), bits in 1_u8..) {
        for name in ["types.pt", "legacy-module.pth", "legacy-views.pth"] {
            let mut bytes = fs::read(golden("pytorch").join(name)).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            let _ = from_bytes(&bytes);
        }
    }

    #[test]
    fn any_view_is_within_its_storage_or_refused(
        offset in -1_i64..5,
        dimensions in prop::collection::vec((-1_i64..5, -1_i64..5), 0..4),
    ) {
        let (shape, strides): (Vec<_>, Vec<_>) = dimensions.into_iter().unzip();
        let bytes: Vec<u8> = (0..6).flat_map(|at| f32::to_le_bytes(at as f32)).collect();
        let pickle = dict(&[("w", view(6, offset, &shape, &strides))]);
        let found = from_bytes(&file(&pickle, &bytes)).ok().map(|found| found.tensors[0].to_f64().unwrap());
        prop_assert_eq!(found, expected_view(offset, &shape, &strides));
    }
}

/// The numbers of a view of the storage 0, 1, .. 5 by the definition of strides.
fn expected_view(offset: i64, shape: &[i64], strides: &[i64]) -> Option<Vec<f64>> {
    let negative = |numbers: &[i64]| numbers.iter().any(|&number| number < 0);
    if offset < 0 || negative(shape) || negative(strides) {
        return None;
    }
    let numbers: Vec<_> = (0..shape.iter().product::<i64>())
        .map(|mut flat| {
            let mut at = offset;
            for (size, stride) in shape.iter().zip(strides).rev() {
                at += flat % size * stride;
                flat /= size;
            }
            at
        })
        .collect();
    let within = numbers.iter().all(|&at| at < 6);
    within.then(|| numbers.into_iter().map(|at| at as f64).collect())
}
