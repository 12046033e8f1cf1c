//! Floods of sockets, handshakes, identities and members that do not read: they are refused or cut with the right
//! code, memory stays bounded, and an honest pair hears everything.
//!
//! Larger with `TOMBOLO_TEST_HANDSHAKES` (2,000), `TOMBOLO_TEST_CONNECTIONS` (10,000) and `TOMBOLO_TEST_STUCK` (5,000).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tombolo_core::dialect::{hocuspocus, y_protocols, y_protocols::update};
use tombolo_core::validate::{AwarenessEntry, AwarenessUpdate};
use tombolo_relay::Rate;

use super::frames::{admitted, auth, edit, presence, to};
use super::world::{CUT, Client, Raw, Server, flood, handshake, masked, resident_bytes, soon};

const HOSTILE: [u8; 4] = [127, 0, 0, 2];

async fn honest_pair(server: &Server) -> [Client; 2] {
    let mut pair = [server.connect("/yjs/room").await, server.connect("/yjs/room").await];
    for (client, marker) in pair.iter_mut().zip([91, 92]) {
        assert!(client.heard(marker).await.is_empty());
    }
    pair
}

/// What the first types reaches the second, whatever presence comes between.
async fn hears([first, second]: &mut [Client; 2], clock: u64) {
    let news = update(&edit(90, clock, "x"));
    first.send(news.clone()).await;
    while second.next().await != news {}
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_never_end_are_cut_whatever_comes() {
    let many = flood("TOMBOLO_TEST_HANDSHAKES", 200);
    let server = Server::with(|config| config.handshake_ms = 300, None).await;
    let mut pair = honest_pair(&server).await;
    let mut dripping = JoinSet::new();
    for _ in 0..many {
        let mut socket = server.tcp().await;
        dripping.spawn(async move {
            let request = handshake("/yjs/room");
            // All but its end, then one header that goes on and on.
            socket.write_all(&request[..request.len() - 4]).await.unwrap();
            let mut cut = [0; 1];
            loop {
                tokio::select! {
                    read = socket.read(&mut cut) => return matches!(read, Ok(0) | Err(_)),
                    () = tokio::time::sleep(Duration::from_millis(20)) => drop(socket.write_all(b"a").await),
                }
            }
        });
    }
    hears(&mut pair, 0).await;
    while let Some(cut) = soon("all to be cut", dripping.join_next()).await {
        assert!(cut.unwrap(), "it was answered");
    }
    // The socket is cut a moment before it is counted.
    server.until("refusals_total{reason=\"handshake_timeout\"}", many as u64).await;
    hears(&mut pair, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_all_connections() {
    let many = flood("TOMBOLO_TEST_CONNECTIONS", 600);
    let allowed = many / 4;
    let server = Server::with(
        |config| {
            config.limits_loopback = true;
            config.address_connections_max = allowed;
            config.address_connects = Rate::FREE;
        },
        None,
    )
    .await;
    let mut pair = honest_pair(&server).await;
    let (mut held, mut told, mut cut) = (Vec::new(), 0, 0);
    for number in 0..many {
        let path = ["/yjs/room", "/hocuspocus", "/automerge"][number % 3];
        let mut raw = Raw { socket: server.tcp_from(HOSTILE).await };
        raw.send(&handshake(path)).await;
        let mut first = [0; 1];
        if soon("an answer", raw.socket.read(&mut first)).await.unwrap_or(0) == 0 {
            cut += 1;
            continue;
        }
        raw.head().await;
        if number >= allowed {
            assert_eq!(raw.closed().await, 4529, "told to come back later");
            told += 1;
        }
        held.push(raw);
    }
    assert_eq!(told + cut, many - allowed);
    let refused = server.metric("refusals_total{reason=\"address_connections\"}").await;
    assert_eq!(refused, (many - allowed) as u64);
    hears(&mut pair, 0).await;
    // Once they are gone, there is room again.
    drop(held);
    let again = async {
        loop {
            let mut raw = server.raw_from(HOSTILE, "/yjs/room").await;
            raw.send(&masked(0x89, b"")).await;
            match raw.frame().await {
                Some((0x82 | 0x8a, _)) => return,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    soon("room for one more", again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_come_faster_than_it_may() {
    let server = Server::with(
        |config| {
            config.limits_loopback = true;
            config.address_connects = Rate { per_s: 1, burst: 20 };
        },
        None,
    )
    .await;
    let mut came = 0;
    for _ in 0..200 {
        let mut raw = Raw { socket: server.tcp_from(HOSTILE).await };
        raw.send(&handshake("/yjs/room")).await;
        let mut first = [0; 1];
        came += soon("an answer", raw.socket.read(&mut first)).await.unwrap_or(0);
    }
    assert!((20..60).contains(&came), "{came} came");
    let mut pair = honest_pair(&server).await;
    hears(&mut pair, 0).await;
    let refused = server.metric("refusals_total{reason=\"address_connects\"}").await;
    assert_eq!(refused, 200 - came as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_room_tells_to_come_back_later() {
    let server = Server::with(|config| config.members_per_room_max = 2, None).await;
    let mut pair = honest_pair(&server).await;
    assert_eq!(server.connect("/yjs/room").await.closed().await, 4529);
    let mut other = server.connect("/hocuspocus").await;
    other.send(auth("room")).await;
    assert_eq!(other.next().await, admitted("room"));
    let words = "2 are in this room already; try again later";
    let address = hocuspocus_address("room");
    assert_eq!(other.next().await[..], hocuspocus::close(&address, words)[..]);
    // Its other documents are none of it.
    other.send(auth("free")).await;
    assert_eq!(other.next().await, admitted("free"));
    assert_eq!(server.metric("refusals_total{reason=\"room_full\"}").await, 2);
    hears(&mut pair, 0).await;
    let [first, _] = pair;
    first.goodbye().await;
    let mut next = server.connect("/yjs/room").await;
    next.heard(93).await;
}

fn hocuspocus_address(name: &str) -> hocuspocus::Address {
    match hocuspocus::parse(&to(name, &[3])).unwrap() {
        hocuspocus::Incoming::Addressed { address, .. } => address,
        other => panic!("{other:?}"),
    }
}

fn identities(first: u64, count: u64, state: &'static str) -> bytes::Bytes {
    let entry = |client| AwarenessEntry { client, clock: 1, state: Some(state.into()) };
    let entries = (first..first + count).map(entry).collect();
    y_protocols::awareness(&AwarenessUpdate { entries }.encode())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_100_000_identities_shows_a_bounded_crowd() {
    let server = Server::start().await;
    let mut pair = honest_pair(&server).await;
    // Too many of one connection.
    for number in 0..25 {
        let mut raw = server.raw("/yjs/room").await;
        raw.send(&masked(0x82, &identities(1_000_000 + number * 4000, 4000, "{}"))).await;
        assert_eq!(raw.closed().await, 4529);
    }
    let refused = server.metric("refusals_total{reason=\"too_many_awareness_clients\"}").await;
    assert_eq!(refused, 25);
    let mut raw = server.raw("/yjs/room").await;
    let large: &'static str = Box::leak(format!("\"{}\"", "x".repeat(60_000)).into_boxed_str());
    raw.send(&masked(0x82, &identities(500, 5, large))).await;
    assert_eq!(raw.closed().await, 4529);
    assert_eq!(server.metric("refusals_total{reason=\"too_much_awareness\"}").await, 1);
    // As many as one may have, of each of many.
    let before = resident_bytes();
    let mut held = Vec::new();
    for number in 0..100 {
        let mut client = server.connect("/yjs/room").await;
        client.send(identities(10_000_000 + number * 1000, 1000, "{}")).await;
        held.push(client.into_raw());
    }
    server.until("messages_received_total", 2 + 25 + 1 + 100).await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes for identities");
    hears(&mut pair, 0).await;
    // Whoever joins is shown a crowd, and no more.
    let mut joiner = server.connect("/yjs/room").await;
    let shown = y_protocols::parse(&joiner.next().await).unwrap();
    let y_protocols::Message::Awareness(shown) = shown else { panic!("{shown:?}") };
    assert!(shown.entries.len() <= 4096, "{} are shown", shown.entries.len());
    assert!(shown.entries.iter().any(|entry| entry.client == 91), "who was there first is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_stuck_readers_cost_little_and_an_honest_member_hears_everything() {
    let many = flood("TOMBOLO_TEST_STUCK", 1000);
    let server = Server::with(|config| config.members_per_room_max = many + 2, None).await;
    let mut reader = server.connect("/yjs/room").await;
    assert!(reader.heard(91).await.is_empty());
    let mut stuck = Vec::new();
    for _ in 0..many {
        stuck.push(server.raw_from(HOSTILE, "/yjs/room").await);
    }
    server.until("connections{dialect=\"yjs\"}", 1 + many as u64).await;
    let before = resident_bytes();

    let done = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&done);
    let mut author = server.connect("/yjs/room").await;
    let text = "x".repeat(64 * 1024);
    let step = text.len() as u64;
    let typing = tokio::spawn(async move {
        let mut typed = 0;
        while !said.load(Ordering::Relaxed) {
            author.send(update(&edit(1, typed * step, &text))).await;
            author.send(presence(1, 1 + typed, Some("{}"))).await;
            typed += 1;
            // The reader's echo is not waited for, only the room's turn: it must not be the one that falls behind.
            while author.next().await != presence(1, typed, Some("{}")) {}
        }
        (typed, author)
    });
    let reading = tokio::spawn(async move {
        let mut heard = 0;
        loop {
            match y_protocols::parse(&reader.next().await) {
                Ok(y_protocols::Message::Update(_)) => heard += 1,
                Ok(y_protocols::Message::Awareness(news))
                    if news.entries.iter().any(|entry| entry.client == 2) =>
                {
                    return heard;
                }
                _ => {}
            }
        }
    });
    let falling = async {
        let mut most = 0;
        while server.metric("refusals_total{reason=\"behind\"}").await < many as u64 {
            most = most.max(resident_bytes());
        }
        most
    };
    let grown = soon("all to fall behind", falling).await.saturating_sub(before);
    done.store(true, Ordering::Relaxed);
    let (typed, mut author) = typing.await.unwrap();
    author.send(presence(2, 1, Some("{}"))).await;
    assert_eq!(soon("the reader", reading).await.unwrap(), typed, "the honest reader misses something");
    assert!(grown < 128 * 1024 * 1024, "{grown} bytes for {many} stuck readers");
    // Each that reads again learns why it was closed.
    for mut raw in stuck.drain(..10) {
        assert!([1013, CUT].contains(&raw.closed().await));
    }
    drop(stuck);
    server.until("connections{dialect=\"yjs\"}", 1).await;
}
