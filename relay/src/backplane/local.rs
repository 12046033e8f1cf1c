//! The hub: who is joined in this process, and the link to other machines if there is one.
//!
//! A participant has a backplane while there is anybody whom it could hear: another participant or the link. So a
//! relay by itself never waits for others. Whatever a link carried may be lost with it, so all begin anew when it
//! comes or goes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle as Runtime;
use tokio::sync::Notify;
use tombolo_core::cluster::{Sender, To, sender_of};
use tombolo_core::id::{DocumentId, PeerId};

use super::inbox::{BREATH, Inbox};
use super::outbox::{Outbox, Outward};
use super::{Backplane, Hearer, MESSAGE_BYTES_MAX};

/// Most bytes that wait for one participant, or for the link: some seconds of a network.
pub(super) const WAITING_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Two of one name cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is joined already; its last connection has to end first")]
pub struct NameTaken(pub PeerId);

struct Seat {
    inbox: Arc<Inbox>,
    /// Which of its times this is; none while it has no backplane.
    time: Option<u64>,
    listens: HashSet<DocumentId>,
    /// Under which start it spoke to everybody last.
    said: Option<Sender>,
}

#[derive(Default)]
struct State {
    seats: HashMap<PeerId, Seat>,
    listeners: HashMap<DocumentId, HashSet<PeerId>>,
    link: Option<Arc<Outbox>>,
    /// The last words were said: no other link will do.
    has_ended: bool,
    times: u64,
}

struct Inner {
    state: Mutex<State>,
    ending: Notify,
    runtime: Runtime,
    bytes_max: usize,
}

/// What joins the participants of one process. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

/// A seat at a hub; dropping it leaves. A call that is being made then still ends.
pub struct Participant {
    hub: Hub,
    name: PeerId,
}

/// The backplane of one participant, from one `up` to the next `down`; later it is deaf and dumb.
struct Voice {
    hub: Hub,
    name: PeerId,
    time: u64,
}

impl Hub {
    /// One without anybody. Must be called in a tokio runtime, which will make the calls of all hearers; at most
    /// `bytes_max` bytes wait for each.
    #[must_use]
    pub(super) fn new(bytes_max: usize) -> Self {
        let (state, ending, runtime) = (Mutex::default(), Notify::new(), Runtime::current());
        Self(Arc::new(Inner { state, ending, runtime, bytes_max }))
    }

    /// Joins under a name.
    ///
    /// # Errors
    /// [`NameTaken`] while another has it.
    pub fn join(&self, name: PeerId, hearer: Arc<dyn Hearer>) -> Result<Participant, NameTaken> {
        let mut state = self.lock();
        if state.seats.contains_key(&name) {
            return Err(NameTaken(name));
        }
        let inbox = Inbox::new(self.0.bytes_max);
        self.0.runtime.spawn(Arc::clone(&inbox).run(hearer));
        state.seats.insert(name, Seat { inbox, time: None, listens: HashSet::new(), said: None });
        state.tell_link(|| Outward::Listen(To::Peer(name)));
        let waited: Vec<_> =
            state.seats.iter().filter(|(_, seat)| seat.time.is_none()).map(|(name, _)| *name).collect();
        for waits in waited {
            self.begin_anew(&mut state, waits, "others come");
        }
        Ok(Participant { hub: self.clone(), name })
    }

    /// Takes the backplane away from one for good, so that it leaves.
    pub(crate) fn expel(&self, name: PeerId, reason: &str) {
        let mut state = self.lock();
        state.forget_listens(name);
        if let Some(seat) = state.seats.get_mut(&name) {
            seat.time = None;
            seat.inbox.restart(reason, None);
        }
    }

    /// There is a link to other machines from now on. Returns what is to be carried over it.
    pub(super) fn link_up(&self) -> Arc<Outbox> {
        let outbox = Outbox::new(self.0.bytes_max);
        let mut state = self.lock();
        if state.has_ended {
            outbox.push(Outward::End);
            return outbox;
        }
        let names = state.names();
        // Before the new one could hear of it.
        state.link = None;
        names.iter().for_each(|name| state.forget_listens(*name));
        state.link = Some(Arc::clone(&outbox));
        for name in names {
            outbox.push(Outward::Listen(To::Peer(name)));
            self.begin_anew(&mut state, name, "joined with other relays");
        }
        outbox
    }

    /// There is none any more, or what it carried may be lost.
    pub(super) fn link_down(&self, reason: &str) {
        let mut state = self.lock();
        state.link = None;
        for name in state.names() {
            self.begin_anew(&mut state, name, reason);
        }
    }

    /// Something came over the link.
    pub(super) fn deliver(&self, to: &To, message: &Bytes) {
        // Who speaks from elsewhere has its place here no more, even if nobody has noticed yet.
        if *to == To::Everybody
            && let Ok(sender) = sender_of(message)
            && self.lock().seats.contains_key(&sender.peer)
        {
            self.expel(sender.peer, "it has joined elsewhere");
        }
        let mut state = self.lock();
        self.spread(&mut state, None, to, message);
    }

    /// Bytes that wait on the way to a peer.
    pub(crate) fn waiting_for(&self, peer: PeerId) -> usize {
        let state = self.lock();
        state.seats.get(&peer).map_or_else(|| state.link_bytes(), |seat| seat.inbox.bytes())
    }

    /// Bytes that wait for the link to other machines.
    pub(crate) fn waiting_for_link(&self) -> usize {
        self.lock().link_bytes()
    }

