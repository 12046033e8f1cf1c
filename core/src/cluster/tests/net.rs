//! Relays on a bus without delay.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use crate::cluster::{Cluster, Output, Timing, To};
use crate::id::{DocumentId, PeerId};
use crate::room::{PeerMessage, Roll, Ticket};
use crate::time::Millis;

pub(super) const NOTHING: Roll = Roll { archive: false, caught_up: false };

pub(super) fn document(number: u32) -> DocumentId {
    DocumentId::yjs(&format!("room {number}")).unwrap()
}

pub(super) fn stored(ticket: u64) -> PeerMessage {
    PeerMessage::Stored(vec![(Ticket(ticket), Ok(()))])
}

/// Relays in one place. What is said arrives at once, or not.
#[derive(Default)]
pub(super) struct Net {
    pub(super) now: u64,
    pub(super) relays: Vec<Cluster>,
    pub(super) listening: BTreeSet<(usize, DocumentId)>,
    /// What came out besides, by relay.
    pub(super) outputs: VecDeque<(usize, Output)>,
    /// Everything that was said.
    pub(super) said: Vec<(usize, To, Bytes)>,
    pub(super) carried: usize,
    pub(super) deaf: BTreeSet<usize>,
    /// This one hears nothing for now.
    pub(super) unlistening: Option<usize>,
    /// What this one says to rooms is lost.
    pub(super) unheard: Option<usize>,
    /// So many messages get lost from now on.
    pub(super) loses: usize,
}

impl Net {
    pub(super) fn new(archives: &[bool]) -> Self {
        let mut net = Self::default();
        for archive in archives {
            net.join(*archive);
        }
        net.pass(300);
        net.outputs.clear();
        net
    }

    pub(super) fn join(&mut self, archive: bool) -> usize {
        let index = self.relays.len();
        self.relays.push(Cluster::new(PeerId(index as u64 + 1), archive, Timing::default()));
        self.act(index, |relay, now| relay.up(now));
        index
    }

    pub(super) fn act<T>(&mut self, index: usize, act: impl FnOnce(&mut Cluster, Millis) -> T) -> T {
        let result = act(&mut self.relays[index], Millis(self.now));
        while let Some(output) = self.relays[index].poll() {
            match output {
                Output::Transmit { to, message } => self.said.push((index, to.clone(), message.clone())),
                Output::Listen(document) => drop(self.listening.insert((index, document))),
                Output::Unlisten(document) => drop(self.listening.remove(&(index, document))),
                Output::Unread(unread) => self.relays[index].take_in(Millis(self.now), unread.read()),
                output => self.outputs.push_back((index, output)),
            }
        }
        result
    }

    /// Hands over what was said, and what is said then.
    pub(super) fn carry(&mut self) {
        while self.carried < self.said.len() {
            let (sender, to, message) = self.said[self.carried].clone();
            self.carried += 1;
            if self.loses > 0 {
                self.loses -= 1;
                continue;
            }
            if self.unheard == Some(sender) && matches!(to, To::Room(_)) {
                continue;
            }
            for index in 0..self.relays.len() {
                let listens = match &to {
                    To::Everybody => true,
                    To::Room(document) => self.listening.contains(&(index, document.clone())),
                    To::Peer(peer) => *peer == self.relays[index].me().peer,
                };
                if index != sender
                    && listens
                    && self.unlistening != Some(index)
                    && !self.deaf.contains(&index)
                    && !self.deaf.contains(&sender)
                {
                    self.act(index, |relay, now| relay.heard(now, &to, &message));
                }
            }
        }
    }

    pub(super) fn does<T>(&mut self, index: usize, act: impl FnOnce(&mut Cluster, Millis) -> T) -> T {
        let result = self.act(index, act);
        self.carry();
        result
    }

    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        self.carry();
        while let Some(at) = self.relays.iter().filter_map(Cluster::poll_timeout).min()
            && at.0 <= end
        {
            self.now = self.now.max(at.0);
            for index in 0..self.relays.len() {
                if self.relays[index].poll_timeout().is_some_and(|at| at.0 <= self.now) {
                    self.does(index, Cluster::handle_timeout);
                }
            }
        }
        self.now = end;
    }

    pub(super) fn open(&mut self, index: usize, document: &DocumentId) {
        self.does(index, |relay, now| relay.opened(now, document, NOTHING));
    }

    /// What has come out, in short.
    pub(super) fn events(&mut self) -> Vec<String> {
        let short = |(index, output): (usize, Output)| match output {
            Output::Called(_) => format!("{index} called"),
            Output::Came { peer, .. } => format!("{index} came {}", peer.0 - 1),
            Output::Changed { peer, .. } => format!("{index} changed {}", peer.0 - 1),
            Output::Lost { peer, .. } => format!("{index} lost {}", peer.0 - 1),
            Output::Went { peer, .. } => format!("{index} went {}", peer.0 - 1),
            Output::Said { peer, .. } => format!("{index} said {}", peer.0 - 1),
            Output::Home(peer) => format!("{index} home {}", peer.0 - 1),
            Output::Wanted(_) => format!("{index} wanted"),
            Output::Tunnel { peer, .. } => format!("{index} tunnel {}", peer.0 - 1),
            Output::TunnelsBroken { peer } => format!("{index} broken {}", peer.0 - 1),
            Output::Refused { error, .. } => format!("{index} refused {error:?}"),
            output => panic!("{output:?}"),
        };
        self.outputs.drain(..).map(short).collect()
    }
}
