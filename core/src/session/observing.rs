//! What can be seen of a session: how documents stand, and how far all of them do.

use super::machine::Session;
use super::standing::{Lag, Standing};
use crate::dialect::replica::Identity;
use crate::id::DocumentId;

impl Session {
    /// Who is at the other end, while there is a connection.
    #[must_use]
    pub fn peer(&self) -> Option<&Identity> {
        self.peer.as_ref()
    }

    /// Whether a document is kept in sync.
    #[must_use]
    pub fn has(&self, document: &DocumentId) -> bool {
        self.documents.contains_key(document)
    }

    /// How a document stands; none if it is not kept in sync.
    #[must_use]
    pub fn standing(&self, document: &DocumentId) -> Option<Standing> {
        let keeps = self.peer.as_ref().map(|peer| peer.keeps.is_some());
        Some(self.documents.get(document)?.standing(keeps, &self.clock))
    }

    /// Those that are not in sync, and how they stand.
    pub fn lagging(&self) -> impl Iterator<Item = (&DocumentId, Standing)> + '_ {
        let keeps = self.peer.as_ref().map(|peer| peer.keeps.is_some());
        self.restless
            .iter()
            .chain(self.queue.iter())
            .chain(self.held_documents())
            .filter_map(|id| self.documents.get_key_value(id))
            .map(move |(id, document)| (id, document.standing(keeps, &self.clock)))
            .filter(|(_, standing)| standing.lag.is_some())
    }

    /// How many there are of [`Session::lagging`], without a look at what waits for a place.
    #[must_use]
    pub fn lagging_count(&self) -> usize {
        let keeps = self.peer.as_ref().map(|peer| peer.keeps.is_some());
        let lags = |id: &&DocumentId| {
            self.documents.get(*id).is_some_and(|entry| entry.standing(keeps, &self.clock).lag.is_some())
        };
        self.restless.iter().filter(lags).count() + self.queue.len() + self.held()
    }

    /// Whether both sides have all of each other that they can have for now: what is parked is left out, and where
    /// nobody keeps anything, what was sent counts.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.held() == 0 && self.is_settled_but(|_| false)
    }

    /// The same, whatever is left out.
    pub(super) fn is_settled_but(&self, is_left_out: impl Fn(&DocumentId) -> bool) -> bool {
        let Some(peer) = &self.peer else { return false };
        let is_settled = |id: &DocumentId| {
            let lag = self.standing(id).and_then(|standing| standing.lag);
            matches!(lag, None | Some(Lag::Parked { .. } | Lag::Dropped { .. } | Lag::Unkept))
        };
        !self.look
            && !self.adding
            && self.queue.is_empty()
            && self.bringing.is_empty()
            && (!peer.lists || self.has_what_was_listed(is_left_out))
            && self.restless.iter().all(is_settled)
    }

    /// Everything of this replica up to this position is fsynced at the other end; of another incarnation nothing is.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        let unacknowledged = self.restless.iter().filter_map(|id| self.documents.get(id));
        let first = unacknowledged
            .filter(|document| document.last > document.acknowledged)
            .map(|document| document.acknowledged)
            .min();
        let queued = (!self.queue.is_empty()).then_some(self.queue_floor);
        first.into_iter().chain(queued).chain(self.held_floor()).min().unwrap_or(self.latest)
    }
}
