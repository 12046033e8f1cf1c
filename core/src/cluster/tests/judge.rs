//! What the machines promised, against what they did.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Output, TunnelFrame};
use crate::id::{DocumentId, PeerId};
use crate::room::{PeerMessage, Roll};

/// Something that was said to peers that had come.
struct Promise {
    at: u64,
    from: PeerId,
    document: DocumentId,
    to: PeerId,
    is_to_all: bool,
    /// Whether the receiver has ever closed the room or been away, or holds the sender for gone.
    to_closed: bool,
    id: u64,
}

type Place = (PeerId, DocumentId, PeerId);

/// Notes everything, with a count as time: what comes first is what matters.
#[derive(Default)]
pub(super) struct Judge {
    count: u64,
    pub(super) losses: u64,
    pub(super) lost: u64,
    pub(super) said: u64,
    pub(super) delivered: u64,
    pub(super) members: BTreeMap<(PeerId, DocumentId), BTreeMap<PeerId, Roll>>,
    pub(super) homes: BTreeMap<PeerId, PeerId>,
    calls: BTreeMap<(PeerId, DocumentId), u64>,
    promises: Vec<Promise>,
    arrived: BTreeSet<(u64, PeerId)>,
    /// The last number of each stream that was handed over: whether to all, where, of whom.
    last: BTreeMap<(bool, Place), u64>,
    lost_at: BTreeMap<Place, u64>,
    went_at: BTreeMap<Place, u64>,
    closed_at: BTreeMap<(PeerId, DocumentId), u64>,
    away_at: BTreeMap<PeerId, u64>,
    /// The last frame of a tunnel, by receiver and sender.
    tunnels: BTreeMap<(PeerId, PeerId), u64>,
}

impl Judge {
    fn tick(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub(super) fn opens(&mut self, now: u64, peer: PeerId, document: &DocumentId) {
        self.calls.insert((peer, document.clone()), now);
    }

    pub(super) fn closes(&mut self, peer: PeerId, document: &DocumentId) {
        let at = self.tick();
        let place = (peer, document.clone());
        self.members.remove(&place);
        self.calls.remove(&place);
        self.closed_at.insert(place, at);
    }

    pub(super) fn is_away(&mut self, peer: PeerId) {
        let at = self.tick();
        self.away_at.insert(peer, at);
        self.tunnels.retain(|(receiver, sender), _| *receiver != peer && *sender != peer);
    }

    pub(super) fn dies(&mut self, peer: PeerId) {
        self.is_away(peer);
        self.calls.retain(|(caller, _), _| *caller != peer);
    }

    /// A number for what `peer` is about to say to all that have come, or to one of them.
    pub(super) fn says(&mut self, peer: PeerId, document: &DocumentId, to: Option<PeerId>) -> u64 {
        let (at, id) = (self.tick(), self.said + 1);
        self.said = id;
        let members = self.members_of(peer, document).into_keys();
        for member in members.filter(|member| to.is_none_or(|to| to == *member)) {
            let (document, is_to_all) = (document.clone(), to.is_none());
            let is_heard = self.losses == 0 || self.members_of(member, &document).contains_key(&peer);
            let to_closed = self.closed_at.contains_key(&(member, document.clone()))
                || self.away_at.contains_key(&member)
                || !is_heard;
            self.promises.push(Promise { at, from: peer, document, to: member, is_to_all, to_closed, id });
        }
        id
    }

    pub(super) fn members_of(&self, peer: PeerId, document: &DocumentId) -> BTreeMap<PeerId, Roll> {
        self.members.get(&(peer, document.clone())).cloned().unwrap_or_default()
    }

    pub(super) fn hears(&mut self, now: u64, me: PeerId, output: Output) {
        let at = self.tick();
        match output {
            Output::Called(document) => {
                let opened = self.calls.remove(&(me, document)).expect("called without a call");
                assert!(now <= opened + 2_000, "called after {} ms", now - opened);
            }
            Output::Came { document, peer, roll } => {
                let before = self.members.entry((me, document)).or_default().insert(peer, roll);
                assert_eq!(before, None, "came twice");
            }
            Output::Changed { document, peer, roll } => {
                let before = self.members.entry((me, document)).or_default().insert(peer, roll);
                assert!(before.is_some_and(|before| before != roll), "changed what is not there");
            }
            Output::Lost { document, peer } => {
                assert!(self.members_of(me, &document).contains_key(&peer), "lost before it came");
                self.lost += 1;
                self.lost_at.insert((me, document, peer), at);
            }
            Output::Went { document, peer } => {
                let before =
                    self.members.get_mut(&(me, document.clone())).and_then(|members| members.remove(&peer));
                assert!(before.is_some(), "went before it came");
                self.went_at.insert((me, document, peer), at);
            }
            Output::Said { document, peer, message } => self.takes(me, document, peer, &message),
            Output::Home(home) => {
                assert_ne!(self.homes.insert(me, home), Some(home), "said twice");
            }
            Output::Tunnel { peer, frame: TunnelFrame::Data { tunnel, .. } } => {
                let before = self.tunnels.insert((me, peer), tunnel.0);
                assert!(before.is_none_or(|before| before + 1 == tunnel.0), "a frame is missing");
            }
            Output::TunnelsBroken { peer } => {
                self.tunnels.remove(&(me, peer));
            }
            output => panic!("{output:?}"),
        }
    }

    fn takes(&mut self, me: PeerId, document: DocumentId, peer: PeerId, message: &PeerMessage) {
        assert!(self.members_of(me, &document).contains_key(&peer), "said before it came");
        let (id, is_to_all) = match message {
            PeerMessage::Stored(tickets) => (tickets[0].0.0, true),
            PeerMessage::Ask { ask, .. } => (ask.0, false),
            message => panic!("{message:?}"),
        };
        self.delivered += 1;
        assert!(self.arrived.insert((id, me)), "twice");
        let before = self.last.insert((is_to_all, (me, document, peer)), id);
        assert!(before.is_none_or(|before| before < id), "out of order");
    }

    /// Every promise was kept, or one of both knows that it may not have been. That the sender went is an excuse for
    /// what it said to one, which may be overtaken; for what it said to all only if something was lost.
    pub(super) fn check_promises(&self) {
        let is_after = |at: Option<&u64>, promise: &Promise| at.is_some_and(|at| *at > promise.at);
        for promise in &self.promises {
            let Promise { from, document, to, id, .. } = promise;
            let (here, there) = ((*from, document.clone(), *to), (*to, document.clone(), *from));
            let excused = self.arrived.contains(&(*id, *to))
                || is_after(self.lost_at.get(&here), promise)
                || is_after(self.lost_at.get(&there), promise)
                || is_after(self.went_at.get(&here), promise)
                // It closed the room itself before it could hear that the other one had.
                || (promise.to_closed && is_after(self.closed_at.get(&(*from, document.clone())), promise))
                || is_after(self.closed_at.get(&(*to, document.clone())), promise)
                || is_after(self.away_at.get(to), promise)
                || is_after(self.away_at.get(from), promise)
                || ((self.losses > 0 || !promise.is_to_all) && is_after(self.went_at.get(&there), promise));
            assert!(excused, "{from} said {id} in {document} to {to}: neither delivered nor lost");
        }
        assert_eq!(self.calls, BTreeMap::new(), "not called");
    }
}
