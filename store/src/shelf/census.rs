//! How many documents a shelf has, kept outside it: a damaged database can lose rows without a word, and an
//! empty one in its place would look like one that never had any (HAZARDS sled-5).
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | magic and version `TMBLCNS1` |
//! | 8 | 8 | number of documents, big-endian |
//! | 16 | 4 | CRC-32 of the bytes before, big-endian |
//!
//! It is written after the documents that it counts are durable, so it never says more than there should be.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::ShelfError;
use super::error::EngineFault;

const MAGIC: &[u8; 8] = b"TMBLCNS1";

/// The count of one shelf.
#[derive(Debug)]
pub(super) struct Census {
    path: PathBuf,
    /// What there were when it was opened, if there should have been more: found, expected.
    shortfall: Option<(u64, u64)>,
    /// Documents that are durable, and how many the file says there are.
    count: Mutex<(u64, u64)>,
}

impl Census {
    /// Holds what was found on the shelf of this folder against what should be there.
    pub(super) fn new(folder: &Path, found: u64, expected: u64) -> Self {
        let shortfall = (found < expected).then_some((found, expected));
        Self { path: path(folder), shortfall, count: Mutex::new((found.max(expected), expected)) }
    }

    /// Found and expected, if documents are missing.
    pub(super) fn shortfall(&self) -> Option<(u64, u64)> {
        self.shortfall
    }

    /// So many more documents are durable, and all that were found.
    pub(super) fn add(&self, documents: u64) -> Result<(), ShelfError> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let (durable, written) = &mut *count;
        *durable = durable.saturating_add(documents);
        if durable != written {
            write(&self.path, *durable)?;
            *written = *durable;
        }
        Ok(())
    }
}

/// How many documents the shelf of this folder should have; none if it was never counted.
pub(super) fn expected(folder: &Path) -> Result<Option<u64>, ShelfError> {
    let path = path(folder);
    match fs::read(&path) {
        Ok(bytes) => decode(&bytes).map(Some).ok_or_else(|| damaged(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn damaged(folder: &Path) -> ShelfError {
    let words = "the file that counts its documents is damaged".to_owned();
    ShelfError::Unopenable { path: folder.to_owned(), source: EngineFault { words } }
}

/// The file that counts the documents of this shelf.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.with_extension("census")
}

fn encode(count: u64) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &count.to_be_bytes()].concat();
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let count = u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?);
    (bytes == encode(count)).then_some(count)
}

/// Whole and durable, or as before.
fn write(path: &Path, count: u64) -> io::Result<()> {
    let draft = path.with_extension("census-draft");
    let mut file = File::create(&draft)?;
    file.write_all(&encode(count))?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_comes_back_and_damage_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("0003");
        assert_eq!(expected(&folder).unwrap(), None);
        let census = Census::new(&folder, 0, 0);
        census.add(2).unwrap();
        census.add(3).unwrap();
        assert_eq!(expected(&folder).unwrap(), Some(5));
        assert_eq!(Census::new(&folder, 4, 5).shortfall(), Some((4, 5)));
        let file = root.path().join("0003.census");
        let bytes = fs::read(&file).unwrap();
        assert_eq!(bytes[..16], *b"TMBLCNS1\0\0\0\0\0\0\0\x05");
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            fs::write(&file, bytes).unwrap();
            assert!(matches!(expected(&folder), Err(ShelfError::Unopenable { .. })));
        }
    }
}
