//! Another relay, at the hub of the one that is tested: the machine itself, driven by the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tombolo_core::cluster::{Cluster, Output, Timing, To, TunnelFrame};
use tombolo_core::id::{DocumentId, PeerId};
use tombolo_core::room::{PeerMessage, Roll};
use tombolo_core::time::Millis;
use tombolo_relay::backplane::{Backplane, Hearer, Participant};

use super::world::{Server, soon};

const NAME: PeerId = PeerId(3);

enum Told {
    Up(Arc<dyn Backplane>),
    Heard(To, Bytes),
    Down,
}

/// It hears nothing while it is told to be busy.
struct Ear(UnboundedSender<Told>, Arc<AtomicBool>);

impl Hearer for Ear {
    fn up(&self, backplane: Arc<dyn Backplane>) {
        let _ = self.0.send(Told::Up(backplane));
    }

    fn hear(&self, to: &To, message: Bytes) {
        let _ = self.0.send(Told::Heard(to.clone(), message));
    }

    fn down(&self, _reason: &str) {
        let _ = self.0.send(Told::Down);
    }

    fn is_busy(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}

/// A relay without members.
pub struct Far {
    _participant: Participant,
    told: UnboundedReceiver<Told>,
    machine: Cluster,
    backplane: Option<Arc<dyn Backplane>>,
    start: Instant,
    is_busy: Arc<AtomicBool>,
    /// How often it had a backplane.
    pub ups: u32,
}

impl Far {
    pub fn of(server: &Server) -> Self {
        Self::with(server, false)
    }

    /// One that has an archive, so that it serves automerge-repo, or none.
    pub fn with(server: &Server, archive: bool) -> Self {
        let (ear, told) = unbounded_channel();
        let is_busy = Arc::new(AtomicBool::new(false));
        let ear = Ear(ear, Arc::clone(&is_busy));
        let participant = server.relay.plane().hub().join(NAME, Arc::new(ear)).unwrap();
        let machine = Cluster::new(NAME, archive, Timing::default());
        let start = Instant::now();
        Self { _participant: participant, told, machine, backplane: None, start, is_busy, ups: 0 }
    }

    /// Whether what is said to it waits.
    pub fn be_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::Relaxed);
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap())
    }

    /// Goes on until the machine says something that is looked for.
    pub async fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Output) -> Option<T>) -> T {
        soon(what, async {
            loop {
                while let Some(output) = self.machine.poll() {
                    if let Some(found) = look(&output) {
                        return found;
                    }
                    self.carry_out(output);
                }
                self.step().await;
            }
        })
        .await
    }

    /// Goes on for a while; gives what is said to rooms meanwhile or happens to them.
    pub async fn pass(&mut self, time: Duration) -> Vec<Output> {
        let mut all = Vec::new();
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            while let Some(output) = self.machine.poll() {
                all.extend(self.carry_out(output));
            }
            let _ = tokio::time::timeout(left, self.step()).await;
        }
        all
    }

    /// The backplane itself, once it is there.
    pub async fn backplane(&mut self) -> Arc<dyn Backplane> {
        loop {
            if let Some(backplane) = &self.backplane {
                return Arc::clone(backplane);
            }
            soon("a backplane", self.step()).await;
        }
    }

    fn carry_out(&mut self, output: Output) -> Option<Output> {
        match (output, &self.backplane) {
            (Output::Transmit { to, message }, Some(backplane)) => backplane.say(&to, message),
            (Output::Listen(document), Some(backplane)) => backplane.listen(&document),
            (Output::Unlisten(document), Some(backplane)) => backplane.unlisten(&document),
            (Output::Transmit { .. } | Output::Listen(_) | Output::Unlisten(_), None) => {}
            (Output::Unread(unread), _) => self.machine.take_in(self.now(), unread.read()),
            (output, _) => return Some(output),
        }
        None
    }

    async fn step(&mut self) {
        let deadline = self.machine.poll_timeout().map_or(1_000, |at| at.0.saturating_sub(self.now().0));
        tokio::select! {
            told = self.told.recv() => match told.unwrap() {
                Told::Up(backplane) => {
                    self.backplane = Some(backplane);
                    self.ups += 1;
                    self.machine.up(self.now());
                }
                Told::Heard(to, message) => self.machine.heard(self.now(), &to, &message),
                Told::Down => self.machine.down(self.now()),
            },
            () = tokio::time::sleep(Duration::from_millis(deadline)) => {}
        }
        self.machine.handle_timeout(self.now());
    }

    /// Opens a room and waits until the relay has it open, too; gives the name of that one.
    pub async fn open(&mut self, document: &DocumentId) -> PeerId {
        self.machine.opened(self.now(), document, Roll::default());
        self.until("the other to come", |output| match output {
            Output::Came { peer, .. } => Some(*peer),
            _ => None,
        })
        .await
    }

    pub fn say(&mut self, document: &DocumentId, message: PeerMessage) {
        self.machine.say(document, message).unwrap();
        self.say_now();
    }

    pub fn tell(&mut self, document: &DocumentId, peer: PeerId, message: PeerMessage) {
        self.machine.tell(document, peer, message).unwrap();
        self.say_now();
    }

    /// Says something through a tunnel to its other end; it gets lost, if it is to.
    pub fn tunnel(&mut self, peer: PeerId, frame: TunnelFrame, is_lost: bool) {
        self.say_now();
        self.machine.tunnel(peer, frame).unwrap();
        if is_lost {
            while self.machine.poll().is_some() {}
        }
        self.say_now();
    }

    /// What was just said goes out.
    fn say_now(&mut self) {
        while let Some(output) = self.machine.poll() {
            self.carry_out(output);
        }
    }
}
