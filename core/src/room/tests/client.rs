//! A yrs document that behaves as stock clients do.

use std::collections::VecDeque;

use bytes::Bytes;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, GetString, OffsetKind, Options, ReadTxn, Text, TextRef, Transact, TransactionMut};

use super::super::MemberId;
use crate::update::{Coverage, StateVector, Update, merge};

/// A stock client.
pub(super) struct Client {
    pub(super) doc: Doc,
    pub(super) coverage: Coverage,
    /// Updates behind a hole. Stock clients keep and pass on such ones whole; yrs 0.28.1 writes wrong clocks for
    /// them when it encodes (HAZARDS: yrs-2, yrs-3), so they are kept here.
    held: Vec<Update>,
    pub(super) seat: Option<MemberId>,
    pub(super) inbox: VecDeque<Bytes>,
    /// As the Hocuspocus provider counts it.
    pub(super) unsynced: i64,
}

pub(super) fn doc(client: u64) -> Doc {
    Doc::with_options(Options {
        client_id: yrs::block::ClientID::new(client),
        offset_kind: OffsetKind::Utf16,
        ..Options::default()
    })
}

pub(super) fn text(doc: &Doc) -> String {
    let text = doc.get_or_insert_text("t");
    text.get_string(&doc.transact())
}

pub(super) fn apply(doc: &Doc, update: &[u8]) {
    doc.transact_mut().apply_update(yrs::Update::decode_v1(update).unwrap()).unwrap();
}

impl Client {
    pub(super) fn new(client: u64) -> Self {
        Self {
            doc: doc(client),
            coverage: Coverage::default(),
            held: Vec::new(),
            seat: None,
            inbox: VecDeque::new(),
            unsynced: 0,
        }
    }

    pub(super) fn state_vector(&self) -> StateVector {
        let encoded = self.doc.transact().state_vector().encode_v1();
        StateVector::parse(&encoded).unwrap()
    }

    /// Writes its number at the start of the text.
    pub(super) fn edit(&mut self) -> Update {
        let number = self.doc.client_id().get().to_string();
        self.change(|text, txn| text.insert(txn, 0, &number))
    }

    /// Deletes what is at the start of the text; writes there if nothing is.
    pub(super) fn erase(&mut self) -> Update {
        if text(&self.doc).is_empty() {
            return self.edit();
        }
        self.change(|text, txn| text.remove_range(txn, 0, 1))
    }

    fn change(&mut self, how: impl FnOnce(&TextRef, &mut TransactionMut)) -> Update {
        let text = self.doc.get_or_insert_text("t");
        let before = self.doc.transact().state_vector();
        how(&text, &mut self.doc.transact_mut());
        let update = self.doc.transact().encode_state_as_update_v1(&before);
        let update = Update::parse(update.into()).unwrap();
        self.coverage.add(&update);
        update
    }

    pub(super) fn take(&mut self, update: Update) {
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

    /// All that it has, behind holes as well.
    pub(super) fn received(&self) -> Coverage {
        let mut received = self.coverage.clone();
        for update in &self.held {
            received.add(update);
        }
        received
    }

    fn apply(&mut self, update: &Update) {
        apply(&self.doc, update.bytes());
        self.coverage.add(update);
    }

    /// All that somebody lacks who has so much.
    pub(super) fn lacking(&self, have: &StateVector) -> Update {
        let have = yrs::StateVector::decode_v1(&have.encode()).unwrap();
        let update = Update::parse(self.doc.transact().encode_state_as_update_v1(&have).into()).unwrap();
        if self.held.is_empty() {
            return update;
        }
        let parts: Vec<_> = std::iter::once(update).chain(self.held.iter().cloned()).collect();
        Update::parse(merge(&parts)).unwrap()
    }
}
