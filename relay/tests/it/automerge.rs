//! automerge-repo: a session is joined once under one name and ends at the archive; ephemeral messages go to
//! everybody else who has the document open, under their author's name; heads go to who subscribed to them.

use bytes::Bytes;
use tombolo_core::dialect::automerge_repo::{Message, PeerMetadata, RemoteHeads, parse};
use tombolo_relay::member::{PairwisePeer, PairwisePort};

use super::archive::{Calls, Pair, stub};
use super::frames::{self, EMPTY_SYNC, automerge_document, ephemeral, join, request};
use super::world::{Client, Server};

async fn with_archive() -> (Server, Calls) {
    let (archive, calls) = stub();
    (Server::with(|_| {}, Some(archive)).await, calls)
}

async fn joined(
    server: &Server,
    calls: &mut Calls,
    name: &str,
) -> (Client, PairwisePeer, std::sync::Arc<dyn PairwisePort>) {
    let mut client = server.connect("/automerge").await;
    client.send(join(name)).await;
    let metadata = PeerMetadata { storage_id: Some("storage".into()), is_ephemeral: false };
    let peer = Message::Peer { sender: "server".into(), target: name.into(), metadata, version: "1".into() };
    assert_eq!(parse(&client.next().await).unwrap(), Some(peer));
    match calls.pair().await {
        Pair::Join(peer, port) => (client, peer, port),
        _ => panic!("a join comes first"),
    }
}

