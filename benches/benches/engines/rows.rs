//! What a contestant can: one map of keys and values on the disk.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A key with its new value, or none to remove it.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// Memory for rows or pages, in bytes.
pub(crate) const CACHE_BYTES: u64 = 64 * 1024 * 1024;

pub(crate) trait Rows {
    /// Changes rows, all or none; durable when it returns.
    fn commit(&mut self, changes: &[Change]);

    /// Bytes of the values from one key to below another.
    fn read(&self, from: &[u8], below: &[u8]) -> usize;
}

/// Opens or makes the map in a folder, which exists.
pub(crate) type Open = fn(&Path) -> Box<dyn Rows>;

/// A name and how it is opened.
pub(crate) const CONTESTANTS: [(&str, Open); 4] = [
    ("sled", |folder| Box::new(super::sled::Sled::open(folder))),
    ("redb", |folder| Box::new(super::redb::Redb::open(folder, true))),
    ("sqlite", |folder| Box::new(super::sqlite::Sqlite::open(folder))),
    ("fjall", |folder| Box::new(super::fjall::Fjall::open(folder))),
];

/// Bytes that a folder has on the disk, holes not counted.
pub(crate) fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    entries
        .map(|entry| {
            let entry = entry.expect("the folder is there");
            let metadata = entry.metadata().expect("the file is there");
            if metadata.is_dir() { disk_bytes(&entry.path()) } else { metadata.blocks() * 512 }
        })
        .sum()
}
