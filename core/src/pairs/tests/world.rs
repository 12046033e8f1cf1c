//! A little world around one document: repos that behave as automerge-repo 2.5 does, with what it keeps and forgets of
//! its peers, and the driver's part of the machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use automerge::sync::{Message, State, SyncDoc};
use automerge::transaction::Transactable;
use automerge::{Automerge, ROOT, ReadDoc};
use bytes::Bytes;

use super::super::*;
use crate::room::MemberId;
use crate::time::Millis;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Unknown,
    Has,
    Wants,
    Unavailable,
}

#[derive(Clone)]
enum Word {
    Peer,
    Sync(Bytes),
    Unavailable,
}

enum Said {
    Sync { data: Bytes, is_request: bool },
    Unavailable,
}

/// A repo with one handle. Names as there: `peers` of the document's synchronizer, `known` of the collection's.
struct Repo {
    doc: Automerge,
    open: bool,
    unavailable: bool,
    known: BTreeSet<usize>,
    peers: BTreeSet<usize>,
    statuses: BTreeMap<usize, Status>,
    states: BTreeMap<usize, State>,
    out: VecDeque<(usize, Said)>,
    seat: Option<MemberId>,
    announced: usize,
    inbox: VecDeque<(usize, Word)>,
    /// Messages with changes that came.
    brought: usize,
}

impl Repo {
    fn new(doc: Automerge) -> Self {
        Self {
            open: !doc.get_heads().is_empty(),
            doc,
            unavailable: false,
            known: BTreeSet::new(),
            peers: BTreeSet::new(),
            statuses: BTreeMap::new(),
            states: BTreeMap::new(),
            out: VecDeque::new(),
            seat: None,
            announced: 0,
            inbox: VecDeque::new(),
            brought: 0,
        }
    }

    fn is_ready(&self) -> bool {
        !self.doc.get_heads().is_empty()
    }

    fn find(&mut self) {
        if !self.open {
            self.open = true;
            for peer in self.known.clone() {
                self.peers.insert(peer);
            }
            for peer in self.known.clone() {
                self.begin(peer);
            }
            self.check();
        }
    }

    fn begin(&mut self, peer: usize) {
        let somebody_has = self.peers.iter().any(|peer| self.statuses.get(peer) == Some(&Status::Has));
        if somebody_has && !self.is_ready() {
            return; // It waits for the handle first.
        }
        let state = self
            .states
            .remove(&peer)
            .map_or_else(State::new, |state| State::decode(&state.encode()).expect("what was encoded"));
        self.states.insert(peer, state);
        self.send(peer);
    }

    fn send(&mut self, peer: usize) {
        self.peers.insert(peer);
        let status = *self.statuses.entry(peer).or_insert(Status::Unknown);
        let is_ready = self.is_ready();
        let has = self.statuses.values().any(|status| *status == Status::Has);
        let state = self.states.entry(peer).or_default();
        let Some(message) = self.doc.generate_sync_message(state) else { return };
        let is_request = !is_ready && state.shared_heads.is_empty() && !has && status == Status::Unknown;
        if is_ready {
            self.statuses.insert(peer, Status::Has);
        }
        self.out.push_back((peer, Said::Sync { data: message.encode().into(), is_request }));
    }

    fn hear(&mut self, peer: usize, word: &Word) {
        match word {
            Word::Peer => {
                if self.known.insert(peer) && self.open {
                    self.begin(peer);
                }
            }
            Word::Sync(data) => {
                self.open = true;
                let message = Message::decode(data).expect("validated");
                self.brought += usize::from(!message.changes.is_empty());
                if !message.heads.is_empty() {
                    self.statuses.insert(peer, Status::Has);
                }
                self.peers.insert(peer);
                let before = self.doc.get_heads();
                let state = self.states.entry(peer).or_default();
                self.doc.receive_sync_message(state, message).expect("of an honest peer");
                self.send(peer);
                if self.doc.get_heads() != before {
                    self.changed();
                }
                for peer in self.known.difference(&self.peers).copied().collect::<Vec<_>>() {
                    self.begin(peer);
                }
                self.check();
            }
            Word::Unavailable => {
                self.statuses.insert(peer, Status::Unavailable);
                self.check();
            }
        }
    }

