//! Beside WebSocket: health and metrics are served, what is no handshake is refused, what never becomes one is
//! cut, and the number of sockets is bounded.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::{Method, Response, StatusCode};
use tombolo_relay::admission::Everybody;
use tombolo_relay::{AllowedOrigins, Body, Parts, RelayConfig, Routes, text_response};

use super::frames;
use super::world::{Raw, Server, handshake, masked, soon};

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_and_metrics_are_served() {
    let server = Server::start().await;
    assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(server.get("/readyz").await.starts_with("HTTP/1.1 200 "));
    assert!(server.get("/nowhere").await.starts_with("HTTP/1.1 404 "));
    let mut client = server.connect("/yjs/room").await;
    client.send(frames::step1()).await;
    client.next().await;
    assert_eq!(server.metric("connections{dialect=\"yjs\"}").await, 1);
    assert_eq!(server.metric("rooms").await, 1);
    assert!(server.get("/metrics").await.trim_end().ends_with("# EOF"));
    drop(client);
    server.until("connections{dialect=\"yjs\"}", 0).await;
    server.until("rooms", 0).await;
    assert_eq!(server.metric("connections_opened_total{dialect=\"yjs\"}").await, 1);
    let text = server.get("/metrics").await;
    let refused = |line: &str| line.starts_with("tombolo_refusals_total{") && !line.ends_with(" 0");
    assert!(!text.lines().any(refused), "a client that goes is no refusal: {text}");
}

pub struct Page;

