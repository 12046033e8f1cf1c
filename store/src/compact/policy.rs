//! When a tail is worth folding: what balanced reads and writes when it was measured (HAZARDS yrs-8, am-5).

use tombolo_core::id::{DocumentId, Format};

use crate::shelf::DocumentRecord;

const TAIL_BYTES_MIN: u64 = 64 * 1024;
const TAIL_UPDATES_YJS: u64 = 10_000;
const TAIL_UPDATES_AUTOMERGE: u64 = 1_000;
const TAIL_UPDATES_LEFT: u64 = 100;

/// What of a tail a fold left where it was: it does not make the document due again, and what comes behind it
/// must grow as large first, so that all the looking at it costs no more than twice its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Left {
    /// All of a tail.
    pub(super) fn all(record: &DocumentRecord) -> Self {
        Self { count: record.tail_count, bytes: record.tail_bytes }
    }
}

/// Whether a tail is as large as the snapshot and at least 64 KiB, or has many operations, or more than a few and
/// its last user has `left`; beyond what the last fold left of it.
pub(super) fn is_due(id: &DocumentId, record: &DocumentRecord, kept: Left, user_left: bool) -> bool {
    // A tail that has shrunk is not the one that was looked at.
    let kept = if record.tail_count < kept.count { Left::default() } else { kept };
    let many = match id.format() {
        Format::Yjs => TAIL_UPDATES_YJS,
        Format::Automerge => TAIL_UPDATES_AUTOMERGE,
    };
    let bytes = record.tail_bytes.saturating_sub(kept.bytes);
    let count = record.tail_count.saturating_sub(kept.count);
    bytes >= TAIL_BYTES_MIN.max(record.snapshot_bytes).max(kept.bytes)
        || count >= many.max(kept.count)
        || (user_left && count > TAIL_UPDATES_LEFT.max(kept.count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tail_count: u64, tail_bytes: u64, snapshot_bytes: u64) -> DocumentRecord {
        let mut record = DocumentRecord::default();
        record.tail_count = tail_count;
        record.tail_bytes = tail_bytes;
        record.snapshot_bytes = snapshot_bytes;
        record
    }

    #[test]
    fn what_was_left_makes_nothing_due_again() {
        let id = DocumentId::yjs("d").unwrap();
        let due =
            |record: &DocumentRecord, count, bytes, left| is_due(&id, record, Left { count, bytes }, left);
        assert!(
            due(&record(1, 64 * 1024, 0), 0, 0, false) && !due(&record(1, 64 * 1024, 65 * 1024), 0, 0, false)
        );
        assert!(due(&record(101, 0, 0), 0, 0, true) && !due(&record(100, 0, 0), 0, 0, true));
        assert!(due(&record(10_000, 0, 0), 0, 0, false) && !due(&record(9_999, 0, 0), 0, 0, false));
        let kept = record(9_000, 100_000, 0);
        assert!(due(&kept, 0, 0, false) && !due(&kept, 9_000, 100_000, true));
        assert!(!due(&record(17_999, 199_999, 0), 9_000, 100_000, true));
        assert!(due(&record(18_001, 100_000, 0), 9_000, 100_000, true));
        assert!(due(&record(9_001, 200_000, 0), 9_000, 100_000, false));
        assert!(due(&record(8_999, 100_000, 0), 9_000, 100_000, false), "another tail");
    }
}
