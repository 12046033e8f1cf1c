//! Which documents are open on the link, and which wait for a place.

use std::cmp::Reverse;

use super::effect::Effect;
use super::machine::Session;
use super::standing::Document;
use crate::dialect::replica::{self, Handle, Outcome};
use crate::dialect::y_protocols;
use crate::id::{DocumentId, Format};
use crate::time::Moment;
use crate::update::Update;

impl Session {
    /// Opens what differs, up to what may be open at once.
    pub(super) fn open_some(&mut self, now: Moment) {
        let everything = match &self.peer {
            None => return,
            Some(peer) => !peer.lists,
        };
        if !std::mem::take(&mut self.look) && self.due().is_none_or(|due| now < due) {
            return;
        }
        self.looked = now;
        let documents = &self.documents;
        self.restless.retain(|id| documents.get(id).is_some_and(|entry| !entry.is_at_rest(everything)));
        let wanting =
            |id: &&DocumentId| documents.get(*id).is_some_and(|entry| entry.wants_open(now, everything));
        let mut wanting: Vec<_> = self.restless.iter().filter(wanting).cloned().collect();
        // What is urgent first, then what somebody looks at, then what is known to differ.
        let order = |entry: &Document| (Reverse(entry.urgency()), !entry.watched, !entry.differs());
        wanting.sort_by_key(|id| documents.get(id).map(order));
        for id in wanting {
            if self.holds(&id) {
                self.restless.remove(&id);
                self.put_by(&id);
            } else if self.has_room() {
                self.open(&id);
            } else if self.documents.get(&id).is_some_and(|entry| entry.refusal.is_none()) {
                self.queue(id);
            }
        }
        while !self.queue.is_empty() && self.has_room() {
            let Some(id) = self.queue.pop_first() else { break };
            self.restless.insert(id.clone());
            if self.documents.get(&id).is_some_and(|entry| entry.wants_open(now, everything)) {
                self.open(&id);
            }
        }
    }

    /// It waits for a place, and is not looked at before: there may be very many of them.
    fn queue(&mut self, id: DocumentId) {
        let Some(entry) = self.documents.get(&id) else { return };
        let (acknowledged, urgency) = (entry.acknowledged, entry.urgency());
        let floor = if self.queue.is_empty() { acknowledged } else { self.queue_floor.min(acknowledged) };
        self.queue_floor = floor;
        self.restless.remove(&id);
        self.queue.insert(id, urgency);
    }

    /// Whether another document may be open; makes a place if one is done.
    fn has_room(&mut self) -> bool {
        let max = if self.is_listing() { self.config.documents_max } else { self.config.unlisted_max };
        self.handles.len() < max || self.make_room()
    }

    /// Asks whether what came from there is on the disk there: an answer that brings nothing is stored when all
    /// before it is.
    pub(super) fn confirm_some(&mut self, now: Moment) {
        let is_due = |entry: &Document| entry.compared && entry.confirm.is_some_and(|at| at <= now);
        let restless = self.restless.iter().filter(|id| self.documents.get(*id).is_some_and(is_due));
        for id in restless.cloned().collect::<Vec<_>>() {
            let keeps = self.keeps();
            let Some(entry) = self.documents.get_mut(&id) else { continue };
            entry.confirm = None;
            if let Some(handle) = entry.handle.filter(|_| keeps) {
                entry.in_flight.push_back(entry.last);
                let nothing = y_protocols::sync_step2(Update::empty().bytes());
                self.send_about(handle, replica::y(handle, &nothing));
            }
        }
    }

    fn open(&mut self, id: &DocumentId) {
        let Some(entry) = self.documents.get_mut(id) else { return };
        let handle = Handle(self.next_handle);
        self.next_handle += 1;
        entry.handle = Some(handle);
        self.openings += 1;
        entry.opening = self.openings;
        self.handles.insert(handle, id.clone());
        self.send_about(handle, replica::open(handle, id));
        match id.format() {
            Format::Yjs => self.describe(id),
            Format::Automerge => self.ask(id),
        }
    }

    /// Asks for what the other end has beyond what is here.
    pub(super) fn describe(&mut self, id: &DocumentId) {
        if let Some(entry) = self.documents.get_mut(id) {
            entry.describes += 1;
            self.effects.push_back(Effect::Describe(id.clone()));
        }
    }

    /// Shuts the document that has been done for longest.
    fn make_room(&mut self) -> bool {
        let eldest = self.done.iter().min_by_key(|(_, since)| **since).map(|(id, _)| id.clone());
        let Some(eldest) = eldest else { return false };
        self.shut(&eldest);
        true
    }

    /// Shuts what has been done for a while, if the other end tells when it changes.
    pub(super) fn shut_some(&mut self, now: Moment) {
        if !self.is_listing() {
            return;
        }
        let linger = self.config.linger_ms;
        let over = |(id, since): (&DocumentId, &Moment)| (since.plus(linger) <= now).then(|| id.clone());
        let over: Vec<_> = self.done.iter().filter_map(over).collect();
        over.iter().for_each(|id| self.shut(id));
    }

    /// Shuts what is done with now, if the other end tells when it changes: somebody wants it closed.
    pub fn shut_done(&mut self) {
        if self.is_listing() {
            let done: Vec<_> = self.done.keys().cloned().collect();
            done.iter().for_each(|id| self.shut(id));
        }
    }

    /// Shuts a document, if it is open.
    pub(super) fn shut(&mut self, id: &DocumentId) {
        self.done.remove(id);
        let Some(entry) = self.documents.get_mut(id) else { return };
        if let Some(handle) = entry.handle {
            let opening = entry.opening;
            self.send_about(handle, replica::shut(handle, Outcome::WELL, ""));
            self.handles.remove(&handle);
            self.talk_over(id, opening);
        }
        if let Some(entry) = self.documents.get_mut(id) {
            entry.closed();
        }
        if !self.documents.get(id).is_some_and(|entry| entry.held) {
            self.restless.insert(id.clone());
        }
        // Others may wait for its place.
        self.look();
    }
}
