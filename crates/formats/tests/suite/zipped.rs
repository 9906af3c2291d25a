//! Contract of the zip reader, seen through a file of PyTorch: whatever contradicts itself is
//! refused, and nothing is unpacked that was not paid for with bytes.

use crate::support::zip::{Entry, archive, end};
use fireclay_formats::{Problem, from_bytes};

/// The pickle of an empty dictionary, which is refused for having no tensor once it has been read.
const EMPTY: &[u8] = b"\x80\x02}.";

fn with_pickle(others: &[Entry]) -> Vec<u8> {
    archive(&[&[Entry::stored("a/data.pkl", EMPTY)], others].concat())
}

#[track_caller]
fn expect(bytes: &[u8], message: &str) {
    let problem = from_bytes(bytes).unwrap_err().to_string();
    assert!(problem.contains(message), "{problem}");
}

#[track_caller]
fn expect_read(bytes: &[u8]) {
    expect(bytes, "there is no tensor in a dictionary");
}

#[test]
fn stored_and_deflated_entries_are_read() {
    expect_read(&with_pickle(&[]));
    expect_read(&archive(&[Entry::deflated("a/data.pkl", EMPTY), Entry::stored("a/b/", b"")]));
}

#[test]
fn an_archive_of_no_known_program() {
    let found = from_bytes(&archive(&[Entry::stored("a.txt", b"text")]));
    assert!(matches!(found, Err(Problem::Foreign { .. })), "{found:?}");
}

#[test]
fn sizes_after_the_bytes() {
    let mut entry = Entry::stored("a/data.pkl", EMPTY);
    entry.flags = 8;
    let mut bytes = archive(&[entry]);
    // The header before the bytes says nothing; the directory does.
    bytes[14..26].fill(0);
    expect_read(&bytes);
    bytes[14] = 1;
    expect_read(&bytes);
}

#[test]
fn cut_off_anywhere_and_more_at_the_end() {
    let whole = with_pickle(&[Entry::deflated("a/data/0", &[7; 100])]);
    for end in 4..whole.len() {
        let found = from_bytes(&whole[..end]);
        assert!(matches!(found, Err(Problem::Malformed { kind: "zip", .. })), "{end}: {found:?}");
    }
    expect(&[&whole[..], b"more"].concat(), "is not its last 22 bytes");
    expect(&[b"PK\x03\x04more", &whole[..]].concat(), "should end at byte");
}

#[test]
fn names_that_are_no_places_inside() {
    for name in ["../a", "a/../../b", "/etc/a", "..", "a\\b", "a\nb", "a\0b", ""] {
        expect(&with_pickle(&[Entry::stored(name, b"")]), "it is no place inside the archive");
    }
    let mut entry = Entry::stored("ab", b"");
    entry.name = vec![0xff, 0xfe];
    expect(&with_pickle(&[entry]), "not UTF-8");
    let long = Entry::stored(&"a".repeat(1001), b"");
    expect(&with_pickle(&[long]), "the size in bytes of the name of an entry is 1001");
}

