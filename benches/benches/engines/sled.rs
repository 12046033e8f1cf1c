//! sled as the shelf drives it: `flush`, and then `fdatasync` on its file.

use std::fs::File;
use std::path::Path;

use super::rows::{CACHE_BYTES, Change, Rows};

pub(crate) struct Sled {
    database: ::sled::Db,
    file: File,
}

impl Sled {
    pub(crate) fn open(folder: &Path) -> Self {
        let config = ::sled::Config::new().path(folder).cache_capacity(CACHE_BYTES);
        let database = loop {
            // The lock of one that was just closed is given back on a thread of its own.
            match config.clone().flush_every_ms(Some(500)).open() {
                Ok(database) => break database,
                Err(error) => assert!(error.to_string().contains("acquire lock"), "{error}"),
            }
        };
        let file = File::open(folder.join("db")).expect("sled made it");
        Self { database, file }
    }
}

impl Rows for Sled {
    fn commit(&mut self, changes: &[Change]) {
        let mut batch = ::sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&**key, &**value),
                None => batch.remove(&**key),
            }
        }
        self.database.apply_batch(batch).expect("sled takes it");
        self.database.flush().expect("sled takes it");
        self.file.sync_data().expect("the disk takes it");
    }

    fn read(&self, from: &[u8], below: &[u8]) -> usize {
        self.database.range(from..below).map(|row| row.expect("sled reads").1.len()).sum()
    }
}
