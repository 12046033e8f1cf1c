//! Whether an Automerge document that is being fetched has come.

use automerge::{ChangeHash, ReadDoc};

use super::AutomergeDocument;
use crate::replica::error::ReplicaError;

impl AutomergeDocument {
    /// Whether it has all that it had at these heads, one behind the other.
    pub(in crate::replica) fn has_heads(&self, heads: &[u8]) -> Result<bool, ReplicaError> {
        let (heads, rest) = heads.as_chunks::<32>();
        let has = |head: &[u8; 32], doc: &automerge::Automerge| {
            doc.get_change_by_hash(&ChangeHash(*head)).is_some()
        };
        Ok(rest.is_empty() && self.read(|doc| heads.iter().all(|head| has(head, doc)))?)
    }

    /// Waits until everything that was appended before is fsynced.
    pub(in crate::replica) fn settle(&self) -> Result<(), ReplicaError> {
        self.open.settle()
    }
}
