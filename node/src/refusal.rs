//! What a client is told of the store's refusals.

use tombolo_core::room::StoreRefused;
use tombolo_store::{AppendError, StoreError};

/// By who must act.
pub(crate) fn refusal(error: &AppendError) -> StoreRefused {
    match error {
        AppendError::NoRoom { .. } => StoreRefused::NoRoom,
        AppendError::Deleted { .. } => StoreRefused::Deleted,
        AppendError::Quarantined { .. } => StoreRefused::Quarantined,
        AppendError::Stuck { .. } => StoreRefused::Damaged,
        // Too much at once, a failing disk.
        _ => StoreRefused::Trouble,
    }
}

/// As [`refusal`], of a document that cannot be read.
pub(crate) fn unreadable(error: &StoreError) -> StoreRefused {
    match error {
        StoreError::Deleted { .. } => StoreRefused::Deleted,
        error if error.is_of_document() => StoreRefused::Damaged,
        // The disk, the engine, the end of the server.
        _ => StoreRefused::Trouble,
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::id::DocumentId;

    use super::*;

    #[test]
    fn each_refusal_says_who_must_act() {
        let document = || DocumentId::yjs("d").unwrap();
        let rows = [
            (AppendError::NoRoom { document: document(), used_percent: 91 }, StoreRefused::NoRoom),
            (AppendError::Deleted { document: document() }, StoreRefused::Deleted),
            (AppendError::Quarantined { document: document() }, StoreRefused::Quarantined),
            (AppendError::Overloaded { document: document(), queued: 1 }, StoreRefused::Trouble),
            (AppendError::Stuck { document: document(), reason: String::new() }, StoreRefused::Damaged),
            (AppendError::TooLarge { document: document(), bytes: 2, max: 1 }, StoreRefused::Trouble),
        ];
        for (error, told) in rows {
            assert_eq!(refusal(&error), told, "{error}");
        }
    }
}
