//! A guest: it brings an update from inside the process, everybody in the room is sent it, and it hears of the disk.

use tombolo_core::dialect::y_protocols::update;
use tombolo_core::id::DocumentId;
use tombolo_core::room::StoreRefused;
use tombolo_core::update::Update;
use tombolo_relay::Guests;

use super::archive::stub;
use super::frames::{edit, step1};
use super::world::{Server, soon};

fn brought(text: &str) -> Update {
    Update::parse(edit(9, 0, text).into()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_brings_is_sent_to_all_and_known_to_be_durable_only_then() {
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let mut client = server.connect("/yjs/room").await;
    client.send(step1()).await;
    calls.read().await.answer(vec![0, 0]);
    while client.next().await != tombolo_core::dialect::y_protocols::sync_step2(&[0, 0]) {}
    let (guests, room) = (server.relay.guests(), DocumentId::yjs("room").unwrap());
    let bringing = tokio::spawn(async move { guests.bring(&room, brought("hi")).await });
    assert_eq!(client.next().await, update(&edit(9, 0, "hi")), "at once, before the disk");
    let store = calls.store().await;
    assert!(!bringing.is_finished());
    store.done(Ok(()));
    assert_eq!(soon("the disk's word", bringing).await.unwrap(), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_told_why_it_is_refused_and_leaves_no_room_behind() {
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let room = DocumentId::yjs("alone").unwrap();
    for verdict in [
        Ok(()),
        Err(StoreRefused::Trouble),
        Err(StoreRefused::NoRoom),
        Err(StoreRefused::Damaged),
        Err(StoreRefused::Deleted),
        Err(StoreRefused::Quarantined),
    ] {
        let (guests, room) = (server.relay.guests(), room.clone());
        let bringing = tokio::spawn(async move { guests.bring(&room, brought("x")).await });
        calls.store().await.done(verdict);
        assert_eq!(soon("a verdict", bringing).await.unwrap(), verdict);
        assert_eq!(server.metric("rooms").await, 0);
    }
    // Rooms of one's own, without a listener.
    let (archive, mut calls) = stub();
    let guests = Guests::alone(archive);
    let bringing = tokio::spawn(async move { guests.bring(&room, brought("x")).await });
    calls.store().await.done(Ok(()));
    assert_eq!(soon("a verdict", bringing).await.unwrap(), Ok(()));
}
