//! The hash of terms: MurmurHash3, 32 bits, of which every implementation gives the same numbers.

/// MurmurHash3 (x86, 32 bits) of some bytes, as scikit-learn's `HashingVectorizer` has it. Source:
/// `MurmurHash3.cpp` of Austin Appleby's SMHasher.
pub(super) fn murmur3(bytes: &[u8], seed: u32) -> u32 {
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = seed;
    for block in blocks {
        hash ^= mixed(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        let mut block = [0; 4];
        block[..tail.len()].copy_from_slice(tail);
        hash ^= mixed(u32::from_le_bytes(block));
    }
    // Of longer texts, the length modulo 2³², as in the original.
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

fn mixed(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_scikit_learn() {
        // sklearn.utils.murmurhash3_32(text.encode(), seed=seed, positive=True), version 1.9.1.
        for (text, seed, expected) in PINNED {
            assert_eq!(murmur3(text.as_bytes(), seed), expected, "{text}");
        }
    }

    const PINNED: [(&str, u32, u32); 6] = [
        ("", 0, 0),
        ("a", 0, 1_009_084_850),
        ("tea", 0, 1_955_911_164),
        ("good tea", 0, 2_408_290_682),
        ("好茶", 0, 3_653_149_842),
        ("word", 42, 4_013_710_815),
    ];
}
