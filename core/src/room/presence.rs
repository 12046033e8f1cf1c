//! Presence: the newest awareness entry of each client, who brought it, and goodbyes for the vanished.
//!
//! Stock clients send every entry that they hear of back to the server, so an entry is forwarded only if it
//! is newer than the known one, and it belongs to the connection that brought the newest clock.
//! Each change has a number, so that whoever missed some can be shown what they came to.

use std::collections::BTreeMap;

use crate::limits::{
    AWARENESS_ENTRIES_MAX, AWARENESS_OWNED_BYTES_MAX, AWARENESS_OWNED_MAX, AWARENESS_ROOM_BYTES_MAX,
    AWARENESS_ROOM_MAX,
};
use crate::validate::{AwarenessEntry, AwarenessUpdate};

use crate::id::PeerId;

use super::effect::{MemberId, Violation};

/// Who brought an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// A member, who may show so much and no more.
    Member(MemberId),
    /// A peer, for its members.
    Peer(PeerId),
}

/// What one member may show of presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceLimits {
    /// Most awareness clients that it owns.
    pub clients_max: usize,
    /// Most bytes of their states together.
    pub bytes_max: usize,
}

impl Default for PresenceLimits {
    fn default() -> Self {
        Self { clients_max: AWARENESS_OWNED_MAX, bytes_max: AWARENESS_OWNED_BYTES_MAX }
    }
}

#[derive(Debug)]
struct Known {
    entry: AwarenessEntry,
    owner: Option<Owner>,
    /// The change that brought it.
    change: u64,
}

impl Known {
    fn bytes(&self) -> usize {
        bytes_of(&self.entry)
    }
}

fn bytes_of(entry: &AwarenessEntry) -> usize {
    entry.state.as_ref().map_or(0, |state| state.len())
}

#[derive(Clone, Copy, Debug, Default)]
struct Owned {
    clients: usize,
    bytes: usize,
}

