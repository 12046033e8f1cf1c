//! The machine itself: what goes in from the driver.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::asks::Asks;
use super::codec::Sender;
use super::links::Peer;
use super::output::Output;
use super::rolls::{Closed, Room};
use crate::id::{DocumentId, PeerId};
use crate::time::Millis;

/// How long things take, in ms.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two beats.
    pub beat: u64,
    /// Who was silent for so long has vanished. Looked at with each beat.
    pub silence: u64,
    /// After coming up, before a roll call can end and a home is chosen: until then it is not known who lives.
    pub settle: u64,
    /// A roll call ends after this at the latest.
    pub call: u64,
    /// Who has not answered is asked again.
    pub ask: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { beat: 1_000, silence: 5_000, settle: 300, call: 2_000, ask: 500 }
    }
}

/// The backplane while it is there.
#[derive(Debug)]
pub(super) struct Link {
    /// When it is known who lives; none once it is.
    pub(super) settles: Option<Millis>,
    pub(super) beats: Millis,
}

/// One relay among those that a backplane joins.
#[derive(Debug)]
pub struct Cluster {
    pub(super) me: Sender,
    pub(super) archive: bool,
    pub(super) timing: Timing,
    /// None while the backplane is away.
    pub(super) link: Option<Link>,
    /// Numbers openings and meetings.
    pub(super) count: u64,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    /// Starts of peers that are over, the latest last.
    pub(super) ended: VecDeque<Sender>,
    pub(super) rooms: BTreeMap<DocumentId, Room>,
    /// Rooms that were open a moment ago.
    pub(super) closed: BTreeMap<DocumentId, Closed>,
    pub(super) asks: Asks,
    /// When which opening of a room is called at the latest.
    pub(super) calls: VecDeque<(Millis, DocumentId, u64)>,
    /// Rooms that something was said to since the last beat.
    pub(super) spoken: BTreeSet<DocumentId>,
    /// The last room whose peers were asked after in turn.
    pub(super) turn: Option<DocumentId>,
    /// Bytes that are kept of what comes in parts.
    pub(super) held: usize,
    pub(super) home: Option<PeerId>,
    pub(super) outputs: VecDeque<Output>,
}

impl Cluster {
    /// A relay by this name, with an archive or not, that has not come up yet.
    #[must_use]
    pub fn new(me: PeerId, archive: bool, timing: Timing) -> Self {
        Self {
            me: Sender { peer: me, starts: 0 },
            archive,
            timing,
            link: None,
            count: 0,
            peers: BTreeMap::new(),
            ended: VecDeque::new(),
            rooms: BTreeMap::new(),
            closed: BTreeMap::new(),
            asks: Asks::default(),
            calls: VecDeque::new(),
            spoken: BTreeSet::new(),
            turn: None,
            held: 0,
            home: None,
            outputs: VecDeque::new(),
        }
    }

    /// This relay and its start. What it says is under this name.
    #[must_use]
    pub fn me(&self) -> Sender {
        self.me
    }

    /// Who serves automerge-repo, as [`Output::Home`] said last.
    #[must_use]
    pub fn home(&self) -> Option<PeerId> {
        self.home
    }

    /// Whose archive serves what is handed through, if there is one and it is not this relay's.
    #[must_use]
    pub fn archive_elsewhere(&self) -> Option<PeerId> {
        self.home.filter(|home| self.peers.get(home).is_some_and(|about| about.archive == Some(true)))
    }

    /// Whether it is known who lives; without a backplane there is nobody to know.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.settles.is_none())
    }

    /// The others that live, and whether an archive is behind each as far as it has said.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, bool)> + '_ {
        self.peers.iter().map(|(peer, about)| (*peer, about.archive == Some(true)))
    }

    /// Whether a peer has this room open, or that is being asked; neither while the backplane is away. Who opened it
    /// for [`Output::Wanted`] keeps it open as long.
    #[must_use]
    pub fn is_shared(&self, document: &DocumentId) -> bool {
        self.link.is_some() && self.rooms.get(document).is_some_and(Room::is_shared)
    }

    /// The next thing to do, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}
