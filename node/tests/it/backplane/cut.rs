//! Networks that stall and break while the NATS server lives: nothing of another time arrives, nothing is left behind.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tombolo_core::cluster::To;
use tombolo_relay::backplane::Link;

use super::world::{Peer, Server, Told, soon};

/// A way to a server that stalls and breaks when it is told to.
struct Way {
    address: SocketAddr,
    flows: watch::Sender<bool>,
    /// The number of times that it broke.
    broke: watch::Sender<u32>,
}

impl Way {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (flows, broke) = (watch::channel(true).0, watch::channel(0).0);
        let (flowing, breaking) = (flows.subscribe(), broke.subscribe());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let mut breaking = breaking.clone();
                breaking.mark_unchanged();
                let carrying = carry(client, server, flowing.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = breaking.changed() => {}
                        () = carrying => {}
                    }
                });
            }
        });
        Self { address, flows, broke }
    }
}

async fn carry(client: TcpStream, server: SocketAddr, mut flows: watch::Receiver<bool>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = async {
        let mut buffer = vec![0; 64 * 1024];
        while flows.wait_for(|flows| *flows).await.is_ok() {
            let Ok(len @ 1..) = from_client.read(&mut buffer).await else { return };
            if to_server.write_all(&buffer[..len]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

/// A number that a NATS server tells of itself.
async fn metric(port: u16, path: &str, name: &str) -> u64 {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (_, rest) = answer.split_once(&format!("\"{name}\": ")).unwrap();
    rest.split([',', '\n']).next().unwrap().parse().unwrap()
}

async fn until(port: u16, path: &str, name: &str, value: u64) {
    soon(name, async {
        while metric(port, path, name).await != value {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

fn link(address: SocketAddr) -> Link {
    Link::Nats(vec![format!("nats://{address}").parse().unwrap()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_leave_in_time_never_arrives() {
    const BYTES: usize = 256 * 1024;
    let server = Server::nats(&[]);
    let way = Way::to(server.address).await;
    let (mut far, mut near) = (Peer::with(link(way.address)), Peer::with(link(server.address)));
    far.up().await;
    near.up().await;
    loop {
        far.say(&To::Everybody, "there");
        if let Ok(Told::Heard(..)) = tokio::time::timeout(Duration::from_millis(200), near.told()).await {
            break;
        }
    }
    for _ in 0..3 {
        way.flows.send_replace(false);
        // As much as its outbox takes: sockets, the client and the outbox have their parts of it when the way breaks.
        for number in 0..200u8 {
            far.say(&To::Everybody, vec![number; BYTES]);
        }
        way.flows.send_replace(true);
        assert_eq!(near.heard().await.1, Bytes::from(vec![0; BYTES]), "it goes on where it stalled");
        way.flows.send_replace(false);
        way.broke.send_modify(|broke| *broke += 1);
        far.down().await;
        way.flows.send_replace(true);
        far.up().await;
        far.say(&To::Everybody, "end");
        let numbers = near.heard_until("end").await;
        let numbers: Vec<u8> = numbers.iter().map(|(_, message)| message[0]).filter(|n| *n != b't').collect();
        let expected: Vec<u8> = (1..=u8::try_from(numbers.len()).unwrap()).collect();
        assert_eq!(numbers, expected, "a gap in what was said before the end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_behind_at_the_server() {
    const PORT: &str = "-1";
    let folder = tempfile::tempdir().unwrap();
    let arguments = vec!["-m", PORT, "--ports_file_dir", folder.path().to_str().unwrap().to_owned().leak()];
    let server = Server::nats(arguments.leak());
    let port = soon("the port of its figures", monitoring(folder.path())).await;
    let way = Way::to(server.address).await;
    let mut peer = Peer::with(link(way.address));
    peer.up().await;
    until(port, "/connz", "num_connections", 1).await;
    // All and its own name, and those of the server itself.
    peer.listen("first");
    peer.say(&To::Everybody, "x");
    let mut base = metric(port, "/subsz", "num_subscriptions").await;
    soon("its subscriptions", async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = metric(port, "/subsz", "num_subscriptions").await;
            if std::mem::replace(&mut base, now) == now && now >= 3 {
                return;
            }
        }
    })
    .await;
    base -= 1;
    peer.unlisten("first");
    for number in 0..1000 {
        peer.listen(&format!("room {number}"));
        // Twice is as once.
        peer.listen(&format!("room {number}"));
    }
    until(port, "/subsz", "num_subscriptions", base + 1000).await;
    for number in 0..990 {
        peer.unlisten(&format!("room {number}"));
    }
    until(port, "/subsz", "num_subscriptions", base + 10).await;
    for _ in 0..3 {
        way.broke.send_modify(|broke| *broke += 1);
        peer.down().await;
        peer.up().await;
        peer.listen("room");
        until(port, "/connz", "num_connections", 1).await;
        until(port, "/subsz", "num_subscriptions", base + 1).await;
    }
}

/// Where a server tells of itself, as it wrote down.
async fn monitoring(folder: &std::path::Path) -> u16 {
    loop {
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let at = text.split("\"monitoring\"").nth(1).and_then(|rest| rest.split("http://").nth(1));
            let port = at.and_then(|rest| rest.split('"').next()).and_then(|at| at.rsplit(':').next());
            if let Some(port) = port.and_then(|port| port.parse().ok()) {
                return port;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
