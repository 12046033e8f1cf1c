//! Brings changes into an Automerge document as a sync peer would: to the others in the session it is one of them.
//!
//! The answer to its message leaves the archive only after the fsync that covers its changes, as for any client.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};

use bytes::Bytes;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_core::validate::validate_sync_message;
use tombolo_core::wire::lib0::write_var_bytes;
use tombolo_relay::member::{Archive, PairwisePort};
use tombolo_store::worker::Request;

use super::desk::Desk;
use super::entrance::{PATIENCE, unknown};
use super::protocol::{Code, Failure};
use crate::archive::StoreArchive;

pub(super) fn bring_changes(
    desk: &Desk,
    archive: &StoreArchive,
    id: &DocumentId,
    changes: &Bytes,
) -> Result<(), Failure> {
    let message = sync_message(changes);
    validate_sync_message(&message).map_err(|error| Failure::unfit(error.to_string()))?;
    check_complete(desk, id, changes)?;
    // Room for the first answer, which is the one that counts.
    let (verdict, heard) = sync_channel(1);
    let visitor = Arc::new(Visitor { document: id.clone(), verdict });
    let pairwise = archive.pairwise();
    let peer = pairwise.join(visitor);
    pairwise.receive(peer, id.clone(), message, false);
    let verdict = heard.recv_timeout(PATIENCE);
    pairwise.leave(peer);
    match verdict {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => {
            Err(Failure::new(Code::Refused, format!("document {id} was not stored: {reason}")))
        }
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(unknown(id)),
    }
}

/// Refuses changes that lean on others which neither the document nor the file has: a session would keep them in
/// memory only.
pub(super) fn check_complete(desk: &Desk, id: &DocumentId, changes: &Bytes) -> Result<(), Failure> {
    let mut parts = match desk.store.describe(id)? {
        Some(_) => desk.contents(id)?,
        None => Vec::new(),
    };
    parts.push(changes.clone());
    desk.ask(Request::Compact { kind: Kind::AutomergeChanges, parts }).map(|_| ())
}

/// A message with changes and nothing else: no heads, no needs, no filter.
fn sync_message(changes: &[u8]) -> Bytes {
    let mut message = vec![0x42, 0, 0, 0, 1];
    // Below 2^53 these are LEB128, too.
    write_var_bytes(&mut message, changes);
    message.into()
}

struct Visitor {
    document: DocumentId,
    verdict: SyncSender<Result<(), String>>,
}

impl Visitor {
    fn say(&self, verdict: Result<(), String>) {
        // After the first nobody listens.
        let _ = self.verdict.try_send(verdict);
    }
}

impl PairwisePort for Visitor {
    fn sync(&self, document: &DocumentId, _: Bytes) {
        if *document == self.document {
            self.say(Ok(()));
        }
    }

    fn unavailable(&self, _: &DocumentId) {
        self.say(Err("it was deleted, the disk is full, or these changes were set aside".to_owned()));
    }

    fn refuse(&self, reason: &str) {
        self.say(Err(reason.to_owned()));
    }
}
