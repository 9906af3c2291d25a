//! Files as they are written: whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Writes a file so that `path` holds, at any moment and after any crash, either what it held
/// before or all of `bytes`: to a sibling, flushed to disk, renamed, and the folder flushed.
///
/// # Errors
///
/// That of the file system; the sibling is then removed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_whole_in_steps(path, bytes, &mut |_| Ok(()))
}

/// A step of [`write_whole`], about to be taken.
pub enum WriteStep<'a> {
    /// The sibling is made.
    Open,
    /// The bytes are written to it.
    Write(&'a mut File),
    /// It is flushed to disk.
    Flush,
    /// It takes the name of the file.
    Rename,
    /// The folder is flushed to disk.
    FlushFolder,
}

/// As [`write_whole`]; `before` is called before each step and can fail in its place, which is how
/// tests take a disk away.
///
/// # Errors
///
/// That of the file system or of `before`; the sibling is then removed.
pub fn write_whole_in_steps(
    path: &Path,
    bytes: &[u8],
    before: &mut dyn FnMut(WriteStep<'_>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    write_in_steps(path, |file| file.write_all(bytes), before)
}

/// As [`write_whole`], of bytes that `write` gives, so that they are never in memory all at once.
///
/// # Errors
///
/// That of the file system or of `write`; the sibling is then removed.
pub fn write_by<E: From<std::io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    write_in_steps(path, write, &mut |_| Ok(()))
}

fn write_in_steps<E: From<std::io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
    before: &mut dyn FnMut(WriteStep<'_>) -> std::io::Result<()>,
) -> Result<(), E> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fireclay-").suffix(".tmp");
    #[cfg(unix)]
    {
        // As `File::create` asks for; the user's umask takes away what it should.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    before(WriteStep::Open)?;
    let mut sibling = builder.tempfile_in(folder).map_err(without_path)?;
    before(WriteStep::Write(sibling.as_file_mut()))?;
    // The file's own errors, which do not name the sibling either.
    write(sibling.as_file_mut())?;
    before(WriteStep::Flush)?;
    sibling.as_file().sync_all()?;
    before(WriteStep::Rename)?;
    sibling.persist(path).map_err(|error| error.error)?;
    before(WriteStep::FlushFolder)?;
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    log::info!("wrote {}", path.display());
    Ok(())
}

/// An error without the name of the sibling, which nobody who reads it has heard of.
fn without_path(error: std::io::Error) -> std::io::Error {
    let text = error.to_string();
    let cause = text.split(" at path ").next().unwrap_or(&text);
    std::io::Error::new(error.kind(), cause)
}
