//! What the targets have in common.

use std::io::Cursor;

use fireclay_tables::{Block, Blocks};

/// Reads a table as a whole and in blocks of three rows, and asserts that both have the same cells.
/// Returns false if it is refused.
pub fn is_read(bytes: &[u8]) -> bool {
    let Some(whole) = rows(bytes, usize::MAX) else {
        return false;
    };
    let blocks = rows(bytes, 3).expect("what is read as a whole is read in blocks");
    let texts = |blocks: &[Block]| -> Vec<Vec<String>> {
        let columns = blocks.first().map_or(0, |block| block.columns.len());
        let column = |place: usize| {
            let cells = blocks.iter().flat_map(move |block| block.columns[place].iter());
            cells.map(|cell| cell.text().into_owned()).collect()
        };
        (0..columns).map(column).collect()
    };
    assert_eq!(texts(&whole), texts(&blocks));
    true
}

fn rows(bytes: &[u8], most: usize) -> Option<Vec<Block>> {
    let mut blocks = Blocks::begin(Cursor::new(bytes.to_vec())).ok()?;
    let (width, mut all) = (blocks.names().len(), Vec::new());
    while let Some(block) = blocks.next_block(most).ok()? {
        assert!(block.rows > 0 && block.rows <= most && block.columns.len() == width);
        assert!(block.columns.iter().all(|cells| cells.len() == block.rows));
        all.push(block);
    }
    Some(all)
}
