//! What of a document a fold is made of, and in which order an engine is given it.
//!
//! Guarantee: an engine is given nothing that did not pass the door that every update passes, and no Yjs update whose
//! ground is missing; such updates wait in the tail, and are served from there as bytes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::operation::{Kind, Operation};
use tombolo_core::update::{Admitted, Coverage, Update, admit};

use crate::shelf::Stored;

/// The material of a fold.
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) snapshot: Option<Bytes>,
    /// The tail, in the order in which it is stored.
    pub(super) tail: Vec<Operation>,
    /// What of the tail may be given to an engine, by place, with its update if it is one of Yjs.
    sound: Vec<(usize, Option<Update>)>,
    /// What is known before the tail.
    ground: Coverage,
}

impl Plan {
    /// Looks at a stored document; gives back, beside the plan, those operations that do not pass the door and why.
    ///
    /// # Errors
    /// Why nothing of it can be folded.
    pub(super) fn new(id: &DocumentId, stored: Stored) -> Result<(Self, Vec<(usize, String)>), String> {
        let Stored { snapshot, tail, .. } = stored;
        let (mut sound, mut unsound, mut ground) = (Vec::new(), Vec::new(), Coverage::default());
        if id.format() == Format::Automerge {
            sound.extend((0..tail.len()).map(|place| (place, None)));
            return Ok((Self { kind: Kind::AutomergeChanges, snapshot, tail, sound, ground }, unsound));
        }
        if let Some(snapshot) = &snapshot {
            let update = Update::parse(snapshot.clone())
                .map_err(|error| format!("its snapshot does not validate: {error}"))?;
            check(&update)?;
            ground.add(&update);
        }
        for (place, operation) in tail.iter().enumerate() {
            match Update::parse(operation.payload.clone()) {
                Ok(update) => {
                    check(&update)?;
                    sound.push((place, Some(update)));
                }
                Err(error) => unsound.push((place, format!("it does not validate: {error}"))),
            }
        }
        Ok((Self { kind: Kind::YjsUpdate, snapshot, tail, sound, ground }, unsound))
    }

    /// Places of the operations that an engine can take, in the order in which it can; at the end those that it can
    /// take only together.
    pub(super) fn order(&self) -> Vec<usize> {
        let updates: Vec<Update> = self.sound.iter().filter_map(|(_, update)| update.clone()).collect();
        if updates.is_empty() {
            return self.sound.iter().map(|(place, _)| *place).collect();
        }
        let Admitted { order, together, .. } = admit(&mut self.ground.clone(), &updates);
        order
            .into_iter()
            .chain(together)
            .filter_map(|index| self.sound.get(index).map(|(place, _)| *place))
            .collect()
    }

    /// Puts operations that wait right behind one that they may wait for. Of Yjs nothing that waits is in the order.
    pub(super) fn put_behind(&mut self, first: usize, waiting: &BTreeSet<usize>) {
        let (held, mut rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sound).into_iter().partition(|(place, _)| waiting.contains(place));
        let behind = rest.iter().position(|(place, _)| *place == first).map_or(rest.len(), |at| at + 1);
        rest.splice(behind..behind, held);
        self.sound = rest;
    }

    /// What may be given to an engine, in the order that it was brought into.
    pub(super) fn arranged(&self) -> Vec<usize> {
        self.sound.iter().map(|(place, _)| *place).collect()
    }

    /// Brings it into that order again, without what is not in it.
    pub(super) fn arrange(&mut self, order: &[usize]) {
        let mut sound: BTreeMap<_, _> = std::mem::take(&mut self.sound).into_iter().collect();
        self.sound = order.iter().filter_map(|place| sound.remove_entry(place)).collect();
    }

    /// Leaves an operation out from now on. What leans on it waits for it then.
    pub(super) fn leave_out(&mut self, gone: usize) {
        self.sound.retain(|(place, _)| *place != gone);
    }

    /// The snapshot and these operations as an engine is given them.
    pub(super) fn parts(&self, places: &[usize]) -> Vec<Bytes> {
        let tail = places.iter().filter_map(|place| self.tail.get(*place));
        self.snapshot.iter().cloned().chain(tail.map(|operation| operation.payload.clone())).collect()
    }
}

fn check(update: &Update) -> Result<(), String> {
    if update.has_legacy_json() {
        return Err("it has legacy JSON items, which yrs 0.28.1 reads differently from Yjs".into());
    }
    Ok(())
}