    /// Waits until nobody here has too much to hear. For a link that can make those wait who say it.
    pub(super) async fn takes_more(&self) {
        let waits = || self.lock().seats.values().any(|seat| seat.inbox.bytes() > self.0.bytes_max / 4);
        while waits() {
            tokio::time::sleep(BREATH).await;
        }
    }

    /// Ends the link after all that was said.
    pub(super) fn end_link(&self) {
        let mut state = self.lock();
        state.has_ended = true;
        state.tell_link(|| Outward::End);
        drop(state);
        self.0.ending.notify_one();
    }

    /// Completes when the link is to end. For the one who keeps it, while there is none.
    pub(super) async fn ending(&self) {
        while !self.lock().has_ended {
            self.0.ending.notified().await;
        }
    }

    fn say(&self, voice: &Voice, to: &To, message: Bytes) {
        if message.len() > MESSAGE_BYTES_MAX {
            return tracing::error!(bytes = message.len(), "a message is too large for the backplane");
        }
        let mut state = self.lock();
        if !state.is_of_now(voice) {
            return;
        }
        if *to == To::Everybody
            && let Some(seat) = state.seats.get_mut(&voice.name)
        {
            seat.said = sender_of(&message).ok().or(seat.said);
        }
        self.spread(&mut state, Some(voice.name), to, &message);
        if !matches!(to, To::Peer(peer) if state.seats.contains_key(peer)) {
            state.tell_link(|| Outward::Say(to.clone(), message));
        }
    }

    fn spread(&self, state: &mut State, from: Option<PeerId>, to: &To, message: &Bytes) {
        let hear = |(name, seat): (&PeerId, &Seat)| {
            let hears = Some(*name) != from && seat.time.is_some();
            (hears && !seat.inbox.hear(to, message)).then_some(*name)
        };
        let too_slow: Vec<PeerId> = match to {
            To::Everybody => state.seats.iter().filter_map(hear).collect(),
            To::Peer(peer) => state.seats.get_key_value(peer).and_then(hear).into_iter().collect(),
            To::Room(document) => {
                let listeners = state.listeners.get(document).into_iter().flatten();
                listeners.filter_map(|name| state.seats.get_key_value(name)).filter_map(hear).collect()
            }
        };
        for name in too_slow {
            tracing::warn!(peer = %name, "it is too slow for what is said on the backplane, and begins anew");
            self.begin_anew(state, name, "this process is too slow for what is said on the backplane");
        }
    }

    /// Ends the time of one participant and begins another, if there is anybody to be heard.
    fn begin_anew(&self, state: &mut State, name: PeerId, reason: &str) {
        state.forget_listens(name);
        let is_joined = state.link.is_some() || state.seats.len() > 1;
        state.times += 1;
        let time = is_joined.then_some(state.times);
        let Some(seat) = state.seats.get_mut(&name) else { return };
        seat.time = time;
        let voice = time.map(|time| Arc::new(Voice { hub: self.clone(), name, time }) as Arc<dyn Backplane>);
        seat.inbox.restart(reason, voice);
    }

    fn leave(&self, name: PeerId) {
        let mut state = self.lock();
        state.forget_listens(name);
        let mut said = None;
        if let Some(seat) = state.seats.remove(&name) {
            seat.inbox.close();
            said = seat.said;
        }
        state.tell_link(|| Outward::Unlisten(To::Peer(name)));
        state.seats.values().for_each(|seat| seat.inbox.went(name, said));
        if state.link.is_none()
            && let [last] = state.names()[..]
        {
            self.begin_anew(&mut state, last, "nobody else is joined any more");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step in between can panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn names(&self) -> Vec<PeerId> {
        self.seats.keys().copied().collect()
    }

    fn link_bytes(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.bytes())
    }

    fn tell_link(&self, entry: impl FnOnce() -> Outward) {
        if let Some(link) = &self.link {
            link.push(entry());
        }
    }

    fn is_of_now(&self, voice: &Voice) -> bool {
        self.seats.get(&voice.name).is_some_and(|seat| seat.time == Some(voice.time))
    }

    fn listen(&mut self, name: PeerId, document: &DocumentId) {
        let Some(seat) = self.seats.get_mut(&name) else { return };
        if !seat.listens.insert(document.clone()) {
            return;
        }
        let listeners = self.listeners.entry(document.clone()).or_default();
        listeners.insert(name);
        if listeners.len() == 1 {
            self.tell_link(|| Outward::Listen(To::Room(document.clone())));
        }
    }

    fn unlisten(&mut self, name: PeerId, document: &DocumentId) {
        let Some(seat) = self.seats.get_mut(&name) else { return };
        if !seat.listens.remove(document) {
            return;
        }
        let Some(listeners) = self.listeners.get_mut(document) else { return };
        listeners.remove(&name);
        if listeners.is_empty() {
            self.listeners.remove(document);
            self.tell_link(|| Outward::Unlisten(To::Room(document.clone())));
        }
    }

    fn forget_listens(&mut self, name: PeerId) {
        let Some(seat) = self.seats.get(&name) else { return };
        for document in seat.listens.clone() {
            self.unlisten(name, &document);
        }
    }
}

impl Backplane for Voice {
    fn say(&self, to: &To, message: Bytes) {
        self.hub.say(self, to, message);
    }

    fn listen(&self, document: &DocumentId) {
        let mut state = self.hub.lock();
        if state.is_of_now(self) {
            state.listen(self.name, document);
        }
    }

    fn unlisten(&self, document: &DocumentId) {
        let mut state = self.hub.lock();
        if state.is_of_now(self) {
            state.unlisten(self.name, document);
        }
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.hub.leave(self.name);
    }
}
