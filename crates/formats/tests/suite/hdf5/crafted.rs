//! Files that no program writes.

use fireclay_formats::from_bytes;

use super::writer::{
    Writer, array, chunked, chunks, contiguous, floats, join, messages_of, space, tree, with, words,
};
use super::{file, find, limited, malformed, only, refused, unpacked};

#[test]
fn files_made_here_are_read() {
    let mut writer = Writer::new();
    let data = writer.put(&[0; 24]);
    assert_eq!(only(&array(writer, &[2, 3], contiguous(data, 24))).shape, [2, 3]);
    let mut writer = Writer::new();
    let data = writer.put(&[0; 16]);
    let tree = writer.put(&chunks(&[(8, 0, data), (8, 2, data + 8)]));
    assert_eq!(only(&array(writer, &[3], chunked(tree, &[2]))).shape, [3]);
}

#[test]
fn shapes_and_sizes_that_lie() {
    let file = |shape: &[u64], size: u64| {
        let mut writer = Writer::new();
        let data = writer.put(&[0; 24]);
        array(writer, shape, contiguous(data, size))
    };
    malformed(&file(&[u64::MAX, 2], 24), "dataset \"layers/dense/vars/0\" has shape");
    malformed(&file(&[1 << 30, 1 << 20], 24), "has 24 bytes, and its shape");
    malformed(&file(&[1 << 20], 4 << 20), "4,194,304 bytes are expected at byte");
    malformed(&file(&[6], u64::MAX), "are expected at byte");
    malformed(&file(&[5], 24), "asks for 20");
    malformed(&file(&[7], 24), "asks for 28");
    malformed(&array(Writer::new(), &[6], contiguous(1 << 60, 24)), "it points to byte");
    limited(&file(&[1; 33], 4), "the number of dimensions");
}

#[test]
fn arrays_that_share_their_bytes() {
    let mut writer = Writer::new();
    let data = writer.put(&vec![1; 1 << 16]);
    let messages = [space(&[1 << 14]), floats(), contiguous(data, 1 << 16)];
    let arrays: Vec<_> = (0..100).map(|_| writer.object(&messages)).collect();
    limited(&writer.arrays(&arrays), "the number of bytes that arrays of the HDF5 file share");
}

#[test]
fn chunks_that_lie() {
    let file = |shape: &[u64], chunk: &[u32], entries: &[(u32, u64, u64)]| {
        let mut writer = Writer::new();
        let data = writer.put(&[0; 64]);
        let entries: Vec<_> =
            entries.iter().map(|&(size, start, at)| (size, start, data + at)).collect();
        let tree = writer.put(&chunks(&entries));
        array(writer, shape, chunked(tree, chunk))
    };
    malformed(&file(&[4], &[2], &[(8, 0, 0), (8, 0, 8)]), "has two chunks at one place");
    malformed(&file(&[4], &[2], &[(8, 0, 0)]), "lacks some of its chunks");
    malformed(&file(&[4], &[2], &[(8, 1, 0)]), "has a chunk outside of its shape");
    malformed(&file(&[4], &[2], &[(8, 4, 0)]), "has a chunk outside of its shape");
    malformed(&file(&[4], &[2], &[(8, u64::MAX - 1, 0)]), "has a chunk outside of its shape");
    malformed(&file(&[4], &[2], &[(7, 0, 0)]), "has a chunk of 7 bytes instead of 8");
    limited(&file(&[4], &[2], &[(u32::MAX, 0, 0)]), "that arrays of the HDF5 file share");
    malformed(&file(&[4], &[0], &[(8, 0, 0)]), "has chunks of shape [0]");
    malformed(&file(&[4], &[2, 2], &[(8, 0, 0)]), "has chunks of 3 dimensions");
    malformed(&file(&[], &[], &[]), "has chunks of 1 dimension,");
    malformed(&file(&[1 << 20], &[u32::MAX], &[(8, 0, 0)]), "instead of 17179869180");
    // What the array would have is not allocated before it is paid for.
    unpacked(&file(&[1 << 40], &[u32::MAX], &[(8, 0, 0)]));
    let mut writer = Writer::new();
    let data = writer.put(&[0; 8]);
    let tree = writer.put(&chunks(&[(8, 0, data)]));
    let mut layout = chunked(tree, &[2]);
    // The size of an element.
    let at = layout.1.len() - 4;
    layout.1[at] = 8;
    malformed(&array(writer, &[2], layout), "of 8 bytes for f32");
    // A tree of a group in the place of one of chunks.
    let mut writer = Writer::new();
    let other = writer.put(&tree_of_group());
    malformed(&array(writer, &[2], chunked(other, &[2])), "is of type 0, not 1");
}

