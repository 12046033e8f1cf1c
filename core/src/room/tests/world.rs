//! A little world around one room: stock clients, and an archive of bytes.

use bytes::Bytes;

use super::super::*;
use crate::dialect::y_protocols::{self, Message};
use crate::time::Millis;
use crate::update::{Coverage, Update, diff};

use super::client::{Client, apply, doc, text};

pub(super) struct World {
    room: Room,
    durable: bool,
    clients: Vec<Client>,
    archive: Vec<Update>,
    next: u64,
    now: Millis,
}

impl World {
    pub(super) fn new(clients: u64, policy: Acknowledgement) -> Self {
        Self {
            room: Room::new(policy),
            durable: policy == Acknowledgement::Durable,
            clients: (1..=clients).map(Client::new).collect(),
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
        let update = self.clients[client].edit();
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
        let state_vector = self.clients[client].state_vector();
        self.tell(client, Message::SyncStep1(state_vector));
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
