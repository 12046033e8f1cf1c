//! A little world around one room: yrs documents that behave as stock clients do, and an archive of bytes.

use std::collections::VecDeque;

use bytes::Bytes;
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, OffsetKind, Options, ReadTxn, Text, Transact};

use super::super::*;
use crate::dialect::y_protocols::{self, Message};
use crate::time::Millis;
use crate::update::{Coverage, StateVector, Update, diff, merge};

struct Client {
    doc: Doc,
    coverage: Coverage,
    /// Updates behind a hole. Stock clients keep and pass on such ones whole; yrs 0.28.1 writes wrong clocks for
    /// them when it encodes (HAZARDS: yrs-2, yrs-3), so they are kept here.
    held: Vec<Update>,
    seat: Option<MemberId>,
    inbox: VecDeque<Bytes>,
    /// As the Hocuspocus provider counts it.
    unsynced: i64,
}

pub(super) struct World {
    room: Room,
    durable: bool,
    clients: Vec<Client>,
    archive: Vec<Update>,
    next: u64,
    now: Millis,
}

fn doc(client: u64) -> Doc {
    Doc::with_options(Options {
        client_id: yrs::block::ClientID::new(client),
        offset_kind: OffsetKind::Utf16,
        ..Options::default()
    })
}

fn text(doc: &Doc) -> String {
    let text = doc.get_or_insert_text("t");
    text.get_string(&doc.transact())
}

fn apply(doc: &Doc, update: &[u8]) {
    doc.transact_mut().apply_update(yrs::Update::decode_v1(update).unwrap()).unwrap();
}

impl Client {
    fn take(&mut self, update: Update) {
        self.held.push(update);
        while let Some(next) = self.held.iter().position(|update| self.coverage.admits(update)) {
            let update = self.held.swap_remove(next);
            self.apply(&update);
        }
        // Two may fill each other's holes.
        let whole = Update::parse(merge(&self.held)).unwrap();
        if self.coverage.admits(&whole) {
            self.held.clear();
            self.apply(&whole);
        }
    }

    fn apply(&mut self, update: &Update) {
        apply(&self.doc, update.bytes());
        self.coverage.add(update);
    }

    fn lacking(&self, have: &yrs::StateVector) -> Update {
        let update = Update::parse(self.doc.transact().encode_state_as_update_v1(have).into()).unwrap();
        if self.held.is_empty() {
            return update;
        }
        let parts: Vec<_> = std::iter::once(update).chain(self.held.iter().cloned()).collect();
        Update::parse(merge(&parts)).unwrap()
    }
}

impl World {
    pub(super) fn new(clients: u64, policy: Acknowledgement) -> Self {
        let client = |n| Client {
            doc: doc(n),
            coverage: Coverage::default(),
            held: Vec::new(),
            seat: None,
            inbox: VecDeque::new(),
            unsynced: 0,
        };
        Self {
            room: Room::new(policy),
            durable: policy == Acknowledgement::Durable,
            clients: (1..=clients).map(client).collect(),
            archive: Vec::new(),
            next: 1,
            now: Millis(0),
        }
    }

    /// Each step: a client and what it does (0, 1 edits; 2 connects or reads; 3 is cut); 4 lets time pass.
    pub(super) fn play(&mut self, steps: &[(usize, u8)]) {
        for (client, action) in steps {
            match action {
                0 | 1 => self.edit(*client),
                2 if self.clients[*client].seat.is_none() => self.connect(*client),
                2 => self.read_one(*client),
                3 => self.cut(*client),
                _ => self.wait(),
            }
        }
    }

    /// Connects everybody and lets all messages arrive.
    pub(super) fn settle(&mut self) {
        for client in 0..self.clients.len() {
            if self.clients[client].seat.is_none() {
                self.connect(client);
            }
        }
        while self.clients.iter().any(|client| !client.inbox.is_empty()) {
            for client in 0..self.clients.len() {
                self.read_one(client);
            }
        }
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.clients.iter().map(|client| text(&client.doc)).collect()
    }

