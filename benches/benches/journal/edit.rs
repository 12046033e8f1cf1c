//! A replica in which somebody types: each edit is durable when it returns.

use std::path::Path;
use std::time::{Duration, Instant};

use tombolo::replica::{Replica, YjsDocument};

pub(crate) struct Typing {
    document: YjsDocument,
    letters: u32,
}

impl Typing {
    pub(crate) fn open(folder: &Path) -> Self {
        let replica = Replica::open(folder).expect("the folder is writable");
        Self { document: replica.yjs("reports/2026/annual").expect("a plain name"), letters: 0 }
    }

    /// Types one letter at the end; says how long it took.
    pub(crate) fn letter(&mut self) -> Duration {
        let letter = ["a", "b", "c", "d", "e"].into_iter().cycle().nth(self.letters as usize % 5);
        let start = Instant::now();
        let edited = self.document.edit(|edit| {
            edit.text("text").push(letter.unwrap_or_default());
            Ok(())
        });
        edited.expect("the disk takes it");
        self.letters += 1;
        start.elapsed()
    }
}
