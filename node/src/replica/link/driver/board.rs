//! What others see of a link, after each of its turns.

use std::time::SystemTime;

use tombolo_core::link::End;

use super::Driver;

impl Driver {
    pub(super) fn show(&mut self) {
        let now = self.now();
        let keeps = self.session.peer().map(|peer| peer.keeps.is_some());
        // Where nothing is called stored, what was sent has at least been read there.
        let is_there = keeps == Some(true) || self.probes.is_empty();
        let in_sync = self.session.is_in_sync() && is_there && self.jobs == 0 && self.scheduler.is_empty();
        let lagging = if in_sync { 0 } else { self.session.lagging_count() };
        if in_sync {
            self.knowledge.is_synced(SystemTime::now());
            self.staleness.is_synced();
        }
        self.board.write(|status| {
            status.state = self.link.state();
            status.keeps = keeps;
            status.last_synced = self.knowledge.synced();
            status.held = self.session.held();
            status.waits_for_decision = !self.is_listing() && self.session.waits_for_decision();
            status.in_sync = in_sync;
            status.fulfilled = self.session.fulfilled();
            status.settled = self.session.settled();
            status.lagging = lagging;
            status.queued_bytes = self.scheduler.bytes();
            status.round_trip_ms = self.link.round_trip_ms();
            status.heard = self.heard;
            let error = self.link.last_error().map(ToString::to_string).filter(|_| self.connection.is_none());
            status.error = self.unlisted.as_ref().map(|(reason, _)| reason.clone()).or(error);
            status.gave_up = self.link.last_error().is_some_and(End::is_permanent);
            status.next_attempt_ms = self.link.next_attempt().map(|at| at.0.saturating_sub(now.0));
        });
    }
}
