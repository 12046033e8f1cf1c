//! Whoever sends too fast is read more slowly: nothing is lost, nobody is closed, and the others notice nothing.
//! Honest clients never meet a rate.

use bytes::Bytes;
use tombolo_core::dialect::y_protocols::update;
use tombolo_relay::{Rate, RelayConfig};

use super::archive::stub;
use super::frames::{self, admitted, auth, edit, ephemeral, presence, to};
use super::world::{Raw, Server, masked, soon};

/// A rate that is used up for the rest of a test.
const fn once(burst: u32) -> Rate {
    Rate { per_s: 1, burst }
}

/// What is read before a clock is looked at.
const LOT: u64 = 64;

/// An edit arrives in a room of its own, whoever else is held up.
async fn others_go_on(server: &Server, reason: &str) {
    let mut pair = [server.connect("/yjs/other").await, server.connect("/yjs/other").await];
    assert!(pair[1].heard(90).await.is_empty());
    let news = update(&edit(90, 0, "x"));
    pair[0].send(news.clone()).await;
    assert_eq!(pair[1].next().await, news, "{reason}");
}

async fn slowed(server: &Server, reason: &str) {
    let name = format!("slowed_total{{reason=\"{reason}\"}}");
    soon(&name, async {
        while server.metric(&name).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_is_held_up_wherever_it_is_counted() {
    type Tweak = fn(&mut RelayConfig);
    // How many may send at once, and what they may send in all.
    let rows: [(&str, Tweak, u64); 3] = [
        ("connection_rate", |config| config.connection_messages = once(100), 1),
        (
            "address_rate",
            |config| {
                config.limits_loopback = true;
                config.address_messages = once(100);
            },
            3,
        ),
        ("room_rate", |config| config.room_messages = once(100), 3),
    ];
    for (reason, tweak, senders) in rows {
        let server = Server::with(tweak, None).await;
        let mut reader = server.connect("/yjs/room").await;
        reader.heard(91).await;
        let mut floods = Vec::new();
        for client in 0..senders {
            let mut raw = server.raw_from([127, 0, 0, 2], "/yjs/room").await;
            let flood: Vec<u8> =
                (0..2000).flat_map(|clock| masked(0x82, &update(&edit(client, clock, "x")))).collect();
            raw.send(&flood).await;
            floods.push(raw);
        }
        slowed(&server, reason).await;
        others_go_on(&server, reason).await;
        let received = server.metric("messages_received_total").await;
        assert!(received < 100 + senders * (2 * LOT) + 100, "{reason}: {received} messages were taken");
        // The others have gone, and nobody was closed.
        server.until("connections{dialect=\"yjs\"}", 1 + senders).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_automerge_document_has_the_rates_of_a_room() {
    type Tweak = fn(&mut RelayConfig);
    let rows: [Tweak; 2] = [|config| config.room_messages = once(100), |config| config.room_kib = once(1)];
    for (tweak, with_archive) in rows.into_iter().flat_map(|tweak| [(tweak, false), (tweak, true)]) {
        let (archive, _calls) = stub();
        let archive = with_archive.then_some(archive as std::sync::Arc<dyn tombolo_relay::member::Archive>);
        let server = Server::with(tweak, archive).await;
        let target = if with_archive { "server" } else { "tombolo-relay:localhost/0" };
        let mut floods = Vec::new();
        for client in ["a", "b", "c"] {
            let mut raw = server.raw("/automerge").await;
            let says = (1..2000).map(|count| ephemeral(client, target, count));
            let frames = std::iter::once(frames::join(client)).chain(says);
            raw.send(&frames.flat_map(|frame| masked(0x82, &frame)).collect::<Vec<_>>()).await;
            floods.push(raw);
        }
        slowed(&server, "room_rate").await;
        others_go_on(&server, "automerge").await;
        let received = server.metric("messages_received_total").await;
        assert!(received < 1_500, "{received} messages were taken");
        server.until("connections{dialect=\"automerge\"}", 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bytes_is_held_up_wherever_it_is_counted() {
    type Tweak = fn(&mut RelayConfig);
    let rows: [(&str, Tweak); 3] = [
        ("connection_rate", |config| config.connection_kib = once(512)),
        ("address_rate", |config| {
            config.limits_loopback = true;
            config.address_kib = once(512);
        }),
        ("room_rate", |config| config.room_kib = once(512)),
    ];
    for (reason, tweak) in rows {
        let server = Server::with(tweak, None).await;
        let mut reader = server.connect("/yjs/room").await;
        reader.heard(91).await;
        let mut raw = server.raw_from([127, 0, 0, 2], "/yjs/room").await;
        let text = "x".repeat(48 * 1024);
        let sending = tokio::spawn(async move {
            for clock in 0..200 {
                raw.send(&masked(0x82, &update(&edit(1, clock * 48 * 1024, &text)))).await;
            }
        });
        slowed(&server, reason).await;
        others_go_on(&server, reason).await;
        let received = server.metric("received_bytes_total").await;
        assert!(received < 1024 * 1024, "{reason}: {received} bytes were taken");
        sending.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_up_arrives_whole_and_in_order() {
    const EDITS: u64 = 2000;
    let fast = Rate { per_s: 2000, burst: 100 };
    let server = Server::with(|config| config.connection_messages = fast, None).await;
    let mut reader = server.connect("/yjs/room").await;
    assert!(reader.heard(90).await.is_empty());
    let mut author = server.connect("/yjs/room").await;
    let edits: Vec<_> = (0..EDITS).map(|clock| update(&edit(1, clock, "x"))).collect();
    author.burst(&edits.iter().flat_map(|edit| masked(0x82, edit)).collect::<Vec<_>>()).await;
    for edit in &edits {
        assert_eq!(reader.next().await, *edit);
    }
    slowed(&server, "connection_rate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_is_held_up_even_if_its_pongs_are_read() {
    let server = Server::with(|config| config.connection_control = once(20), None).await;
    let mut raw = server.raw("/yjs/room").await;
    raw.send(&[masked(0x89, b"").repeat(500), masked(0x8a, b"").repeat(500)].concat()).await;
    for _ in 0..20 {
        assert_eq!(raw.frame().await, Some((0x8a, Vec::new())));
    }
    slowed(&server, "control_rate").await;
    others_go_on(&server, "pings").await;
    server.until("connections{dialect=\"yjs\"}", 1).await;
}

async fn shows(server: &Server, path: &str, first: &[Bytes], again: impl Fn(u64) -> Bytes) -> Raw {
    let mut raw = server.raw(path).await;
    let first = first.iter().flat_map(|frame| masked(0x82, frame));
    raw.send(&first.chain((1..500).flat_map(|clock| masked(0x82, &again(clock)))).collect::<Vec<_>>()).await;
    raw
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_presence_is_held_up_in_each_dialect() {
    let slowly = |config: &mut RelayConfig| config.connection_presence = once(20);
    let server = Server::with(slowly, None).await;
    let _bare = shows(&server, "/yjs/room", &[], |clock| presence(1, clock, Some("{}"))).await;
    slowed(&server, "presence_rate").await;
    others_go_on(&server, "yjs").await;

    let server = Server::with(slowly, None).await;
    let entry = |clock| to("doc", &presence(1, clock, Some("{}")));
    let _addressed = shows(&server, "/hocuspocus", &[auth("doc")], entry).await;
    slowed(&server, "presence_rate").await;
    let received = server.metric("messages_received_total").await;
    assert!(received < 100, "{received} were taken");

    let (archive, _calls) = stub();
    let server = Server::with(slowly, Some(archive)).await;
    let says = |count| ephemeral("a", "server", count);
    let _pairwise = shows(&server, "/automerge", &[frames::join("a")], says).await;
    slowed(&server, "presence_rate").await;
    let received = server.metric("messages_received_total").await;
    assert!(received < 100, "{received} were taken");
}

/// With the defaults, and the limits of an address on.
#[tokio::test(flavor = "multi_thread")]
async fn honest_clients_never_meet_a_rate() {
    let server = Server::with(|config| config.limits_loopback = true, None).await;
    // A paste of 64 MiB.
    let mut paste = server.connect("/yjs/paste").await;
    paste.send(update(&edit(1, 0, &"x".repeat(64 * 1024 * 1024 - 100)))).await;
    assert!(paste.heard(90).await.is_empty());
    // 10 MB that were typed offline.
    let mut offline = server.connect("/yjs/offline").await;
    let text = "x".repeat(100);
    let typed: Vec<u8> = (0..100_000).flat_map(|n| masked(0x82, &update(&edit(1, n * 100, &text)))).collect();
    assert!(typed.len() > 10_000_000);
    offline.burst(&typed).await;
    assert!(offline.heard(90).await.is_empty());
    // 500 documents on one socket.
    let mut many = server.connect("/hocuspocus").await;
    for document in 0..500u64 {
        let name = document.to_string();
        many.send(auth(&name)).await;
        many.send(to(&name, &presence(document, 1, Some("{}")))).await;
    }
    for document in 0..500 {
        let name = document.to_string();
        while many.next().await != to(&name, &presence(document, 1, Some("{}"))) {}
    }
    // 100 people behind one address, each with ten documents, who type.
    let mut people = Vec::new();
    for person in 0..100u64 {
        let mut client = server.connect("/hocuspocus").await;
        for document in 0..10 {
            let name = format!("shared {document}");
            client.send(auth(&name)).await;
            while client.next().await != admitted(&name) {}
        }
        people.push((person, client));
    }
    for clock in 0..20 {
        for (person, client) in &mut people {
            let name = format!("shared {}", *person % 10);
            client.send(to(&name, &presence(*person, 1 + clock, Some("{}")))).await;
            client.send(to(&name, &update(&edit(*person, clock, "x")))).await;
        }
    }
    server.until("messages_received_total", 2 + 100_001 + 1000 + 100 * 10 + 20 * 100 * 2).await;
    let text = server.get("/metrics").await;
    assert!(!text.contains("tombolo_slowed_total{"), "{text}");
    let mut refusals = text.lines().filter(|line| line.starts_with("tombolo_refusals_total{"));
    assert!(refusals.all(|line| line.ends_with(" 0")), "{text}");
}
