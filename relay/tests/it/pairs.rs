//! automerge-repo on a relay without an archive: clients are shown each other as peers of few and lasting names, each
//! message reaches the one it is for, and what is hostile or too much reaches nobody.

use bytes::Bytes;
use tombolo_core::dialect::automerge_repo::{Message, PeerMetadata};
use tombolo_core::id::DocumentId;
use tombolo_core::pairs::RESET;

use super::frames::{EMPTY_SYNC, SYNC_WITH_A_HEAD, automerge_document, ephemeral, join};
use super::world::{Client, Server};

/// What a client calls its peers at this relay.
fn slot(server: &Server, slot: usize) -> String {
    format!("tombolo-relay:{}/{slot}", server.address)
}

fn peer(server: &Server, number: usize, target: &str) -> Bytes {
    let metadata = PeerMetadata { storage_id: None, is_ephemeral: true };
    let (sender, target) = (slot(server, number), target.to_owned());
    Message::Peer { sender, target, metadata, version: "1".into() }.encode()
}

async fn joined(server: &Server, name: &str) -> Client {
    let mut client = server.connect("/automerge").await;
    client.send(join(name)).await;
    assert_eq!(client.next().await, peer(server, 0, name));
    client
}

fn sync(sender: &str, target: &str, data: &[u8]) -> Bytes {
    let (sender, target, data) = (sender.to_owned(), target.to_owned(), Bytes::copy_from_slice(data));
    Message::Sync { sender, target, document: automerge_document(), data }.encode()
}

fn request(sender: &str, target: &str) -> Bytes {
    let (sender, target) = (sender.to_owned(), target.to_owned());
    let data = Bytes::from_static(&EMPTY_SYNC);
    Message::Request { sender, target, document: automerge_document(), data }.encode()
}

fn unavailable(sender: &str, target: &str) -> Bytes {
    let (sender, target) = (sender.to_owned(), target.to_owned());
    Message::DocUnavailable { sender, target, document: automerge_document() }.encode()
}

/// Until the relay has heard everything that this client said; how many messages it was told meanwhile.
async fn heard(client: &mut Client, name: &str) -> usize {
    let document = DocumentId::Automerge([9; 16]);
    let (sender, target) = (name.to_owned(), "nobody".to_owned());
    let data = Bytes::from_static(&EMPTY_SYNC);
    client.send(Message::Request { sender, target, document: document.clone(), data }.encode()).await;
    let (sender, target) = ("nobody".to_owned(), name.to_owned());
    let answer = Message::DocUnavailable { sender, target, document }.encode();
    let mut told = 0;
    while client.next().await != answer {
        told += 1;
    }
    told
}

