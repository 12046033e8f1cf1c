//! A disk in memory that loses its power: what was synced stays, what was not is kept, lost or torn.
//!
//! [`FaultyDisk::cut_after`] lets a number of changing calls pass and fails all later ones;
//! [`FaultyDisk::image`] then gives one of the disks that the system may find after the cut. Writes tear at
//! sectors of 512 bytes, each unsynced sector on its own; of the folder's changes a prefix is kept.
//!
//! [`FaultyDisk::fail_call`] lets one call or all from it on fail, as the system has it: a write may have been
//! done in part; what a failed sync was to sync can still be read and is never synced any more, unless it is
//! written again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

const SECTOR: usize = 512;

type Write = (usize, Vec<u8>);

#[derive(Clone, Debug, Default)]
struct Content {
    durable: Vec<u8>,
    /// What is read: the system's memory.
    cached: Vec<u8>,
    /// Unsynced writes, oldest first.
    writes: Vec<Write>,
    /// What was to be synced when that failed, and has not been written again.
    dropped: Vec<Write>,
}

impl Content {
    fn of(durable: Vec<u8>) -> Self {
        Self { cached: durable.clone(), durable, ..Self::default() }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.cached, offset, bytes);
        self.writes.push((offset, bytes.to_vec()));
    }

    fn sync(&mut self) {
        for (offset, write) in std::mem::take(&mut self.writes) {
            put(&mut self.durable, offset, &write);
            let covered = offset..offset + write.len();
            let rest = |(start, bytes): &Write| {
                let end = start + bytes.len();
                let (left, right) = (covered.start.clamp(*start, end), covered.end.clamp(*start, end));
                [(*start, bytes[..left - start].to_vec()), (right, bytes[right - start..].to_vec())]
            };
            self.dropped =
                self.dropped.iter().flat_map(rest).filter(|(_, bytes)| !bytes.is_empty()).collect();
        }
    }

    fn fail_to_sync(&mut self) {
        self.dropped.append(&mut self.writes);
    }

    /// Everything that may or may not be there after a cut.
    fn undecided(&self) -> impl Iterator<Item = &Write> {
        self.dropped.iter().chain(&self.writes)
    }
}

#[derive(Clone, Debug)]
enum FolderChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug, Default)]
struct Inner {
    /// By number, because names change.
    files: BTreeMap<u64, Content>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced: Vec<FolderChange>,
    next: u64,
    /// Changing calls that still succeed; none if all do.
    left: Option<u64>,
    /// Changing calls before the one that fails, and how it does.
    fault: Option<(u64, Fault)>,
    failed: bool,
    failing_syncs: bool,
    full: bool,
}

/// How a call fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// What the system says.
    pub(crate) errno: rustix::io::Errno,
    /// Whether all later calls fail, too.
    pub(crate) lasts: bool,
}

impl Inner {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.left {
            None => {}
            Some(0) => return Err(io::Error::other("the power is gone")),
            Some(left) => *left -= 1,
        }
        match &mut self.fault {
            Some((0, fault)) => {
                let errno = fault.errno;
                if !fault.lasts {
                    self.fault = None;
                }
                self.failed = true;
                Err(errno.into())
            }
            Some((before, _)) => {
                *before -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.spend()?;
        if self.failing_syncs { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
    }
}

/// The disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyDisk {
    inner: Arc<Mutex<Inner>>,
}

impl FaultyDisk {
    /// After so many changing calls the power goes.
    pub(crate) fn cut_after(&self, calls: u64) {
        self.lock().left = Some(calls);
    }

    /// From now on each sync fails and nothing becomes durable.
    pub(crate) fn fail_syncs(&self) {
        self.lock().failing_syncs = true;
    }

    /// After so many changing calls one fails, or all do.
    pub(crate) fn fail_call(&self, calls: u64, fault: Fault) {
        self.lock().fault = Some((calls, fault));
    }

    /// From now on everything succeeds again.
    pub(crate) fn heal(&self) {
        let mut inner = self.lock();
        inner.failing_syncs = false;
        inner.fault = None;
    }

    /// Whether the call that was to fail has.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().failed
    }

    /// Whether there is no room for another file.
    pub(crate) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Number of unsynced sectors and folder changes: how many bits of fate an image has.
    pub(crate) fn undecided(&self) -> usize {
        let inner = self.lock();
        let sectors = |content: &Content| {
            content.undecided().map(|(at, bytes)| sectors(*at, bytes.len()).count()).sum::<usize>()
        };
        inner.files.values().map(sectors).sum::<usize>() + inner.unsynced.len()
    }