    fn changed(&mut self) {
        self.unavailable = false;
        for peer in self.peers.clone() {
            self.send(peer);
        }
    }

    fn check(&mut self) {
        let nobody = self
            .peers
            .iter()
            .all(|peer| matches!(self.statuses.get(peer), Some(Status::Unavailable | Status::Wants)));
        if self.open && !self.is_ready() && nobody {
            self.unavailable = true;
            for peer in self.peers.clone() {
                if self.statuses.insert(peer, Status::Unavailable) == Some(Status::Wants) {
                    self.out.push_back((peer, Said::Unavailable));
                }
            }
        }
    }

    /// The adapter tells of the last peer that was introduced, and of no other.
    fn cut(&mut self) {
        self.inbox.clear();
        self.announced = 0;
        if self.known.remove(&0) {
            self.peers.remove(&0);
            self.statuses.remove(&0);
            self.check();
        }
        self.out.clear();
    }
}

pub(super) struct World {
    pub(super) pairs: Pairs,
    seats: usize,
    repos: Vec<Repo>,
    next: u64,
    now: Millis,
    edits: u64,
}

impl World {
    /// The first of them has the document.
    pub(super) fn new(repos: u64, seats: usize) -> Self {
        let mut first = Automerge::new().with_actor(vec![0; 16].into());
        first.transact(|tx| tx.put(ROOT, "made", true)).expect("a new document");
        let doc =
            |number: u64| Automerge::new().with_actor(vec![u8::try_from(number).expect("few"); 16].into());
        let repos = (0..repos).map(|number| Repo::new(if number == 0 { first.clone() } else { doc(number) }));
        let pairs = Pairs::new(seats);
        Self { pairs, seats, repos: repos.collect(), next: 1, now: Millis(0), edits: 0 }
    }

    /// Each step: a repo and what it does.
    pub(super) fn play(&mut self, steps: &[(usize, u8)]) {
        for (repo, action) in steps {
            match action {
                0 | 1 => self.edit(*repo),
                2 => self.find(*repo),
                3 if self.repos[*repo].seat.is_none() => self.connect(*repo),
                3..=5 => self.read_one(*repo),
                6 => self.cut(*repo),
                7 => self.wait(),
                _ => self.restart(),
            }
            self.check();
        }
    }

    /// Connects everybody, opens the document everywhere and lets all messages arrive.
    pub(super) fn settle(&mut self) {
        for repo in 0..self.repos.len() {
            if self.repos[repo].seat.is_none() {
                self.connect(repo);
            }
            self.find(repo);
        }
        self.deliver_all();
    }

    pub(super) fn deliver_all(&mut self) {
        for _ in 0..20_000 {
            if self.repos.iter().all(|repo| repo.inbox.is_empty()) {
                return;
            }
            for repo in 0..self.repos.len() {
                self.read_one(repo);
            }
            self.check();
        }
        panic!("they never come to an end");
    }

    pub(super) fn contents(&self) -> Vec<Vec<String>> {
        let keys = |repo: &Repo| repo.doc.keys(ROOT).collect::<Vec<_>>();
        self.repos.iter().map(keys).collect()
    }

    pub(super) fn edits(&self) -> u64 {
        self.edits
    }

    pub(super) fn is_unavailable(&self, repo: usize) -> bool {
        self.repos[repo].unavailable
    }

    pub(super) fn brought(&self, repo: usize) -> usize {
        self.repos[repo].brought
    }

    pub(super) fn peers(&self, repo: usize) -> usize {
        self.repos[repo].known.len()
    }

    pub(super) fn find(&mut self, repo: usize) {
        self.repos[repo].find();
        self.carry(repo);
    }

