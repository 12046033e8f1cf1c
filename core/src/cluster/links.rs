//! The backplane comes and goes, and so do peers.

use super::address::To;
use super::codec::{Sender, bye};
use super::envelope::{Here, ToEverybody, ToPeer};
use super::loss::Unreadable;
use super::machine::{Cluster, Link};
use super::output::Output;
use super::parts::Assembly;
use crate::id::PeerId;
use crate::time::Millis;

/// Most peers; those beyond are not heard.
pub(super) const PEERS_MAX: usize = 1_000;
/// Most starts that are known to be over. Only what is still under way needs them.
const ENDED_MAX: usize = 1_024;

/// Another relay that lives.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) starts: u64,
    /// Numbers how often this relay met it: after silence it is met anew.
    pub(super) meeting: u64,
    /// None before it has said so.
    pub(super) archive: Option<bool>,
    pub(super) heard_at: Millis,
    /// How much was said to it.
    pub(super) said: u64,
    /// Whether that is news since the last beat.
    pub(super) has_spoken: bool,
    /// Its meeting with this relay; none before it says something to it.
    pub(super) its_meeting: Option<u64>,
    /// What it says next to this relay has this number.
    pub(super) next: u64,
    pub(super) assembly: Assembly,
    pub(super) has_tunnels: bool,
    pub(super) unreadable: Unreadable,
}

impl Cluster {
    /// The backplane is there, for the first time or again. Each room that is open is called.
    pub fn up(&mut self, now: Millis) {
        if self.link.is_some() {
            self.down(now);
        }
        self.me.starts += 1;
        let settles = Some(now.plus(self.timing.settle));
        self.link = Some(Link { settles, beats: now.plus(self.timing.beat) });
        self.say_to_everybody(&ToEverybody::Here(Here { archive: self.archive, hello: true }));
        let rooms: Vec<_> = self.rooms.keys().cloned().collect();
        for document in rooms {
            self.call(now, &document);
        }
    }

    /// The backplane is away, or lost messages: all peers are gone from all rooms. This relay serves automerge-repo
    /// itself until it is up again.
    pub fn down(&mut self, now: Millis) {
        if self.link.take().is_none() {
            return;
        }
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.forget(now, peer);
        }
        self.closed.clear();
        self.choose_home();
    }

    /// This relay stops: it says so, and is down.
    pub fn stop(&mut self, now: Millis) {
        if self.link.is_some() {
            self.outputs.push_back(Output::Transmit { to: To::Everybody, message: bye(self.me) });
            self.down(now);
        }
    }

    /// A peer is gone that cannot say so itself, which spoke last under this start: everybody is told. If it lives
    /// elsewhere by now, that is another start.
    pub fn bye_for(&mut self, now: Millis, sender: Sender) {
        self.outputs.push_back(Output::Transmit { to: To::Everybody, message: bye(sender) });
        self.hear_bye(now, sender);
    }

    /// Time has passed after coming up: whoever lives is known.
    pub(super) fn settle(&mut self, now: Millis) {
        let Some(link) = &mut self.link else { return };
        if link.settles.take_if(|at| *at <= now).is_some() {
            self.choose_home();
            let calling = self.rooms.iter().filter(|(_, room)| room.calling);
            let calling: Vec<_> = calling.map(|(document, _)| document.clone()).collect();
            for document in calling {
                self.end_call(&document);
            }
        }
    }

    /// Makes sure that who says something is known. Not if that start of it is over, or is too many; gives whether it
    /// is new otherwise.
    pub(super) fn meet(&mut self, now: Millis, sender: Sender) -> Option<bool> {
        let Sender { peer, starts } = sender;
        if self.ended.contains(&sender) {
            return None;
        }
        let mut archive = None;
        if let Some(known) = self.peers.get_mut(&peer) {
            if starts < known.starts {
                return None;
            }
            if starts == known.starts {
                known.heard_at = now;
                return Some(false);
            }
            // It is the same program, so nobody needs another home.
            archive = known.archive;
            self.forget(now, peer);
        }
        if self.peers.len() >= PEERS_MAX {
            return None;
        }
        self.count += 1;
        let about = Peer {
            starts,
            meeting: self.count,
            archive,
            heard_at: now,
            said: 0,
            has_spoken: false,
            its_meeting: None,
            next: 1,
            assembly: Assembly::default(),
            has_tunnels: false,
            unreadable: Unreadable::default(),
        };
        self.peers.insert(peer, about);
        Some(true)
    }

    /// Greets a peer, and asks it about every room.
    pub(super) fn greet(&mut self, now: Millis, peer: PeerId, hello: bool) {
        self.note_to_peer(peer, &ToPeer::Here(Here { archive: self.archive, hello }));
        let rooms: Vec<_> = self.rooms.keys().cloned().collect();
        for document in rooms {
            self.want(now, &document, peer);
        }
    }

    /// A peer says that it is there.
    pub(super) fn hear_here(&mut self, peer: PeerId, here: Here) {
        let Some(about) = self.peers.get_mut(&peer) else { return };
        if about.archive.replace(here.archive) != Some(here.archive) {
            self.choose_home();
        }
    }

    /// A start of a peer is over.
    pub(super) fn hear_bye(&mut self, now: Millis, sender: Sender) {
        if self.ended.contains(&sender) {
            return;
        }
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(sender);
        if self.peers.get(&sender.peer).is_some_and(|known| known.starts <= sender.starts) {
            self.end(now, sender.peer);
        }
    }

    /// A peer is gone, from all rooms.
    pub(super) fn end(&mut self, now: Millis, peer: PeerId) {
        self.forget(now, peer);
        self.choose_home();
    }

    fn forget(&mut self, now: Millis, peer: PeerId) {
        let Some(mut about) = self.peers.remove(&peer) else { return };
        about.assembly.clear(&mut self.held);
        let rooms = self.rooms.iter();
        let rooms =
            rooms.filter(|(_, room)| room.members.contains_key(&peer) || room.unanswered.contains_key(&peer));
        let rooms: Vec<_> = rooms.map(|(document, _)| document.clone()).collect();
        for document in rooms {
            self.leave(&document, peer, false);
            self.answered(now, &document, peer);
        }
        if about.has_tunnels {
            self.outputs.push_back(Output::TunnelsBroken { peer });
        }
    }

    /// Frames of tunnels with a peer are missing.
    pub(super) fn break_tunnels(&mut self, peer: PeerId) {
        if let Some(about) = self.peers.get_mut(&peer)
            && std::mem::take(&mut about.has_tunnels)
        {
            self.outputs.push_back(Output::TunnelsBroken { peer });
        }
    }

    /// Who serves automerge-repo: an archive before a relay, a low id before a high one.
    fn choose_home(&mut self) {
        if self.link.as_ref().is_some_and(|link| link.settles.is_some()) {
            return;
        }
        let others = self.peers.iter().filter_map(|(peer, about)| Some((!about.archive?, *peer)));
        let (_, home) = others.fold((!self.archive, self.me.peer), Ord::min);
        if self.home.replace(home) != Some(home) {
            self.outputs.push_back(Output::Home(home));
        }
    }
}
