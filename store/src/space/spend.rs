//! What the shelves may use of a disk that is nearly full.
//!
//! sled needs room even to open, so takeover and compaction must leave some: they stop before the disk is full and
//! wait for better times; the journal has everything meanwhile.

use std::collections::HashMap;

use tombolo_core::id::DocumentId;
use tombolo_core::operation::Operation;

use super::{Level, Space, ballast, usage};
use crate::journal::cost;
use crate::shelf::{ShelfError, Shelves};

/// Bytes that sled may write for one byte that it is given, pages around it and moved ones included.
const WRITTEN_FOR_ONE: u64 = 4;
/// sled takes room in segments of 512 KiB; a write may begin one, and so may what it moves.
const SEGMENTS: u64 = 2 * 512 * 1024;
/// On a disk that is nearly full operations go to the shelves in pieces of about so many bytes.
const PIECE_BYTES: u64 = 64 * 1024;

impl Space {
    /// Whether the shelves may write so many bytes now.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub(crate) fn admits(&self, bytes: u64) -> Result<(), String> {
        // A system that does not say how full the disk is will say when it is.
        let Ok(usage) = usage(&self.folder) else { return Ok(()) };
        let length = self.thresholds(&usage).ballast;
        // Of what the ballast gave back most is for opening: after a kill sled may need megabytes.
        let kept = if ballast::is_there(&self.folder, length) { 0 } else { length / 4 * 3 };
        let written = bytes.saturating_mul(WRITTEN_FOR_ONE).saturating_add(SEGMENTS);
        if usage.available >= kept.saturating_add(written) {
            return Ok(());
        }
        Err(format!(
            "the disk of {} has {} bytes left, which are kept for opening the shelves; make room",
            self.folder.display(),
            usage.available
        ))
    }

    /// Puts operations on the shelves, as far as there is room; gives back which documents cannot take theirs.
    ///
    /// # Errors
    /// Why not all of them are there; whoever tries again may try with all of them.
    pub(crate) fn fill(
        &self,
        shelves: &Shelves,
        operations: &[Operation],
    ) -> Result<HashMap<DocumentId, ShelfError>, String> {
        let mut stuck = HashMap::new();
        let mut rest = operations;
        while !rest.is_empty() {
            let mut len = rest.len();
            if self.look() >= Level::Reserve {
                len = piece_len(rest);
                self.admits(rest.iter().take(len).map(cost).sum())?;
            }
            let (piece, behind) = rest.split_at(len);
            stuck.extend(shelves.fill(piece).map_err(|error| words(&error))?);
            rest = behind;
        }
        Ok(stuck)
    }
}

/// Operations off the front with about [`PIECE_BYTES`], and always at least one.
fn piece_len(operations: &[Operation]) -> usize {
    let mut bytes = 0;
    let fitting = operations.iter().take_while(|operation| {
        let fits = bytes < PIECE_BYTES;
        bytes += cost(operation);
        fits
    });
    fitting.count()
}

fn words(error: &ShelfError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
