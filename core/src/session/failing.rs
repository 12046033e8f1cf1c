//! What cannot be read here.

use super::machine::Session;
use crate::dialect::replica::Outcome;
use crate::id::DocumentId;
use crate::time::Millis;

/// What was asked for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// [`Effect::Describe`](super::Effect::Describe).
    Describe,
    /// [`Effect::Read`](super::Effect::Read).
    Read,
}

impl Session {
    /// What was asked for of a document cannot be read now: it stands with what is not known to be there, is shut, and
    /// tried again.
    pub fn failed(&mut self, now: Millis, document: &DocumentId, failed: Failed, reason: String) {
        let now = self.clock.tell(now);
        let Some(entry) = self.documents.get_mut(document) else { return };
        match failed {
            Failed::Read => entry.unread(),
            Failed::Describe => {
                entry.described();
            }
        }
        if entry.handle.is_none() {
            return;
        }
        entry.refuse(now, Outcome::TROUBLE, reason);
        self.shut(document);
        self.look();
    }
}
