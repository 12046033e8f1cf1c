//! A relay and its peers: what it holds back, and what it refuses them.

use std::time::Duration;

use bytes::Bytes;
use tombolo_core::cluster::Output;
use tombolo_core::id::DocumentId;
use tombolo_core::room::{Arrival, AskId, PeerMessage, StoreRefused};
use tombolo_core::update::{StateVector, Update};
use tombolo_relay::member::Archive;

use super::archive::stub;
use super::far::Far;
use super::world::Server;

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
