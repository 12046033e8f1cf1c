//! What is parked and given up by decision: it counts as acknowledged as it is, and stays here.
//!
//! Guarantee: it is named until it is edited again or tried once more, and nobody takes it for stored there.

use super::machine::Session;
use super::standing::Refusal;
use crate::dialect::replica::Outcome;
use crate::id::DocumentId;

/// Why what was dropped had been parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Why.
    pub outcome: Outcome,
    /// The same for people.
    pub reason: String,
    /// What the other end has may be read on.
    pub may_read: bool,
}

impl Session {
    /// Gives up what is parked of a document, as it is now; none if nothing is. Keep what it gives back for
    /// [`Session::remember_dropped`], before what it makes of [`Effect::Acknowledged`](super::Effect::Acknowledged).
    pub fn drop_parked(&mut self, document: &DocumentId) -> Option<Dropped> {
        let entry = self.documents.get_mut(document)?;
        let refusal =
            entry.refusal.as_ref().filter(|refusal| refusal.again.is_none() && entry.dropped.is_none())?;
        let Refusal { outcome, reason, may_read, .. } = refusal.clone();
        let dropped = Dropped { outcome, reason, may_read };
        entry.dropped = Some(dropped.clone());
        entry.acknowledged = entry.last;
        self.tell_acknowledged();
        Some(dropped)
    }

    /// This document was dropped in an earlier session, and has not been edited before what was acknowledged then. To be
    /// called behind [`Session::remember`] and before any document is added.
    pub fn remember_dropped(&mut self, document: &DocumentId, dropped: Dropped) {
        let known = self.known.as_ref().map_or(0, |known| known.acknowledged);
        let entry = self.documents.entry(document.clone()).or_default();
        (entry.last, entry.acknowledged) = (known, known);
        let Dropped { outcome, reason, may_read } = dropped.clone();
        entry.refusal = Some(Refusal { outcome, reason, attempts: 1, again: None, may_read });
        entry.dropped = Some(dropped);
        self.restless.insert(document.clone());
    }
}
