//! How much of a replica's document has arrived at a peer, by positions among the replica's changes.
//!
//! Guarantees: a position counts only once the peer said that it has all that the document had when it was looked at
//! behind that position. What waits for its ground is sent to nobody before that has come, so meanwhile nothing new counts.

use super::{Live, SyncState};

/// What has arrived at one peer, for one connection.
#[derive(Debug, Default)]
pub struct Arrived {
    /// The heads that the document had behind a position; who makes changes all the time never has them at rest.
    mark: Option<(u64, Vec<[u8; 32]>)>,
    position: u64,
}

impl Arrived {
    /// Looks at the document, in which is everything up to `position`; gives the last position that counts.
    pub fn look(&mut self, live: &Live, peer: &SyncState, position: u64) -> u64 {
        if live.compare(peer).is_heard {
            self.take(live, peer);
            if self.mark.is_none() {
                self.mark = live.heads_of_all().map(|heads| (position, heads));
                self.take(live, peer);
            }
        }
        self.position
    }

    fn take(&mut self, live: &Live, peer: &SyncState) {
        if let Some((position, _)) = self.mark.take_if(|(_, heads)| live.is_there(peer, heads)) {
            self.position = self.position.max(position);
        }
    }
}
