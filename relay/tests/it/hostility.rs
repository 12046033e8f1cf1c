//! A malformed message ends its own connection with the code of its dialect and reaches nobody: an honest pair
//! in the same room goes on.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::automerge_repo::{Message, parse};
use tombolo_core::dialect::y_protocols::update;

use super::archive::stub;
use super::frames::{self, admitted, auth, edit, ephemeral, presence, step1, to};
use super::world::{Client, Server};

/// Bodies of the y-protocols that no stock client sends; each crashes or misleads some stock client.
fn malformed_bodies() -> Vec<(&'static str, Bytes)> {
    let row = |name, bytes: &[u8]| (name, Bytes::copy_from_slice(bytes));
    let with_json = |json: &str| {
        let len = u8::try_from(json.len()).unwrap();
        [&[1, 4 + len, 1, 9, 1, len], json.as_bytes()].concat()
    };
    vec![
        row("a sync message without subtype", &[0]),
        row("an unknown subtype", &[0, 3, 2, 0, 0]),
        row("an unknown type", &[4, 1, 0]),
        row("a large unknown type", &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        row("a varint that never ends", &[0xff; 12]),
        row("a varint that is cut off", &[0, 2, 0x80]),
        row("more claimed than there is", &[0, 2, 5, 1]),
        row("4 GiB claimed", &[0, 2, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]),
        row("bytes left over", &[0, 2, 2, 0, 0, 9]),
        row("an update that is no update", &[0, 2, 2, 1, 1]),
        row("an answer that is no update", &[0, 1, 2, 9, 9]),
        row("2^24 structs claimed", &[0, 2, 6, 1, 0x80, 0x80, 0x80, 0x08, 1]),
        row("a state vector that is cut off", &[0, 0, 2, 1, 1]),
        row("presence without entries that it claims", &[1, 1, 5]),
        row("presence that is no JSON", &with_json("{\"a\":")),
        row("presence with something behind its JSON", &with_json("1 1")),
        row("a forged refusal", &[2, 0, 2, b'n', b'o']),
    ]
}

/// The pair still talks, and has heard of nothing else.
async fn undisturbed(pair: &mut [Client; 2], address: Option<&str>, clock: u64, after: &str) {
    let body = update(&edit(90, clock, "x"));
    let frame = address.map_or(body.clone(), |address| to(address, &body));
    let [first, second] = pair;
    first.send(frame.clone()).await;
    assert_eq!(second.next().await, frame, "after {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn y_websocket_messages() {
    let server = Server::start().await;
    let mut pair = [server.connect("/yjs/room").await, server.connect("/yjs/room").await];
    for (client, marker) in pair.iter_mut().zip([91, 92]) {
        assert!(client.heard(marker).await.is_empty());
    }
    let mut rows = malformed_bodies();
    rows.push(("an empty message", Bytes::new()));
    for (clock, (name, body)) in rows.into_iter().enumerate() {
        let mut hostile = server.connect("/yjs/room").await;
        hostile.send(body).await;
        assert_eq!(hostile.closed().await, 4500, "{name}");
        undisturbed(&mut pair, None, clock as u64, name).await;
    }
    let mut hostile = server.connect("/yjs/room").await;
    hostile.text("{}").await;
    assert_eq!(hostile.closed().await, 1003);
    undisturbed(&mut pair, None, 1000, "text").await;
    assert_eq!(server.metric("refusals_total{reason=\"text_message\"}").await, 1);
    assert_eq!(server.metric("refusals_total{reason=\"server_only\"}").await, 1);
    assert_eq!(server.metric("refusals_total{reason=\"invalid_awareness\"}").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn hocuspocus_messages() {
    let server = Server::start().await;
    let mut pair = [server.connect("/hocuspocus").await, server.connect("/hocuspocus").await];
    for client in &mut pair {
        client.send(auth("doc")).await;
        assert_eq!(client.next().await, admitted("doc"));
    }
    let mut rows: Vec<_> =
        malformed_bodies().into_iter().map(|(name, body)| (name, to("doc", &body))).collect();
    // Type 2 with these bytes is a token with a cut-off version here.
    rows.retain(|(name, _)| *name != "a forged refusal" && *name != "an unknown type");
    rows.extend([
        ("an empty message", Bytes::new()),
        ("an address only", to("doc", &[])),
        ("an address that is cut off", Bytes::from_static(&[9, b'd'])),
        ("an address that is not UTF-8", Bytes::from_static(&[1, 0xff, 3])),
        ("a forged refusal", to("doc", b"\x02\x01\x02no")),
        ("a forged admission", to("doc", b"\x02\x02\x0aread-write")),
        ("a token that is cut off", to("doc", &[2, 0, 9, b't'])),
        ("a reply between servers", to("doc", &[4, 2, 2, 0, 0])),
        ("a broadcast between servers", to("doc", b"\x06\x02hi")),
        ("a forged acknowledgement", to("doc", &[8, 1])),
        ("a type that does not exist", to("doc", &[11])),
        ("a ping of the server", Bytes::from_static(&[9])),
    ]);
    for (clock, (name, frame)) in rows.into_iter().enumerate() {
        let mut hostile = server.connect("/hocuspocus").await;
        hostile.send(auth("doc")).await;
        assert_eq!(hostile.next().await, admitted("doc"));
        hostile.send(frame).await;
        assert_eq!(hostile.closed().await, 4401, "{name}");
        undisturbed(&mut pair, Some("doc"), clock as u64, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn automerge_messages() {
    let (archive, _calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let mut pair = Vec::new();
    for name in ["a", "b"] {
        let mut client = server.connect("/automerge").await;
        client.send(frames::join(name)).await;
        client.next().await;
        client.send(ephemeral(name, "server", 0)).await;
        pair.push(client);
    }
    assert_eq!(pair[0].next().await, ephemeral("b", "a", 0));
    let sync = |data: &'static [u8]| {
        let document = frames::automerge_document();
        let (sender, target) = ("h".to_owned(), "server".to_owned());
        Message::Sync { sender, target, document, data: Bytes::from_static(data) }.encode()
    };
    let rows = [
        ("an empty message", Bytes::new()),
        ("null, which kills the stock server", Bytes::from_static(&[0xf6])),
        ("a number", Bytes::from_static(&[1])),
        ("a map that is cut off", Bytes::from_static(&[0xb9, 0, 4])),
        ("2^32 fields claimed", Bytes::from_static(&[0xba, 0xff, 0xff, 0xff, 0xff])),
        ("deep nesting", Bytes::from(vec![0x81; 10_000])),
        ("bytes left over", [&frames::request("h")[..], &[0]].concat().into()),
        ("an empty sync message", sync(b"")),
        ("a sync message that is none", sync(b"\x42\x01")),
        ("a second join", frames::join("h")),
        ("a foreign sender", frames::request("a")),
    ];
    for (count, (name, frame)) in rows.into_iter().enumerate() {
        let mut hostile = server.connect("/automerge").await;
        hostile.send(frames::join("h")).await;
        hostile.next().await;
        hostile.send(ephemeral("h", "server", count as u64)).await;
        for (client, name) in pair.iter_mut().zip(["a", "b"]) {
            assert_eq!(client.next().await, ephemeral("h", name, count as u64));
        }
        hostile.send(frame).await;
        let (said, code) = hostile.rest().await;
        let said = said.first().map(|said| parse(said).unwrap());
        assert!(matches!(said, Some(Some(Message::Error { .. }))), "{name}: {said:?}");
        assert_eq!(code, 1008, "{name}");
        pair[0].send(ephemeral("a", "server", count as u64)).await;
        assert_eq!(pair[1].next().await, ephemeral("a", "b", count as u64), "after {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_questions_and_identities_end_their_sender() {
    let server = Server::start().await;
    let mut asker = server.connect("/yjs/room").await;
    for _ in 0..300 {
        asker.send(step1()).await;
    }
    assert_eq!(asker.closed().await, 4529);
    let mut crowd = server.connect("/yjs/room").await;
    for client in 0..1100 {
        crowd.send(presence(client, 1, Some("{}"))).await;
    }
    assert_eq!(crowd.closed().await, 4529);

    let (archive, _calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let mut asker = server.connect("/hocuspocus").await;
    asker.send(auth("doc")).await;
    for _ in 0..20 {
        asker.send(to("doc", &step1())).await;
    }
    assert_eq!(asker.closed().await, 4205);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_token_is_bounded() {
    let server = Server::with(|config| config.before_admission_bytes_max = 10_000, None).await;
    let mut client = server.connect("/hocuspocus").await;
    for _ in 0..1000 {
        client.send(to("doc", &[3])).await;
    }
    assert_eq!(client.closed().await, 4205);
    let server = Server::with(|config| config.documents_per_connection_max = 3, None).await;
    for frame in [auth as fn(&str) -> Bytes, |name| to(name, &[3])] {
        let mut client = server.connect("/hocuspocus").await;
        for name in ["a", "b", "c", "d"] {
            client.send(frame(name)).await;
        }
        assert_eq!(client.closed().await, 4205);
    }
    let archive: Arc<_> = stub().0;
    let server = Server::with(|config| config.documents_per_connection_max = 0, Some(archive)).await;
    let mut client = server.connect("/automerge").await;
    client.send(frames::join("a")).await;
    client.send(frames::request("a")).await;
    assert_eq!(client.closed().await, 1008);
}
