//! What somebody waits for: that all there was at one moment has arrived, whatever has happened since.

use super::machine::Session;
use super::standing::Lag;
use crate::dialect::replica::Identity;
use crate::time::Millis;

impl Session {
    /// Everything that is here up to this position is fsynced at the other end, and what was there when the connection
    /// began is here; what is parked is left out. Unlike [`Session::is_in_sync`] it comes to pass while others edit on and
    /// on. 0 without a keeper.
    #[must_use]
    pub fn settled(&self) -> u64 {
        let Some(Identity { keeps: Some(_), lists }) = self.peer else { return 0 };
        let waits = self.adding || self.look || self.held() > 0 || !self.queue.is_empty();
        if waits || (lists && !self.listing.was_reached()) {
            return 0;
        }
        let mut settled = self.latest;
        for entry in self.restless.iter().filter_map(|id| self.documents.get(id)) {
            match entry.standing(Some(true), &self.clock).lag {
                None | Some(Lag::Parked { .. }) => {}
                Some(Lag::Storing | Lag::Unacknowledged) if entry.caught_up => {
                    if entry.last > entry.acknowledged {
                        settled = settled.min(entry.acknowledged);
                    }
                }
                Some(_) => return 0,
            }
        }
        settled
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