impl Owned {
    /// One of them is no more.
    fn less(&mut self, bytes: usize) {
        self.clients = self.clients.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The presence of one room.
#[derive(Debug, Default)]
pub(super) struct Presence {
    limits: PresenceLimits,
    clients: BTreeMap<u64, Known>,
    /// Those of them that are gone, by the change that said so: what was said of them before may still come.
    gone: BTreeMap<u64, u64>,
    /// Of all states.
    bytes: usize,
    /// Of members; a peer counts those of its own.
    owned: BTreeMap<MemberId, Owned>,
    changes: u64,
}

impl Presence {
    pub(super) fn new(limits: PresenceLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// How many changes there were.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// What all changes after the first so many came to.
    pub(super) fn since(&self, changes: u64) -> impl Iterator<Item = AwarenessUpdate> + use<> {
        let newer = self.clients.values().filter(|known| known.change > changes);
        let mut entries: Vec<_> = newer.map(|known| known.entry.clone()).collect();
        std::iter::from_fn(move || {
            let next = entries.split_off(entries.len().saturating_sub(AWARENESS_ENTRIES_MAX));
            (!next.is_empty()).then_some(AwarenessUpdate { entries: next })
        })
    }

    /// Takes what `owner` says; a peer breaks no rule. Gives back only what is news to the room.
    pub(super) fn observe(
        &mut self,
        owner: Owner,
        update: AwarenessUpdate,
    ) -> Result<Option<AwarenessUpdate>, Violation> {
        let mut news = Vec::new();
        for entry in update.entries {
            let is_news = self.is_news(&entry);
            // A goodbye may come before what it ends.
            let is_early = matches!(owner, Owner::Peer(_)) && !self.clients.contains_key(&entry.client);
            if (is_news || is_early) && self.has_room_for(&entry) {
                self.take(owner, entry.clone())?;
                news.extend(is_news.then_some(entry));
            }
        }
        Ok((!news.is_empty()).then_some(AwarenessUpdate { entries: news }))
    }

    /// Everybody present, for who just came.
    pub(super) fn snapshot(&self) -> Option<AwarenessUpdate> {
        self.present(|_| true)
    }

    /// Everybody present here, for a peer.
    pub(super) fn of_members(&self) -> Option<AwarenessUpdate> {
        self.present(|owner| matches!(owner, Some(Owner::Member(_))))
    }

    fn present(&self, of: impl Fn(Option<Owner>) -> bool) -> Option<AwarenessUpdate> {
        let present = self.clients.values().filter(|known| known.entry.state.is_some() && of(known.owner));
        let entries: Vec<_> = present.map(|known| known.entry.clone()).collect();
        (!entries.is_empty()).then_some(AwarenessUpdate { entries })
    }

    /// Forgets an owner; gives back the goodbyes that it can no longer say itself.
    pub(super) fn leave(&mut self, owner: Owner) -> Option<AwarenessUpdate> {
        if let Owner::Member(member) = owner {
            self.owned.remove(&member);
        }
        self.end(owner, u64::MAX)
    }

    /// Ends what an owner has shown up to this change, and not renewed since.
    pub(super) fn end(&mut self, owner: Owner, change: u64) -> Option<AwarenessUpdate> {
        let mut goodbyes = Vec::new();
        let mut gone = Vec::new();
        let of_owner =
            self.clients.values_mut().filter(|known| known.owner == Some(owner) && known.change <= change);
        for known in of_owner {
            known.owner = None;
            self.bytes = self.bytes.saturating_sub(known.bytes());
            if known.entry.state.take().is_some() {
                self.changes += 1;
                known.change = self.changes;
                gone.push((self.changes, known.entry.client));
                goodbyes.push(known.entry.clone());
            }
        }
        self.gone.extend(gone);
        self.forget_the_oldest();
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

    /// Past the limit nobody else is shown. Who is gone takes no place of others.
    fn has_room_for(&self, entry: &AwarenessEntry) -> bool {
        let old = self.clients.get(&entry.client);
        let is_shown = old.is_some_and(|old| old.entry.state.is_some());
        let shown = self.clients.len().saturating_sub(self.gone.len());
        let bytes = self.bytes.saturating_sub(old.map_or(0, Known::bytes)) + bytes_of(entry);
        entry.state.is_none() || (is_shown || shown < AWARENESS_ROOM_MAX) && bytes <= AWARENESS_ROOM_BYTES_MAX
    }

    /// As many are known to be gone as may be here.
    fn forget_the_oldest(&mut self) {
        while self.gone.len() > AWARENESS_ROOM_MAX {
            if let Some((_, client)) = self.gone.pop_first() {
                self.clients.remove(&client);
            }
        }
    }

    fn take(&mut self, by: Owner, entry: AwarenessEntry) -> Result<(), Violation> {
        let old = self.clients.get(&entry.client);
        let old_bytes = old.map_or(0, Known::bytes);
        let old_change = old.map(|old| old.change);
        let old_owner = old.and_then(|old| old.owner);
        // Who is gone is nobody's any more.
        let owner = entry.state.is_some().then_some(by);
        if let Some(Owner::Member(member)) = owner {
            let old_bytes = (old_owner == owner).then_some(old_bytes);
            let owned = self.owned_with(member, old_bytes, &entry)?;
            self.owned.insert(member, owned);
        }
        if let Some(Owner::Member(old_owner)) = old_owner.filter(|old| Some(*old) != owner)
            && let Some(owned) = self.owned.get_mut(&old_owner)
        {
            owned.less(old_bytes);
        }
        if let Some(change) = old_change {
            self.gone.remove(&change);
        }
        self.bytes = self.bytes.saturating_sub(old_bytes) + bytes_of(&entry);
        self.changes += 1;
        if entry.state.is_none() {
            self.gone.insert(self.changes, entry.client);
        }
        self.clients.insert(entry.client, Known { entry, owner, change: self.changes });
        self.forget_the_oldest();
        Ok(())
    }

    /// What a member owns with one more entry, or another in place of one of `old_bytes`.
    fn owned_with(
        &self,
        member: MemberId,
        old_bytes: Option<usize>,
        entry: &AwarenessEntry,
    ) -> Result<Owned, Violation> {
        let PresenceLimits { clients_max, bytes_max } = self.limits;
        let mut owned = self.owned.get(&member).copied().unwrap_or_default();
        if let Some(old_bytes) = old_bytes {
            owned.less(old_bytes);
        }
        owned.clients += 1;
        owned.bytes += bytes_of(entry);
        if owned.clients > clients_max {
            return Err(Violation::TooManyAwarenessClients { max: clients_max });
        }
        if owned.bytes > bytes_max {
            return Err(Violation::TooMuchAwareness { max: bytes_max });
        }
        Ok(owned)
    }
}
