//! Who this store is, and that it is open once: the lock file and the file that names the replica.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tombolo_core::id::ReplicaId;

use crate::error::OpenError;

/// First bytes of the replica file: what it is and its version.
const MAGIC: &[u8; 8] = b"TMBLRPL1";

/// Held for as long as the store is open.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Makes the folder and takes its lock.
pub(crate) fn lock(folder: &Path) -> Result<Lock, OpenError> {
    let not_writable = |source| OpenError::NotWritable { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).and_then(|()| sync_parent(folder)).map_err(not_writable)?;
    let path = folder.join("lock");
    let file =
        OpenOptions::new().create(true).write(true).truncate(false).open(path).map_err(not_writable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _file: file }),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            Err(OpenError::Locked { path: folder.to_owned() })
        }
        Err(error) => Err(not_writable(error.into())),
    }
}

/// A new folder must be found again after a power cut.
fn sync_parent(folder: &Path) -> io::Result<()> {
    let whole = std::path::absolute(folder)?;
    whole.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Reads the replica's name, or gives it one: random, written durably before anything is named after it.
pub(crate) fn replica(folder: &Path) -> Result<ReplicaId, OpenError> {
    let path = folder.join("replica");
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => decode(&bytes).ok_or(OpenError::Identity { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(folder, &path).map_err(|source| OpenError::NotWritable { path: folder.to_owned(), source })
        }
        Err(source) => Err(OpenError::NotWritable { path: folder.to_owned(), source }),
    }
}

/// Whether the file that names the replica is whole; a folder that was never used has none.
pub(crate) fn check(folder: &Path) -> Result<(), OpenError> {
    let path = folder.join("replica");
    match std::fs::read(&path) {
        Ok(bytes) if decode(&bytes).is_none() => Err(OpenError::Identity { path }),
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::NotWritable { path: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn create(folder: &Path, path: &Path) -> io::Result<ReplicaId> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
    let draft = folder.join("replica.new");
    let mut file = File::create(&draft)?;
    file.write_all(&encode(ReplicaId(id)))?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()?;
    Ok(ReplicaId(id))
}

fn encode(id: ReplicaId) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&id.0);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<ReplicaId> {
    let id: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
    (bytes == encode(ReplicaId(id))).then_some(ReplicaId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stays_and_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let id = replica(folder.path()).unwrap();
        assert_eq!(replica(folder.path()).unwrap(), id);
        let path = folder.path().join("replica");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[10] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(replica(folder.path()), Err(OpenError::Identity { .. })));
    }

    #[test]
    fn golden_bytes_of_the_replica_file() {
        let bytes = encode(ReplicaId([7; 16]));
        assert_eq!(bytes[..8], *b"TMBLRPL1");
        assert_eq!(bytes.len(), 28);
        assert_eq!(decode(&bytes), Some(ReplicaId([7; 16])));
    }

    #[test]
    fn a_second_lock_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        assert!(matches!(lock(folder.path()), Err(OpenError::Locked { .. })));
        drop(held);
        lock(folder.path()).unwrap();
    }
}