fn tree_of_group() -> Vec<u8> {
    tree(0, 0, &[])
}

#[test]
fn filters_that_lie() {
    let file = |filters: Vec<u8>| {
        let mut writer = Writer::new();
        let data = writer.put(&[0; 8]);
        let tree = writer.put(&chunks(&[(8, 0, data)]));
        with(writer, &[space(&[2]), floats(), chunked(tree, &[2]), (11, filters)])
    };
    let filter = |id: u8, values: &[u32]| {
        let count = u8::try_from(values.len()).unwrap();
        let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        join(&[&[2, 1, id, 0, 0, 0, count, 0], &values])
    };
    // Elements of no size, and of one that no chunk has.
    assert_eq!(only(&file(filter(2, &[0]))).shape, [2]);
    assert_eq!(only(&file(filter(2, &[u32::MAX]))).shape, [2]);
    malformed(&file(filter(2, &[])), "bytes are expected");
    malformed(&file(filter(3, &[])), "has a chunk of 4 bytes instead of 8");
    malformed(&file(filter(1, &[])), "cannot be decompressed");
    malformed(&file(vec![3, 0]), "a list of filters has version 3");
    limited(&file(vec![2, 33]), "the number of filters");
}

#[test]
fn layouts_of_other_versions() {
    for (version, class) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1)] {
        let file = array(Writer::new(), &[2], (8, vec![version, class, 0, 0]));
        refused(&file, &format!("is stored in way {class} of version {version}"));
    }
}

#[test]
fn datatypes_of_no_program() {
    let file = |datatype: Vec<u8>| {
        let mut writer = Writer::new();
        let data = writer.put(&[0; 8]);
        with(writer, &[space(&[2]), (3, datatype), contiguous(data, 8)])
    };
    let float = floats().1;
    // Its order, its size, its precision, its bias, and no implied one.
    for (at, value) in [(1, 0x61), (4, 3), (10, 31), (16, 126), (1, 0x00)] {
        let mut float = float.clone();
        float[at] = value;
        refused(&file(float), "an unusual floating-point type");
    }
    let integer = |size: u8, precision: u8| vec![0x10, 0, 0, 0, size, 0, 0, 0, 0, 0, precision, 0];
    refused(&file(integer(4, 31)), "an unusual integer type of 4 bytes");
    refused(&file(integer(3, 24)), "an unusual integer type of 3 bytes");
    refused(&file(vec![0x1f, 0, 0, 0, 4, 0, 0, 0]), "an unusual unknown type of 4 bytes");
    malformed(&file(vec![]), "1 byte is expected");
}

#[test]
fn groups_that_go_in_circles() {
    // A group in itself.
    let mut writer = Writer::new();
    let root = writer.bytes.len().next_multiple_of(8) as u64;
    writer.object(&[(0x11, vec![0; 16])]);
    let table = writer.table(&[("again", root)]).1;
    writer.bytes[root as usize + 24..][..16].copy_from_slice(&table);
    refused(&writer.finish(root), "a second link to one object, \"again\"");
    // A tree in itself.
    let mut writer = Writer::new();
    let heap = writer.heap(&[0; 8]);
    let node = writer.bytes.len().next_multiple_of(8) as u64;
    writer.put(&tree(0, 1, &[(0, node)]));
    let root = writer.object(&[(0x11, words(&[node, heap]))]);
    malformed(&writer.finish(root), "is of level 1, not 0");
    // A header that continues itself.
    let mut writer = Writer::new();
    let block = writer.bytes.len().next_multiple_of(8) as u64;
    writer.put(&messages_of(&[(0x10, words(&[block, 24]))]));
    let root = writer.object(&[(0x10, words(&[block, 24]))]);
    limited(&writer.finish(root), "the number of structures");
}

