//! What the other end refused, given up by decision; kept across restarts.

use std::sync::mpsc::{SyncSender, sync_channel};

use tombolo_core::id::DocumentId;
use tombolo_core::session::Lag;

use super::driver::Driver;
use super::{Command, Links, Running};

impl Links {
    /// True if something was parked on any link.
    pub(in crate::replica) fn drop_parked(&self, document: &DocumentId) -> bool {
        let ask = |running: &Running| {
            let (sender, receiver) = sync_channel(1);
            let _ = running.commands.send(Command::DropParked(document.clone(), sender));
            receiver
        };
        let asked: Vec<_> = self.lock().running.iter().map(ask).collect();
        // All of them, whatever the first says.
        asked.into_iter().filter_map(|answer| answer.recv().ok()).fold(false, |any, this| any | this)
    }
}

impl Driver {
    pub(super) fn drop_parked(&mut self, document: &DocumentId, done: SyncSender<bool>) {
        let Some(dropped) = self.session.drop_parked(document) else {
            let _ = done.send(false);
            return;
        };
        // Before it is written down that more is acknowledged than what was taken.
        let keeper = self.session.peer().and_then(|peer| peer.keeps);
        self.knowledge.dropped(keeper, document, dropped, done);
        self.outbox.forget(document);
    }

    /// What was dropped is not, when all of it has come there after all.
    pub(super) fn forget_dropped(&mut self) {
        let has_come = |document: &&DocumentId| {
            self.session.standing(document).is_some_and(|standing| {
                let is_dropped = matches!(standing.lag, Some(Lag::Dropped { .. }));
                !is_dropped && standing.last > 0 && standing.last <= standing.acknowledged
            })
        };
        let come: Vec<_> = self.knowledge.all_dropped().filter(has_come).cloned().collect();
        come.iter().for_each(|document| self.knowledge.taken_up(document));
    }
}
