//! A relay and its peers: what it holds back, and what it refuses them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tombolo_core::cluster::{Output, To, TunnelFrame, sender_of};
use tombolo_core::dialect::native;
use tombolo_core::id::{DocumentId, PeerId};
use tombolo_core::room::{Arrival, AskId, PeerMessage, StoreRefused};
use tombolo_core::update::{StateVector, Update};
use tombolo_relay::member::Archive;

use tombolo_relay::backplane::{Link, Status};

use super::archive::stub;
use super::far::Far;
use super::frames;
use super::world::{Server, soon};

fn document() -> DocumentId {
    DocumentId::yjs("r").unwrap()
}

fn update() -> PeerMessage {
    let update = Update::parse(Bytes::from_static(b"\x01\x01\x01\x00\x04\x01\x01t\x02hi\x00")).unwrap();
    PeerMessage::Update { ticket: None, arrival: Arrival::Change, update }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_wait_while_the_disk_is_busy() {
    let (archive, mut calls) = stub();
    let tweak = |config: &mut tombolo_relay::RelayConfig| config.archive_bytes_max = 1_000;
    let server = Server::with(tweak, Some(archive.clone())).await;
    let mut far = Far::of(&server);
    far.open(&document()).await;
    archive.pressure().add(1_001);
    for _ in 0..3 {
        far.say(&document(), update());
    }
    far.pass(Duration::from_millis(300)).await;
    assert!(calls.stores.try_recv().is_err(), "it takes more than the disk does");
    archive.pressure().remove(1);
    for _ in 0..3 {
        calls.store().await;
    }
}

/// An update of so many bytes and some, as clients write one that inserts binary content.
fn large(len: u32) -> Bytes {
    let mut update = vec![1, 1, 1, 0, 3, 1, 1, b't'];
    let mut rest = len;
    while rest >= 0x80 {
        update.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    update.push(u8::try_from(rest).unwrap());
    update.resize(update.len() + usize::try_from(len).unwrap(), 0);
    update.push(0);
    update.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_of_the_largest_documents_get_through() {
    const MANY: u64 = 6;
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let mut far = Far::of(&server);
    let peer = far.open(&document()).await;
    for ask in 1..=MANY {
        let state_vector = StateVector::default();
        far.tell(&document(), peer, PeerMessage::Ask { ask: AskId(ask * 4), state_vector });
    }
    // More than waits for anybody, while nothing is read.
    far.be_busy(true);
    let answer = large(60 << 20);
    let reading = async {
        for _ in 0..MANY {
            calls.read().await.answer(answer.clone());
        }
    };
    let hearing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        far.be_busy(false);
        let mut answers = 0;
        far.until("all answers", |output| {
            answers += u64::from(matches!(
                output,
                Output::Said { message: PeerMessage::Answer { result: Ok(Some(_)), .. }, .. }
            ));
            (answers == MANY).then_some(())
        })
        .await;
    };
    tokio::join!(reading, hearing);
    assert_eq!(far.ups, 1, "nobody had to begin anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_update_of_a_peer_is_read_aside_and_in_its_order() {
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let mut far = Far::of(&server);
    far.open(&document()).await;
    let large = Update::parse(large(3 << 20)).unwrap();
    let (arrival, update_of_large) = (Arrival::Change, large.clone());
    far.say(&document(), PeerMessage::Update { ticket: None, arrival, update: update_of_large });
    far.say(&document(), update());
    assert_eq!(calls.store().await.update.bytes(), large.bytes());
    assert!(calls.store().await.update.bytes().len() < 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_no_peer_would_take_is_a_refusal() {
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let mut far = Far::of(&server);
    let peer = far.open(&document()).await;
    let state_vector = StateVector::default();
    far.tell(&document(), peer, PeerMessage::Ask { ask: AskId(8), state_vector });
    calls.read().await.answer(vec![0; 72 * 1024 * 1024]);
    let result = far.until("an answer", |output| match output {
        Output::Said { message: PeerMessage::Answer { ask: AskId(8), result }, .. } => {
            Some(result.clone().map(drop))
        }
        _ => None,
    });
    assert_eq!(result.await, Err(StoreRefused::Trouble));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_disk_makes_nobody_look_gone() {
    let (archive, mut calls) = stub();
    let tweak = |config: &mut tombolo_relay::RelayConfig| config.archive_bytes_max = 1;
    let server = Server::with(tweak, Some(archive.clone())).await;
    let mut far = Far::of(&server);
    far.open(&document()).await;
    archive.pressure().add(2);
    // Longer than silence may last.
    let outputs = far.pass(Duration::from_millis(6_500)).await;
    let is_loss = |output: &Output| matches!(output, Output::Went { .. } | Output::Lost { .. });
    assert!(!outputs.iter().any(is_loss), "it is heard all the time: {outputs:?}");
    assert_eq!(server.metric("peers{archive=\"no\"}").await, 1);
    far.say(&document(), update());
    archive.pressure().remove(2);
    calls.store().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_tunnel_is_closed_at_both_ends() {
    let server = Server::with(|_| {}, None).await;
    let mut far = Far::with(&server, true);
    let ready = async { while !server.get("/metrics").await.contains("tombolo_peers{archive=\"yes\"} 1") {} };
    tokio::select! {
        () = soon("the relay to know it", ready) => {}
        _ = far.pass(Duration::from_secs(20)) => {}
    }
    // Whoever comes before it is known who serves has to come back.
    let mut client = server.connect("/automerge").await;
    let opened = |output: &Output| match output {
        Output::Tunnel { peer, frame: TunnelFrame::Open { tunnel, .. } } => Some((*peer, *tunnel)),
        _ => None,
    };
    let (peer, tunnel) = far.until("a tunnel", opened).await;
    let data = || TunnelFrame::Data { tunnel, payload: "x".into() };
    far.tunnel(peer, data(), false);
    assert_eq!(client.next().await, "x");
    far.tunnel(peer, data(), true);
    far.tunnel(peer, data(), false);
    assert_eq!(client.closed().await, 1012);
    let closed = |output: &Output| match output {
        Output::Tunnel { frame: TunnelFrame::Close { tunnel: closed, .. }, .. } => Some(*closed),
        _ => None,
    };
    assert_eq!(far.until("the tunnel to be closed", closed).await, tunnel);
}

/// A door that says welcome and reads no more until it is told to.
async fn lazy_door(listener: TcpListener, wake: oneshot::Receiver<()>) {
    let (socket, _) = listener.accept().await.unwrap();
    let mut socket = tokio_tungstenite::accept_async(socket).await.unwrap();
    socket.next().await.unwrap().unwrap();
    let welcome = native::Message::Welcome { version: native::VERSION, relay: PeerId(1) };
    socket.send(welcome.encode().into()).await.unwrap();
    let _ = wake.await;
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_read_no_faster_than_the_disk_takes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = listener.local_addr().unwrap();
    let (archive, _calls) = stub();
    let tweak = |config: &mut tombolo_relay::RelayConfig| {
        config.link = Link::Relays(vec![format!("ws://{door}").parse().unwrap()], None);
        config.archive_bytes_max = 1;
    };
    let _server = Server::with(tweak, Some(archive.clone())).await;
    let (socket, _) = listener.accept().await.unwrap();
    let mut socket = tokio_tungstenite::accept_async(socket).await.unwrap();
    socket.next().await.unwrap().unwrap();
    let welcome = native::Message::Welcome { version: native::VERSION, relay: PeerId(1) };
    socket.send(welcome.encode().into()).await.unwrap();
    let (mut says, mut hears) = socket.split();
    hears.next().await.unwrap().unwrap();
    archive.pressure().add(2);
    // More than waits for anybody.
    let saying = async {
        let mut heard = native::heard_head(&To::Everybody);
        heard.resize(512 * 1024, 0xff);
        let heard = Bytes::from(heard);
        for _ in 0..640 {
            says.send(heard.clone().into()).await.unwrap();
        }
    };
    let relieving = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        archive.pressure().remove(2);
    };
    soon("all to be read", async { tokio::join!(saying, relieving) }).await;
    // It says that it is there each second, under which start it shows.
    let mut starts = Vec::new();
    while starts.len() < 3 {
        let Ok(native::Message::Say { payload, .. }) =
            native::parse(&soon("a message", hears.next()).await.unwrap().unwrap().into_data())
        else {
            continue;
        };
        starts.push(sender_of(&payload).unwrap().starts);
    }
    assert_eq!(starts, [1, 1, 1], "nobody had to begin anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_read_no_faster_than_other_relays_take_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = listener.local_addr().unwrap();
    let (wake, woken) = oneshot::channel();
    tokio::spawn(lazy_door(listener, woken));
    let tweak = |config: &mut tombolo_relay::RelayConfig| {
        config.link = Link::Relays(vec![format!("ws://{door}").parse().unwrap()], None);
        config.peer_backlog_bytes_max = 1 << 20;
    };
    let server = Server::with(tweak, None).await;
    let mut member = server.connect("/yjs/r").await;
    member.heard(1).await;
    let joined = async {
        while !matches!(server.relay.plane().status(), Status::Up { .. }) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the link", joined).await;
    // More than sockets take, and what one of this process says is not read from anywhere.
    let mut far = Far::of(&server);
    let backplane = far.backplane().await;
    for _ in 0..64 {
        backplane.say(&To::Everybody, vec![0; 512 * 1024].into());
    }
    // What was read already goes its way.
    member.heard(2).await;
    let last = frames::presence(1, 3, Some("{}"));
    member.send(last.clone()).await;
    let early = tokio::time::timeout(Duration::from_millis(300), member.next()).await;
    assert!(early.is_err(), "it is read although nothing goes on: {early:?}");
    wake.send(()).unwrap();
    assert_eq!(member.next().await, last);
}