#[test]
fn trees_whose_branches_meet_again() {
    // 32 ways to each node of the level below: 2^100 ways to the leaf.
    let mut writer = Writer::new();
    let heap = writer.heap(&[0; 8]);
    let mut node = writer.put(b"SNOD\x01\0\0\0");
    for level in 0..20 {
        node = writer.put(&tree(0, level, &[(0, node); 32]));
    }
    let root = writer.object(&[(0x11, words(&[node, heap]))]);
    limited(&writer.finish(root), "the number of structures");
    // One block of messages in ten thousand headers.
    let mut writer = Writer::new();
    let block = writer.put(&messages_of(&vec![(1, vec![0; 8]); 1000]));
    let objects: Vec<_> =
        (0..1000).map(|_| writer.object(&[(0x10, words(&[block, 16_000]))])).collect();
    limited(&writer.arrays(&objects), "the number of structures");
}

#[test]
fn names_that_are_no_names() {
    let file = |names: &[&str]| {
        let mut writer = Writer::new();
        let objects: Vec<_> = names.iter().map(|_| writer.object(&[])).collect();
        let links: Vec<_> = names.iter().copied().zip(objects).collect();
        let root = writer.group(&links);
        writer.finish(root)
    };
    for name in ["", ".", "..", "a/b", "../../etc/passwd"] {
        malformed(&file(&[name]), "is no name of an object");
    }
    malformed(&file(&["a", "a"]), "two objects are named \"a\"");
    malformed(&file(&[&"x".repeat(1025)]), "does not end within 1024 bytes");
    // A name that never ends, and one outside of the heap.
    let mut writer = Writer::new();
    let object = writer.object(&[]);
    let root = writer.group(&[("name", object)]);
    let mut bytes = writer.finish(root);
    let at = find(&bytes, b"name\0");
    bytes[at + 4] = b'x';
    malformed(&bytes, "does not end within");
    let at = find(&bytes, b"SNOD") + 8;
    bytes[at..at + 8].copy_from_slice(&words(&[1 << 50]));
    malformed(&bytes, "it points to byte");
    let mut bytes = file(&["\u{e9}"]);
    let at = find(&bytes, "\u{e9}".as_bytes());
    bytes[at] = 0xff;
    malformed(&bytes, "is no name of an object");
}

#[test]
fn long_names_in_deep_groups() {
    // 30 levels of groups, whose last has so many links that their paths would fill the memory.
    let mut writer = Writer::new();
    let name = "x".repeat(1000);
    let objects: Vec<_> = (0..400).map(|_| writer.object(&[])).collect();
    let names: Vec<_> = (0..400).map(|at| at.to_string()).collect();
    let links: Vec<_> = names.iter().map(String::as_str).zip(objects).collect();
    let mut group = writer.group(&links);
    for _ in 0..30 {
        group = writer.group(&[(&name, group)]);
    }
    limited(&writer.finish(group), "the number of bytes of all paths");
}

#[test]
fn links_of_messages() {
    let file = |link: &[u8]| {
        let mut writer = Writer::new();
        let root = writer.object(&[(6, link.to_vec())]);
        writer.finish(root)
    };
    refused(&file(&[1, 8, 65, 1, b'x', 0, 0, 0]), "user-defined link \"x\"");
    refused(&file(&[1, 8, 64, 1, b'x', 0, 0, 0]), "external link \"x\"");
    malformed(&file(&[2, 8, 65, 1, b'x', 0, 0, 0]), "has version 2, not 1");
    malformed(&file(&[1, 3, 255, 255, 255, 255, 255, 255, 255, 255]), "bytes are expected");
    malformed(&file(&[]), "1 byte is expected");
}

