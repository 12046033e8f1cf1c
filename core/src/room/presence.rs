//! Presence: the newest awareness entry of each client, who brought it, and goodbyes for the vanished.
//!
//! Stock clients send every entry that they hear of back to the server, so an entry is forwarded only if it
//! is newer than the known one, and it belongs to the connection that brought the newest clock.

use std::collections::BTreeMap;

use crate::limits::AWARENESS_OWNED_MAX;
use crate::validate::{AwarenessEntry, AwarenessUpdate};

use super::effect::{MemberId, Violation};

/// Entries kept in all; past it the gone ones are forgotten.
const ENTRIES_MAX: usize = 8192;

#[derive(Debug)]
struct Known {
    entry: AwarenessEntry,
    owner: Option<MemberId>,
}

/// The presence of one room.
#[derive(Debug, Default)]
pub(super) struct Presence {
    clients: BTreeMap<u64, Known>,
    owned: BTreeMap<MemberId, usize>,
}

impl Presence {
    /// Takes what `member` says; gives back only what is news to the room.
    pub(super) fn observe(
        &mut self,
        member: MemberId,
        update: AwarenessUpdate,
    ) -> Result<Option<AwarenessUpdate>, Violation> {
        let mut news = Vec::new();
        for entry in update.entries {
            if self.is_news(&entry) {
                self.take(member, entry.clone())?;
                news.push(entry);
            }
        }
        if self.clients.len() > ENTRIES_MAX {
            self.clients.retain(|_, known| known.entry.state.is_some());
        }
        Ok((!news.is_empty()).then_some(AwarenessUpdate { entries: news }))
    }

    /// Everybody present, for who just came.
    pub(super) fn snapshot(&self) -> Option<AwarenessUpdate> {
        let present = self.clients.values().filter(|known| known.entry.state.is_some());
        let entries: Vec<_> = present.map(|known| known.entry.clone()).collect();
        (!entries.is_empty()).then_some(AwarenessUpdate { entries })
    }

    /// Forgets a member; gives back the goodbyes that it can no longer say itself.
    pub(super) fn leave(&mut self, member: MemberId) -> Option<AwarenessUpdate> {
        self.owned.remove(&member);
        let mut goodbyes = Vec::new();
        for known in self.clients.values_mut().filter(|known| known.owner == Some(member)) {
            known.owner = None;
            if known.entry.state.take().is_some() {
                goodbyes.push(known.entry.clone());
            }
        }
        (!goodbyes.is_empty()).then_some(AwarenessUpdate { entries: goodbyes })
    }

    fn is_news(&self, entry: &AwarenessEntry) -> bool {
        match self.clients.get(&entry.client) {
            None => entry.state.is_some(),
            Some(known) if entry.clock > known.entry.clock => true,
            Some(known) => {
                entry.clock == known.entry.clock && entry.state.is_none() && known.entry.state.is_some()
            }
        }
    }

    fn take(&mut self, member: MemberId, entry: AwarenessEntry) -> Result<(), Violation> {
        let old_owner = self.clients.get(&entry.client).and_then(|known| known.owner);
        if old_owner != Some(member) {
            let owned = self.owned.entry(member).or_default();
            if *owned >= AWARENESS_OWNED_MAX {
                return Err(Violation::TooManyAwarenessClients { max: AWARENESS_OWNED_MAX });
            }
            *owned += 1;
            if let Some(count) = old_owner.and_then(|old| self.owned.get_mut(&old)) {
                *count = count.saturating_sub(1);
            }
        }
        self.clients.insert(entry.client, Known { entry, owner: Some(member) });
        Ok(())
    }
}
