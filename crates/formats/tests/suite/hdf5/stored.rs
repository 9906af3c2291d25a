//! What h5py stores.

use fireclay_formats::{ElementType, Problem, from_bytes};

use super::{file, find, limited, malformed, only, refused, unpacked};

#[test]
fn arrays_however_they_are_stored() {
    let eighths: Vec<f64> = (0..24).map(|at| f64::from(at) / 8.0).collect();
    for name in [
        "f16",
        "f32",
        "f64",
        "big-f16",
        "big-f32",
        "big-f64",
        "latest",
        "earliest",
        "v108",
        "compact",
        "compact-latest",
        "chunks",
        "gzip",
        "shuffle",
        "gzip-shuffle",
        "fletcher32",
        "all-filters",
        "large-chunk",
        "skipped-filter",
        "long-header",
        "long-header-latest",
        "tracked",
    ] {
        let tensor = only(&file(name));
        assert_eq!(tensor.shape, [2, 3, 4], "{name}");
        assert_eq!(tensor.to_f64().unwrap(), eighths, "{name}");
        let expected = match name {
            "f16" | "big-f16" => ElementType::F16,
            "f64" | "big-f64" => ElementType::F64,
            _ => ElementType::F32,
        };
        assert_eq!(tensor.dtype, expected, "{name}");
    }
    assert_eq!(only(&file("latest")).name, "first/kernel");
}

#[test]
fn whole_numbers() {
    let counted: Vec<f64> = (0..24).map(f64::from).collect();
    for (name, dtype) in [
        ("i8", ElementType::I8),
        ("i16", ElementType::I16),
        ("i32", ElementType::I32),
        ("i64", ElementType::I64),
        ("u8", ElementType::U8),
        ("u16", ElementType::U16),
        ("u32", ElementType::U32),
        ("u64", ElementType::U64),
    ] {
        let tensor = only(&file(name));
        assert_eq!((tensor.dtype, tensor.to_f64().unwrap()), (dtype, counted.clone()));
    }
}

#[test]
fn many_chunks_and_many_links_make_trees_of_several_levels() {
    let tensor = only(&file("many-chunks"));
    assert_eq!(tensor.to_f64().unwrap(), (0..3000).map(f64::from).collect::<Vec<_>>());
    let tensors = from_bytes(&file("many-links")).unwrap().tensors;
    assert_eq!(tensors.len(), 300);
    for (at, tensor) in tensors.iter().enumerate() {
        assert_eq!(
            (tensor.name.clone(), tensor.to_f64().unwrap()),
            (format!("layers/dense/vars/{at}"), vec![at as f64])
        );
    }
}

#[test]
fn arrays_with_one_number_and_with_none() {
    let scalar = only(&file("scalar"));
    assert_eq!((&scalar.shape[..], scalar.to_f64().unwrap()), (&[][..], vec![0.125]));
    for name in ["empty", "empty-chunks"] {
        let empty = only(&file(name));
        assert_eq!((&empty.shape[..], empty.bytes().unwrap().len()), (&[0, 3][..], 0));
    }
}

#[test]
fn what_h5py_can_store_and_is_not_read() {
    for (name, said) in [
        ("soft-link", "soft link \"1\" of \"layers/dense/vars\""),
        ("soft-link-latest", "soft link \"0\" of \"layers/dense/vars\""),
        ("external-link", "external link \"0\" of \"layers/dense/vars\""),
        ("hard-link", "a second link to one object, \"layers/dense/vars/1\""),
        ("cycle", "a second link to one object, \"layers/dense/layers\""),
        ("external-storage", "whose numbers are in another file"),
        ("virtual", "is virtual"),
        ("committed-type", "an HDF5 object with a shared datatype"),
        ("committed-attribute", "attribute \"name\" of a shared type"),
        ("compound", "an unusual compound type of 8 bytes"),
        ("enumerated", "an unusual enumerated type of 1 byte"),
        ("complex", "an unusual compound type of 8 bytes"),
        ("opaque", "two bytes of unknown meaning"),
        ("texts", "of text"),
        ("reference", "an unusual reference type"),
        ("lzf", "filter 32000 of"),
        ("scale-offset", "filter 6 of"),
        ("dense-group", "the group \"layers\", which is stored in a fractal heap"),
        (
            "dense-attributes",
            "the attributes of \"layers/dense/vars\", which is stored in a fractal heap",
        ),
        ("latest-chunks", "is chunked in the way of HDF5 1.10"),
        ("short-addresses", "addresses of 4 and lengths of 4 bytes"),
        ("no-keras", "an HDF5 file without weights of Keras"),
    ] {
        refused(&file(name), said);
    }
    for (name, said) in [
        ("null-space", "has no shape"),
        ("unwritten", "was never written"),
        ("unwritten-chunks", "was never written"),
        ("missing-chunk", "lacks some of its chunks"),
        ("shape-bomb", "was never written"),
    ] {
        malformed(&file(name), said);
    }
    unpacked(&file("bomb"));
    limited(&file("deep"), "the depth of groups");
    let shifted = from_bytes(&file("user-block")).unwrap_err();
    assert!(matches!(shifted, Problem::Unknown { .. }), "{shifted:?}");
}

#[test]
fn cut_off_anywhere() {
    for name in ["f32", "latest", "gzip-shuffle"] {
        let whole = file(name);
        for end in (8..whole.len()).step_by(7) {
            let problem = from_bytes(&whole[..end]).unwrap_err();
            assert!(matches!(problem, Problem::Malformed { .. }), "{name} {end}: {problem:?}");
        }
    }
}

#[test]
fn one_damaged_byte_never_panics() {
    for name in ["latest", "all-filters"] {
        let mut bytes = file(name);
        for at in 8..bytes.len() {
            // A byte of zeros is most often one that nobody looks at.
            let whole = bytes[at];
            if at % 8 == 0 || whole != 0 {
                for damaged in [whole ^ 1, whole ^ 0x80, !whole] {
                    bytes[at] = damaged;
                    let _ = from_bytes(&bytes);
                }
            }
            bytes[at] = whole;
        }
    }
}

#[test]
fn damage_that_checksums_find() {
    let mut bytes = file("latest");
    let header = find(&bytes, b"OHDR");
    bytes[header + 20] ^= 1;
    malformed(&bytes, "the checksum of the ");
    let mut bytes = file("latest");
    bytes[20] ^= 1;
    malformed(&bytes, "the checksum of the ");
    let mut bytes = file("fletcher32");
    let at = find(&bytes, &0.625_f32.to_le_bytes());
    bytes[at] ^= 1;
    malformed(&bytes, "has a chunk with a wrong checksum");
    let mut bytes = file("gzip");
    // Behind the header of zlib.
    let at = find(&bytes, &[0x78, 0x5e]);
    bytes[at + 2] = 0xff;
    malformed(&bytes, "cannot be decompressed");
}
