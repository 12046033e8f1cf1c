//! The driver of the cluster's machine: bytes and time in, messages and events out.
//!
//! Locks are taken in this order: whoever tells rooms what happened, a room, the machine. Rooms call in with their own
//! lock held, so what the machine has to say to rooms is only put down here, and told by somebody who holds no room.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tombolo_core::cluster::{Cluster, Draft, Output, Sender, Timing, To, TunnelFrame, Unread};
use tombolo_core::id::{DocumentId, PeerId};
use tombolo_core::room::{PeerMessage, Roll, StoreRefused};
use tombolo_core::time::Millis;

use super::events::Event;
use super::lanes::{Lanes, Next};
use crate::backplane::{Backplane, Hearer, MESSAGE_BYTES_MAX};
use crate::listener::Shared;
use crate::room::{PeerRead, Rooms};

/// Longest time between two looks at the machine's clock.
const NAP: Duration = Duration::from_secs(1);
/// Longest time that a client of automerge-repo waits for others to be known.
const SETTLED: Duration = Duration::from_secs(3);

/// What joins the rooms of this relay with those of others.
pub(crate) struct Joint {
    me: PeerId,
    inner: Mutex<Inner>,
    /// Whoever holds this tells the rooms what happened; nobody else does meanwhile.
    pub(super) telling: Mutex<()>,
    /// Something is to be told, or the machine's next deadline may have changed.
    news: Notify,
    settled: watch::Sender<bool>,
    lanes: Arc<Lanes>,
    pub(super) rooms: Weak<Rooms>,
    pub(super) shared: OnceLock<Weak<Shared>>,
}

struct Inner {
    machine: Cluster,
    /// None while it is away.
    backplane: Option<Arc<dyn Backplane>>,
    /// Was heard last and is read before anything else is heard.
    unread: Option<Unread>,
    /// Each with the number that the next room will have at least: it is for none that was opened later.
    events: VecDeque<(u64, Event)>,
}

impl Joint {
    /// `archive` if one has a seat in the rooms here, `joins` if there will be others.
    pub(crate) fn new(me: PeerId, archive: bool, joins: bool, rooms: Weak<Rooms>) -> Self {
        let machine = Cluster::new(me, archive, Timing::default());
        let inner = Inner { machine, backplane: None, unread: None, events: VecDeque::new() };
        Self {
            me,
            inner: Mutex::new(inner),
            telling: Mutex::new(()),
            news: Notify::new(),
            settled: watch::Sender::new(!joins),
            lanes: Arc::default(),
            rooms,
            shared: OnceLock::new(),
        }
    }

