//! redb as the shelf drives it: commits in two phases; or in one, which is its default.

use std::path::Path;

use ::redb::{Builder, Database, ReadableDatabase, TableDefinition};

use super::rows::{CACHE_BYTES, Change, Rows};

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

pub(crate) struct Redb {
    database: Database,
    two_phases: bool,
}

impl Redb {
    pub(crate) fn open(folder: &Path, two_phases: bool) -> Self {
        let cache = usize::try_from(CACHE_BYTES).expect("it fits");
        let mut builder = Builder::new();
        let database =
            builder.set_cache_size(cache).create(folder.join("rows.redb")).expect("the folder is writable");
        Self { database, two_phases }
    }
}

impl Rows for Redb {
    fn commit(&mut self, changes: &[Change]) {
        let mut transaction = self.database.begin_write().expect("redb takes it");
        transaction.set_two_phase_commit(self.two_phases);
        let mut table = transaction.open_table(ROWS).expect("redb takes it");
        for (key, value) in changes {
            let changed = match value {
                Some(value) => table.insert(&**key, &**value),
                None => table.remove(&**key),
            };
            changed.expect("redb takes it");
        }
        drop(table);
        transaction.commit().expect("the disk takes it");
    }

    fn read(&self, from: &[u8], below: &[u8]) -> usize {
        let transaction = self.database.begin_read().expect("redb reads");
        let table = transaction.open_table(ROWS).expect("redb reads");
        let rows = table.range(from..below).expect("redb reads");
        rows.map(|row| row.expect("redb reads").1.value().len()).sum()
    }
}
