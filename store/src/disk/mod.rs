//! The disk as the journal sees it: a handful of calls, so that a test can cut the power between any two.
//!
//! Guarantees asked of an implementation: after [`DiskFile::sync`] everything written to the file before is
//! on stable storage; after [`Disk::sync_folder`] so are creations, renames and removals. Nothing else is
//! assumed: unsynced writes may be kept, lost or torn, in any order.

#[cfg(test)]
pub(crate) mod faulty; // power cuts, torn writes, failing syncs
mod file; // the real one

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use file::FileDisk;

/// One folder of files.
pub trait Disk: Debug + Send + Sync {
    /// Names of all files, in any order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file of `len` zero bytes, replacing one of that name; space is allocated, nothing is synced.
    ///
    /// # Errors
    /// What the system says, such as a full disk.
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing one of that name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self) -> io::Result<()>;
}

/// One file of fixed length.
pub trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// What the system says, such as an end of file before the buffer is full.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; not durable yet.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written before durable (fdatasync).
    ///
    /// # Errors
    /// What the system says; what was written may or may not be durable then, and asking again proves nothing.
    fn sync(&self) -> io::Result<()>;
}
