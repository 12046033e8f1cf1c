//! The door for peers: who is let in, what it may say, and what happens when it goes or does not read.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tombolo_core::cluster::To;
use tombolo_core::dialect::native::{Hello, Message, Refusal, Role, parse};
use tombolo_core::id::{DocumentId, PeerId};
use tombolo_relay::backplane::{Backplane, Hearer, Link, Participant};
use tombolo_relay::{Rate, RelayConfig};

use super::world::{CUT, Client, Raw, Server, handshake_with, masked, soon};

const PATH: &str = "/native";
const NAME: PeerId = PeerId(7);

fn hello(token: &str) -> Message {
    Message::Hello(Hello { role: Role::Peer, peer: NAME, token: token.to_owned() })
}

async fn send(client: &mut Client, message: &Message) {
    client.send(message.encode()).await;
}

/// A message of a test: the relay itself says others.
fn words(words: &str) -> Bytes {
    format!("test:{words}").into()
}

fn is_of_test(payload: &Bytes) -> bool {
    payload.starts_with(b"test:")
}

async fn next(client: &mut Client) -> Message {
    loop {
        match parse(&client.next().await).unwrap() {
            Message::Heard { payload, .. } if !is_of_test(&payload) => {}
            message => return message,
        }
    }
}

/// A client that was welcomed.
async fn peer(server: &Server) -> Client {
    let mut client = server.connect(PATH).await;
    send(&mut client, &hello("")).await;
    let relay = server.relay.plane().name();
    assert_eq!(next(&mut client).await, Message::Welcome { version: 1, relay });
    client
}

/// One of the relay's own process.
struct Inside {
    _participant: Participant,
    told: UnboundedReceiver<Told>,
}

enum Told {
    Up(Arc<dyn Backplane>),
    Heard(To, Bytes),
    Went(PeerId),
}

struct Ear(UnboundedSender<Told>);

impl Hearer for Ear {
    fn up(&self, backplane: Arc<dyn Backplane>) {
        let _ = self.0.send(Told::Up(backplane));
    }

    fn hear(&self, to: &To, message: Bytes) {
        if is_of_test(&message) {
            let _ = self.0.send(Told::Heard(to.clone(), message));
        }
    }

    fn down(&self, _reason: &str) {}

    fn went(&self, peer: PeerId, _said: Option<tombolo_core::cluster::Sender>) {
        let _ = self.0.send(Told::Went(peer));
    }
}

impl Inside {
    fn of(server: &Server) -> Self {
        let (ear, told) = unbounded_channel();
        let participant = server.relay.plane().hub().join(PeerId(1), Arc::new(Ear(ear))).unwrap();
        Self { _participant: participant, told }
    }

    async fn next(&mut self) -> Told {
        soon("something to be told", self.told.recv()).await.unwrap()
    }

    async fn up(&mut self) -> Arc<dyn Backplane> {
        loop {
            if let Told::Up(backplane) = self.next().await {
                return backplane;
            }
        }
    }

    async fn heard(&mut self) -> (To, Bytes) {
        match self.next().await {
            Told::Heard(to, message) => (to, message),
            _ => panic!("no message"),
        }
    }

    /// The next that is gone; what was said until then does not matter.
    async fn went(&mut self) -> PeerId {
        loop {
            if let Told::Went(peer) = self.next().await {
                return peer;
            }
        }
    }
}

fn room(name: &str) -> To {
    To::Room(document(name))
}

