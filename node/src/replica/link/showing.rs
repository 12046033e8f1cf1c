//! What is shown of presence over one link: the newest of each document, when there is room for it.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_core::id::DocumentId;
use tombolo_core::session::Session;
use tombolo_core::validate::AwarenessUpdate;

/// While more bytes wait to be sent, presence waits for the newest: an old cursor is of use for nobody.
const QUEUED_BYTES_MAX: usize = 4 * 1024;

/// What is to be shown, one word for each document: this replica has one client in each.
#[derive(Default)]
pub(super) struct Showing(BTreeMap<DocumentId, Bytes>);

impl Showing {
    pub(super) fn put(&mut self, document: DocumentId, update: &AwarenessUpdate) {
        self.0.insert(document, update.encode().into());
    }

    /// Shows what waits, where the document is open; elsewhere it is shown when it is.
    pub(super) fn show(&mut self, session: &mut Session, queued_bytes: usize) {
        if queued_bytes <= QUEUED_BYTES_MAX {
            for (document, update) in std::mem::take(&mut self.0) {
                session.show(&document, &update);
            }
        }
    }
}
