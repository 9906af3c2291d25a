//! Contract of the IDX reader: every malformed file is its own typed error, no bytes ever panic.

use std::fs;
use std::io::Write;

use fireclay_data::readers::decompress;
use fireclay_data::{DataError, Idx, IdxError, IdxRows, IdxValues, parse_idx, read_idx};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn read_bytes(bytes: &[u8]) -> Result<Idx, DataError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    read_idx(file.path())
}

fn idx_error(bytes: &[u8]) -> IdxError {
    match read_bytes(bytes) {
        Err(DataError::Idx { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

fn file(element: u8, shape: &[u32], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, element, shape.len() as u8];
    shape.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn bytes_and_integers_are_read_from_every_compression() {
    let bytes = file(0x08, &[2, 3], &[1, 2, 3, 4, 5, 6]);
    let expected = Idx { shape: vec![2, 3], values: IdxValues::Bytes(vec![1, 2, 3, 4, 5, 6]) };
    for packed in [bytes.clone(), gzip(&bytes), zstd(&bytes)] {
        assert_eq!(read_bytes(&packed).unwrap(), expected);
    }
    let bytes = file(0x0C, &[2], &[0, 0, 1, 0, 0xFF, 0xFF, 0xFF, 0xFE]);
    let expected = Idx { shape: vec![2], values: IdxValues::Ints(vec![256, -2]) };
    assert_eq!(read_bytes(&bytes).unwrap(), expected);
}

#[test]
fn members_and_frames_one_after_the_other_are_one_file() {
    let bytes = file(0x08, &[4], &[1, 2, 3, 4]);
    let (start, end) = bytes.split_at(9);
    for pack in [gzip, zstd] {
        let packed = [pack(start), pack(end)].concat();
        assert_eq!(read_bytes(&packed).unwrap().values, IdxValues::Bytes(vec![1, 2, 3, 4]));
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent");
    let found = read_idx(&path);
    assert!(matches!(found, Err(DataError::Read { path: named, .. }) if named == path));
}

#[test]
fn wrong_magic() {
    let found = idx_error(&[1, 2, 8, 1, 0, 0, 0, 1, 0]);
    assert!(matches!(found, IdxError::Magic { found: [1, 2] }));
}

#[test]
fn unknown_element_type() {
    let found = idx_error(&file(0x0B, &[1], &[0; 4]));
    assert!(matches!(found, IdxError::ElementType { found: 0x0B }));
}

#[test]
fn no_dimensions() {
    assert!(matches!(idx_error(&file(0x08, &[], &[])), IdxError::NoDimensions));
}

#[test]
fn empty_sets() {
    let found = idx_error(&file(0x08, &[0, 28, 28], &[]));
    assert!(matches!(found, IdxError::Empty { shape } if shape == [0, 28, 28]));
}

#[test]
fn sizes_that_overflow() {
    let found = idx_error(&file(0x0C, &[u32::MAX; 3], &[]));
    assert!(matches!(found, IdxError::TooLarge { .. }));
}

#[test]
fn cut_off_anywhere() {
    let whole = file(0x08, &[2, 2], &[1, 2, 3, 4]);
    for end in 0..whole.len() {
        let found = idx_error(&whole[..end]);
        let IdxError::Truncated { found, .. } = found else { panic!("{end}: {found:?}") };
        assert_eq!(found, end as u64);
    }
    let found = idx_error(&gzip(&whole[..14]));
    assert!(matches!(found, IdxError::Truncated { expected: 16, found: 14 }));
}

#[test]
fn trailing_bytes() {
    let whole = file(0x08, &[2], &[1, 2, 3]);
    for packed in [whole.clone(), gzip(&whole), zstd(&whole)] {
        assert!(matches!(idx_error(&packed), IdxError::Trailing { expected: 10 }));
    }
}

#[test]
fn damaged_compression() {
    let whole = file(0x08, &[64], &(0..64).collect::<Vec<u8>>());
    let mut damaged = gzip(&whole);
    let last = damaged.len() - 5;
    damaged[last] ^= 1;
    assert!(matches!(idx_error(&damaged), IdxError::Stream(_)));
    let packed = zstd(&whole);
    assert!(matches!(idx_error(&packed[..packed.len() - 6]), IdxError::Stream(_)));
    assert!(matches!(idx_error(&gzip(&whole)[..20]), IdxError::Stream(_)));
}

#[test]
fn a_header_that_lies_costs_no_memory() {
    // 4 GiB announced, 3 bytes present: this fails at once, whatever memory the machine has.
    let lie = file(0x08, &[u32::MAX], &[1, 2, 3]);
    assert!(matches!(idx_error(&lie), IdxError::Truncated { found: 11, .. }));
    for packed in [gzip(&lie), zstd(&lie)] {
        assert!(matches!(idx_error(&packed), IdxError::Inflated { expected: 4_294_967_303, .. }));
    }
}

#[test]
fn few_bytes_are_not_unpacked_to_many() {
    // 70 MB of one grey level: honest or not, nothing is unpacked for it.
    let rows = (70 << 20) / 784;
    let blank = file(0x08, &[rows, 28, 28], &vec![7; rows as usize * 784]);
    for packed in [gzip(&blank), zstd(&blank)] {
        let found = idx_error(&packed);
        assert!(found.to_string().contains("decompress the file first"), "{found}");
    }
    assert_eq!(read_bytes(&blank).unwrap().shape, [rows as usize, 28, 28]);
}

#[test]
fn rows_are_read_as_they_are_asked_for() {
    let whole = file(0x0C, &[5, 2], &(0..40).collect::<Vec<u8>>());
    for packed in [whole.clone(), gzip(&whole), zstd(&whole)] {
        let (_, contents) = decompress(&packed[..]).unwrap();
        let mut rows = IdxRows::new(contents, Some(whole.len() as u64)).unwrap();
        assert_eq!(rows.shape(), [5, 2]);
        let mut all = Vec::new();
        for expected in [2, 2, 1, 0] {
            let IdxValues::Ints(ints) = rows.next_rows(2).unwrap() else { panic!("integers") };
            assert_eq!(ints.len(), 2 * expected);
            all.extend(ints);
        }
        rows.end().unwrap();
        assert_eq!(IdxValues::Ints(all), parse_idx(&whole[..], None).unwrap().values);
    }
    let more = [&whole[..], b"x"].concat();
    let mut long = IdxRows::new(&more[..], None).unwrap();
    assert_eq!(long.next_rows(9).unwrap(), parse_idx(&whole[..], None).unwrap().values);
    assert!(matches!(long.end(), Err(IdxError::Trailing { .. })));
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(read_idx(folder.path()), Err(DataError::NotAFile { .. })));
    #[cfg(unix)]
    for device in ["/dev/zero", "/dev/null"] {
        let found = read_idx(std::path::Path::new(device));
        assert!(matches!(found, Err(DataError::NotAFile { .. })), "{found:?}");
    }
}

#[test]
fn a_decompression_bomb_stops_at_what_its_header_says() {
    let bomb = gzip(&[file(0x08, &[2], &[]), vec![0; 64 << 20]].concat());
    assert!(matches!(idx_error(&bomb), IdxError::Trailing { expected: 10 }));
}

/// Bytes that get past the first checks more often than random ones would.
fn almost_files() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(vec![]),
        Just(vec![0, 0, 0x08, 1, 0, 0, 0]),
        Just(vec![0, 0, 0x0C, 2, 0, 0, 0, 2, 0, 0, 0]),
        Just(vec![0x1F, 0x8B, 8, 0]),
        Just(vec![0x28, 0xB5, 0x2F, 0xFD]),
    ];
    (start, prop::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(start, rest)| [start, rest].concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in almost_files()) {
        let _ = parse_idx(bytes.as_slice(), None);
        let _ = read_bytes(&bytes);
        let _ = read_bytes(&gzip(&bytes));
    }

    #[test]
    fn one_damaged_byte_never_panics(at in any::<prop::sample::Index>(), bits in 1_u8..) {
        let whole = file(0x08, &[300], &(0..300).map(|at| (at % 7) as u8).collect::<Vec<_>>());
        for mut packed in [whole.clone(), gzip(&whole), zstd(&whole)] {
            let at = at.index(packed.len());
            packed[at] ^= bits;
            let _ = read_bytes(&packed);
        }
    }

    #[test]
    fn what_is_written_is_read(rows in 1_u32..20, width in 1_u32..20, seed in any::<u8>()) {
        let payload: Vec<u8> = (0..rows * width).map(|at| (at as u8).wrapping_mul(seed)).collect();
        let found = read_bytes(&file(0x08, &[rows, width], &payload)).unwrap();
        prop_assert_eq!(found.shape, [rows as usize, width as usize]);
        prop_assert_eq!(found.values, IdxValues::Bytes(payload));
    }
}
