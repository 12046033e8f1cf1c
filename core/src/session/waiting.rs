//! What somebody waits for: that all there was at one moment has arrived, whatever has happened since.

use std::collections::BTreeMap;

use super::effect::Token;
use super::machine::Session;
use super::standing::Lag;
use crate::dialect::replica::Identity;
use crate::id::DocumentId;
use crate::time::Millis;

/// Whether something that came through this opening up to a token is on its way to the disk here.
pub(super) fn is_bringing(
    bringing: &BTreeMap<Token, (DocumentId, u64)>,
    id: &DocumentId,
    opening: u64,
    until: Token,
) -> bool {
    bringing.range(..=until).any(|(_, (of, through))| of == id && *through == opening)
}

impl Session {
    /// Everything that is here up to this position is fsynced at the other end, and what was there when the connection
    /// began, or was heard before the last of it was acknowledged, is here; what is parked is left out. Unlike
    /// [`Session::is_in_sync`] it comes to pass while others edit on and on. 0 without a keeper.
    #[must_use]
    pub fn settled(&self) -> u64 {
        let Some(Identity { keeps: Some(_), lists, .. }) = self.peer else { return 0 };
        let waits = self.adding || self.look || self.held() > 0 || !self.queue.is_empty();
        if waits || (lists && !self.listing.was_reached()) {
            return 0;
        }
        let mut settled = self.latest;
        for entry in self.restless.iter().filter_map(|id| self.documents.get(id)) {
            match entry.standing(Some(true), &self.clock).lag {
                None | Some(Lag::Parked { .. } | Lag::Dropped { .. }) => {}
                Some(Lag::Storing | Lag::Unacknowledged) if entry.caught_up => {
                    if entry.last > entry.settled {
                        settled = settled.min(entry.settled);
                    }
                }
                Some(_) => return 0,
            }
        }
        settled
    }

    /// What is acknowledged counts when all that was heard before is durable here; not what is heard on and on.
    pub(super) fn advance(&mut self, id: &DocumentId) {
        let Some(entry) = self.documents.get_mut(id) else { return };
        let (opening, heard) = (entry.opening, Token(self.next_token.saturating_sub(1)));
        let is_here = |settles: &mut (u64, Token)| !is_bringing(&self.bringing, id, opening, settles.1);
        if entry.bringing == 0 {
            (entry.settled, entry.settles) = (entry.acknowledged, None);
        } else if let Some((position, _)) = entry.settles.take_if(is_here) {
            entry.settled = position;
        }
        if entry.bringing > 0 && entry.settles.is_none() && entry.settled < entry.acknowledged {
            entry.settles = Some((entry.acknowledged, heard));
        }
    }

    /// Somebody waits: whether what came from there is on the disk there is asked now.
    pub fn hurry(&mut self, now: Millis) {
        let now = self.clock.tell(now);
        for id in &self.restless {
            if let Some(confirm) = self.documents.get_mut(id).and_then(|entry| entry.confirm.as_mut()) {
                *confirm = now;
            }
        }
    }
}
