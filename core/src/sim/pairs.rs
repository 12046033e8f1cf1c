//! The pairwise end of an archive: an Automerge document for all who sync it, and what they are told.
//!
//! As `node/src/archive/automerge.rs` does: a reply leaves when everything that the document had when it was made is
//! durable; a burst of messages costs one; what is not stored ends the session for everybody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::archive::Archive;
use super::log::Content;
use crate::dialect::replica::Outcome;
use crate::engine::automerge::Session;
use crate::id::DocumentId;

struct Open {
    session: Session,
    peers: BTreeSet<u64>,
}

#[derive(Debug)]
struct Reply {
    /// The log must be durable up to here.
    until: u64,
    messages: Vec<(u64, Bytes)>,
}

/// Open documents, and replies that wait for the disk.
#[derive(Default)]
pub(super) struct Pairs {
    open: BTreeMap<DocumentId, Open>,
    replies: VecDeque<Reply>,
    /// Replies to these are made soon.
    due: BTreeSet<DocumentId>,
}

impl Pairs {
    pub(super) fn is_waited_for(&self) -> bool {
        !self.replies.is_empty()
    }
}

/// Why a session is over, and for whom.
pub(super) type Over = (BTreeSet<u64>, Outcome);

impl Archive {
    /// Takes a message of somebody; whether a reply is to be made, and is not awaited yet.
    ///
    /// # Errors
    /// [`Over`].
    pub(super) fn hear(&mut self, document: &DocumentId, peer: u64, message: &[u8]) -> Result<bool, Over> {
        let only = |outcome| (BTreeSet::from([peer]), outcome);
        if !self.pairs.open.contains_key(document) {
            if self.is_troubled {
                return Err(only(Outcome::TROUBLE));
            }
            let chunks = self.log.taken(document).map(|kept| kept.chunks.clone()).unwrap_or_default();
            let session = Session::open(&chunks).map_err(|_| only(Outcome::DAMAGED))?;
            self.pairs.open.insert(document.clone(), Open { session, peers: BTreeSet::new() });
        }
        let Some(open) = self.pairs.open.get_mut(document) else { return Ok(false) };
        if open.peers.insert(peer) {
            open.session.join(peer);
        }
        let changes = open.session.receive(peer, message).map_err(|_| only(Outcome::TROUBLE))?.changes;
        if !changes.is_empty() {
            let refusal = match self.is_troubled {
                true => Some(Outcome::TROUBLE),
                false => (self.is_full && self.log.taken(document).is_none()).then_some(Outcome::NO_ROOM),
            };
            let content = Content::automerge(changes).map_err(|_| only(Outcome::TROUBLE))?;
            if let Some(outcome) = refusal {
                // The session has what the store has not: nothing it would say is true.
                let open = self.pairs.open.remove(document);
                return Err((open.map(|open| open.peers).unwrap_or_default(), outcome));
            }
            self.log.append(document, content);
        }
        Ok(self.pairs.due.insert(document.clone()))
    }

    /// Makes the replies that are due; they leave when all they speak of is durable.
    pub(super) fn reply(&mut self, document: &DocumentId) {
        self.pairs.due.remove(document);
        let Some(open) = self.pairs.open.get_mut(document) else { return };
        let reply = Reply { until: self.log.end(), messages: open.session.generate() };
        self.pairs.replies.push_back(reply);
    }

    /// Replies that may leave, in order.
    pub(super) fn replies(&mut self) -> Vec<(u64, Bytes)> {
        let durable = self.log.durable();
        let replies = &mut self.pairs.replies;
        let ready = replies.iter().take_while(|reply| reply.until <= durable).count();
        replies.drain(..ready).flat_map(|reply| reply.messages).collect()
    }

    /// Somebody is gone.
    pub(super) fn hush(&mut self, document: &DocumentId, peer: u64) {
        let Some(open) = self.pairs.open.get_mut(document) else { return };
        open.peers.remove(&peer);
        if open.session.leave(peer) {
            self.pairs.open.remove(document);
        }
    }
}
