//! Stopping: everybody is told to come back later, seats are given up, nothing is accepted any more, and a
//! client that does not read cannot hold it up.

use std::time::Duration;

use tokio::net::TcpStream;
use tombolo_core::dialect::y_protocols::update;

use super::archive::stub;
use super::frames::{auth, edit, join, step1};
use super::world::{CUT, Raw, Server, masked, soon};

const LONG: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_is_told_and_nothing_is_accepted_any_more() {
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let mut clients = Vec::new();
    for (path, first) in [("/yjs/room", step1()), ("/hocuspocus", auth("doc")), ("/automerge", join("a"))] {
        let silent = server.connect(path).await;
        clients.push(silent);
        let mut client = server.connect(path).await;
        client.send(first).await;
        clients.push(client);
    }
    calls.read().await.answer(vec![0, 0]);
    let _half_open = Raw { socket: server.tcp().await };
    let address = server.address;
    soon("the relay to stop", server.relay.stop(LONG)).await;
    for client in &mut clients {
        assert_eq!(client.closed().await, 1012);
    }
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_waited_for_no_longer_than_allowed() {
    let server = Server::with(|config| config.queue_bytes_max = 64 << 20, None).await;
    let mut deaf = server.raw("/yjs/room").await;
    let mut author = server.connect("/yjs/room").await;
    assert!(author.heard(70).await.is_empty());
    for clock in 0..32 {
        author.send(update(&edit(1, clock << 20, &"x".repeat(1 << 20)))).await;
    }
    assert!(author.heard(71).await.is_empty());
    soon("the relay to stop", server.relay.stop(Duration::from_millis(50))).await;
    assert_eq!(author.closed().await, 1012);
    // Whoever talks on is not read any more, and what it says is no reason to lose the last words.
    deaf.send(&masked(0x82, &step1())).await;
    assert!([1012, CUT].contains(&deaf.closed().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_relay_stops_at_once() {
    let server = Server::start().await;
    drop(server.connect("/yjs/room").await);
    soon("the relay to stop", server.relay.stop(LONG)).await;
}
