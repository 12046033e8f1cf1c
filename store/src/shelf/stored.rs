//! What a shelf keeps of one document, as it is handed in and out.

use bytes::Bytes;
use tombolo_core::operation::Operation;

use super::document::DocumentRecord;

/// Everything stored of a document: the snapshot and the payloads behind it, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The folded state; none until the first fold.
    pub snapshot: Option<Bytes>,
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
    /// Operations since.
    pub tail: Vec<Operation>,
}

impl Stored {
    /// Deletes it; what is known of it stays.
    pub(crate) fn delete(&mut self, at_ms: u64) {
        self.record.delete(at_ms);
        (self.snapshot, self.tail) = (None, Vec::new());
    }

    /// Its content without names.
    #[must_use]
    pub fn into_contents(self) -> Contents {
        let tail = self.tail.into_iter().map(|operation| operation.payload).collect();
        Contents { snapshot: self.snapshot, tail }
    }
}