#[test]
fn a_name_that_is_there_twice() {
    let bytes = with_pickle(&[Entry::stored("a/data.pkl", b"\x80\x02N.")]);
    expect(&bytes, r#"two entries are called "a/data.pkl""#);
}

#[test]
fn encrypted_or_packed_in_another_way() {
    for flags in [1, 0x40, 0x2000, 0x20] {
        let entry = Entry { flags, ..Entry::stored("a/b", b"") };
        expect(&with_pickle(&[entry]), "is encrypted or a patch");
    }
    for method in [1, 9, 12, 14, 93, 95] {
        let entry = Entry { method, ..Entry::stored("a/b", b"") };
        expect(&with_pickle(&[entry]), &format!("is compressed by method {method}"));
    }
}

#[test]
fn a_checksum_that_is_not_that_of_the_bytes() {
    for pack in [Entry::stored, Entry::deflated] {
        let entry = Entry { crc: 1, ..pack("a/data.pkl", EMPTY) };
        expect(&archive(&[entry]), "does not have its checksum");
    }
}

#[test]
fn sizes_that_lie() {
    for size in [1, 3, 5, 1000] {
        let entry = Entry { size, ..Entry::deflated("a/data.pkl", EMPTY) };
        expect(&archive(&[entry]), "does not unpack to");
        let entry = Entry { size, ..Entry::stored("a/data.pkl", EMPTY) };
        expect(&archive(&[entry]), "do not agree");
    }
    // More than Deflate can make of so few bytes: not even tried.
    let entry = Entry { size: 30 << 20, ..Entry::deflated("a/data.pkl", EMPTY) };
    expect(&archive(&[entry]), "cannot unpack to 31,457,280 bytes");
    let mut entry = Entry::deflated("a/data.pkl", EMPTY);
    entry.packed.push(0);
    expect(&archive(&[entry]), "does not unpack to");
    let mut entry = Entry::deflated("a/data.pkl", &[7; 1000]);
    entry.packed.truncate(6);
    expect(&archive(&[entry]), "cannot be unpacked");
}

#[test]
fn bombs() {
    // 40 MB of nothing in 40 kB.
    let bomb = Entry::deflated("a/bomb", &vec![0; 40_000_000]);
    let found = from_bytes(&with_pickle(&[bomb]));
    assert!(
        matches!(found, Err(Problem::Unpacked { found: 40_000_004, most: 33_554_432, .. })),
        "{found:?}"
    );
}

#[test]
fn entries_that_share_bytes() {
    // The second entry's header and bytes are the bytes of the first.
    let inner = archive(&[Entry::stored("a/b", b"x")]);
    let inner = &inner[..34];
    let whole = archive(&[Entry::stored("a/data.pkl", inner), Entry::stored("a/b", b"x")]);
    let second = whole.len() - 22 - 46 - 3;
    let mut bytes = whole;
    bytes[second + 42..second + 46].copy_from_slice(&40_u32.to_le_bytes());
    expect(&bytes, "two entries share bytes");
}

#[test]
fn too_many_entries() {
    let mut bytes = with_pickle(&[]);
    let at = bytes.len() - 14;
    bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
    let found = from_bytes(&bytes);
    assert!(matches!(found, Err(Problem::Limit { found: 65535, most: 10_000, .. })), "{found:?}");
    bytes[at..at + 4].copy_from_slice(&[2, 0, 2, 0]);
    expect(&bytes, "are expected at byte");
    bytes[at..at + 4].fill(0);
    expect(&bytes, "has bytes after the last entry");
}

#[test]
fn a_directory_elsewhere() {
    let whole = with_pickle(&[]);
    let at = whole.len() - 10;
    for (byte, value) in [(0, 1), (3, 1), (4, 1), (7, 0xff)] {
        let mut bytes = whole.clone();
        bytes[at + byte] ^= value;
        expect(&bytes, "its directory of");
    }
    // Several volumes, or a comment.
    for at in [2, 4, 18, 20] {
        let mut bytes = whole.clone();
        let at = bytes.len() - 24 + at;
        bytes[at + 2] ^= 1;
        assert!(from_bytes(&bytes).is_err(), "{at}");
    }
}

#[test]
fn headers_that_do_not_agree() {
    let whole = with_pickle(&[]);
    // Flags, method, checksum, sizes, name.
    for at in [7, 8, 14, 18, 22, 30] {
        let mut bytes = whole.clone();
        bytes[at] ^= 2;
        expect(&bytes, "do not agree");
    }
    let offset = whole.len() - 22 - 56 + 42;
    for (offset_is, message) in [(1, "no entry of the zip archive begins at byte 1"), (99, "99")] {
        let mut bytes = whole.clone();
        bytes[offset] = offset_is;
        expect(&bytes, message);
    }
}

/// An archive with the records of 64 bits that PyTorch writes.
fn with_64_bits() -> Vec<u8> {
    let mut bytes = with_pickle(&[]);
    let end = bytes.split_off(bytes.len() - 22);
    let at = bytes.len();
    let (size, start) = (56_u64, (at - 56) as u64);
    bytes.extend(b"PK\x06\x06");
    bytes.extend(44_u64.to_le_bytes());
    bytes.extend([0; 12]);
    bytes.extend([1, 1, size, start].map(u64::to_le_bytes).concat());
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend((at as u64).to_le_bytes());
    bytes.extend([1, 0, 0, 0]);
    [bytes, end].concat()
}

#[test]
fn records_of_64_bits() {
    let whole = with_64_bits();
    expect_read(&whole);
    let record = whole.len() - 22 - 20 - 56;
    // The same said only there.
    let mut bytes = whole.clone();
    bytes[record + 76 + 8..][..4].fill(0xff);
    expect_read(&bytes);
    for (at, message) in [
        (record, "is not where it should be"),
        (record + 16, "several volumes"),
        (record + 24, "several volumes"),
        (record + 40, "do not agree"),
        (record + 48, "do not agree"),
        (record + 56 + 4, "is not where it should be"),
        (record + 56 + 8, "is not where it should be"),
        (record + 56 + 16, "is not where it should be"),
    ] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x12;
        expect(&bytes, message);
    }
}

#[test]
fn sizes_of_64_bits() {
    let entry = Entry::stored("a/data.pkl", EMPTY);
    let header = |extra: &[u8]| {
        let mut bytes = archive(std::slice::from_ref(&entry));
        bytes.truncate(bytes.len() - 22);
        let central = bytes.len() - 56;
        bytes[central + 24..central + 28].fill(0xff);
        bytes[central + 30] = u8::try_from(extra.len()).unwrap();
        bytes.extend(extra);
        let size = bytes.len() - central;
        [bytes, end(1, size, central)].concat()
    };
    expect_read(&header(b"\x01\0\x08\0\x04\0\0\0\0\0\0\0"));
    expect_read(&header(b"\x99\0\x01\0a\x01\0\x08\0\x04\0\0\0\0\0\0\0"));
    expect(&header(b"\x01\0\x08\0\x05\0\0\0\0\0\0\0"), "do not agree");
    expect(&header(b"\x01\0\x08\0\xff\xff\xff\xff\xff\xff\xff\xff"), "do not agree");
    expect(&header(b"\x01\0\x04\0\x04\0\0\0"), "8 bytes are expected");
    expect(&header(b"\x99\0\x01\0a"), "64-bit sizes and does not say which");
    expect(&header(b"\x01\0\xff\0\x05"), "are expected");
}
