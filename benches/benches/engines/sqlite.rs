//! SQLite, bundled: write-ahead log, `synchronous=FULL`.

use std::path::Path;

use rusqlite::{Connection, params};

use super::rows::{CACHE_BYTES, Change, Rows};

pub(crate) struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    pub(crate) fn open(folder: &Path) -> Self {
        let connection = Connection::open(folder.join("rows.sqlite")).expect("the folder is writable");
        let settings = format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -{};
             CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB NOT NULL);",
            CACHE_BYTES / 1024
        );
        connection.execute_batch(&settings).expect("SQLite takes it");
        Self { connection }
    }
}

impl Rows for Sqlite {
    fn commit(&mut self, changes: &[Change]) {
        let transaction = self.connection.transaction().expect("SQLite takes it");
        {
            let prepare = |sql| transaction.prepare_cached(sql).expect("it is SQL");
            let mut put = prepare("INSERT OR REPLACE INTO rows VALUES (?1, ?2)");
            let mut remove = prepare("DELETE FROM rows WHERE key = ?1");
            for (key, value) in changes {
                let changed = match value {
                    Some(value) => put.execute(params![key, value]),
                    None => remove.execute(params![key]),
                };
                changed.expect("SQLite takes it");
            }
        }
        transaction.commit().expect("the disk takes it");
    }

    fn read(&self, from: &[u8], below: &[u8]) -> usize {
        let sql = "SELECT value FROM rows WHERE key >= ?1 AND key < ?2 ORDER BY key";
        let mut statement = self.connection.prepare_cached(sql).expect("it is SQL");
        let rows = statement.query_map(params![from, below], |row| Ok(row.get_ref(0)?.as_blob()?.len()));
        rows.expect("SQLite reads").map(|len| len.expect("SQLite reads")).sum()
    }
}
