//! A folder for one run, beside what cargo builds and not where a system may keep its memory disk.

use std::io;
use std::path::Path;

use tempfile::TempDir;

/// A new folder in `parent`, which cargo names `CARGO_TARGET_TMPDIR`; gone when it is dropped.
///
/// # Errors
/// What the system says.
pub fn folder(parent: &str) -> io::Result<TempDir> {
    std::fs::create_dir_all(Path::new(parent))?;
    tempfile::Builder::new().prefix("bench-").tempdir_in(parent)
}
