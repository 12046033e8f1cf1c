//! Stateless messages of Hocuspocus: all others on the document hear them, under their own addresses, and nobody else.

use bytes::Bytes;
use tombolo_core::dialect::y_protocols::update;
use tombolo_core::limits::EPHEMERAL_BYTES_MAX;
use tombolo_core::room::StoreRefused;
use tombolo_core::wire::lib0::write_var_bytes;
use tombolo_relay::Rate;

use super::archive::stub;
use super::frames::{admitted, auth, edit, presence, status, to};
use super::world::{Client, Server, masked, soon};

fn stateless(payload: &str) -> Vec<u8> {
    let mut body = vec![5];
    write_var_bytes(&mut body, payload.as_bytes());
    body
}

async fn attached(server: &Server, address: &str) -> Client {
    let mut client = server.connect("/hocuspocus").await;
    client.send(auth(address)).await;
    assert_eq!(client.next().await, admitted(address));
    client
}

/// What came until now under this address.
async fn heard(client: &mut Client, address: &str, marker: u64) -> Vec<Bytes> {
    let echo = to(address, &presence(marker, 1, Some("{}")));
    client.send(echo.clone()).await;
    let mut frames = Vec::new();
    loop {
        match client.next().await {
            frame if frame == echo => return frames,
            frame => frames.push(frame),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_others_on_the_document_hear_it_and_nobody_else() {
    let server = Server::start().await;
    let mut author = attached(&server, "doc").await;
    author.send(auth("doc\0two")).await;
    assert_eq!(author.next().await, admitted("doc\0two"));
    let mut other = attached(&server, "doc").await;
    let mut elsewhere = attached(&server, "else").await;
    let mut bare = server.connect("/yjs/doc").await;
    for n in 0..100 {
        author.send(to("doc", &stateless(&n.to_string()))).await;
    }
    for n in 0..100 {
        assert_eq!(other.next().await, to("doc", &stateless(&n.to_string())));
        assert_eq!(author.next().await, to("doc\0two", &stateless(&n.to_string())), "its other session");
    }
    assert!(heard(&mut author, "doc", 1).await.is_empty(), "nothing comes back");
    assert!(heard(&mut elsewhere, "else", 2).await.is_empty());
    assert!(bare.heard(3).await.is_empty(), "its dialect has no such message");

    // Whoever comes later hears what is said later.
    author.send(to("doc\0two", &[7])).await;
    let mut late = attached(&server, "doc").await;
    let large = "x".repeat(EPHEMERAL_BYTES_MAX);
    other.send(to("doc", &stateless(&large))).await;
    for hears in [&mut author, &mut late] {
        assert_eq!(next_stateless(hears).await, to("doc", &stateless(&large)));
    }
    other.send(to("doc", &stateless(&"x".repeat(EPHEMERAL_BYTES_MAX + 1)))).await;
    assert_eq!(other.closed().await, 4401);
}

/// The next one under the address "doc".
async fn next_stateless(client: &mut Client) -> Bytes {
    loop {
        let frame = client.next().await;
        if frame.starts_with(b"\x03doc\x05") {
            return frame;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_before_is_heard_before() {
    let server = Server::start().await;
    let mut author = attached(&server, "doc").await;
    let mut other = attached(&server, "doc").await;
    let mut all = Vec::new();
    for clock in 0..100 {
        all.push(to("doc", &update(&edit(1, clock, "a"))));
        all.push(to("doc", &stateless("look")));
    }
    let frames: Vec<_> = all.iter().map(|frame| masked(0x82, frame)).collect();
    author.burst(&frames.concat()).await;
    for frame in all {
        assert_eq!(other.next().await, frame);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_token_it_waits_and_without_one_it_is_nobodys() {
    let server = Server::start().await;
    let mut other = attached(&server, "doc").await;
    let mut author = server.connect("/hocuspocus").await;
    author.send(to("doc", &stateless("early"))).await;
    author.send(to("else", &stateless("never"))).await;
    assert!(heard(&mut other, "doc", 1).await.is_empty());
    author.send(auth("doc")).await;
    assert_eq!(other.next().await, to("doc", &stateless("early")));

    let server = Server::with(|config| config.before_admission_bytes_max = 1000, None).await;
    let mut flood = server.connect("/hocuspocus").await;
    for _ in 0..20 {
        flood.send(to("doc", &stateless("x"))).await;
    }
    assert_eq!(flood.closed().await, 4205);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_behind_misses_it_and_nothing_else() {
    const BEHIND: &str = "refusals_total{reason=\"stateless_behind\"}";
    let server = Server::with(|config| config.queue_bytes_max = 4 * 1024 * 1024, None).await;
    let mut author = attached(&server, "doc").await;
    let mut slow = attached(&server, "doc").await;
    let payload = "x".repeat(64 * 1024);
    let mut said = 0;
    while server.metric(BEHIND).await < 100 {
        author.send(to("doc", &stateless(&payload))).await;
        said += 1;
        assert!(said < 1000, "64 MiB wait for one reader");
    }
    author.send(to("doc", &update(&edit(1, 0, "a")))).await;
    let news = to("doc", &update(&edit(1, 0, "a")));
    let mut heard = 0;
    loop {
        let frame = slow.next().await;
        if frame == news {
            break;
        }
        heard += usize::from(frame == to("doc", &stateless(&payload)));
    }
    assert_eq!(heard + usize::try_from(server.metric(BEHIND).await).unwrap(), said);
    author.send(to("doc", &stateless("again"))).await;
    assert_eq!(slow.next().await, to("doc", &stateless("again")), "it has caught up");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_too_much_is_slowed() {
    const SLOWED: &str = "slowed_total{reason=\"presence_rate\"}";
    let server = Server::with(|config| config.connection_presence = Rate { per_s: 1, burst: 50 }, None).await;
    let mut other = attached(&server, "doc").await;
    let mut author = attached(&server, "doc").await;
    for _ in 0..1000 {
        author.send(to("doc", &stateless("x"))).await;
    }
    soon(SLOWED, async {
        while server.metric(SLOWED).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let came = heard(&mut other, "doc", 1).await.len();
    assert!(came < 200, "{came} came of a thousand");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_archive_refused_has_nothing_to_say() {
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let mut refused = attached(&server, "doc").await;
    let mut other = attached(&server, "doc").await;
    refused.send(to("doc", &update(&edit(1, 0, "a")))).await;
    calls.store().await.done(Err(StoreRefused::NoRoom));
    assert_eq!(refused.next().await, status("doc", false));
    refused.next().await;
    refused.send(to("doc", &stateless("x"))).await;
    refused.send(auth("doc")).await;
    assert_eq!(refused.next().await, admitted("doc"));
    let came = heard(&mut other, "doc", 1).await;
    assert!(came.iter().all(|frame| frame[4] != 5), "{came:?}");
}
