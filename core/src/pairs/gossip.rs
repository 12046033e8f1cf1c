//! Who hears of heads: where the storages of clients stand, for those who asked.
//!
//! A client is told of the storages that it subscribed to. What it is told is what the client of that storage said
//! last in a sync message, or what somebody reports of a storage whose client is not here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::effect::Effect;
use super::machine::Pairs;
use crate::dialect::automerge_repo::RemoteHeads;
use crate::limits::SUBSCRIPTIONS_MAX;
use crate::room::MemberId;

impl Pairs {
    /// Where a member stands now.
    pub(super) fn hear_heads(&mut self, id: MemberId, heads: &[u8]) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if member.note_heads(heads)
            && let Some(storage) = member.storage.clone()
        {
            let heads = texts(heads);
            self.tell_others(id, &storage, &heads, None);
        }
    }

    /// A member has subscribed to these storages: it hears where those stand that are here.
    pub fn subscribed(&mut self, id: MemberId, storages: &[String]) {
        for (other, member) in &self.members {
            let Some(storage) = member.storage.as_ref().filter(|_| *other != id && !member.heads.is_empty())
            else {
                continue;
            };
            if storages.iter().any(|wanted| **wanted == **storage) {
                let (storage, heads) = (Arc::clone(storage), texts(&member.heads));
                self.effects.push_back(Effect::Heads { to: id, storage, heads, at: None });
            }
        }
    }

    /// A member reports where other storages stand. Those whose clients are here, and the archive, speak for
    /// themselves: what a stranger says of them could be taken for "saved".
    pub fn reported(&mut self, id: MemberId, new_heads: BTreeMap<String, RemoteHeads>) {
        for (storage, about) in new_heads {
            let speaks_itself =
                |member: &super::member::Member| member.storage.as_deref() == Some(storage.as_str());
            if self.home.as_deref() == Some(storage.as_str()) || self.members.values().any(speaks_itself) {
                continue;
            }
            self.tell_others(id, &storage.into(), &about.heads.into(), Some(about.timestamp));
        }
    }

    fn tell_others(&mut self, id: MemberId, storage: &Arc<str>, heads: &Arc<[String]>, at: Option<u64>) {
        let others = self.members.keys().filter(|other| **other != id);
        self.effects.extend(others.map(|to| Effect::Heads {
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

/// The storages that one connection wants to hear of.
#[derive(Debug, Default)]
pub struct Subscriptions(BTreeSet<String>);

impl Subscriptions {
    /// Takes a change of them; false if they would become more than [`SUBSCRIPTIONS_MAX`].
    #[must_use]
    pub fn change(&mut self, add: &[String], remove: &[String]) -> bool {
        for storage in remove {
            self.0.remove(storage);
        }
        self.0.extend(add.iter().take(SUBSCRIPTIONS_MAX + 1).cloned());
        self.0.len() <= SUBSCRIPTIONS_MAX && add.len() <= SUBSCRIPTIONS_MAX
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