    pub(super) fn unsynced(&self) -> Vec<i64> {
        self.clients.iter().map(|client| client.unsynced).collect()
    }

    pub(super) fn archived_text(&self) -> String {
        let fresh = doc(99);
        for update in &self.archive {
            apply(&fresh, update.bytes());
        }
        text(&fresh)
    }

    fn edit(&mut self, client: usize) {
        let doc = self.clients[client].doc.clone();
        let before = doc.transact().state_vector();
        doc.get_or_insert_text("t").insert(&mut doc.transact_mut(), 0, &client.to_string());
        let update = Update::parse(doc.transact().encode_state_as_update_v1(&before).into()).unwrap();
        self.clients[client].coverage.add(&update);
        if self.clients[client].seat.is_some() {
            self.clients[client].unsynced += 1;
            self.tell(client, Message::Update(update));
        }
    }

    fn connect(&mut self, client: usize) {
        let id = MemberId(self.next);
        self.next += 1;
        self.clients[client].seat = Some(id);
        self.clients[client].unsynced = 1;
        self.room.join(id, true);
        self.carry_out();
        let sv =
            yrs::updates::encoder::Encode::encode_v1(&self.clients[client].doc.transact().state_vector());
        self.tell(client, Message::SyncStep1(StateVector::parse(&sv).unwrap()));
    }

    fn cut(&mut self, client: usize) {
        if let Some(id) = self.clients[client].seat.take() {
            self.clients[client].inbox.clear();
            self.room.leave(self.now, id);
            self.carry_out();
        }
    }

    /// Whoever was asked has been silent for too long.
    fn wait(&mut self) {
        if let Some(deadline) = self.room.poll_timeout() {
            self.now = self.now.max(deadline);
            self.room.handle_timeout(self.now);
            self.carry_out();
        }
    }

    fn read_one(&mut self, client: usize) {
        let Some(body) = self.clients[client].inbox.pop_front() else { return };
        match y_protocols::parse(&body).unwrap() {
            Message::SyncStep1(have) => {
                let have = yrs::StateVector::decode_v1(&have.encode()).unwrap();
                let update = self.clients[client].lacking(&have);
                self.tell(client, Message::SyncStep2(update));
            }
            Message::SyncStep2(update) | Message::Update(update) => {
                self.clients[client].take(update);
            }
            Message::Awareness(_) | Message::QueryAwareness => {}
        }
    }

    fn tell(&mut self, client: usize, message: Message) {
        if let Some(id) = self.clients[client].seat {
            self.now = self.now.plus(1);
            self.room.handle(self.now, id, message).unwrap();
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.room.poll_effect() {
            match effect {
                Effect::Send { to, body, .. } => self.deliver(|id| id == to, &body),
                Effect::Serve { to, update } => {
                    self.deliver(|id| id == to, &y_protocols::sync_step2(&update));
                }
                Effect::Spread { except, body, .. } => self.deliver(|id| Some(id) != except, &body),
                Effect::Acknowledge { to, applied } => {
                    assert!(applied);
                    for client in self.clients.iter_mut().filter(|client| client.seat == Some(to)) {
                        client.unsynced -= 1;
                    }
                }
                Effect::Store { ticket, update, .. } => {
                    assert!(self.durable);
                    self.archive.push(update);
                    self.room.stored(ticket, Ok(()));
                }
                Effect::Read { asker, state_vector } => {
                    let mut coverage = Coverage::default();
                    for update in &self.archive {
                        coverage.add(update);
                    }
                    let update = diff(&self.archive, &state_vector);
                    self.room.answered(asker, Ok(Answer { update, state_vector: coverage.state_vector() }));
                }
                Effect::Close { .. } => unreachable!("nothing is refused here"),
                Effect::Publish(_) | Effect::Tell { .. } => unreachable!("the room is alone"),
            }
        }
    }

    fn deliver(&mut self, to: impl Fn(MemberId) -> bool, body: &Bytes) {
        for client in &mut self.clients {
            if client.seat.is_some_and(&to) {
                client.inbox.push_back(body.clone());
            }
        }
    }
}
