//! Large answers of a door to one replica, in pages.
//!
//! As `relay/src/connection/pages.rs` does it, with one page under way: the replica's pong asks for the next, documents take
//! turns, and a small answer overtakes them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::driver::PAGE_BYTES;
use crate::dialect::replica::{self, Handle};
use crate::dialect::y_protocols;
use crate::update::{Pager, Update};

/// What is being handed out on one connection.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The next one first.
    left: VecDeque<(Handle, Pager)>,
    /// The ping behind the last page.
    probe: u64,
    is_under_way: bool,
}

impl Answers {
    /// The frames of an answer that go now.
    pub(super) fn take(&mut self, handle: Handle, update: &Bytes) -> Vec<Vec<u8>> {
        match Update::parse(update.clone()) {
            Ok(large) if update.len() > PAGE_BYTES => {
                self.left.push_back((handle, Pager::new(large)));
                self.go_on()
            }
            _ => vec![replica::y(handle, &y_protocols::sync_step2(update))],
        }
    }

    /// The replica has all that was said before this ping; what goes next.
    pub(super) fn pong(&mut self, token: u64) -> Vec<Vec<u8>> {
        self.is_under_way &= token != self.probe;
        self.go_on()
    }

    /// The document is shut.
    pub(super) fn shut(&mut self, handle: Handle) {
        self.left.retain(|(of, _)| *of != handle);
    }

    fn go_on(&mut self) -> Vec<Vec<u8>> {
        if self.is_under_way {
            return Vec::new();
        }
        let Some((handle, mut pager)) = self.left.pop_front() else { return Vec::new() };
        let page = pager.page(PAGE_BYTES).unwrap_or_else(|| Update::empty().bytes().clone());
        let message = if pager.is_done() {
            y_protocols::sync_step2(&page)
        } else {
            self.left.push_back((handle, pager));
            y_protocols::update(&page)
        };
        self.probe += 1;
        self.is_under_way = true;
        vec![replica::y(handle, &message), replica::ping(self.probe)]
    }
}
