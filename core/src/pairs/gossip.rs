//! Who hears of heads: where the storages of clients stand, for those who asked.
//!
//! A client is told of the storages that it subscribed to. What it is told is what the client of that storage said
//! last in a sync message, or what somebody reports of a storage whose client is not here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::effect::Effect;
use super::machine::Pairs;
use super::member::Member;
use crate::dialect::automerge_repo::RemoteHeads;
use crate::limits::SUBSCRIPTIONS_MAX;
use crate::room::MemberId;

impl Pairs {
    /// Where a member stands now.
    pub(super) fn hear_heads(&mut self, id: MemberId, heads: &[u8]) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if member.note_heads(heads)
            && let Some(storage) = member.storage.clone()
            && self.members.values().any(|member| member.listens)
        {
            let heads = texts(heads);
            self.tell_others(id, &storage, &heads, None);
        }
    }

    /// A member has subscribed to storages: from now on it hears of heads, and at once where those stand that are
    /// here and new to it. Of which it does want to hear, only the driver knows.
    pub fn subscribed(&mut self, id: MemberId, is_new: impl Fn(&str) -> bool) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.listens = true;
        let others = self.members.iter().filter(|(other, member)| **other != id && !member.heads.is_empty());
        let wanted = others.filter_map(|(_, member)| {
            let storage = member.storage.clone().filter(|storage| is_new(storage))?;
            Some(Effect::Heads { to: id, storage, heads: texts(&member.heads), at: None })
        });
        self.effects.extend(wanted);
    }

    /// A member reports where other storages stand; `now` is in ms since 1970, and nothing is newer. Those whose
    /// clients are here, and the archive, speak for themselves: what a stranger says of them could be taken for
    /// "saved". Clients report back what they hear, so only news is passed on.
    pub fn reported(&mut self, now: u64, id: MemberId, new_heads: BTreeMap<String, RemoteHeads>) {
        if !self.members.contains_key(&id) {
            return;
        }
        for (storage, about) in new_heads {
            let at = about.timestamp.min(now);
            let speaks_itself = |member: &Member| member.storage.as_deref() == Some(storage.as_str());
            if self.home.as_deref() == Some(storage.as_str())
                || self.members.values().any(speaks_itself)
                || !about.heads.iter().all(|head| is_hash(head))
                || self.reports.get(&*storage).is_some_and(|known| *known >= at)
            {
                continue;
            }
            let storage: Arc<str> = storage.into();
            self.note_report(&storage, at);
            self.tell_others(id, &storage, &about.heads.into(), Some(at));
        }
    }

    /// The oldest makes room.
    fn note_report(&mut self, storage: &Arc<str>, at: u64) {
        self.reports.insert(Arc::clone(storage), at);
        if self.reports.len() > SUBSCRIPTIONS_MAX
            && let Some((oldest, _)) = self.reports.iter().min_by_key(|(_, at)| **at)
        {
            let oldest = Arc::clone(oldest);
            self.reports.remove(&oldest);
        }
    }

    fn tell_others(&mut self, id: MemberId, storage: &Arc<str>, heads: &Arc<[String]>, at: Option<u64>) {
        let others = self.members.iter().filter(|(other, member)| **other != id && member.listens);
        self.effects.extend(others.map(|(to, _)| Effect::Heads {
            to: *to,
            storage: Arc::clone(storage),
            heads: Arc::clone(heads),
            at,
        }));
    }
}

/// Hashes as clients write them.
pub(super) fn texts(heads: &[u8]) -> Arc<[String]> {
    heads.chunks(32).map(|head| bs58::encode(head).with_check().into_string()).collect()
}

fn is_hash(text: &str) -> bool {
    text.len() <= 64 && bs58::decode(text).with_check(None).into_vec().is_ok_and(|hash| hash.len() == 32)
}

/// The storages that one connection wants to hear of.
#[derive(Debug, Default)]
pub struct Subscriptions(BTreeSet<String>);

impl Subscriptions {
    /// Takes a change of them and gives back which are new; none if they would become more than
    /// [`SUBSCRIPTIONS_MAX`].
    #[must_use]
    pub fn change(&mut self, add: Vec<String>, remove: &[String]) -> Option<BTreeSet<String>> {
        for storage in remove {
            self.0.remove(storage);
        }
        let new: BTreeSet<_> = add.into_iter().filter(|storage| !self.0.contains(storage)).collect();
        if self.0.len() + new.len() > SUBSCRIPTIONS_MAX {
            return None;
        }
        self.0.extend(new.iter().cloned());
        Some(new)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.0.iter()
    }

    /// Whether it wants to hear of this one.
    #[must_use]
    pub fn contains(&self, storage: &str) -> bool {
        self.0.contains(storage)
    }
}

/// Heads that a sync message carries, as clients write them in other messages; none of one that is malformed.
#[must_use]
pub fn heads_of(sync: &[u8]) -> Arc<[String]> {
    crate::validate::SyncOutline::of(sync).map(|outline| texts(outline.heads)).unwrap_or_default()
}
