//! What people do: they come, write, answer, and are cut off.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::super::*;
use super::{Cluster, Person, Seat};
use crate::dialect::y_protocols::{self, Message};
use crate::validate::{AwarenessEntry, AwarenessUpdate};

impl Cluster {
    pub(super) fn edit(&mut self, person: usize, erases: bool) {
        let person = &mut self.people[person];
        let update = if erases { person.client.erase() } else { person.client.edit() };
        person.own.add(&update);
        if let Some(seat) = &mut person.seat {
            person.client.unsynced += 1;
            seat.outbox.push_back(Message::Update(update));
        }
    }

    pub(super) fn connect(&mut self, person: usize, relay: usize) {
        self.open(relay);
        let id = MemberId(self.next_member);
        self.next_member += 1;
        let state_vector = self.people[person].client.state_vector();
        let outbox = VecDeque::from([Message::SyncStep1(state_vector)]);
        let who = &mut self.people[person];
        who.seat = Some(Seat { relay, outbox, asked: 1, answered: 0 });
        who.client.seat = Some(id);
        who.client.unsynced = 1;
        who.sees.clear();
        self.drive(relay, |room, _| room.join(id, true));
        self.announce(person);
    }

    pub(super) fn announce(&mut self, person: usize) {
        let person = &mut self.people[person];
        if let Some(seat) = &mut person.seat {
            person.clock += 1;
            let (client, clock) = (person.client.doc.client_id().get(), person.clock);
            person.sees.insert(client, (clock, true));
            let entry = AwarenessEntry { client, clock, state: Some(Bytes::from_static(b"{}")) };
            seat.outbox.push_back(Message::Awareness(AwarenessUpdate { entries: vec![entry] }));
        }
    }

    pub(super) fn cut(&mut self, person: usize) {
        let Some(Seat { relay, .. }) = self.people[person].seat.take() else { return };
        let id = self.people[person].client.seat.take().unwrap();
        self.people[person].client.inbox.clear();
        self.drive(relay, |room, now| room.leave(now, id));
        self.close_if_empty(relay);
    }

    pub(super) fn send_one(&mut self, person: usize) {
        let Some(seat) = &mut self.people[person].seat else { return };
        let Some(message) = seat.outbox.pop_front() else { return };
        let (relay, id) = (seat.relay, self.people[person].client.seat.unwrap());
        self.now = self.now.plus(1);
        self.drive(relay, |room, now| room.handle(now, id, message).unwrap());
    }

    pub(super) fn read_one(&mut self, person: usize) {
        let Person { client, seat: Some(seat), sees, .. } = &mut self.people[person] else { return };
        let Some(body) = client.inbox.pop_front() else { return };
        match y_protocols::parse(&body).unwrap() {
            Message::SyncStep1(have) => {
                seat.outbox.push_back(Message::SyncStep2(client.lacking(&have)));
            }
            Message::SyncStep2(update) => {
                seat.answered += 1;
                client.take(update);
            }
            Message::Update(update) => client.take(update),
            Message::Awareness(update) => {
                let me = client.doc.client_id().get();
                let mut is_denied = false;
                for AwarenessEntry { client, clock, state } in update.entries {
                    let (known, there) = sees.get(&client).copied().unwrap_or((0, false));
                    if clock > known || (clock == known && state.is_none() && there) {
                        is_denied |= client == me && state.is_none();
                        sees.insert(client, (clock, state.is_some()));
                    }
                }
                if is_denied {
                    let newest = sees[&me].0;
                    self.people[person].clock = newest;
                    self.announce(person);
                }
            }
            Message::QueryAwareness => {}
        }
    }
}
