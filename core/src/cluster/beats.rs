//! What time brings: beats, ends of calls, questions again.

use std::collections::BTreeSet;

use super::envelope::{Here, ToEverybody, ToPeer, ToRoom};
use super::machine::Cluster;
use crate::id::DocumentId;
use crate::time::Millis;

/// How long, in beats, it is said again that a room is closed: longer than silence lasts.
const CLOSED_BEATS: u32 = 8;
/// Most rooms that are known to have been open.
const CLOSED_MAX: usize = 64 * 1024;
/// Fewest rooms whose peers are asked after with each beat.
const TURN_ROOMS_MIN: usize = 4;
/// Beats after which all rooms had their turn, if there are more.
const TURN_BEATS: usize = 64;

impl Cluster {
    /// When [`Cluster::handle_timeout`] must be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        let call = self.calls.front().map(|(at, ..)| *at);
        let link = self.link.as_ref();
        let beats = link.map(|link| link.beats);
        let settles = link.and_then(|link| link.settles);
        [call, beats, settles, self.asks.next()].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Millis) {
        self.settle(now);
        self.end_late_calls(now);
        self.ask_again(now);
        if let Some(link) = &mut self.link
            && link.beats <= now
        {
            link.beats = now.plus(self.timing.beat);
            self.beat(now);
        }
    }

    fn beat(&mut self, now: Millis) {
        self.say_to_everybody(&ToEverybody::Here(Here { archive: self.archive, hello: false }));
        let silent = self.peers.iter().filter(|(_, peer)| peer.heard_at.plus(self.timing.silence) <= now);
        let silent: Vec<_> = silent.map(|(peer, _)| *peer).collect();
        for peer in silent {
            self.end(now, peer);
        }
        self.settle_unreadable(now);
        self.mark();
        self.say_closed();
        self.ask_in_turn(now);
    }

    /// Ends each stream that something was said in with something of no meaning: it shows whether what was before
    /// it was lost.
    fn mark(&mut self) {
        for document in std::mem::take(&mut self.spoken) {
            self.say_roll(&document, None);
        }
        let peers = self.peers.iter().filter(|(_, peer)| peer.has_spoken);
        let peers: Vec<_> = peers.map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.note_to_peer(peer, &ToPeer::Mark);
        }
    }

    /// Says again, ever more rarely, which rooms are closed.
    fn say_closed(&mut self) {
        let mut again = Vec::new();
        self.closed.retain(|document, closed| {
            closed.beats += 1;
            if closed.beats.is_power_of_two() {
                again.push(document.clone());
            }
            closed.beats <= CLOSED_BEATS
        });
        for document in again {
            self.note_to_room(&document, &ToRoom::Gone);
        }
        while self.closed.len() > CLOSED_MAX {
            self.closed.pop_first();
        }
    }

    /// Asks after the peers of some rooms, and the archives: whoever lost the end of a stream, and all repetitions of
    /// it, learns it.
    fn ask_in_turn(&mut self, now: Millis) {
        let rooms = TURN_ROOMS_MIN.max(self.rooms.len() / TURN_BEATS).min(self.rooms.len());
        for _ in 0..rooms {
            let Some(document) = self.next_in_turn() else { return };
            let Some(room) = self.rooms.get(&document) else { return };
            let archives = self.peers.iter().filter(|(_, peer)| peer.archive == Some(true));
            let peers: BTreeSet<_> =
                room.members.keys().chain(archives.map(|(peer, _)| peer)).copied().collect();
            for peer in peers {
                self.want(now, &document, peer);
            }
            self.turn = Some(document);
        }
    }

    fn next_in_turn(&self) -> Option<DocumentId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.turn.as_ref().map_or(Unbounded, Excluded);
        let next = self.rooms.range::<DocumentId, _>((after, Unbounded)).next();
        next.or_else(|| self.rooms.first_key_value()).map(|(document, _)| document.clone())
    }
}
