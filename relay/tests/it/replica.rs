//! Replicas behind the door: they meet stock clients in a room, each document is judged and shut by itself, and what is
//! acknowledged was stored.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::native::{self, Hello, Refusal, Role};
use tombolo_core::dialect::replica::{
    Handle, Identity, Message, Outcome, changes, identity_frame, mark, marked, open, parse, ping, pong, shut,
    stored, sync, watch, y,
};
use tombolo_core::dialect::y_protocols::{sync_step2, update};
use tombolo_core::id::{DocumentId, Incarnation, PeerId, ReplicaId};
use tombolo_core::room::StoreRefused;
use tombolo_relay::Parts;
use tombolo_relay::admission::Tokens;
use tombolo_relay::member::{Changed, PairwisePeer, PairwisePort};

use super::archive::{Calls, Pair, stub};
use super::frames::{edit, presence, step1};
use super::world::{Client, Server, soon};

const ONE: Handle = Handle(1);
const TWO: Handle = Handle(2);

pub(super) fn document(name: &str) -> DocumentId {
    DocumentId::yjs(name).unwrap()
}

fn hello(token: &str) -> Vec<u8> {
    let hello = Hello { role: Role::Replica, peer: PeerId(9), token: token.to_owned() };
    native::Message::Hello(hello).encode()
}

/// A replica that was welcomed, and who welcomed it.
pub(super) async fn welcomed(server: &Server, token: &str) -> (Client, Bytes) {
    let mut replica = server.connect("/replica").await;
    replica.send(hello(token)).await;
    let welcome = native::Message::Welcome { version: 1, relay: server.relay.plane().name() };
    assert_eq!(replica.next().await, welcome.encode());
    let identity = replica.next().await;
    (replica, identity)
}

