//! Whom to ask about which room. A peer that comes is asked about every room, so questions go out a few at a time; who
//! does not answer is asked again, behind the others.

use std::collections::btree_map::Entry;
use std::collections::{BTreeSet, VecDeque};

use super::envelope::{ToPeer, Who};
use super::machine::Cluster;
use crate::id::{DocumentId, PeerId};
use crate::time::Millis;

/// Most questions to single peers that wait for an answer.
const OUTSTANDING_MAX: usize = 256;

/// Questions, besides what each room knows of its own.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// In turn. Some may have been answered in another way.
    waiting: VecDeque<(DocumentId, PeerId)>,
    /// Asked, and when again.
    due: BTreeSet<(Millis, DocumentId, PeerId)>,
}

impl Asks {
    /// When somebody must be asked again.
    pub(super) fn next(&self) -> Option<Millis> {
        self.due.first().map(|(at, ..)| *at)
    }

    /// Forgets a question.
    pub(super) fn forget(&mut self, document: &DocumentId, peer: PeerId, due: Option<Millis>) {
        if let Some(at) = due {
            self.due.remove(&(at, document.clone(), peer));
        }
    }
}

impl Cluster {
    /// Everybody was asked about a room that has just opened.
    pub(super) fn await_everybody(&mut self, now: Millis, document: &DocumentId) {
        let Some(room) = self.rooms.get_mut(document) else { return };
        let again = now.plus(self.timing.ask);
        for peer in self.peers.keys() {
            room.unanswered.insert(*peer, Some(again));
            self.asks.due.insert((again, document.clone(), *peer));
        }
    }

    /// A peer is to be asked about a room if it has not answered by itself before long.
    pub(super) fn await_one(&mut self, now: Millis, document: &DocumentId, peer: PeerId) {
        let Some(room) = self.rooms.get_mut(document) else { return };
        let again = now.plus(self.timing.ask);
        if let Entry::Vacant(unanswered) = room.unanswered.entry(peer) {
            unanswered.insert(Some(again));
            self.asks.due.insert((again, document.clone(), peer));
        }
    }

    /// A peer is to be asked about a room, if that is not under way.
    pub(super) fn want(&mut self, now: Millis, document: &DocumentId, peer: PeerId) {
        let Some(room) = self.rooms.get_mut(document) else { return };
        if let Entry::Vacant(unanswered) = room.unanswered.entry(peer) {
            unanswered.insert(None);
            self.asks.waiting.push_back((document.clone(), peer));
            self.ask(now);
        }
    }

    /// It is known whether a peer has a room open.
    pub(super) fn answered(&mut self, now: Millis, document: &DocumentId, peer: PeerId) {
        let Some(room) = self.rooms.get_mut(document) else { return };
        if let Some(due) = room.unanswered.remove(&peer) {
            self.asks.forget(document, peer, due);
            self.end_call(document);
            self.ask(now);
        }
    }

    /// Time has passed.
    pub(super) fn ask_again(&mut self, now: Millis) {
        while let Some((at, document, peer)) = self.asks.due.pop_first() {
            if at > now {
                self.asks.due.insert((at, document, peer));
                break;
            }
            if let Some(asked) = self.rooms.get_mut(&document).and_then(|room| room.unanswered.get_mut(&peer))
            {
                *asked = None;
                self.asks.waiting.push_back((document, peer));
            }
        }
        self.ask(now);
    }

    /// Asks the next ones.
    fn ask(&mut self, now: Millis) {
        let again = now.plus(self.timing.ask);
        while self.asks.due.len() < OUTSTANDING_MAX
            && let Some((document, peer)) = self.asks.waiting.pop_front()
        {
            let Some(room) = self.rooms.get_mut(&document) else { continue };
            let opening = room.opening;
            let Some(asked @ None) = room.unanswered.get_mut(&peer) else { continue };
            *asked = Some(again);
            self.asks.due.insert((again, document.clone(), peer));
            self.note_to_peer(peer, &ToPeer::Who(Who { document, opening }));
        }
    }
}