/// A sync message that asks for the head of [`SYNC_WITH_A_HEAD`].
fn ask() -> Vec<u8> {
    [&[0x42, 0, 1][..], &[7; 32], &[0, 0, 2, 2, 0x84]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_each_others_peers() {
    let server = Server::start().await;
    let (zero, one) = (slot(&server, 0), slot(&server, 1));
    let mut a = joined(&server, "a").await;
    a.send(sync("a", &zero, &SYNC_WITH_A_HEAD)).await;
    let mut b = joined(&server, "b").await;
    b.send(request("b", &zero)).await;
    assert_eq!(a.next().await, sync(&zero, "a", &RESET));
    assert_eq!(b.next().await, sync(&zero, "b", &RESET));
    // The reset makes the one tell and the other ask.
    a.send(sync("a", &zero, &SYNC_WITH_A_HEAD)).await;
    assert_eq!(b.next().await, sync(&zero, "b", &SYNC_WITH_A_HEAD));
    b.send(sync("b", &zero, &ask())).await;
    assert_eq!(a.next().await, sync(&zero, "a", &ask()));

    let mut c = joined(&server, "c").await;
    c.send(request("c", &zero)).await;
    assert_eq!(c.next().await, sync(&zero, "c", &RESET));
    // A second peer, and the first once more: clients take the last one for the connection.
    for expected in [peer(&server, 1, "a"), peer(&server, 0, "a"), sync(&one, "a", &RESET)] {
        assert_eq!(a.next().await, expected);
    }
    a.send(sync("a", &one, &SYNC_WITH_A_HEAD)).await;
    assert_eq!(c.next().await, sync(&zero, "c", &SYNC_WITH_A_HEAD));
    drop(a);
    for (client, name) in [(&mut b, "b"), (&mut c, "c")] {
        assert_eq!(client.next().await, unavailable(&zero, name), "nobody else has it");
    }
    server.until("connections{dialect=\"automerge\"}", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_answered_also_for_peers_of_before() {
    let server = Server::start().await;
    let mut a = joined(&server, "a").await;
    for target in [slot(&server, 0), slot(&server, 7), "tombolo-relay:elsewhere/0".into(), "b".into()] {
        a.send(request("a", &target)).await;
        assert_eq!(a.next().await, unavailable(&target, "a"));
        // To who is not there, without a question: nothing comes back.
        a.send(sync("a", &target, &EMPTY_SYNC)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_messages_count_once_and_nobody_speaks_for_another() {
    let server = Server::start().await;
    let zero = slot(&server, 0);
    let (mut a, mut b) = (joined(&server, "a").await, joined(&server, "b").await);
    for (client, name) in [(&mut a, "a"), (&mut b, "b")] {
        client.send(request(name, &zero)).await;
        assert_eq!(client.next().await, unavailable(&zero, name));
    }
    a.send(ephemeral("a", &zero, 1)).await;
    a.send(ephemeral("a", &slot(&server, 1), 2)).await;
    a.send(ephemeral("b", &zero, 3)).await;
    a.send(ephemeral("a", &zero, 4)).await;
    for count in [1, 4] {
        assert_eq!(b.next().await, ephemeral("a", "b", count));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_goodbye_is_gone_and_may_join_again() {
    let server = Server::start().await;
    let zero = slot(&server, 0);
    let (mut a, mut b) = (joined(&server, "a").await, joined(&server, "b").await);
    a.send(sync("a", &zero, &SYNC_WITH_A_HEAD)).await;
    heard(&mut a, "a").await;
    b.send(request("b", &zero)).await;
    assert_eq!(b.next().await, sync(&zero, "b", &RESET));
    a.send(Message::Leave { sender: "a".into() }.encode()).await;
    assert_eq!(b.next().await, unavailable(&zero, "b"));
    a.send(join("a")).await;
    assert_eq!(a.next().await, sync(&zero, "a", &RESET));
    assert_eq!(a.next().await, peer(&server, 0, "a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_may_be_paired_wait() {
    let server = Server::with(|config| config.paired_members_max = 2, None).await;
    let zero = slot(&server, 0);
    let mut clients = Vec::new();
    for name in ["a", "b", "c"] {
        let mut client = joined(&server, name).await;
        client.send(sync(name, &zero, &SYNC_WITH_A_HEAD)).await;
        heard(&mut client, name).await;
        clients.push(client);
    }
    let mut c = clients.pop().unwrap();
    c.send(request("c", &zero)).await;
    assert_eq!(c.next().await, unavailable(&zero, "c"));
    drop(clients.pop());
    assert_eq!(c.next().await, sync(&zero, "c", &RESET));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_reaches_nobody() {
    let server = Server::start().await;
    let zero = slot(&server, 0);
    let mut a = joined(&server, "a").await;
    a.send(sync("a", &zero, &SYNC_WITH_A_HEAD)).await;
    let rows: [(&str, Bytes); 4] = [
        ("null", Bytes::from_static(&[0xf6])),
        ("an empty sync message", sync("h", &zero, b"")),
        ("a sync message that is none", sync("h", &zero, b"\x42\x01")),
        ("a foreign sender", sync("a", &zero, &SYNC_WITH_A_HEAD)),
    ];
    for (what, frame) in rows {
        let mut hostile = joined(&server, "h").await;
        hostile.send(request("h", &zero)).await;
        assert_eq!(a.next().await, sync(&zero, "a", &RESET), "{what}");
        hostile.send(frame).await;
        assert_eq!(hostile.closed().await, 1008, "{what}");
        server.until("connections{dialect=\"automerge\"}", 1).await;
    }
    assert_eq!(heard(&mut a, "a").await, 0, "nothing came between");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_sent_away() {
    let server = Server::with(|config| config.queue_bytes_max = 64 * 1024, None).await;
    let zero = slot(&server, 0);
    let mut a = joined(&server, "a").await;
    let mut slow = joined(&server, "slow").await;
    slow.send(request("slow", &zero)).await;
    assert_eq!(slow.next().await, unavailable(&zero, "slow"));
    let mut slow = slow.into_raw();
    let text = Message::Ephemeral {
        sender: "a".into(),
        target: zero,
        document: automerge_document(),
        count: 1,
        session: "s".into(),
        data: vec![0x58; 32 * 1024].into(),
    };
    let behind = "refusals_total{reason=\"behind\"}";
    for sent in 0.. {
        a.send(text.encode()).await;
        if sent % 16 == 0 && server.metric(behind).await > 0 {
            break;
        }
        assert!(sent < 2_000, "64 MiB wait for one reader");
    }
    assert_eq!(slow.closed().await, 1013);
}
