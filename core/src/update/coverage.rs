//! What is already known of a document: inserted and deleted clocks, with holes.
//!
//! State vectors see neither holes nor deletes (HAZARDS: yrs-7), so a room that must know whether an
//! update brings anything new keeps ranges of both.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::parse::Update;
use super::ranges::{RangeSet, write_delete_set};
use super::state_vector::StateVector;

/// The clocks that the updates seen so far insert and delete, per client.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    inserted: BTreeMap<u64, RangeSet>,
    deleted: BTreeMap<u64, RangeSet>,
}

impl Coverage {
    /// Adds what `update` inserts and deletes; returns whether anything of it was new.
    pub fn add(&mut self, update: &Update) -> bool {
        let mut new = false;
        let mut insert = |(client, start, end)| {
            new |= self.inserted.entry(client).or_default().insert(start, end);
        };
        // Structs of one client mostly touch each other: a whole document is a handful of ranges.
        let mut run: Option<(u64, u64, u64)> = None;
        for block in update.blocks() {
            match &mut run {
                Some((client, _, end)) if (*client, *end) == (block.0, block.1) => *end = block.2,
                _ => run.replace(block).into_iter().for_each(&mut insert),
            }
        }
        run.into_iter().for_each(&mut insert);
        for (client, clock, len) in update.deletes() {
            new |= self.deleted.entry(client).or_default().insert(clock, clock + len);
        }
        new
    }

    /// Whether `update` brings nothing new.
    #[must_use]
    pub fn covers(&self, update: &Update) -> bool {
        let known = |set: &BTreeMap<u64, RangeSet>, client, start, end| {
            set.get(&client).is_some_and(|ranges: &RangeSet| ranges.covers(start, end))
        };
        update.blocks().all(|(client, start, end)| known(&self.inserted, client, start, end))
            && update.deletes().all(|(client, clock, len)| known(&self.deleted, client, clock, clock + len))
    }

    /// Whether a document that holds exactly what is known can take `update` whole: no hole before a
    /// struct, nothing it leans on and nothing it deletes is missing.
    ///
    /// Whatever is not admitted yet belongs into a waiting place of ours, not into yrs: an insert behind
    /// a hole with a delete inside that hole, which is what an ordinary "select and replace" looks like
    /// when it overtakes its predecessor, makes every later v2 encoding of yrs 0.28.1 panic
    /// (HAZARDS: yrs-2, yrs-3).
    #[must_use]
    pub fn admits(&self, update: &Update) -> bool {
        update.ground().iter().all(|(&client, &clock)| clock <= self.reach(client))
    }

    /// How far this client is known without a hole.
    pub(super) fn reach(&self, client: u64) -> u64 {
        self.inserted.get(&client).map_or(0, RangeSet::contiguous)
    }

    /// How far each client is known without a hole; what lies behind a hole is left out.
    #[must_use]
    pub fn state_vector(&self) -> StateVector {
        self.inserted.iter().map(|(&client, ranges)| (client, ranges.contiguous())).collect()
    }

    /// A Yjs snapshot in the v1 encoding: the deletes, then the state vector (`encodeSnapshot` of `yjs` 13.6).
    ///
    /// Unlike a state vector it lets a client see whether its own deletes are here (HAZARDS: yrs-7).
    #[must_use]
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_delete_set(&mut out, &self.deleted);
        out.append(&mut self.state_vector().encode());
        out
    }

    /// Adds the deletes of one update, each client's together and in order.
    pub(super) fn add_ordered_deletes(&mut self, deletes: &[(u64, u32, u32)]) {
        for ranges in deletes.chunk_by(|one, next| one.0 == next.0) {
            let Some(&(client, ..)) = ranges.first() else { continue };
            let ranges =
                ranges.iter().map(|&(_, clock, len)| (clock.into(), u64::from(clock) + u64::from(len)));
            match self.deleted.entry(client) {
                Entry::Vacant(entry) => drop(entry.insert(RangeSet::of_ordered(ranges))),
                Entry::Occupied(mut entry) => {
                    for (start, end) in ranges {
                        entry.get_mut().insert(start, end);
                    }
                }
            }
        }
    }

    /// All that somebody lacks of a document that holds exactly what is known, if every struct is there: the
    /// deletes, as an update, because `have` does not say whether they are (HAZARDS: yrs-7).
    #[must_use]
    pub fn deletes_if_all_is_in(&self, have: &StateVector) -> Option<Vec<u8>> {
        if !self.inserted.iter().all(|(&client, ranges)| ranges.end() <= have.get(client)) {
            return None;
        }
        let mut out = vec![0];
        write_delete_set(&mut out, &self.deleted);
        Some(out)
    }

    /// Adds everything below `vector`, without any delete.
    pub fn add_state_vector(&mut self, vector: &StateVector) {
        for (client, clock) in vector.iter() {
            self.inserted.entry(client).or_default().insert(0, clock);
        }
    }

    /// Whether all that `other` knows is known here.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        let within = |ours: &BTreeMap<u64, RangeSet>, theirs: &BTreeMap<u64, RangeSet>| {
            theirs.iter().all(|(client, ranges)| {
                let known = ours.get(client);
                ranges.iter().all(|(start, end)| known.is_some_and(|known| known.covers(start, end)))
            })
        };
        within(&self.inserted, &other.inserted) && within(&self.deleted, &other.deleted)
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inserted.is_empty() && self.deleted.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.inserted.clear();
        self.deleted.clear();
    }
}
