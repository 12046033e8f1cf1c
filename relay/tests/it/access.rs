//! Who may join and who may write, in each dialect: a reader's content reaches nobody, is stored nowhere and answers
//! nobody's question; a token that is renewed may change what its client may do.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::y_protocols::{sync_step2, update};
use tombolo_core::wire::lib0::write_var_bytes;
use tombolo_relay::admission::{Everybody, Tokens};
use tombolo_relay::member::Archive;
use tombolo_relay::{AcknowledgeWithoutArchive, Parts, Routes};

use super::archive::{Calls, stub};
use super::frames::{admitted, edit, join, nothing, presence, status, step1, to};
use super::http::Page;
use super::world::{Client, Raw, Server};

const REFUSED: &str = "refusals_total{reason=\"read_only\"}";

fn parts(archive: Option<Arc<dyn Archive>>) -> Parts {
    Parts { admission: Arc::new(Tokens::new("w".parse().unwrap(), "r".parse().ok())), archive, routes: None }
}

async fn with_archive() -> (Server, Calls) {
    let (archive, calls) = stub();
    (Server::from_parts(|_| {}, parts(Some(archive))).await, calls)
}

async fn without_archive() -> Server {
    Server::from_parts(|_| {}, parts(None)).await
}

fn token(address: &str, token: &str) -> Bytes {
    let mut body = vec![2, 0];
    write_var_bytes(&mut body, token.as_bytes());
    to(address, &body)
}

fn readonly(address: &str) -> Bytes {
    to(address, b"\x02\x02\x08readonly")
}

async fn attached(server: &Server, shown: &str) -> Client {
    let mut client = server.connect("/hocuspocus").await;
    client.send(token("doc", shown)).await;
    assert_eq!(client.next().await, if shown == "w" { admitted("doc") } else { readonly("doc") });
    client
}

