//! What the other end lacks of a Yjs document, in pages: what is stored there when a connection breaks is not sent again.
//!
//! All but the last go as changes, the last as the answer: who heard that has all of it, whether or not it knows of pages. Where
//! nobody keeps anything the answer is one, because there changes go to everybody and answers to who asked.

use std::collections::VecDeque;

use bytes::Bytes;

use super::machine::Session;
use crate::dialect::replica::{self, Handle};
use crate::dialect::y_protocols;
use crate::id::DocumentId;
use crate::update::{Pager, Update};

/// An answer that is being handed out.
#[derive(Debug)]
pub(super) struct Paging {
    pager: Pager,
    /// Everything of the document up to this position is there when all pages are; 0 if that cannot be said.
    position: u64,
    /// Changes may be counted from then on.
    compares: bool,
}

/// Answers that are being handed out, the first one first.
pub(super) type Pagings = VecDeque<Paging>;

impl Session {
    /// What the other end lacks, as asked for by [`Effect::Read`](super::Effect::Read): everything of this document up to a
    /// position that had been given before it was read. If it is large, it goes out in pages, the next one when
    /// [`Session::go_on`] says so.
    pub fn lacking(&mut self, document: &DocumentId, update: &Bytes, position: u64) {
        let (keeps, page_bytes) = (self.keeps(), self.page_bytes);
        let Some(entry) = self.documents.get_mut(document) else { return };
        if entry.stale_reads > 0 {
            entry.stale_reads -= 1;
            return;
        }
        entry.reads = entry.reads.saturating_sub(1);
        let Some(handle) = entry.handle else { return };
        // What is on its way to the disk through an earlier opening is not in it, and the other end may lack that.
        let compares = entry.stale == 0;
        // Deletions are in every difference, known or not: who may only read would be refused them.
        let is_known = keeps && compares && !self.adding && entry.last <= entry.acknowledged;
        let nothing = Update::empty();
        let update = if is_known { nothing.bytes() } else { update };
        let position = if compares { position.min(entry.last) } else { 0 };
        let is_large = keeps && (update.len() > page_bytes || !entry.pagings.is_empty());
        if is_large && let Ok(update) = Update::parse(update.clone()) {
            // Until all of it is said, nothing that is said counts.
            entry.compared = false;
            entry.pagings.push_back(Paging { pager: Pager::new(update), position, compares });
            if entry.pagings.len() == 1 {
                self.page(document, handle);
            }
            return;
        }
        entry.compared = compares;
        if keeps {
            entry.in_flight.push_back(position);
        }
        self.send_about(handle, replica::packed(replica::y(handle, &y_protocols::sync_step2(update))));
        self.was_said(document, position);
    }

    /// Everything of a document up to this position was said: what is said next is as urgent as the document.
    fn was_said(&mut self, document: &DocumentId, position: u64) {
        if let Some(entry) = self.documents.get_mut(document) {
            entry.lower(position);
        }
    }

    /// Nothing waits to be sent in this lane any more: the next page of its document follows, if there is one. `page_bytes` is how
    /// large a page should be by now ([`Scheduler::page_bytes`](crate::schedule::Scheduler::page_bytes)).
    pub fn go_on(&mut self, lane: u64, page_bytes: usize) {
        self.page_bytes = page_bytes;
        let handle = Handle(lane);
        if let Some(document) = self.handles.get(&handle).cloned() {
            self.page(&document, handle);
        }
    }

    fn page(&mut self, document: &DocumentId, handle: Handle) {
        let page_bytes = self.page_bytes;
        let Some(entry) = self.documents.get_mut(document) else { return };
        let Some(paging) = entry.pagings.front_mut() else { return };
        let page = paging.pager.page(page_bytes).unwrap_or_else(|| Update::empty().bytes().clone());
        let mut said = 0;
        let message = if paging.pager.is_done() {
            said = paging.position;
            entry.compared = paging.compares;
            entry.in_flight.push_back(paging.position);
            entry.pagings.pop_front();
            y_protocols::sync_step2(&page)
        } else {
            entry.in_flight.push_back(0);
            y_protocols::update(&page)
        };
        self.send_about(handle, replica::packed(replica::y(handle, &message)));
        self.was_said(document, said);
    }
}