    /// The disk after the cut; `fate` says of each unsynced sector whether it was kept, `renames` how many
    /// folder changes were.
    pub(crate) fn image(&self, folder_changes: usize, mut fate: impl FnMut() -> bool) -> Self {
        let inner = self.lock();
        let mut names = inner.durable_names.clone();
        for change in inner.unsynced.iter().take(folder_changes) {
            match change {
                FolderChange::Create(name, number) => {
                    names.insert(name.clone(), *number);
                }
                FolderChange::Rename(from, to) => {
                    if let Some(number) = names.remove(from) {
                        names.insert(to.clone(), number);
                    }
                }
                FolderChange::Remove(name) => {
                    names.remove(name);
                }
            }
        }
        let mut files = BTreeMap::new();
        for number in names.values() {
            let content = &inner.files[number];
            let mut bytes = content.durable.clone();
            for (offset, write) in content.undecided() {
                for (start, end) in sectors(*offset, write.len()) {
                    if fate() {
                        put(&mut bytes, start, &write[start - offset..end - offset]);
                    }
                }
            }
            files.insert(*number, Content::of(bytes));
        }
        let next = inner.next;
        let image = Inner { files, names: names.clone(), durable_names: names, next, ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(image)) }
    }

    /// Number of unsynced folder changes.
    pub(crate) fn folder_changes(&self) -> usize {
        self.lock().unsynced.len()
    }

    /// Flips bits of one byte of a file.
    pub(crate) fn flip(&self, name: &str, offset: usize, mask: u8) {
        self.damage(name, |bytes| bytes[offset] ^= mask);
    }

    /// Changes the durable bytes of a file.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let number = inner.names[name];
        let content = inner.files.get_mut(&number).unwrap();
        change(&mut content.durable);
        *content = Content::of(std::mem::take(&mut content.durable));
    }

    /// A disk of its own with the same durable content.
    pub(crate) fn fork(&self) -> Self {
        self.image(usize::MAX, || true)
    }

    /// The bytes of a file.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let inner = self.lock();
        inner.files[&inner.names[name]].cached.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sectors that a write touches, each cut to the write.
fn sectors(offset: usize, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let end = offset + len;
    let first = offset / SECTOR;
    (first..end.div_ceil(SECTOR))
        .map(move |sector| ((sector * SECTOR).max(offset), ((sector + 1) * SECTOR).min(end)))
}

fn put(bytes: &mut Vec<u8>, offset: usize, write: &[u8]) {
    if bytes.len() < offset + write.len() {
        bytes.resize(offset + write.len(), 0);
    }
    bytes[offset..offset + write.len()].copy_from_slice(write);
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.lock();
        inner.spend()?;
        if inner.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let number = inner.next;
        inner.next += 1;
        let zeros = vec![0; usize::try_from(len).unwrap()];
        inner.files.insert(number, Content::of(zeros));
        inner.names.insert(name.to_owned(), number);
        inner.unsynced.push(FolderChange::Create(name.to_owned(), number));
        drop(inner);
        Ok(Arc::new(FaultyFile { disk: self.clone(), number }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let number = *self.lock().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultyFile { disk: self.clone(), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.spend()?;
        let number = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), number);
        inner.unsynced.push(FolderChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.spend()?;
        inner.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        inner.unsynced.push(FolderChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.sync()?;
        inner.durable_names = inner.names.clone();
        inner.unsynced.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    number: u64,
}

impl DiskFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[&self.number].cached.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let inner = self.disk.lock();
        let bytes = &inner.files[&self.number].cached;
        let offset = usize::try_from(offset).unwrap();
        let found = bytes.get(offset..offset + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let spent = inner.spend();
        let done = if spent.is_ok() { bytes.len() } else { bytes.len() / 2 };
        if inner.left != Some(0) || spent.is_ok() {
            let content = inner.files.get_mut(&self.number).unwrap();
            content.write(usize::try_from(offset).unwrap(), &bytes[..done]);
        }
        spent
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let synced = inner.sync();
        let content = inner.files.get_mut(&self.number).unwrap();
        match synced {
            Ok(()) => content.sync(),
            Err(_) => content.fail_to_sync(),
        }
        synced
    }
}
