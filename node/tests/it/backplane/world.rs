//! Servers that can be killed and come back at the same place, and participants that write down what they hear.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tombolo_core::cluster::To;
use tombolo_core::id::{DocumentId, PeerId};
use tombolo_relay::backplane::{self, Backplane, Hearer, Link, MESSAGE_BYTES_MAX, Participant, Plane};

use crate::command_line::tombolo;

/// Bounds every wait, so that a hang is a failure; no test's outcome hangs on how long it is.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(30), future).await;
    waited.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A program that listens at one port, over its deaths.
pub struct Server {
    pub address: SocketAddr,
    command: Box<dyn Fn(&SocketAddr) -> Command>,
    child: Option<Child>,
}

impl Server {
    /// Started at a free port.
    pub fn start(command: impl Fn(&SocketAddr) -> Command + 'static) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut server = Self { address, command: Box::new(command), child: None };
        server.revive();
        server
    }

    /// A nats-server with more arguments.
    pub fn nats(more: &'static [&'static str]) -> Self {
        let program = std::env::var("TOMBOLO_NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
        let found = Command::new(&program).arg("--version").output();
        assert!(
            found.is_ok_and(|output| output.status.success()),
            "{program} cannot be run; install it (Debian: apt-get install nats-server), or name it in TOMBOLO_NATS_SERVER"
        );
        Self::start(move |address| {
            let mut command = Command::new(&program);
            command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]).args(more);
            command
        })
    }

    /// A relay with more arguments.
    pub fn relay(more: &'static [&'static str]) -> Self {
        Self::start(move |address| {
            let mut command = tombolo(&["relay", "--listen", &address.to_string()]);
            command.args(more);
            command
        })
    }

    /// Starts it in its place and waits until it listens.
    pub fn revive(&mut self) {
        let mut command = (self.command)(&self.address);
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        while TcpStream::connect(self.address).is_err() {
            assert_eq!(self.child.as_mut().unwrap().try_wait().unwrap(), None, "it ended");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops it for a while without closing anything, or lets it go on.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id();
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// What a hearer is told.
pub enum Told {
    Up(Arc<dyn Backplane>),
    Heard(To, Bytes),
    Down(String),
    Went(PeerId),
}

struct Ear(UnboundedSender<Told>);

/// What messages of a test begin with: real relays say words of their own.
const MARK: &[u8] = b"test:";

/// A message of a test as it is said.
pub fn marked(message: &[u8]) -> Bytes {
    [MARK, message].concat().into()
}

/// Most bytes of a message of a test.
pub const BYTES_MAX: usize = MESSAGE_BYTES_MAX - MARK.len();

impl Hearer for Ear {
    fn up(&self, backplane: Arc<dyn Backplane>) {
        let _ = self.0.send(Told::Up(backplane));
    }

    fn hear(&self, to: &To, message: Bytes) {
        if message.starts_with(MARK) {
            let _ = self.0.send(Told::Heard(to.clone(), message.slice(MARK.len()..)));
        }
    }

    fn down(&self, reason: &str) {
        let _ = self.0.send(Told::Down(reason.to_owned()));
    }

    fn went(&self, peer: PeerId, _said: Option<tombolo_core::cluster::Sender>) {
        let _ = self.0.send(Told::Went(peer));
    }
}

/// One on a backplane.
pub struct Peer {
    pub plane: Plane,
    pub name: PeerId,
    _participant: Participant,
    pub backplane: Option<Arc<dyn Backplane>>,
    told: UnboundedReceiver<Told>,
    /// Said before its turn.
    kept: VecDeque<Told>,
}

impl Peer {
    /// One in a process of its own, as it were.
    pub fn with(link: Link) -> Self {
        let name = backplane::fresh_name();
        Self::at(&backplane::start(link, name), name)
    }

    /// One more in the same process.
    pub fn at(plane: &Plane, name: PeerId) -> Self {
        let (ear, told) = unbounded_channel();
        let participant = plane.hub().join(name, Arc::new(Ear(ear))).unwrap();
        let plane = plane.clone();
        Self { plane, name, _participant: participant, backplane: None, told, kept: VecDeque::new() }
    }

    pub async fn told(&mut self) -> Told {
        match self.kept.pop_front() {
            Some(told) => told,
            None => soon("something to be told", self.told.recv()).await.unwrap(),
        }
    }

    /// The next time that it has a backplane; what is told until then is of earlier times.
    pub async fn up(&mut self) {
        loop {
            if let Told::Up(backplane) = self.told().await {
                self.backplane = Some(backplane);
                return;
            }
        }
    }

    /// The next time that it has none.
    pub async fn down(&mut self) -> String {
        loop {
            if let Told::Down(reason) = self.told().await {
                return reason;
            }
        }
    }

    /// The next message.
    pub async fn heard(&mut self) -> (To, Bytes) {
        match self.told().await {
            Told::Heard(to, message) => (to, message),
            Told::Up(_) => panic!("up instead of a message"),
            Told::Down(reason) => panic!("down instead of a message: {reason}"),
            Told::Went(peer) => panic!("{peer} went instead of a message"),
        }
    }

    /// So many messages, sorted: to different addressees there is no order.
    pub async fn heard_all(&mut self, count: usize) -> Vec<(To, Bytes)> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.heard().await);
        }
        all.sort();
        all
    }

    /// All messages up to this one to everybody, which is left out.
    pub async fn heard_until(&mut self, last: &str) -> Vec<(To, Bytes)> {
        let mut all = Vec::new();
        loop {
            match self.heard().await {
                (To::Everybody, message) if message == last => return all,
                heard => all.push(heard),
            }
        }
    }

    fn backplane(&self) -> &Arc<dyn Backplane> {
        self.backplane.as_ref().expect("it is not up")
    }

    pub fn say(&self, to: &To, message: impl AsRef<[u8]>) {
        self.backplane().say(to, marked(message.as_ref()));
    }

    pub fn listen(&self, room: &str) {
        self.backplane().listen(&document(room));
    }

    pub fn unlisten(&self, room: &str) {
        self.backplane().unlisten(&document(room));
    }
}

pub fn document(name: &str) -> DocumentId {
    DocumentId::yjs(name).unwrap()
}

pub fn room(name: &str) -> To {
    To::Room(document(name))
}
