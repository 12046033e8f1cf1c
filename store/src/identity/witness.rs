//! A link that cannot be copied: its inode and the time of its birth are the system's to give.
//!
//! Whoever copies or restores a folder makes another one. Whoever starts the program again, boots the machine, moves
//! the folder, or gives it other owners, modes or times does not. A new one is made at every opening, so that a
//! backup never has the witness of what came after it.
//!
//! It is a symbolic link, because a file that is restored over itself stays the one that was born then, and a link is
//! removed and made again (`cp -a`, `tar`). It leads to the replica file, so that who follows it finds something.
//! Where the system knows no links or no births it is an empty file, and the time of its last change counts, as in
//! version 2 of the replica file; then `chmod -R` or a hard link for a backup costs a new incarnation. The device
//! does not count: it may have another number after a boot, and another device gives another birth.

use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Length of its bytes in the replica file.
pub(super) const WITNESS_LEN: usize = 28;

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    /// Names it.
    pub(super) number: u64,
    inode: u64,
    /// Seconds and nanoseconds since 1970.
    time: (i64, u32),
    pub(super) of: Moment,
}

/// Which time of a witness counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Of its last change.
    Change,
    /// Of its birth.
    Birth,
}

impl Moment {
    fn time(self, found: &Metadata) -> Option<(i64, u32)> {
        match self {
            Self::Change => Some((found.ctime(), u32::try_from(found.ctime_nsec()).ok()?)),
            Self::Birth if !found.is_symlink() => None,
            Self::Birth => {
                let born = found.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
                // What has no births may say that everything was born in 1970.
                let seconds = i64::try_from(born.as_secs()).ok().filter(|seconds| *seconds > 0)?;
                Some((seconds, born.subsec_nanos()))
            }
        }
    }
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
        let path = folder.join(name(number));
        if symlink("replica", &path).is_ok() {
            fs::File::open(folder)?.sync_all()?;
            let born = Self::look(folder, number, Moment::Birth);
            if let Some(born) = born? {
                return Ok(born);
            }
            fs::remove_file(&path)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.sync_all()?;
        fs::File::open(folder)?.sync_all()?;
        Self::look(folder, number, Moment::Change)?.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// None if it has no such time.
    fn look(folder: &Path, number: u64, of: Moment) -> io::Result<Option<Self>> {
        let found = fs::symlink_metadata(folder.join(name(number)))?;
        Ok(of.time(&found).map(|time| Self { number, inode: found.ino(), time, of }))
    }

    /// Whether it is the one that was made.
    pub(super) fn stands(&self, folder: &Path) -> bool {
        Self::look(folder, self.number, self.of).is_ok_and(|found| found == Some(*self))
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
        let (seconds, nanoseconds) = self.time;
        let bytes = [
            &self.number.to_be_bytes()[..],
            &self.inode.to_be_bytes(),
            &seconds.to_be_bytes(),
            &nanoseconds.to_be_bytes(),
        ];
        bytes.concat().try_into().unwrap_or([0; WITNESS_LEN])
    }

    pub(super) fn decode(bytes: &[u8; WITNESS_LEN], of: Moment) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (inode, rest) = rest.split_first_chunk()?;
        let (seconds, nanoseconds) = rest.split_first_chunk()?;
        Some(Self {
            number: u64::from_be_bytes(*number),
            inode: u64::from_be_bytes(*inode),
            time: (i64::from_be_bytes(*seconds), u32::from_be_bytes(nanoseconds.try_into().ok()?)),
            of,
        })
    }
}
