//! fjall: each batch is in its journal and synced.

use std::path::Path;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::rows::{CACHE_BYTES, Change, Rows};

pub(crate) struct Fjall {
    rows: Keyspace,
    database: Database,
}

impl Fjall {
    pub(crate) fn open(folder: &Path) -> Self {
        let database =
            Database::builder(folder).cache_size(CACHE_BYTES).open().expect("the folder is writable");
        let rows = database.keyspace("rows", KeyspaceCreateOptions::default).expect("fjall makes it");
        Self { rows, database }
    }
}

impl Rows for Fjall {
    fn commit(&mut self, changes: &[Change]) {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.rows, key.as_slice(), value.as_slice()),
                None => batch.remove(&self.rows, key.as_slice()),
            }
        }
        batch.commit().expect("the disk takes it");
    }

    fn read(&self, from: &[u8], below: &[u8]) -> usize {
        self.rows.range(from..below).map(|row| row.value().expect("fjall reads").len()).sum()
    }
}
