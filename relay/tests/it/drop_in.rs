//! In the place of another server: its clients come to its port and path, meet everybody else in the same rooms, and
//! find nothing else there.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tombolo_core::dialect::y_protocols::update;
use tombolo_relay::admission::Everybody;
use tombolo_relay::{DropIn, Parts, Relay, RelayConfig, StartError};

use super::frames::{self, admitted, auth, edit, to};
use super::world::{Client, Raw, Server, handshake};

const FREE: &str = "127.0.0.1:0";

async fn standing_in(tweak: impl FnOnce(&mut RelayConfig)) -> (Server, [SocketAddr; 3]) {
    let everywhere = |config: &mut RelayConfig| {
        let all = [DropIn::Yjs, DropIn::Hocuspocus, DropIn::Automerge];
        config.drop_ins = all.map(|drop_in| (drop_in, FREE.parse().unwrap())).into();
        tweak(config);
    };
    let server = Server::with(everywhere, None).await;
    let addresses: Vec<_> = server.relay.drop_ins().iter().map(|(_, address)| *address).collect();
    (server, addresses.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_all_ports_meet_in_one_room() {
    let (server, [yjs, hocuspocus, _]) = standing_in(|_| {}).await;
    let mut here = server.connect("/yjs/a/b%20c").await;
    let mut there = Client::connect(yjs, "/a/b%20c?token=t").await;
    let mut many = Client::connect(hocuspocus, "/whatever?x=y").await;
    many.send(auth("a/b c")).await;
    assert_eq!(many.next().await, admitted("a/b c"));
    there.heard(2).await;
    let news = update(&edit(1, 0, "x"));
    here.send(news.clone()).await;
    while there.next().await != news {}
    while many.next().await != to("a/b c", &news) {}
    assert_eq!(server.metric("rooms").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_dialect_is_spoken_at_every_path() {
    let (server, [yjs, hocuspocus, automerge]) = standing_in(|_| {}).await;
    for address in [yjs, hocuspocus, automerge] {
        for path in ["/", "/healthz", "/readyz", "/metrics", "/automerge"] {
            let mut raw = Raw { socket: TcpStream::connect(address).await.unwrap() };
            raw.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await;
            assert!(raw.head().await.starts_with("HTTP/1.1 426 "), "{path}");
        }
    }
    for path in ["/", "/yjs/room", "/automerge"] {
        let mut many = Client::connect(hocuspocus, path).await;
        many.send(auth("doc")).await;
        assert_eq!(many.next().await, admitted("doc"), "{path}");
        let mut pairwise = Client::connect(automerge, path).await;
        pairwise.send(frames::join("a")).await;
        pairwise.next().await;
    }
    for path in ["/automerge", "/yjs/room"] {
        let mut one = Client::connect(yjs, path).await;
        one.send(frames::step1()).await;
        one.next().await;
        server.until("rooms", 1).await;
        drop(one);
        server.until("rooms", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_door_and_its_limits_are_those_of_the_main_port() {
    let (server, addresses) = standing_in(|config| config.connections_max = 4).await;
    for address in addresses {
        for (from, to) in
            [("host: localhost", "host: evil.example"), ("\r\n\r\n", "\r\norigin: http://evil\r\n\r\n")]
        {
            let mut raw = Raw { socket: TcpStream::connect(address).await.unwrap() };
            raw.send(String::from_utf8(handshake("/room")).unwrap().replace(from, to).as_bytes()).await;
            assert!(raw.head().await.starts_with("HTTP/1.1 403 "), "{to}");
        }
    }
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(Client::connect(addresses[0], "/room").await);
    }
    for address in addresses {
        let mut raw = Raw { socket: TcpStream::connect(address).await.unwrap() };
        raw.send(&handshake("/room")).await;
        assert_eq!(raw.rest().await, "", "nobody asks there how it goes");
    }
    server.until("refusals_total{reason=\"connections\"}", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_and_nothing_is_left_listening() {
    let taken = TcpListener::bind(FREE).await.unwrap();
    let main = TcpListener::bind(FREE).await.unwrap().local_addr().unwrap();
    let mut config = RelayConfig::new(main);
    config.drop_ins = vec![(DropIn::Automerge, taken.local_addr().unwrap())];
    let parts = || Parts { admission: std::sync::Arc::new(Everybody), archive: None, routes: None };
    let Err(error) = Relay::start(config.clone(), parts()).await else { panic!("it started") };
    assert!(matches!(error, StartError::DropInInUse { drop_in: DropIn::Automerge, .. }), "{error}");
    assert!(error.to_string().contains("--drop-in automerge:PORT"), "{error}");
    config.drop_ins.clear();
    Relay::start(config, parts()).await.unwrap();
}
