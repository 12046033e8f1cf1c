//! Hocuspocus: each address on a socket is admitted, synced, acknowledged and closed on its own; an update is
//! acknowledged once, after the archive has it, and a reader waits while the archive is busy.

use std::time::Duration;

use tombolo_core::dialect::y_protocols::{sync_step2, update};
use tombolo_core::id::DocumentId;
use tombolo_core::room::StoreRefused;
use tombolo_core::update::Update;
use tombolo_relay::admission::{Access, Admission, Claim, Denied};
use tombolo_relay::member::Archive;

use super::archive::{Calls, stub};
use super::frames::{admitted, auth, edit, nothing, presence, status, step1, to};
use super::world::{Client, Server, soon};

async fn with_archive() -> (Server, Calls) {
    let (archive, calls) = stub();
    (Server::with(|_| {}, Some(archive)).await, calls)
}

async fn attached(server: &Server, address: &str) -> Client {
    let mut client = server.connect("/hocuspocus").await;
    client.send(auth(address)).await;
    assert_eq!(client.next().await, admitted(address));
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_forwarded_at_once_and_acknowledged_once_when_stored() {
    let (server, mut calls) = with_archive().await;
    let mut author = attached(&server, "doc").await;
    let mut other = attached(&server, "doc").await;
    let news = edit(1, 0, "a");
    author.send(to("doc", &update(&news))).await;
    assert_eq!(other.next().await, to("doc", &update(&news)), "before anything is stored");
    let first = calls.store().await;
    assert_eq!(first.update.bytes()[..], news);
    let kept_back = edit(3, 0, "c");
    first.release(Update::parse(kept_back.clone().into()).unwrap());
    for member in [&mut author, &mut other] {
        assert_eq!(member.next().await, to("doc", &update(&kept_back)), "what is served again");
    }
    author.send(to("doc", &sync_step2(&edit(1, 1, "b")))).await;
    let second = calls.store().await;
    author.send(to("doc", &presence(1, 1, Some("{}")))).await;
    assert_eq!(author.next().await, to("doc", &presence(1, 1, Some("{}"))), "no acknowledgement before it");
    first.done(Ok(()));
    assert_eq!(author.next().await, status("doc", true));
    second.done(Ok(()));
    assert_eq!(author.next().await, status("doc", true), "a SyncStep2 has one, too");
    author.send(to("doc", &nothing())).await;
    let third = calls.store().await;
    author.send(to("doc", &presence(1, 5, Some("{}")))).await;
    assert_eq!(
        author.next().await,
        to("doc", &presence(1, 5, Some("{}"))),
        "what is here may not be durable yet"
    );
    third.done(Ok(()));
    assert_eq!(author.next().await, status("doc", true), "nothing new is acknowledged, too");
    author.send(to("doc", &presence(1, 6, Some("{}")))).await;
    assert_eq!(author.next().await, to("doc", &presence(1, 6, Some("{}"))), "one each");
    assert_eq!(server.metric("acknowledgements_total").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_synced_before_the_archive_answers() {
    let (server, mut calls) = with_archive().await;
    for (client, stored) in [(71, edit(1, 0, "stored")), (72, vec![0, 0])] {
        let mut joiner = attached(&server, "doc").await;
        joiner.send(to("doc", &step1())).await;
        let read = calls.read().await;
        joiner.send(to("doc", &presence(client, 1, Some("{}")))).await;
        assert_eq!(joiner.next().await, to("doc", &presence(client, 1, Some("{}"))), "not yet");
        read.answer(stored.clone());
        assert_eq!(joiner.next().await, to("doc", &step1()), "asked for what the archive lacks");
        assert_eq!(joiner.next().await, to("doc", &sync_step2(&stored)));
        assert_eq!(joiner.goodbye().await, 1005);
        server.until("rooms", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_or_read_is_told_and_its_client_closed() {
    let (server, mut calls) = with_archive().await;
    let mut author = attached(&server, "doc").await;
    let mut other = attached(&server, "doc").await;
    author.send(to("doc", &update(&edit(1, 0, "a")))).await;
    calls.store().await.done(Err(StoreRefused::Trouble));
    let (frames, code) = author.rest().await;
    assert_eq!((frames, code), (vec![status("doc", false)], 1013));
    assert_eq!(other.next().await, to("doc", &update(&edit(1, 0, "a"))));
    other.send(to("doc", &step1())).await;
    calls.read().await.refuse(StoreRefused::Trouble);
    assert_eq!(other.rest().await, (vec![], 1013));
    // The room goes with its last member, so who comes back finds the archive opened anew.
    server.until("rooms", 0).await;
    let mut again = attached(&server, "doc").await;
    again.send(to("doc", &step1())).await;
    calls.read().await.answer(vec![0, 0]);
    assert_eq!(again.next().await, to("doc", &step1()));
    let doc = DocumentId::yjs("doc").unwrap();
    assert_eq!((calls.opened.try_recv(), calls.opened.try_recv()), (Ok(doc.clone()), Ok(doc)));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_sessions_on_one_socket_keep_their_addresses() {
    let (server, mut calls) = with_archive().await;
    let mut socket = attached(&server, "doc\0one").await;
    for address in ["doc\0two", "other", "doc"] {
        socket.send(auth(address)).await;
        assert_eq!(socket.next().await, admitted(address));
    }
    let news = update(&edit(1, 0, "a"));
    socket.send(to("doc\0one", &news)).await;
    let mut heard = [socket.next().await, socket.next().await];
    heard.sort();
    let mut expected = [to("doc\0two", &news), to("doc", &news)];
    expected.sort();
    assert_eq!(heard, expected, "each under its own address, and the author's not at all");
    calls.store().await.done(Ok(()));
    assert_eq!(socket.next().await, status("doc\0one", true));
    socket.send(to("doc\0two", &step1())).await;
    let read = calls.read().await;
    assert_eq!(read.document, DocumentId::yjs("doc").unwrap());
    read.answer(vec![0, 0]);
    assert_eq!(socket.next().await, to("doc\0two", &step1()));
    assert_eq!(socket.next().await, to("doc\0two", &nothing()));
    assert_eq!(server.metric("rooms").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_one_address_leaves_the_others() {
    let (server, mut calls) = with_archive().await;
    let mut socket = attached(&server, "one").await;
    socket.send(auth("two")).await;
    assert_eq!(socket.next().await, admitted("two"));
    let mut other = attached(&server, "one").await;
    socket.send(to("one", &presence(1, 1, Some("{}")))).await;
    assert_eq!(other.next().await, to("one", &presence(1, 1, Some("{}"))));
    socket.send(to("one", &[7])).await;
    assert_eq!(other.next().await, to("one", &presence(1, 1, None)), "said goodbye for");
    assert_eq!(socket.next().await, to("one", &presence(1, 1, Some("{}"))));
    assert_eq!(socket.next().await, to("one", b"\x07\x12provider_initiated"));
    socket.send(to("two", &update(&edit(1, 0, "a")))).await;
    calls.store().await.done(Ok(()));
    assert_eq!(socket.next().await, status("two", true));
    // And back again.
    socket.send(auth("one")).await;
    assert_eq!(socket.next().await, admitted("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_is_nobodys() {
    let (server, mut calls) = with_archive().await;
    let mut socket = attached(&server, "one").await;
    socket.send(to("one", &step1())).await;
    socket.send(to("one", &update(&edit(1, 0, "a")))).await;
    let (read, store) = (calls.read().await, calls.store().await);
    socket.send(to("one", &[7])).await;
    assert_eq!(socket.next().await, to("one", b"\x07\x12provider_initiated"));
    assert_eq!(server.metric("rooms").await, 1, "an update is on its way");
    store.done(Ok(()));
    read.answer(vec![0, 0]);
    server.until("rooms", 0).await;
    socket.send(auth("two")).await;
    assert_eq!(socket.next().await, admitted("two"), "nothing of the other one before it");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_before_the_token_wait_for_it() {
    let (server, mut calls) = with_archive().await;
    let mut socket = server.connect("/hocuspocus").await;
    socket.send(to("doc", &step1())).await;
    socket.send(to("doc", &update(&edit(1, 0, "a")))).await;
    socket.send(to("doc", &presence(1, 1, Some("{}")))).await;
    socket.send(auth("doc")).await;
    assert_eq!(socket.next().await, admitted("doc"));
    assert_eq!(socket.next().await, to("doc", &presence(1, 1, Some("{}"))));
    calls.read().await.answer(vec![0, 0]);
    calls.store().await.done(Ok(()));
    assert_eq!(socket.next().await, to("doc", &step1()));
    assert_eq!(socket.next().await, to("doc", &nothing()));
    assert_eq!(socket.next().await, status("doc", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_one_room_for_both_yjs_dialects() {
    let (server, mut calls) = with_archive().await;
    let mut here = attached(&server, "a doc").await;
    let mut there = server.connect("/yjs/a%20doc").await;
    assert!(there.heard(70).await.is_empty());
    assert_eq!(here.next().await, to("a doc", &presence(70, 1, Some("{}"))));
    here.send(to("a doc", &update(&edit(1, 0, "a")))).await;
    assert_eq!(there.next().await, update(&edit(1, 0, "a")), "bare");
    there.send(update(&edit(2, 0, "b"))).await;
    assert_eq!(here.next().await, to("a doc", &update(&edit(2, 0, "b"))), "addressed");
    for _ in 0..2 {
        calls.store().await.done(Ok(()));
    }
    assert_eq!(here.next().await, status("a doc", true));
    assert!(there.heard(71).await.is_empty(), "its dialect has no acknowledgements");
    assert_eq!(server.metric("rooms").await, 1);
}

struct NotSecret;

impl Admission for NotSecret {
    fn admit(&self, claim: &Claim<'_>) -> Result<Access, Denied> {
        assert_eq!(claim.token, Some("token"));
        match claim.document {
            Some(document) if document.to_string().contains("secret") => Err(Denied { reason: "no".into() }),
            _ => Ok(Access::ReadWrite),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_document_leaves_the_socket_to_others() {
    let server = Server::admitting(NotSecret).await;
    let mut socket = server.connect("/hocuspocus").await;
    socket.send(to("secret", &step1())).await;
    socket.send(auth("secret")).await;
    assert_eq!(socket.next().await, to("secret", b"\x02\x01\x02no"));
    for bad in ["", "  ", "\0session"] {
        socket.send(auth(bad)).await;
        assert!(socket.next().await.starts_with(&to(bad, b"\x02\x01")), "{bad:?}");
    }
    socket.send(auth("doc")).await;
    assert_eq!(socket.next().await, admitted("doc"));
    assert_eq!(server.metric("rooms").await, 1);
    assert_eq!(server.metric("refusals_total{reason=\"admission\"}").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_archive_acknowledges_as_it_was_told() {
    let server = Server::start().await;
    let mut client = attached(&server, "doc").await;
    client.send(to("doc", &update(&edit(1, 0, "a")))).await;
    client.send(to("doc", &presence(1, 1, Some("{}")))).await;
    assert_eq!(
        client.next().await,
        to("doc", &presence(1, 1, Some("{}"))),
        "nobody keeps it, nobody says so"
    );

    let forwarded = tombolo_relay::AcknowledgeWithoutArchive::Forwarded;
    let server = Server::with(|config| config.acknowledge = forwarded, None).await;
    let mut client = attached(&server, "doc").await;
    client.send(to("doc", &update(&edit(1, 0, "a")))).await;
    assert_eq!(client.next().await, status("doc", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn pressure_on_the_archive_holds_readers_back() {
    let (archive, mut calls) = stub();
    let shared = archive.clone();
    let server = Server::with(|config| config.archive_bytes_max = 1000, Some(shared)).await;
    let mut author = attached(&server, "doc").await;
    let mut other = attached(&server, "doc").await;
    archive.pressure().add(1001);
    for clock in 0..3 {
        author.send(to("doc", &update(&edit(1, clock, "a")))).await;
    }
    let first = calls.store().await;
    for _ in 0..20 {
        server.metric("rooms").await;
    }
    assert!(calls.stores.try_recv().is_err(), "the second update was taken while the archive was full");
    first.done(Ok(()));
    assert_eq!(author.next().await, status("doc", true), "what was taken is answered all the same");
    archive.pressure().remove(1);
    for clock in 0..3 {
        assert_eq!(other.next().await, to("doc", &update(&edit(1, clock, "a"))));
    }
    calls.store().await;
    calls.store().await;

    archive.pressure().add(1);
    author.send(to("doc", &update(&edit(1, 3, "a")))).await;
    calls.store().await;
    soon("the relay to stop", server.relay.stop(Duration::from_secs(15))).await;
    assert_eq!(author.closed().await, 1012, "told even while it is held back");
}

/// What a client hears of each refusal that is about one document; the others on its socket go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_refused_leaves_the_socket_to_others() {
    let (server, mut calls) = with_archive().await;
    let mut witness = attached(&server, "doc").await;
    let reasons =
        [StoreRefused::NoRoom, StoreRefused::Damaged, StoreRefused::Quarantined, StoreRefused::Deleted];
    for (who, reason) in (1..).zip(reasons) {
        let mut socket = attached(&server, "doc").await;
        socket.send(auth("other")).await;
        assert_eq!(socket.next().await, admitted("other"));
        socket.send(to("doc", &presence(who, 1, Some("{}")))).await;
        assert_eq!(socket.next().await, to("doc", &presence(who, 1, Some("{}"))));
        assert_eq!(witness.next().await, to("doc", &presence(who, 1, Some("{}"))));
        socket.send(to("doc", &update(&edit(1, 0, "a")))).await;
        assert_eq!(witness.next().await, to("doc", &update(&edit(1, 0, "a"))));
        calls.store().await.done(Err(reason));
        assert_eq!(socket.next().await, status("doc", false));
        let words = reason.to_string();
        let with = |head: &[u8]| {
            let len = u8::try_from(words.len()).unwrap();
            to("doc", &[head, &[len], words.as_bytes()].concat())
        };
        if reason.is_permanent() {
            assert_eq!(socket.next().await, with(b"\x02\x01"), "denied");
        }
        assert_eq!(socket.next().await, with(b"\x07"), "closed");
        if reason == StoreRefused::Deleted {
            assert_eq!(witness.next().await, with(b"\x02\x01"), "gone for everybody");
        } else {
            assert_eq!(witness.next().await, to("doc", &presence(who, 1, None)), "said goodbye for");
        }
        // What was on its way is nobody's; the other document goes on, and a new token is a fresh start.
        socket.send(to("doc", &update(&edit(1, 1, "b")))).await;
        socket.send(to("other", &update(&edit(1, 0, "a")))).await;
        calls.store().await.done(Ok(()));
        assert_eq!(socket.next().await, status("other", true));
        socket.send(auth("doc")).await;
        assert_eq!(socket.next().await, admitted("doc"));
        socket.send(to("doc", &update(&edit(1, 2, "c")))).await;
        calls.store().await.done(Ok(()));
        assert_eq!(socket.next().await, status("doc", true));
        if reason != StoreRefused::Deleted {
            assert_eq!(witness.next().await, to("doc", &update(&edit(1, 2, "c"))));
            // Who is still in the room when the document is deleted is told, too.
            socket.goodbye().await;
            server.until("connections{dialect=\"hocuspocus\"}", 1).await;
        }
    }
    for (reason, count) in [("no_room", 1), ("damaged", 1), ("quarantined", 1), ("deleted", 2)] {
        assert_eq!(server.metric(&format!("refusals_total{{reason=\"{reason}\"}}")).await, count);
    }
}
