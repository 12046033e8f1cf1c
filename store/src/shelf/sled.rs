//! sled 0.34.7 behind the trait, with what it needs to be durable.
//!
//! `flush()` alone survives no power cut (HAZARDS sled-1), so a sync is flush and then fdatasync on our own
//! descriptor of sled's file; values above 4 KiB would go to files that are never synced (sled-2). What
//! panics inside sled on damaged pages (sled-5) comes back as an error.

use std::fs::File;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

use super::engine::guarded;
use super::error::EngineFault;
use super::{Change, Shelf, ShelfError, Tree, VALUE_BYTES_MAX, Visit};

/// Pages that sled keeps in memory for one open shelf, in bytes; its default is 1 GiB.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// sled's own background flush: without it a power cut breaks more (HAZARDS sled-1).
const FLUSH_EVERY_MS: u64 = 500;

/// One sled database.
#[derive(Debug)]
pub(super) struct SledShelf {
    documents: ::sled::Tree,
    tails: ::sled::Tree,
    snapshots: ::sled::Tree,
    quarantine: ::sled::Tree,
    database: ::sled::Db,
    /// sled's data file; the lock lets one flush at a time pass (HAZARDS sled-4).
    file: Mutex<File>,
}

/// A stop while sled makes its snapshot, as a full disk brings about, leaves half of one, and sled 0.34.7 takes that
/// for its newest and refuses to open (HAZARDS sled-5). The whole ones before it are enough.
fn drop_half_snapshots(folder: &Path) -> Result<(), ShelfError> {
    let Ok(file) = File::open(folder.join("db")) else { return Ok(()) }; // It is about to be made.
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(()); // Still open: what is being made is not half of anything.
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A larger one would be lost in a power cut without a word.
fn check_length(value: &[u8]) {
    assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes", value.len());
}

impl SledShelf {
    /// Opens or makes the database in this folder. May take long or fail on damage: see `open`.
    pub(super) fn open(folder: &Path) -> Result<Self, ShelfError> {
        guarded(|| {
            drop_half_snapshots(folder)?;
            let database = ::sled::Config::new()
                .path(folder)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(Some(FLUSH_EVERY_MS))
                .open()?;
            let blobs = std::fs::read_dir(folder.join("blobs"))?.count();
            if blobs > 0 {
                let words = format!("{blobs} values lie in files that were never synced");
                return Err(ShelfError::Engine(EngineFault { words }));
            }
            Ok(Self {
                documents: database.open_tree(Tree::Documents.name())?,
                tails: database.open_tree(Tree::Tails.name())?,
                snapshots: database.open_tree(Tree::Snapshots.name())?,
                quarantine: database.open_tree(Tree::Quarantine.name())?,
                database,
                file: Mutex::new(File::open(folder.join("db"))?),
            })
        })
    }

    fn tree(&self, tree: Tree) -> &::sled::Tree {
        match tree {
            Tree::Documents => &self.documents,
            Tree::Tails => &self.tails,
            Tree::Snapshots => &self.snapshots,
            Tree::Quarantine => &self.quarantine,
        }
    }
}

impl Shelf for SledShelf {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        guarded(|| Ok(self.tree(tree).get(key)?.map(|value| value.to_vec())))
    }

    fn scan(
        &self,
        tree: Tree,
        from: &[u8],
        below: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ShelfError> {
        guarded(|| {
            let below = below.map_or(Bound::Unbounded, Bound::Excluded);
            for row in self.tree(tree).range::<&[u8], _>((Bound::Included(from), below)) {
                let (key, value) = row?;
                if visit(&key, &value) == ControlFlow::Break(()) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn batch(&self, tree: Tree, changes: Vec<Change>) -> Result<(), ShelfError> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => {
                    check_length(&value);
                    batch.insert(key, value);
                }
                None => batch.remove(key),
            }
        }
        guarded(|| Ok(self.tree(tree).apply_batch(batch)?))
    }

    /// Not as a batch, whose rows would come to lie in the order of a hash map (HAZARDS sled-8).
    fn write_in_order(&self, tree: Tree, changes: Vec<Change>) -> Result<(), ShelfError> {
        let tree = self.tree(tree);
        guarded(|| {
            for (key, value) in changes {
                match value {
                    Some(value) => {
                        check_length(&value);
                        tree.insert(key, value)?;
                    }
                    None => {
                        tree.remove(key)?;
                    }
                }
            }
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), ShelfError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        guarded(|| {
            self.database.flush()?;
            Ok(file.sync_data()?)
        })
    }
}
