//! How many rows one message may claim: a few bytes can claim millions, and each costs time here and memory in
//! the engine (HAZARDS: am-1).

use super::error::InvalidAutomerge;
use crate::limits::{AUTOMERGE_ROWS_FREE, AUTOMERGE_ROWS_MAX, AUTOMERGE_ROWS_PER_BYTE};

/// Rows that the chunks of one message may still claim.
#[derive(Debug)]
pub(super) struct Budget {
    rows: u64,
}

impl Budget {
    /// For a message of so many bytes, before anything is inflated.
    pub(super) fn of(bytes: usize) -> Self {
        let rows = (bytes as u64).saturating_mul(AUTOMERGE_ROWS_PER_BYTE).saturating_add(AUTOMERGE_ROWS_FREE);
        Self { rows: rows.min(AUTOMERGE_ROWS_MAX) }
    }

    /// Takes rows off.
    pub(super) fn spend(&mut self, rows: u64) -> Result<(), InvalidAutomerge> {
        self.rows = self.rows.checked_sub(rows).ok_or(InvalidAutomerge::Rows)?;
        Ok(())
    }
}
