//! Streams that are read once from front to back: gzip and zstd, IDX files, text in UTF-8,
//! vectors of words.
//!
//! What a stream claims of its size is not believed: memory grows with the bytes that arrive, and a
//! compressed stream ends where it unpacks to more than is likely.
//! Nothing here knows a model or a tensor library; nothing is printed or logged.
//!
//! ```
//! use fireclay_readers::{IdxValues, decompress, parse_idx};
//!
//! // Two labels, and the same file as `gzip` or `zstd` would pack it.
//! let file = [0, 0, 8, 1, 0, 0, 0, 2, 7, 3];
//! let (_, contents) = decompress(&file[..])?;
//! assert_eq!(parse_idx(contents, None)?.values, IdxValues::Bytes(vec![7, 3]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compression;
mod idx;
mod text;
mod vectors;

pub use compression::{Compression, Inflated, UnpackError, Zstd, decompress};
pub use idx::{Idx, IdxError, IdxRows, IdxValues, parse_idx};
pub use text::{TextError, decode_text, read_text};
pub use vectors::{VectorsError, WordVectors};