#[test]
fn texts_that_lie() {
    /// A group with an attribute of texts: its datatype, its shape and its data.
    fn file(mut writer: Writer, datatype: &[u8], shape: &[u64], data: &[u8]) -> Vec<u8> {
        let space = space(shape).1;
        let sizes = [12, datatype.len() as u16, space.len() as u16];
        let sizes: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        let attribute = join(&[&[2, 0], &sizes, b"layer_names\0", datatype, &space, data]);
        let root = writer.object(&[(12, attribute)]);
        writer.finish(root)
    }
    let fixed = |size: u8| [0x13, 0, 0, 0, size, 0, 0, 0];
    let far = [0x19, 1, 0, 0, 16, 0, 0, 0];
    malformed(&file(Writer::new(), &fixed(3), &[9], b"abcde"), "3 bytes are expected");
    malformed(&file(Writer::new(), &fixed(3), &[1], b"\xff\xfe\xfd"), "is not UTF-8");
    malformed(&file(Writer::new(), &fixed(0), &[u64::MAX, 2], b""), "an array has shape");
    limited(&file(Writer::new(), &fixed(0), &[u64::MAX], b""), "the number of structures");
    malformed(&file(Writer::new(), &floats().1, &[1], &[0; 4]), "is f32, not text");
    let heap = |size: u64, index: u8, object: u64, text: &[u8]| {
        let mut writer = Writer::new();
        let start = join(&[b"GCOL\x01\0\0\0", &words(&[size]), &[index, 0, 1, 0, 0, 0, 0, 0]]);
        let address = writer.put(&join(&[&start, &words(&[object]), text]));
        (writer, address)
    };
    let id = |size: u32, address: u64, index: u32| {
        join(&[&size.to_le_bytes(), &words(&[address]), &index.to_le_bytes()])
    };
    for (size, index, object, asked, said) in [
        (8, 1, 8, (3, 1), "has no room for itself"),
        (1 << 40, 1, 8, (3, 1), "are expected at byte"),
        (40, 1, 1 << 40, (3, 1), "are expected at byte"),
        (40, 1, 8, (9, 1), "has no object 1 of 9 bytes"),
        (40, 1, 8, (3, 2), "has no object 2 of 3 bytes"),
        (40, 1, 8, (3, 1 << 16), "has no object 65536 of 3 bytes"),
        (40, 0, 8, (3, 1), "has no object 1 of 3 bytes"),
    ] {
        let (writer, address) = heap(size, index, object, b"abcdefgh");
        malformed(&file(writer, &far, &[1], &id(asked.0, address, asked.1)), said);
    }
    malformed(&file(Writer::new(), &far, &[1], &id(3, 8, 1)), "a global heap should be at byte 8");
    // One long text, thousands of times.
    let text = vec![b'x'; 1 << 16];
    let (writer, address) = heap(24 + (1 << 16) + 8, 1, 1 << 16, &text);
    let many = id(1 << 16, address, 1).repeat(3000);
    limited(&file(writer, &far, &[3000], &many), "the number of bytes that arrays");
}

#[test]
fn names_of_arrays_that_are_not_shown() {
    let mut bytes = file("names");
    // The first layer's list of weights, and the link of the array.
    for part in [&b"first/kernel:0"[..], &b"kernel:0\0"[..]] {
        let at = find(&bytes, part) + part.iter().position(|&byte| byte == b'k').unwrap();
        bytes[at] = 0x1b;
    }
    let problem = from_bytes(&bytes).unwrap_err().to_string();
    assert!(problem.contains("an array is called \"first/\u{fffd}ernel\""), "{problem}");
}

#[test]
fn superblocks_that_lie() {
    let whole = Writer::new().finish(96);
    malformed(&whole, "are expected at byte 96");
    for (at, value, said) in [
        (8, 4, "its superblock has version 4"),
        (24, 1, "an HDF5 file that begins at byte 1"),
        (48, 0, "an HDF5 file with a driver block"),
        (13, 4, "addresses of 4 and lengths of 8 bytes"),
    ] {
        let mut bytes = whole.clone();
        bytes[at] = value;
        let problem = from_bytes(&bytes).unwrap_err().to_string();
        assert!(problem.contains(said), "{problem}");
    }
    let mut bytes = whole;
    bytes[40] = 97;
    malformed(&bytes, "its size is 97 bytes, of which 96 are here");
}