async fn refused(client: &mut Client) -> String {
    let (frames, code) = client.rest().await;
    assert_eq!(code, 1008);
    match frames.last().map(|frame| parse(frame).unwrap()) {
        Some(Some(Message::Error { message, .. })) => message,
        other => panic!("an error comes before the close: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_not_join_or_speaks_otherwise_is_refused() {
    let (server, _calls) = with_archive().await;
    let rows: [(&[Bytes], &str); 5] = [
        (&[request("a")], "join"),
        (&[frames::join_versions("a", &["2", "3"])], "unsupported protocol version"),
        (&[join("a"), join("b")], "once"),
        (&[join("a"), request("b")], "sender"),
        (&[join("a"), Message::Leave { sender: "b".into() }.encode()], "sender"),
    ];
    for (frames, words) in rows {
        let mut client = server.connect("/automerge").await;
        for frame in frames {
            client.send(frame.clone()).await;
        }
        let message = refused(&mut client).await;
        assert!(message.contains(words), "{message}");
    }
    let mut client = server.connect("/automerge").await;
    client.send(join("a")).await;
    client.text("{}").await;
    assert!(refused(&mut client).await.contains("binary"));
    let peer = Message::Peer {
        sender: "a".into(),
        target: "server".into(),
        metadata: PeerMetadata::default(),
        version: "1".into(),
    };
    let mut client = server.connect("/automerge").await;
    client.send(join("a")).await;
    client.send(peer.encode()).await;
    assert!(refused(&mut client).await.contains("servers"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_at_the_archive() {
    let (server, mut calls) = with_archive().await;
    let (mut client, me, port) = joined(&server, &mut calls, "a").await;
    client.send(request("a")).await;
    let document = automerge_document();
    let data = Bytes::from_static(&EMPTY_SYNC);
    let (sender, target) = ("a".to_owned(), "server".to_owned());
    let sync = Message::Sync { sender, target, document: document.clone(), data: data.clone() };
    client.send(sync.encode()).await;
    for asked in [true, false] {
        let Pair::Receive { peer, document: of, message, wants } = calls.pair().await else {
            panic!("a message was sent")
        };
        assert_eq!((peer, of, message, wants), (me, document.clone(), data.clone(), asked));
    }
    port.sync(&document, data.clone());
    let (sender, target) = ("server".to_owned(), "a".to_owned());
    let back = Message::Sync { sender, target, document: document.clone(), data };
    assert_eq!(client.next().await, back.encode());
    port.unavailable(&document);
    let answer = parse(&client.next().await).unwrap();
    assert!(matches!(answer, Some(Message::DocUnavailable { target, .. }) if target == "a"));
    port.refuse("it cannot be merged");
    assert_eq!(refused(&mut client).await, "it cannot be merged");
    assert!(matches!(calls.pair().await, Pair::Leave(peer) if peer == me));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_cut_leaves() {
    let (server, mut calls) = with_archive().await;
    let (client, me, port) = joined(&server, &mut calls, "a").await;
    drop(client);
    assert!(matches!(calls.pair().await, Pair::Leave(peer) if peer == me));
    // What the archive still has to say goes nowhere.
    port.sync(&automerge_document(), Bytes::from_static(&EMPTY_SYNC));
    server.until("connections{dialect=\"automerge\"}", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_messages_go_to_the_others_once_under_their_authors_name() {
    let (server, mut calls) = with_archive().await;
    let (mut a, ..) = joined(&server, &mut calls, "a").await;
    let (mut b, ..) = joined(&server, &mut calls, "b").await;
    let (mut elsewhere, _, port) = joined(&server, &mut calls, "c").await;
    for (client, name) in [(&mut a, "a"), (&mut b, "b")] {
        client.send(request(name)).await;
        assert!(matches!(calls.pair().await, Pair::Receive { .. }));
    }
    a.send(ephemeral("a", "server", 1)).await;
    assert_eq!(b.next().await, ephemeral("a", "b", 1));
    // Stock clients pass on what they hear, under the author's name; that is not heard twice.
    b.send(ephemeral("a", "server", 1)).await;
    b.send(ephemeral("b", "server", 2)).await;
    assert_eq!(a.next().await, ephemeral("b", "a", 2), "neither its own nor an echo");
    port.unavailable(&automerge_document());
    let heard = parse(&elsewhere.next().await).unwrap();
    assert!(matches!(heard, Some(Message::DocUnavailable { .. })), "who has it not open hears nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_subscribes_to_the_archives_storage_hears_its_heads_and_nobody_else_speaks_for_it() {
    let (server, mut calls) = with_archive().await;
    let (mut a, _, port) = joined(&server, &mut calls, "a").await;
    let (mut b, ..) = joined(&server, &mut calls, "b").await;
    let document = automerge_document();
    let subscribe = Message::RemoteSubscriptionChange {
        sender: "a".into(),
        target: "server".into(),
        add: vec!["storage".into(), "elsewhere".into()],
        remove: Vec::new(),
    };
    a.send(subscribe.encode()).await;
    for (client, name) in [(&mut a, "a"), (&mut b, "b")] {
        client.send(request(name)).await;
        assert!(matches!(calls.pair().await, Pair::Receive { .. }));
    }
    let asked = parse(&b.next().await).unwrap();
    assert!(matches!(asked, Some(Message::RemoteSubscriptionChange { target, add, .. })
        if target == "b" && add == ["elsewhere", "storage"]));

    let data = Bytes::from_static(&frames::SYNC_WITH_A_HEAD);
    port.sync(&document, data.clone());
    let sync = parse(&a.next().await).unwrap();
    assert!(matches!(sync, Some(Message::Sync { data: said, .. }) if said == data));
    let heads = parse(&a.next().await).unwrap();
    let Some(Message::RemoteHeadsChanged { sender, new_heads, .. }) = heads else { panic!("{heads:?}") };
    assert_eq!((sender.as_str(), new_heads.len()), ("server", 1));
    let about = &new_heads["storage"];

    let report = |storage: &str, timestamp| {
        let about = RemoteHeads { heads: about.heads.clone(), timestamp };
        let new_heads = [(storage.to_owned(), about)].into();
        let (sender, target) = ("b".to_owned(), "server".to_owned());
        Message::RemoteHeadsChanged { sender, target, document: document.clone(), new_heads }.encode()
    };
    b.send(report("storage", about.timestamp + 1)).await;
    b.send(report("elsewhere", 1)).await;
    let heads = parse(&a.next().await).unwrap();
    let Some(Message::RemoteHeadsChanged { new_heads, .. }) = heads else { panic!("{heads:?}") };
    assert_eq!(new_heads["elsewhere"].timestamp, 1, "not the word of a client for the archive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_of_a_later_version_is_ignored() {
    let (server, mut calls) = with_archive().await;
    let (mut client, ..) = joined(&server, &mut calls, "a").await;
    client.send(&b"\xa2\x64type\x65later\x68senderId\x61a"[..]).await;
    client.send(request("a")).await;
    assert!(matches!(calls.pair().await, Pair::Receive { wants: true, .. }));
    let mut early = server.connect("/automerge").await;
    early.send(&b"\xa2\x64type\x65later\x68senderId\x61a"[..]).await;
    assert!(refused(&mut early).await.contains("join"), "before joining it is one message too early");
}
