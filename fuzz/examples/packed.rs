//! Packs a seed in the notation of [`fireclay_fuzz::model_file`], read from the standard input,
//! into the file that it describes: to open a finding with other programs, or to seed with files.

use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    let file = fireclay_fuzz::model_file(&text).ok_or(io::ErrorKind::InvalidInput)?;
    io::stdout().write_all(&file)
}