fn document(name: &str) -> DocumentId {
    DocumentId::yjs(name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_one_more_on_the_backplane_until_it_goes() {
    let server = Server::start().await;
    let mut inside = Inside::of(&server);
    let mut peer = peer(&server).await;
    let backplane = inside.up().await;
    send(&mut peer, &Message::Listen(document("r"))).await;
    send(&mut peer, &Message::Say { to: To::Everybody, payload: words("hi") }).await;
    assert_eq!(inside.heard().await, (To::Everybody, words("hi")));
    for to in [room("r"), room("other"), To::Peer(NAME), To::Peer(PeerId(9)), To::Everybody] {
        backplane.say(&to, words("x"));
    }
    for to in [room("r"), To::Peer(NAME), To::Everybody] {
        assert_eq!(next(&mut peer).await, Message::Heard { to, payload: words("x") });
    }
    send(&mut peer, &Message::Unlisten(document("r"))).await;
    send(&mut peer, &Message::Say { to: To::Peer(PeerId(1)), payload: words("bye") }).await;
    assert_eq!(inside.heard().await, (To::Peer(PeerId(1)), words("bye")));
    backplane.say(&room("r"), words("no more"));
    backplane.say(&To::Everybody, words("end"));
    assert_eq!(next(&mut peer).await, Message::Heard { to: To::Everybody, payload: words("end") });
    assert_eq!(server.metric("connections{dialect=\"native\"}").await, 1);
    assert_eq!(peer.goodbye().await, 1005);
    assert_eq!(inside.went().await, NAME);
}

/// What a Hello is answered with where it is refused, and how the connection ends.
async fn refused(server: &Server, hello: &Message) -> (Refusal, String, u16) {
    let mut client = server.connect(PATH).await;
    send(&mut client, hello).await;
    let Message::Refused { refusal, reason } = next(&mut client).await else { panic!("not refused") };
    let (rest, code) = client.rest().await;
    assert_eq!(rest, Vec::<Bytes>::new());
    (refusal, reason, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_why() {
    let with_token = |config: &mut RelayConfig| config.peer_token = Some("secret".parse().unwrap());
    let server = Server::with(with_token, None).await;
    let _inside = Inside::of(&server);
    let wants = |role, peer, token: &str| Message::Hello(Hello { role, peer, token: token.to_owned() });
    let itself = server.relay.plane().name();
    for (message, refusal, words) in [
        (Message::HelloOfOthers, Refusal::VERSION, "here it is 1"),
        (hello(""), Refusal::TOKEN, "wants a token"),
        (hello("Secret"), Refusal::TOKEN, "wrong token"),
        (wants(Role::Other(9), NAME, "secret"), Refusal::ROLE, "peers and replicas only"),
        (wants(Role::Peer, itself, "secret"), Refusal::YOURSELF, "you yourself"),
    ] {
        let (given, reason, code) = refused(&server, &message).await;
        assert!(given == refusal && reason.contains(words), "{message:?}: {given:?} {reason}");
        assert_eq!(code, 4403);
    }
    assert_eq!(server.metric("refusals_total{reason=\"peer_token\"}").await, 2);
    let mut welcome = server.connect(PATH).await;
    send(&mut welcome, &hello("secret")).await;
    assert!(matches!(next(&mut welcome).await, Message::Welcome { .. }));

    let joined = |config: &mut RelayConfig| {
        config.link = Link::Relays(vec!["ws://127.0.0.1:9".parse().unwrap()], None);
    };
    let guest = Server::with(joined, None).await;
    let (given, reason, _) = refused(&guest, &hello("")).await;
    assert!(given == Refusal::GUEST && reason.contains("--relay"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_only_this_machine_gets_in_and_a_page_never() {
    let open = Server::with(|config| config.listen = "0.0.0.0:0".parse().unwrap(), None).await;
    let _inside = Inside::of(&open);
    let mut far = Client::connect(([127, 0, 0, 1], open.address.port()).into(), PATH).await;
    send(&mut far, &hello("")).await;
    let Message::Refused { refusal, reason } = next(&mut far).await else { panic!("not refused") };
    assert!(refusal == Refusal::TOKEN && reason.contains("--peer-token"), "{reason}");

    let server = Server::start().await;
    let _inside = Inside::of(&server);
    let _peer = peer(&server).await;
    for header in ["x-forwarded-for: 192.0.2.1", "forwarded: for=192.0.2.1", "via: 1.1 proxy"] {
        let mut raw = Raw { socket: server.tcp().await };
        raw.send(&handshake_with(PATH, header)).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101"));
        raw.send(&masked(0x82, &hello("").encode())).await;
        let (_, frame) = raw.frame().await.unwrap();
        let said = parse(&frame.into()).unwrap();
        assert!(matches!(said, Message::Refused { refusal: Refusal::TOKEN, .. }), "{header}");
    }
    let anybody = |config: &mut RelayConfig| {
        config.origins = tombolo_relay::AllowedOrigins::of(["*"]).unwrap();
        config.peer_token = Some("secret".parse().unwrap());
    };
    let server = Server::with(anybody, None).await;
    for origin in ["http://localhost", "https://app.example", "null"] {
        let mut raw = Raw { socket: server.tcp().await };
        raw.send(&handshake_with(PATH, &format!("origin: {origin}"))).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 403"), "{origin}");
    }
    assert_eq!(server.metric("refusals_total{reason=\"peer_origin\"}").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_ends_a_connection_and_reaches_nobody() {
    let server = Server::with(|config| config.documents_per_peer_max = 2, None).await;
    let mut inside = Inside::of(&server);
    let say = Message::Say { to: To::Everybody, payload: words("x") };
    let heard = Message::Heard { to: To::Everybody, payload: words("x") };
    let listens = ["a", "b", "c"].map(|name| Message::Listen(document(name)).encode());
    for (is_peer, frames, reason) in [
        (false, vec![say.encode()], "no_hello"),
        (false, vec![vec![0xff]], "malformed_frame"),
        (false, vec![vec![32]], "reserved"),
        (true, vec![hello("").encode()], "hello_again"),
        (true, vec![heard.encode()], "server_only"),
        (true, vec![vec![99]], "unknown_message"),
        (true, vec![vec![3, 0]], "document_name"),
        (true, listens.to_vec(), "documents_per_connection"),
    ] {
        let mut client = if is_peer { peer(&server).await } else { server.connect(PATH).await };
        for frame in frames {
            client.send(frame).await;
        }
        assert_eq!(client.closed().await, 4500, "{reason}");
        assert_eq!(server.metric(&format!("refusals_total{{reason=\"{reason}\"}}")).await, 1, "{reason}");
        if is_peer {
            assert_eq!(inside.went().await, NAME);
        }
    }
    let mut client = peer(&server).await;
    client.text("hello").await;
    assert_eq!(client.closed().await, 1003);
    assert_eq!(inside.went().await, NAME);
    let mut client = peer(&server).await;
    client.send(vec![5; 600 * 1024]).await;
    assert_eq!(client.closed().await, 1009, "no frame is as large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_late_misses_nothing() {
    const MANY: u32 = 4_000;
    let server = Server::with(|config| config.peer_queue_bytes_max = 64 * 1024, None).await;
    let mut inside = Inside::of(&server);
    let mut slow = peer(&server).await;
    let backplane = inside.up().await;
    for number in 0..MANY {
        let number = format!("{number:4000}");
        backplane.say(&To::Everybody, words(&number));
    }
    for number in 0..MANY {
        let payload = words(&format!("{number:4000}"));
        assert_eq!(next(&mut slow).await, Message::Heard { to: To::Everybody, payload });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_read_is_closed_and_missed() {
    let tweak = |config: &mut RelayConfig| (config.peer_queue_bytes_max, config.write_ms) = (64 * 1024, 300);
    let server = Server::with(tweak, None).await;
    let mut inside = Inside::of(&server);
    let mut stuck = peer(&server).await;
    let backplane = inside.up().await;
    // More than sockets and the queue take.
    for _ in 0..4_000 {
        backplane.say(&To::Everybody, vec![0; 4096].into());
    }
    assert_eq!(inside.went().await, NAME);
    let (_, code) = stuck.rest().await;
    assert_eq!(code, CUT);
    let _again = peer(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_again_ends_its_last_connection() {
    let server = Server::start().await;
    let mut inside = Inside::of(&server);
    let mut first = peer(&server).await;
    let (refusal, reason, code) = refused(&server, &hello("")).await;
    assert_eq!((refusal, code), (Refusal::NAME, 1013), "{reason}");
    assert_eq!(first.closed().await, 1013);
    assert_eq!(inside.went().await, NAME);
    let _second = peer(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_have_rates_of_their_own() {
    let tweak = |config: &mut RelayConfig| {
        let little = Rate { per_s: 1, burst: 1 };
        (config.connection_messages, config.address_messages) = (little, little);
        config.limits_loopback = true;
    };
    let server = Server::with(tweak, None).await;
    let mut inside = Inside::of(&server);
    let mut client = peer(&server).await;
    let say = |payload: &'static str| Message::Say { to: To::Everybody, payload: words(payload) };
    for _ in 0..1000 {
        send(&mut client, &say("x")).await;
    }
    for _ in 0..1000 {
        while !matches!(inside.next().await, Told::Heard(..)) {}
    }
    let tweak = |config: &mut RelayConfig| config.peer_messages = Rate { per_s: 1000, burst: 64 };
    let server = Server::with(tweak, None).await;
    let mut inside = Inside::of(&server);
    let mut client = peer(&server).await;
    for _ in 0..200 {
        send(&mut client, &say("x")).await;
    }
    for _ in 0..200 {
        while !matches!(inside.next().await, Told::Heard(..)) {}
    }
    assert!(server.metric("slowed_total{reason=\"connection_rate\"}").await > 0);
}
