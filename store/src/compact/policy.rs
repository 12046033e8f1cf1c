//! When a tail is worth folding: what balanced reads and writes when it was measured (HAZARDS yrs-8, am-5, and the
//! bench `policy`).

use tombolo_core::id::{DocumentId, Format};

use crate::shelf::DocumentRecord;

/// From which tail on a document is folded: any one of these is enough. A fold costs the document's whole size on the
/// processor, a tail costs whoever opens the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionPolicy {
    /// The tail has at least so many bytes, and as many as the snapshot.
    pub tail_bytes_min: u64,
    /// The tail of a Yjs document has so many operations.
    pub tail_operations_yjs: u64,
    /// The tail of an Automerge document has so many operations.
    pub tail_operations_automerge: u64,
    /// The last user has left, and the tail has more than so many operations.
    pub tail_operations_left: u64,
    /// Longest time of one attempt to fold a document, in ms; then others have their turn, and it goes on where it
    /// stopped. A request that hangs takes 30 s of it in `serve`.
    pub attempt_ms_max: u64,
}

impl Default for CompactionPolicy {
    fn default() -> Self {
        Self {
            tail_bytes_min: 16 * 1024,
            tail_operations_yjs: 10_000,
            tail_operations_automerge: 1_000,
            tail_operations_left: 100,
            attempt_ms_max: 120_000,
        }
    }
}

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

impl CompactionPolicy {
    /// Whether a document is to be folded for what its tail has beyond what the last fold left of it; `user_left`
    /// when its last user has left.
    pub(super) fn is_due(
        &self,
        id: &DocumentId,
        record: &DocumentRecord,
        kept: Left,
        user_left: bool,
    ) -> bool {
        // A tail that has shrunk is not the one that was looked at.
        let kept = if record.tail_count < kept.count { Left::default() } else { kept };
        let many = match id.format() {
            Format::Yjs => self.tail_operations_yjs,
            Format::Automerge => self.tail_operations_automerge,
        };
        let bytes = record.tail_bytes.saturating_sub(kept.bytes);
        let count = record.tail_count.saturating_sub(kept.count);
        bytes >= self.tail_bytes_min.max(record.snapshot_bytes).max(kept.bytes)
            || count >= many.max(kept.count)
            || (user_left && count > self.tail_operations_left.max(kept.count))
    }
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
        let policy = CompactionPolicy::default();
        let due = |record: &DocumentRecord, count, bytes, left| {
            policy.is_due(&id, record, Left { count, bytes }, left)
        };
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