    pub(super) fn edit(&mut self, number: usize) {
        let repo = &mut self.repos[number];
        if !repo.is_ready() {
            return;
        }
        let key = format!("{number} {}", self.edits);
        self.edits += 1;
        repo.doc.transact(|tx| tx.put(ROOT, key, 1)).expect("a put");
        repo.changed();
        self.carry(number);
    }

    pub(super) fn connect(&mut self, number: usize) {
        let id = MemberId(self.next);
        self.next += 1;
        let repo = &mut self.repos[number];
        (repo.seat, repo.announced) = (Some(id), 1);
        repo.inbox.push_back((0, Word::Peer));
    }

    pub(super) fn cut(&mut self, repo: usize) {
        let seat = self.repos[repo].seat.take();
        self.repos[repo].cut();
        if let Some(id) = seat {
            self.pairs.leave(self.now, id);
            self.effects();
        }
    }

    /// An empty relay takes the place of this one.
    pub(super) fn restart(&mut self) {
        self.pairs = Pairs::new(self.seats);
        for repo in &mut self.repos {
            repo.seat = None;
            repo.cut();
        }
    }

    /// Whoever was waited for has been silent for too long.
    pub(super) fn wait(&mut self) {
        if let Some(deadline) = self.pairs.poll_timeout() {
            self.now = self.now.max(deadline);
            self.pairs.handle_timeout(self.now);
            self.effects();
        }
    }

    fn read_one(&mut self, number: usize) {
        if let Some((slot, word)) = self.repos[number].inbox.pop_front() {
            self.repos[number].hear(slot, &word);
            self.carry(number);
        }
    }

    /// What a repo says goes to the machine, or nowhere without a connection.
    fn carry(&mut self, number: usize) {
        while let Some((slot, said)) = self.repos[number].out.pop_front() {
            let Some(id) = self.repos[number].seat else { continue };
            self.now = self.now.plus(1);
            self.pairs.enter(id, None);
            match said {
                Said::Sync { data, is_request } => {
                    self.pairs.sync(self.now, id, Some(Slot(slot)), data, is_request);
                }
                Said::Unavailable => self.pairs.unavailable(self.now, id, Slot(slot)),
            }
            self.effects();
        }
    }

    fn effects(&mut self) {
        while let Some(effect) = self.pairs.poll_effect() {
            let (to, slot, word) = match effect {
                Effect::Sync { to, slot, data, .. } => (to, slot.0, Word::Sync(data)),
                Effect::Unavailable { to, slot, .. } => (to, slot.0, Word::Unavailable),
                Effect::Say { .. } | Effect::Heads { .. } => continue,
            };
            let repo = self.repos.iter_mut().find(|repo| repo.seat == Some(to)).expect("a member");
            if slot >= repo.announced {
                repo.inbox.extend((repo.announced..=slot).map(|slot| (slot, Word::Peer)));
                repo.inbox.push_back((0, Word::Peer));
                repo.announced = slot + 1;
            }
            repo.inbox.push_back((slot, word));
        }
    }

    /// What holds at any time.
    fn check(&self) {
        let members = &self.pairs.members;
        assert!(members.values().filter(|member| member.seated).count() <= self.seats);
        for (id, member) in members {
            let partners: Vec<_> = member.all_partners().collect();
            let mine: BTreeSet<_> = partners.iter().collect();
            assert_eq!(mine.len(), partners.len(), "one slot for each");
            for partner in &partners {
                let other = &members[partner];
                assert!(other.slot_of(*id).is_some(), "pairs have two sides");
                assert!(member.holds || other.holds, "nobody is paired in vain");
                assert!(member.seated && other.seated);
            }
            assert!(member.holds || mine.len() <= 1, "the document comes from one");
            for (other, about) in members.iter().filter(|(other, about)| *other != id && about.holds) {
                let paired =
                    mine.contains(other) || member.refused.contains(other) || about.refused.contains(id);
                assert!(!member.holds || paired, "who holds the document is paired with all who do");
            }
        }
    }
}