    /// Keeps the machine's time until the relay is gone.
    pub(crate) fn run(self: &Arc<Self>, shared: &Arc<Shared>) -> impl Future<Output = ()> + Send + use<> {
        // It is started once.
        let _ = self.shared.set(Arc::downgrade(shared));
        let joint = Arc::downgrade(self);
        async move {
            while let Some(joint) = joint.upgrade() {
                let wait = joint.until_deadline();
                tokio::select! {
                    () = joint.news.notified() => {}
                    () = joint.lanes.due() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                if joint.is_busy() {
                    // What peers say waits in the inbox.
                    joint.drive(Cluster::was_deaf);
                }
                joint.drive(|machine, now| machine.handle_timeout(now));
                joint.tell();
                joint.take_turns();
            }
        }
    }

    /// Reads for peers, and says large answers, as far as the way to them is free.
    fn take_turns(&self) {
        while let Some((peer, next)) = self.lanes.next(|peer| self.is_free(peer)) {
            match next {
                Next::Answer(document, message) => self.say_now(&document, peer, message),
                Next::Read(read, turn) => read.begin(turn),
            }
        }
    }

    /// Whether little waits on the way to a peer.
    fn is_free(&self, peer: PeerId) -> bool {
        self.shared
            .get()
            .and_then(Weak::upgrade)
            .is_none_or(|shared| shared.plane.hub().waiting_for(peer) <= shared.config.peer_backlog_bytes_max)
    }

    /// A question of a peer at the archive here.
    pub(crate) fn read(&self, peer: PeerId, read: PeerRead) {
        self.lanes.read(peer, read);
    }

    pub(crate) fn me(&self) -> PeerId {
        self.me
    }

    /// Whether a backplane is there. A room that is opened then waits for its roll call.
    pub(crate) fn is_up(&self) -> bool {
        self.lock().backplane.is_some()
    }

    /// Who serves automerge-repo connections, if that is another.
    pub(crate) fn home_elsewhere(&self) -> Option<PeerId> {
        self.lock().machine.home().filter(|home| *home != self.me)
    }

    /// Whose archive serves replicas, if that is another.
    pub(crate) fn archive_elsewhere(&self) -> Option<PeerId> {
        self.lock().machine.archive_elsewhere()
    }

    /// Waits until it is known who serves connections that are handed through: a client of automerge-repo that is told
    /// too early that nobody has its document believes it. Without a backplane there is nothing to wait for.
    pub(crate) async fn settled(&self) {
        let mut settled = self.settled.subscribe();
        if tokio::time::timeout(SETTLED, settled.wait_for(|settled| *settled)).await.is_err() {
            // Nobody else needs to wait for what does not come.
            self.settled.send_replace(true);
        }
    }

    /// How many others live: without an archive, and with one.
    pub(crate) fn peers(&self) -> [usize; 2] {
        let inner = self.lock();
        let archives = inner.machine.peers().filter(|(_, archive)| *archive).count();
        [inner.machine.peers().count().saturating_sub(archives), archives]
    }

    /// A room was opened here.
    pub(crate) fn opened(&self, document: &DocumentId, roll: Roll) {
        self.drive(|machine, now| machine.opened(now, document, roll));
    }

    /// It was closed. What is still to be told of it is for nobody: a new one is told anew.
    pub(crate) fn closed(&self, document: &DocumentId) {
        self.drive(|machine, _| machine.closed(document));
    }

    /// Whether a peer has the room open.
    pub(crate) fn is_shared(&self, document: &DocumentId) -> bool {
        self.lock().machine.is_shared(document)
    }

    pub(crate) fn roll_changed(&self, document: &DocumentId, roll: Roll) {
        self.drive(|machine, _| machine.roll_changed(document, roll));
    }

    /// From a room to those of all peers.
    pub(crate) fn say(&self, document: &DocumentId, message: PeerMessage) {
        let Some(draft) = self.draft(document, message) else { return };
        self.drive(|machine, _| {
            if let Err(error) = machine.say(document, draft) {
                tracing::warn!(%document, %error, "cannot be said to other relays");
            }
        });
    }

    /// What a room says, written where only that waits if it is large; nothing if nobody would hear it.
    fn draft(&self, document: &DocumentId, message: PeerMessage) -> Option<Draft<PeerMessage>> {
        let is_for_nobody = message.update_bytes() >= MESSAGE_BYTES_MAX && !self.is_shared(document);
        (!is_for_nobody).then(|| Draft::of_message(message))
    }

    /// From a room to that of one peer. A large answer waits until the way is free.
    pub(crate) fn say_to(&self, document: &DocumentId, peer: PeerId, message: PeerMessage) {
        if let Some(message) = self.lanes.keep((document, peer), message, || self.is_free(peer)) {
            self.say_now(document, peer, message);
        }
    }

    fn say_now(&self, document: &DocumentId, peer: PeerId, message: PeerMessage) {
        let ask = match &message {
            PeerMessage::Answer { ask, .. } => Some(*ask),
            _ => None,
        };
        let Some(draft) = self.draft(document, message) else { return };
        self.drive(|machine, _| {
            if let Err(error) = machine.tell(document, peer, draft) {
                tracing::warn!(%document, %peer, %error, "cannot be said to another relay");
                if let Some(ask) = ask {
                    // Who asked waits for it. This is short enough.
                    let refusal = PeerMessage::Answer { ask, result: Err(StoreRefused::Trouble) };
                    let _ = machine.tell(document, peer, refusal);
                }
            }
        });
    }

    /// A frame of a tunnel, to where it ends. If it is too large, the tunnel is closed instead, and this is false.
    pub(crate) fn tunnel(&self, peer: PeerId, frame: TunnelFrame) -> bool {
        let mut is_sent = true;
        let (TunnelFrame::Open { tunnel, .. }
        | TunnelFrame::Data { tunnel, .. }
        | TunnelFrame::Close { tunnel, .. }) = frame;
        let draft = Draft::of_frame(frame);
        self.drive(|machine, _| {
            if let Err(error) = machine.tunnel(peer, draft) {
                tracing::warn!(%peer, %error, "cannot be sent through a tunnel");
                let (code, reason) = (1009, "the message is too big".to_owned());
                let _ = machine.tunnel(peer, TunnelFrame::Close { tunnel, code, reason });
                is_sent = false;
            }
        });
        is_sent
    }

    /// Says goodbye, so that others need not wait until they miss it.
    pub(crate) fn stop(&self) {
        self.drive(Cluster::stop);
    }

    /// The oldest thing that is to be told to rooms, and the number of the first that it is not for.
    pub(super) fn next_event(&self) -> Option<(u64, Event)> {
        self.lock().events.pop_front()
    }

    fn drive(&self, event: impl FnOnce(&mut Cluster, Millis)) {
        self.drive_locked(&mut self.lock(), event);
    }

    /// What goes out goes out here and now, in order; what rooms are to hear is put down.
    fn drive_locked(&self, inner: &mut Inner, event: impl FnOnce(&mut Cluster, Millis)) {
        let Some((now, next)) = self.rooms.upgrade().map(|rooms| (rooms.now(), rooms.next_number())) else {
            return;
        };
        let Inner { machine, backplane, unread, events } = inner;
        let before = machine.poll_timeout();
        event(machine, now);
        let mut is_news = machine.poll_timeout() != before;
        while let Some(output) = machine.poll() {
            match (output, &*backplane) {
                (Output::Transmit { to, message }, Some(backplane)) => backplane.say(&to, message),
                (Output::Listen(document), Some(backplane)) => backplane.listen(&document),
                (Output::Unlisten(document), Some(backplane)) => backplane.unlisten(&document),
                (Output::Transmit { .. } | Output::Listen(_) | Output::Unlisten(_), None) => {}
                (Output::Unread(large), _) => *unread = Some(large),
                (output, _) => {
                    events.push_back((next, Event::Said(output)));
                    is_news = true;
                }
            }
        }
        if machine.me().starts > 0 {
            self.settled.send_if_modified(|settled| {
                let is_settled = machine.is_settled();
                std::mem::replace(settled, is_settled) != is_settled
            });
        }
        if is_news {
            self.news.notify_one();
        }
    }

    fn until_deadline(&self) -> Duration {
        let Some(now) = self.rooms.upgrade().map(|rooms| rooms.now()) else { return NAP };
        let deadline = self.lock().machine.poll_timeout();
        deadline.map_or(NAP, |deadline| Duration::from_millis(deadline.0.saturating_sub(now.0)).min(NAP))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under this lock would be a bug of ours; the machine then goes on as it stands.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hearer for Joint {
    fn up(&self, backplane: Arc<dyn Backplane>) {
        {
            let mut inner = self.lock();
            inner.backplane = Some(backplane);
            inner.events.push_back((u64::MAX, Event::Up));
            self.drive_locked(&mut inner, |machine, now| machine.up(now));
        }
        self.tell();
    }

    fn hear(&self, to: &To, message: Bytes) {
        self.drive(|machine, now| machine.heard(now, to, &message));
        self.tell();
    }

    fn has_unread(&self) -> bool {
        self.lock().unread.is_some()
    }

    fn read_aside(&self) {
        let unread = self.lock().unread.take();
        if let Some(unread) = unread {
            // Not under the lock: other rooms speak meanwhile.
            let read = unread.read();
            self.drive(|machine, now| machine.take_in(now, read));
            self.tell();
        }
    }

    fn down(&self, reason: &str) {
        tracing::debug!(reason, "without other relays");
        {
            let mut inner = self.lock();
            inner.backplane = None;
            inner.events.push_back((u64::MAX, Event::Down));
            self.drive_locked(&mut inner, |machine, now| machine.down(now));
        }
        self.tell();
    }

    fn went(&self, _peer: PeerId, said: Option<Sender>) {
        if let Some(sender) = said {
            self.drive(|machine, now| machine.bye_for(now, sender));
            self.tell();
        }
    }

    fn is_busy(&self) -> bool {
        let Some(shared) = self.shared.get().and_then(Weak::upgrade) else { return false };
        let archive = shared.archive.as_ref();
        archive.is_some_and(|archive| archive.pressure().bytes() > shared.config.archive_bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_first_waits_for_a_backplane_that_does_not_come() {
        let start = tokio::time::Instant::now();
        let alone = Joint::new(PeerId(1), false, false, Weak::new());
        alone.settled().await;
        assert_eq!(start.elapsed(), Duration::ZERO, "there is none to come");
        let joint = Joint::new(PeerId(1), false, true, Weak::new());
        tokio::join!(joint.settled(), joint.settled());
        assert_eq!(start.elapsed(), SETTLED);
        joint.settled().await;
        assert_eq!(start.elapsed(), SETTLED, "one has waited for all");
    }
}
