//! Which documents of a store changed, told to whoever watches a door, and to the replica's own links when they begin.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::log::Log;
use super::network::Wire;
use super::world::{Task, World};
use crate::id::{DocumentId, Incarnation, ReplicaId};

/// A store, as a keeper is named.
pub(super) type Keeper = (ReplicaId, Incarnation);

/// What to say to be told what changes from this position on.
pub(super) fn checkpoint(keeper: Keeper, position: u64) -> Bytes {
    [&keeper.1.0[..], &position.to_be_bytes()].concat().into()
}

/// What a checkpoint stands for; none if it is of another store.
fn position(keeper: Keeper, checkpoint: &[u8]) -> Option<u64> {
    let position = checkpoint.strip_prefix(&keeper.1.0[..])?;
    Some(u64::from_be_bytes(position.try_into().ok()?))
}

/// Documents by their last durable change behind a position.
fn changed(log: &Log, since: u64) -> Vec<(u64, DocumentId)> {
    let last = log.all_synced().filter(|(_, kept)| kept.last > since);
    let last: BTreeMap<_, _> = last.map(|(document, kept)| (kept.last, document.clone())).collect();
    last.into_iter().collect()
}

impl World {
    /// What is behind a door.
    fn log_behind(&self, d: usize) -> Option<&Log> {
        let door = self.doors.get(d)?;
        match door.host {
            Some(host) => self.replicas.get(host).map(|replica| &replica.disk.log),
            None => door.archive.as_ref().map(|archive| &archive.log),
        }
    }

    /// Somebody watches from now on, and has been told of all up to a checkpoint.
    pub(super) fn watch(&mut self, d: usize, wire: Wire, since: &[u8]) {
        let Some(keeper) = self.doors.get(d).and_then(|door| door.keeps) else { return };
        let since = position(keeper, since);
        self.list(d, wire, since.is_none(), since.unwrap_or(0));
    }

    /// Tells everybody who watches what has become durable.
    pub(super) fn list_all(&mut self, d: usize) {
        let watching = self.doors.get(d).map(|door| door.watching()).unwrap_or_default();
        watching.into_iter().for_each(|(wire, since)| self.list(d, wire, false, since));
    }

    fn list(&mut self, d: usize, wire: Wire, anew: bool, since: u64) {
        let Some(log) = self.log_behind(d) else { return };
        let (changed, durable) = (changed(log, since), log.durable());
        if let Some(door) = self.doors.get_mut(d) {
            door.list(wire, anew, &changed, durable);
        }
    }

    /// A link begins, with what changed here since what it remembers.
    pub(super) fn begin(&mut self, r: usize, l: usize) {
        let known = self.replicas.get(r).and_then(|replica| replica.learned.get(&l));
        let since = known.map_or(0, |memory| memory.acknowledged);
        self.list_own(r, l, since);
        self.pump(r, l);
    }

    /// What changed here is to be listed for a link.
    pub(super) fn list_own(&mut self, r: usize, l: usize, since: u64) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let (start, ms) = (replica.start, self.chance.below(replica.read_ms + 1));
        if let Some(driver) = replica.links.get_mut(l) {
            driver.lists += 1;
            driver.session.set_listing(true);
            self.after(ms, Task::List(r, start, l, since));
        }
    }

    /// It is.
    pub(super) fn listed(&mut self, r: usize, l: usize, since: u64) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        if replica.is_troubled {
            let start = replica.start;
            return self.after(5_000, Task::List(r, start, l, since));
        }
        let last = |id: &DocumentId| (id.clone(), replica.last(id));
        // What is empty somebody here looks at.
        let is_listed = |(_, last): &(DocumentId, u64)| *last > since || *last == 0;
        let changed: Vec<_> = replica.subscribed.iter().map(last).filter(is_listed).collect();
        if let Some(driver) = replica.links.get_mut(l) {
            changed.iter().for_each(|(document, last)| driver.session.add(document, *last));
            driver.lists -= 1;
            driver.session.set_listing(driver.lists > 0);
        }
        self.pump(r, l);
    }
}
