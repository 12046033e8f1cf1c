//! Who this store is, and that it is open once: the lock file, the file that names the replica, and its witness.
//!
//! A store that was copied, restored or reset has a new incarnation, and writes under a new replica id: two copies
//! that both named operations after the old one would give one name to two things. What it was before it says, so
//! that peers can tell that it went backwards.

mod file; // the bytes of the replica file
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod renewal; // a new witness from time to time
mod witness; // a link that cannot be copied

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use tombolo_core::id::{Identity, Incarnation, ReplicaId};

pub(crate) use self::renewal::Renewal;

use self::file::Stored;
use self::witness::Witness;
use crate::error::OpenError;

/// Held for as long as the store is open.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes the folder and takes its lock, waiting so long for one who has it.
pub(crate) fn lock(folder: &Path, wait: Duration) -> Result<Lock, OpenError> {
    let not_writable = |source| OpenError::NotWritable { path: folder.to_owned(), source };
    make(folder).map_err(not_writable)?;
    let path = folder.join("lock");
    let file =
        OpenOptions::new().create(true).write(true).truncate(false).open(path).map_err(not_writable)?;
    let start = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(error) if error != rustix::io::Errno::WOULDBLOCK => return Err(not_writable(error.into())),
            Err(_) if start.elapsed() >= wait => return Err(OpenError::Locked { path: folder.to_owned() }),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Makes a folder with all that lead to it; each must be found again after a power cut.
fn make(folder: &Path) -> io::Result<()> {
    let whole = std::path::absolute(folder)?;
    let new = whole.ancestors().skip(1).take_while(|path| !path.exists());
    let new: Vec<_> = std::iter::once(whole.as_path()).chain(new).collect();
    std::fs::create_dir_all(&whole)?;
    let parents = new.iter().filter_map(|path| path.parent());
    parents.into_iter().try_for_each(|parent| File::open(parent)?.sync_all())
}

/// Who the store in this folder is; gives it a name if it has none, and a new one if it is not where it was. Written
/// durably before anything is named after it.
pub(crate) fn open(folder: &Path) -> Result<Identity, OpenError> {
    let not_writable = |source| OpenError::NotWritable { path: folder.to_owned(), source };
    let mut renamed = true;
    let identity = match read(folder)? {
        None => born().map_err(not_writable)?,
        // It cannot be told whether it was copied; from now on it can.
        Some(Stored::Named(replica)) => {
            renamed = false;
            Identity { replica, ..born().map_err(not_writable)? }
        }
        Some(Stored::Witnessed(identity, witness)) if witness.stands(folder) => {
            renamed = false;
            identity
        }
        Some(Stored::Witnessed(mut identity, _)) => {
            let before = (identity.replica, identity.incarnation);
            identity.former.push(before);
            let now = Identity { former: identity.former, ..born().map_err(not_writable)? };
            tracing::warn!(
                before = %before.0, now = %now.replica,
                "this data folder is a copy or was restored: it goes on under a new replica id"
            );
            now
        }
    };
    match renew(folder, &identity) {
        // A full disk must open; the old witness stands, and operations keep their name.
        Err(error) if !renamed && is_no_room(&error) => {
            tracing::warn!(%error, "no room for a new witness; the old one stands until there is");
        }
        renewed => renewed.map_err(not_writable)?,
    }
    Ok(identity)
}

/// Another witness in the place of the one that there is.
fn renew(folder: &Path, identity: &Identity) -> io::Result<()> {
    let witness = Witness::make(folder)?;
    write(folder, &file::encode(identity, &witness))?;
    witness.remove_others(folder)
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the file that names the replica is whole; a folder that was never used has none.
pub(crate) fn check(folder: &Path) -> Result<(), OpenError> {
    read(folder).map(|_| ())
}

/// Lets a copy know whose copy it is; one that cannot be told starts anew.
pub(crate) fn carry_over(from: &Path, to: &Path) -> io::Result<()> {
    carried(from)?.map_or(Ok(()), |bytes| write(to, &bytes))
}

/// The replica file that a copy of this folder gets, if any: without its witness, so that it will be seen that it is
/// a copy.
pub(crate) fn carried(from: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(from.join("replica")) {
        Ok(bytes) if matches!(file::decode(&bytes), Some(Stored::Witnessed(..))) => Ok(Some(bytes)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(folder: &Path) -> Result<Option<Stored>, OpenError> {
    let path = folder.join("replica");
    match std::fs::read(&path) {
        Ok(bytes) => file::decode(&bytes).map(Some).ok_or(OpenError::Identity { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::NotWritable { path: folder.to_owned(), source }),
    }
}

fn born() -> io::Result<Identity> {
    let mut random = [[0; 16]; 2];
    for bytes in &mut random {
        getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))?;
    }
    let [replica, incarnation] = random;
    Ok(Identity { replica: ReplicaId(replica), incarnation: Incarnation(incarnation), former: Vec::new() })
}

fn write(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = folder.join("replica.new");
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, folder.join("replica"))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stays_and_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let identity = open(folder.path()).unwrap();
        for _ in 0..3 {
            assert_eq!(open(folder.path()).unwrap(), identity);
        }
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 2, "the replica and one witness");
        let path = folder.path().join("replica");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[10] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(open(folder.path()), Err(OpenError::Identity { .. })));
        assert!(matches!(check(folder.path()), Err(OpenError::Identity { .. })));
    }

    /// As the version before wrote it: still the same store, which goes on in the present one.
    #[test]
    fn a_witness_of_version_2_stands() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity { former: Vec::new(), ..born().unwrap() };
        let path = folder.path().join("witness-0000000000000007");
        File::create(&path).unwrap();
        let found = std::fs::metadata(&path).unwrap();
        let numbers = [7, found.ino(), u64::try_from(found.ctime()).unwrap()].map(u64::to_be_bytes);
        let nanoseconds = u32::try_from(found.ctime_nsec()).unwrap().to_be_bytes();
        let mut bytes = [b"TMBLRPL2", &identity.replica.0[..], &identity.incarnation.0].concat();
        bytes.extend([&numbers.concat()[..], &nanoseconds, &[0, 0]].concat());
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        write(folder.path(), &bytes).unwrap();
        assert_eq!(open(folder.path()).unwrap(), identity);
        assert!(!path.exists(), "made anew");
        assert_eq!(open(folder.path()).unwrap(), identity);
    }

    /// A power cut between the new witness and the file that names it.
    #[test]
    fn a_witness_that_nobody_names_is_no_alarm() {
        let folder = tempfile::tempdir().unwrap();
        let identity = open(folder.path()).unwrap();
        Witness::make(folder.path()).unwrap();
        assert_eq!(open(folder.path()).unwrap(), identity);
    }

    #[test]
    fn a_second_lock_is_refused_and_one_that_goes_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path(), Duration::ZERO).unwrap();
        assert!(matches!(lock(folder.path(), PAUSE * 2), Err(OpenError::Locked { .. })));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| lock(folder.path(), Duration::from_secs(3600)).is_ok());
            std::thread::sleep(PAUSE);
            drop(held);
            assert!(waits.join().unwrap());
        });
        lock(folder.path(), Duration::ZERO).unwrap();
    }
}