/// The next frame must be the answer to this ping: nothing came before it.
async fn nothing_more(replica: &mut Client, token: u64) {
    replica.send(ping(token)).await;
    assert_eq!(replica.next().await, pong(token));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_and_stock_clients_meet_in_a_room_without_an_archive() {
    let server = Server::start().await;
    let mut stock = server.connect("/yjs/d").await;
    let (mut one, identity) = welcomed(&server, "").await;
    assert_eq!(identity, identity_frame(&Identity { keeps: None, lists: false, gives_up: false }));
    one.send(open(ONE, &document("d"))).await;
    one.send(y(ONE, &update(&edit(1, 0, "a")))).await;
    assert_eq!(stock.next().await, update(&edit(1, 0, "a")));
    stock.send(update(&edit(2, 0, "b"))).await;
    assert_eq!(one.next().await, y(ONE, &update(&edit(2, 0, "b"))));
    // Nobody keeps it, so nothing is called stored; another one has its own number for it.
    nothing_more(&mut one, 1).await;
    let (mut other, _) = welcomed(&server, "").await;
    other.send(open(TWO, &document("d"))).await;
    other.send(y(TWO, &presence(7, 1, Some("{}")))).await;
    assert_eq!(one.next().await, y(ONE, &presence(7, 1, Some("{}"))));
    // The room asks the eldest, which is the stock client.
    other.send(y(TWO, &step1())).await;
    assert_eq!(stock.next().await, presence(7, 1, Some("{}")));
    assert_eq!(stock.next().await, step1());
    one.send(shut(ONE, Outcome::WELL, "")).await;
    nothing_more(&mut one, 2).await;
    stock.send(update(&edit(2, 1, "c"))).await;
    nothing_more(&mut one, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_called_stored_was_stored_and_a_document_is_shut_by_itself() {
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let (mut replica, identity) = welcomed(&server, "").await;
    let keeps = Some((ReplicaId([1; 16]), Incarnation([2; 16])));
    assert_eq!(identity, identity_frame(&Identity { keeps, lists: true, gives_up: false }));
    replica.send(open(ONE, &document("one"))).await;
    replica.send(open(TWO, &document("two"))).await;
    replica.send(y(ONE, &update(&edit(1, 0, "a")))).await;
    let first = calls.store().await;
    nothing_more(&mut replica, 1).await;
    first.done(Ok(()));
    assert_eq!(replica.next().await, stored(ONE, Outcome::WELL));
    replica.send(y(TWO, &sync_step2(&edit(1, 0, "b")))).await;
    calls.store().await.done(Err(StoreRefused::Deleted));
    let words = StoreRefused::Deleted.to_string();
    assert_eq!(replica.next().await, shut(TWO, Outcome::DELETED, &words));
    // What crossed with that is passed over, and the number may be given again.
    replica.send(y(TWO, &update(&edit(1, 1, "c")))).await;
    replica.send(open(TWO, &document("three"))).await;
    replica.send(y(TWO, &update(&edit(1, 0, "d")))).await;
    let next = calls.store().await;
    assert_eq!(next.update.bytes()[..], edit(1, 0, "d"));
    next.done(Ok(()));
    assert_eq!(replica.next().await, stored(TWO, Outcome::WELL));
    replica.send(y(ONE, &update(&edit(1, 1, "e")))).await;
    calls.store().await.done(Ok(()));
    assert_eq!(replica.next().await, stored(ONE, Outcome::WELL), "the other document goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_changes_is_told_of_those_it_wants_behind_what_was_said() {
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let (mut replica, _) = welcomed(&server, "").await;
    replica.send(open(ONE, &document("notes/a"))).await;
    replica.send(watch(b"then", &["notes/".to_owned()])).await;
    let mut follow = calls.follow().await;
    assert_eq!(follow.since, "then");
    let changed = |names: &[String]| Changed {
        anew: true,
        more: false,
        until: Bytes::from_static(b"now"),
        documents: names.iter().map(|name| document(name)).collect(),
    };
    let names = ["lists/b", "notes/a"].map(str::to_owned);
    assert!(follow.port.changed(changed(&names)));
    assert_eq!(replica.next().await, changes(true, false, b"now", &[document("notes/a")]));
    // More than a frame lists, in the same order as they came.
    let many: Vec<_> = (0..5_000).map(|n| format!("notes/{n}")).collect();
    assert!(follow.port.changed(changed(&many)));
    let (mut listed, mut last) = (Vec::new(), false);
    while !last {
        let said = parse(&replica.next().await).unwrap();
        let Message::Changes { more, documents, .. } = said else { panic!("{said:?}") };
        listed.extend(documents);
        last = !more;
    }
    assert_eq!(listed, many.iter().map(|name| document(name)).collect::<Vec<_>>());
    // What was said of a document before it was listed comes before that.
    let mut stock = server.connect("/yjs/notes%2Fa").await;
    stock.send(update(&edit(2, 0, "b"))).await;
    calls.store().await.done(Ok(()));
    assert!(follow.port.changed(changed(&names)));
    assert_eq!(replica.next().await, y(ONE, &update(&edit(2, 0, "b"))));
    assert_eq!(replica.next().await, changes(true, false, b"now", &[document("notes/a")]));
    // A mark is answered behind what was told before.
    replica.send(mark(9, None)).await;
    assert_eq!(soon("the mark", follow.marks.recv()).await, Some(9));
    assert!(follow.port.changed(changed(&names)));
    assert!(follow.port.marked(9));
    assert_eq!(replica.next().await, changes(true, false, b"now", &[document("notes/a")]));
    assert_eq!(replica.next().await, marked(9, None));
    // Once is enough, and nobody hears anything when the connection is gone.
    replica.send(watch(b"", &[])).await;
    assert_eq!(replica.closed().await, native::CLOSE_BAD_FRAME);
    assert!(soon("the end of following", follow.ended).await.is_err(), "nobody follows any more");
    // Who follows nothing has nothing to mark.
    let (mut other, _) = welcomed(&server, "").await;
    other.send(mark(9, None)).await;
    assert_eq!(other.closed().await, native::CLOSE_BAD_FRAME);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_say_what_a_replica_may_do() {
    let (archive, mut calls) = stub();
    let admission = Arc::new(Tokens::new("w".parse().unwrap(), "r".parse().ok()));
    let server = Server::from_parts(|_| {}, Parts { admission, archive: Some(archive), routes: None }).await;
    let mut stranger = server.connect("/replica").await;
    stranger.send(hello("wrong")).await;
    let (said, code) = stranger.rest().await;
    assert_eq!(code, native::CLOSE_REFUSED);
    let Ok(native::Message::Refused { refusal, .. }) = native::parse(&said[0]) else { panic!("{said:?}") };
    assert_eq!(refusal, Refusal::TOKEN);
    let (mut writer, _) = welcomed(&server, "w").await;
    writer.send(open(ONE, &document("d"))).await;
    let (mut reader, _) = welcomed(&server, "r").await;
    reader.send(open(TWO, &document("d"))).await;
    reader.send(y(TWO, &update(&edit(1, 0, "no")))).await;
    assert_eq!(reader.next().await, stored(TWO, Outcome::READ_ONLY));
    writer.send(y(ONE, &update(&edit(2, 0, "yes")))).await;
    let only = calls.store().await;
    assert_eq!(only.update.bytes()[..], edit(2, 0, "yes"));
    assert_eq!(reader.next().await, y(TWO, &update(&edit(2, 0, "yes"))));
    assert_eq!(server.metric("refusals_total{reason=\"read_only\"}").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_documents_are_refused_one_by_one() {
    let server = Server::with(|config| config.documents_per_connection_max = 1, None).await;
    let (mut replica, _) = welcomed(&server, "").await;
    replica.send(open(ONE, &document("one"))).await;
    replica.send(open(TWO, &document("two"))).await;
    assert_eq!(replica.next().await, shut(TWO, Outcome::CROWDED, "too many documents on one connection"));
    replica.send(shut(ONE, Outcome::WELL, "")).await;
    replica.send(open(TWO, &document("two"))).await;
    nothing_more(&mut replica, 1).await;
    replica.send(shut(TWO, Outcome::WELL, "")).await;
    // Nobody keeps them here.
    replica.send(open(ONE, &AUTOMERGE)).await;
    let refused = replica.next().await;
    assert!(refused.starts_with(&[34, 1, 8]), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_room_shut_takes_no_place() {
    let (archive, mut calls) = stub();
    let server = Server::with(|config| config.documents_per_connection_max = 1, Some(archive)).await;
    let (mut replica, _) = welcomed(&server, "").await;
    // It comes back under another number each time, and says no more about the last one.
    for handle in (1..4).map(Handle) {
        replica.send(open(handle, &document("d"))).await;
        replica.send(y(handle, &update(&edit(1, 0, "a")))).await;
        calls.store().await.done(Err(StoreRefused::NoRoom));
        let words = StoreRefused::NoRoom.to_string();
        assert_eq!(replica.next().await, shut(handle, Outcome::NO_ROOM, &words));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_handed_what_was_not_stored_is_shut_as_well() {
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let (mut one, _) = welcomed(&server, "").await;
    one.send(open(ONE, &document("d"))).await;
    nothing_more(&mut one, 1).await;
    let mut stock = server.connect("/yjs/d").await;
    let (mut other, _) = welcomed(&server, "").await;
    other.send(open(TWO, &document("d"))).await;
    other.send(y(TWO, &update(&edit(1, 0, "a")))).await;
    assert_eq!(one.next().await, y(ONE, &update(&edit(1, 0, "a"))));
    // Whether it is stored: an answer that brings nothing.
    one.send(y(ONE, &sync_step2(&[0, 0]))).await;
    let (change, question) = (calls.store().await, calls.store().await);
    change.done(Err(StoreRefused::NoRoom));
    question.done(Ok(()));
    let words = StoreRefused::NoRoom.to_string();
    assert_eq!(other.next().await, shut(TWO, Outcome::NO_ROOM, &words));
    assert_eq!(one.next().await, shut(ONE, Outcome::NO_ROOM, &words));
    nothing_more(&mut one, 2).await;
    // Who counts on nothing stays.
    assert_eq!(stock.next().await, update(&edit(1, 0, "a")));
    stock.send(presence(1, 1, Some("{}"))).await;
    assert_eq!(stock.next().await, presence(1, 1, Some("{}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_breaks_a_rule_ends_its_connection_only() {
    let server = Server::start().await;
    let mut stock = server.connect("/yjs/d").await;
    let mut broken = edit(1, 0, "a");
    broken.pop();
    let frames = [
        vec![99],
        y(ONE, &update(&broken)),
        stored(ONE, Outcome::WELL),
        watch(b"", &[]),
        open(ONE, &document("d")),
        hello(""),
    ];
    for frame in frames {
        let (mut replica, _) = welcomed(&server, "").await;
        replica.send(open(ONE, &document("d"))).await;
        replica.send(frame.clone()).await;
        assert_eq!(replica.closed().await, native::CLOSE_BAD_FRAME, "{frame:?}");
    }
    stock.send(presence(1, 1, Some("{}"))).await;
    assert_eq!(stock.next().await, presence(1, 1, Some("{}")));
}

const AUTOMERGE: DocumentId = DocumentId::Automerge([7; 16]);
/// A sync message of an empty document.
const EMPTY: &[u8] = &[0x42, 0, 0, 0, 0];

/// Who joined the archive for an open document, and what it says first.
async fn paired(calls: &mut Calls) -> (PairwisePeer, Arc<dyn PairwisePort>) {
    let Pair::Join(peer, port) = calls.pair().await else { panic!("nobody joined") };
    let Pair::Receive { peer: from, document, message, wants } = calls.pair().await else { panic!() };
    assert_eq!((from, document, &message[..], wants), (peer, AUTOMERGE, EMPTY, false));
    (peer, port)
}

async fn left(calls: &mut Calls, peer: PairwisePeer) {
    assert!(matches!(calls.pair().await, Pair::Leave(gone) if gone == peer));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_automerge_document_is_a_fresh_session_at_the_archive_each_time_it_is_opened() {
    let (archive, mut calls) = stub();
    let server = Server::with(|config| config.documents_per_connection_max = 1, Some(archive)).await;
    let (mut replica, _) = welcomed(&server, "").await;
    replica.send(open(ONE, &AUTOMERGE)).await;
    replica.send(sync(ONE, EMPTY)).await;
    let (first, port) = paired(&mut calls).await;
    port.sync(&AUTOMERGE, EMPTY.into());
    assert_eq!(replica.next().await, sync(ONE, EMPTY));
    // It takes a place as any other.
    replica.send(open(TWO, &document("d"))).await;
    assert_eq!(replica.next().await, shut(TWO, Outcome::CROWDED, "too many documents on one connection"));
    replica.send(shut(ONE, Outcome::WELL, "")).await;
    left(&mut calls, first).await;
    replica.send(open(ONE, &AUTOMERGE)).await;
    replica.send(sync(ONE, EMPTY)).await;
    let (second, again) = paired(&mut calls).await;
    assert_ne!(second, first);
    // The archive was about to say it to who was there before, under this number.
    port.sync(&AUTOMERGE, EMPTY.into());
    port.refuse("it is over");
    nothing_more(&mut replica, 1).await;
    // It ends there, which is heard once on both sides, and the number and the place are free.
    again.over(&AUTOMERGE, StoreRefused::Deleted);
    again.refuse("it is over");
    let words = StoreRefused::Deleted.to_string();
    assert_eq!(replica.next().await, shut(ONE, Outcome::DELETED, &words));
    left(&mut calls, second).await;
    replica.send(open(ONE, &AUTOMERGE)).await;
    replica.send(sync(ONE, EMPTY)).await;
    let (third, port) = paired(&mut calls).await;
    port.refuse("the disk is slow");
    assert_eq!(replica.next().await, shut(ONE, Outcome::TROUBLE, "the disk is slow"));
    left(&mut calls, third).await;
    replica.send(open(TWO, &AUTOMERGE)).await;
    replica.send(sync(TWO, EMPTY)).await;
    let (fourth, port) = paired(&mut calls).await;
    port.unavailable(&AUTOMERGE);
    assert!(replica.next().await.starts_with(&[34, 2, 8]), "not kept there");
    left(&mut calls, fourth).await;
    replica.send(open(TWO, &AUTOMERGE)).await;
    replica.send(sync(TWO, EMPTY)).await;
    let (fifth, _port) = paired(&mut calls).await;
    drop(replica);
    left(&mut calls, fifth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn automerge_documents_are_listed_and_not_for_readers() {
    let (archive, mut calls) = stub();
    let admission = Arc::new(Tokens::new("w".parse().unwrap(), "r".parse().ok()));
    let server = Server::from_parts(|_| {}, Parts { admission, archive: Some(archive), routes: None }).await;
    for (prefixes, listed) in [
        (vec![], vec![document("automerge"), AUTOMERGE]),
        (vec!["automerge:".to_owned()], vec![AUTOMERGE]),
        (vec!["a".to_owned()], vec![document("automerge")]),
    ] {
        let (mut reader, _) = welcomed(&server, "r").await;
        reader.send(watch(b"", &prefixes)).await;
        let documents = vec![document("automerge"), AUTOMERGE];
        let changed = Changed { anew: false, more: false, until: Bytes::from_static(b"now"), documents };
        assert!(calls.follow().await.port.changed(changed));
        assert_eq!(reader.next().await, changes(false, false, b"now", &listed), "{prefixes:?}");
        reader.send(open(ONE, &AUTOMERGE)).await;
        assert!(reader.next().await.starts_with(&[34, 1, 8]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_other_format_breaks_a_rule() {
    let (archive, _calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    for frame in [y(ONE, &step1()), sync(TWO, EMPTY)] {
        let (mut replica, _) = welcomed(&server, "").await;
        replica.send(open(ONE, &AUTOMERGE)).await;
        replica.send(open(TWO, &document("d"))).await;
        replica.send(frame).await;
        assert_eq!(replica.closed().await, native::CLOSE_BAD_FRAME);
    }
}