/// The next frame must be the echo of this presence: nothing came before it.
async fn nothing_before(client: &mut Client, marker: u64) {
    client.send(to("doc", &presence(marker, 1, Some("{}")))).await;
    assert_eq!(client.next().await, to("doc", &presence(marker, 1, Some("{}"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_brings_over_hocuspocus_is_refused_and_goes_nowhere() {
    let (server, mut calls) = with_archive().await;
    let mut writer = attached(&server, "w").await;
    let mut reader = attached(&server, "r").await;
    // It reads.
    reader.send(to("doc", &step1())).await;
    calls.read().await.answer(edit(1, 0, "stored"));
    assert_eq!(reader.next().await, to("doc", &step1()));
    assert_eq!(reader.next().await, to("doc", &sync_step2(&edit(1, 0, "stored"))));
    writer.send(to("doc", &update(&edit(2, 0, "news")))).await;
    calls.store().await.done(Ok(()));
    assert_eq!(writer.next().await, status("doc", true));
    assert_eq!(reader.next().await, to("doc", &update(&edit(2, 0, "news"))));
    // It does not write.
    reader.send(to("doc", &update(&edit(3, 0, "x")))).await;
    assert_eq!(reader.next().await, status("doc", false));
    reader.send(to("doc", &sync_step2(&edit(3, 0, "x")))).await;
    assert_eq!(reader.next().await, status("doc", false));
    // "I have nothing" is no content; it is answered when all before it is durable.
    reader.send(to("doc", &nothing())).await;
    let empty = calls.store().await;
    assert!(empty.update.is_empty(), "and nothing of it was stored before");
    empty.done(Ok(()));
    assert_eq!(reader.next().await, status("doc", true));
    // It is seen.
    reader.send(to("doc", &presence(9, 1, Some("{}")))).await;
    assert_eq!(writer.next().await, to("doc", &presence(9, 1, Some("{}"))), "and no update before it");
    assert_eq!(reader.next().await, to("doc", &presence(9, 1, Some("{}"))));
    assert_eq!(server.metric(REFUSED).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_brings_over_y_websocket_is_dropped_in_silence() {
    let (server, mut calls) = with_archive().await;
    let mut writer = server.connect("/yjs/doc?token=w").await;
    let mut reader = server.connect("/yjs/doc?token=r").await;
    reader.send(step1()).await;
    calls.read().await.answer(edit(1, 0, "stored"));
    assert_eq!(reader.next().await, step1());
    assert_eq!(reader.next().await, sync_step2(&edit(1, 0, "stored")));
    reader.send(sync_step2(&edit(3, 0, "x"))).await;
    assert!(calls.store().await.update.is_empty(), "the question is answered, with nothing");
    reader.send(update(&edit(3, 0, "x"))).await;
    assert!(reader.heard(80).await.is_empty());
    assert!(writer.heard(81).await.is_empty());
    writer.send(update(&edit(2, 0, "news"))).await;
    assert_eq!(calls.store().await.update.bytes()[..], edit(2, 0, "news"), "nothing was stored before");
    assert_eq!(server.metric(REFUSED).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_on_a_relay_answers_for_nobody() {
    let server = without_archive().await;
    for reader in ["/yjs/room?token=r", "/hocuspocus"] {
        let address = if reader == "/hocuspocus" { "room" } else { "" };
        let framed = |body: &[u8]| if address.is_empty() { body.to_vec().into() } else { to(address, body) };
        let mut reader = server.connect(reader).await;
        if !address.is_empty() {
            reader.send(token(address, "r")).await;
            assert_eq!(reader.next().await, readonly(address));
        }
        reader.send(framed(&step1())).await;
        let mut joiner = server.connect("/yjs/room?token=w").await;
        joiner.send(step1()).await;
        // Whatever it is asked, its content is nobody's.
        for _ in 0..3 {
            reader.send(framed(&sync_step2(&edit(3, 0, "forged")))).await;
            reader.send(framed(&nothing())).await;
        }
        reader.send(framed(&presence(9, 1, Some("{}")))).await;
        let mut heard = Vec::new();
        // The answer is the room's own: nobody else is there who could be asked.
        while !heard.contains(&presence(9, 1, Some("{}"))) || !heard.contains(&nothing()) {
            heard.push(joiner.next().await);
        }
        let forged = [sync_step2(&edit(3, 0, "forged")), update(&edit(3, 0, "forged"))];
        assert!(heard.iter().all(|frame| !forged.contains(frame)), "{heard:?}");
        drop((reader, joiner));
        server.until("rooms", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_tells_a_reader_what_it_tells_everybody() {
    let forwarded = AcknowledgeWithoutArchive::Forwarded;
    let server = Server::from_parts(|config| config.acknowledge = forwarded, parts(None)).await;
    let mut reader = attached(&server, "r").await;
    reader.send(to("doc", &nothing())).await;
    assert_eq!(reader.next().await, status("doc", true), "there was nothing to forward");
    reader.send(to("doc", &update(&edit(3, 0, "x")))).await;
    assert_eq!(reader.next().await, status("doc", false));

    let server = without_archive().await;
    let mut reader = attached(&server, "r").await;
    reader.send(to("doc", &nothing())).await;
    nothing_before(&mut reader, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_dialect_turns_away_whom_it_does_not_know() {
    let server = without_archive().await;
    for path in ["/yjs/doc", "/yjs/doc?token=x", "/yjs/doc?token="] {
        assert_eq!(server.connect(path).await.closed().await, 4403, "{path}");
    }
    let mut socket = server.connect("/hocuspocus").await;
    for shown in ["", "x"] {
        socket.send(token("doc", shown)).await;
        assert!(socket.next().await.starts_with(&to("doc", b"\x02\x01")), "{shown}");
    }
    // In these whoever takes part can write.
    for query in ["", "?token=x", "?token=r"] {
        let mut repo = server.connect(&format!("/automerge{query}")).await;
        repo.send(join("client")).await;
        let (frames, code) = repo.rest().await;
        assert_eq!((frames.len(), code), (1, 1008), "an error, then the end");
        let mut signaling = server.connect(&format!("/signaling{query}")).await;
        assert_eq!(signaling.closed().await, 1008);
    }
    assert_eq!(server.metric("refusals_total{reason=\"admission\"}").await, 3 + 2 + 6);
    assert_eq!(server.metric("rooms").await, 0);

    let mut repo = server.connect("/automerge?token=w").await;
    repo.send(join("client")).await;
    repo.next().await;
    let mut signaling = server.connect("/signaling?token=w").await;
    signaling.text(r#"{"type":"ping"}"#).await;
    assert_eq!(signaling.next_text().await, r#"{"type":"pong"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_token_changes_what_its_client_may_do() {
    let (server, mut calls) = with_archive().await;
    let mut witness = attached(&server, "w").await;
    let mut client = attached(&server, "w").await;
    client.send(token("doc", "w")).await;
    nothing_before(&mut client, 1).await;
    assert_eq!(witness.next().await, to("doc", &presence(1, 1, Some("{}"))));

    client.send(token("doc", "r")).await;
    assert_eq!(client.next().await, readonly("doc"));
    assert_eq!(witness.next().await, to("doc", &presence(1, 1, None)), "in a new seat");
    calls.read().await.answer(edit(1, 0, "stored"));
    assert_eq!(client.next().await, to("doc", &step1()));
    assert_eq!(client.next().await, to("doc", &sync_step2(&edit(1, 0, "stored"))));
    client.send(to("doc", &update(&edit(3, 0, "x")))).await;
    assert_eq!(client.next().await, status("doc", false));

    client.send(token("doc", "w")).await;
    assert_eq!(client.next().await, admitted("doc"));
    calls.read().await.answer(vec![0, 0]);
    assert_eq!(client.next().await, to("doc", &step1()), "asked for what was refused before");
    assert_eq!(client.next().await, to("doc", &nothing()));
    client.send(to("doc", &sync_step2(&edit(3, 0, "x")))).await;
    assert_eq!(witness.next().await, to("doc", &update(&edit(3, 0, "x"))));
    calls.store().await.done(Ok(()));
    assert_eq!(client.next().await, status("doc", true));

    client.send(token("doc", "x")).await;
    assert!(client.next().await.starts_with(&to("doc", b"\x02\x01")), "denied");
    assert!(client.next().await.starts_with(&to("doc", b"\x07")), "and closed");
    client.send(to("doc", &update(&edit(3, 1, "y")))).await;
    client.send(token("doc", "w")).await;
    assert_eq!(client.next().await, admitted("doc"), "the socket went on");
    assert_eq!(witness.next().await, to("doc", &update(&edit(3, 1, "y"))), "and what waited is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_of_their_own_are_private_if_they_say_so() {
    let routes = || Some(Arc::new(Page) as Arc<dyn Routes>);
    let guarded = Server::from_parts(|_| {}, Parts { routes: routes(), ..parts(None) }).await;
    assert!(guarded.get("/page").await.starts_with("HTTP/1.1 200 "));
    for path in ["/private", "/private?token=x", "/private?token="] {
        assert!(guarded.get(path).await.starts_with("HTTP/1.1 401 "), "{path}");
    }
    for path in ["/private?token=w", "/private?a=b&token=r"] {
        assert!(guarded.get(path).await.starts_with("HTTP/1.1 200 "), "{path}");
    }
    for (shown, code) in [("Bearer r", 200), ("Bearer x", 401), ("r", 401)] {
        let mut raw = Raw { socket: guarded.tcp().await };
        let head = format!(
            "GET /private HTTP/1.1\r\nhost: localhost\r\nauthorization: {shown}\r\nconnection: close\r\n\r\n"
        );
        raw.send(head.as_bytes()).await;
        assert!(raw.rest().await.starts_with(&format!("HTTP/1.1 {code} ")), "{shown}");
    }
    let admission = Arc::new(Everybody);
    let open = Server::from_parts(|_| {}, Parts { admission, archive: None, routes: routes() }).await;
    assert!(open.get("/private").await.starts_with("HTTP/1.1 200 "));
}