impl Routes for Page {
    fn respond<'a>(
        &'a self,
        _: &'a Method,
        path: &'a str,
    ) -> Pin<Box<dyn Future<Output = Option<Response<Body>>> + Send + 'a>> {
        Box::pin(async move {
            ["/page", "/private"].contains(&path).then(|| text_response(StatusCode::OK, "a page"))
        })
    }

    fn is_private(&self, path: &str) -> bool {
        path == "/private"
    }

    fn metrics(&self) -> String {
        "page_views 3\n".into()
    }

    fn ready(&self) -> Result<(), String> {
        Err("the disk is full".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedder_adds_pages_metrics_and_its_own_readiness() {
    let parts = Parts { admission: Arc::new(Everybody), archive: None, routes: Some(Arc::new(Page)) };
    let server = Server::from_parts(|_| {}, parts).await;
    assert!(server.get("/page").await.ends_with("a page"));
    assert!(server.get("/other").await.starts_with("HTTP/1.1 404 "));
    assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200 "), "alive, though not ready");
    let unready = server.get("/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503 ") && unready.contains("the disk is full"), "{unready}");
    assert!(server.get("/metrics").await.ends_with("page_views 3\n# EOF\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialects_path_without_a_handshake_says_what_it_speaks() {
    let server = Server::start().await;
    for path in ["/yjs/room", "/hocuspocus", "/automerge"] {
        let response = server.get(path).await.to_ascii_lowercase();
        assert!(response.starts_with("http/1.1 426 "), "{response}");
        assert!(response.contains("upgrade: websocket\r\n"), "RFC 9110, 15.5.22: {response}");
    }
    let mut raw = Raw { socket: server.tcp().await };
    let old = String::from_utf8(handshake("/yjs/room")).unwrap().replace("version: 13", "version: 8");
    raw.send(old.as_bytes()).await;
    let response = raw.head().await.to_ascii_lowercase();
    assert!(response.starts_with("http/1.1 426 ") && response.contains("sec-websocket-version: 13"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_handshake_is_cut() {
    let server = Server::with(|config| config.handshake_ms = 300, None).await;
    let mut silent = Raw { socket: server.tcp().await };
    let mut slow = Raw { socket: server.tcp().await };
    slow.send(b"GET /yjs/room HTTP/1.1\r\nhost: localhost\r\nupg").await;
    assert_eq!((silent.rest().await, slow.rest().await), (String::new(), String::new()));
    server.until("refusals_total{reason=\"handshake_timeout\"}", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_does_not_live_for_ever() {
    let server = Server::with(|config| config.handshake_ms = 300, None).await;
    let mut idle = Raw { socket: server.tcp().await };
    idle.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(idle.rest().await.ends_with("ok\n"));
    assert_eq!(
        server.metric("refusals_total{reason=\"handshake_timeout\"}").await,
        0,
        "it asked and was answered"
    );
    let mut unread_body = Raw { socket: server.tcp().await };
    unread_body.send(b"POST /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nx").await;
    assert!(unread_body.rest().await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_never_reads_is_cut() {
    let server = Server::with(|config| config.write_ms = 50, None).await;
    let mut deaf = Raw { socket: server.tcp().await };
    let requests = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1000);
    let flood = async { while deaf.send(&requests).await {} };
    soon("the end of a reader that reads nothing", flood).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_headers_is_cut() {
    let server = Server::start().await;
    let mut raw = Raw { socket: server.tcp().await };
    raw.send(b"GET /yjs/room HTTP/1.1\r\n").await;
    let mut sent = 0;
    while sent < 10_000_000 && raw.send(&b"x-flood: abcdefghijklmnopqrstuvwxyz\r\n".repeat(100)).await {
        sent += 3600;
    }
    assert!(sent < 10_000_000, "more than 10 MB of headers were taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_socket_counts_once_and_no_more_than_the_limit_are_served() {
    let server = Server::with(|config| config.connections_max = 8, None).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(server.connect("/yjs/room").await);
    }
    let mut one_too_many = Raw { socket: server.tcp().await };
    one_too_many.send(&handshake("/yjs/room")).await;
    assert!(one_too_many.rest().await.starts_with("HTTP/1.1 503 "));
    // The end of one makes room for another, and that for the metrics.
    clients.truncate(2);
    let room_again = async {
        while !server.get("/healthz").await.starts_with("HTTP/1.1 200 ") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon("room for one more", room_again).await;
    assert!(server.metric("refusals_total{reason=\"connections\"}").await >= 1);
    server.connect("/yjs/room").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subprotocol_that_is_offered_is_chosen_and_compression_is_not() {
    let server = Server::start().await;
    let mut raw = Raw { socket: server.tcp().await };
    let plain = String::from_utf8(handshake("/yjs/room")).unwrap();
    let offer = plain.replace(
        "host: localhost\r\n",
        "host: localhost\r\nsec-websocket-protocol: yjs.1, yjs.2\r\nsec-websocket-extensions: permessage-deflate\r\n",
    );
    raw.send(offer.as_bytes()).await;
    let response = raw.head().await.to_ascii_lowercase();
    assert!(response.contains("sec-websocket-protocol: yjs.1\r\n"), "{response}");
    assert!(!response.contains("extensions"), "compression is not spoken: {response}");
    assert!(response.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_right_behind_the_handshake_is_not_lost() {
    let server = Server::start().await;
    let mut raw = Raw { socket: server.tcp().await };
    raw.send(&[handshake("/yjs/room"), masked(0x82, &frames::step1())].concat()).await;
    raw.head().await;
    assert_eq!(raw.frame().await.unwrap().1, frames::step1(), "asked for its own content");
    assert_eq!(raw.frame().await.unwrap().1, frames::nothing());
}

/// The status of a request with these headers more.
async fn status(server: &Server, request: &str, headers: &str) -> String {
    let mut raw = Raw { socket: server.tcp().await };
    // What needs no handshake does not mind one.
    let request = String::from_utf8(handshake(request)).unwrap();
    let request = match headers.strip_prefix("host: ") {
        Some(_) => request.replace("host: localhost\r\n", headers),
        None => request.replace("\r\n\r\n", &format!("\r\n{headers}\r\n")),
    };
    raw.send(request.as_bytes()).await;
    raw.head().await[9..12].to_owned()
}

async fn with_page(tweak: impl FnOnce(&mut RelayConfig)) -> Server {
    let parts = Parts { admission: Arc::new(Everybody), archive: None, routes: Some(Arc::new(Page)) };
    Server::from_parts(tweak, parts).await
}

const DOORS: [(&str, &str); 5] = [
    ("/yjs/room", "101"),
    ("/hocuspocus", "101"),
    ("/automerge", "101"),
    ("/signaling", "101"),
    ("/page", "200"),
];

#[tokio::test(flavor = "multi_thread")]
async fn foreign_web_pages_are_turned_away() {
    let server = with_page(|_| {}).await;
    let own = format!("host: {0}\r\norigin: http://{0}\r\n", server.address);
    for (path, fine) in DOORS {
        for origin in ["", &own, "origin: http://localhost:5173\r\n", "origin: https://[::1]\r\n"] {
            assert_eq!(status(&server, path, origin).await, fine, "{path} {origin}");
        }
        for origin in ["https://evil.example", "http://localhost.evil", "null", "\u{fc}"] {
            assert_eq!(
                status(&server, path, &format!("origin: {origin}\r\n")).await,
                "403",
                "{path} {origin}"
            );
        }
    }
    assert_eq!(
        status(&server, "/metrics", "origin: https://evil.example\r\n").await,
        "200",
        "a page cannot read it"
    );
    assert_eq!(server.metric("refusals_total{reason=\"origin\"}").await, 4 * DOORS.len() as u64);
    assert_eq!(server.metric("connections_opened_total{dialect=\"yjs\"}").await, 4, "nobody else got in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_name_for_loopback_is_turned_away() {
    let server = with_page(|_| {}).await;
    for (path, fine) in DOORS.into_iter().chain([("/metrics", "200")]) {
        for host in ["localhost:1", "127.0.0.1:8484", "[::1]"] {
            assert_eq!(status(&server, path, &format!("host: {host}\r\n")).await, fine, "{path} {host}");
        }
        // The page of this name is of the same origin.
        let rebound = "host: evil.example:8484\r\norigin: http://evil.example:8484\r\n";
        assert_eq!(status(&server, path, rebound).await, "403", "{path}");
    }
    assert_eq!(server.metric("refusals_total{reason=\"host\"}").await, DOORS.len() as u64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_that_are_allowed_may_speak_and_read() {
    let allow = |origins: &[&str]| AllowedOrigins::of(origins).unwrap();
    let some =
        with_page(|config| config.origins = allow(&["https://app.example", "https://notes.example"])).await;
    let any = with_page(|config| config.origins = allow(&["*"])).await;
    for (path, fine) in DOORS {
        for (origin, at_some) in
            [("https://app.example", fine), ("http://app.example", "403"), ("null", "403")]
        {
            let origin = format!("origin: {origin}\r\n");
            assert_eq!(status(&some, path, &origin).await, at_some, "{path} {origin}");
            assert_eq!(status(&any, path, &origin).await, fine, "{path} {origin}");
        }
        let proxied = "host: notes.example\r\norigin: https://notes.example\r\n";
        assert_eq!(status(&some, path, proxied).await, fine, "a proxy in front, {path}");
        assert_eq!(status(&any, path, "host: evil.example\r\n").await, fine, "{path}");
    }
    let mut raw = Raw { socket: some.tcp().await };
    raw.send(b"GET /page HTTP/1.1\r\nhost: localhost\r\norigin: https://app.example\r\n\r\n").await;
    let head = raw.head().await;
    assert!(head.contains("access-control-allow-origin: https://app.example\r\nvary: origin\r\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn elsewhere_than_on_loopback_names_are_free_and_origins_are_not() {
    let server = with_page(|config| config.listen = "0.0.0.0:0".parse().unwrap()).await;
    for (path, fine) in DOORS {
        assert_eq!(
            status(&server, path, "host: notes.lan:8484\r\norigin: http://notes.lan:8484\r\n").await,
            fine
        );
        for origin in ["https://evil.example", "http://localhost:5173"] {
            assert_eq!(
                status(&server, path, &format!("origin: {origin}\r\n")).await,
                "403",
                "{path} {origin}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_relay_can_still_be_looked_at() {
    let server = Server::with(|config| config.connections_max = 2, None).await;
    let mut full = [server.connect("/yjs/room").await, server.connect("/yjs/room").await];
    for (client, name) in full.iter_mut().zip(1..) {
        client.heard(name).await;
    }
    assert!(server.get("/readyz").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.metric("connections{dialect=\"yjs\"}").await, 2);
    assert_eq!(server.metric("refusals_total{reason=\"connections\"}").await, 0);
    for path in ["/nowhere", "/yjs/room"] {
        assert!(server.get(path).await.starts_with("HTTP/1.1 503 "), "{path}");
    }
    server.until("refusals_total{reason=\"connections\"}", 2).await;
    // It is asked one question, and keeps its place no longer.
    let mut spare = Raw { socket: server.tcp().await };
    spare.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(spare.rest().await.ends_with("ok\n"));
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(Raw { socket: server.tcp().await });
    }
    let mut beyond = Raw { socket: server.tcp().await };
    beyond.send(&handshake("/yjs/room")).await;
    assert_eq!(beyond.rest().await, "", "the places that are kept free are few");
    for mut silent in silent {
        assert_eq!(silent.rest().await, "", "who says nothing does not keep one");
    }
    let again = async {
        while !server.get("/readyz").await.starts_with("HTTP/1.1 200 ") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon("a place that is free again", again).await;
}
