//! A file that cannot be copied: its inode and the time of its last change are the system's to give.
//!
//! Whoever copies or restores a folder makes a file with another inode, or changes this one. Whoever starts the
//! program again, boots the machine or moves the folder does not. A new one is made at every opening, so that a
//! backup never has the witness of what came after it. A false alarm (`chmod -R`, a hard link for a backup) only
//! costs a new incarnation.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Length of its bytes in the replica file.
pub(super) const WITNESS_LEN: usize = 28;

/// What is known of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    /// Names it.
    pub(super) number: u64,
    inode: u64,
    /// Time of its last change, in seconds and nanoseconds.
    changed: (i64, u32),
}

fn name(number: u64) -> String {
    format!("witness-{number:016x}")
}

impl Witness {
    /// Makes a new file; durable when it returns.
    pub(super) fn make(folder: &Path) -> io::Result<Self> {
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(|error| io::Error::other(error.to_string()))?;
        let number = u64::from_be_bytes(number);
        let file = OpenOptions::new().write(true).create_new(true).open(folder.join(name(number)))?;
        file.sync_all()?;
        fs::File::open(folder)?.sync_all()?;
        Self::look(folder, number)
    }

    fn look(folder: &Path, number: u64) -> io::Result<Self> {
        let found = fs::metadata(folder.join(name(number)))?;
        let nanoseconds = u32::try_from(found.ctime_nsec()).unwrap_or_default();
        Ok(Self { number, inode: found.ino(), changed: (found.ctime(), nanoseconds) })
    }

    /// Whether the file is the one that was made.
    pub(super) fn stands(&self, folder: &Path) -> bool {
        Self::look(folder, self.number).is_ok_and(|found| found == *self)
    }

    /// Removes all others.
    pub(super) fn remove_others(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let found = entry.file_name();
            if found.to_string_lossy().starts_with("witness-") && found.to_string_lossy() != name(self.number)
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn encode(&self) -> [u8; WITNESS_LEN] {
        let (seconds, nanoseconds) = self.changed;
        let bytes = [
            &self.number.to_be_bytes()[..],
            &self.inode.to_be_bytes(),
            &seconds.to_be_bytes(),
            &nanoseconds.to_be_bytes(),
        ];
        bytes.concat().try_into().unwrap_or([0; WITNESS_LEN])
    }

    pub(super) fn decode(bytes: &[u8; WITNESS_LEN]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (inode, rest) = rest.split_first_chunk()?;
        let (seconds, nanoseconds) = rest.split_first_chunk()?;
        Some(Self {
            number: u64::from_be_bytes(*number),
            inode: u64::from_be_bytes(*inode),
            changed: (i64::from_be_bytes(*seconds), u32::from_be_bytes(nanoseconds.try_into().ok()?)),
        })
    }
}
