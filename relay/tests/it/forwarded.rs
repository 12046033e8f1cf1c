//! Clients behind a proxy that is trusted have limits of their own; what anybody else says of them counts for nothing.

use super::world::{Raw, Server, handshake_with};

async fn comes(server: &Server, header: &str) -> Raw {
    let mut raw = Raw { socket: server.tcp().await };
    raw.send(&handshake_with("/yjs/room", header)).await;
    raw
}

/// Whether it is let in: then it is asked what it has, or its first message is awaited.
async fn enters(server: &Server, header: &str) -> Option<Raw> {
    let mut raw = comes(server, header).await;
    if !raw.head().await.starts_with("HTTP/1.1 101") {
        return None;
    }
    raw.send(&super::world::masked(0x82, &super::frames::step1())).await;
    let (first, _) = raw.frame().await?;
    (first == 0x82).then_some(raw)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_of_a_trusted_proxy_has_an_address() {
    let tweak = |config: &mut tombolo_relay::RelayConfig| {
        config.trusted_proxies = vec!["loopback".parse().unwrap()];
        config.address_connections_max = 1;
    };
    let server = Server::with(tweak, None).await;
    let first = enters(&server, "x-forwarded-for: 192.0.2.1").await.expect("it is the first");
    assert!(enters(&server, "x-forwarded-for: 192.0.2.1").await.is_none());
    assert!(enters(&server, "x-forwarded-for: 192.0.2.9, 192.0.2.1").await.is_none(), "made up");
    assert!(enters(&server, "forwarded: for=192.0.2.1;proto=https").await.is_none());
    let _second = enters(&server, "x-forwarded-for: 192.0.2.2").await.expect("it is another");
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(enters(&server, "user-agent: none").await.expect("the proxy itself has no limits"));
    }
    assert_eq!(server.metric("refusals_total{reason=\"address_connections\"}").await, 3);
    drop(first);
    server.until("connections{dialect=\"yjs\"}", 6).await;
    let _again = enters(&server, "x-forwarded-for: 192.0.2.1").await.expect("its place is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_too_fast_is_told_so_through_the_proxy() {
    let tweak = |config: &mut tombolo_relay::RelayConfig| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.address_connects = tombolo_relay::Rate { per_s: 1, burst: 1 };
    };
    let server = Server::with(tweak, None).await;
    let _first = enters(&server, "x-forwarded-for: 192.0.2.1").await.expect("it is the first");
    let mut second = comes(&server, "x-forwarded-for: 192.0.2.1").await;
    assert!(second.head().await.starts_with("HTTP/1.1 429"));
    let _other = enters(&server, "x-forwarded-for: 192.0.2.2").await.expect("it is another");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_believed() {
    for trusted in [vec![], vec!["10.0.0.0/8".parse().unwrap()]] {
        let tweak = |config: &mut tombolo_relay::RelayConfig| {
            config.trusted_proxies = trusted;
            config.limits_loopback = true;
            config.address_connections_max = 1;
        };
        let server = Server::with(tweak, None).await;
        let _first = enters(&server, "x-forwarded-for: 192.0.2.1").await.expect("it is the first");
        assert!(
            enters(&server, "x-forwarded-for: 192.0.2.2").await.is_none(),
            "it comes from here all the same"
        );
    }
}
