//! The store's settings: plain values, each with its unit and the reason for its default.

use std::path::PathBuf;

use crate::compact::CompactionPolicy;
use crate::shelf::Engine;

/// Settings of a store. [`StoreConfig::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The folder; made if missing.
    pub path: PathBuf,
    /// What keeps the shelves: none for whatever is there, and sled if the folder is new. Fixed at creation.
    pub engine: Option<Engine>,
    /// How long another process that has the folder is waited for, in ms. What a killed one was just about to start
    /// holds its lock until it has started, and a supervisor does not wait for that.
    pub lock_wait_ms: u64,
    /// Preallocated size of a journal segment in bytes.
    pub segment_bytes: u64,
    /// Number of shelves: one database's open time and memory grow with what it holds. Fixed at creation.
    pub shelf_count: u16,
    /// A shelf that nobody used for this long is closed, in ms.
    pub shelf_idle_ms: u64,
    /// Most bytes of memory of operations that wait for the journal; past it appends are refused, never acknowledged.
    pub queue_bytes_max: u64,
    /// Most bytes of memory of durable operations that wait for the shelf; past it appends are refused.
    pub takeover_bytes_max: u64,
    /// From this percentage of the disk on it is warned.
    pub disk_warn_percent: u8,
    /// From this percentage of the disk on new documents are refused, if fewer bytes than
    /// [`disk_ample_bytes`](Self::disk_ample_bytes) are left, too.
    pub disk_refuse_new_percent: u8,
    /// So many available bytes are room enough, however small a share of the disk they are.
    pub disk_ample_bytes: u64,
    /// Length in bytes of the file that is given back when the disk is full; at most a sixteenth of the
    /// disk, and at most a segment.
    pub ballast_bytes: u64,
    /// How long a deleted document stays refused by name, in ms; then the name may be used again. Longer than any
    /// client is away.
    pub tombstone_ms: u64,
    /// How often the file that gives a copied or restored folder away is made anew while operations come in, in ms.
    /// A backup that is younger can be restored in place without being seen.
    pub witness_ms: u64,
    /// When a tail is folded into the snapshot.
    pub compaction: CompactionPolicy,
    /// Longest time that a durable operation waits for others before the shelf takes it, in ms.
    pub takeover_ms: u64,
}

impl StoreConfig {
    /// The defaults in this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            engine: None,
            lock_wait_ms: 1_000,
            segment_bytes: 16 * 1024 * 1024,
            shelf_count: 16,
            shelf_idle_ms: 60_000,
            queue_bytes_max: 256 * 1024 * 1024,
            takeover_bytes_max: 256 * 1024 * 1024,
            disk_warn_percent: 80,
            disk_refuse_new_percent: 90,
            disk_ample_bytes: 2 * 1024 * 1024 * 1024,
            ballast_bytes: 16 * 1024 * 1024,
            tombstone_ms: 90 * 24 * 3600 * 1000,
            witness_ms: 60_000,
            compaction: CompactionPolicy::default(),
            takeover_ms: 500,
        }
    }
}
