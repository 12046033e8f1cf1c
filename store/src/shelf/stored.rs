//! What a shelf keeps of one document, as it is handed in and out.

use bytes::Bytes;
use tombolo_core::operation::Operation;
use tombolo_core::update::Outline;

use super::document::DocumentRecord;

/// Everything stored of a document: the snapshot and the payloads behind it, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The folded state; none until the first fold.
    pub snapshot: Option<Bytes>,
    /// Where its structs lie, if that was noted: of a Yjs document that was folded since there are outlines.
    pub outline: Option<Outline>,
    /// Payloads since.
    pub tail: Vec<Bytes>,
}

/// What tells which changes a Yjs document holds, without its structs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Where the structs of the snapshot lie.
    pub outline: Outline,
    /// Its deletes: its bytes from [`Outline::deletes_at`] on.
    pub deletes: Bytes,
    /// Payloads since.
    pub tail: Vec<Bytes>,
}

/// A document with its operations by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// What is known of it.
    pub record: DocumentRecord,
    /// The folded state; none until the first fold.
    pub snapshot: Option<Bytes>,
    /// Where its structs lie, if that was noted: of a Yjs document that was folded since there are outlines.
    pub outline: Option<Outline>,
    /// Operations since.
    pub tail: Vec<Operation>,
}

impl Stored {
    /// Deletes it; what is known of it stays.
    pub(crate) fn delete(&mut self, at_ms: u64) {
        self.record.delete(at_ms);
        (self.snapshot, self.outline, self.tail) = (None, None, Vec::new());
    }

    /// Its content without names.
    #[must_use]
    pub fn into_contents(self) -> Contents {
        let tail = self.tail.into_iter().map(|operation| operation.payload).collect();
        Contents { snapshot: self.snapshot, outline: self.outline, tail }
    }
}
