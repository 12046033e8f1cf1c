//! Malformed WebSocket frames end their connection with the code of RFC 6455, and no flood of well-formed ones
//! grows memory or goes on for ever.

use tombolo_core::dialect::y_protocols::update;
use tombolo_relay::Rate;

use super::frames::{edit, nothing, step1};
use super::world::{CUT, Raw, Server, claim, masked, resident_bytes, soon};

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_end_their_connection_only() {
    let server = Server::with(|config| config.message_bytes_max = 1000, None).await;
    let mut pair = [server.connect("/yjs/room").await, server.connect("/yjs/room").await];
    assert!(pair[1].heard(90).await.is_empty());
    let part = |first: u8, len: usize| masked(first, &vec![0; len]);
    let rows: Vec<(&str, Vec<u8>, u16)> = vec![
        ("an unmasked frame", vec![0x82, 1, 3], 1002),
        ("the first reserved bit", part(0xc2, 1), 1002),
        ("the last reserved bit", part(0x92, 1), 1002),
        ("a reserved data opcode", part(0x83, 1), 1002),
        ("a reserved control opcode", part(0x8b, 1), 1002),
        ("a fragmented ping", part(0x09, 1), 1002),
        ("a ping that is too long", part(0x89, 126), 1002),
        ("a continuation of nothing", part(0x80, 1), 1002),
        ("a message within a message", [part(0x02, 1), part(0x82, 1)].concat(), 1002),
        ("a close with half a code", masked(0x88, &[3]), 1002),
        ("a close with a code for no wire", masked(0x88, &1005u16.to_be_bytes()), 1002),
        ("a close with a reason that is not UTF-8", masked(0x88, &[3, 0xe8, 0xff]), 1007),
        ("a text that is not UTF-8", masked(0x81, &[0xff]), 1007),
        ("a text", masked(0x81, b"hello"), 1003),
        ("a message that is too big", claim(0x82, 1001), 1009),
        ("a message of 2^63 bytes", claim(0x82, 1 << 63), 1009),
        ("fragments that are too big together", [part(0x02, 600), part(0x80, 600)].concat(), 1009),
    ];
    for (clock, (name, bytes, code)) in rows.into_iter().enumerate() {
        let mut raw = server.raw("/yjs/room").await;
        raw.send(&bytes).await;
        assert_eq!(raw.closed().await, code, "{name}");
        let news = update(&edit(90, clock as u64, "x"));
        pair[0].send(news.clone()).await;
        assert_eq!(pair[1].next().await, news, "after {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_is_answered_with_its_code() {
    let server = Server::start().await;
    for (payload, code) in
        [(&b""[..], 1005), (b"\x03\xe8", 1000), (b"\x03\xe9bye", 1001), (b"\x0f\xa0", 4000)]
    {
        let mut raw = server.raw("/yjs/room").await;
        raw.send(&masked(0x88, payload)).await;
        assert_eq!(raw.closed().await, code, "{payload:?}");
        assert_eq!(raw.frame().await, None, "the server ends the connection");
    }
    assert_eq!(server.connect("/yjs/room").await.goodbye().await, 1005);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_fragments_with_a_ping_within_is_taken() {
    let server = Server::start().await;
    let mut other = server.connect("/yjs/room").await;
    assert!(other.heard(90).await.is_empty());
    let mut raw = server.raw("/yjs/room").await;
    let news = update(&edit(1, 0, "in parts"));
    let (start, end) = news.split_at(3);
    raw.send(&[masked(0x02, start), masked(0x89, b"here?"), masked(0x00, b""), masked(0x80, end)].concat())
        .await;
    let (mut frames, pong) = (Vec::new(), (0x8a, b"here?".to_vec()));
    while frames.last() != Some(&pong) {
        frames.push(raw.frame().await.unwrap());
    }
    assert_eq!(other.next().await, news);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_cut_off_reaches_nobody() {
    let server = Server::start().await;
    let mut other = server.connect("/yjs/room").await;
    let news = update(&edit(1, 0, "cut off"));
    for part in [masked(0x82, &news), [masked(0x02, &news), masked(0x80, b"")].concat()] {
        let mut raw = server.raw("/yjs/room").await;
        raw.send(&part[..part.len() - 1]).await;
        drop(raw);
        server.until("connections{dialect=\"yjs\"}", 1).await;
    }
    assert!(other.heard(90).await.is_empty());
    assert_eq!(server.metric("refusals_total{reason=\"websocket_protocol\"}").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_never_ends_ends_its_connection() {
    let server = Server::with(|config| config.message_bytes_max = 64 * 1024, None).await;
    let flood = [masked(0x00, b"").repeat(1000), masked(0x89, b"")].concat();
    let mut raw = server.raw("/yjs/room").await;
    raw.send(&masked(0x02, b"\x00")).await;
    let mut sent = 0;
    while sent < 32 * 1024 * 1024 && raw.send(&flood).await {
        sent += flood.len();
    }
    assert!(sent < 32 * 1024 * 1024, "empty fragments with pings among them were read for ever");
    server.until("refusals_total{reason=\"endless_message\"}", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_dropped_but_a_slow_upload_is_not_nothing() {
    let server = Server::with(
        |config| {
            config.first_frame_ms = 50;
            config.silence_ms = 50;
        },
        None,
    )
    .await;
    for (path, code) in
        [("/yjs/room", 4508), ("/hocuspocus", 4408), ("/automerge", 1008), ("/signaling", 1008)]
    {
        assert_eq!(
            server.raw(path).await.closed().await,
            code,
            "a code after which {path} clients come back"
        );
    }
    let mut raw = server.raw("/yjs/room").await;
    raw.send(&masked(0x82, &step1())).await;
    assert_eq!(raw.closed().await, 4508, "silent after the first message");

    let server = Server::with(|config| config.silence_ms = 1500, None).await;
    let mut slow = server.raw("/yjs/room").await;
    slow.send(&masked(0x82, &step1())).await;
    assert_eq!(
        (slow.frame().await.unwrap().1, slow.frame().await.unwrap().1),
        (step1().to_vec(), nothing().to_vec())
    );
    let message = masked(
        0x82,
        &update(&edit(
            1,
            0,
            "slowly, over a bad line, a byte now and then, for longer than silence may last",
        )),
    );
    for byte in &message {
        slow.send(&[*byte]).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    slow.send(&masked(0x89, b"still here")).await;
    assert_eq!(slow.frame().await, Some((0x8a, b"still here".to_vec())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_connection_is_kept_alive_with_messages() {
    // Stock clients do not see pings; those of automerge-repo need no message.
    let server = Server::with(|config| config.ping_ms = 20, None).await;
    for (path, word) in
        [("/yjs/room", Some(&b"\x01\x01\x00"[..])), ("/hocuspocus", Some(b"\x09")), ("/automerge", None)]
    {
        let mut raw = server.raw(path).await;
        let mut expected = vec![(0x89, Vec::new())];
        expected.extend(word.map(|word| (0x82, word.to_vec())));
        let (mut pings, mut words) = (0, 0);
        while pings < 3 || words < 3 * expected.len() - 3 {
            let frame = raw.frame().await.unwrap();
            assert!(expected.contains(&frame), "{frame:?}");
            pings += usize::from(frame.0 == 0x89);
            words += usize::from(frame.0 == 0x82);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_claimed_is_not_held() {
    let server = Server::start().await;
    let mut raw = server.raw("/yjs/room").await;
    raw.send(&claim(0x82, 65 * 1024 * 1024)).await;
    assert_eq!(raw.closed().await, 1009);

    let mut claimants = Vec::new();
    let before = resident_bytes();
    for _ in 0..32 {
        let mut raw = server.raw("/yjs/room").await;
        raw.send(&[masked(0x89, b""), claim(0x82, 64 * 1024 * 1024), vec![0; 1000]].concat()).await;
        assert_eq!(raw.frame().await, Some((0x8a, Vec::new())));
        claimants.push(raw);
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes are held for 2 GiB that never came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_fills_the_flooders_queue_only() {
    let server = Server::with(
        |config| {
            config.queue_bytes_max = 64 * 1024;
            config.write_ms = 100;
            config.connection_control = Rate::FREE;
        },
        None,
    )
    .await;
    let mut raw: Raw = server.raw("/yjs/room").await;
    let pings = masked(0x89, &[7; 125]).repeat(1000);
    soon("the end of the flood", async { while raw.send(&pings).await {} }).await;
    server.until("refusals_total{reason=\"behind\"}", 1).await;
    server.until("connections{dialect=\"yjs\"}", 0).await;
    assert!([1013, CUT].contains(&raw.closed().await));
}
