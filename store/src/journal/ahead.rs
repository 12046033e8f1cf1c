//! Room for the next segment, made beside the committer: filling a file with zeros takes as long as a hundred commits,
//! and nobody's acknowledgement should wait for that.
//!
//! Guarantees: at most one file is being made; it is handed over with its zeros on the disk; nothing is being made any
//! more when this is gone.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::segment;
use crate::disk::{Disk, DiskFile};

/// A file that becomes a segment.
pub(super) struct Draft {
    pub(super) file: Arc<dyn DiskFile>,
    /// Its length in bytes.
    pub(super) len: u64,
}

impl Draft {
    /// Makes it, here and now.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn make(disk: &dyn Disk, len: u64) -> io::Result<Self> {
        Ok(Self { file: segment::draft(disk, len)?, len })
    }
}

/// A draft that is being made.
#[derive(Default)]
pub(super) struct Ahead(Option<JoinHandle<io::Result<Draft>>>);

impl Ahead {
    /// Begins to make one, unless one is being made.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub(super) fn begin(&mut self, disk: &Arc<dyn Disk>, len: u64) -> io::Result<()> {
        if self.0.is_none() {
            let disk = Arc::clone(disk);
            let name = "journal-ahead".to_owned();
            self.0 = Some(std::thread::Builder::new().name(name).spawn(move || Draft::make(&*disk, len))?);
        }
        Ok(())
    }

    /// Whether one is being made still.
    pub(super) fn is_busy(&self) -> bool {
        self.0.as_ref().is_some_and(|making| !making.is_finished())
    }

    /// What was made, which is waited for; none if nothing was begun.
    ///
    /// # Errors
    /// What the disk said.
    pub(super) fn take(&mut self) -> io::Result<Option<Draft>> {
        let Some(making) = self.0.take() else { return Ok(None) };
        let made = making.join().map_err(|_| io::Error::other("making a journal segment panicked"))?;
        made.map(Some)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Whoever opens the journal next makes a file of the same name.
        let _ = self.take();
    }
}
